"""The demo's arithmetic and its picture: what is computed from two sessions, and that the picture shows them."""

import re
from xml.etree import ElementTree

import pytest

from stretto.demo import timeline
from stretto.demo.session import Ahead, Part, Session, Step, compare, critical_path_s

SVG = "{http://www.w3.org/2000/svg}"


def session(*steps, name="without Stretto", end_s=0.5, ahead=()):
    """Make a session of (kind, think, wait[, parts]) one after the other, with half a second at either end."""
    made, clock_s = [], 0.5
    for kind, think_s, wait_s, *parts in steps:
        sent_s = clock_s + think_s
        made.append(
            Step(
                kind=kind,
                label=kind,
                command=f"{kind} <&\">' {len(made)}" if kind == "check" else "",
                asked_s=clock_s,
                sent_s=sent_s,
                returned_s=sent_s + wait_s,
                outputs=("ok",),
                parts=tuple(parts),
            )
        )
        clock_s = sent_s + wait_s
    return Session(name=name, wall_s=clock_s + end_s, steps=tuple(made), ahead=tuple(ahead))


def part(way="replay", at_s=20.0, attempt="a1"):
    return Part(command="pytest -q", at_s=at_s, way=way, reason="nothing has changed <since>", took_s=15.0, attempt=attempt)


def ahead(attempt, began_s, ended_s, how="passed"):
    return Ahead(attempt=attempt, command="pytest -q", began_s=began_s, ended_s=ended_s, how=how)


@pytest.mark.parametrize(
    ("steps", "expected_s"),
    [
        pytest.param([("check", 4, 15)], 15, id="before the first write a check may begin with the session"),
        pytest.param([("write", 3, 0.1), ("check", 4, 15)], 18.1, id="a check begins at the last write and hides the thinking"),
        pytest.param([("write", 3, 0), ("check", 20, 15)], 23, id="a check shorter than the thinking costs nothing"),
        pytest.param([("write", 3, 0), ("look", 4, 2), ("check", 4, 15)], 18, id="what lies between write and check hides it too"),
        pytest.param([("write", 3, 0), ("check", 4, 15), ("check", 4, 15)], 22, id="a second check has run beside the first one"),
        pytest.param([("write", 3, 0), ("check", 4, 9), ("write", 1, 0), ("check", 1, 9)], 22, id="the next write ends the earlier run"),
        pytest.param([("look", 2, 3)], 5, id="without checks it is the session itself"),
    ],
)
def test_critical_path_starts_every_check_at_the_last_write_before_it(steps, expected_s):
    assert critical_path_s(session(*steps)) == pytest.approx(expected_s + 1.0)  # half a second at either end


def test_critical_path_is_never_longer_than_the_session():
    whole = session(("check", 4, 17), ("write", 3.6, 0.1), ("check", 15.8, 15), ("write", 3.6, 0.1), ("check", 4, 1), ("check", 6.9, 15))
    assert critical_path_s(whole) < whole.wall_s


def test_waiting_counts_checks_and_nothing_else():
    assert session(("look", 1, 5), ("check", 2, 3), ("write", 1, 7), ("check", 1, 4)).waited_s == pytest.approx(7)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param("5 passed in 1.02s", "5 passed in 1.02s", "identical", id="equal"),
        pytest.param("5 passed in 1.02s", "5 passed in 0.98s", "identical but for durations", id="durations"),
        pytest.param("5 passed in 59.90s", "5 passed in 61.02s (0:01:01)", "identical but for durations", id="pytest's long form"),
        pytest.param("5 passed in 1.02s", "4 passed in 1.02s", "different", id="a count is no duration"),
        pytest.param("5 passed in 1.02s", "5 passed in 1.02m", "different", id="another unit is no duration"),
        pytest.param("module1.02s", "module1.03s", "different", id="a name that ends like one is no duration"),
        pytest.param("Exit code 1\n2 failed", "2 failed", "different", id="an exit code is part of the text"),
    ],
)
def test_compare_leaves_out_durations_and_nothing_else(one, other, expected):
    assert compare([one], [other]) == expected


def test_compare_counts_a_missing_output_as_different():
    assert compare(["a", "b"], ["a"]) == "different"


def pair():
    without = session(("check", 4, 15), ("write", 3, 0.1), ("check", 10, 15), ("look", 1, 0))
    with_it = session(
        ("check", 4, 15, part("ran", 4.6, "f1")),
        ("write", 3, 0.1),
        ("check", 10, 6, part("attach", 32.7)),
        ("look", 1, 0),
        name="with Stretto",
        ahead=[ahead("a1", 23, 38.6), ahead("a2", 23, 24), ahead("a3", 25, 26, "stopped")],
    )
    return without, with_it, ["identical"] * 4


def drawn(without, with_it, same):
    return ElementTree.fromstring(timeline.svg(without, with_it, same))


def test_picture_is_well_formed_whatever_the_commands_hold():
    titles = [title.text for title in drawn(*pair()).iter(f"{SVG}title")]
    assert any("check <&\">' 0: waited 15.0 s" in title for title in titles)


def test_picture_lies_within_its_frame_and_keeps_one_scale():
    root = drawn(*pair())
    width = float(root.get("viewBox").split()[2])
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("x")]
    assert all(float(bar.get("x")) >= 0 and float(bar.get("x")) + float(bar.get("width")) <= width for bar in bars)
    waits = [float(bar.get("width")) for bar in bars if bar.get("class") == "wait" and float(bar.get("height")) > 20]
    assert len(waits) == 3
    assert max(waits) - min(waits) < 0.2, "three waits of 15 s are equally long in both panels"


def test_picture_has_one_ring_for_each_join_and_dashes_an_attach():
    root = drawn(*pair())
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    (line,) = [path for path in root.iter(f"{SVG}path") if path.get("class") == "join"]
    assert line.get("stroke-dasharray")


def test_picture_puts_runs_that_overlap_into_different_lanes_and_others_into_one():
    heights = {}
    for bar in drawn(*pair()).iter(f"{SVG}rect"):
        title = bar.find(f"{SVG}title")
        if title is not None and title.text.startswith("pytest -q"):
            heights[title.text.split(" after ")[0] + title.text.split(" after ")[1][:4]] = bar.get("y")
    assert len(heights) == 3
    assert len(set(heights.values())) == 2


def test_picture_says_so_when_an_output_differed():
    without, with_it, same = pair()
    text = timeline.svg(without, with_it, [*same[:3], "different"])
    assert "1 of 4 turns gave another output" in text
    assert "what Claude is given is the same" not in text


def test_page_needs_nothing_from_elsewhere_and_follows_the_readers_setting():
    page = timeline.html(*pair(), notes=["a <note>"])
    assert not re.search(r"<script|<link|@import|url\(|src=", page)
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert page.count("prefers-color-scheme: dark") == 2
    assert "a &lt;note&gt;" in page and "nothing has changed &lt;since&gt;" in page


def test_page_of_one_session_shows_its_checks_without_a_comparison():
    _, with_it, _ = pair()
    page = timeline.html_of_one(with_it)
    assert "attach" in page and "critical path" not in page

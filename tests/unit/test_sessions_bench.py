"""The arithmetic of `bench.sessions`, and that its scripts are what they say: no process, no network, no file."""

import re
from pathlib import Path

import pytest
from bench.sessions import play, report
from bench.sessions.projects import PROJECTS
from bench.sessions.report import HookRun, Played, believed_s, hits, misses, started_path_s

from stretto.commands import NAMES, effect_of
from stretto.demo.session import Part, Session, Step, compare

HERE = Path("/somewhere/project")


def session(*steps, end_s=0.5):
    """Make a session of (kind, think, wait, command, outputs, parts) one after the other, with half a second at either end."""
    made, clock_s = [], 0.5
    for kind, think_s, wait_s, *more in steps:
        command, outputs, parts = (*more, *("", (), ())[len(more) :])
        sent_s = clock_s + think_s
        clock_s = sent_s + wait_s
        made.append(
            Step(
                kind=kind,
                label=f"{kind} {len(made)}",
                command=command,
                asked_s=sent_s - think_s,
                sent_s=sent_s,
                returned_s=clock_s,
                outputs=outputs,
                parts=parts,
            )
        )
    return Session(name="x", wall_s=clock_s + end_s, steps=tuple(made))


def part(way, took_s, reason="nothing has changed since"):
    return Part(command="pytest -q", at_s=0.0, way=way, reason=reason, took_s=took_s)


@pytest.mark.parametrize(
    ("steps", "expected_s"),
    [
        pytest.param([("write", 3, 0), ("check", 4, 6, "pytest", (), (part("attach", 9),))], 12, id="joined: from the last write on"),
        pytest.param([("write", 3, 0), ("check", 4, 1, "pytest", (), (part("replay", 2),))], 7, id="over before it was asked: nothing"),
        pytest.param([("write", 3, 0), ("check", 4, 9.5, "pytest", (), (part("ran", 9),))], 16, id="ran: from the question on"),
        pytest.param(
            [("write", 3, 0), ("check", 4, 9, "ruff && pytest", (), (part("ran", 2), part("attach", 8)))], 11, id="a chain, by its parts"
        ),
        pytest.param([("check", 4, 3, "make")], 7, id="a check that no shim saw took what it took"),
        pytest.param([("check", 4, 3, "pytest", (), (part("ran", None),))], 4, id="a run that is still going on adds nothing"),
        pytest.param([("look", 2, 3)], 5, id="without checks it is the session itself"),
    ],
)
def test_the_path_of_what_was_started_in_time_counts_joined_runs_from_the_last_write(steps, expected_s):
    assert started_path_s(session(*steps)) == pytest.approx(expected_s + 1.0)


def test_the_path_of_what_was_started_in_time_is_not_longer_than_a_session_whose_waits_cover_its_runs():
    whole = session(
        ("write", 3, 0.1), ("check", 4, 9.2, "pytest", (), (part("ran", 9),)), ("check", 4, 0.1, "pytest", (), (part("replay", 9),))
    )
    assert started_path_s(whole) <= whole.wall_s


def test_what_the_native_hook_told_after_the_last_write_is_believed_and_only_that():
    """A run that began before the write, one that had not ended, and a filtered check are told apart."""
    whole = session(
        ("write", 3, 0), ("check", 4, 2, "pytest -q 2>&1 | tail -3"), ("write", 3, 0), ("check", 4, 2, "ruff check && pytest -q")
    )
    commands = ("ruff check", "pytest -q")
    told = [HookRun("pytest -q", 3.6, 6.0), HookRun("ruff check", 12.6, 13.0)]
    assert believed_s(whole, told, commands) == pytest.approx(whole.wall_s - 2)  # the first; the second chain's pytest was not told
    late = [HookRun("pytest -q", 3.6, 7.6)]
    assert believed_s(whole, late, commands) == whole.wall_s
    early = [HookRun("pytest -q", 3.0, 6.0)]
    assert believed_s(whole, early, commands) == whole.wall_s


def test_hits_and_misses_are_counted_by_command():
    whole = session(
        ("check", 1, 1, "a && b", (), (part("ran", 1, "not seen before"), part("replay", 1))),
        ("check", 1, 1, "a", (), (part("ran", 1, "not seen before"),)),
        ("look", 1, 1),
    )
    assert hits(whole) == (1, 3)
    assert misses(whole) == {"not seen before": 2}


def played(plain_s, first_s, outputs=("1 passed in 0.10s",), way="replay"):
    plain = session(("write", 1, 0), ("check", 1, plain_s, "pytest", ("1 passed in 0.20s",)))
    first = session(("write", 1, 0), ("check", 1, first_s, "pytest", outputs, (part(way, 0.5),)))
    return Played(title="p", about="a project", sessions={"plain": plain, "first": first, "second": first})


def test_the_report_says_which_target_is_met_and_which_is_missed():
    good, bad = report.verdicts([played(20, 0.1)]), report.verdicts([played(5, 20)])
    assert [line.split()[0] for line in good] == ["met"] * 4
    assert {line.split()[0] for line in bad} == {"MISSED"}
    assert len(bad) == 4


def test_the_report_names_every_turn_whose_output_differs():
    same, other = played(5, 1), played(5, 1, outputs=("1 failed in 0.10s",))
    assert same.differing("first") == []
    assert other.differing("first") == ["check 1"]
    assert "1 differ" not in report.table([same], {"p": ()})[-1]
    assert "2 differ" in report.table([other], {"p": ()})[-1]
    assert any("DIFFERENT OUTPUT, second: check 1" in line for line in report.details(other))


def test_the_table_and_the_file_hold_every_way_that_was_played():
    one = played(5, 1)
    assert len(report.table([one], {"p": ()})) == 3
    (row,) = report.as_json([one], {"p": ()})
    assert set(row["ways"]) == {"plain", "first", "second"}
    assert row["ways"]["first"]["joined"] == 1


def test_a_time_of_day_in_the_output_is_no_difference():
    assert compare(["Start at  04:13:45\n2 passed"], ["Start at  04:15:01\n2 passed"]) == "identical but for durations"
    assert compare(["12:00:01.5"], ["12:00:02.5"]) == "different"  # a part of something longer is not taken for one


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_a_script_mends_what_it_breaks_and_asks_for_checks_that_are_known(project):
    """12 to 25 turns; every file is read or made before it is edited; every Bash text of a check is one that a shim can serve."""
    steps = project.steps(HERE)
    assert 12 <= len(steps) <= 25
    known = set()
    for step in steps:
        for call in step.turn.calls:
            if call.tool == "Bash":
                expected = "checks" if step.kind == "check" else "reads"
                text = re.sub(r"^cd \. && ", "", str(call.input["command"]))
                assert effect_of(text, NAMES) == expected, text
            else:
                assert call.tool != "Edit" or call.input["file_path"] in known, step.label
                known.add(call.input["file_path"])
                assert HERE in Path(str(call.input["file_path"])).parents
    assert steps[-1].turn.calls == ()


def test_in_the_session_for_the_slow_down_no_check_is_asked_for_twice():
    asked = [call.input["command"] for step in PROJECTS["never-twice"].steps(HERE) for call in step.turn.calls if call.tool == "Bash"]
    assert len(asked) == len(set(asked)) >= 12


def test_the_way_that_is_played_first_alternates_and_the_second_session_follows_the_first():
    orders = [play.order(PROJECTS["click"], number) for number in range(3)]
    assert {order[0] for order in orders} == {"plain", "first", "hook"}
    assert all(order.index("second") == order.index("first") + 1 for order in orders)
    assert all(sorted(order) == sorted(report.WAYS) for order in orders)


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_a_project_is_pinned_and_its_environment_comes_first_on_the_path(project):
    assert re.fullmatch(r"[0-9a-f]{64}", project.release.sha256)
    assert all("==" in wanted for wanted in project.requirements)
    assert project.licence
    env = project.surroundings(HERE, "/usr/bin")
    first, *_, last = env["PATH"].split(":")
    assert first.startswith(str(HERE)) and last == "/usr/bin"

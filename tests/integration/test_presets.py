"""How eagerly commands run ahead, in a real supervisor."""

from __future__ import annotations

from stretto import trust
from stretto.model import AttemptStarted
from stretto.testing.wait import wait_until


def ready(bench) -> None:
    (bench.root / "src.py").write_text("one\n")
    for name in ("pytest", "mypy", "ruff"):
        bench.tool(name, "sleep 0.3; cat src.py")
    bench.begin()


def ahead(bench) -> list[str]:
    return [event.job for event in bench.events(AttemptStarted) if event.kind == "ahead"]


def chosen(bench, preset: str) -> None:
    trust.set_preset(str(bench.base), preset)
    bench.ask(op=b"reload")


def test_off_runs_nothing_ahead_and_joins_what_the_session_ran(bench):
    ready(bench)
    chosen(bench, "off")
    assert bench.bash("pytest -q")[0] == b"one\n"
    assert bench.bash("pytest -q")[0] == b"one\n"
    assert bench.did() == ["record", "replay"]
    bench.edit("src.py", "two\n")
    assert bench.bash("pytest -q")[0] == b"two\n"
    assert bench.did() == ["record", "replay", "record"]
    assert ahead(bench) == []
    chosen(bench, "balanced")
    bench.edit("src.py", "three\n")
    wait_until(lambda: ahead(bench), limit_s=30, what="a run ahead, now that it may")


def test_frugal_runs_one_at_a_time(bench):
    ready(bench)
    chosen(bench, "frugal")
    for command in ("pytest -q", "mypy src.py", "ruff check ."):
        bench.bash(command)
    bench.edit("src.py", "two\n")
    bench.settled(2, "ahead")
    open_now = most = 0
    own = {event.attempt for event in bench.events(AttemptStarted) if event.kind == "ahead"}
    for event in (event for event in bench.events(object) if getattr(event, "attempt", "") in own):
        open_now += {"AttemptStarted": 1, "AttemptExited": -1}.get(type(event).__name__, 0)
        most = max(most, open_now)
    assert most == 1

"""What a run printed lies on disk until it is asked for: damage to it is never replayed (C-24, B-17, F44)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stretto import bundle, cgroup, control, doctor
from stretto.journal import Journal
from stretto.model import ENCODER, AttemptExited, AttemptSettled, End, InvariantBroken
from stretto.system import mono_s
from stretto.testing.wait import wait_until

CHECK = 'cat src.py\nexit "$(cat code)"'


def flip(out: Path) -> None:
    data = out.read_bytes()
    out.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def flip_and_hide(out: Path) -> None:
    """In place, with the times put back: only the time of change tells."""
    before = out.stat()
    with out.open("r+b") as file:
        file.write(bytes([file.read(1)[0] ^ 1]))
        file.seek(0)
        file.write(b"T")
    os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(out: Path) -> None:
    os.truncate(out, 1)


def empty(out: Path) -> None:
    os.truncate(out, 0)


def exchange(out: Path) -> None:
    """Another run's output, as long as this one's."""
    other = out.with_name("other")
    other.write_bytes(b"2" * out.stat().st_size)
    os.replace(other, out)


def link(out: Path) -> None:
    aside = out.with_name("aside")
    out.rename(aside)
    out.symlink_to(aside)


def remove(out: Path) -> None:
    out.unlink()


def pass_instead(out: Path) -> None:
    path = out.with_name("exit")
    path.write_bytes(path.read_bytes().replace(b"code 3", b"code 0"))


def fail_instead(out: Path) -> None:
    path = out.with_name("exit")
    path.write_bytes(path.read_bytes().replace(b"code 0", b"code 1"))


def no_exit(out: Path) -> None:
    out.with_name("exit").unlink()


def later_exit(out: Path) -> None:
    """It says that less was printed."""
    out.with_name("exit").write_bytes(b"code 0 1 0\n")


def ready(bench, code: int = 0, check: str = CHECK) -> None:
    (bench.root / "src.py").write_text("one\n")
    (bench.root / "code").write_text(str(code))
    bench.tool("pytest", check)
    bench.begin()


def out_of(bench, at: int = 0) -> Path:
    return Path(bench.paths.attempts, list(bench.state().attempts)[at], "out")


DAMAGE = [flip, flip_and_hide, truncate, empty, exchange, link, remove, no_exit]
CASES = [*((damage, code) for damage in DAMAGE for code in (0, 3)), (pass_instead, 3), (fail_instead, 0), (later_exit, 0)]


@pytest.mark.parametrize(("damage", "code"), CASES, ids=lambda item: getattr(item, "__name__", str(item)))
def test_b17_a_result_whose_files_were_damaged_is_never_replayed(bench, damage: Callable[[Path], None], code: int):
    """B-17, C-24. Without a digest a flipped byte, an exchanged file and an exchanged exit were shown to the session."""
    ready(bench, code)
    assert bench.bash("pytest -q")[:2] == (b"one\n", code)
    damage(out_of(bench))
    assert bench.bash("pytest -q")[:2] == (b"one\n", code)
    assert bench.did() == ["record", "record"], bench.joins()
    assert bench.joins()[1][1] == "its output on disk is not what it was"
    (broken,) = bench.events(InvariantBroken)
    assert (broken.rule, broken.attempt) == ("output", next(iter(bench.state().attempts)))
    assert bench.bash("pytest -q")[:2] == (b"one\n", code)
    assert bench.did()[2] == "replay", "what ran anew is as good as ever"


@pytest.mark.parametrize("how", ["copied", "renamed", "whole folder"])
def test_b17_an_older_result_of_the_same_command_put_in_its_place_is_not_replayed(bench, how: str):
    """B-17: every byte of it was once right, its exit fits its output, its times are those of then."""
    ready(bench, 3)
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    bench.edit("code", "0")
    bench.settled(1)
    bench.bash("pytest -q")
    newest = bench.state().joins[-1].attempt
    older, newer = out_of(bench, 0).parent, Path(bench.paths.attempts, newest)
    assert older != newer
    if how == "whole folder":
        newer.rename(newer.with_name("aside"))
        shutil.copytree(older, newer)
    for name in ("out", "exit") if how != "whole folder" else ():
        aside = newer / f"{name}.aside"
        shutil.copy2(older / name, newer / name if how == "copied" else aside)
        if how == "renamed":
            os.replace(aside, newer / name)
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    assert bench.joins()[-1] == ("record", "its output on disk is not what it was")
    if how == "whole folder":
        shutil.rmtree(newer.with_name("aside"))


def test_a_result_whose_files_only_look_touched_is_replayed(bench):
    """A backup that was put back, a changed time: the bytes decide, and the next look is quick again."""
    ready(bench)
    bench.bash("pytest -q")
    out = out_of(bench)
    copy = out.with_name("copy")
    copy.write_bytes(out.read_bytes())
    os.replace(copy, out)
    os.utime(out, ns=(0, 0))
    for _ in range(2):
        assert bench.bash("pytest -q")[:2] == (b"one\n", 0)
    assert bench.did() == ["record", "replay", "replay"]
    assert bench.events(InvariantBroken) == []


def test_the_output_of_an_ahead_run_is_not_told_or_replayed_once_it_was_damaged(bench):
    ready(bench, check="sleep 0.5; " + CHECK)
    bench.bash("pytest -q")
    bench.edit("src.py", "two\n")
    bench.settled(1, "ahead")
    flip(out_of(bench, 1))
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    assert bench.did() == ["record", "record"], bench.joins()


def test_both_streams_and_their_order_are_looked_at(bench):
    """A run with two streams has three files; each of them counts."""
    (bench.root / "src.py").write_text("one\n")
    bench.tool("pytest", "echo a; echo b >&2; echo c")
    bench.begin()
    for number, name in enumerate(("err", "frames")):
        command = f"pytest -q {number} 2>err-{number}"
        first = bench.bash(command)
        flip(out_of(bench, -1).with_name(name))
        again = bench.bash(command)
        assert again[:2] == first[:2]
    assert bench.did() == ["record"] * 4, bench.joins()


def test_a_process_that_outlives_its_ahead_run_is_ended_and_the_result_not_used(bench):
    """C-24: no process outlives its lease. Here one carries the run's mark though its monitor never saw it.

    Where the run has a control group, that is forgotten: a group that is gone is proof enough, and no mark is looked for then.
    """
    ready(bench, check='touch "$HOME/began"; while [ -e "$HOME/hold" ]; do sleep 0.02; done; sleep 0.5; ' + CHECK)
    bench.bash("pytest -q")
    hold, began = bench.short / "hold", bench.short / "began"
    hold.touch()
    began.unlink()
    bench.edit("src.py", "two\n")
    (run,) = wait_until(lambda: [run for run in bench.state().open_attempts() if hasattr(run.phase, "pid")], what="the ahead run")
    wait_until(began.exists, what="its command, which begins in its group")
    with subprocess.Popen(["sleep", "600"], env={**bench.env, "STRETTO_WORKER": run.attempt}) as stray:
        try:
            cgroup.forget(bundle.folder_of(bench.paths.attempts, run.attempt))
            hold.unlink()
            (broken,) = wait_until(lambda: bench.events(InvariantBroken), what="the finding")
            assert (broken.rule, broken.attempt) == ("lease", run.attempt)
            assert stray.wait(timeout=20) == -signal.SIGKILL
        finally:
            stray.kill()
    assert bench.bash("pytest -q")[:2] == (b"two\n", 0)
    assert bench.did() == ["record", "record"]
    assert "lived on after its end" in bench.joins()[1][1]


def test_doctor_and_status_count_what_was_broken(bench):
    ready(bench)
    bench.bash("pytest -q")
    flip(out_of(bench))
    bench.bash("pytest -q")
    assert control.fold_log(bench.paths).broken_count == 1
    (found,) = [check for check in doctor.examine(str(bench.root), str(bench.base)) if check.name == "promises"]
    assert found.level == "warn" and "is not what it was" in found.text


@pytest.mark.damages_log("everything", reason="the log gets the end of a run that nobody saw end")
def test_a_join_that_the_log_contradicts_is_not_answered(bench):
    """C-24: the supervisor remembers a run that goes on, the log says that it has ended; the command runs."""
    ready(bench, check='while [ -e "$HOME/hold" ]; do sleep 0.02; done; ' + CHECK)
    hold, own = bench.short / "hold", bench.env_file
    hold.touch()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(bench.bash, "pytest -q")
        (run,) = wait_until(lambda: [run for run in bench.state().open_attempts() if hasattr(run.phase, "pid")], what="the run")
        common = {"ts": 0.0, "mono": mono_s(), "boot": run.boot, "by": "supervisor:1", "attempt": run.attempt}
        end = AttemptExited(**common, end=End(how="code", value=0), out_bytes=0, err_bytes=0, took_s=0.0, cpu_s=0.0)
        log = Journal(bench.paths.folder)
        for event in (end, AttemptSettled(**common, generation=run.generation)):
            log.append(ENCODER.encode(event))
        log.close()
        bench.env_file = bench.short / "of-another"  # the host gives each session a file of its own
        bench.hook("SessionStart", source="resume", session_id="another")  # writes a line, and so reads these
        bench.env_file = own
        second = pool.submit(bench.bash, "pytest -q")
        wait_until(lambda: len(bench.did()) == 2, what="the second answer")
        hold.unlink()
        assert (first.result()[:2], second.result()[:2]) == ((b"one\n", 0), (b"one\n", 0))
    assert bench.joins()[1] == ("record", "by the log it has ended")
    assert [event.rule for event in bench.events(InvariantBroken)] == ["join"]

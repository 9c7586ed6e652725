"""The shim and the hook's client, killed before every step they make and with every call of the system failing once (C-1, C-2).

A step is a call of the system: `faults.island` counts them, so code that is added is swept too. Killed before step n is the same as
killed after step n-1. Each walk first writes down the steps of a run that nothing happens to, then goes through them by number until a
run comes through whole. Everyday a spread is taken that has every kind of call of every process in it; the long version takes all.

The check always ends with 3 and counts its runs: an exit code 0 would be invented, a run that is not counted would be a lost command.
EINTR is left out: Python repeats every call of these that a signal interrupts, so the islands never see it.
"""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

from stretto import shellenv, shellscripts
from stretto.model import AttemptExited
from stretto.testing import leftovers
from stretto.testing.faults import Fault, Step, interpreter, steps
from stretto.testing.wait import wait_until

SOAK = os.environ.get("STRETTO_SCALE") == "soak"
KILLED = 128 + 9
CHECK = 'echo x >> "$HOME/ran"; while [ -f "$HOME/hold" ]; do sleep 0.01; done; cat src.py; exit 3'
TOLD = re.compile(rb"[^\n]*: line \d+: +\d+ Killed [^\n]*\n")
"""What bash says of a shim that was killed."""
ERRORS = {
    "open": ("EMFILE", "ENOSPC", "EDQUOT", "ENOMEM", "EIO"),
    "read": ("EIO",),
    "pread": ("EIO",),
    "write": ("ENOSPC", "EDQUOT", "EIO", "short"),
    "close": ("EIO",),
    "rename": ("ENOSPC", "EIO"),
    "unlink": ("EIO",),
    "pipe": ("EMFILE",),
    "pipe2": ("EMFILE",),
    "fork": ("ENOMEM",),
    "execve": ("ENOMEM",),
    "fstat": ("EIO",),
    "stat": ("EIO", "ENOMEM"),
    "lstat": ("EIO",),
    "statvfs": ("EIO",),
    "listdir": ("EMFILE",),
    "readlink": ("ENOMEM",),
    "chdir": ("EIO",),
    "flock": ("ENOLCK", "EIO"),
    "connect": ("EMFILE", "ENOMEM", "EIO"),
    "send": ("ENOMEM", "EIO"),
    "sendall": ("ENOMEM", "EIO"),
    "recv": ("ENOMEM", "EIO"),
    "pidfd_open": ("EMFILE",),
}
"""What each call may fail with; those that are not here cannot fail on their own (a `_exit`, a signal to a child that was not reaped)."""


class Outcome(NamedTuple):
    output: bytes
    code: int


class Walk:
    """One way of an island through its work, done again for each fault."""

    who = ""
    name = ""

    def __init__(self, bench) -> None:
        self.bench = bench
        self.ran = Path(bench.env["HOME"]) / "ran"
        self.text = ""
        (bench.root / "src.py").write_text("0\n")
        bench.tool("pytest", CHECK)
        bench.begin()
        self.session_file = bench.env_file.read_text()
        (path,) = Path(bench.paths.folder).glob("sessions/*.sh")
        self.session = path.read_text()

    def runs(self) -> int:
        return len(self.ran.read_text()) // 2 if self.ran.exists() else 0

    def fresh(self, number: int) -> None:
        """Begin a point: another tree, so that nothing of the last point can be joined."""
        self.text = f"{self.name} {number}\n" * 40
        (self.bench.root / "src.py").write_text(self.text)
        (self.bench.short / "fired").unlink(missing_ok=True)
        self.before = self.runs()

    def prepare(self) -> None:
        """Whatever has to be there before the island begins."""

    def act(self, program: str) -> Outcome:
        raise NotImplementedError

    def judge(self, seen: Outcome, fault: Fault) -> None:
        raise NotImplementedError

    def after(self) -> None:
        """Whatever happened, the next call works, the log folds, and nothing runs."""
        bench = self.bench
        done = bench.bash("pytest -q", told=False, announced=True)[:2]
        assert done == (self.text.encode(), 3), done
        wait_until(lambda: not bench.state().open_attempts(), what="an end of every run")
        state = bench.state()
        assert (state.anomaly_count, state.bad_lines) == (0, 0), list(state.anomalies)
        assert not [event for event in bench.events(AttemptExited) if event.end.passed]
        wait_until(lambda: len(leftovers.find(str(bench.short))) <= 2, what="nothing but the supervisor and what it forks from")


class ShimWalk(Walk):
    who = "shim"
    command = "pytest -q"

    def act(self, program: str) -> Outcome:
        faulty = self.bench.short / "faulty-session"
        faulty.write_text(self.session.replace(shellenv.interpreter(), program))
        guard = self.bench.short / "faulty-env"
        guard.write_text(shellscripts.guard_line(str(faulty)) + "\n")
        real, self.bench.env_file = self.bench.env_file, guard
        try:
            output, code, _ = self.bench.bash(self.command, told=False, announced=True)
            seen = Outcome(TOLD.sub(b"", output), code)
            if seen != (self.text.encode(), 3):
                # Judged here, by what the fault allows, and not by the checker of histories.
                self.bench.deliveries = [item for item in self.bench.deliveries if item.code != code]
            return seen
        finally:
            self.bench.env_file = real

    def judge(self, seen: Outcome, fault: Fault) -> None:
        whole = self.text.encode()
        if fault.do.startswith("kill"):
            assert seen.code in (3, KILLED), seen
            assert whole.startswith(seen.output) if seen.code == KILLED else seen.output == whole, seen
            assert self.runs() - self.before <= 1 + self.recorded
        elif fault.call == "execve" and seen.code == 126:
            assert seen.output.endswith(b"Cannot allocate memory\n") or "2>/dev/null" in self.command
        elif fault.call == "write" and fault.do != "short" and seen.code == 3:
            assert whole.startswith(seen.output), seen  # the command's own output found no room: lost as it would have been
        else:
            assert seen == Outcome(whole, 3), seen
            assert self.runs() - self.before <= 1 + self.recorded

    recorded = 0
    """How often `prepare` ran the check."""


class Record(ShimWalk):
    name = "record"


class RecordPiped(ShimWalk):
    name = "record-piped"
    command = "pytest -q 2>/dev/null | cat; exit ${PIPESTATUS[0]}"


class Replay(ShimWalk):
    name = "replay"
    recorded = 1

    def prepare(self) -> None:
        assert self.bench.bash("pytest -q", told=False, announced=True)[:2] == (self.text.encode(), 3)
        wait_until(lambda: not self.bench.state().open_attempts(), what="its end")


class ReplayPiped(Replay):
    name = "replay-piped"
    command = RecordPiped.command

    def prepare(self) -> None:
        assert self.bench.bash(self.command, told=False, announced=True)[:2] == (self.text.encode(), 3)
        wait_until(lambda: not self.bench.state().open_attempts(), what="its end")


class Attach(ShimWalk):
    """Begins while another shim runs the command."""

    name = "attach"
    recorded = 1

    def act(self, program: str) -> Outcome:
        hold = Path(self.bench.env["HOME"]) / "hold"
        hold.touch()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(self.bench.bash, "pytest -q", told=False, announced=True)
            try:
                wait_until(lambda: self.runs() > self.before, what="the first one's run")
                before = self.attached()
                second = pool.submit(super().act, program)
                wait_until(
                    lambda: second.done() or self.attached() > before or self.runs() > self.before + 1,
                    what="the question of the second, or its own run",
                )
            finally:
                hold.unlink()
            assert first.result()[:2] == (self.text.encode(), 3)
            return second.result()

    def attached(self) -> int:
        return sum(path.read_bytes().count(b'"do":"attach"') for path in Path(self.bench.paths.folder).glob("events*.jsonl"))


class Through(ShimWalk):
    """What is never recorded: an input that is not empty."""

    name = "through"
    command = "echo word | pytest -q"


class ClientWalk(Walk):
    who = "client"
    event = "UserPromptSubmit"
    fields: ClassVar[dict[str, object]] = {"prompt": "p"}

    def act(self, program: str) -> Outcome:
        self.bench.client_python = program
        try:
            done = self.bench.hook(self.event, **self.fields)
        finally:
            self.bench.client_python = shellenv.interpreter()
        return Outcome(done.stdout + done.stderr, done.returncode)

    def judge(self, seen: Outcome, fault: Fault) -> None:
        """A hook that says nothing holds nothing; 2 would block the session."""
        if fault.do.startswith("kill"):
            assert seen.code in (0, -9), seen
            assert seen.output == b"" or seen.code == 0 or json.loads(seen.output)
        else:
            assert seen.code == 0, seen
            assert seen.output == b"" or set(json.loads(seen.output)) == {"systemMessage"}, seen
        assert self.runs() == self.before

    def after(self) -> None:
        done = self.bench.hook("UserPromptSubmit", prompt="p")
        assert (done.returncode, done.stderr) == (0, b"")
        super().after()


class Ask(ClientWalk):
    name = "hook"


class Start(ClientWalk):
    """No supervisor there: the hook starts one."""

    name = "hook-start"
    event = "SessionStart"
    fields: ClassVar[dict[str, object]] = {"source": "resume"}

    def prepare(self) -> None:
        self.bench.stop()


class End(ClientWalk):
    name = "hook-end"
    event = "SessionEnd"
    fields: ClassVar[dict[str, object]] = {"reason": "other"}


WALKS = (Record, RecordPiped, Replay, ReplayPiped, Attach, Through, Ask, Start, End)


def point(walk: Walk, fault: Fault, number: int) -> bool:
    """Do one walk with one fault; say whether it happened."""
    walk.fresh(number)
    walk.prepare()
    seen = walk.act(interpreter(walk.bench.short, fault))
    walk.judge(seen, fault)
    walk.after()
    return (walk.bench.short / "fired").exists()


def traced(walk: Walk) -> list[Step]:
    point(walk, Fault(walk.who, "any", 0, "trace"), 0)
    return steps(walk.bench.short)


def sample(walk: Walk, found: list[Step]) -> list[Step]:
    """Some of the steps: the last of each kind of call in each process where the walk is one that does everything, else a few of all."""
    if isinstance(walk, Record | Start):
        return list({(step.depth, step.call): step for step in found}.values())
    return found[3 :: max(1, len(found) // 4)]


class Findings:
    """Every point is done; what was wrong is told at the end, each with its point."""

    def __init__(self) -> None:
        self.points = 0
        self.wrong: list[str] = []

    def add(self, walk: Walk, fault: Fault, number: int) -> bool:
        self.points += 1
        try:
            return point(walk, fault, number)
        except AssertionError as error:
            self.wrong.append(f"{walk.name}, {fault}: {error}")
            return True


@pytest.mark.damages_log("wrong delivery", reason="a shim is killed after its command ended: its caller sees the kill, the record the end")
@pytest.mark.parametrize("kind", WALKS, ids=lambda kind: kind.name)
def test_c1_an_island_killed_before_any_step_loses_no_command_and_invents_no_exit(bench, kind):
    walk = kind(bench)
    found = traced(walk)
    findings = Findings()
    if SOAK:
        for depth in sorted({step.depth for step in found}):
            number = 1
            while findings.add(walk, Fault(walk.who, "any", number, "kill-before", depth), number):
                number += 1
    else:
        for step in sample(walk, found):
            findings.add(walk, Fault(walk.who, "any", step.at, "kill-before", step.depth), step.at)
    print(f"scale: {'soak' if SOAK else 'everyday'}, {walk.name}: {len(found)} steps, {findings.points} kills")
    assert not findings.wrong, "\n".join(findings.wrong)


@pytest.mark.parametrize("kind", WALKS, ids=lambda kind: kind.name)
def test_c2_an_island_with_any_call_failing_once_loses_no_command_and_invents_no_exit(bench, kind):
    walk = kind(bench)
    found = [step for step in traced(walk) if step.call in ERRORS]
    findings = Findings()
    for step in found if SOAK else sample(walk, found):
        at = sum(other.call == step.call and other.depth == step.depth and other.at <= step.at for other in found)
        for how in ERRORS[step.call] if SOAK else ERRORS[step.call][:1]:
            findings.add(walk, Fault(walk.who, step.call, at, how, step.depth), step.at)
    print(f"scale: {'soak' if SOAK else 'everyday'}, {walk.name}: {len(found)} steps that can fail, {findings.points} failures")
    assert not findings.wrong, "\n".join(findings.wrong)


def test_c2_a_file_that_takes_no_more_is_not_an_exit_code_0(bench):
    """The command wrote to our own file and noticed nothing: only we can say so."""
    walk = Record(bench)
    bench.tool("pytest", "cat src.py")
    walk.fresh(0)
    assert walk.act(interpreter(bench.short, Fault("shim", "any", 0, "trace"))).code == 0
    found = steps(bench.short)
    first = next(step for step in found if step.call == "write" and step.fd == 1)
    at = sum(step.call == "write" and step.depth == 0 and step.at <= first.at for step in found)
    walk.fresh(1)
    seen = walk.act(interpreter(bench.short, Fault("shim", "write", at, "ENOSPC")))
    assert seen == Outcome(b"pytest: write error: No space left on device\n", 1)


@pytest.mark.parametrize("how", ["damaged", "empty"])
def test_a_shim_that_cannot_be_imported_is_replaced_by_the_tool(bench, how):
    """An installation that is being replaced, a disk that fails."""
    walk = Record(bench)
    broken = bench.short / "broken"
    broken.mkdir()
    (broken / "shim.py").write_text("def main(:\n" if how == "damaged" else "")
    walk.session = walk.session.replace(shellenv.islands(), str(broken))
    walk.fresh(1)
    seen = walk.act(shellenv.interpreter())
    assert seen == Outcome(walk.text.encode(), 3)
    assert walk.runs() - walk.before == 1

"""A life of a project: sessions, strangers, and all that they do, a round at a time. Each method of a kind is one thing that happens.

What happens is done to the world first and told to nobody but by the hooks that the host really has for it.

It is one idea in one file: all that may happen around a check, side by side.
"""

from __future__ import annotations

import collections
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from stretto.testing.simulation import Proc, Violation

from .place import Place
from .stage import SPOILED, Being, Finding, Session, Stage, playing

ROUNDS = 10
"""Rounds of one life."""
COMMANDS = (
    ("pytest", "-q"),
    ("pytest", "-q"),
    ("mypy", "src"),
    ("make", "test"),
    ("ruff", "check", "."),
    ("pytest", "-q", "tests/api"),
)
REAL = (
    ("make", "-B", "test"),
    ("go", "test", "-count=1", "./..."),
    ("go", "test", "-count", "3", "./..."),
    ("pytest", "-q", "--count=5"),
    ("pytest", "-q", "--flake-finder"),
    ("mypy", "--no-incremental", "src"),
    ("ruff", "check", "--no-cache", "."),
    ("jest", "--no-cache"),
)
UNKNOWN = "./deploy.sh"
TOLD_PER_CALL = (b"CLAUDE_CODE_MESSAGING_TOKEN", b"CLAUDE_CODE_CHILD_NOTES_DIR", b"CLAUDE_EFFORT")
"""What the host says anew with each call."""
Act = Callable[[Proc], object]

GROUPS: dict[str, tuple[str, ...]] = {
    "calm": (
        "writes",
        "stranger_edits",
        "stranger_edits_behind_a_link",
        "reads",
        "prompts",
        "turn_ends",
        "time_passes",
        "subagent_reads",
        "asks_twice_at_once",
        "asks_after_other_words_of_the_host",
        "restart",
    ),
    "effects": (
        "unknown_bash",
        "escaped",
        "subagent_beside",
        "batch_in_odd_order",
        "mcp_tool",
        "unknown_tool",
        "skill_command",
        *(f"spoiled_{how}" for how in SPOILED),
    ),
    "lasting": ("background_call", "ampersand", "server_lives_on", "monitor_tool"),
    "unheard": ("hooks_gone", "other_project_writes", "other_project_asks"),
    "caller": ("outside_any_session", "leftover_asks", "leftover_forges", "test_forges", "nested_call", "wrapper_of_the_name", "git_hook"),
    "real": ("real_option", "real_loop", "real_time", "real_hyperfine"),
    "environment": (
        "pwd_by_link",
        "width",
        "height",
        "pytest_addopts",
        "random_variable",
        "path_prefix",
        "umask",
        "memory_limit",
        "git_variable",
        "asks_under_a_trace",
    ),
    "outside": ("pythonpath_edit", "path_dependency_edit", "editable_outside_edit", "steered_by_configuration"),
    "ahead": ("server_around", "linter_that_fixes", "stranger_moves_while_idle", "stranger_moves_after_escape"),
}
KINDS = tuple(name for names in GROUPS.values() for name in names)
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


class Lasting:
    """Something that goes on after its call has ended."""

    def __init__(self, proc: Being, stirs: int, *, said: bool) -> None:
        self.proc, self.stirs, self.said = proc, stirs, said


class Life(Stage):
    """Sessions and what happens around them."""

    def __init__(self, seed: int, place: Place, kinds: Collection[str] = KINDS) -> None:
        super().__init__(seed, place)
        self.kinds = tuple(name for name in KINDS if name in kinds)
        self.lasting: list[tuple[Session, Lasting]] = []
        self.sessions: list[Session] = []
        self.met: collections.Counter[str] = collections.Counter()
        self.shells = self.process("terminal").pid
        if self.rng.random() < 0.25:
            self.env[b"PATH"] = bytes(f"{place.venv}/bin:", "utf-8") + self.env[b"PATH"]

    # --- the host

    def session(self) -> Session:
        """Return one that is open and heard."""
        heard = [session for session in self.sessions if session.hooks]
        if not heard or (len(heard) < 3 and self.rng.random() < 0.1):
            self.ids += 1
            session = Session(f"s{self.ids}", self.process("claude"))
            self.sessions.append(session)
            self.hook(session, "SessionStart", source="startup")
            return session
        return self.rng.choice(heard)

    def env_of(self, session: Session | None, more: Mapping[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        env = dict(self.env)
        if session is not None:
            env[b"CLAUDE_CODE_SESSION_ID"] = session.id.encode()
            env[b"CLAUDE_PID"] = b"%d" % session.claude.pid
        env.update(more or {})
        return env

    def bash(
        self,
        session: Session,
        text: str,
        act: Act | None = None,
        *,
        tool: str = "Bash",
        agent: str = "",
        spoil: str = "",
        ends: bool = True,
        **given: object,
    ) -> str:
        """Run a tool of a session, from its first hook to its batch; `act` is done in its process."""
        call = self.begins(session, text, tool=tool, agent=agent, spoil=spoil, **given)
        if tool in ("Bash", "Monitor") and not given.get("run_in_background"):
            shell = self.shell(session, text)
            if act is not None:
                act(shell)
            shell.alive = tool == "Monitor"
        elif act is not None:
            act(self.process("node", session.claude.pid))
        if ends:
            self.ends(session, [call], agent=agent, spoil=spoil)
        return str(call["tool_use_id"])

    def begins(
        self, session: Session, text: str, *, tool: str = "Bash", agent: str = "", spoil: str = "", **given: object
    ) -> dict[str, Any]:
        session.calls += 1
        call = {"tool_name": tool, "tool_use_id": f"{session.id}-t{session.calls}", "tool_input": {"command": text, **given}}
        rest = {name: value for name, value in call.items() if name != "tool_name"} | ({"agent_id": agent} if agent else {})
        self.hook(session, "PreToolUse", tool, spoil, **rest)
        return call

    def ends(self, session: Session, calls: Iterable[dict[str, Any]], *, agent: str = "", spoil: str = "") -> None:
        more = {"agent_id": agent} if agent else {}
        calls = list(calls)
        for call in calls:
            rest = {name: value for name, value in call.items() if name != "tool_name"}
            self.hook(session, "PostToolUse", str(call["tool_name"]), spoil, tool_response={"stdout": ""}, **rest, **more)
        self.hook(session, "PostToolBatch", "", spoil, tool_calls=calls, **more)

    def ask(
        self,
        session: Session,
        argv: tuple[str, ...],
        more: Mapping[bytes, bytes] | None = None,
        *,
        text: str = "",
        agent: str = "",
        **given: Any,
    ) -> None:
        """A session calls a check by a Bash call of its own."""
        self.stir()

        def act(shell: Proc) -> None:
            self.stir()
            self.check(argv, shell.pid, self.env_of(session, more), session=session, **given)

        self.bash(session, text or " ".join(argv), act, agent=agent)

    def elsewhere(self) -> None:
        """Something changes that no look can show."""
        self.outside += 1
        self.touched()

    def stir(self) -> None:
        """What goes on in the background may do something now, or come to its end."""
        for session, each in list(self.lasting):
            if self.rng.random() < 0.6:
                each.stirs -= 1
                each.proc.worked += 1
                if not each.proc.serves:
                    self.elsewhere()
            if each.stirs <= 0:
                self.lasting.remove((session, each))
                each.proc.alive = False
                if each.proc.serves:
                    self.service = any(other.proc.serves for _, other in self.lasting)
                    self.touched()
                if each.said:
                    self.hook(session, "UserPromptSubmit", prompt="<task-notification>\n<status>completed</status>")

    def wait(self) -> None:
        """Let some time pass, often so much that what runs ahead ends."""
        if self.rng.random() < 0.5:
            self.settle()
        else:
            self.advance(self.rng.choice((0.2, 1.0, 3.0)))

    # --- calm: what every check may be answered after, unless a look shows otherwise

    def writes(self, session: Session, argv: tuple[str, ...]) -> None:
        name = self.rng.choice(self.place.inside)
        path = str(self.place.paths[name])

        def write(_: Proc) -> None:
            self.place.write(name)
            self.touched()

        self.bash(session, "", write, tool="Edit", file_path=path)
        self.wait()

    def stranger_edits(self, session: Session, argv: tuple[str, ...]) -> None:
        self.place.write(self.rng.choice(self.place.inside))
        self.touched()
        if self.engine is not None and self.rng.random() < 0.7:
            self.engine.poke()
        self.wait()

    def stranger_edits_behind_a_link(self, session: Session, argv: tuple[str, ...]) -> None:
        self.place.write("link")
        self.touched()

    def reads(self, session: Session, argv: tuple[str, ...]) -> None:
        self.bash(session, "cat a.py")

    def prompts(self, session: Session, argv: tuple[str, ...]) -> None:
        self.hook(session, "UserPromptSubmit", prompt="go on")

    def turn_ends(self, session: Session, argv: tuple[str, ...]) -> None:
        self.hook(session, "Stop", stop_hook_active=False)

    def time_passes(self, session: Session, argv: tuple[str, ...]) -> None:
        self.advance(self.rng.choice((0.3, 2.0, 8.0)))

    def subagent_reads(self, session: Session, argv: tuple[str, ...]) -> None:
        self.bash(session, "grep -n x a.py", agent="a1")
        self.hook(session, "SubagentStop", agent_id="a1", stop_hook_active=False)

    def asks_twice_at_once(self, session: Session, argv: tuple[str, ...]) -> None:
        """A subagent and its main agent run the same check at the same time."""
        self.ask(session, argv, during=lambda *_: self.ask(session, argv, agent="a2"), lasts_s=self.rng.choice((0.5, 3.0)))

    def asks_under_a_trace(self, session: Session, argv: tuple[str, ...]) -> None:
        for _ in range(2):
            span = f"00-{self.rng.getrandbits(128):032x}-{self.rng.getrandbits(64):016x}-01".encode()
            self.ask(session, argv, {b"TRACEPARENT": span, b"TRACESTATE": b"a=" + span[-4:], b"BAGGAGE": b"b=" + span[-3:]})
        self.writes(session, argv)

    def asks_after_other_words_of_the_host(self, session: Session, argv: tuple[str, ...]) -> None:
        self.ask(session, argv, {name: b"%d" % self.rng.getrandbits(30) for name in TOLD_PER_CALL})

    def restart(self, session: Session, argv: tuple[str, ...]) -> None:
        """The supervisor is killed; the next hook starts another one."""
        self.supervisor_dies()

    # --- effects: what a session does that nobody knows the effects of

    def unknown_bash(self, session: Session, argv: tuple[str, ...]) -> None:
        self.bash(session, UNKNOWN, lambda _: self.elsewhere())

    def escaped(self, session: Session, argv: tuple[str, ...]) -> None:
        """Esc: no hook says how it ended, and it may be over before or after the next prompt."""
        self.bash(session, UNKNOWN, lambda _: self.elsewhere(), ends=False)
        self.hook(session, "UserPromptSubmit", prompt="no, rather so")

    def subagent_beside(self, session: Session, argv: tuple[str, ...]) -> None:
        call = self.begins(session, UNKNOWN, agent="a3")
        beside = self.shell(session, UNKNOWN)
        for _ in range(2):
            self.elsewhere()
            self.ask(session, argv)
        self.elsewhere()
        beside.alive = False
        self.ends(session, [call], agent="a3")

    def batch_in_odd_order(self, session: Session, argv: tuple[str, ...]) -> None:
        first, second = self.begins(session, " ".join(argv), agent="a4"), self.begins(session, UNKNOWN)
        shell = self.shell(session, " ".join(argv))
        self.shell(session, UNKNOWN).alive = False
        self.elsewhere()
        self.check(argv, shell.pid, self.env_of(session), session=session)
        self.elsewhere()
        shell.alive = False
        self.ends(session, [first], agent="a4")  # of a subagent that ran beside
        self.ask(session, argv)
        self.elsewhere()
        self.ends(session, [second])

    def mcp_tool(self, session: Session, argv: tuple[str, ...]) -> None:
        self.bash(session, "", lambda _: self.elsewhere(), tool=self.rng.choice(("mcp__db__query", "mcp__files__write")))

    def unknown_tool(self, session: Session, argv: tuple[str, ...]) -> None:
        self.bash(session, "", lambda _: self.elsewhere(), tool=self.rng.choice(("Frobnicate", "PowerShell", "SpawnThing")))

    def skill_command(self, session: Session, argv: tuple[str, ...]) -> None:
        """The text of a skill runs a command: of that only one event tells, and it does not say when it ends."""
        session.calls += 1
        self.hook(session, "PreSkillShellCommand", command=UNKNOWN, skill_name="deploy")
        shell = self.shell(session, UNKNOWN)
        self.elsewhere()
        shell.alive = False

    def _spoiled(self, session: Session, how: str) -> None:
        self.bash(session, UNKNOWN, lambda _: self.elsewhere(), spoil=how)

    # --- lasting: what writes after its call has ended

    def _goes_on(self, session: Session, proc: Being, *, said: bool) -> None:
        self.lasting.append((session, Lasting(proc, self.rng.choice((1, 2, 4)), said=said)))

    def _left_by(self, shell: Proc) -> Being:
        """What a shell started and left behind: it has init for a parent and the session's environment."""
        proc = self.process("left running", shell.pid)
        self.parents[proc.pid] = 1
        return proc

    def background_call(self, session: Session, argv: tuple[str, ...]) -> None:
        call = self.begins(session, UNKNOWN, run_in_background=True)
        shell = self.shell(session, UNKNOWN)
        self.ends(session, [call])
        self._goes_on(session, shell, said=True)
        self.ask(session, argv)
        self.ask(session, argv)

    def ampersand(self, session: Session, argv: tuple[str, ...]) -> None:
        left: list[Being] = []
        self.bash(session, f"( sleep 4; {UNKNOWN} ) >/dev/null 2>&1 &", lambda shell: left.append(self._left_by(shell)))
        self._goes_on(session, left[0], said=False)
        self.ask(session, argv)
        self.ask(session, argv)

    def server_lives_on(self, session: Session, argv: tuple[str, ...]) -> None:
        """A call starts a server and leaves it running; some time it ends by itself."""
        api = ("pytest", "-q", "tests/api")
        left: list[Being] = []

        def start(shell: Proc) -> None:
            left.append(self._left_by(shell))
            left[0].serves = self.service = True
            self.touched()

        self.bash(session, "./serve.sh &", start)
        self._goes_on(session, left[0], said=False)
        self.ask(session, api)
        self.ask(session, api)

    def monitor_tool(self, session: Session, argv: tuple[str, ...]) -> None:
        """Its command goes on until the host says that it is over; our functions meet it, our hooks need not."""
        shells: list[Being] = []
        text = f"while :; do {UNKNOWN}; done"
        call = self.begins(session, text, tool="Monitor", description="watch")
        shells.append(self.shell(session, text))
        self.ends(session, [call])
        self._goes_on(session, shells[0], said=True)
        self.ask(session, argv)
        self.ask(session, argv)

    # --- unheard: what no hook of ours tells of

    def hooks_gone(self, session: Session, argv: tuple[str, ...]) -> None:
        session.hooks = False
        self.bash(session, UNKNOWN, lambda _: self.elsewhere())
        self.ask(session, argv)

    def _stranger(self) -> Session:
        """A session of another project: its hooks go to another supervisor."""
        self.ids += 1
        other = Session(f"o{self.ids}", self.process("claude"))
        other.hooks = other.here = False
        return other

    def other_project_writes(self, session: Session, argv: tuple[str, ...]) -> None:
        other = self._stranger()
        self.bash(other, "touch ../p/a.py")
        self.place.write("a.py")
        self.touched()

    def other_project_asks(self, session: Session, argv: tuple[str, ...]) -> None:
        other = self._stranger()
        self.bash(other, UNKNOWN, lambda _: self.elsewhere())
        self.ask(other, argv)
        self.ask(session, argv)
        self.bash(other, UNKNOWN, lambda _: self.elsewhere())
        self.ask(other, argv)

    # --- caller: who asks

    def outside_any_session(self, session: Session, argv: tuple[str, ...]) -> None:
        self.elsewhere()
        self.check(argv, self.shells, self.env_of(None), session=None)

    def _left_by_a_test(self, session: Session) -> Being:
        left = self.process("left by a test")
        left.session = session.id
        return left

    def leftover_asks(self, session: Session, argv: tuple[str, ...]) -> None:
        """What a test left running has the session's environment and no host above it."""
        left = self._left_by_a_test(session)
        self.elsewhere()
        self.check(argv, left.pid, self.env_of(session), session=None, via="path")

    def leftover_forges(self, session: Session, argv: tuple[str, ...]) -> None:
        left = self._left_by_a_test(session)
        self.check(argv, left.pid, self.env_of(session), session=None, forged=True)

    def test_forges(self, session: Session, argv: tuple[str, ...]) -> None:
        """A process of a test asks as a shim does and tells an end that never was, while the check that it is part of goes on."""

        def inside(child: Proc, env: Mapping[bytes, bytes]) -> None:
            evil = self.process("part of a test", child.pid)
            self.check(("pytest", "-q"), evil.pid, env, session=None, via="path", forged=True)
            evil.alive = False

        self.ask(session, ("make", "test"), during=inside)
        self.ask(session, ("pytest", "-q"))

    def nested_call(self, session: Session, argv: tuple[str, ...]) -> None:
        def inside(child: Proc, env: Mapping[bytes, bytes]) -> None:
            self.check(("pytest", "-q"), child.pid, {**env, b"MAKELEVEL": b"1"}, session=session, via="path")

        self.ask(session, ("make", "test"), during=inside)

    def wrapper_of_the_name(self, session: Session, argv: tuple[str, ...]) -> None:
        """A wrapper of the user's that calls the next one on PATH, which is ours again."""

        def inside(child: Proc, env: Mapping[bytes, bytes]) -> None:
            self.check(("pytest", "-q"), child.pid, {**env, b"SHLVL": b"2"}, session=session, via="path")

        path = bytes(f"{self.place.own_tools}:", "utf-8") + self.env[b"PATH"]
        self.writes(session, argv)
        self.supervisor_quiet()
        self.ask(session, ("pytest", "-q"), {b"PATH": path}, during=inside)

    def supervisor_quiet(self) -> None:
        """What ran ahead of this call is out of date: it runs itself."""
        self.place.write("a.py")
        self.touched()

    def git_hook(self, session: Session, argv: tuple[str, ...]) -> None:
        """`git commit` calls the project's hook, which calls the check with git's variables, some of them new each time."""
        more = {b"GIT_INDEX_FILE": b".git/index.lock", b"GIT_AUTHOR_DATE": b"@%d" % self.rng.getrandbits(30), b"GIT_PREFIX": b""}

        def commit(shell: Proc) -> None:
            git = self.process("git", shell.pid)
            self.check(argv, git.pid, self.env_of(session, more), session=session, via="path")

        for _ in range(2):
            self.bash(session, "git commit -qam x", commit)
            self.writes(session, argv)

    # --- real: who asks for a real run

    def real_option(self, session: Session, argv: tuple[str, ...]) -> None:
        argv = self.rng.choice(REAL)
        for _ in range(2):
            self.ask(session, argv, real="an option says so")

    def real_loop(self, session: Session, argv: tuple[str, ...]) -> None:
        env = self.env_of(session)

        def loop(shell: Proc) -> None:
            for turn in range(3):
                self.check(argv, shell.pid, env, session=session, real="the same again in one command" if turn else "")

        words = " ".join(argv)
        text = self.rng.choice((f"for i in 1 2 3; do {words}; done", f"{words} && {words} && {words}", f"{words}; {words}; {words}"))
        self.bash(session, text, loop)

    def real_time(self, session: Session, argv: tuple[str, ...]) -> None:
        self.ask(session, argv, text=f"time {' '.join(argv)}", real="it is timed")

    def real_hyperfine(self, session: Session, argv: tuple[str, ...]) -> None:
        words = " ".join(argv)

        def measure(shell: Proc) -> None:
            for _ in range(2):
                tool = self.process("hyperfine", shell.pid)
                self.check(argv, self.process("sh", tool.pid).pid, self.env_of(session), session=session, via="path", real="it is timed")

        self.bash(session, f"hyperfine '{words}'", measure)

    # --- environment: with what it is asked

    def pwd_by_link(self, session: Session, argv: tuple[str, ...]) -> None:
        link = str(self.place.link)
        self.ask(session, argv, {b"PWD": link.encode()}, cwd=link, text=f"cd {link} && {' '.join(argv)}")

    def _set(self, session: Session, argv: tuple[str, ...], name: str, values: Collection[str]) -> None:
        value = self.rng.choice(tuple(values))
        form = self.rng.choice(("{0}={1} {2}", "export {0}={1}; {2}"))
        self.ask(session, argv, {name.encode(): value.encode()}, text=form.format(name, value, " ".join(argv)))

    def width(self, session: Session, argv: tuple[str, ...]) -> None:
        self._set(session, argv, "COLUMNS", ("80", "200"))

    def height(self, session: Session, argv: tuple[str, ...]) -> None:
        self._set(session, argv, "LINES", ("7", "50"))

    def pytest_addopts(self, session: Session, argv: tuple[str, ...]) -> None:
        self._set(session, argv, "PYTEST_ADDOPTS", ("-x", "--maxfail=2"))

    def random_variable(self, session: Session, argv: tuple[str, ...]) -> None:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
        name = "".join(self.rng.choice(letters) for _ in range(self.rng.randint(1, 12)))
        self._set(session, argv, f"Z{name}", ("0", "1"))

    def path_prefix(self, session: Session, argv: tuple[str, ...]) -> None:
        path = f"{self.place.base}/{self.rng.choice(('x', 'y'))}:" + self.env[b"PATH"].decode()
        self._set(session, argv, "PATH", (path,))

    def umask(self, session: Session, argv: tuple[str, ...]) -> None:  # type: ignore[override]
        self.mask = "0077"
        self.ask(session, argv)
        self.mask = "0022"

    def memory_limit(self, session: Session, argv: tuple[str, ...]) -> None:
        """The host limits its Bash calls from here on."""
        self.env[b"CLAUDE_CODE_TOOL_MEMORY_LIMIT"] = self.rng.choice((b"1G", b"2G"))
        self.ask(session, argv)
        self.writes(session, argv)
        self.settle()
        self.ask(session, argv)

    def git_variable(self, session: Session, argv: tuple[str, ...]) -> None:
        self._set(session, argv, "GIT_DIR", ("/elsewhere/.git", ".git"))

    # --- outside: what the project leads to

    def _elsewhere_edit(self, session: Session, argv: tuple[str, ...], name: str, more: Mapping[bytes, bytes]) -> None:
        self.ask(session, argv, more)
        self.place.write(name)
        self.touched()
        self.ask(session, argv, more)

    def pythonpath_edit(self, session: Session, argv: tuple[str, ...]) -> None:
        self._elsewhere_edit(session, argv, "lib", {})

    def path_dependency_edit(self, session: Session, argv: tuple[str, ...]) -> None:
        self._elsewhere_edit(session, argv, "dep", {})

    def editable_outside_edit(self, session: Session, argv: tuple[str, ...]) -> None:
        venv = bytes(f"{self.place.venv}/bin:", "utf-8")
        path = self.env[b"PATH"]
        self._elsewhere_edit(session, ("pytest", "-q"), "editable", {b"PATH": path if path.startswith(venv) else venv + path})

    def steered_by_configuration(self, session: Session, argv: tuple[str, ...]) -> None:
        """What an earlier run left decides what the next one does, and no option on the line says so."""
        option = self.rng.choice(("--testmon", "--picked"))
        self.place.configure(f'addopts = "-q {option}"\n')
        self.touched()
        for _ in range(2):
            self.ask(session, ("pytest", "-q"), real="an earlier run steers it")
        self.place.configure("")
        self.touched()

    # --- ahead

    def linter_that_fixes(self, session: Session, argv: tuple[str, ...]) -> None:
        self.settle()
        self.lint_fixes = True
        self.place.configure("[tool.ruff]\nfix = true\n")
        self.touched()
        for _ in range(2):
            self.ask(session, ("ruff", "check", "."))
            self.writes(session, argv)
            self.settle()
        self.place.configure("")
        self.touched()
        self.settle()
        self.lint_fixes = False

    def server_around(self, session: Session, argv: tuple[str, ...]) -> None:
        """Each call starts what its tests need and stops it again; what runs ahead has it not."""
        api = ("pytest", "-q", "tests/api")
        before = self.service

        def around(shell: Proc) -> None:
            server = self.process("http.server", shell.pid)
            server.serves = self.service = True
            self.check(api, shell.pid, self.env_of(session), session=session, brings=True)
            self.service = before
            server.alive = False

        for _ in range(3):
            self.bash(session, "python3 -m http.server 8000 & sleep 0.7; pytest -q tests/api; kill %1", around)
            self.writes(session, argv)
            self.settle()
            self.reads(session, argv)
        self.turn_ends(session, argv)

    def _stranger_moves(self) -> None:
        """Somebody else moves the tree while nothing that a session started lives: what that writes would be the session's own."""
        hosts = {session.claude.pid for session in self.sessions}
        for being in self.beings():
            being.alive = being.pid in hosts or being.what == "supervisor" or being.what.startswith("monitor")
        self.shells = self.process("terminal").pid
        self.lasting.clear()
        self.service = False
        self.touched()
        self.settle()
        self.advance(30.0)
        self.stranger_moved_s = self.mono
        for name in self.place.inside:
            self.place.write(name)
        self.touched()
        if self.engine is not None:
            self.engine.poke()
        self.settle()
        self.stranger_moved_s = None

    def stranger_moves_while_idle(self, session: Session, argv: tuple[str, ...]) -> None:
        self.advance(2.0)
        self.turn_ends(session, argv)
        self._stranger_moves()

    def stranger_moves_after_escape(self, session: Session, argv: tuple[str, ...]) -> None:
        """The last that was heard of the session is a call of its own: Esc ends its turn, and no hook says so."""
        self.ask(session, argv)
        self._stranger_moves()

    # --- rounds

    def happens(self, name: str, session: Session, argv: tuple[str, ...]) -> None:
        self.met[name] += 1
        if name.startswith("spoiled_"):
            self._spoiled(session, name.removeprefix("spoiled_"))
        else:
            getattr(self, name)(session, argv)

    def round(self) -> None:
        """Often a run first; then some things that happen; then the question."""
        rng = self.rng
        session, argv = self.session(), rng.choice(COMMANDS)
        self.kind = "before anything"
        if rng.random() < 0.8:
            self.ask(session, argv)
        names = rng.sample(self.kinds, min(len(self.kinds), rng.choice((1, 1, 1, 2, 3))))
        for name in names:
            self.kind = "+".join(names)
            self.happens(name, session, argv)
        self.ask(self.session(), argv)

    def close(self) -> None:
        if self.engine is not None:
            self.supervisor_dies()


class Bag(NamedTuple):
    """What a hunt brought home."""

    rounds: int
    findings: list[tuple[int, int, Finding]]
    """Seed, round and what was found."""
    answers: collections.Counter[str]
    needless: collections.Counter[str]
    met: collections.Counter[str]


def hunt(seeds: Iterable[int], kinds: Collection[str] = KINDS, *, rounds: int = ROUNDS, first: bool = False, git: bool = False) -> Bag:
    """Play lives; `first` ends with the first thing found."""
    findings: list[tuple[int, int, Finding]] = []
    answers: collections.Counter[str] = collections.Counter()
    needless: collections.Counter[str] = collections.Counter()
    met: collections.Counter[str] = collections.Counter()
    played = 0
    base = Path(tempfile.mkdtemp(prefix="hunt-"))
    try:
        place = Place(base, git=git)
        for seed in seeds:
            life = Life(seed, place, kinds)
            with playing(life), mock.patch.dict(os.environ, {"HOME": str(place.home)}):
                for number in range(rounds):
                    try:
                        life.round()
                    except Violation as error:
                        life.found("law", str(error))
                    played += 1
                    findings += [(seed, number, finding) for finding in life.findings]
                    if life.findings:
                        break  # what follows from it is not looked for
                life.close()
            answers += life.answers
            needless += life.needless
            met += life.met
            if first and findings:
                break
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return Bag(played, findings, answers, needless, met)

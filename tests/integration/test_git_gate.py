"""Commits and pushes: judged when the chain reaches them, and what passes by is reported (B-16 gate integrity)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.conftest import Bench
from integration.test_control import cli, hook
from stretto.model import GateDecided
from stretto.system import is_locked
from stretto.testing.wait import wait_until

RULES = b'gate = ["stop", "commit", "push"]\n'
CHECK = 'grep -q good src.py || { echo "FAILED t.py::test_it - not good"; exit 1; }'
LIMIT_S = 20.0


@pytest.fixture
def gated(short: Path, project: Path, state_base: Path, waived: frozenset[str]):
    """A project that wants commits judged, in git, with a check that passed in this session, and a source that is then broken."""
    from integration.conftest import _end

    one = Bench(short, project, state_base, RULES)
    (project / "src.py").write_text("good\n")
    one.env.update(
        GIT_AUTHOR_NAME="t",
        GIT_AUTHOR_EMAIL="t@example.invalid",
        GIT_COMMITTER_NAME="t",
        GIT_COMMITTER_EMAIL="t@example.invalid",
        GIT_CONFIG_NOSYSTEM="1",
    )
    git(one, "init", "-q")
    git(one, "add", "-A")
    git(one, "commit", "-qm", "first")
    git(one, "tag", "first")
    one.tool("pytest", CHECK)
    one.begin()
    one.hook("UserPromptSubmit", prompt="go")
    one.bash("pytest -q")
    yield one
    _end(one, waived)


def git(bench: Bench, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=bench.root, env=bench.env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commits(bench: Bench) -> int:
    """How many there are, with the first that `gated` made."""
    return int(git(bench, "rev-list", "--count", "first..HEAD")) + 1


def decisions(bench: Bench) -> list[tuple[str, str, str]]:
    return [(event.on, event.do, event.rule) for event in bench.events(GateDecided) if event.on in ("commit", "push")]


def go_red(bench: Bench) -> None:
    bench.edit("src.py", "bad\n")
    assert bench.bash("pytest -q")[1] == 1


def test_a_commit_on_red_is_refused_with_the_failing_lines_and_done_once_it_is_mended(gated):
    go_red(gated)
    out, code, _ = gated.bash("git commit -qam second")
    assert (code, commits(gated)) == (1, 1)
    text = out.decode()
    assert "«pytest -q» fails on the files as they are now" in text and "FAILED t.py::test_it - not good" in text
    assert "STRETTO=off git commit" in text
    gated.edit("src.py", "good again\n")
    gated.bash("pytest -q")
    assert gated.bash("git commit -qam second")[:2] == (b"", 0)
    assert commits(gated) == 2
    assert decisions(gated) == [("commit", "deny", "red"), ("commit", "allow", "clear")]


@pytest.mark.needs("zsh")
def test_a_commit_is_judged_in_zsh_as_well_and_other_calls_are_as_ever(gated):
    go_red(gated)
    assert gated.bash("git commit -qam second", shell="zsh")[1] == 1
    assert gated.bash("git status --short | wc -l", shell="zsh")[:2] == (b"1\n", 0)
    assert commits(gated) == 1


def test_a_chain_is_judged_when_it_reaches_the_commit(gated):
    """`pytest && git commit`: not by what was known when the line began."""
    go_red(gated)
    gated.edit("src.py", "good once more\n")
    out, code, _ = gated.bash("pytest -q && git commit -qam second")
    assert (out, code, commits(gated)) == (b"", 0, 2)
    gated.edit("src.py", "bad\n")
    _, code, _ = gated.bash("pytest -q; git commit -qam third")
    assert (code, commits(gated)) == (1, 2)


def test_what_is_stale_only_warns(gated):
    go_red(gated)
    gated.edit("README", "words\n", told=False)
    out, code, _ = gated.bash("git commit -qam second")
    assert (code, commits(gated)) == (0, 2)
    assert b"failed before the last change" in out or out == b""
    assert decisions(gated)[-1][1:] in (("allow", "stale"), ("allow", "red-told"))


def test_a_push_is_judged_too_and_a_look_is_not(gated, short):
    subprocess.run(["git", "init", "-q", "--bare", str(short / "origin")], env=gated.env, check=True)
    git(gated, "remote", "add", "origin", str(short / "origin"))
    go_red(gated)
    assert gated.bash("git push -q origin HEAD:main")[1] == 1
    assert gated.bash("git push -n -q origin HEAD:main")[1] == 0
    assert gated.bash("git commit --dry-run -q -am x")[1] == 0
    assert gated.bash("git log --oneline -- commit")[1] == 0
    assert [on for on, _, _ in decisions(gated)] == ["push"]


def test_another_repository_is_not_judged(gated, short):
    other = short / "other"
    other.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=other, env=gated.env, check=True)
    (other / "x").write_text("x\n")
    go_red(gated)
    assert gated.bash(f"git -C {other} add -A && git -C {other} commit -qm x")[1] == 0
    assert gated.bash(f"cd {other} && git commit -q --allow-empty -m y")[1] == 0
    assert decisions(gated) == []


def test_the_user_overrides_and_that_is_in_the_log(gated):
    """C-10."""
    go_red(gated)
    assert gated.bash("STRETTO=off git commit -qam second")[1] == 0
    assert commits(gated) == 2
    assert decisions(gated) == [("commit", "allow", "override")]


def test_a_block_of_commits_refuses_without_any_gate_in_the_rules(bench):
    (bench.root / "src.py").write_text("one\n")
    bench.env.update(GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@e", GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@e")
    git(bench, "init", "-q")
    git(bench, "add", "-A")
    bench.begin()
    block = hook(bench, "--exit", "2", "--reason", "the schema moves", "--scope", "commit").stdout.strip()
    out, code, _ = bench.bash("git commit -qm first")
    assert (code, b"the schema moves" in out) == (1, True)
    cli(bench, "unblock", block)
    assert bench.bash("git commit -qm first")[1] == 0


# --- B-16 ------------------------------------------------------------------------------------------------------------------------


def kill(bench: Bench) -> None:
    os.kill(bench.supervisor().pid, signal.SIGKILL)


def hang(bench: Bench) -> None:
    os.kill(bench.supervisor().pid, signal.SIGSTOP)


PAST = {
    "--no-verify": "git commit --no-verify -qam x",
    "core.hooksPath": "git -c core.hooksPath= commit -qam x",
    "in another shell": 'bash -c "git commit -qam x"',
    "without the function, as after our files went": "unset -f git; git commit -qam x",
    "by an alias": "git -c alias.ci=commit ci -qam x",
    "by its path": "/usr/bin/git commit -qam x",
    "below a tool": "env git commit -qam x",
    "by a program that is no shell": "python3 -c \"import subprocess; subprocess.run(['git', 'commit', '-qam', 'x'])\"",
}


@pytest.mark.parametrize("way", PAST)
def test_b16_a_commit_by_any_way_is_either_refused_or_reported(gated, way):
    go_red(gated)
    _, code, _ = gated.bash(PAST[way])
    if commits(gated) == 1:
        assert (code, decisions(gated)) == (1, [("commit", "deny", "red")])
        return
    assert decisions(gated)[-1] == ("commit", "allow", "passed-by")
    assert any("made past the gate" in notice for notice in gated.notices)


def test_b16_a_commit_outside_the_session_is_reported_at_the_next_batch(gated):
    """A graphical client, another terminal."""
    go_red(gated)
    git(gated, "commit", "-qam", "by hand")
    gated.bash("ls")
    assert decisions(gated)[-1] == ("commit", "allow", "passed-by")
    assert sum("made past the gate" in notice for notice in gated.notices) == 1
    gated.bash("ls")
    assert sum("made past the gate" in notice for notice in gated.notices) == 1


@pytest.mark.parametrize("break_it", [kill, hang], ids=["killed", "stopped"])
def test_b16_without_a_supervisor_a_commit_goes_through_and_a_line_says_that_nobody_judged_it(gated, break_it, monkeypatch):
    go_red(gated)
    process = gated.supervisor()
    break_it(gated)
    try:
        out, code, _ = gated.bash("git commit -qam second", told=False)
    finally:
        if break_it is hang:
            os.kill(process.pid, signal.SIGCONT)
    assert (code, commits(gated)) == (0, 2)
    assert b"was judged by nobody" in out


@pytest.mark.parametrize("answer", [b"\0\0\0\5junk!", b"{}\n", b""], ids=["no message of ours", "JSON", "nothing"])
def test_b16_an_answer_that_is_none_lets_git_go_on_and_says_that_nobody_judged_it(gated, answer):
    go_red(gated)
    kill(gated)
    wait_until(lambda: not is_locked(gated.paths.supervisor_lock), LIMIT_S, "its end")
    os.unlink(gated.paths.socket)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    here = os.getcwd()
    os.chdir(gated.paths.folder)
    server.bind("s")
    os.chdir(here)
    server.listen()

    def reply() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    with server, ThreadPoolExecutor(1) as pool:
        pool.submit(reply)
        out, code, _ = gated.bash("git commit -qam second", told=False)
    assert (code, commits(gated)) == (0, 2)
    assert b"was judged by nobody" in out


def test_no_gate_no_line_and_no_file(bench):
    """A project that did not ask for it sees nothing, with and without a supervisor."""
    bench.env.update(GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@e", GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@e")
    git(bench, "init", "-q")
    bench.begin()
    assert bench.bash("git commit -q --allow-empty -m one")[:2] == (b"", 0)
    kill(bench)
    assert bench.bash("git commit -q --allow-empty -m two", told=False)[:2] == (b"", 0)
    assert not os.path.exists(bench.paths.gates)


def test_other_calls_of_git_in_all_their_forms_are_as_without_us(gated):
    for command in (
        "git status --short",
        "git log --oneline | head -1",
        "(git rev-parse HEAD)",
        'x=$(git rev-parse HEAD); echo "$x"',
        "git nonsense; echo $?",
        "git commit --help >/dev/null 2>&1; echo $?",
    ):
        native = subprocess.run(
            ["/bin/bash", "-c", command], cwd=gated.root, env=gated.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        out, code, _ = gated.bash(command)
        assert (out, code) == (native.stdout, native.returncode)


def test_git_started_in_the_background_ends_with_its_subshell(gated, short):
    """`git x & kill $!` means git, also through a function."""
    mark = short / "pid"
    git(gated, "config", "alias.hang", f"!echo $$ >{mark}; exec sleep 300")
    gated.bash(f"git hang & while [ ! -s {mark} ]; do sleep 0.05; done; kill $!; wait $! 2>/dev/null; true")
    pid = int(mark.read_text())
    assert json.dumps(pid)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or "sleep" not in Path(f"/proc/{pid}/cmdline").read_text(), LIMIT_S, "its end")

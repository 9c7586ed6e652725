"""Installing where things are not as usual: all or nothing, what is shared stays for who needs it, words instead of a traceback."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from integration.test_cli import World, under, world  # noqa: F401  (a fixture)
from stretto import cli, gitexclude, install, repository, system, trust, worktrees
from stretto.errors import UserError
from stretto.testing import leftovers

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, or mount")


def git(world, *words, cwd=None):  # noqa: F811
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=cwd or world.project, env=world.env, capture_output=True, text=True, check=True)
    return done.stdout


def second_worktree(world, name="w2"):  # noqa: F811
    place = world.project.parent / name
    git(world, "worktree", "add", "-q", "-b", name, str(place))
    return place


# --- all of it or nothing ---------------------------------------------------------------------------------------------------


def refusing(monkeypatch, place):
    """Let every write below a folder fail, as on a file system that is mounted read-only."""
    real = install.atomic_write

    def write(path, data, **how):
        if path.startswith(str(place)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        real(path, data, **how)

    monkeypatch.setattr(install, "atomic_write", write)


def run_here(monkeypatch, world, *words, cwd=None):  # noqa: F811
    """Run a command line in this process, where a test may take its hands away."""
    for name in ("HOME", "STRETTO_STATE_DIR", "PATH"):
        monkeypatch.setenv(name, world.env[name])
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.chdir(cwd or world.project)
    return cli.run(words)


@pytest.mark.parametrize("scope", ["--user", "--project", ""])
@pytest.mark.parametrize("known", [False, True], ids=["first time", "granted before"])
def test_settings_that_cannot_be_written_leave_everything_as_it_was(world, monkeypatch, capsys, scope, known):  # noqa: F811
    """~/.claude/settings.json as a link into a read-only store: the grant stood all the same."""
    store = world.project.parent / "store"
    store.mkdir()
    (store / "settings.json").write_text('{"model": "opus"}\n')
    (world.home / ".claude").mkdir()
    (world.home / ".claude" / "settings.json").symlink_to(store / "settings.json")
    if known:
        world.ok("init", "--yes", "--observe")
        world.settings.unlink()
    exclude = (world.project / ".git" / "info" / "exclude").read_bytes()
    before = {path: Path(path).read_bytes() for path in under(world.base) if os.path.isfile(path)}
    refusing(monkeypatch, store if scope == "--user" else world.project / ".claude")
    ended = run_here(monkeypatch, world, "init", "--yes", *filter(None, [scope]))
    said = capsys.readouterr().err
    assert (ended, "Read-only file system; nothing was changed" in said) == (1, True)
    assert ("which leads to" in said and "`stretto init` without --user" in said) is (scope == "--user")
    assert {path: Path(path).read_bytes() for path in under(world.base) if os.path.isfile(path)} == before
    assert world.base.exists() is known
    assert (world("mode").code == 0) is known
    assert git(world, "status", "--porcelain") == ""
    assert (world.project / ".git" / "info" / "exclude").read_bytes() == exclude


def test_uninstall_goes_on_where_a_settings_file_cannot_be_written_and_says_so(world, monkeypatch, capsys):  # noqa: F811
    world.ok("init", "--yes", "--user")
    refusing(monkeypatch, world.home)
    monkeypatch.setattr(install.Path, "unlink", lambda path, **_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")))
    edit = install.plan_uninstall(str(world.home / ".claude" / "settings.json"))
    faults = []
    cli._take_out([edit], faults)
    assert faults == [f"cannot write {edit.path}: Read-only file system"]
    monkeypatch.undo()
    assert run_here(monkeypatch, world, "uninstall") == 0
    assert "Took the hooks out" in capsys.readouterr().out


# --- git does not take the hooks along --------------------------------------------------------------------------------------


def test_what_init_made_is_left_alone_by_stash_and_clean_and_status_until_uninstall(world):  # noqa: F811
    """`git stash -u` took the settings file along in mid-session, and with it the hooks."""
    (world.project / ".claude").rmdir()
    exclude = world.project / ".git" / "info" / "exclude"
    before = exclude.read_bytes()
    assert str(exclude) in world.ok("init", "--yes")
    assert git(world, "status", "--porcelain") == ""
    (world.project / "README").write_text("changed\n")
    git(world, "stash", "-u", "-q")
    git(world, "clean", "-fdq")
    assert world.settings.exists()
    world.ok("init", "--yes")
    world.ok("uninstall")
    assert exclude.read_bytes() == before
    assert not world.settings.parent.exists()


@pytest.mark.parametrize("how", ["--no-exclude", "--project", "tracked", "ignored", "the user's own", "linked"])
def test_git_is_told_nothing_where_there_is_nothing_of_ours_to_hide_or_nobody_wants_it(world, how):  # noqa: F811
    exclude = world.project / ".git" / "info" / "exclude"
    before = exclude.read_bytes()
    if how == "ignored":
        (world.project / ".gitignore").write_text(".claude\n")
    elif how == "linked":
        world.settings.parent.rmdir()
        (world.project.parent / "shared").mkdir()
        world.settings.parent.symlink_to(world.project.parent / "shared")
    elif not how.startswith("--"):
        world.settings.write_text("{}\n")
        if how == "tracked":
            git(world, "add", ".claude")
    world.ok("init", "--yes", *([how] if how.startswith("--") else []))
    assert exclude.read_bytes() == before
    world.ok("uninstall")
    assert exclude.read_bytes() == before


@pytest.mark.parametrize("text", [None, b"", b"*.o\n", b"*.o", b"# a\n\n*.o\n", b"\xff\n"])
@pytest.mark.parametrize("later", [b"", b"more\n"])
def test_the_line_for_git_goes_again_to_the_byte(text, later):
    with_ours = gitexclude.with_line(text)
    assert with_ours.endswith(b"\n/.claude/settings.local.json\n")
    if not later:
        assert gitexclude.without_line(with_ours) == text
    else:
        left = text or b""
        left += b"" if left.endswith(b"\n") or not left else b"\n"
        assert gitexclude.without_line(with_ours + later) == left + later


# --- shared between projects ------------------------------------------------------------------------------------------------


def test_uninstall_keeps_the_hooks_in_a_claude_folder_that_another_granted_project_uses(world):  # noqa: F811
    """`.claude` linked into two worktrees: taking Stretto out of one disarmed the other without a word."""
    shared = world.project.parent / "shared"
    shared.mkdir()
    (shared / "settings.local.json").write_text('{"permissions": {"allow": ["Bash(ls)"]}}\n')
    before = (shared / "settings.local.json").read_bytes()
    other = second_worktree(world)
    (world.project / ".claude").rmdir()
    for root in (world.project, other):
        (root / ".claude").symlink_to(shared)
        world.ok("init", "--yes", cwd=root)
    said = world.ok("uninstall", cwd=other)
    assert f"stay: it is also the settings file of {world.project}" in said
    assert list(install.installed((shared / "settings.local.json").read_text()))
    assert world("mode", cwd=other).code == 1
    world.ok("uninstall")
    assert (shared / "settings.local.json").read_bytes() == before


def test_uninstall_of_everything_meets_a_shared_file_once(world):  # noqa: F811
    shared = world.project.parent / "shared"
    shared.mkdir()
    other = second_worktree(world)
    (world.project / ".claude").rmdir()
    for root in (world.project, other):
        (root / ".claude").symlink_to(shared)
        world.ok("init", "--yes", cwd=root)
    world.ok("uninstall", "--all")
    assert list(shared.iterdir()) == []
    assert not world.base.exists()


def test_uninstall_in_one_worktree_keeps_what_the_repository_has_for_another_one(world):  # noqa: F811
    """Git hooks and the line for git are the repository's, not the worktree's."""
    hooks = world.project / ".git" / "hooks"
    before = {path.name: path.read_bytes() for path in [*hooks.iterdir(), world.project / ".git" / "info" / "exclude"]}
    other = second_worktree(world)
    world.ok("init", "--yes", "--git-hooks")
    world.ok("init", "--yes", "--git-hooks", cwd=other)
    assert f"The git hooks stay: they are also those of {world.project}" in world.ok("uninstall", cwd=other)
    assert b"stretto" in (hooks / "pre-commit").read_bytes()
    assert git(world, "status", "--porcelain") == ""
    assert "Took the git hooks out" in world.ok("uninstall")
    assert {path.name: path.read_bytes() for path in [*hooks.iterdir(), world.project / ".git" / "info" / "exclude"]} == before


def test_git_hooks_that_are_refused_refuse_all_of_init_beforehand(world):  # noqa: F811
    git(world, "config", "core.hooksPath", ".husky")
    ended = world("init", "--yes", "--git-hooks")
    assert (ended.code, "without --git-hooks" in ended.err) == (1, True)
    assert not world.base.exists() and not world.settings.exists()


# --- worktrees --------------------------------------------------------------------------------------------------------------


def session_start(world, folder):  # noqa: F811
    """What our hook of the main folder says to a session that begins in another one, as in `claude --worktree`."""
    entry = next(value for name, value in install.installed(world.settings.read_text()) if name == "SessionStart")
    body = {"session_id": "5e55", "hook_event_name": "SessionStart", "source": "startup", "cwd": str(folder)}
    env = {**world.env, "CLAUDE_PROJECT_DIR": str(folder), "CLAUDE_PID": str(os.getpid()), "CLAUDE_ENV_FILE": str(world.home / "env-file")}
    done = subprocess.run(
        [entry["command"], *entry["args"]], input=json.dumps(body).encode(), env=env, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout).get("systemMessage", "") if done.stdout else ""


def key_of(folder):
    return trust.project_key(str(folder))


def test_a_session_in_a_worktree_of_a_granted_project_is_told_that_it_is_not_served(world):  # noqa: F811
    world.ok("init", "--yes")
    other = second_worktree(world)
    said = session_start(world, other)
    assert "not served" in said and "`stretto init`" in said and "--worktrees" in said
    assert trust.keys(str(world.base)) == [key_of(world.project)]
    assert leftovers.find(str(world.base)) == []


def test_where_the_user_said_so_a_worktree_is_granted_at_its_first_session_and_goes_with_its_project(world):  # noqa: F811
    (world.project / "stretto.toml").write_text('exclude = ["x"]\n')
    git(world, "add", "stretto.toml")
    git(world, "commit", "-qm", "rules")
    world.ok("init", "--yes", "--worktrees")
    world.ok("no", "mypy*")
    other, third = second_worktree(world), second_worktree(world, "w3")
    assert session_start(world, other) == ""
    found = trust.load(str(world.base), key_of(other))
    assert (found.grant.origin, found.grant.mode, found.grant.excluded) == (key_of(world.project), "on", ("mypy*",))
    assert trust.verify(found) == b'exclude = ["x"]\n'
    assert world.ok("mode", cwd=other) == "on\n"
    assert not any("no settings file" in line for line in world("doctor", cwd=other).out.splitlines())
    assert "The next session here is served again" in world.ok("uninstall", cwd=other)
    assert session_start(world, other) == ""

    (third / "stretto.toml").write_text("exclude = []\n")
    assert "stretto.toml is not the one that was granted" in session_start(world, third)
    assert trust.load(str(world.base), key_of(third)) is None

    world.ok("init", "--yes", "--no-worktrees")
    with pytest.raises(UserError, match="is not granted with its worktrees any more"):
        trust.verify(found)
    world.ok("init", "--yes", "--worktrees")
    assert trust.verify(found)
    world.ok("uninstall")
    assert trust.keys(str(world.base)) == []
    assert leftovers.find(str(world.base)) == []


def test_the_state_of_a_worktree_whose_folder_is_gone_goes_at_the_next_one(world, state_base):  # noqa: F811
    world.ok("init", "--yes", "--worktrees")
    first = second_worktree(world)
    worktrees.adopt(str(world.base), str(first))
    git(world, "worktree", "remove", "--force", str(first))
    worktrees.adopt(str(world.base), str(second_worktree(world, "w3")))
    assert trust.load(str(world.base), key_of(first)) is None


def forged(world, folder):  # noqa: F811
    """A folder that says that it is a worktree of somebody's repository."""
    (folder / ".git").write_text(f"gitdir: {world.project}/.git/worktrees/w2\n")


def not_linked_back(world, folder):  # noqa: F811
    (folder / ".git").write_text(f"gitdir: {folder}/made-up\n")
    (folder / "made-up").mkdir()
    (folder / "made-up" / "commondir").write_text(f"{world.project}/.git\n")
    (folder / "made-up" / "gitdir").write_text(f"{folder}/.git\n")


def endless(world, folder):  # noqa: F811
    (folder / ".git").symlink_to("/dev/zero")


def waiting(world, folder):  # noqa: F811
    os.mkfifo(folder / ".git")


@pytest.mark.parametrize("trick", [forged, not_linked_back, endless, waiting])
def test_a_folder_that_only_says_it_is_a_worktree_gets_nothing(world, trick):  # noqa: F811
    """Only the git directory that was granted can say which worktrees it has."""
    world.ok("init", "--yes", "--worktrees")
    second_worktree(world)
    folder = world.project.parent / "stranger"
    folder.mkdir()
    trick(world, folder)
    session_start(world, folder)
    with pytest.raises(UserError):
        worktrees.adopt(str(world.base), str(folder))
    assert trust.keys(str(world.base)) == [key_of(world.project)]


def test_a_repository_put_in_the_place_of_a_granted_one_grants_no_worktrees(world):  # noqa: F811
    world.ok("init", "--yes", "--worktrees")
    git_folder = world.project / ".git"
    git_folder.rename(world.project.parent / "kept-so-that-its-inode-is-taken")
    git(world, "init", "-q")
    git(world, "commit", "-q", "--allow-empty", "-m", "x")
    with pytest.raises(UserError, match="was not granted with its worktrees"):
        worktrees.adopt(str(world.base), str(second_worktree(world)))


# --- users and folders as they are in containers -----------------------------------------------------------------------------


def test_without_a_home_every_command_says_so_in_words(world, monkeypatch, capsys):  # noqa: F811
    """A number without an entry in the user database and no HOME: a traceback from every command, `uninstall` too."""
    monkeypatch.setattr(system.os.path, "expanduser", lambda path: path)
    for name in ("HOME", "STRETTO_STATE_DIR", "XDG_STATE_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(world.project)
    for words in (
        ["init", "--yes"],
        ["status"],
        ["why"],
        ["doctor"],
        ["mode"],
        ["preset"],
        ["path"],
        ["uninstall"],
        ["uninstall", "--all"],
    ):
        assert cli.run(words) == 1
        assert "set HOME" in capsys.readouterr().err
    monkeypatch.setenv("STRETTO_STATE_DIR", str(world.base))
    assert cli.run(["init", "--yes"]) == 0
    assert cli.run(["doctor"]) == 0
    assert cli.run(["init", "--yes", "--user"]) == 1
    assert "CLAUDE_CONFIG_DIR" in capsys.readouterr().err
    assert cli.run(["uninstall"]) == 0
    assert under(world.project) == under(world.project) - {str(world.project / "~")}


@ROOT_ONLY
@pytest.mark.parametrize("home", ["/", "/nonexistent/home"])
def test_a_home_that_cannot_be_written_is_no_bug_of_ours(world, home):  # noqa: F811
    def as_nobody():
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)

    world.project.chmod(0o755)
    for folder in (world.project.parent, world.project.parent.parent):
        folder.chmod(0o755)
    try:
        subprocess.run([*world.command, "version"], cwd=world.project, env=world.env, preexec_fn=as_nobody, capture_output=True, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this Python cannot be run by another user")
    env = {name: value for name, value in world.env.items() if name != "STRETTO_STATE_DIR"} | {"HOME": home}
    done = subprocess.run(
        [*world.command, "init", "--yes"], cwd=world.project, env=env, preexec_fn=as_nobody, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "set STRETTO_STATE_DIR" in done.stderr or "Permission denied" in done.stderr


def test_a_state_folder_that_cannot_be_entered_is_named_and_not_the_grant_in_it(world):  # noqa: F811
    """`remove it` was said of a file in a folder that is none."""
    world.base.write_text("mine\n")
    ended = world("status", env={"STRETTO_STATE_DIR": f"{world.base}/s"})
    assert ended.err == f"stretto: cannot look into {world.base}/s: Not a directory; mend that or set STRETTO_STATE_DIR\n"
    assert ended.code == 1


def test_a_folder_that_is_gone_is_said_in_words(world):  # noqa: F811
    gone = world.project / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {' '.join(world.command)} status"
    done = subprocess.run(["/bin/sh", "-c", script], env=world.env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is a bug" not in done.stderr and "Traceback" not in done.stderr


@ROOT_ONLY
def test_init_below_a_folder_of_somebody_else_does_not_grant_that(world):  # noqa: F811
    """Anybody can put a `.git` into /tmp."""
    open_to_all = world.project.parent / "tmp"
    mine = open_to_all / "mine"
    mine.mkdir(parents=True)
    (open_to_all / ".git").mkdir()
    os.chown(open_to_all / ".git", 54321, 54321)
    refused = world("init", "--yes", cwd=mine)
    assert (refused.code, f"{open_to_all}/.git belongs to user 54321" in refused.err) == (1, True)
    os.chown(open_to_all, 54321, 54321)
    os.chown(mine, 54321, 54321)
    assert repository.refuse_foreign(str(open_to_all), str(mine)) is None, "a checkout of another number as a whole, as in a container"


def test_what_we_make_in_a_home_is_never_open_to_others_whatever_the_umask(world):  # noqa: F811
    world.env |= {"STRETTO_STATE_DIR": "", "HOME": str(world.home)}
    before = os.umask(0)
    try:
        world.ok("init", "--yes", "--user")
    finally:
        os.umask(before)
    made = [Path(path) for path in under(world.home) if path != str(world.home / "bin")]
    assert [str(path) for path in made if path.stat().st_mode & 0o022] == []
    world.ok("uninstall", "--all")


def test_what_the_system_refuses_is_said_in_one_line_and_is_no_bug_of_ours(world, monkeypatch, capsys):  # noqa: F811
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(cli, "private_directory", refuse)
    assert run_here(monkeypatch, world, "init", "--yes") == 1
    assert (
        capsys.readouterr().err
        == f"stretto: cannot keep state in {world.base}: Permission denied; set STRETTO_STATE_DIR to a folder that you may write\n"
    )
    monkeypatch.setattr(cli.trust, "lookup", lambda *_: refuse("/a/file"))
    assert run_here(monkeypatch, world, "status") == 1
    assert capsys.readouterr().err == "stretto: cannot use /a/file: Permission denied\n"
    assert not world.base.exists() and not world.settings.exists()


# --- what lies in the way ---------------------------------------------------------------------------------------------------


def tree(folder):
    """Everything below a folder: names, kinds, targets, contents, owners."""
    found = {}
    for place, folders, files in os.walk(os.fsencode(folder)):
        for path in (os.path.join(place, name) for name in [*folders, *files]):
            record = os.lstat(path)
            text = Path(os.fsdecode(path)).read_bytes() if stat.S_ISREG(record.st_mode) else b""
            found[path] = (record.st_mode, record.st_uid, os.readlink(path) if stat.S_ISLNK(record.st_mode) else b"", text)
    return found


def test_a_folder_whose_name_is_no_utf_8_is_granted_and_left_as_it_was(world):  # noqa: F811
    """What git says of it is no UTF-8 either: `init` ended as a bug of ours."""
    place = world.project.parent / os.fsdecode(b"caf\xe9")
    world.project.rename(place)
    shutil.rmtree(place / ".claude")
    before = tree(place)
    assert world("init", "--yes", "--git-hooks", cwd=place).code == 0
    assert b"/.claude/settings.local.json" in (place / ".git" / "info" / "exclude").read_bytes()
    assert "cannot be looked at" not in world("doctor", cwd=place).out
    assert world("uninstall", cwd=place).code == 0
    assert tree(place) == before


@pytest.mark.parametrize("link", [".claude", ".claude/settings.local.json"])
def test_a_link_that_leads_nowhere_leads_nowhere_again_after_uninstall(world, link):  # noqa: F811
    if link == ".claude":
        world.settings.parent.rmdir()
    (world.project / link).symlink_to("../nowhere" if link == ".claude" else "../nowhere/mine.json")
    before = tree(world.project.parent)
    world.ok("init", "--yes")
    assert (world.project.parent / "nowhere").exists() or (world.project / "nowhere").exists()
    world.ok("uninstall")
    assert {path: value for path, value in tree(world.project.parent).items() if not path.startswith(os.fsencode(world.base))} == before


@pytest.mark.parametrize("scope", ["--user", "--project", ""])
def test_a_folder_for_settings_that_init_made_goes_with_uninstall(world, scope):  # noqa: F811
    world.settings.parent.rmdir()
    before = tree(world.project), tree(world.home)
    world.ok("init", "--yes", *filter(None, [scope]))
    world.ok("uninstall")
    assert (tree(world.project), tree(world.home)) == before


@pytest.mark.parametrize("kind", ["read-only", "a FIFO"])
def test_where_git_can_be_told_nothing_init_says_how_to_do_without_and_changes_nothing(world, monkeypatch, capsys, kind):  # noqa: F811
    """`.git` is mounted read-only in many containers; an empty `.claude` was left behind."""
    world.settings.parent.rmdir()
    if kind == "a FIFO":
        (world.project / ".git" / "info" / "exclude").unlink()
        os.mkfifo(world.project / ".git" / "info" / "exclude")
    else:
        refusing(monkeypatch, world.project / ".git")
    before = tree(world.project)
    assert run_here(monkeypatch, world, "init", "--yes") == 1
    assert "`stretto init --no-exclude` does without that line" in capsys.readouterr().err
    assert tree(world.project) == before
    assert run_here(monkeypatch, world, "init", "--yes", "--no-exclude") == 0


def test_a_bare_repository_is_left_as_it_was(world):  # noqa: F811
    bare = world.project.parent / "bare"
    git(world, "init", "-q", "--bare", str(bare))
    before = tree(bare)
    assert world("init", "--yes", cwd=bare).code == 0
    assert tree(bare) != before
    assert world("uninstall", cwd=bare).code == 0
    assert tree(bare) == before


@ROOT_ONLY
def test_settings_of_another_user_stay_theirs_when_root_asks(world):  # noqa: F811
    world.settings.write_text("{}\n")
    os.chown(world.settings, 54_321, 54_321)
    before = tree(world.project)
    world.ok("init", "--yes")
    assert (world.settings.stat().st_uid, world.settings.stat().st_gid) == (54_321, 54_321)
    world.ok("uninstall")
    assert tree(world.project) == before


@pytest.mark.parametrize("kind", ["a FIFO for a hook", "a file for the folder"])
def test_git_hooks_are_never_waited_for_and_what_is_in_the_way_is_said(world, kind):  # noqa: F811
    folder = world.project / ".git" / "hooks"
    shutil.rmtree(folder)
    if kind == "a file for the folder":
        folder.write_text("mine\n")
    else:
        folder.mkdir()
        os.mkfifo(folder / "pre-commit")
    before = tree(world.project)
    ended = world("init", "--yes", "--git-hooks")
    if kind == "a file for the folder":
        assert (ended.code, f"{folder} is no folder" in ended.err) == (1, True)
    else:
        assert ended.code == 0
        world.ok("uninstall")
    assert tree(world.project) == before


def test_lines_to_add_by_hand_are_printed_as_lines(world):  # noqa: F811
    git(world, "config", "core.hooksPath", ".husky")
    ended = world("init", "--yes", "--git-hooks")
    assert ended.code == 1
    assert [line.split(":")[0] for line in ended.err.splitlines()[1:]] == ["  pre-commit", "  pre-push"]
    assert "\\n" not in ended.err


def test_a_name_of_a_folder_cannot_act_on_the_terminal(world):  # noqa: F811
    place = world.project.parent / "a\x1b[31m\nb"
    world.project.rename(place)
    said = "".join(world(*words, cwd=place, stdin=None).out for words in (("init", "--yes"), ("status",), ("doctor",), ("uninstall",)))
    assert (str(place) in said, "\x1b" in said, r"a\x1b[31m\nb/.claude" in said) == (False, False, True)


# --- where the output goes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_the_caller_closed_is_no_bug_of_ours(world, closed):  # noqa: F811
    world.ok("init", "--yes")
    for words in ("status", "doctor --json", "init"):
        ended = subprocess.run(
            ["/bin/sh", "-c", f"{shlex.join(world.command)} {words} {closed}"],
            cwd=world.project, env=world.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, ""), words


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_output_that_cannot_be_written_is_said_in_one_line(world):  # noqa: F811
    world.ok("init", "--yes")
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(world.command)} status > /dev/full"],
        cwd=world.project,
        env=world.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "stretto: cannot use what is needed: No space left on device\n")


@pytest.mark.parametrize("pattern", ["", "x" * 1001])
def test_no_refuses_a_pattern_that_stretto_toml_would_refuse(world, pattern):  # noqa: F811
    world.ok("init", "--yes")
    ended = world("no", pattern)
    assert (ended.code, "it has 1 to 1000" in ended.err, world.ok("no")) == (1, True, "")

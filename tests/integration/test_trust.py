"""Grants: what is trusted, what voids it, and that a folder nobody granted stays untouched."""

import os
import stat
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from stretto import trust
from stretto.errors import CorruptError, UnavailableError, UserError
from stretto.rules import Settings
from stretto.system import Lock

PY = "/opt/py/bin/python3"


@pytest.fixture
def base(state_base):
    return str(state_base)


@pytest.fixture
def granted(project, base):
    return trust.grant(str(project), "on", None, base=base, python=PY)


def everything_under(path):
    return sorted(os.path.join(folder, name) for folder, folders, files in os.walk(path) for name in folders + files)


def test_settings_of_the_user_are_read_outside_the_repository_and_written_line_by_line(project, base):
    assert trust.settings(base) == Settings()
    trust.set_preset(base, "eager")
    path = Path(base, "settings.toml")
    assert (trust.settings(base).preset, stat.S_IMODE(path.stat().st_mode)) == ("eager", 0o600)
    path.write_text("# mine\nslots = 3  # three\n preset = 'eager'  # why\n")
    trust.set_preset(base, "off")
    assert path.read_text() == '# mine\nslots = 3  # three\npreset = "off"  # why\n'
    assert trust.settings(base) == Settings(preset="off", slots=3)
    (project / "settings.toml").write_text("preset = 'eager'")
    assert trust.settings(base).preset == "off"


@pytest.mark.parametrize("how", ["link", "shared", "directory", "junk", "bytes"])
def test_settings_that_are_not_the_users_own_or_do_not_read_are_refused(project, base, how):
    """F58: what another may write decides nothing; and nothing is guessed at, nor written over."""
    trust.set_preset(base, "frugal")
    path = Path(base, "settings.toml")
    if how == "link":
        path.rename(project / "theirs")
        path.symlink_to(project / "theirs")
    elif how == "shared":
        path.chmod(0o666)
    elif how == "directory":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(b"preset = 'fast'" if how == "junk" else b"\xff\xfe")
    with pytest.raises(UserError):
        trust.settings(base)
    with pytest.raises(UserError):
        trust.set_preset(base, "eager")


def test_f13_lookup_of_an_untouched_folder_finds_nothing_and_makes_nothing(short, project, base):
    before = everything_under(short)
    assert trust.lookup(str(project), base) is None
    assert trust.keys(base) == []
    assert everything_under(short) == before


def test_a_granted_folder_is_found_from_itself_from_below_and_through_a_link(short, project, base, granted):
    (project / "src" / "deep").mkdir(parents=True)
    (short / "link").symlink_to(project / "src")
    for folder in (project, project / "src" / "deep", short / "link"):
        assert trust.lookup(str(folder), base) == granted
    assert granted.root == str(project)
    assert granted.paths.folder == f"{base}/projects/{trust.project_key(str(project))}"


def test_the_nearest_grant_decides(project, base, granted):
    inner = project / "packages" / "a"
    inner.mkdir(parents=True)
    nearer = trust.grant(str(inner), "observe", None, base=base, python=PY)
    assert trust.lookup(str(inner), base) == nearer
    assert trust.lookup(str(inner.parent), base) == granted


@pytest.mark.parametrize("entry", ["directory", "file"])
def test_a_nested_repository_or_worktree_is_a_project_of_its_own(project, base, granted, entry):
    """`.git` is a directory in a repository and a file in a worktree or submodule; the walk up ends at either."""
    inner = project / "vendor" / "lib"
    (inner / "src").mkdir(parents=True)
    (inner / ".git").mkdir() if entry == "directory" else (inner / ".git").write_text("gitdir: elsewhere\n")
    assert trust.lookup(str(inner / "src"), base) is None
    assert trust.project_root(str(inner / "src")) == str(inner)
    mine = trust.grant(str(inner), "on", None, base=base, python=PY)
    assert trust.lookup(str(inner / "src"), base) == mine
    assert trust.lookup(str(project), base) == granted


def test_project_root_without_git_is_the_folder_itself(short):
    (short / "plain" / "sub").mkdir(parents=True)
    assert trust.project_root(str(short / "plain" / "sub")) == str(short / "plain" / "sub")


def test_verify_hands_out_the_granted_bytes(project, base):
    text = b'exclude = ["x"]\n'
    (project / trust.RULES_NAME).write_bytes(text)
    found = trust.grant(str(project), "on", text, base=base, python=PY)
    assert trust.verify(found) == text


def change_rules(project):
    (project / trust.RULES_NAME).write_bytes(b"# one byte more\n ")


def remove_rules(project):
    (project / trust.RULES_NAME).unlink()


def remove_folder(project):
    project.rename(project.parent / "gone")


def swap_folder_for_a_link(project):
    project.rename(project.parent / "elsewhere")
    project.symlink_to(project.parent / "elsewhere")


def give_away(project):
    os.chown(project, 12345, -1)


def rules_become_a_fifo(project):
    remove_rules(project)
    os.mkfifo(project / trust.RULES_NAME)


@pytest.mark.parametrize(
    "change, says",
    [
        (change_rules, "changed"),
        (remove_rules, "gone"),
        (remove_folder, "No such file"),
        (swap_folder_for_a_link, "leads somewhere else"),
        (rules_become_a_fifo, "no regular file"),
        pytest.param(
            give_away, "belongs to user 12345", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
        ),
    ],
)
def test_what_is_no_longer_what_was_granted_voids_the_grant(project, base, change, says):
    (project / trust.RULES_NAME).write_bytes(b"# rules\n")
    found = trust.grant(str(project), "on", b"# rules\n", base=base, python=PY)
    change(project)
    with pytest.raises(UserError, match=says):
        trust.verify(found)


def test_rules_that_appear_after_the_grant_void_it_until_the_next_init(project, base, granted):
    (project / trust.RULES_NAME).write_bytes(b"")
    with pytest.raises(UserError, match="new"):
        trust.verify(granted)
    assert trust.verify(trust.grant(str(project), "on", b"", base=base, python=PY)) == b""


def make_world_writable(path):
    path.chmod(0o777)


def replace_by_a_link(path):
    moved = path.with_name(path.name + ".moved")
    path.rename(moved)
    path.symlink_to(moved)


def give_to_another(path):
    os.chown(path, 12345, -1, follow_symlinks=False)


@pytest.mark.parametrize("part", ["base", "projects", "folder", "grant"])
@pytest.mark.parametrize(
    "spoil",
    [
        make_world_writable,
        replace_by_a_link,
        pytest.param(give_to_another, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")),
    ],
)
def test_a_store_that_others_may_write_or_that_is_a_link_is_refused(state_base, project, base, granted, part, spoil):
    folder = state_base / "projects" / granted.paths.key
    spoil({"base": state_base, "projects": state_base / "projects", "folder": folder, "grant": folder / "grant"}[part])
    with pytest.raises(UserError):
        trust.lookup(str(project), base)
    with pytest.raises(UserError):
        trust.grant(str(project), "on", None, base=base, python=PY)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"v": 1}', b'{"v": 1, "path": 3}', b"\xff"])
def test_a_damaged_grant_is_damage_and_no_grant(project, base, granted, text):
    with open(granted.paths.grant, "wb") as file:
        file.write(text)
    with pytest.raises(CorruptError):
        trust.lookup(str(project), base)


def test_a_grant_copied_to_another_folder_is_refused(short, base, granted):
    other = short / "other"
    other.mkdir()
    key = trust.project_key(str(other))
    os.makedirs(f"{base}/projects/{key}", mode=0o700)
    with open(granted.paths.grant, "rb") as source, open(f"{base}/projects/{key}/grant", "wb") as copy:
        copy.write(source.read())
    os.chmod(f"{base}/projects/{key}/grant", 0o600)
    with pytest.raises(CorruptError, match="another folder"):
        trust.lookup(str(other), base)


def test_everything_in_the_store_is_private_whatever_the_umask(project, base):
    mask = os.umask(0)
    try:
        trust.grant(str(project), "on", None, base=base, python=PY)
    finally:
        os.umask(mask)
    for path in [base, *everything_under(base)]:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        assert mode == (0o700 if os.path.isdir(path) else 0o600), path


def test_a_new_grant_keeps_the_salt_the_patterns_and_who_made_the_directory(project, base):
    first = trust.grant(str(project), "on", None, base=base, python=PY, made_directory=True)
    trust.set_excluded(first, ["pytest*"])
    with open(first.paths.salt, "rb") as file:
        salt = file.read()
    again = trust.grant(str(project), "observe", None, base=base, python=PY)
    assert (again.grant.mode, again.grant.excluded, again.grant.made_directory) == ("observe", ("pytest*",), True)
    with open(first.paths.salt, "rb") as file:
        assert file.read() == salt
    assert len(salt) == trust.SALT_BYTES


def test_grants_at_the_same_time_agree_on_one_salt(project, base):
    seen = []

    def give():
        found = trust.grant(str(project), "on", None, base=base, python=PY)
        with open(found.paths.salt, "rb") as file:
            seen.append(file.read())

    threads = [threading.Thread(target=give) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len(set(seen)) == 1


def test_a_mode_is_changed_without_touching_the_rest(project, base, granted):
    off = trust.set_mode(granted, "off")
    assert trust.lookup(str(project), base) == off
    assert off.grant.mode == "off"
    assert replace(off.grant, mode="on") == granted.grant


def test_a_path_that_is_no_utf_8_is_granted_and_found(short, base):
    root = os.path.join(os.fsencode(short), b"caf\xe9")
    os.mkdir(root)
    found = trust.grant(os.fsdecode(root), "on", None, base=base, python=PY)
    assert os.fsencode(trust.lookup(os.fsdecode(root), base).root) == root
    assert trust.verify(found) is None
    assert trust.display(found.root).endswith("caf\\xe9")


@pytest.mark.parametrize("folder", ["/", "home"])
def test_a_folder_that_would_take_in_everything_is_not_granted(short, base, monkeypatch, folder):
    monkeypatch.setenv("HOME", str(short))
    with pytest.raises(UserError, match="cannot grant"):
        trust.grant(str(short) if folder == "home" else folder, "on", None, base=base, python=PY)
    assert not os.path.exists(base)


@pytest.mark.parametrize(
    "glob, argv, expected",
    [
        ("pytest*", ["pytest", "-q"], True),
        ("pytest*", ["/opt/venv/bin/pytest", "-q"], True),
        ("pytest", ["pytest", "-q"], False),
        ("*-k slow*", ["pytest", "-k", "slow and not x"], True),
        ("ruff*", ["pytest"], False),
        ("*", [], False),
    ],
)
def test_patterns_match_the_whole_displayed_command(glob, argv, expected):
    assert trust.excludes([glob], argv) is expected


def test_a_revoked_folder_is_no_project_and_erase_leaves_nothing_of_it(project, base, granted):
    trust.revoke(granted.paths)
    assert trust.lookup(str(project), base) is None
    trust.erase(granted.paths)
    assert trust.keys(base) == []
    trust.erase(granted.paths)


def test_erase_waits_for_the_supervisor_and_removes_nothing_while_it_lives(granted, monkeypatch):
    monkeypatch.setattr(trust, "ERASE_LIMIT_S", 0.05)
    lock = Lock(granted.paths.supervisor_lock)
    assert lock.try_acquire()
    with pytest.raises(UnavailableError):
        trust.erase(granted.paths)
    assert os.path.exists(granted.paths.grant)
    lock.close()
    trust.erase(granted.paths)
    assert not os.path.exists(granted.paths.folder)

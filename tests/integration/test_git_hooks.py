"""Git hooks as second line: asked for at `init`, in nobody's way, and gone without a trace (B-16, F69)."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from integration.conftest import Bench
from integration.test_control import cli
from integration.test_git_gate import commits, decisions, gated, git, go_red  # noqa: F401  (a fixture)
from stretto import githooks, shellenv
from stretto.errors import UserError


@pytest.fixture
def hooked(gated: Bench) -> Bench:  # noqa: F811
    githooks.install(str(gated.root), str(gated.base))
    return gated


PAST = {
    "in another shell": 'bash -c "git commit -qam x"',
    "by an alias": "git -c alias.ci=commit ci -qam x",
    "by its path": "/usr/bin/git commit -qam x",
    "below a tool": "env git commit -qam x",
}


@pytest.mark.parametrize("way", PAST)
def test_b16_with_hooks_in_a_commit_past_the_function_is_refused_as_well(hooked, way):
    go_red(hooked)
    _, code, _ = hooked.bash(PAST[way])
    assert (code != 0, commits(hooked)) == (True, 1)
    assert decisions(hooked)[-1] == ("commit", "deny", "red")


def test_through_the_function_the_gate_is_asked_once(hooked):
    assert hooked.bash("git commit -q --allow-empty -m second")[1] == 0
    assert decisions(hooked) == [("commit", "allow", "clear")]


def test_a_person_commits_in_a_terminal_and_may_override(hooked):
    go_red(hooked)
    words = ["git", "commit", "-qam", "x"]
    env = {name: value for name, value in hooked.env.items() if not name.startswith("CLAUDE")}
    refused = subprocess.run(words, cwd=hooked.root, env=env, capture_output=True, text=True, check=False)
    assert (refused.returncode, "FAILED t.py::test_it" in refused.stderr) == (1, True)
    assert subprocess.run(words, cwd=hooked.root, env={**env, "STRETTO": "off"}, check=False).returncode == 0
    assert commits(hooked) == 2


@pytest.mark.parametrize("lost", ["state", "supervisor"])
def test_b16_without_what_a_hook_needs_git_goes_on(hooked, lost):
    go_red(hooked)
    hooked.stop()
    if lost == "state":
        shutil.move(hooked.base, hooked.short / "away")
    assert subprocess.run(["git", "commit", "-qam", "x"], cwd=hooked.root, env=hooked.env, check=False).returncode == 0
    if lost == "state":
        shutil.move(hooked.short / "away", hooked.base)


@pytest.mark.parametrize("code", [0, 1])
def test_a_hook_that_is_there_is_kept_byte_for_byte_and_decides_as_before(gated, code):  # noqa: F811
    path = gated.root / ".git" / "hooks" / "pre-commit"
    path.parent.mkdir(exist_ok=True)
    theirs = f'#!/bin/sh\necho theirs "$@" >>"$HOME/theirs"\nexit {code}\n'.encode()
    path.write_bytes(theirs)
    path.chmod(0o755)
    githooks.install(str(gated.root), str(gated.base))
    githooks.install(str(gated.root), str(gated.base))
    done = subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=gated.root, env=gated.env, check=False)
    assert done.returncode == code
    assert (Path(gated.env["HOME"]) / "theirs").read_text() == "theirs\n"
    assert len(githooks.remove(str(gated.root))) == 2
    assert path.read_bytes() == theirs
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert sorted(each.name for each in path.parent.iterdir() if not each.name.endswith(".sample")) == ["pre-commit"]


def test_what_pre_push_is_told_on_its_input_reaches_the_hook_that_was_there(gated, short):  # noqa: F811
    path = gated.root / ".git" / "hooks" / "pre-push"
    path.parent.mkdir(exist_ok=True)
    path.write_text('#!/bin/sh\ncat >"$HOME/told"\n')
    path.chmod(0o755)
    githooks.install(str(gated.root), str(gated.base))
    subprocess.run(["git", "init", "-q", "--bare", str(short / "origin")], env=gated.env, check=True)
    git(gated, "push", "-q", str(short / "origin"), "HEAD:refs/heads/main")
    assert (Path(gated.env["HOME"]) / "told").read_text().startswith("HEAD ")


@pytest.mark.parametrize("inside", [True, False], ids=["in the tree, as husky has it", "shared with others"])
def test_where_git_has_its_hooks_elsewhere_nothing_is_written_and_the_line_to_add_is_said(gated, short, inside):  # noqa: F811
    folder = gated.root / ".husky" if inside else short / "hooks"
    folder.mkdir()
    git(gated, "config", "core.hooksPath", str(folder))
    with pytest.raises(UserError) as refused:
        githooks.install(str(gated.root), str(gated.base))
    assert list(folder.iterdir()) == []
    line = next(part for part in str(refused.value).splitlines() if part.strip().startswith("pre-commit:"))
    (folder / "pre-commit").write_text("#!/bin/sh\n" + line.split(":", 1)[1].strip() + "\n")
    (folder / "pre-commit").chmod(0o755)
    go_red(gated)
    assert subprocess.run(["git", "commit", "-qam", "x"], cwd=gated.root, env=gated.env, check=False, capture_output=True).returncode == 1


# --- beside other tools that put themselves before a hook -----------------------------------------------------------------------


class Repository:
    """A repository with a hook of the user's, and what other tools do to the files of its hooks folder."""

    def __init__(self, place: Path) -> None:
        self.root, self.place = place / "r", place
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)
        self.folder = self.root / ".git" / "hooks"
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def hook(self, name: str, says: str, then: str = "") -> None:
        (self.folder / name).write_text(f"#!/bin/sh\necho {says}\n{then}")
        (self.folder / name).chmod(0o755)

    def pre_commit(self) -> None:
        """`pre-commit install`: what is there and not its own becomes NAME.legacy, which its own hook runs first."""
        front = self.folder / "pre-commit"
        if front.exists() and "hook-impl" not in front.read_text():
            front.replace(self.folder / "pre-commit.legacy")
        legacy = '"${0%/*}/pre-commit.legacy"'
        self.hook("pre-commit", "pre-commit", f"# hook-impl\n[ ! -x {legacy} ] || {legacy} || exit 1\n")

    def no_pre_commit(self) -> None:
        front, legacy = self.folder / "pre-commit", self.folder / "pre-commit.legacy"
        if "hook-impl" in front.read_text():
            front.unlink()
            if legacy.exists():
                legacy.replace(front)

    def lefthook(self) -> None:
        """`lefthook install`: what is there and not its own becomes NAME.old, which nobody runs."""
        front = self.folder / "pre-commit"
        if front.exists() and "lefthook" not in front.read_text():
            assert not (self.folder / "pre-commit.old").exists()
            front.replace(self.folder / "pre-commit.old")
        self.hook("pre-commit", "lefthook", "# LEFTHOOK\n")

    def no_lefthook(self) -> None:
        front, old = self.folder / "pre-commit", self.folder / "pre-commit.old"
        if "lefthook" in front.read_text():
            front.unlink()
            if old.exists():
                old.replace(front)

    def overwriting(self) -> None:
        self.hook("pre-commit", "another")

    def stretto(self) -> None:
        try:
            githooks.install(str(self.root), str(self.place / "s"))
        except UserError as error:
            assert "lefthook-local.yml" in str(error)

    def no_stretto(self) -> None:
        githooks.remove(str(self.root))

    def commit(self) -> list[str]:
        """What a commit says; our gate has nothing to ask here and says nothing."""
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return (done.stdout + done.stderr).split()

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


ORDERS = {
    "pre-commit afterwards": ["stretto", "pre_commit"],
    "pre-commit before": ["pre_commit", "stretto"],
    "pre-commit twice": ["stretto", "pre_commit", "pre_commit"],
    "pre-commit before and again": ["pre_commit", "stretto", "pre_commit"],
    "pre-commit in between": ["stretto", "pre_commit", "stretto", "pre_commit", "stretto"],
    "pre-commit taken out again": ["stretto", "pre_commit", "no_pre_commit"],
    "pre-commit before, taken out again": ["pre_commit", "stretto", "no_pre_commit"],
    "lefthook afterwards": ["stretto", "lefthook"],
    "lefthook before": ["lefthook", "stretto"],
    "lefthook in between": ["stretto", "lefthook", "stretto"],
    "lefthook taken out again": ["stretto", "lefthook", "no_lefthook"],
    "ours twice": ["stretto", "stretto"],
}
IDLE = {"lefthook afterwards", "lefthook in between"}


@pytest.mark.parametrize("theirs", [True, False], ids=["with a hook of the user's", "without one"])
@pytest.mark.parametrize("order", ORDERS)
def test_beside_another_tool_no_hook_of_the_user_is_lost_and_nothing_of_ours_is_left(short, order, theirs):
    """`pre-commit install` after ours made the user's own hook a hook that nobody runs; uninstall left both files behind."""
    native, with_ours = Repository(short), Repository(short / "o")
    for repository in (native, with_ours):
        if theirs:
            repository.hook("pre-commit", "theirs")
    for step in ORDERS[order]:
        if not step.endswith("stretto"):
            getattr(native, step)()
        getattr(with_ours, step)()
    assert with_ours.commit() == native.commit(), "the same hooks, as often, in the same order"
    assert (not [one for one in githooks.problems(str(with_ours.root), str(short / "o" / "s")) if "pre-commit" in one]) is (
        order not in IDLE
    )
    with_ours.no_stretto()
    assert with_ours.files() == native.files()
    assert with_ours.commit() == native.commit()
    assert githooks.left(str(with_ours.root)) == []


def test_a_tool_that_writes_over_ours_leaves_the_hook_from_before_where_it_is_said_to_be(short):
    repository = Repository(short)
    repository.hook("pre-commit", "theirs")
    repository.stretto()
    repository.overwriting()
    assert repository.commit() == ["another"]
    repository.no_stretto()
    kept = repository.folder / "pre-commit.before-stretto"
    assert githooks.left(str(repository.root)) == [str(kept)]
    assert "theirs" in kept.read_text()
    with pytest.raises(UserError, match=r"pre-commit\.before-stretto is there already"):
        githooks.install(str(repository.root), str(short / "s"))
    (repository.folder / "pre-commit").unlink()
    repository.no_stretto()
    assert repository.commit() == ["theirs"], "nothing stands in its place any more"


def test_where_another_tool_leads_git_elsewhere_afterwards_ours_are_said_to_be_idle_and_go(short):
    """husky sets core.hooksPath."""
    repository = Repository(short)
    repository.stretto()
    subprocess.run(["git", "config", "core.hooksPath", ".husky/_"], cwd=repository.root, check=True)
    assert ["core.hooksPath leads git to" in one for one in githooks.problems(str(repository.root), str(short / "s"))] == [True, True]
    repository.no_stretto()
    assert repository.files() == {}


@pytest.mark.parametrize("whole", [True, False], ids=["the folder is a link", "the hook is a link"])
def test_nothing_is_written_through_a_link(short, whole):
    repository = Repository(short)
    shared = short / "shared"
    shared.mkdir()
    (shared / "pre-commit").write_text("#!/bin/sh\necho shared\n")
    (shared / "pre-commit").chmod(0o755)
    if whole:
        repository.folder.rmdir()
        repository.folder.symlink_to(shared)
        with pytest.raises(UserError, match="add these lines"):
            githooks.install(str(repository.root), str(short / "s"))
    else:
        (repository.folder / "pre-commit").symlink_to("../../../shared/pre-commit")
        repository.stretto()
        assert repository.commit() == ["shared"]
        repository.no_stretto()
        assert os.readlink(repository.folder / "pre-commit") == "../../../shared/pre-commit"
    assert [(path.name, path.read_text()) for path in shared.iterdir()] == [("pre-commit", "#!/bin/sh\necho shared\n")]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["afterwards", "before"])
@pytest.mark.parametrize("tool", ["pre-commit", "lefthook"])
def test_the_real_tools_do_what_is_imitated_above(short, order, tool):
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed")
    repository, imitated = Repository(short), Repository(short / "i")
    for one in (repository, imitated):
        one.hook("pre-commit", "theirs")
    config = {
        "pre-commit": (".pre-commit-config.yaml", "repos: []\n"),
        "lefthook": ("lefthook.yml", "pre-commit:\n  jobs:\n    - run: 'true'\n"),
    }
    (repository.root / config[tool][0]).write_text(config[tool][1])
    env = {**os.environ, "HOME": str(short), "PRE_COMMIT_HOME": str(short / "pc")}

    def real() -> None:
        subprocess.run([program, "install"], cwd=repository.root, env=env, capture_output=True, timeout=60, check=True)

    def imitation() -> None:
        (imitated.pre_commit if tool == "pre-commit" else imitated.lefthook)()

    steps = [(repository.stretto, imitated.stretto), (real, imitation)]
    for ours, theirs in steps if order == "afterwards" else [*reversed(steps), steps[1]]:
        ours()
        theirs()

    def shape(one: Repository) -> dict[str, str]:
        kinds = {"echo theirs": "theirs", githooks.MARK: "ours"}
        found = {name: next((kind for text, kind in kinds.items() if text in data.decode()), "tool") for name, data in one.files().items()}
        return {name: kind for name, kind in found.items() if name.startswith("pre-commit")}

    assert shape(repository) == shape(imitated)
    for one in (repository, imitated):
        one.no_stretto()
    assert shape(repository) == shape(imitated)
    assert "ours" not in shape(repository).values()


def test_init_puts_them_in_doctor_looks_at_them_and_uninstall_takes_them_out(gated):  # noqa: F811
    before = sorted(os.listdir(gated.root / ".git" / "hooks")) if (gated.root / ".git" / "hooks").exists() else []
    done = cli(gated, "init", "--yes", "--git-hooks")
    assert (done.returncode, "pre-commit" in done.stdout) == (0, True)

    def found() -> list[tuple[str, str]]:
        lines = cli(gated, "doctor", "--json").stdout.splitlines()
        return [(one["level"], one["text"]) for one in map(json.loads, lines) if one["name"] == "git hooks"]

    assert [level for level, _ in found()] == ["ok"]
    (gated.root / ".git" / "hooks" / "pre-push").write_text("#!/bin/sh\n")
    assert [level for level, _ in found()] == ["warn"]
    (gated.root / ".git" / "hooks" / "pre-push").unlink()
    cli(gated, "init", "--yes", "--git-hooks")
    assert cli(gated, "uninstall").returncode == 0
    assert sorted(os.listdir(gated.root / ".git" / "hooks")) == before


@pytest.mark.parametrize("gone", ["interpreter", "islands"])
def test_a_line_that_somebody_keeps_by_hand_passes_where_our_installation_is_not(monkeypatch, short, gone):
    """The hooks of husky and lefthook are files of the project: they come to machines without us."""
    monkeypatch.setattr(shellenv, gone, lambda: "/nowhere")
    assert subprocess.run(["/bin/sh", "-c", githooks.line("commit", str(short))], env={}, check=False).returncode == 0

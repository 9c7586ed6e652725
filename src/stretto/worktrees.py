"""Worktrees of a granted repository: `claude --worktree` makes one for a session, in a folder that nobody has granted.

Where the user said so (`stretto init --worktrees`), a worktree is granted by itself at the first session in it. Promises:
- the repository is the one that was granted: the inode of its git directory and its owner, and that directory names the worktree as one
  of its own, so a folder that only says that it belongs there gets nothing;
- the worktree's `stretto.toml` holds the very bytes that were granted with the repository's project, else it waits for a grant of its own;
- such a grant ends with the one it came from (`trust.verify`), and its state goes when its folder has gone.

`repositories/KEY/PROJECT` in the state directory says which projects were granted in a repository, with `+` behind the name where its
worktrees are, too. The hook looks there and nowhere else (client.py); it is an index, grants decide.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence

from stretto import repository, trust
from stretto.errors import CorruptError, StrettoError, UserError
from stretto.system import is_locked, private_directory
from stretto.trust import Project


def index(project: Project) -> None:
    """Write down where the hook finds this project by its repository; nothing happens outside of any.

    Raises:
        OSError: it cannot be written.
    """
    forget(project.paths.base, project.paths.key)
    common = repository.common_directory(project.root)
    if common and not project.grant.origin:
        folder = private_directory(_folder(project.paths.base, common))
        name = project.paths.key + ("+" if project.grant.worktrees else "")
        os.close(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def forget(base: str, key: str) -> None:
    """Take a project out of the index."""
    for each in _names(f"{base}/repositories"):
        for name in (key, f"{key}+"):
            try:
                os.unlink(f"{base}/repositories/{each}/{name}")
            except FileNotFoundError:
                continue
            if not _names(f"{base}/repositories/{each}"):
                shutil.rmtree(f"{base}/repositories/{each}", ignore_errors=True)


def of_origin(base: str, key: str) -> list[str]:
    """Return the keys of the worktrees that were granted because this project was."""
    return [each for each in trust.keys(base) if (found := _load(base, each)) is not None and found.grant.origin == key]


def adopt(base: str, folder: str) -> Project:
    """Grant a worktree because its repository was.

    Raises:
        UserError: it is no such worktree, or not as what was granted; the text says what to do.
    """
    root = os.path.realpath(folder)
    common = repository.common_directory(root)
    if not common or not _is_worktree_of(root, common):
        raise UserError(f"{trust.display(root)} is no worktree that its repository knows of; run `stretto init` there")
    for name in _names(_folder(base, common)):
        origin = _load(base, name.removesuffix("+"))
        if origin is None or not origin.grant.worktrees or origin.grant.repository != repository.identity(common):
            continue
        clear(base, origin.paths.key)
        if os.stat(root).st_uid != origin.grant.uid:
            raise UserError(f"{trust.display(root)} belongs to another user than {trust.display(origin.root)}; run `stretto init` there")
        rules = trust.read_rules(root)
        if trust.digest(rules) != origin.grant.rules_digest:
            raise UserError(f"its {trust.RULES_NAME} is not the one that was granted; look at it, then run `stretto init` there")
        granted = origin.grant
        return trust.grant(root, granted.mode, rules, base=base, python=granted.python, excluded=granted.excluded, origin=origin.paths.key)
    raise UserError("its repository was not granted with its worktrees; run `stretto init` there")


def clear(base: str, origin: str) -> None:
    """Remove the state of worktrees of one origin whose folder is gone; one that is still served is left for the next time."""
    for key in of_origin(base, origin):
        found = _load(base, key)
        if found is not None and not os.path.lexists(found.root) and not is_locked(found.paths.supervisor_lock):
            trust.revoke(found.paths)
            trust.erase(found.paths)


def main(arguments: Sequence[str]) -> None:
    """Grant the worktree that the hook is in (state directory, folder), or say on standard output why not."""
    base, folder = arguments
    try:
        adopt(base, folder)
    except (StrettoError, OSError) as error:
        print(error)
        sys.exit(1)


def _is_worktree_of(root: str, common: str) -> bool:
    """Say whether the git directory names this folder as one of its worktrees: only its owner can have written that."""
    git = repository.git_directory(root)
    if os.path.dirname(git) != os.path.join(common, "worktrees"):
        return False
    back = os.path.dirname(os.fsdecode(repository.pointer(f"{git}/gitdir")))
    return bool(back) and os.path.realpath(os.path.join(git, back)) == root


def _folder(base: str, common: str) -> str:
    return f"{base}/repositories/{hashlib.blake2b(os.fsencode(common), digest_size=16).hexdigest()}"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _load(base: str, key: str) -> Project | None:
    try:
        return trust.load(base, key)
    except (CorruptError, UserError):
        return None

"""The settings file that `stretto init` makes, kept out of git's sight: one line in `info/exclude` of the repository.

Untracked and not ignored it would go with `git stash -u` and `git clean -fd`, in the middle of a session and its hooks with it, and stand
in every `git status`. Promises: only a file that we make ourselves, that git neither tracks nor ignores and that is no link; nothing in the
working tree is written; taking the line out again gives back the very bytes from before, the absent file included.
"""

from __future__ import annotations

import os

from stretto import githooks
from stretto.install import Edit, read_file

NAME = ".claude/settings.local.json"
LINE = f"/{NAME}\n".encode()
MADE = b"# stretto init, which made this file: its hooks are not for `git stash -u`\n"
JOINED = b"# stretto init, which ended the line above: its hooks are not for `git stash -u`\n"
ADDED = b"# stretto init: its hooks are not for `git stash -u`\n"


def plan_add(root: str) -> Edit | None:
    """Return the edit that hides the settings file, None where there is nothing to hide it from."""
    path = f"{root}/{NAME}"
    if os.path.realpath(path) != os.path.join(os.path.realpath(root), NAME) or githooks.ask(root, "ls-files", "--", NAME):
        return None
    file = exclude_file(root)
    if not file or os.path.islink(file) or githooks.ask(root, "check-ignore", "--no-index", "--", NAME):
        return None
    before = read_file(file)
    return Edit(path=file, before=before, after=with_line(before))


def plan_remove(root: str) -> Edit | None:
    """Return the edit that takes our line out, None when it is not there."""
    file = exclude_file(root)
    before = read_file(file) if file else None
    return Edit(path=file, before=before, after=without_line(before)) if before is not None and without_line(before) != before else None


def exclude_file(root: str) -> str:
    """Return the file that this repository, all its worktrees included, reads for paths to ignore; "" outside of any."""
    return githooks.ask(root, "rev-parse", "--path-format=absolute", "--git-path", "info/exclude")


def with_line(text: bytes | None) -> bytes:
    if text is None:
        return MADE + LINE
    if text and not text.endswith(b"\n"):
        return text + b"\n" + JOINED + LINE
    return text + ADDED + LINE


def without_line(text: bytes) -> bytes | None:
    """Return the text without our line, as it was before; None when the file was not there."""
    if text == MADE + LINE:
        return None
    before, found, after = text.partition(b"\n" + JOINED + LINE)
    if found:
        return before + (b"\n" + after if after else b"")
    for mark in (ADDED, MADE):
        text = text.replace(mark + LINE, b"", 1)
    return text

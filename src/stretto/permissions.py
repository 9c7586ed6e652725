"""What Claude Code's settings and command line say about permission questions: which modes are stricter, which Bash commands a rule allows.

Promises: forms that are not understood allow nothing; a difference in a flag that is not known is one; nothing is written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence

from stretto.model import PERMISSION_STRICTNESS
from stretto.system import peek

STRICTEST = max(PERMISSION_STRICTNESS.values())


def strictness(mode: str) -> int:
    return PERMISSION_STRICTNESS.get(mode, STRICTEST)


UNEXPLAINED_MODES = ("auto", "plan")
"""auto: the host judges each call by what was said in its session, so one that it let pass says nothing about the next session."""
PLAIN_FLAGS = {
    **dict.fromkeys(("-p", "--print", "-c", "--continue", "--verbose", "--fork-session", "--include-partial-messages"), 0),
    **dict.fromkeys(("--include-hook-events", "--replay-user-messages", "--no-session-persistence"), 0),
    **dict.fromkeys(("-r", "--resume", "--session-id", "--model", "--fallback-model", "--output-format", "--input-format"), 1),
    **dict.fromkeys(("--max-turns", "--max-budget-usd", "--effort", "-n", "--name", "--json-schema"), 1),
}
"""Flags of Claude Code that say nothing about permissions, and how many values they take at most."""
DECIDING_FLAGS = {"--dangerously-skip-permissions": 0, "--allow-dangerously-skip-permissions": 0, "--permission-mode": 1, "--settings": 1}
"""Flags that decide, and how many values they take; any other takes all up to the next flag."""
OPAQUE_FLAGS = ("--permission-prompt-tool", "--plugin-dir")
"""What they bring in decides about questions and cannot be looked at."""
ALLOWING_FLAGS = ("--allowedTools", "--allowed-tools")


def deciding_flags(arguments: Sequence[str]) -> tuple[str, ...] | None:
    """Return what on the host's command line may decide whether it asks, in order; None when that depends on what cannot be seen.

    Prompts and flags known to be beside the point are left out; what is not known counts, so that a difference in it is one.
    """
    kept: list[str] = []
    keeping, values = False, 0
    words = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
    for at, word in enumerate(words):
        if not word.startswith("-"):
            if values > 0 and keeping:
                kept.append(word)
            values -= 1
            continue
        flag, equals, value = word.partition("=")
        if flag in OPAQUE_FLAGS:
            return None
        if flag == "--settings" and not (value or " ".join(words[at + 1 : at + 2])).lstrip().startswith("{"):
            return None  # another file, which no stamp of ours covers
        keeping = flag not in PLAIN_FLAGS
        values = 0 if equals else PLAIN_FLAGS.get(flag, DECIDING_FLAGS.get(flag, len(words)))
        if keeping:
            kept.append(word)
    return tuple(kept)


def allowed_on(flags: Sequence[str]) -> list[str]:
    """Return the rules for Bash that a command line allows, `--settings` included."""
    found: list[str] = []
    current = ""
    for word in flags:
        flag, equals, value = word.partition("=")
        if word.startswith("-"):
            current, word = flag, value if equals else ""
        if current in ALLOWING_FLAGS:
            found += _BASH_RULE.findall(word)
        elif current == "--settings":
            found += _allowed_in(word)
    return found


_BASH_RULE = re.compile(r"Bash(?:\([^()]*\))?")


def allowed_by(settings: Iterable[str]) -> list[str]:
    return [rule for path in settings for rule in _allowed_in(peek(path))]


def _allowed_in(text: bytes | str) -> list[str]:
    """Return what a settings file allows; nothing where it is not as expected."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    permissions = value.get("permissions") if isinstance(value, dict) else None
    allow = permissions.get("allow") if isinstance(permissions, dict) else None
    return [rule for rule in allow if isinstance(rule, str)] if isinstance(allow, list) else []


def rule_names(rule: str, text: str) -> bool:
    """Say whether an allow rule is certain to cover a command: forms that are not understood cover none."""
    if rule in ("Bash", "Bash(*)"):
        return True
    if not (rule.startswith("Bash(") and rule.endswith(")")):
        return False
    pattern = rule[5:-1]
    prefix = pattern[:-2] if pattern.endswith((":*", " *")) else ""
    if prefix and "*" not in prefix:
        return text == prefix or text.startswith(prefix + " ")
    return "*" not in pattern and text == pattern


MANAGED_SETTINGS = ("/etc/claude-code/managed-settings.json", "/Library/Application Support/ClaudeCode/managed-settings.json")
"""Where an administrator's rules stand, on Linux and macOS."""


def settings_of_host(root: str) -> tuple[str, ...]:
    """Return the settings files in which Claude Code's permission rules for a project stand."""
    home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")
    return (f"{home}/settings.json", f"{root}/.claude/settings.json", f"{root}/.claude/settings.local.json", *MANAGED_SETTINGS)


def stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

"""Which calls of which commands read only: they can write nothing and run nothing. Pure.

Promises: deny by default, in commands and in options; `reads` says True only of a call that is harmless with every file there may be
on disk and every value its variables may have. Nothing is promised about the user's own configuration (git's external diff, an alias).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from stretto.commands.shelltext import Word

Rule = Callable[[Sequence[Word]], bool]


def reads(name: str, args: Sequence[Word]) -> bool | None:
    """Say whether this call only reads; None when the command is not on the list at all."""
    rule = _RULES.get(name)
    return None if rule is None else rule(args)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any(args: Sequence[Word]) -> bool:
    return True


def _plain(args: Sequence[Word]) -> bool:
    return all(word.plain for word in args)


def _only(options: str, *, most: int = 99) -> Rule:
    """Allow only these options (a pattern over the whole word), and at most `most` other words."""
    allowed = re.compile(options, re.DOTALL)

    def rule(args: Sequence[Word]) -> bool:
        dashed = [word for word in args if word.text.startswith("-") and word.text != "-"]
        return _plain(args) and all(allowed.fullmatch(word.text) for word in dashed) and len(args) - len(dashed) <= most

    return rule


def _long(names: str) -> str:
    return f"--(?:{'|'.join(sorted(_set(names)))})(?:=.*)?"


_ADDRESS = r"(?:\d+|\$|/(?:[^/\\\n]|\\[^\n])*/)"
_PRINT = rf"(?:{_ADDRESS}(?:,\+?{_ADDRESS})?)?!?[pdq=]"
_SED_SCRIPT = re.compile(
    rf"{_PRINT}(?:;{_PRINT})*"
    + "".join(rf"|s{mark}(?:[^{mark}\\\n]|\\[^\n])*{mark}(?:[^{mark}\\\n]|\\[^\n])*{mark}[gpI0-9]*" for mark in ("/", "#", ",", "@", r"\|"))
)
"""Printing, deleting and replacing in the stream. `w`, `e`, `r`, `i` and labels are not understood."""


def _sed(args: Sequence[Word]) -> bool:
    script = False
    for at, word in enumerate(args):
        if word.text.startswith("-"):
            if not re.fullmatch(r"-[nEru]+|-e", word.text):
                return False
        elif not script or args[at - 1].text == "-e":
            script = True
            if not word.literal or not _SED_SCRIPT.fullmatch(word.text):
                return False
    return script and _plain(args)


def _awk(args: Sequence[Word]) -> bool:
    at = 0
    while at < len(args) and args[at].text.startswith("-"):
        if not re.fullmatch(r"-F.*|-v.*", args[at].text, re.DOTALL):
            return False
        at += 2 if args[at].text in ("-F", "-v") else 1
    return at < len(args) and args[at].literal and _plain(args) and not re.search(r"[>|@]|system|getline|close", args[at].text)


def _test(args: Sequence[Word]) -> bool:
    """`[ -f x ]`; number comparisons only of numbers, because zsh evaluates the operands."""
    texts = [word.text for word in args]
    if any(re.fullmatch(r"-(eq|ne|lt|le|gt|ge)", text) for text in texts):
        return all(re.fullmatch(r"-(eq|ne|lt|le|gt|ge)|-?\d+|\$[?#]|!|-a|-o", text) for text in texts)
    return all(not text.startswith("-") or re.fullmatch(r"-[fdesrwxLhnzao]|-nt|-ot|-ef", text) for text in texts)


def _printf(args: Sequence[Word]) -> bool:
    """Only text formats: zsh evaluates the operand of `%d`."""
    return bool(args) and args[0].literal and not args[0].text.startswith("-") and not re.search(r"%(?![-0-9.]*s|%)", args[0].text)


_FIND = _set(
    """-name -iname -path -ipath -wholename -type -maxdepth -mindepth -not -o -a -or -and -newer -size -mtime -mmin -print -print0 -prune
    -regex -iregex -empty -printf -ls -L -H -P -E -perm -user -group -links -regextype -xdev -executable -readable"""
)


def _find(args: Sequence[Word]) -> bool:
    return all(word.plain and (not word.text.startswith("-") or word.text in _FIND) for word in args)


# --- git --------------------------------------------------------------------------------------------------------------------

_GIT_LONG = """
    oneline stat shortstat numstat dirstat summary name-only name-status cached staged graph all author committer since until after
    before grep format pretty decorate no-decorate color no-color word-diff color-words ignore-all-space ignore-space-change
    ignore-blank-lines no-ext-diff no-textconv no-patch patch merges no-merges first-parent reverse follow max-count skip abbrev
    abbrev-commit no-abbrev date diff-filter find-renames no-renames unified minimal raw porcelain short branch ignored untracked-files
    exit-code quiet check merge-base tags branches remotes full-history left-right cherry-pick boundary no-walk source topo-order
    date-order show-signature long show-stash ahead-behind function-context compact-summary relative no-prefix inter-hunk-context text
    count binary full-index submodule ignore-submodules"""
_GIT_LOG = rf"--|-[^-]\S*|{_long(_GIT_LONG)}"
"""An option that git would also take in short (`--outp`) is not on the list, so it is refused."""
_GIT_GREP = _long(
    """line-number count files-with-matches files-without-match name-only heading break ignore-case word-regexp extended-regexp
    fixed-strings perl-regexp untracked no-index cached function-context show-function max-depth and or not color no-color"""
)
_BRANCHES = "list all remotes show-current contains no-contains merged no-merged verbose sort format points-at"
_LISTING = re.compile(r"-l|--(?:list|contains|no-contains|merged|no-merged|points-at)(?:=.*)?")


def _texts(args: Sequence[Word]) -> list[str]:
    return [word.text for word in args]


def _git_branch(args: Sequence[Word]) -> bool:
    """A word that is no option makes a branch, unless the call lists."""
    lists = any(_LISTING.fullmatch(word.text) for word in args) or all(word.text.startswith("-") for word in args)
    return lists and _only(rf"-[arvl]|-vv|{_long(_BRANCHES)}")(args)


def _git_tag(args: Sequence[Word]) -> bool:
    return not args or (args[0].text in ("-l", "--list") and _only(rf"-[ln]\d*|{_long('list sort contains points-at merged')}")(args))


def _git_remote(args: Sequence[Word]) -> bool:
    return _texts(args) in ([], ["-v"]) or (len(args) == 2 and args[0].text == "get-url" and not args[1].text.startswith("-"))


def _git_config(args: Sequence[Word]) -> bool:
    return bool(args) and args[0].text in ("--get", "--list", "-l", "--get-all", "--get-regexp") and len(args) <= 2


def _git_stash(args: Sequence[Word]) -> bool:
    return bool(args) and args[0].text in ("list", "show") and _only(_GIT_LOG)(args[1:])


def _git_reflog(args: Sequence[Word]) -> bool:
    return (not args or args[0].text == "show" or args[0].text.startswith("-")) and _only(_GIT_LOG)(args)


def _git_worktree(args: Sequence[Word]) -> bool:
    return bool(args) and args[0].text == "list" and _only("--porcelain|-z|-v|--verbose", most=1)(args)


_GIT: Mapping[str, Rule] = {
    **dict.fromkeys(_set("status diff log show shortlog whatchanged rev-list diff-tree diff-index diff-files"), _only(_GIT_LOG)),
    "grep": _only(rf"--|-[^-O][^O]*|{_GIT_GREP}"),
    "blame": _only(r"--|-[^-]\S*|--(?:porcelain|line-porcelain|date|since|reverse|show-email|root)(?:=.*)?"),
    **dict.fromkeys(_set("rev-parse ls-files ls-tree merge-base name-rev describe show-ref for-each-ref check-ignore"), _plain),
    "branch": _git_branch,
    "tag": _git_tag,
    "remote": _git_remote,
    "config": _git_config,
    "stash": _git_stash,
    "worktree": _git_worktree,
    "reflog": _git_reflog,
    "cat-file": _only(r"-[tpse]"),
    "version": _plain,
    "--version": lambda args: not args,
}


def _git(args: Sequence[Word]) -> bool:
    at = 0
    while at < len(args) and args[at].text in ("-C", "--no-pager", "--no-optional-locks", "-P"):
        at += 2 if args[at].text == "-C" else 1
    return at < len(args) and _plain(args) and args[at].literal and args[at].text in _GIT and _GIT[args[at].text](args[at + 1 :])


# --- the list ---------------------------------------------------------------------------------------------------------------

_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        _set(
            """cat head tail wc ls echo pwd grep egrep fgrep true false : basename dirname realpath readlink stat du df diff cmp comm cut tr
            nl rev tac fold seq paste join expand column sleep md5sum sha1sum sha256sum shasum b2sum cksum which type id whoami uname
            arch nproc uptime free ps pgrep printenv od hexdump strings jq cd"""
        ),
        _any,
    ),
    "rg": lambda args: _plain(args) and not any(word.text.startswith(("--pre", "--hostname-bin")) for word in args),
    **dict.fromkeys(("fd", "fdfind"), _only(rf"-[^-xX]*|{_long('type extension hidden no-ignore glob max-depth full-path exclude')}")),
    "find": _find,
    "sed": _sed,
    **dict.fromkeys(("awk", "gawk", "mawk"), _awk),
    "sort": _only(
        rf"-[^-oTS]*|{_long('unique reverse numeric-sort version-sort human-numeric-sort key field-separator ignore-case stable')}"
    ),
    "uniq": _only(r"-[cdui]+|--(?:count|repeated|unique|ignore-case)", most=1),
    "tree": _only(r"-[adfisLDIPh]+|--(?:dirsfirst|noreport|gitignore|du|prune|filelimit)(?:=.*)?"),
    "file": _only(r"-[bikLzsh]+|--(?:brief|mime|mime-type)"),
    "date": lambda args: all(
        word.plain and re.fullmatch(r"\+.*|-u|-R|-I\w*|--utc|--rfc-3339=\w+|--iso-8601(=\w+)?", word.text) for word in args
    ),
    "hostname": lambda args: not args,
    "env": lambda args: not args,
    "command": lambda args: len(args) == 2 and args[0].text in ("-v", "-V") and args[1].plain,
    "[": lambda args: bool(args) and args[-1].text == "]" and _test(args[:-1]),
    "test": _test,
    "printf": _printf,
    "git": _git,
    "pushd": _plain,
    "popd": lambda args: not args,
    "wait": lambda args: not args,
    "exit": lambda args: all(re.fullmatch(r"\d+|\$\?", word.text) for word in args),
    "set": lambda args: (
        bool(args) and all(re.fullmatch(r"[-+](?:[eux]+o?|o)|pipefail|errexit|nounset", word.text) and word.literal for word in args)
    ),
}

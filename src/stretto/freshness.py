"""Whether a stored result is still true. Pure: hides the rules, promises that whatever is not known for certain is never fresh.

Two questions, asked at two moments:

- `settle`, once, when a run has ended and the tree was scanned again: may this result ever be used, and what did the run write?
- `judge`, at every ask: what is it worth now?

docs/join.md tells the rules to users; decision 0002 tells why no change is ever left out, and why an ignored file that moved during a
run has to be known from an earlier run of the same job before it passes for the run's own product.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import assert_never

from stretto.model import Change, End, Evidence, FileClass, Products, Record, Standing, Verdict

INDEX_REWRITTEN = " (index rewritten)"
"""End of the path of a change that says: git's index was written anew with the entries it had. A refresh by `git status` looks like
that, and so does `git add` followed by `git reset`. During a run it counts, because what the run saw in between is not known; after
the run it does not, because the entries are compared themselves. `tree` has the same text; a test holds them together."""

REWRITTEN = "//written anew"
"""The same of a file compared by content that was written with the bytes it had: a run may have read it half written. No path has `//`."""


NO_PRODUCTS = Products()


def foreign(changes: Sequence[Change], known: Products, edited: Collection[str] = ()) -> tuple[Change, ...]:
    """Return what moved while a command runs and is not its own doing: it is stopped for these, and joined by nobody."""
    own = (change.of is FileClass.IGNORED and change.path not in edited and known.hold(change.path) for change in changes)
    return tuple(change for change, is_own in zip(changes, own, strict=True) if not is_own)


class Settled(Record, frozen=True, kw_only=True):
    """What a finished run's evidence says of it, once and for all."""

    torn: str
    """Why the result can never be used, "" when it can."""
    wrote: tuple[str, ...]
    """Sources that changed during the run and that no edit of the host explains: the command is mutating."""
    products: tuple[str, ...]
    """Ignored files that changed during the run while no other recorded run and no edit of the host could have done it."""


TOGETHER = 3
"""So many files of one kind in one folder are one kind of product, whatever their names at the next run."""


def places(products: Collection[str], roots: Mapping[str, str]) -> tuple[str, ...]:
    """Return where products lie: whole folders that git ignores, and several files of one kind right in another folder.

    Args:
        roots: by path the outermost folder around it that git ignores, "" where it ignores only the file.
    """
    found = {f"{roots[path]}/" for path in products if roots.get(path)}
    kinds: dict[str, int] = {}
    for path in products:
        folder, slash, name = path.rpartition("/")
        stem, dot, kind = name.rpartition(".")
        if stem and dot and not roots.get(path):
            kinds[f"{folder}{slash}*.{kind}"] = kinds.get(f"{folder}{slash}*.{kind}", 0) + 1
    found |= {pattern for pattern, count in kinds.items() if count >= TOGETHER}
    return tuple(sorted(found))


def settle(
    changes: Sequence[Change],
    *,
    edited: Collection[str],
    rewritten: Collection[str] = (),
    epoch_before: int,
    epoch_after: int,
    others_wrote: bool,
    problem: str,
    known: Products = NO_PRODUCTS,
    outputs: Collection[str] = (),
    printed: Collection[str] = (),
) -> Settled:
    """Say whether the result of a run that has just ended may ever be used, and what the run wrote.

    Args:
        changes: what moved between the scan before the run and the scan after it, classified (`tree.Scanner.classify`).
        edited: paths the host's own Edit and Write tools wrote meanwhile, as `Change.path` spells them.
        rewritten: those of them that are no longer as the tool left them: then the run wrote them as well.
        epoch_before: the epoch when the run began.
        epoch_after: the epoch now.
        others_wrote: another recorded run, or a command not known to be read-only, overlapped this one.
        problem: why one of the two scans cannot be trusted, "" when both can.
        known: ignored files this same job wrote in its earlier runs that nothing overlapped. An ignored file that is not among
            them tears the result: nobody can tell whether the run wrote its `.coverage` or the user an `.env` the run had read.
        outputs: files into which the shell puts what the run prints, and which held nothing when it began: a replay does the same.
        printed: such files that held something: not the run's doing, but it may have read them.
    """
    changes = [change for change in changes if change.path not in outputs]
    excused = set(edited) - set(rewritten)
    for path in tuple(excused):
        while "/" in path:
            path = path.rsplit("/", 1)[0]
            excused.add(path)
    sources = [change for change in changes if change.of is FileClass.SOURCE]
    ignored = [change for change in changes if change.of is FileClass.IGNORED]
    excused.update(printed)
    wrote = tuple(change.path for change in sources if change.path not in excused)
    written = excused.union(rewritten)  # the run may have read what the session wrote there before it wrote itself
    products = () if others_wrote else tuple(change.path for change in ignored if change.path not in written)
    hard = [change for change in changes if change.of is not FileClass.IGNORED]
    new = [change for change in ignored if change.path in written or not known.hold(change.path)]
    torn = ""
    if problem:
        torn = f"the project could not be read completely: {problem}"
    elif epoch_before != epoch_after:
        torn = "something changed during the run that a look at the project cannot show"
    elif hard:
        torn = f"{_named(hard)} changed during the run"
    elif ignored and others_wrote:
        torn = (
            f"{_named(ignored)} changed during the run, and another command ran at the same time, so it is not known which of them wrote it"
        )
    elif new:
        torn = f"{_named(new)} changed during the run, and this command has not been seen to write it before"
    return Settled(torn=torn, wrote=wrote, products=products)


def judge(
    *,
    evidence: Evidence | None,
    end: End | None,
    torn: str,
    moved: Sequence[Change] | None,
    scanner: str,
    epoch: int,
    now_mono_s: float,
    max_age_s: float,
    replays: int,
    problem: str,
) -> Verdict:
    """Say what a result is worth now.

    Args:
        evidence: of the attempt; for one that still runs, `before` and `epoch_before` count and the rest is not looked at.
        end: how it ended, None while it runs.
        torn: what `settle` said of it; "" for one that still runs.
        moved: changes since `evidence.after`, or since `evidence.before` while it runs; None when nobody knows.
        scanner: id of the scanner that made `moved`.
        epoch: the epoch now.
        now_mono_s: the clock that `evidence.ended_mono_s` was read from.
        max_age_s: a finished result older than this is not used: the clock, the network and services are not seen by any scan.
        replays: how often this result was replayed already.
        problem: why the latest scan cannot be trusted, "" when it can.
    """
    if problem:
        return Verdict(standing=Standing.UNKNOWN, reason=f"the project could not be read completely: {problem}", code="unreadable")
    if evidence is None:
        return Verdict(standing=Standing.UNKNOWN, reason="nothing is known about the project as it was when this ran", code="restarted")
    if evidence.scanner != scanner or moved is None:
        return Verdict(
            standing=Standing.UNKNOWN, reason="the supervisor was restarted since, so what changed meanwhile is not known", code="restarted"
        )
    if end is None:
        return _judge_running(evidence, torn, moved, epoch)
    if not end.by_itself:
        return Verdict(standing=Standing.UNKNOWN, reason=_unusable(end), code="not-ended")
    if torn:
        return Verdict(standing=Standing.TORN, reason=torn, code="torn")
    if evidence.epoch_before != evidence.epoch_after:
        return Verdict(
            standing=Standing.TORN, reason="something changed during the run that a look at the project cannot show", code="epoch"
        )
    age_s = now_mono_s - evidence.ended_mono_s
    if evidence.before > evidence.after or not math.isfinite(age_s) or age_s < 0:
        return Verdict(standing=Standing.UNKNOWN, reason="what was noted about this run does not fit together", code="restarted")
    if epoch != evidence.epoch_after:
        return Verdict(standing=Standing.STALE, reason="something was changed since that a look at the project cannot show", code="epoch")
    counted = [change for change in moved if not is_rewriting(change)]
    if counted:
        return Verdict(standing=Standing.STALE, reason=f"{_named(counted)} changed since it ended", code="moved")
    if not age_s <= max_age_s:
        return Verdict(
            standing=Standing.STALE, reason=f"it ended {_ago(age_s)} ago, and results are kept for {_ago(max_age_s)}", code="too-old"
        )
    if not end.passed and replays >= 1:
        return Verdict(
            standing=Standing.STALE, reason="it failed and was shown once already; a failure is not replayed twice", code="failed-once"
        )
    return Verdict(standing=Standing.FRESH, reason=f"nothing has changed since it ended {_ago(age_s)} ago")


def is_rewriting(change: Change) -> bool:
    """Say whether something was written anew and is as it was; a source may have any name, also one that ends like the index's mark."""
    return change.path.endswith(REWRITTEN) or (change.of is FileClass.GIT and change.path.endswith(INDEX_REWRITTEN))


def _judge_running(evidence: Evidence, torn: str, moved: Sequence[Change], epoch: int) -> Verdict:
    if torn:
        return Verdict(standing=Standing.TORN, reason=torn, code="running-moved")
    if epoch != evidence.epoch_before:
        return Verdict(
            standing=Standing.TORN, reason="it still runs, and something changed that a look at the project cannot show", code="epoch"
        )
    if moved:
        return Verdict(standing=Standing.TORN, reason=f"it still runs, and {_named(moved)} changed since it began", code="running-moved")
    return Verdict(standing=Standing.RUNNING, reason="it still runs, and nothing has changed since it began")


def _unusable(end: End) -> str:
    match end.how:
        case "signal":
            return f"it was ended from outside by signal {end.value}"
        case "cancelled":
            return "it was cancelled before it ended"
        case "timeout":
            return "it was stopped because it took too long"
        case "oversize":
            return "it wrote more output than is kept"
        case "memory":
            return "it ran out of memory, or took more than a run ahead may"
        case "processes":
            return "it started more processes than a run ahead may"
        case "unstarted":
            return "it could not be started"
        case "lost" | "code":
            return "how it ended is not known"
    assert_never(end.how)


def _named(changes: Iterable[Change]) -> str:
    """Name the first three in words: `a.py, b.py, c.py and 4 more`."""
    names = [_words(change) for change in changes]
    shown, rest = names[:3], len(names) - 3
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _words(change: Change) -> str:
    match change.of:
        case FileClass.SOURCE | FileClass.IGNORED | FileClass.WORKSHOP:
            return change.path.removesuffix(REWRITTEN)
        case FileClass.GIT:
            return _placed("git's state", change.path.removeprefix("git:").removesuffix(INDEX_REWRITTEN))
        case FileClass.DEPENDENCY:
            return _placed("installed packages", change.path.removeprefix("deps:"))
    assert_never(change.of)


def _placed(what: str, folder: str) -> str:
    return what if folder == "." else f"{what} in {folder}"


def _ago(seconds: float) -> str:
    if not seconds < 7200:
        return f"{seconds / 3600:.0f} hours"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"

"""When a session is held up, and what it is told. Pure.

`decide` answers every question of a hook or of the `git` shim: go on, or not, and why. News is a fact about a check that flipped, told once
to each session. Promises:
- whatever decides, a session is made to go on at most `CONTINUED_MOST` times for one prompt of its user and once for the same fact (a
  check and the set of its failing tests, or a block), whatever the tree; a question without a written source never is;
- only a check that was not red when this session first saw it can hold it up; one that runs selected tests, tested nothing or could not
  begin never does, and what is not known for certain (stale, torn, lost, our own trouble) is said and holds nobody;
- what a worker printed is quoted as data, bounded, with control characters out, and never reads as an instruction.

Source of the rules: docs/gates.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from stretto.model import AttemptId, End, GateAct, GatePlace, JobKey, Outcome, Record, SessionId, Standing, Weighed, WorkerSaid
from stretto.steering import FACTS_MOST, Block, Turn

NEWS_LIMIT = 3
"""Flips told in one batch, at most."""
QUIET_S = 2.0
"""No news while files are being written: the next result is already under way."""
LINE_CHARACTERS = 160
NEWS_LINES = {1: 8, 2: 4, 3: 2}
"""Of what a check printed, told in each of so many items: all of them together stay within `TEXT_CHARACTERS`."""
NEWS_LINE_CHARACTERS = 100
CONTINUED_MOST = 2
"""Turns that are made to go on for one prompt of the user. The host's own cap is 8 and begins anew with every tool call."""
HOLD_S = 10.0
"""An answer is kept back for so long at most, for a check that is expected to end within that time."""
TEXT_CHARACTERS = 2000
"""All that one answer says to the session. The host itself cuts at 10,000."""
WORDS_MOST = 5
"""What workers say, told at one time."""
NOTICE_NAMES = 3
"""Commands that one notice names; the others are counted."""
NOTICES_MOST = 5
"""Notices in one session, at most."""
NO_COMMAND = (126, 127)
"""Exit codes of a shell that could not execute the command, or did not find it."""
PYTEST_NO_VERDICT = (3, 4, 5)
"""Internal error, usage error, no tests collected (pytest's own documentation of its exit codes)."""
_PYTEST = re.compile(r"\bpy\.?test\b")
NOTHING_TESTED = re.compile(
    r"\bno tests? (?:were |was )?(?:ran|run|found|collected|executed|to run)\b|\bno test (?:files|suites?)\b|^Ran 0 tests|^0 examples,"
    r"|^[= ]*\d+ (?:skipped|deselected)(?:, \d+ (?:skipped|deselected|warnings?))* in [\d.]+ ?s\b",
    re.IGNORECASE,
)
"""The last line of a run in which nothing was tested: pytest, unittest, jest, vitest, go, rspec, phpunit."""
ESCAPES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[@-_])")
"""ECMA-48 control sequences and OSC strings."""


class Result(Record, frozen=True, kw_only=True):
    """The latest fresh result of one check."""

    job: JobKey
    attempt: AttemptId
    command: str
    end: End
    ended_ago_s: float
    took_s: float
    last_line: str
    lines: tuple[str, ...] = ()
    """What it printed of its failures; without them its last line is told."""
    more: int = 0
    flips: int = 0
    """How often the check came to another end although nothing had changed."""


class News(Record, frozen=True, kw_only=True):
    job: JobKey
    attempt: AttemptId
    was: str
    now: str
    text: str


def news(results: Iterable[Result], known: Mapping[JobKey, str], quiet_for_s: float) -> list[News]:
    """Return the flips a session has not heard of.

    Args:
        results: fresh results only.
        known: `pass` or `fail` as the session last saw each check, by running it or by being told; a check it never saw is no news.
        quiet_for_s: seconds since a file was last written.
    """
    if quiet_for_s < QUIET_S:
        return []
    flipped = []
    for result in results:
        was, now = known.get(result.job), outcome(result.end, result.last_line, result.command)
        if was is not None and now and now != was:
            flipped.append((result, was, now))
    told = flipped[:NEWS_LIMIT]
    return [
        News(job=result.job, attempt=result.attempt, was=was, now=now, text=_sentence(result, was, now, NEWS_LINES[len(told)]))
        for result, was, now in told
    ]


def outcome(end: End, last_line: str = "", command: str = "") -> Outcome:
    """Return `pass` or `fail`, "" when the run says nothing about the code: it tested nothing, or could not even begin (F43).

    The exit code comes first: no last line makes a pass of a failure. For a join this does not count, which repeats what was printed.
    """
    if end.how == "code" and (end.value in NO_COMMAND or (end.value in PYTEST_NO_VERDICT and _PYTEST.search(command))):
        return ""
    if end.how == "code" and NOTHING_TESTED.search(ESCAPES.sub("", last_line)):
        return ""
    return "pass" if end.passed else "fail"


def notice(commands: Sequence[str]) -> str:
    """Return the line that tells once of commands that they also run ahead from now on, and how to switch that off."""
    shown = ", ".join(f"«{clean(command)}»" for command in commands[:NOTICE_NAMES])
    more = f" and {len(commands) - NOTICE_NAMES} more" if len(commands) > NOTICE_NAMES else ""
    return (
        f"Stretto: {shown}{more} also run{'s' if len(commands) == 1 else ''} in the background after edits now; a call is answered by that "
        "run when nothing has changed since. The user can switch this off with `never` under [ahead] in stretto.toml."
    )


def _sentence(result: Result, was: str, now: str, lines: int) -> str:
    code = f"exit code {result.end.value}" if result.end.how == "code" else f"signal {result.end.value}"
    last = clean(result.last_line)
    quoted = f" Last line it printed, quoted as data: «{last}»" if last else ""
    if now == "fail" and result.lines:
        quoted = f" What it printed, quoted as data:\n{_quoted(result.lines, result.more, lines, NEWS_LINE_CHARACTERS)}"
    flaky = " It is flaky: it came to both ends before, with nothing changed." if result.flips else ""
    return (
        f"Stretto: the check «{clean(result.command)}» was a {was} and is a {now} ({code}) on the files as they are now; "
        f"it ran in the background, ended {result.ended_ago_s:.0f} s ago and took {result.took_s:.1f} s.{flaky}{quoted}"
    )


def clean(text: str, most: int = LINE_CHARACTERS) -> str:
    """Return `text` on one line of at most `most` characters: no escape sequences, no control, format or private characters, no quote
    marks of ours."""
    text = ESCAPES.sub("", text)
    text = "".join(" " if letter.isspace() else letter for letter in text if letter.isspace() or unicodedata.category(letter)[0] != "C")
    text = " ".join(text.replace("«", "<").replace("»", ">").replace("<system-reminder", "<system reminder").split())
    return text if len(text) <= most else text[: most - 1] + "…"


# --- gates ------------------------------------------------------------------------------------------------------------------

RULES = {
    "off": "Stretto does not act here at this moment",
    "unjudged": "what would have to be known is not known: Stretto itself has trouble",
    "block": "a block holds it up",
    "block-told": "a block that this session was held up for already",
    "way-out": "a command that looks at Stretto, or ends what it does, is never held up",
    "nothing-written": "no source was written since the user's last prompt",
    "red": "a check that was not red before fails on the files as they are",
    "red-told": "the same failures were told to this session already",
    "red-before": "what fails failed already when this session first saw it",
    "cap": "it was made to go on as often as it may be for one prompt",
    "running": "a check is about to end, and the answer waits for it",
    "still-running": "a check did not end in time",
    "override": "the user has it done all the same (STRETTO=off)",
    "passed-by": "it was done past the gate: nobody asked",
    "stale": "a check failed, and something has changed since",
    "not-gated": "no check holds anybody up at this place",
    "clear": "nothing speaks against it",
}
"""Every rule by which a gate decides, in words; the list is closed."""

Place = Literal["stop", "edit", "tool", "commit", "push"]
"""stop: a turn, or a subagent, is about to end. edit: a file is about to be written. tool: any other tool."""


class Question(Record, frozen=True, kw_only=True):
    """What a hook or a shim asks."""

    place: Place
    session: SessionId | None
    agent: str = ""
    way_out: bool = False
    """It is a command by which somebody looks at us or ends a block."""
    continues: bool = False
    """The host says that this turn goes on only because a hook made it go on (`stop_hook_active`), whoever's: it counts as once."""
    waited_s: float = 0.0
    """For how long its answer was kept back already."""
    task: bool = False
    """It is a task that is about to be marked as done, and no turn that ends; judged alike, and counted together."""
    override: bool = False
    """The user says that it is to be done whatever we say."""


class Checked(Record, frozen=True, kw_only=True):
    """What is known of one check at this moment."""

    job: JobKey
    attempt: AttemptId | None
    command: str
    places: frozenset[GatePlace]
    """Where its failures hold a session up."""
    standing: Standing
    outcome: Outcome
    reason: str = ""
    """Why it stands so."""
    filtered: bool = False
    """It runs selected tests only."""
    left_s: float | None = None
    """When it runs: in how long it is expected to end; None when nobody knows."""
    end: End | None = None
    ended_ago_s: float = 0.0
    took_s: float = 0.0
    ahead: bool = False
    after_writes: bool = True
    """It began after the agent in question wrote its first source."""
    fact: str = ""
    """Digest of the check and the set of its failing tests."""
    lines: tuple[str, ...] = ()
    """What it printed of its failures."""
    more: int = 0
    flips: int = 0


class View(Record, frozen=True, kw_only=True):
    """Everything else that decides."""

    turn: Turn
    blocks: tuple[Block, ...] = ()
    """Those that hold now, whomever they concern, oldest first."""
    checks: tuple[Checked, ...] = ()
    off: str = ""
    """Why we do not act, "" when we do."""
    trouble: str = ""
    """Why nothing is known for certain, "" when all is well; the user hears of it."""
    beside: str = ""
    """Beside what it stands so that nothing is known to hold: work of the user's own, or of another session."""


class Decision(Record, frozen=True, kw_only=True):
    """What is answered, and what that rests on."""

    do: GateAct | Literal["hold"]
    """hold: ask again when a check has ended, or after `HOLD_S` in all."""
    rule: str
    text: str = ""
    """What the session is told."""
    notice: str = ""
    """What its user is told."""
    facts: tuple[str, ...] = ()
    checks: tuple[Weighed, ...] = ()
    blocks: tuple[str, ...] = ()


def decide(question: Question, view: View) -> Decision:
    """Say whether a session may do what it is about to do."""
    if question.override:
        return Decision(do="allow", rule="override")
    if view.off:
        return Decision(do="allow", rule="off")
    mine = tuple(block for block in view.blocks if block.concerns(question.session) and _stands_in_the_way(block, question.place))
    if question.place in ("edit", "tool"):
        return _decide_tool(question, mine)
    return _decide_stop(question, view, mine) if question.place == "stop" else _decide_git(question, view, mine)


def _stands_in_the_way(block: Block, place: Place) -> bool:
    scope = block.raised.scope
    return scope == "all" or scope == place or (scope == "commit" and place == "push")


def _decide_tool(question: Question, mine: Sequence[Block]) -> Decision:
    if not mine:
        return Decision(do="allow", rule="clear")
    ids = tuple(block.id for block in mine)
    if question.way_out:
        return Decision(do="allow", rule="way-out", blocks=ids)
    return Decision(do="deny", rule="block", text=_of_blocks(mine, "This is not done now"), facts=ids, blocks=ids)


def _decide_stop(question: Question, view: View, mine: Sequence[Block]) -> Decision:
    turn = view.turn
    room = max(turn.continued, question.continues) < CONTINUED_MOST and len(turn.facts) < FACTS_MOST
    ids = tuple(block.id for block in mine)
    new_blocks = [block for block in mine if turn.facts.get(block.id) != turn.prompts]
    if new_blocks and room:
        facts = tuple(block.id for block in new_blocks)
        return Decision(
            do="continue",
            rule="block",
            text=_of_blocks(new_blocks, "This task is not done yet" if question.task else "This turn does not end yet"),
            facts=facts,
            blocks=ids,
        )
    after = "block-told" if mine else ""
    gated = [check for check in view.checks if "stop" in check.places and not check.filtered]
    weighed = tuple(_weigh(check) for check in gated)
    if unjudged := _unjudged(view, ids, wrote=question.agent in turn.wrote):
        return unjudged
    if question.agent not in turn.wrote:
        return Decision(do="allow", rule=after or "nothing-written", checks=weighed, blocks=ids)
    red = [check for check in gated if _is_red(check) and (not question.agent or check.after_writes)]
    own = [check for check in red if _broke(check, turn)]
    new = [check for check in own if check.fact not in turn.facts]
    if new and room:
        text = _of_red(new, "They were not red when this session first saw them.")
        return Decision(do="continue", rule="red", text=text, facts=tuple(check.fact for check in new), checks=weighed, blocks=ids)
    running = [check for check in gated if check.standing is Standing.RUNNING]
    if not own and room and any(_ends_soon(check, question.waited_s) for check in running):
        return Decision(do="hold", rule="running", checks=weighed, blocks=ids)
    stale = [check for check in gated if check.standing is Standing.STALE and check.outcome == "fail" and _broke(check, turn)]
    rule, notice = _why_allowed(new, own, red, running if question.waited_s else [], stale)
    return Decision(do="allow", rule=after or rule, notice=notice, checks=weighed, blocks=ids)


def _why_allowed(
    new: Sequence[Checked], own: Sequence[Checked], red: Sequence[Checked], late: Sequence[Checked], stale: Sequence[Checked]
) -> tuple[str, str]:
    """Return the rule by which a turn ends, and what its user is told of it."""
    if new:
        return "cap", f"Stretto: the turn ends with {_names(new)} red; the session was told often enough for one prompt."
    if own:
        return "red-told", f"Stretto: the turn ends with {_names(own)} still red, as the session was told."
    if red:
        return "red-before", f"Stretto: {_names(red)} {_are(red)} red, as when this session first saw {_it(red)}."
    if late:
        return "still-running", f"Stretto: {_names(late)} still {_are(late, 'runs', 'run')}; what comes of it is told with the next prompt."
    if stale:
        return "stale", f"Stretto: {_names(stale)} failed before the last change and did not run since."
    return "clear", ""


def _decide_git(question: Question, view: View, mine: Sequence[Block]) -> Decision:
    ids = tuple(block.id for block in mine)
    if mine:
        if question.way_out:
            return Decision(do="allow", rule="way-out", blocks=ids)
        return Decision(do="deny", rule="block", text=_of_blocks(mine, f"The {question.place} is not done"), facts=ids, blocks=ids)
    gated = [check for check in view.checks if question.place in check.places and not check.filtered]
    weighed = tuple(_weigh(check) for check in gated)
    if unjudged := _unjudged(view, ids, wrote=True):
        return unjudged
    if not gated:
        return Decision(do="allow", rule="not-gated")
    red = [check for check in gated if _is_red(check)]
    own = [check for check in red if question.session is None or _broke(check, view.turn)]
    if own:
        way = f"The user can do it all the same with `STRETTO=off git {question.place} ...`."
        text = f"{_of_red(own, f'So this {question.place} is not done.')} {way}"
        return Decision(do="deny", rule="red", text=text, facts=tuple(check.fact for check in own), checks=weighed)
    running = [check for check in gated if check.standing is Standing.RUNNING]
    if any(_ends_soon(check, question.waited_s) for check in running):
        return Decision(do="hold", rule="running", checks=weighed)
    if red:
        return Decision(
            do="allow", rule="red-before", text=f"Stretto: {_names(red)} {_are(red)} red, as before this session.", checks=weighed
        )
    if running and question.waited_s:
        return Decision(do="allow", rule="still-running", text=f"Stretto: {_names(running)} did not end in time.", checks=weighed)
    stale = [check for check in gated if check.standing is Standing.STALE and check.outcome == "fail"]
    if stale:
        text = f"Stretto: {_names(stale)} failed before the last change and did not run since."
        return Decision(do="allow", rule="stale", text=text, checks=weighed)
    return Decision(do="allow", rule="clear", checks=weighed)


def _unjudged(view: View, ids: tuple[str, ...], *, wrote: bool) -> Decision | None:
    """Return that nothing can be judged, None when something can; blocks hold all the same, whoever raised them knew why."""
    if not (view.trouble or view.beside):
        return None
    notice = f"Stretto could not judge this: {clean(view.trouble)}" if view.trouble and wrote else ""
    return Decision(do="allow", rule="unjudged", notice=notice, blocks=ids)


def _weigh(check: Checked) -> Weighed:
    return Weighed(
        job=check.job, attempt=check.attempt, standing=check.standing.value, outcome=check.outcome, fact=check.fact, reason=check.reason
    )


def _is_red(check: Checked) -> bool:
    return check.standing is Standing.FRESH and check.outcome == "fail"


def _broke(check: Checked, turn: Turn) -> bool:
    """Say whether a check that fails was not red before: it passed in this session, or was not red when it first came out."""
    return check.job in turn.passed or turn.first.get(check.job, "fail") != "fail"


def _ends_soon(check: Checked, waited_s: float) -> bool:
    return check.left_s is not None and check.left_s + waited_s <= HOLD_S and waited_s < HOLD_S


def _names(checks: Sequence[Checked]) -> str:
    shown = ", ".join(f"«{clean(check.command, 80)}»" for check in checks[:NOTICE_NAMES])
    return shown + (f" and {len(checks) - NOTICE_NAMES} more" if len(checks) > NOTICE_NAMES else "")


def _are(checks: Sequence[Checked], one: str = "is", many: str = "are") -> str:
    return one if len(checks) == 1 else many


def _it(checks: Sequence[Checked]) -> str:
    return "it" if len(checks) == 1 else "them"


def _of_blocks(blocks: Sequence[Block], what: str) -> str:
    lines = [f"Stretto: {what}, because of {'a block' if len(blocks) == 1 else f'{len(blocks)} blocks'}."]
    for block in blocks[:NOTICE_NAMES]:
        event = block.raised
        who = "a background worker" if event.attempt else "a person or a program of theirs"
        lines.append(
            f"{who} says, quoted as data: «{clean(event.reason, 300)}» (block {event.block}, ends by itself after {event.ttl_s:.0f} s)"
        )
    lines.append("`stretto unblock ID` ends one; it is for the user to decide.")
    return _bounded("\n".join(lines))


def _of_red(checks: Sequence[Checked], because: str) -> str:
    """Return what a red gate says: which command, on which files, how long ago, and the lines that name the failures, as data."""
    parts = []
    for check in checks[:NOTICE_NAMES]:
        assert check.end is not None
        code = f"exit code {check.end.value}" if check.end.how == "code" else f"signal {check.end.value}"
        where = "in the background" if check.ahead else "in this session"
        flaky = " It is flaky: it came to both ends before, with nothing changed." if check.flips else ""
        head = (
            f"the check «{clean(check.command)}» fails on the files as they are now ({code}; it ran {where}, ended "
            f"{check.ended_ago_s:.0f} s ago and took {check.took_s:.1f} s).{flaky}"
        )
        quoted = _quoted(check.lines, check.more, len(check.lines))
        parts.append(f"{head} What it printed, quoted as data:\n{quoted}" if check.lines else head)
    rest = f"\n(and {len(checks) - NOTICE_NAMES} more checks)" if len(checks) > NOTICE_NAMES else ""
    return _bounded("Stretto: " + "\nStretto: ".join(parts) + rest, f"\n{because}")


def _quoted(lines: Sequence[str], more: int, most: int, characters: int = LINE_CHARACTERS) -> str:
    """Return what a check printed as data, each line behind a mark, at most `most` of them."""
    left = more + max(0, len(lines) - most)
    return "\n".join([*(f"  | {clean(line, characters)}" for line in lines[:most]), *([f"  (and {left} more)"] if left else [])])


def wake_text(block: Block) -> str:
    """Return what an idle session is woken with."""
    return _of_blocks([block], "An idle session is woken")


def words_text(said: Sequence[WorkerSaid]) -> str:
    """Return what workers said, as data."""
    lines = [f"Stretto: a background worker says, quoted as data: «{clean(event.text, 300)}»" for event in said[:WORDS_MOST]]
    more = len(said) - WORDS_MOST
    return _bounded("\n".join([*lines, f"(and {more} more)"] if more > 0 else lines))


def _bounded(text: str, end: str = "") -> str:
    room = TEXT_CHARACTERS - len(end) - 200  # what is put behind it
    return (text if len(text) <= room else text[: room - 1] + "…") + end

"""One Bash command text -> its simple commands, for a judgement that must never be too kind. Pure.

Hides: quoting, operators, keywords and redirections as bash and zsh agree on them. It is no shell: what it does not know it does not
guess. Promises: `split` never raises and never leaves a command out, those in `$(...)` included; whatever hides one (backquotes, a
here-document, a process substitution, arithmetic) ends the reading with a reason, and everything up to there is returned. A word says
how far its text can be trusted: `literal` when the command receives exactly `text`, `plain` when it receives one word that cannot turn
into an option.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_CHARS = 65_536
"""A longer text is not read."""

_ENDS = " \t\n;&|<>()"
_REDIRECT = re.compile(r"(?:\d*(?:<<<|<<|<>|<&|>>|>&|>\||<|>)|&>>?)", re.ASCII)
_WRITING = frozenset({">", ">>", ">|", "&>", "&>>", ">&"})
_UNCLEAR = re.compile(r"^[~=!]|[*?\[{]")
"""In the name of a file that is written: the shell may make another one of it. zsh takes `>! file` for `>| file`."""
_EXPANSION = re.compile(
    r"\$(?:[A-Za-z_]\w*|[?#@*$!0-9-]|\{[?#@*$!0-9]\}|\{#?[A-Za-z_]\w*\}|\{[A-Za-z_]\w*\[(?:\d+|@|\*)\]\}|\{[A-Za-z_]\w*:?-[\w./ ,:-]*\})",
    re.ASCII,
)
"""The expansions that only read a variable. `${x:=y}`, `${x@P}`, `$((..))`, `$(..)` and zsh's flags can run or set something."""
_SUBSCRIPT = re.compile(r"\[[0-9]+\]")
_SUBSTITUTIONS = 4
_SEVERAL = ("$@", "$*", "${@}", "${*}")
_LEADING = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{"})
_CLOSING = frozenset({"fi", "done", "}"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Word(NamedTuple):
    text: str
    """Without quotes; expansions stand as they were written."""
    raw: str
    literal: bool
    plain: bool


class Simple(NamedTuple):
    """One simple command. `words` may be empty: only assignments, or only a redirection."""

    words: tuple[Word, ...]
    assigns: tuple[str, ...]
    """`NAME=value` before the command; a `for` loop's variable as `NAME=`."""
    flaw: str
    """What the shell does besides running the words: writes a file that is not named outright, goes on without waiting. "" when nothing."""
    writes: tuple[str, ...] = ()
    """Files that the shell writes by a redirection, as they are named."""
    piped: bool = False
    """Its standard input is the output of the one before."""
    values: tuple[Word, ...] = ()
    """The words of `assigns`."""


class _Opaque(Exception):
    pass


def split(text: str) -> tuple[tuple[Simple, ...], str]:
    """Return the simple commands of `text` in order, and why the rest was not read ("" when all of it was)."""
    scanner = _Scanner(text)
    try:
        scanner.run()
    except _Opaque as reason:
        return tuple(scanner.done), str(reason)
    return tuple(scanner.done), ""


class _Scanner:
    def __init__(self, text: str, nested: int = 0) -> None:
        self.text = text
        self._nested = nested
        """So many command substitutions are around what is read."""
        self.done: list[Simple] = []
        self._words: list[Word] = []
        self._flaw = ""
        self._writes: list[str] = []
        self._piped = False
        self._at = 0

    def run(self, *, inside: bool = False) -> None:
        """Read all of it.

        Args:
            inside: up to the parenthesis that closes a command substitution, and no `case`, whose patterns end in one, too.
        """
        text = self.text
        if not inside and len(text) > MAX_CHARS:
            raise _Opaque("the text is too long")
        if not inside and any((char < " " and char not in "\t\n") or char == "\x7f" for char in text):
            raise _Opaque("a control character")
        depth, closed = 0, False
        while True:
            self._skip_blanks()
            if self._at >= len(text):
                break
            if inside and not depth and text[self._at] == ")":
                self._end(1)
                return
            char, two = text[self._at], text[self._at : self._at + 2]
            if char == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif two in ("&&", "||", "|&"):
                self._end(2)
                closed = False
            elif found := _REDIRECT.match(text, self._at):
                self._redirect(found.group())
            elif char in ";\n|&":
                if char == "&":
                    self._flaw = self._flaw or "goes on in the background"
                self._end(1)
                closed = False
            elif char == "(":
                # `f (` defines a function, `((` is arithmetic; only a subshell begins where a command may begin.
                if two == "((" or closed or any(word.raw not in _LEADING for word in self._words):
                    raise _Opaque("a parenthesis that is no subshell")
                self._end(1)
                depth += 1
            elif char == ")":
                self._end(1)
                depth, closed = depth - 1, True
                if depth < 0:
                    raise _Opaque("a parenthesis that closes nothing")
            elif closed:
                raise _Opaque("a word after a closing parenthesis")
            else:
                self._words.append(self._word())
        self._end(0)
        if inside:
            raise _Opaque("a command substitution that is not closed")
        if depth:
            raise _Opaque("a parenthesis that is not closed")

    def _skip_blanks(self) -> None:
        while self._at < len(self.text):
            if self.text[self._at] in " \t":
                self._at += 1
            elif self.text.startswith("\\\n", self._at):
                self._at += 2
            else:
                return

    def _end(self, chars: int) -> None:
        """Close the simple command that was read so far and step over its separator."""
        pipes = self.text[self._at : self._at + chars] in ("|", "|&")
        self._at += chars
        words, flaw, writes, piped = self._words, self._flaw, tuple(self._writes), self._piped
        self._words, self._flaw, self._writes = [], "", []
        while words and (words[0].raw in _LEADING or (words[0].raw == "time" and not (len(words) > 1 and words[1].text.startswith("-")))):
            words = words[1:]
        if len(words) == 1 and words[0].raw in _CLOSING:
            words = []
        if any(word.raw == "case" for word in words[:1]) and self._nested:
            raise _Opaque("a case in a command substitution")
        assigns: list[str] = []
        values: list[Word] = []
        if len(words) > 2 and words[0].raw == "for" and _NAME.fullmatch(words[1].raw) and words[2].raw == "in":
            words, assigns = [], [words[1].raw + "="]
        while words and _ASSIGNMENT.match(words[0].raw):
            assigns.append(words[0].text)
            values.append(words[0])
            words = words[1:]
        if words or assigns or flaw or writes:
            self.done.append(Simple(tuple(words), tuple(assigns), flaw, writes, piped, tuple(values)))
            self._piped = False
        self._piped = self._piped or pipes

    def _redirect(self, operator: str) -> None:
        self._at += len(operator)
        if "<<" in operator:
            raise _Opaque("a here-document")
        if self.text.startswith("(", self._at):
            raise _Opaque("a process substitution")
        self._skip_blanks()
        if self._at >= len(self.text) or self.text[self._at] in _ENDS:
            raise _Opaque("a redirection to nowhere")
        target = self._word()
        kind = operator.lstrip("0123456789")
        if kind in (">&", "<&") and re.fullmatch(r"[0-9]+|-", target.text):
            return
        if target.literal and (target.text == "/dev/null" or (kind == "<" and not target.text.startswith(("/dev/tcp/", "/dev/udp/")))):
            return
        if kind in _WRITING and target.literal and target.text and not _UNCLEAR.search(target.raw) and not target.text.startswith("/dev/"):
            self._writes.append(target.text)
            return
        self._flaw = self._flaw or "writes to a file by a redirection"

    def _word(self) -> Word:
        begin, out, literal, plain = self._at, "", True, True
        text = self.text
        while self._at < len(text) and (char := text[self._at]) not in _ENDS:
            if char == "'":
                end = text.find("'", self._at + 1)
                if end < 0:
                    raise _Opaque("a quote that is not closed")
                out, self._at = out + text[self._at + 1 : end], end + 1
            elif char == '"':
                more, computed = self._quoted()
                if computed:
                    literal = False
                    plain = (
                        plain
                        and not (out + more).startswith(("$", "-"))
                        and not any(several in more for several in (*_SEVERAL, "[@]", "[*]"))
                    )
                out += more
            elif char == "\\":
                if self._at + 1 >= len(text):
                    raise _Opaque("a backslash at the end")
                out += text[self._at + 1].replace("\n", "")
                self._at += 2
            elif char == "`":
                raise _Opaque("a command substitution")
            elif char == "$":
                more = self._expansion("") or self._substitution()
                if more != "$":
                    literal = plain = False
                out += more
            else:
                if char in "{}" or (char in "*?[" and (not out or out.startswith("-"))):
                    literal = plain = False
                out += char
                self._at += 1
        if self._at < len(text) and text[self._at] == "(":
            raise _Opaque("a parenthesis inside a word")
        raw = text[begin : self._at]
        return Word(out, raw, literal or raw == "[", plain or raw == "[")

    def _quoted(self) -> tuple[str, bool]:
        """Read a double-quoted stretch; return its text and whether an expansion is in it."""
        out, computed, text = "", False, self.text
        self._at += 1
        while self._at < len(text):
            char = text[self._at]
            if char == '"':
                self._at += 1
                return out, computed
            if char == "`":
                raise _Opaque("a command substitution")
            if char == "\\" and text[self._at + 1 : self._at + 2] in ("$", "`", '"', "\\", "\n"):
                out += text[self._at + 1].replace("\n", "")
                self._at += 2
            elif char == "$":
                more = self._expansion("\"'") or self._substitution()
                computed = computed or more != "$"
                out += more
            else:
                out += char
                self._at += 1
        raise _Opaque("a quote that is not closed")

    def _expansion(self, harmless: str) -> str:
        """Read what a `$` begins; `harmless` are the characters before which it stands for itself here. "" before a `$(`."""
        if self.text.startswith("$(", self._at) and not self.text.startswith("$((", self._at):
            return ""
        found = _EXPANSION.match(self.text, self._at)
        if not found:
            follows = self.text[self._at + 1 : self._at + 2]
            if follows and follows in "({[^=~+`\"'" and follows not in harmless:
                raise _Opaque("a command substitution or another expansion that can do something")
            self._at += 1
            return "$"
        self._at = found.end()
        if self.text.startswith("[", self._at) and not _SUBSCRIPT.match(self.text, self._at):
            raise _Opaque("a subscript that is computed")  # zsh evaluates it, and evaluating can run a command
        return found.group()

    def _substitution(self) -> str:
        """Read `$(...)`: the commands in it run, so they are commands of the text like all others."""
        begin = self._at
        inner = _Scanner(self.text, nested=self._nested + 1)
        if inner._nested > _SUBSTITUTIONS:
            raise _Opaque("command substitutions in one another")
        inner._at = begin + 2
        try:
            inner.run(inside=True)
        finally:
            self.done += inner.done
        self._at = inner._at
        return self.text[begin : self._at]

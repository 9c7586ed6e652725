"""The grammar: what a text is cut into, and where reading stops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stretto.commands.shelltext import split


def each(table: str) -> list[str]:
    """The commands of a table, `¦` between two and `¶` for the end of a line inside one."""
    return [command.strip().replace("¶", "\n") for line in table.splitlines() for command in line.split("¦") if command.strip()]


def cut(text: str) -> tuple[list[list[str]], str]:
    found, opaque = split(text)
    return [[*simple.assigns, *(word.text for word in simple.words)] for simple in found], opaque


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("a b | c && d || e; f\ng", [["a", "b"], ["c"], ["d"], ["e"], ["f"], ["g"]], id="separators"),
        pytest.param("a 'b c' \"d e\" f\\ g h'i'\"j\"", [["a", "b c", "d e", "f g", "hij"]], id="quotes"),
        pytest.param("a \\\n b", [["a", "b"]], id="continued-line"),
        pytest.param("X=1 Y='2 3' a", [["X=1", "Y=2 3", "a"]], id="assignments"),
        pytest.param("(cd x && a)", [["cd", "x"], ["a"]], id="subshell"),
        pytest.param("{ a; b; }", [["a"], ["b"]], id="group"),
        pytest.param("if a; then b; else c; fi", [["a"], ["b"], ["c"]], id="if"),
        pytest.param("for x in 1 2; do a $x; done", [["x="], ["a", "$x"]], id="for"),
        pytest.param("! time a", [["a"]], id="not-and-time"),
        pytest.param("a # ; rm -rf x\nb", [["a"], ["b"]], id="comment"),
        pytest.param("a#b c", [["a#b", "c"]], id="no-comment-inside-a-word"),
        pytest.param("a 2>&1 >/dev/null <in 2>&- | b", [["a"], ["b"]], id="harmless-redirections"),
        pytest.param("echo \"a|b$\" '$(x)' \\$y", [["echo", "a|b$", "$(x)", "$y"]], id="quoted-operators"),
        pytest.param("echo ${PIPESTATUS[0]} $? ${x:-1}", [["echo", "${PIPESTATUS[0]}", "$?", "${x:-1}"]], id="reading-expansions"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_split_understood_text_gives_every_simple_command(text, parts):
    assert cut(text) == (parts, "")
    assert not any(simple.flaw for simple in split(text)[0])


HIDING = r"""
    a $(b ¦ a `b` ¦ a "$(b" ¦ a $(case x in y) b;; esac) ¦ a $(b # ) ¦ a $($($($($(b))))) ¦ a $(b `c`)
    a "`b`" ¦ a <(b) ¦ a <<E¶b¶E ¦ a <<<b ¦ f() { a; } ¦ ((x=1)) ¦ a $((x)) ¦ a ${x:=y}
    a ${x@P} ¦ a $'b' ¦ a $x[$y] ¦ a 'b ¦ a "b ¦ a \ ¦ (a ¦ a) ¦ (a) b ¦ a *(e:b:) ¦ a $=x ¦ x=(a b) ¦ a >
"""


@pytest.mark.parametrize("text", [*each(HIDING), "a\rb", "a\0b"])
def test_split_construct_that_may_hide_a_command_stops_with_a_reason(text):
    assert split(text)[1]


@pytest.mark.parametrize(
    "text",
    [
        "a <> b",
        "a >! b",
        "a >!b",
        "a >>! b",
        "a &>! b",
        "a 2>! b",
        "a > $x",
        "a > ~/x",
        "a > x*",
        "a > =x",
        "a > '' ",
        "a > /dev/tcp/h/1",
        "a > $(b)",
        "a < /dev/tcp/h/1",
        "a &",
        "a & b",
    ],
)
def test_split_effect_of_the_shell_itself_is_a_flaw_of_its_part(text):
    found, opaque = split(text)
    assert opaque == ""
    assert any(simple.flaw for simple in found)


@pytest.mark.parametrize("text", ["a > b", "a >> b", "a >| b", "a &> b", "a >& b", "a 2> b", "a >'b' 2>&1", "> b", "(a) > b", "{ a; } > b"])
def test_split_a_file_that_the_shell_writes_is_named(text):
    found, opaque = split(text)
    assert opaque == ""
    assert [name for simple in found for name in simple.writes] == ["b"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a $(b | c)", [["b"], ["c"], ["a", "$(b | c)"]]),
        ('a "x$(b "$(c)")y"', [["c"], ["b", "$(c)"], ["a", 'x$(b "$(c)")y']]),
        ("X=$(b) a", [["b"], ["X=$(b)", "a"]]),
        ("a $( (b) )", [["b"], ["a", "$( (b) )"]]),
    ],
)
def test_split_what_stands_in_a_substitution_is_part_of_the_text(text, parts):
    assert cut(text) == (parts, "")


def test_split_says_who_reads_what_the_one_before_prints():
    assert [simple.piped for simple in split("a | b && c | (d; e) |& f; g")[0]] == [False, True, False, True, False, True, False]


def test_split_many_substitutions_cost_no_more_than_they_are_long():
    assert len(split("a $(b) " * 9000)[0]) == 9001


@pytest.mark.parametrize(
    ("word", "literal", "plain"),
    [
        ("a", True, True),
        ("'$x'", True, True),
        ("src/*.py", True, True),
        ("*", False, False),
        ("-d*", False, False),
        ("{a,b}", False, False),
        ("$x", False, False),
        ('"$x"', False, False),
        ('"a/$x"', False, True),
        ('"-$x"', False, False),
        ('"a$@"', False, False),
        ("a/$x", False, False),
    ],
)
def test_split_word_says_how_far_its_text_can_be_trusted(word, literal, plain):
    found = split(f"x {word}")[0][0].words[1]
    assert (found.literal, found.plain) == (literal, plain)


@settings(max_examples=50)
@given(st.text())
def test_split_any_text_never_raises(text):
    split(text)


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from([*"ab$`'\"\\;|&<>(){}[]#=!~*? \n\t-1", "&&", "$(", "<<", "2>", "if ", "do ", "x="]), max_size=12).map("".join)
)
def test_split_any_shell_like_text_ends_or_gives_a_reason(text):
    found, opaque = split(text)
    assert opaque or all(simple.words or simple.assigns or simple.flaw or simple.writes for simple in found)

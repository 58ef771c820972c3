"""Patterns of group names."""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hubwire.model.patterns import Pattern, PatternSet, parse_pattern


def parsed(text: str) -> Pattern:
    pattern = parse_pattern(text)
    assert pattern is not None
    return pattern


def matches(name: str, *patterns: str) -> bool:
    return PatternSet([parsed(text) for text in patterns]).matches(name)


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        # Documented.
        ("chat-*", ["chat-1", "chat-room"], ["chat.1", "xchat-1"]),
        ("clientA.*", ["clientA.alpha", "clientA.1"], ["clientA.alpha.room1", "clientB.alpha"]),
        ("clientA.**", ["clientA.alpha", "clientA.alpha.room1"], ["clientB.anything"]),
        ("clientA.rooms.?1", ["clientA.rooms.a1", "clientA.rooms.11"], ["clientA.rooms.1", "clientA.rooms.a.1"]),
        (r"literal\*star", ["literal*star"], ["literalXstar", r"literal\*star"]),
        # The whole name, and its letters as they are.
        ("room", ["room"], ["Room", "room1", "aroom", "roo", ""]),
        ("", [""], ["a"]),
        ("?", ["a", "*", "🙂"], ["", ".", "ab"]),
        ("*", ["", "a", "abc", "*", "a/b"], [".", "a.", ".a"]),
        ("**", ["", "a", ".", "a.b.c", "a\nb"], []),
        ("***", ["", "a.b"], []),
        ("******", ["a.b"], []),
        ("a?", ["ab"], ["a", "a.", "abc"]),
        ("?.?", ["a.b"], ["a", "a.", ".b", "ab.c"]),
        ("*.*", [".", "a.b"], ["a", "a.b.c"]),
        ("a*b", ["ab", "aab", "abb", "axb"], ["a.b", "aba"]),
        ("a**b", ["ab", "a.b", "a.b.b", "ababab"], ["a", "b", "a.b.c"]),
        ("*a*", ["a", "ba", "ab", "bab"], ["b", "", "a.b"]),
        ("**.b", [".b", "a.b", "a.b.b"], ["b", "a.b."]),
        ("*?", ["a", "ab"], ["", "a.b"]),
        ("?*", ["a", "ab"], ["", "."]),
        ("*.**", ["a.", "a.b.c", "."], ["a", ""]),
        (r"\*\?\\", [r"*?" + "\\"], [r"\*\?\\", "ab", "a"]),
        (r"\\*", ["\\", "\\a"], ["a", "*"]),
        (r"\**", ["*", "*a"], ["a", "", "*.a"]),
        (r"*\*", ["*", "a*"], ["a", ""]),
        ("*.*.*.*.*", ["a.b.c.d.e"], ["a.b.c.d", "a.b.c.d.e.f"]),
        ("straße.*", ["straße.1"], ["strasse.1", "STRASSE.1"]),
    ],
)
def test_pattern_stands_for_names(pattern: str, names: list[str], others: list[str]) -> None:
    """Wildcards, dots and escapes."""
    assert [name for name in names if not matches(name, pattern)] == []
    assert [name for name in others if matches(name, pattern)] == []


@pytest.mark.parametrize("text", ["\\", "a\\", "\\a", "\\.", "\\ ", "a\\bc", "**\\", "\\\\\\"])
def test_backslash_in_front_of_anything_else_spoils_a_pattern(text: str) -> None:
    """It escapes an asterisk, a question mark and itself, and does not stand alone."""
    assert parse_pattern(text) is None


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("*a*b*c*d*e", True),
        ("*a*b*c*d*e*", False),
        ("?????", True),
        # No asterisk at all, so the page's rule takes it.
        ("??????", True),
        ("?????*", True),
        # Six asterisks, but three wildcards: the emulator's rule takes it.
        ("**a**b**", True),
        ("**a**b**c**d**", True),
        ("**a**b**c**d**e**", False),
        ("*a*b*c*d*?*", False),
        # Four asterisks, eight wildcards.
        ("*?*?*?*?", True),
        # What is escaped is no wildcard.
        (r"\*\*\*\*\*\*\?*", True),
        (r"*a*b*c*d*e\*", True),
    ],
)
def test_five_wildcards_by_either_count_are_the_limit(text: str, taken: bool) -> None:
    """Asterisks, or wildcards with a `**` being one."""
    assert (parse_pattern(text) is not None) == taken


def test_pattern_without_wildcards_is_a_name() -> None:
    """So that it can be looked up instead of matched."""
    assert parsed(r"room\*").literal == "room*"
    assert parsed("").literal == ""
    assert parsed("room*").literal is None
    assert parsed("?").literal is None


def test_pattern_that_matches_all_says_so() -> None:
    """Only asterisks, two or more."""
    assert [parsed(text).matches_all for text in ("**", "*****", "*", "**a", r"*\*", "?**", "")] == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]


def test_one_of_several_patterns_is_enough() -> None:
    """They do not run into one another where one ends and the next begins."""
    assert matches("bb", "a", "b*", "c")
    assert matches("c", "a", "b*", "c")
    assert not matches("ab", "a", "b")
    assert not matches("ab", "a*x", "b")
    assert not matches("", "a", "?")
    assert not PatternSet([]).matches("a")


class CountedName(str):
    """Text that counts how often a character of it is read."""

    reads: int

    def __new__(cls, text: str) -> "CountedName":
        name = super().__new__(cls, text)
        name.reads = 0
        return name

    def __iter__(self) -> Iterator[str]:
        for character in str.__str__(self):
            self.reads += 1
            yield character

    def __getitem__(self, key: object) -> str:
        raise AssertionError("read out of turn")


@pytest.mark.parametrize(
    "patterns", [["**a**a**a**a**b"], ["*a*a*a*a*b"], ["*?*?*?*?x"], ["**a**a**a**a**b", "*b"] * 50]
)
def test_each_character_is_read_once_however_nasty_the_patterns(patterns: list[str]) -> None:
    """Trying out where each asterisk ends would take 1024^5 steps."""
    name = CountedName("a" * 1024)

    assert not matches(name, *patterns)
    assert name.reads == 1024


def test_name_that_no_pattern_can_match_any_more_is_not_read_further() -> None:
    """The walk ends with the last state."""
    name = CountedName("abc" * 300)

    assert not matches(name, "ab*x.**", "b**")
    assert name.reads <= 900

    assert not matches(name, "x*", "aa**")
    assert name.reads <= 902


def _tried_out(pattern: str, name: str) -> bool:
    """The meaning of a pattern, by trying out all that its wildcards might take."""
    if not pattern:
        return not name
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        across = rest.startswith("*")
        rest = rest.lstrip("*")
        return any(
            (across or "." not in name[:taken]) and _tried_out(rest, name[taken:]) for taken in range(len(name) + 1)
        )
    if head == "?":
        return name[:1] not in ("", ".") and _tried_out(rest, name[1:])
    if head == "\\":
        head, rest = rest[0], rest[1:]
    return name[:1] == head and _tried_out(rest, name[1:])


PIECES = st.sampled_from(["a", "b", ".", "*", "**", "?", "\\*", "\\?", "\\\\"])
TEXTS = st.lists(PIECES, max_size=8).map("".join)
GROUPS = st.text("ab.*?\\", max_size=8)


@given(st.lists(TEXTS, max_size=3), GROUPS)
@settings(max_examples=600)
def test_automaton_agrees_with_trying_everything(texts: list[str], name: str) -> None:
    """All patterns together, against each on its own by the plainest means."""
    patterns = [parse_pattern(text) for text in texts]
    taken = [pattern for pattern in patterns if pattern is not None]
    expected = any(_tried_out(text, name) for text, pattern in zip(texts, patterns, strict=True) if pattern is not None)

    assert PatternSet(taken).matches(name) == expected


@given(GROUPS)
def test_escaped_name_stands_for_itself_alone(name: str) -> None:
    """Escaping all that can be escaped gives the name back."""
    pattern = parsed("".join("\\" + character if character in "*?\\" else character for character in name))

    assert pattern.literal == name
    assert PatternSet([pattern]).matches(name)
    assert not PatternSet([pattern]).matches(name + "a")


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_pattern_or_none(text: str, name: str) -> None:
    """Nothing is ever raised."""
    pattern = parse_pattern(text)
    assume(pattern is not None)
    assert pattern is not None

    assert PatternSet([pattern]).matches(name) in (True, False)

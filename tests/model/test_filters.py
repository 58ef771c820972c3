"""The OData subset that selects connections."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubwire.model.errors import BadRequest
from hubwire.model.filters import Filter, compile_filter


@dataclass(frozen=True)
class Client:
    """A connection as filters see it."""

    connection_id: str = "c1"
    user_id: str | None = None
    subprotocol: str | None = None
    groups: Collection[str] = frozenset()


Case: TypeAlias = tuple[str, Client, bool]

ANONYMOUS = Client()
ANNA = Client("c2", "Anna", "json.webpubsub.azure.v1", {"group1": None, "group2": None})


def user(user_id: str | None) -> Client:
    return Client(user_id=user_id)


def groups(*names: str) -> Client:
    return Client(groups=frozenset(names))


def refusal(text: str) -> str:
    """The message with which a filter is refused."""
    with pytest.raises(BadRequest) as caught:
        compile_filter(text)
    assert caught.value.target == "filter"
    return caught.value.message


DOCUMENTED: list[Case] = [
    ("userId ne 'user1'", user("user2"), True),
    ("userId ne 'user1'", user("user1"), False),
    ("userId ne 'user1'", ANONYMOUS, True),
    ("'group1' in groups or 'group2' in groups", groups("group2"), True),
    ("'group1' in groups or 'group2' in groups", groups("group3"), False),
    ("userId in ('user1','user2') and 'group1' in groups", Client("c", "user2", None, ["group1"]), True),
    ("userId in ('user1','user2') and 'group1' in groups", Client("c", "user3", None, ["group1"]), False),
    ("userId in ('user1','user2') and 'group1' in groups", user("user2"), False),
    ("userId eq 'user1' and (not ('group1' in groups))", user("user1"), True),
    ("userId eq 'user1' and (not ('group1' in groups))", Client("c", "user1", None, {"group1"}), False),
    ("userId eq 'user''1'", user("user'1"), True),
    ("userId eq 'user''1'", user("user''1"), False),
    ("length(groups) gt 1", groups("a", "b"), True),
    ("length(groups) gt 1", groups("a"), False),
    ("protocol eq 'json.webpubsub.azure.v1'", ANNA, True),
    ("protocol eq 'json.webpubsub.azure.v1'", ANONYMOUS, False),
    ("length(userId) le 10 and length(userId) gt 3", user("Anna"), True),
    ("length(userId) gt 10 or length(userId) le 3", user("Anna"), False),
    ("not endswith(userId, 'milk')", user("silk"), True),
    ("userId eq 'user1' and connectionId ne '123'", Client("124", "user1"), True),
    ("substring(userId,5,2) eq 'ab'", user("user-ab-de"), True),
    ("indexof(userId,'-ab-') ge 0", user("user-ab-de"), True),
    ("not (length(userId) gt 5)", user("Anna"), True),
]

SYNTAX: list[Case] = [
    ("true", ANONYMOUS, True),
    ("false", ANONYMOUS, False),
    (" \t true\n", ANONYMOUS, True),
    ("((true))", ANONYMOUS, True),
    ("not not true", ANONYMOUS, True),
    ("not(true)", ANONYMOUS, False),
    ("USERID eq 'Anna' and ConnectionID eq 'c2' and 'group1' in Groups and PROTOCOL ne null", ANNA, True),
    ("'group2' in (GROUPS)", ANNA, True),
    ("'group3' in ((groups))", ANNA, False),
    ("userId in ('Anna')", ANNA, True),
    ("userId in (('Bob'), ('Anna'))", ANNA, True),
    ("userId in ('Doe, Anna', 'x')", user("Doe, Anna"), True),
    ("userId in ('it''s')", user("it's"), True),
    ("'c2' in (userId, connectionId)", ANNA, True),
    ("'c3' in (userId, connectionId)", ANNA, False),
    ("length(userId)eq 4", ANNA, True),
    ("length ( userId ) eq +4", ANNA, True),
    ("length(userId) gt -1", ANNA, True),
    ("length(userId) eq " + "0" * 5000 + "4", ANNA, True),
    ("length(userId) lt 2147483647 and length(userId) gt -2147483648", ANNA, True),
    ("userId eq ''", user(""), True),
    ("userId eq 'not (true)'", user("not (true)"), True),
    ("userId eq 'Ünï🙂'", user("Ünï🙂"), True),
    # `not` before comparison before `and` before `or`, and no order among equals.
    ("true or true and false", ANONYMOUS, True),
    ("(true or true) and false", ANONYMOUS, False),
    ("false and true or true", ANONYMOUS, True),
    ("not true or true", ANONYMOUS, True),
    ("not true eq false", ANONYMOUS, True),
    ("true eq (1 eq 1)", ANONYMOUS, True),
    ("false or false or true", ANONYMOUS, True),
    ("true and true and false", ANONYMOUS, False),
]

VALUES: list[Case] = [
    # Equality is of value and type.
    ("userId eq null", ANONYMOUS, True),
    ("userId eq null", ANNA, False),
    ("userId ne null", ANNA, True),
    ("null eq userId", ANONYMOUS, True),
    ("null eq null", ANONYMOUS, True),
    ("userId eq protocol", ANONYMOUS, True),
    ("userId ne protocol", ANONYMOUS, False),
    ("userId eq 'anna'", ANNA, False),
    ("userId eq 4", user("4"), False),
    ("userId ne 4", user("4"), True),
    ("true eq 1", ANONYMOUS, False),
    ("1 ne true", ANONYMOUS, True),
    ("false eq 0", ANONYMOUS, False),
    ("0 in (false, null)", ANONYMOUS, False),
    ("true in (1, true)", ANONYMOUS, True),
    ("true in (1, 2)", ANONYMOUS, False),
    ("contains(userId, 'n') in (1, false)", ANNA, False),
    ("groups eq groups", ANNA, True),
    ("groups ne groups", ANNA, False),
    ("groups eq null", ANNA, False),
    ("groups ne 'group1'", ANNA, True),
    # Membership.
    ("userId in groups", Client("c", "g", None, {"g"}), True),
    ("userId in groups", Client("c", None, None, {"g"}), False),
    ("userId in groups", Client("c", "g", None, ["g"]), True),
    ("tolower(userId) in groups", Client("c", "G", None, {"g"}), True),
    ("'GROUP1' in groups", ANNA, False),
    ("1 in groups", groups("1"), False),
    ("null in groups", groups("null"), False),
    ("groups in groups", ANNA, False),
    ("groups in ('group1', 'group2')", ANNA, False),
    ("userId in (null)", ANONYMOUS, True),
    ("userId in ('a', null)", ANNA, False),
    ("null in ('a', userId)", ANONYMOUS, True),
    ("length(userId) in (3, 4)", ANNA, True),
    # Order is for integers; null is neither more nor less.
    ("length(userId) ge 0", ANONYMOUS, False),
    ("length(userId) lt 9", ANONYMOUS, False),
    ("not (length(userId) ge 0)", ANONYMOUS, True),
    ("null gt 1", ANONYMOUS, False),
    ("length(userId) ge length(groups)", ANNA, True),
    ("length(userId) le length(groups)", ANNA, False),
    # Functions, and what null makes of them.
    ("length(userId) eq null", ANONYMOUS, True),
    ("length(null) eq null", ANONYMOUS, True),
    ("length('🙂') eq 1", ANONYMOUS, True),
    ("length(groups) eq 0", ANONYMOUS, True),
    ("tolower(userId) eq 'user1'", user("USER1"), True),
    ("toupper(userId) eq 'USER1'", user("user1"), True),
    ("trim(userId) eq 'user1'", user(" user1 "), True),
    ("tolower(userId) eq null", ANONYMOUS, True),
    ("concat(userId, '!') eq 'Anna!'", ANNA, True),
    ("concat(userId, '!') eq '!'", ANONYMOUS, True),
    ("concat('!', userId) eq '!'", ANONYMOUS, True),
    ("concat(userId, protocol) eq null", ANONYMOUS, True),
    ("indexof(userId, 'n') eq 1", ANNA, True),
    ("indexof(userId, 'x') eq -1", ANNA, True),
    ("indexof(userId, 'x') eq -1", ANONYMOUS, True),
    ("indexof(connectionId, null) eq -1", ANONYMOUS, True),
    ("contains(userId, 'nn')", ANNA, True),
    ("contains(userId, '')", ANONYMOUS, False),
    ("contains(userId, 'NN')", ANNA, False),
    ("startswith(userId, 'An')", ANNA, True),
    ("startswith(userId, 'na')", ANNA, False),
    ("startswith(userId, 'An')", ANONYMOUS, False),
    ("endswith(userId, 'na')", ANNA, True),
    ("endswith(userId, null)", ANNA, False),
    ("startswith('Anna', userId)", ANNA, True),
    # A range outside of the string is null, never a shorter string and never an error.
    ("substring(userId, 1) eq 'nna'", ANNA, True),
    ("substring(userId, 1, 2) eq 'nn'", ANNA, True),
    ("substring(userId, 4) eq ''", ANNA, True),
    ("substring(userId, 5) eq null", ANNA, True),
    ("substring(userId, 3, 2) eq null", ANNA, True),
    ("substring(userId, -1) eq null", ANNA, True),
    ("substring(userId, 0, -1) eq null", ANNA, True),
    ("substring(userId, 0) eq null", ANONYMOUS, True),
    ("substring(userId, indexof(userId, 'a')) eq 'a'", ANNA, True),
    ("substring('abc', length(substring(connectionId, 9))) eq null", ANNA, True),
]


@pytest.mark.parametrize(("text", "client", "expected"), [*DOCUMENTED, *SYNTAX, *VALUES])
def test_filter_selects_connection(text: str, client: Client, expected: bool) -> None:
    """What the service documents, how texts are read, and what values do."""
    assert compile_filter(text).matches(client) is expected


UNREADABLE = [
    # The bar stands where the reader was when it gave up: behind the token that it could not use.
    "|",
    "  |",
    "invalid filter|",
    "userId eq|",
    "userId eq)|",
    "userId eq 'Anna|",
    "userId eq '|",
    "userId eq 'Anna'' or true|",
    "(|",
    "(true|",
    "true)|",
    "true )|",
    ")|",
    "not|",
    "true and|",
    "and or|",
    "true and or true|",
    "true AND| true",
    "userId Eq| 'Anna'",
    "1 eq 1 eq| true",
    "userId in|",
    "userId in ()|",
    "userId in ('a',|",
    "userId in ('a',)|",
    "userId in ('a' 'b'|)",
    "'a' in groups and 'b'in groups groups|",
    "length(|",
    "length(,|)",
    "length(1 2|)",
    "length(userId))| gt 1",
    "length(userId) add| 1 gt 2",
    "length(userId) -1|",
    "length(userId) gt -| 1",
    "groups/|any(g: g eq 'a')",
    "@|p eq 1",
    "userId =| 'a'",
    'userId eq "|a"',
    "true;|",
    "true \x00|",
    "userId eq duration'P1D'|",
    "true true|",
    "'a' 'b'|",
]

MISTYPED = [
    # What is at fault, and why.
    ("not length(userId) gt 5", "not length(userId)", "Type 'null', expect 'bool'."),
    ("not length(connectionId) gt 5", "not length(connectionId)", "Type 'int', expect 'bool'."),
    ("not userId eq 'a'", "not userId", "Type 'string', expect 'bool'."),
    ("not null", "not null", "Type 'null', expect 'bool'."),
    ("( not 'a' )", "not 'a'", "Type 'string', expect 'bool'."),
    ("not groups", "not groups", "Type 'collection', expect 'bool'."),
    (" userId ", "userId", "Type 'string', expect 'bool'."),
    ("tolower(userId)", "tolower(userId)", "Type 'null', expect 'bool'."),
    ("concat(userId, protocol)", "concat(userId, protocol)", "Type 'null', expect 'bool'."),
    ("concat(userId, 'a')", "concat(userId, 'a')", "Type 'string', expect 'bool'."),
    ("1", "1", "Type 'int', expect 'bool'."),
    ("null", "null", "Type 'null', expect 'bool'."),
    ("groups", "groups", "Type 'collection', expect 'bool'."),
    ("true and 1", "true and 1", "Type 'int', expect 'bool'."),
    ("true or (false or 'a')", "false or 'a'", "Type 'string', expect 'bool'."),
    ("false and userId", "false and userId", "Type 'string', expect 'bool'."),
    ("true or true and null", "true and null", "Type 'null', expect 'bool'."),
    ("true or true or 1 or true", "true or true or 1 or true", "Type 'int', expect 'bool'."),
    ("userId lt 1", "userId lt 1", "Type 'string', expect 'int'."),
    ("'a' gt 'b'", "'a' gt 'b'", "Type 'string', expect 'int'."),
    ("1 ge true", "1 ge true", "Type 'bool', expect 'int'."),
    ("length(userId) le groups", "length(userId) le groups", "Type 'collection', expect 'int'."),
    ("length(userId) gt 'a'", "length(userId) gt 'a'", "Type 'string', expect 'int'."),
    ("'a' in userId", "'a' in userId", "Type 'string', expect 'collection'."),
    ("'a' in 'abc'", "'a' in 'abc'", "Type 'string', expect 'collection'."),
    ("'a' in null", "'a' in null", "Type 'null', expect 'collection'."),
    ("'a' in (groups, 'b')", "'a' in (groups, 'b')", "Type 'collection' in a list of values."),
    ("length(1) gt 1", "length(1)", "Type 'int', expect 'string'."),
    ("length(length(userId)) gt 1", "length(length(userId))", "Type 'int', expect 'string'."),
    ("contains(groups, 'a')", "contains(groups, 'a')", "Type 'collection', expect 'string'."),
    ("contains(userId, 1)", "contains(userId, 1)", "Type 'int', expect 'string'."),
    ("indexof(true, 'a') gt 1", "indexof(true, 'a')", "Type 'bool', expect 'string'."),
    ("concat('a', 1) eq 'a1'", "concat('a', 1)", "Type 'int', expect 'string'."),
    ("tolower(groups) eq 'a'", "tolower(groups)", "Type 'collection', expect 'string'."),
    ("substring(userId, '1') eq 'a'", "substring(userId, '1')", "Type 'string', expect 'int'."),
    ("substring(userId, 1, null) eq 'a'", "substring(userId, 1, null)", "Type 'null', expect 'int'."),
    ("substring('a', length(userId)) eq 'a'", "substring('a', length(userId))", "Type 'null', expect 'int'."),
    ("length() gt 1", "length()", "Invalid token 'length()'."),
    ("contains('a')", "contains('a')", "Invalid token 'contains('a')'."),
    ("substring('a', 1, 1, 1) eq 'a'", "substring('a', 1, 1, 1)", "Invalid token 'substring('a', 1, 1, 1)'."),
    ("ab eq 1", "ab eq 1", "Token 'ab' is not supported."),
    ("ab", "ab", "Token 'ab' is not supported."),
    ("True", "True", "Token 'True' is not supported."),
    ("not ab", "not ab", "Token 'ab' is not supported."),
    ("true and ab", "true and ab", "Token 'ab' is not supported."),
    ("'a' in ab", "'a' in ab", "Token 'ab' is not supported."),
    ("'a' in (ab)", "'a' in (ab)", "Token 'ab' is not supported."),
    ("'a' in ('b', ab)", "'a' in ('b', ab)", "Token 'ab' is not supported."),
    ("length(ab) gt 1", "length(ab)", "Token 'ab' is not supported."),
    ("$it eq 'a'", "$it eq 'a'", "Token '$it' is not supported."),
    ("invalid(ab,c)", "invalid(ab,c)", "Token 'invalid(ab,c)' is not supported."),
    ("true or Length(userId) gt 1", "Length(userId)", "Token 'Length(userId)' is not supported."),
    ("true(1)", "true(1)", "Token 'true(1)' is not supported."),
    ("length(userId) gt 2147483648", "length(userId) gt 2147483648", "Token '2147483648' is not supported."),
    ("length(userId) lt -2147483649", "length(userId) lt -2147483649", "Token '-2147483649' is not supported."),
    ("length(userId) gt 1.5", "length(userId) gt 1.5", "Token '1.5' is not supported."),
    ("length(userId) gt 1L", "length(userId) gt 1L", "Token '1L' is not supported."),
    ("length(userId) gt 1_0", "length(userId) gt 1_0", "Token '1_0' is not supported."),
    # Only the first fault is told, and operands come before operators.
    ("not 'a' and not 1", "not 'a'", "Type 'string', expect 'bool'."),
    ("(not 1) gt (not 'a')", "not 1", "Type 'int', expect 'bool'."),
    ("contains(ab, length(1)) in groups", "length(1)", "Type 'int', expect 'string'."),
]


@pytest.mark.parametrize("marked", UNREADABLE)
def test_unreadable_filter_is_refused_with_the_place(marked: str) -> None:
    """The position counts the characters in front of it, and the whole text is quoted twice."""
    text, position = marked.replace("|", ""), marked.index("|")
    expected = f"Invalid syntax for '{text}': Syntax error at position {position} in '{text}'. (Parameter 'filter')"

    assert refusal(text) == expected


@pytest.mark.parametrize(("text", "fragment", "detail"), MISTYPED)
def test_mistyped_filter_is_refused_with_the_fragment(text: str, fragment: str, detail: str) -> None:
    """The smallest operation that cannot be is quoted, whatever surrounds it."""
    assert refusal(text) == f"Invalid syntax for '{fragment}': {detail} (Parameter 'filter')"


def test_documented_refusals_are_kept_to_the_letter() -> None:
    """One is asserted by an official client's test, the other one stands in the service's documentation."""
    invalid = (
        "Invalid syntax for 'invalid filter': Syntax error at position 14 in 'invalid filter'. (Parameter 'filter')"
    )
    unary = "Invalid syntax for 'not length(userId)': Type 'null', expect 'bool'. (Parameter 'filter')"

    assert refusal("invalid filter") == invalid
    assert refusal("not length(userId) gt 5") == unary


def test_error_of_syntax_is_told_before_an_earlier_error_of_type() -> None:
    """A text that cannot be read has no types."""
    assert ": Syntax error at position 15 in" in refusal("not 1 and (true")


# Size.


def _levels(opening: str) -> int:
    """Levels of nesting that one repetition makes."""
    return opening.count("(") + opening.count("not")


@pytest.mark.parametrize(
    ("opening", "middle", "closing", "after"),
    [
        ("(", "true", ")", ""),
        ("not ", "true", "", ""),
        ("not(", "true", ")", ""),
        ("true and (false or ", "true", ")", ""),
        ("tolower(", "userId", ")", " eq 'anna'"),
        ("true in (", "true", ")", ""),
        ("(true and (false or ", "true", ") eq true)", ""),
    ],
)
def test_hundred_levels_of_nesting_are_the_limit(opening: str, middle: str, closing: str, after: str) -> None:
    """Parentheses, `not`, calls and lists count alike; one level more is refused, and so are a great many."""
    times = 100 // _levels(opening)

    assert compile_filter(opening * times + middle + closing * times + after).matches(ANNA) is True

    for more in (times + 1, 64 * 1024 // len(opening + closing) - 100, 100_000):
        message = refusal(opening * more + middle + closing * more + after)
        assert message.startswith(f"Invalid syntax for '{opening * 3}")
        assert message.endswith(" (Parameter 'filter')")
        assert ("Nested deeper than 100 levels." in message) == (more < 100_000)


@pytest.mark.parametrize("word", ["or", "and"])
def test_long_chain_is_taken_up_to_a_bound(word: str) -> None:
    """A thousand operators and calls; what is beyond is refused and not half evaluated."""
    operand = "userId ne 'Anna'" if word == "or" else "userId eq 'Anna'"
    chain = f" {word} ".join([operand] * 500)

    assert compile_filter(chain).matches(ANNA) is (word == "and")
    assert compile_filter(chain).matches(ANONYMOUS) is (word == "or")
    assert "More than 1000 operators and functions." in refusal(f"{chain} {word} {operand}")
    assert "More than 1000 operators and functions." in refusal(f" {word} ".join(["true"] * 5000))


def test_long_list_of_values_is_one_operation() -> None:
    """Thousands of ids may be named, since looking one up costs the same as with two."""
    names = [f"user-{number}" for number in range(4000)]
    test = compile_filter("userId in (" + ",".join(f"'{name}'" for name in names) + ")")

    assert test.matches(user("user-3999"))
    assert not test.matches(user("user-4000"))


def test_list_of_terms_that_must_be_computed_is_bounded() -> None:
    """Each of them costs as much as a comparison."""
    assert "More than 1000 operators" in refusal("'a' in (" + ",".join(["userId"] * 1001) + ")")


def test_text_is_bounded() -> None:
    """64 Ki characters are taken, one more is not."""
    longest = "userId eq '" + "a" * (64 * 1024 - 12) + "'"

    assert compile_filter(longest).matches(user("a" * (64 * 1024 - 12)))
    assert "Longer than 65536 characters." in refusal(longest + " ")


@pytest.mark.parametrize(
    "text",
    ["'" * 65_535, "a" * 65_536, "1" * 65_536, "-" * 65_536, "," * 65_536, " " * 65_536, "''a" * 20_000, "x(" * 32_768],
)
def test_monotonous_text_is_refused(text: str) -> None:
    """No text makes the reader go back and forth."""
    assert refusal(text).endswith(" (Parameter 'filter')")


@pytest.mark.parametrize(
    "text", ["a " * 30_000, "a" * 60_000, "1" * 60_000, "f(" + "1" * 60_000 + ")", "length(" + "1," * 30_000 + "1)"]
)
def test_refusal_quotes_a_bounded_part_of_the_text(text: str) -> None:
    """The beginning of it, and an ellipsis, also where a single token is long."""
    message = refusal(text)

    assert message.startswith(f"Invalid syntax for '{text[:1024]}…': ")
    assert message.endswith("(Parameter 'filter')")
    assert len(message) < 2200


@pytest.mark.parametrize("text", ["x y \ud800", "\udfff eq 1", "contains('\ud800')", "f('\ud800')"])
def test_refusal_can_be_encoded(text: str) -> None:
    """Half of a surrogate pair can stand in a JSON body; the answer to it must not break its own encoding."""
    assert b"?" in refusal(text).encode()


# Memory.


def test_compiled_filter_is_remembered() -> None:
    """The node that receives a command pays nothing for a text that was checked before."""
    text = "userId eq 'remembered'"

    assert compile_filter(text) is compile_filter(text)
    assert compile_filter(text).text == text


def test_memory_of_compiled_filters_is_bounded() -> None:
    """In number and in length."""
    first = compile_filter("userId eq 'first'")
    for number in range(256):
        compile_filter(f"userId eq 'other {number}'")
    long = f"userId eq '{'a' * 8192}'"

    assert compile_filter("userId eq 'first'") is not first
    assert compile_filter(long) is not compile_filter(long)


def test_compiled_filter_cannot_be_changed() -> None:
    """It is shared by all who send the same text."""
    test = compile_filter("true")

    with pytest.raises(AttributeError):
        test.text = "false"  # type: ignore[misc]


# Properties.

NAMES = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["Anna", "anna ", "it's", "group1", "🙂ß", ""]
)
CLIENTS = st.builds(
    Client,
    connection_id=NAMES,
    user_id=st.none() | NAMES,
    subprotocol=st.none() | NAMES,
    groups=st.frozensets(NAMES, max_size=3)
    | st.lists(NAMES, max_size=3)
    | st.dictionaries(NAMES, st.none(), max_size=3),
)
KEYWORDS = ["true", "false", "null", "not", "and", "or", "eq", "ne", "gt", "ge", "lt", "le", "in", "abc"]
IDENTIFIERS = ["userId", "connectionId", "groups", "protocol", "length", "tolower", "substring", "concat", "indexof"]
OTHERS = ["contains", "endswith", "'a'", "'it''s'", "''", "'", "0", "1", "-1", "+7", "2147483648", "1.5", "/"]
WORDS = KEYWORDS + IDENTIFIERS + OTHERS + ["(", ")", ","] * 3


def _result(text: str) -> Filter | BadRequest:
    try:
        return compile_filter(text)
    except BadRequest as refused:
        return refused


@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), CLIENTS)
@settings(max_examples=400)
@example("groups eq groups", Client(groups=["a"]))
@example("groups in groups", Client(groups={"a": None}))
def test_any_text_is_compiled_or_refused(text: str, client: Client) -> None:
    """Nothing else is ever raised, neither by the text nor later by a connection."""
    result = _result(text)

    if isinstance(result, BadRequest):
        assert result.target == "filter"
        assert result.message.startswith("Invalid syntax for '")
        assert result.message.endswith(" (Parameter 'filter')")
    else:
        assert result.text == text
        assert isinstance(result.matches(client), bool)
        assert isinstance(result.matches(ANONYMOUS), bool)


Get: TypeAlias = Callable[[Client], str | int | None]
Expression: TypeAlias = tuple[str, Get]
"""A text, and what it means."""


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _fixed(text: str, value: str | int | None) -> Expression:
    return text, lambda _: value


VARIABLES: list[Expression] = [
    ("userId", lambda client: client.user_id),
    ("connectionId", lambda client: client.connection_id),
    ("protocol", lambda client: client.subprotocol),
]
LITERALS = NAMES.map(lambda value: _fixed(_quoted(value), value))


def _text(get: Get, client: Client) -> str | None:
    value = get(client)
    assert value is None or isinstance(value, str)
    return value


def _changed(name: str, change: Callable[[str], str | int]) -> Callable[[Expression], Expression]:
    def make(of: Expression) -> Expression:
        def get(client: Client) -> str | int | None:
            value = _text(of[1], client)
            return None if value is None else change(value)

        return f"{name}({of[0]})", get

    return make


def _joined(left: Expression, right: Expression) -> Expression:
    def get(client: Client) -> str | None:
        values = [_text(left[1], client), _text(right[1], client)]
        present = [value for value in values if value is not None]
        return "".join(present) if present else None

    return f"concat({left[0]},{right[0]})", get


def _cut(of: Expression, start: int, length: int | None) -> Expression:
    def get(client: Client) -> str | None:
        value = _text(of[1], client)
        end = len(value or "") if length is None else start + length
        if value is None or not 0 <= start <= end <= len(value):
            return None
        return value[start:end]

    arguments = [of[0], str(start)] + ([] if length is None else [str(length)])
    return f"substring({', '.join(arguments)})", get


STRINGS: st.SearchStrategy[Expression] = st.recursive(
    st.sampled_from(VARIABLES) | LITERALS | st.just(_fixed("null", None)),
    lambda inner: (
        inner.map(_changed("tolower", str.lower))
        | inner.map(_changed("toupper", str.upper))
        | inner.map(_changed("trim", str.strip))
        | st.builds(_joined, inner, inner)
        | st.builds(_cut, inner, st.integers(-1, 4), st.none() | st.integers(-1, 4))
        | inner.map(lambda of: (f"({of[0]})", of[1]))
    ),
    max_leaves=4,
)


def _found(whole: Expression, part: Expression) -> Expression:
    def get(client: Client) -> int:
        a, b = _text(whole[1], client), _text(part[1], client)
        return -1 if a is None or b is None else a.find(b)

    return f"indexof({whole[0]}, {part[0]})", get


INTEGERS: st.SearchStrategy[Expression] = (
    st.integers(-(2**31), 2**31 - 1).map(lambda value: _fixed(str(value), value))
    | st.integers(0, 5).map(lambda value: _fixed(f"+{value}", value))
    | STRINGS.map(_changed("length", len))
    | st.just(("length(groups)", lambda client: len(client.groups)))
    | st.builds(_found, STRINGS, STRINGS)
)

ORDERS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}
TESTS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda a, b: b in a,
    "startswith": lambda a, b: a[: len(b)] == b,
    "endswith": lambda a, b: a[len(a) - len(b) :] == b if len(b) <= len(a) else False,
}


class Condition(NamedTuple):
    """
    A boolean expression and its meaning.

    Attributes:
        binding: how tightly its outermost operator binds: 0 `or`, 1 `and`, 2 comparison, 3 the rest.
    """

    text: str
    binding: int
    holds: Callable[[Client], bool]

    def within(self, binding: int) -> str:
        """Its text as an operand of an operator that binds so tightly: with parentheses only where they are needed."""
        return self.text if self.binding > binding else f"({self.text})"


def _same(a: str | int | None, b: str | int | None) -> bool:
    return type(a) is type(b) and a == b


def _compared(name: str, left: Expression, right: Expression) -> Condition:
    def holds(client: Client) -> bool:
        a, b = left[1](client), right[1](client)
        if name in ORDERS:
            return isinstance(a, int) and isinstance(b, int) and ORDERS[name](a, b)
        return _same(a, b) == (name == "eq")

    return Condition(f"{left[0]} {name} {right[0]}", 2, holds)


def _tested(name: str, whole: Expression, part: Expression) -> Condition:
    def holds(client: Client) -> bool:
        a, b = _text(whole[1], client), _text(part[1], client)
        return a is not None and b is not None and TESTS[name](a, b)

    return Condition(f"{name}({whole[0]},{part[0]})", 3, holds)


def _among(left: Expression, items: list[Expression]) -> Condition:
    return Condition(
        f"{left[0]} in ({', '.join(text for text, _ in items)})",
        2,
        lambda client: any(_same(left[1](client), get(client)) for _, get in items),
    )


def _within_groups(left: Expression, written: str) -> Condition:
    return Condition(f"{left[0]} in {written}", 2, lambda client: left[1](client) in list(client.groups))


ANYTHING = STRINGS | INTEGERS
LEAVES: st.SearchStrategy[Condition] = (
    st.sampled_from([Condition("true", 3, lambda _: True), Condition("false", 3, lambda _: False)])
    | st.builds(_compared, st.sampled_from(["eq", "ne"]), ANYTHING, ANYTHING)
    | st.builds(_compared, st.sampled_from(sorted(ORDERS)), INTEGERS, INTEGERS)
    | st.builds(_tested, st.sampled_from(sorted(TESTS)), STRINGS, STRINGS)
    | st.builds(_among, ANYTHING, st.lists(ANYTHING, min_size=1, max_size=3))
    | st.builds(_within_groups, STRINGS, st.sampled_from(["groups", "(groups)", "GROUPS"]))
)


def _negated(of: Condition) -> Condition:
    return Condition(f"not {of.within(2)}", 3, lambda client: not of.holds(client))


def _all(operands: list[Condition]) -> Condition:
    text = " and ".join(operand.within(1) for operand in operands)
    return Condition(text, 1, lambda client: all(operand.holds(client) for operand in operands))


def _any(operands: list[Condition]) -> Condition:
    text = " or ".join(operand.within(0) for operand in operands)
    return Condition(text, 0, lambda client: any(operand.holds(client) for operand in operands))


def _equated(left: Condition, right: Condition) -> Condition:
    text = f"{left.within(2)} eq {right.within(2)}"
    return Condition(text, 2, lambda client: left.holds(client) == right.holds(client))


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    LEAVES,
    lambda inner: (
        inner.map(_negated)
        | st.lists(inner, min_size=2, max_size=3).map(_all)
        | st.lists(inner, min_size=2, max_size=3).map(_any)
        | st.builds(_equated, inner, inner)
    ),
    max_leaves=6,
)


@given(CONDITIONS, CLIENTS)
@settings(max_examples=400)
def test_filter_means_what_was_written(condition: Condition, client: Client) -> None:
    """Expressions of all shapes, written with no more parentheses than they need, against a plain reading of them."""
    test = compile_filter(condition.text)

    assert test.matches(client) is condition.holds(client)
    assert test.matches(ANONYMOUS) is condition.holds(ANONYMOUS)

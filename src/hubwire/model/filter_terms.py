"""
The values of a filter: typed terms, and what operators and functions make of them. The text is `filters`' business.

A term is a closure over a connection that never raises, whatever the connection: types are checked when the term is
made, and what only the values can show (a missing user id, a range outside of the string) yields null or false.

Source: the service's page on OData filters, and the null handling of its emulator.
"""

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal, Protocol, TypeAlias, TypeVar, cast

from msgspec import Struct

from hubwire.model.errors import HubwireError

__all__ = [
    "COMPARISONS",
    "CONSTANTS",
    "FUNCTIONS",
    "Predicate",
    "Subject",
    "Term",
    "TermError",
    "all_of",
    "any_of",
    "comparison",
    "element",
    "integer",
    "member",
    "negation",
    "predicate",
    "text",
    "unsupported",
    "variable",
]


class Subject(Protocol):
    """What a filter sees of a connection."""

    @property
    def connection_id(self) -> str:
        """`connectionId` in filters."""

    @property
    def user_id(self) -> str | None:
        """`userId` in filters; None for an anonymous connection."""

    @property
    def subprotocol(self) -> str | None:
        """`protocol` in filters: what was negotiated; None for a simple client."""

    @property
    def groups(self) -> Collection[str]:
        """`groups` in filters: names of the groups it is in now. A set or dict answers fastest."""


Value: TypeAlias = str | int | Collection[str] | None
_V = TypeVar("_V")

Kind: TypeAlias = Literal["null", "bool", "int", "string", "collection", "unsupported"]
Predicate: TypeAlias = Callable[[Subject], bool]


class TermError(HubwireError):
    """Terms that do not go together. The text is the detail of the answer."""


class Term(Struct, frozen=True, eq=False):
    """
    Attributes:
        kind: type of the value where there is one; "null" for a term that never has one, "unsupported" for a token
            that no operator and no function takes.
        get: the value for a connection, null being None.
        absent: the value is null for a connection without user id and subprotocol.
        shown: name of the type where null cannot be taken.
        literal: `get` answers `value`, whatever the connection.
        value: of a literal; of an unsupported token, how it is written.
    """

    kind: Kind
    get: Callable[[Subject], Value]
    absent: bool
    shown: Kind
    literal: bool = False
    value: Value = None


def _literal(kind: Kind, value: Value) -> Term:
    return Term(kind, lambda _: value, kind == "null", kind, True, value)


def _computed(kind: Kind, get: Callable[[Subject], Value], absent: bool = False) -> Term:
    # The service calls the type of `length(userId)` null, for want of a user id when it checks, but that of `userId`
    # itself string. So what is computed shows its absence, and a variable does not.
    return Term(kind, get, absent, "null" if absent else kind)


CONSTANTS: Final[Mapping[str, Term]] = {
    "true": _literal("bool", True),
    "false": _literal("bool", False),
    "null": _literal("null", None),
}
"""By their names, which are case-sensitive."""

_VARIABLES: Final[Mapping[str, Term]] = {
    "userid": Term("string", operator.attrgetter("user_id"), True, "string"),
    "connectionid": Term("string", operator.attrgetter("connection_id"), False, "string"),
    "protocol": Term("string", operator.attrgetter("subprotocol"), True, "string"),
    "groups": Term("collection", operator.attrgetter("groups"), False, "collection"),
}

_INT32: Final = range(-(2**31), 2**31)
_INT32_DIGITS: Final = 10


def variable(name: str) -> Term:
    """The variable of this name, whatever its case; "unsupported" if there is none."""
    return _VARIABLES.get(name.lower()) or unsupported(name)


def text(value: str) -> Term:
    """A string literal, its quotes already taken off."""
    return _literal("string", value)


def integer(written: str) -> Term:
    """An integer of 32 bits, sign allowed; "unsupported" for every other kind of number."""
    digits = written.lstrip("+-")
    significant = digits.lstrip("0") or "0"
    # Counted before they are converted: Python refuses to read numbers of thousands of digits.
    if digits.isascii() and digits.isdecimal() and len(significant) <= _INT32_DIGITS:
        value = -int(significant) if written.startswith("-") else int(significant)
        if value in _INT32:
            return _literal("int", value)
    return unsupported(written)


def unsupported(written: str) -> Term:
    """A token that can be read but not used. Whatever takes it raises TermError."""
    return Term("unsupported", lambda _: None, False, "unsupported", False, written)


def _check_supported(terms: Sequence[Term]) -> None:
    for term in terms:
        if term.kind == "unsupported":
            raise TermError(f"Token '{term.value}' is not supported.")


def _check_never_null(term: Term, kind: Kind) -> None:
    if term.shown != kind:
        raise TermError(f"Type '{term.shown}', expect '{kind}'.")


def _check(term: Term, kind: Kind) -> None:
    if term.kind not in (kind, "null"):
        raise TermError(f"Type '{term.kind}', expect '{kind}'.")


def predicate(term: Term) -> Predicate:
    """
    The test that a boolean term is.

    Raises:
        TermError: it is of another type.
    """
    _check_supported((term,))
    _check_never_null(term, "bool")
    return cast("Predicate", term.get)  # its kind says so


# Logic. All operands are checked when the term is made, so evaluation may stop early.


def negation(operand: Term) -> Term:
    """`not operand`."""
    test = predicate(operand)
    return _computed("bool", lambda subject: not test(subject))


def all_of(operands: Sequence[Term]) -> Term:
    """Two or more operands joined by `and`."""
    _check_supported(operands)
    tests = tuple(map(predicate, operands))
    if len(tests) == 2:
        first, second = tests
        return _computed("bool", lambda subject: first(subject) and second(subject))

    def every(subject: Subject) -> bool:
        for test in tests:  # noqa: SIM110  a generator for each connection would cost more than the tests
            if not test(subject):
                return False
        return True

    return _computed("bool", every)


def any_of(operands: Sequence[Term]) -> Term:
    """Two or more operands joined by `or`."""
    _check_supported(operands)
    tests = tuple(map(predicate, operands))
    if len(tests) == 2:
        first, second = tests
        return _computed("bool", lambda subject: first(subject) or second(subject))

    def some(subject: Subject) -> bool:
        for test in tests:  # noqa: SIM110  as above
            if test(subject):
                return True
        return False

    return _computed("bool", some)


# Comparison and membership.


def comparison(name: str, left: Term, right: Term) -> Term:
    """
    `left name right`, the name being one of `COMPARISONS`.

    Raises:
        TermError: anything but integers and null is asked for its order.
    """
    _check_supported((left, right))
    return COMPARISONS[name](left, right)


def _comparable(left: Term, right: Term) -> bool:
    """
    May the values be held against one another as they are? Python would call true equal to 1, and a collection has no
    value but itself.
    """
    kinds = {left.kind, right.kind}
    return "collection" not in kinds and kinds != {"bool", "int"}


def _equal(left: Term, right: Term) -> Term:
    """Same value and same type; null equals null."""
    if not _comparable(left, right):
        return CONSTANTS["true" if left.kind == right.kind else "false"]
    if left.literal:
        left, right = right, left
    get = left.get
    if right.literal:
        value = right.value
        return _computed("bool", lambda subject: get(subject) == value)
    other = right.get
    return _computed("bool", lambda subject: get(subject) == other(subject))


def _unequal(left: Term, right: Term) -> Term:
    # Written out, since `ne` is the commonest filter and a negation costs a second call.
    if not _comparable(left, right):
        return CONSTANTS["false" if left.kind == right.kind else "true"]
    if left.literal:
        left, right = right, left
    get = left.get
    if right.literal:
        value = right.value
        return _computed("bool", lambda subject: get(subject) != value)
    other = right.get
    return _computed("bool", lambda subject: get(subject) != other(subject))


def _tested(kind: Kind, type_: type[_V], holds: Callable[[_V, _V], bool]) -> Callable[[Term, Term], Term]:
    """A test of two values of one kind; false as soon as one of them is null."""

    def term(left: Term, right: Term) -> Term:
        _check(left, kind)
        _check(right, kind)
        first, second = left.get, right.get

        def tested(subject: Subject) -> bool:
            a, b = first(subject), second(subject)
            return isinstance(a, type_) and isinstance(b, type_) and holds(a, b)

        return _computed("bool", tested)

    return term


COMPARISONS: Final[Mapping[str, Callable[[Term, Term], Term]]] = {
    "eq": _equal,
    "ne": _unequal,
    "gt": _tested("int", int, operator.gt),
    "ge": _tested("int", int, operator.ge),
    "lt": _tested("int", int, operator.lt),
    "le": _tested("int", int, operator.le),
}


def member(left: Term, collection: Term) -> Term:
    """
    `left in collection`. What is no string is in no collection.

    Raises:
        TermError: the right side is no collection.
    """
    _check_supported((left, collection))
    _check_never_null(collection, "collection")
    if left.kind != "string":
        return CONSTANTS["false"]
    if left.literal:
        name = left.value
        return _computed("bool", lambda subject: name in subject.groups)
    get = left.get
    return _computed("bool", lambda subject: get(subject) in subject.groups)


def element(left: Term, items: Sequence[Term]) -> Term:
    """
    `left in (items)`: equal to one of one or more items.

    Raises:
        TermError: an item is a collection.
    """
    _check_supported((left, *items))
    if any(item.kind == "collection" for item in items):
        raise TermError("Type 'collection' in a list of values.")
    items = [item for item in items if _comparable(left, item)]
    values = frozenset(item.value for item in items if item.literal)
    others = tuple(item.get for item in items if not item.literal)
    if left.kind == "collection":
        return CONSTANTS["false"]
    get = left.get
    if not others:
        return _computed("bool", lambda subject: get(subject) in values)

    def among(subject: Subject) -> bool:
        value = get(subject)
        if value in values:
            return True
        for other in others:  # noqa: SIM110  as above
            if value == other(subject):
                return True
        return False

    return _computed("bool", among)


# Functions. Strings count in characters, and are compared character by character, whatever the language.


def _length(of: Term) -> Term:
    get = of.get
    if of.kind == "collection":
        return _computed("int", lambda subject: len(subject.groups))
    _check(of, "string")

    def length(subject: Subject) -> int | None:
        value = get(subject)
        return len(value) if isinstance(value, str) else None

    return _computed("int", length, of.absent)


def _mapped(function: Callable[[str], str]) -> Callable[[Term], Term]:
    def term(of: Term) -> Term:
        _check(of, "string")
        get = of.get

        def mapped(subject: Subject) -> str | None:
            value = get(subject)
            return function(value) if isinstance(value, str) else None

        return _computed("string", mapped, of.absent)

    return term


def _index(whole: Term, part: Term) -> Term:
    """-1 where the part is missing, or anything is null."""
    _check(whole, "string")
    _check(part, "string")
    first, second = whole.get, part.get

    def index(subject: Subject) -> int:
        a, b = first(subject), second(subject)
        return a.find(b) if isinstance(a, str) and isinstance(b, str) else -1

    return _computed("int", index)


def _concatenation(left: Term, right: Term) -> Term:
    """Null counts as empty, unless both are null."""
    _check(left, "string")
    _check(right, "string")
    first, second = left.get, right.get

    def concatenation(subject: Subject) -> Value:
        a, b = first(subject), second(subject)
        if isinstance(a, str) and isinstance(b, str):
            return a + b
        return b if a is None else a

    return _computed("string", concatenation, left.absent and right.absent)


def _substring(of: Term, start: Term, length: Term | None = None) -> Term:
    """
    From a start, 0 being the first character, to the end or so many characters on. Null where the range does not lie
    within the string.
    """
    _check(of, "string")
    _check_never_null(start, "int")
    if length is not None:
        _check_never_null(length, "int")
    get, first, count = of.get, start.get, None if length is None else length.get

    def substring(subject: Subject) -> str | None:
        value, begin = get(subject), first(subject)
        if not isinstance(value, str) or not isinstance(begin, int):
            return None
        rest = len(value) - begin
        size = rest if count is None else count(subject)
        if not isinstance(size, int) or begin < 0 or not 0 <= size <= rest:
            return None
        return value[begin : begin + size]

    return _computed("string", substring, of.absent)


class Function(Struct, frozen=True):
    """A function by its name: how many arguments it takes, and the term of a call."""

    arguments: tuple[int, ...]
    term: Callable[..., Term]

    def call(self, arguments: Sequence[Term]) -> Term:
        """
        The term of a call with so many arguments as it takes.

        Raises:
            TermError: an argument is of the wrong type.
        """
        _check_supported(arguments)
        return self.term(*arguments)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "length": Function((1,), _length),
    "tolower": Function((1,), _mapped(str.lower)),
    "toupper": Function((1,), _mapped(str.upper)),
    "trim": Function((1,), _mapped(str.strip)),
    "substring": Function((2, 3), _substring),
    "concat": Function((2,), _concatenation),
    "indexof": Function((2,), _index),
    "contains": Function((2,), _tested("string", str, operator.contains)),
    "startswith": Function((2,), _tested("string", str, str.startswith)),
    "endswith": Function((2,), _tested("string", str, str.endswith)),
}
"""By their names, which are case-sensitive."""

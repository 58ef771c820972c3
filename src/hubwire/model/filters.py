"""
The OData subset that selects connections: from a text to a test.

    filter      := any
    any         := all ("or" all)*
    all         := comparison ("and" comparison)*
    comparison  := operand [("eq" | "ne" | "gt" | "ge" | "lt" | "le") operand | "in" (list | operand)]
    list        := "(" any ("," any)* ")"
    operand     := "not"* (string | integer | name | name "(" [any ("," any)*] ")" | "(" any ")")

`not` binds tightest, so it wants parentheses around a comparison. Whether types go together is checked as the terms are
made (`filter_terms`), and told only when the whole text could be read.

Source: the service's page on OData filters, whose texts of errors are kept to the letter. Its two published grammars
differ in how `in` takes parentheses; both are understood.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from hubwire.model.errors import BadRequest
from hubwire.model.filter_terms import (
    COMPARISONS,
    CONSTANTS,
    FUNCTIONS,
    Predicate,
    Subject,
    Term,
    TermError,
    all_of,
    any_of,
    comparison,
    element,
    integer,
    member,
    negation,
    predicate,
    text,
    unsupported,
    variable,
)

__all__ = ["Filter", "Subject", "compile_filter"]

_TEXT_LIMIT: Final = 64 * 1024
"""Characters of a filter: what a request head may hold, and some thousand ids in a list."""

_DEPTH_LIMIT: Final = 100
"""Parentheses, calls and `not` within one another, as in the service."""

_OPERATION_LIMIT: Final = 1000
"""
Operators and calls in one filter. The service warns of more than 100 clauses; a connection takes about 0.1 µs for each,
and a send asks up to 10,000 connections in one turn.
"""

_CACHED_LENGTH: Final = 8 * 1024
_CACHED_FILTERS: Final = 256
_QUOTED_LENGTH: Final = 1024


class Filter(Struct, frozen=True, eq=False):
    """
    A test for connections.

    Attributes:
        text: as it was sent.
        matches: does a connection satisfy it. Never raises.
    """

    text: str
    # The closure itself, not a method around it: it is called for each connection of a fan-out.
    matches: Predicate


def compile_filter(text: str) -> Filter:
    """
    Make a test of an OData expression. The latest short ones are remembered, so that asking again costs nothing.

    Args:
        text: not blank; callers who take "no filter" for an answer ask for that first.

    Raises:
        BadRequest: it cannot be read, its types do not fit, or it is too long or too deep; `target` is "filter".
    """
    return _remembered(text) if len(text) <= _CACHED_LENGTH else _compiled(text)


def _compiled(text: str) -> Filter:
    if len(text) > _TEXT_LIMIT:
        raise _refusal(text, f"Longer than {_TEXT_LIMIT} characters.")
    return Filter(text, _Parser(text).parse())


_remembered = lru_cache(_CACHED_FILTERS)(_compiled)


def _refusal(fragment: str, detail: str) -> BadRequest:
    return BadRequest(f"Invalid syntax for '{_quoted(fragment)}': {detail} (Parameter 'filter')", "filter")


def _quoted(fragment: str) -> str:
    """What of the caller's text goes back to him: not too much, and nothing that UTF-8 cannot say."""
    if len(fragment) > _QUOTED_LENGTH:
        fragment = fragment[:_QUOTED_LENGTH] + "…"
    return fragment.encode("utf-8", "replace").decode("utf-8")


_TokenKind: TypeAlias = Literal["word", "number", "string", "mark", "end", "unreadable"]


class _Token(NamedTuple):
    kind: _TokenKind
    text: str
    start: int
    end: int


# Every repetition is possessive: what was read is never tried again, and the time is linear in the text.
_BLANK: Final = re.compile(r"\s*+")
_TOKENS: Final[Sequence[tuple[_TokenKind, re.Pattern[str]]]] = (
    ("word", re.compile(r"(?:[^\W\d]|\$)\w*+")),
    ("number", re.compile(r"[+-]?[0-9][\w.]*+")),
    ("string", re.compile(r"'(?:[^']++|'')*+'")),
    ("mark", re.compile(r"[(),]")),
)


def _tokens(source: str) -> Iterator[_Token]:
    """The tokens of a text; the last one is either its end or what cannot be read."""
    position = 0
    while True:
        blank = _BLANK.match(source, position)
        assert blank is not None, "it matches the empty string"
        position = blank.end()
        if position == len(source):
            yield _Token("end", "", position, position)
            return
        for kind, pattern in _TOKENS:
            found = pattern.match(source, position)
            if found is not None:
                yield _Token(kind, found[0], position, found.end())
                position = found.end()
                break
        else:
            # A string without an end takes the rest with it.
            end = len(source) if source[position] == "'" else position + 1
            yield _Token("unreadable", source[position:end], position, end)
            return


class _Parser:
    """
    Recursive descent over the grammar above, with one token of foresight.

    A type error is kept until the text was read to its end, since an error of syntax is told first. The first one
    counts; the term that stands for it is unsupported, and so are all that contain it.
    """

    __slots__ = ("_end", "_fault", "_operations", "_source", "_token", "_tokens")

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = _tokens(source)
        self._token = next(self._tokens)
        self._end = 0
        self._fault: BadRequest | None = None
        self._operations = 0

    def parse(self) -> Predicate:
        """The whole text. Raises: BadRequest."""
        start = self._token.start
        whole = self._any(0)
        if self._token.kind != "end":
            raise self._unusable()
        try:
            return predicate(whole)
        except TermError as error:
            raise self._fault or self._refused(start, str(error)) from None

    # Tokens

    def _advance(self) -> _Token:
        token = self._token
        self._end = token.end
        self._token = next(self._tokens)
        return token

    def _took(self, text: str) -> bool:
        """Go on if the token at hand is this keyword or mark."""
        if self._token.text == text and self._token.kind in ("word", "mark"):
            self._advance()
            return True
        return False

    def _need(self, mark: str) -> None:
        if not self._took(mark):
            raise self._unusable()

    def _unusable(self) -> BadRequest:
        # The service names the place that its reader had reached: behind the token that it could not use.
        detail = f"Syntax error at position {self._token.end} in '{_quoted(self._source)}'."
        return _refusal(self._source, detail)

    # Terms

    def _make(self, start: int, make: Callable[[], Term]) -> Term:
        """The term of what was read from `start` on."""
        self._operations += 1
        if self._operations > _OPERATION_LIMIT:
            raise _refusal(self._source, f"More than {_OPERATION_LIMIT} operators and functions.")
        try:
            return make()
        except TermError as error:
            return self._faulty(start, str(error))

    def _faulty(self, start: int, detail: str) -> Term:
        if self._fault is None:
            self._fault = self._refused(start, detail)
        return unsupported(self._source[start : self._end])

    def _refused(self, start: int, detail: str) -> BadRequest:
        # The detail may repeat a token, and tokens can be long.
        return _refusal(self._source[start : self._end], _quoted(detail))

    # Grammar. `depth` counts what is open around the term; the interpreter's own stack has room for much more.

    def _check_depth(self, depth: int) -> None:
        if depth > _DEPTH_LIMIT:
            raise _refusal(self._source, f"Nested deeper than {_DEPTH_LIMIT} levels.")

    def _any(self, depth: int) -> Term:
        self._check_depth(depth)
        first = start = self._token.start
        alternatives: list[Term] = []
        while True:
            conditions = [self._comparison(depth)]
            while self._took("and"):
                conditions.append(self._comparison(depth))
            alternatives.append(self._chain(start, all_of, conditions))
            if not self._took("or"):
                return self._chain(first, any_of, alternatives)
            start = self._token.start

    def _chain(self, start: int, make: Callable[[Sequence[Term]], Term], operands: Sequence[Term]) -> Term:
        if len(operands) == 1:
            return operands[0]
        self._operations += len(operands) - 2
        return self._make(start, partial(make, operands))

    def _comparison(self, depth: int) -> Term:
        start = self._token.start
        left = self._operand(depth)
        if self._token.kind == "word" and self._token.text in COMPARISONS:
            name = self._advance().text
            return self._make(start, partial(comparison, name, left, self._operand(depth)))
        if self._took("in"):
            return self._membership(start, left, depth)
        return left

    def _membership(self, start: int, left: Term, depth: int) -> Term:
        if not self._took("("):
            return self._make(start, partial(member, left, self._operand(depth)))
        items = self._list(depth)
        self._operations += sum(not item.literal for item in items)
        if len(items) == 1 and items[0].kind == "collection":
            return self._make(start, partial(member, left, items[0]))
        return self._make(start, partial(element, left, items))

    def _list(self, depth: int) -> list[Term]:
        """One or more terms, and the parenthesis behind them."""
        items = [self._any(depth + 1)]
        while self._took(","):
            items.append(self._any(depth + 1))
        self._need(")")
        return items

    def _operand(self, depth: int) -> Term:
        negations: list[int] = []
        while self._token.text == "not":
            negations.append(self._advance().start)
            self._check_depth(depth + len(negations))
        term = self._primary(depth + len(negations))
        for start in reversed(negations):
            term = self._make(start, partial(negation, term))
        return term

    def _primary(self, depth: int) -> Term:
        if self._took("("):
            term = self._any(depth + 1)
            self._need(")")
            return term
        if self._token.kind not in ("word", "number", "string"):
            raise self._unusable()
        token = self._advance()
        if token.kind == "number":
            return integer(token.text)
        if token.kind == "string":
            return text(token.text[1:-1].replace("''", "'"))
        if self._took("("):
            return self._call(token, [] if self._took(")") else self._list(depth))
        return CONSTANTS.get(token.text) or variable(token.text)

    def _call(self, name: _Token, arguments: Sequence[Term]) -> Term:
        function = FUNCTIONS.get(name.text)
        written = self._source[name.start : self._end]
        if function is None:
            return self._faulty(name.start, f"Token '{written}' is not supported.")
        if len(arguments) not in function.arguments:
            return self._faulty(name.start, f"Invalid token '{written}'.")
        return self._make(name.start, partial(function.call, arguments))

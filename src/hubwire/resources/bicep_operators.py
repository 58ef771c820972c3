"""
Expressions of Bicep put together from pieces in a row, by the precedence of the operators. Pure.

Source: the Bicep documentation of operators (precedence and associativity).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
import tree_sitter

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_source import Source, line_break_between

__all__ = ["OPERATORS", "Expressions", "Operands", "Token"]

_BINARY: Final[Mapping[str, int]] = {
    "??": 1,
    "||": 2,
    "&&": 3,
    "==": 4,
    "!=": 4,
    "=~": 4,
    "!~": 4,
    "<": 5,
    "<=": 5,
    ">": 5,
    ">=": 5,
    "+": 6,
    "-": 6,
    "*": 7,
    "/": 7,
    "%": 7,
}
"""Operators between two operands, all of them left-associative, by how tightly they bind."""

OPERATORS: Final = frozenset({*_BINARY, "!", "?", ":", ".", ".?", "::", "=>", ","})
"""Every piece that is not an operand."""


class Token(msgspec.Struct, frozen=True):
    """
    One piece.

    Attributes:
        kind: an operator as it is written; `[` or `(` for a whole group; `name` behind a dot; else the node's kind.
        at, end: its bytes.
        node: the grammar's; for a group of `a[...]` the node of all of that.
        inner: what stands between the brackets of a group.
    """

    kind: str
    at: int
    end: int
    node: tree_sitter.Node
    inner: tuple[tree_sitter.Node, ...] = ()


class Operands(Protocol):
    """Who knows what the single pieces mean. Each method may raise a BicepFault."""

    source: Source

    def atom(self, token: Token) -> syntax.Expression:
        """What a piece means that is an operand by itself."""

    def name(self, token: Token) -> str:
        """The identifier behind a dot."""

    def arguments(self, token: Token) -> tuple[syntax.Expression, ...]:
        """The expressions in round brackets."""

    def key(self, token: Token) -> tuple[syntax.Expression, bool]:
        """The expression in square brackets, and whether a `?` stands before it."""

    def asserted(self, end: int) -> bool:
        """Whether a `!` followed the operand that ends at a byte; it is taken off then."""

    def deepen(self, at: int) -> None:
        """One level further in."""

    def rise(self) -> None:
        """One level back out."""


class Expressions:
    """Reads a row of pieces from left to right."""

    def __init__(self, operands: Operands, tokens: Sequence[Token], end: int) -> None:
        self._operands = operands
        self._source = operands.source
        self._tokens = tokens
        self._next = 0
        self._end = end
        self._line_breaks_end = False

    # What a caller needs for lists of expressions.

    def peek(self) -> Token | None:
        """The piece that comes next."""
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def take(self, kind: str) -> Token | None:
        """The next piece, if it is of a kind."""
        token = self.peek()
        if token is None or token.kind != kind:
            return None
        self._next += 1
        return token

    def expect(self, kind: str) -> Token:
        """The next piece, which must be of a kind."""
        token = self.take(kind)
        if token is None:
            raise self._source.fault(self._here(), f'Expected the "{kind}" character at this location.')
        return token

    def expect_end(self) -> None:
        """Nothing may be left."""
        if self.peek() is not None:
            raise self._source.fault(self._here(), "The expression ends before this location; expected an operator.")

    def separator(self) -> None:
        """Behind an item of an array: a comma, a new line, or the end."""
        if self.take(",") is not None:
            return
        token = self.peek()
        if token is not None and not self._on_new_line(token):
            raise self._source.fault(token.at, "Expected a new line or a comma before this item.")

    def expression(self, *, line_breaks_end: bool) -> syntax.Expression:
        """
        One whole expression.

        Args:
            line_breaks_end: in an array, where a new line may begin an item instead of going on with the last.
        """
        self._line_breaks_end = line_breaks_end
        return self._expression()

    # The levels of precedence, from the loosest.

    def _expression(self) -> syntax.Expression:
        self._operands.deepen(self._here())
        found = self._lambda() or self._ternary()
        self._operands.rise()
        return found

    def _lambda(self) -> syntax.Expression | None:
        first = self.peek()
        if first is None or self._next + 1 >= len(self._tokens) or self._tokens[self._next + 1].kind != "=>":
            return None
        written = self._operands.arguments(first) if first.kind == "(" else (self._operands.atom(first),)
        names = [name.text for name in written if isinstance(name, syntax.Name)]
        if len(names) != len(written):
            raise self._source.fault(first.at, "Expected the names of a lambda's arguments.")
        self._next += 2
        return syntax.Lambda(first.at, tuple(names), self._expression())

    def _ternary(self) -> syntax.Expression:
        condition = self._binary(1)
        if self.take("?") is None:
            return condition
        yes = self._expression()
        self.expect(":")
        return syntax.Ternary(condition.at, condition, yes, self._expression())

    def _binary(self, loosest: int) -> syntax.Expression:
        left = self._unary()
        while (token := self.peek()) is not None and _BINARY.get(token.kind, 0) >= loosest:
            if token.kind == "-" and self._ends_item(token):
                break
            self._next += 1
            left = syntax.Binary(left.at, token.kind, left, self._binary(_BINARY[token.kind] + 1))
        return left

    def _unary(self) -> syntax.Expression:
        token = self.peek()
        if token is None or token.kind not in ("!", "-"):
            return self._postfix()
        if token.at - 2 in self._source.spreads:
            raise self._source.fault(token.at - 2, 'The spread operator "..." is not permitted in this location.')
        self._next += 1
        self._operands.deepen(token.at)
        operand = self._unary()
        self._operands.rise()
        match operand:
            case syntax.Literal(value=int() as value) if token.kind == "-" and not isinstance(value, bool):
                return syntax.Literal(token.at, -value)
            case _:
                return syntax.Unary(token.at, token.kind, operand)

    def _postfix(self) -> syntax.Expression:
        token = self.peek()
        if token is None:
            raise self._source.fault(self._end, "Expected an expression at this location.")
        self._next += 1
        following = self.peek()
        found: syntax.Expression
        if token.kind == "identifier" and following is not None and self._continues(following, "("):
            self._next += 1
            found = syntax.Call(token.at, self._operands.name(token), self._operands.arguments(following))
            end = following.end
        else:
            found, end = self._operands.atom(token), token.end
        while True:
            self._operands.asserted(end)
            following = self.peek()
            if following is None:
                return found
            if following.kind in (".", ".?"):
                self._next += 1
                name = self.expect("name")
                end = name.end
                found = self._member(found, name, safe=following.kind == ".?")
                if isinstance(found, syntax.Method):
                    end = self._tokens[self._next - 1].end
            elif following.kind == "::":
                self._next += 1
                name = self.expect("identifier")
                found, end = syntax.Nested(found.at, found, self._operands.name(name)), name.end
            elif self._continues(following, "["):
                self._next += 1
                key, safe = self._operands.key(following)
                found, end = syntax.Index(found.at, found, key, safe), following.end
            elif following.kind in ("[", "(") and not self._line_breaks_end:
                raise self._source.fault(following.at, "Expected the end of the expression at this location.")
            else:
                return found

    def _member(self, of: syntax.Expression, name: Token, *, safe: bool) -> syntax.Expression:
        following = self.peek()
        if following is None or not self._continues(following, "("):
            return syntax.Member(of.at, of, self._operands.name(name), safe)
        if safe:
            raise self._source.fault(name.at, "A safe dereference of a function is not supported.")
        self._next += 1
        return syntax.Method(of.at, of, self._operands.name(name), self._operands.arguments(following))

    # Where an expression ends.

    def _continues(self, token: Token, kind: str) -> bool:
        """Whether a group belongs to the operand before it, which takes that they share a line."""
        return token.kind == kind and not self._on_new_line(token)

    def _ends_item(self, token: Token) -> bool:
        return self._line_breaks_end and self._on_new_line(token)

    def _on_new_line(self, token: Token) -> bool:
        """Whether a line ends between the last piece that was read and the next, `token`."""
        return self._next > 0 and line_break_between(self._source, self._tokens[self._next - 1].end, token.at)

    def _here(self) -> int:
        token = self.peek()
        return self._end if token is None else token.at

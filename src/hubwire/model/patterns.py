r"""
Patterns of group names: `?` is one character but no dot, `*` any number of them but no dot, `**` any number of any, and
`\` takes the meaning from `*`, `?` and `\`. Case-sensitive, and for the whole name.

Source: the service's page on wildcard group roles, and its emulator's reading of patterns.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, TypeAlias

from msgspec import Struct

__all__ = ["Pattern", "PatternSet", "parse_pattern"]

_WILDCARD_LIMIT: Final = 5


class _Wildcard(Enum):
    ONE = auto()
    WITHIN = auto()
    ACROSS = auto()


_Token: TypeAlias = str | _Wildcard


class Pattern(Struct, frozen=True):
    """
    A pattern that can be used.

    Attributes:
        literal: the one name that it stands for; None if it has wildcards.
        matches_all: it stands for every name.
    """

    _tokens: tuple[_Token, ...]

    @property
    def literal(self) -> str | None:
        characters = [token for token in self._tokens if isinstance(token, str)]
        return "".join(characters) if len(characters) == len(self._tokens) else None

    @property
    def matches_all(self) -> bool:
        return self._tokens == (_Wildcard.ACROSS,)


def parse_pattern(text: str) -> Pattern | None:
    """
    Read a pattern. None if a backslash stands before anything else than it may, or if there are too many wildcards.

    The service's page allows five `*` in all, its emulator five wildcards of any kind, a `**` being one. What either of
    them takes is taken.
    """
    tokens: list[_Token] = []
    asterisks = 0
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            if text[position : position + 1] not in ("*", "?", "\\"):
                return None
            tokens.append(text[position])
            position += 1
        elif character == "*":
            run = 1
            while text.startswith("*", position):
                run += 1
                position += 1
            asterisks += run
            tokens.append(_Wildcard.WITHIN if run == 1 else _Wildcard.ACROSS)
        else:
            tokens.append(_Wildcard.ONE if character == "?" else character)
    wildcards = sum(isinstance(token, _Wildcard) for token in tokens)
    return Pattern(tuple(tokens)) if min(asterisks, wildcards) <= _WILDCARD_LIMIT else None


class PatternSet:
    """
    Does a name match one of some patterns? Answered in one walk over the name, without going back.

    All patterns are one automaton, whose states are the places between their tokens, and a set of states is one integer
    with a bit for each. A character moves the bits in front of the tokens that take it by one, and bits in front of an
    asterisk that takes it stay. The time is (characters of the name) times (words of 64 states).

    Attributes:
        start: the states in front of the first character.
    """

    __slots__ = ("_across", "_ends", "_literals", "_one", "_within", "start")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._literals: dict[str, int] = {}
        places: dict[_Wildcard, int] = dict.fromkeys(_Wildcard, 0)
        self.start = 0
        self._ends = 0
        bit = 1
        for pattern in patterns:
            self.start |= bit
            for token in pattern._tokens:
                if isinstance(token, str):
                    self._literals[token] = self._literals.get(token, 0) | bit
                else:
                    places[token] |= bit
                bit <<= 1
            # The end has no token, so nothing moves on from it into the next pattern.
            self._ends |= bit
            bit <<= 1
        self._one = places[_Wildcard.ONE]
        self._across = places[_Wildcard.ACROSS]
        self._within = places[_Wildcard.WITHIN] | self._across
        # An asterisk may take nothing. No asterisk follows another one, so one step is all there is to it.
        self.start |= (self.start & self._within) << 1

    def matches(self, name: str) -> bool:
        """One of the patterns stands for `name`."""
        states = self.start
        for character in name:
            states = self.step(states, character)
            if not states:
                return False
        return self.ends(states)

    @property
    def characters(self) -> set[str]:
        """Those that mean something in the patterns, but for the dot."""
        return set(self._literals)

    def step(self, states: int, character: str) -> int:
        """The states behind a character; 0 for none, from which nothing leads on."""
        within = self._within
        taken = self._literals.get(character, 0)
        if character == ".":
            states = (states & taken) << 1 | states & self._across
        else:
            states = (states & (taken | self._one)) << 1 | states & within
        return states | (states & within) << 1

    def ends(self, states: int) -> bool:
        """Is in one of these states all read that a pattern stands for."""
        return states & self._ends != 0

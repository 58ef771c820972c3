"""
Filters of MQTT topics against names of groups and against patterns of roles.

Source: OASIS MQTT 5.0, 4.7.
"""

import sys
from collections import deque
from collections.abc import Collection
from typing import Final

from hubwire.model.names import is_group_name, is_topic_name
from hubwire.model.patterns import PatternSet

__all__ = ["covers", "has_wildcards", "is_topic_filter", "matches", "share_of", "subscription_name"]

_SHARE: Final = "$share/"

_NEVER: Final = frozenset("+#\0")
"""Characters that are in no topic."""

_TAIL: Final = "/#"
_REPEATED: Final = frozenset("+#")

_MOST_STEPS: Final = 20_000
"""Before it is given up to work out whether patterns cover a filter, which is some 10 ms. Real ones take hundreds."""


def subscription_name(topic_filter: str, share: str | None) -> str:
    """
    What a client calls a subscription to a filter.

    Args:
        share: name of a shared subscription; None for one of its own.

    Source: OASIS MQTT 5.0, 4.8.2.
    """
    return topic_filter if share is None else f"{_SHARE}{share}/{topic_filter}"


def share_of(name: str) -> tuple[str | None, str]:
    """The opposite: the share, which may be anything without a slash, and the filter, which may be anything."""
    if not name.startswith(_SHARE):
        return None, name
    share, _, topic_filter = name[len(_SHARE) :].partition("/")
    return share, topic_filter


def has_wildcards(topic_filter: str) -> bool:
    """Does a filter stand for more than one name."""
    return "+" in topic_filter or "#" in topic_filter


def is_topic_filter(text: str) -> bool:
    """Is this a filter that can stand for groups: its wildcards are whole levels, and `#` only the last of them."""
    if not is_group_name(text) or "\0" in text:
        return False
    levels = text.split("/")
    last = len(levels) - 1
    return all(
        ("+" not in level and "#" not in level) or level == "+" or (level == "#" and position == last)
        for position, level in enumerate(levels)
    )


def matches(topic_filter: str, group: str) -> bool:
    """Does a group have a name that a filter stands for. What can be no topic, none does."""
    if not is_topic_name(group):
        return False
    levels = group.split("/")
    wanted = topic_filter.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position == len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


def covers(patterns: PatternSet, topic_filter: str) -> bool:
    """
    Do some patterns together stand for every topic that a filter stands for.

    Both are read side by side, a character at a time, in all ways in which the filter can be read; where the filter may
    end, the patterns must. Of the characters that mean nothing to either, one stands for all. False also where that
    takes too long, which takes patterns that were made for it.
    """
    tokens = _tokens(topic_filter)
    known = ({"/", "."} | patterns.characters | set(topic_filter)) - _NEVER
    known.add(next(character for character in map(chr, range(ord(" "), sys.maxunicode)) if character not in known))
    # Nothing is a topic that has no character, and nothing that begins with a dollar sign.
    ahead = deque((place, patterns.start, True) for place in _places(tokens, 0))
    seen = set(ahead)
    steps = 0
    while ahead:
        place, states, at_start = ahead.popleft()
        for character in _taken(tokens, place, known):
            if at_start and character == "$":
                continue
            after = patterns.step(states, character)
            steps += 1
            if not after or steps > _MOST_STEPS:
                return False  # whatever was read, the filter can go on to its end
            for following in _places(tokens, place if tokens[place] in _REPEATED else place + 1):
                if _ends(tokens, following) and not patterns.ends(after):
                    return False
                there = (following, after, False)
                if there not in seen:
                    seen.add(there)
                    ahead.append(there)
    return True


def _tokens(topic_filter: str) -> list[str]:
    """Characters, `+`, and of a `#` behind a slash both, which may be missing, in front of what it stands for."""
    if topic_filter.endswith("/#"):
        return [*topic_filter[:-2], _TAIL, "#"]
    return list(topic_filter)


def _places(tokens: list[str], place: int) -> list[int]:
    """Where the filter is when it is at this token: a `+` may stand for nothing."""
    places = [place]
    while place < len(tokens) and tokens[place] == "+":
        place += 1
        places.append(place)
    return places


def _ends(tokens: list[str], place: int) -> bool:
    return place == len(tokens) or tokens[place] in (_TAIL, "#")


def _taken(tokens: list[str], place: int, known: set[str]) -> Collection[str]:
    """The characters that may come at this place."""
    if place == len(tokens):
        return ()
    match tokens[place]:
        case "+":
            return known - {"/"}
        case "#":
            return known
        case token:
            return token[0]

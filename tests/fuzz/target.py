"""A parser that is tried, and what several of them need to be judged."""

import gc
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

__all__ = ["Target", "size_of"]


class Target(NamedTuple):
    """
    One parser.

    Attributes:
        inputs: drawn for `check`, in order.
        check: raises AssertionError for what should not be, and lets out whatever a parser should not raise: only
            the errors that it documents are caught.
    """

    inputs: tuple[st.SearchStrategy[Any], ...]
    check: Callable[..., None]


def size_of(root: object) -> int:
    """Bytes of an object and what hangs on it, but for classes and functions."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) not in seen and not isinstance(value, type) and not callable(value):
            seen[id(value)] = value
            waiting += gc.get_referents(value)
    return sum(sys.getsizeof(value) for value in seen.values())

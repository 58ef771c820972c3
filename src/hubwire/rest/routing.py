"""
Raw paths to rows of a table. Pure.

The path is split before it is decoded, so `%2F` in a name is part of the name. A place in a template is either literal
or a name; since a segment is compared after decoding, `:send` and `%3Asend` are the same verb, while a group that is
called ":send" stays addressable where a name stands.
"""

from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from hubwire.rest.query import decoded

__all__ = ["Match", "Routes", "segments"]

Row = TypeVar("Row")


def segments(raw_path: bytes) -> tuple[str, ...]:
    """
    The decoded segments of a path. Empty ones are dropped: `//` is `/`, and a slash at the end means nothing.

    Raises:
        BadRequest: a segment is not percent-encoded UTF-8.
    """
    return tuple([decoded(part, "path") for part in raw_path.split(b"/") if part])


class Match(NamedTuple, Generic[Row]):
    """
    Attributes:
        rows: by method; at least one.
        names: what stood where the template has `{name}`, decoded.
    """

    rows: Mapping[str, Row]
    names: Mapping[str, str]


class _Place(Generic[Row]):
    """A node of the tree of templates."""

    __slots__ = ("literal", "name", "named", "rows")

    def __init__(self) -> None:
        self.literal: dict[str, _Place[Row]] = {}
        self.name = ""
        self.named: _Place[Row] | None = None
        self.rows: dict[str, Row] = {}

    def below(self, part: str) -> "_Place[Row]":
        if not part.startswith("{"):
            return self.literal.setdefault(part, _Place())
        name = part.strip("{}")
        if self.named is None:
            self.name, self.named = name, _Place()
        assert self.name == name, "one place of the tree has one name"
        return self.named


class Routes(Generic[Row]):
    """
    Templates as a tree.

    Args:
        table: method, template such as "/api/hubs/{hub}/:send", and the row that they lead to.
        fold: letter case of what is literal in a template does not count.
    """

    def __init__(self, table: Iterable[tuple[str, str, Row]], *, fold: bool = False) -> None:
        self._fold = fold
        self._root: _Place[Row] = _Place()
        for method, template, row in table:
            place = self._root
            for part in template.split("/")[1:]:
                place = place.below(part.lower() if fold and not part.startswith("{") else part)
            assert method not in place.rows, "an operation is listed twice"
            place.rows[method] = row

    def match(self, raw_path: bytes) -> Match[Row] | None:
        """
        The rows of a path whatever the method, or None. A literal wins over a name, if it leads anywhere.

        Raises:
            BadRequest: the path cannot be decoded.
        """
        return self._walk(self._root, segments(raw_path), 0, {})

    def _walk(
        self, place: _Place[Row], path: tuple[str, ...], depth: int, names: Mapping[str, str]
    ) -> Match[Row] | None:
        if depth == len(path):
            return Match(place.rows, names) if place.rows else None
        segment = path[depth]
        below = place.literal.get(segment.lower() if self._fold else segment)
        found = None if below is None else self._walk(below, path, depth + 1, names)
        if found is None and place.named is not None:
            found = self._walk(place.named, path, depth + 1, {**names, place.name: segment})
        return found

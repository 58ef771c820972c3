"""
Retained messages of one hub: of each group the one that is kept for who subscribes later. They outlive all connections.

They stand in a tree of the levels of their topics beside a table, so that one group is a look-up and a filter with
wildcards costs as much as the part of the tree that it leads to.

Source: OASIS MQTT 5.0, 3.3.1.3 (what is kept, and what takes it away), 4.7 (topics and filters).
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from msgspec import Struct

from hubwire.model.errors import Conflict
from hubwire.model.messages import GroupMessage
from hubwire.model.topic_filters import has_wildcards

__all__ = ["Kept", "RetainedLimits", "RetainedMessages", "size_of"]

_LEVEL_BYTES: Final = 256
"""What a level of a topic takes in the tree, and a message besides what it brings, or more."""


class RetainedLimits(Struct, frozen=True):
    """
    Of each hub.

    Attributes:
        size_bytes: of all messages, as `size_of` counts them.
    """

    messages: int = 10_000
    size_bytes: int = 64 << 20


class Kept(Struct, frozen=True):
    """
    A retained message.

    Attributes:
        kept_at: Unix seconds of its publication.
        expires_at: the same of its end; None for never.
        size_bytes: see `size_of`.
    """

    message: GroupMessage
    kept_at: float
    expires_at: float | None
    size_bytes: int


class _Level:
    """
    A place in the tree.

    Attributes:
        below: by the next level.
        kept: of the topic that ends here.
    """

    __slots__ = ("below", "kept")

    def __init__(self) -> None:
        self.below: dict[str, _Level] = {}
        self.kept: Kept | None = None


class RetainedMessages:
    """
    Attributes:
        size_bytes: of all of them.
        was_full: somebody was refused since there was room the last time.
    """

    __slots__ = ("_ends", "_limits", "_root", "_table", "size_bytes", "was_full")

    def __init__(self, limits: RetainedLimits) -> None:
        self._limits = limits
        self._table: dict[str, Kept] = {}
        self._root = _Level()
        self._ends: list[tuple[float, str]] = []
        self.size_bytes = 0
        self.was_full = False

    def __len__(self) -> int:
        return len(self._table)

    def get(self, topic: str) -> Kept | None:
        """The one of a topic; it may be over by now."""
        return self._table.get(topic)

    def keep(self, kept: Kept) -> None:
        """
        In place of the one that is kept for the same topic.

        Raises:
            Conflict: there are too many, or they are too large.
        """
        topic, limits = kept.message.group, self._limits
        old = self._table.get(topic)
        size_bytes = self.size_bytes + kept.size_bytes - (0 if old is None else old.size_bytes)
        if (old is None and len(self._table) >= limits.messages) or size_bytes > limits.size_bytes:
            raise Conflict("The hub has as many retained messages as it may have.")
        self.restore(kept)

    def restore(self, kept: Kept) -> None:
        """The same without a look at the limits, which may have been others when it was kept."""
        topic = kept.message.group
        old = self._table.get(topic)
        if old is not None:
            self.size_bytes -= old.size_bytes
        self._table[topic] = kept
        self.size_bytes += kept.size_bytes
        level = self._root
        for name in topic.split("/"):
            below = level.below.get(name)
            if below is None:
                below = level.below[name] = _Level()
            level = below
        level.kept = kept
        if kept.expires_at is not None:
            heappush(self._ends, (kept.expires_at, topic))
            if len(self._ends) > 2 * len(self._table) + 64:
                self._forget_old_ends()

    def forget(self, topic: str) -> bool:
        """Keep nothing for a topic. False if nothing was."""
        old = self._table.pop(topic, None)
        if old is None:
            return False
        self.size_bytes -= old.size_bytes
        self.was_full = False
        way: list[tuple[_Level, str]] = []
        level = self._root
        for name in topic.split("/"):
            way.append((level, name))
            level = level.below[name]
        level.kept = None
        for above, name in reversed(way):
            if level.below or level.kept is not None:
                break
            del above.below[name]
            level = above
        return True

    def expired(self, now: float, limit: int) -> list[str]:
        """
        Topics whose messages are over, `limit` at most, each once. They are to be forgotten: they are not named again.

        Args:
            now: Unix seconds.
        """
        ends = self._ends
        topics: dict[str, None] = {}
        while ends and ends[0][0] <= now and len(topics) < limit:
            end, topic = heappop(ends)
            kept = self._table.get(topic)
            if kept is not None and kept.expires_at == end:
                topics[topic] = None
        return list(topics)

    def _forget_old_ends(self) -> None:
        """Those of messages that others have taken the place of."""
        self._ends = [(kept.expires_at, topic) for topic, kept in self._table.items() if kept.expires_at is not None]
        heapify(self._ends)

    def matching(self, topic_filter: str) -> Iterator[Kept]:
        """
        Those of the topics that a filter means; some may be over by now. Nothing may change meanwhile.

        Args:
            topic_filter: a valid one, or a topic.
        """
        if not has_wildcards(topic_filter):
            kept = self._table.get(topic_filter)
            if kept is not None:
                yield kept
            return
        if topic_filter == "#":
            yield from self._table.values()
            return
        names = topic_filter.split("/")
        last = len(names)
        # Not by recursion: a topic may have more levels than there is room for calls.
        open_ways: list[tuple[_Level, int]] = [(self._root, 0)]
        while open_ways:
            level, depth = open_ways.pop()
            if depth == last:
                if level.kept is not None:
                    yield level.kept
                continue
            name = names[depth]
            if name == "#":
                # The level above it counts, too [4.7.1.2]; behind it, depth stays where it is.
                if level.kept is not None:
                    yield level.kept
                open_ways += [(below, depth) for below in reversed(level.below.values())]
            elif name == "+":
                open_ways += [(below, depth + 1) for below in reversed(level.below.values())]
            else:
                below = level.below.get(name)
                if below is not None:
                    open_ways.append((below, depth + 1))


def size_of(message: GroupMessage) -> int:
    """Bytes that a message counts for: its topic, payload and properties, and 256 for each level of the topic."""
    size = len(message.group) + len(message.data.body) + _LEVEL_BYTES * (message.group.count("/") + 1)
    for name, value in message.metadata.items():
        size += len(name) + len(value)
    publication = message.publication
    if publication is not None:
        for text in (publication.content_type, publication.response_topic):
            size += 0 if text is None else len(text)
        size += 0 if publication.correlation_data is None else len(publication.correlation_data)
        for name, value in publication.user_properties:
            size += len(name) + len(value)
    return size

"""
Retained messages of all hubs, which are kept in the journal: the last publication to each group that asked for it.

They belong to the server, not to a connection: they are there before the first client comes and after the last one has
gone, and across restarts. Their time goes on meanwhile, so it is kept by the wall clock.

Source: OASIS MQTT 5.0, 3.3.1.3 and 3.3.2.3.3.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace

from hubwire.cluster.commits import Commits
from hubwire.cluster.durable_entries import RetainedEntry, encode, entry_of, message_of
from hubwire.hub.retained import Kept, RetainedLimits, RetainedMessages, size_of
from hubwire.model.messages import GroupMessage
from hubwire.model.names import HubKey

__all__ = ["Retained"]

_log: Final = logging.getLogger("hubwire.retained")

_KIND: Final = "retained"
_SLICE: Final = 500
"""Messages that are looked at in one go, before others have their turn."""
_LIMITS: Final = RetainedLimits()


_decoder: Final = msgspec.msgpack.Decoder(RetainedEntry)


class Retained:
    """
    Args:
        commits: of the journal in which they are kept; without it they end with this process.
        limits: of each hub.
        now: Unix seconds.
    """

    def __init__(
        self,
        commits: Commits | None = None,
        limits: RetainedLimits = _LIMITS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._commits = commits
        self._limits = limits
        self._now = now
        self._hubs: dict[HubKey, RetainedMessages] = {}

    async def load(self) -> None:
        """
        Take over what is in the journal. Entries that cannot be read are left out, and named in the log.

        Raises:
            StartFailed: the journal cannot be read.
        """
        assert self._commits is not None, "there is something to read"
        now = self._now()
        damaged = 0
        for position, (key, body) in enumerate(await self._commits.entries(_KIND), start=1):
            if position % _SLICE == 0:
                await asyncio.sleep(0)
            found = _read(key, body)
            if found is None:
                damaged += 1
                _log.warning("a retained message in the journal cannot be read and is left out: %r", key[:256])
                continue
            hub, kept = found
            if kept.expires_at is not None and kept.expires_at <= now:
                self._commits.remove(_KIND, key)
            else:
                self._of(hub).restore(kept)
        if damaged:
            _log.warning("%d retained messages are left out", damaged)

    def _of(self, hub: HubKey) -> RetainedMessages:
        messages = self._hubs.get(hub)
        if messages is None:
            messages = self._hubs[hub] = RetainedMessages(self._limits)
        return messages

    # What is published.

    def keep(self, hub: HubKey, message: GroupMessage) -> None:
        """
        Keep a publication in place of the one that is kept for its group; an empty one in place of it is none.

        Raises:
            Conflict: the hub has as many as it may have.
        """
        topic = message.group
        publication = message.publication
        assert publication is not None, "only MQTT asks for it"
        now = self._now()
        expires_at = None if publication.expiry_s is None else now + publication.expiry_s
        if not message.data.body or publication.expiry_s == 0:
            self.forget(hub, topic)
            return
        self._sweep(hub, now)
        kept = Kept(replace(message, retained=True), now, expires_at, size_of(message))
        self._of(hub).keep(kept)
        if self._commits is not None:
            entry = RetainedEntry(now, entry_of(message, expires_at))
            self._commits.put(_KIND, _key(hub, topic), encode(entry))

    def is_news(self, hub: HubKey) -> bool:
        """Is it the first time since there was room that a hub has none. To be asked after a refusal."""
        messages = self._of(hub)
        was_full, messages.was_full = messages.was_full, True
        return not was_full

    # What is kept.

    def matching(self, hub: HubKey, topic_filter: str) -> list[Kept]:
        """
        What there is for a subscription now.

        Args:
            topic_filter: a valid one, or a topic.
        """
        messages = self._hubs.get(hub)
        if messages is None:
            return []
        now = self._now()
        return [kept for kept in messages.matching(topic_filter) if not _is_over(kept, now)]

    def page(self, hub: HubKey, topic_filter: str, after: str, limit: int) -> list[Kept]:
        """
        Some of them, by ascending topic (code point order).

        Args:
            after: topic behind which to begin; empty for the first.
        """
        there = {kept.message.group: kept for kept in self.matching(hub, topic_filter)}
        topics = sorted([topic for topic in there if topic > after])
        return [there[topic] for topic in topics[:limit]]

    def get(self, hub: HubKey, topic: str) -> Kept | None:
        """What is kept for a topic now."""
        messages = self._hubs.get(hub)
        kept = None if messages is None else messages.get(topic)
        return None if kept is None or _is_over(kept, self._now()) else kept

    def told(self, kept: Kept) -> tuple[GroupMessage, float | None]:
        """As it is told to a subscriber now, and how many seconds it has left; None for ever."""
        message = kept.message
        if kept.expires_at is None:
            return message, None
        left_s = kept.expires_at - self._now()
        publication = message.publication
        assert publication is not None, "only MQTT asks for it"
        told = replace(publication, expiry_s=max(math.ceil(left_s), 1))
        return replace(message, publication=told), left_s

    def counts(self, hub: HubKey) -> tuple[int, int]:
        """How many a hub has and how many bytes, with those whose time is over and that are still there."""
        messages = self._hubs.get(hub)
        return (0, 0) if messages is None else (len(messages), messages.size_bytes)

    # Their end.

    def forget(self, hub: HubKey, topic: str) -> bool:
        """Keep nothing for a topic. False if nothing was."""
        messages = self._hubs.get(hub)
        if messages is None or not messages.forget(topic):
            return False
        if not messages:
            del self._hubs[hub]
        if self._commits is not None:
            self._commits.remove(_KIND, _key(hub, topic))
        return True

    async def forget_all(self, hub: HubKey, topic_filter: str) -> int:
        """Keep nothing of what a filter means now. Returns how much that was."""
        topics = iter([kept.message.group for kept in self.matching(hub, topic_filter)])
        count = 0
        while some := list(islice(topics, _SLICE)):
            count += sum([self.forget(hub, topic) for topic in some])
            await asyncio.sleep(0)
        return count

    async def forget_resource(self, resource: str) -> None:
        """A resource is no more, and another one of its name is to begin with nothing."""
        for hub in [hub for hub in self._hubs if hub.resource == resource]:
            await self.forget_all(hub, "#")

    async def written(self) -> None:
        """Wait until everything that was kept and forgotten so far is in the journal."""
        if self._commits is not None:
            await self._commits.written()

    def sweep(self) -> tuple[int, int]:
        """
        Forget what is over; some at a time, the rest the next time.

        Returns:
            how many are left in all hubs, and how many bytes these count for.
        """
        now = self._now()
        for hub in list(self._hubs):
            self._sweep(hub, now)
        left = self._hubs.values()
        return sum([len(messages) for messages in left]), sum([messages.size_bytes for messages in left])

    def _sweep(self, hub: HubKey, now: float) -> None:
        messages = self._hubs.get(hub)
        if messages is not None:
            for topic in messages.expired(now, _SLICE):
                self.forget(hub, topic)


def _is_over(kept: Kept, now: float) -> bool:
    return kept.expires_at is not None and kept.expires_at <= now


def _key(hub: HubKey, topic: str) -> str:
    """Neither names of resources nor of hubs hold a slash."""
    return f"{hub.resource}/{hub.hub}/{topic}"


def _read(key: str, body: bytes) -> tuple[HubKey, Kept] | None:
    parts = key.split("/", 2)
    try:
        entry = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    message = message_of(entry.message)
    if len(parts) < 3 or not isinstance(message, GroupMessage):
        return None
    if message.group != parts[2] or message.publication is None or not message.data.body:
        return None
    kept = Kept(replace(message, retained=True), entry.kept_at, entry.message.expires_at, size_of(message))
    return HubKey(parts[0], parts[1]), kept

"""
What is kept of sessions that outlive the process, as entries of the journal and back.

A session has one entry, and others below its number: what it is a member of and how it wants to hear of it, what it is
to be sent, which messages of its own it has not released. A message that waits for many sessions is there once.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from hubwire.model.commands import Permission
from hubwire.model.messages import NO_METADATA, Data, DataKind, DataMessage, FromServer, GroupMessage, Publication
from hubwire.protocols.mqtt.keeping import KeptTerms

__all__ = [
    "ACKS",
    "HELD",
    "KINDS",
    "MESSAGE",
    "QUEUED",
    "RECEIVED",
    "SEQUENCE",
    "SESSION",
    "SUBSCRIPTION",
    "HeldEntry",
    "MessageEntry",
    "QueuedEntry",
    "RetainedEntry",
    "SessionEntry",
    "Stored",
    "SubscriptionEntry",
    "encode",
    "entry_of",
    "message_of",
    "read",
]

_log: Final = logging.getLogger("hubwire.journal")

Find: TypeAlias = Callable[[str], Awaitable[list[tuple[str, bytes]]]]
"""Entries of a kind with their keys."""

SESSION: Final = "session"
SUBSCRIPTION: Final = "subscription"
MESSAGE: Final = "message"
QUEUED: Final = "queued"
RECEIVED: Final = "received"
HELD: Final = "held"
SEQUENCE: Final = "sequence"
ACKS: Final = "acks"
KINDS: Final = (SESSION, SUBSCRIPTION, MESSAGE, QUEUED, RECEIVED, HELD, SEQUENCE, ACKS)
"""Of entries. Below the number of a session in hexadecimal: `SESSION/…` but for a session itself, and for messages."""


class SessionEntry(Struct, frozen=True, omit_defaults=True):
    """
    Attributes:
        resource, hub, client_id: of the connection.
        roles: as its token or its event handler gave them.
        rules: permissions that REST has set: name, group, granted or revoked.
        given_groups, client_ip, origin, why: as the connection has them.
        session_id, physical_id, state: by which event handlers know it, and what they gave it to keep.
        terms: of a session of MQTT.
        subprotocol: of one of another, reliable protocol.
        opened_at, lost_at: seconds since 1970; None for a session that has a socket.
    """

    resource: str
    hub: str
    client_id: str
    terms: KeptTerms | None
    opened_at: float
    lost_at: float | None = None
    user_id: str | None = None
    roles: tuple[str, ...] = ()
    rules: tuple[tuple[Permission, str, bool], ...] = ()
    given_groups: tuple[str, ...] = ()
    client_ip: str = ""
    origin: str = ""
    why: str = "Normal"
    session_id: str | None = None
    physical_id: str | None = None
    state: str | None = None
    subprotocol: str | None = None


class SubscriptionEntry(Struct, frozen=True, omit_defaults=True):
    """
    How a session hears of a topic, or that it is a member of a group: two entries, since others put clients into groups
    that they say nothing of.
    """

    topic: str
    member: bool = False
    qos: int = 0
    no_local: bool = False
    identifiers: tuple[int, ...] = ()
    as_published: bool = False


class MessageEntry(Struct, frozen=True, array_like=True):
    """
    Attributes:
        group: None for a message of the application's server.
        expires_at: seconds since 1970; None for never.
    """

    group: str | None
    kind: DataKind
    body: bytes
    expires_at: float | None = None
    from_user_id: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    publication: Publication | None = None


class RetainedEntry(Struct, frozen=True, array_like=True):
    """
    A message that is kept for who subscribes later.

    Attributes:
        kept_at: seconds since 1970.
    """

    kept_at: float
    message: MessageEntry


class QueuedEntry(Struct, frozen=True, array_like=True):
    """
    Attributes:
        message: its number; 0 where the client has it, and only the end of its flow is open.
        place: in the order of what one session is sent.
        packet_id: 0 for a message that waits.
    """

    message: int
    place: int
    qos: int
    packet_id: int = 0
    identifiers: tuple[int, ...] = ()
    retain: bool = False
    share: str | None = None


class HeldEntry(Struct, frozen=True, array_like=True):
    """
    Messages that a reliable client has not acknowledged, as frames without their numbers.

    Attributes:
        expires_at: seconds since 1970; None for never.
    """

    parts: tuple[bytes, ...]
    expires_at: float | None = None


class Stored(NamedTuple):
    """
    A session as it was found.

    Attributes:
        number: of the session.
        queue: by their keys' numbers, in the order of their places.
        received: codes by packet identifier.
        held: of a reliable client: parts and, in seconds since 1970, when they expire, by the first number.
        next: its next number.
        acks: runs of ack ids that were carried out.
    """

    number: int
    entry: SessionEntry
    subscriptions: list[SubscriptionEntry]
    queue: list[tuple[int, QueuedEntry]]
    received: dict[int, int]
    held: dict[int, tuple[tuple[bytes, ...], float | None]]
    next: int = 1
    acks: tuple[tuple[int, int], ...] = ()


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=dict)  # metadata may be a view of a dictionary


_Entry: TypeAlias = SessionEntry | SubscriptionEntry | MessageEntry | RetainedEntry | QueuedEntry | HeldEntry


def encode(entry: _Entry | int | tuple[tuple[int, int], ...]) -> bytes:
    return _encoder.encode(entry)


def entry_of(message: DataMessage, expires_at: float | None) -> MessageEntry:
    """
    Args:
        expires_at: seconds since 1970.
    """
    data = message.data
    if isinstance(message, GroupMessage):
        return MessageEntry(
            message.group,
            data.kind,
            data.body,
            expires_at,
            message.from_user_id,
            message.metadata,
            message.publication,
        )
    return MessageEntry(None, data.kind, data.body, expires_at, None, message.metadata)


def message_of(entry: MessageEntry) -> DataMessage:
    data = Data(entry.kind, entry.body)
    if entry.group is None:
        return FromServer(data, entry.metadata)
    return GroupMessage(entry.group, data, entry.from_user_id, entry.metadata, entry.publication)


async def read(find: Find) -> tuple[list[Stored], dict[int, MessageEntry], list[tuple[str, str]]]:
    """
    Everything that is kept.

    Returns:
        sessions by their numbers, messages by theirs, and kinds and keys of what belongs to nothing: an end that was
        not written whole, or damage, which is logged.
    """
    lost: list[tuple[str, str]] = []

    async def entries(kind: str, type: Any, split: Callable[[str], Any]) -> list[tuple[str, Any, Any]]:
        found = []
        for key, body in await find(kind):
            try:
                found.append((key, split(key), msgspec.msgpack.decode(body, type=type)))
            except (msgspec.MsgspecError, ValueError) as error:
                _log.error("an entry of the journal (%s %s) is damaged and left out: %s", kind, key[:64], error)
                lost.append((kind, key))
        return found

    sessions = {
        number: Stored(number, entry, [], [], {}, {})
        for _, number, entry in await entries(SESSION, SessionEntry, _number)
    }
    messages = {number: entry for _, number, entry in await entries(MESSAGE, MessageEntry, _number)}
    used: set[int] = set()

    def of(kind: str, found: list[tuple[str, Any, Any]]) -> Iterator[tuple[Stored, str, str, Any]]:
        for key, (number, rest), entry in found:
            session = sessions.get(number)
            if session is None:
                lost.append((kind, key))
            else:
                yield session, key, rest, entry

    for session, _, _, entry in of(SUBSCRIPTION, await entries(SUBSCRIPTION, SubscriptionEntry, _below)):
        session.subscriptions.append(entry)
    for session, key, rest, entry in of(QUEUED, await entries(QUEUED, QueuedEntry, _below)):
        if entry.message and entry.message not in messages:
            _log.error("a message for %s is not in the journal and is left out", session.entry.client_id)
            lost.append((QUEUED, key))
        else:
            session.queue.append((int(rest, 16), entry))
            used.add(entry.message)
    for session, _, rest, code in of(RECEIVED, await entries(RECEIVED, int, _below)):
        session.received[int(rest, 16)] = code
    for session, _, rest, entry in of(HELD, await entries(HELD, HeldEntry, _below)):
        session.held[int(rest, 16)] = entry.parts, entry.expires_at
    for session, _, _, first in of(SEQUENCE, await entries(SEQUENCE, int, _below)):
        sessions[session.number] = sessions[session.number]._replace(next=first)
    for session, _, _, runs in of(ACKS, await entries(ACKS, tuple[tuple[int, int], ...], _below)):
        sessions[session.number] = sessions[session.number]._replace(acks=runs)
    for session in sessions.values():
        session.queue.sort(key=lambda item: item[1].place)
    lost += [(MESSAGE, f"{number:x}") for number in messages if number not in used]
    return list(sessions.values()), {number: messages[number] for number in used if number}, lost


def _number(key: str) -> int:
    return int(key, 16)


def _below(key: str) -> tuple[int, str]:
    number, _, rest = key.partition("/")
    return int(number, 16), rest

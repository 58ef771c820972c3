"""
What a server promised a reliable client, and whether it kept it, read from the bytes that passed a proxy: the proof of
who is to blame when a client library loses a message.
"""

import json
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from faults.rough_proxy import Link
from vectors.websocket_frames import masked

__all__ = ["Record", "judged"]

_CLOSE, _TEXT = 8, 1


class Record(NamedTuple):
    """
    One connection of the client's, over all its sockets.

    Attributes:
        messages: by sequence id, the JSON text of each message that the server sent.
        passed: sequence ids of those that reached the client as a whole.
        final: the client closed it for good.
    """

    messages: dict[int, bytes]
    passed: set[int]
    final: bool


def _payload(frame: bytes) -> tuple[int, bytes]:
    """Opcode and payload of one whole frame."""
    size = frame[1] & 0x7F
    start = 2 + {126: 2, 127: 8}.get(size, 0)
    if frame[1] & 0x80:
        return frame[0] & 0x0F, masked(frame[start + 4 :], frame[start : start + 4])
    return frame[0] & 0x0F, frame[start:]


def judged(links: list[Link]) -> dict[str, Record]:
    """
    Hold every byte that the server sent against what the protocol promises.

    Returns:
        what each connection was sent, by its id, in the order of their opening.

    Raises:
        AssertionError: the server lost, repeated or changed something, or refused a recovery without a reason.
    """
    records: dict[str, Record] = {}
    acknowledged: dict[str, int] = {}
    for link in links:
        if not link.down.ends:
            continue
        assert link.down.data.startswith(b"HTTP/1.1 101 "), bytes(link.down.data[:200])
        asked = parse_qs(urlsplit(link.up.data.split(b" ", 2)[1].decode()).query).get("awps_connection_id", [""])[0]
        frames = [_payload(frame) for frame in link.down.frames()]
        said = [_payload(frame) for frame in link.up.frames()[: link.up.frames_passed()]]
        if not frames:
            # Some clients acknowledge what they had heard before as soon as they have the 101.
            acknowledged[asked] = max([acknowledged.get(asked, 0), *_acknowledgements(said)])
            continue
        assert frames[0][0] == _TEXT, f"{frames[0]} instead of connected, asked for {asked!r}"
        first = json.loads(frames[0][1])
        assert first["event"] == "connected", first
        id = first["connectionId"]
        assert not asked or id == asked, "a recovery gives the same connection"
        record = records.setdefault(id, Record({}, set(), False))
        _hear(record, link, frames, acknowledged.get(id, 0))
        acknowledged[id] = max([acknowledged.get(id, 0), *_acknowledgements(said)])
        if (_CLOSE, (1000).to_bytes(2, "big")) in [(opcode, payload[:2]) for opcode, payload in said]:
            records[id] = record._replace(final=True)
    return records


def _hear(record: Record, link: Link, frames: list[tuple[int, bytes]], acknowledged: int) -> None:
    """Numbers begin with the first that was not acknowledged, at the latest, and go up one by one."""
    last = 0
    for position, (opcode, payload) in enumerate(frames):
        message: Any = json.loads(payload) if opcode == _TEXT else {}
        if message.get("type") != "message":
            continue
        number = message["sequenceId"]
        assert number == last + 1 if last else number <= acknowledged + 1, (number, last, acknowledged)
        assert record.messages.setdefault(number, payload) == payload, f"{number} means something else now"
        if position < link.down.frames_passed():
            record.passed.add(number)
        last = number


def _acknowledgements(said: list[tuple[int, bytes]]) -> list[int]:
    messages = [json.loads(payload) for opcode, payload in said if opcode == _TEXT]
    return [message["sequenceId"] for message in messages if message["type"] == "sequenceAck"]

"""
What the protocols and the REST definition promise, as a small model: who is where, who may do what, which frames every
client must have received, and what each call must be answered. It knows no turn, no segment and no socket.

Source: the client protocol's rules (requests, acks, permissions, recovery), the REST definition of 2024-12-01; OASIS
MQTT 3.1.1 and 5.0, and the service's MQTT pages.
"""

import base64
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias
from unittest.mock import ANY

from journeys.operations import (
    IN_PROTOBUF,
    NUMBERED,
    ROLES,
    WILDCARDS,
    Acknowledge,
    Call,
    Confirm,
    Connect,
    Depart,
    Filter,
    Kind,
    Listing,
    Operation,
    Packet,
    Pass,
    Payload,
    Recover,
    Say,
)

__all__ = ["MQTT", "Frame", "Peer", "Reference", "Stream", "held_against"]

Frame: TypeAlias = "dict[str, Any] | tuple[Any, ...]"
"""
JSON of a subprotocol's client, or the kind and payload of a simple client's frame. Of an MQTT client a packet's name
and what is in it: "publish", topic, payload, QoS, content type, user properties and RETAIN; or an answer and its codes.
"""

MQTT: Final[tuple[Kind, ...]] = ("mqtt4", "mqtt5")

_RETENTION_S: Final = (30, 35)
"""A reliable client or one of MQTT may come back at least so long, and is forgotten at the latest after so long."""


class Stream:
    """
    What one socket must bring.

    Attributes:
        data: messages, in order.
        direct: answers and notices, in order, each with the number of messages that must come before it.
        end: close code; None while the socket is open.
        overflown: the client left too much unacknowledged. What of the last messages it still got is left open.
    """

    def __init__(self) -> None:
        self.data: list[Frame] = []
        self.direct: list[tuple[Frame, int]] = []
        self.end: int | None = None
        self.overflown = False

    def say(self, frame: Frame) -> None:
        self.direct.append((frame, len(self.data)))


class _Held(NamedTuple):
    """`sent` once: what waits for the first time may expire before that."""

    number: int
    frame: Frame
    expires_at: float
    sent: bool = True


class _Open(NamedTuple):
    """A stream that is open. `expected` is the number of its next fragment."""

    group: str
    no_echo: bool
    expected: int = 1


class Peer:
    """
    One connection, as `Connect` describes it, from its opening to its end and beyond.

    Attributes:
        filters: of MQTT, with wildcards.
        streams: that it has open.
        ended, ended_before: what it was told of those that it had, by this socket and by earlier ones.
    """

    def __init__(self, how: Connect) -> None:
        self.name = how.name
        self.kind: Kind = how.kind
        self.user = how.user
        self.roles = how.roles
        self.groups = set(how.groups)
        self.filters: set[str] = set()
        self.publish_to = how.publish_to
        self.no_echo = how.no_echo
        self.id = ""
        self.alive = True
        self.stream: Stream | None = Stream()
        self.rules: dict[tuple[str, str], bool] = {}
        self.done: set[int] = set()
        self.used: list[int] = []
        self.held: list[_Held] = []
        self.last_number = 0
        self.waits_since = 0
        self.streams: dict[str, _Open] = {}
        self.ended: dict[str, Frame] = {}
        self.ended_before: dict[str, Frame] = {}
        self.qos: dict[str, int] = {}

    @property
    def is_there(self) -> bool:
        """It has a socket that nobody has closed yet."""
        return self.alive and self.stream is not None and self.stream.end is None

    @property
    def tells_codes(self) -> bool:
        """Its protocol has reason codes."""
        return self.kind == "mqtt5"

    def may(self, permission: str, group: str) -> bool:
        """What was granted or revoked for this very group counts more than all roles."""
        by_role = any(ROLES[role][0] == permission and ROLES[role][1](group) for role in self.roles)
        return self.rules.get((permission, group), by_role)

    def may_subscribe(self, wanted: str) -> bool:
        """To what stands for many groups it must be allowed in all of them, those that nobody has thought of too."""
        if wanted not in WILDCARDS:
            return self.may("joinLeaveGroup", wanted)
        rules = [(group, given) for (permission, group), given in self.rules.items() if permission == "joinLeaveGroup"]
        denied = any(WILDCARDS[wanted](group) and not given for group, given in rules)
        return "webpubsub.joinLeaveGroup" in self.roles and not denied

    def connected(self, again: bool = False) -> Frame:
        if self.kind in MQTT:
            return ("connack", 0, again)
        frame = {"type": "system", "event": "connected", "userId": self.user or "", "connectionId": ANY}
        return {**frame, "reconnectionToken": ANY} if self.kind in NUMBERED else frame


_CONTENT_TYPES: Final = {
    "text": "text/plain",
    "json": "application/json",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}


class _Message(NamedTuple):
    """
    One message to be delivered: as JSON without a number, and as simple clients get it.

    Attributes:
        content_type: that MQTT clients are told, where they can be.
        qos: with which it was published; 1 for what was not by MQTT.
    """

    frame: dict[str, Any]
    plain: tuple[str, str | bytes]
    content_type: str | None
    qos: int

    def told(self, peer: Peer) -> dict[str, Any]:
        """As a client gets it that makes requests. Protobuf has no place for who has sent it."""
        if peer.kind not in IN_PROTOBUF:
            return self.frame
        return {name: value for name, value in self.frame.items() if name != "fromUserId"}

    @property
    def is_end(self) -> bool:
        """The end of a stream, of which only some protocols know."""
        return bool(self.frame.get("stream", {}).get("endOfStream"))

    def publish(self, peer: Peer, by: str | None = None) -> tuple[Any, ...]:
        """
        As an MQTT client gets it.

        Args:
            by: what it has just subscribed to, if this was kept; None for what is published now.
        """
        topic = self.frame.get("group", "$webpubsub/server/messages")
        payload = self.plain[1].encode() if isinstance(self.plain[1], str) else self.plain[1]
        if by is not None:
            return self._packet(peer, topic, payload, peer.qos[by], True)
        wanted = [peer.qos[filter] for filter in peer.filters if WILDCARDS[filter](topic) and topic[0] != "$"]
        if topic in peer.groups or not wanted:
            wanted.append(peer.qos.get(topic, 1))
        return self._packet(peer, topic, payload, max(wanted), False)

    def _packet(self, peer: Peer, topic: str, payload: bytes, wanted: int, retain: bool) -> tuple[Any, ...]:
        qos = min(self.qos, wanted)
        if not peer.tells_codes:
            return ("publish", topic, payload, qos, None, (), retain)
        metadata = tuple(self.frame.get("metadata", {}).items())
        return ("publish", topic, payload, qos, self.content_type, metadata, retain)


def _message(origin: dict[str, Any], kind: str, data: Any, plain: str | bytes, metadata: Any = None) -> _Message:
    frame = {"type": "message", **origin, "dataType": kind, "data": data}
    if metadata:
        frame["metadata"] = metadata
    return _Message(frame, ("binary" if isinstance(plain, bytes) else "text", plain), _CONTENT_TYPES[kind], 1)


class Reference:
    """
    Args:
        queue_limit: messages that a reliable client may leave unacknowledged.
        lifetimes: of messages. Where time passes by itself, none may be short enough to be over during the test.
        kinds: of clients that come.
    """

    def __init__(self, queue_limit: int, lifetimes: Sequence[int], kinds: Sequence[Kind]) -> None:
        self.queue_limit = queue_limit
        self.lifetimes = lifetimes
        self.kinds = kinds
        self.peers: dict[str, Peer] = {}
        self.now = 0
        self.kept: dict[str, _Message] = {}
        self._overflown: list[Peer] = []

    # What drawing asks.

    def names(self, *kinds: Kind, there: bool | None = None) -> Sequence[str]:
        known = [peer for peer in self.peers.values() if not kinds or peer.kind in kinds]
        if there is not None:
            known = [peer for peer in known if peer.is_there == there]
        gone = [peer for peer in known if not peer.alive]
        return [peer.name for peer in known if peer.alive] + [peer.name for peer in gone[-2:]]

    def id_of(self, name: str) -> str:
        return self.peers[name].id

    def ack_ids(self, name: str) -> Sequence[int]:
        return self.peers[name].used

    def last_number(self, name: str) -> int:
        return self.peers[name].last_number

    def unacknowledged(self, name: str) -> int:
        return len(self.peers[name].held)

    @property
    def count(self) -> int:
        return len(self.peers)

    @property
    def alive(self) -> int:
        return sum(peer.alive for peer in self.peers.values())

    def streams(self, name: str) -> Mapping[str, int]:
        return {stream_id: stream.expected for stream_id, stream in self.peers[name].streams.items()}

    def spare(self) -> int:
        """How many messages nobody's queue is too short for."""
        bounded = [peer for peer in self.peers.values() if peer.alive and not (peer.kind in MQTT and peer.is_there)]
        return self.queue_limit - max((len(peer.held) for peer in bounded), default=0)

    def adjusted(self, operation: Operation) -> Operation:
        """The same, or one like it, where what is promised leaves open what comes of it."""
        match operation:
            case Say(name, frames) if len(frames) > self.spare():
                # Who overflows in the middle of a burst may or may not be there for the rest of it.
                return Say(name, frames[:1])
            case Recover(name) if not self.peers[name].alive and self.peers[name].kind in MQTT:
                return self.adjusted(Pass(2))  # its client id is as good as new
            case Pass(seconds):
                waiting = [p for p in self.peers.values() if p.alive and p.stream is None]
                least, most = _RETENTION_S
                if any(least < self.now + seconds - peer.waits_since < most for peer in waiting):
                    return Pass(40)
        return operation

    # What happens.

    def apply(self, operation: Operation) -> Any:
        """
        Returns:
            for a call its status, for a listing the pages, for a recovery whether it succeeds; else None.
        """
        found = self._apply(operation)
        self._end_overflown()
        return found

    def _apply(self, operation: Operation) -> Any:
        match operation:
            case Connect(name):
                peer = self.peers[name] = Peer(operation)
                if peer.kind != "simple":
                    assert peer.stream is not None
                    peer.stream.say(peer.connected())
            case Say(name, frames):
                peer = self.peers[name]
                for frame in frames:
                    if peer.is_there:
                        self._request(peer, frame)
            case Payload(name, data):
                self._payload(self.peers[name], data)
            case Packet(name):
                self._packet(self.peers[name], operation)
            case Confirm(name, count):
                del self.peers[name].held[:count]
            case Acknowledge(name, number):
                peer = self.peers[name]
                peer.held = [held for held in peer.held if held.number > number]
            case Depart(name, how):
                peer = self.peers[name]
                peer.stream = None
                peer.waits_since = self.now
                if peer.kind not in (*NUMBERED, *MQTT) or (peer.kind in NUMBERED and how == 1000):
                    self._forget(peer)
            case Recover(name, honest):
                return self._recover(self.peers[name], honest)
            case Call():
                return self._call(*operation.what)
            case Listing():
                return self._list(operation)
            case Pass(seconds):
                self.now += seconds
                gone = [peer for peer in self._who("hub", "") if peer.stream is None]
                for peer in sorted(gone, key=lambda peer: peer.waits_since):
                    if self.now - peer.waits_since >= _RETENTION_S[1]:
                        self._forget(peer)
        return None

    def _who(self, whom: str, name: str) -> list[Peer]:
        alive = [peer for peer in self.peers.values() if peer.alive]
        match whom:
            case "hub":
                return alive
            case "group":
                return [peer for peer in alive if name in peer.groups]
            case "user":
                return [peer for peer in alive if peer.user == name]
            case _:
                return [peer for peer in alive if peer.id == name]

    def _hearing(self, group: str) -> list[Peer]:
        """Who is sent what is sent to a group."""
        alive = [peer for peer in self.peers.values() if peer.alive]
        return [p for p in alive if group in p.groups or any(WILDCARDS[filter](group) for filter in p.filters)]

    def _request(self, peer: Peer, frame: dict[str, Any] | str) -> None:
        if isinstance(frame, str):
            self._close(peer, 1007, ANY)
            return
        if "stream" in frame or frame["type"] in ("streamData", "streamEnd"):
            self._stream_request(peer, frame)
            return
        ack_id = frame.get("ackId")
        error = self._refusal(peer, frame, ack_id)
        if ack_id is not None:
            peer.used.append(ack_id)
        if error is None:
            self._carry_out(peer, frame)
        if ack_id is None or not peer.is_there:
            return
        assert peer.stream is not None
        if error is None:
            peer.done.add(ack_id)
            peer.stream.say({"type": "ack", "ackId": ack_id, "success": True})
        else:
            peer.stream.say({"type": "ack", "ackId": ack_id, "success": False, "error": error})

    @staticmethod
    def _refusal(peer: Peer, frame: dict[str, Any], ack_id: int | None) -> dict[str, Any] | None:
        if ack_id in peer.done:
            return {"name": "Duplicate", "message": f"Message with ack-id: {ack_id} has been processed"}
        if frame["type"] == "event":
            return {"name": "InternalServerError", "message": "Internal server error"}
        permission = "sendToGroup" if frame["type"] == "sendToGroup" else "joinLeaveGroup"
        return None if peer.may(permission, frame["group"]) else {"name": "Forbidden", "message": ANY}

    def _carry_out(self, peer: Peer, frame: dict[str, Any]) -> None:
        group = frame["group"]
        match frame["type"]:
            case "joinGroup":
                peer.groups.add(group)
            case "leaveGroup":
                peer.groups.discard(group)
            case _:
                kind, data = frame.get("dataType", "json"), frame["data"]
                origin = _from_group(group, peer.user)
                message = _message(origin, kind, data, _plain(kind, data), frame.get("metadata"))
                out = (peer.id,) if frame.get("noEcho") else ()
                self._deliver(self._hearing(group), message, out, frame.get("ttlSeconds", 0))

    def _stream_request(self, peer: Peer, frame: dict[str, Any]) -> None:
        stream = peer.stream
        assert stream is not None
        if "stream" in frame:
            stream_id = frame["stream"]["streamId"]
            if stream_id in peer.streams:
                stream.say(_closed(stream_id, "BadRequest"))
            elif not peer.may("sendToGroup", frame["group"]):
                stream.say(_closed(stream_id, "Forbidden"))
            else:
                peer.streams[stream_id] = _Open(frame["group"], frame["noEcho"])
                peer.ended.pop(stream_id, None)
                peer.ended_before.pop(stream_id, None)
                stream.say(_stream_ack(stream_id, 1))
            return
        stream_id = frame["streamId"]
        known = peer.streams.get(stream_id)
        if known is None:
            stream.say(peer.ended_before.get(stream_id) or _closed(stream_id, "StreamNotFound"))
        elif not peer.may("sendToGroup", known.group):
            self._end_stream(peer, stream_id, {"name": "Forbidden", "message": ANY})
        elif frame["type"] == "streamEnd":
            self._end_stream(peer, stream_id, {"name": "UserError", **frame["error"]} if "error" in frame else None)
        elif "data" in frame:
            self._fragment(peer, stream, known, frame)

    def _fragment(self, peer: Peer, stream: Stream, known: _Open, frame: dict[str, Any]) -> None:
        stream_id, number = frame["streamId"], frame["streamSequenceId"]
        if number > known.expected:
            stream.say(
                {
                    "type": "streamNack",
                    "streamId": stream_id,
                    "expectedSequenceId": known.expected,
                    "name": "InvalidSequenceId",
                    "message": ANY,
                }
            )
            return
        if number == known.expected:
            peer.streams[stream_id] = known._replace(expected=number + 1)
            kind, data = frame["dataType"], frame["data"]
            self._deliver_part(peer, known, kind, data, {"streamId": stream_id, "streamSequenceId": number})
        stream.say(_stream_ack(stream_id, peer.streams[stream_id].expected))

    def _end_stream(self, peer: Peer, stream_id: str, error: dict[str, Any] | None) -> None:
        known = peer.streams.pop(stream_id)
        info = {"streamId": stream_id, "streamSequenceId": known.expected, "endOfStream": True}
        self._deliver_part(peer, known, "text", "", info if error is None else {**info, "error": error})
        name = None if error is None or error["name"] == "UserError" else error["name"]
        told = _closed(stream_id, name)
        if peer.kind in NUMBERED:
            peer.ended[stream_id] = told
        if peer.is_there:
            assert peer.stream is not None
            peer.stream.say(told)

    def _deliver_part(self, peer: Peer, known: _Open, kind: str, data: Any, info: dict[str, Any]) -> None:
        message = _message(_from_group(known.group, peer.user), kind, data, _plain(kind, data))
        message.frame["stream"] = info
        out = (peer.id,) if known.no_echo else ()
        self._deliver(self._hearing(known.group), message, out, 0)

    def _payload(self, peer: Peer, data: str | bytes) -> None:
        """A simple client has no acks: it is closed where others are refused."""
        group = peer.publish_to
        if group is None:
            self._close(peer, 1011, None)
        elif not peer.may("sendToGroup", group):
            self._close(peer, 1008, None)
        else:
            kind, value = ("text", data) if isinstance(data, str) else ("binary", base64.b64encode(data).decode())
            message = _message(_from_group(group, peer.user), kind, value, data)
            self._deliver(self._hearing(group), message, (peer.id,) if peer.no_echo else (), 0)

    def _packet(self, peer: Peer, packet: Packet) -> None:
        group, stream = packet.group, peer.stream
        assert stream is not None
        allowed = peer.may("sendToGroup", group) if packet.what == "publish" else peer.may_subscribe(group)
        known = peer.filters if group in WILDCARDS else peer.groups
        match packet.what:
            case "subscribe" if allowed:
                known.add(group)
                peer.qos[group] = packet.qos
                stream.say(("suback", packet.qos))
                for topic, kept in self.kept.items():
                    if topic == group or (group in WILDCARDS and WILDCARDS[group](topic)):
                        self._deliver_packet(peer, kept.publish(peer, group), 0)
            case "subscribe":
                stream.say(("suback", 0x87 if peer.tells_codes else 0x80))
            case "unsubscribe":
                code = 0x87 if not allowed else 0 if group in known else 0x11
                stream.say(("unsuback", code if peer.tells_codes else None))
                if allowed:
                    known.discard(group)
                    peer.qos.pop(group, None)
            case "publish":
                self._publish(peer, stream, packet, allowed)

    def _publish(self, peer: Peer, stream: Stream, packet: Packet, allowed: bool) -> None:
        if allowed:
            data, text = packet.data, isinstance(packet.data, str) and peer.tells_codes
            body = data.encode() if isinstance(data, str) else data
            plain: str | bytes = body.decode() if text else body
            value = plain if isinstance(plain, str) else base64.b64encode(plain).decode()
            origin = _from_group(packet.group, peer.user)
            message = _message(origin, "text" if text else "binary", value, plain)
            message = message._replace(content_type="text/plain" if text else None, qos=packet.qos)
            if packet.retain and body:
                self.kept[packet.group] = message
            elif packet.retain:
                self.kept.pop(packet.group, None)
            self._deliver(self._hearing(packet.group), message, (), 0)
        if packet.qos:
            stream.say(("puback", 0 if allowed or not peer.tells_codes else 0x87))
        elif not allowed:
            # Nothing but the end of the socket can say it. The session goes on.
            if peer.tells_codes:
                stream.say(("disconnect", 0x87))
            stream.end = 1008
            peer.waits_since = self.now

    def _deliver(self, peers: Iterable[Peer], message: _Message, excluded: Sequence[str], ttl_s: int) -> None:
        for peer in peers:
            if peer.id in excluded or (message.is_end and peer.kind in ("simple", *MQTT)):
                continue
            if peer.kind in MQTT:
                self._deliver_packet(peer, message.publish(peer), ttl_s)
                continue
            frame: Frame = message.plain if peer.kind == "simple" else message.told(peer)
            if peer.kind in NUMBERED:
                peer.last_number += 1
                frame = {"sequenceId": peer.last_number, **message.told(peer)}
                expires_at = self.now + ttl_s if ttl_s else float("inf")
                peer.held.append(_Held(peer.last_number, frame, expires_at))
            if peer.stream is not None:
                peer.stream.data.append(frame)
            if len(peer.held) > self.queue_limit:
                self._expire(peer)
                if len(peer.held) > self.queue_limit:
                    self._overflown.append(peer)

    def _end_overflown(self) -> None:
        """Who has too much is ended once all have got the same; what that leads to comes behind it."""
        while self._overflown:
            peer = self._overflown.pop(0)
            if peer.alive:
                if peer.stream is not None:
                    peer.stream.overflown = True
                self._end(peer, 1008, ANY)

    def _deliver_packet(self, peer: Peer, packet: tuple[Any, ...], ttl_s: int) -> None:
        """To whoever is there all is sent at once, and to who is away later, unless it has QoS 0 or is too much."""
        if peer.is_there:
            assert peer.stream is not None
            peer.stream.data.append(packet)
        if packet[3] == 0:
            return
        peer.held.append(_Held(0, packet, self.now + ttl_s if ttl_s else float("inf"), peer.is_there))
        if not peer.is_there and len(peer.held) > self.queue_limit:
            peer.held = [held for held in peer.held if held.sent or held.expires_at > self.now]
            if len(peer.held) > self.queue_limit:
                self._forget(peer)

    def _expire(self, peer: Peer) -> None:
        peer.held = [held for held in peer.held if held.expires_at > self.now]

    def _recover(self, peer: Peer, honest: bool) -> bool:
        """Everything unacknowledged comes again, with the numbers it had."""
        if not (honest and peer.alive and peer.kind in (*NUMBERED, *MQTT)):
            return False
        self._expire(peer)
        peer.held = [held._replace(sent=True) for held in peer.held]
        peer.ended_before.update(peer.ended)
        peer.ended = {}
        peer.stream = Stream()
        peer.stream.say(peer.connected(again=True))
        peer.stream.data = [held.frame for held in peer.held]
        return True

    def _close(self, peer: Peer, code: int, text: Any) -> None:
        self._end_overflown()
        if peer.alive:
            self._end(peer, code, text)

    def _end(self, peer: Peer, code: int, text: Any) -> None:
        if peer.stream is not None:
            if peer.tells_codes:
                peer.stream.say(("disconnect", 0x98))
            elif peer.kind not in ("simple", "mqtt4"):
                peer.stream.say({"type": "system", "event": "disconnected", "message": text})
            peer.stream.end = code
        self._forget(peer)

    @staticmethod
    def _leave(peer: Peer, group: str) -> None:
        """Who comes back has to say anew how it wants to be told."""
        peer.groups.discard(group)
        peer.qos.pop(group, None)

    def _forget(self, peer: Peer) -> None:
        peer.alive = False
        peer.groups = set()
        peer.filters = set()
        peer.held = []
        for stream_id in tuple(peer.streams):
            self._end_stream(peer, stream_id, {"name": "Cancelled", "message": ANY})

    # REST.

    def _call(self, operation: str, *what: Any) -> int:
        match operation, what:
            case "send", (whom, name, excluded, filter, ttl_s, kind, body):
                picked = _filtered(self._hearing(name) if whom == "group" else self._who(whom, name), filter)
                opaque = kind in ("binary", "protobuf")
                value = base64.b64encode(body).decode() if opaque else body.decode()
                data = json.loads(body) if kind == "json" else value
                origin = _from_group(name, None) if whom == "group" else {"from": "server"}
                plain = body if opaque else body.decode()
                self._deliver(picked, _message(origin, kind, data, plain), excluded, ttl_s)
                return 202
            case "add", (whom, name, group):
                for peer in (peers := self._who(whom, name)):
                    peer.groups.add(group)
                return 200 if peers else 404
            case "remove", (whom, name, group):
                for peer in self._who(whom, name):
                    self._leave(peer, group)
                return 204
            case "remove all", (whom, name):
                for peer in self._who(whom, name):
                    for group in tuple(peer.groups):
                        self._leave(peer, group)
                return 204
            case "add bulk", (groups, filter):
                for peer in _filtered(self._who("hub", ""), filter):
                    peer.groups.update(groups)
                return 200
            case "remove bulk", (groups, filter):
                for peer in _filtered(self._who("hub", ""), filter):
                    for group in groups:
                        self._leave(peer, group)
                return 200
            case "check", (id, permission, group):
                return 200 if any(peer.may(permission, group) for peer in self._who("connection", id)) else 404
            case "grant" | "revoke", (id, permission, group):
                for peer in (peers := self._who("connection", id)):
                    peer.rules[permission, group] = operation == "grant"
                return 204 if operation == "revoke" else 200 if peers else 404
            case "exists", (whom, name):
                return 200 if self._who(whom, name) else 404
            case "close", (whom, name, excluded, reason):
                text = "Application server closed the connection." + (f" Reason: {reason}" if reason else "")
                for peer in self._who(whom, name):
                    if peer.id not in excluded:
                        self._close(peer, 1000, text)
                return 204
        raise AssertionError(operation)

    def _list(self, listing: Listing) -> list[list[dict[str, Any]]]:
        """Pages in the order of ids. There is always one, be it empty."""
        rows = sorted((peer.id, peer.user) for peer in self._who("group", listing.group))[: listing.top]
        found = [{"connectionId": id, "userId": user} for id, user in rows]
        return [found[start : start + listing.page] for start in range(0, len(found), listing.page)] or [[]]


def _plain(kind: str, data: Any) -> str | bytes:
    if kind in ("binary", "protobuf"):
        return base64.b64decode(data)
    return str(data) if kind == "text" else json.dumps(data)


def _stream_ack(stream_id: str, expected: int) -> Frame:
    return {"type": "streamAck", "streamId": stream_id, "expectedSequenceId": expected}


def _closed(stream_id: str, name: str | None) -> Frame:
    error = {} if name is None else {"error": {"name": name, "message": ANY}}
    return {"type": "streamClosed", "streamId": stream_id, **error}


def _from_group(group: str, user: str | None) -> dict[str, Any]:
    origin = {"from": "group", "group": group}
    return origin if user is None else {**origin, "fromUserId": user}


def _filtered(peers: list[Peer], filter: Filter | None) -> list[Peer]:
    return peers if filter is None else [peer for peer in peers if filter.matches(peer)]


def _is_data(frame: Frame) -> bool:
    return frame[0] in ("publish", "text", "binary") if isinstance(frame, tuple) else frame["type"] == "message"


def _is_cancelled(frame: Frame) -> bool:
    """The end of a stream whose publisher is gone."""
    error = {} if isinstance(frame, tuple) else frame.get("stream", {}).get("error", {})
    return error.get("name") == "Cancelled"


def _name(cancelled: dict[str, Any]) -> tuple[Any, ...]:
    stream = cancelled["stream"]
    return cancelled["group"], stream["streamId"], stream["streamSequenceId"], cancelled.get("fromUserId", "")


def _by_name(frames: Sequence[Frame]) -> list[Frame]:
    """Publishers that are ended together are so in an order that nobody promises: as if it were that of names."""
    found: list[Frame] = []
    for cancelled, run in itertools.groupby(frames, _is_cancelled):
        some: list[Any] = list(run)
        if cancelled:
            numbers = [{"sequenceId": frame["sequenceId"]} if "sequenceId" in frame else {} for frame in some]
            some.sort(key=_name)
            some = [{**frame, **number} for frame, number in zip(some, numbers, strict=True)]
        found += some
    return found


def _in_order(frame: Frame) -> bool:
    """
    Does an answer come at a place of its own. One acknowledgement of a stream may stand for several, and a publisher
    learns of the end that it wanted a little later.
    """
    if isinstance(frame, tuple):
        return True
    kind = frame["type"]
    return not (kind == "streamAck" and frame["expectedSequenceId"] > 1) and not (
        kind == "streamClosed" and "error" not in frame
    )


def _acknowledged(frames: Iterable[Frame]) -> dict[str, int]:
    """What is said last of each stream that has not ended."""
    last: dict[str, int] = {}
    for frame in frames:
        if isinstance(frame, tuple):
            continue
        if frame["type"] == "streamAck":
            last[frame["streamId"]] = frame["expectedSequenceId"]
        elif frame["type"] == "streamClosed":
            last.pop(frame["streamId"], None)
    return last


def held_against(stream: Stream, frames: Sequence[Frame], end: int | None) -> None:
    """
    Hold what a socket brought against what it had to bring, and begin again with nothing.

    Answers come in order and never before a message that was accepted before them; they may come after a later one.
    """
    if stream.end is not None:
        # Who is ended together with a publisher may be so before it or after it.
        frames = [frame for frame in frames if not _is_cancelled(frame)]
        stream.data = [frame for frame in stream.data if not _is_cancelled(frame)]
    data = _by_name([frame for frame in frames if _is_data(frame)])
    stream.data = _by_name(stream.data)
    direct = [(frame, sum(map(_is_data, frames[:at]))) for at, frame in enumerate(frames) if not _is_data(frame)]
    assert _acknowledged(f for f, _ in stream.direct).items() <= _acknowledged(f for f, _ in direct).items()
    direct = [row for row in direct if _in_order(row[0])]
    stream.direct = [row for row in stream.direct if _in_order(row[0])]
    answers, expected = [frame for frame, _ in direct], [frame for frame, _ in stream.direct]
    assert end == stream.end, f"closed with {end} instead of {stream.end} after {frames[-3:]}"
    if stream.overflown:
        assert data == stream.data[: len(data)], f"{data} is not the beginning of {stream.data}"
        assert answers[-1] == {"type": "system", "event": "disconnected", "message": ANY}, answers
        return
    assert data == stream.data, f"{data} instead of {stream.data}"
    assert answers == expected, f"{answers} instead of {expected}"
    for (frame, before), (_, least) in zip(direct, stream.direct, strict=True):
        assert before >= min(least, len(stream.data)), f"{frame} came before a message that was accepted before it"
    stream.data, stream.direct = [], []

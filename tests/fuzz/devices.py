"""
MQTT clients of a real server that say what nobody should, several at a time and in each other's name, and what must be
right of all that they are answered.
"""

import socket
from collections.abc import Sequence, Set
from contextlib import ExitStack, suppress
from itertools import zip_longest
from types import TracebackType
from typing import Final, NamedTuple, Self

from hypothesis import strategies as st

from acceptance.mqtt_raw import BINARY, CLOSE, PONG, MqttRaw, Place, mqtt_target, read_packet
from acceptance.servers import Server
from acceptance.wire import JOIN, SEND, JsonClient
from fuzz.inputs import cut, cuts, damaged
from vectors.mqtt_dialogues import DIALOGUES
from vectors.mqtt_packets import binary, text
from vectors.mqtt_wire import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Will,
    acknowledge,
    connect,
    disconnect,
    four,
    publish,
    subscribe,
    two,
    unsubscribe,
    user_property,
)

__all__ = ["MQTT_SETTINGS", "Bystanders", "Device", "meet", "meetings"]

HUB: Final = "devices"

MQTT_SETTINGS: Final = {"mqtt_session_expiry_s": 1, "mqtt_connect_timeout_s": 2, "mqtt_receive_maximum": 4}
"""For servers that soon give up on clients that do not come back."""

_ASKED: Final = b"\x89\x80\0\0\0\0"
"""A ping of the WebSocket: who leaves at once hears nothing of what it takes time to answer."""
_GOODBYE: Final = b"\x88\x82\0\0\0\0\x03\xe8"
_CONNACK_4: Final = 4
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009})
_LONGEST: Final = 2000
"""Bytes of what is taken from the tables: many small things find more than a few large ones."""

_CALM: Final = "topic of who is not concerned"
_TALKED_OF: Final = "t"


class Device(NamedTuple):
    """
    What one client sends.

    Attributes:
        wire: bytes of MQTT; most are a CONNECT and other packets.
        sizes: of the WebSocket messages in which it is sent, over and over.
        broken: what is sent behind it below the WebSocket.
        cut_off: it is gone without a word in the end.
    """

    wire: bytes
    sizes: Sequence[int]
    broken: bytes
    cut_off: bool


def meet(server: Server, devices: Sequence[Device]) -> None:
    """
    Let them all talk, one message each in turn, and look at what they hear.

    Raises:
        TimeoutError: one of them is neither answered nor closed.
    """
    target = mqtt_target(server, HUB)
    with ExitStack() as stack:
        clients = [stack.enter_context(MqttRaw(server, target)) for _ in devices]
        for turn in zip_longest(*(cut(device.wire, device.sizes) for device in devices)):
            for client, message in zip(clients, turn, strict=True):
                if message is not None:
                    client.say(message)
        for client, device in zip(clients, devices, strict=True):
            if device.cut_off:
                client.abort()
                continue
            frames = _frames_up_to({PONG, CLOSE}, client, _ASKED)
            client.say_raw(device.broken + _GOODBYE)
            with suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
            _check(frames + _frames_up_to(set(), client, b""))


def _frames_up_to(opcodes: Set[int], client: MqttRaw, said: bytes) -> list[tuple[int, bytes]]:
    """All that come after this is said, to the first of these kinds or to the end, which the server brings about."""
    frames: list[tuple[int, bytes]] = []
    client.say_raw(said)
    with suppress(EOFError, ConnectionError):
        while not frames or frames[-1][0] not in opcodes:
            frames.append(client.receive_frame())
    return frames


def _check(frames: Sequence[tuple[int, bytes]]) -> None:
    """Packets that a server may send, first a CONNACK and nothing behind a refusal; then at most one close frame."""
    version = 0
    over = False
    for position, (opcode, payload) in enumerate(frames):
        if opcode == PONG:
            continue
        if opcode == CLOSE:
            assert position == len(frames) - 1, "something behind a close frame"
            assert not payload or int.from_bytes(payload[:2], "big") in _CLOSE_CODES
            continue
        assert opcode == BINARY
        assert not over, "something behind the last packet"
        if not version:
            # That of 5.0 has properties, if only their length.
            version = 4 if len(payload) == _CONNACK_4 else 5
            packet = read_packet(payload, version)
            assert packet.kind == "CONNACK"
            over = packet.code != 0
        else:
            packet = read_packet(payload, version)
            assert packet.kind != "CONNACK"
            over = packet.kind == "DISCONNECT"


class Bystanders:
    """Good clients of the same hub, one of each version, and one of another protocol who is in the others' group."""

    def __init__(self, server: Server) -> None:
        self._stack = ExitStack()
        place = Place(server, "", HUB)
        self._clients = [self._stack.enter_context(place.entered(version, f"calm{version}")) for version in (4, 5)]
        for client in self._clients:
            client.say(subscribe(client.version, 1, (_CALM, 1)))
            client.expect("SUBACK 1 01")
        self._other = self._stack.enter_context(JsonClient(server, HUB, roles=(JOIN, SEND)))
        self._other.join(_TALKED_OF)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def notice_nothing(self) -> None:
        """What they say to each other arrives, and nothing else does."""
        for client in self._clients:
            client.say(publish(client.version, _CALM, b"still here?", 1, 2))
            puback = "PUBACK 2 00" if client.version == 5 else "PUBACK 2"
            for one in self._clients:
                heard = one.expect(*[puback] * (one is client), f"PUBLISH {_CALM} 1 still here?")
                [message] = (packet for packet in heard if packet.kind == "PUBLISH")
                one.say(acknowledge(PUBACK, message.packet_id))
        assert all(frame["type"] == "message" for frame in self._other.heard())


# What they say.

Said = tuple[bytes, ...]

_IDS: Final = st.sampled_from([1, 1, 2, 3, 10, 65535, 0])
_NAMES: Final = st.sampled_from(
    [
        _TALKED_OF,
        _TALKED_OF,
        "u",
        "a/b",
        "",
        " ",
        "#",
        "+/t",
        "$SYS/t",
        "$share/g/t",
        "$webpubsub/server/messages",
        "$webpubsub/server/events/e",
        "$webpubsub/server/events/e/failed",
        "t" * 1025,
        "\u00e9\U0001f600",
    ]
)
_PAYLOADS: Final = st.sampled_from([b"", b"x", b"\xff\x00", b"{}", bytes(300)])
_SAID: Final = st.lists(
    st.sampled_from(
        [
            b"\x01\x01",
            b"\x02" + four(1),
            b"\x03" + text("application/json"),
            b"\x08" + text("answers"),
            b"\x09" + binary(b"\x00"),
            b"\x0b\x01",
            b"\x11" + four(1),
            b"\x17\x00",
            b"\x18" + four(1),
            b"\x1f" + text("why"),
            b"\x21" + two(1),
            b"\x22" + two(5),
            b"\x23" + two(1),
            b"\x27" + four(30),
            user_property("n", "v"),
        ]
    ),
    max_size=3,
).map(tuple)
_QOS: Final = st.integers(0, 2)


def _connects(version: int) -> st.SearchStrategy[bytes]:
    """Of few clients, so that they get into each other's way. Most are taken, or nothing else would be looked at."""

    def made(
        client_id: str, clean: bool, keep_alive_s: int, expiry_s: int | None, will: Will | None, said: Said
    ) -> bytes:
        return connect(
            version, client_id, clean=clean, keep_alive_s=keep_alive_s, expiry_s=expiry_s, will=will, said=said
        )

    expiries = st.sampled_from([None, 0, 1, 0xFFFF_FFFF])
    good = st.builds(
        made,
        st.sampled_from("aab"),
        st.booleans(),
        st.sampled_from([1, 60]),
        expiries,
        st.none() | st.builds(Will, st.sampled_from([_TALKED_OF, "u"]), _PAYLOADS, _QOS),
        st.sampled_from([(), (b"\x21" + two(1),), (b"\x27" + four(30),), (b"\x17\x00", b"\x22" + two(5))]),
    )
    doubtful = st.builds(
        made,
        st.sampled_from(["a", "", "c/d"]),
        st.booleans(),
        st.sampled_from([0, 60, 65535]),
        expiries,
        st.none() | st.builds(Will, _NAMES, _PAYLOADS, _QOS, st.booleans(), _SAID),
        _SAID,
    )
    return st.one_of(good, good, good, good, doubtful)


def _packets(version: int) -> st.SearchStrategy[bytes]:
    """Of this version; most are good."""
    none: st.SearchStrategy[Said] = st.just(())
    said = none | none | _SAID if version == 5 else none
    codes = st.none() | st.sampled_from([0x00, 0x10, 0x80, 0x92, 0xFF]) if version == 5 else st.none()
    filters = st.lists(st.tuples(_NAMES, st.sampled_from([0, 1, 2, 2, 5, 0x2E, 3])), max_size=3)

    def publication(topic: str, payload: bytes, qos: int, number: int, dup: bool, retain: bool, more: Said) -> bytes:
        return publish(version, topic, payload, qos, number, dup=dup, retain=retain, said=more)

    ids = st.integers(1, 5)
    good_filters = st.lists(st.tuples(st.sampled_from([_TALKED_OF, "u"]), _QOS), min_size=1, max_size=2)
    good = st.one_of(
        st.builds(publication, st.just(_TALKED_OF), _PAYLOADS, _QOS, ids, st.just(False), st.just(False), none),
        st.builds(lambda number, wanted: subscribe(version, number, *wanted), ids, good_filters),
        st.builds(acknowledge, st.sampled_from([PUBACK, PUBREC, PUBREL, PUBCOMP]), ids),
        st.just(PINGREQ),
    )
    doubtful = st.one_of(
        st.builds(publication, _NAMES, _PAYLOADS, _QOS, _IDS, st.booleans(), st.booleans(), said),
        st.builds(
            lambda number, wanted, more: subscribe(version, number, *wanted, said=more),
            _IDS,
            filters,
            none if version == 4 else none | st.just((b"\x0b\x05",)),
        ),
        st.builds(
            lambda number, names: unsubscribe(version, number, *names), _IDS, st.lists(_NAMES, min_size=1, max_size=3)
        ),
        st.builds(acknowledge, st.sampled_from([PUBACK, PUBREC, PUBREL, PUBCOMP]), _IDS, codes),
        st.builds(disconnect, codes),
        _KNOWN,
    )
    return st.one_of(good, good, good, doubtful)


_KNOWN: Final = st.sampled_from(
    [
        packet
        for dialogues in DIALOGUES.values()
        for dialogue in dialogues
        for packet in dialogue.say
        if len(packet) < _LONGEST
    ]
)
"""Good packets and bad ones, of both versions."""

_STREAMS: Final = st.sampled_from([4, 5]).flatmap(
    lambda version: st.builds(
        lambda first, rest: first + b"".join(rest), _connects(version), st.lists(_packets(version), max_size=10)
    )
)
_BROKEN: Final = st.one_of(
    st.just(b""),
    st.just(b""),
    st.sampled_from(
        [b"\x82", b"\x82\x02\xc0\x00", b"\x81\x80\0\0\0\0", b"\x89\x80\0\0\0\0", b"\x8a\x00", b"\x02\x82\0\0\0\0\xc0"]
    ),
    st.binary(max_size=40),
)
_DEVICES: Final = st.builds(
    Device,
    st.one_of(_STREAMS, damaged(_STREAMS, 1), damaged(_STREAMS)),
    st.one_of(cuts, st.just([1 << 16])),
    _BROKEN,
    st.booleans(),
)

meetings: Final = st.lists(_DEVICES, min_size=1, max_size=3)
"""One to three clients of few names: good conversations of either version, damaged ones, and broken frames behind."""

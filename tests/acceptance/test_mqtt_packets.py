"""
The tables of what is answered to each packet of MQTT, played to real servers, one for each mode; and the same packets
in frames of every kind.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pytest

from acceptance.mqtt_raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MODES,
    PING,
    PONG,
    TEXT,
    VERSIONS,
    MqttRaw,
    Place,
    in_order,
    mqtt_server,
)
from acceptance.wire import RawClient
from vectors.mqtt_dialogues import DIALOGUES, LIMIT_BYTES, RECEIVE_MAXIMUM, Dialogue, Outcome
from vectors.mqtt_packets import length
from vectors.mqtt_wire import PINGREQ, connect, publish, subscribe, unsubscribe

HUB: Final = "packets"
NORMAL: Final = 1000

ROW_DEADLINE_S: Final = 12.0
"""For a packet that does not come; there are too many rows to wait longer for each."""

ENOUGH: Final = 20
"""Deviations in one table, after which the rest is not looked at."""


@pytest.fixture(scope="module", params=MODES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """For all tests here, which keep apart by client ids and topics."""
    folder = tmp_path_factory.mktemp(request.param)
    with mqtt_server(folder, request.param, mqtt_receive_maximum=RECEIVE_MAXIMUM) as server:
        yield Place(server, request.param, HUB)


def outcome_of(place: Place, dialogue: Dialogue, expected: Outcome) -> Outcome:
    """All that is heard, and how it ends. Where it is to go on, it does to the end of what is said here."""
    with place.client(dialogue.version, place.denied if dialogue.denied else "") as client:
        client.socket.settimeout(ROW_DEADLINE_S)
        if not dialogue.bare:
            client.enter()
        client.say(*dialogue.say)
        if expected.close is not None:
            heard, closed = client.to_end()
            return Outcome(tuple(map(str, heard)), closed.code)
        client.say(PINGREQ)
        heard = []
        try:
            # Nothing more may come behind these. Who leaves at once would hear only what is ready.
            while len(heard) <= len(expected.hear):
                heard.append(client.hear())
        except (AssertionError, OSError, EOFError):
            return Outcome((*map(str, heard), "and no more"), None)
        client.say(b"\xe0\x00")
        more, closed = client.to_end()
        hear = [str(packet) for packet in (*heard, *more)]
        if "PINGRESP" in hear:
            hear.remove("PINGRESP")  # no matter which; it stands for itself in `in_order`
        return Outcome(tuple(hear), None if closed.code == NORMAL else closed.code)


@pytest.mark.parametrize("name", DIALOGUES)
def test_packets_are_answered_as_the_table_says(place: Place, name: str) -> None:
    """For each row these packets, no others, and the end of the connection with this code or not at all."""
    deviations: dict[str, tuple[Outcome, Outcome]] = {}
    for dialogue in DIALOGUES[name]:
        expected = dialogue.azure if dialogue.azure is not None and place.mode == "azure" else dialogue.outcome
        outcome = outcome_of(place, dialogue, expected)
        if (in_order(outcome.hear), outcome.close) != (in_order(expected.hear), expected.close):
            deviations[str(dialogue)] = (outcome, expected)
        assert len(deviations) < ENOUGH, deviations
    assert not deviations


@pytest.mark.parametrize("name", DIALOGUES)
def test_rows_of_the_table_have_names_of_their_own(name: str) -> None:
    names = list(map(str, DIALOGUES[name]))

    assert len(set(names)) == len(names)


# Frames.


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _each(client: MqttRaw, packets: Sequence[bytes]) -> None:
    client.say(*packets)


def _together(client: MqttRaw, packets: Sequence[bytes]) -> None:
    client.say(b"".join(packets))


def _bytewise(client: MqttRaw, packets: Sequence[bytes]) -> None:
    client.say(*_pieces(b"".join(packets), 1))


def _in_sevens(client: MqttRaw, packets: Sequence[bytes]) -> None:
    """Ends of frames are nowhere near ends of packets."""
    client.say(*_pieces(b"".join(packets), 7))


def _fragmented(client: MqttRaw, packets: Sequence[bytes]) -> None:
    """One message in continuation frames of three bytes."""
    pieces = _pieces(b"".join(packets), 3)
    for number, piece in enumerate(pieces):
        last = 0x80 if number == len(pieces) - 1 else 0
        client.send_frame(CONTINUATION if number else BINARY, piece, first_byte=last)


def _with_nothing_between(client: MqttRaw, packets: Sequence[bytes]) -> None:
    """Empty messages before, after and within packets, whole ones and fragmented ones."""
    for piece in _pieces(b"".join(packets), 5):
        client.send_frame(BINARY)
        client.send_frame(BINARY, first_byte=0)
        client.send_frame(CONTINUATION, first_byte=0)
        client.send_frame(CONTINUATION, piece)
    client.send_frame(BINARY)


def _with_pongs_between(client: MqttRaw, packets: Sequence[bytes]) -> None:
    """Of a client that answers what nobody asked, with a mask and, as a common library does, without one."""
    for piece in _pieces(b"".join(packets), 5):
        client.say_raw(b"\x8a\x03abc")
        client.send_frame(BINARY, piece[:2], first_byte=0)
        client.say_raw(b"\x8a\x00")
        client.send_frame(PONG, b"abc")
        client.send_frame(CONTINUATION, piece[2:])


FRAMINGS: Final = (
    _each,
    _together,
    _bytewise,
    _in_sevens,
    _fragmented,
    _with_nothing_between,
    _with_pongs_between,
)
Framing = Callable[[MqttRaw, Sequence[bytes]], None]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.__name__.lstrip("_"))
def test_packets_are_read_however_frames_cut_them(place: Place, framing: Framing, version: int) -> None:
    """A packet may be in many frames, and many may be in one; each answer is in a frame of its own all the same."""
    code = " 00" if version == 5 else ""
    with place.client(version) as client:
        framing(
            client,
            (
                connect(version, "framed"),
                subscribe(version, 1, ("framed", 0), ("a+", 1)),
                publish(version, "framed", b"one"),
                PINGREQ,
                publish(version, "framed", bytes(300), 1, 2),
                publish(version, "framed", b"", 2, 3),
                unsubscribe(version, 4, "framed"),
                b"\xe0\x00",
            ),
        )
        client.ends_with(
            1000,
            "CONNACK 0 00",
            f"SUBACK 1 00 {'8f' if version == 5 else '80'}",
            "PUBLISH framed 0 one",
            "PINGRESP",
            f"PUBLISH framed 0 {chr(0) * 300}",
            f"PUBACK 2{code}",
            f"PUBREC 3{code}",
            "PUBLISH framed 0 ",
            f"UNSUBACK 4{code}",
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_large_packet_is_read_from_many_frames(place: Place, version: int) -> None:
    payload = bytes(range(256)) * 2000
    with place.entered(version) as client:
        client.say(subscribe(version, 1, ("large", 0)))
        client.say(*_pieces(publish(version, "large", payload, 1, 2), 10_007))
        code = " 00" if version == 5 else ""
        client.expect("SUBACK 1 00", f"PUBLISH large 0 {payload.decode('latin-1')}", f"PUBACK 2{code}")
        client.leave()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("entered", [False, True], ids=["before a connect", "after it"])
def test_text_frame_ends_the_connection(place: Place, version: int, entered: bool) -> None:
    """Binary frames only, even where the bytes are a packet."""
    with place.client(version) as client:
        if entered:
            client.enter()
        client.send_frame(TEXT, connect(version))
        heard, closed = client.to_end()
        assert closed.code == 1003
        assert list(map(str, heard)) == ["DISCONNECT 82"] * (entered and version == 5)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("entered", [False, True], ids=["before a connect", "after it"])
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\x02\xc0\x00", 1002),  # not masked
        (b"\xc2\x82\0\0\0\0\xc0\x00", 1002),  # a reserved bit
        (b"\x83\x82\0\0\0\0\xc0\x00", 1002),  # an opcode of nobody
        (b"\x80\x82\0\0\0\0\xc0\x00", 1002),  # the continuation of nothing
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in pieces
        (b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126), 1002),  # a ping too long
        (b"\x82\xff" + (8 * LIMIT_BYTES + 1).to_bytes(8, "big") + bytes(4), 1009),
        (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + bytes(4), 1002),
    ],
    ids=["unmasked", "reserved", "opcode", "continuation", "ping in pieces", "long ping", "too large", "absurd"],
)
def test_frame_that_is_none_ends_the_connection(
    place: Place, version: int, entered: bool, frame: bytes, code: int
) -> None:
    with place.client(version) as client:
        if entered:
            client.enter()
        client.say_raw(frame)
        heard, closed = client.to_end()
        told = entered and version == 5
        assert list(map(str, heard)) == [f"DISCONNECT {95 if code == 1009 else 82}"] * told
        assert closed.code == (NORMAL if told and code == 1009 else code)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pieces", ["one frame", "frames"])
def test_packet_that_is_too_large_is_refused_while_it_is_sent(place: Place, version: int, pieces: str) -> None:
    """By all of its bytes, as libraries send it: the answer arrives although nobody reads them."""
    packet = publish(version, "large", bytes(3 * LIMIT_BYTES), 1, 1)
    with place.entered(version) as client:
        client.say(*([packet] if pieces == "one frame" else _pieces(packet, LIMIT_BYTES // 2)))
        client.ends_with(*((NORMAL, "DISCONNECT 95") if version == 5 else (1009,)))


@pytest.mark.parametrize("version", VERSIONS)
def test_ping_of_the_websocket_is_answered(place: Place, version: int) -> None:
    """Also before the CONNECT, and also without a mask."""
    with place.client(version) as client:
        client.send_frame(PING, b"early")
        assert client.receive_frame() == (PONG, b"early")
        client.enter()
        client.send_frame(PING, b"late")
        assert client.receive_frame() == (PONG, b"late")
        client.say_raw(b"\x89\x02no")
        assert client.receive_frame() == (PONG, b"no")
        client.leave()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("entered", [False, True], ids=["before a connect", "after it"])
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x88\x80\0\0\0\0", b""),
        (b"\x88\x82\0\0\0\0\x03\xe8", b"\x03\xe8"),
        (b"\x88\x00", b""),
        (b"\x88\x02\x03\xe8", b"\x03\xe8"),
    ],
    ids=["without a code", "with a code", "unmasked", "unmasked with a code"],
)
def test_close_frame_is_answered(place: Place, version: int, entered: bool, frame: bytes, code: bytes) -> None:
    """As a common library does it, too: without a mask."""
    with place.client(version) as client:
        if entered:
            client.enter()
        client.say_raw(frame)
        assert client.receive_frame() == (CLOSE, code)
        with pytest.raises((EOFError, ConnectionError)):
            client.receive_frame()


# What the CONNACK tells.


def test_connack_of_5_tells_what_is_not_offered(place: Place) -> None:
    """And nothing that is so anyway."""
    with place.client(5) as client:
        told = client.enter("told").properties
        assert told == {
            0x21: [RECEIVE_MAXIMUM],
            **({0x22: [16]} if place.mode == "lenient" else {}),
            **({0x25: [0]} if place.mode == "azure" else {}),
            0x27: [LIMIT_BYTES],
            **({} if place.mode == "lenient" else {0x28: [0], 0x2A: [0]}),
        }
        client.leave()


def test_connack_of_5_tells_what_is_given_instead(place: Place) -> None:
    """An identifier for none, another keep alive for none or a long one, a shorter life for the session."""
    for seconds in (0, 181):
        with place.client(5) as client:
            told = client.enter(keep_alive_s=seconds, expiry_s=604_801).properties
            assert told[0x13] == [180]
            assert told[0x11] == [30 if place.mode == "azure" else 604_800]
            [assigned] = told[0x12]
            assert assigned
            assert set(assigned) <= set("0123456789abcdef")
            client.say(b"\xe0\x02\x00\x00")
            client.ends_with(1000)


def test_refusal_of_5_says_what_to_do_about_it(place: Place) -> None:
    with place.client(5) as client:
        client.say(connect(5, "a/b"))
        heard, _ = client.to_end()
        [reason] = heard[0].properties[0x1F]
        assert "identifier" in reason


def test_packets_larger_than_the_client_takes_are_cut_short(place: Place) -> None:
    """Without the reason string if that is too much [3.2.2.3.9]."""
    with place.client(5) as client:
        client.say(connect(5, "a/b", said=(b"\x27\x00\x00\x00\x14",)))
        heard, _ = client.to_end()
        assert [(str(packet), packet.properties) for packet in heard] == [("CONNACK 0 85", {})]


def test_client_that_wants_no_reasons_gets_them_only_where_they_may_be(place: Place) -> None:
    """With "request problem information" 0 not in a PUBACK or SUBACK [3.1.2.11.7]."""
    for wanted in (0, 1):
        with place.entered(5, said=(bytes((0x17, wanted)),)) as client:
            client.say(publish(5, "$SYS/x", b"", 1, 1), subscribe(5, 2, ("#a", 0)))
            heard = client.expect("PUBACK 1 90", "SUBACK 2 8f")
            assert [0x1F in packet.properties for packet in heard] == [bool(wanted)] * 2
            client.leave()


# The upgrade.


@pytest.mark.parametrize(
    ("protocols", "status"),
    [
        (("mqtt",), 101),
        (("other", "mqtt"), 101),
        (("mqtt", "mqttv3.1"), 101),
        (("mqttv3.1",), 400),
        (("MQTT",), 400),
        ((), 400),
    ],
)
def test_upgrade_wants_the_subprotocol(place: Place, protocols: Sequence[str], status: int) -> None:
    with RawClient(place.server, place.allowed, protocols=protocols) as client:
        assert client.status == status
        if status == 101:
            assert client.headers["sec-websocket-protocol"] == "mqtt"
            # paho-mqtt takes any other line with this word for a refusal.
            assert [name for name, value in client.headers.items() if "connection" in f"{name}{value}".lower()] == [
                "connection"
            ]


@pytest.mark.parametrize("version", VERSIONS)
def test_client_that_stops_in_the_middle_of_a_packet_is_let_go(place: Place, version: int) -> None:
    """Whatever was begun: the socket ends, and nothing is said to it."""
    for entered in (False, True):
        with place.client(version) as client:
            if entered:
                client.enter()
            client.say(b"\x30" + length(1000) + b"\x00\x01t")
            client.close_frame(1000)
            client.ends_with(1000)

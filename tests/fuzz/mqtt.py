"""What MQTT clients send once their WebSocket is open."""

from typing import Final

from hypothesis import strategies as st

from fuzz.inputs import cut, cuts, damaged
from fuzz.target import Target, size_of
from hubwire.protocols.mqtt.packets import Packet, decode, encode
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.reasons import MqttViolation
from vectors.mqtt_generated import PACKETS
from vectors.mqtt_packets import FAULTS, VECTORS

__all__ = ["TARGETS"]

_LIMIT: Final = 1000
"""Bytes of a packet here: low, so that limits are met."""


def _check_packets(stream: bytes, sizes: list[int]) -> None:
    whole = PacketReader(_LIMIT)
    packets = whole.feed(stream)
    reader = PacketReader(_LIMIT)
    pieces: list[tuple[int, bytes]] = []
    for piece in cut(stream, sizes):
        pieces += reader.feed(piece)
        if len(pieces) % 8 == 0:
            assert size_of(reader) <= 2 * _LIMIT + 2 * len(piece) + 2000
    assert pieces == packets
    assert (reader.fault is None) == (whole.fault is None)
    if whole.fault is not None and reader.fault is not None:
        assert reader.fault.code == whole.fault.code
        assert whole.fault.code in (0x81, 0x95)
        assert whole.feed(b"\xc0\x00") == []
    for first, body in packets:
        assert len(body) <= _LIMIT - 2
        for version in (4, 5):
            _check_packet(first, body, version)


def _check_packet(first: int, body: bytes, version: int) -> None:
    """A packet, which means the same when it is written again and read by whoever gets it; or a violation."""
    try:
        packet = decode(first, body, version)
    except MqttViolation as violation:
        assert violation.code in (0x81, 0x82, 0x84, 0x90, 0x94)
        assert violation.__context__ is None
        return
    written = encode(packet, version)
    reader = PacketReader(_LIMIT)
    [(first_again, body_again)] = reader.feed(written)
    assert first_again == first
    assert len(body_again) <= len(body)
    assert decode(first_again, body_again, version) == packet


def _encoded(version_and_packet: tuple[int, Packet]) -> bytes:
    version, packet = version_and_packet
    return encode(packet, version)


_wires: Final = [vector.wire for vector in VECTORS] + [fault.wire for fault in FAULTS]
_known: Final = st.sampled_from([wire for wire in _wires if len(wire) <= _LIMIT])
_streams: Final = st.lists(st.one_of(PACKETS.map(_encoded), _known), min_size=1, max_size=4).map(b"".join)

TARGETS: Final[dict[str, Target]] = {
    "mqtt-packets": Target((damaged(_streams), cuts), _check_packets),
}

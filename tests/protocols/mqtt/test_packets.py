"""Packets of both versions, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.protocols.mqtt.packets import (
    CODES,
    DISCONNECT_FROM_CLIENT,
    FROM_CLIENT,
    NO_PROPERTIES,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Properties,
    Puback,
    Publish,
    Pubrec,
    Suback,
    Subscribe,
    Unsuback,
    decode,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from vectors.mqtt_generated import PACKETS
from vectors.mqtt_packets import FAULTS, ONLY_READ, VECTORS, Fault, Vector, properties, text, whole


def cut(wire: bytes) -> tuple[int, bytes]:
    """The one packet that these bytes are."""
    reader = PacketReader(1 << 28)
    packets = reader.feed(wire)

    assert reader.fault is None
    [packet] = packets
    return packet


def read(wire: bytes, version: int) -> Packet:
    return decode(*cut(wire), version)


def made_of(first: int, body: bytes, version: int) -> Packet | MqttViolation:
    """Anything else that is raised comes out."""
    try:
        return decode(first, body, version)
    except MqttViolation as violation:
        return violation


def refused(wire: bytes, version: int) -> MqttViolation:
    with pytest.raises(MqttViolation) as raised:
        read(wire, version)
    return raised.value


# The tables


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_packet_is_read_and_written_as_the_standard_says(vector: Vector) -> None:
    assert read(vector.wire, vector.version) == vector.packet
    assert encode(vector.packet, vector.version) == vector.wire


@pytest.mark.parametrize("vector", ONLY_READ, ids=str)
def test_longer_form_means_the_same(vector: Vector) -> None:
    """It is read, and written in the short form."""
    assert read(vector.wire, vector.version) == vector.packet
    assert encode(vector.packet, vector.version) != vector.wire
    assert read(encode(vector.packet, vector.version), vector.version) == vector.packet


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_packet_against_the_standard_is_refused_with_its_code(fault: Fault) -> None:
    violation = refused(fault.wire, fault.version)

    assert violation.code == fault.code
    assert violation.close_code == 1002
    assert violation.__context__ is None  # which would hold what the peer sent


def test_tables_tell_their_rows_apart() -> None:
    """A row that repeats another's name would hide it in a report."""
    names = [str(row) for table in (VECTORS, ONLY_READ, FAULTS) for row in table]

    assert len(set(names)) == len(names)


def test_tables_have_every_type_of_each_version() -> None:
    for version, types in ((4, set(range(1, 15))), (5, set(range(1, 16)))):
        assert {vector.wire[0] >> 4 for vector in VECTORS if vector.version == version} == types


def test_reasons_are_fixed_texts() -> None:
    """They are shown to the peer and logged: what it sent does not get into them."""
    reasons = {refused(fault.wire, fault.version).reason for fault in FAULTS}
    again = {refused(fault.wire[:2] + fault.wire[2:].replace(b"t", b"q"), fault.version).reason for fault in FAULTS}

    assert again <= reasons
    assert all(reason.isascii() and 3 <= len(reason) <= 80 for reason in reasons)


# Versions


def test_connect_says_its_version_itself() -> None:
    """Whatever the caller believes."""
    for vector in VECTORS:
        if isinstance(vector.packet, Connect):
            for version in (4, 5):
                assert read(vector.wire, version) == vector.packet
                assert encode(vector.packet, version) == vector.wire


@pytest.mark.parametrize(
    ("packet", "same"),
    [
        (Publish("a", b"x", properties=Properties(content_type="text/plain")), Publish("a", b"x")),
        (Connack(False, 5, Properties(reason_string="no")), Connack(False, 5)),
        (Puback(7, 0x87, Properties(reason_string="no")), Puback(7)),
        (Pubrec(7, 0x10), Pubrec(7)),
        (
            Subscribe(7, (Filter("a", 1, True, True, 2),), Properties(subscription_ids=(1,))),
            Subscribe(7, (Filter("a", 1),)),
        ),
        (Suback(7, (1,), Properties(reason_string="no")), Suback(7, (1,))),
        (Unsuback(7, (0x11,)), Unsuback(7)),
        (Disconnect(0x8B, Properties(reason_string="no")), Disconnect()),
    ],
)
def test_older_version_is_written_without_what_it_does_not_know(packet: Packet, same: Packet) -> None:
    """So a session says the same to clients of both."""
    assert encode(packet, 4) == encode(same, 4)
    assert read(encode(packet, 4), 4) == same


def test_types_of_a_client_are_those_that_the_standard_lets_it_send() -> None:
    """Source: OASIS MQTT 3.1.1 and 5.0, 2.1.2 and table 2-1."""
    of_both = {1, 3, 4, 5, 6, 7, 8, 10, 12, 14}

    assert {4: of_both, 5: of_both | {15}} == FROM_CLIENT


# Codes


@pytest.mark.parametrize(
    ("packet_type", "codes"),
    [
        (2, "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"),
        (4, "00 10 80 83 87 90 91 97 99"),
        (5, "00 10 80 83 87 90 91 97 99"),
        (6, "00 92"),
        (7, "00 92"),
        (9, "00 01 02 80 83 87 8f 91 97 9e a1 a2"),
        (11, "00 11 80 83 87 8f 91"),
        (14, "00 04 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2"),
        (15, "00 18 19"),
    ],
)
def test_packet_has_the_codes_of_the_standard_and_no_others(packet_type: int, codes: str) -> None:
    """All 256 are tried. Source: OASIS MQTT 5.0, table 2-6."""
    legal = set(bytes.fromhex(codes))
    method = properties(b"\x15" + text("m")) if packet_type == 15 else b"\x00"

    assert CODES[5][packet_type] == legal
    for code in range(256):
        single = bytes([code])
        body = {2: b"\x00" + single + b"\x00", 9: b"\x00\x01\x00" + single, 11: b"\x00\x01\x00" + single}.get(
            packet_type, (single if packet_type >= 14 else b"\x00\x01" + single) + method
        )
        wire = whole(packet_type << 4 | (2 if packet_type == 6 else 0), body)
        if code in legal:
            read(wire, 5)
        else:
            assert refused(wire, 5).code == Reason.PROTOCOL_ERROR


def test_codes_of_a_disconnect_of_a_client_are_those_of_the_standard() -> None:
    """Source: OASIS MQTT 5.0, table 3-10."""
    assert set(bytes.fromhex("00 04 80 81 82 83 90 93 94 95 96 97 98 99")) == DISCONNECT_FROM_CLIENT


# Details


def test_packet_without_properties_shares_the_empty_ones() -> None:
    """Which are told apart without a look at their fields, and cost no memory."""
    for vector in VECTORS:
        found = getattr(read(vector.wire, vector.version), "properties", NO_PROPERTIES)
        assert (found is NO_PROPERTIES) == (found == NO_PROPERTIES)


def test_empty_properties_of_another_object_are_written_as_none() -> None:
    assert encode(Puback(7, 0, Properties()), 5) == b"\x40\x02\x00\x07"
    assert encode(Disconnect(0, Properties()), 5) == b"\xe0\x00"
    assert encode(Auth(0, Properties()), 5) == b"\xf0\x00"


def test_password_is_not_shown() -> None:
    connect = Connect(5, "c", True, 0, None, "u", b"secret")

    assert "secret" not in repr(connect)


@pytest.mark.parametrize("size", [0, 100, 122, 123, 124, 125, 16_376, 16_377, 16_378, 16_379, 2_097_143, 2_097_147])
@pytest.mark.parametrize("version", [4, 5])
def test_publish_around_the_borders_of_the_remaining_length(size: int, version: int) -> None:
    """Both the length and the payload come through."""
    publish = Publish("t", bytes(size), 1, packet_id=1)

    assert read(encode(publish, version), version) == publish


@pytest.mark.parametrize(
    ("packet", "version"),
    [
        (Publish("t", b"", 1), 4),
        (Connect(4, "c", True, 0, password=b"p"), 4),
        (Auth(), 4),
    ],
)
def test_packet_that_nobody_could_read_is_not_written(packet: Packet, version: int) -> None:
    """It is a mistake of ours."""
    with pytest.raises(AssertionError):
        encode(packet, version)


# All of them


@given(PACKETS)
def test_whatever_is_written_is_read(case: tuple[int, Packet]) -> None:
    version, packet = case

    assert read(encode(packet, version), version) == packet


@given(PACKETS)
def test_body_that_was_cut_off_is_a_violation_or_another_packet(case: tuple[int, Packet]) -> None:
    """Nothing else is raised after any of its bytes."""
    version, packet = case
    first, body = cut(encode(packet, version))
    for size in range(min(len(body), 300)):
        assert made_of(first, body[:size], version) != packet


@given(PACKETS, st.binary(min_size=1, max_size=4))
def test_bytes_that_are_left_over_are_refused_or_mean_something(case: tuple[int, Packet], more: bytes) -> None:
    """They are never just dropped."""
    version, packet = case
    first, body = cut(encode(packet, version))
    if (version, len(body)) == (5, 2) and first >> 4 in (4, 5, 6, 7) and more in (b"\x00", b"\x00\x00"):
        return  # a code that says nothing, and no properties
    if (version, len(body)) == (5, 3) and first >> 4 in (4, 5, 6, 7) and more == b"\x00":
        return
    if version == 5 and first >> 4 == 14 and len(body) <= 1 and not more.strip(b"\x00") and len(body + more) <= 2:
        return
    assert made_of(first, body + more, version) != packet


@given(st.integers(0, 255), st.binary(max_size=60), st.sampled_from([4, 5]))
def test_any_bytes_are_a_packet_or_a_violation(first: int, body: bytes, version: int) -> None:
    """And what is a packet means the same when it is written again."""
    packet = made_of(first, body, version)
    if isinstance(packet, MqttViolation):
        assert packet.code in (0x81, 0x82, 0x84, 0x90, 0x94)
        assert packet.__context__ is None
    else:
        assert read(encode(packet, version), version) == packet

"""The table of properties, row by row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.protocols.mqtt.fields import FieldReader
from hubwire.protocols.mqtt.properties import (
    NO_PROPERTIES,
    TABLE,
    Properties,
    Property,
    properties_bytes,
    read_properties,
)
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from vectors.mqtt_generated import VALUES
from vectors.mqtt_packets import length, properties, text

PACKETS = {*range(12), 14, 15}
"""Types of packets that have properties, and 0 for a will."""

ROWS = pytest.mark.parametrize("row", TABLE, ids=[row.field for row in TABLE])

# The same table by the standard's own columns: type of the data, and the packets by the letters of their names.
STANDARD = {
    0x01: ("byte", "PUBLISH WILL"),
    0x02: ("four", "PUBLISH WILL"),
    0x03: ("text", "PUBLISH WILL"),
    0x08: ("text", "PUBLISH WILL"),
    0x09: ("binary", "PUBLISH WILL"),
    0x0B: ("variable", "PUBLISH SUBSCRIBE"),
    0x11: ("four", "CONNECT CONNACK DISCONNECT"),
    0x12: ("text", "CONNACK"),
    0x13: ("two", "CONNACK"),
    0x15: ("text", "CONNECT CONNACK AUTH"),
    0x16: ("binary", "CONNECT CONNACK AUTH"),
    0x17: ("byte", "CONNECT"),
    0x18: ("four", "WILL"),
    0x19: ("byte", "CONNECT"),
    0x1A: ("text", "CONNACK"),
    0x1C: ("text", "CONNACK DISCONNECT"),
    0x1F: ("text", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    0x21: ("two", "CONNECT CONNACK"),
    0x22: ("two", "CONNECT CONNACK"),
    0x23: ("two", "PUBLISH"),
    0x24: ("byte", "CONNACK"),
    0x25: ("byte", "CONNACK"),
    0x26: (
        "pair",
        "CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT "
        "AUTH",
    ),
    0x27: ("four", "CONNECT CONNACK"),
    0x28: ("byte", "CONNACK"),
    0x29: ("byte", "CONNACK"),
    0x2A: ("byte", "CONNACK"),
}
"""Source: OASIS MQTT 5.0, table 2-4."""

NAMES = ["WILL", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"]
NAMES += ["SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"]

SAMPLES = {
    "byte": (b"\x01", 1),
    "two": (b"\x01\x02", 258),
    "four": (b"\x01\x02\x03\x04", 0x01020304),
    "variable": (b"\x80\x01", 128),
    "text": (text("é"), "é"),
    "binary": (b"\x00\x01\xff", b"\xff"),
    "pair": (text("n") + text("v"), ("n", "v")),
}
"""Of each type of data: as bytes, and as a value."""


def sample(row: Property) -> tuple[bytes, Any]:
    """A property with its identifier, and the value of its field."""
    data, value = SAMPLES[STANDARD[row.identifier][0]]
    value = (value,) if row.field in ("user_properties", "subscription_ids") else value
    return bytes([row.identifier]) + data, value


def read(data: bytes, packet: int) -> Properties:
    reader = FieldReader(data)
    found = read_properties(reader, packet)
    reader.finish()
    return found


def refused(data: bytes, packet: int) -> int:
    with pytest.raises(MqttViolation) as raised:
        read(data, packet)
    return raised.value.code


def test_table_has_every_field_and_every_identifier_once() -> None:
    assert [row.identifier for row in TABLE] == sorted(STANDARD)
    assert sorted(row.field for row in TABLE) == sorted(Properties.__struct_fields__)


@ROWS
def test_property_is_read_and_written_where_the_standard_has_it(row: Property) -> None:
    data, value = sample(row)
    before = b"\x15\x00\x00" if row.field == "authentication_data" else b""
    values = {row.field: value}
    if before:
        values["authentication_method"] = ""
    expected = Properties(**values)

    for name in STANDARD[row.identifier][1].split():
        packet = NAMES.index(name)
        assert read(properties(before, data), packet) == expected
        assert properties_bytes(expected, packet) == properties(before, data)


@ROWS
def test_property_is_no_part_of_every_other_packet(row: Property) -> None:
    """
    It is not written there either. OASIS MQTT 5.0, 2.2.2.2 calls such a packet malformed; brokers call it a protocol
    error, since it can be read.
    """
    data, value = sample(row)

    for packet in PACKETS - {NAMES.index(name) for name in STANDARD[row.identifier][1].split()}:
        assert refused(properties(data), packet) == Reason.PROTOCOL_ERROR
        assert properties_bytes(Properties(**{row.field: value}), packet) == b"\x00"


@ROWS
def test_property_may_not_come_twice_unless_it_is_a_list(row: Property) -> None:
    """User properties anywhere, and the subscription identifiers of a message."""
    data, value = sample(row)

    for packet in row.packets:
        if row.field == "user_properties" or (row.field == "subscription_ids" and packet == 3):
            assert getattr(read(properties(data, data), packet), row.field) == value * 2
        else:
            assert refused(properties(data, data), packet) == Reason.PROTOCOL_ERROR


@ROWS
def test_property_is_malformed_where_it_is_cut_off(row: Property) -> None:
    """In packets that may not have it, too: nobody can say what it would have been."""
    data, _ = sample(row)

    for packet in PACKETS:
        for size in range(1, len(data)):
            assert refused(properties(data[:size]), packet) == Reason.MALFORMED_PACKET


@pytest.mark.parametrize(
    ("data", "packet", "code"),
    [
        (b"\x01\x02", "PUBLISH", 0x82),
        (b"\x01\x02", "WILL", 0x82),
        (b"\x0b\x00", "PUBLISH", 0x82),
        (b"\x0b\x00", "SUBSCRIBE", 0x82),
        (b"\x17\x02", "CONNECT", 0x82),
        (b"\x19\x02", "CONNECT", 0x82),
        (b"\x21\x00\x00", "CONNECT", 0x82),
        (b"\x21\x00\x00", "CONNACK", 0x82),
        (b"\x23\x00\x00", "PUBLISH", 0x94),
        (b"\x24\x02", "CONNACK", 0x82),
        (b"\x25\x02", "CONNACK", 0x82),
        (b"\x27\x00\x00\x00\x00", "CONNECT", 0x82),
        (b"\x27\x00\x00\x00\x00", "CONNACK", 0x82),
        (b"\x28\xff", "CONNACK", 0x82),
        (b"\x29\x02", "CONNACK", 0x82),
        (b"\x2a\x02", "CONNACK", 0x82),
        (b"\x16\x00\x00", "CONNECT", 0x82),
        (b"\x16\x00\x00", "AUTH", 0x82),
        (b"\x08" + text("a/+"), "PUBLISH", 0x82),
        (b"\x08" + text("#"), "WILL", 0x82),
        (b"\x08" + text(""), "PUBLISH", 0x82),
    ],
)
def test_value_that_is_not_allowed_is_refused(data: bytes, packet: str, code: int) -> None:
    assert refused(properties(data), NAMES.index(packet)) == code


@pytest.mark.parametrize("identifier", sorted(set(range(256)) - set(STANDARD)))
def test_identifier_that_nobody_knows_is_malformed(identifier: int) -> None:
    for packet in PACKETS:
        assert refused(properties(bytes([identifier]), bytes(8)), packet) == Reason.MALFORMED_PACKET


def test_no_properties_are_one_object() -> None:
    """So that their absence is seen without looking at twenty-seven fields."""
    assert read(b"\x00", 3) is NO_PROPERTIES
    assert properties_bytes(NO_PROPERTIES, 3) == properties_bytes(Properties(), 3) == b"\x00"


def test_properties_end_where_their_length_says() -> None:
    """Neither a longer one than the packet nor one that cuts the last property is taken; what follows is left."""
    reader = FieldReader(b"\x02\x01\x01rest")

    assert read_properties(reader, 3).payload_format == 1
    assert reader.rest() == b"rest"
    assert refused(b"\x03\x01\x01", 3) == Reason.MALFORMED_PACKET
    assert refused(b"\x04\x03\x00\x04ab", 3) == Reason.MALFORMED_PACKET
    assert refused(b"", 3) == Reason.MALFORMED_PACKET


def test_order_within_a_list_is_kept_and_of_the_others_does_not_matter() -> None:
    first, second = b"\x26" + text("a") + text("1"), b"\x26" + text("a") + text("2")
    found = read(properties(second, b"\x23\x00\x01", first, b"\x01\x00"), 3)

    assert found == Properties(payload_format=0, topic_alias=1, user_properties=(("a", "2"), ("a", "1")))


def test_many_properties_are_read_and_written() -> None:
    """Their length takes several bytes."""
    pairs = tuple((str(number), "v" * 50) for number in range(400))
    data = b"".join(b"\x26" + text(name) + text(value) for name, value in pairs)

    assert properties_bytes(Properties(user_properties=pairs), 3) == length(len(data)) + data
    assert read(length(len(data)) + data, 3).user_properties == pairs


@given(
    st.sampled_from(sorted(PACKETS)).flatmap(
        lambda packet: st.tuples(
            st.just(packet),
            st.fixed_dictionaries(
                {}, optional={row.field: VALUES[row.field] for row in TABLE if packet in row.packets}
            ),
        )
    )
)
def test_whatever_is_written_is_read(case: tuple[int, dict[str, Any]]) -> None:
    packet, values = case
    if "authentication_data" in values:
        values.setdefault("authentication_method", "m")
    if packet == 8 and "subscription_ids" in values:
        values["subscription_ids"] = values["subscription_ids"][:1]
    expected = Properties(**values)

    assert read(properties_bytes(expected, packet), packet) == expected


@given(st.sampled_from(sorted(PACKETS)), st.binary(max_size=30))
def test_any_bytes_are_properties_or_a_violation(packet: int, data: bytes) -> None:
    """And written again they mean the same."""
    reader = FieldReader(properties(data) if len(data) % 2 else data)
    found: Properties | MqttViolation
    try:
        found = read_properties(reader, packet)
    except MqttViolation as violation:
        found = violation
    if isinstance(found, MqttViolation):
        assert found.code in (0x81, 0x82, 0x94)
    else:
        assert read(properties_bytes(found, packet), packet) == found

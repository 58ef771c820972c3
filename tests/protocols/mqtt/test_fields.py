"""The fields that packets are made of, both ways."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.protocols.mqtt.fields import (
    BINARY,
    BYTE,
    FOUR_BYTES,
    PAIR,
    TEXT,
    TWO_BYTES,
    VARIABLE_INTEGER,
    FieldReader,
    WireType,
    text_bytes,
    two_bytes,
    variable_integer_bytes,
)
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason

# Source: OASIS MQTT 5.0, table 1-1 and figure 1-2.
FIELDS = [
    (BYTE, 0, b"\x00"),
    (BYTE, 255, b"\xff"),
    (TWO_BYTES, 0, b"\x00\x00"),
    (TWO_BYTES, 258, b"\x01\x02"),
    (TWO_BYTES, 65535, b"\xff\xff"),
    (FOUR_BYTES, 0x01020304, b"\x01\x02\x03\x04"),
    (FOUR_BYTES, 0xFFFFFFFF, b"\xff\xff\xff\xff"),
    (VARIABLE_INTEGER, 0, b"\x00"),
    (VARIABLE_INTEGER, 127, b"\x7f"),
    (VARIABLE_INTEGER, 128, b"\x80\x01"),
    (VARIABLE_INTEGER, 16_383, b"\xff\x7f"),
    (VARIABLE_INTEGER, 16_384, b"\x80\x80\x01"),
    (VARIABLE_INTEGER, 2_097_151, b"\xff\xff\x7f"),
    (VARIABLE_INTEGER, 2_097_152, b"\x80\x80\x80\x01"),
    (VARIABLE_INTEGER, 268_435_455, b"\xff\xff\xff\x7f"),
    (TEXT, "", b"\x00\x00"),
    (TEXT, "A\U0002a6d4", b"\x00\x05\x41\xf0\xaa\x9b\x94"),
    (TEXT, "\ufeff", b"\x00\x03\xef\xbb\xbf"),
    (TEXT, "a" * 65535, b"\xff\xff" + b"a" * 65535),
    (BINARY, b"\x00\xff", b"\x00\x02\x00\xff"),
    (PAIR, ("n", ""), b"\x00\x01n\x00\x00"),
]


@pytest.mark.parametrize(("wire", "value", "data"), FIELDS)
def test_field_is_read_and_written(wire: WireType, value: object, data: bytes) -> None:
    """What stands behind it is left alone."""
    reader = FieldReader(data + b"\x01")

    assert wire.write(value) == data
    assert wire.read(reader) == value
    assert reader.position == len(data)
    assert reader.rest() == b"\x01"


@pytest.mark.parametrize(("wire", "value", "data"), FIELDS)
def test_field_that_was_cut_off_is_malformed(wire: WireType, value: object, data: bytes) -> None:
    """After each of its first bytes."""
    for size in range(min(len(data), 10)):
        with pytest.raises(MqttViolation) as raised:
            wire.read(FieldReader(data[:size]))
        assert raised.value.code is Reason.MALFORMED_PACKET


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        (VARIABLE_INTEGER, b"\x80\x80\x80\x80\x01"),
        (VARIABLE_INTEGER, b"\xff\xff\xff\xff\x7f"),
        (VARIABLE_INTEGER, b"\x80\x00"),
        (VARIABLE_INTEGER, b"\xff\x80\x80\x00"),
        (TEXT, b"\x00\x01\x00"),
        (TEXT, b"\x00\x01\xff"),
        (TEXT, b"\x00\x02\xc0\x80"),
        (TEXT, b"\x00\x03\xe0\x81\xa1"),
        (TEXT, b"\x00\x03\xed\xa0\x80"),
        (TEXT, b"\x00\x04\xf4\x90\x80\x80"),
        (PAIR, b"\x00\x01n\x00\x01\x00"),
    ],
)
def test_field_against_its_rules_is_malformed(wire: WireType, data: bytes) -> None:
    with pytest.raises(MqttViolation) as raised:
        wire.read(FieldReader(data))
    assert raised.value.code is Reason.MALFORMED_PACKET
    assert raised.value.__context__ is None  # which would hold what the peer sent


def test_reader_stops_at_its_end_and_not_at_that_of_the_data() -> None:
    """So the properties of a packet cannot reach into its payload."""
    reader = FieldReader(b"\x00\x02ab")
    reader.end = 3

    with pytest.raises(MqttViolation):
        reader.text()
    reader.end = 4
    assert reader.text() == "ab"
    reader.finish()


def test_what_is_left_over_is_malformed() -> None:
    reader = FieldReader(b"\x00")

    with pytest.raises(MqttViolation) as raised:
        reader.finish()
    assert raised.value.code is Reason.MALFORMED_PACKET


@pytest.mark.parametrize(
    "write",
    [
        lambda: variable_integer_bytes(268_435_456),
        lambda: two_bytes(65536),
        lambda: text_bytes("a" * 65536),
        lambda: text_bytes("\ud800"),
    ],
)
def test_what_does_not_fit_is_not_written(write: Callable[[], bytes]) -> None:
    """It is a mistake of ours, and must not come out as another value."""
    with pytest.raises((OverflowError, UnicodeEncodeError)):
        write()


@given(st.sampled_from([BYTE, TWO_BYTES, FOUR_BYTES, VARIABLE_INTEGER, TEXT, BINARY, PAIR]), st.binary(max_size=12))
def test_whatever_is_read_is_written_as_it_came(wire: WireType, data: bytes) -> None:
    """Or else it is malformed."""
    reader = FieldReader(data)
    value: Any
    try:
        value = wire.read(reader)
    except MqttViolation as violation:
        value = violation
    if isinstance(value, MqttViolation):
        assert value.code is Reason.MALFORMED_PACKET
    else:
        assert wire.write(value) == data[: reader.position]

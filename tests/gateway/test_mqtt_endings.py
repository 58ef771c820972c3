"""With which code the socket of an MQTT client ends that has broken its protocol."""

import pytest

from doubles import RecordingSink, done
from gateway.house import House
from hubwire.model.errors import ProtocolViolation
from hubwire.protocols.frames import BINARY
from vectors.mqtt_packets import length
from vectors.mqtt_wire import PINGREQ, connect, publish

URL = "/clients/mqtt/hubs/chat"
TOO_LARGE = b"\x30" + length(2 << 20)
MALFORMED = b"\xc1\x00"


class Newcomer:
    """Somebody behind a 101, who has said nothing yet."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sink = RecordingSink()
        opening = house.decide("mqtt", url=URL, access_token=house.token(audience=f"http://localhost:8080{URL}"))
        assert opening.newcomer is not None
        self.opening = opening
        self.newcomer = opening.newcomer

    async def say(self, *packets: bytes) -> None:
        await done(self.house.gateway.begin(self.opening, self.sink))
        for packet in packets:
            connection = self.newcomer.connection
            if connection is None:
                await done(self.house.gateway.arrive(self.newcomer, packet, self.sink))
            else:
                await done(self.house.gateway.receive(connection, packet))
        self.house.gateway.settle()

    def heard(self) -> tuple[list[bytes], int]:
        """First bytes and codes of all packets, and the code of the close frame."""
        frames = self.sink.frames
        assert all(frame.opcode == BINARY for frame in frames)
        assert self.sink.closed is not None
        return [frame.payload[:1] + frame.payload[2:4] for frame in frames], self.sink.closed[0]


async def heard(*packets: bytes) -> tuple[list[bytes], int]:
    """What comes of these."""
    client = Newcomer(House())
    await client.say(*packets)
    return client.heard()


@pytest.mark.parametrize(("fault", "reason"), [(MALFORMED, 0x81), (PINGREQ[:1] + b"\xff" * 5, 0x81), (TOO_LARGE, 0x95)])
async def test_client_of_5_hears_from_a_packet_what_was_wrong(fault: bytes, reason: int) -> None:
    """So the close frame says nothing more."""
    [connack, farewell], code = await heard(connect(5, "c"), fault)

    assert connack[:1] == b"\x20"
    assert farewell[:2] == bytes((0xE0, reason))
    assert code == 1000


@pytest.mark.parametrize(("fault", "code"), [(MALFORMED, 1002), (PINGREQ[:1] + b"\xff" * 5, 1002), (TOO_LARGE, 1009)])
async def test_client_of_3_1_1_hears_from_the_close_frame_alone(fault: bytes, code: int) -> None:
    """It has no packet for it."""
    assert await heard(connect(4, "c"), fault) == ([b"\x20\x00\x00"], code)


@pytest.mark.parametrize(
    ("first", "code"), [(PINGREQ, 1002), (publish(5, "t"), 1002), (b"\x10" + b"\xff" * 5, 1002), (TOO_LARGE, 1009)]
)
async def test_nothing_is_said_to_a_client_of_no_known_version(first: bytes, code: int) -> None:
    assert await heard(first) == ([], code)


@pytest.mark.parametrize(
    ("version", "code", "reason", "close_code"),
    [
        (4, 1002, None, 1002),
        (4, 1003, None, 1003),
        (4, 1009, None, 1009),
        (5, 1002, 0x82, 1002),
        (5, 1003, 0x82, 1003),
        (5, 1009, 0x95, 1000),
    ],
)
async def test_fault_below_mqtt_is_told_by_both(version: int, code: int, reason: int | None, close_code: int) -> None:
    """That of a frame, or of text where there is to be none; but one that is too large is so for MQTT as well."""
    client = Newcomer(House())
    await client.say(connect(version, "c"))
    assert client.newcomer.connection is not None

    client.house.gateway.violated(client.newcomer.connection, ProtocolViolation("broken", code))

    [_, *farewell], closed = client.heard()
    assert [packet[:2] for packet in farewell] == ([] if reason is None else [bytes((0xE0, reason))])
    assert closed == close_code

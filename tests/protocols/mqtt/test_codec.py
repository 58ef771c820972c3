"""Messages to PUBLISH packets, each in a frame, and the pieces that receivers share."""

import pytest

from hubwire.model.messages import Data, DataMessage, FromServer, GroupMessage
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.mqtt.codec import CODECS, pieces, publish
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Properties, Publish, encode
from protocols.mqtt.pretend import from_mqtt, heard, text_message


@pytest.mark.parametrize("version", [4, 5])
def test_message_becomes_one_whole_frame_with_qos_0(version: int) -> None:
    properties = Properties(content_type="text/plain", payload_format=1) if version == 5 else NO_PROPERTIES

    [packet] = heard(CODECS[version].prepare(text_message("hi", "news")), version)

    assert packet == Publish("news", b"hi", properties=properties)


def test_older_version_has_no_properties() -> None:
    message = from_mqtt("x", content_type="a/b", user_properties=(("a", "b"),), expiry_s=3)

    assert heard(CODECS[4].prepare(message), 4) == [Publish("news", b"x")]


@pytest.mark.parametrize("version", [4, 5])
def test_what_the_server_sends_has_a_topic_of_its_own(version: int) -> None:
    [packet] = heard(CODECS[version].prepare(FromServer(Data("binary", b"x"))), version)

    assert isinstance(packet, Publish)
    assert packet.topic == "$webpubsub/server/messages"


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("identifiers", [(), (300,), (1, 300)])
@pytest.mark.parametrize("size", [0, 1, 90, 100, 110, 120, 130, 16_370, 16_384, 65_520, 65_535, 70_000, 2_097_152])
def test_pieces_and_an_identifier_are_the_packet(
    version: int, qos: int, identifiers: tuple[int, ...], size: int
) -> None:
    """Also where the two bytes make a length of the packet or of the frame longer."""
    for more in range(8):
        message: DataMessage = GroupMessage("тема", Data("binary", b"x" * (size + more)))
        frame = build_frame(BINARY, encode(publish(message, version, 0, identifiers), version))

        head, tail = pieces(frame, qos)

        whole = encode(publish(message, version, qos, identifiers, packet_id=0x1234), version)
        assert head + b"\x12\x34" + tail == build_frame(BINARY, whole)
        without = encode(publish(message, version, 0, identifiers, empty=True), version)
        head, tail = pieces(build_frame(BINARY, without), qos, size + more)
        assert head + b"\x12\x34" + tail + message.data.body == build_frame(BINARY, whole)

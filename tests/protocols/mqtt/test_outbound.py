"""What MQTT clients are sent: shared frames, packet identifiers, windows, queues, and what another socket repeats."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from hubwire.model.errors import QueueOverflow
from hubwire.model.messages import Data, EventAnswer, FromServer, Publication, SendEvent
from hubwire.protocols.mqtt.outbound import Shared
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Disconnect,
    Filter,
    Packet,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
    encode,
)
from hubwire.protocols.mqtt.reasons import Reason
from hubwire.protocols.reliable import QueueLimits
from protocols.mqtt.pretend import NOW, Client, batch, from_mqtt, heard, text_message

KEPT = Properties(session_expiry_s=30)


def client(
    version: int = 5, *, qos: int = 2, window: int | None = None, most: int | None = None, **more: int
) -> Client:
    """A client that keeps its session and is subscribed to `news`."""
    properties = NO_PROPERTIES
    if version == 5:
        properties = Properties(session_expiry_s=30, receive_maximum=window, maximum_packet_size=most)
    limits = QueueLimits(more.get("messages", 1000), more.get("size_bytes", 1 << 24))
    made = Client(version, properties=properties, clean_start=False, limits=limits)
    made.ask(Subscribe(1, (Filter("news", qos),)))
    return made


def told(packets: Sequence[Packet]) -> list[tuple[str, int | None]]:
    """Payload and identifier of each."""
    found = []
    for packet in packets:
        assert isinstance(packet, Publish)
        found.append((packet.payload.decode(), packet.packet_id))
    return found


def texts(packets: Sequence[Packet]) -> list[str]:
    return [text for text, _ in told(packets)]


# One for all


@pytest.mark.parametrize("version", [4, 5])
def test_frames_of_qos_0_are_one_object_for_everybody(version: int) -> None:
    """Whoever has subscribed with QoS 0, and with any QoS for what was published with it."""
    for shared, qos in (
        (batch(version, text_message("a"), text_message("b")), 0),
        (batch(version, from_mqtt("a", 0)), 2),
    ):
        assert client(version, qos=qos).session.deliver(shared, NOW) is shared.joined
        assert client(version, qos=qos).session.deliver(shared, NOW) is shared.joined


@pytest.mark.parametrize(("published", "subscribed"), [(p, s) for p in range(3) for s in range(3)])
@pytest.mark.parametrize("version", [4, 5])
def test_qos_is_the_lower_one(version: int, published: int, subscribed: int) -> None:
    [packet] = client(version, qos=subscribed).deliver(from_mqtt("x", published))

    assert isinstance(packet, Publish)
    assert packet.qos == min(published, subscribed)
    assert not packet.retain
    assert not packet.dup


def subscribed(version: int, qos: int, *, as_published: bool, **more: Any) -> Client:
    made = client(version, **more)
    made.ask(Subscribe(1, (Filter("news", qos, retain_as_published=as_published),)))
    return made


def flags(packets: Sequence[Packet]) -> list[bool]:
    return [packet.retain for packet in packets if isinstance(packet, Publish)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_flag_of_a_new_message_is_told_to_who_wants_it_as_it_was_published(qos: int) -> None:
    """In one batch with others, for both kinds of subscriptions."""
    shared = batch(5, from_mqtt("a", 2, retain=True), from_mqtt("b", 2), text_message("c"))
    for as_published, expected in ((True, [True, False, False]), (False, [False] * 3), (True, [True, False, False])):
        one = subscribed(5, qos, as_published=as_published)
        packets = one.hear(one.session.deliver(shared, NOW))
        assert flags(packets) == expected
        assert texts(packets) == ["a", "b", "c"]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("as_published", [False, True])
def test_message_that_was_kept_has_the_flag_for_everybody(version: int, qos: int, as_published: bool) -> None:
    kept = replace(from_mqtt("x", 2, retain=True), retained=True)
    one = subscribed(version, qos, as_published=as_published and version == 5)

    [packet] = one.deliver(kept)

    assert isinstance(packet, Publish)
    assert (packet.payload, packet.qos, packet.retain) == (b"x", qos, True)


def test_flag_is_repeated_on_another_socket() -> None:
    """That of what is under way, and that of what waits; in whatever version."""
    for version in (5, 4):
        one = subscribed(5, 2, as_published=True, window=2)
        one.deliver(from_mqtt("a", 1, retain=True), replace(from_mqtt("b", 2, retain=True), retained=True))
        one.deliver(from_mqtt("c", 1, retain=True), from_mqtt("d", 1))
        one.session.lost()

        packets = one.back(properties=KEPT if version == 5 else NO_PROPERTIES, version=version)

        assert texts(packets) == ["a", "b", "c", "d"]
        assert flags(packets) == [True, True, True, False]


@pytest.mark.parametrize("size", [0, 100, 70_000])
def test_flag_and_identifier_go_together(size: int) -> None:
    one = client(5)
    one.ask(Subscribe(1, (Filter("news", 1, retain_as_published=True),), Properties(subscription_ids=(7,))))

    [packet] = one.deliver(from_mqtt("x" * size, 1, retain=True))

    assert isinstance(packet, Publish)
    assert (packet.retain, packet.properties.subscription_ids, len(packet.payload)) == (True, (7,), size)


def test_batch_may_hold_messages_of_every_qos() -> None:
    packets = client().deliver(from_mqtt("a", 0), from_mqtt("b", 2), from_mqtt("c", 1), text_message("d"))

    assert told(packets) == [("a", None), ("b", 1), ("c", 2), ("d", 3)]


@pytest.mark.parametrize("version", [4, 5])
def test_receivers_share_a_batch(version: int) -> None:
    """With all sorts of subscriptions; each gets its own numbers."""
    shared = batch(version, from_mqtt("a", 2), from_mqtt("b", 1))
    for qos in (0, 1, 2, 1, 0):
        one = client(version, qos=qos)
        for first in (1, 3):
            expected = [("a", None), ("b", None)] if qos == 0 else [("a", first), ("b", first + 1)]
            assert told(one.hear(one.session.deliver(shared, NOW))) == expected


@pytest.mark.parametrize("size", [0, 1, 100, 125, 65_500, 65_535, 1 << 20])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscription_identifiers_share_the_payload(qos: int, size: int) -> None:
    """What waits for many clients with one each is in memory once."""
    message = from_mqtt("x" * size, 2, content_type="a/b")
    shared = Shared(batch(5, message), 5, NOW)
    for identifiers in ((1,), (300,), (300, 1)):
        [item] = shared.outgoing(qos, identifiers)
        assert item.body is message.data.body
        assert len(item.head) + len(item.tail) < 100
        packet_id = 7 if qos else None
        properties = Properties(content_type="a/b", subscription_ids=identifiers)
        packet = Publish("news", message.data.body, qos, packet_id=packet_id, properties=properties)
        assert item.size_bytes == len(encode(packet, 5))
        if qos:
            assert heard(item.frame(7), 5) == [packet]
        else:
            assert heard(item.whole(), 5) == [packet]
            assert item.whole() is item.whole()


def test_message_is_forwarded_unchanged() -> None:
    properties = Properties(
        payload_format=1,
        message_expiry_s=0xFFFFFFFF,
        content_type="a/b",
        response_topic="r",
        correlation_data=b"c",
        user_properties=(("a", "1"), ("a", "2")),
    )
    message = from_mqtt(
        "x",
        1,
        content_type="a/b",
        is_text=True,
        response_topic="r",
        correlation_data=b"c",
        user_properties=(("a", "1"), ("a", "2")),
        expiry_s=0xFFFFFFFF,
    )

    for qos in (0, 1):
        [packet] = client(qos=qos).deliver(message, expires_at=NOW + 0xFFFFFFFF)
        assert isinstance(packet, Publish)
        assert packet.properties == properties


@pytest.mark.parametrize("qos", [0, 1])
def test_message_from_elsewhere_says_how_long_it_lives(qos: int) -> None:
    for message in (text_message(), FromServer(Data("text", b"x"))):
        one = client(qos=qos)
        one.say(Subscribe(1, (Filter("$webpubsub/server/messages", qos),)))

        [packet] = one.deliver(message, expires_at=NOW + 60)

        assert isinstance(packet, Publish)
        assert packet.properties.message_expiry_s == 60
        assert packet.properties.content_type == "text/plain"


def test_older_version_is_not_told_how_long_it_lives() -> None:
    [packet] = client(4, qos=0).deliver(text_message(), expires_at=NOW + 60)

    assert packet == Publish("news", b"hello")


# Packet identifiers


@pytest.mark.parametrize("version", [4, 5])
def test_identifiers_begin_again_after_the_last_one(version: int) -> None:
    """And leave out those that are in use."""
    one = client(version, messages=100)
    assert told(one.deliver(from_mqtt("stays", 1), from_mqtt("in half", 2))) == [("stays", 1), ("in half", 2)]
    one.say(Pubrec(2))
    shared = batch(version, from_mqtt("x", 1))
    for packet_id in range(3, 65536):
        data = one.session.deliver(shared, NOW)
        assert data
        one.session.receive(b"\x40\x02" + packet_id.to_bytes(2, "big"))

    assert told(one.deliver(from_mqtt("y", 1))) == [("y", 3)]


def test_identifiers_of_both_sides_have_nothing_to_do_with_each_other() -> None:
    one = client()
    one.ask(Publish("news", b"", 2, packet_id=1))

    assert told(one.deliver(from_mqtt("x", 2))) == [("x", 1)]
    one.say(Pubrec(1))
    assert one.answers == [Pubrel(1)]
    one.say(Pubrel(1))
    assert one.answers == [Pubcomp(1)]


# Acknowledgements


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_acknowledged_is_forgotten(version: int) -> None:
    one = client(version)
    one.deliver(from_mqtt("a", 1), from_mqtt("b", 2))
    assert one.session.held()[0] == 2

    one.say(Puback(1))
    assert one.session.held()[0] == 1
    one.say(Pubrec(2))
    assert one.answers == [Pubrel(2)]
    one.say(Pubcomp(2))
    assert one.answers == []
    assert one.session.held() == (0, 0)


@pytest.mark.parametrize("code", [Reason.UNSPECIFIED_ERROR, Reason.QUOTA_EXCEEDED])
def test_failure_is_an_acknowledgement_too(code: Reason) -> None:
    one = client()
    one.deliver(from_mqtt("a", 1), from_mqtt("b", 2))

    one.say(Puback(1, code), Pubrec(2, code))

    assert one.answers == []
    assert one.session.held() == (0, 0)


@pytest.mark.parametrize("version", [4, 5])
def test_acknowledgements_of_nothing_change_nothing(version: int) -> None:
    unknown = Reason.PACKET_ID_NOT_FOUND if version == 5 else 0
    one = client(version)
    one.say(Puback(9), Pubcomp(9), Pubrec(9))
    assert one.answers == [Pubrel(9, unknown)]

    one.deliver(from_mqtt("a", 1), from_mqtt("b", 2))
    one.say(Puback(9), Pubcomp(9), Pubrec(9))
    assert one.answers == [Pubrel(9, unknown)]
    assert one.session.held()[0] == 2
    assert one.session.fault is None


@pytest.mark.parametrize(
    "said",
    [
        [Pubrec(1)],
        [Pubrec(1, Reason.UNSPECIFIED_ERROR)],
        [Pubcomp(1)],
        [Puback(2)],
        [Pubcomp(2)],
        [Pubrec(2), Puback(2)],
    ],
    ids=["PUBREC of 1", "failed PUBREC of 1", "PUBCOMP of 1", "PUBACK of 2", "early PUBCOMP", "PUBACK of PUBREL"],
)
@pytest.mark.parametrize("version", [4, 5])
def test_acknowledgement_that_is_not_due_is_a_fault_and_changes_nothing(version: int, said: list[Packet]) -> None:
    one = client(version)
    one.deliver(from_mqtt("a", 1), from_mqtt("b", 2))

    one.say(*said, Puback(1))

    assert one.session.fault is not None
    assert one.session.fault.code == Reason.PROTOCOL_ERROR
    assert one.session.held()[0] == 2


def test_repeated_pubrec_is_answered_again() -> None:
    one = client()
    one.deliver(from_mqtt("a", 2))

    one.say(Pubrec(1), Pubrec(1))
    assert one.answers == [Pubrel(1), Pubrel(1)]
    assert one.session.held() == (1, 0)
    one.say(Pubrec(1, Reason.UNSPECIFIED_ERROR))
    assert one.answers == []
    assert one.session.held() == (0, 0)


# The window of the client


def test_no_more_is_on_its_way_than_the_client_takes() -> None:
    one = client(window=2)

    assert told(one.deliver(*[from_mqtt(text, 1) for text in "abcde"])) == [("a", 1), ("b", 2)]
    assert told(one.deliver(from_mqtt("f", 1), from_mqtt("now", 0))) == [("now", None)]
    one.say(Puback(2))
    assert told(one.answers) == [("c", 3)]
    one.say(Puback(1), Puback(3))
    assert told(one.answers) == [("d", 4), ("e", 5)]
    one.say(Puback(4))
    assert told(one.answers) == [("f", 6)]


def test_flow_of_qos_2_takes_its_place_until_it_is_over() -> None:
    one = client(window=1)
    one.deliver(from_mqtt("a", 2), from_mqtt("b", 2), from_mqtt("c", 1))

    one.say(Pubrec(1))
    assert one.answers == [Pubrel(1)]
    one.say(Pubcomp(1))
    assert told(one.answers) == [("b", 2)]
    one.say(Pubrec(2, Reason.UNSPECIFIED_ERROR))
    assert told(one.answers) == [("c", 3)]


def test_older_version_takes_as_much_as_there_are_identifiers() -> None:
    one = client(4, messages=10**6)
    shared = batch(4, *[from_mqtt("x", 1)] * 10_000)

    sent = [len(one.hear(one.session.deliver(shared, NOW))) for _ in range(7)]

    assert sent == [10_000] * 6 + [5_535]
    one.say(Puback(77))
    assert told(one.answers) == [("x", 77)]


def test_what_is_accepted_before_an_acknowledgement_does_not_overtake() -> None:
    """It is handed over after it, at the end of the turn, and there is room for it. But something waits already."""
    one = client(window=3)
    late = [one.session.has_late]
    one.deliver(*[from_mqtt(text, 1) for text in "abcd"])
    late.append(one.session.has_late)

    one.say(Puback(1), Puback(2), release=False)
    late.append(one.session.has_late)
    assert one.answers == []
    assert texts(one.deliver(from_mqtt("e", 1), from_mqtt("now", 0))) == ["now"]

    assert told(one.release()) == [("d", 4), ("e", 5)]
    late.append(one.session.has_late)
    assert late == [False, False, True, False]
    one.say(Puback(3))
    assert one.answers == []
    assert texts(one.deliver(from_mqtt("f", 1), from_mqtt("g", 1))) == ["f"]


def test_as_much_is_sent_as_the_client_takes_without_waiting_for_what_was_sent_late() -> None:
    """What had to wait is on its way as anything else is, and the room behind it free at once."""
    one = client(window=4)
    one.deliver(*[from_mqtt(text, 1) for text in "abcde"])
    one.say(Puback(1), Puback(2), Puback(3))
    assert texts(one.answers) == ["e"]

    assert texts(one.deliver(from_mqtt("f", 1), from_mqtt("g", 1), from_mqtt("h", 1))) == ["f", "g"]


def test_nothing_is_sent_late_behind_the_last_packet_of_either_side() -> None:
    for last in (Reason.ADMINISTRATIVE_ACTION, None):
        one = client(window=1)
        one.deliver(from_mqtt("a", 1), from_mqtt("b", 1))
        one.say(Puback(1), release=False)
        if last is None:
            one.say(Disconnect(), release=False)
        else:
            one.session.farewell(last)

        assert one.release() == []
        assert texts(one.back()) == ["b"]


# Limits


def test_too_much_that_waits_for_room_is_the_end() -> None:
    one = client(messages=3, window=2)
    one.deliver(*[from_mqtt(text) for text in "abcde"])

    with pytest.raises(QueueOverflow) as caught:
        one.deliver(from_mqtt("f"))

    assert caught.value.messages == 6


def test_what_the_client_has_made_room_for_does_not_wait_for_room() -> None:
    """It is only sent at the end of the turn, behind what was accepted meanwhile."""
    one = client(messages=3, window=2)
    one.deliver(*[from_mqtt(text) for text in "abcde"])
    one.say(Puback(1), Puback(2), release=False)

    assert one.deliver(from_mqtt("f"), from_mqtt("g")) == []

    assert texts(one.release()) == ["c", "d"]
    with pytest.raises(QueueOverflow):
        one.deliver(from_mqtt("h"))


def test_too_much_that_waits_for_a_socket_is_the_end() -> None:
    """What was on its way to the last one, and is not acknowledged, waits too."""
    one = client(messages=3)
    one.deliver(from_mqtt("a"), from_mqtt("b"))
    one.session.lost()
    one.deliver(from_mqtt("c"))

    with pytest.raises(QueueOverflow) as caught:
        one.deliver(from_mqtt("d"))

    assert caught.value.messages == 4


@pytest.mark.parametrize("version", [4, 5])
def test_thousand_messages_may_wait_for_a_socket_and_no_more(version: int) -> None:
    one = client(version)
    one.session.lost()
    shared = batch(version, *[from_mqtt("x")] * 1000)
    assert one.session.deliver(shared, NOW) == b""

    with pytest.raises(QueueOverflow):
        one.deliver(from_mqtt("x"))


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", [4, 5])
def test_burst_reaches_a_client_that_acknowledges_later(version: int, qos: int) -> None:
    one = client(version)

    assert told(one.deliver(*[from_mqtt(str(number), qos) for number in range(1, 1501)])) == [
        (str(number), number) for number in range(1, 1501)
    ]
    assert told(one.deliver(from_mqtt("last", qos))) == [("last", 1501)]
    if qos == 1:
        one.say(*[Puback(number) for number in range(1, 1502)])
    else:
        one.say(*[Pubrec(number) for number in range(1, 1502)])
        one.say(*[Pubcomp(number) for number in range(1, 1502)])
    assert one.session.held() == (0, 0)


def test_what_another_socket_has_no_room_for_waits() -> None:
    one = client(messages=3)
    one.deliver(*[from_mqtt(text) for text in "abcde"])
    one.back(properties=Properties(session_expiry_s=30, receive_maximum=3))
    one.deliver(from_mqtt("f"))

    with pytest.raises(QueueOverflow):
        one.deliver(from_mqtt("g"))


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("window", [None, 1])
def test_bytes_are_limited_too(away: bool, window: int | None) -> None:
    """Of what is on its way and of what waits."""
    one = client(size_bytes=1000, window=window)
    if away:
        one.session.lost()
    one.deliver(from_mqtt("x" * 450), from_mqtt("x" * 450))

    with pytest.raises(QueueOverflow):
        one.deliver(from_mqtt("x" * 100))


def test_qos_0_is_never_too_much() -> None:
    one = client(messages=3, size_bytes=100)

    for _ in range(100):
        assert one.deliver(from_mqtt("x", 0))
    assert one.session.held() == (0, 0)


def test_what_is_over_makes_room() -> None:
    one = client(messages=3)
    one.session.lost()
    one.deliver(from_mqtt("a"), from_mqtt("b"), from_mqtt("c"), expires_at=NOW + 1)

    one.deliver(from_mqtt("d"), now=NOW + 1)

    assert one.session.held()[0] == 1
    assert texts(one.back(NOW + 1)) == ["d"]


# Without a socket


@pytest.mark.parametrize("version", [4, 5])
def test_messages_wait_for_another_socket(version: int) -> None:
    one = client(version)
    one.session.lost()

    assert one.deliver(from_mqtt("a", 2), from_mqtt("lost", 0), text_message("b")) == []
    assert one.deliver(from_mqtt("lost", 0)) == []
    assert told(one.back()) == [("a", 1), ("b", 2)]


def test_message_without_time_reaches_who_is_there() -> None:
    """But does not wait: neither for a socket, nor for an acknowledgement."""
    over = from_mqtt("now", 1, expiry_s=0)
    one = client(window=1)

    [packet] = one.deliver(over, expires_at=NOW + 1)
    assert isinstance(packet, Publish)
    assert packet.properties.message_expiry_s == 0
    assert one.deliver(over, expires_at=NOW + 1) == []
    one.say(Puback(1))
    assert one.answers == []
    one.session.lost()
    one.deliver(over, expires_at=NOW + 1)
    assert one.back() == []


@pytest.mark.parametrize("version", [4, 5])
def test_socket_begins_with_what_was_not_acknowledged(version: int) -> None:
    one = client(version)
    one.deliver(*[from_mqtt(text, 2 if text in "bcf" else 1) for text in "abcdef"])
    one.say(Puback(1), Pubrec(3), Pubrec(2), Pubcomp(3))
    one.session.lost()
    one.deliver(from_mqtt("g", 1))

    packets = one.back()

    assert packets[-2] == Pubrel(2)
    publications = [packet for packet in packets if isinstance(packet, Publish)]
    assert told(publications) == [("d", 4), ("e", 5), ("f", 6), ("g", 7)]
    assert [packet.dup for packet in publications] == [True, True, True, False]
    assert [packet.qos for packet in publications] == [1, 1, 2, 1]


def test_releases_are_repeated_in_the_order_of_their_pubrecs() -> None:
    one = client()
    one.deliver(*[from_mqtt(text, 2) for text in "abc"])
    one.say(Pubrec(3), Pubrec(1), Pubrec(2))

    assert one.back() == [Pubrel(3), Pubrel(1), Pubrel(2)]


def test_smaller_window_of_another_socket_is_kept() -> None:
    one = client()
    one.deliver(*[from_mqtt(text, 1) for text in "abcd"])

    packets = one.back(properties=Properties(session_expiry_s=30, receive_maximum=2))
    assert told(packets) == [("a", 1), ("b", 2)]
    assert one.deliver(from_mqtt("e", 1)) == []
    one.say(Puback(2))
    assert told(one.answers) == [("c", 3)]
    one.say(Puback(1), Puback(3))
    assert told(one.answers) == [("d", 4), ("e", 5)]
    assert all(packet.dup is (packet.packet_id == 4) for packet in one.answers if isinstance(packet, Publish))
    one.say(Puback(4), Puback(5))
    assert one.session.held() == (0, 0)


def test_acknowledgement_of_what_was_not_repeated_yet_is_taken() -> None:
    one = client()
    one.deliver(*[from_mqtt(text, 1) for text in "abc"])
    one.back(properties=Properties(session_expiry_s=30, receive_maximum=1))

    one.say(Puback(3), Puback(1))
    assert told(one.answers) == [("b", 2)]
    one.say(Puback(2))
    assert one.answers == []
    assert one.session.held() == (0, 0)


def test_what_comes_between_two_sockets_waits() -> None:
    """The one that takes over has not begun, and the other one is of no use any more."""
    one = client()
    one.take_over()

    assert one.deliver(from_mqtt("a", 1), from_mqtt("lost", 0)) == []
    assert told(one.resume()) == [("a", 1)]


@pytest.mark.parametrize(("before", "after"), [(4, 5), (5, 4)])
def test_client_may_come_back_with_another_version(before: int, after: int) -> None:
    one = Client(before, properties=KEPT if before == 5 else NO_PROPERTIES, clean_start=False)
    one.ask(Subscribe(1, (Filter("news", 2),)))
    one.deliver(from_mqtt("a", 1, content_type="a/b"))
    one.session.lost()
    one.deliver(from_mqtt("b", 2, content_type="a/b"))

    packets = one.back(version=after, properties=KEPT if after == 5 else NO_PROPERTIES)

    assert told(packets) == [("a", 1), ("b", 2)]
    for packet in packets:
        assert isinstance(packet, Publish)
        assert packet.properties.content_type == ("a/b" if after == 5 else None)
    assert one.session.version == after
    assert texts(one.deliver(from_mqtt("c"))) == ["c"]


@pytest.mark.parametrize("most", range(20, 60, 3))
def test_size_that_counts_is_that_in_the_version_which_the_client_speaks_now(most: int) -> None:
    """The same message has properties in 5.0 and none in 3.1.1."""
    one = client(4)
    one.deliver(from_mqtt("on its way", 1, content_type="a/b"))
    one.session.lost()
    for size in range(30):
        one.deliver(from_mqtt("x" * size, 1, content_type="a/b", expiry_s=60), expires_at=NOW + 60)

    packets = one.back(version=5, properties=Properties(session_expiry_s=30, maximum_packet_size=most))

    sizes = [len(encode(packet, 5)) for packet in packets if isinstance(packet, Publish)]
    assert max(sizes, default=0) <= most
    assert (most in sizes) == (22 <= most <= 51)


# Time


def test_time_that_a_message_has_waited_is_taken_off() -> None:
    one = client()
    one.session.lost()
    one.deliver(from_mqtt("mqtt", expiry_s=60), expires_at=NOW + 60)
    one.deliver(text_message("json"), expires_at=NOW + 50)
    one.deliver(from_mqtt("for ever"))

    packets = one.back(NOW + 20)

    assert texts(packets) == ["mqtt", "json", "for ever"]
    assert [packet.properties.message_expiry_s for packet in packets if isinstance(packet, Publish)] == [40, 30, None]


def test_what_is_over_is_not_sent() -> None:
    one = client(window=1)
    one.deliver(from_mqtt("first"))
    one.deliver(from_mqtt("over"), expires_at=NOW + 5)
    one.deliver(from_mqtt("not yet"), expires_at=NOW + 6)

    one.say(Puback(1), release=False)
    packets = one.release(NOW + 5)

    assert texts(packets) == ["not yet"]
    assert one.session.held()[0] == 1


def test_what_is_over_is_not_repeated_with_qos_1() -> None:
    """A flow of QoS 2 is: the client may know its identifier, and would take the next message for the same one."""
    one = client()
    one.deliver(from_mqtt("a", 1, expiry_s=5), from_mqtt("b", 2, expiry_s=5), expires_at=NOW + 5)

    [packet] = one.back(NOW + 9)

    assert isinstance(packet, Publish)
    assert packet.payload == b"b"
    assert packet.properties.message_expiry_s == 0


# Size


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_the_client_cannot_take_is_dropped(qos: int) -> None:
    fixed = 2 + 2 + 4 + 1 + (2 if qos else 0)
    one = client(qos=qos, most=100)
    fits, too_much = "x" * (100 - fixed), "x" * (101 - fixed)

    assert texts(one.deliver(from_mqtt(too_much, 2), from_mqtt(fits, 2), from_mqtt("y", 2))) == [fits, "y"]
    assert one.session.held()[0] == (2 if qos else 0)


def test_what_another_socket_cannot_take_is_dropped() -> None:
    one = client(window=1)
    one.deliver(from_mqtt("x" * 200), from_mqtt("y" * 200), from_mqtt("z"))

    assert texts(one.back(properties=Properties(session_expiry_s=30, maximum_packet_size=100))) == ["z"]
    assert one.session.held()[0] == 1


# Answers to events


def event(qos: int = 1) -> SendEvent:
    return SendEvent("hello", Data("binary", b""), 1, publication=Publication(qos, "me", correlation_data=b"c"))


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(("status", "outcome"), [(200, "succeeded"), (299, "succeeded"), (404, "failed")])
def test_answer_to_an_event_is_a_message(qos: int, status: int, outcome: str) -> None:
    one = Client(5)
    topic = f"$webpubsub/server/events/hello/{outcome}"
    one.say(Subscribe(1, (Filter(topic, 2),)))

    [packet] = one.tell(EventAnswer(event(qos), status, "text/plain", b"body", (("a", "1"),)))

    assert packet == Publish(
        topic,
        b"body",
        qos,
        packet_id=1 if qos else None,
        properties=Properties(
            content_type="text/plain",
            correlation_data=b"c",
            user_properties=(("azure-status-code", str(status)), ("a", "1")),
        ),
    )


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_answer_has_the_qos_of_its_event_without_a_subscription(qos: int) -> None:
    """Unlike what else the server says to a client, which is QoS 1."""
    [packet] = Client(5).tell(EventAnswer(event(qos), 200))

    assert isinstance(packet, Publish)
    assert packet.qos == qos


def test_answer_has_no_more_than_the_client_has_subscribed_with_until_it_ends_that() -> None:
    one = Client(5)
    topic = "$webpubsub/server/events/hello/succeeded"
    for number, qos in enumerate((1, 0, 2), start=1):
        one.say(Subscribe(number, (Filter(topic, qos),)))
        [packet] = one.tell(EventAnswer(event(2), 200))
        assert isinstance(packet, Publish)
        assert packet.qos == qos
    one.say(Subscribe(8, (Filter(topic, 1),)))
    one.say(Unsubscribe(9, (topic,)))

    [packet] = one.tell(EventAnswer(event(2), 200))
    assert isinstance(packet, Publish)
    assert packet.qos == 2


def test_answer_has_no_properties_in_the_older_version() -> None:
    [packet] = Client(4).tell(EventAnswer(event(), 200, "text/plain", b"body", (("a", "1"),)))

    assert packet == Publish("$webpubsub/server/events/hello/succeeded", b"body", 1, packet_id=1)


def test_answer_to_an_event_waits_its_turn() -> None:
    one = client(window=1)
    one.deliver(from_mqtt("a"))

    assert one.tell(EventAnswer(event(), 200, body=b"b")) == []
    one.say(Puback(1))
    assert texts(one.answers) == ["b"]
    one.session.lost()
    assert one.tell(EventAnswer(event(), 200, body=b"c")) == []
    assert texts(one.back()) == ["b"]
    one.say(Puback(2))
    assert texts(one.answers) == ["c"]


def test_too_many_answers_are_the_end() -> None:
    """Nobody can be told at once, so it shows as a fault."""
    one = client(messages=1, window=1)
    one.deliver(from_mqtt("a"), from_mqtt("b"))

    assert one.tell(EventAnswer(event(), 200)) == []
    fault = one.session.fault
    assert fault is not None
    assert fault.code == Reason.QUOTA_EXCEEDED
    assert one.say(Publish("news", b"")) == []

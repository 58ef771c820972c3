"""The way to a CONNECT: what is taken, what is refused and with which packet."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hubwire.protocols.mqtt.arrival import Arrival, ArrivalRefused, Policy, Refusal
from hubwire.protocols.mqtt.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Publish,
    Will,
    encode,
)
from hubwire.protocols.mqtt.reasons import Reason, ReturnCode
from hubwire.protocols.reliable import QueueLimits
from protocols.mqtt.pretend import Client, heard
from vectors.mqtt_packets import FAULTS

AZURE = Policy(client_ids="azure", keep_alive="limited", retain="refuse")


def connect(version: int, client_id: str = "me", **fields: Any) -> Connect:
    return replace(Connect(version, client_id, True, 60), **fields)


def taken(packet: Connect, policy: Policy = Policy()) -> Arrival:  # noqa: B008  never changed
    arrival = Arrival(policy)
    assert arrival.feed(encode(packet, packet.version)) == packet
    return arrival


def refused(data: bytes | Connect, policy: Policy = Policy()) -> ArrivalRefused:  # noqa: B008
    if isinstance(data, Connect):
        data = encode(data, data.version)
    with pytest.raises(ArrivalRefused) as caught:
        Arrival(policy).feed(data)
    return caught.value


def code_of(refusal: ArrivalRefused, version: int) -> int:
    [packet] = heard(refusal.answer, version)
    assert isinstance(packet, Connack)
    assert not packet.session_present
    assert refusal.refusal.code == packet.code
    return packet.code


@pytest.mark.parametrize("version", [4, 5])
def test_connect_may_come_in_pieces(version: int) -> None:
    packet = connect(version)
    arrival = Arrival(Policy())
    data = encode(packet, version)

    for byte in data[:-1]:
        assert arrival.feed(bytes((byte,))) is None
    assert arrival.feed(data[-1:]) == packet


@pytest.mark.parametrize("version", [4, 5])
def test_what_comes_right_behind_is_for_the_session(version: int) -> None:
    """Whole packets, and the beginning of one."""
    rest = encode(Pingreq(), version) * 2 + b"\xc0"
    arrival = Arrival(Policy())
    arrival.feed(encode(connect(version), version) + rest)

    session = arrival.session(QueueLimits(), lambda _: None, "me")

    assert session.receive(b"") == []
    assert heard(b"".join(session.outgoing(0.0)), version) == [Pingresp(), Pingresp()]
    session.receive(b"\0")
    assert heard(b"".join(session.outgoing(0.0)), version) == [Pingresp()]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("packet", [Pingreq(), Publish("a", b"")])
def test_another_packet_first_is_not_answered(version: int, packet: Packet) -> None:
    refusal = refused(encode(packet, version))

    assert refusal.answer == b""
    assert refusal.refusal.code == Reason.PROTOCOL_ERROR


def test_packet_that_announces_too_much_is_not_waited_for() -> None:
    refusal = refused(b"\x10\xff\xff\x7f", Policy(max_packet_bytes=1000))

    assert refusal.answer == b""
    assert refusal.refusal == Refusal(Reason.PACKET_TOO_LARGE, 5)


@pytest.mark.parametrize("version", [4, 5])
def test_length_of_a_connect_must_be_in_its_shortest_form_since_5_0(version: int) -> None:
    wire = encode(connect(version), version)
    padded = wire[:1] + bytes((wire[1] | 0x80, 0)) + wire[2:]

    if version == 5:
        assert code_of(refused(padded), 5) == Reason.MALFORMED_PACKET
    else:
        assert Arrival(Policy()).feed(padded) == connect(version)


@pytest.mark.parametrize("version", [4, 5])
def test_lengths_behind_a_connect_must_be_in_their_shortest_form_since_5_0(version: int) -> None:
    arrival = Arrival(Policy())
    arrival.feed(encode(connect(version), version) + b"\xc0\0\xc0\x80\0\xc0\0")
    session = arrival.session(QueueLimits(), lambda _: None, "me")
    session.receive(b"")

    assert heard(b"".join(session.outgoing(0.0)), version) == [Pingresp()] * (1 if version == 5 else 3)
    assert (session.fault is None) == (version == 4)


@pytest.mark.parametrize("level", [0, 3, 6, 0x83, 0x84, 0x85, 0xFF])
def test_other_versions_are_told_so_in_words_that_they_know(level: int) -> None:
    """0x80 is no version but what Mosquitto's bridges add to theirs."""
    body = b"\0\4MQTT" + bytes((level, 2, 0, 60)) + b"\0\2me"
    refusal = refused(bytes((0x10, len(body))) + body)

    if level & 0x7F > 4:
        assert code_of(refusal, 5) == Reason.UNSUPPORTED_PROTOCOL_VERSION
    else:
        assert code_of(refusal, 4) == ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION
    assert refusal.refusal.version == level


def test_mqtt_3_1_is_told_that_it_is_not_spoken() -> None:
    body = b"\0\6MQIsdp\3\2\0\x3c\0\2me"
    refusal = refused(bytes((0x10, len(body))) + body)

    assert code_of(refusal, 4) == ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION
    assert refusal.refusal.version == 3


def test_another_protocol_is_not_answered() -> None:
    body = b"\0\4AMQP\5\2\0\x3c\0\2me"

    assert refused(bytes((0x10, len(body))) + body).answer == b""


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.wire[0] >> 4 == 1], ids=str)
def test_faulty_connect_is_answered_in_version_5_only(fault: Any) -> None:
    refusal = refused(fault.wire)

    if refusal.answer and refusal.refusal.version & 0x7F >= 5:
        assert code_of(refusal, 5) == fault.code
        assert fault.wire[6:9] == b"TT\x05" or fault.code == Reason.UNSUPPORTED_PROTOCOL_VERSION
    elif refusal.answer:
        assert code_of(refusal, 4) == ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION


# Client identifiers


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("client_id", "lenient", "azure"),
    [
        ("a", True, True),
        ("x" * 128, True, True),
        ("x" * 129, False, False),
        ("mqttjs_0a1b2c3d", True, True),
        ("a-b.c:d e", True, False),
        ("датчик-7", True, False),
        ("a/b", False, False),
        ("a?b", False, False),
        ("a#b", False, False),
        ("a%b", False, False),
        ("a\nb", False, False),
        ("a\x7f", False, False),
        ("a\x85b", False, False),
    ],
)
def test_identifiers_have_their_characters(version: int, client_id: str, lenient: bool, azure: bool) -> None:
    for policy, accepted in ((Policy(), lenient), (AZURE, azure)):
        packet = connect(version, client_id)
        if accepted:
            taken(packet, policy)
        else:
            refusal = refused(packet, policy)
            expected = Reason.CLIENT_ID_NOT_VALID if version == 5 else ReturnCode.IDENTIFIER_REJECTED
            assert code_of(refusal, version) == expected
            assert refusal.refusal.about == client_id


def test_empty_identifier_is_given_another_where_that_can_be() -> None:
    taken(connect(5, ""))
    taken(connect(5, "", clean_start=False))
    taken(connect(4, ""), AZURE)
    assert code_of(refused(connect(4, "", clean_start=False)), 4) == ReturnCode.IDENTIFIER_REJECTED


# Keep alive


@pytest.mark.parametrize(
    ("keep_alive_s", "limited"), [(0, False), (1, True), (60, True), (180, True), (181, False), (65535, False)]
)
def test_keep_alive_of_the_older_version_may_be_limited(keep_alive_s: int, limited: bool) -> None:
    packet = connect(4, keep_alive_s=keep_alive_s)

    assert taken(packet).session(QueueLimits(), lambda _: None, "me").silence_s == keep_alive_s * 1.5
    if limited:
        taken(packet, AZURE)
    else:
        assert code_of(refused(packet, AZURE), 4) == ReturnCode.SERVER_UNAVAILABLE


@pytest.mark.parametrize("policy", [Policy(), AZURE])
@pytest.mark.parametrize(("keep_alive_s", "told"), [(0, 180), (1, None), (180, None), (181, 180), (65535, 180)])
def test_keep_alive_of_the_newer_version_is_replaced(policy: Policy, keep_alive_s: int, told: int | None) -> None:
    client = Client(5, keep_alive_s=keep_alive_s, policy=policy)

    [connack] = client.hear(client.session.connack(False))

    assert isinstance(connack, Connack)
    assert connack.properties.server_keep_alive_s == told
    assert client.session.silence_s == (told or keep_alive_s) * 1.5


# Wills


@pytest.mark.parametrize(
    ("will", "code", "return_code"),
    [
        (Will("", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("  ", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("x" * 1025, b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("a/+", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("a/#", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("$webpubsub/server/messages", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("$webpubsub/server/events/a", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("$SYS/a", b""), Reason.TOPIC_NAME_INVALID, 5),
        (Will("a", b"x" * 2001), Reason.PACKET_TOO_LARGE, 5),
    ],
)
def test_wills_that_could_not_be_published_are_refused(will: Will, code: Reason, return_code: int) -> None:
    assert code_of(refused(connect(5, will=will)), 5) == code
    assert code_of(refused(connect(4, will=will)), 4) == return_code


@pytest.mark.parametrize("version", [4, 5])
def test_will_may_be_long_but_not_longer(version: int) -> None:
    taken(connect(version, will=Will("x" * 1024, b"x" * 2000, 2)), AZURE)


def test_will_that_is_to_be_retained_may_be_refused() -> None:
    will = Will("a", b"", retain=True)

    for policy in (Policy(), Policy(retain="keep")):
        taken(connect(5, will=will), policy)
    taken(connect(4, will=will), AZURE)
    assert code_of(refused(connect(5, will=will), AZURE), 5) == Reason.RETAIN_UNSUPPORTED


# Other refusals


def test_enhanced_authentication_is_refused() -> None:
    packet = connect(5, "", properties=Properties(authentication_method="SCRAM"))

    assert code_of(refused(packet), 5) == Reason.BAD_AUTHENTICATION_METHOD


def test_others_may_refuse_in_the_same_words() -> None:
    pairs = (("a", "b"),)
    [packet] = heard(taken(connect(5)).refuse(Reason.BANNED, "go away", pairs), 5)
    assert packet == Connack(False, Reason.BANNED, Properties(reason_string="go away", user_properties=pairs))

    [packet] = heard(taken(connect(4)).refuse(ReturnCode.NOT_AUTHORIZED, "go away", pairs), 4)
    assert packet == Connack(False, ReturnCode.NOT_AUTHORIZED)


@pytest.mark.parametrize(
    ("most", "reason", "pairs"), [(20, False, False), (30, True, False), (100, True, True), (None, True, True)]
)
def test_refusal_leaves_out_what_the_client_cannot_take(most: int | None, reason: bool, pairs: bool) -> None:
    arrival = taken(connect(5, properties=Properties(maximum_packet_size=most)))
    frame = arrival.refuse(Reason.BANNED, "go away, all of you", (("a", "b" * 9),))
    [packet] = heard(frame, 5)

    assert isinstance(packet, Connack)
    assert packet.properties.reason_string == ("go away, all of you" if reason else None)
    assert bool(packet.properties.user_properties) is pairs
    assert most is None or len(frame) - 2 <= most


# What is granted


@pytest.mark.parametrize(
    ("asked_s", "told_s", "effective_s"), [(None, None, 0), (0, None, 0), (10, None, 10), (30, None, 30), (31, 30, 30)]
)
def test_session_lives_as_long_as_asked_for_within_the_limit(
    asked_s: int | None, told_s: int | None, effective_s: int
) -> None:
    client = Client(5, properties=Properties(session_expiry_s=asked_s))
    [connack] = client.hear(client.session.connack(False))

    assert isinstance(connack, Connack)
    assert connack.properties.session_expiry_s == told_s
    assert client.session.recoverable is (effective_s > 0)
    assert client.session.retention_s == effective_s


def test_session_without_limit_is_limited_too() -> None:
    client = Client(5, properties=Properties(session_expiry_s=0xFFFFFFFF), policy=Policy(session_expiry_s=7))

    assert client.session.retention_s == 7


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("limit_s", [0, 30])
def test_session_of_the_older_version_lives_on_unless_it_is_clean(clean: bool, limit_s: int) -> None:
    session = Client(4, clean_start=clean, policy=Policy(session_expiry_s=limit_s)).session

    assert session.recoverable is (limit_s > 0 and not clean)
    assert session.retention_s == (0 if clean else limit_s)


def test_connack_says_what_is_not_offered() -> None:
    client = Client(5)

    assert client.hear(client.session.connack(False, "new-id", (("a", "b"),))) == [
        Connack(
            False,
            0,
            Properties(
                assigned_client_id="new-id",
                receive_maximum=1024,
                retain_available=0,
                maximum_packet_size=1 << 20,
                wildcard_available=0,
                shared_available=0,
                user_properties=(("a", "b"),),
            ),
        )
    ]


def test_connack_does_not_say_what_a_client_takes_for_granted() -> None:
    client = Client(5, policy=Policy(receive_maximum=65535, retain="keep"))
    [connack] = client.hear(client.session.connack(True))

    assert isinstance(connack, Connack)
    assert connack.session_present
    assert connack.properties.receive_maximum is None
    assert connack.properties.retain_available is None


def test_connack_is_no_larger_than_the_client_takes() -> None:
    client = Client(5, properties=Properties(maximum_packet_size=100))
    frame = client.session.connack(False, None, (("a", "b" * 200),))

    assert len(frame) <= 102
    assert client.hear(frame)


@pytest.mark.parametrize(("client_id", "assigned"), [("me", None), ("", "0" * 32)])
@pytest.mark.parametrize(("asked_s", "keep_alive_s"), [(None, 60), (60, 60), (60, 0)])
def test_who_takes_no_packet_as_large_as_the_connack_is_sent_away_without(
    client_id: str, assigned: str | None, asked_s: int | None, keep_alive_s: int
) -> None:
    """
    It must not be sent then [3.1.2-24], and it may not leave out any of that. Topic aliases it may: they are offered to
    whoever takes what tells it.
    """
    properties = Properties(session_expiry_s=asked_s)
    offering = Policy(topic_alias_maximum=16)
    client = Client(5, client_id=client_id, properties=properties, keep_alive_s=keep_alive_s)
    size = len(client.session.connack(True, assigned)) - 2

    for most in (1, 5, size - 1):
        arrival = Arrival(offering)
        packet = replace(client.connect, properties=replace(properties, maximum_packet_size=most))
        with pytest.raises(ArrivalRefused) as caught:
            arrival.feed(encode(packet, 5))
        assert caught.value.answer == b""
        assert caught.value.refusal == Refusal(Reason.PROTOCOL_ERROR, 5, "maximum packet size")
    for most, offered in ((size, 0), (size + 2, 0), (size + 3, 16)):
        packet = replace(client.connect, properties=replace(properties, maximum_packet_size=most))
        arrival = Arrival(offering)
        assert arrival.feed(encode(packet, 5)) == packet
        assert arrival.agreement is not None
        assert arrival.agreement.topic_aliases == offered
        assert len(arrival.agreement.connack(True, assigned, ())) == size + (3 if offered else 0)


@pytest.mark.parametrize("most", [1, 4, 5])
def test_refusal_is_no_larger_than_the_client_takes(most: int) -> None:
    properties = Properties(maximum_packet_size=most, authentication_method="x")

    with pytest.raises(ArrivalRefused) as caught:
        Arrival(Policy()).feed(encode(Connect(5, "me", True, 60, properties=properties), 5))

    answer = [Connack(False, Reason.BAD_AUTHENTICATION_METHOD)] if most == 5 else []
    assert heard(caught.value.answer, 5) == answer


def test_connack_of_the_older_version_has_nothing_more() -> None:
    client = Client(4, clean_start=False)

    assert client.hear(client.session.connack(True, "id", (("a", "b"),))) == [Connack(True, 0)]


@given(
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda rest: b"\x10" + bytes((len(rest) + 7,)) + b"\0\4MQTT\5" + rest)
)
def test_nothing_but_a_refusal_comes_of_bytes(data: bytes) -> None:
    try:
        Arrival(Policy()).feed(data)
    except ArrivalRefused as refusal:
        if refusal.answer:
            heard(refusal.answer, refusal.refusal.version)

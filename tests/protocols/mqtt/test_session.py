"""The life of an MQTT session: what it hears from its CONNECT to the last packet of either side."""

import sys
from typing import Any

import pytest

from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import (
    Connected,
    Data,
    Disconnected,
    Goodbye,
    InvokeResponse,
    Publication,
    SendToGroup,
)
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.endings import Ending, WillMessage
from hubwire.protocols.mqtt.arrival import Policy, Refusal
from hubwire.protocols.mqtt.codec import CODECS
from hubwire.protocols.mqtt.packets import (
    DISCONNECT_FROM_CLIENT,
    FROM_CLIENT,
    NO_PROPERTIES,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from hubwire.protocols.session import Breach, Session
from protocols.mqtt.pretend import FORBIDDEN, NOW, Client, from_mqtt
from vectors.mqtt_packets import FAULTS

KEPT = Properties(session_expiry_s=20)
WILL = Will("late", b"gone")


def fault_of(client: Client) -> Reason | None:
    fault = client.session.fault
    return None if fault is None else fault.code


def bye(client: Client, code: int = 0, **properties: Any) -> None:
    assert client.say(Disconnect(code, Properties(**properties) if properties else NO_PROPERTIES)) == [Goodbye()]


# What it is


@pytest.mark.parametrize("version", [4, 5])
def test_session_is_one_of_the_house(version: int) -> None:
    session: Session = Client(version).session

    assert session.codec is CODECS[version]
    assert session.codec.numbers
    assert session.codec.keeps
    assert session.subprotocol == "mqtt"
    assert session.held() == (0, 0)
    assert session.says_goodbye
    assert (session.ending, session.will, session.fault) == (None, None, None)
    assert session.resume(NOW) == ()
    assert session.outgoing(NOW) == ()
    assert session.takes("a/b")
    assert not session.takes("a/+")
    assert not session.takes("a\0b")
    assert not session.takes("$a")


def test_idle_session_is_small() -> None:
    """Everything that only some clients need is made when they do."""
    session = Client(5).session
    parts = [session, session._exchange, session._agreement, session._reader]

    assert sum(map(sys.getsizeof, parts)) < 700
    assert all(
        getattr(session, name) is None
        for name in ("_inbound", "_outbound", "_subscriptions", "_rest", "will", "ending")
    )


# What it hears


@pytest.mark.parametrize("version", [4, 5])
def test_ping_is_answered(version: int) -> None:
    client = Client(version)

    assert client.say(Pingreq(), Pingreq()) == []
    assert client.answers == [Pingresp(), Pingresp()]


@pytest.mark.parametrize("version", [4, 5])
def test_packets_may_come_in_pieces(version: int) -> None:
    client = Client(version)
    data = encode(Publish("news", b"x"), version) + encode(Pingreq(), version)

    requests = [request for byte in data for request in client.say(bytes((byte,)))]

    assert len(requests) == 1
    assert client.answers == [Pingresp()]


@pytest.mark.parametrize("version", [4, 5])
def test_second_connect_is_the_end(version: int) -> None:
    client = Client(version)

    assert client.say(Connect(version, "me", True, 60)) == []
    assert fault_of(client) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "packet",
    [
        Connack(False),
        Suback(1, (0,)),
        Unsuback(1, (0,)),
        Pingresp(),
        encode(Auth(0x18, Properties(authentication_method="x")), 5),
        b"\xf0\0",
        b"\x20\0",
        b"\0\0",
    ],
    ids=str,
)
def test_packets_that_no_client_sends_are_the_end(version: int, packet: Packet | bytes) -> None:
    client = Client(version)

    assert client.say(packet) == []
    assert fault_of(client) == (Reason.MALFORMED_PACKET if packet == b"\0\0" else Reason.PROTOCOL_ERROR)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_faulty_packets_are_the_end(fault: Any) -> None:
    """With the code of what is wrong; what came before is carried out, and what comes after is not."""
    client = Client(fault.version)
    kind = fault.wire[0] >> 4

    requests = client.say(Publish("before", b""), fault.wire, Publish("after", b""))

    assert [request.group for request in requests if isinstance(request, SendToGroup)] == ["before"]
    if kind == 1 or (kind and kind not in FROM_CLIENT[fault.version]):
        assert fault_of(client) == Reason.PROTOCOL_ERROR
    else:
        assert fault_of(client) == fault.code
    assert client.say(Pingreq()) == []
    assert client.answers == []


def test_text_is_the_end() -> None:
    client = Client(5)

    assert client.session.receive("text") == []
    fault = client.session.fault
    assert fault is not None
    assert fault.close_code == 1003


@pytest.mark.parametrize("version", [4, 5])
def test_packet_that_is_too_large_is_the_end(version: int) -> None:
    client = Client(version, policy=Policy(max_packet_bytes=100))

    assert len(client.say(Publish("a", b""), Publish("b", b"x" * 100))) == 1
    assert fault_of(client) == Reason.PACKET_TOO_LARGE
    assert client.noted == [Refusal(Reason.PACKET_TOO_LARGE, version)]


# The client's goodbye


@pytest.mark.parametrize("version", [4, 5])
def test_goodbye_is_a_request_and_the_last_one(version: int) -> None:
    client = Client(version, will=WILL)

    requests = client.say(Publish("a", b""), Disconnect(), Publish("b", b""), Pingreq(), b"\0\0")

    assert requests[1:] == [Goodbye()]
    assert client.answers == []
    assert client.session.ending == Ending(True, 0)
    assert client.session.will is None
    assert fault_of(client) is None
    assert client.say(Pingreq()) == []
    assert client.answers == []


def test_goodbye_may_ask_for_the_will() -> None:
    client = Client(5, will=WILL)

    bye(client, 0x04, reason_string="off", user_properties=(("a", "b"),))

    assert client.session.will == WillMessage("late", Data("binary", b"gone"), publication=Publication(0, "me"))
    assert client.session.ending == Ending(True, 4, "off", (("a", "b"),))


@pytest.mark.parametrize("code", sorted(DISCONNECT_FROM_CLIENT))
def test_only_a_normal_goodbye_takes_the_will_back(code: int) -> None:
    client = Client(5, will=WILL)

    bye(client, code)

    assert (client.session.will is None) is (code == 0)


@pytest.mark.parametrize("code", [0x8B, 0x8E, 0xA2])
def test_goodbye_with_a_code_of_servers_is_a_fault(code: int) -> None:
    client = Client(5)

    assert client.say(Disconnect(code)) == []
    assert fault_of(client) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("asked_s", "expiry_s", "effective_s"),
    [(20, None, 20), (20, 0, 0), (20, 5, 5), (20, 25, 25), (20, 0xFFFFFFFF, 30), (0, 0, 0), (None, 0, 0)],
)
def test_goodbye_may_change_how_long_the_session_lives(
    asked_s: int | None, expiry_s: int | None, effective_s: int
) -> None:
    client = Client(5, properties=Properties(session_expiry_s=asked_s))

    bye(client, session_expiry_s=expiry_s)

    assert client.session.retention_s == effective_s
    assert client.session.recoverable is (effective_s > 0)


@pytest.mark.parametrize("asked_s", [None, 0])
def test_session_that_was_to_end_cannot_be_prolonged(asked_s: int | None) -> None:
    client = Client(5, properties=Properties(session_expiry_s=asked_s))

    assert client.say(Disconnect(0, Properties(session_expiry_s=1))) == []
    assert fault_of(client) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize(("expiry_s", "delay_s"), [(0, 0), (5, 5), (25, 15), (None, 15)])
def test_will_waits_no_longer_than_the_session(expiry_s: int | None, delay_s: int) -> None:
    client = Client(5, properties=KEPT, will=Will("late", b"", properties=Properties(will_delay_s=15)))

    bye(client, 0x04, session_expiry_s=expiry_s)

    assert client.session.will is not None
    assert client.session.will.delay_s == delay_s


# The server's goodbye


@pytest.mark.parametrize(
    ("category", "code"),
    [
        (CloseCategory.CLOSED_BY_APP_SERVER, Reason.ADMINISTRATIVE_ACTION),
        (CloseCategory.SERVICE_RELOAD, Reason.SERVER_SHUTTING_DOWN),
        (CloseCategory.SLOW_CLIENT, Reason.QUOTA_EXCEEDED),
        (CloseCategory.PING_TIMEOUT, Reason.KEEP_ALIVE_TIMEOUT),
        (CloseCategory.SERVICE_TRANSIENT_ERROR, Reason.IMPLEMENTATION_ERROR),
        (CloseCategory.UNAUTHORIZED, Reason.NOT_AUTHORIZED),
        (CloseCategory.THROTTLED, Reason.MESSAGE_RATE_TOO_HIGH),
        (CloseCategory.BAD_REQUEST, Reason.UNSPECIFIED_ERROR),
        (CloseCategory.NORMAL, Reason.UNSPECIFIED_ERROR),
        (CloseCategory.SEND_EVENT_FAILED, Reason.UNSPECIFIED_ERROR),
    ],
)
def test_end_of_a_connection_has_its_code(category: CloseCategory, code: Reason) -> None:
    client = Client(5)
    words = "because" if category == CloseCategory.CLOSED_BY_APP_SERVER else "a text"

    packets = client.tell(Disconnected("a text", category, "because"))

    assert packets == [Disconnect(code, Properties(reason_string=words))]
    assert client.session.ending == Ending(False, code, words)
    assert client.noted == [Refusal(code, 5)]


def test_application_may_have_no_reason() -> None:
    client = Client(5)

    packets = client.tell(Disconnected("Application server closed.", CloseCategory.CLOSED_BY_APP_SERVER, ""))

    assert packets == [Disconnect(Reason.ADMINISTRATIVE_ACTION)]


def test_fault_is_what_a_bad_request_is_told() -> None:
    client = Client(5)
    client.say(Publish("news", b"", properties=Properties(topic_alias=1)))
    fault = client.session.fault
    assert fault is not None

    packets = client.tell(Disconnected(fault.reason, CloseCategory.BAD_REQUEST))

    assert packets == [Disconnect(Reason.TOPIC_ALIAS_INVALID, Properties(reason_string=fault.reason))]
    assert client.noted == [Refusal(Reason.TOPIC_ALIAS_INVALID, 5, "news", packet="PUBLISH")]


@pytest.mark.parametrize(
    ("close_code", "code", "closed"),
    [(1002, Reason.PROTOCOL_ERROR, 1002), (1003, Reason.PROTOCOL_ERROR, 1003), (1009, Reason.PACKET_TOO_LARGE, 1000)],
)
def test_broken_frames_are_a_fault(close_code: int, code: Reason, closed: int) -> None:
    """Nothing is heard of this socket any more, and the last packet says why; the session may go on."""
    client = Client(5)

    breach = client.session.breached(ProtocolViolation("broken", close_code))

    assert breach == Breach(closed, CloseCategory.BAD_REQUEST, final=False)
    assert fault_of(client) == code
    assert client.say(Pingreq()) == []
    packets = client.tell(Disconnected("broken", CloseCategory.BAD_REQUEST))
    assert packets == [Disconnect(code, Properties(reason_string="broken"))]
    assert client.noted == [Refusal(code, 5)]


def test_broken_frames_of_who_has_left_are_nothing() -> None:
    client = Client(5)
    bye(client)

    client.session.breached(ProtocolViolation("broken", 1002))

    assert client.session.fault is None
    assert client.noted == []


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("violation", "breach"),
    [
        (MqttViolation(Reason.PROTOCOL_ERROR, "x"), Breach(1000, CloseCategory.BAD_REQUEST, final=False)),
        (MqttViolation(Reason.PACKET_TOO_LARGE, "x", 1009), Breach(1000, CloseCategory.BAD_REQUEST, final=False)),
        (MqttViolation(Reason.PROTOCOL_ERROR, "x", 1003), Breach(1003, CloseCategory.BAD_REQUEST, final=False)),
        (MqttViolation(Reason.QUOTA_EXCEEDED, "x"), Breach(1008, CloseCategory.SLOW_CLIENT, final=True)),
    ],
)
def test_broken_packets_end_the_socket_and_too_many_answers_the_session(
    version: int, violation: MqttViolation, breach: Breach
) -> None:
    """Where a packet says why, the WebSocket is closed as normal."""
    expected = breach if version == 5 or breach.final else breach._replace(close_code=violation.close_code)

    assert Client(version).session.breached(violation) == expected


@pytest.mark.parametrize("category", list(CloseCategory))
def test_older_version_has_no_words_for_an_end(category: CloseCategory) -> None:
    client = Client(4)

    assert client.tell(Disconnected("a text", category, "because")) == []
    assert client.session.farewell(Reason.SESSION_TAKEN_OVER) == b""
    assert client.session.ending is None


@pytest.mark.parametrize("version", [4, 5])
def test_reason_of_an_end_is_noted_also_where_it_cannot_be_said(version: int) -> None:
    client = Client(version)

    client.tell(Disconnected("not allowed", CloseCategory.UNAUTHORIZED))

    assert client.noted == [Refusal(Reason.NOT_AUTHORIZED, version)]


@pytest.mark.parametrize("reason", [Reason.SESSION_TAKEN_OVER, Reason.KEEP_ALIVE_TIMEOUT])
def test_farewell_says_what_no_category_does(reason: Reason) -> None:
    client = Client(5)

    assert client.hear(client.session.farewell(reason)) == [Disconnect(reason)]
    assert client.session.ending == Ending(False, reason)


def test_nothing_is_said_after_the_last_word() -> None:
    ended = Client(5)
    [request] = ended.say(Publish("a", b"", 1, packet_id=1))
    ended.session.farewell(Reason.SERVER_BUSY, "later")
    left = Client(5)
    bye(left)

    for client in (ended, left):
        assert client.session.farewell(Reason.SERVER_BUSY) == b""
        assert client.tell(Disconnected("x", CloseCategory.SERVICE_RELOAD)) == []
    assert ended.ack(request) == []
    assert ended.say(Pingreq()) == []
    assert ended.answers == []


def test_outcomes_of_what_came_before_a_goodbye_are_told() -> None:
    client = Client(5)
    request, _ = client.say(Publish("a", b"", 1, packet_id=1), Disconnect())

    assert client.ack(request) == [Puback(1)]


@pytest.mark.parametrize(("most", "told"), [(20, "shutting down"), (19, None)])
def test_reason_that_a_client_cannot_take_is_left_out(most: int, told: str | None) -> None:
    client = Client(5, properties=Properties(maximum_packet_size=most))

    frame = client.session.farewell(Reason.SERVER_SHUTTING_DOWN, "shutting down")

    [packet] = client.hear(frame)
    assert isinstance(packet, Disconnect)
    assert packet.properties.reason_string == told


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 70_000, "ё" * 40_000])
def test_reason_that_no_packet_can_carry_is_cut(text: str) -> None:
    client = Client(5)

    [packet] = client.tell(Disconnected("x", CloseCategory.CLOSED_BY_APP_SERVER, text))

    assert isinstance(packet, Disconnect)
    assert packet.properties.reason_string
    assert len(packet.properties.reason_string.encode()) <= 65535


def test_reasons_of_an_end_are_told_to_everybody() -> None:
    """Unlike those of other packets."""
    client = Client(5, properties=Properties(request_problem_information=0))

    [packet] = client.tell(Disconnected("x", CloseCategory.SERVICE_RELOAD))

    assert packet == Disconnect(Reason.SERVER_SHUTTING_DOWN, Properties(reason_string="x"))


@pytest.mark.parametrize("version", [4, 5])
def test_other_words_are_for_other_clients(version: int) -> None:
    client = Client(version)

    assert client.tell(Connected("id", "user", "token")) == []
    assert client.tell(InvokeResponse("1")) == []


# Another socket


def test_another_socket_brings_everything_of_its_connect() -> None:
    client = Client(4, clean_start=False, keep_alive_s=10, will=WILL)
    client.say(Disconnect())
    client.session.lost()
    client.connect = Connect(4, "me", False, 77, Will("other", b""))
    client.back(version=5, properties=Properties(session_expiry_s=7))

    session = client.session
    assert session.version == 5
    assert session.codec is CODECS[5]
    assert session.silence_s == 77 * 1.5
    assert session.retention_s == 7
    assert session.ending is None
    assert session.will is not None
    assert session.will.topic == "other"
    client.say(Pingreq())
    assert client.answers == [Pingresp()]


@pytest.mark.parametrize("version", [4, 5])
def test_half_a_packet_is_not_continued_by_another_socket(version: int) -> None:
    client = Client(version, clean_start=False)
    client.say(b"\x30\x10\0")
    client.back()

    client.say(Pingreq())

    assert client.answers == [Pingresp()]
    assert fault_of(client) is None


def test_what_was_to_be_said_to_an_earlier_socket_is_not_said_to_another() -> None:
    client = Client(5, properties=KEPT)
    client.session.receive(encode(Pingreq(), 5))
    client.session.lost()
    client.back()

    assert client.session.outgoing(NOW) == ()


@pytest.mark.parametrize("version", [4, 5])
def test_nothing_goes_out_without_a_socket(version: int) -> None:
    client = Client(version, clean_start=False)
    client.ask(Subscribe(1, (Filter("news", 1),)))
    client.session.lost()
    client.deliver(from_mqtt())

    assert client.session.outgoing(NOW) == ()
    assert client.release() == []


# What is noted


@pytest.mark.parametrize("version", [4, 5])
def test_refusals_of_one_topic_are_noted_for_each_kind_of_packet(version: int) -> None:
    client = Client(version)
    packets = (
        Subscribe(1, (Filter("news", 1),)),
        Publish("news", b"", 1, packet_id=2),
        Unsubscribe(3, ("news",)),
    )
    for _ in range(2):
        for packet in packets:
            [request] = client.say(packet)
            client.ack(request, FORBIDDEN)

    assert client.noted == [
        Refusal(Reason.NOT_AUTHORIZED, version, "news", packet=name) for name in ("SUBSCRIBE", "PUBLISH", "UNSUBSCRIBE")
    ]


@pytest.mark.parametrize("version", [4, 5])
def test_refusal_that_ends_the_socket_is_noted_once_with_its_topic(version: int) -> None:
    client = Client(version)
    client.say(Publish("news", b""))
    client.session.not_allowed("news", "not allowed")

    packets = client.tell(Disconnected("not allowed", CloseCategory.UNAUTHORIZED))

    said = [Disconnect(Reason.NOT_AUTHORIZED, Properties(reason_string="not allowed"))]
    assert packets == (said if version == 5 else [])
    assert client.noted == [Refusal(Reason.NOT_AUTHORIZED, version, "news", packet="PUBLISH")]


def test_refusals_are_noted_once_and_not_without_end() -> None:
    client = Client(5)
    for _ in range(3):
        [request] = client.say(Publish("secret", b"", 1, packet_id=1))
        client.ack(request, FORBIDDEN)
    assert client.noted == [Refusal(Reason.NOT_AUTHORIZED, 5, "secret", packet="PUBLISH")]

    for number in range(100):
        [request] = client.say(Publish(f"secret/{number}", b"", 1, packet_id=1))
        client.ack(request, FORBIDDEN)
    assert len(client.noted) == 16
    assert [refusal.is_last for refusal in client.noted] == [False] * 15 + [True]

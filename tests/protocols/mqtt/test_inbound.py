"""What MQTT clients publish: requests, and the answers to these with each QoS and in each version."""

from collections.abc import Sequence
from typing import Any

import pytest

from hubwire.model.messages import (
    Ack,
    AckError,
    ClientRequest,
    Data,
    GroupMessage,
    Publication,
    SendEvent,
    SendToGroup,
)
from hubwire.protocols.mqtt.arrival import Policy, Refusal
from hubwire.protocols.mqtt.contents import properties_of
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Filter,
    Packet,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from hubwire.protocols.mqtt.reasons import ADVICE, Reason
from protocols.mqtt.pretend import FORBIDDEN, Client

EVENT = "$webpubsub/server/events/hello"
LIMIT = AckError("InternalServerError", "too many", limit=True)
INTERNAL = AckError("InternalServerError", "Internal server error")


def publish(qos: int = 1, packet_id: int | None = 7, topic: str = "news", **fields: Any) -> Publish:
    properties = fields.pop("properties", NO_PROPERTIES)
    return Publish(
        topic, fields.pop("payload", b"x"), qos, packet_id=packet_id if qos else None, properties=properties, **fields
    )


def answer(qos: int, packet_id: int, code: int = 0, text: str | None = None) -> Packet:
    properties = NO_PROPERTIES if text is None else Properties(reason_string=text)
    return Puback(packet_id, code, properties) if qos == 1 else Pubrec(packet_id, code, properties)


def fault_of(client: Client) -> Reason | None:
    fault = client.session.fault
    return None if fault is None else fault.code


# To requests


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_message_is_sent_to_the_group_of_its_topic(version: int, qos: int) -> None:
    client = Client(version)

    [request] = client.say(publish(qos, topic="a/b", payload=b"\0\xff"))

    assert request == SendToGroup(
        "a/b",
        Data("binary", b"\0\xff"),
        1 if qos else None,
        must_succeed=qos == 0,
        publication=Publication(qos, "me"),
    )
    assert client.answers == []


def test_properties_are_kept_for_others() -> None:
    client = Client(5)
    properties = Properties(
        payload_format=1,
        message_expiry_s=90,
        content_type="application/json",
        response_topic="r",
        correlation_data=b"c",
        user_properties=(("a", "1"), ("b c", "2")),
    )

    [request] = client.say(publish(1, payload=b'{"x":1}', properties=properties))

    assert request == SendToGroup(
        "news",
        Data("json", b'{"x":1}'),
        1,
        ttl_s=90,
        metadata={"a": "1"},
        publication=Publication(1, "me", "application/json", True, "r", b"c", (("a", "1"), ("b c", "2")), 90),
    )


@pytest.mark.parametrize(("expiry_s", "ttl_s"), [(0, 1), (1, 1), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_message_waits_for_as_long_as_it_says(expiry_s: int, ttl_s: int) -> None:
    [request] = Client(5).say(publish(properties=Properties(message_expiry_s=expiry_s)))

    assert isinstance(request, SendToGroup)
    assert request.ttl_s == ttl_s
    assert request.publication is not None
    assert request.publication.expiry_s == expiry_s


def test_payload_of_the_older_version_may_be_text() -> None:
    [request] = Client(4, policy=Policy(v4_text=True)).say(publish())

    assert isinstance(request, SendToGroup)
    assert request.data == Data("text", b"x")


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_event_is_for_the_application(version: int, qos: int) -> None:
    client = Client(version)

    [request] = client.say(publish(qos, topic=EVENT))

    assert request == SendEvent("hello", Data("binary", b"x"), 1 if qos else None, publication=Publication(qos, "me"))


@pytest.mark.parametrize("version", [4, 5])
def test_requests_have_numbers_of_their_own(version: int) -> None:
    """They are never used again, unlike packet identifiers."""
    client = Client(version)

    for number in range(1, 5):
        [request] = client.say(publish(packet_id=9))
        assert isinstance(request, SendToGroup)
        assert request.ack_id == number
        client.ack(request)


# Their outcome


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("topic", ["news", EVENT])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, Reason.SUCCESS),
        (FORBIDDEN, Reason.NOT_AUTHORIZED),
        (LIMIT, Reason.QUOTA_EXCEEDED),
        (INTERNAL, Reason.UNSPECIFIED_ERROR),
    ],
)
def test_outcome_is_the_code_of_the_answer(qos: int, topic: str, error: AckError | None, code: Reason) -> None:
    client = Client(5)
    [request] = client.say(publish(qos, topic=topic))

    assert client.ack(request, error) == [answer(qos, 7, code, None if error is None else error.message)]
    assert client.noted == ([] if error is None else [Refusal(code, 5, topic, packet="PUBLISH")])
    assert fault_of(client) is None


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("error", [None, FORBIDDEN, LIMIT, INTERNAL])
def test_older_version_is_told_yes_always(qos: int, error: AckError | None) -> None:
    """It has no other word, so the refusal is known here only."""
    client = Client(4)
    [request] = client.say(publish(qos))

    assert client.ack(request, error) == [answer(qos, 7)]
    assert len(client.noted) == (error is not None)
    if qos == 2:
        client.say(Pubrel(7))
        assert client.answers == [Pubcomp(7)]


@pytest.mark.parametrize("qos", [1, 2])
def test_event_that_nobody_is_told_of_has_no_subscribers(qos: int) -> None:
    client = Client(5)
    [request] = client.say(publish(qos, topic=EVENT))

    assert client.ack(request, changed=False) == [answer(qos, 7, Reason.NO_MATCHING_SUBSCRIBERS)]
    assert client.noted == []


def test_reason_is_given_to_who_wants_it_only() -> None:
    client = Client(5, properties=Properties(request_problem_information=0))
    [request] = client.say(publish())

    assert client.ack(request, FORBIDDEN) == [answer(1, 7, Reason.NOT_AUTHORIZED)]


def test_reason_is_left_out_where_it_would_be_too_much() -> None:
    client = Client(5, properties=Properties(maximum_packet_size=25))
    [request] = client.say(publish())

    assert client.ack(request, FORBIDDEN) == [answer(1, 7, Reason.NOT_AUTHORIZED)]


def test_outcome_nobody_asked_for_is_ignored() -> None:
    client = Client(5)
    [request] = client.say(publish())
    client.ack(request)

    assert client.ack(request) == []
    assert client.tell(Ack(99)) == []


# Topics that are none


BAD_TOPICS = [
    " ",
    "x" * 1025,
    "$SYS/x",
    "$share/a/b",
    "$webpubsub/server/messages",
    "$webpubsub/server/events/",
    "$webpubsub/server/events/a/b",
    "$webpubsub/server/events/a/succeeded",
    "$webpubsub/server/events/1",
    "$webpubsub",
]


@pytest.mark.parametrize("topic", BAD_TOPICS)
@pytest.mark.parametrize("qos", [1, 2])
def test_topic_that_nobody_can_publish_to_is_refused(topic: str, qos: int) -> None:
    client = Client(5)

    assert client.say(publish(qos, topic=topic)) == []
    assert client.answers == [answer(qos, 7, Reason.TOPIC_NAME_INVALID, ADVICE[Reason.TOPIC_NAME_INVALID])]
    assert client.noted == [Refusal(Reason.TOPIC_NAME_INVALID, 5, topic, packet="PUBLISH")]
    assert fault_of(client) is None
    # The flow has ended with that.
    client.say(Pubrel(7))
    assert client.answers == [Pubcomp(7, Reason.PACKET_ID_NOT_FOUND)]


@pytest.mark.parametrize("topic", BAD_TOPICS)
@pytest.mark.parametrize("qos", [1, 2])
def test_older_version_is_not_told_that_its_topic_is_none(topic: str, qos: int) -> None:
    client = Client(4)

    assert client.say(publish(qos, topic=topic)) == []
    assert client.answers == [answer(qos, 7)]
    assert client.noted == [Refusal(Reason.TOPIC_NAME_INVALID, 4, topic, packet="PUBLISH")]
    if qos == 2:
        client.say(Pubrel(7))
        assert client.answers == [Pubcomp(7)]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("topic", BAD_TOPICS)
def test_with_qos_0_a_topic_that_is_none_is_the_end(version: int, topic: str) -> None:
    client = Client(version)

    assert client.say(publish(0, topic=topic)) == []
    assert fault_of(client) == Reason.TOPIC_NAME_INVALID
    assert client.noted == [Refusal(Reason.TOPIC_NAME_INVALID, version, topic, packet="PUBLISH")]


@pytest.mark.parametrize("version", [4, 5])
def test_with_qos_0_a_topic_of_other_servers_may_be_passed_over(version: int) -> None:
    """Nobody hears of it, and the client goes on; not so with a topic of ours that means nothing."""
    client = Client(version, policy=Policy(reserved_topics="drop"))

    assert client.say(publish(0, topic="$SYS/x")) == []
    assert fault_of(client) is None
    assert client.noted == [Refusal(Reason.TOPIC_NAME_INVALID, version, "$SYS/x", packet="PUBLISH")]
    assert len(client.say(publish(0, topic="a"))) == 1
    client.say(publish(0, topic="$webpubsub/x"))
    assert fault_of(client) == Reason.TOPIC_NAME_INVALID


@pytest.mark.parametrize("qos", [1, 2])
def test_with_other_qos_a_topic_of_other_servers_is_refused_always(qos: int) -> None:
    client = Client(5, policy=Policy(reserved_topics="drop"))

    client.say(publish(qos, topic="$SYS/x"))

    assert client.answers == [answer(qos, 7, Reason.TOPIC_NAME_INVALID, ADVICE[Reason.TOPIC_NAME_INVALID])]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("topic", ["a/+", "#"])
def test_topic_with_wildcards_is_the_end(version: int, qos: int, topic: str) -> None:
    client = Client(version)

    assert client.say(publish(qos, topic=topic)) == []
    assert fault_of(client) == Reason.TOPIC_NAME_INVALID


# What else a message may not be


def test_topic_alias_is_the_end_where_none_is_offered() -> None:
    client = Client(5)

    client.say(publish(0, properties=Properties(topic_alias=1)))

    assert fault_of(client) == Reason.TOPIC_ALIAS_INVALID


def aliased(alias: int, topic: str = "", qos: int = 0, **more: Any) -> Publish:
    return publish(qos, topic=topic, properties=Properties(topic_alias=alias), **more)


@pytest.mark.parametrize("topic", ["news", ""])
def test_topic_alias_above_what_is_offered_is_the_end(topic: str) -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2))

    assert client.say(aliased(3, topic)) == []
    assert fault_of(client) == Reason.TOPIC_ALIAS_INVALID


def test_topic_alias_is_the_end_where_there_was_no_room_to_offer_it() -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2), properties=Properties(maximum_packet_size=20))

    assert client.say(aliased(1, "news")) == []
    assert fault_of(client) == Reason.TOPIC_ALIAS_INVALID


def test_topic_alias_that_stands_for_nothing_is_the_end() -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2))
    client.say(aliased(1, "news"))

    assert client.say(aliased(2)) == []
    assert fault_of(client) == Reason.PROTOCOL_ERROR


def topics(requests: Sequence[ClientRequest]) -> list[str]:
    return [request.group for request in requests if isinstance(request, SendToGroup)]


def test_topic_alias_stands_for_the_topic_that_it_came_with_last() -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2))

    said = (aliased(1, "news"), aliased(2, "rain"), aliased(1), aliased(2), aliased(1, "snow"), aliased(1), aliased(2))
    assert topics(client.say(*said)) == ["news", "rain", "news", "rain", "snow", "snow", "rain"]


def test_topic_alias_is_of_one_socket_only() -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2), properties=Properties(session_expiry_s=30))
    client.say(aliased(1, "news"))
    client.take_over()

    assert client.say(aliased(1)) == []
    assert fault_of(client) == Reason.PROTOCOL_ERROR


def test_topic_alias_comes_with_a_message_that_is_refused_or_repeated_as_well() -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2))

    first = client.say(aliased(1, "$SYS/none", qos=1, packet_id=1))
    assert (topics(first), [packet.code for packet in client.answers if isinstance(packet, Puback)]) == (
        [],
        [Reason.TOPIC_NAME_INVALID],
    )
    assert topics(client.say(aliased(2, "news", qos=1, packet_id=2))) == ["news"]
    assert client.say(aliased(2, qos=1, packet_id=2, dup=True)) == []
    assert topics(client.say(aliased(2, qos=1, packet_id=3))) == ["news"]


def test_receivers_are_told_nothing_of_a_topic_alias() -> None:
    client = Client(5, policy=Policy(topic_alias_maximum=2))

    [request] = client.say(aliased(1, "news"))

    assert isinstance(request, SendToGroup)
    message = GroupMessage(request.group, request.data, publication=request.publication)
    assert properties_of(message, (), None).topic_alias is None


def test_subscription_identifier_of_a_client_is_the_end() -> None:
    client = Client(5)

    client.say(publish(0, properties=Properties(subscription_ids=(1,))))

    assert fault_of(client) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_message_is_sent_or_refused(qos: int) -> None:
    strict = Policy(retain="refuse")
    for version, policy, taken in ((5, Policy(), True), (4, strict, True), (5, strict, False)):
        client = Client(version, policy=policy)

        requests = client.say(publish(qos, retain=True))

        assert len(requests) == taken
        assert fault_of(client) == (None if taken else Reason.RETAIN_UNSUPPORTED)
        assert not any(is_to_be_kept(request) for request in requests)


def is_to_be_kept(request: ClientRequest) -> bool:
    assert isinstance(request, SendToGroup)
    assert request.publication is not None
    return request.publication.retain


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_message_is_to_be_kept_where_that_is_offered(version: int, qos: int) -> None:
    client = Client(version, policy=Policy(retain="keep"))

    said = [publish(qos, retain=True), publish(qos, 8), publish(qos, 9, payload=b"", retain=True)]

    assert [is_to_be_kept(request) for request in client.say(*said)] == [True, False, True]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_event_with_a_content_type_that_is_none_is_refused(qos: int) -> None:
    client = Client(5)

    assert client.say(publish(qos, topic=EVENT, properties=Properties(content_type="no type"))) == []
    code = Reason.PAYLOAD_FORMAT_INVALID
    assert client.answers == ([] if qos == 0 else [answer(qos, 7, code, ADVICE[code])])
    assert client.noted == [Refusal(code, 5, EVENT, packet="PUBLISH")]
    assert fault_of(client) is None


def test_message_to_a_group_may_have_any_content_type() -> None:
    assert len(Client(5).say(publish(properties=Properties(content_type="no type")))) == 1


# QoS 2


@pytest.mark.parametrize("version", [4, 5])
def test_flow_of_qos_2_has_four_packets(version: int) -> None:
    client = Client(version)

    assert client.ask(publish(2)) == [Pubrec(7)]
    assert client.ask(Pubrel(7)) == [Pubcomp(7)]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("dup", [False, True])
def test_message_that_is_repeated_is_answered_and_not_sent_again(version: int, dup: bool) -> None:
    client = Client(version)
    [request] = client.say(publish(2))
    assert client.say(publish(2, dup=dup)) == []
    assert client.answers == []

    assert client.ack(request) == [Pubrec(7)]
    assert client.say(publish(2, dup=dup)) == []
    assert client.answers == [Pubrec(7)]
    client.say(Pubrel(7))
    assert client.answers == [Pubcomp(7)]
    assert len(client.say(publish(2))) == 1


def test_repeated_message_has_the_same_code_as_before() -> None:
    client = Client(5)
    [request] = client.say(publish(2, topic=EVENT))
    client.ack(request, changed=False)

    client.say(publish(2, topic=EVENT, dup=True))

    assert client.answers == [Pubrec(7, Reason.NO_MATCHING_SUBSCRIBERS)]


def test_failure_ends_the_flow() -> None:
    client = Client(5)
    [request] = client.say(publish(2))
    client.ack(request, FORBIDDEN)

    assert len(client.say(publish(2))) == 1


@pytest.mark.parametrize("version", [4, 5])
def test_release_of_nothing_is_answered(version: int) -> None:
    client = Client(version)

    client.say(Pubrel(9))

    assert client.answers == [Pubcomp(9, Reason.PACKET_ID_NOT_FOUND if version == 5 else 0)]


@pytest.mark.parametrize("version", [4, 5])
def test_release_before_the_answer_is_of_nothing(version: int) -> None:
    client = Client(version)
    [request] = client.say(publish(2))

    client.say(Pubrel(7))

    assert client.answers == [Pubcomp(7, Reason.PACKET_ID_NOT_FOUND if version == 5 else 0)]
    assert client.ack(request) == [Pubrec(7)]


# Identifiers that are in use


def test_message_with_the_identifier_of_another_one_is_refused() -> None:
    client = Client(5)
    [request] = client.say(publish(1))

    in_use = ADVICE[Reason.PACKET_ID_IN_USE]
    assert client.say(publish(1), publish(2)) == []
    assert client.ack(request) == [
        Puback(7),
        answer(1, 7, Reason.PACKET_ID_IN_USE, in_use),
        answer(2, 7, Reason.PACKET_ID_IN_USE, in_use),
    ]
    assert len(client.say(publish(1))) == 1


def test_older_version_cannot_be_told_so() -> None:
    client = Client(4)
    client.say(publish(1))

    assert client.say(publish(1)) == []
    assert fault_of(client) == Reason.PACKET_ID_IN_USE


@pytest.mark.parametrize("version", [4, 5])
def test_repetition_of_qos_1_has_the_answer_of_the_first(version: int) -> None:
    client = Client(version)
    [request] = client.say(publish(1))

    assert client.say(publish(1, dup=True)) == []
    assert client.ack(request) == [Puback(7)]
    # After that it would be another message.
    assert len(client.say(publish(1, dup=True))) == 1


def test_identifier_of_a_subscribe_is_in_use() -> None:
    client = Client(5)
    client.say(Subscribe(7, (Filter("a", 1),)))

    assert client.say(publish(1)) == []
    assert client.answers == [answer(1, 7, Reason.PACKET_ID_IN_USE, ADVICE[Reason.PACKET_ID_IN_USE])]


def test_message_of_qos_1_with_the_identifier_of_an_open_flow_is_refused() -> None:
    client = Client(5)
    client.ask(publish(2))

    assert client.say(publish(1, dup=True)) == []
    assert client.answers == [answer(1, 7, Reason.PACKET_ID_IN_USE, ADVICE[Reason.PACKET_ID_IN_USE])]


# The order of answers


@pytest.mark.parametrize("qos", [1, 2])
def test_refusal_waits_for_the_answers_to_messages_before(qos: int) -> None:
    client = Client(5)
    first, second = client.say(
        publish(qos, 1),
        publish(qos, 2),
        publish(qos, 3, topic="$bad"),
        publish(qos, 4, topic="$bad"),
    )
    refused = ADVICE[Reason.TOPIC_NAME_INVALID]

    assert client.answers == []
    assert client.ack(first) == [answer(qos, 1)]
    assert client.ack(second) == [
        answer(qos, 2),
        answer(qos, 3, Reason.TOPIC_NAME_INVALID, refused),
        answer(qos, 4, Reason.TOPIC_NAME_INVALID, refused),
    ]


# Receive maximum


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", [4, 5])
def test_more_open_messages_than_allowed_are_the_end(version: int, qos: int) -> None:
    """In 3.1.1 as well, which does not tell the client how many these are."""
    client = Client(version, policy=Policy(receive_maximum=3))

    requests = client.say(*[publish(qos, number) for number in range(1, 6)])

    assert len(requests) == 3
    assert fault_of(client) == Reason.RECEIVE_MAXIMUM_EXCEEDED


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_never_released_stays_open(version: int) -> None:
    client = Client(version, policy=Policy(receive_maximum=3))
    for number in range(1, 4):
        assert client.ask(publish(2, number)) == [Pubrec(number)]

    assert client.ask(publish(2, 4)) == []
    assert fault_of(client) == Reason.RECEIVE_MAXIMUM_EXCEEDED


def test_flows_that_are_over_are_not_counted() -> None:
    client = Client(5, policy=Policy(receive_maximum=2))
    for number in range(1, 20):
        assert client.ask(publish(1, number)) == [Puback(number)]
        assert client.ask(publish(2, number)) == [Pubrec(number)]
        assert client.ask(Pubrel(number)) == [Pubcomp(number)]
        [request] = client.say(publish(2, number))
        client.ack(request, FORBIDDEN)
    client.ask(publish(2, 1))
    client.ask(publish(2, 2))
    client.ask(publish(2, 1, dup=True))
    assert fault_of(client) is None
    client.say(publish(1, 3))
    assert fault_of(client) == Reason.RECEIVE_MAXIMUM_EXCEEDED


def keeper(version: int) -> Client:
    """A client that keeps its session and may leave two messages open."""
    properties = Properties(session_expiry_s=30) if version == 5 else NO_PROPERTIES
    return Client(version, policy=Policy(receive_maximum=2), properties=properties, clean_start=False)


@pytest.mark.parametrize("version", [4, 5])
def test_open_flows_of_an_earlier_socket_count(version: int) -> None:
    """Whether they are repeated or not; another socket is no way around the limit."""
    client = keeper(version)
    client.ask(publish(2, 1), publish(2, 2))

    client.back()
    assert client.ask(publish(2, 1, dup=True)) == [Pubrec(1)]
    assert client.ask(Pubrel(1)) == [Pubcomp(1)]
    assert client.ask(publish(2, 3)) == [Pubrec(3)]
    assert fault_of(client) is None
    client.back()
    assert client.ask(publish(2, 4)) == []
    assert fault_of(client) == Reason.RECEIVE_MAXIMUM_EXCEEDED


@pytest.mark.parametrize("version", [4, 5])
def test_messages_of_an_earlier_socket_count_until_their_outcome_is_known(version: int) -> None:
    """Also those that the client has forgotten, and whose identifiers are used again."""
    client = keeper(version)
    [forgotten] = client.say(publish(1, 1))
    client.back()
    [waits] = client.say(publish(1, 1))
    client.back()
    assert client.say(publish(1, 2)) == []
    assert fault_of(client) == Reason.RECEIVE_MAXIMUM_EXCEEDED

    client.back()
    assert client.ack(forgotten) == []
    [last] = client.say(publish(1, 2))
    client.ack(waits)
    client.ack(last)
    assert len(client.say(publish(1, 3), publish(1, 4))) == 2
    assert fault_of(client) is None


# Other sockets


@pytest.mark.parametrize("version", [4, 5])
def test_identifiers_of_qos_2_outlive_the_socket(version: int) -> None:
    client = Client(
        version, clean_start=False, properties=Properties(session_expiry_s=30) if version == 5 else NO_PROPERTIES
    )
    client.ask(publish(2))

    client.session.lost()
    client.back()

    assert client.ask(publish(2, dup=True)) == [Pubrec(7)]
    assert client.ask(Pubrel(7)) == [Pubcomp(7)]
    assert len(client.asked) == 1


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_outcome_that_comes_after_another_socket_answers_what_is_repeated(version: int, qos: int) -> None:
    client = Client(version, clean_start=False)
    [request] = client.say(publish(qos))
    client.session.lost()
    client.back()

    assert client.say(publish(qos, dup=True)) == []
    assert client.ack(request) == [answer(qos, 7)]


@pytest.mark.parametrize("version", [4, 5])
def test_client_that_has_forgotten_its_message_means_another_one(version: int) -> None:
    client = Client(version, clean_start=False)
    [old] = client.say(publish(1))
    client.back()
    [new] = client.say(publish(1, payload=b"new"))

    assert client.ack(old) == []
    assert client.ack(new) == [Puback(7)]


def test_refusals_that_waited_are_not_said_to_another_socket() -> None:
    client = Client(5, clean_start=False)
    [request] = client.say(publish(1, 1), publish(1, 2, topic="$bad"))
    client.back()

    assert client.ack(request) == [Puback(1)]

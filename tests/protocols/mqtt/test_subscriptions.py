"""SUBSCRIBE and UNSUBSCRIBE: what is asked for, what is answered, and what it changes."""

from typing import Literal

import pytest

from hubwire.model.messages import (
    AckError,
    ClientRequest,
    JoinGroup,
    LeaveGroup,
    SubscribeFilter,
    UnsubscribeFilter,
)
from hubwire.protocols.mqtt.arrival import Policy, Refusal
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Filter,
    Packet,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from hubwire.protocols.mqtt.reasons import ADVICE, Reason
from protocols.mqtt.pretend import FORBIDDEN, NOW, Client, batch, from_mqtt

MESSAGES = "$webpubsub/server/messages"
FAILED = "$webpubsub/server/events/a/failed"
LIMIT = AckError("InternalServerError", "too many", limit=True)
INTERNAL = AckError("InternalServerError", "Internal server error")
WILDCARDS = Policy(wildcards=True)
SHARED = Policy(wildcards=True, shared_subscriptions=True)


def subscribe(*filters: str | Filter, packet_id: int = 3, identifier: int | None = None) -> Subscribe:
    properties = NO_PROPERTIES if identifier is None else Properties(subscription_ids=(identifier,))
    wanted = tuple([Filter(one, 1) if isinstance(one, str) else one for one in filters])
    return Subscribe(packet_id, wanted, properties)


def qos_of(client: Client, group: str = "news") -> int | None:
    """With which the client gets a message of QoS 2; None if it gets none."""
    packets = client.deliver(from_mqtt("x", 2, group))
    assert all(isinstance(packet, Publish) for packet in packets)
    return packets[0].qos if packets else None  # type: ignore[union-attr]


def codes_of(answers: list[Packet]) -> tuple[int, ...]:
    [packet] = answers
    assert isinstance(packet, Suback | Unsuback)
    assert packet.packet_id == 3
    return packet.codes


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscription_is_a_membership_with_a_qos(version: int, qos: int) -> None:
    client = Client(version)

    [request] = client.say(subscribe(Filter("news", qos)))

    assert request == JoinGroup("news", 1)
    assert client.answers == []
    assert client.ack(request) == [Suback(3, (qos,))]
    assert qos_of(client) == qos


@pytest.mark.parametrize("version", [4, 5])
def test_answer_has_the_codes_of_all_filters_in_order(version: int) -> None:
    """Whatever was asked for, and in whatever order the outcomes come."""
    client = Client(version)
    filters: list[str | Filter] = [
        Filter("a", 0),
        "a/+",
        Filter("b", 2),
        "$share/g/a",
        "x" * 1025,
        MESSAGES,
        FAILED,
        "$SYS/x",
        "c",
        "d#",
    ]

    a, b, c = client.say(subscribe(*filters))
    assert client.answers == []
    assert client.ack(c, FORBIDDEN) == []
    assert client.ack(a) == []
    answers = client.ack(b)

    if version == 5:
        assert codes_of(answers) == (0, 0xA2, 2, 0x9E, 0x8F, 1, 1, 0x8F, 0x87, 0x8F)
    else:
        assert codes_of(answers) == (0, 0x80, 2, 0x80, 0x80, 1, 1, 0x80, 0x80, 0x80)


@pytest.mark.parametrize("version", [4, 5])
def test_what_needs_no_asking_is_answered_at_once(version: int) -> None:
    client = Client(version)

    assert client.say(subscribe("#", Filter(MESSAGES, 2))) == []
    assert codes_of(client.answers) == ((0xA2, 2) if version == 5 else (0x80, 2))
    assert client.noted == [Refusal(Reason.WILDCARDS_UNSUPPORTED, version, "#", packet="SUBSCRIBE")]
    if version == 5:
        assert client.answers[0].properties.reason_string == ADVICE[Reason.WILDCARDS_UNSUPPORTED]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "v5", "v4"),
    [(FORBIDDEN, 0x87, 0x80), (LIMIT, 0x97, 0x80), (INTERNAL, 0x80, 0x80)],
)
def test_refusal_is_a_code(error: AckError, v5: int, v4: int) -> None:
    for version, code in ((5, v5), (4, v4)):
        client = Client(version)
        [request] = client.say(subscribe("news"))

        assert codes_of(client.ack(request, error)) == (code,)
        assert client.noted == [Refusal(v5, version, "news", packet="SUBSCRIBE")]


def test_refusal_is_explained_to_who_wants_it() -> None:
    for wants in (0, 1):
        client = Client(5, properties=Properties(request_problem_information=wants))
        [request] = client.say(subscribe("news"))

        text = FORBIDDEN.message if wants else None
        properties = Properties(reason_string=text) if wants else NO_PROPERTIES
        assert client.ack(request, FORBIDDEN) == [Suback(3, (0x87,), properties)]


def test_equal_filters_have_a_code_each() -> None:
    client = Client(5)

    first, second = client.say(subscribe(Filter("news", 0), Filter("news", 2)))

    client.ack(first)
    assert codes_of(client.ack(second)) == (0, 2)
    assert qos_of(client) == 2


# Options


def test_options_hold_before_the_answer() -> None:
    """A message may come between the membership and its acknowledgement."""
    client = Client(5)
    client.say(subscribe(Filter("news", 0)))

    assert qos_of(client) == 0


def test_options_of_a_refused_subscription_are_taken_back() -> None:
    client = Client(5)
    [request] = client.say(subscribe(Filter("news", 0)))

    client.ack(request, FORBIDDEN)

    assert qos_of(client) == 1


def test_refused_repetition_leaves_the_options_as_they_are() -> None:
    client = Client(5)
    client.ask(subscribe(Filter("news", 2)))
    [request] = client.say(subscribe(Filter("news", 0), packet_id=4))

    assert qos_of(client) == 2
    client.ack(request, FORBIDDEN)
    assert qos_of(client) == 2


def test_repetition_replaces_the_options() -> None:
    client = Client(5)
    client.ask(subscribe(Filter("news", 0), identifier=9))
    client.ask(subscribe(Filter("news", 1)))

    [packet] = client.deliver(from_mqtt())
    assert isinstance(packet, Publish)
    assert packet.qos == 1
    assert packet.properties.subscription_ids == ()


def test_end_of_a_membership_is_the_end_of_the_options() -> None:
    """Whoever has ended it, and though others may put the client into the group again."""
    client = Client(5)
    client.ask(subscribe(Filter("news", 0)))

    client.session.left("news")
    client.session.left("never")

    assert qos_of(client) == 1


def test_group_that_others_put_a_client_into_has_qos_1() -> None:
    assert qos_of(Client(5)) == 1
    assert qos_of(Client(4)) == 1


def test_client_may_not_want_to_hear_itself() -> None:
    client = Client(5)
    client.ask(subscribe(Filter("news", 1, no_local=True)))

    assert client.deliver(from_mqtt(publisher="me")) == []
    assert len(client.deliver(from_mqtt(publisher="other"))) == 1
    assert len(client.deliver(from_mqtt("a", publisher="me"), from_mqtt("b", publisher="other"))) == 1
    assert client.deliver(from_mqtt("a", 0, publisher="me")) == []


def test_client_hears_itself_otherwise() -> None:
    assert len(Client(5).deliver(from_mqtt(publisher="me"))) == 1


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_identifier_is_told_with_each_message(qos: int) -> None:
    client = Client(5)
    client.ask(subscribe(Filter("news", qos), identifier=300))

    [packet] = client.deliver(from_mqtt("x", 2))

    assert isinstance(packet, Publish)
    assert packet.properties.subscription_ids == (300,)
    assert packet.qos == qos


def test_options_outlive_the_socket() -> None:
    client = Client(5, properties=Properties(session_expiry_s=30))
    client.ask(subscribe(Filter("news", 0), identifier=1))
    client.session.lost()
    client.back()

    assert qos_of(client) == 0


# Wildcards


@pytest.mark.parametrize("version", [4, 5])
def test_filter_with_wildcards_is_a_request_of_its_own(version: int) -> None:
    client = Client(version, policy=WILDCARDS)

    requests = client.say(subscribe("a/+", "a/b", Filter("#", 2), "a+", "$SYS/#"))

    assert requests == [SubscribeFilter("a/+", None, 1), JoinGroup("a/b", 2), SubscribeFilter("#", None, 3)]
    assert [client.ack(request) for request in requests[:2]] == [[], []]
    codes = codes_of(client.ack(requests[2]))
    assert codes == ((1, 1, 2, 0x8F, 0x8F) if version == 5 else (1, 1, 2, 0x80, 0x80))


@pytest.mark.parametrize("version", [4, 5])
def test_unsubscribing_ends_filters(version: int) -> None:
    client = Client(version, policy=WILDCARDS)

    requests = client.say(Unsubscribe(3, ("a/+", "a/b", "#", "a+")))

    assert requests == [UnsubscribeFilter("a/+", None, 1), LeaveGroup("a/b", 2), UnsubscribeFilter("#", None, 3)]
    assert [client.ack(requests[0], FORBIDDEN), client.ack(requests[1])] == [[], []]
    answers = client.ack(requests[2], changed=False)
    assert answers == [Unsuback(3)] if version == 4 else codes_of(answers) == (0x87, 0, 0x11, 0x8F)


def heard_as(client: Client, *matched: str, publisher: str | None = None, qos: int = 2) -> list[tuple[int, ...]]:
    """QoS and identifiers of what the client gets of a message that matches these."""
    packets = client.deliver(from_mqtt("x", qos, "a/b", publisher=publisher), matched=matched)
    return [(one.qos, *one.properties.subscription_ids) for one in packets if isinstance(one, Publish)]


def test_filters_that_match_together_bring_one_copy_with_the_highest_qos_and_all_identifiers() -> None:
    client = Client(5, policy=WILDCARDS)
    client.ask(subscribe(Filter("a/+", 0), identifier=1))
    client.ask(subscribe(Filter("#", 2)))
    client.ask(subscribe(Filter("a/b", 1), identifier=300))
    client.ask(subscribe(Filter("a/#", 1), identifier=1))

    assert heard_as(client, "a/+") == [(0, 1)]
    assert heard_as(client, "#") == [(2,)]
    assert heard_as(client, "a/+", "#") == [(2, 1)]
    assert heard_as(client, "a/b", "a/+") == [(1, 300, 1)]
    assert heard_as(client, "a/+", "a/#") == [(1, 1, 1)], "the same twice is told twice"
    assert heard_as(client, "a/b", "a/+", "#", qos=1) == [(1, 300, 1)]


def test_client_of_a_group_that_it_was_put_into_and_a_filter_hears_with_the_higher_qos() -> None:
    client = Client(5, policy=WILDCARDS)
    client.ask(subscribe(Filter("a/+", 0), identifier=7))

    assert heard_as(client, "a/b", "a/+") == [(1, 7)]


def test_no_local_is_looked_at_for_each_filter() -> None:
    """What the client has published itself comes by those that take it, with their QoS and identifiers alone."""
    client = Client(5, policy=WILDCARDS)
    client.ask(subscribe(Filter("a/+", 2, no_local=True), identifier=1))
    client.ask(subscribe(Filter("#", 1), identifier=2))
    client.ask(subscribe(Filter("+/b", 0, no_local=True)))

    assert heard_as(client, "a/+", "+/b", publisher="me") == []
    assert heard_as(client, "a/+", "+/b", publisher="other") == [(2, 1)]
    assert heard_as(client, "a/+", "#", "+/b", publisher="other") == [(2, 1, 2)]
    assert heard_as(client, "a/+", "#", "+/b", publisher="me") == [(1, 2)]
    messages = [from_mqtt(str(n), 2, "a/b", publisher=who) for n, who in enumerate(["me", "other", "me"])]
    packets = client.deliver(*messages, matched=("a/+", "#"))
    assert [(one.payload, one.qos) for one in packets if isinstance(one, Publish)] == [(b"0", 1), (b"1", 2), (b"2", 1)]


@pytest.mark.parametrize("version", [4, 5])
def test_options_of_a_filter_end_with_it(version: int) -> None:
    client = Client(version, policy=WILDCARDS)
    client.ask(subscribe(Filter("a/+", 2)))
    client.ask(subscribe(Filter("#", 0)))
    client.session.left("a/+")

    assert heard_as(client, "#") == [(0,)]
    client.ask(subscribe(Filter("a/+", 1)))
    assert heard_as(client, "a/+", "#") == [(1,)]


def test_frames_of_filters_with_qos_0_are_one_object_for_everybody() -> None:
    clients = [Client(5, policy=WILDCARDS) for _ in range(2)]
    shared = batch(5, from_mqtt("x", 1, "a/b"))
    for client in clients:
        client.ask(subscribe(Filter("a/+", 0), Filter("#", 0)))
        for matched in (("a/+",), ("a/+", "#")):
            shared.matched = matched

            assert client.session.deliver(shared, NOW) is shared.joined


# Retained messages


KEEPS = Policy(retain="keep")


def asks(client: Client, handling: int = 0, topic: str = "news") -> bool:
    """Does a SUBSCRIBE that is granted ask for what is kept."""
    [request] = client.say(subscribe(Filter(topic, 1, retain_handling=handling)))
    client.ack(request)
    assert isinstance(request, JoinGroup)
    return request.retained


@pytest.mark.parametrize("version", [4, 5])
def test_each_subscribe_asks_for_what_is_kept(version: int) -> None:
    client = Client(version, policy=KEEPS)

    assert [asks(client), asks(client)] == [True, True]


@pytest.mark.parametrize("retain", ["ignore", "refuse"])
def test_nothing_is_asked_for_where_nothing_is_kept(retain: Literal["ignore", "refuse"]) -> None:
    assert not asks(Client(5, policy=Policy(retain=retain)))


def test_only_a_new_subscription_may_ask_for_it() -> None:
    client = Client(5, policy=KEEPS)
    assert [asks(client, 1), asks(client, 1)] == [True, False]

    client.ask(Unsubscribe(4, ("news",)))
    client.session.left("news")

    assert asks(client, 1)


def test_subscription_is_new_behind_its_end_that_is_under_way() -> None:
    """Both packets may come at once; and a third one is no news."""
    client = Client(5, policy=KEEPS)
    asks(client)

    again = Filter("news", 1, retain_handling=1)
    requests = client.say(Unsubscribe(4, ("news",)), subscribe(again, packet_id=5), subscribe(again, packet_id=6))

    assert requests == [LeaveGroup("news", 2), JoinGroup("news", 3, True), JoinGroup("news", 4, False)]


def test_subscription_is_no_news_behind_an_end_that_was_refused() -> None:
    client = Client(5, policy=KEEPS)
    asks(client)
    [leave] = client.say(Unsubscribe(4, ("news",)))

    client.ack(leave, FORBIDDEN)

    assert not asks(client, 1)


def test_subscription_is_no_news_on_another_socket() -> None:
    client = Client(5, policy=KEEPS, properties=Properties(session_expiry_s=30))
    asks(client)
    client.session.lost()
    client.back()

    assert [asks(client, 1), asks(client, 0)] == [False, True]


def test_subscription_may_never_ask_for_it() -> None:
    assert not asks(Client(5, policy=KEEPS), 2)


def test_topic_that_is_served_has_nothing_kept() -> None:
    client = Client(5, policy=KEEPS)

    assert client.say(subscribe(MESSAGES)) == []


# Shared subscriptions


@pytest.mark.parametrize("version", [4, 5])
def test_shared_subscription_is_a_request_with_its_name(version: int) -> None:
    """Also of a filter without wildcards."""
    client = Client(version, policy=SHARED)

    requests = client.say(subscribe("$share/g/a/b", Filter("$share/h/a/#", 2), "a/b", "$share/g/", "$share/g"))

    assert requests == [SubscribeFilter("a/b", "g", 1), SubscribeFilter("a/#", "h", 2), JoinGroup("a/b", 3)]
    assert [client.ack(request) for request in requests[:2]] == [[], []]
    answers = client.ack(requests[2])
    assert codes_of(answers) == ((1, 2, 1, 0x8F, 0x8F) if version == 5 else (1, 2, 1, 0x80, 0x80))
    requests = client.say(Unsubscribe(3, ("$share/g/a/b", "a/b")))
    assert requests == [UnsubscribeFilter("a/b", "g", 4), LeaveGroup("a/b", 5)]


def test_options_of_a_share_are_its_own() -> None:
    client = Client(5, policy=SHARED)
    client.ask(subscribe(Filter("$share/g/a/b", 0), identifier=1))
    client.ask(subscribe(Filter("a/b", 2), identifier=2))
    client.ask(subscribe(Filter("$share/h/a/b", 1), identifier=3))

    assert heard_as(client, "$share/g/a/b", publisher="me") == [(0, 1)]
    assert heard_as(client, "$share/h/a/b") == [(1, 3)]
    assert heard_as(client, "a/b") == [(2, 2)]
    client.session.left("$share/g/a/b")
    assert heard_as(client, "a/b") == [(2, 2)]


def test_no_local_where_others_share_is_the_end() -> None:
    client = Client(5, policy=SHARED)

    assert client.say(subscribe("a", Filter("$share/g/b", 1, no_local=True))) == [JoinGroup("a", 1)]

    fault = client.session.fault
    assert fault is not None
    assert fault.code == Reason.PROTOCOL_ERROR
    assert [(one.code, one.about) for one in client.noted] == [(Reason.PROTOCOL_ERROR, "$share/g/b")]


def test_no_local_of_a_share_that_is_not_offered_is_refused_like_others() -> None:
    client = Client(5, policy=WILDCARDS)

    assert client.say(subscribe(Filter("$share/g/b", 1, no_local=True))) == []
    assert codes_of(client.answers) == (0x9E,)


def returned(client: Client, share: str | None = None, now: float = NOW) -> list[tuple[str, str]]:
    return [(one.share, one.message.data.body.decode()) for one in client.session.returned(share, now)]


def test_what_shares_have_brought_is_returned_at_the_end_of_the_session() -> None:
    """Not what is answered, nor what came by other subscriptions, nor what has no time left."""
    client = Client(5, policy=SHARED, properties=Properties(receive_maximum=2))
    client.ask(subscribe("$share/g/#", "$share/h/#", "b"))
    for text, matched in (("1", "$share/g/#"), ("2", "b"), ("3", "$share/h/#"), ("4", "b"), ("5", "$share/g/#")):
        client.deliver(from_mqtt(text, 1, "b"), matched=(matched,))
    client.deliver(from_mqtt("6", 1, "b"), matched=("$share/g/#",), expires_at=NOW + 5)
    client.say(Puback(1), release=False)

    assert returned(client) == [("$share/h/#", "3"), ("$share/g/#", "5"), ("$share/g/#", "6")]
    assert returned(client, now=NOW + 5) == [("$share/h/#", "3"), ("$share/g/#", "5")]


def test_what_waits_is_returned_by_who_leaves_a_share() -> None:
    client = Client(5, policy=SHARED, properties=Properties(receive_maximum=1))
    client.ask(subscribe("$share/g/#", "$share/h/#"))
    for text, share in (("1", "g"), ("2", "g"), ("3", "h"), ("4", "g")):
        client.deliver(from_mqtt(text, 1, "b"), matched=(f"$share/{share}/#",))
    assert client.session.held()[0] == 4

    assert returned(client, "$share/g/#") == [("$share/g/#", "2"), ("$share/g/#", "4")]
    assert returned(client, "$share/g/#") == []
    assert client.session.held()[0] == 2
    assert client.session.held()[1] < 60
    client.say(Puback(1))
    assert [one.payload for one in client.answers if isinstance(one, Publish)] == [b"3"]


# Topics that are served to everybody


def test_served_topic_may_have_another_qos_for_a_while() -> None:
    client = Client(5)

    for qos in (0, 2, 1, 0):
        client.say(subscribe(Filter(MESSAGES, qos)))
        assert codes_of(client.answers) == (qos,)
        [packet] = client.deliver("hi")
        assert isinstance(packet, Publish)
        assert packet.qos == min(qos, 1)
    client.say(Unsubscribe(3, (MESSAGES,)))
    assert codes_of(client.answers) == (0,)
    [packet] = client.deliver("hi")
    assert isinstance(packet, Publish)
    assert packet.qos == 1


@pytest.mark.parametrize("version", [4, 5])
def test_client_may_not_want_too_much_of_served_topics(version: int) -> None:
    client = Client(version)
    filters = [Filter(f"$webpubsub/server/events/e{number}/failed", 0) for number in range(1001)]

    client.say(subscribe(*filters))

    assert codes_of(client.answers) == (*(0 for _ in range(1000)), 0x97 if version == 5 else 0x80)
    client.say(Unsubscribe(3, (filters[0].topic_filter, filters[0].topic_filter)))
    client.say(subscribe(filters[-1]))
    assert codes_of(client.answers) == (0,)


# UNSUBSCRIBE


@pytest.mark.parametrize("version", [4, 5])
def test_unsubscribing_ends_memberships(version: int) -> None:
    client = Client(version)

    requests = client.say(Unsubscribe(3, ("a", MESSAGES, "b", "x/#", "$share/g/a", "", "c")))

    assert requests == [LeaveGroup("a", 1), LeaveGroup("b", 2), LeaveGroup("c", 3)]
    a, b, c = requests
    assert client.ack(b, changed=False) == []
    assert client.ack(c, FORBIDDEN) == []
    answers = client.ack(a)
    if version == 5:
        assert codes_of(answers) == (0, 0, 0x11, 0x11, 0x11, 0x8F, 0x87)
    else:
        assert answers == [Unsuback(3)]


@pytest.mark.parametrize("error", [LIMIT, INTERNAL])
def test_failure_to_leave_has_a_code_that_the_packet_may_have(error: AckError) -> None:
    client = Client(5)
    [request] = client.say(Unsubscribe(3, ("a",)))

    assert codes_of(client.ack(request, error)) == (0x80,)


def test_refused_unsubscribe_leaves_the_options() -> None:
    client = Client(5)
    client.ask(subscribe(Filter("news", 0)))
    [request] = client.say(Unsubscribe(3, ("news",)))
    client.ack(request, FORBIDDEN)

    assert qos_of(client) == 0


# Identifiers that are in use


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "before",
    [subscribe("x"), Unsubscribe(3, ("x",)), Publish("x", b"", 1, packet_id=3), Publish("x", b"", 2, packet_id=3)],
    ids=lambda packet: type(packet).__name__,
)
def test_identifier_of_a_packet_that_is_open_is_in_use(version: int, before: Packet) -> None:
    client = Client(version)
    client.say(before)

    assert client.say(subscribe("a", MESSAGES)) == []
    assert codes_of(client.answers) == ((0x91, 0x91) if version == 5 else (0x80, 0x80))
    assert qos_of(client, "a") == 1


def test_identifier_of_an_answered_flow_is_in_use() -> None:
    client = Client(5)
    client.ask(Publish("x", b"", 2, packet_id=3))

    client.say(subscribe("a"))

    assert codes_of(client.answers) == (0x91,)


def test_unsubscribe_with_an_identifier_in_use_is_refused() -> None:
    client = Client(5)
    client.say(subscribe("x"))

    assert client.say(Unsubscribe(3, ("a", MESSAGES))) == []
    assert codes_of(client.answers) == (0x91, 0x91)


def test_unsubscribe_of_the_older_version_cannot_be_refused() -> None:
    client = Client(4)
    client.say(subscribe("x"))

    assert client.say(Unsubscribe(3, ("a",))) == []
    fault = client.session.fault
    assert fault is not None
    assert fault.code == Reason.PACKET_ID_IN_USE


def test_answered_packets_leave_their_identifier_free() -> None:
    client = Client(4)

    for _ in range(3):
        assert codes_of(client.ask(subscribe("a"))) == (1,)
        assert client.ask(Unsubscribe(3, ("a",))) == [Unsuback(3)]


# Other sockets


def test_answer_for_an_earlier_socket_is_not_given_to_another() -> None:
    client = Client(5, properties=Properties(session_expiry_s=30))
    old: list[ClientRequest] = list(client.say(subscribe(Filter("news", 0)), Unsubscribe(4, ("b",))))
    client.session.lost()
    client.back()
    [new] = client.say(subscribe(Filter("a", 2)))

    assert client.ack(old[0]) == []
    assert client.ack(old[1]) == []
    assert client.ack(new) == [Suback(3, (2,))]
    assert qos_of(client) == 0


@pytest.mark.parametrize(("filters", "fits"), [(1, True), (20, True), (21, False), (3000, False)])
def test_what_could_not_be_answered_is_not_done(filters: int, fits: bool) -> None:
    """The answer has a code for each filter, and the client takes 25 bytes."""
    names = [f"news/{number}" for number in range(filters)]
    for packet in (subscribe(*names), Unsubscribe(3, tuple(names))):
        client = Client(5, properties=Properties(maximum_packet_size=25))
        requests = client.say(packet)

        assert len(requests) == (filters if fits else 0)
        fault = client.session.fault
        assert (None if fault is None else fault.code) == (None if fits else Reason.PACKET_TOO_LARGE)
        noted = [(one.code, one.about, one.packet) for one in client.noted]
        name = "SUBSCRIBE" if isinstance(packet, Subscribe) else "UNSUBSCRIBE"
        assert noted == ([] if fits else [(Reason.PACKET_TOO_LARGE, "maximum packet size", name)])
        assert client.answers == []


def test_words_are_left_out_of_an_answer_that_they_make_too_large() -> None:
    client = Client(5, properties=Properties(maximum_packet_size=25))
    requests = client.say(subscribe(*[f"news/{number}" for number in range(20)]))
    answers = [answer for request in requests for answer in client.ack(request, FORBIDDEN)]

    assert answers == [Suback(3, (Reason.NOT_AUTHORIZED,) * 20)]


def test_client_of_3_1_1_is_answered_whatever_the_size() -> None:
    client = Client(4)
    requests = client.say(subscribe(*[f"news/{number}" for number in range(3000)]))

    assert [answer for request in requests for answer in client.ack(request)] == [Suback(3, (1,) * 3000)]

"""
Conversations of several MQTT clients through a real server, as suites for brokers have them: what one says, word for
word, and what the others hear of it. Each client speaks through its own socket and is read with no code of ours.
"""

import select
import struct
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final
from uuid import uuid4

import pytest

from acceptance.mqtt_raw import MODES, VERSIONS, Heard, MqttRaw, Place, mqtt_server, mqtt_target
from acceptance.servers import Server, wait_until
from vectors.mqtt_packets import binary, text, whole
from vectors.mqtt_wire import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Will,
    acknowledge,
    connect,
    disconnect,
    four,
    publish,
    subscribe,
    two,
    unsubscribe,
    user_property,
)

QOS: Final = (0, 1, 2)
SHORT_S: Final = 1
"""For what must be over before a test goes on."""

LONGER_S: Final = 4
"""For what must not be over before a test goes on, on a slow machine either, but then must be."""

NORMAL: Final = 1000


IN_ONE_MODE: Final = pytest.mark.parametrize("server", MODES[:1], indirect=True)
"""For tests that take whole seconds, and have nothing to do with modes."""


@pytest.fixture(scope="module", params=MODES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    with mqtt_server(tmp_path_factory.mktemp(request.param), request.param) as server:
        yield server, request.param


@pytest.fixture
def place(server: tuple[Server, str]) -> Place:
    """A hub of its own for each test, so that all may use the same topics and client ids."""
    return Place(*server, f"hub{uuid4().hex}")


def ok(version: int) -> str:
    """The code of an acknowledgement, as it is written down."""
    return " 00" if version == 5 else ""


def subscribed(client: MqttRaw, *filters: tuple[str, int], said: tuple[bytes, ...] = ()) -> None:
    """All granted as asked for. In 5.0 the options may say more than the QoS."""
    client.say(subscribe(client.version, 1000, *filters, said=said))
    client.expect("SUBACK 1000 " + " ".join(f"{options & 3:02x}" for _, options in filters))


def published(client: MqttRaw, topic: str, payload: bytes, qos: int = 0, said: tuple[bytes, ...] = ()) -> None:
    """To the last acknowledgement. With QoS 0 there is none, so a ping must do."""
    client.say(publish(client.version, topic, payload, qos, 2000, said=said))
    if qos == 0:
        assert client.quiet() == []
    elif qos == 1:
        client.expect(f"PUBACK 2000{ok(client.version)}")
    else:
        client.expect(f"PUBREC 2000{ok(client.version)}")
        client.say(acknowledge(PUBREL, 2000))
        client.expect(f"PUBCOMP 2000{ok(client.version)}")


def taken(client: MqttRaw, *messages: str) -> list[Heard]:
    """The next messages are these, and each is acknowledged to the end."""
    heard = [client.hear() for _ in messages]
    assert [str(packet) for packet in heard] == list(messages)
    for packet in heard:
        if packet.qos == 1:
            client.say(acknowledge(PUBACK, packet.packet_id))
        elif packet.qos == 2:
            client.say(acknowledge(PUBREC, packet.packet_id))
            client.expect(f"PUBREL {packet.packet_id}{ok(client.version)}")
            client.say(acknowledge(PUBCOMP, packet.packet_id))
    return heard


def stays(version: int) -> dict[str, Any]:
    """Of a CONNECT: the session is to outlive its socket, for as long as no test takes."""
    return {"clean": False} if version == 4 else {"clean": False, "expiry_s": 30}


# Messages.


@pytest.mark.parametrize(("sender", "receiver"), list(product(VERSIONS, VERSIONS)))
def test_message_has_the_lower_qos_of_publication_and_subscription(place: Place, sender: int, receiver: int) -> None:
    """All nine pairs, from each version to each."""
    with place.entered(sender) as one, place.entered(receiver) as other:
        for asked, sent in product(QOS, QOS):
            subscribed(other, ("topic", asked))
            published(one, "topic", b"%d to %d" % (sent, asked), sent)
            taken(other, f"PUBLISH topic {min(asked, sent)} {sent} to {asked}")
        assert other.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_client_hears_itself_and_nothing_that_it_did_not_subscribe_to(place: Place, version: int) -> None:
    """Topics are compared byte by byte: neither letters of another case nor further slashes are the same."""
    with place.entered(version) as client:
        subscribed(client, ("a/b", 2), ("caf\u00e9", 1))
        for topic in ("a", "a/", "a/b/", "/a/b", "A/b", "a//b", "a/b ", "cafe\u0301"):
            published(client, topic, b"not this")
        client.say(publish(version, "a/b", b"this", 1, 1), publish(version, "caf\u00e9", b"and this", 1, 2))
        client.expect(
            f"PUBACK 1{ok(version)}", f"PUBACK 2{ok(version)}", "PUBLISH a/b 1 this", "PUBLISH caf\u00e9 1 and this"
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_empty_and_large_payloads_arrive(place: Place, version: int) -> None:
    with place.entered(version) as one, place.entered(version) as other:
        subscribed(other, ("sizes", 0))
        for size in (0, 1, 125, 126, 127, 128, 16_383, 16_384, 65_535, 65_536, 300_000):
            published(one, "sizes", bytes(size), 1)
            taken(other, f"PUBLISH sizes 0 {chr(0) * size}")


@pytest.mark.parametrize("qos", QOS)
@pytest.mark.parametrize("version", VERSIONS)
def test_messages_of_one_client_arrive_in_order(place: Place, version: int, qos: int) -> None:
    """All of them, once each, while they are not acknowledged one by one [4.6]."""
    count = 300
    with place.entered(version) as one, place.entered(version) as other:
        subscribed(other, ("order", qos))
        one.say(*(publish(version, "order", b"%d" % number, qos, number) for number in range(1, count + 1)))
        heard = [other.hear() for _ in range(count)]
        assert [str(packet) for packet in heard] == [f"PUBLISH order {qos} {number}" for number in range(1, count + 1)]
        if qos:
            assert len({packet.packet_id for packet in heard}) == count
            kind = "PUBACK" if qos == 1 else "PUBREC"
            one.expect(*(f"{kind} {number}{ok(version)}" for number in range(1, count + 1)))
        assert other.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_last_subscription_to_a_topic_is_the_one_that_counts(place: Place, version: int) -> None:
    """One copy of each message, however often a client has asked for it [3.8.4]."""
    with place.entered(version) as one, place.entered(version) as other:
        subscribed(other, ("twice", 2), ("twice", 0))
        published(one, "twice", b"x", 2)
        taken(other, "PUBLISH twice 0 x")
        subscribed(other, ("twice", 1))
        published(one, "twice", b"y", 2)
        taken(other, "PUBLISH twice 1 y")
        other.say(unsubscribe(version, 7, "twice"))
        other.expect(f"UNSUBACK 7{ok(version)}")
        published(one, "twice", b"z", 2)
        assert other.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_message_in_flight_is_finished_after_the_end_of_its_subscription(place: Place, version: int) -> None:
    """What is on its way goes on to its end [3.10.4]."""
    with place.entered(version) as client:
        subscribed(client, ("flight", 2))
        client.say(publish(version, "flight", b"x", 2, 5))
        client.expect(f"PUBREC 5{ok(version)}", "PUBLISH flight 2 x")
        client.say(unsubscribe(version, 7, "flight"), acknowledge(PUBREC, 1))
        client.expect(f"UNSUBACK 7{ok(version)}", f"PUBREL 1{ok(version)}")
        client.say(acknowledge(PUBCOMP, 1))
        assert client.quiet() == []


@pytest.mark.parametrize(
    ("qos", "said"),
    [(1, (PUBREC,)), (1, (PUBCOMP,)), (2, (PUBACK,)), (2, (PUBCOMP,)), (2, (PUBREC, PUBACK))],
    ids=["PUBREC of qos 1", "PUBCOMP of qos 1", "PUBACK of qos 2", "early PUBCOMP", "PUBACK of a PUBREL"],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_acknowledgement_of_another_kind_ends_the_connection_and_nothing_else(
    place: Place, version: int, qos: int, said: Sequence[int]
) -> None:
    """A message waits for what its QoS is due [4.3]; what is inconsistent with that is a protocol error [1.2, 4.13]."""
    with place.entered(version) as one:
        with place.entered(version, "kinds", **stays(version)) as client:
            subscribed(client, ("kinds", qos))
            published(one, "kinds", b"x", qos)
            (message,) = client.expect(f"PUBLISH kinds {qos} x")
            *before, last = said
            for first in before:
                client.say(acknowledge(first, message.packet_id))
                client.expect(f"PUBREL {message.packet_id}{ok(version)}")
            client.say(acknowledge(last, message.packet_id))
            client.ends_with(*((1000, "DISCONNECT 82") if version == 5 else (1002,)))
        with place.entered(version, "kinds", session=True, **stays(version)) as client:
            if before:
                client.expect(f"PUBREL {message.packet_id}{ok(version)}")
                client.say(acknowledge(PUBCOMP, message.packet_id))
            else:
                taken(client, f"PUBLISH kinds {qos} x dup")
            assert client.quiet() == []


# Retained messages, which there are none of in mode azure.


@pytest.mark.parametrize("version", VERSIONS)
def test_message_to_be_retained_is_delivered_and_kept_or_not(place: Place, version: int) -> None:
    """Where none are kept, 3.1.1 cannot be told; 5.0 is, so that it is a fault there [3.3.1.3]."""
    with place.entered(version) as one, place.entered(4) as other:
        subscribed(other, ("kept", 1))
        one.say(publish(version, "kept", b"x", 1, 5, retain=True))
        if version == 5 and place.mode == "azure":
            one.ends_with(NORMAL, "DISCONNECT 9a")
            assert other.quiet() == []
        else:
            one.expect(f"PUBACK 5{ok(version)}")
            taken(other, "PUBLISH kept 1 x")
        with place.entered(4) as late:
            subscribed(late, ("kept", 1))
            if place.mode == "azure":
                assert late.quiet() == []
            else:
                taken(late, "PUBLISH kept 1 x retain")


def test_options_about_retained_messages_are_taken(place: Place) -> None:
    """Retain as published and retain handling of 5.0 [3.8.3.1]; in mode azure they change nothing."""
    with place.entered(4) as one, place.entered(5) as other:
        for options, at_once in ((0x08, False), (0x10, False), (0x20, False), (0x28, False), (0x08, True)):
            subscribed(other, ("kept", 1 | options))
            if at_once and place.mode == "lenient":
                taken(other, "PUBLISH kept 1 x retain")
            one.say(publish(4, "kept", b"x", 1, 5, retain=True))
            one.expect("PUBACK 5")
            flag = " retain" if options & 0x08 and place.mode == "lenient" else ""
            taken(other, f"PUBLISH kept 1 x{flag}")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", QOS)
def test_empty_message_takes_away_what_is_kept(place: Place, version: int, qos: int) -> None:
    """It is delivered itself, as any other [MQTT-3.3.1-6, MQTT-3.3.1-7]."""
    with place.entered(version) as one, place.entered(version) as other:
        subscribed(other, ("kept", 2))
        if place.mode == "azure" and version == 5:
            one.say(publish(5, "kept", b"", qos, 5, retain=True))
            one.ends_with(NORMAL, "DISCONNECT 9a")
            return
        for payload in (b"x", b""):
            one.say(publish(version, "kept", payload, qos, 5, retain=True))
            if qos == 2:
                one.expect(f"PUBREC 5{ok(version)}")
                one.say(acknowledge(PUBREL, 5))
                one.expect(f"PUBCOMP 5{ok(version)}")
            elif qos == 1:
                one.expect(f"PUBACK 5{ok(version)}")
            else:
                assert one.quiet() == []
            taken(other, f"PUBLISH kept {qos} {payload.decode()}")
            with place.entered(version) as late:
                subscribed(late, ("kept", 2))
                if payload and place.mode == "lenient":
                    taken(late, f"PUBLISH kept {qos} x retain")
                assert late.quiet() == []


# Sessions.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("gone", ["in an orderly way", "without a word"])
def test_messages_wait_for_a_client_that_is_away(place: Place, version: int, gone: str) -> None:
    """Those with QoS 1 and 2, in order. With QoS 0 they are for who is there."""
    with place.entered(version, "away", **stays(version)) as client:
        subscribed(client, ("q0", 0), ("q1", 1), ("q2", 2))
        if gone == "in an orderly way":
            client.leave()
        else:
            client.abort()
    with place.entered(version) as other:
        for number, (topic, qos) in enumerate(product(("q0", "q1", "q2"), QOS)):
            published(other, topic, b"%d" % number, qos)
    expected = ["PUBLISH q1 1 4", "PUBLISH q1 1 5", "PUBLISH q2 1 7", "PUBLISH q2 2 8"]
    with place.entered(version, "away", session=True, **stays(version)) as client:
        # Whether its end was known before the first of these was published, nobody can say.
        heard = [str(packet) for packet in client.quiet()]
        assert [text for text in heard if " 0 " not in text] == expected
        client.leave()


@pytest.mark.parametrize("version", VERSIONS)
def test_clean_client_finds_nothing_of_the_one_before(place: Place, version: int) -> None:
    """Neither messages nor subscriptions, and what it leaves is nothing either."""
    with place.entered(version, "clean", **stays(version)) as client:
        subscribed(client, ("clean", 1))
        client.leave()
    with place.entered(version) as other:
        published(other, "clean", b"for the first", 1)
        with place.entered(version, "clean") as client:
            published(other, "clean", b"for nobody", 1)
            assert client.quiet() == []
            client.leave()
        with place.entered(version, "clean", **stays(version)) as client:
            assert client.quiet() == []
            client.leave()


def test_clean_start_0_without_an_expiry_begins_a_session_that_ends_with_its_socket(place: Place) -> None:
    """In 5.0 how a session begins and how long it lasts are two things [3.1.2.4, 3.1.2.11.2]."""
    with place.entered(5, "brief", clean=False) as client:
        subscribed(client, ("brief", 1))
        client.abort()
    place.forgets("brief")
    with place.entered(5, "brief", clean=False) as client:
        client.leave()
    with place.entered(5, "brief", clean=True, expiry_s=30) as client:
        client.leave()
    with place.entered(5, "brief", session=True, clean=False) as client:
        client.leave()
    place.forgets("brief")


@pytest.mark.parametrize("version", VERSIONS)
def test_session_goes_on_in_the_other_version(place: Place, version: int) -> None:
    """What is in it has no version: subscriptions, and messages that wait."""
    with place.entered(version, "turncoat", **stays(version)) as client:
        subscribed(client, ("turn", 2))
        client.leave()
    with place.entered(5) as other:
        published(other, "turn", b"x", 2, said=(user_property("a", "b"),))
    with place.entered(9 - version, "turncoat", session=True, **stays(9 - version)) as client:
        [message] = taken(client, "PUBLISH turn 2 x")
        assert message.properties == ({} if client.version == 4 else {0x26: [("a", "b")]})
        client.leave()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_not_acknowledged_is_sent_again(place: Place, version: int) -> None:
    """With the same identifier and as a duplicate, in the same order, before anything new [4.4]."""
    with (
        watching(place) as watcher,
        place.entered(version, "again", will=WILL, **stays(version)) as client,
        place.entered(version) as other,
    ):
        subscribed(client, ("again", 2))
        for number, qos in enumerate((1, 2, 2, 1)):
            published(other, "again", b"%d" % number, qos)
        first = client.expect(*(f"PUBLISH again {qos} {number}" for number, qos in enumerate((1, 2, 2, 1))))
        client.say(acknowledge(PUBREC, first[1].packet_id))
        client.expect(f"PUBREL {first[1].packet_id}{ok(version)}")
        client.abort()
        taken(watcher, "PUBLISH wills 1 gone")  # else the new one might have been sent to who is gone
        published(other, "again", b"new", 1)
        for _ in range(2):
            with place.entered(version, "again", session=True, **stays(version)) as client:
                heard = client.quiet()
                assert sorted(map(str, heard)) == sorted(
                    [
                        "PUBLISH again 1 0 dup",
                        f"PUBREL {first[1].packet_id}{ok(version)}",
                        "PUBLISH again 2 2 dup",
                        "PUBLISH again 1 3 dup",
                        f"PUBLISH again 1 new{' dup' * _}",
                    ]
                )
                messages = [packet for packet in heard if packet.kind == "PUBLISH"]
                assert [packet.payload for packet in messages] == [b"0", b"2", b"3", b"new"]
                ids = [packet.packet_id for packet in messages]
                assert ids[:3] == [first[position].packet_id for position in (0, 2, 3)]
                client.abort()
        with place.entered(version, "again", session=True, **stays(version)) as client:
            for packet in client.quiet():
                if packet.kind == "PUBREL":
                    client.say(acknowledge(PUBCOMP, packet.packet_id))
                elif packet.qos == 1:
                    client.say(acknowledge(PUBACK, packet.packet_id))
                else:
                    client.say(acknowledge(PUBREC, packet.packet_id))
                    client.expect(f"PUBREL {packet.packet_id}{ok(version)}")
                    client.say(acknowledge(PUBCOMP, packet.packet_id))
            client.leave()
        with place.entered(version, "again", session=True, **stays(version)) as client:
            assert client.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_message_that_a_client_repeats_after_its_socket_was_lost_is_delivered_once(place: Place, version: int) -> None:
    """Identifiers of QoS 2 are part of the session; after a PUBREL they are free [4.3.3]."""
    with place.entered(version) as other:
        subscribed(other, ("once", 2))
        with place.entered(version, "once", **stays(version)) as client:
            client.say(publish(version, "once", b"x", 2, 5))
            client.expect(f"PUBREC 5{ok(version)}")
            client.abort()
        with place.entered(version, "once", session=True, **stays(version)) as client:
            client.say(publish(version, "once", b"x", 2, 5, dup=True))
            client.expect(f"PUBREC 5{ok(version)}")
            client.say(acknowledge(PUBREL, 5))
            client.expect(f"PUBCOMP 5{ok(version)}")
            client.abort()
        with place.entered(version, "once", session=True, **stays(version)) as client:
            client.say(acknowledge(PUBREL, 5))
            client.expect("PUBCOMP 5 92" if version == 5 else "PUBCOMP 5")
            client.say(publish(version, "once", b"another", 2, 5))
            client.expect(f"PUBREC 5{ok(version)}")
        taken(other, "PUBLISH once 2 x", "PUBLISH once 2 another")
        assert other.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_new_socket_takes_the_session_over(place: Place, version: int) -> None:
    """The old one is told in 5.0 and closed in both; subscriptions and open messages go on [3.1.4]."""
    with place.entered(version, "same", **stays(version)) as old:
        subscribed(old, ("same", 1))
        old.say(publish(version, "same", b"x", 1, 5))
        old.expect(f"PUBACK 5{ok(version)}", "PUBLISH same 1 x")
        with place.entered(version, "same", session=True, **stays(version)) as new:
            old.ends_with(NORMAL, *["DISCONNECT 8e"] * (version == 5))
            new.expect("PUBLISH same 1 x dup")
            new.say(publish(version, "same", b"y", 1, 5))
            new.expect(f"PUBACK 5{ok(version)}", "PUBLISH same 1 y")


@pytest.mark.parametrize("version", VERSIONS)
def test_clean_client_ends_the_session_of_the_one_who_is_there(place: Place, version: int) -> None:
    with place.entered(version, "same", **stays(version)) as old:
        subscribed(old, ("same", 1))
        with place.entered(version, "same") as new:
            old.ends_with(NORMAL, *["DISCONNECT 8e"] * (version == 5))
            published(new, "same", b"x", 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_session_of_another_user_is_not_to_be_had(place: Place, version: int) -> None:
    """Whoever knows a client id is not yet who it belongs to."""
    mine = mqtt_target(place.server, place.hub, user="me")
    theirs = mqtt_target(place.server, place.hub, user="them")
    with place.entered(version, "mine", target=mine, **stays(version)) as owner:
        for target in (theirs, place.allowed):
            for clean in (False, True):
                with place.client(version, target) as stranger:
                    stranger.say(connect(version, "mine", clean=clean))
                    stranger.ends_with(NORMAL, "CONNACK 0 85" if version == 5 else "CONNACK 0 02")
        assert owner.quiet() == []
        owner.leave()
    with place.entered(version, "mine", session=True, target=mine, **stays(version)) as owner:
        owner.leave()


@pytest.mark.parametrize("version", VERSIONS)
def test_client_that_is_refused_leaves_the_one_with_its_id_alone(place: Place, version: int) -> None:
    """It is looked at whether it may come in before anybody has to leave for it [3.1.4]."""
    with place.entered(version, "held", will=WILL, **stays(version)) as client, watching(place) as other:
        subscribed(client, ("news", 1))
        for refused in (
            connect(version, "held", will=Will("a/+")),
            connect(version, "held", will=Will("w", bytes(2001))),
            whole(0x10, text("MQTT"), bytes((version, 0xFF)), two(60), b"\x00" * (version == 5), text("held")),
            connect(5, "held", said=(b"\x15" + text("SCRAM-SHA-1"),)),
        ):
            with place.client(5 if b"SCRAM" in refused else version) as another:
                another.say(refused)
                heard, _ = another.to_end()
                assert all(packet.code for packet in heard)
        published(other, "news", b"still", 1)
        taken(client, "PUBLISH news 1 still")
        assert client.quiet() == other.quiet() == []


def test_subscriptions_last_as_they_are(place: Place) -> None:
    """Whatever was asked for with them is a part of the session, and is not asked for again [4.1]."""
    with place.entered(5, "subscribed", **stays(5)) as client:
        subscribed(client, ("own", 0x04 | 2), said=(b"\x0b\x07",))
        subscribed(client, ("low", 0), ("high", 2))
        client.abort()
    with place.entered(5, "subscribed", session=True, **stays(5)) as client, place.entered(5) as other:
        published(client, "own", b"mine", 1)
        assert client.quiet() == []
        for topic in ("own", "low", "high"):
            published(other, topic, b"x", 2)
        heard = taken(client, "PUBLISH own 2 x", "PUBLISH low 0 x", "PUBLISH high 2 x")
        assert [packet.properties.get(0x0B) for packet in heard] == [[7], None, None]
        client.say(unsubscribe(5, 9, "own"))
        client.expect("UNSUBACK 9 00")
        subscribed(client, ("own", 1))
        published(other, "own", b"y", 2)
        heard = taken(client, "PUBLISH own 1 y")
        assert 0x0B not in heard[0].properties


@IN_ONE_MODE
def test_session_ends_when_its_time_is_over(place: Place) -> None:
    """And what waited in it is gone with it."""
    with place.entered(5, "ends", expiry_s=SHORT_S) as client:
        subscribed(client, ("ends", 1))
        client.leave()
    with place.entered(5) as other:
        published(other, "ends", b"x", 1)
    place.forgets("ends")
    with place.entered(5, "ends", clean=False, expiry_s=SHORT_S) as client:
        assert client.quiet() == []


@IN_ONE_MODE
def test_disconnect_may_change_how_long_a_session_lasts(place: Place) -> None:
    """Longer, shorter, and at once; but not where it was to end with its socket, see the tables [3.14.2.2.2]."""
    with (
        place.entered(5, "longer", expiry_s=SHORT_S) as longer,
        place.entered(5, "measure", expiry_s=SHORT_S) as client,
    ):
        longer.say(disconnect(0, b"\x11" + four(30)))
        longer.ends_with(NORMAL)
        client.leave()
    place.forgets("measure")
    assert place.knows("longer")
    with place.entered(5, "longer", session=True, clean=False, expiry_s=30) as longer:
        longer.say(disconnect(0, b"\x11" + four(0)))
        longer.ends_with(NORMAL)
    place.forgets("longer")


def test_assigned_id_is_one_to_come_back_with(place: Place) -> None:
    """Of a client without one. Two of these are two clients."""
    with place.client(5) as one, place.client(5) as other:
        [mine], [theirs] = (client.enter("", expiry_s=30).properties[0x12] for client in (one, other))
        assert mine != theirs
        one.leave()
    with place.entered(5, mine, session=True, clean=False) as one:
        assert one.quiet() == []
        one.leave()


def test_clients_of_3_1_1_without_an_id_do_not_meet(place: Place) -> None:
    with place.entered(4) as one, place.entered(4) as other:
        assert one.quiet() == other.quiet() == []


# Wills.

WILL: Final = Will("wills", b"gone", 1)


def watching(place: Place, version: int = 5) -> MqttRaw:
    """Somebody who hears of wills."""
    client = place.entered(version)
    subscribed(client, ("wills", 2))
    return client


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", QOS)
def test_will_of_a_lost_client_is_published(place: Place, version: int, qos: int) -> None:
    """With its QoS, once."""
    with watching(place) as other, place.entered(version, will=Will("wills", b"\x00gone", qos)) as client:
        client.abort()
        taken(other, f"PUBLISH wills {qos} \x00gone")
        assert other.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_will_of_a_client_that_leaves_in_an_orderly_way_is_not(place: Place, version: int) -> None:
    with watching(place) as other:
        with place.entered(version, will=WILL) as client:
            client.leave()
        with place.entered(version, "stays", will=WILL, **stays(version)) as client:
            client.leave()
        with place.entered(version, "stays", session=True, **stays(version)) as client:
            client.abort()
        other.say(publish(5, "wills", b"the next"))
        taken(other, "PUBLISH wills 0 the next")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ending", ["fault", "close frame", "taken over", "began anew"])
def test_will_is_published_when_a_client_ends_otherwise(place: Place, version: int, ending: str) -> None:
    """By a fault, by a close frame without a DISCONNECT, because of another socket [3.1.2.5]."""
    with watching(place) as other, place.entered(version, "ends", will=WILL, **stays(version)) as client:
        if ending == "fault":
            client.say(b"\xc1\x00")
            client.to_end()
        elif ending == "close frame":
            client.close_frame(NORMAL)
            client.to_end()
        else:
            clean = ending == "began anew"
            with place.entered(version, "ends", session=not clean, clean=clean) as next_one:
                next_one.leave()
        taken(other, "PUBLISH wills 1 gone")
        assert other.quiet() == []


def test_will_is_published_on_request(place: Place) -> None:
    """By a DISCONNECT of 5.0 that says so, or says that something is wrong."""
    with watching(place) as other:
        for code in (0x04, 0x80, 0x82, 0x96):
            with place.entered(5, will=WILL) as client:
                client.say(disconnect(code))
                client.ends_with(NORMAL)
            taken(other, "PUBLISH wills 1 gone")


def test_will_has_the_properties_of_a_message(place: Place) -> None:
    """All but its delay."""
    said = (
        b"\x18" + four(0),
        b"\x01\x01",
        b"\x03" + text("text/plain"),
        b"\x08" + text("answers"),
        b"\x09" + binary(b"\x00\xff"),
        user_property("n", "1"),
        user_property("n", "2"),
    )
    with watching(place) as other, place.entered(5, will=Will("wills", b"gone", 1, said=said)) as client:
        client.abort()
        [message] = taken(other, "PUBLISH wills 1 gone")
        assert message.properties == {
            0x01: [1],
            0x03: ["text/plain"],
            0x08: ["answers"],
            0x09: [b"\x00\xff"],
            0x26: [("n", "1"), ("n", "2")],
        }


@IN_ONE_MODE
def test_will_waits_for_its_delay_and_not_longer_than_its_session(place: Place) -> None:
    """Whichever is over first [3.1.3.2.2]."""
    with watching(place) as other:
        for delay_s, expiry_s in ((SHORT_S, 30), (30, SHORT_S), (30, 0), (0, 30)):
            will = Will("wills", b"%d %d" % (delay_s, expiry_s), 1, said=(b"\x18" + four(delay_s),))
            with place.entered(5, "late", will=will, expiry_s=expiry_s) as client:
                client.abort()
                taken(other, f"PUBLISH wills 1 {delay_s} {expiry_s}")


@IN_ONE_MODE
def test_client_that_comes_back_in_time_takes_its_will_back(place: Place) -> None:
    """And has another one, or none."""
    late = (b"\x18" + four(LONGER_S),)
    with watching(place) as other:
        with place.entered(5, "back", will=Will("wills", b"no", 1, said=late), expiry_s=30) as client:
            client.abort()
        with place.entered(5, "back", session=True, clean=False, expiry_s=30) as client:
            # Somebody else's will with the same delay, to know when it would have come.
            with place.entered(5, "measure", will=Will("wills", b"measure", 1, said=late), expiry_s=30) as measure:
                measure.abort()
            taken(other, "PUBLISH wills 1 measure")
            client.abort()
        assert other.quiet() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_will_to_a_topic_that_a_client_may_not_publish_to_is_dropped(place: Place, version: int) -> None:
    """It is taken with the CONNECT, and looked at when it is due."""
    with watching(place) as other:
        with place.entered(version, will=WILL, target=place.denied) as client:
            client.abort()
        with place.entered(version, will=Will("wills", b"another")) as client:
            client.abort()
        taken(other, "PUBLISH wills 0 another")


# Keep alive.


@IN_ONE_MODE
@pytest.mark.parametrize("version", VERSIONS)
def test_silent_client_is_given_up(place: Place, version: int) -> None:
    """It is told so in 5.0, and its will is published [3.1.2.10]."""
    with watching(place) as other, place.entered(version, keep_alive_s=SHORT_S, will=WILL) as client:
        client.ends_with(NORMAL, *["DISCONNECT 8d"] * (version == 5))
        taken(other, "PUBLISH wills 1 gone")


@IN_ONE_MODE
@pytest.mark.parametrize("version", VERSIONS)
def test_client_that_pings_is_not_given_up(place: Place, version: int) -> None:
    """While one that has come later is, with the same interval."""
    with place.entered(version, keep_alive_s=LONGER_S) as client:
        with place.entered(version, keep_alive_s=LONGER_S) as silent:
            wait_until(lambda: client.quiet() == [] and _is_told_something(silent), "the end of who says nothing")
        assert client.quiet() == []


@IN_ONE_MODE
@pytest.mark.parametrize("version", VERSIONS)
def test_packet_that_never_ends_keeps_nobody_alive(place: Place, version: int) -> None:
    """Only whole packets are signs of life [3.1.2.10]."""
    with place.entered(version, keep_alive_s=SHORT_S) as client:
        client.say(whole(0x30, bytes(1 << 19))[:100])

        def is_given_up() -> bool:
            client.say(b"x")
            return _is_told_something(client)

        wait_until(is_given_up, "the end of who never says anything whole")
        client.ends_with(NORMAL, *["DISCONNECT 8d"] * (version == 5))


def _is_told_something(client: MqttRaw) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


# Flow control towards clients.


@pytest.mark.parametrize("qos", [1, 2])
def test_no_more_is_on_its_way_than_the_client_takes(place: Place, qos: int) -> None:
    """Its receive maximum counts messages with QoS 1 and 2 to their last acknowledgement [3.1.2.11.3, 4.9]."""
    with place.entered(5, said=(b"\x21" + two(2),)) as client, place.entered(5) as other:
        subscribed(client, ("flow", qos), ("free", 0))
        for number in range(5):
            published(other, "flow", b"%d" % number, qos)
        heard = client.quiet()
        assert [str(packet) for packet in heard] == [f"PUBLISH flow {qos} 0", f"PUBLISH flow {qos} 1"]
        published(other, "free", b"x")
        client.expect("PUBLISH free 0 x")
        for number in range(2, 5):
            first, *heard = heard
            if qos == 1:
                client.say(acknowledge(PUBACK, first.packet_id))
            else:
                client.say(acknowledge(PUBREC, first.packet_id))
                client.expect(f"PUBREL {first.packet_id} 00")
                assert client.quiet() == []
                client.say(acknowledge(PUBCOMP, first.packet_id))
            heard += client.expect(f"PUBLISH flow {qos} {number}")
        assert client.quiet() == []


def test_refused_message_makes_room(place: Place) -> None:
    """A PUBREC of 0x80 and more is the last word [4.3.3]."""
    with place.entered(5, said=(b"\x21" + two(1),)) as client, place.entered(5) as other:
        subscribed(client, ("flow", 2))
        for number in range(3):
            published(other, "flow", b"%d" % number, 2)
        for number in range(3):
            [message] = client.expect(f"PUBLISH flow 2 {number}")
            client.say(acknowledge(PUBREC, message.packet_id, 0x83))
        assert client.quiet() == []


def test_each_socket_has_its_own_receive_maximum(place: Place) -> None:
    """What was not acknowledged is sent again within the new one, and the rest follows."""
    with place.entered(5, "window", **stays(5)) as client, place.entered(5) as other:
        subscribed(client, ("flow", 1))
        for number in range(4):
            published(other, "flow", b"%d" % number, 1)
        client.expect(*(f"PUBLISH flow 1 {number}" for number in range(4)))
        client.abort()
        with place.entered(5, "window", session=True, **stays(5), said=(b"\x21" + two(1),)) as client:
            for number in range(4):
                [message] = client.quiet()
                assert str(message) == f"PUBLISH flow 1 {number} dup"
                client.say(acknowledge(PUBACK, message.packet_id))
            assert client.quiet() == []


def test_packet_larger_than_the_client_takes_is_as_if_it_had_been_delivered(place: Place) -> None:
    """Whatever its QoS; what fits goes on [3.1.2.11.4]."""
    with place.entered(5, said=(b"\x27" + four(64),)) as client, place.entered(5) as other:
        subscribed(client, ("size", 2))
        for qos in QOS:
            fits = 64 - (2 + 2 + 4 + 1) - (2 if qos else 0)
            published(other, "size", bytes(fits + 1), qos)
            published(other, "size", bytes(fits), qos)
            taken(client, f"PUBLISH size {qos} {chr(0) * fits}")
            published(other, "size", b"x", qos, said=(user_property("n" * 30, "v" * 30),))
        assert client.quiet() == []


# What 5.0 says of messages.


def test_what_a_message_says_arrives_unchanged(place: Place) -> None:
    """Everything, in any order it came, and user properties in theirs, repeated ones too [3.3.2.3]."""
    users = [("b", "2"), ("a", "1"), ("b", "2"), ("", ""), ("\u00e9", "\U0001f600")]
    said = (
        user_property(*users[0]),
        b"\x09" + binary(bytes(range(256))),
        b"\x01\x01",
        *(user_property(*pair) for pair in users[1:]),
        b"\x08" + text("answers/\u00e9"),
        b"\x03" + text("something/of its own"),
    )
    with place.entered(5) as one, place.entered(5) as other, place.entered(4) as older:
        subscribed(other, ("all", 2))
        subscribed(older, ("all", 2))
        for qos in QOS:
            published(one, "all", b"x", qos, said)
            [message] = taken(other, f"PUBLISH all {qos} x")
            assert message.properties == {
                0x01: [1],
                0x03: ["something/of its own"],
                0x08: ["answers/\u00e9"],
                0x09: [bytes(range(256))],
                0x26: users,
            }
            taken(older, f"PUBLISH all {qos} x")


@pytest.mark.parametrize("said", [(), (b"\x01\x00",), (b"\x01\x01",), (b"\x03" + text(""),), (b"\x09\x00\x00",)])
def test_nothing_is_added_to_what_a_message_says(place: Place, said: Sequence[bytes]) -> None:
    """What was not said is not said by us, and what was said to be nothing is."""
    with place.entered(5) as one, place.entered(5, said=(b"\x22" + two(10),)) as other:
        subscribed(other, ("little", 1))
        published(one, "little", b"\xff", 1, tuple(said))
        [message] = taken(other, "PUBLISH little 1 \xff")
        values = {0x01: said[0][1] if said else None, 0x03: "", 0x09: b""}
        assert message.properties == {item[0]: [values[item[0]]] for item in said}


def test_message_of_3_1_1_says_nothing_to_5(place: Place) -> None:
    with place.entered(4) as one, place.entered(5) as other:
        subscribed(other, ("older", 1))
        published(one, "older", b"x", 1)
        [message] = taken(other, "PUBLISH older 1 x")
        assert message.properties == {}


@IN_ONE_MODE
def test_message_that_waits_has_the_less_time_left(place: Place) -> None:
    """And none that is over is delivered [3.3.2.3.3]."""
    with place.entered(5, "late", **stays(5)) as client:
        subscribed(client, ("late", 1))
        client.leave()
    with place.entered(5) as other:
        published(other, "late", b"over", 1, (b"\x02" + four(SHORT_S),))
        published(other, "late", b"at once", 1, (b"\x02" + four(0),))
        published(other, "late", b"in time", 1, (b"\x02" + four(100),))
        published(other, "late", b"for ever", 1)
    # Somebody whose session begins to wait later and as long as the first of these.
    with place.entered(5, "measure", expiry_s=SHORT_S + 1) as measure:
        measure.leave()
    place.forgets("measure")
    with place.entered(5, "late", session=True, **stays(5)) as client:
        in_time, for_ever = taken(client, "PUBLISH late 1 in time", "PUBLISH late 1 for ever")
        assert list(in_time.properties) == [0x02]
        assert in_time.properties[0x02][0] < 100
        assert for_ever.properties == {}
        assert client.quiet() == []


def test_message_to_somebody_who_is_there_has_all_its_time(place: Place) -> None:
    with place.entered(5) as one, place.entered(5) as other:
        subscribed(other, ("soon", 1))
        for seconds in (1, 3600, 0xFFFF_FFFF):
            published(one, "soon", b"x", 1, (b"\x02" + four(seconds),))
            [message] = taken(other, "PUBLISH soon 1 x")
            assert message.properties == {0x02: [seconds]}


def test_subscription_has_its_identifier(place: Place) -> None:
    """Told with each message, also when it was away; another subscription has another one or none [3.8.2.1.2]."""
    with place.entered(5, "named", **stays(5)) as client, place.entered(5) as other:
        subscribed(client, ("one", 0), ("two", 1), said=(b"\x0b\x01",))
        subscribed(client, ("three", 2), said=(b"\x0b\xff\xff\xff\x7f",))
        subscribed(client, ("four", 2))
        for topic, qos, told in (("one", 0, [1]), ("two", 1, [1]), ("three", 2, [268_435_455]), ("four", 2, None)):
            published(other, topic, b"x", 2)
            [message] = taken(client, f"PUBLISH {topic} {qos} x")
            assert message.properties.get(0x0B) == told
        subscribed(client, ("two", 1), said=(b"\x0b\x02",))
        subscribed(client, ("three", 2))
        client.leave()
        for topic in ("two", "three"):
            published(other, topic, b"y", 2)
        with place.entered(5, "named", session=True, **stays(5)) as client:
            two_, three = taken(client, "PUBLISH two 1 y", "PUBLISH three 2 y")
            assert (two_.properties.get(0x0B), three.properties.get(0x0B)) == ([2], None)


def test_client_need_not_hear_itself(place: Place) -> None:
    """No local: of its own messages nothing, of those of others all; for this subscription alone [3.8.3.1]."""
    with place.entered(5) as client, place.entered(5) as other:
        subscribed(client, ("quiet", 0x04 | 2), ("loud", 2))
        for qos in QOS:
            published(client, "quiet", b"own", qos)
        published(other, "quiet", b"others", 1)
        taken(client, "PUBLISH quiet 1 others")
        client.say(publish(5, "loud", b"own", 1, 5))
        client.expect("PUBACK 5 00", "PUBLISH loud 1 own")
        subscribed(client, ("quiet", 0))
        client.say(publish(5, "quiet", b"own", 1, 5))
        client.expect("PUBACK 5 00", "PUBLISH quiet 0 own")


def test_request_finds_its_response(place: Place) -> None:
    """The way from a response topic and correlation data back [4.10]."""
    with place.entered(5, said=(b"\x19\x01",)) as asking, place.entered(5) as answering:
        subscribed(asking, ("answers/asking", 1))
        subscribed(answering, ("questions", 1))
        published(asking, "questions", b"?", 1, (b"\x08" + text("answers/asking"), b"\x09" + binary(b"17")))
        [question] = taken(answering, "PUBLISH questions 1 ?")
        [topic], [correlation] = question.properties[0x08], question.properties[0x09]
        published(answering, topic, b"!", 1, (b"\x09" + binary(correlation),))
        [answer] = taken(asking, "PUBLISH answers/asking 1 !")
        assert answer.properties == {0x09: [b"17"]}


# The application behind the server.


@pytest.mark.parametrize("version", VERSIONS)
def test_event_that_nobody_handles_fails_in_its_answer(place: Place, version: int) -> None:
    """On its topic, to which nobody has to subscribe; the publication itself is acknowledged."""
    event = "$webpubsub/server/events/nobody"
    with place.entered(version, target=place.denied) as client:
        said = (b"\x09" + binary(b"17"),) if version == 5 else ()
        client.say(publish(version, event, b"x", 1, 5, said=said))
        heard = client.expect("PUBACK 5 10" if version == 5 else "PUBACK 5", f"PUBLISH {event}/failed 1 ")
        if version == 5:
            [answer] = (packet for packet in heard if packet.kind == "PUBLISH")
            assert answer.properties == {0x09: [b"17"], 0x26: [("azure-status-code", "404")]}


@pytest.mark.parametrize("version", VERSIONS)
def test_event_of_no_content_type_is_refused(place: Place, version: int) -> None:
    """5.0 can say which; what it says must be one."""
    event = "$webpubsub/server/events/nobody"
    said = (b"\x03" + text("no type"),)
    with place.entered(5) as client:
        client.say(publish(5, event, b"x", 1, 5, said=said), publish(5, event, b"x", 2, 6, said=said))
        client.expect("PUBACK 5 99", "PUBREC 6 99")
        client.say(publish(5, event, b"x", said=said))
        assert client.quiet() == []


def test_bytes_of_a_stranger_are_no_trouble_for_anybody(place: Place) -> None:
    """A client that is cut off in the middle of a packet, while others talk."""
    with place.entered(5) as one, place.entered(4) as other:
        subscribed(other, ("calm", 1))
        for cut in range(1, 20):
            with place.entered(5) as stranger:
                packet = publish(5, "calm", b"never" * 10, 1, 5)
                stranger.say_raw(b"\x82" + bytes((0x80 | len(packet),)) + bytes(4) + packet[:cut])
                if cut % 2:
                    stranger.abort()
        published(one, "calm", struct.pack("!H", 17), 1)
        taken(other, "PUBLISH calm 1 \x00\x11")
        assert other.quiet() == []

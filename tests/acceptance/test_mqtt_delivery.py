"""QoS 1 and 2 of MQTT over connections that break, and what limits messages: number, size and time."""

from collections.abc import Iterator
from typing import Any

import pytest

from acceptance.mqtt import VERSIONS, MqttClient, await_offline, close_all
from acceptance.servers import Server, running, wait_until
from acceptance.wire import JsonClient, rest
from hubwire.protocols.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel

TEXT = {"Content-Type": "text/plain"}
NOT_FOUND = 0x92
TOO_LARGE = 0x95
MANY = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which counts who is offline. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("delivery")) as server:
        yield server


@pytest.fixture
def hub(server: Server, hub: str) -> Iterator[str]:
    """Nobody waits in it for another socket once the test is over."""
    yield hub
    close_all(server, hub)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def lasting(server: Server, hub: str, version: int, **options: Any) -> MqttClient:
    """A client whose session waits for it."""
    return MqttClient(server, hub, version=version, clean=False, expiry_s=30, **options)


def send(server: Server, hub: str, text: str, **query: str) -> None:
    """To the group `g`."""
    answer = rest(server, "POST", f"{hub}/groups/g/:send", body=text.encode(), headers=TEXT, query=query.items())
    assert answer.status == 202


def payloads(client: MqttClient) -> list[str]:
    """Of all messages up to now."""
    return [message.payload.decode() for message in client.heard()]


# What is not acknowledged comes again


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again_first_and_as_a_duplicate(
    server: Server, hub: str, version: int, qos: int
) -> None:
    with lasting(server, hub, version) as client, MqttClient(server, hub) as publisher:
        client.subscribe("g", qos=2)
        for number in range(3):
            publisher.publish("g", b"%d" % number, qos)
        first, *others = [client.expect(Publish) for _ in range(3)]
        client.acknowledge(first)
        client.ping()
        client.drop()
        await_offline(server)
        publisher.publish("g", b"3", qos)
        with client.again() as back:
            found = [back.expect(Publish) for _ in range(3)]

            assert [message.payload for message in found] == [b"1", b"2", b"3"]
            assert [message.dup for message in found] == [True, True, False]
            assert [message.packet_id for message in found[:2]] == [message.packet_id for message in others]
            for message in found:
                back.acknowledge(message)
            back.ping()
            back.drop()
        await_offline(server)
        with client.again() as back:
            assert back.heard() == []


def test_release_comes_again_where_the_message_was_received(server: Server, hub: str, version: int) -> None:
    """PUBREC was sent, so the message is the client's; it waits only for the end of the exchange."""
    with lasting(server, hub, version) as client, MqttClient(server, hub) as publisher:
        client.subscribe("g", qos=2)
        publisher.publish("g", b"x", 2)
        message = client.expect(Publish)
        assert message.packet_id is not None
        client.send(Pubrec(message.packet_id))
        assert client.expect(Pubrel).packet_id == message.packet_id
        client.drop()
        await_offline(server)
        publisher.publish("g", b"y", 2)
        with client.again() as back:
            assert back.receive() == Pubrel(message.packet_id)
            back.send(Pubcomp(message.packet_id))
            assert [message.payload for message in back.heard()] == [b"y"]


class Subscriber:
    """
    What a client of QoS 2 does, and remembers although its connection breaks.

    Attributes:
        received: payloads of all that was new.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._unreleased: set[int | None] = set()

    def take(self, client: MqttClient, cut: str = "") -> None:
        """One message, to the end of its exchange or up to where the connection is to be cut."""
        packet = client.receive()
        if isinstance(packet, Publish):
            assert packet.packet_id is not None
            if packet.packet_id not in self._unreleased:
                self._unreleased.add(packet.packet_id)
                self.received.append(packet.payload)
            if cut == "before PUBREC":
                return
            client.send(Pubrec(packet.packet_id))
            if cut == "behind PUBREC":
                client.ping()
                return
            packet = client.receive()
        assert isinstance(packet, Pubrel)
        if cut == "before PUBCOMP":
            return
        self._unreleased.discard(packet.packet_id)
        client.send(Pubcomp(packet.packet_id))
        client.ping()


def test_nothing_is_heard_twice_with_qos_2_wherever_a_subscriber_breaks_off(
    server: Server, hub: str, version: int
) -> None:
    subscriber = Subscriber()
    client = lasting(server, hub, version)
    client.subscribe("g", qos=2)
    with MqttClient(server, hub) as publisher:
        cuts = ("before PUBREC", "behind PUBREC", "before PUBCOMP") * 2
        for number, cut in enumerate(cuts):
            publisher.publish("g", b"%d" % number, 2)
            subscriber.take(client, cut)
            client.drop()
            await_offline(server)
            client = client.again()
            subscriber.take(client)
    with client:
        assert client.heard() == []
    assert subscriber.received == [b"%d" % number for number in range(len(cuts))]


def test_nothing_is_published_twice_with_qos_2_wherever_a_publisher_breaks_off(
    server: Server, hub: str, version: int
) -> None:
    with JsonClient(server, hub, groups=["g"]) as other:
        client = lasting(server, hub, version)
        for number in range(5):
            payload = b"%d" % number
            first, again = (Publish("g", payload, 2, False, dup, number + 1) for dup in (False, True))
            for step in range(4):
                # What has got through is not known to a client that hears nothing, so it begins again.
                client.send(first if step == 0 else again)
                assert client.expect(Pubrec) == Pubrec(number + 1)
                client.drop()
                await_offline(server)
                client = client.again()
                assert client.resumed
            client.send(Pubrel(number + 1))
            assert client.expect(Pubcomp) == Pubcomp(number + 1)
            client.drop()
            await_offline(server)
            client = client.again()
            client.send(Pubrel(number + 1))
            assert client.expect(Pubcomp).code == (NOT_FOUND if version == 5 else 0)
        with client:
            client.ping()
        assert [frame["data"] for frame in other.heard()] == ["MA==", "MQ==", "Mg==", "Mw==", "NA=="]


def test_duplicate_with_qos_2_is_received_again_but_not_passed_on(server: Server, hub: str, version: int) -> None:
    with JsonClient(server, hub, groups=["g"]) as other, MqttClient(server, hub, version=version) as client:
        for dup in (False, True, True):
            client.send(Publish("g", b"x", 2, False, dup, 7))
            assert client.expect(Pubrec) == Pubrec(7)
        client.send(Pubrel(7))
        client.expect(Pubcomp)
        client.send(Publish("g", b"y", 2, False, False, 7))  # the number is free again
        client.expect(Pubrec)

        assert [frame["data"] for frame in other.heard()] == ["eA==", "eQ=="]


def test_unknown_packet_identifiers_are_answered_and_do_no_harm(server: Server, hub: str, version: int) -> None:
    code = NOT_FOUND if version == 5 else 0
    with MqttClient(server, hub, version=version) as client:
        client.send(Pubrel(9))
        assert client.expect(Pubcomp) == Pubcomp(9, code)
        client.send(Pubrec(9))
        assert client.expect(Pubrel) == Pubrel(9, code)
        client.send(Puback(9), Pubcomp(9))
        client.ping()


def test_message_that_a_subscriber_refuses_is_not_sent_again(server: Server, hub: str) -> None:
    with lasting(server, hub, 5) as client, MqttClient(server, hub) as publisher:
        client.subscribe("g", qos=2)
        publisher.publish("g", b"x", 2)
        message = client.expect(Publish)
        assert message.packet_id is not None
        client.send(Pubrec(message.packet_id, 0x80))
        client.ping()
        client.drop()
        await_offline(server)
        with client.again() as back:
            assert back.heard() == []


def test_hundreds_of_messages_come_in_order_over_a_connection_that_breaks_again_and_again(
    server: Server, hub: str, version: int
) -> None:
    """QoS 1 of one that acknowledges as it reads: nothing is missing, and what is new comes in order."""
    client = lasting(server, hub, version)
    client.subscribe("g", qos=1)
    with MqttClient(server, hub) as publisher:
        received: list[int] = []
        for round_ in range(5):
            for number in range(MANY):
                publisher.publish("g", b"%d" % (round_ * MANY + number), 1)
            received += [int(message.payload) for message in client.messages(MANY // 2)]
            client.drop()
            await_offline(server)
            client = client.again()
    with client:
        received += [int(message.payload) for message in client.heard()]
    assert sorted(set(received)) == list(range(5 * MANY))
    assert list(dict.fromkeys(received)) == list(range(5 * MANY))


# How much at a time


def test_no_more_is_on_its_way_than_the_client_takes(server: Server, hub: str) -> None:
    """Its receive maximum is for QoS 1 and 2; QoS 0 passes by."""
    with (
        MqttClient(server, hub, properties={"receive_maximum": 2}) as client,
        MqttClient(server, hub) as publisher,
    ):
        client.subscribe("g", qos=2)
        for number in range(6):
            publisher.publish("g", b"%d" % number, 1 + number % 2)
        publisher.publish("g", b"passes", 0)
        publisher.ping()
        client.ping()
        first, second, third = (client.expect(Publish) for _ in range(3))
        assert [message.payload for message in (first, second, third)] == [b"0", b"1", b"passes"]
        assert client.heard() == []
        client.acknowledge(first)
        following = client.expect(Publish)
        assert following.payload == b"2"
        assert second.packet_id is not None
        client.send(Pubrec(second.packet_id))
        client.expect(Pubrel)
        assert client.heard() == []
        client.send(Pubcomp(second.packet_id))
        fourth = client.expect(Publish)
        assert fourth.payload == b"3"
        client.acknowledge(following)
        client.acknowledge(fourth)
        assert [message.payload for message in client.messages(2)] == [b"4", b"5"]


def test_receive_maximum_is_that_of_the_new_connection(server: Server, hub: str) -> None:
    """What does not fit is sent again as there is room."""
    with lasting(server, hub, 5) as client:
        client.subscribe("g", qos=1)
        for number in range(4):
            send(server, hub, str(number))
        assert len([client.expect(Publish) for _ in range(4)]) == 4
        client.drop()
    await_offline(server)
    with client.again(properties={"receive_maximum": 1}) as back:
        found = []
        for _ in range(4):
            message = back.expect(Publish)
            assert back.heard() == []
            back.acknowledge(message)
            found.append((message.payload, message.dup))
        assert found == [(b"0", True), (b"1", True), (b"2", True), (b"3", True)]


# How large


def test_message_larger_than_a_client_takes_is_not_for_it(server: Server, hub: str) -> None:
    """Nor counted as on its way; others get it."""
    with (
        MqttClient(server, hub, groups=["g"], properties={"maximum_packet_size": 300, "receive_maximum": 1}) as small,
        MqttClient(server, hub, groups=["g"]) as large,
    ):
        texts = ["x" * 1000, "fits", "y" * 301, "fits too"]
        for text in texts:
            send(server, hub, text)
        assert payloads(large) == texts
        assert [message.payload for message in small.messages(2)] == [b"fits", b"fits too"]


def test_packet_may_be_exactly_as_large_as_is_announced(server: Server, hub: str) -> None:
    """One byte more is too much. In 3.1.1 there is no word for it but the end."""
    for version in VERSIONS:
        head = 1 + 3 + 2 + 1 + 2 + (version - 4)  # type, length, topic, packet id, properties
        with MqttClient(server, hub, version=version, groups=["g"]) as client:
            assert client.connack.properties.maximum_packet_size == (1 << 20 if version == 5 else None)
            payload = b"x" * ((1 << 20) - head)
            client.publish("g", payload, 1)
            assert len(client.message().payload) == len(payload)
            client.send(Publish("g", payload + b"x", 1, packet_id=client.next_id()))
            assert client.ended().code == (TOO_LARGE if version == 5 else None)


# How long


def test_message_whose_time_is_over_is_not_delivered(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client, MqttClient(server, hub) as publisher:
        client.subscribe("g", qos=1)
        client.drop()
        await_offline(server)
        publisher.publish("g", b"short", message_expiry_s=1)
        publisher.publish("g", b"shortest", message_expiry_s=0)
        publisher.publish("g", b"long", message_expiry_s=100)
        send(server, hub, "of REST", messageTtlSeconds="1")
        send(server, hub, "last")
        with MqttClient(server, hub, expiry_s=2) as clock:
            clock.drop()
        wait_until(
            lambda: rest(server, "HEAD", f"{hub}/connections/{clock.client_id}").status == 404, "two seconds to go by"
        )
        with client.again() as back:
            first, second = back.messages(2)
            assert [first.payload, second.payload] == [b"long", b"last"]
            if version == 5:
                assert 0 < (first.properties.message_expiry_s or 0) <= 98
                assert second.properties.message_expiry_s is None
            assert back.heard() == []

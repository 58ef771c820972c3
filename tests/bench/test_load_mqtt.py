"""The load generator speaks MQTT as the standard has it, and counts what is acknowledged."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acceptance.servers import wait_until
from hubwire.protocols.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
)
from loading import SHORT, assert_complete, load, refusal, run
from rooms import Mqtt, Room, room

__all__ = ["load"]

QOS_1 = ["mqtt-qos1", "mqtt5-qos1"]


def where(there: Room, protocol: str) -> list[str]:
    return ["--address", there.address, "--protocol", protocol, *SHORT]


def of_kind(kind: type[Packet], packets: list[Packet]) -> list[Any]:
    return [packet for packet in packets if isinstance(packet, kind)]


@pytest.mark.parametrize(
    ("protocol", "version", "qos"), [("mqtt", 4, 0), ("mqtt-qos1", 4, 1), ("mqtt5", 5, 0), ("mqtt5-qos1", 5, 1)]
)
def test_packets_are_what_the_server_reads(load: Path, protocol: str, version: int, qos: int) -> None:
    """Clean sessions with ids of their own, subscriptions and publications of the quality of service that was meant."""
    heard: list[Packet] = []
    shape = ["--members", "2", "--groups", "3", "--memberships", "2", "--size", "200", "--keep-alive-s", "9"]
    with room(protocol, dialect=partial(Mqtt, heard)) as there:
        result = run(load, "fanout", *where(there, protocol), *shape, "--window", "3")

    connects = of_kind(Connect, heard)
    assert len({one.client_id for one in connects}) == len(connects) == 3
    assert all(one.client_id.isalnum() for one in connects)
    assert connects == [Connect(version, one.client_id, True, 9) for one in connects]
    assert {(one.packet_id, one.filters) for one in of_kind(Subscribe, heard)} == {
        (place, (Filter(group, qos),)) for place, group in ((1, "g0"), (2, "g1"), (1, "g1"), (2, "g2"))
    }
    published = of_kind(Publish, heard)
    assert len(published) == result["sent"] > 0
    assert {(one.qos, one.retain, one.dup, len(one.payload)) for one in published} == {(qos, False, False, 200)}
    assert [one.packet_id for one in published] == [n + 1 if qos else None for n in range(len(published))]


@pytest.mark.parametrize(("filters", "levels"), [(1, 1), (3, 2), (1000, 100)])
def test_members_subscribe_by_filters_of_which_one_stands_for_what_is_sent(
    load: Path, filters: int, levels: int
) -> None:
    """The others differ from it in their last level alone, and each member has filters of its own."""
    heard: list[Packet] = []
    shape = ["--members", "2", "--filters", str(filters), "--levels", str(levels), "--window", "2"]
    with room("mqtt5", dialect=partial(Mqtt, heard)) as there:
        result = run(load, "fanout", *where(there, "mqtt5"), *shape)

    assert_complete(result, 2 * result["sent"])
    below = "/l" * (levels - 1)
    wanted = [[one.topic_filter for one in packet.filters] for packet in of_kind(Subscribe, heard)]
    assert [len(texts) for texts in wanted] == [filters, filters]
    assert {texts[0] for texts in wanted} == {f"g0{below}/#"}
    others = [text for texts in wanted for text in texts[1:]]
    assert len(set(others)) == 2 * (filters - 1)
    assert all(re.fullmatch(rf"\+{below}/n[0-9]+", text) for text in others)
    assert {one.topic for one in of_kind(Publish, heard)} == {f"g0{below}"}


@pytest.mark.parametrize("protocol", QOS_1)
def test_members_acknowledge_each_message(load: Path, protocol: str) -> None:
    """Once, by its number, which the room gives to nobody else."""
    heard: list[Packet] = []
    with room(protocol, dialect=partial(Mqtt, heard)) as there:
        result = run(load, "fanout", *where(there, protocol), "--members", "3", "--window", "4")
        sent = result["sent"]
        # The room reads on when the generator is gone, and the last ones may never have been sent.
        wait_until(lambda: len(of_kind(Puback, heard)) > 3 * (sent - 5), "the acknowledgements")

    assert_complete(result, 3 * sent)
    assert result["unacknowledged"] == 0
    acknowledged = [one.packet_id for one in of_kind(Puback, heard)]
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= set(range(1, 3 * sent + 1))


@pytest.mark.parametrize("protocol", QOS_1)
def test_publishers_send_again_what_was_acknowledged(load: Path, protocol: str) -> None:
    """Each has as many under way as its window allows; its group is the next one in turn."""
    shape = ["--publishers", "5", "--members", "2", "--groups", "2", "--window", "3"]
    with room(protocol) as there:
        result = run(load, "publish", *where(there, protocol), "--warmup-s", "0.1", *shape)

    assert (result["connections"], result["publishers"], result["unacknowledged"]) == (7, 5, 0)
    assert result["operations"] > 15
    assert result["carried"] + result["expected"] == result["deliveries"] + result["late"]
    assert [result[name] for name in ("lost", "gaps", "duplicates", "reordered", "errors", "closed")] == [0] * 6
    assert result["latency_us"]["count"] > 0


@pytest.mark.parametrize("away", [False, True])
def test_members_of_kept_sessions_are_there_or_have_left(load: Path, away: bool) -> None:
    """Nothing is expected of those who have; publishers begin clean, with the same quality of service."""
    heard: list[Packet] = []
    shape = ["--publishers", "3", "--members", "2", "--groups", "2", "--window", "1", "--away", str(int(away))]
    with room("mqtt-kept", dialect=partial(Mqtt, heard)) as there:
        result = run(load, "publish", *where(there, "mqtt-kept"), "--warmup-s", "0.1", *shape)

    assert sorted(one.clean_start for one in of_kind(Connect, heard)) == [False, False, True, True, True]
    assert {one.qos for one in of_kind(Publish, heard)} == {1}
    assert result["operations"] > 9
    assert [result[name] for name in ("lost", "errors", "closed", "unacknowledged")] == [0] * 4
    assert (result["deliveries"] == 0) == away


class SomeSilence(Mqtt):
    """Does not acknowledge the tenth publication of a client, nor what comes then."""

    def answers(self, packet: Packet) -> Iterator[Packet]:
        if not isinstance(packet, Publish) or (packet.packet_id or 0) < 10:
            yield from super().answers(packet)


def test_publications_that_are_never_acknowledged_are_told(load: Path) -> None:
    """Though all members have them."""
    with room("mqtt-qos1", dialect=SomeSilence) as there:
        result = run(load, "fanout", *where(there, "mqtt-qos1"), "--members", "2", "--window", "2")

    assert_complete(result, 2 * result["sent"])
    assert result["unacknowledged"] == result["sent"] - 9 > 0


class Downgrading(Mqtt):
    def answers(self, packet: Packet) -> Iterator[Packet]:
        for answer in super().answers(packet):
            yield Suback(answer.packet_id, (0,)) if isinstance(answer, Suback) else answer


class Refusing(Mqtt):
    def answers(self, packet: Packet) -> Iterator[Packet]:
        for answer in super().answers(packet):
            yield Puback(answer.packet_id, 0x87) if isinstance(answer, Puback) else answer


class Unordered(Mqtt):
    def answers(self, packet: Packet) -> Iterator[Packet]:
        for answer in super().answers(packet):
            yield Puback(answer.packet_id + 1) if isinstance(answer, Puback) else answer


class Closed(Mqtt):
    def answers(self, packet: Packet) -> Iterator[Packet]:
        yield Connack(False, 0x88) if self.version == 5 else Connack(False, 3)


class Leaving(Mqtt):
    def answers(self, packet: Packet) -> Iterator[Packet]:
        if isinstance(packet, Publish):
            yield Disconnect(0x8B)
        else:
            yield from super().answers(packet)


class Narrow(Mqtt):
    """Takes two publications of a client at a time, acknowledges none, and says more of itself than is needed."""

    def answers(self, packet: Packet) -> Iterator[Packet]:
        if isinstance(packet, Connect):
            terms = Properties(
                session_expiry_s=30,
                assigned_client_id="abc",
                receive_maximum=2,
                maximum_qos=1,
                retain_available=0,
                user_properties=(("name", "value"), ("", "")),
                maximum_packet_size=2**20,
                topic_alias_maximum=3,
                reason_string="why",
            )
            yield Connack(False, 0, terms)
        elif not isinstance(packet, Publish):
            yield from super().answers(packet)


@pytest.mark.parametrize(
    ("protocol", "dialect", "complaint"),
    [
        ("mqtt-qos1", Downgrading, "while joining: refused by the server: SUBACK 0"),
        ("mqtt5-qos1", Downgrading, "while joining: refused by the server: SUBACK 0"),
        ("mqtt5-qos1", Refusing, "during the run: refused by the server: PUBACK 135"),
        ("mqtt-qos1", Unordered, "during the run: acknowledged 2, with [45] under way from 1"),
        ("mqtt", Closed, "after the handshake: refused by the server: CONNACK 3"),
        ("mqtt5", Closed, "after the handshake: refused by the server: CONNACK 136"),
        ("mqtt5", Leaving, "during the run: refused by the server: DISCONNECT 139"),
        ("mqtt5-qos1", Narrow, "load: the server takes no more than 2 publications of a client under way"),
    ],
)
def test_server_that_does_not_do_what_is_measured_ends_the_run(
    load: Path, protocol: str, dialect: Callable[[], Mqtt], complaint: str
) -> None:
    with room(protocol, dialect=dialect) as there:
        line = refusal(load, "fanout", *where(there, protocol), "--members", "2", "--window", "4")

    assert re.search(f"{complaint}$", line), line


def test_message_of_less_quality_than_was_granted_is_no_delivery(load: Path) -> None:
    class Lessened(Mqtt):
        def message(self, group: str, payload: str) -> tuple[bytes, ...]:
            self.qos = 0
            return tuple(frame for frame in super().message(group, payload) if isinstance(frame, bytes))

    with room("mqtt-qos1", dialect=Lessened) as there:
        line = refusal(load, "fanout", *where(there, "mqtt-qos1"), "--members", "1")

    assert line.endswith("refused by the server: PUBLISH of quality of service 0")


class Hasty(Mqtt):
    """Wants to hear of its clients more often than they have offered."""

    def answers(self, packet: Packet) -> Iterator[Packet]:
        if isinstance(packet, Connect):
            yield Connack(False, 0, Properties(server_keep_alive_s=1))
        else:
            yield from super().answers(packet)


@pytest.mark.parametrize(
    ("protocol", "dialect", "keep_alive_s"), [("mqtt", Mqtt, "1"), ("mqtt5", Mqtt, "1"), ("mqtt5", Hasty, "60")]
)
def test_idle_clients_ping(
    load: Path, protocol: str, dialect: Callable[[list[Packet]], Mqtt], keep_alive_s: str
) -> None:
    """Within their keep alive, or the server's; its answers keep them there."""
    heard: list[Packet] = []
    with room(protocol, dialect=partial(dialect, heard)) as there:
        shape = ["--connections", "3", "--settle-s", "2", "--keep-alive-s", keep_alive_s]
        result = run(load, "idle", *where(there, protocol), *shape)

    assert (result["connections"], result["closed"]) == (3, 0)
    assert len(of_kind(Pingreq, heard)) >= 3


def test_clients_without_a_keep_alive_do_not_ping(load: Path) -> None:
    heard: list[Packet] = []
    with room("mqtt", dialect=partial(Mqtt, heard)) as there:
        run(load, "idle", *where(there, "mqtt"), "--connections", "1", "--settle-s", "1", "--keep-alive-s", "0")

    assert [type(one) for one in heard] == [Connect]


class Deaf(Mqtt):
    def answers(self, packet: Packet) -> Iterator[Packet]:
        if not isinstance(packet, Pingreq):
            yield from super().answers(packet)


def test_server_that_answers_no_ping_has_lost_its_clients(load: Path) -> None:
    with room("mqtt", dialect=Deaf) as there:
        shape = ["--connections", "2", "--settle-s", "20", "--keep-alive-s", "1"]
        line = refusal(load, "idle", *where(there, "mqtt"), *shape)

    # Both are, but which of them is noticed first is up to the machine.
    lost = r"load: (all 2|1 of 2) connections were lost, first: number [01], no answer to the last ping"
    assert re.fullmatch(lost, line), line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--protocol", "mqtt"], "publish cannot use mqtt: it does not acknowledge what is published"),
        (["--protocol", "mqtt-qos1", "--rate", "5"], "--rate: publish has no open loop"),
        (["--protocol", "mqtt-qos1", "--members", "1", "--groups", "2"], "--groups: 1 members cannot fill 2 groups"),
        (["--protocol", "mqtt-qos1", "--away", "1"], "--away: sessions of mqtt-qos1 end with their connections"),
        (["--protocol", "mqtt", "--keep-alive-s", "65536"], "--keep-alive-s: '65536' is not a whole number from 0"),
    ],
)
def test_wrong_options_of_publishers_are_named(load: Path, arguments: list[str], complaint: str) -> None:
    assert refusal(load, "publish", "--address", "127.0.0.1:1", *arguments).startswith(f"load: {complaint}")

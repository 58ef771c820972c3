"""Sessions that outlive the process: what is written of them, and that a new process goes on where the old one was."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from doubles import HUB, MemoryJournal, connection
from hubwire.cluster.durable import DurableSessions
from hubwire.hub.connection import Connection
from hubwire.model.errors import QueueOverflow
from hubwire.model.messages import Data, DataMessage, FromServer
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.mqtt.packets import (
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
    Will,
)
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.protocols.mqtt.terms import Policy
from hubwire.protocols.protobuf_reliable import ReliableProtobufSession
from hubwire.protocols.reliable import QueueLimits, ReliableSession
from hubwire.protocols.session import Batch
from protocols.mqtt.pretend import LIMITS, NOW, Client, batch, from_mqtt, text_message

POLICY = Policy(session_expiry_s=1000)
UNIX = 1_700_000_000.0
KEPT = Properties(session_expiry_s=500)


class Process:
    """
    One life of a server, as far as its sessions are in the journal.

    Attributes:
        now: monotonic seconds, which begin anew with each process.
        owners: of its sessions, in the order in which they began.
    """

    def __init__(self, journal: MemoryJournal, now: float = NOW, unix: float = UNIX) -> None:
        self.journal = journal
        self.now = now
        self._unix = unix - now
        self.owners: list[Connection] = []
        self.durable = DurableSessions(journal, lambda: self.now, lambda: self.now + self._unix)

    def client(self, client_id: str = "me", version: int = 5, **more: Any) -> Client:
        """One whose session is kept."""
        properties = more.pop("properties", KEPT if version == 5 else Properties())
        made = Client(version, properties=properties, policy=POLICY, client_id=client_id, clean_start=False, **more)
        self.begin(made)
        return made

    def begin(self, client: Client, **more: Any) -> Connection:
        made = connection(client.session, id=client.connect.client_id, **more)
        self.durable.begin(made, ("webpubsub.sendToGroup",), ())
        self.owners.append(made)
        return made

    async def restored(self, limits: QueueLimits = LIMITS, policy: Policy = POLICY) -> list[Client]:
        """The clients of all sessions that were kept, in the order in which they began."""
        found = await self.durable.read()
        clients = []
        for stored in found.sessions:
            entry = stored.entry
            assert entry.terms is not None
            client = Client(entry.terms.version, policy=policy, client_id=entry.client_id, clean_start=False)
            if entry.terms.version == 5:
                client.connect = Client(5, properties=KEPT, client_id=entry.client_id, clean_start=False).connect
            client.session = MqttSession.restored(policy, entry.terms, limits, client.noted.append, entry.client_id)
            owner = connection(client.session, id=entry.client_id)
            self.durable.adopt(owner, stored, found)
            self.owners.append(owner)
            clients.append(client)
        self.durable.adopted(found)
        return clients

    def kinds(self) -> dict[str, int]:
        """How many entries there are."""
        return dict(Counter(kind for kind, _ in self.journal.kept))


async def next_life(journal: MemoryJournal, passed_s: float = 0.0, **more: Any) -> list[Client]:
    """All sessions in a process whose clock shows something else."""
    return await Process(journal, 50.0, UNIX + passed_s).restored(**more)


def payloads(packets: Sequence[Packet]) -> list[str]:
    return [packet.payload.decode() for packet in packets if isinstance(packet, Publish)]


def flights(packets: Sequence[Packet]) -> list[tuple[str, int, bool, int | None]]:
    """Payload, QoS, DUP and identifier of each message."""
    return [(p.payload.decode(), p.qos, p.dup, p.packet_id) for p in packets if isinstance(p, Publish)]


async def test_what_was_on_its_way_comes_again_with_its_identifiers_and_then_what_waited() -> None:
    journal = MemoryJournal()
    client = Process(journal).client(properties=Properties(session_expiry_s=500, receive_maximum=3))
    client.ask(Subscribe(1, (Filter("news", 2),)))
    client.deliver(from_mqtt("a", 1), from_mqtt("b", 2), from_mqtt("c", 2), from_mqtt("d", 1))
    client.say(Puback(1))
    client.say(Pubrec(2))

    [restored] = await next_life(journal)

    assert restored.session.held() == client.session.held() == (3, client.session.held()[1])
    heard = restored.back()
    assert flights(heard) == [("c", 2, True, 3), ("d", 1, True, 4)]
    assert [packet for packet in heard if isinstance(packet, Pubrel)] == [Pubrel(2)]
    restored.say(Puback(4), Pubrec(3), Pubcomp(2), Pubcomp(3))
    assert restored.session.held() == (0, 0)
    assert {kind for kind, _ in journal.kept} == {"session", "subscription"}


@pytest.mark.parametrize("version", [4, 5])
async def test_message_that_came_while_nobody_was_there_waits_for_the_next_life(version: int) -> None:
    journal = MemoryJournal()
    client = Process(journal).client(version=version)
    client.ask(Subscribe(1, (Filter("news", 2),)))
    client.session.lost()
    client.deliver(from_mqtt("0", 0), from_mqtt("1", 1, content_type="a/b"), from_mqtt("2", 2), text_message("3"))

    [restored] = await next_life(journal)

    assert flights(restored.back()) == [("1", 1, False, 1), ("2", 2, False, 2), ("3", 1, False, 3)]


async def test_message_is_written_once_for_all_who_wait_for_it_and_goes_with_the_last_of_them() -> None:
    journal = MemoryJournal()
    process = Process(journal)
    clients = [process.client(name) for name in "abc"]
    shared = batch(5, from_mqtt("x" * 1000, 1))
    for client in clients:
        client.session.lost()
        client.session.deliver(shared, NOW)
    assert (process.kinds()["message"], process.kinds()["queued"]) == (1, 3)

    back = await next_life(journal)
    assert process.kinds()["message"] == 1
    for one in back:
        assert payloads(one.back()) == ["x" * 1000]
        assert process.kinds()["message"] == 1
        one.say(Puback(1))

    assert process.kinds() == {"session": 3}


async def test_client_that_was_answered_is_not_heard_twice() -> None:
    """The PUBREC of a message of QoS 2 was on its way; the client repeats the message, or releases it."""
    journal = MemoryJournal()
    client = Process(journal).client()
    client.ask(Publish("news", b"a", 2, packet_id=7), Publish("news", b"b", 2, packet_id=8))

    [restored] = await next_life(journal)
    restored.back()

    assert restored.say(Publish("news", b"a", 2, dup=True, packet_id=7)) == []
    assert restored.answers == [Pubrec(7)]
    restored.say(Pubrel(7), Pubrel(8))
    assert restored.answers == [Pubcomp(7), Pubcomp(8)]
    assert len(restored.say(Publish("news", b"c", 2, packet_id=7))) == 1
    [again] = await next_life(journal)
    again.back()
    assert len(again.say(Publish("news", b"c", 2, dup=True, packet_id=8))) == 1


async def test_subscriptions_keep_their_options() -> None:
    journal = MemoryJournal()
    client = Process(journal).client()
    client.ask(Subscribe(1, (Filter("a", 2, no_local=True), Filter("b", 0)), Properties(subscription_ids=(9,))))
    client.ask(Subscribe(2, (Filter("c", 1), Filter("$webpubsub/server/messages", 0))))
    client.ask(Unsubscribe(3, ("b",)))
    client.session.left("b")

    [restored] = await next_life(journal)
    restored.back()

    mine, other = from_mqtt("mine", 2, "a", publisher="me"), from_mqtt("other", 2, "a")
    [heard] = restored.deliver(mine, other)
    assert isinstance(heard, Publish)
    assert (heard.payload, heard.qos, heard.properties.subscription_ids) == (b"other", 2, (9,))
    assert flights(restored.deliver(from_mqtt("c", 2, "c"))) == [("c", 1, False, 2)]
    assert flights(restored.deliver(from_mqtt("b", 2, "b"))) == [("b", 1, False, 3)]
    assert flights(restored.deliver("served")) == [("served", 0, False, None)]


async def test_flag_of_retained_messages_is_told_in_the_next_life() -> None:
    """Of what was kept, and to who wants it of new messages as they were published."""
    journal = MemoryJournal()
    client = Process(journal).client()
    client.ask(Subscribe(1, (Filter("news", 1, retain_as_published=True),)))
    client.session.lost()
    client.deliver(from_mqtt("a", 1, retain=True), replace(from_mqtt("b", 1, retain=True), retained=True))
    client.deliver(from_mqtt("c", 1))

    [restored] = await next_life(journal)
    heard = [*restored.back(), *restored.deliver(from_mqtt("d", 1, retain=True))]

    assert [(one.payload, one.retain) for one in heard if isinstance(one, Publish)] == [
        (b"a", True),
        (b"b", True),
        (b"c", False),
        (b"d", True),
    ]


async def test_time_of_a_message_goes_on_between_two_lives() -> None:
    journal = MemoryJournal()
    client = Process(journal).client()
    client.session.lost()
    client.deliver(from_mqtt("short", 1, expiry_s=10), expires_at=NOW + 10)
    client.deliver(from_mqtt("long", 1, expiry_s=100), expires_at=NOW + 100)
    client.deliver(text_message("rest"), expires_at=NOW + 100)

    [restored] = await next_life(journal, passed_s=30)

    heard = restored.back(now=50.0)
    assert payloads(heard) == ["long", "rest"]
    assert [p.properties.message_expiry_s for p in heard if isinstance(p, Publish)] == [70, 70]
    assert {kind for kind, _ in journal.kept} == {"session", "message", "queued"}
    restored.say(Puback(1), Puback(2))
    assert {kind for kind, _ in journal.kept} == {"session"}


async def test_terms_will_and_owner_are_kept() -> None:
    journal = MemoryJournal()
    process = Process(journal)
    will = Will("w", b"gone", 1, properties=Properties(will_delay_s=60, user_properties=(("a", "b"),)))
    client = Client(5, properties=KEPT, policy=POLICY, clean_start=False, will=will)
    owner = process.begin(client, user_id="u")
    owner.permissions.grant("joinLeaveGroup", "extra")
    owner.permissions.revoke("sendToGroup", "secret")
    process.durable.changed(owner)

    found = await Process(journal).durable.read()

    [stored] = found.sessions
    entry = stored.entry
    assert entry.terms == client.session.terms()
    assert entry.terms.will is not None
    assert (entry.terms.will.delay_s, entry.terms.expiry_s) == (60, 500)
    assert (entry.user_id, entry.roles, entry.hub) == ("u", ("webpubsub.sendToGroup",), HUB.hub)
    assert sorted(entry.rules) == sorted(owner.permissions.rules())


async def test_session_that_has_lost_its_socket_says_since_when() -> None:
    journal = MemoryJournal()
    process = Process(journal)
    owner = process.begin(Client(5, properties=KEPT, policy=POLICY, clean_start=False))

    async def lost_at() -> float | None:
        return (await Process(journal).durable.read()).sessions[0].entry.lost_at

    owner.sink = None
    process.now += 5
    process.durable.changed(owner)
    process.now += 5
    owner.why = CloseCategory.PING_TIMEOUT
    process.durable.changed(owner)

    assert await lost_at() == UNIX + 5
    found = await Process(journal).durable.read()
    assert found.sessions[0].entry.why == "PingTimeout"


async def test_shorter_maximum_holds_for_sessions_of_earlier_lives() -> None:
    journal = MemoryJournal()
    Process(journal).client()

    [same] = await next_life(journal)
    [shorter] = await next_life(journal, policy=Policy(session_expiry_s=60))

    assert (same.session.retention_s, shorter.session.retention_s) == (500, 60)


async def test_end_of_a_session_leaves_nothing_behind() -> None:
    journal = MemoryJournal()
    process = Process(journal)
    client = Client(5, properties=KEPT, policy=POLICY, clean_start=False)
    owner = connection(client.session)
    process.durable.begin(owner, (), ("g", "h"))
    process.durable.member(owner, "i", True)
    process.durable.member(owner, "h", False)
    client.ask(Subscribe(1, (Filter("news", 2),)), Publish("news", b"a", 2, packet_id=7))
    client.deliver(from_mqtt("a", 1), from_mqtt("b", 2))
    client.say(Pubrec(2))
    assert process.kinds() == {"session": 1, "subscription": 3, "message": 1, "queued": 2, "received": 1}
    assert len(process.durable) == 1

    process.durable.end(owner, ("g", "i"))

    assert process.kinds() == {}
    assert not process.durable.keeps(owner)
    assert len(process.durable) == 0
    client.deliver(from_mqtt("c", 1))
    client.say(Publish("news", b"a", 2, packet_id=9))
    assert process.kinds() == {}


async def test_session_that_nobody_goes_on_with_leaves_nothing_behind() -> None:
    journal = MemoryJournal()
    process = Process(journal)
    clients = [process.client(name) for name in "ab"]
    shared = batch(5, from_mqtt("x", 1), from_mqtt("y", 2))
    for client in clients:
        client.ask(Subscribe(1, (Filter("news", 2),)), Publish("news", b"a", 2, packet_id=7))
        client.session.deliver(shared, NOW)

    process = Process(journal)
    await process.durable.forget_all()

    assert process.kinds() == {}


async def test_new_sessions_and_messages_get_numbers_that_nobody_has() -> None:
    journal = MemoryJournal()
    first = Process(journal)
    first.client("a").deliver(from_mqtt("a", 1))
    second = Process(journal)
    [a] = await second.restored()
    second.client("b").deliver(from_mqtt("b", 1))
    a.deliver(from_mqtt("c", 1))

    restored = await next_life(journal)

    assert [payloads(one.back()) for one in restored] == [["a", "c"], ["b"]]


async def test_damaged_entries_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    journal = MemoryJournal()
    client = Process(journal).client()
    client.deliver(from_mqtt("a", 1), from_mqtt("b", 1))
    journal.put("session", "ff", b"\xc1")
    journal.put("session", "no number", b"\xc1")
    journal.put("queued", "ff/1", journal.kept["queued", "1/1"])
    journal.put("queued", "1/99", b"\x80")
    journal.put("message", "77", journal.kept["message", "1"])
    journal.remove("message", "2")

    with caplog.at_level(logging.ERROR, "hubwire.journal"):
        [restored] = await next_life(journal)

    assert payloads(restored.back()) == ["a"]
    assert len(caplog.records) == 4
    restored.say(Puback(1))
    assert {kind for kind, _ in journal.kept} == {"session"}


# Any life


class Twins:
    """A client whose process goes on, and the same one after its process was killed: both shall be alike."""

    def __init__(self, first: Client, second: Client, *, same_version: bool) -> None:
        self._both = (first, second)
        self._same_version = same_version

    def same(self, act: Any) -> None:
        one, other = (act(client) for client in self._both)
        assert one == other

    def held(self) -> None:
        """What was made for another version of MQTT is made anew, and its size may be another one."""
        self.same(lambda client: client.session.held()[: 1 + self._same_version])


def numbered(packets: Sequence[Packet]) -> list[Any]:
    """New messages may have other identifiers."""
    return [
        (p.topic, p.payload, p.qos, p.dup, p.packet_id if p.dup else None, p.properties)
        if isinstance(p, Publish)
        else p
        for p in packets
    ]


TOPICS = st.sampled_from(["news", "other"])
QOS = st.integers(0, 2)
PACKET_IDS = st.integers(1, 4)
OPERATIONS = st.one_of(
    st.tuples(st.just("deliver"), TOPICS, st.lists(QOS, min_size=1, max_size=3), st.sampled_from([None, 20, 60])),
    st.tuples(st.just("subscribe"), TOPICS, QOS, st.booleans(), st.sampled_from([None, 7])),
    st.tuples(st.just("unsubscribe"), TOPICS),
    st.tuples(st.just("publish"), QOS, PACKET_IDS),
    st.tuples(st.just("release"), PACKET_IDS),
    st.tuples(st.just("acknowledge"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("lose")),
    st.tuples(st.just("back"), st.sampled_from([None, 1, 3]), st.sampled_from([None, 60]), st.sampled_from([4, 5])),
    st.tuples(st.just("wait"), st.sampled_from([5, 15])),
    st.tuples(st.just("killed")),
)


class Life:
    """One client and its process; what is asked of it makes sense at any time."""

    def __init__(self, version: int) -> None:
        self.journal = MemoryJournal()
        self.process = Process(self.journal)
        self.client = self.process.client(version=version, limits=QueueLimits(8))
        self.away = False
        self.flying: dict[int, int] = {}
        self.passed = 0.0
        self._texts = 0

    def messages(self, topic: str, qoss: Sequence[int]) -> list[DataMessage]:
        self._texts += 1
        return [from_mqtt(f"{self._texts}.{n}", qos, topic) for n, qos in enumerate(qoss)]

    async def do(self, operation: tuple[Any, ...]) -> bool:
        """False if the session has ended by it."""
        client, now = self.client, self.process.now
        match operation:
            case ("deliver", topic, qoss, ttl_s):
                expires_at = None if ttl_s is None else now + ttl_s
                try:
                    self._note(client.deliver(*self.messages(topic, qoss), expires_at=expires_at, now=now))
                except QueueOverflow:
                    return False
            case ("lose",):
                client.session.lost()
                self.process.durable.changed(self.process.owners[0])
                self.away = True
            case ("back", window, most, version):
                more = {"session_expiry_s": 500, "receive_maximum": window, "maximum_packet_size": most}
                properties = Properties(**more) if version == 5 else Properties()
                self.flying.clear()
                self._note(client.back(now, properties, version))
                self.process.durable.changed(self.process.owners[0])
                self.away = False
            case ("wait", seconds):
                self.process.now += seconds
                self.passed += seconds
            case ("killed",):
                self.process = Process(self.journal, 50.0, UNIX + self.passed)
                [self.client] = await self.process.restored(QueueLimits(8))
                self.flying.clear()
                self.away = True
            case _ if not self.away:
                self._say(operation)
        return client.session.fault is None

    def _say(self, operation: tuple[Any, ...]) -> None:
        client = self.client
        match operation:
            case ("subscribe", topic, qos, no_local, identifier):
                properties = Properties()
                if client.version == 5 and identifier is not None:
                    properties = Properties(subscription_ids=(identifier,))
                wanted = Filter(topic, qos, no_local=no_local and client.version == 5)
                self._note(client.ask(Subscribe(100, (wanted,), properties)))
            case ("unsubscribe", topic):
                client.ask(Unsubscribe(101, (topic,)))
                client.session.left(topic)
            case ("publish", qos, packet_id):
                client.ask(Publish("news", b"up", qos, packet_id=packet_id if qos else None))
            case ("release", packet_id):
                client.say(Pubrel(packet_id))
            case ("acknowledge", position, refuse) if self.flying:
                packet_id = list(self.flying)[position % len(self.flying)]
                qos = self.flying.pop(packet_id)
                if qos == 1:
                    client.say(Puback(packet_id))
                elif qos == 2 and refuse and client.version == 5:
                    client.say(Pubrec(packet_id, 0x97))
                elif qos == 2:
                    client.say(Pubrec(packet_id))
                    self.flying[packet_id] = 3
                else:
                    client.say(Pubcomp(packet_id))
                self._note(client.answers)

    def _note(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            if isinstance(packet, Publish) and packet.packet_id is not None:
                self.flying[packet.packet_id] = packet.qos
            elif isinstance(packet, Pubrel):
                self.flying[packet.packet_id] = 3


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([4, 5]), st.lists(OPERATIONS, max_size=40), st.sampled_from([None, 2]), st.sampled_from([4, 5]))
async def test_session_behaves_the_same_in_the_next_life(
    version: int, operations: list[tuple[Any, ...]], window: int | None, next_version: int
) -> None:
    life = Life(version)
    for operation in operations:
        if not await life.do(operation):
            return
    client = life.client
    client.session.lost()
    process = Process(MemoryJournal(dict(life.journal.kept)), 50.0, UNIX + life.passed)
    [restored] = await process.restored(QueueLimits(8))

    now = {id(client): life.process.now, id(restored): 50.0}
    versions = {one[3] for one in operations if one[0] == "back"}
    twins = Twins(client, restored, same_version=versions <= {version})
    twins.held()
    properties = Properties(session_expiry_s=500, receive_maximum=window) if next_version == 5 else Properties()
    twins.same(lambda one: numbered(one.back(now[id(one)], properties, next_version)))
    twins.held()
    for packet_id in range(1, 5):
        twins.same(lambda one, n=packet_id: len(one.say(Publish("t", b"x", 2, dup=True, packet_id=n))))
        twins.same(lambda one: one.answers)
    for topic in ("news", "other"):
        for qos in range(3):
            fresh = from_mqtt("new", qos, topic, publisher="me")
            try:
                heard = client.deliver(fresh, now=now[id(client)])
            except QueueOverflow:
                with pytest.raises(QueueOverflow):
                    restored.deliver(fresh, now=now[id(restored)])
                return
            assert numbered(heard) == numbered(restored.deliver(fresh, now=now[id(restored)]))
    twins.held()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([4, 5]), st.lists(OPERATIONS, max_size=40))
async def test_nothing_is_left_once_all_is_acknowledged(version: int, operations: list[tuple[Any, ...]]) -> None:
    life = Life(version)
    for operation in operations:
        if not await life.do(operation):
            return
    await life.do(("back", None, None, 5))
    while life.flying:
        await life.do(("acknowledge", 0, False))
    for packet_id in range(1, 5):
        life.client.say(Pubrel(packet_id))

    assert life.client.session.held() == (0, 0)
    assert set(life.process.kinds()) <= {"session", "subscription"}


async def test_disconnect_that_changes_the_expiry_is_kept() -> None:
    journal = MemoryJournal()
    process = Process(journal)
    client = Client(5, properties=KEPT, policy=POLICY, clean_start=False)
    owner = process.begin(client)
    client.say(Disconnect(0, Properties(session_expiry_s=100)))
    process.durable.changed(owner)

    [restored] = await next_life(journal)

    assert restored.session.retention_s == 100


# Reliable clients


Reliable = type[ReliableJsonSession] | type[ReliableProtobufSession]


class ReliableLife:
    """One reliable client and its process, whose messages are acknowledged in any order that makes sense."""

    def __init__(self, kind: Reliable, journal: MemoryJournal | None = None, passed: float = 0.0) -> None:
        self.kind = kind
        self.journal = journal or MemoryJournal()
        self.process = Process(self.journal, NOW + passed, UNIX + passed)
        self.texts = 0

    def begin(self) -> ReliableSession:
        session = self.kind(QueueLimits(20))
        owner = connection(session, id="me")
        self.process.durable.begin_reliable(owner, 500, ("webpubsub.sendToGroup",), ("g",))
        self.process.owners.append(owner)
        return session

    async def restored(self) -> ReliableSession:
        found = await self.process.durable.read()
        [stored] = found.sessions
        session = self.kind(QueueLimits(20))
        owner = connection(session, id="me")
        self.process.durable.adopt(owner, stored, found)
        self.process.durable.adopted(found)
        self.process.owners.append(owner)
        return session

    def batch(self, session: ReliableSession, count: int, ttl_s: float | None) -> Batch:
        self.texts += count
        texts = [f"{self.texts}.{n}" for n in range(count)]
        codec = session.codec
        parts = [codec.prepare(FromServer(Data("text", text.encode()))) for text in texts]
        return Batch(codec, parts, None if ttl_s is None else self.process.now + ttl_s)


RELIABLE = st.one_of(
    st.tuples(st.just("deliver"), st.integers(1, 3), st.sampled_from([None, 5, 50])),
    st.tuples(st.just("acknowledge"), st.integers(0, 30)),
    st.tuples(st.just("done"), st.integers(1, 40)),
    st.tuples(st.just("wait"), st.sampled_from([3, 10])),
    st.tuples(st.just("killed")),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([ReliableJsonSession, ReliableProtobufSession]), st.lists(RELIABLE, max_size=30))
async def test_reliable_client_gets_the_same_numbers_in_the_next_life(
    kind: Reliable, operations: list[tuple[Any, ...]]
) -> None:
    """What was acknowledged in part may be sent again as a whole, which its numbers tell the client."""
    life = ReliableLife(kind)
    session = life.begin()
    passed = 0.0
    acknowledged = 0
    for operation in operations:
        match operation:
            case ("deliver", count, ttl_s):
                try:
                    session.deliver(life.batch(session, count, ttl_s), life.process.now)
                except QueueOverflow:
                    return
            case ("acknowledge", number):
                session.acknowledge(number)
                acknowledged = max(acknowledged, min(number, session._next - 1))
            case ("done", ack_id):
                owner = life.process.owners[0]
                if not owner.was_done(ack_id):
                    owner.done(ack_id)
                    life.process.durable.done(owner)
            case ("wait", seconds):
                life.process.now += seconds
                passed += seconds
            case _:
                life = ReliableLife(kind, MemoryJournal(dict(life.journal.kept)), passed)
                session = await life.restored()
    owner = life.process.owners[0]
    other_life = ReliableLife(kind, MemoryJournal(dict(life.journal.kept)), passed)
    other = await other_life.restored()
    other_owner = other_life.process.owners[0]

    assert [owner.was_done(n) for n in range(1, 41)] == [other_owner.was_done(n) for n in range(1, 41)]
    assert other.durable
    for one in (session, other):
        one.acknowledge(acknowledged)
    assert [one[0] for one in other.resume(other_life.process.now)] == [
        one[0] for one in session.resume(life.process.now)
    ]
    assert other.held() == session.held()
    fresh = life.batch(session, 2, None)
    try:
        frames = session.deliver(fresh, life.process.now)
    except QueueOverflow:
        return
    assert other.deliver(fresh, other_life.process.now) == frames
    other.acknowledge(1 << 40)
    assert other.held() == (0, 0)
    assert set(other_life.process.kinds()) <= {"session", "subscription", "sequence", "acks"}
    other_life.process.durable.end(other_owner, ("g",))
    assert other_life.process.kinds() == {}


async def test_numbers_go_on_although_all_was_acknowledged() -> None:
    life = ReliableLife(ReliableJsonSession)
    session = life.begin()
    session.deliver(life.batch(session, 3, None), NOW)
    session.acknowledge(3)

    restored = await ReliableLife(ReliableJsonSession, life.journal).restored()

    assert b'"sequenceId":4' in restored.deliver(life.batch(session, 1, None), NOW)


async def test_reliable_client_that_nobody_goes_on_with_leaves_nothing_behind() -> None:
    life = ReliableLife(ReliableJsonSession)
    session = life.begin()
    session.deliver(life.batch(session, 3, None), NOW)
    life.process.owners[0].done(7)
    life.process.durable.done(life.process.owners[0])
    assert life.process.kinds() == {"session": 1, "subscription": 1, "held": 1, "sequence": 1, "acks": 1}

    await Process(life.journal).durable.forget_all()

    assert life.process.kinds() == {}

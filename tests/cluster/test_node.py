"""One node: who comes, goes and comes back, what reaches them, and what it answers."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from doubles import (
    HUB,
    DurableSession,
    HeldBus,
    MemoryJournal,
    RecordingSink,
    VirtualLoop,
    connection,
    done,
    settle,
)
from hubwire.adapters.bus_memory import MemoryExchange
from hubwire.cluster.commits import Commits
from hubwire.cluster.node import Node
from hubwire.hub.connection import Connection
from hubwire.model.commands import (
    AddToGroups,
    Answer,
    Close,
    Exists,
    ListMembers,
    Member,
    Permission,
    PermissionRule,
    RemoveFromGroups,
    Send,
)
from hubwire.model.errors import Conflict
from hubwire.model.messages import Ack, Connected, Data, FromServer
from hubwire.model.names import HubKey
from hubwire.model.targets import Target, to_connection, to_group, to_hub, to_user
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.mqtt.packets import Properties
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Session
from protocols.mqtt import pretend

GROUP = to_group(HUB, "g")
RECOVERY_S = 32.0


class House:
    """A node, its clients' sinks, whom it saw end and why, and who came into groups and left them."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.telemetry = Telemetry(100)
        self.exchange = MemoryExchange()
        self.bus = HeldBus(self.exchange.bus())
        self.node = Node(self.bus, self.telemetry, self.loop, RECOVERY_S)
        self.ended: list[tuple[Connection, CloseCategory, int, str]] = []
        self.reasons: list[str | None] = []
        self.memberships: list[tuple[Connection, str, bool]] = []
        self.node.on_end.append(self._ended)
        self.node.on_membership = lambda *what: self.memberships.append(what)
        self.sinks: dict[Connection, RecordingSink] = {}

    def _ended(self, one: Connection, category: CloseCategory, code: int, text: str, reason: str | None) -> None:
        self.ended.append((one, category, code, text))
        self.reasons.append(reason)

    async def client(self, *groups: str, kind: Any = "json", user_id: str | None = None, **more: Any) -> Connection:
        one = connection(kind, user_id, **more)
        await self.attach(one, groups)
        return one

    async def attach(self, one: Connection, groups: Sequence[str] = ()) -> None:
        self.sinks[one] = RecordingSink()
        await done(self.node.attach(one, groups, self.sinks[one], one.session.direct(Connected(one.id))))

    def send(self, *texts: str, to: Target = GROUP, **more: Any) -> None:
        for text in texts:
            self.node.execute(Send(to, FromServer(Data("text", text.encode())), **more))

    async def say(self, *texts: str, to: Target = GROUP, **more: Any) -> None:
        """Send, and wait for the end of the turn."""
        self.send(*texts, to=to, **more)
        await settle()

    def drop(self, one: Connection, **more: Any) -> None:
        """Its socket breaks."""
        what = {"final": False, "category": CloseCategory.NORMAL, "code": 1006, **more}
        self.node.lost(one, self.sinks[one], **what)

    def resume(self, one: Connection) -> bool:
        """It comes back on another socket."""
        self.sinks[one] = RecordingSink()
        return self.node.resume(one, self.sinks[one], one.session.direct(Connected(one.id, None, "t")))

    def data(self, one: Connection) -> list[Any]:
        return self.sinks[one].data

    async def count(self, target: Target) -> int:
        return (await self.node.ask(Exists(target))).count


def device(client_id: str, expiry_s: int) -> MqttSession:
    """The session of an MQTT client; without a time it ends with its socket."""
    return pretend.Client(5, client_id=client_id, properties=Properties(session_expiry_s=expiry_s)).session


@pytest.fixture
def house() -> House:
    return House()


# Coming


async def test_newcomer_is_found_by_hub_id_user_and_group(house: House) -> None:
    one = await house.client("g", user_id="u")

    for target in (to_hub(HUB), to_connection(HUB, one.id), to_user(HUB, "u"), GROUP):
        assert await house.count(target) == 1
        await house.say(target.kind, to=target)
    assert house.data(one) == ["hub", "connection", "user", "group"]
    assert house.node.connection(HUB, one.id) is one
    assert house.node.connections() == [one]
    assert (house.telemetry.connections, house.telemetry.opened) == (1, 1)


async def test_newcomer_is_told_so_before_anything_else(house: House) -> None:
    one = connection("json")
    attaching = asyncio.create_task(house.attach(one, ["g"]))
    for number in range(50):
        house.send(str(number))
        await asyncio.sleep(0)
    await attaching

    assert house.sinks[one].received[0]["event"] == "connected"
    assert house.data(one)[-1] == "49"


async def test_newcomer_gets_nothing_that_was_sent_before_it(house: House) -> None:
    member = await house.client("g", user_id="u")
    house.send("1")
    house.send("2", to=to_hub(HUB))
    house.send("3", to=to_user(HUB, "u"))
    newcomer = await house.client("g", user_id="u")
    house.send("4", to=to_user(HUB, "u"))
    await settle()

    assert (house.data(member), house.data(newcomer)) == (["1", "2", "3", "4"], ["4"])


async def test_anonymous_newcomer_is_heard_for_by_hub_and_id_only(house: House) -> None:
    one = await house.client()

    assert set(house.exchange._topics) == {to_hub(HUB), to_connection(HUB, one.id)}


async def test_simple_newcomer_is_told_nothing(house: House) -> None:
    one = await house.client(kind="simple")

    assert house.sinks[one].writes == []


async def test_hubs_have_nothing_to_do_with_one_another(house: House) -> None:
    other = HubKey("default", "other")
    here, there = await house.client("g"), await house.client("g", hub=other)

    await house.say("1", to=to_group(other, "g"))

    assert (house.data(here), house.data(there)) == ([], ["1"])
    assert house.node.connection(other, here.id) is None
    assert house.node.connection(HubKey("default", "unknown"), here.id) is None


# Sending


async def test_message_for_nobody_is_nobodys(house: House) -> None:
    one = await house.client("g")

    for target in (to_group(HUB, "x"), to_user(HUB, "x"), to_connection(HUB, "x"), to_hub(HubKey("default", "x"))):
        await house.say("lost", to=target)

    assert house.data(one) == []


async def test_all_messages_of_a_turn_are_one_write_at_its_end(house: House) -> None:
    one = await house.client("g")
    house.sinks[one].forget()
    house.send("1", "2", "3")
    assert house.sinks[one].writes == []

    await settle()

    (write,) = house.sinks[one].writes
    assert write.frames == 3


async def test_message_on_its_way_while_the_last_one_leaves_is_nobodys(house: House) -> None:
    """Topics are given up a moment later."""
    for others in (0, 1):
        gone = await house.client("g")
        staying = [await house.client() for _ in range(others)]
        house.drop(gone)
        house.send("1")
        house.send("2", filter="true")
        await settle()

        assert house.data(gone) == []
        assert all(house.data(one) == [] for one in staying)


@pytest.mark.parametrize("target", [GROUP, to_hub(HUB), to_user(HUB, "u")], ids=lambda target: target.kind)
async def test_message_behind_one_for_the_last_that_left_reaches_who_came_since(house: House, target: Target) -> None:
    """All within one fan-out, at whose end the hub is another one than at its beginning."""
    gone = await house.client("g", user_id="u")
    house.send("1", to=target)
    house.drop(gone)
    newcomer = await house.client("g", kind="reliable", user_id="u")
    house.send("2", to=target)
    await settle()

    assert house.data(newcomer) == ["2"]


async def test_empty_reply_is_none(house: House) -> None:
    """What simple clients are not told."""
    one = await house.client(kind="simple")

    house.node.reply(one, b"")
    await settle()

    assert house.sinks[one].writes == []


async def test_message_for_one_client_comes_behind_what_was_accepted_before_and_in_front_of_a_reply(
    house: House,
) -> None:
    one, other = await house.client("g"), await house.client("g")
    house.send("before")
    house.node.tell(one, FromServer(Data("text", b"for one")))
    house.node.reply(one, one.session.direct(Ack(1)))
    house.send("behind")
    await settle()

    received = house.sinks[one].received[1:]
    assert [message.get("data", message.get("ackId")) for message in received] == ["before", "for one", 1, "behind"]
    assert house.data(other) == ["before", "behind"]


async def test_message_for_a_reliable_client_is_numbered_and_waits_for_it(house: House) -> None:
    one = await house.client("g", kind="reliable")
    await house.say("1")
    house.drop(one)
    house.node.tell(one, FromServer(Data("text", b"2")))
    await house.say("3")
    house.resume(one)

    assert [(row["sequenceId"], row["data"]) for row in house.sinks[one].received[1:]] == [(1, "1"), (2, "2"), (3, "3")]


async def test_message_for_a_client_that_has_ended_is_nobodys(house: House) -> None:
    one = await house.client()
    house.drop(one)

    house.node.tell(one, FromServer(Data("text", b"x")))
    await settle()

    assert house.data(one) == []
    assert house.telemetry.outbound_messages == 0


async def test_excluded_connections_are_left_out(house: House) -> None:
    a, b = await house.client("g"), await house.client("g")

    await house.say("1", excluded=(a.id,))
    await house.say("2", excluded=(a.id,), filter=f"connectionId ne '{b.id}'")
    await house.say("3", excluded=(a.id,), filter=f"connectionId eq '{b.id}'")

    assert (house.data(a), house.data(b)) == ([], ["1", "3"])


async def test_filter_picks_its_receivers_when_the_message_is_accepted(house: House) -> None:
    """Groups may change before the turn ends."""
    member, outsider = await house.client("g", "x"), await house.client("g")
    house.send("1", filter="'x' in groups")

    house.node.leave(member, "x")
    await done(house.node.join(outsider, "x"))
    await settle()

    assert (house.data(member), house.data(outsider)) == (["1"], [])


async def test_filter_sees_user_and_id_and_groups(house: House) -> None:
    a, b = await house.client("g", "x", user_id="a"), await house.client("g", user_id="b")

    await house.say("1", filter="userId eq 'a'")
    await house.say("2", filter="not ('x' in groups)")
    await house.say("3", filter=f"connectionId in ('{a.id}', '{b.id}')")
    await house.say("4", filter="userId eq null")

    assert (house.data(a), house.data(b)) == (["1", "3"], ["2", "3"])


async def test_lifetime_begins_when_the_message_is_accepted(house: House) -> None:
    one = await house.client("g")

    await house.say("1", ttl_s=5)
    await house.say("2")

    assert [write.expires_at for write in house.sinks[one].writes] == [None, house.loop.time() + 5, None]


async def test_reply_comes_behind_what_was_accepted_before_it(house: House) -> None:
    one = await house.client("g")
    house.sinks[one].forget()
    house.send("1")
    house.node.reply(one, one.session.direct(Connected("reply")))
    house.node.reply(one, b"")
    await settle()

    assert [row["type"] for row in house.sinks[one].received] == ["message", "system"]


# Groups


async def test_first_member_waits_for_the_subscription_and_the_next_ones_do_not(house: House) -> None:
    a, b = await house.client(), await house.client()

    subscribed = house.bus.hold()
    waiting = house.node.join(a, "g")
    assert waiting is not None
    assert "g" not in a.groups
    subscribed.set_result(None)
    await waiting
    assert house.node.join(b, "g") is None

    await house.say("1")
    assert (house.data(a), house.data(b)) == (["1"], ["1"])


async def test_joiner_gets_only_what_is_sent_after_it_joined(house: House) -> None:
    member, joiner = await house.client("g"), await house.client()
    house.send("1")
    assert house.node.join(joiner, "g") is None
    house.send("2")
    await settle()

    assert (house.data(member), house.data(joiner)) == (["1", "2"], ["2"])


async def test_connection_that_left_the_group_receives_nothing_more(house: House) -> None:
    """A message sent before the leave is delivered, one sent after it is not, even when all is one turn."""
    leaver, member = await house.client("g"), await house.client("g")
    house.send("1")
    house.node.leave(leaver, "g")
    house.send("2")
    await settle()

    assert (house.data(leaver), house.data(member)) == (["1"], ["1", "2"])


async def test_last_member_to_leave_ends_the_subscription(house: House) -> None:
    one = await house.client("g")
    assert GROUP in house.exchange._topics

    house.node.leave(one, "g")
    await settle()

    assert GROUP not in house.exchange._topics
    await done(house.node.join(one, "g"))
    await house.say("1")
    assert house.data(one) == ["1"]


async def test_leaver_that_is_found_too_slow_by_its_leave_is_closed(house: House) -> None:
    """What was sent before its leave is written first, and is too much."""
    one = await house.client("g", kind="reliable", limits=QueueLimits(messages=2))
    house.send("1", "2", "3")

    house.node.leave(one, "g")

    assert [category for _, category, _, _ in house.ended] == [CloseCategory.SLOW_CLIENT]
    assert house.node.connections() == []


async def test_leaving_a_group_one_is_not_in_is_harmless(house: House) -> None:
    one, member = await house.client(), await house.client("g")

    house.node.leave(one, "g")
    house.node.leave(one, "nobody's")
    await house.say("1")

    assert house.data(member) == ["1"]


async def test_who_enters_and_leaves_groups_is_told_once_for_each(house: House) -> None:
    """Not of those in which a connection begins; whoever lets it in knows them."""
    one, other = await house.client("a"), await house.client("g")
    assert house.memberships == []

    await done(house.node.join(one, "g"))
    await done(house.node.join(one, "g"))
    house.node.leave(one, "g")
    house.node.leave(one, "g")
    house.node.leave(one, "never in")
    house.node.leave(one, "a")
    house.node.leave(other, "g")

    assert house.memberships == [(one, "g", True), (one, "g", False), (one, "a", False), (other, "g", False)]


async def test_membership_that_waits_for_its_subscription_is_told_when_it_holds(house: House) -> None:
    one = await house.client()
    gate = house.bus.hold()
    joining = asyncio.ensure_future(done(house.node.join(one, "g")))
    await settle()
    assert house.memberships == []

    gate.set_result(None)
    await joining
    assert house.memberships == [(one, "g", True)]


async def test_membership_that_never_came_to_be_is_not_told(house: House) -> None:
    one = await house.client()
    gate = house.bus.hold()
    joining = asyncio.ensure_future(done(house.node.join(one, "g")))
    await settle()
    house.drop(one)

    gate.set_result(None)
    await joining
    assert house.memberships == []


async def test_memberships_that_others_change_are_told(house: House) -> None:
    one, two = await house.client("a", user_id="u"), await house.client(user_id="u")
    user = to_user(HUB, "u")
    await house.node.ask(AddToGroups(user, ("a", "b"), None))
    assert house.memberships == [(one, "b", True), (two, "a", True), (two, "b", True)]

    house.memberships.clear()
    await house.node.ask(RemoveFromGroups(user, ("a", "never in"), None))
    await house.node.ask(RemoveFromGroups(user, None, None))
    assert house.memberships == [(one, "a", False), (two, "a", False), (one, "b", False), (two, "b", False)]


async def test_group_too_many_is_no_membership(house: House) -> None:
    house.node.max_groups = 1
    one = await house.client("a")
    with pytest.raises(Conflict):
        house.node.join(one, "b")
    await house.node.ask(AddToGroups(to_connection(HUB, one.id), ("b",), None))

    assert house.memberships == []


@pytest.mark.parametrize("end", ["drop", "close", "server", "never back", "too slow"])
async def test_end_of_a_connection_is_the_end_of_its_memberships_and_comes_behind_them(house: House, end: str) -> None:
    kind: Any = ReliableJsonSession(QueueLimits(2)) if end in ("never back", "too slow") else "json"
    one = await house.client("a", "b", kind=kind)
    await done(house.node.join(one, "c"))
    told: list[object] = []
    house.node.on_membership = lambda who, group, is_member: told.append((who, group, is_member))
    house.node.on_end.append(lambda who, *_: told.append(who))
    match end:
        case "drop":
            house.drop(one)
        case "close":
            house.node.close(one, 1000, "text", CloseCategory.CLOSED_BY_APP_SERVER)
        case "server":
            await house.node.end(1001, "text", CloseCategory.SERVICE_RELOAD)
        case "never back":
            house.drop(one)
            await house.loop.advance(RECOVERY_S - 1)
            assert told == []
            await house.loop.advance(3)
        case "too slow":
            await house.say("1", "2", "3", to=to_connection(HUB, one.id))

    assert told == [(one, "a", False), (one, "b", False), (one, "c", False), one]
    assert list(one.groups) == []


async def test_recovery_changes_no_membership(house: House) -> None:
    one = await house.client("a", kind="reliable")
    house.drop(one)
    await house.loop.advance(1)
    house.resume(one)

    assert house.memberships == []


async def test_connection_that_ended_while_it_joined_is_no_member(house: House) -> None:
    one, other = await house.client(), await house.client()
    subscribed = house.bus.hold()
    waiting = house.node.join(one, "g")
    assert waiting is not None
    house.drop(one)

    subscribed.set_result(None)
    await waiting
    await settle()

    assert await house.count(GROUP) == 0
    assert GROUP not in house.exchange._topics
    assert house.node.connections() == [other]


# Going


async def test_plain_connection_ends_with_its_socket(house: House) -> None:
    one = await house.client("g", user_id="u")

    house.drop(one, category=CloseCategory.PING_TIMEOUT, code=1006)
    await settle()

    assert house.ended == [(one, CloseCategory.PING_TIMEOUT, 1006, "")]
    assert not one.alive
    for target in (to_hub(HUB), to_connection(HUB, one.id), to_user(HUB, "u"), GROUP):
        assert await house.count(target) == 0
    assert (house.telemetry.connections, house.telemetry.retained) == (0, 0)
    assert house.telemetry.closed[CloseCategory.PING_TIMEOUT] == 1
    assert house.exchange._topics == {}


async def test_reason_of_an_end_is_what_the_application_said_else_what_the_client_is_told_and_none_for_its_own(
    house: House,
) -> None:
    one, two, three, four, five = [await house.client() for _ in range(5)]
    house.drop(one)
    house.drop(two, final=True, code=1000)
    house.node.close(three, 1008, "why", CloseCategory.BAD_REQUEST)
    house.node.close(four, 1000, "Reason: why", CloseCategory.CLOSED_BY_APP_SERVER, "why")
    await house.node.ask(Close(to_connection(HUB, five.id), (), "bye"))

    assert house.reasons == [None, None, "why", "why", "bye"]


async def test_reason_that_the_application_left_out_is_empty(house: House) -> None:
    one = await house.client()
    await house.node.ask(Close(to_connection(HUB, one.id), (), ""))

    assert house.reasons == [""]


async def test_reason_of_a_connection_that_did_not_come_back_is_none(house: House) -> None:
    one = await house.client(kind="reliable")
    house.drop(one)
    await house.loop.advance(RECOVERY_S + 2)

    assert house.reasons == [None]


async def test_end_is_told_once(house: House) -> None:
    one = await house.client()
    house.drop(one)

    house.drop(one)
    house.node.close(one, 1000, "", CloseCategory.NORMAL)

    assert len(house.ended) == 1
    assert house.telemetry.connections == 0


async def test_close_says_what_was_accepted_before_then_why_then_goodbye(house: House) -> None:
    one = await house.client("g")
    house.sinks[one].forget()
    house.send("1")
    house.node.close(one, 1007, "because", CloseCategory.BAD_REQUEST)
    house.send("2")
    await settle()

    sink = house.sinks[one]
    assert [row.get("data", row.get("message")) for row in sink.received] == ["1", "because"]
    assert sink.closed == (1007, "because")
    assert house.ended == [(one, CloseCategory.BAD_REQUEST, 1007, "because")]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1008, "because"), (1011, "because")])
@pytest.mark.parametrize("kind", ["json", "simple"])
async def test_close_frame_says_why_unless_the_application_asked_for_it(
    house: House, kind: str, code: int, reason: str
) -> None:
    """Whose own words may be longer than a close frame; and a simple client has nothing else to learn it from."""
    one = await house.client(kind=kind)

    house.node.close(one, code, "because", CloseCategory.NORMAL)

    assert house.sinks[one].closed == (code, reason)
    assert len(house.sinks[one].writes) == (2 if kind == "json" else 0)


async def test_fan_out_that_took_long_and_carried_little_is_followed_by_a_pause_that_fills_the_next(
    house: House,
) -> None:
    one = await house.client("g")
    house.sinks[one].told = lambda: house.loop.jump(0.006)
    await house.say("1")
    house.sinks[one].told = lambda: None
    await house.say("2")
    await house.say("3")
    assert house.data(one) == ["1"]

    await house.loop.advance(0.0031)

    assert house.data(one) == ["1", "2", "3"]
    assert house.sinks[one].writes[-1].frames == 2
    await house.say("4")
    assert house.data(one)[-1] == "4"


async def test_leaving_does_not_wait_for_a_pause(house: House) -> None:
    """What was sent before is written at once."""
    one = await house.client("g")
    house.sinks[one].told = lambda: house.loop.jump(0.006)
    await house.say("1")
    house.sinks[one].told = lambda: None
    await house.say("2")

    house.node.leave(one, "g")

    assert house.data(one) == ["1", "2"]


async def test_close_during_a_turn_leaves_others_in_order(house: House) -> None:
    one, other = await house.client("g"), await house.client("g")
    house.send("1")
    house.node.close(one, 1000, "", CloseCategory.NORMAL)
    house.send("2")
    await settle()

    assert (house.data(one), house.data(other)) == (["1"], ["1", "2"])


async def test_reliable_client_that_acknowledges_too_little_is_closed_1008(house: House) -> None:
    """So that it does not try a recovery; its neighbours notice nothing."""
    slow = await house.client("g", kind="reliable", limits=QueueLimits(messages=2))
    other = await house.client("g", kind="reliable")

    await house.say("1", "2")
    assert slow.alive
    await house.say("3")

    assert (house.sinks[slow].closed or (0, ""))[0] == 1008
    assert [(one, category) for one, category, _, _ in house.ended] == [(slow, CloseCategory.SLOW_CLIENT)]
    assert house.data(other) == ["1", "2", "3"]
    assert house.node.connections() == [other]


async def test_client_that_is_away_for_too_many_messages_is_ended(house: House) -> None:
    away = await house.client("g", kind="reliable", limits=QueueLimits(messages=2))
    house.drop(away)

    await house.say("1", "2", "3")

    assert [category for _, category, _, _ in house.ended] == [CloseCategory.SLOW_CLIENT]
    assert (house.telemetry.connections, house.telemetry.retained) == (0, 0)
    assert not house.resume(away)


# Coming back


async def test_reliable_connection_that_dropped_is_still_there(house: House) -> None:
    """In its groups, and for whoever asks; what is sent to it waits."""
    one = await house.client("g", kind="reliable", user_id="u")

    house.drop(one)
    await house.say("1")

    for target in (to_hub(HUB), to_connection(HUB, one.id), to_user(HUB, "u"), GROUP):
        assert await house.count(target) == 1
    assert house.ended == []
    assert (house.telemetry.connections, house.telemetry.retained) == (1, 1)
    assert house.data(one) == []


async def test_recovery_brings_connected_then_what_was_missed_then_what_comes(house: House) -> None:
    one = await house.client("g", kind="reliable")
    await house.say("0")
    house.drop(one)
    await house.say("1")
    await house.say("2", ttl_s=60)
    house.send("3")

    assert house.resume(one)
    await house.say("4")

    sink = house.sinks[one]
    assert sink.received[0]["event"] == "connected"
    assert [(row["sequenceId"], row["data"]) for row in sink.received[1:]] == [
        (1, "0"),
        (2, "1"),
        (3, "2"),
        (4, "3"),
        (5, "4"),
    ]
    assert [write.expires_at for write in sink.writes][3] == house.loop.time() + 60
    assert (house.telemetry.connections, house.telemetry.retained) == (1, 0)
    assert house.ended == []


async def test_recovery_replaces_a_socket_that_is_still_open(house: House) -> None:
    """A half-open one: it ends silently, and its end is nobody's any more."""
    one = await house.client("g", kind="reliable")
    old = house.sinks[one]
    house.send("1")

    assert house.resume(one)
    assert (old.aborted, old.closed) == (True, None)
    house.node.lost(one, old, True, CloseCategory.NORMAL, 1000)
    await house.say("2")

    assert one.alive
    assert house.data(one) == ["1", "2"]
    assert house.telemetry.retained == 0


async def test_connection_that_came_back_in_time_is_not_ended_later(house: House) -> None:
    one = await house.client(kind="reliable")
    house.drop(one, category=CloseCategory.PING_TIMEOUT)
    await house.loop.advance(RECOVERY_S - 1)
    assert house.resume(one)

    await house.loop.advance(10 * RECOVERY_S)

    assert house.ended == []
    assert one.why is CloseCategory.NORMAL


async def test_connection_outlives_a_time_in_which_nobody_was_let_in(house: House) -> None:
    """The process stood still: who wanted to come back waits at its door, and gets a moment more."""
    one, lost = await house.client(kind="reliable"), await house.client(kind="reliable")
    house.drop(one)
    house.drop(lost)
    house.loop.jump(10 * RECOVERY_S)
    await house.loop.advance(0)

    assert house.resume(one)
    await house.loop.advance(10)
    assert (one.alive, lost.alive) == (True, False)
    assert house.telemetry.retained == 0


async def test_connection_that_does_not_come_back_ends_with_the_reason_of_its_drop(house: House) -> None:
    one = await house.client("g", kind="reliable")
    house.drop(one, category=CloseCategory.PING_TIMEOUT)

    await house.loop.advance(RECOVERY_S)
    assert house.ended == []
    await house.loop.advance(2)

    assert house.ended == [(one, CloseCategory.PING_TIMEOUT, 1006, "")]
    assert (house.telemetry.connections, house.telemetry.retained) == (0, 0)
    assert not house.resume(one)
    assert house.sinks[one].writes == []
    assert house.exchange._topics == {}


async def test_each_connection_waits_for_its_own_time(house: House) -> None:
    first, second = await house.client(kind="reliable"), await house.client(kind="reliable")
    house.drop(first)
    await house.loop.advance(10)
    house.drop(second)
    assert house.loop.timers == 1, "one timer for all"

    await house.loop.advance(RECOVERY_S - 5)
    assert [row[0] for row in house.ended] == [first]

    await house.loop.advance(10)
    assert [row[0] for row in house.ended] == [first, second]
    assert house.loop.timers == 0


async def test_sweep_is_due_for_whoever_may_wait_shortest(house: House) -> None:
    long, short = await house.client(kind=device("long", 30)), await house.client(kind=device("short", 5))
    house.drop(long)
    house.drop(short)
    assert house.loop.timers == 1, "one timer for all"

    await house.loop.advance(7)
    assert [row[0] for row in house.ended] == [short]
    await house.loop.advance(25)
    assert [row[0] for row in house.ended] == [short, long]
    assert house.loop.timers == 0


async def test_connection_whose_time_is_over_can_be_ended_before_the_sweep(house: House) -> None:
    one, other = await house.client(kind=device("one", 5)), await house.client(kind=device("other", 5))
    for each in (one, other):
        house.drop(each)
        house.node.end_overdue(each)
    assert house.ended == []
    await house.loop.advance(5)

    house.node.end_overdue(one)
    house.node.end_overdue(one)
    assert [row[:3] for row in house.ended] == [(one, CloseCategory.NORMAL, 1006)]
    assert house.telemetry.retained == 1

    await house.loop.advance(60)
    assert [row[0] for row in house.ended] == [one, other]
    assert house.telemetry.retained == 0


async def test_connection_that_does_not_wait_is_never_overdue(house: House) -> None:
    one = await house.client(kind="reliable")

    house.node.end_overdue(one)

    assert house.ended == []


async def test_connection_is_not_overdue_by_the_time_that_the_process_stood_still(house: House) -> None:
    """Timers of that time go off behind what came meanwhile, so the connection is asked for first."""
    one = await house.client(kind="reliable")
    house.drop(one)
    house.loop.jump(3600)

    house.node.end_overdue(one)
    assert house.resume(one)

    await house.loop.advance(3600)
    assert house.ended == []


async def test_thousands_that_do_not_come_back_are_ended_some_at_a_time(house: House) -> None:
    """Each costs some 20 µs, and others want their turn."""
    for _ in range(1000):
        house.drop(await house.client(kind="reliable"))
    turns: list[int] = []
    house.node.on_end.append(lambda *_: turns.append(house.loop.turns))

    await house.loop.advance(RECOVERY_S + 2)

    assert len(turns) == 1000
    assert max(turns.count(turn) for turn in set(turns)) <= 200


async def test_client_that_said_goodbye_does_not_come_back(house: House) -> None:
    one = await house.client(kind="reliable")

    house.drop(one, final=True, code=1000)

    assert house.ended == [(one, CloseCategory.NORMAL, 1000, "")]
    assert not house.resume(one)


async def test_connection_that_is_closed_while_it_waits_is_ended(house: House) -> None:
    one = await house.client(kind="reliable")
    house.drop(one)

    house.node.close(one, 1000, "out", CloseCategory.CLOSED_BY_APP_SERVER)

    assert house.ended == [(one, CloseCategory.CLOSED_BY_APP_SERVER, 1000, "out")]
    assert (house.telemetry.connections, house.telemetry.retained) == (0, 0)
    await house.loop.advance(2 * RECOVERY_S)
    assert len(house.ended) == 1


# Questions


async def test_question_about_nobody_is_answered_at_once(house: House) -> None:
    assert await house.node.ask(Exists(to_user(HUB, "x"))) == Answer()
    assert await house.node.ask(ListMembers(GROUP, "", 10)) == Answer()
    assert await house.node.ask(AddToGroups(to_user(HUB, "x"), ("g",))) == Answer()
    assert await house.node.ask(PermissionRule("check", to_connection(HUB, "x"), "sendToGroup", "g")) == Answer()


async def test_question_about_one_who_has_just_gone_is_answered_with_nothing(house: House) -> None:
    """Topics are given up a moment later."""
    for others in (0, 1):
        gone = await house.client("g", user_id="u")
        staying = [await house.client() for _ in range(others)]
        house.drop(gone)
        target = to_connection(HUB, gone.id)

        assert await house.node.ask(PermissionRule("grant", target, "sendToGroup", "g")) == Answer()
        assert await house.node.ask(Exists(target)) == Answer()
        assert await house.node.ask(Close(to_user(HUB, "u"))) == Answer()
        assert house.node.connections() == staying


async def test_connection_that_ends_while_it_is_added_to_a_group_is_no_member(house: House) -> None:
    one, other = await house.client(user_id="u"), await house.client(user_id="u")
    held = house.bus.hold()
    adding = asyncio.create_task(house.node.ask(AddToGroups(to_user(HUB, "u"), ("g",))))
    await settle()
    house.drop(one)
    held.set_result(None)

    assert await adding == Answer(count=2)
    assert await house.count(GROUP) == 1
    assert list(other.groups) == ["g"]


@pytest.mark.parametrize(("query", "want"), [(Exists(GROUP), "first"), (ListMembers(GROUP, "", 1), "all")])
async def test_existence_asks_for_the_first_yes_and_all_else_for_every_answer(
    house: House, query: Exists | ListMembers, want: str
) -> None:
    wanted: list[str] = []

    async def ask(topic: Target, query: object, want: str, timeout_s: float) -> list[Answer]:
        wanted.append(want)
        return []

    house.bus.ask = ask
    await house.node.ask(query)

    assert wanted == [want]


async def test_list_of_members_is_sorted_and_comes_in_pages(house: House) -> None:
    for name in ("d", "b", "a", "c"):
        await house.client("g", id=name, user_id=f"user {name}" if name != "b" else None)
    rows = [Member("a", "user a"), Member("b"), Member("c", "user c"), Member("d", "user d")]

    assert await house.node.ask(ListMembers(GROUP, "", 10)) == Answer(4, tuple(rows))
    assert await house.node.ask(ListMembers(GROUP, "", 2)) == Answer(2, tuple(rows[:2]))
    assert await house.node.ask(ListMembers(GROUP, "b", 2)) == Answer(2, tuple(rows[2:]))
    assert await house.node.ask(ListMembers(GROUP, "d", 2)) == Answer()


async def test_connections_are_added_to_groups_and_removed_again(house: House) -> None:
    a, b, other = await house.client(user_id="u"), await house.client(user_id="u"), await house.client()

    assert await house.node.ask(AddToGroups(to_user(HUB, "u"), ("g", "h"))) == Answer(count=2)
    await house.say("1")
    assert [house.data(one) for one in (a, b, other)] == [["1"], ["1"], []]
    assert list(a.groups) == ["g", "h"]

    assert await house.node.ask(RemoveFromGroups(to_user(HUB, "u"), ("g",))) == Answer(count=2)
    await house.say("2")
    assert [house.data(one) for one in (a, b, other)] == [["1"], ["1"], []]
    assert list(a.groups) == ["h"]


async def test_connection_is_removed_from_all_its_groups(house: House) -> None:
    one = await house.client("g", "h", "i")

    assert await house.node.ask(RemoveFromGroups(to_connection(HUB, one.id), None)) == Answer(count=1)
    await settle()

    assert list(one.groups) == []
    assert GROUP not in house.exchange._topics


async def test_filter_selects_whom_to_add_and_to_remove(house: House) -> None:
    a, b = await house.client(user_id="a"), await house.client(user_id="b")

    assert await house.node.ask(AddToGroups(to_hub(HUB), ("g",), "userId eq 'a'")) == Answer(count=1)
    assert await house.node.ask(AddToGroups(to_hub(HUB), ("h",))) == Answer(count=2)
    assert await house.node.ask(RemoveFromGroups(to_hub(HUB), ("h",), "'g' in groups")) == Answer(count=1)
    assert await house.node.ask(AddToGroups(to_hub(HUB), ("i",), "userId eq 'c'")) == Answer()

    assert (list(a.groups), list(b.groups)) == (["g"], ["h"])


async def test_connection_that_waits_for_its_recovery_is_added_too(house: House) -> None:
    one = await house.client(kind="reliable")
    house.drop(one)

    assert await house.node.ask(AddToGroups(to_connection(HUB, one.id), ("g",))) == Answer(count=1)
    await house.say("1")
    house.resume(one)

    assert house.data(one) == ["1"]


async def test_large_crowds_are_added_removed_and_closed(house: House) -> None:
    """More than are changed in one go."""
    crowd = [await house.client(user_id="u") for _ in range(450)]

    assert await house.node.ask(AddToGroups(to_user(HUB, "u"), ("g",))) == Answer(count=450)
    assert await house.count(GROUP) == 450
    assert await house.node.ask(RemoveFromGroups(to_user(HUB, "u"), None)) == Answer(count=450)
    assert await house.count(GROUP) == 0
    assert await house.node.ask(Close(to_hub(HUB))) == Answer(count=450)
    assert house.node.connections() == []
    assert not any(one.alive for one in crowd)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", "Application server closed the connection."),
        ("ü & more", "Application server closed the connection. Reason: ü & more"),
    ],
)
async def test_connections_are_closed_by_the_application_with_its_reason(house: House, reason: str, text: str) -> None:
    a, b, other = await house.client("g"), await house.client("g"), await house.client()

    assert await house.node.ask(Close(GROUP, (b.id, "unknown"), reason)) == Answer(count=1)

    assert house.ended == [(a, CloseCategory.CLOSED_BY_APP_SERVER, 1000, text)]
    assert house.sinks[a].received[-1] == {"type": "system", "event": "disconnected", "message": text}
    assert house.sinks[a].closed == (1000, "")
    assert (b.alive, other.alive) == (True, True)


@pytest.mark.parametrize("permission", ["joinLeaveGroup", "sendToGroup"])
async def test_permission_is_granted_and_revoked(house: House, permission: Permission) -> None:
    one = await house.client(roles=())
    target = to_connection(HUB, one.id)

    def rule(action: Any) -> PermissionRule:
        return PermissionRule(action, target, permission, "g")

    assert await house.node.ask(rule("check")) == Answer(count=1, allowed=False)
    assert await house.node.ask(rule("grant")) == Answer(count=1, allowed=True)
    assert await house.node.ask(rule("check")) == Answer(count=1, allowed=True)
    assert one.permissions.allows(permission, "g")
    assert not one.permissions.allows(permission, "other")

    assert await house.node.ask(rule("revoke")) == Answer(count=1, allowed=False)
    assert await house.node.ask(rule("check")) == Answer(count=1, allowed=False)


async def test_rule_too_many_is_answered_so_and_changes_nothing(house: House) -> None:
    one = await house.client(roles=())
    for number in range(1000):
        one.permissions.grant("sendToGroup", str(number))

    answer = await house.node.ask(PermissionRule("grant", to_connection(HUB, one.id), "sendToGroup", "g"))

    assert answer == Answer(count=1, limit_reached=True)
    assert not one.permissions.allows("sendToGroup", "g")


# Limits, and the end of everybody


async def test_group_too_many_is_refused_and_a_repeated_join_is_not(house: House) -> None:
    house.node = Node(house.exchange.bus(), house.telemetry, house.loop, RECOVERY_S, max_groups=2)
    one = await house.client("g", "h")

    assert house.node.join(one, "g") is None
    with pytest.raises(Conflict):
        house.node.join(one, "k")
    house.node.leave(one, "h")
    await done(house.node.join(one, "k"))

    assert list(one.groups) == ["g", "k"]


async def test_groups_too_many_by_rest_are_told_and_the_others_hold(house: House) -> None:
    house.node = Node(house.exchange.bus(), house.telemetry, house.loop, RECOVERY_S, max_groups=2)
    full = await house.client("g", "h")
    other = await house.client()

    answer = await house.node.ask(AddToGroups(to_hub(HUB), ("k", "g")))

    assert answer == Answer(count=2, limit_reached=True)
    assert (list(full.groups), list(other.groups)) == (["g", "h"], ["k", "g"])


async def test_many_memberships_are_made_some_at_a_time(house: House) -> None:
    one = await house.client()
    groups = tuple(str(number) for number in range(5000))
    adding = asyncio.ensure_future(house.node.ask(AddToGroups(to_hub(HUB), groups)))
    seen: set[int] = set()
    while not adding.done():
        seen.add(len(one.groups))
        await asyncio.sleep(0)

    assert len(seen) > 10
    assert len(one.groups) == 5000

    removing = asyncio.ensure_future(house.node.ask(RemoveFromGroups(to_hub(HUB), None)))
    seen.clear()
    while not removing.done():
        seen.add(len(one.groups))
        await asyncio.sleep(0)

    assert len(seen) > 10
    assert len(one.groups) == 0


async def test_end_of_the_server_is_the_end_of_those_that_wait_for_their_recovery_too(house: House) -> None:
    waiting, there = await house.client(kind="reliable"), await house.client()
    house.drop(waiting)
    await house.node.end(1001, "bye", CloseCategory.SERVICE_RELOAD)

    assert [(one.id, category) for one, category, _, _ in house.ended] == [
        (waiting.id, CloseCategory.SERVICE_RELOAD),
        (there.id, CloseCategory.SERVICE_RELOAD),
    ]
    assert (house.telemetry.connections, house.telemetry.retained) == (0, 0)


async def test_messages_of_one_lifetime_within_a_turn_are_one_write_although_the_clock_goes_on(house: House) -> None:
    one = await house.client("g")
    house.loop.jump(0.1)
    house.send("a", ttl_s=5)
    house.loop.jump(0.001)
    await house.say("b", ttl_s=5)

    assert house.data(one) == ["a", "b"]
    assert len({write.expires_at for write in house.sinks[one].writes[1:]}) == 1
    assert len(house.sinks[one].writes) == 2


async def test_connection_knows_how_long_it_lasted(house: House) -> None:
    one = await house.client()
    house.loop.jump(7.5)
    house.drop(one)

    assert one.ended_at - one.opened_at == 7.5


# Ends of sockets that a connection may outlive


class Ends(House):
    """One that writes down who lost a socket and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[Connection] = []
        self.node.on_lost = self.lost.append


async def test_end_of_a_socket_from_our_side_leaves_what_may_wait() -> None:
    house = Ends()
    one = await house.client("g", kind=device("d", 30))
    house.send("before")
    house.node.drop(one, 1008, "why", CloseCategory.UNAUTHORIZED)
    sink = house.sinks[one]

    assert [type(packet).__name__ for packet in pretend.heard(sink.writes[-1].data, 5)] == ["Disconnect"]
    assert len(sink.writes) == 2, "what was accepted before comes first"
    assert sink.closed == (1008, "")
    assert (house.lost, house.ended, one.alive, one.sink) == ([one], [], True, None)
    assert house.telemetry.retained == 1
    await house.loop.advance(60)
    assert house.ended == [(one, CloseCategory.UNAUTHORIZED, 1006, "")]


@pytest.mark.parametrize("kind", ["json", "mqtt"])
async def test_end_of_a_socket_from_our_side_ends_what_may_not_wait(kind: str) -> None:
    house = Ends()
    one = await house.client(kind=device("d", 0) if kind == "mqtt" else kind)

    house.node.drop(one, 1008, "why", CloseCategory.UNAUTHORIZED)

    assert house.sinks[one].closed == (1008, "why")
    assert house.ended == [(one, CloseCategory.UNAUTHORIZED, 1008, "why")]
    assert house.lost == []


async def test_connection_without_a_socket_loses_none(house: House) -> None:
    one = await house.client(kind=device("d", 30))
    house.drop(one)

    house.node.drop(one, 1008, "why", CloseCategory.UNAUTHORIZED)
    house.node.goodbye(one)
    await house.loop.advance(60)

    assert house.ended == [(one, CloseCategory.NORMAL, 1006, "")]


@pytest.mark.parametrize("expiry_s", [0, 30])
async def test_goodbye_in_the_words_of_a_protocol_closes_the_socket_behind_what_was_accepted(expiry_s: int) -> None:
    house = Ends()
    one = await house.client("g", kind=device("d", expiry_s))
    house.send("before")

    house.node.goodbye(one)

    sink = house.sinks[one]
    assert (len(sink.writes), sink.closed) == (1, (1000, ""))
    assert one.alive == bool(expiry_s)
    assert house.lost == ([one] if expiry_s else [])
    assert house.ended == ([] if expiry_s else [(one, CloseCategory.NORMAL, 1000, "")])


async def test_loss_is_told_of_what_waits_and_of_nothing_else() -> None:
    house = Ends()
    waits, ends = await house.client(kind=device("w", 30)), await house.client(kind=device("e", 0))
    final = await house.client(kind=device("f", 30))
    for one in (waits, ends):
        house.drop(one)
    house.drop(final, final=True)
    house.drop(waits)

    assert house.lost == [waits]
    assert [row[0] for row in house.ended] == [ends, final]


async def test_something_may_be_done_with_a_connection_later(house: House) -> None:
    one = await house.client()
    done_with: list[Connection] = []
    house.node.later(5, done_with.append, one)
    house.node.later(6, done_with.append, one).cancel()
    before = house.node.time()

    await house.loop.advance(10)

    assert (done_with, house.node.time() - before) == ([one], 10)


# What has to be on the disk


class Disk(House):
    """A house whose journal can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = MemoryJournal()
        self.commits = Commits(self.journal)
        self.bus = HeldBus(self.exchange.bus())
        self.node = Node(self.bus, self.telemetry, self.loop, RECOVERY_S, commits=self.commits)

    def durable(self) -> Session:
        return cast("Session", DurableSession(ReliableJsonSession(QueueLimits()), self.commits))


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def told(disk: Disk, publisher: Connection, text: str) -> list[int]:
    """The acks that a publisher has after a further message."""
    disk.send(text)
    disk.node.reply(publisher, publisher.session.direct(Ack(int(text))), acknowledges=True)
    await settle()
    return [row["ackId"] for row in disk.sinks[publisher].received if row["type"] == "ack"]


async def test_messages_to_durable_sessions_are_acknowledged_when_they_are_written(disk: Disk) -> None:
    publisher = await disk.client()
    assert await told(disk, publisher, "1") == [1]
    member = await disk.client("g", kind=disk.durable())
    disk.journal.fail("the disk is full")
    assert await told(disk, publisher, "2") == [1]
    assert disk.data(member) == []

    disk.journal.mend()
    await settle()
    assert await told(disk, publisher, "3") == [1, 2, 3]
    assert disk.data(member) == ["2", "3"]


async def test_durable_session_is_let_in_when_it_is_written(disk: Disk) -> None:
    disk.journal.fail("the disk is full")
    disk.commits.put("session", "s", b"")
    durable = await disk.client(kind=disk.durable())
    other = await disk.client()
    assert (disk.sinks[durable].writes, len(disk.sinks[other].writes)) == ([], 1)

    disk.journal.mend()
    await settle()
    assert len(disk.sinks[durable].writes) == 1


async def test_whoever_comes_back_hears_nothing_that_is_not_written(disk: Disk) -> None:
    """Also where the connection ends with the process: what it repeats has been accepted before."""
    one = await disk.client(kind="reliable")
    disk.drop(one)
    disk.journal.fail("the disk is full")
    disk.commits.put("queued", "1", b"")
    assert disk.resume(one)
    assert disk.sinks[one].writes == []

    disk.journal.mend()
    await settle()
    assert disk.sinks[one].received[0]["event"] == "connected"


async def test_who_sends_from_elsewhere_can_wait_for_the_disk(disk: Disk) -> None:
    """Until its message is handed out, too, which is what makes entries."""
    disk.send("1")
    assert disk.node.accepted() is None, "nothing was ever kept"
    await disk.client("g", kind=disk.durable())
    disk.commits.put("session", "s", b"")
    disk.journal.fail("the disk is full")
    await settle()
    disk.send("2")
    waiting = asyncio.ensure_future(done(disk.node.accepted()))
    await settle()
    assert not waiting.done()
    assert disk.commits.asked == 2

    disk.journal.mend()
    await waiting
    assert ("queued", "1000.0") in disk.journal.kept
    await done(disk.node.accepted())


async def test_who_waits_for_the_disk_may_give_up(disk: Disk) -> None:
    disk.commits.put("k", "a", b"")
    disk.send("1")
    first, second = (asyncio.ensure_future(done(disk.node.accepted())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second

    assert first.cancelled()


async def test_what_changes_durable_sessions_from_elsewhere_is_answered_when_it_is_written(disk: Disk) -> None:
    member = await disk.client(kind=disk.durable())
    disk.journal.fail("the disk is full")
    disk.commits.put("subscription", "s", b"")
    adding = asyncio.ensure_future(disk.node.ask(AddToGroups(to_connection(HUB, member.id), ("g",))))
    await settle()
    assert not adding.done()
    assert await disk.count(GROUP) == 1, "who only asks waits for nothing"

    disk.journal.mend()
    assert (await adding).count == 1


async def test_without_a_journal_nobody_waits(house: House) -> None:
    publisher = await house.client()
    house.send("1")
    house.node.reply(publisher, publisher.session.direct(Ack(1)), acknowledges=True)
    await settle()

    assert house.node.accepted() is None
    assert house.sinks[publisher].received[-1]["ackId"] == 1

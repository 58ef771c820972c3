"""Requests about states of groups: who may, what is answered and told, in which order, and what a recovery brings."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import HUB, done, settle
from gateway.house import JSON, RELIABLE, House
from gateway.speaker import KINDS, PROTOBUF, PROTOBUF_RELIABLE, RELIABLE_KINDS, Speaker, somebody
from gateway.written import Written
from hubwire.hub.group_state import StateLimits
from hubwire.model.commands import Answer, PermissionRule, Query, RemoveFromGroups
from hubwire.model.targets import to_connection, to_group_state
from hubwire.model.telemetry import CloseCategory

JOIN = "webpubsub.joinLeaveGroup"
SEND = "webpubsub.sendToGroup"
TYPING = {"status": "typing"}


@pytest.fixture
def house() -> House:
    return House()


def ok(ack_id: int) -> dict[str, Any]:
    return {"type": "ack", "ackId": ack_id, "success": True}


def state(value: dict[str, str] | None = TYPING, group: str = "g", **more: Any) -> dict[str, Any]:
    frame = {"type": "setGroupState", "group": group, **more}
    return frame if value is None else {**frame, "state": value}


def subscription(group: str = "g", **more: Any) -> dict[str, Any]:
    return {"type": "subscribeGroupState", "group": group, **more}


def unsubscription(group: str = "g", **more: Any) -> dict[str, Any]:
    return {"type": "unsubscribeGroupState", "group": group, **more}


def items(row: dict[str, Any]) -> dict[str, Any]:
    """Connection ids and states of a frame."""
    return {item["connectionId"]: item.get("state") for item in row["items"]}


async def resumed(house: House, one: Speaker) -> Speaker:
    """A client that comes back by another socket."""
    opening = house.decide(str(one.connection.subprotocol), **one.recovery)
    sink = type(one.sink)()
    assert await house.begin(opening, sink) is one.connection
    await settle()
    again = Speaker(house, one.connection, sink)
    again.connected = again.heard()[0]
    return again


# What is told


@pytest.mark.parametrize("kind", KINDS)
async def test_subscriber_gets_the_ack_then_the_snapshot_then_changes_in_order(house: House, kind: str) -> None:
    """States of others and its own; with numbers for reliable clients of protobuf only."""
    one, watcher = await somebody(house, kind, user_id="u"), await somebody(house, kind)
    numbers = iter(range(1, 10))

    def number() -> dict[str, int]:
        return {"sequenceId": next(numbers)} if kind == PROTOBUF_RELIABLE else {}

    assert await one.say(state(ackId=1)) == [ok(1)]

    ack, snapshot = await watcher.say(subscription(ackId=7))

    assert ack == ok(7)
    (item,) = snapshot["items"]
    at = item["updatedAt"]
    assert snapshot == {
        "type": "groupStateSnapshot",
        "group": "g",
        "items": [{"connectionId": one.connection.id, "userId": "u", "state": TYPING, "updatedAt": at}],
        **number(),
    }

    watcher.sink.forget()
    await one.say(state({}), state(None), state({"a": "b"}))
    await watcher.say(state())

    received = watcher.heard()
    expected = [number() for _ in received]
    assert [{"sequenceId": row["sequenceId"]} if "sequenceId" in row else {} for row in received] == expected
    assert [(row["type"], items(row)) for row in received] == [
        ("groupStateUpdate", {one.connection.id: {}}),
        ("groupStateUpdate", {one.connection.id: None}),
        ("groupStateUpdate", {one.connection.id: {"a": "b"}}),
        ("groupStateUpdate", {watcher.connection.id: TYPING}),
    ]
    times = [row["items"][0]["updatedAt"] for row in received[:3]]
    assert at < times[0] < times[1] < times[2]
    assert "userId" not in received[3]["items"][0]
    assert received[1]["items"][0] == {"connectionId": one.connection.id, "userId": "u", "updatedAt": times[1]}


async def test_snapshot_of_a_group_without_states_is_empty(house: House) -> None:
    watcher = await house.json()

    assert await watcher.say(subscription()) == [{"type": "groupStateSnapshot", "group": "g", "items": []}]


async def test_who_unsubscribes_is_told_no_more_and_may_subscribe_again(house: House) -> None:
    one, watcher = await house.json(), await house.json()
    await watcher.say(subscription())
    assert await watcher.say(unsubscription(ackId=1), unsubscription(ackId=2)) == [ok(1), ok(2)]
    await one.say(state())
    watcher.sink.forget()

    await one.say(state({"a": "b"}))
    assert watcher.sink.received == []

    (snapshot,) = await watcher.say(subscription())
    assert items(snapshot) == {one.connection.id: {"a": "b"}}


async def test_who_subscribes_again_is_told_all_again_and_each_change_once(house: House) -> None:
    one, watcher = await house.json(), await house.json()
    await watcher.say(subscription())
    ack, snapshot = await watcher.say(subscription(ackId=1))
    assert (ack, snapshot["items"]) == (ok(1), [])
    watcher.sink.forget()

    await one.say(state())

    assert [items(row) for row in watcher.sink.received] == [{one.connection.id: TYPING}]


async def test_states_of_other_groups_and_hubs_are_not_told(house: House) -> None:
    one, watcher = await house.json(), await house.json()
    await watcher.say(subscription("other"))
    watcher.sink.forget()

    await one.say(state())

    assert watcher.sink.received == []


async def test_many_changes_are_written_at_once_to_all_subscribers(house: House) -> None:
    """As messages are: what one turn brings is one write."""
    one = await house.json()
    watchers = [await house.json() for _ in range(3)]
    for watcher in watchers:
        await watcher.say(subscription())
        watcher.sink.forget()

    for number in range(5):
        await done(
            house.gateway.receive(one.connection, f'{{"type":"setGroupState","group":"g","state":{{"n":"{number}"}}}}')
        )
    await settle()

    for watcher in watchers:
        (write,) = watcher.sink.writes
        assert write.frames == 5
        assert write.data is watchers[0].sink.writes[0].data
        assert [row["items"][0]["state"]["n"] for row in watcher.sink.received] == list("01234")


# Who may


@pytest.mark.parametrize(
    ("request_", "roles", "groups"),
    [
        (state(), [], []),
        (state(), [SEND], []),
        (state(), [f"{JOIN}.other"], ["other"]),
        (subscription(), [], ["g"]),
        (subscription(), [SEND], ["g"]),
        (subscription(), [f"{JOIN}.other"], []),
    ],
)
@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
async def test_request_without_permission_is_forbidden(
    house: House, request_: dict[str, Any], roles: list[str], groups: list[str], kind: str
) -> None:
    """The connection stays, nothing is told or kept; without an ack id it is not answered."""
    client = await somebody(house, kind, roles=roles, groups=groups)
    watcher = await house.json()
    await watcher.say(subscription())
    watcher.sink.forget()

    (ack,) = await client.say({**request_, "ackId": 1})
    assert (ack["success"], ack["error"]["name"]) == (False, "Forbidden")
    assert "'g'" in ack["error"]["message"]
    assert await client.say(request_) == []

    assert house.telemetry.ack_errors == {"Forbidden": 2}
    assert watcher.sink.received == []
    assert client.sink.closed is None


@pytest.mark.parametrize(
    ("request_", "roles", "groups"),
    [
        (state(), [], ["g"]),
        (state(), [f"{JOIN}.g"], []),
        (state(None), [], []),
        (subscription(), [f"{JOIN}.g"], []),
        (unsubscription(), [], []),
    ],
    ids=["set by a member", "set by who may join", "cleared", "subscription of who may join", "its end"],
)
async def test_request_with_permission_is_carried_out(
    house: House, request_: dict[str, Any], roles: list[str], groups: list[str]
) -> None:
    client = await house.json(roles=roles, groups=groups)

    assert (await client.say({**request_, "ackId": 1}))[0] == ok(1)


async def test_who_may_no_more_still_takes_its_state_away_and_ends_its_subscription(house: House) -> None:
    client, watcher = await house.json(), await house.json()
    await watcher.say(subscription())
    await client.say(state(), subscription())
    await house.node.ask(PermissionRule("revoke", to_connection(HUB, client.connection.id), "joinLeaveGroup", "g"))
    watcher.sink.forget()
    client.sink.forget()

    assert (await client.say(state({}, ackId=1)))[0]["error"]["name"] == "Forbidden"
    assert (await client.say(unsubscription(ackId=2), state(None, ackId=3))) == [ok(2), ok(3)]

    assert [items(row) for row in watcher.sink.received] == [{client.connection.id: None}]


# Limits


async def test_more_than_a_client_may_have_is_refused_and_says_what(house: House) -> None:
    """What was there before stays."""
    house.node.state_limits = StateLimits(2, 10, 1, 1000)
    client = await house.json()
    assert await client.say(state({"a": "1"}, ackId=1)) == [ok(1)]

    refused = await client.say(
        state({"a": "", "b": "", "c": ""}, ackId=2),
        state({"a": "1234567890"}, ackId=3),
        state({}, group="other", ackId=4),
        subscription(ackId=5),
        subscription("other", ackId=6),
    )

    told = {row["ackId"]: row["error"] for row in refused if row["type"] == "ack" and not row["success"]}
    assert {error["name"] for error in told.values()} == {"InternalServerError"}
    assert {ack_id: error["message"] for ack_id, error in told.items()} == {
        2: "A group state may have 2 entries.",
        3: "A group state may have 10 bytes.",
        4: "A connection may have a state in 1 groups.",
        6: "A connection may subscribe to the states of 1 groups.",
    }
    (snapshot,) = [row for row in refused if row["type"] == "groupStateSnapshot"]
    assert items(snapshot) == {client.connection.id: {"a": "1"}}
    assert client.sink.closed is None


async def test_subscription_that_is_one_too_many_leaves_nothing_behind(house: House) -> None:
    """Neither does it on the bus."""
    house.node.state_limits = StateLimits(groups=1)
    client = await house.json()
    await client.say(subscription())

    await client.say(subscription("other"))

    assert to_group_state(HUB, "other") not in house.exchange._topics
    assert to_group_state(HUB, "g") in house.exchange._topics


# Repetition


async def test_ack_id_that_was_carried_out_is_a_duplicate(house: House) -> None:
    """A state is not set again, and nothing is told again."""
    client = await house.json()
    await client.say(subscription(ackId=1))

    again = await client.say(subscription(ackId=1), state(ackId=2), unsubscription(ackId=2))

    assert [row["error"]["name"] for row in again if not row.get("success", True)] == ["Duplicate", "Duplicate"]
    assert [row["type"] for row in again] == ["ack", "groupStateUpdate", "ack", "ack"]


async def test_state_that_was_refused_may_be_set_with_the_same_ack_id(house: House) -> None:
    client = await house.json(roles=[])
    await client.say(state(ackId=1))
    await house.node.ask(PermissionRule("grant", to_connection(HUB, client.connection.id), "joinLeaveGroup", "g"))

    assert await client.say(state(ackId=1)) == [ok(1)]


# A bus that takes its time


async def test_ack_and_snapshot_wait_until_changes_would_be_heard(house: House) -> None:
    one, watcher = await house.json(), await house.json()
    gate = house.bus.hold()
    waiting = house.gateway.receive(watcher.connection, '{"type":"subscribeGroupState","group":"g","ackId":1}')
    assert waiting is not None
    subscribing = asyncio.ensure_future(waiting)
    await settle()
    assert watcher.sink.received == []

    gate.set_result(None)
    await subscribing
    await settle()
    house.bus.gate = None
    await one.say(state())

    assert [row["type"] for row in watcher.sink.received] == ["ack", "groupStateSnapshot", "groupStateUpdate"]


async def test_ack_of_a_state_waits_until_its_node_would_be_asked(house: House) -> None:
    """Who subscribes after the ack is told it, wherever."""
    one = await house.json()
    gate = house.bus.hold()
    setting = house.gateway.receive(one.connection, '{"type":"setGroupState","group":"g","state":{},"ackId":1}')
    assert setting is not None
    await settle()
    assert one.sink.received == []

    gate.set_result(None)
    await setting
    await settle()

    assert one.sink.received == [ok(1)]


@pytest.mark.parametrize("request_", ['"subscribeGroupState"', '"setGroupState","state":{}'])
async def test_nothing_is_left_of_a_client_that_goes_while_the_bus_is_asked(house: House, request_: str) -> None:
    other, client = await house.json(), await house.json()
    gate = house.bus.hold()
    waiting = house.gateway.receive(client.connection, f'{{"type":{request_},"group":"g","ackId":1}}')
    assert waiting is not None
    client.drop()

    gate.set_result(None)
    await waiting
    await settle()
    house.bus.gate = None

    assert client.sink.received == []
    assert to_group_state(HUB, "g") not in house.exchange._topics
    (snapshot,) = await other.say(subscription())
    assert snapshot["items"] == []


async def test_member_that_is_removed_while_the_bus_is_asked_has_no_state(house: House) -> None:
    """Whoever may not join has a state only as a member."""
    client = await house.json(roles=[], groups=["g"])
    gate = house.bus.hold()
    waiting = house.gateway.receive(client.connection, '{"type":"setGroupState","group":"g","state":{}}')
    assert waiting is not None
    await house.node.ask(RemoveFromGroups(to_connection(HUB, client.connection.id), ("g",)))

    gate.set_result(None)
    await waiting
    house.bus.gate = None

    watcher = await house.json()
    (snapshot,) = await watcher.say(subscription())
    assert snapshot["items"] == []


def meanwhile(house: House, happens: Callable[[], Awaitable[None]]) -> None:
    """Let something happen when all nodes have answered and nobody has looked at that yet."""
    asked = house.node.ask

    async def ask(query: Query) -> Answer:
        answer = await asked(query)
        await happens()
        return answer

    house.node.states._ask = ask


async def test_change_in_the_turn_of_the_snapshot_is_in_that(house: House) -> None:
    """It was accepted before, and is told once."""
    one, watcher, other = await house.json(), await house.json(), await house.json()
    await other.say(subscription())
    other.sink.forget()

    async def happens() -> None:
        await done(house.gateway.receive(one.connection, json.dumps(state())))

    meanwhile(house, happens)
    ack, snapshot = await watcher.say(subscription(ackId=1))

    assert (ack, snapshot["type"], items(snapshot)) == (ok(1), "groupStateSnapshot", {one.connection.id: TYPING})
    assert [items(row) for row in other.sink.received] == [{one.connection.id: TYPING}]


async def test_change_behind_the_answers_of_the_nodes_is_in_the_snapshot(house: House) -> None:
    """Although no answer has it."""
    one, two, watcher = await house.json(), await house.json(), await house.json()
    await two.say(state())

    async def happens() -> None:
        await one.say(state())
        await two.say(state(None))

    meanwhile(house, happens)

    (snapshot,) = await watcher.say(subscription())
    assert items(snapshot) == {one.connection.id: TYPING}


async def test_nothing_is_left_of_a_client_that_goes_while_nodes_are_asked(house: House) -> None:
    other, watcher = await house.json(), await house.json()

    async def happens() -> None:
        watcher.drop()

    meanwhile(house, happens)
    assert await watcher.say(subscription(ackId=1)) == []

    assert to_group_state(HUB, "g") not in house.exchange._topics
    assert await other.say(state(ackId=1)) == [ok(1)]


async def test_nothing_is_left_of_a_subscription_that_fails(house: House) -> None:
    """Nobody can be asked."""
    watcher = await house.json()

    async def happens() -> None:
        raise RuntimeError

    meanwhile(house, happens)
    with pytest.raises(RuntimeError):
        await watcher.say(subscription())
    await settle()

    assert to_group_state(HUB, "g") not in house.exchange._topics


async def test_client_that_unsubscribes_by_another_socket_is_told_nothing(house: House) -> None:
    """What it asked for by its first one was under way."""
    client = await somebody(house, RELIABLE)
    gate = house.bus.hold()
    waiting = house.gateway.receive(client.connection, '{"type":"subscribeGroupState","group":"g","ackId":1}')
    assert waiting is not None
    subscribing = asyncio.ensure_future(waiting)
    await settle()
    gate.set_result(None)
    house.bus.gate = None
    # The node is asked now; the answer is a turn away.
    await asyncio.sleep(0)
    client.drop()
    client = await resumed_while(house, client)
    await subscribing
    await settle()
    client.sink.forget()

    await (await house.json()).say(state())

    assert client.heard() == []


async def resumed_while(house: House, client: Speaker) -> Speaker:
    """It comes back and unsubscribes at once, before anything else has its turn."""
    opening = house.decide(RELIABLE, **client.recovery)
    sink = type(client.sink)()
    assert house.gateway.begin(opening, sink) is None
    assert house.gateway.receive(client.connection, '{"type":"unsubscribeGroupState","group":"g"}') is None
    return Speaker(house, client.connection, sink)


# Recovery


async def test_client_that_comes_back_is_told_all_again(house: House) -> None:
    """What it has missed has no numbers, so nothing of it was kept; its own state was."""
    client = await somebody(house, RELIABLE)
    one, two = await house.json(), await house.json()
    await client.say(state({"mine": "1"}), subscription(), subscription("other"))
    await one.say(state())
    client.drop()
    await one.say(state({"a": "b"}))
    await two.say(state())
    one.drop()
    await settle()
    assert client.connection.session.held() == (0, 0)

    back = await resumed(house, client)

    connected, *snapshots = back.heard()
    assert connected["event"] == "connected"
    assert [(row["type"], row["group"], items(row)) for row in snapshots] == [
        ("groupStateSnapshot", "g", {client.connection.id: {"mine": "1"}, two.connection.id: TYPING}),
        ("groupStateSnapshot", "other", {}),
    ]
    back.sink.forget()
    await two.say(state(None))
    assert [items(row) for row in back.heard()] == [{two.connection.id: None}]


async def test_client_of_protobuf_that_comes_back_is_told_what_it_has_missed(house: House) -> None:
    """As with messages: from the first that it has not acknowledged, and no snapshot again."""
    client, one = await somebody(house, PROTOBUF_RELIABLE), await house.json()
    await client.say(subscription())
    await one.say(state())
    await client.say({"type": "sequenceAck", "sequenceId": 1})
    client.drop()
    await one.say(state({"a": "b"}))
    assert client.connection.session.held()[0] == 2

    back = await resumed(house, client)

    connected, *missed = back.heard()
    assert connected["event"] == "connected"
    assert [(row["type"], row["sequenceId"], items(row)) for row in missed] == [
        ("groupStateUpdate", 2, {one.connection.id: TYPING}),
        ("groupStateUpdate", 3, {one.connection.id: {"a": "b"}}),
    ]
    back.sink.forget()
    await one.say(state(None))
    assert [(row["sequenceId"], items(row)) for row in back.heard()] == [(4, {one.connection.id: None})]


@pytest.mark.parametrize("kind", RELIABLE_KINDS)
async def test_only_states_with_numbers_count_as_unacknowledged(house: House, kind: str) -> None:
    """Where there are none, no number of updates ends a client."""
    watcher, one = await somebody(house, kind), await house.json()
    await watcher.say(subscription())

    for number in range(10):
        await one.say(state({"n": str(number)}))

    assert watcher.connection.alive == (kind == RELIABLE)
    assert len(watcher.heard()) > 4


async def test_messages_keep_their_numbers_between_states(house: House) -> None:
    """Only what a client acknowledges counts."""
    client = await house.client(RELIABLE, groups=["g"])
    await client.say(subscription())
    client.sink.forget()

    house.send("g", "one")
    await settle()
    await (await house.json()).say(state())
    house.send("g", "two")
    await settle()

    assert [(row["type"], row.get("sequenceId")) for row in client.sink.received] == [
        ("message", 1),
        ("groupStateUpdate", None),
        ("message", 2),
    ]


async def test_client_without_subscriptions_comes_back_without_waiting(house: House) -> None:
    client = await somebody(house, RELIABLE)
    await client.say(state(), subscription(), unsubscription())
    client.drop()

    opening = house.decide(RELIABLE, **client.recovery)

    assert house.gateway.begin(opening, type(client.sink)()) is None


# Other things that happen


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"setGroupState","group":"g","state":[]}',
        '{"type":"setGroupState","group":"g","state":{"a":1}}',
        '{"type":"setGroupState","group":"g","state":{"a":null}}',
        '{"type":"setGroupState","group":" ","state":{}}',
        '{"type":"subscribeGroupState"}',
        '{"type":"subscribeGroupState","group":""}',
        '{"type":"unsubscribeGroupState","group":1}',
    ],
)
async def test_malformed_request_ends_the_connection(house: House, text: str) -> None:
    client = await house.json()

    await client.say(text)

    assert client.sink.closed == (1007, client.sink.received[-1]["message"])


async def test_requests_are_recorded_by_their_group(house: House, written: Written) -> None:
    client = await house.json()

    await client.say(state(), subscription(), unsubscription(), state({"a": "x" * 10_000}))

    rows = [written.fields(name) for name in ("SetGroupState", "SubscribeGroupState", "UnsubscribeGroupState")]
    assert [row["group"] for found in rows for row in found] == ["g", "g", "g"]
    assert len(written.fields("RefusedInternalServerError")) == 1
    assert "typing" not in written.text


async def test_states_are_stamped_with_the_clock_of_the_node() -> None:
    """In Unix milliseconds."""
    house = House()
    house.node.states._now_ms = lambda: 1_700_000_000_123
    client = await house.json()

    (update,) = [row for row in await client.say(subscription(), state()) if row["type"] == "groupStateUpdate"]

    assert update["items"][0]["updatedAt"] == 1_700_000_000_123


# Whatever happens

STEPS = st.tuples(
    st.sampled_from(
        ["set", "set", "clear", "subscribe", "subscribe", "unsubscribe", "leave", "remove", "drop", "back"]
    ),
    st.integers(0, len(KINDS) - 1),
)


class _Known:
    """What one client was told, of all its sockets."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self._times: dict[str, int] = {}

    def hear(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["type"] == "groupStateSnapshot":
                self.states = {}
            for item in row.get("items", ()):
                name, at = item["connectionId"], item["updatedAt"]
                if at >= self._times.get(name, 0):
                    self._times[name] = at
                    self.states[name] = item.get("state")

    @property
    def there(self) -> dict[str, Any]:
        return {name: value for name, value in self.states.items() if value is not None}


@given(st.lists(STEPS, min_size=5, max_size=40))
def test_subscribers_know_what_is_so_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Clients of all subprotocols, with states that are set and cleared and lost, over sockets that break."""
    asyncio.run(_walk(steps))


async def _walk(steps: list[tuple[str, int]]) -> None:
    house = House(queue_messages=1000)
    clients = [await somebody(house, kind) for kind in KINDS]
    known = [_Known() for _ in KINDS]
    for one in clients:
        await one.say(subscription())
    told = set(range(len(KINDS)))
    there: dict[str, Any] = {}
    for number, (step, who) in enumerate(steps):
        one = clients[who]
        if not one.connection.alive:
            continue
        match step:
            case "drop" if one.connection.sink is not None and KINDS[who] in RELIABLE_KINDS:
                known[who].hear(one.heard())
                one.drop()
            case "gone" if one.connection.sink is not None:
                one.drop(1000)
                there.pop(one.connection.id, None)
                told.discard(who)
            case "back" if one.connection.sink is None:
                clients[who] = await resumed(house, one)
            case "remove":
                await house.node.ask(RemoveFromGroups(to_connection(HUB, one.connection.id), ("g",)))
                there.pop(one.connection.id, None)
            case _ if one.connection.sink is None:
                continue
            case "set":
                await one.say(state({"n": str(number)}))
                there[one.connection.id] = {"n": str(number)}
            case "clear":
                await one.say(state(None))
                there.pop(one.connection.id, None)
            case "leave":
                await one.say({"type": "leaveGroup", "group": "g"})
                there.pop(one.connection.id, None)
            case "subscribe":
                await one.say(subscription())
                told.add(who)
            case "unsubscribe":
                await one.say(unsubscription())
                told.discard(who)
    for who in told:
        if clients[who].connection.sink is None:
            clients[who] = await resumed(house, clients[who])
        await settle()
        known[who].hear(clients[who].heard())
        assert known[who].there == there
    # Nothing is left when all are gone.
    for one in clients:
        if one.connection.alive:
            house.node.close(one.connection, 1000, "", CloseCategory.NORMAL)
    await settle()
    assert house.exchange._topics == {}

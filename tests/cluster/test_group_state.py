"""States of groups over two nodes: changes are heard on both, and who subscribes is told what either has."""

from collections.abc import Sequence
from typing import Any

import pytest

from doubles import HUB, settle
from hubwire.model.commands import Close, Exists, ListStates, RemoveFromGroups
from hubwire.model.targets import to_connection, to_group, to_group_state, to_hub
from journeys.cluster import RELIABLE, Client, Cluster

TYPING = {"status": "typing"}
AWAY = {"status": "away"}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def states_of(client: Client) -> Any:
    """What a client knows of the states of `g` by the frames of its present socket; by connection id."""
    known: dict[str, Any] = {}
    times: dict[str, int] = {}
    for row in client.sink.received:
        if row["type"] not in ("groupStateSnapshot", "groupStateUpdate"):
            continue
        if row["type"] == "groupStateSnapshot":
            known.clear()
        for item in row["items"]:
            name, at = item["connectionId"], item["updatedAt"]
            assert at >= times.get(name, 0), "the states of one connection come in their order"
            times[name] = at
            known.pop(name, None)
            if "state" in item:
                known[name] = item["state"]
    return known


async def set_state(client: Client, state: dict[str, str] | None, group: str = "g") -> None:
    frame = {"type": "setGroupState", "group": group}
    assert (await client.request(**frame if state is None else {**frame, "state": state}))["success"]


async def subscribe(client: Client, group: str = "g") -> None:
    assert (await client.request(type="subscribeGroupState", group=group))["success"]


async def listening(cluster: Cluster) -> Sequence[bool]:
    """Which nodes would be heard if they were asked."""
    query = ListStates(to_group_state(HUB, "g"))
    return [bool((await machine.node.answer(query.target, query)).states) for machine in (cluster.a, cluster.b)]


async def test_subscriber_is_told_what_both_nodes_have_and_each_change_of_either(cluster: Cluster) -> None:
    here, there, watcher = await cluster.a.client(), await cluster.b.client(), await cluster.a.client()
    await set_state(here, TYPING)
    await set_state(there, AWAY)

    await subscribe(watcher)
    assert states_of(watcher) == {here.connection.id: TYPING, there.connection.id: AWAY}
    assert await listening(cluster) == [True, True]

    await set_state(here, AWAY)
    await set_state(there, None)
    assert states_of(watcher) == {here.connection.id: AWAY}


async def test_subscriber_is_told_of_nodes_that_have_the_first_state_only_later(cluster: Cluster) -> None:
    watcher = await cluster.a.client()
    await subscribe(watcher)
    there = await cluster.b.client()

    await set_state(there, TYPING)

    assert states_of(watcher) == {there.connection.id: TYPING}


@pytest.mark.parametrize(
    "end", ["leave", "socket", "removed", "removed from all", "closed"], ids=lambda end: end.replace(" ", "-")
)
@pytest.mark.parametrize("is_member", [True, False], ids=["member", "no member"])
async def test_state_goes_with_the_membership_and_with_the_connection(
    cluster: Cluster, end: str, is_member: bool
) -> None:
    """By the client, REST or the end of its socket; also of who has a state without being a member."""
    watcher, there = await cluster.a.client(), await cluster.b.client()
    await subscribe(watcher)
    if is_member:
        await there.join("g")
    await set_state(there, TYPING)
    assert states_of(watcher) == {there.connection.id: TYPING}
    target = to_connection(HUB, there.connection.id)

    match end:
        case "leave":
            await there.leave("g")
        case "socket":
            await there.drop()
        case "removed":
            await cluster.a.ask(RemoveFromGroups(target, ("g",)))
        case "removed from all":
            await cluster.a.ask(RemoveFromGroups(target, None))
        case "closed":
            await cluster.a.ask(Close(target))

    assert states_of(watcher) == {}
    assert await listening(cluster) == [False, False]


async def test_reliable_client_keeps_its_state_until_it_cannot_come_back(cluster: Cluster) -> None:
    watcher, there = await cluster.a.client(), await cluster.b.client(subprotocol=RELIABLE)
    await subscribe(watcher)
    await set_state(there, TYPING)
    token = there.sink.received[0]["reconnectionToken"]

    await there.drop()
    await there.connect(awps_connection_id=there.connection.id, awps_reconnection_token=token)
    await cluster.loop.advance(60)
    assert states_of(watcher) == {there.connection.id: TYPING}

    await there.drop()
    await cluster.loop.advance(60)
    await settle()
    assert states_of(watcher) == {}


async def test_topic_is_left_when_it_concerns_nobody_any_more(cluster: Cluster) -> None:
    """Whoever has a state or is told keeps it; the last one of a node gives it up."""
    one, watcher = await cluster.a.client(), await cluster.b.client()
    topic = to_group_state(HUB, "g")
    await set_state(one, TYPING)
    await subscribe(watcher)
    assert set(cluster.exchange._topics) >= {topic}
    assert len(cluster.exchange._topics[topic]) == 2

    await set_state(one, None)
    assert len(cluster.exchange._topics[topic]) == 1

    await watcher.request(type="unsubscribeGroupState", group="g")
    await settle()
    assert topic not in cluster.exchange._topics


async def test_group_state_makes_nobody_a_member(cluster: Cluster) -> None:
    one = await cluster.a.client()

    await set_state(one, TYPING)
    await subscribe(one)

    assert (await cluster.a.ask(Exists(to_group(HUB, "g")))).count == 0
    assert (await cluster.a.ask(Exists(to_hub(HUB)))).count == 1

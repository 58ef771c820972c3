"""
What the rooms do together: a client connects and joins; messages, questions and commands cross two nodes.
"""

import pytest

from doubles import HUB, head, settle
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.model.commands import (
    AddToGroups,
    Answer,
    Close,
    Exists,
    ListMembers,
    Member,
    PermissionRule,
    RemoveFromGroups,
)
from hubwire.model.targets import to_connection, to_group, to_hub, to_user
from journeys.cluster import RELIABLE, Cluster

GROUP = to_group(HUB, "g")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


# A client connects with a token and joins a group


async def test_client_connects_joins_publishes_and_hears(cluster: Cluster) -> None:
    client = await cluster.a.client("u")
    assert client.sink.received == [
        {"type": "system", "event": "connected", "userId": "u", "connectionId": client.connection.id}
    ]

    await client.join("g")
    await client.publish("g", "hi")

    assert client.sink.received[2:] == [
        {"type": "message", "from": "group", "group": "g", "fromUserId": "u", "dataType": "text", "data": "hi"}
    ]


async def test_client_with_a_token_for_another_hub_is_refused_before_it_is_anybody(cluster: Cluster) -> None:
    audience = "http://localhost:8080/client/hubs/other"
    token = cluster.a.principals.issue_client_token(HUB.resource, audience, "u", (), (), 5)

    with pytest.raises(HandshakeRefused) as refused:
        cluster.a.gateway.decide(head(f"/client/hubs/{HUB.hub}?access_token={token}"))

    assert refused.value.status == 401
    assert cluster.exchange._topics == {}


# A message crosses nodes


async def test_what_is_published_on_one_node_reaches_members_on_both(cluster: Cluster) -> None:
    sender = await cluster.a.client("s")
    here, there = await cluster.a.client(groups=["g"]), await cluster.b.client(groups=["g"])
    outsider = await cluster.b.client(groups=["other"])

    await sender.publish("g", "1")

    assert (here.heard, there.heard, outsider.heard, sender.heard) == (["1"], ["1"], [], [])


async def test_one_senders_messages_keep_their_order_on_every_node(cluster: Cluster) -> None:
    """In one turn and over several, to one group and to two."""
    sender = await cluster.a.client(groups=["g", "h"])
    receivers = [await machine.client(groups=["g", "h"], subprotocol=RELIABLE) for machine in (cluster.a, cluster.b)]
    for turn in range(5):
        for number in range(20):
            await sender.publish("gh"[number % 2], f"{turn}.{number}")
        await sender.publish("g", *(f"{turn}.{number}" for number in range(20, 40)))

    expected = [f"{turn}.{number}" for turn in range(5) for number in range(40)]
    assert sender.heard == expected
    for receiver in receivers:
        assert receiver.heard == expected
        numbers = [row["sequenceId"] for row in receiver.sink.received if row["type"] == "message"]
        assert numbers == list(range(1, 201))


async def test_member_on_another_node_hears_from_its_ack_on_and_until_it_leaves(cluster: Cluster) -> None:
    sender, member = await cluster.a.client(), await cluster.b.client()
    await sender.publish("g", "before")
    await member.join("g")
    await sender.publish("g", "between")
    await member.leave("g")
    await sender.publish("g", "after")

    assert member.heard == ["between"]


async def test_node_without_a_member_never_hears_of_a_group(cluster: Cluster) -> None:
    member = await cluster.a.client(groups=["g"])
    await cluster.b.client()

    assert cluster.exchange._topics[GROUP] == (member.machine.node._bus,)
    await member.leave("g")
    assert GROUP not in cluster.exchange._topics


async def test_no_echo_leaves_out_the_sender_and_no_other_connection_of_its_user(cluster: Cluster) -> None:
    sender = await cluster.a.client("u", ["g"])
    other = await cluster.b.client("u", ["g"])

    await sender.publish("g", "1", noEcho=True)

    assert (sender.heard, other.heard) == ([], ["1"])


async def test_send_of_the_application_reaches_hub_user_group_and_connection_on_both_nodes(cluster: Cluster) -> None:
    a, b = await cluster.a.client("u", ["g"]), await cluster.b.client("u", ["g"])
    for target in (to_hub(HUB), to_user(HUB, "u"), GROUP, to_connection(HUB, b.connection.id)):
        await cluster.a.send(target, target.kind)
    await cluster.b.send(to_hub(HUB), "filtered", filter=f"connectionId eq '{a.connection.id}'")
    await cluster.b.send(to_hub(HUB), "excluded", excluded=(a.connection.id,))

    assert a.heard == ["hub", "user", "group", "filtered"]
    assert b.heard == ["hub", "user", "group", "connection", "excluded"]


@pytest.mark.parametrize("how", ["ended", "revoked", "closed"])
async def test_stream_reaches_members_on_both_nodes_until_its_end(cluster: Cluster, how: str) -> None:
    publisher = await cluster.a.client()
    here, there = await cluster.a.client(groups=["g"]), await cluster.b.client(groups=["g"], subprotocol=RELIABLE)
    end = {"type": "streamEnd", "streamId": "s"}
    await publisher.say({"type": "sendToGroup", "group": "g", "stream": {"streamId": "s"}})
    for number in (1, 2):
        fragment = {"streamSequenceId": number, "dataType": "text", "data": f"{number}"}
        await publisher.say({"type": "streamData", "streamId": "s", **fragment})
    target = to_connection(HUB, publisher.connection.id)
    if how == "closed":
        await cluster.b.ask(Close(target))
    else:
        if how == "revoked":
            await cluster.b.ask(PermissionRule("revoke", target, "sendToGroup", "g"))
        await publisher.say(end)

    name = {"ended": None, "revoked": "Forbidden", "closed": "Cancelled"}[how]
    for listener in (here, there):
        places = [row["stream"] for row in listener.sink.received if row["type"] == "message"]
        assert listener.heard == ["1", "2", ""]
        assert [place["streamSequenceId"] for place in places] == [1, 2, 3]
        assert [place.get("endOfStream", False) for place in places] == [False, False, True]
        assert places[2].get("error", {}).get("name") == name


async def test_simple_json_and_reliable_clients_share_a_group(cluster: Cluster) -> None:
    raw = await cluster.b.client(groups=["g"], subprotocol=None)
    publisher = await cluster.a.client("p", subprotocol=None, webpubsub_mode="sendToGroup", group="g")
    plain, reliable = await cluster.a.client(groups=["g"]), await cluster.b.client(groups=["g"], subprotocol=RELIABLE)

    for payload in ("text", b"\x01"):
        assert publisher.machine.gateway.receive(publisher.connection, payload) is None
    await settle()

    assert raw.sink.frames == [(1, b"text"), (2, b"\x01")]
    assert plain.heard == reliable.heard == ["text", "AQ=="]


async def test_reliable_client_finds_what_the_other_node_sent_while_it_was_away(cluster: Cluster) -> None:
    client, sender = await cluster.a.client("u", ["g"], subprotocol=RELIABLE), await cluster.b.client()
    await sender.publish("g", "1")
    token = client.sink.received[0]["reconnectionToken"]
    connection_id = client.connection.id
    await client.say({"type": "sequenceAck", "sequenceId": 1})
    await client.drop()
    await sender.publish("g", "2")
    await cluster.b.send(to_user(HUB, "u"), "3")

    await client.connect(awps_connection_id=connection_id, awps_reconnection_token=token)

    assert client.connection.id == connection_id
    assert client.sink.received[0]["event"] == "connected"
    assert [(row["sequenceId"], row["data"]) for row in client.sink.received[1:]] == [(2, "2"), (3, "3")]


# Questions and commands cross nodes


async def test_existence_is_known_on_every_node(cluster: Cluster) -> None:
    client = await cluster.a.client("u", ["g"])
    targets = (to_user(HUB, "u"), GROUP, to_connection(HUB, client.connection.id), to_hub(HUB))
    for machine in (cluster.a, cluster.b):
        for target in targets:
            assert (await machine.ask(Exists(target))).count == 1
        assert (await machine.ask(Exists(to_user(HUB, "nobody")))).count == 0

    await client.drop()

    for machine in (cluster.a, cluster.b):
        for target in targets:
            assert (await machine.ask(Exists(target))).count == 0


async def test_list_of_members_merges_the_nodes_page_by_page(cluster: Cluster) -> None:
    clients = [await (cluster.a, cluster.b)[number % 2].client(f"u{number}", ["g"]) for number in range(7)]
    rows = sorted((client.connection.id, client.connection.user_id) for client in clients)
    expected = tuple(Member(id, user_id) for id, user_id in rows)

    for machine in (cluster.a, cluster.b):
        assert await machine.ask(ListMembers(GROUP, "", 100)) == Answer(7, expected)
        found: tuple[Member, ...] = ()
        while (answer := await machine.ask(ListMembers(GROUP, found[-1].connection_id if found else "", 3))).count:
            assert answer.count == len(answer.members) <= 3
            found += answer.members
        assert found == expected


async def test_connections_that_another_node_adds_to_a_group_are_in_it_when_that_is_answered(cluster: Cluster) -> None:
    client = await cluster.b.client("u")
    elsewhere = await cluster.a.client("u")

    assert await cluster.a.node.ask(AddToGroups(to_user(HUB, "u"), ("g", "h"))) == Answer(count=2)
    await cluster.a.send(GROUP, "1")
    assert (client.heard, elsewhere.heard) == (["1"], ["1"])

    assert await cluster.a.node.ask(RemoveFromGroups(to_connection(HUB, client.connection.id), ("g",))) == Answer(1)
    await cluster.a.send(GROUP, "2")
    assert (client.heard, elsewhere.heard) == (["1"], ["1", "2"])


async def test_application_closes_connections_of_both_nodes(cluster: Cluster) -> None:
    spared = await cluster.a.client(groups=["g"])
    clients = [await machine.client(groups=["g"]) for machine in (cluster.a, cluster.b)]

    assert await cluster.b.ask(Close(GROUP, (spared.connection.id,), "enough")) == Answer(count=2)

    for client in clients:
        text = "Application server closed the connection. Reason: enough"
        assert client.sink.received[-1] == {"type": "system", "event": "disconnected", "message": text}
        assert client.sink.closed == (1000, "")
    assert spared.sink.closed is None
    assert (await cluster.a.ask(Exists(GROUP))).count == 1


async def test_permission_that_another_node_grants_and_revokes_holds_at_once(cluster: Cluster) -> None:
    client = await cluster.b.client(roles=())
    target = to_connection(HUB, client.connection.id)
    assert not (await client.request(type="sendToGroup", group="g", data=1))["success"]

    answer = await cluster.a.ask(PermissionRule("grant", target, "sendToGroup", "g"))
    assert (answer.count, answer.allowed) == (1, True)
    assert (await client.request(type="sendToGroup", group="g", data=1))["success"]

    answer = await cluster.a.ask(PermissionRule("revoke", target, "sendToGroup", "g"))
    assert (answer.count, answer.allowed) == (1, False)
    assert not (await client.request(type="sendToGroup", group="g", data=1))["success"]


async def test_nothing_is_left_when_everybody_has_gone(cluster: Cluster) -> None:
    clients = [await machine.client("u", ["g", "h"]) for machine in (cluster.a, cluster.b) for _ in range(3)]
    for client in clients:
        await client.join("i")
        await client.drop()

    assert cluster.exchange._topics == {}
    assert (cluster.a.telemetry.connections, cluster.b.telemetry.connections) == (0, 0)
    assert cluster.a.node._hubs == cluster.b.node._hubs == {}

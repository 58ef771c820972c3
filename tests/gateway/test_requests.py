"""Requests: allowed or not, carried out once, answered exactly when that was asked for."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from doubles import HUB, MemoryJournal, RecordingSink, connection, done, settle
from gateway.house import Client, House
from hubwire.model.commands import Exists, PermissionRule
from hubwire.model.messages import ClientRequest, Data, JoinGroup, LeaveGroup, SendEvent, SendToGroup
from hubwire.model.targets import to_connection, to_group
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.json_v1 import JsonSession
from hubwire.protocols.session import Session

JOIN = "webpubsub.joinLeaveGroup"
SEND = "webpubsub.sendToGroup"

REQUESTS: dict[str, dict[str, Any]] = {
    "join": {"type": "joinGroup", "group": "g"},
    "leave": {"type": "leaveGroup", "group": "g"},
    "send": {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "x"},
}
NEEDED = {"join": JOIN, "leave": JOIN, "send": SEND}


@pytest.fixture
def house() -> House:
    return House()


def ok(ack_id: int) -> dict[str, Any]:
    return {"type": "ack", "ackId": ack_id, "success": True}


async def members(house: House, group: str = "g") -> int:
    return (await house.node.ask(Exists(to_group(HUB, group)))).count


# Acks


@pytest.mark.parametrize("ack_id", [0, 1, 2**53 + 1, 2**64 - 1])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_request_with_an_ack_id_is_answered_once(house: House, request_: dict[str, Any], ack_id: int) -> None:
    client = await house.json()

    assert await client.say({**request_, "ackId": ack_id}) == [ok(ack_id)]


async def test_message_is_acknowledged_when_it_is_on_the_disk_for_those_who_outlive_the_server() -> None:
    """Other acks wait for nothing."""
    journal = MemoryJournal()
    house = House(journal=journal)
    client, other = await house.json(), await house.json()
    await house.durable_member()
    journal.fail("the disk is full")
    assert await client.say({**REQUESTS["send"], "ackId": 1}) == []
    assert await other.say({**REQUESTS["join"], "ackId": 1}) == [ok(1)]
    assert await other.say({**REQUESTS["send"], "group": "nobody is there", "ackId": 2}) == [ok(2)]
    assert await client.say({**REQUESTS["join"], "group": "h", "ackId": 2}) == []

    journal.mend()
    await settle()
    assert client.sink.received[-2:] == [ok(1), ok(2)]


@pytest.mark.parametrize("roles", [[JOIN, SEND], []], ids=["allowed", "forbidden"])
@pytest.mark.parametrize("request_", [*REQUESTS.values(), {"type": "event", "event": "e", "data": 1}])
async def test_request_without_an_ack_id_is_not_answered(
    house: House, request_: dict[str, Any], roles: list[str]
) -> None:
    """Neither success nor failure; and the connection stays open."""
    client = await house.json(roles=roles)

    assert await client.say(request_) == []
    assert await client.say({"type": "ping"}) == [{"type": "pong"}]


async def test_acks_come_in_the_order_of_the_requests(house: House) -> None:
    client = await house.json()

    acks = await client.say(
        *({"type": "joinGroup", "group": f"g{number}", "ackId": number} for number in range(5)),
        {"type": "event", "event": "e", "data": 1, "ackId": 5},
        *({**REQUESTS["send"], "ackId": number} for number in range(6, 9)),
    )

    assert [ack["ackId"] for ack in acks] == list(range(9))


async def test_joining_twice_and_leaving_a_group_one_is_not_in_succeed(house: House) -> None:
    client = await house.json()

    assert await client.say(
        {**REQUESTS["join"], "ackId": 1},
        {**REQUESTS["join"], "ackId": 2},
        {"type": "leaveGroup", "group": "other", "ackId": 3},
    ) == [ok(1), ok(2), ok(3)]
    assert await members(house) == 1


async def test_ack_of_a_join_comes_when_the_subscription_is_confirmed(house: House) -> None:
    """Who holds it misses nothing that is sent later."""
    client = await house.json()
    subscribed = house.bus.hold()
    waiting = house.gateway.receive(client.connection, '{"type":"joinGroup","group":"g","ackId":1}')
    assert waiting is not None
    await settle()
    assert client.sink.writes == []

    subscribed.set_result(None)
    await waiting
    await settle()
    assert client.sink.received == [ok(1)]


async def test_no_ack_for_a_client_that_left_while_it_joined(house: House) -> None:
    client = await house.json()
    subscribed = house.bus.hold()
    waiting = house.gateway.receive(client.connection, '{"type":"joinGroup","group":"g","ackId":1}')
    assert waiting is not None
    client.drop()

    subscribed.set_result(None)
    await waiting
    await settle()

    assert client.sink.writes == []
    assert await members(house) == 0


# Duplicate


@pytest.mark.parametrize("first", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("second", REQUESTS.values(), ids=REQUESTS)
async def test_ack_id_that_was_carried_out_is_a_duplicate_whatever_is_asked(
    house: House, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """One space of ids for all kinds of requests."""
    client = await house.json()

    _, again = await client.say({**first, "ackId": 7}, {**second, "ackId": 7})

    assert again == {
        "type": "ack",
        "ackId": 7,
        "success": False,
        "error": {"name": "Duplicate", "message": "Message with ack-id: 7 has been processed"},
    }


async def test_duplicate_is_not_carried_out_again(house: House) -> None:
    listener, client = await house.json(groups=["g"]), await house.json()

    await client.say({**REQUESTS["send"], "ackId": 1}, {**REQUESTS["send"], "ackId": 1})
    await client.say({**REQUESTS["join"], "ackId": 1})

    assert listener.sink.data == ["x"]
    assert await members(house) == 1


async def test_request_that_failed_may_be_repeated_with_its_ack_id(house: House) -> None:
    client = await house.json(roles=[])
    request = {**REQUESTS["send"], "ackId": 1}
    (refused,) = await client.say(request)
    assert refused["error"]["name"] == "Forbidden"

    client.connection.permissions.grant("sendToGroup", "g")

    assert await client.say(request) == [ok(1)]
    (again,) = await client.say(request)
    assert again["error"]["name"] == "Duplicate"


async def test_failed_event_may_be_repeated_with_its_ack_id(house: House) -> None:
    client = await house.json()
    event = {"type": "event", "event": "e", "data": 1, "ackId": 1}

    answers = await client.say(event, event)

    assert [answer["error"]["name"] for answer in answers] == ["InternalServerError"] * 2


async def test_requests_without_an_ack_id_are_never_duplicates(house: House) -> None:
    listener, client = await house.json(groups=["g"]), await house.json()

    await client.say(REQUESTS["send"], REQUESTS["send"])

    assert listener.sink.data == ["x", "x"]


# Permissions


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("{}", True),
        ("{}.g", True),
        ("{}s.?", True),
        ("{}.other", False),
        ("{}.*", False),
        ("{}s.h*", False),
        ("other role", False),
    ],
)
async def test_request_needs_its_role_for_that_group(house: House, what: str, role: str, allowed: bool) -> None:
    client = await house.json(roles=[role.format(NEEDED[what])])

    (ack,) = await client.say({**REQUESTS[what], "ackId": 1})

    assert ack["success"] == allowed
    if not allowed:
        assert ack["error"]["name"] == "Forbidden"
        assert ack["error"]["message"]


@pytest.mark.parametrize("what", REQUESTS)
async def test_role_for_one_thing_is_not_one_for_the_other(house: House, what: str) -> None:
    other = SEND if NEEDED[what] == JOIN else JOIN
    client = await house.json(roles=[other])

    (ack,) = await client.say({**REQUESTS[what], "ackId": 1})

    assert ack["error"]["name"] == "Forbidden"


async def test_what_is_forbidden_is_not_done(house: House) -> None:
    listener, client = await house.json(groups=["g"]), await house.json(roles=[], groups=["h"])

    await client.say(REQUESTS["send"], REQUESTS["join"], {"type": "leaveGroup", "group": "h"})

    assert listener.sink.data == []
    assert (await members(house, "g"), await members(house, "h")) == (1, 1)
    assert house.telemetry.inbound_messages == 0


async def test_permission_may_be_granted_and_revoked_while_one_is_connected(house: House) -> None:
    """A revoked one takes no membership away."""
    client = await house.json(roles=[JOIN])
    await client.say(REQUESTS["join"])
    target = to_connection(HUB, client.connection.id)

    await house.node.ask(PermissionRule("revoke", target, "joinLeaveGroup", "g"))
    (refused,) = await client.say({**REQUESTS["leave"], "ackId": 1})
    assert refused["error"]["name"] == "Forbidden"
    assert await members(house) == 1
    assert await client.say({"type": "joinGroup", "group": "other", "ackId": 2}) == [ok(2)]

    await house.node.ask(PermissionRule("grant", target, "joinLeaveGroup", "g"))
    assert await client.say({**REQUESTS["leave"], "ackId": 1}) == [ok(1)]
    assert await members(house) == 0


# Sending


async def test_message_carries_its_sender_metadata_and_spelling(house: House) -> None:
    listener = await house.json(groups=["g"])
    client = await house.json(user_id="u")

    await client.say('{"type":"sendToGroup","group":"g","data":{ "a" : 1.0 },"metadata":{"k":"v"}}')

    assert listener.sink.received == [
        {
            "type": "message",
            "from": "group",
            "group": "g",
            "fromUserId": "u",
            "dataType": "json",
            "data": {"a": 1.0},
            "metadata": {"k": "v"},
        }
    ]
    assert b'{ "a" : 1.0 }' in listener.sink.frames[0].payload
    assert house.telemetry.inbound_messages == 1


async def test_sender_hears_itself_unless_it_asks_not_to(house: House) -> None:
    client = await house.json(groups=["g"])

    await client.say({**REQUESTS["send"], "data": "1"}, {**REQUESTS["send"], "data": "2", "noEcho": True})

    assert client.sink.data == ["1"]


async def test_ack_comes_behind_what_the_sender_sent_itself(house: House) -> None:
    client = await house.json(groups=["g"])

    answers = await client.say({**REQUESTS["send"], "ackId": 1})

    assert [answer["type"] for answer in answers] == ["message", "ack"]


async def test_lifetime_goes_with_the_message(house: House) -> None:
    listener, client = await house.json(groups=["g"]), await house.json()

    await client.say({**REQUESTS["send"], "ttlSeconds": 7})

    assert [write.expires_at for write in listener.sink.writes] == [house.loop.time() + 7]


# Events: nothing can take them yet


async def test_event_without_a_handler_fails_and_the_connection_stays(house: House) -> None:
    client = await house.json(roles=[])

    assert await client.say({"type": "event", "event": "e", "data": 1, "ackId": 1}, {"type": "ping"}) == [
        {
            "type": "ack",
            "ackId": 1,
            "success": False,
            "error": {"name": "InternalServerError", "message": "Internal server error"},
        },
        {"type": "pong"},
    ]
    assert house.telemetry.ack_errors == {"InternalServerError": 1}


# Simple clients have no acks, so a failure ends them


async def test_simple_client_whose_event_nobody_takes_is_closed_1011(house: House) -> None:
    client = await house.client()

    house.gateway.receive(client.connection, "hello")

    assert client.sink.closed == (1011, "No event handler is configured for this event.")
    assert [row[1:3] for row in house.ended] == [(CloseCategory.EVENT_HANDLER_NOT_FOUND, 1011)]


async def publisher(house: House, *roles: str, no_echo: str = "false") -> Client:
    return await house.client(roles=roles, groups=["g"], webpubsub_mode="sendToGroup", group="g", noEcho=no_echo)


async def test_simple_client_that_may_not_publish_is_closed_1008_and_told_why(house: House) -> None:
    client = await publisher(house, JOIN)

    house.gateway.receive(client.connection, "hello")

    assert client.sink.closed is not None
    code, reason = client.sink.closed
    assert (code, "permission" in reason) == (1008, True)
    assert [row[1:3] for row in house.ended] == [(CloseCategory.UNAUTHORIZED, 1008)]


@pytest.mark.parametrize(("no_echo", "echoed"), [("false", [(1, b"hi"), (2, b"\x01")]), ("true", [])])
async def test_simple_client_publishes_what_it_says(
    house: House, no_echo: str, echoed: list[tuple[int, bytes]]
) -> None:
    listener, client = await house.json(groups=["g"]), await publisher(house, SEND, no_echo=no_echo)

    for payload in ("hi", b"\x01"):
        assert house.gateway.receive(client.connection, payload) is None
    await settle()

    assert listener.sink.data == ["hi", "AQ=="]
    assert client.sink.frames == echoed
    assert client.sink.closed is None


# Protocols whose messages may ask for several things


class Several:
    """A JSON session, but that each message asks for all of these."""

    def __init__(self, *requests: ClientRequest) -> None:
        self.requests = requests
        self.json = JsonSession()

    def receive(self, payload: str | bytes) -> Sequence[ClientRequest]:
        return self.requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self.json, name)


async def saying(house: House, *requests: ClientRequest) -> Client:
    """A client that was let in and has not said that yet."""
    one, sink = connection(cast("Session", Several(*requests))), RecordingSink()
    await done(house.node.attach(one, (), sink, b""))
    return Client(house, one, sink)


async def test_requests_of_one_message_are_handled_in_order(house: House) -> None:
    """Those behind one that waits wait too."""
    text = Data("text", b"x")
    client = await saying(
        house,
        SendToGroup("g", text, 1),
        JoinGroup("g", 2),
        SendToGroup("g", text, 3),
        JoinGroup("h", 4),
        LeaveGroup("g", 5),
    )

    answers = await client.say("all of them")

    assert [answer.get("ackId", answer["type"]) for answer in answers] == [1, 2, "message", 3, 4, 5]
    assert list(client.connection.groups) == ["h"]


@pytest.mark.parametrize("first", [JoinGroup("g"), SendEvent("e", Data("text", b""), must_succeed=True)])
async def test_requests_behind_the_end_of_their_connection_are_not_carried_out(
    house: House, first: ClientRequest
) -> None:
    """Whether it ends while one of them waits or by one of them."""
    other = await house.json()
    client = await saying(house, first, JoinGroup("h"), SendToGroup("g", Data("text", b"x")))
    subscribed = house.bus.hold()
    waiting = house.gateway.receive(client.connection, "all of them")
    subscribed.set_result(None)
    if waiting is not None:
        client.drop()
        await waiting
    await settle()

    assert await members(house, "h") == 0
    assert house.node.connections() == [other.connection]
    assert list(client.connection.groups) == []
    assert house.telemetry.inbound_messages == (waiting is None)


async def test_group_too_many_is_refused_with_the_reason_and_may_be_tried_again(house: House) -> None:
    client = await house.json()
    client.connection.groups = dict.fromkeys(map(str, range(10_000)))
    join = {"type": "joinGroup", "group": "g", "ackId": 1}
    (answer,) = await client.say(join)

    assert answer["error"] == {"name": "InternalServerError", "message": "A connection may be in 10000 groups."}
    assert not client.connection.was_done(1)

"""Connections and their event handlers: who may come in and as whom, what is told of it, and what the answers do."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud_events import Event, parsed_all
from doubles import ALL_ROLES, HUB, KEYS, RecordingSink, done, head, settle
from gateway.house import JSON, RELIABLE, URL, Client, House
from handlers import NOTHING, Upstream, answer, handler, handling
from hubwire.auth import jwt
from hubwire.auth.principals import Principals
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.events import ConnectionEvents, Shown
from hubwire.gateway.opening import Deciding, Opening
from hubwire.model.commands import AddToGroups, Close, RemoveFromGroups
from hubwire.model.hubs import HubSettings
from hubwire.model.resources import ResourcePolicy
from hubwire.model.targets import to_connection
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream import records

PRESENCE = {"eventNames": ["joined", "left"]}
SIMPLE = "simple"


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told to the operator yet."""
    monkeypatch.setattr(records, "_quiet", records._Quiet())


def house_of(*handlers: dict[str, Any], shown: Shown | None = None, **settings: Any) -> House:
    """One whose hub has these handlers, or one that is told everything."""
    house = House(shown=shown)
    house.directory.hubs[HUB] = handling(*(handlers or (handler(groupPresenceEvents=PRESENCE),)), **settings)
    return house


@pytest.fixture
def house() -> House:
    return house_of()


def request(house: House, *offers: str, headers: Sequence[tuple[str, str]] = (), **query: Any) -> Any:
    """An upgrade request of somebody with a token, unless the query says something else."""
    query.setdefault("access_token", house.token("u", ALL_ROLES, ["t"]))
    given = {name: value for name, value in query.items() if value is not None}
    return head(f"{URL}?{urlencode(given, doseq=True)}", offers=offers, headers=headers)


async def refusal(house: House, *offers: str, **query: Any) -> HandshakeRefused:
    """What is answered instead of 101."""
    with pytest.raises(HandshakeRefused) as refused:
        await house.ask(request(house, *offers, **query))
    await settle()
    return refused.value


def events(house: House) -> list[Event]:
    return parsed_all(house.upstream.webhook.events)


def told(house: House) -> list[str]:
    return [event.type for event in events(house)]


def data(house: House, type: str) -> list[Any]:
    """Of all events of a type."""
    return [event.data for event in events(house) if event.type == type]


def slots(house: House) -> tuple[int, int]:
    """Connections that count towards the quotas: those on their way in, and all of the resource."""
    return house.gateway._admission.places(HUB.resource)


def says(house: House, *said: IncomingResponse | WebhookFailed, connect: IncomingResponse = NOTHING) -> None:
    """What the handler says: to connect, and to user events one after the other; nothing to all else."""
    left = list(said)

    def answers(request: OutgoingRequest) -> IncomingResponse | WebhookFailed:
        type = dict(request.headers)["ce-type"]
        if type.endswith("sys.connect"):
            return connect
        return left.pop(0) if "user" in type and left else NOTHING

    house.upstream.webhook.answers = answers


def hold(house: House, said: IncomingResponse = NOTHING) -> asyncio.Event:
    """Let the answer to connect wait until this is set."""
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return said

    house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/connect") else NOTHING
    return free


async def asking(house: House, *offers: str) -> "tuple[Deciding, asyncio.Task[Opening]]":
    """A decision that is under way."""
    deciding = house.gateway.decide(request(house, *offers))
    assert isinstance(deciding, Deciding)
    task = asyncio.ensure_future(deciding.outcome())
    await settle()
    return deciding, task


# Who is let in, and as whom


async def test_client_that_is_accepted_is_who_its_token_says(house: House) -> None:
    opening = await house.ask(request(house, JSON))

    assert opening.connection is not None
    assert (opening.connection.user_id, opening.groups, opening.subprotocol) == ("u", ("t",), JSON)
    assert opening.connection.permissions.allows("sendToGroup", "g")
    assert told(house) == ["sys.connect"]


async def test_what_the_handler_says_takes_the_place_of_what_the_token_says(house: House) -> None:
    says(
        house,
        connect=answer(200, {"userId": "v", "roles": ["webpubsub.sendToGroup.x"], "groups": ["a", "b"]}),
    )

    client = await house.client(JSON, user_id="u", groups=["t"])

    connection = client.connection
    assert (connection.user_id, list(connection.groups)) == ("v", ["a", "b"])
    assert client.sink.received[0]["userId"] == "v"
    assert connection.permissions.allows("sendToGroup", "x")
    assert not connection.permissions.allows("joinLeaveGroup", "x")
    assert [event.attributes.get("userid") for event in events(house)][:2] == ["u", "v"]


@pytest.mark.parametrize("said", [{"roles": []}, {"roles": ["nonsense", "webpubsub.x"]}])
async def test_no_roles_are_no_roles(house: House, said: dict[str, Any]) -> None:
    says(house, connect=answer(200, said))

    client = await house.client(JSON)

    assert not client.connection.permissions.allows("joinLeaveGroup", "g")


async def test_no_groups_leave_those_of_the_token(house: House) -> None:
    says(house, connect=answer(200, {"groups": []}))

    client = await house.client(JSON, groups=["t"])

    assert list(client.connection.groups) == ["t"]


async def test_empty_user_id_makes_the_client_anonymous(house: House) -> None:
    says(house, connect=answer(200, {"userId": ""}))

    client = await house.client(JSON, user_id="u")

    assert client.connection.user_id is None
    assert [event.attributes.get("userid") for event in events(house)] == ["u", None]


async def test_client_that_nobody_names_may_come_in(house: House) -> None:
    client = await house.client(JSON)

    assert client.connection.user_id is None


@pytest.mark.parametrize(
    ("offers", "named", "chosen"),
    [
        ((RELIABLE, JSON), None, RELIABLE),
        ((RELIABLE, JSON), "", RELIABLE),
        ((RELIABLE, JSON), JSON, JSON),
        (("mine", JSON), None, JSON),
        (("mine", JSON), "mine", "mine"),
        (("mine", "yours"), "yours", "yours"),
        (("mine",), None, None),
        ((), None, None),
    ],
)
async def test_subprotocol_is_the_handlers_choice_among_those_that_are_offered(
    house: House, offers: tuple[str, ...], named: str | None, chosen: str | None
) -> None:
    says(house, connect=answer(200, {"subprotocol": named}))

    opening = await house.ask(request(house, *offers))
    assert opening.subprotocol == chosen
    await house.begin(opening, RecordingSink())
    await settle()

    connect, connected, *_ = events(house)
    assert (connect.data["subprotocols"], "subprotocol" in connect.attributes) == (list(offers), False)
    assert connected.attributes.get("subprotocol") == chosen


async def test_client_with_a_subprotocol_of_the_applications_own_is_a_simple_one(house: House) -> None:
    says(house, answer(200, b"hi", Content_Type="text/plain"), connect=answer(200, {"subprotocol": "mine"}))
    client = await house.client("mine")

    house_says = house.gateway.receive(client.connection, "hello")
    assert house_says is not None
    await house_says
    await settle()

    assert data(house, "user.message") == ["hello"]
    assert [frame.payload for frame in client.sink.frames] == [b"hi"]


async def test_anonymous_client_is_asked_about_where_it_is_allowed() -> None:
    house = house_of(anonymous_connect_policy="allow")
    says(house, connect=answer(200, {"userId": "v"}))

    opening = await house.ask(request(house, access_token=None))

    assert opening.connection is not None
    assert opening.connection.user_id == "v"
    assert data(house, "sys.connect")[0]["claims"] == {}


async def test_nobody_is_asked_about_a_client_that_cannot_come_in_anyway(house: House) -> None:
    for query in ({"access_token": None}, {"access_token": "bad"}, {"webpubsub_mode": "nonsense"}):
        with pytest.raises(HandshakeRefused):
            house.gateway.decide(request(house, **query))

    assert house.upstream.webhook.requests == []
    assert slots(house) == (0, 0)


async def test_nobody_is_asked_where_no_handler_is_told_of_connect() -> None:
    house = house_of(handler(systemEvents=["connected", "disconnected"]))

    assert isinstance(house.gateway.decide(request(house)), Opening)


# What is said of a client


async def test_body_of_connect(house: House) -> None:
    await house.ask(
        request(
            house,
            JSON,
            "mine",
            id=["7", "8"],
            empty="",
            headers=[("X-Custom", "one"), ("x-custom", "two"), ("Authorization", "Basic c2VjcmV0"), ("Cookie", "a=b")],
        )
    )

    (body,) = data(house, "sys.connect")
    claims = body["claims"]
    assert claims["sub"] == ["u"]
    assert claims["role"] == list(ALL_ROLES)
    assert claims["webpubsub.group"] == ["t"]
    assert claims["aud"] == [f"http://localhost:8080{URL}"]
    assert claims["exp"] == [str(int(house.clock) + 300)]
    assert body["query"] == {"id": ["7", "8"], "empty": [""]}
    assert body["headers"] == {
        "Host": ["localhost:8080"],
        "Upgrade": ["websocket"],
        "Connection": ["Upgrade"],
        "Sec-WebSocket-Version": ["13"],
        "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ=="],
        "Sec-WebSocket-Protocol": [f"{JSON}, mine"],
        "X-Custom": ["one", "two"],
        "Cookie": ["a=b"],
    }
    assert body["subprotocols"] == [JSON, "mine"]


async def test_token_is_nowhere_in_what_handlers_are_told(house: House) -> None:
    token = house.token("u")
    await house.ask(request(house, access_token=token))
    await house.ask(request(house, access_token=None, headers=[("authorization", f"Bearer {token}")]))

    signature = token.rpartition(".")[2]
    assert len(house.upstream.webhook.events) == 2
    assert all(signature not in repr(event) for event in events(house))


async def test_headers_that_are_hidden_are_not_told() -> None:
    house = house_of(shown=Shown(hidden_headers=frozenset(("authorization", "x-client-cert"))))

    await house.ask(request(house, headers=[("X-Client-Cert", "secret"), ("X-Other", "1")]))

    (body,) = data(house, "sys.connect")
    assert "X-Client-Cert" not in body["headers"]
    assert body["headers"]["X-Other"] == ["1"]


DER = bytes(range(100))


@pytest.mark.parametrize("no_certificate", [None, ()])
@pytest.mark.parametrize("upper", [False, True])
async def test_certificate_that_the_client_showed(no_certificate: tuple[()] | None, upper: bool) -> None:
    house = house_of(shown=Shown(no_certificate=no_certificate, upper_thumbprints=upper))
    asked = request(house)

    await house.ask(replace(asked, client_certificate=DER))  # nobody asked for it
    house.directory.policies[HUB.resource] = ResourcePolicy(client_certificates=True)
    await house.ask(replace(asked, client_certificate=DER))
    await house.ask(asked)

    certificates = [body["clientCertificates"] for body in data(house, "sys.connect")]
    assert certificates[0] == []
    (shown,) = certificates[1]
    thumbprint = hashlib.sha1(DER).hexdigest()
    assert shown["thumbprint"] == (thumbprint.upper() if upper else thumbprint)
    assert certificates[2] == (None if no_certificate is None else [])


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (None, "localhost:8080", "localhost"),
        (None, "hub.example", "hub.example"),
        (None, "[::1]:8080", "[::1]"),
        (None, "[::1]", "[::1]"),
        ("public.example", "localhost:8080", "public.example"),
    ],
)
async def test_handlers_know_us_by_the_name_without_port_that_the_client_used_unless_we_have_one(
    origin: str | None, host: str, expected: str
) -> None:
    house = house_of(shown=Shown(origin=origin), anonymous_connect_policy="allow")

    opening = await house.ask(replace(request(house, access_token=None), host=host))
    await house.begin(opening, RecordingSink())
    await settle()

    assert [event.headers["webhook-request-origin"] for event in events(house)] == [expected] * 2
    assert dict(house.upstream.webhook.requests[0].headers)["WebHook-Request-Origin"] == expected


# Refusals


def test_names_of_ours_are_bounded_since_strangers_may_make_them_up() -> None:
    events = ConnectionEvents(Upstream().dispatcher, Shown(otherwise="hub"))

    found = [events.origin(f"h{number}:80") for number in range(100)]

    assert found[:64] == [f"h{number}" for number in range(64)]
    assert set(found[64:]) == {"hub"}
    assert events.origin("h0:80") is found[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 451, 499])
async def test_client_is_refused_with_the_status_of_the_handler_and_words_of_ours(house: House, status: int) -> None:
    says(house, connect=answer(status, b"internals of the upstream", Content_Type="text/html"))

    refused = await refusal(house)

    assert (refused.status, refused.body) == (status, b"The event handler refused the connection.")
    assert refused.content_type.startswith("text/plain")
    assert told(house) == ["sys.connect"]
    assert slots(house) == (0, 0)
    assert house.telemetry.refused == {status: 1}


async def test_clients_are_told_what_the_handler_says_where_the_operator_wants_that() -> None:
    house = house_of(shown=Shown(refusal_bodies=True))
    says(house, connect=answer(403, b"\xffno", Content_Type="image/png"))
    refused = await refusal(house)
    assert (refused.status, refused.body, refused.content_type) == (403, b"\xffno", "image/png")

    says(house, connect=answer(403))
    assert (await refusal(house)).body == b"The event handler refused the connection."


_BAD = {
    "500": answer(500),
    "503": answer(503),
    "redirect": answer(302, Location="http://elsewhere/"),
    "unreachable": WebhookFailed("no route", "unreachable"),
    "too late": WebhookFailed("too slow", "timeout"),
    "too large": WebhookFailed("100 MB", "too large"),
    "refused target": WebhookFailed("link-local", "refused target"),
}


@pytest.mark.parametrize("said", _BAD.values(), ids=_BAD)
async def test_handler_that_fails_is_500_and_nothing_follows(
    house: House, said: IncomingResponse | WebhookFailed
) -> None:
    house.upstream.webhook.say(said)

    refused = await refusal(house)

    assert (refused.status, refused.text) == (500, "The event handler failed.")
    assert set(told(house)) == {"sys.connect"}
    assert slots(house) == (0, 0)
    assert house.telemetry.refused == {500: 1}


async def test_handler_that_does_not_want_our_events_is_500(house: House) -> None:
    house.upstream.webhook.validation = lambda _: answer(401)

    refused = await refusal(house)

    assert refused.status == 500
    assert "AbuseProtection" in refused.cause
    assert "AbuseProtection" not in refused.text
    assert (told(house), slots(house)) == ([], (0, 0))


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"{"),
        answer(200, b"[]"),
        answer(200, {"userId": 7}),
        answer(200, {"userId": "a\r\nX: y"}),
        answer(200, {"roles": "r"}),
        answer(200, {"groups": [" "]}),
        answer(200, {"subprotocol": "not offered"}),
        answer(200, ce_connectionState="s" * 10_000),
    ],
)
async def test_acceptance_that_cannot_be_used_is_500_and_followed_by_the_end(
    house: House, said: IncomingResponse
) -> None:
    says(house, connect=said)

    assert (await refusal(house, JSON)).status == 500

    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)


async def test_more_groups_than_a_connection_may_have_are_a_failure_of_the_handler(house: House) -> None:
    house.node.max_groups = 2
    says(house, connect=answer(200, {"groups": ["a", "b", "c"]}))

    refused = await refusal(house)

    assert (refused.status, "max_groups_per_connection" in refused.cause) == (500, True)
    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)


async def test_fault_of_ours_in_the_decision_leaves_no_slot_behind(house: House) -> None:
    def fail(_: OutgoingRequest) -> IncomingResponse:
        raise RuntimeError("a fault of ours")

    house.upstream.webhook.answers = fail
    with pytest.raises(RuntimeError):
        await house.ask(request(house))

    assert slots(house) == (0, 0)


# Slots


async def test_client_that_is_decided_on_counts_towards_the_quotas() -> None:
    house = house_of()
    house.directory.policies[HUB.resource] = ResourcePolicy(quota=1)
    free = hold(house)
    _, first = await asking(house)
    assert slots(house) == (1, 1)

    with pytest.raises(HandshakeRefused) as refused:
        house.gateway.decide(request(house))
    assert refused.value.status == 429

    free.set()
    client = Client(house, (await first).connection, sink := RecordingSink())  # type: ignore[arg-type]
    await house.begin(await first, sink)
    assert slots(house) == (0, 1)
    client.drop(1000)
    assert slots(house) == (0, 0)
    house.gateway.decide(request(house))


async def test_opening_that_is_never_begun_gives_its_slot_back_and_is_ended(house: House) -> None:
    opening = await house.ask(request(house))

    house.gateway.abandon(opening)
    await settle()

    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert data(house, "sys.disconnected") == [{"reason": "The connection was not established."}]
    assert slots(house) == (0, 0)


async def test_client_that_cannot_be_let_in_is_ended_for_its_handler(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = await house.ask(request(house))

    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(house.bus, "subscribe", fail)
    with pytest.raises(RuntimeError):
        house.gateway.begin(opening, RecordingSink())
    await settle()

    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)


async def test_client_that_is_given_up_while_it_is_let_in_is_ended_for_its_handler(house: House) -> None:
    opening = await house.ask(request(house))
    house.bus.hold()
    waiting = house.gateway.begin(opening, RecordingSink())
    assert waiting is not None
    entering = asyncio.ensure_future(waiting)
    await settle()

    entering.cancel()
    await settle()

    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)


# While it is decided


async def test_client_that_left_while_it_was_decided_on_is_ended_once(house: House) -> None:
    """As the edge does it: the decision goes on, and what came of it is abandoned."""
    free = hold(house)
    deciding, task = await asking(house)
    deciding.client_gone = True

    free.set()
    house.gateway.abandon(await task)
    await settle()

    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)
    assert house.upstream.journal.kept == {}


async def test_handler_is_not_asked_again_about_a_client_that_left(house: House) -> None:
    free = hold(house, answer(503))
    deciding, task = await asking(house)
    deciding.client_gone = True

    free.set()
    with pytest.raises(HandshakeRefused):
        await task
    await settle()

    assert told(house) == ["sys.connect"]
    assert slots(house) == (0, 0)


async def test_server_that_ends_meanwhile_lets_nobody_in_and_tells_the_handler(house: House) -> None:
    free = hold(house)
    _, task = await asking(house)
    house.gateway.stop()

    free.set()
    with pytest.raises(HandshakeRefused) as refused:
        await task
    await settle()

    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)
    assert await house.upstream.dispatcher.drain(5) == 0


async def test_resource_that_is_stopped_meanwhile_lets_nobody_in_and_tells_the_handler(house: House) -> None:
    free = hold(house)
    _, task = await asking(house)
    house.directory.policies[HUB.resource] = ResourcePolicy(stopped=True)

    free.set()
    with pytest.raises(HandshakeRefused) as refused:
        await task
    await settle()

    assert refused.value.status == 503
    assert told(house) == ["sys.connect", "sys.disconnected"]
    assert slots(house) == (0, 0)


async def test_decision_that_is_given_up_leaves_no_slot_behind_and_stands_in_the_journal(house: House) -> None:
    """The server ends before the handler has answered; or has, and nobody was told any more."""
    free = hold(house)
    _, task = await asking(house)
    task.cancel()
    free.set()
    await settle()

    assert slots(house) == (0, 0)
    assert len(house.upstream.journal.kept) == 1


async def test_slow_handler_holds_up_nobody_else(house: House) -> None:
    """Neither of another hub, nor of this one."""
    hold(house)
    _, task = await asking(house)

    house.upstream.webhook.answers = lambda _: NOTHING
    client = await house.client(JSON)

    assert client.connection.alive
    task.cancel()
    await settle()
    await house.upstream.dispatcher.drain(0)


# Connected, memberships, disconnected


async def test_order_of_what_is_told_of_a_connection(house: House) -> None:
    says(house, connect=answer(200, {"groups": ["a", "b"]}))
    client = await house.client(JSON)
    await client.say(
        {"type": "joinGroup", "group": "c", "ackId": 1},
        {"type": "joinGroup", "group": "c", "ackId": 2},
        {"type": "leaveGroup", "group": "a", "ackId": 3},
        {"type": "leaveGroup", "group": "x", "ackId": 4},
    )
    client.drop(1000)
    await settle()

    assert [(event.type, event.data.get("group")) for event in events(house)[1:]] == [
        ("sys.connected", None),
        ("gp.joined", "a"),
        ("gp.joined", "b"),
        ("gp.joined", "c"),
        ("gp.left", "a"),
        ("gp.left", "b"),
        ("gp.left", "c"),
        ("sys.disconnected", None),
    ]
    assert [event.attributes["id"] for event in events(house)] == [str(number) for number in range(9)]


async def test_all_groups_of_the_beginning_and_the_end_are_told_however_many_may_wait() -> None:
    house = House()
    house.directory.hubs[HUB] = handling(handler(groupPresenceEvents=PRESENCE))
    many = [f"g{number}" for number in range(house.upstream.limits.waiting + 10)]
    says(house, connect=answer(200, {"groups": many}))
    connection = await house.begin(await house.ask(request(house)), sink := RecordingSink())
    assert connection is not None
    house.gateway.lost(connection, sink, 1000, CloseCategory.NORMAL)
    await settle()

    assert (told(house).count("gp.joined"), told(house).count("gp.left")) == (len(many), len(many))


async def test_memberships_by_rest_are_told(house: House) -> None:
    client = await house.client(JSON)
    target = to_connection(HUB, client.connection.id)
    await house.node.ask(AddToGroups(target, ("a", "b"), None))
    await house.node.ask(AddToGroups(target, ("a",), None))
    await house.node.ask(RemoveFromGroups(target, ("a", "x"), None))
    await house.node.ask(RemoveFromGroups(target, None, None))
    await settle()

    assert [(event.type, event.data["group"]) for event in events(house)[2:]] == [
        ("gp.joined", "a"),
        ("gp.joined", "b"),
        ("gp.left", "a"),
        ("gp.left", "b"),
    ]


async def test_memberships_of_a_client_about_which_nobody_was_asked_are_told() -> None:
    house = house_of({"urlTemplate": "http://h/", "groupPresenceEvents": PRESENCE})
    client = await house.client(JSON, user_id="u", groups=["t"])
    client.drop(1000)
    await settle()

    assert [(event.type, event.data["group"], event.attributes["id"]) for event in events(house)] == [
        ("gp.joined", "t", "1"),
        ("gp.left", "t", "2"),
    ]
    assert events(house)[0].attributes["userid"] == "u"


async def test_nothing_is_told_and_nothing_kept_where_there_is_no_handler() -> None:
    house = House()
    client = await house.client(JSON, groups=["t"])
    client.drop(1000)
    await settle()

    assert house.upstream.webhook.requests == []
    assert client.connection.source is None


async def test_handlers_that_come_later_are_told_of_connections_that_were_there() -> None:
    house = House()
    client = await house.client(JSON, user_id="u")
    house.directory.hubs[HUB] = handling(handler(groupPresenceEvents=PRESENCE))

    await client.say({"type": "joinGroup", "group": "g"})
    client.drop(1000)
    await settle()

    assert told(house) == ["gp.joined", "gp.left", "sys.disconnected"]


async def test_end_is_told_of_a_client_that_was_accepted_by_a_handler_that_is_gone_to_whoever_is_there(
    house: House,
) -> None:
    client = await house.client(JSON)
    house.directory.hubs[HUB] = handling(handler("http://new/{event}"))

    client.drop(1000)
    await settle()

    assert house.upstream.webhook.events[-1].url == "http://new/disconnected"


async def test_recovery_tells_nothing_and_the_end_is_that_of_the_connection(house: House) -> None:
    client = await house.client(RELIABLE)
    client.drop()
    await settle()
    sink = RecordingSink()
    opening = house.decide(RELIABLE, **client.recovery)
    await house.begin(opening, sink)
    await settle()
    assert told(house) == ["sys.connect", "sys.connected"]

    house.gateway.lost(client.connection, sink, 1006, CloseCategory.NORMAL)
    await house.loop.advance(31)
    assert told(house) == ["sys.connect", "sys.connected"]
    await house.loop.advance(10)
    assert told(house) == ["sys.connect", "sys.connected", "sys.disconnected"]


async def test_recovery_that_is_refused_asks_nobody(house: House) -> None:
    opening = house.decide(RELIABLE, awps_connection_id="x", awps_reconnection_token="y")

    assert opening.connection is None
    assert house.upstream.webhook.requests == []


def _close(reason: str) -> Callable[[House, Client], Any]:
    return lambda house, client: house.node.ask(Close(to_connection(HUB, client.connection.id), (), reason))


async def _violate(house: House, client: Client) -> None:
    house.gateway.receive(client.connection, "no JSON")


async def _end(house: House, client: Client) -> None:
    await house.gateway.end()


async def _drop(house: House, client: Client) -> None:
    client.drop()


async def _goodbye(house: House, client: Client) -> None:
    client.drop(1000)


_REASONS: dict[str, tuple[Callable[[House, Client], Any], str | None]] = {
    "client says goodbye": (_goodbye, None),
    "socket breaks": (_drop, None),
    "closed by REST": (_close("too many cats"), "too many cats"),
    "closed by REST without a reason": (_close(""), ""),
    "client breaks the protocol": (_violate, "The message is not a valid request of this subprotocol."),
    "server ends": (_end, "The server is shutting down."),
}


@pytest.mark.parametrize(("end", "reason"), _REASONS.values(), ids=_REASONS)
async def test_reason_of_the_end(house: House, end: Callable[[House, Client], Any], reason: str | None) -> None:
    client = await house.client(JSON)

    await end(house, client)
    await settle()

    assert data(house, "sys.disconnected") == [{"reason": reason}]
    assert slots(house) == (0, 0)
    assert house.upstream.journal.kept == {}


async def test_server_that_ends_tells_the_ends_of_all_and_waits_for_that(house: House) -> None:
    for offer in (JSON, RELIABLE):
        await house.client(offer)
    away = await house.client(RELIABLE)
    away.drop()
    house.gateway.stop()

    await house.gateway.end()

    assert await house.upstream.dispatcher.drain(5) == 0
    assert told(house).count("sys.disconnected") == 3
    assert house.upstream.journal.kept == {}


# User events


async def simple(house: House) -> Client:
    client = await house.client()
    client.sink.forget()
    return client


async def say(house: House, client: Client, payload: str | bytes) -> None:
    waiting = house.gateway.receive(client.connection, payload)
    await done(waiting)
    await settle()


@pytest.mark.parametrize(
    ("payload", "content_type", "read"),
    [
        ("hé", "text/plain; charset=utf-8", "hé"),
        ("", "text/plain; charset=utf-8", None),
        (b"\xff", "application/octet-stream", b"\xff"),
    ],
)
async def test_each_frame_of_a_simple_client_is_an_event_named_message(
    house: House, payload: str | bytes, content_type: str, read: object
) -> None:
    client = await simple(house)

    await say(house, client, payload)

    event = events(house)[-1]
    assert (event.type, event.headers["content-type"], event.data) == ("user.message", content_type, read)
    assert client.sink.frames == []
    assert client.connection.alive


@pytest.mark.parametrize(
    ("said", "frame"),
    [
        (NOTHING, []),
        (answer(200), []),
        (answer(200, b"hi", Content_Type="text/plain"), [(1, b"hi")]),
        (answer(200, b'{ "a": 1}', Content_Type="application/json"), [(1, b'{ "a": 1}')]),
        (answer(200, b"\xff", Content_Type="application/octet-stream"), [(2, b"\xff")]),
        (answer(200, b"hi"), [(2, b"hi")]),
    ],
)
async def test_answer_is_a_frame_for_a_simple_client(
    house: House, said: IncomingResponse, frame: list[tuple[int, bytes]]
) -> None:
    says(house, said)
    client = await simple(house)

    await say(house, client, "x")

    assert client.sink.frames == frame


@pytest.mark.parametrize(
    ("kind", "value", "content_type", "body"),
    [
        ("text", "hé", "text/plain; charset=utf-8", "hé".encode()),
        ("json", {"a": [1, "ü"]}, "application/json", None),
        ("binary", "/w==", "application/octet-stream", b"\xff"),
        ("protobuf", "CAE=", "application/x-protobuf", b"\x08\x01"),
    ],
)
async def test_event_of_a_pubsub_client_has_the_type_of_its_data(
    house: House,
    kind: str,
    value: Any,
    content_type: str,
    body: bytes | None,
) -> None:
    client = await house.json(user_id="u")

    acks = await client.say({"type": "event", "event": "Room.a", "dataType": kind, "data": value, "ackId": 1})

    assert acks == [{"type": "ack", "ackId": 1, "success": True}]
    event = events(house)[-1]
    assert (event.type, event.headers["content-type"]) == ("user.Room.a", content_type)
    assert event.attributes["userid"] == "u"
    assert event.attributes["subprotocol"] == JSON
    assert body is None or house.upstream.webhook.events[-1].body == body
    assert body is not None or event.data == value


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (answer(200, b"hi", Content_Type="text/plain"), {"dataType": "text", "data": "hi"}),
        (answer(200, {"a": 1}), {"dataType": "json", "data": {"a": 1}}),
        (answer(200, b"\xff"), {"dataType": "binary", "data": "/w=="}),
        (answer(200, b"\x08\x01", Content_Type="application/x-protobuf"), {"dataType": "protobuf", "data": "CAE="}),
        (answer(200, X_WebPubSub_Metadata_a="1"), {"dataType": "text", "data": "", "metadata": {"a": "1"}}),
    ],
)
@pytest.mark.parametrize("offer", [JSON, RELIABLE])
async def test_answer_is_a_message_from_the_server_that_comes_before_the_ack(
    house: House, said: IncomingResponse, message: dict[str, Any], offer: str
) -> None:
    says(house, said)
    client = await house.client(offer)
    client.sink.forget()

    found, ack = await client.say({"type": "event", "event": "e", "dataType": "text", "data": "x", "ackId": 7})

    found.pop("sequenceId", None)
    assert found == {"type": "message", "from": "server", **message}
    assert ack == {"type": "ack", "ackId": 7, "success": True}


async def test_answer_comes_behind_what_was_sent_before_it(house: House) -> None:
    says(house, answer(200, b"answer", Content_Type="text/plain"))
    client = await house.json(groups=["g"])
    house.send("g", "before")

    await client.say({"type": "event", "event": "e", "dataType": "text", "data": "x"})

    assert client.sink.data == ["before", "answer"]


async def test_metadata_of_an_event_is_told(house: House) -> None:
    client = await house.json()

    await client.say({"type": "event", "event": "e", "data": 1, "metadata": {"Trace": "t"}, "ackId": 1})

    assert events(house)[-1].headers["x-webpubsub-metadata-trace"] == "t"


async def test_metadata_that_would_be_a_header_of_its_own_fails_the_event(house: House) -> None:
    client = await house.json()

    acks = await client.say({"type": "event", "event": "e", "data": 1, "metadata": {"a": "b\r\nX: y"}, "ackId": 1})

    assert [ack["success"] for ack in acks] == [False]
    assert "user.e" not in told(house)


_FAILING: dict[str, tuple[Sequence[IncomingResponse | WebhookFailed], str]] = {
    "400": ([answer(400, b"internals")], "SendEventFailed"),
    "500": ([answer(500, b"internals")] * 4, "SendEventFailed"),
    "302": ([answer(302)], "SendEventFailed"),
    "unknown type": ([answer(200, b"x", Content_Type="text/html")], "SendEventFailed"),
    "unreachable": ([WebhookFailed("internals", "unreachable")] * 4, "SendEventFailed"),
    "too late": ([WebhookFailed("internals", "timeout")], "SendEventFailed"),
}


@pytest.mark.parametrize(("said", "category"), _FAILING.values(), ids=_FAILING)
async def test_event_that_fails_ends_a_simple_client(
    house: House, said: Sequence[IncomingResponse | WebhookFailed], category: str
) -> None:
    says(house, *said)
    client = await simple(house)

    await say(house, client, "x")

    assert client.sink.closed == (1011, "The event handler failed.")
    assert [ended[1:3] for ended in house.ended] == [(CloseCategory(category), 1011)]
    assert told(house)[-1] == "sys.disconnected"


@pytest.mark.parametrize("said", [said for said, _ in _FAILING.values()], ids=_FAILING)
@pytest.mark.parametrize("offer", [JSON, RELIABLE])
async def test_event_that_fails_is_told_to_a_pubsub_client_that_stays(
    house: House, said: Sequence[IncomingResponse | WebhookFailed], offer: str
) -> None:
    """Without a word of the upstream; and the ack id may be used again."""
    says(house, *said)
    client = await house.client(offer)
    client.sink.forget()
    event = {"type": "event", "event": "e", "dataType": "text", "data": "x", "ackId": 1}

    failed, again = await client.say(event, event)

    assert failed == {
        "type": "ack",
        "ackId": 1,
        "success": False,
        "error": {"name": "InternalServerError", "message": "Internal server error"},
    }
    assert again == {"type": "ack", "ackId": 1, "success": True}
    assert client.connection.alive


async def test_event_that_fails_without_an_ack_id_is_not_answered(house: House) -> None:
    says(house, answer(400))
    client = await house.json()

    assert await client.say({"type": "event", "event": "e", "data": 1}) == []
    assert client.connection.alive
    assert house.telemetry.ack_errors == {"InternalServerError": 1}


async def test_event_that_nobody_is_told_of_ends_a_simple_client() -> None:
    house = house_of({"urlTemplate": "http://h/", "userEventPattern": "other"})
    client = await simple(house)

    await say(house, client, "x")

    assert client.sink.closed == (1011, "No event handler is configured for this event.")
    assert [ended[1:3] for ended in house.ended] == [(CloseCategory.EVENT_HANDLER_NOT_FOUND, 1011)]


async def test_event_whose_handler_was_taken_away_meanwhile_ends_a_simple_client(house: House) -> None:
    client = await simple(house)
    waiting = house.gateway.receive(client.connection, "x")
    assert waiting is not None
    house.directory.hubs[HUB] = HubSettings()

    await waiting

    assert [ended[1:3] for ended in house.ended] == [(CloseCategory.EVENT_HANDLER_NOT_FOUND, 1011)]


async def test_event_that_nobody_is_told_of_is_told_to_a_pubsub_client() -> None:
    house = house_of({"urlTemplate": "http://h/", "userEventPattern": "other"})
    client = await house.json()

    (ack,) = await client.say({"type": "event", "event": "e", "data": 1, "ackId": 1})

    assert ack["error"]["name"] == "InternalServerError"
    assert client.connection.alive


async def test_event_that_was_taken_is_not_told_again(house: House) -> None:
    client = await house.json()
    event = {"type": "event", "event": "e", "data": 1, "ackId": 1}

    _, again = await client.say(event, event)

    assert again["error"]["name"] == "Duplicate"
    assert told(house).count("user.e") == 1


async def test_nothing_is_said_to_a_client_that_ended_meanwhile(house: House) -> None:
    says(house, answer(200, b"hi", Content_Type="text/plain"))
    client = await house.json()
    waiting = house.gateway.receive(client.connection, '{"type":"event","event":"e","data":1,"ackId":1}')
    assert waiting is not None
    client.drop(1000)

    await waiting
    await settle()

    assert client.sink.writes == []


async def test_simple_client_that_ended_meanwhile_is_not_ended_again(house: House) -> None:
    says(house, answer(400))
    client = await simple(house)
    waiting = house.gateway.receive(client.connection, "x")
    assert waiting is not None
    client.drop(1000)

    await waiting
    await settle()

    assert len(house.ended) == 1
    assert told(house).count("sys.disconnected") == 1


async def test_answer_waits_for_a_reliable_client_that_dropped_meanwhile(house: House) -> None:
    says(house, answer(200, b"hi", Content_Type="text/plain"))
    client = await house.client(RELIABLE)
    waiting = house.gateway.receive(client.connection, '{"type":"event","event":"e","data":1,"ackId":1}')
    assert waiting is not None
    client.drop()

    await waiting
    await settle()
    sink = RecordingSink()
    await house.begin(house.decide(RELIABLE, **client.recovery), sink)

    assert sink.data == ["hi"]


def heard(house: House, client: Client, *messages: dict[str, Any]) -> "asyncio.Task[None]":
    """What a socket of a client brings is handled, one after the other, meanwhile."""

    async def handled() -> None:
        for message in messages:
            await done(house.gateway.receive(client.connection, json.dumps(message)))

    return asyncio.ensure_future(handled())


async def test_client_that_comes_back_while_its_event_is_asked_about_waits_for_that(house: House) -> None:
    """What it repeats, not knowing what became of it, is not told a second time; and one event is told at once."""
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return NOTHING

    house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/e") else NOTHING
    client = await house.client(RELIABLE)
    event = {"type": "event", "event": "e", "data": 1, "ackId": 1}
    first = heard(house, client, event)
    await settle()
    sink = RecordingSink()
    await house.begin(house.decide(RELIABLE, **client.recovery), sink)
    sink.forget()
    repeated = heard(house, client, event, event | {"ackId": 2}, {"type": "joinGroup", "group": "g"})
    await settle()
    assert told(house).count("user.e") == 1

    free.set()
    await asyncio.gather(first, repeated)
    await settle()

    acks = [(row["ackId"], row["success"]) for row in sink.received]
    assert acks == [(1, True), (1, False), (2, True)]
    assert told(house).count("user.e") == 2
    assert list(client.connection.groups) == ["g"]


async def test_what_waits_for_an_event_is_not_done_for_a_client_that_ended_meanwhile(house: House) -> None:
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return NOTHING

    house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/e") else NOTHING
    client = await house.client(RELIABLE)
    event = {"type": "event", "event": "e", "data": 1, "ackId": 1}
    first = heard(house, client, event)
    second = heard(house, client, event | {"ackId": 2})
    await settle()
    client.drop(1000)

    free.set()
    await asyncio.gather(first, second)

    assert told(house).count("user.e") == 1


async def test_event_that_fails_is_not_sent_again_for_a_client_that_is_gone(house: House) -> None:
    says(house, answer(503), answer(503))
    client = await house.json()
    waiting = house.gateway.receive(client.connection, '{"type":"event","event":"e","data":1,"ackId":1}')
    assert waiting is not None
    house.gateway.hung_up(client.connection, client.sink)

    await waiting

    assert told(house).count("user.e") == 1
    assert house.upstream.pauses == []


async def test_events_behind_one_that_failed_are_not_told_for_a_client_that_is_gone(house: House) -> None:
    """Each of them would hold up the end of the connection by as long as a call may take."""
    says(house, answer(400))
    client = await house.json()
    house.gateway.hung_up(client.connection, client.sink)

    await client.say(*({"type": "event", "event": "e", "data": 1, "ackId": number} for number in (1, 2, 3)))

    assert told(house).count("user.e") == 1


async def test_event_that_fails_is_sent_again_for_a_client_that_may_come_back(house: House) -> None:
    says(house, answer(503))
    client = await house.client(RELIABLE)
    waiting = house.gateway.receive(client.connection, '{"type":"event","event":"e","data":1,"ackId":1}')
    assert waiting is not None
    house.gateway.hung_up(client.connection, client.sink)

    await waiting

    assert told(house).count("user.e") == 2


async def test_state_lives_as_long_as_the_connection(house: House) -> None:
    """Over events and recoveries, to the end."""
    says(house, answer(204, ce_connectionState="2"), NOTHING, connect=answer(204, ce_connectionState="1"))
    client = await house.client(RELIABLE)
    await client.say({"type": "event", "event": "e", "data": 1})
    client.drop()
    sink = RecordingSink()
    await house.begin(house.decide(RELIABLE, **client.recovery), sink)
    client.sink = sink
    await client.say({"type": "event", "event": "e", "data": 2})
    client.drop(1000)
    await settle()

    assert [
        (event.type, event.attributes["id"], event.headers.get("ce-connectionstate")) for event in events(house)
    ] == [
        ("sys.connect", "0", None),
        ("sys.connected", "1", "1"),
        ("user.e", "2", "1"),
        ("user.e", "3", "2"),
        ("sys.disconnected", "4", "2"),
    ]


async def test_publishing_mode_of_a_simple_client_tells_no_handler(house: House) -> None:
    client = await house.client(webpubsub_mode="sendToGroup", group="g")

    await say(house, client, "x")

    assert told(house) == ["sys.connect", "sys.connected"]


# What clients choose themselves


@pytest.fixture
def quiet_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["a\r\nce-hub: other", "\n", "\r", "\0", "x\r\n\r\nPOST / HTTP/1.1"]),
)


@pytest.mark.usefixtures("quiet_log")
@settings(deadline=None)
@given(
    user_id=_TEXT,
    claims=st.dictionaries(
        _TEXT.filter(lambda name: name not in ("sub", "aud", "exp", "nbf", "role")), _TEXT, max_size=2
    ),
    group=_TEXT,
    query=st.dictionaries(
        _TEXT.filter(lambda name: name.lower() not in ("hub", "access_token", "group")), _TEXT, max_size=2
    ),
    state=_TEXT,
    metadata=st.text(st.characters(max_codepoint=127), max_size=10),
)
def test_nothing_that_a_client_chooses_is_a_header_of_its_own(
    user_id: str, claims: dict[str, str], group: str, query: dict[str, str], state: str, metadata: str
) -> None:
    async def run() -> None:
        house = house_of()
        says(house, answer(204, ce_connectionState=state.encode().decode("latin-1")), NOTHING)
        token = _token(house.principals, {**claims, "sub": user_id, "webpubsub.group": group})
        asked: Any = {n: v for n, v in query.items() if not n.lower().startswith(("webpubsub", "awps"))}
        try:
            opening = await house.ask(request(house, JSON, access_token=token, **asked))
        except HandshakeRefused as refused:
            assert refused.status in (400, 401)  # noqa: PT017
            return
        sink = RecordingSink()
        connection = await house.begin(opening, sink)
        assert connection is not None
        client = Client(house, connection, sink)
        event = {"type": "event", "event": "e", "data": 1, "metadata": {"a": metadata}, "ackId": 1}
        await client.say(event)
        await client.say(event)
        client.drop(1000)
        await settle()
        for sent in house.upstream.webhook.requests:
            assert sent.url.startswith("http://app.example/chat/")
            for header in sent.headers:
                assert not set("".join(header)) & set("\r\n\0")
        assert told(house)[-1] == "sys.disconnected"

    asyncio.run(run())


def _token(principals: Principals, claims: dict[str, Any]) -> str:
    """As an application would make it that trusts its users."""
    all = {"aud": f"http://localhost:8080{URL}", "exp": int(principals._clock()) + 60, **claims}
    return jwt.sign(all, KEYS.primary.encode())

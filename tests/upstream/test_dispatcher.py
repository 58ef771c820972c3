"""Whom events are told, in what order, and what the answers lead to."""

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_events import parsed, parsed_all
from doubles import HUB, settle
from handlers import IDENTITY, NOTHING, answer, handler
from hubwire.model.errors import EventUndelivered, NotFound
from hubwire.model.hubs import AccessKeys
from hubwire.model.messages import Data, DataKind, FromServer
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream import backlog, records
from hubwire.upstream import dispatcher as module
from hubwire.upstream.calls import EventFailed, Limits
from hubwire.upstream.cloudevents import ConnectVerdict
from hubwire.upstream.dispatcher import ConnectRefused, NoHandler
from hubwire.upstream.sources import EventSource
from upstream.house import House, Restarted

PRESENCE = {"eventNames": ["joined", "left"]}


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told to the operator yet."""
    monkeypatch.setattr(records, "_quiet", records._Quiet())


# connect


async def test_connect_is_number_0_and_tells_all_there_is_to_know() -> None:
    house = House()
    source = house.source()

    assert await house.connect(source) == ConnectVerdict()

    (event,) = parsed_all(house.webhook.events)
    assert (event.type, event.attributes["id"], event.attributes["userid"]) == ("sys.connect", "0", "u")
    assert house.webhook.events[0].url == "http://app.example/chat/connect"
    assert event.data == {
        "claims": {"sub": ["u"]},
        "query": {"q": ["1"]},
        "headers": {"Host": ["h"]},
        "subprotocols": ["a", "b"],
        "clientCertificates": [],
    }
    assert house.counts() == {("connect", "succeeded"): 1}


async def test_what_the_answer_says_holds_for_all_later_events() -> None:
    house = House()
    source = house.source()
    house.webhook.say(
        answer(200, {"userId": "v", "subprotocol": "b"}, ce_connectionState="s", Set_Cookie="k=1; Path=/"), NOTHING
    )

    verdict = await house.connect(source)
    house.dispatcher.connected(source)
    await settle()

    assert verdict == ConnectVerdict(user_id="v", subprotocol="b")
    headers = house.headers()
    assert {
        name: headers[name] for name in ("ce-userId", "ce-connectionState", "Cookie", "ce-subprotocol", "ce-id")
    } == {
        "ce-userId": "v",
        "ce-connectionState": "s",
        "Cookie": "k=1",
        "ce-subprotocol": "b",
        "ce-id": "1",
    }


async def test_client_may_be_made_anonymous() -> None:
    house = House()
    source = house.source()
    house.webhook.say(answer(200, {"userId": ""}), NOTHING)

    await house.connect(source)
    house.dispatcher.connected(source)
    await settle()

    assert "ce-userId" not in house.headers()


async def test_end_of_an_accepted_client_is_in_the_journal_before_it_is_let_in() -> None:
    house = House()
    source = house.source()
    house.webhook.say(answer(200, {"userId": "v"}, ce_connectionState="s"))

    await house.connect(source)

    assert house.journalled == [
        {
            "resource": "default",
            "hub": "chat",
            "connection_id": "c1",
            "origin": "hub.example",
            "user_id": "v",
            "subprotocol": "a",
            "state": "s",
        }
    ]


async def test_client_is_let_in_although_the_journal_fails(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.journal.fail("database or disk is full")

    assert await house.connect(house.source()) == ConnectVerdict()

    assert "database or disk is full" in caplog.text


async def test_nothing_is_in_the_journal_where_nobody_is_told_of_ends() -> None:
    house = House(handler(systemEvents=["connect", "connected"]))
    source = house.source()

    await house.connect(source)
    house.dispatcher.connected(source)
    await settle()
    house.dispatcher.disconnected(source, "why")
    await settle()

    assert house.journal.kept == {}
    assert house.webhook.told == ["azure.webpubsub.sys.connect", "azure.webpubsub.sys.connected"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 418, 429, 451, 499])
async def test_refusal_is_the_status_of_the_handler_and_nothing_follows(status: int) -> None:
    house = House()
    source = house.source()
    house.webhook.say(answer(status, b"because", Content_Type="text/plain", ce_connectionState="s"))

    with pytest.raises(ConnectRefused) as refused:
        await house.connect(source)
    await settle()

    assert (refused.value.status, refused.value.body, refused.value.content_type) == (status, b"because", "text/plain")
    assert house.counts() == {("connect", "refused"): 1}
    assert set(house.webhook.told) == {"azure.webpubsub.sys.connect"}
    assert (house.journal.kept, source.state) == ({}, None)


async def test_refusal_without_a_type_may_be_any_bytes() -> None:
    house = House()
    house.webhook.say(answer(403, b"\xff"))

    with pytest.raises(ConnectRefused) as refused:
        await house.connect(house.source())

    assert refused.value.content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(500), "answered 500"),
        (answer(503), "answered 503"),
        (answer(302, Location="http://elsewhere/"), "redirects are not followed"),
        (answer(600), "answered 600"),
        (WebhookFailed("app.example refused the connection", "unreachable"), "refused the connection"),
        (WebhookFailed("app.example did not answer", "timeout"), "did not answer"),
    ],
)
async def test_handler_that_fails_has_not_accepted_anybody(
    said: IncomingResponse | WebhookFailed, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    house = House()
    house.webhook.say(said)

    with pytest.raises(EventUndelivered, match=reason):
        await house.connect(house.source())
    await settle()

    assert house.counts() == {("connect", "failed"): 1}
    assert set(house.webhook.told) == {"azure.webpubsub.sys.connect"}
    assert house.journal.kept == {}
    assert reason in caplog.text


async def test_handler_that_never_answers_has_its_time() -> None:
    house = House(limits=Limits(blocking_s=0.02))
    house.hold()

    with pytest.raises(EventFailed, match="blocking_event_s"):
        await house.connect(house.source())

    assert house.counts() == {("connect", "failed"): 1}


async def test_validation_counts_towards_the_time_for_an_event() -> None:
    house = House(limits=Limits(blocking_s=0.02))

    async def never(_: OutgoingRequest) -> IncomingResponse:
        await asyncio.Event().wait()
        raise AssertionError

    house.webhook.validation = never

    with pytest.raises(EventFailed, match="blocking_event_s"):
        await house.connect(house.source())
    await house.validator.close()


async def test_handler_that_does_not_want_our_events_is_not_asked() -> None:
    house = House()
    house.webhook.validation = lambda _: answer(401)

    with pytest.raises(EventUndelivered, match="AbuseProtectionResponseInvalidStatusCode"):
        await house.connect(house.source())

    assert house.webhook.events == []


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"{"),
        answer(200, {"userId": 7}),
        answer(200, {"groups": [""]}),
        answer(200, {"subprotocol": "c"}),
        answer(200, ce_connectionState="s" * 8193),
        answer(204, ce_connectionState="\xff"),
    ],
)
async def test_acceptance_that_cannot_be_used_lets_nobody_in_and_is_followed_by_the_end(said: IncomingResponse) -> None:
    """The handler takes the client for connected."""
    house = House()
    house.webhook.say(said, NOTHING)

    with pytest.raises(EventUndelivered):
        await house.connect(house.source())
    await settle()

    assert house.events() == [("sys.connect", 0), ("sys.disconnected", 1)]
    assert isinstance(house.bodies()[1]["reason"], str)
    assert house.counts() == {("connect", "failed"): 1, ("disconnected", "succeeded"): 1}
    assert house.journal.kept == {}


async def test_nobody_is_asked_without_a_handler() -> None:
    house = House({"urlTemplate": "http://h/"})

    assert not house.dispatcher.handles(HUB, "connect")
    with pytest.raises(NoHandler):
        await house.connect(house.source())


async def test_answer_is_heard_although_whoever_asked_has_given_up() -> None:
    """What was accepted stands in the journal then, so that its end is told at the next start."""
    house = House()
    free = house.hold()
    asking = asyncio.create_task(house.connect(house.source()))
    await settle()
    asking.cancel()
    await settle()

    free.set()
    await settle()

    assert house.counts() == {("connect", "succeeded"): 1}
    assert len(house.journalled) == 1


async def test_handler_is_not_asked_again_about_a_client_that_is_gone() -> None:
    house = House()
    house.webhook.say(answer(503), NOTHING)

    with pytest.raises(EventUndelivered):
        await house.connect(house.source(), wanted=lambda: False)

    assert len(house.webhook.events) == 1


async def test_each_client_has_a_signature_of_both_keys_and_later_events_have_those_of_now() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    before = house.headers()["ce-signature"].split(",")

    rotated = AccessKeys("primary key for tests, 32 bytes or more", "a new secondary key for tests, 32 bytes")
    house.dispatcher._keys.access_keys = lambda resource: rotated  # type: ignore[method-assign]
    house.dispatcher.connected(source)
    await settle()

    after = house.headers()["ce-signature"].split(",")
    assert after[0] == before[0]
    assert after[1] != before[1]


# User events


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("text", "text/plain; charset=utf-8"),
        ("json", "application/json"),
        ("binary", "application/octet-stream"),
        ("protobuf", "application/x-protobuf"),
    ],
)
async def test_user_event_has_the_type_of_its_data(kind: DataKind, content_type: str) -> None:
    house = House()

    assert await house.event(house.source(), "a.b", Data(kind, b"[1]")) is None

    (event,) = parsed_all(house.webhook.events)
    assert (event.type, event.headers["content-type"]) == ("user.a.b", content_type)
    assert house.webhook.events[0].body == b"[1]"
    assert house.webhook.events[0].url == "http://app.example/chat/a.b"
    assert house.counts() == {("user", "succeeded"): 1}


async def test_answer_to_a_user_event_is_a_message() -> None:
    house = House()
    house.webhook.say(answer(200, [1], X_WebPubSub_Metadata_a="1"))

    assert await house.event(house.source()) == FromServer(Data("json", b"[1]"), {"a": "1"})


async def test_metadata_of_a_user_event_is_told() -> None:
    house = House()

    await house.event(house.source(), metadata={"Trace": "t"})

    assert house.headers()["X-WebPubSub-Metadata-trace"] == "t"


@settings(deadline=None)
@given(value=st.text(st.characters(max_codepoint=127), max_size=20))
def test_no_metadata_begins_a_header_of_its_own(value: str) -> None:
    async def run() -> None:
        house = House()
        try:
            await house.event(house.source(), metadata={"a": value})
        except EventUndelivered:
            assert house.webhook.events == []
            assert house.counts() == {("user", "failed"): 1}
        assert not any(
            character in text
            for request in house.webhook.events
            for header in request.headers
            for text in header
            for character in "\r\n\0"
        )

    asyncio.run(run())


async def test_event_that_nobody_is_told_of_fails_and_has_no_number() -> None:
    house = House(handler(userEventPattern="other"))
    source = house.source()

    assert not house.dispatcher.handles_user_event(HUB, "message")
    with pytest.raises(NoHandler):
        await house.event(source)
    await house.event(source, "other")

    assert house.events() == [("user.other", 1)]


@pytest.mark.parametrize(
    "said",
    [
        answer(400, b"secret of the upstream"),
        answer(500, b"secret of the upstream"),
        answer(301),
        answer(200, b"x", Content_Type="text/html"),
        answer(200, b"{", Content_Type="application/json"),
        answer(200, ce_connectionState="s" * 8193),
        WebhookFailed("gone", "unreachable"),
    ],
)
async def test_user_event_that_is_not_taken_fails_and_changes_nothing(said: IncomingResponse | WebhookFailed) -> None:
    house = House()
    source = house.source()
    source.state = "before"
    house.webhook.say(said)

    with pytest.raises(EventFailed) as failed:
        await house.event(source)

    assert "secret" not in failed.value.message
    assert source.state == "before"
    assert house.counts() == {("user", "failed"): 1}


async def test_user_event_that_takes_too_long_fails() -> None:
    house = House(limits=Limits(blocking_s=0.02))
    house.hold()

    with pytest.raises(EventFailed, match="blocking_event_s"):
        await house.event(house.source())


@pytest.mark.parametrize(
    ("limits", "setting"),
    [(Limits(invocation_s=0.02), "invocation_timeout_s"), (Limits(blocking_s=0.02), None)],
)
async def test_event_of_an_invocation_has_a_time_of_its_own(limits: Limits, setting: str | None) -> None:
    house = House(limits=limits)
    free = house.hold()
    if setting is None:
        event = asyncio.ensure_future(house.event(house.source()))
        invoked = asyncio.ensure_future(house.event(house.source(), invoked=True))
        with pytest.raises(EventFailed, match="blocking_event_s"):
            await event  # was begun first, and is over
        free.set()
        assert await invoked is None
    else:
        with pytest.raises(EventFailed, match=setting):
            await house.event(house.source(), invoked=True)


async def test_event_for_which_nobody_waits_any_more_is_abandoned() -> None:
    """Neither a success nor a failure; the handler has room for another."""
    house = House(limits=Limits(in_flight=1))
    free = house.hold()
    task = asyncio.ensure_future(house.event(house.source(), invoked=True))
    await settle()

    task.cancel()
    await settle()

    assert task.cancelled()
    assert house.counts() == {("user", "abandoned"): 1}
    free.set()
    await house.event(house.source())
    assert house.counts() == {("user", "abandoned"): 1, ("user", "succeeded"): 1}


async def test_event_too_many_for_a_handler_fails_and_those_of_others_do_not() -> None:
    house = House(
        handler("http://slow/", userEventPattern="slow"),
        handler("http://fast/", userEventPattern="fast"),
        limits=Limits(in_flight=1, waiting=1),
    )
    free = asyncio.Event()

    async def slow(_: OutgoingRequest) -> IncomingResponse:
        await free.wait()
        return NOTHING

    house.webhook.answers = lambda request: slow(request) if request.url == "http://slow/" else NOTHING
    waiting = [asyncio.create_task(house.event(house.source(), "slow")) for _ in range(2)]
    await settle()

    with pytest.raises(EventUndelivered, match="handler_waiting"):
        await house.event(house.source(), "slow")
    await house.event(house.source(), "fast")

    free.set()
    await asyncio.gather(*waiting)
    assert house.counts("http://slow/") == {("user", "failed"): 1, ("user", "succeeded"): 2}
    assert house.counts("http://fast/") == {("user", "succeeded"): 1}


async def test_retries_of_an_event_are_the_same_event() -> None:
    house = House()
    house.webhook.say(answer(503), answer(503), NOTHING)

    await house.event(house.source())

    assert house.webhook.events == [house.webhook.events[0]] * 3


async def test_events_differ_in_their_number_and_request() -> None:
    house = House()
    source = house.source()
    await house.event(source)
    house.now += 61
    await house.event(source)

    first, second = parsed_all(house.webhook.events)
    for name in ("ce-id", "x-ms-client-request-id", "traceparent", "ce-time"):
        assert first.headers[name] != second.headers[name]
    assert first.headers["ce-signature"] == second.headers["ce-signature"]


# The state


async def test_state_is_replaced_by_each_answer_that_has_one() -> None:
    house = House()
    source = house.source()
    house.webhook.say(
        answer(204, ce_connectionState="1"),
        answer(200, b"x"),
        answer(204, ce_connectionState=""),
        NOTHING,
    )
    for _ in range(4):
        await house.event(source)

    states = [dict(request.headers).get("ce-connectionState") for request in house.webhook.events]
    assert states == [None, "1", "1", ""]


async def test_state_of_now_is_what_the_journal_keeps() -> None:
    house = House()
    source = house.source()
    house.webhook.say(NOTHING, answer(204, ce_connectionState="1"))
    await house.connect(source)
    assert "state" not in house.journalled[0]

    await house.event(source)
    await settle()

    assert house.journalled[0]["state"] == "1"


async def test_answer_that_comes_after_the_end_does_not_undo_what_the_journal_knows_of_it() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    house.webhook.say(answer(204, ce_connectionState="late"))
    free = house.hold()
    asking = asyncio.create_task(house.event(source))
    await settle()
    house.dispatcher.disconnected(source, "why")
    house.webhook.answers = lambda _: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await settle()

    free.set()
    await asking
    await settle()

    (entry,) = house.journalled
    assert (entry["event_id"], entry["reason"], entry["state"]) == (2, "why", "late")
    await house.dispatcher.drain(0)


async def test_answers_to_notifications_change_no_state() -> None:
    house = House()
    source = house.source()
    house.webhook.say(answer(200, ce_connectionState="x"))

    house.dispatcher.connected(source)
    await settle()

    assert source.state is None


# Cookies


async def test_cookies_are_a_connections_own_and_only_successes_set_them() -> None:
    house = House()
    one, two = house.source("one"), house.source("two")
    house.webhook.answers = lambda request: answer(
        200 if "ce-id" in dict(request.headers) and dict(request.headers)["ce-connectionId"] == "one" else 400,
        Set_Cookie="k=1; Path=/",
    )
    for source in (one, two):
        house.dispatcher.connected(source)
        await settle()
        house.dispatcher.disconnected(source, None)
        await settle()

    cookies = [dict(request.headers).get("Cookie") for request in house.webhook.events]
    assert cookies == [None, "k=1", None, None]


# Notifications


async def test_notifications_of_a_connection_are_told_in_order_and_numbered_with_all_its_events() -> None:
    house = House(handler(groupPresenceEvents=PRESENCE))
    source = house.source()
    await house.connect(source)
    house.dispatcher.connected(source)
    house.dispatcher.presence(source, "joined", "g")
    await house.event(source)
    house.dispatcher.presence(source, "left", "g")
    house.dispatcher.disconnected(source, "why")
    await settle()

    told = house.events()
    assert sorted(number for _, number in told) == list(range(6))
    assert [event for event in told if not event[0].startswith("user")] == [
        ("sys.connect", 0),
        ("sys.connected", 1),
        ("gp.joined", 2),
        ("gp.left", 4),
        ("sys.disconnected", 5),
    ]
    data = {event.type: event.data for event in parsed_all(house.webhook.events)}
    assert (data["sys.connected"], data["sys.disconnected"]) == ({}, {"reason": "why"})
    assert data["gp.joined"] == data["gp.left"] == {"group": "g"}


async def test_notification_waits_for_the_one_before_it_and_for_no_other_connection() -> None:
    house = House()
    free = asyncio.Event()

    async def slow(_: OutgoingRequest) -> IncomingResponse:
        await free.wait()
        return NOTHING

    house.webhook.answers = lambda request: slow(request) if "slow" in dict(request.headers)["ce-source"] else NOTHING
    slow_one, fast_one = house.source("slow"), house.source("fast")
    for source in (slow_one, fast_one):
        house.dispatcher.connected(source)
        house.dispatcher.disconnected(source, None)
    await settle()

    def told(source: EventSource) -> list[str]:
        of = [
            event
            for event in parsed_all(house.webhook.events)
            if event.attributes["connectionid"] == source.connection_id
        ]
        return [event.type for event in of]

    assert (told(slow_one), told(fast_one)) == (["sys.connected"], ["sys.connected", "sys.disconnected"])

    free.set()
    await settle()
    assert told(slow_one) == ["sys.connected", "sys.disconnected"]


async def test_nobody_waits_for_a_notification() -> None:
    house = House()
    source = house.source()
    free = house.hold()
    house.dispatcher.connected(source)
    await settle()

    event = asyncio.create_task(house.event(source))
    await settle()

    assert house.events() == [("sys.connected", 1), ("user.message", 2)]
    free.set()
    await event


@pytest.mark.parametrize("said", [answer(400), answer(500), answer(302), WebhookFailed("gone", "unreachable")])
async def test_notification_that_fails_is_logged_and_the_next_one_is_told(
    said: IncomingResponse | WebhookFailed, caplog: pytest.LogCaptureFixture
) -> None:
    house = House()
    source = house.source()
    house.webhook.answers = lambda request: said if request.url.endswith("/connected") else NOTHING

    house.dispatcher.connected(source)
    house.dispatcher.disconnected(source, None)
    await settle()

    assert house.counts() == {("connected", "failed"): 1, ("disconnected", "succeeded"): 1}
    assert len(caplog.records) == 1


async def test_fault_of_ours_in_a_notification_does_not_hold_up_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    source = house.source()

    def fail(request: OutgoingRequest) -> IncomingResponse:
        if request.url.endswith("/connected"):
            raise RuntimeError("a fault of ours")
        return NOTHING

    house.webhook.answers = fail
    house.dispatcher.connected(source)
    house.dispatcher.disconnected(source, None)
    await settle()

    assert house.counts() == {("connected", "failed"): 1, ("disconnected", "succeeded"): 1}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_what_nobody_is_told_of_has_no_number() -> None:
    house = House({"urlTemplate": "http://h/", "userEventPattern": "*"})
    source = house.source()

    house.dispatcher.connected(source)
    house.dispatcher.presence(source, "joined", "g")
    await house.event(source)

    assert house.events() == [("user.message", 1)]


async def test_notification_goes_to_whoever_is_to_be_told_of_it_when_it_is_its_turn() -> None:
    house = House()
    source = house.source()
    free = house.hold()
    house.dispatcher.connected(source)
    house.dispatcher.disconnected(source, None)
    await settle()

    house.configure(HUB, handler("http://new/{event}"))
    free.set()
    await settle()

    assert [request.url for request in house.webhook.events] == [
        "http://app.example/chat/connected",
        "http://new/disconnected",
    ]


async def test_membership_is_told_of_groups_that_somebody_wants_to_hear_of() -> None:
    house = House(
        handler("http://one/", groupPresenceEvents={"eventNames": ["joined"], "groupFilters": ["a*"]}),
        handler("http://two/", groupPresenceEvents=PRESENCE),
    )
    source = house.source()
    assert house.dispatcher.is_told_presence(HUB)

    for event, group in (("joined", "a1"), ("joined", "b"), ("left", "a1")):
        house.dispatcher.presence(source, event, group)  # type: ignore[arg-type]
    await settle()

    assert [request.url for request in house.webhook.events] == ["http://one/", "http://two/", "http://two/"]
    assert house.counts("http://two/") == {("joined", "succeeded"): 1, ("left", "succeeded"): 1}


async def test_memberships_that_wait_are_bounded_and_the_end_is_told_all_the_same() -> None:
    house = House(handler(groupPresenceEvents=PRESENCE), limits=Limits(waiting=5))
    source = house.source()
    free = house.hold()
    for number in range(8):
        house.dispatcher.presence(source, "joined", f"g{number}")
    house.dispatcher.disconnected(source, None)
    await settle()

    free.set()
    await settle()

    assert house.counts() == {("joined", "failed"): 3, ("joined", "succeeded"): 5, ("disconnected", "succeeded"): 1}


async def test_notifications_of_all_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backlog, "_MOST", 2)
    house = House()
    free = house.hold()
    for number in range(3):
        house.dispatcher.connected(house.source(f"c{number}"))
    await settle()
    free.set()
    await settle()

    assert len(house.webhook.events) == 2
    assert caplog.messages == ["a notification of connection c2 is dropped: too many wait"]

    house.dispatcher.connected(house.source("c3"))
    await settle()
    assert len(house.webhook.events) == 3


async def test_events_of_a_resource_that_is_gone_fail() -> None:
    house = House()

    def gone(resource: str) -> ResourcePolicy:
        raise NotFound("no such resource")

    house.directory.policy = gone  # type: ignore[method-assign]
    source = house.source()

    with pytest.raises(EventFailed, match="resource is gone"):
        await house.event(source)
    house.dispatcher.connected(source)
    await settle()

    assert house.webhook.requests == []
    assert house.counts() == {("user", "failed"): 1, ("connected", "failed"): 1}


async def test_identity_of_the_resource_is_that_of_now() -> None:
    house = House(handler(auth={"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}))
    source = house.source()
    with pytest.raises(EventFailed, match="managed identity"):
        await house.event(source)

    house.directory.policies["default"] = ResourcePolicy(identity=IDENTITY)
    await house.event(source)

    assert house.headers()["Authorization"] == f"Bearer api://x {IDENTITY.client_id} 1"


# The journal


async def test_end_is_forgotten_once_it_is_told() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    free = house.hold()
    house.dispatcher.disconnected(source, "why")
    await settle()
    (entry,) = house.journalled
    assert (entry["event_id"], entry["reason"]) == (1, "why")

    free.set()
    await settle()

    assert house.journal.kept == {}


async def test_end_that_no_handler_takes_is_forgotten_as_well() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    house.webhook.say(answer(500))

    house.dispatcher.disconnected(source, "why")
    await settle()

    assert house.journal.kept == {}


async def test_end_of_which_nobody_is_told_any_more_is_forgotten() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    house.configure(HUB)

    house.dispatcher.disconnected(source, "why")
    await settle()

    assert house.journal.kept == {}
    assert house.webhook.told == ["azure.webpubsub.sys.connect"]


async def test_client_about_which_nobody_was_asked_is_in_the_journal_once_it_is_in() -> None:
    house = House(handler(systemEvents=["disconnected"]))
    house.dispatcher.connected(house.source())
    await settle()

    assert [entry["connection_id"] for entry in house.journalled] == ["c1"]


async def test_ends_that_were_not_told_are_told_after_a_crash_and_once() -> None:
    house = House()
    source = house.source()
    house.webhook.say(answer(200, {"userId": "v"}, ce_connectionState="s"))
    await house.connect(source)
    before = house.headers()

    after = Restarted(house)
    assert await after.dispatcher.recover() == 1
    await settle()

    event = parsed(after.webhook.events[-1])
    assert (event.type, event.data) == ("sys.disconnected", {"reason": "The server ended unexpectedly."})
    headers = after.headers()
    for name in ("ce-source", "ce-signature", "WebHook-Request-Origin"):
        assert headers[name] == before[name]
    assert (headers["ce-userId"], headers["ce-connectionState"], headers["ce-subprotocol"]) == ("v", "s", "a")
    assert int(headers["ce-id"]) > 1_000_000_000
    assert after.journal.kept == {}
    assert await Restarted(after).dispatcher.recover() == 0


async def test_end_that_was_perhaps_told_is_told_again_as_the_same_event() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    house.hold()
    house.dispatcher.disconnected(source, "why")
    await settle()
    first = house.headers()

    after = Restarted(house)
    await after.dispatcher.recover()
    await settle()

    assert (after.headers()["ce-id"], after.headers()["ce-source"]) == (first["ce-id"], first["ce-source"])
    assert after.bodies() == [{"reason": "why"}]
    await house.dispatcher.drain(0)


async def _ended_while_the_handler_is_away(house: House, *then: IncomingResponse | WebhookFailed) -> None:
    source = house.source()
    await house.connect(source)
    house.webhook.say(*then)
    house.dispatcher.disconnected(source, "gone")
    await settle()


AWAY = WebhookFailed("nobody is there", "unreachable")


async def test_end_is_told_again_later_where_the_handler_could_not_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETELL_S", (0.0, 0.0))
    house = House()

    await _ended_while_the_handler_is_away(house, *[AWAY] * 6, NOTHING)
    for _ in range(5):
        await settle()

    assert [event for event, _ in house.events()] == ["sys.connect", *["sys.disconnected"] * 7]
    assert len({number for event, number in house.events() if event == "sys.disconnected"}) == 1
    assert house.journal.kept == {}


async def test_end_is_given_up_where_the_handler_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETELL_S", (0.0, 0.0))
    house = House()

    await _ended_while_the_handler_is_away(house, AWAY)
    for _ in range(5):
        await settle()

    assert house.counts()["disconnected", "failed"] == 3
    assert house.journal.kept == {}


async def test_end_that_was_answered_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However that was; the handler has heard of it."""
    monkeypatch.setattr(module, "_RETELL_S", (0.0, 0.0))
    house = House()

    await _ended_while_the_handler_is_away(house, answer(500))

    assert house.counts()["disconnected", "failed"] == 1
    assert house.journal.kept == {}


async def test_end_that_could_not_be_told_is_told_at_the_next_start() -> None:
    house = House()
    await _ended_while_the_handler_is_away(house, AWAY)

    assert await house.dispatcher.drain(0) == 1
    after = Restarted(house)
    assert await after.dispatcher.recover() == 1
    await settle()

    assert after.bodies() == [{"reason": "gone"}]
    assert after.headers()["ce-id"] == house.headers()["ce-id"]


async def test_end_whose_handler_is_away_while_the_server_ends_is_told_at_the_next_start() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    house.webhook.say(AWAY)
    house.dispatcher.disconnected(source, "gone")

    await house.dispatcher.drain(5)

    assert [entry["reason"] for entry in house.journalled] == ["gone"]


async def test_crash_while_ends_are_told_after_a_crash_leads_to_the_same_event_once_more() -> None:
    house = House()
    await house.connect(house.source())
    second = Restarted(house)
    second.hold()
    await second.dispatcher.recover()
    await settle()

    third = Restarted(second)
    await third.dispatcher.recover()
    await settle()

    assert third.headers()["ce-id"] == second.headers()["ce-id"]
    assert third.bodies() == second.bodies()
    await second.dispatcher.drain(0)


async def test_damaged_entry_is_left_out_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    await house.connect(house.source("c1"))
    await house.connect(house.source("c2"))
    house.journal.kept["connection", "default/chat/c1"] = b"{"

    after = Restarted(house)
    await after.dispatcher.recover()
    await settle()

    assert [event.attributes["connectionid"] for event in parsed_all(after.webhook.events)] == ["c2"]
    assert after.journal.kept == {}
    assert "damaged" in caplog.text


async def test_connections_of_one_id_in_several_hubs_are_several() -> None:
    house = House()
    other = HubKey("other", "chat")
    house.configure(other, handler())
    await house.connect(house.source())
    await house.connect(EventSource(other, "c1", "hub.example"))

    assert len(house.journalled) == 2


# The end


async def test_server_waits_for_what_is_still_to_be_told() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    free = house.hold()
    house.dispatcher.connected(source)
    house.dispatcher.disconnected(source, None)
    draining = asyncio.create_task(house.dispatcher.drain(30))
    await settle()
    assert not draining.done()

    free.set()

    assert await draining == 0
    assert [event for event, _ in house.events()] == ["sys.connect", "sys.connected", "sys.disconnected"]


async def test_what_cannot_be_told_in_time_is_given_up_and_told_at_the_next_start() -> None:
    house = House()
    source = house.source()
    await house.connect(source)
    house.hold()
    house.dispatcher.connected(source)
    house.dispatcher.disconnected(source, "why")
    await settle()

    assert await house.dispatcher.drain(0.01) == 1

    after = Restarted(house)
    assert await after.dispatcher.recover() == 1
    await settle()
    assert after.bodies() == [{"reason": "why"}]


async def test_server_that_has_nothing_to_tell_does_not_wait() -> None:
    async with asyncio.timeout(5):
        assert await House().dispatcher.drain(3600) == 0


async def test_server_waits_for_a_decision_that_is_under_way() -> None:
    house = House()
    free = house.hold()
    asking = asyncio.create_task(house.connect(house.source()))
    await settle()
    draining = asyncio.create_task(house.dispatcher.drain(30))
    await settle()
    assert not draining.done()

    free.set()

    assert await draining == 0
    assert await asking == ConnectVerdict()


async def test_resource_that_is_to_be_deleted_waits_for_what_is_told_of_its_own_connections() -> None:
    house = House()
    other = HubKey("other", "chat")
    house.configure(other, handler())
    house.hold()
    house.dispatcher.connected(EventSource(other, "c9", "hub.example"))
    await settle()
    async with asyncio.timeout(5):
        await house.dispatcher.settle("default", 3600)
    house.webhook.answers = lambda _: NOTHING
    free = house.hold()
    house.dispatcher.disconnected(house.source(), None)
    settling = asyncio.create_task(house.dispatcher.settle("default", 3600))
    await settle()
    assert not settling.done()

    free.set()
    await settling

    assert house.webhook.told[-1] == "azure.webpubsub.sys.disconnected"
    await house.dispatcher.drain(0)


# Whatever a handler answers


_RESPONSES = st.builds(
    IncomingResponse,
    st.one_of(st.sampled_from([200, 204, 302, 400, 403, 404, 500]), st.integers(200, 599)),
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(
                    [
                        "Content-Type",
                        "ce-connectionState",
                        "Set-Cookie",
                        "X-WebPubSub-Metadata-a",
                        "WebHook-Allowed-Origin",
                    ]
                ),
                st.from_regex(r"[A-Za-z-]{1,10}", fullmatch=True),
            ),
            st.one_of(
                st.sampled_from(["text/plain", "application/json", "application/octet-stream", "a=b; Path=/", "*"]),
                st.text(st.characters(max_codepoint=255), max_size=20),
            ),
        ),
        max_size=4,
    ).map(tuple),
    st.one_of(
        st.just(b""),
        st.binary(max_size=50),
        st.sampled_from([b'{"userId":"u"}', b'{"groups":["g"],"roles":["r"]}', b'{"subprotocol":"a"}', b"[]", b"null"]),
    ),
)


@settings(deadline=None, max_examples=50)
@given(said=_RESPONSES)
def test_whatever_a_handler_answers_leads_to_a_documented_outcome(said: IncomingResponse) -> None:
    """And each accepted connect to one end."""

    async def run() -> None:
        records._quiet = records._Quiet()  # type: ignore[misc]
        house = House(limits=Limits(retries_s=()))
        house.webhook.answers = lambda request: said if not request.url.endswith("disconnected") else NOTHING
        source = house.source()
        let_in = False
        try:
            await house.connect(source)
            let_in = True
        except (ConnectRefused, EventUndelivered):
            pass
        try:
            await house.event(source)
        except EventUndelivered:
            pass
        house.dispatcher.connected(source)
        if let_in:
            house.dispatcher.disconnected(source, None)
        await settle()
        parsed_all(house.webhook.events)
        ends = house.webhook.told.count("azure.webpubsub.sys.disconnected")
        assert ends == (1 if said.succeeded else 0)
        if not let_in:
            house.dispatcher.disconnected(source, None)
            await settle()
        assert house.journal.kept == {}

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(run())
    finally:
        logging.disable(logging.NOTSET)

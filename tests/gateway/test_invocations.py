"""Invocations: each is answered once, by what its handler says, or not at all where nobody waits for it any more."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_events import parsed_all
from doubles import HUB, RecordingSink, settle
from gateway.house import RELIABLE, Client, House
from gateway.speaker import KINDS, RELIABLE_KINDS, Speaker, somebody
from handlers import NOTHING, answer, handler, handling
from hubwire.model.messages import FromServer
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream import records
from raw_handlers import until

FAILED = {"name": "InternalServerError", "message": "The event handler failed."}
NOBODY = {"name": "InternalServerError", "message": "No event handler is configured for this event."}


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told to the operator yet."""
    monkeypatch.setattr(records, "_quiet", records._Quiet())


def house_of(*handlers: dict[str, Any], **more: Any) -> House:
    """One whose hub has these handlers, or one that is told all user events."""
    house = House(**more)
    house.directory.hubs[HUB] = handling(*(handlers or (handler(systemEvents=[]),)))
    return house


@pytest.fixture
def house() -> House:
    return house_of()


def invoke(number: int | str = 1, event: str = "ev", **more: Any) -> dict[str, Any]:
    return {"type": "invoke", "invocationId": str(number), "target": "event", "event": event, **more}


def cancel(number: int | str = 1) -> dict[str, Any]:
    return {"type": "cancelInvocation", "invocationId": str(number)}


def response(number: int | str = 1, **more: Any) -> dict[str, Any]:
    return {"type": "invokeResponse", "invocationId": str(number), "success": True, **more}


def failure(error: dict[str, str], number: int | str = 1) -> dict[str, Any]:
    return {"type": "invokeResponse", "invocationId": str(number), "success": False, "error": error}


def text(body: str) -> IncomingResponse:
    return answer(200, body.encode(), Content_Type="text/plain")


class Held:
    """
    A handler that says nothing until it is told to.

    Attributes:
        asked, abandoned: names of events, in order.
    """

    def __init__(self, house: House) -> None:
        self.asked: list[str] = []
        self.abandoned: list[str] = []
        self._free: dict[str, asyncio.Event] = {}
        house.upstream.webhook.answers = self._answers

    def free(self, *events: str) -> None:
        for event in events:
            self._free.setdefault(event, asyncio.Event()).set()

    def _answers(self, request: OutgoingRequest) -> Awaitable[IncomingResponse]:
        return self._answer(dict(request.headers)["ce-eventName"])

    async def _answer(self, event: str) -> IncomingResponse:
        self.asked.append(event)
        try:
            await self._free.setdefault(event, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.abandoned.append(event)
            raise
        return text(f"of {event}")


def pending(house: House) -> tuple[int, int]:
    """Invocations as they are kept, and as they are counted."""
    kept = house.gateway._invocations._pending
    assert all(kept.values()), "nothing is kept of a connection that has none"
    return sum(map(len, kept.values())), house.telemetry.invocations


def counted(house: House) -> dict[tuple[str, str], int]:
    (counters,) = house.upstream.telemetry.handlers.values()
    return counters.events


# What is asked and answered


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("sent", "content_type", "body"),
    [
        ({}, "text/plain; charset=utf-8", b""),
        ({"dataType": "text", "data": "ü"}, "text/plain; charset=utf-8", "ü".encode()),
        ({"dataType": "json", "data": [1.5]}, "application/json", b"[1.5]"),
        ({"dataType": "binary", "data": "AP8="}, "application/octet-stream", b"\0\xff"),
        ({"dataType": "protobuf", "data": "CgNhL2I="}, "application/x-protobuf", b"\n\x03a/b"),
    ],
)
async def test_invocation_is_a_user_event_to_its_handler(
    house: House, kind: str, sent: dict[str, Any], content_type: str, body: bytes
) -> None:
    client = await somebody(house, kind, user_id="u")

    await client.say(invoke(7, "some.name", metadata={"Trace": "1"}, **sent))

    (event,) = parsed_all(house.upstream.webhook.events)
    headers = house.upstream.headers()
    assert (event.type, headers["Content-Type"]) == ("user.some.name", content_type)
    assert house.upstream.webhook.events[0].body == body
    assert (headers["ce-userId"], headers["ce-id"]) == ("u", "1")
    assert headers["X-WebPubSub-Metadata-trace"] == "1"
    assert house.telemetry.inbound_messages == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (NOTHING, {}),
        (answer(200), {}),
        (text("ü"), {"dataType": "text", "data": "ü"}),
        (answer(200, {"a": [1.5, None]}), {"dataType": "json", "data": {"a": [1.5, None]}}),
        (answer(200, b"\0\xff"), {"dataType": "binary", "data": "AP8="}),
        (
            answer(200, b"\n\x03a/b", Content_Type="application/x-protobuf"),
            {"dataType": "protobuf", "data": "CgNhL2I="},
        ),
        (
            answer(200, b"x", Content_Type="text/plain", X_WebPubSub_Metadata_k="v"),
            {"dataType": "text", "data": "x", "metadata": {"k": "v"}},
        ),
        (answer(204, X_WebPubSub_Metadata_k="v"), {"dataType": "text", "data": "", "metadata": {"k": "v"}}),
    ],
)
async def test_answer_of_the_handler_is_the_response_and_no_message_besides(
    house: House, kind: str, said: IncomingResponse, told: dict[str, Any]
) -> None:
    client = await somebody(house, kind)
    house.upstream.webhook.answers = lambda _: said

    assert await client.say(invoke()) == [response(**told)]
    assert client.connection.session.held() == (0, 0), "responses are not numbered"
    assert pending(house) == (0, 0)


async def test_nobody_needs_a_role_to_invoke(house: House) -> None:
    client = await somebody(house, roles=[])

    assert await client.say(invoke()) == [response()]


async def test_state_that_the_handler_sets_is_in_later_events(house: House) -> None:
    client = await somebody(house)
    house.upstream.webhook.answers = lambda _: answer(200, ce_connectionState="s")

    await client.say(invoke())
    await client.say(invoke())

    assert [dict(sent.headers).get("ce-connectionState") for sent in house.upstream.webhook.events] == [None, "s"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "said",
    [
        answer(400, b"internal"),
        answer(500, b"internal"),
        answer(302, Location="/"),
        answer(200, b"x", Content_Type="text/html"),
        answer(200, b"\xff", Content_Type="text/plain"),
        answer(200, b"{", Content_Type="application/json"),
        WebhookFailed("internal", "unreachable"),
        WebhookFailed("internal", "timeout"),
    ],
)
async def test_handler_that_fails_is_a_response_without_what_it_said(
    house: House, kind: str, said: IncomingResponse | WebhookFailed
) -> None:
    client = await somebody(house, kind)
    house.upstream.webhook.answers = lambda _: said

    assert await client.say(invoke()) == [failure(FAILED)]
    assert await client.say({"type": "ping"}) == [{"type": "pong"}]
    assert house.telemetry.ack_errors == {"InternalServerError": 1}
    assert counted(house) == {("user", "failed"): 1}


@pytest.mark.parametrize("handlers", [[], [handler(userEventPattern="other", systemEvents=[])]])
async def test_event_that_no_handler_takes_is_a_response(handlers: list[dict[str, Any]]) -> None:
    house = House()
    house.directory.hubs[HUB] = handling(*handlers)
    client = await somebody(house)

    assert await client.say(invoke()) == [failure(NOBODY)]
    assert house.upstream.webhook.requests == []
    assert pending(house) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_of_an_invocation_is_refused_as_an_answer_to_it(house: House, kind: str) -> None:
    client = await somebody(house, kind)

    (answer,) = await client.say(invoke(stream={"streamId": "s"}))

    assert answer == failure({"name": "InternalServerError", "message": "An invocation cannot bring a stream."})
    assert house.upstream.webhook.requests == []


async def test_handler_behind_a_tunnel_answers_as_well() -> None:
    house = house_of(handler("tunnel:///x", systemEvents=[]))
    client = await somebody(house)
    house.upstream.webhook.answers = lambda _: text("by tunnel")

    assert await client.say(invoke()) == [response(dataType="text", data="by tunnel")]
    assert len(house.upstream.webhook.tunnelled) == 1


async def test_handler_that_does_not_answer_in_time_is_a_response() -> None:
    house = house_of()
    client = await somebody(house)
    house.upstream.dispatcher._limits = type(house.upstream.limits)(invocation_s=0.25)
    held = Held(house)

    await client.say(invoke())
    await until(lambda: pending(house) == (0, 0))
    await settle()

    assert client.heard() == [failure(FAILED)]
    assert held.abandoned == ["ev"]
    (counters,) = house.upstream.telemetry.handlers.values()
    assert counters.failure is not None
    assert "invocation_timeout_s" in counters.failure[1]


async def test_fault_of_ours_is_a_response_and_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await somebody(house)

    async def broken(*_: object) -> FromServer | None:
        raise ZeroDivisionError

    monkeypatch.setattr(house.gateway._events, "invoke", broken)

    (said,) = await client.say(invoke())

    assert said == failure({"name": "InternalServerError", "message": "Internal server error"})
    assert [row.levelname for row in caplog.records if row.exc_info] == ["ERROR"]
    assert pending(house) == (0, 0)


# Several at once


async def test_requests_behind_an_invocation_do_not_wait_for_it(house: House) -> None:
    held = Held(house)
    client = await somebody(house)

    assert await client.say(
        invoke(),
        {"type": "joinGroup", "group": "g", "ackId": 1},
        {"type": "sendToGroup", "group": "g", "data": 1, "ackId": 2},
        {"type": "ping"},
    ) == [
        {"type": "ack", "ackId": 1, "success": True},
        {"type": "message", "from": "group", "group": "g", "dataType": "json", "data": 1},
        {"type": "ack", "ackId": 2, "success": True},
        {"type": "pong"},
    ]
    held.free("ev")
    await settle()
    assert client.heard()[-1] == response(dataType="text", data="of ev")


async def test_event_behind_an_invocation_is_told_and_acknowledged_meanwhile(house: House) -> None:
    held = Held(house)
    held.free("other")
    client = await somebody(house)

    said = await client.say(invoke(), {"type": "event", "event": "other", "data": 1, "ackId": 1})

    assert sorted(held.asked) == ["ev", "other"]
    assert [row["type"] for row in said] == ["message", "ack"]


async def test_invocations_are_told_at_once_and_answered_as_their_handlers_do(house: House) -> None:
    held = Held(house)
    client = await somebody(house)
    await client.say(*(invoke(number, f"e{number}") for number in range(3)))
    assert held.asked == ["e0", "e1", "e2"]
    assert pending(house) == (3, 3)

    for number in (1, 2, 0):
        held.free(f"e{number}")
        await settle()

    assert client.heard() == [response(number, dataType="text", data=f"of e{number}") for number in (1, 2, 0)]
    assert pending(house) == (0, 0)


async def test_invocation_behind_an_event_waits_for_the_handler_of_that(house: House) -> None:
    """As all requests do: an event blocks its client."""
    held = Held(house)
    held.free("ev")
    client = await somebody(house)
    waiting = house.gateway.receive(client.connection, '{"type":"event","event":"first","data":1}')
    assert waiting is not None
    task = asyncio.ensure_future(waiting)
    await settle()

    assert held.asked == ["first"]
    held.free("first")
    await task
    await client.say(invoke())
    assert held.asked == ["first", "ev"]


async def test_id_may_be_used_again_once_it_is_answered(house: House) -> None:
    client = await somebody(house)

    assert await client.say(invoke()) == [response()]
    assert await client.say(invoke()) == [response()]


async def test_id_that_is_pending_is_a_duplicate_and_the_first_goes_on(house: House) -> None:
    held = Held(house)
    client, other = await somebody(house), await somebody(house)

    (said,) = await client.say(invoke(), invoke())

    assert said == failure({"name": "Duplicate", "message": "An invocation with this id is pending."})
    await other.say(invoke())
    assert held.asked == ["ev", "ev"], "ids are a connection's own"
    held.free("ev")
    await settle()
    assert client.heard() == [said, response(dataType="text", data="of ev")]
    assert other.heard() == [response(dataType="text", data="of ev")]


async def test_so_many_may_be_pending_and_more_are_refused_with_the_reason(house: House) -> None:
    house.gateway._invocations._limit = 3
    held = Held(house)
    client, other = await somebody(house), await somebody(house)

    said = await client.say(*(invoke(number) for number in range(5)))

    limit = {"name": "InternalServerError", "message": "A connection may have 3 invocations pending."}
    assert said == [failure(limit, 3), failure(limit, 4)]
    assert await other.say(invoke()) == []
    assert (len(held.asked), pending(house)) == (4, (4, 4))
    await client.say(cancel(0))
    assert await client.say(invoke(5)) == []
    assert len(held.asked) == 5


# Cancelled


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_invocation_is_abandoned_and_never_answered(house: House, kind: str) -> None:
    held = Held(house)
    client = await somebody(house, kind)
    await client.say(invoke(1, "a"), invoke(2, "b"))

    assert await client.say(cancel(1)) == []
    assert (held.abandoned, pending(house)) == (["a"], (1, 1))
    held.free("a", "b")
    await settle()

    assert client.heard()[-1] == response(2, dataType="text", data="of b")
    assert [row for row in client.heard() if row.get("invocationId") == "1"] == []
    assert counted(house) == {("user", "abandoned"): 1, ("user", "succeeded"): 1}


async def test_invocation_that_is_cancelled_at_once_is_told_to_nobody(house: House) -> None:
    client = await somebody(house)
    for payload in (invoke(), cancel()):
        assert house.gateway.receive(client.connection, json.dumps(payload)) is None
    await settle()

    assert house.upstream.webhook.requests == []
    assert client.heard() == []
    assert pending(house) == (0, 0)


async def test_invocation_that_waits_for_its_turn_is_cancelled_as_well(house: House) -> None:
    held = Held(house)
    client = await somebody(house)
    house.upstream.dispatcher._limits = type(house.upstream.limits)(in_flight=1)
    await client.say(invoke(1, "a"), invoke(2, "b"), invoke(3, "c"), cancel(2))

    held.free("a", "c")
    await settle()

    assert held.asked == ["a", "c"]
    assert [row["invocationId"] for row in client.heard()] == ["1", "3"]


async def test_id_may_be_used_again_once_it_is_cancelled(house: House) -> None:
    held = Held(house)
    client = await somebody(house)
    await client.say(invoke(1, "a"), cancel(1), invoke(1, "b"))

    held.free("a", "b")
    await settle()

    assert client.heard() == [response(1, dataType="text", data="of b")]


async def test_cancelling_what_is_not_pending_is_nothing(house: House) -> None:
    client, other = await somebody(house), await somebody(house)
    held = Held(house)
    await other.say(invoke(1))

    assert await client.say(invoke(2, "x"), cancel("unknown"), cancel(1), {"type": "ping"}) == [{"type": "pong"}]
    assert held.abandoned == []
    assert pending(house) == (2, 2)


async def test_cancelling_does_not_hide_that_a_handler_fails(house: House) -> None:
    """The operator sees the last failure until something succeeds."""
    client = await somebody(house)
    house.upstream.webhook.answers = lambda _: answer(400)
    await client.say(invoke(1))
    Held(house)
    await client.say(invoke(2))
    await client.say(cancel(2))

    (counters,) = house.upstream.telemetry.handlers.values()
    assert counters.events == {("user", "failed"): 1, ("user", "abandoned"): 1}
    assert counters.failure is not None


# The end of the socket


def lose(house: House, client: Client) -> None:
    client.drop()


def hang_up(house: House, client: Client) -> None:
    house.gateway.hung_up(client.connection, client.sink)


def close(house: House, client: Client) -> None:
    house.gateway.failed(client.connection)


def say_farewell(house: House, client: Client) -> None:
    house.gateway.farewell(client.connection)


def time_out(house: House, client: Client) -> None:
    house.gateway.timed_out(client.connection)


def break_protocol(house: House, client: Client) -> None:
    house.gateway.receive(client.connection, b"nonsense")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [lose, hang_up, close, say_farewell, time_out, break_protocol])
async def test_pending_invocations_end_with_the_socket(
    house: House, kind: str, end: Callable[[House, Client], None]
) -> None:
    held = Held(house)
    client, other = await somebody(house, kind), await somebody(house, kind)
    await client.say(invoke(1, "a"), invoke(2, "b"))
    await other.say(invoke(1, "c"))

    end(house, client)
    await settle()
    held.free("a", "b", "c")
    await settle()

    assert held.abandoned == ["a", "b"]
    assert [row for row in client.heard() if row["type"] == "invokeResponse"] == []
    assert other.heard()[-1] == response(1, dataType="text", data="of c")
    assert pending(house) == (0, 0)


@pytest.mark.parametrize("kind", RELIABLE_KINDS)
@pytest.mark.parametrize("is_lost", [True, False])
async def test_client_that_comes_back_is_not_told_what_it_asked_before(house: House, is_lost: bool, kind: str) -> None:
    """Whether its former socket is known to be gone or not; and it may use the same ids at once."""
    held = Held(house)
    client = await somebody(house, kind)
    await client.say(invoke(1, "a"))
    if is_lost:
        client.drop()
    sink = RecordingSink()
    assert await house.begin(house.decide(kind, **client.recovery), sink) is client.connection
    again = Speaker(house, client.connection, sink)
    assert held.abandoned == ["a"] or await again.say({"type": "ping"}) == [{"type": "pong"}]
    await again.say(invoke(1, "b"))
    held.free("a", "b")
    await settle()

    assert held.abandoned == ["a"]
    assert [row for row in client.heard(sink) if row["type"] == "invokeResponse"] == [
        response(1, dataType="text", data="of b")
    ]
    assert [row for row in client.heard() if row["type"] == "invokeResponse"] == []


async def test_invocation_waits_for_an_event_of_the_former_socket_and_goes_with_its_own(house: House) -> None:
    """So that a handler never hears of two things at once that were said one after the other."""
    held = Held(house)
    client = await somebody(house, RELIABLE)
    asked = house.gateway.receive(client.connection, '{"type":"event","event":"first","data":1}')
    assert asked is not None
    first = asyncio.ensure_future(asked)
    await settle()
    recovery = client.recovery
    waiting = []
    sinks = [RecordingSink(), RecordingSink()]
    for number, sink in enumerate(sinks):
        await house.begin(house.decide(RELIABLE, **recovery), sink)
        later = house.gateway.receive(client.connection, json.dumps(invoke(1, f"of-{number}")))
        assert later is not None
        waiting.append(asyncio.ensure_future(later))
    await settle()
    assert held.asked == ["first"]

    held.free("first", "of-0", "of-1")
    await asyncio.gather(first, *waiting)
    await settle()

    assert held.asked == ["first", "of-1"]
    responses = [[row for row in sink.received if row["type"] == "invokeResponse"] for sink in sinks]
    assert responses == [[], [response(1, dataType="text", data="of of-1")]]


async def test_server_that_ends_waits_for_no_invocation(house: House) -> None:
    held = Held(house)
    client = await somebody(house)
    await client.say(invoke())

    await house.gateway.end()

    assert await house.upstream.dispatcher.drain(5) == 0
    assert held.abandoned == ["ev"]


# Records


async def test_records_name_events_and_ids_and_no_payload(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hubwire.messaging")
    client = await somebody(house)
    await client.say(invoke(1, dataType="text", data="a secret"))
    house.upstream.webhook.answers = lambda _: answer(400)
    await client.say(invoke(2))
    Held(house)
    await client.say(invoke(3), cancel(3))

    rows = [row.__dict__["record"] for row in caplog.records if row.name == "hubwire.messaging"]
    assert [(row["operationName"], row.get("event"), row.get("invocationId")) for row in rows] == [
        ("Invoke", "ev", None),
        ("RefusedInternalServerError", "ev", None),
        ("CancelInvocation", None, "3"),
    ]
    assert "a secret" not in caplog.text


# Whatever happens


class Model:
    """What a client may expect, said another way: what is pending, and what its socket must have brought."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pending: dict[str, str] = {}
        self.answered: set[str] = set()
        self.expected: list[tuple[str, str]] = []

    def invoke(self, id: str, event: str) -> None:
        if id in self.pending:
            self.expected.append((id, "Duplicate"))
        elif len(self.pending) >= self.limit:
            self.expected.append((id, "InternalServerError"))
        else:
            self.pending[id] = event

    def rest(self) -> None:
        """All that was answered is told."""
        for id, event in list(self.pending.items()):
            if event in self.answered:
                self.expected.append((id, f"of {event}"))
                del self.pending[id]


def said(client: Speaker, sink: RecordingSink) -> list[tuple[str, str]]:
    """Ids and outcomes of the responses that one of its sockets has brought."""
    rows = [row for row in client.heard(sink) if row["type"] == "invokeResponse"]
    return sorted((row["invocationId"], row.get("data") or row["error"]["name"]) for row in rows)


STEPS = st.tuples(st.sampled_from(["invoke", "invoke", "cancel", "answer", "lose", "replace"]), st.integers(0, 3))


@given(st.sampled_from(RELIABLE_KINDS), st.lists(st.tuples(STEPS, st.booleans()), max_size=40))
def test_each_invocation_is_answered_once_unless_it_was_cancelled_or_its_socket_is_gone(
    kind: str, steps: list[tuple[tuple[str, int], bool]]
) -> None:
    """However these come together; `True` lets everything come to rest after a step."""
    asyncio.run(run(kind, steps))


async def run(kind: str, steps: list[tuple[tuple[str, int], bool]]) -> None:
    house = house_of()
    house.gateway._invocations._limit = 3
    held = Held(house)
    client = await somebody(house, kind)
    recovery, sink, model = client.recovery, client.sink, Model(3)
    for number, ((step, which), rests) in enumerate(steps):
        id = str(which)
        if step == "invoke":
            house.gateway.receive(client.connection, client.written(invoke(id, f"e{number}")))
            model.invoke(id, f"e{number}")
        elif step == "cancel":
            house.gateway.receive(client.connection, client.written(cancel(id)))
            model.pending.pop(id, None)
        elif step == "answer" and id in model.pending:
            held.free(model.pending[id])
            model.answered.add(model.pending[id])
        elif step in ("lose", "replace"):
            if step == "lose":
                house.node.flush()
                house.gateway.lost(client.connection, sink, 1006, CloseCategory.NORMAL)
            model.pending.clear()
            former, sink = sink, RecordingSink()
            await house.begin(house.decide(kind, **recovery), sink)
            assert said(client, former) == sorted(model.expected)
            model.expected.clear()
        if rests:
            await settle()
            model.rest()
            assert said(client, sink) == sorted(model.expected)
            assert pending(house) == (len(model.pending), len(model.pending))
    house.gateway.lost(client.connection, sink, 1000, CloseCategory.NORMAL)
    await settle()
    assert pending(house) == (0, 0)
    assert await house.upstream.dispatcher.drain(5) == 0

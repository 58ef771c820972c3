"""The connections of `hubwire tunnel`, against a service that is played here and speaks without our codec."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from hubwire.cli import dialled, dialling
from hubwire.cli.access import ConnectionString
from hubwire.cli.connect import read_refusal
from hubwire.cli.dialling import Dialler
from hubwire.cli.faults import CommandFailed
from hubwire.cli.forwarding import Forwarded
from hubwire.upstream.tunnel_frames import HttpRequest
from vectors.tunnel_frames import message_bytes, unpacked

KEY = "access key for tests, of 32 bytes or more"
DEADLINE_S = 20.0
WELCOME = message_bytes(10, ConnectionId="c1", UserId=None, ReconnectionToken=None)

Talk = Callable[["Call"], Awaitable[None]]


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens elsewhere and tells nobody
            await asyncio.sleep(0.005)


class Call:
    """
    A connection, as the service sees it.

    Attributes:
        query: of the URL that was dialled.
        closed: the code with which it ended; None until it has.
    """

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.query = dict(request.query)
        self.protocols = request.headers.get("Sec-WebSocket-Protocol")
        self.closed: int | None = None
        self._socket = socket

    async def send(self, *messages: bytes) -> None:
        """All in one WebSocket message."""
        await self._socket.send_bytes(b"".join(messages))

    async def ask(self, ack_id: int, content: bytes = b"", **fields: Any) -> None:
        """A request for the application."""
        known = {"AckId": ack_id, "HttpMethod": "POST", "Url": "tunnel:///e", "Headers": {}}
        await self.send(message_bytes(1, content, **known | fields))

    async def heard(self) -> tuple[int, dict[str, Any], bytes]:
        """What it says next."""
        return unpacked(await self._socket.receive_bytes(timeout=DEADLINE_S))

    async def stay(self) -> None:
        """Until the other side closes."""
        while True:
            message = await self._socket.receive()
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                self.closed = self._socket.close_code
                return

    async def say_text(self, text: str) -> None:
        await self._socket.send_str(text)

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)


class Service:
    """
    Answers upgrades, each as the next of its parts says.

    Attributes:
        calls: connections so far.
        refusals: statuses to answer instead, for the next ones.
        dialled: how often the tool has asked where the service is.
    """

    def __init__(self, *talks: Talk) -> None:
        self.calls: list[Call] = []
        self.refusals: list[int] = []
        self.dialled = 0
        self.url = ""
        self.key = KEY
        self._talks = list(talks)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return web.Response(status=self.refusals.pop(0), text="Not now.")
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        call = Call(request, socket)
        self.calls.append(call)
        await self._talks.pop(0)(call)
        return socket

    def find(self) -> ConnectionString:
        """What the tool is told when it asks."""
        self.dialled += 1
        return ConnectionString(self.url, self.key)


class Application:
    """Answers what it is asked, once it may."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[HttpRequest, bytes]] = []

    async def forward(self, request: HttpRequest, body: bytes) -> Forwarded:
        self.asked.append((request, body))
        await self.gate.wait()
        return Forwarded(200, {"x": ["y"]}, body.upper())


class Notes:
    """What was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.spent_ms: list[float] = []

    def connected(self, endpoint: str) -> None:
        self.lines.append(f"connected {endpoint}")

    def lost(self, reason: str) -> None:
        self.lines.append(f"lost {reason}")

    def back(self) -> None:
        self.lines.append("back")

    def say(self, text: str) -> None:
        self.lines.append(f"said {text}")

    def forwarded(self, request: HttpRequest, answer: Forwarded, spent_ms: float) -> None:
        self.lines.append(f"{request.url} {answer.status} {answer.fault}")
        self.spent_ms.append(spent_ms)


class Tool:
    """
    The dialler under test.

    Attributes:
        running: it.
    """

    def __init__(self, service: Service, running: "asyncio.Task[None]") -> None:
        self.service = service
        self.running = running
        self.notes = Notes()
        self.application = Application()

    async def failure(self) -> str:
        """Why it has ended."""
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(CommandFailed) as caught:
                await self.running
        return caught.value.message


@asynccontextmanager
async def dialling_to(service: Service, others: Service | None = None) -> AsyncIterator[Tool]:
    """A dialler that runs; at the end it is cancelled, if it has not ended."""
    async with contextlib.AsyncExitStack() as stack:
        for served in (service, others):
            if served is not None:
                served.url = await stack.enter_async_context(_listening(served))
        session = await stack.enter_async_context(aiohttp.ClientSession(middlewares=(read_refusal,)))
        tool = Tool(service, asyncio.ensure_future(asyncio.sleep(0)))
        dialler = Dialler(session, "chat", service.find, tool.application, tool.notes, 0.01)
        tool.running = asyncio.ensure_future(dialler.run())
        try:
            yield tool
        finally:
            tool.running.cancel()
            await asyncio.wait({tool.running})


@asynccontextmanager
async def _listening(service: Service) -> AsyncIterator[str]:
    served = web.Application()
    served.router.add_get("/server/tunnel", service.answer)
    runner = web.AppRunner(served, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def welcoming(call: Call) -> None:
    """Nothing but polite."""
    await call.send(WELCOME)
    await call.stay()


# The opening


async def test_first_connection_is_dialled_with_a_token_for_exactly_its_url() -> None:
    service = Service(welcoming)
    async with dialling_to(service) as tool:
        await eventually(lambda: tool.notes.lines)

        (call,) = service.calls
        audience = f"ws{service.url.removeprefix('http')}/server/tunnel?hub=chat"
        claims = jwt.decode(call.query.pop("access_token"), KEY, ["HS256"], audience=audience)
        assert claims["exp"] > 0
        assert len(claims["sub"]) == 36
        assert (call.query, call.protocols) == ({"hub": "chat"}, None)
        assert tool.notes.lines == [f"connected {service.url}"]


async def test_tool_counts_as_connected_when_it_is_welcomed_and_not_before() -> None:
    service = Service(Call.stay)
    async with dialling_to(service) as tool:
        await eventually(lambda: service.calls)

        assert tool.notes.lines == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 503])
async def test_first_connection_that_is_refused_ends_it_with_the_words_of_the_service(status: int) -> None:
    service = Service()
    service.refusals = [status]
    async with dialling_to(service) as tool:
        reason = await tool.failure()

    assert reason.startswith(f"the server refused the connection: {status} ")
    assert reason.endswith(": Not now.")


async def test_service_that_cannot_be_found_ends_it() -> None:
    service = Service()

    def nowhere() -> ConnectionString:
        raise CommandFailed("no server runs here")

    service.find = nowhere  # type: ignore[method-assign]
    async with dialling_to(service) as tool:
        assert await tool.failure() == "no server runs here"


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (lambda call: call.close(1000), "the server closed the connection (code 1000) before it welcomed us"),
        (lambda call: call.say_text("{}"), "the server does not speak the protocol of tunnels"),
        (lambda call: call.send(b"\x00\x00\x00\x00"), "the server does not speak the protocol of tunnels"),
        (lambda call: call.ask(1), "the server does not speak the protocol of tunnels"),
    ],
)
async def test_service_that_does_not_welcome_a_tool_ends_it(talk: Talk, reason: str) -> None:
    async with dialling_to(Service(talk)) as tool:
        assert await tool.failure() == reason


async def test_service_that_never_welcomes_a_tool_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialled, "_WELCOME_S", 0.05)
    async with dialling_to(Service(Call.stay)) as tool:
        assert await tool.failure() == "the server did not welcome us within 0.05 seconds"


# Requests


async def test_request_is_forwarded_and_its_answer_goes_back() -> None:
    heard: list[tuple[int, dict[str, Any], bytes]] = []

    async def talk(call: Call) -> None:
        await call.send(WELCOME)
        await call.ask(7, b"body", Url="tunnel:///e?x", LocalRouting=True, ChannelName="c")
        heard.append(await call.heard())
        await call.stay()

    async with dialling_to(Service(talk)) as tool:
        await eventually(lambda: len(tool.notes.lines) == 2 and len(heard) == 1)

        assert tool.application.asked[0][1] == b"body"
        ((number, fields, content),) = heard
        assert (number, content) == (2, b"BODY")
        assert [fields[name] for name in ("AckId", "StatusCode", "LocalRouting", "ChannelName")] == [7, 200, True, "c"]
        assert tool.notes.lines[1] == "tunnel:///e?x 200 None"
        assert tool.notes.spent_ms[0] > 0


async def test_request_that_comes_together_with_the_welcome_is_forwarded() -> None:
    async def talk(call: Call) -> None:
        request = message_bytes(1, b"early", AckId=1, HttpMethod="POST", Url="tunnel:///e")
        await call.send(WELCOME, request, request)
        await call.stay()

    async with dialling_to(Service(talk)) as tool:
        await eventually(lambda: len(tool.application.asked) == 2)


async def test_requests_do_not_wait_for_one_another() -> None:
    answered: list[int] = []

    async def talk(call: Call) -> None:
        await call.send(WELCOME)
        for ack_id in range(1, 51):
            await call.ask(ack_id)
        while len(answered) < 50:
            answered.append((await call.heard())[1]["AckId"])
        await call.stay()

    async with dialling_to(Service(talk)) as tool:
        tool.application.gate.clear()
        await eventually(lambda: len(tool.application.asked) == 50)
        assert answered == []

        tool.application.gate.set()
        await eventually(lambda: len(answered) == 50)
        assert sorted(answered) == list(range(1, 51))


async def test_more_requests_than_can_be_borne_are_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "_MOST_REQUESTS", 3)
    statuses: list[int] = []

    async def talk(call: Call) -> None:
        await call.send(WELCOME)
        for ack_id in range(1, 6):
            await call.ask(ack_id)
        while len(statuses) < 5:
            statuses.append((await call.heard())[1]["StatusCode"])
        await call.stay()

    async with dialling_to(Service(talk)) as tool:
        tool.application.gate.clear()
        await eventually(lambda: len(statuses) == 2)
        assert (statuses, len(tool.application.asked)) == ([503, 503], 3)

        tool.application.gate.set()
        await eventually(lambda: len(statuses) == 5)
        assert statuses[2:] == [200] * 3


async def test_large_answer_goes_back_in_parts() -> None:
    body = b"x" * (5 << 19)
    heard: list[tuple[dict[str, Any], bytes]] = []

    async def talk(call: Call) -> None:
        await call.send(WELCOME)
        await call.ask(1, body)
        while not heard or heard[-1][0]["NotCompleted"]:
            _, fields, content = await call.heard()
            heard.append((fields, content))
        await call.stay()

    async with dialling_to(Service(talk)):
        await eventually(lambda: heard and not heard[-1][0]["NotCompleted"])

    assert (len(heard), b"".join(content for _, content in heard)) == (3, body.upper())


async def test_answer_to_a_connection_that_is_gone_goes_nowhere() -> None:
    async def talk(call: Call) -> None:
        await call.send(WELCOME)
        await call.ask(1)
        await call.close(1001)

    async with dialling_to(Service(talk, welcoming)) as tool:
        tool.application.gate.clear()
        await eventually(lambda: "back" in tool.notes.lines)

        tool.application.gate.set()
        await eventually(lambda: "tunnel:///e 200 None" in tool.notes.lines)
        assert not tool.running.done()


# Connecting again


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (lambda call: call.close(1001), "the server closed the connection (code 1001)"),
        (lambda call: call.send(message_bytes(6, Message="Moved.")), "Moved."),
        (lambda call: call.send(message_bytes(6, Message=None)), "the server wants us to connect again"),
    ],
)
async def test_connection_that_ends_is_dialled_again_and_both_are_told(talk: Talk, reason: str) -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        await talk(call)
        await call.stay()

    service = Service(first, welcoming)
    async with dialling_to(service) as tool:
        await eventually(lambda: len(tool.notes.lines) == 3)

        assert tool.notes.lines == [f"connected {service.url}", f"lost {reason}", "back"]
        assert service.dialled == 2


async def test_service_is_asked_for_again_until_it_is_there_and_has_a_new_key() -> None:
    """A server that was started again may have another port, and another key."""

    async def first(call: Call) -> None:
        await call.send(WELCOME)
        service.refusals = [503, 429, 500]
        service.key = KEY.upper()
        await call.close(1001)

    service = Service(first, welcoming)
    async with dialling_to(service) as tool:
        await eventually(lambda: "back" in tool.notes.lines)

        assert (service.dialled, tool.notes.lines.count("back"), len(tool.notes.lines)) == (5, 1, 3)
        token = service.calls[1].query["access_token"]
        assert jwt.decode(token, KEY.upper(), ["HS256"], options={"verify_aud": False})


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_refusal_that_time_does_not_mend_ends_it(status: int) -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        service.refusals = [status]
        await call.close(1001)

    service = Service(first)
    async with dialling_to(service) as tool:
        assert (await tool.failure()).startswith(f"the server refused the connection: {status} ")


async def test_connection_is_opened_where_the_service_says() -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        await call.send(message_bytes(6, TargetId="t/1", Endpoint=other.url + "/", Message="Moved."))
        await call.stay()

    other = Service(welcoming)
    service = Service(first)
    async with dialling_to(service, other) as tool:
        await eventually(lambda: "back" in tool.notes.lines)

        (call,) = other.calls
        audience = f"ws{other.url.removeprefix('http')}/server/tunnel?hub=chat&target=t%2F1"
        assert jwt.decode(call.query["access_token"], KEY, ["HS256"], audience=audience)
        assert call.query["target"] == "t/1"


@pytest.mark.parametrize("endpoint", ["", None, "ftp://elsewhere", "http://[", "nonsense"])
async def test_place_that_cannot_be_dialled_is_that_of_before(endpoint: str | None) -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        await call.send(message_bytes(6, TargetId=None, Endpoint=endpoint, Message=""))
        await call.stay()

    service = Service(first, welcoming)
    async with dialling_to(service) as tool:
        await eventually(lambda: "back" in tool.notes.lines)

        assert "target" not in service.calls[1].query


async def test_target_that_refuses_is_given_up_for_the_place_of_before() -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        service.refusals = [503]
        await call.send(message_bytes(6, TargetId="t1", Endpoint="", Message=""))
        await call.stay()

    service = Service(first, welcoming)
    async with dialling_to(service) as tool:
        await eventually(lambda: "back" in tool.notes.lines)

        assert "target" not in service.calls[1].query


# More and fewer connections


async def test_one_more_connection_is_opened_when_the_service_wants_it_and_both_carry_requests() -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        await call.send(message_bytes(8, TargetId="t2", Endpoint="", Message="balance"))
        await eventually(lambda: len(service.calls) == 2)
        await call.ask(1, Url="tunnel:///first")
        await call.stay()

    async def second(call: Call) -> None:
        await call.send(WELCOME)
        await call.ask(1, Url="tunnel:///second")
        await call.stay()

    service = Service(first, second)
    async with dialling_to(service) as tool:
        await eventually(lambda: len(tool.application.asked) == 2)

        assert {request.url for request, _ in tool.application.asked} == {"tunnel:///first", "tunnel:///second"}
        assert service.calls[1].query["target"] == "t2"
        assert [line for line in tool.notes.lines if line.startswith(("lost", "back"))] == []


async def test_connections_are_not_opened_without_end() -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME, *[message_bytes(8, TargetId="t", Endpoint="", Message="")] * 20)
        await call.ask(1)
        await call.stay()

    service = Service(first, *[welcoming] * 20)
    async with dialling_to(service) as tool:
        await eventually(lambda: tool.application.asked and len(service.calls) == 8)
        await service.calls[0].ask(2)
        await eventually(lambda: len(tool.application.asked) == 2)

        assert len(service.calls) == 8


async def test_service_that_closes_the_last_connection_for_good_ends_it() -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        await call.send(message_bytes(7, Message="The resource is deleted."))
        await call.stay()

    service = Service(first)
    async with dialling_to(service) as tool:
        assert await tool.failure() == "the server ended the tunnel: The resource is deleted."
        await eventually(lambda: service.calls[0].closed == 1000)


async def test_service_that_closes_one_of_two_connections_for_good_leaves_the_other() -> None:
    async def first(call: Call) -> None:
        await call.send(WELCOME)
        await call.send(message_bytes(8, TargetId="", Endpoint="", Message=""))
        await eventually(lambda: len(service.calls) == 2)
        await call.send(message_bytes(7, Message=None))
        await call.stay()

    async def second(call: Call) -> None:
        await call.send(WELCOME)
        await eventually(lambda: service.calls[0].closed)
        await call.ask(1)
        await call.stay()

    service = Service(first, second)
    async with dialling_to(service) as tool:
        await eventually(lambda: tool.application.asked and "said the server ended the tunnel" in tool.notes.lines)

        assert not tool.running.done()


async def test_what_the_service_has_to_say_is_shown_and_what_nobody_knows_is_not() -> None:
    async def talk(call: Call) -> None:
        await call.send(WELCOME, message_bytes(5, Message="Maintenance."), message_bytes(5, Message=None))
        await call.send(message_bytes(99, Message="?"), message_bytes(2, AckId=1, StatusCode=200))
        await call.ask(1)
        await call.stay()

    async with dialling_to(Service(talk)) as tool:
        await eventually(lambda: tool.application.asked)

        assert [line for line in tool.notes.lines if line.startswith("said")] == ["said Maintenance."]


async def test_service_that_leaves_the_protocol_ends_it() -> None:
    async def talk(call: Call) -> None:
        await call.send(WELCOME)
        await call.send(b"\x01\x00\x00\x00\xff")
        await call.stay()

    async with dialling_to(Service(talk)) as tool:
        assert await tool.failure() == "the server does not speak the protocol of tunnels"


async def test_connections_are_closed_politely_when_it_is_ended() -> None:
    service = Service(welcoming)
    async with dialling_to(service) as tool:
        await eventually(lambda: tool.notes.lines)

        tool.running.cancel()
        await asyncio.wait({tool.running})

        await eventually(lambda: service.calls[0].closed == 1000)

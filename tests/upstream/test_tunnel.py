"""The tunnels of hubs: who is asked, whose answer it is, and what it is when none comes."""

import asyncio
import logging
from typing import Any

import pytest

from doubles import HUB, settle
from hubwire.model.names import HubKey
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.tunnel import Tunnel, Tunnels
from vectors.tunnel_frames import message_bytes, unpacked

URL = "tunnel:///eventhandler?code=k"
EVENT = OutgoingRequest("POST", URL, (("ce-type", "azure.webpubsub.sys.connect"), ("Content-Type", "x/y")), b"{}")
ELSEWHERE = HubKey("default", "elsewhere")
FOREVER_S = 1000.0

Said = tuple[int, dict[str, Any], bytes]


class Wire:
    """
    A tool that answers when the test says so.

    Attributes:
        sent: type, fields and body of what it was sent.
        closed: code and reason of the first close.
    """

    def __init__(self) -> None:
        self.sent: list[Said] = []
        self.closed: tuple[int, str] | None = None
        self.full = False
        self.tunnel: Tunnel

    def send(self, message: bytes) -> None:
        if self.closed is None:
            self.sent.append(unpacked(message))

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)

    @property
    def asked(self) -> list[Said]:
        """The requests among it."""
        return [said for said in self.sent if said[0] == 1]

    def answer(self, which: int = -1, content: bytes | None = b"", **fields: Any) -> None:
        """Answer one of the requests."""
        ack_id = self.asked[which][1]["AckId"]
        self.tunnel.receive(message_bytes(2, content, **{"AckId": ack_id, "StatusCode": 200, **fields}))


def dial(tunnels: Tunnels, hub: HubKey = HUB, user_id: str | None = None) -> Wire:
    """One more tool."""
    wire = Wire()
    wire.tunnel = tunnels.connect(hub, wire, user_id, "192.0.2.1")
    return wire


class Asking:
    """Requests under way."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def __call__(
        self, request: OutgoingRequest = EVENT, hub: HubKey = HUB, timeout_s: float = FOREVER_S
    ) -> "asyncio.Task[IncomingResponse]":
        task = asyncio.ensure_future(self._tunnels.send(hub, request, timeout_s))
        await settle()
        return task


@pytest.fixture
def tunnels() -> Tunnels:
    return Tunnels(response_bytes=1000)


@pytest.fixture
def ask(tunnels: Tunnels) -> Asking:
    return Asking(tunnels)


async def failure(waiting: "asyncio.Task[IncomingResponse]") -> WebhookFailed:
    """Why there was no response."""
    with pytest.raises(WebhookFailed) as caught:
        await waiting
    return caught.value


# Coming and going


def test_tool_is_told_first_that_it_is_connected(tunnels: Tunnels) -> None:
    wire, other = dial(tunnels, user_id="guid"), dial(tunnels)

    assert [wire.sent, other.sent] == [
        [(10, {"Type": 10, "ConnectionId": wire.tunnel.id, "UserId": "guid", "ReconnectionToken": None}, b"")],
        [(10, {"Type": 10, "ConnectionId": other.tunnel.id, "UserId": None, "ReconnectionToken": None}, b"")],
    ]
    assert wire.tunnel.id != other.tunnel.id


def test_tunnels_of_a_hub_are_counted_until_they_are_lost(tunnels: Tunnels) -> None:
    first, _, _ = dial(tunnels), dial(tunnels), dial(tunnels, ELSEWHERE)
    assert [tunnels.count(HUB), tunnels.count(ELSEWHERE), tunnels.count(HubKey("other", "chat"))] == [2, 1, 0]

    first.tunnel.lost()
    first.tunnel.lost()

    assert [tunnels.count(HUB), tunnels.count(ELSEWHERE)] == [1, 1]


def test_coming_and_going_is_logged_once_each_with_the_hub_and_how_many_are_left(
    tunnels: Tunnels, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hubwire.upstream"):
        wire = dial(tunnels)
        wire.tunnel.lost()
        wire.tunnel.lost()

    records: list[dict[str, Any]] = [vars(record)["record"] for record in caplog.records]
    shown = [(row["operationName"], row["hub"], row["resource"], row["tunnels"]) for row in records]
    assert shown == [("TunnelConnected", "chat", "default", 1), ("TunnelDisconnected", "chat", "default", 0)]
    assert {row["connectionId"] for row in records} == {wire.tunnel.id}
    assert records[0]["callerIpAddress"] == "192.0.2.1"


# Asking


async def test_event_goes_to_the_tool_and_its_answer_comes_back(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    waiting = await ask()

    assert wire.asked == [
        (
            1,
            {
                "Type": 1,
                "AckId": 1,
                "HttpMethod": "POST",
                "Url": URL,
                "Headers": {"ce-type": ["azure.webpubsub.sys.connect"], "Content-Type": ["x/y"]},
                "LocalRouting": False,
                "ChannelName": "",
            },
            b"{}",
        )
    ]

    wire.answer(content=b'{"userId":"u"}', StatusCode=201, Headers={"X": ["1", "2"], "ce-connectionState": ["s"]})

    assert await waiting == IncomingResponse(
        201, (("X", "1"), ("X", "2"), ("ce-connectionState", "s")), b'{"userId":"u"}'
    )
    assert wire.tunnel.in_flight == 0


async def test_headers_that_the_tool_sets_itself_are_left_out_and_lines_of_one_name_stand_together(
    tunnels: Tunnels, ask: Asking
) -> None:
    wire = dial(tunnels)
    headers = (("Host", "h"), ("Cookie", "a"), ("CONTENT-LENGTH", "2"), ("ce-signature", "s"), ("cookie", "b"))
    waiting = await ask(OutgoingRequest("POST", URL, headers))

    assert wire.asked[0][1]["Headers"] == {"Cookie": ["a", "b"], "ce-signature": ["s"]}
    wire.answer()
    await waiting


async def test_what_is_not_ascii_is_the_same_bytes_on_both_sides(tunnels: Tunnels, ask: Asking) -> None:
    """The official tool makes a byte of each character; one that decodes UTF-8 itself is understood as well."""
    wire = dial(tunnels)
    waiting = await ask(OutgoingRequest("POST", URL, (("ce-userId", "Ünï €"),)))

    (value,) = wire.asked[0][1]["Headers"]["ce-userId"]
    assert value.encode("latin-1").decode() == "Ünï €"

    wire.answer(Headers={"a": [value], "b": ["Ünï €"], "c": ["é"]})
    response = await waiting
    assert [response.last(name) for name in "abc"] == [value, value, "é"]


async def test_answers_find_their_requests_in_any_order(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    waiting = [await ask() for _ in range(3)]

    for which in (1, 2, 0):
        wire.answer(which, str(which).encode())

    assert [response.body for response in await asyncio.gather(*waiting)] == [b"0", b"1", b"2"]


async def test_answers_of_one_tunnel_are_none_to_the_requests_of_another(tunnels: Tunnels, ask: Asking) -> None:
    first, second = dial(tunnels), dial(tunnels)
    waiting = [await ask(), await ask()]
    assert [first.asked[0][1]["AckId"], second.asked[0][1]["AckId"]] == [1, 1]

    second.answer(content=b"second")
    await settle()
    assert [task.done() for task in waiting] == [False, True]

    first.answer(content=b"first")
    assert [response.body for response in await asyncio.gather(*waiting)] == [b"first", b"second"]


async def test_event_goes_to_one_tunnel_of_its_hub_the_one_with_the_fewest_in_flight(
    tunnels: Tunnels, ask: Asking
) -> None:
    wires = [dial(tunnels) for _ in range(3)]
    other = dial(tunnels, ELSEWHERE)
    waiting = [await ask() for _ in range(6)]
    assert [len(wire.asked) for wire in wires] == [2, 2, 2]

    wires[1].answer(0)
    await settle()
    waiting.append(await ask())

    assert [len(wire.asked) for wire in wires] == [2, 3, 2]
    assert other.asked == []
    for task in waiting:
        task.cancel()


async def test_numbers_of_requests_stay_below_what_other_tools_can_hold(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    wire.tunnel._last_ack_id = 2**31 - 2
    waiting = [await ask(), await ask()]

    assert [fields["AckId"] for _, fields, _ in wire.asked] == [2**31 - 1, 1]
    wire.answer(0)
    wire.answer(1)
    await asyncio.gather(*waiting)


# Parts


async def test_response_in_parts_is_put_together_with_the_status_and_headers_of_the_first(
    tunnels: Tunnels, ask: Asking
) -> None:
    wire = dial(tunnels)
    waiting = await ask()

    wire.answer(content=b"a", StatusCode=202, Headers={"x": ["first"]}, NotCompleted=True)
    wire.answer(content=None, StatusCode=500, NotCompleted=True)
    await settle()
    assert not waiting.done()
    wire.answer(content=b"b", StatusCode=500, Headers={"x": ["last"]}, NotCompleted=False)

    assert await waiting == IncomingResponse(202, (("x", "first"),), b"ab")


async def test_response_that_is_larger_than_it_may_be_fails_at_the_part_that_is_too_much(
    tunnels: Tunnels, ask: Asking
) -> None:
    wire = dial(tunnels)
    first, second = await ask(), await ask()

    wire.answer(0, b"x" * 1000, NotCompleted=True)
    wire.answer(1, b"x" * 1000)
    assert (await second).body == b"x" * 1000
    assert not first.done()

    wire.answer(0, b"x", NotCompleted=True)
    assert (await failure(first)).kind == "too large"
    wire.tunnel.receive(message_bytes(2, b"late", AckId=1, StatusCode=200))
    assert (wire.closed, tunnels.count(HUB)) == (None, 1)


async def test_event_that_is_larger_than_a_tunnel_carries_is_not_sent(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)

    assert (await failure(await ask(OutgoingRequest("POST", URL, (), b"x" * (1 << 20))))).kind == "too large"
    assert (wire.asked, wire.tunnel.in_flight) == ([], 0)

    waiting = await ask(OutgoingRequest("POST", URL, (), b"x" * ((1 << 20) - 1000)))
    wire.answer()
    assert (await waiting).status == 200


# When no answer comes


@pytest.mark.parametrize(
    ("hub", "command"),
    [
        (HUB, "hubwire tunnel --hub chat --upstream URL"),
        (HubKey("other", "chat"), "hubwire tunnel --hub chat --upstream URL --resource other"),
    ],
)
async def test_hub_without_a_tunnel_says_what_to_type(tunnels: Tunnels, ask: Asking, hub: HubKey, command: str) -> None:
    dial(tunnels, ELSEWHERE)

    fault = await failure(await ask(hub=hub))

    assert (fault.kind, fault.reason) == ("unreachable", f"no tunnel of hub chat is connected; connect one: {command}")


async def test_tool_that_does_not_answer_in_time_is_a_timeout_and_its_late_answer_is_nobodys(
    tunnels: Tunnels, ask: Asking
) -> None:
    wire = dial(tunnels)

    assert (await failure(await ask(timeout_s=0))).kind == "timeout"

    wire.tunnel.receive(message_bytes(2, b"late", AckId=1, StatusCode=200))
    waiting = await ask()
    wire.answer(content=b"in time")
    assert (await waiting).body == b"in time"


async def test_tunnel_that_is_lost_fails_what_waits_there_and_nothing_else(tunnels: Tunnels, ask: Asking) -> None:
    first, second = dial(tunnels), dial(tunnels)
    waiting = [await ask(), await ask(), await ask()]

    first.tunnel.lost()

    assert [(await failure(task)).kind for task in (waiting[0], waiting[2])] == ["unreachable"] * 2
    second.answer()
    assert (await waiting[1]).status == 200


async def test_request_that_nobody_waits_for_any_more_is_forgotten(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    waiting = await ask()

    waiting.cancel()
    await settle()

    assert wire.tunnel.in_flight == 0
    wire.answer()
    assert tunnels.count(HUB) == 1


async def test_tunnel_takes_no_more_than_so_many_requests_at_once(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    waiting = [await ask() for _ in range(256)]

    fault = await failure(await ask())

    assert (fault.kind, len(wire.asked)) == ("unreachable", 256)
    assert fault.reason.startswith("the tunnels of hub chat are busy; ")
    wire.answer(0)
    await waiting[0]
    more = await ask()
    assert len(wire.asked) == 257
    for task in (*waiting, more):
        task.cancel()


async def test_tunnel_whose_socket_is_full_is_passed_over(tunnels: Tunnels, ask: Asking) -> None:
    first, second = dial(tunnels), dial(tunnels)
    first.full = True
    waiting = await ask()
    assert [len(wire.asked) for wire in (first, second)] == [0, 1]

    second.full = True
    assert (await failure(await ask())).kind == "unreachable"
    waiting.cancel()


@pytest.mark.parametrize(
    "fields",
    [
        {"StatusCode": 0},
        {"StatusCode": 101},
        {"StatusCode": 600},
        {"StatusCode": -200},
        {"Headers": {"no token": ["x"]}},
        {"Headers": {"": ["x"]}},
        {"Headers": {"x": ["a", "b\r\nInjected: 1"]}},
        {"Headers": {"x": "a\nb"}},
        {"Headers": {"x": ["\x00"]}},
    ],
)
async def test_response_that_is_none_of_http_is_invalid(tunnels: Tunnels, ask: Asking, fields: dict[str, Any]) -> None:
    """What it holds may be sent on in the head of a later request."""
    wire = dial(tunnels)
    waiting = await ask()

    wire.answer(**fields)

    assert (await failure(waiting)).kind == "invalid"
    assert tunnels.count(HUB) == 1


async def test_reason_of_a_failure_never_quotes_the_url(tunnels: Tunnels, ask: Asking) -> None:
    fault = await failure(await ask(OutgoingRequest("POST", "tunnel:///e?code=hidden", ())))
    dial(tunnels)
    late = await failure(await ask(OutgoingRequest("POST", "tunnel:///e?code=hidden", ()), timeout_s=0))

    assert "hidden" not in f"{fault}{late}"


# What else a tool says


async def test_message_that_is_none_ends_the_tunnel_and_fails_what_waits(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    waiting = await ask()

    wire.tunnel.receive(b"\x01\x00\x00\x00\xff")

    assert wire.closed == (1007, "the message of the tunnel is malformed")
    assert (await failure(waiting)).kind == "unreachable"
    assert tunnels.count(HUB) == 0


async def test_answer_before_a_message_that_is_none_still_counts(tunnels: Tunnels, ask: Asking) -> None:
    wire = dial(tunnels)
    waiting = await ask()

    wire.tunnel.receive(message_bytes(2, b"ok", AckId=1, StatusCode=200) + b"\x01\x00\x00\x00\xff")

    assert (await waiting).body == b"ok"
    assert wire.closed is not None


def test_request_of_a_tool_is_answered_that_there_is_no_such_thing(tunnels: Tunnels) -> None:
    """It would wait for ever otherwise."""
    wire = dial(tunnels)

    wire.tunnel.receive(
        message_bytes(
            1, b"x", AckId=9, LocalRouting=True, ChannelName="c", HttpMethod="POST", Url="https://host/api", Headers={}
        )
    )

    number, fields, content = wire.sent[-1]
    said = (number, fields["AckId"], fields["StatusCode"], fields["LocalRouting"], fields["ChannelName"])
    assert said == (2, 9, 501, True, "c")
    assert content.startswith(b"This server takes no requests through a tunnel")


def test_what_only_servers_say_is_passed_over_when_a_tool_says_it(tunnels: Tunnels) -> None:
    wire = dial(tunnels)

    wire.tunnel.receive(message_bytes(7, Message="m") + message_bytes(10, ConnectionId="c") + message_bytes(99))

    assert (len(wire.sent), wire.closed, tunnels.count(HUB)) == (1, None, 1)


# The end


@pytest.mark.parametrize(
    ("for_good", "said"),
    [
        (False, (6, {"Type": 6, "TargetId": "", "Endpoint": "", "Message": "Bye."}, b"")),
        (True, (7, {"Type": 7, "Message": "Bye."}, b"")),
    ],
)
async def test_tools_are_asked_to_leave_and_told_whether_to_come_back(
    tunnels: Tunnels, ask: Asking, for_good: bool, said: Said
) -> None:
    wire, other = dial(tunnels), dial(tunnels, HubKey("other", "chat"))
    waiting = await ask()

    tunnels.dismiss("Bye.", "default", for_good=for_good)

    assert (wire.sent[-1], wire.closed) == (said, (1001, "Bye."))
    assert (await failure(waiting)).kind == "unreachable"
    assert (tunnels.count(HUB), other.closed) == (0, None)

    tunnels.dismiss("Bye.", for_good=for_good)
    assert other.closed == (1001, "Bye.")

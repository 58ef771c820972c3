"""
Handlers that nobody can reach, and that have dialled in: the tunnels of each hub, and what waits for their answers.

One tunnel carries many requests at once; a number (`AckId`) says which answer belongs to which. Each event goes to one
tunnel only, the one with the fewest requests in flight.

Source: the tunnel protocol as the service's open tool (awps-tunnel) speaks it; RFC 9110, section 5 (fields).
"""

import asyncio
import logging
import re
import secrets
from typing import Final, Protocol

from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.names import HubKey
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.tunnel_frames import (
    MAX_MESSAGE_BYTES,
    ConnectionClose,
    ConnectionConnected,
    ConnectionReconnect,
    HeaderLines,
    HttpRequest,
    HttpResponse,
    TunnelFrame,
    TunnelReader,
    encode_message,
)

__all__ = ["Tunnel", "TunnelWire", "Tunnels", "how_to_dial_in"]

_log = logging.getLogger("hubwire.upstream")

_GOING_AWAY: Final = 1001
_IN_FLIGHT: Final = 256
_LARGEST_ACK_ID: Final = (1 << 31) - 1
_SLACK_BYTES: Final = 1 << 20
"""Room for headers, in a message that brings a whole body."""
_NOT_OFFERED: Final = b"This server takes no requests through a tunnel; call its REST operations over HTTP."

# RFC 9110, 5.1 and 5.5. What stands in a response may be sent on in the head of a later request.
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNFIT: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS: Final = frozenset({"content-length", "host"})
"""Headers that the tool sets itself, since it makes the request."""


class TunnelWire(Protocol):
    """The way out to one tool, given by the edge."""

    @property
    def full(self) -> bool:
        """So much waits there already that nothing should be added."""

    def send(self, message: bytes) -> None:
        """Send a whole message, in a WebSocket message of its own; never waits. Does nothing once it is closed."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye after what was sent, and end. Repeating it does nothing."""


class _Exchange:
    """
    One request that waits for its answer.

    Attributes:
        outcome: done by the last part of the response, or by what makes that impossible.
    """

    __slots__ = ("_body", "_first", "_most", "outcome")

    def __init__(self, most_bytes: int) -> None:
        self.outcome: asyncio.Future[IncomingResponse | WebhookFailed] = asyncio.get_running_loop().create_future()
        self._most = most_bytes
        self._first: HttpResponse | None = None
        self._body = bytearray()

    def take(self, part: HttpResponse, content: bytes) -> None:
        """One part of the response. Status and headers are those of the first."""
        if self._first is None:
            self._first = part
        if len(self._body) + len(content) > self._most:
            text = f"the response that came through the tunnel is larger than {self._most} bytes"
            self.end(WebhookFailed(text, "too large"))
            return
        self._body += content
        if not part.not_completed:
            self.end(_response(self._first, bytes(self._body)))

    def end(self, outcome: IncomingResponse | WebhookFailed) -> None:
        """This is what became of it."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Tunnel:
    """
    One connection of a tool. Made by `Tunnels.connect`.

    Attributes:
        id: that it is told, and that stands in the log.
    """

    def __init__(self, tunnels: "Tunnels", hub: HubKey, wire: TunnelWire, most_bytes: int) -> None:
        self.id = secrets.token_hex(16)
        self.hub = hub
        self._tunnels = tunnels
        self._wire = wire
        self._most = most_bytes
        # The tool sends a response as one message, however long that is.
        self._reader = TunnelReader(most_bytes + _SLACK_BYTES)
        self._waiting: dict[int, _Exchange] = {}
        self._last_ack_id = 0

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answers."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Can it take one more."""
        return self.in_flight < _IN_FLIGHT and not self._wire.full

    def receive(self, payload: bytes) -> None:
        """A WebSocket message of the tool."""
        for frame in self._reader.feed(payload):
            self._take(frame)
        fault = self._reader.fault
        if fault is not None:
            self._wire.close(fault.close_code, fault.reason)
            self.lost()

    def lost(self) -> None:
        """The tool is gone. Repeating it does nothing."""
        if self._tunnels.forget(self):
            for exchange in self._waiting.values():
                exchange.end(WebhookFailed("the tunnel was lost before its answer came", "unreachable"))

    async def ask(self, request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        """
        See `Tunnels.send`.

        Raises:
            WebhookFailed: there is no response that can be used.
        """
        ack_id = self._last_ack_id % _LARGEST_ACK_ID + 1
        message = HttpRequest(ack_id, request.method, request.url, _lines(request.headers))
        encoded = encode_message(message, request.body)
        if len(encoded) > MAX_MESSAGE_BYTES:
            raise WebhookFailed(f"the event is larger than a tunnel carries, {MAX_MESSAGE_BYTES} bytes", "too large")
        self._last_ack_id = ack_id
        exchange = self._waiting[ack_id] = _Exchange(self._most)
        try:
            self._wire.send(encoded)
            async with asyncio.timeout(timeout_s):
                outcome = await exchange.outcome
        except TimeoutError as error:
            raise WebhookFailed(f"no answer came through the tunnel within {timeout_s:g} seconds", "timeout") from error
        finally:
            del self._waiting[ack_id]
        if isinstance(outcome, WebhookFailed):
            raise outcome
        return outcome

    def dismiss(self, text: str, *, for_good: bool) -> None:
        """
        Ask the tool to leave, and end its connection.

        Args:
            text: for the person at the tool.
            for_good: it should not come back.
        """
        self._wire.send(encode_message(ConnectionClose(text) if for_good else ConnectionReconnect(message=text)))
        self._wire.close(_GOING_AWAY, text)
        self.lost()

    def _take(self, frame: TunnelFrame) -> None:
        match frame.message:
            case HttpResponse(ack_id=ack_id) as part:
                # Who waited for an unknown one has given up.
                if exchange := self._waiting.get(ack_id):
                    exchange.take(part, frame.content)
            case HttpRequest(ack_id=ack_id, local_routing=routing, channel_name=channel):
                headers: HeaderLines = {"Content-Type": ["text/plain; charset=utf-8"]}
                answer = HttpResponse(ack_id, 501, headers, local_routing=routing, channel_name=channel)
                self._wire.send(encode_message(answer, _NOT_OFFERED))
            case _:
                return  # what we say to tools, said to us


class Tunnels:
    """
    The tunnels of all hubs.

    Args:
        response_bytes: that the body of a response may have.
    """

    def __init__(self, response_bytes: int = 16 << 20) -> None:
        self._response_bytes = response_bytes
        self._of: dict[HubKey, list[Tunnel]] = {}

    def count(self, hub: HubKey) -> int:
        """How many tunnels a hub has."""
        return len(self._of.get(hub, ()))

    def connect(self, hub: HubKey, wire: TunnelWire, user_id: str | None, client_ip: str) -> Tunnel:
        """
        A tool has dialled in. It is told so, and gets events from now on.

        Args:
            user_id: of its token; what the tool calls itself.
        """
        tunnel = Tunnel(self, hub, wire, self._response_bytes)
        wire.send(encode_message(ConnectionConnected(tunnel.id, user_id)))
        self._of.setdefault(hub, []).append(tunnel)
        self._record("TunnelConnected", "Tunnel connected", tunnel, client_ip)
        return tunnel

    def forget(self, tunnel: Tunnel) -> bool:
        """A tunnel is gone; false if that was known."""
        of_hub = self._of.get(tunnel.hub, [])
        if tunnel not in of_hub:
            return False
        of_hub.remove(tunnel)
        if not of_hub:
            del self._of[tunnel.hub]
        self._record("TunnelDisconnected", "Tunnel disconnected", tunnel, None)
        return True

    async def send(self, hub: HubKey, request: OutgoingRequest, timeout_s: float, /) -> IncomingResponse:
        """
        One attempt to let a handler of this hub answer a request.

        Args:
            request: whose `url` may be `tunnel:///path?query`; it goes to the tool as it is.
            timeout_s: for all of it.

        Raises:
            WebhookFailed: "unreachable", no tunnel is connected, all are busy, or it was lost before it answered;
                "timeout"; "too large", the request or the response; "invalid", the response is none of HTTP.
        """
        tunnels = self._of.get(hub)
        if not tunnels:
            raise WebhookFailed(
                f"no tunnel of hub {hub.hub} is connected; connect one: {how_to_dial_in(hub)}", "unreachable"
            )
        ready = [tunnel for tunnel in tunnels if tunnel.ready]
        if not ready:
            text = f"the tunnels of hub {hub.hub} are busy; connect one more: {how_to_dial_in(hub)}"
            raise WebhookFailed(text, "unreachable")
        return await min(ready, key=lambda tunnel: tunnel.in_flight).ask(request, timeout_s)

    def dismiss(self, text: str, resource: str | None = None, *, for_good: bool = False) -> None:
        """
        Ask all tools to leave, or those of one resource, and end their connections.

        Args:
            text: for the person at the tool.
            for_good: they should not come back; else they try to until they can.
        """
        leaving = [tunnel for tunnels in self._of.values() for tunnel in tunnels]
        for tunnel in leaving:
            if resource is None or tunnel.hub.resource == resource:
                tunnel.dismiss(text, for_good=for_good)

    def _record(self, operation: str, text: str, tunnel: Tunnel, client_ip: str | None) -> None:
        record = {
            "operationName": operation,
            "callerIpAddress": client_ip,
            "hub": tunnel.hub.hub,
            "resource": tunnel.hub.resource,
            "connectionId": tunnel.id,
            "tunnels": self.count(tunnel.hub),
        }
        _log.info("%s", text, extra={"record": record})


def how_to_dial_in(hub: HubKey) -> str:
    """What to type."""
    resource = "" if hub.resource == DEFAULT_RESOURCE else f" --resource {hub.resource}"
    return f"hubwire tunnel --hub {hub.hub} --upstream URL{resource}"


def _lines(headers: tuple[tuple[str, str], ...]) -> HeaderLines:
    """Headers by name, in the spelling of the first; bytes beyond ASCII stand for themselves."""
    lines: HeaderLines = {}
    known: dict[str, list[str]] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in _OURS:
            continue
        if lower not in known:
            lines[name] = known[lower] = []
        known[lower].append(value.encode("utf-8", "replace").decode("latin-1"))
    return lines


def _response(first: HttpResponse, body: bytes) -> IncomingResponse | WebhookFailed:
    if not 200 <= first.status_code <= 599:
        return WebhookFailed("the response that came through the tunnel has no status of HTTP", "invalid")
    headers: list[tuple[str, str]] = []
    for name, values in (first.headers or {}).items():
        lines = [values] if isinstance(values, str) else values or ()
        if _NAME.fullmatch(name) is None or any(map(_UNFIT.search, lines)):
            return WebhookFailed("the response that came through the tunnel has a header that HTTP has not", "invalid")
        headers += [(name, _latin(line)) for line in lines]
    return IncomingResponse(first.status_code, tuple(headers), body)


def _latin(text: str) -> str:
    """Text that a tool has decoded already, as bytes again."""
    return text if all(character <= "\xff" for character in text) else text.encode().decode("latin-1")

"""
The HTTP server behind the front: uvicorn's protocol on a transport that the front controls.

Only what uvicorn 0.40 to 0.59 have in common is used: the constructor, `connection_made`, `data_received`,
`connection_lost`, `pause_writing`, `resume_writing`, `shutdown`; of its attributes `app_state`, `scheme`, `flow`,
`server_state` and `cycle`, of which `response_started`, `response_complete` and `default_headers`. Overridden is
`on_response_complete` alone.
"""

import asyncio
from typing import Any, Literal, Protocol

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = ["Outer", "RestProtocol", "RestTransport"]


class Outer(Protocol):
    """What the inner server tells the front."""

    def pause_inner(self) -> None:
        """The application reads its body more slowly than it comes."""

    def resume_inner(self) -> None:
        """The application wants more of its body."""

    def close_inner(self) -> None:
        """The inner server wants the connection closed after what it has written."""

    def complete_inner(self) -> None:
        """A response was written to its end; perhaps `close_inner` came before."""


class RestTransport(asyncio.Transport):
    """
    The connection as uvicorn sees it. It may write; pausing and closing are the front's to decide.

    Attributes:
        open: false cuts uvicorn off: it believes that the connection is closing, and nothing it writes goes out.
    """

    __slots__ = ("_outer", "_transport", "open")

    def __init__(self, outer: Outer, transport: asyncio.Transport) -> None:
        super().__init__()
        self._outer = outer
        self._transport = transport
        self.open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.open:
            self._transport.write(data)

    def close(self) -> None:
        if self.open:
            self._outer.close_inner()

    def is_closing(self) -> bool:
        return not self.open or self._transport.is_closing()

    def pause_reading(self) -> None:
        if self.open:
            self._outer.pause_inner()

    def resume_reading(self) -> None:
        if self.open:
            self._outer.resume_inner()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class RestProtocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection. It is given one request at a time, so its own queue stays empty."""

    def __init__(self, config: Config, server_state: ServerState, outer: Outer, transport: asyncio.Transport) -> None:
        super().__init__(config, server_state, {})
        self._outer = outer
        self._gate = RestTransport(outer, transport)
        self.connection_made(self._gate)

    def expect(self, state: dict[str, Any], scheme: Literal["http", "https"]) -> None:
        """The next request has this `scope["state"]` and scheme. Call it before each head."""
        self.app_state = state
        self.scheme = scheme

    @property
    def answering(self) -> bool:
        """Has a response begun that is not at its end."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request, whatever its type says
        return cycle is not None and cycle.response_started and not cycle.response_complete

    def finish(self) -> None:
        """The connection closes after the response in flight, which says so if it has not begun."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_started:
            cycle.default_headers = [*cycle.default_headers, (b"connection", b"close")]  # early 0.4x would not say it
        self.shutdown()

    def detach(self) -> None:
        """Cut off: the application hears that the client is gone, and may run to its end."""
        self._gate.open = False
        self.connection_lost(None)

    def silence(self) -> None:
        """Let nothing more out, because the connection is closing; `detach` follows when it is closed."""
        self._gate.open = False

    def on_response_complete(self) -> None:
        # Not uvicorn's own: it would begin the next request of its queue, or arm a timer for each response. The front
        # does both, the second with one timer for all connections.
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._outer.complete_inner()

"""
The HTTP server behind the front: uvicorn's protocol on a transport that the front controls.

Only what uvicorn 0.40 to 0.59 have in common is used: the constructor, `connection_made`, `data_received`,
`connection_lost`, `pause_writing`, `resume_writing`, `shutdown`; of its attributes `app_state`, `scheme`, `flow`,
`server_state` and `cycle`, of which `response_started`, `response_complete` and `default_headers`. Overridden is
`on_response_complete` alone.
"""

import asyncio
from typing import Any, Final, Literal, Protocol

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = ["Outer", "RestProtocol", "RestTransport"]

_JOINED_BYTES: Final = 64 * 1024
"""More is not copied to spare a system call."""


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

    uvicorn writes the head of a response and its body one after the other. The first waits for the second, since one
    write costs half as much as two, but never beyond this turn of the loop.

    Attributes:
        open: false cuts uvicorn off: it believes that the connection is closing, and nothing it writes goes out.
    """

    __slots__ = ("_held", "_loop", "_outer", "_transport", "open")

    def __init__(self, outer: Outer, transport: asyncio.Transport) -> None:
        super().__init__()
        self._outer = outer
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self.open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.open:
            return
        held, self._held = self._held, b""
        if len(data) > _JOINED_BYTES:
            if held:
                self._transport.write(held)
            self._transport.write(data)
        elif held:
            self._transport.write(held + data)
        elif data:
            self._held = bytes(data)
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Let out what waits for more."""
        held, self._held = self._held, b""
        if held and self.open and not self._transport.is_closing():
            self._transport.write(held)

    def cut(self) -> None:
        """Nothing more goes out than what was written."""
        self.flush()
        self.open = False

    def close(self) -> None:
        if self.open:
            self.flush()
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
        self._gate.cut()
        self.connection_lost(None)

    def silence(self) -> None:
        """Let nothing more out, because the connection is closing; `detach` follows when it is closed."""
        self._gate.cut()

    def on_response_complete(self) -> None:
        # Not uvicorn's own: it would begin the next request of its queue, or arm a timer for each response. The front
        # does both, the second with one timer for all connections.
        self._gate.flush()
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._outer.complete_inner()

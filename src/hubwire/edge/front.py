"""
One port for everything: reads each request head within bounds, and decides who has the connection next.

    HEAD    between requests, or a head is coming
      -> QUEUED           a whole head, and too many others in this turn; then as below
      -> handed over      it asks for WebSocket: `FrontContext.upgrade` has the transport from here on
      -> DECIDING         the same, once an event handler has said whether it may
      -> ANSWER           it has no body, or that is here too: it goes to the application, whose answer is awaited
      -> BODY -> ANSWER   it goes to the HTTP server behind (`inner`), its body after it; then its response is awaited
      -> LINGER           it is refused
    ANSWER -> HEAD        the response is complete
    LINGER -> CLOSING     last words are written; what still comes in is thrown away for a short while
    CLOSING -> GONE       the transport sends what it holds

The application and the inner server are given one request at a time, so whatever comes next, be it a request, an
upgrade or a fault, waits for the response before it. What a client sends ahead waits in the kernel, except for what one
read brought.

What a client may do to a front, and what stops it: a head without end (`max_head_bytes`), a slow head or body, a
silent connection, not taking its answer (deadlines, see `context`), sending ahead (reading pauses), two meanings of
one request (`head`, `body`), sending on after its answer (`_DISCARDED_BYTES`), too many connections (`max_sockets`),
sending while it is decided on (`_EARLY_BYTES`),
coming in crowds (`FrontContext.heads`).
"""

import asyncio
import math
import re
import time
from enum import Enum, auto
from typing import Any, Final, Literal, cast

from hubwire.edge.answers import FAILED, response
from hubwire.edge.body import Body, ChunkedBody, FixedBody
from hubwire.edge.context import FrontContext, Undecided
from hubwire.edge.head import Head, RequestFault, parse_head, serialise
from hubwire.edge.inner import RestProtocol
from hubwire.edge.proxies import forwarded_certificate, peer_address
from hubwire.edge.tls import peer_certificate
from hubwire.gateway.handshake import is_client_path
from hubwire.gateway.tunnel_handshake import is_tunnel_path
from hubwire.model.http import RequestHead, WholeAnswer, WholeRequest

__all__ = ["Front", "FrontContext"]

_LINGER_S: Final = 2.0
_GOODBYE_S: Final = 0.2
_DISCARDED_BYTES: Final = 4 << 20  # of a body that nobody wants, so that its sender gets to read the answer

_EARLY_BYTES: Final = 64 * 1024  # of a client that is not let in yet

_HEAD_BEGINS = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]|\r\Z")
_MQTT_CONNECT: Final = 0x10  # the first byte of whoever speaks MQTT without WebSocket (OASIS MQTT 5.0, 3.1.1)
_BARE_LF = re.compile(rb"(?<!\r)\n")


class _State(Enum):
    HEAD = auto()
    QUEUED = auto()
    DECIDING = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSING = auto()
    GONE = auto()


class Front:
    """
    The protocol of one accepted connection until it closes or becomes a WebSocket.

    Args:
        control: does the listener belong to the control socket.
        resource: that the listener belongs to; None where the host says it.

    Attributes:
        deadline, resource: see `Gate`.
    """

    __slots__ = (
        "_answered",
        "_blank_seen",
        "_body",
        "_body_begun",
        "_buffer",
        "_client_ip",
        "_context",
        "_control",
        "_discarded",
        "_eof",
        "_head_only",
        "_held",
        "_inner",
        "_inner_paused",
        "_last",
        "_own_ip",
        "_patient",
        "_peer",
        "_proxied",
        "_scheme",
        "_searched",
        "_state",
        "_transport",
        "_undecided",
        "_unsent",
        "_whole",
        "_write_paused",
        "deadline",
        "resource",
    )

    def __init__(self, context: FrontContext, control: bool = False, resource: str | None = None) -> None:
        self._context = context
        self._control = control
        self.resource = resource
        self._state = _State.GONE
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._inner: RestProtocol | None = None
        self.deadline = math.inf
        self._peer = ""
        self._own_ip: str | None = None  # until a request wants it
        self._scheme: Literal["http", "https"] = "http"
        self._proxied = False
        self._eof = False
        # What came and is not read yet: the begin of a head, or what was sent ahead.
        self._buffer = b""
        self._searched = 0
        self._blank_seen = False
        self._head_only = False
        self._client_ip = ""  # the peer's, until a head that a trusted proxy sent names another
        # Two reasons to pause reading, and the other direction.
        self._held = False
        self._inner_paused = False
        self._write_paused = False
        self._unsent = 0  # bytes in the transport when the deadline was set
        # The request in flight.
        self._body: Body | None = None
        self._body_begun = False
        self._answered = False
        self._whole = False  # the application has it, and not the inner server
        self._last = False
        self._patient = False
        self._discarded = 0
        self._undecided: Undecided | None = None

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport and not its name.
        self._transport = cast("asyncio.Transport", transport)
        context = self._context
        self._peer = self._client_ip = peer_address(transport.get_extra_info("peername"))
        if context.closing or context.full:
            self._transport.write(context.refusal(503, "the server is full or shutting down", self._peer))
            self._transport.close()
            return
        self._proxied = context.trusted.trusts(self._peer)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._state = _State.HEAD
        self.deadline = time.monotonic() + context.head_timeout_s
        context.add(self)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _State.HEAD:
            self._gather(data)
        elif state is _State.BODY:
            self._pass_on(b"", data)
        elif state is _State.ANSWER or state is _State.QUEUED:
            self._buffer += data
            self._hold()
        elif state is _State.DECIDING:
            self._buffer += data
            if len(self._buffer) > _EARLY_BYTES:
                self._hold()
        elif state is _State.LINGER:
            self._discarded += len(data)
            if self._discarded > _DISCARDED_BYTES:
                self._close()

    def eof_received(self) -> bool:
        """A client that closed its side after whole requests still gets their answers (not with TLS, which cannot)."""
        self._eof = True
        asked = self._state in (_State.ANSWER, _State.QUEUED) or (self._state is _State.HEAD and self._held)
        return asked and self._scheme == "http"

    def connection_lost(self, _exc: Exception | None) -> None:
        self._drop_inner()
        self._leave()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._wait_for_client()
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wait_for_client()
        if self._inner is not None:
            self._inner.resume_writing()
        if self._held and self._state is _State.HEAD:
            self._go_on()

    # What the inner server says

    def pause_inner(self) -> None:
        self._inner_paused = True
        self._wait_for_client()
        self._transport.pause_reading()

    def resume_inner(self) -> None:
        self._inner_paused = False
        self._wait_for_client()
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    def close_inner(self) -> None:
        self._end()

    def complete_inner(self) -> None:
        state = self._state
        if state is _State.BODY:
            # The application did not want all of the body. A client that still waits for leave to send it may send
            # the next request instead, which we would take for the body: so nothing more is read.
            if self._last or self._context.closing or (self._patient and not self._body_begun):
                self._end()
            else:
                self._answered = True
        elif state is _State.ANSWER:
            self._next()

    # What the context says

    def expire(self) -> None:
        if self._state is _State.LINGER:
            self._close()
        elif self._write_paused or self._state is _State.CLOSING:
            self._give_up_on_sending()
        elif self._state is _State.BODY:
            self._refuse(408, "the request body did not come in time")
        elif self._buffer:
            self._refuse(408, "the request head did not come in time")
        else:
            self._close()

    def retire(self) -> None:
        if self._state is _State.HEAD and not self._buffer:
            self._close()
            # All is said and taken. Many clients answer no goodbye of TLS before they want something again.
            self.deadline = time.monotonic() + _GOODBYE_S
        elif self._state is _State.DECIDING:
            # Whatever is decided, nobody is let in any more. Who is asked is heard to the end by those who asked.
            self._forget_decision()
            self._refuse(503, "the server is shutting down")
        elif self._whole:
            self._last = True
        elif self._state in (_State.BODY, _State.ANSWER) and self._inner is not None:
            self._inner.finish()

    def abort(self) -> None:
        self._drop_inner()
        self._transport.abort()

    # One request

    def _gather(self, data: bytes) -> None:
        """Bytes of a head, perhaps its last ones, perhaps with more behind it."""
        if self._buffer:
            data = self._buffer + data
        else:
            self.deadline = time.monotonic() + self._context.head_timeout_s
        if not self._blank_seen and data.startswith(b"\r\n"):
            # Some clients send one line end too many after a body (RFC 9112, 2.2).
            self._blank_seen = True
            self._searched = 0
            data = data[2:]
        self._head_only = data.startswith(b"HEAD ")
        end = data.find(b"\r\n\r\n", self._searched) + 4
        if end < 4:
            self._await_rest(data)
        elif end > self._context.max_head_bytes:
            self._refuse(431, "the request head is too large")
        elif self._write_paused:
            # The response before it is not taken yet. It waits, and so does the socket: that bounds what clients
            # make us say without listening, and whoever takes over finds a transport that can write.
            self._buffer, self._searched = data, 0
            self._hold()
        elif self._context.heads.enter(self._admitted):
            self._buffer, self._searched, self._blank_seen = b"", 0, False
            self._begin(data[:end], data[end:])
        else:
            self._buffer, self._searched = data, end
            self._state = _State.QUEUED
            self.deadline = math.inf
            self._hold()

    def _admitted(self) -> None:
        """The head that had to wait for its turn has it."""
        if self._state is not _State.QUEUED:
            return
        data, end = self._buffer, self._searched
        self._buffer, self._searched, self._blank_seen = b"", 0, False
        self._state = _State.HEAD
        self._begin(data[:end], data[end:])
        self._listen_again()

    def _await_rest(self, data: bytes) -> None:
        """Keep the begin of a head, unless it can no longer become a good one."""
        self._buffer = data
        if len(data) >= self._context.max_head_bytes:
            self._refuse(431, "the request head is too large")
        elif data and _HEAD_BEGINS.match(data) is None:
            if data[0] == _MQTT_CONNECT:
                self._refuse(400, "MQTT over TCP is not spoken here: set the client to MQTT over WebSocket")
            else:
                self._refuse(400, "this is not HTTP")
        elif _BARE_LF.search(data, self._searched):
            self._refuse(400, "a line does not end with CR LF")
        else:
            self._searched = max(0, len(data) - 3)

    def _begin(self, wire: bytes, rest: bytes) -> None:
        """A whole head is here."""
        context = self._context
        try:
            head = parse_head(wire)
        except RequestFault as fault:
            self._refuse(fault.status, fault.reason)
            return
        scheme, host = str(self._scheme), head.host
        if self._proxied:
            self._client_ip, scheme, host = context.trusted.resolve(self._peer, head.headers, scheme, host)
        resource = context.resource_of(host) if self.resource is None else self.resource
        if context.closing:
            self._refuse(503, "the server is shutting down")
        elif head.websocket:
            certificate = self._certificate(head)
            request = RequestHead(
                head.method,
                head.target,
                head.headers,
                head.fields,
                scheme,
                host,
                self._client_ip,
                certificate,
                resource,
            )
            self._hand_over(request, rest)
        elif is_client_path(head.target) or is_tunnel_path(head.target):
            # Whatever else it is, by the rules of HTTP it is no upgrade, and nothing but those is served there.
            self._refuse(400, "this endpoint takes WebSocket upgrade requests only")
        elif context.answering is not None and head.verbatim and self._is_whole(head, rest):
            self._ask(head, scheme, host, resource, rest)
        else:
            state = {
                **context.app_state,
                "host": host,
                "scheme": scheme,
                "client_ip": self._client_ip,
                "target": head.target,
                "sent_host": next(iter(head.fields.get("host", ())), ""),
                "control": self._control,
                "resource": resource,
            }
            self._forward(head, state, wire if head.verbatim else serialise(head), rest)

    def _certificate(self, head: Head) -> bytes | None:
        """What the client showed: to the trusted proxy in front of us, which then is nearer to it, or to us."""
        context = self._context
        if self._proxied:
            # Its own, if it showed one, is not its client's.
            header = context.certificate_header
            return None if header is None else forwarded_certificate(head.fields.get(header, ()))
        return peer_certificate(self._transport) if self._scheme == "https" else None

    def _hand_over(self, head: RequestHead, rest: bytes) -> None:
        if self._eof:
            self._linger()  # who has nothing more to say cannot even close a WebSocket
            return
        self._drop_inner()
        self._release()
        try:
            taken = self._context.upgrade(head, self._transport, rest)
        except BaseException:
            self._fail()
            raise
        if isinstance(taken, Undecided):
            self._state = _State.DECIDING
            self.deadline = math.inf
            self._buffer = rest
            self._undecided = taken
            taken.on_decided = self._decided
        else:
            self._end_handing_over(taken)

    def _decided(self) -> None:
        """Whoever had a say in an upgrade has said it."""
        undecided, self._undecided = self._undecided, None
        if undecided is None:
            return
        rest, self._buffer = self._buffer, b""
        self._release()
        try:
            taken = undecided.finish(rest)
        except BaseException:
            self._fail()
            raise
        self._end_handing_over(taken)

    def _fail(self) -> None:
        """A fault of ours. Perhaps another protocol has the transport, so that we would not hear of its end."""
        self._leave()
        self._transport.abort()

    def _end_handing_over(self, taken: object | None) -> None:
        if taken is not None:
            self._leave()
        elif self._state is not _State.GONE:
            self._linger()

    @staticmethod
    def _is_whole(head: Head, rest: bytes) -> bool:
        """Is all there that the application needs, the client's patience included."""
        return not (head.chunked or head.expects_continue) and head.length <= len(rest) and head.target != "*"

    def _ask(self, head: Head, scheme: str, host: str, resource: str, rest: bytes) -> None:
        """Let the application answer a whole request."""
        if self._own_ip is None:
            self._own_ip = _own_ip(self._transport.get_extra_info("sockname"))
        length = head.length
        request = WholeRequest(
            head.method,
            head.target,
            head.fields,
            scheme,
            host,
            self._client_ip,
            resource,
            self._control,
            self._own_ip or None,
            next(iter(head.fields.get("host", ())), ""),
            rest[:length],
        )
        self._whole = True
        self._last = head.last
        self._await_answer(rest[length:])
        self._context.ask(request, self._take_answer)

    def _take_answer(self, answer: WholeAnswer | None) -> None:
        """What the application says, None if it fails; nobody wants it any more if the client is gone."""
        self._whole = False
        if self._state is not _State.ANSWER:
            return
        if answer is None:
            answer = FAILED
        if ("connection", "close") in answer.headers:
            self._last = True
        self._transport.write(response(answer, self._context.date, last=self._last, with_body=not self._head_only))
        self._next()

    def _forward(self, head: Head, state: dict[str, Any], wire: bytes, rest: bytes) -> None:
        context = self._context
        inner = self._inner
        if inner is None:
            inner = self._inner = RestProtocol(context.config, context.server_state, self, self._transport)
        inner.expect(state, "https" if state["scheme"] == "https" else "http")
        self._body_begun = False
        self._last = head.last
        self._discarded = 0
        if head.length or head.chunked:
            self._body = ChunkedBody() if head.chunked else FixedBody(head.length)
            self._patient = head.expects_continue
            self._state = _State.BODY
            self._pass_on(wire, rest)
        else:
            self._await_answer(rest)
            inner.data_received(wire)

    def _pass_on(self, before: bytes, data: bytes) -> None:
        """Bytes of a body, perhaps its last ones, perhaps with more behind it; `before` goes ahead of them."""
        body, inner = self._body, self._inner
        assert body is not None
        assert inner is not None
        try:
            wire, rest = body.feed(data)
        except RequestFault as fault:
            self._refuse(fault.status, fault.reason)
            return
        self._body_begun = self._body_begun or bool(data)
        if self._answered:
            self._discarded += len(data)
        if body.done:
            self._await_answer(rest)
        else:
            self._wait_for_client()
        if before or wire:
            inner.data_received(before + wire)
        if self._answered and self._state is _State.ANSWER:
            self._next()
        elif self._discarded > _DISCARDED_BYTES and self._state is _State.BODY:
            self._end()

    def _await_answer(self, rest: bytes) -> None:
        self._body = None
        self._state = _State.ANSWER
        self._wait_for_client()
        self._buffer = rest
        if rest:
            self._hold()

    def _next(self) -> None:
        """A request is answered, and its body is over."""
        if self._last or self._context.closing or (self._eof and not self._buffer):
            self._end()
            return
        self._state = _State.HEAD
        self._answered = False
        self._client_ip = self._peer
        self._wait_for_client()
        if self._buffer:
            # In its own turn: this one is still the application's.
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read what was sent ahead."""
        if self._state is not _State.HEAD or self._write_paused:
            return
        data, self._buffer = self._buffer, b""
        self._gather(data)
        self._listen_again()

    def _listen_again(self) -> None:
        """End the pause that kept the client from sending still further ahead, unless there is more of that."""
        if self._state in (_State.HEAD, _State.BODY) and self._eof:
            self._linger()  # the rest of it will never come
        elif self._state in (_State.HEAD, _State.BODY) or (self._state is _State.ANSWER and not self._buffer):
            self._release()

    # The end

    def _refuse(self, status: int, reason: str) -> None:
        """Answer for ourselves, if an answer can still be told from the application's, and end."""
        if not self._answered and (self._inner is None or not self._inner.answering):
            self._drop_inner()
            refusal = self._context.refusal(status, reason, self._client_ip, with_body=not self._head_only)
            self._transport.write(refusal)
        self._linger()

    def _end(self) -> None:
        """Close after what was written, and so that it arrives."""
        if self._state is _State.BODY or self._buffer:
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """
        Say that nothing more will come, and throw away what the client still sends.

        A socket that is closed with unread bytes resets the connection, and the client, who is busy sending, would
        never read why (RFC 9112, 9.6).
        """
        self._drop_inner()
        transport = self._transport
        if self._eof or transport.is_closing() or not transport.can_write_eof():
            # TLS throws away what comes while it closes, and says goodbye first.
            self._close()
            return
        self._state = _State.LINGER
        self._buffer = b""
        self._discarded = 0
        self.deadline = time.monotonic() + _LINGER_S
        transport.write_eof()
        self._release()

    def _close(self) -> None:
        """Close; a client that does not take what is still to be sent has `idle_timeout_s` for it."""
        if self._inner is not None:
            self._inner.silence()
        self._state = _State.CLOSING
        self._buffer = b""
        self._await_reading()
        self._transport.close()

    def _give_up_on_sending(self) -> None:
        """Abort, unless the client took some of what it was sent since the last look."""
        if self._transport.get_write_buffer_size() < self._unsent:
            self._await_reading()
        else:
            self.abort()

    def _await_reading(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = time.monotonic() + self._context.idle_timeout_s

    def _drop_inner(self) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.detach()
        self._body = None
        self._inner_paused = False

    def _forget_decision(self) -> None:
        undecided, self._undecided = self._undecided, None
        if undecided is not None:
            undecided.leave()

    def _leave(self) -> None:
        """This connection is none of ours any more."""
        self._forget_decision()
        self._state = _State.GONE
        self.deadline = math.inf
        self._buffer = b""
        self._context.discard(self)

    # Pausing and waiting

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._transport.pause_reading()

    def _release(self) -> None:
        self._held = False
        if not self._inner_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wait_for_client(self) -> None:
        """Set the deadline by whose turn it is: infinite unless the client is to do something."""
        state = self._state
        if state in (_State.LINGER, _State.CLOSING, _State.GONE):
            return
        if self._write_paused:
            self._await_reading()
        elif state is _State.HEAD and self._buffer:
            self.deadline = time.monotonic() + self._context.head_timeout_s
        elif state is _State.HEAD or (state is _State.BODY and not self._inner_paused):
            self.deadline = time.monotonic() + self._context.idle_timeout_s
        else:
            self.deadline = math.inf


def _own_ip(name: object) -> str:
    """Of a socket's name: its address; of a Unix socket its path, which no client has for an address."""
    return str(name[0] if isinstance(name, tuple) else name or "")

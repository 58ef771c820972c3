"""
One MQTT client's socket: what differs from those of other clients. Who it is, it says in its first packet, after the
101; its signs of life are its own affair; and it is told why it is closed by packets, not by close frames.

Sources: OASIS MQTT 5.0, 3.1.2.10 (keep alive) and 6 (WebSocket), OASIS MQTT 3.1.1, the same; paho-mqtt for what a
common client makes of WebSocket: it answers a ping with a pong without a mask, and a close with such a close.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from websockets.speedups import apply_mask

from hubwire.edge.clients import Clients
from hubwire.edge.liveness import TICK_S
from hubwire.edge.websocket import ClientProtocol
from hubwire.gateway.newcomer import Newcomer
from hubwire.gateway.opening import Opening
from hubwire.model.errors import ProtocolViolation
from hubwire.protocols.frames import BINARY, FrameReader

__all__ = ["MqttProtocol"]

_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_POLICY: Final = 1008
_NOT_BINARY: Final = 1003
_INTERNAL_ERROR: Final = 1011
_PIECE: Final = 4096
"""Bytes that are heard in one turn: some 2,000 of the smallest packets."""
_REQUESTS: Final = -3
"""In the inbox, in place of an opcode: what was heard already and is still to be carried out."""
_LIVELY_BYTES: Final = 4096
"""
Without a whole packet among them, these are a sign of life too: a long one takes its time on a thin line, and a PINGREQ
must not be sent in the midst of it. Fewer may be all that is left of a device that cannot go on.
"""
_PACKETS: Final = 8
"""Of the largest size, that may come in one message: a message is but a piece of the stream that packets are in."""


class MqttProtocol(ClientProtocol):
    """
    One MQTT client's socket, and the `Sink` of its connection.

    Until the gateway has let it in, it is a newcomer that has no connection. What it sends behind its CONNECT packet
    while that is decided on waits as the messages of all clients do.
    """

    __slots__ = ("_connect_timer", "_newcomer", "_packets", "_unended_bytes", "_unheard", "_was_crowded")

    def __init__(self, clients: Clients, transport: asyncio.Transport, opening: Opening) -> None:
        super().__init__(clients, transport, opening)
        self._reader = FrameReader(clients.max_message_bytes, apply_mask, allow_unmasked_control=True)
        self._limit_bytes = clients.reliable_buffer_bytes
        assert opening.newcomer is not None, "else this is no client of MQTT"
        self._newcomer: Newcomer | None = opening.newcomer
        self._packets = opening.newcomer.arrival.reader
        self._was_crowded = False
        self._connect_timer: asyncio.TimerHandle | None = None
        self._unheard = 0
        self._unended_bytes = 0

    # The opening.

    def open(self, opening: Opening, rest: bytes) -> None:
        """Answer 101 and wait for the CONNECT packet."""
        self._connect_timer = self._clients.loop.call_later(self._clients.connect_timeout_s, self._never_arrived)
        super().open(opening, rest)

    def _never_arrived(self) -> None:
        self._connect_timer = None
        assert self._newcomer is not None, "else nobody waits"
        self._clients.gateway.never_arrived(self._newcomer, self)

    def _stop_waiting(self) -> None:
        """For the CONNECT packet: it is there, or will not come."""
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None

    def _enter(self) -> None:
        """Be no newcomer any more, once the gateway has let the client in. Repeating it is harmless."""
        newcomer = self._newcomer
        if newcomer is not None and newcomer.connection is not None:
            self._newcomer = None
            self._stop_waiting()
            self._reader.allow(_PACKETS * self._clients.max_message_bytes)
            self._serve(newcomer.connection)

    # In.

    def _take(self, opcode: int, payload: Any) -> None:
        connection = self._connection
        if self._busy and opcode == BINARY:
            if not self._unheard and connection is not None and connection.sink is self and len(payload) <= _PIECE:
                # What it asks for waits for its turn. What it acknowledges must not: others send to it meanwhile.
                requests = self._clients.gateway.hear(connection, payload)
                self._mind_packets()
                if requests:
                    self._queue(_REQUESTS, (connection, requests))
                return
            self._unheard += 1
        self._queue(opcode, payload)

    def _queue(self, opcode: int, payload: Any) -> None:
        super()._take(opcode, payload)
        if self._crowded:
            self._was_crowded = True

    def _handle(self, opcode: int, payload: Any) -> Awaitable[None] | None:
        if opcode == _REQUESTS:
            # Also if the socket is gone by now: its session knows of them.
            connection, requests = payload
            return self._clients.gateway.carry_out(connection, requests, self)
        if opcode == BINARY and self._unheard:
            self._unheard -= 1
        return super()._handle(opcode, payload)

    def _receive(self, opcode: int, payload: Any) -> Awaitable[None] | None:
        if opcode != BINARY:
            self._violated(ProtocolViolation("MQTT takes binary messages only", _NOT_BINARY))
            return None
        if len(payload) <= _PIECE:
            return self._hear(payload)
        self._unheard += 1
        return self._hear_in_pieces(payload)

    async def _hear_in_pieces(self, payload: bytes) -> None:
        """A message is but a piece of a stream, and may be cut once more: it may hold half a million packets."""
        try:
            for start in range(0, len(payload), _PIECE):
                waiting = self._hear(payload[start : start + _PIECE])
                await (asyncio.sleep(0) if waiting is None else waiting)
        finally:
            self._unheard -= 1

    def _hear(self, payload: bytes) -> Awaitable[None] | None:
        newcomer = self._newcomer
        if newcomer is None:
            waiting = super()._receive(BINARY, payload)
            self._mind_packets()
            return waiting
        if self._closing:
            return None
        waiting = self._clients.gateway.arrive(newcomer, payload, self)
        if waiting is None:
            self._enter()
            return None
        self._stop_waiting()
        return self._enter_after(waiting)

    async def _enter_after(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        finally:
            # The client may be in, although what it has sent behind its CONNECT could not be done.
            self._enter()

    def _violated(self, violation: ProtocolViolation) -> None:
        connection = self._connection
        if self._newcomer is not None:
            self.close(violation.close_code, "")
        elif connection is not None and connection.sink is self:
            self._clients.gateway.violated(connection, violation)

    def _broken(self, fault: ProtocolViolation) -> None:
        if self._newcomer is None:
            super()._broken(fault)
        elif not self._closing:
            self._violated(fault)
            self._end_writing()

    def _failed(self) -> None:
        if self._newcomer is None:
            super()._failed()
        else:
            self.close(_INTERNAL_ERROR, "")

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter()
        if self._newcomer is not None:
            self._newcomer.leave()
        super().connection_lost(exc)

    def _go_on(self) -> None:
        if self._was_crowded:
            # What it has said while nobody listened is not read yet.
            self._was_crowded = False
            self.last_seen = self._clients.liveness.now
        super()._go_on()

    # Out: the sink.

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002  the packet before it has said so
        super().close(_NORMAL if code in (_GOING_AWAY, _POLICY) else code, "")

    def _begin_to_close(self) -> None:
        self._stop_waiting()
        super()._begin_to_close()

    def _too_slow(self) -> None:
        self._enter()
        # One more packet, behind the gap: why it is closed.
        self._overflown = False
        if self._connection is not None:
            super()._too_slow()
        else:
            self.close(_POLICY, "")

    def say_goodbye(self) -> None:
        """The server goes away."""
        self._enter()
        super().say_goodbye()

    # Signs of life.

    def _watch(self) -> None:
        self._clients.liveness.watch(self, 1)

    def _came(self, size_bytes: int) -> None:
        """Bytes came, of which only very many are a sign of life by themselves."""
        self._unended_bytes += size_bytes
        if self._unended_bytes >= _LIVELY_BYTES:
            self._alive()

    def _mind_packets(self) -> None:
        """A packet is one, once it is whole: half of one may be all that a client is able to say [5.0, 3.1.2.10]."""
        if self._packets.has_taken():
            self._alive()

    def _alive(self) -> None:
        self._unended_bytes = 0
        self.last_seen = self._clients.liveness.now

    def keep_alive_s(self) -> float:
        """Seconds of silence after which this client is given up; 0 for never."""
        seconds = super().keep_alive_s()
        # What the clock takes for n ticks may be little more than n - 1.
        return seconds + TICK_S if seconds else 0.0

    def ping(self) -> None:
        """Nothing: it is the client that asks."""

    def give_up(self) -> None:
        """Nothing was heard for too long."""
        connection = self._connection
        if self._crowded or self._unheard:
            self._watch()  # nobody listened
        elif connection is not None and connection.sink is self:
            self._clients.gateway.timed_out(connection)

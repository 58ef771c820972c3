"""
Invocations: user events whose handler's answer is the answer to the request.

A client may have several pending at once, and goes on with other requests meanwhile: who asked for which is told by an
id, not by the order. They belong to the socket by which they came. The official client gives them up with it, also when
it comes back on another one.

Source: the behaviour of the official client (`invokeEvent`); the service documents neither limits nor error names.
"""

import asyncio
import logging
from typing import Final

from hubwire.cluster.node import Node
from hubwire.gateway import records
from hubwire.gateway.events import ConnectionEvents
from hubwire.hub.connection import Connection
from hubwire.model.errors import EventUndelivered
from hubwire.model.messages import AckError, CancelInvocation, Invoke, InvokeResponse
from hubwire.model.telemetry import Telemetry

__all__ = ["Invocations"]

_log: Final = logging.getLogger("hubwire.gateway")


class Invocations:
    """
    Pending invocations of all clients of a node.

    Args:
        limit: of one connection.
    """

    def __init__(self, node: Node, events: ConnectionEvents, telemetry: Telemetry, limit: int) -> None:
        self._node = node
        self._events = events
        self._telemetry = telemetry
        self._limit = limit
        self._pending: dict[Connection, dict[str, asyncio.Task[None]]] = {}

    def begin(self, connection: Connection, request: Invoke) -> None:
        """Ask the handler. What comes of it is answered once it is known, unless nobody waits for that any more."""
        self._telemetry.inbound_messages += 1
        pending = self._pending.get(connection, {})
        if request.invocation_id in pending:
            self._refuse(connection, request, AckError("Duplicate", "An invocation with this id is pending."))
        elif len(pending) >= self._limit:
            text = f"A connection may have {self._limit} invocations pending."
            self._refuse(connection, request, AckError("InternalServerError", text, limit=True))
        elif request.is_streamed:
            text = "An invocation cannot bring a stream."
            self._refuse(connection, request, AckError("InternalServerError", text))
        elif not self._events.takes(connection, request.event):
            text = "No event handler is configured for this event."
            self._refuse(connection, request, AckError("InternalServerError", text))
        else:
            task = asyncio.get_running_loop().create_task(self._ask(connection, request))
            self._pending.setdefault(connection, pending)[request.invocation_id] = task
            self._telemetry.invocations += 1
            # The end of the server waits for it as for other calls of handlers, and keeps it from being collected.
            self._events.watch(task)

    def cancel(self, connection: Connection, request: CancelInvocation) -> None:
        """The client does not wait for one any more: the call is abandoned, and nothing is answered."""
        pending = self._pending.get(connection)
        task = None if pending is None else pending.get(request.invocation_id)
        if task is not None:
            self._forget(connection, request.invocation_id, task)
            task.cancel()
            records.message(connection, "CancelInvocation", request)

    def abandon(self, connection: Connection) -> None:
        """The socket by which they came is gone, and all that are pending with it."""
        pending = self._pending.pop(connection, None)
        if pending is not None:
            self._telemetry.invocations -= len(pending)
            for task in pending.values():
                task.cancel()

    async def _ask(self, connection: Connection, request: Invoke) -> None:
        error: AckError | None = None
        answer = None
        wanted = False
        try:
            answer = await self._events.invoke(connection, request)
        except EventUndelivered:
            # Why is for the operator, who finds it in the log.
            error = AckError("InternalServerError", "The event handler failed.")
        except Exception:
            _log.exception("an invocation failed")
            error = AckError("InternalServerError", "Internal server error")
        finally:
            task = asyncio.current_task()
            wanted = task is not None and self._forget(connection, request.invocation_id, task)
        if not wanted:
            return
        if error is not None:
            self._refuse(connection, request, error)
        else:
            response = InvokeResponse(request.invocation_id)
            if answer is not None:
                response = InvokeResponse(request.invocation_id, answer.data, answer.metadata)
            self._tell(connection, response)
            records.message(connection, "Invoke", request)

    def _forget(self, connection: Connection, invocation_id: str, task: "asyncio.Task[None]") -> bool:
        """It is not pending any more; false if it was not."""
        pending = self._pending.get(connection)
        if pending is None or pending.get(invocation_id) is not task:
            return False
        del pending[invocation_id]
        if not pending:
            del self._pending[connection]
        self._telemetry.invocations -= 1
        return True

    def _refuse(self, connection: Connection, request: Invoke, error: AckError) -> None:
        self._telemetry.count_ack_error(error.name)
        self._tell(connection, InvokeResponse(request.invocation_id, error=error))
        records.message(connection, f"Refused{error.name}", request)

    def _tell(self, connection: Connection, response: InvokeResponse) -> None:
        self._node.reply(connection, connection.session.direct(response))

"""
A client's request is allowed, carried out, answered.

Requests of one connection are handled one after the other; those that need not wait are done at once, without a task.
The edge sees to that for each socket. A reliable client that comes back on another one while an event handler is asked
about what it said on the first is made to wait here: else what it repeats would reach the handler twice, and at once.
An invocation is begun in its turn, and what comes of it is waited for elsewhere.

Source: the service's page on client protocols (acks, roles), the reliable-clients page (Duplicate).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from hubwire.cluster.node import Node
from hubwire.gateway import group_state, records, retaining
from hubwire.gateway.events import ConnectionEvents
from hubwire.gateway.invocations import Invocations
from hubwire.gateway.streams import GroupStreams
from hubwire.hub.connection import Connection
from hubwire.model.commands import Permission, Send
from hubwire.model.errors import Conflict, Duplicate, EventUndelivered, Forbidden, Refused
from hubwire.model.messages import (
    Ack,
    AckError,
    CancelInvocation,
    ClientRequest,
    DirectMessage,
    EndStream,
    EventAnswer,
    Goodbye,
    GroupMessage,
    Invoke,
    JoinGroup,
    KeepStream,
    LeaveGroup,
    OpenStream,
    SendEvent,
    SendToGroup,
    SetGroupState,
    StreamFragment,
    SubscribeFilter,
    SubscribeGroupState,
    UnsubscribeFilter,
    UnsubscribeGroupState,
)
from hubwire.model.ports import Sink
from hubwire.model.targets import to_group
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.model.topic_filters import subscription_name
from hubwire.upstream.dispatcher import NoHandler

__all__ = ["Requests"]

_INTERNAL: Final = "Internal server error"
_NOT_FOUND: Final = 404

_OfState: TypeAlias = SetGroupState | SubscribeGroupState | UnsubscribeGroupState
_Joining: TypeAlias = JoinGroup | SubscribeFilter
_Acknowledged: TypeAlias = SendToGroup | _Joining | LeaveGroup | UnsubscribeFilter | SendEvent | _OfState


class Requests:
    """
    Handles requests of all clients of a node.

    Attributes:
        on_done: told of each client that outlives the process and whose request was carried out, which it may repeat.
    """

    def __init__(
        self,
        node: Node,
        events: ConnectionEvents,
        telemetry: Telemetry,
        invocations: Invocations,
        streams: GroupStreams,
    ) -> None:
        self._node = node
        self._events = events
        self._invocations = invocations
        self._streams = streams
        self._telemetry = telemetry
        self._asking: dict[Connection, asyncio.Event] = {}
        self.on_done: Callable[[Connection], None] | None = None
        streams.busy = self._asking

    def handle(self, connection: Connection, request: ClientRequest) -> Awaitable[None] | None:
        """
        Carry out one request.

        Returns:
            None when it is done and answered; else to be awaited before this client's next request is handled.
        """
        if self._asking and connection in self._asking and not isinstance(request, Goodbye):
            return self._handle_later(connection, request, connection.sink)
        if isinstance(request, Invoke):
            self._invocations.begin(connection, request)
            return None
        if isinstance(request, CancelInvocation):
            self._invocations.cancel(connection, request)
            return None
        if not isinstance(request, SendToGroup) and isinstance(
            request, StreamFragment | OpenStream | KeepStream | EndStream
        ):
            return self._streams.handle(connection, request)
        if isinstance(request, Goodbye):
            self._node.goodbye(connection)
            return None
        ack_id = request.ack_id
        changed = True
        try:
            if ack_id is not None and connection.was_done(ack_id):
                raise Duplicate(ack_id)
            match request:
                case SendToGroup():
                    self._send_to_group(connection, request)
                case JoinGroup(group):
                    _allow(connection, "joinLeaveGroup", group)
                    waiting = self._node.join(connection, group)
                    if waiting is not None:
                        return self._join(connection, waiting, request)
                    self._joined(connection, request)
                    return None
                case LeaveGroup(group):
                    _allow(connection, "joinLeaveGroup", group)
                    changed = self._node.leave(connection, group)
                case SubscribeFilter(topic_filter, share):
                    _allow_filter(connection, topic_filter)
                    waiting = self._node.subscribe(connection, subscription_name(topic_filter, share))
                    if waiting is not None:
                        return self._join(connection, waiting, request)
                    self._joined(connection, request)
                    return None
                case UnsubscribeFilter(topic_filter, share):
                    _allow_filter(connection, topic_filter)
                    changed = self._node.unsubscribe(connection, subscription_name(topic_filter, share))
                case SetGroupState() | SubscribeGroupState() | UnsubscribeGroupState():
                    return self._of_state(connection, request)
                case SendEvent():
                    self._telemetry.inbound_messages += 1
                    if self._events.takes(connection, request.event):
                        return self._event(connection, request)
                    if request.publication is None:
                        raise NoHandler("No event handler is configured for this event.")
                    self._tell(connection, EventAnswer(request, _NOT_FOUND))
                    changed = False
        except Refused as refusal:
            self._refuse(connection, request, refusal)
        else:
            self._carried_out(connection, request, changed)
        return None

    async def _join(self, connection: Connection, waiting: Awaitable[None], request: _Joining) -> None:
        await waiting
        if connection.alive:
            self._joined(connection, request)

    def _joined(self, connection: Connection, request: _Joining) -> None:
        """What is kept comes behind the ack, with which the options of the subscription hold."""
        self._carried_out(connection, request)
        if request.retained:
            name = request.group if isinstance(request, JoinGroup) else request.filter
            self._node.tell_retained(connection, name)

    def _of_state(self, connection: Connection, request: _OfState) -> Awaitable[None] | None:
        def accepted() -> None:
            self._carried_out(connection, request)

        waiting = group_state.carry_out(self._node, connection, request, accepted)
        return None if waiting is None else self._unless_refused(connection, waiting, request)

    async def _unless_refused(self, connection: Connection, waiting: Awaitable[None], request: _OfState) -> None:
        try:
            await waiting
        except Refused as refusal:
            if connection.alive:
                self._refuse(connection, request, refusal)

    async def _handle_later(self, connection: Connection, request: ClientRequest, sink: Sink | None) -> None:
        """
        An event that came by an earlier socket of the same client is with its handler still.

        Args:
            sink: of the socket that the request came by.
        """
        while (asking := self._asking.get(connection)) is not None:
            await asking.wait()
        if isinstance(request, Invoke) and connection.sink is not sink:
            return  # who invoked has given that up with the socket
        if connection.alive:
            waiting = self.handle(connection, request)
            if waiting is not None:
                await waiting

    async def _event(self, connection: Connection, request: SendEvent) -> None:
        """One event after the other, whichever sockets they came by."""
        if connection in self._asking:
            await self._handle_later(connection, request, connection.sink)
            return
        answered = self._asking[connection] = asyncio.Event()
        try:
            await self._ask(connection, request)
        finally:
            del self._asking[connection]
            answered.set()

    async def _ask(self, connection: Connection, request: SendEvent) -> None:
        """Whatever the handler answers comes before the ack."""
        if request.publication is not None:
            whatever = await self._events.answer(connection, request)
            if connection.alive:
                self._tell(connection, whatever)
                self._carried_out(connection, request)
            return
        try:
            answer = await self._events.user_event(connection, request)
        except EventUndelivered as refusal:
            if connection.alive:
                self._refuse(connection, request, refusal)
            return
        if connection.alive:
            if answer is not None:
                self._node.tell(connection, answer)
            self._carried_out(connection, request)

    def _send_to_group(self, connection: Connection, request: SendToGroup) -> None:
        group = request.group
        if not connection.permissions.allows("sendToGroup", group):
            raise Forbidden(f"The client does not have permission to send to group '{group}'.")
        self._telemetry.inbound_messages += 1
        message = GroupMessage(group, request.data, connection.user_id, request.metadata, request.publication)
        publication = request.publication
        if publication is not None and publication.retain:
            retaining.keep(self._node, connection, message, must=request.ack_id is not None)
        excluded = (connection.id,) if request.no_echo else ()
        self._node.execute(Send(to_group(connection.hub, group), message, excluded, None, request.ttl_s))

    def _tell(self, connection: Connection, message: DirectMessage, acknowledges: bool = False) -> None:
        frame = connection.session.direct(message)
        self._node.reply(connection, frame, isinstance(message, EventAnswer), acknowledges)

    def _carried_out(self, connection: Connection, request: _Acknowledged, changed: bool = True) -> None:
        if request.ack_id is not None:
            connection.done(request.ack_id)
            if self.on_done is not None and connection.session.durable:
                self.on_done(connection)
            self._tell(connection, Ack(request.ack_id, None, changed), isinstance(request, SendToGroup))
        records.message(connection, type(request).__name__, request)

    def _refuse(self, connection: Connection, request: _Acknowledged, refusal: Refused) -> None:
        error = _ack_error(refusal)
        self._telemetry.count_ack_error(error.name)
        if request.ack_id is not None:
            self._tell(connection, Ack(request.ack_id, error))
        elif isinstance(request, SendToGroup | SendEvent) and request.must_succeed:
            self._end(connection, request, refusal)
        records.message(connection, f"Refused{error.name}", request)

    def _end(self, connection: Connection, request: SendToGroup | SendEvent, refusal: Refused) -> None:
        """There are no acks for it: the only answer to a message that cannot be taken is to close."""
        if isinstance(refusal, NoHandler):
            self._node.close(connection, 1011, refusal.message, CloseCategory.EVENT_HANDLER_NOT_FOUND)
        elif isinstance(refusal, EventUndelivered):
            # Why is for the operator, who finds it in the log.
            self._node.close(connection, 1011, "The event handler failed.", CloseCategory.SEND_EVENT_FAILED)
        else:
            if isinstance(request, SendToGroup):
                connection.session.not_allowed(request.group, refusal.message)
            self._node.drop(connection, 1008, refusal.message, CloseCategory.UNAUTHORIZED)


def _allow(connection: Connection, permission: Permission, group: str) -> None:
    if not connection.permissions.allows(permission, group):
        raise Forbidden(f"The client does not have permission to join or leave group '{group}'.")


def _allow_filter(connection: Connection, topic_filter: str) -> None:
    if not connection.permissions.allows_filter("joinLeaveGroup", topic_filter):
        text = f"The client does not have permission to join or leave all groups that match '{topic_filter}'."
        raise Forbidden(text)


def _ack_error(refusal: Refused) -> AckError:
    match refusal:
        case Forbidden():
            return AckError("Forbidden", refusal.message)
        case Duplicate():
            return AckError("Duplicate", refusal.message)
        case Conflict():
            return AckError("InternalServerError", refusal.message, limit=True)
        case _:
            return AckError("InternalServerError", _INTERNAL)

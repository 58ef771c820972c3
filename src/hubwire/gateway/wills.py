"""
Wills: what MQTT clients want to be published once they are gone without a word.

Source: OASIS MQTT 5.0, 3.1.2.5 (when a will is published and when it is removed), 3.1.3.2.2 (its delay), 3.1.4 (what
becomes of it when a client comes by another socket).
"""

import asyncio

from hubwire.cluster.durable import DurableSessions
from hubwire.cluster.node import Node
from hubwire.gateway import records, retaining
from hubwire.hub.connection import Connection
from hubwire.model.commands import Send
from hubwire.model.messages import GroupMessage
from hubwire.model.targets import to_group

__all__ = ["Wills"]


class Wills:
    """
    Wills of one node's clients. Each is published once, or removed.

    Args:
        durable: is told of wills that are no more.
    """

    def __init__(self, node: Node, durable: DurableSessions | None = None) -> None:
        self._node = node
        self._durable = durable
        self._timers: dict[Connection, asyncio.Handle] = {}

    def lost(self, connection: Connection) -> None:
        """A client has lost its socket, and its session waits for it."""
        will = connection.session.will
        if will is None:
            return
        if will.delay_s == 0:
            self._publish(connection)
        else:
            # The end of the session may come first, and publishes it then.
            self._timers[connection] = self._node.later(will.delay_s, self._due, connection)

    def restored(self, connection: Connection, since: float) -> None:
        """
        A session goes on from an earlier process.

        Args:
            since: when it lost its socket, in monotonic seconds.
        """
        will = connection.session.will
        if will is None:
            return
        left_s = since + will.delay_s - self._node.time()
        if left_s <= 0:
            self._publish(connection)
        else:
            self._timers[connection] = self._node.later(left_s, self._due, connection)

    def _due(self, connection: Connection) -> None:
        self._timers.pop(connection, None)
        self._publish(connection)

    def replaced(self, connection: Connection) -> None:
        """A client has come back to its session, while its former socket was there or not."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()
        will = connection.session.will
        if will is not None:
            if will.delay_s == 0:
                self._publish(connection)  # the former socket was there until now
            connection.session.forget_will()

    def ended(self, connection: Connection) -> None:
        """A session has ended."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()
        self._publish(connection)

    def _publish(self, connection: Connection) -> None:
        will = connection.session.will
        if will is None:
            return
        connection.session.forget_will()
        if self._durable is not None:
            self._durable.changed(connection)
        if not connection.permissions.allows("sendToGroup", will.topic):
            records.will_dropped(connection, will.topic)
            return
        message = GroupMessage(will.topic, will.data, connection.user_id, will.metadata, will.publication)
        if will.publication.retain:
            retaining.keep(self._node, connection, message, must=False)
        self._node.execute(Send(to_group(connection.hub, will.topic), message, ttl_s=will.ttl_s))
        records.will_published(connection, will.topic)

"""Publications of clients that are to be kept for who subscribes later."""

from hubwire.cluster.node import Node
from hubwire.gateway import records
from hubwire.hub.connection import Connection
from hubwire.model.errors import Conflict
from hubwire.model.messages import GroupMessage

__all__ = ["keep"]


def keep(node: Node, connection: Connection, message: GroupMessage, *, must: bool) -> None:
    """
    Keep a message, before it is sent: whoever subscribes from then on finds it.

    Args:
        connection: of its publisher.
        must: it can be refused, and then is not to be sent. Else the log says that it is not kept.

    Raises:
        Conflict: it must be kept, and there is no room.
    """
    try:
        node.keep(connection.hub, message)
    except Conflict:
        if node.retained.is_news(connection.hub):
            records.not_retained(connection, message.group)
        if must:
            raise

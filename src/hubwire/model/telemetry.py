"""
Counters of one node, and the names under which connections end. Pure: rendered by `rest.metrics`.

Source of the close categories: the service's metrics reference and its troubleshooting page.
"""

from collections.abc import Callable
from enum import StrEnum

__all__ = ["CloseCategory", "HandlerCounters", "Telemetry"]


class CloseCategory(StrEnum):
    """Why a connection ended. The values are those of the service's ConnectionCloseCategory dimension."""

    NORMAL = "Normal"
    THROTTLED = "Throttled"
    SEND_EVENT_FAILED = "SendEventFailed"
    EVENT_HANDLER_NOT_FOUND = "EventHandlerNotFound"
    SLOW_CLIENT = "SlowClient"
    SERVICE_TRANSIENT_ERROR = "ServiceTransientError"
    BAD_REQUEST = "BadRequest"
    SERVICE_RELOAD = "ServiceReload"
    UNAUTHORIZED = "Unauthorized"
    CLOSED_BY_APP_SERVER = "ClosedByAppServer"
    PING_TIMEOUT = "PingTimeout"


class HandlerCounters:
    """
    Of one event handler.

    Attributes:
        in_flight: calls now.
        waiting: that wait for their turn.
        events: how they ended, by the kind of event and "succeeded", "refused", "failed" or "abandoned".
        failure: monotonic seconds and reason of the last one that failed; None if one has succeeded since.
    """

    __slots__ = ("events", "failure", "in_flight", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting = 0
        self.events: dict[tuple[str, str], int] = {}
        self.failure: tuple[float, str] | None = None

    def count(self, event: str, outcome: str) -> None:
        """An event is over."""
        key = (event, outcome)
        if outcome in ("succeeded", "refused"):
            self.failure = None
        self.events[key] = self.events.get(key, 0) + 1


class Telemetry:
    """
    Plain integers, added to by the hot path and read by whoever renders them.

    Attributes:
        connections: open now, those waiting for their recovery included.
        retained: of these, without a socket and waiting for their recovery.
        connection_quota: how many may be open.
        inbound_bytes, outbound_bytes: of clients' sockets (payload and frame heads) and of REST bodies.
        inbound_messages: publishes and events taken, from clients and REST.
        outbound_messages: data messages handed to clients' connections.
        queued_bytes: waiting in front of clients that read too slowly, or are not to be told yet (shared bytes count
            once for each).
        unwritten: changes of sessions and retained messages that are to be on the disk and are not yet.
        invocations: pending now.
        streams: open now.
        streams_closed: those that were open, by the name of the error under which each ended; "" for none.
        streams_refused: streams that could not be opened, and what was said of unknown ones or out of turn, by name.
        kept_messages, kept_bytes: retained messages of MQTT, of all hubs; of the last second.
        handlers: counters of event handlers, by resource, hub and URL template without its query.
    """

    __slots__ = (
        "ack_errors",
        "closed",
        "connection_quota",
        "connections",
        "handlers",
        "inbound_bytes",
        "inbound_messages",
        "invocations",
        "kept_bytes",
        "kept_messages",
        "opened",
        "outbound_bytes",
        "outbound_messages",
        "queued_bytes",
        "recoveries",
        "recoveries_refused",
        "refused",
        "requests",
        "retained",
        "streams",
        "streams_closed",
        "streams_refused",
        "unwritten",
    )

    def __init__(self, connection_quota: int) -> None:
        self.connection_quota = connection_quota
        self.connections = 0
        self.retained = 0
        self.opened = 0
        self.closed: dict[CloseCategory, int] = dict.fromkeys(CloseCategory, 0)
        self.refused: dict[int, int] = {}
        self.requests: dict[tuple[str, int], int] = {}
        self.ack_errors: dict[str, int] = {}
        self.recoveries = 0
        self.recoveries_refused = 0
        self.inbound_bytes = 0
        self.outbound_bytes = 0
        self.inbound_messages = 0
        self.outbound_messages = 0
        self.queued_bytes = 0
        self.unwritten: Callable[[], int] = lambda: 0
        self.invocations = 0
        self.kept_messages = 0
        self.kept_bytes = 0
        self.handlers: dict[tuple[str, str, str], HandlerCounters] = {}
        self.streams = 0
        self.streams_closed: dict[str, int] = {}
        self.streams_refused: dict[str, int] = {}

    def count_refused(self, status: int) -> None:
        """An upgrade request was answered with this status instead of 101."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def count_request(self, operation: str, status: int) -> None:
        """A REST operation was answered."""
        key = (operation, status)
        self.requests[key] = self.requests.get(key, 0) + 1

    def count_ack_error(self, name: str) -> None:
        """A client's request failed under this name, whether or not it asked for an ack."""
        self.ack_errors[name] = self.ack_errors.get(name, 0) + 1

    def count_stream_closed(self, name: str) -> None:
        """A stream has ended under this name."""
        self.streams_closed[name] = self.streams_closed.get(name, 0) + 1

    def count_stream_refused(self, name: str) -> None:
        """A request about a stream was refused under this name."""
        self.streams_refused[name] = self.streams_refused.get(name, 0) + 1

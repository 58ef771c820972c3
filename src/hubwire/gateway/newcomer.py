"""An MQTT client between its 101 and its CONNACK."""

from msgspec import Struct

from hubwire.auth.callers import ClientClaims
from hubwire.gateway.attempt import Attempt
from hubwire.hub.connection import Connection
from hubwire.model.names import HubKey
from hubwire.model.ports import Sink
from hubwire.protocols.mqtt.arrival import Arrival
from hubwire.protocols.mqtt.packets import Connect

__all__ = ["Asking", "Newcomer"]


class Newcomer:
    """
    One MQTT client that is not in yet.

    Attributes:
        connection: once it is in.
        client_gone: to be set when its socket is lost before that.
    """

    __slots__ = ("arrival", "attempt", "claims", "client_gone", "connection")

    def __init__(self, attempt: Attempt, claims: ClientClaims, arrival: Arrival) -> None:
        self.attempt = attempt
        self.claims = claims
        self.arrival = arrival
        self.connection: Connection | None = None
        self.client_gone = False


class Asking(Struct, frozen=True):
    """
    A CONNECT packet under decision.

    Attributes:
        client_id: its own, or the one that it gets.
        assigned: the client has no id of its own.
    """

    newcomer: Newcomer
    connect: Connect
    client_id: str
    assigned: bool
    sink: Sink

    @property
    def hub(self) -> HubKey:
        return self.newcomer.attempt.hub

    @property
    def version(self) -> int:
        """4 or 5."""
        return self.connect.version

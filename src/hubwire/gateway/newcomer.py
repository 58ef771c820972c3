"""An MQTT client between its 101 and its CONNACK."""

from hubwire.auth.callers import ClientClaims
from hubwire.gateway.attempt import Attempt
from hubwire.hub.connection import Connection
from hubwire.protocols.mqtt.arrival import Arrival

__all__ = ["Newcomer"]


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

"""An MQTT client between its 101 and its CONNACK."""

from msgspec import Struct

from hubwire.auth.callers import ClientClaims
from hubwire.auth.logins import Login
from hubwire.gateway.admission import Place
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
        client_gone: its socket was lost before that.
        place: until then, unless it was refused.
        login: that of a client which needs one.
    """

    __slots__ = ("arrival", "attempt", "claims", "client_gone", "connection", "login", "place")

    def __init__(
        self, attempt: Attempt, claims: ClientClaims, arrival: Arrival, place: Place, login: Login | None = None
    ) -> None:
        self.attempt = attempt
        self.claims = claims
        self.arrival = arrival
        self.place = place
        self.login = login
        self.connection: Connection | None = None
        self.client_gone = False

    def leave(self) -> None:
        """Its socket is lost, and it is not in. What is under way about it goes on and lets nobody in."""
        self.client_gone = True
        self.place.give_back()


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

"""Whether anybody at all may come in: what a resource demands of all its clients, and how many there may be."""

from typing import Final

from hubwire.gateway.attempt import Attempt, HandshakeRefused
from hubwire.model.errors import NotFound
from hubwire.model.ports import HubDirectory
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import Telemetry

__all__ = ["Admission"]

_FULL: Final = "ConnectionCountLimitReached"


class Admission:
    """
    Attributes:
        stopping: nobody is let in any more.
    """

    def __init__(self, directory: HubDirectory, telemetry: Telemetry) -> None:
        self._directory = directory
        self._telemetry = telemetry
        self._opening = 0
        self._counts: dict[str, int] = {}
        self.stopping = False

    def check_running(self) -> None:
        """
        Raises:
            HandshakeRefused: 503.
        """
        if self.stopping:
            raise HandshakeRefused(503, "The server is shutting down.", {"Retry-After": "1"})

    def policy(self, attempt: Attempt) -> ResourcePolicy:
        """
        What the resource demands of everybody, whoever it is.

        Raises:
            HandshakeRefused: 404, 403 or 503, as it stands in the way.
        """
        try:
            policy = self._directory.policy(attempt.hub.resource)
        except NotFound as refusal:
            raise HandshakeRefused(404, "There is no such resource.", cause=refusal.message) from refusal
        refused = policy.network.refusal("ClientConnection", attempt.head.client_ip)
        if refused is not None:
            raise HandshakeRefused(403, refused)
        if policy.stopped:
            raise HandshakeRefused(503, "The resource is stopped.", {"Retry-After": "1"})
        return policy

    def check_place(self, resource: str, policy: ResourcePolicy) -> None:
        """
        Is there a place for one more connection now.

        Raises:
            HandshakeRefused: 429, there is none.
        """
        if self._counts.get(resource, 0) >= policy.quota:
            text = "The connection quota of this resource is used up."
            raise HandshakeRefused(429, text, {"Retry-After": "1"}, _FULL)
        # Those that have a place but are not in yet count too: many may knock within one turn.
        if self._telemetry.connections + self._opening >= self._telemetry.connection_quota:
            text = "The connection quota of this server is used up."
            raise HandshakeRefused(429, text, {"Retry-After": "1"}, _FULL)

    def take(self, resource: str, policy: ResourcePolicy) -> None:
        """
        Take a place for a connection that is about to begin; `settle` it, once.

        Raises:
            HandshakeRefused: 429, there is none.
        """
        self.check_place(resource, policy)
        self._opening += 1
        self._counts[resource] = self._counts.get(resource, 0) + 1

    def settle(self, resource: str, let_in: bool) -> None:
        """A connection has begun, or never will."""
        self._opening -= 1
        if not let_in:
            self.leave(resource)

    def places(self, resource: str) -> tuple[int, int]:
        """How many are taken for connections that are about to begin, and how many of a resource are at all."""
        return self._opening, self._counts.get(resource, 0)

    def leave(self, resource: str) -> None:
        """A connection has ended."""
        self._counts[resource] -= 1

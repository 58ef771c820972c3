"""
Whether anybody at all may come in: what a resource demands of all its clients, and how many there may be.

An MQTT client has its place from its upgrade on, before anybody knows whether it begins a session or comes back to one
that has a place already. Where there is none left, a few are let in beside the quota: who comes back to the session
that fills the last place must not be kept out by it.
"""

from typing import Final

from hubwire.gateway.attempt import Attempt, HandshakeRefused
from hubwire.model.errors import NotFound
from hubwire.model.ports import HubDirectory
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import Telemetry

__all__ = ["Admission", "Place"]

_FULL: Final = "ConnectionCountLimitReached"
_BESIDE: Final = 16
_SHARE: Final = 10
"""
Beside a quota are let in a tenth of it, and at least 16. Each stays until its CONNECT is there and decided on, which
is a matter of milliseconds unless an event handler is asked.
"""


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
        self._beside: dict[str, int] = {}
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
            raise _full("resource")
        # Those that have a place but are not in yet count too: many may knock within one turn.
        if self._telemetry.connections + self._opening >= self._telemetry.connection_quota:
            raise _full("server")

    def greet(self, resource: str, policy: ResourcePolicy) -> "Place":
        """
        A place for an MQTT client whose CONNECT is still to come, within the quota or beside it.

        Raises:
            HandshakeRefused: 429, there is none.
        """
        try:
            self.take(resource, policy)
        except HandshakeRefused:
            beside = self.beside(resource)
            if beside >= _allowance(policy.quota):
                raise
            if sum(self._beside.values()) >= _allowance(self._telemetry.connection_quota):
                raise
            self._beside[resource] = beside + 1
            return Place(self, resource, within=False)
        return Place(self, resource, within=True)

    def left(self, resource: str) -> None:
        """One who was let in beside the quota has left or found a place."""
        beside = self._beside.pop(resource) - 1
        if beside:
            self._beside[resource] = beside

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

    def restored(self, resource: str) -> None:
        """A connection goes on that had its place in an earlier process, whatever the quota is now."""
        self._counts[resource] = self._counts.get(resource, 0) + 1

    def places(self, resource: str) -> tuple[int, int]:
        """How many are taken for connections that are about to begin, and how many of a resource are at all."""
        return self._opening, self._counts.get(resource, 0)

    def beside(self, resource: str) -> int:
        """How many wait beside the quota of a resource."""
        return self._beside.get(resource, 0)

    def leave(self, resource: str) -> None:
        """A connection has ended."""
        self._counts[resource] -= 1


class Place:
    """
    That of an MQTT client which is not in yet.

    Args:
        within: the quota; else beside it.
    """

    __slots__ = ("_admission", "_holds", "_resource", "_within")

    def __init__(self, admission: Admission, resource: str, *, within: bool) -> None:
        self._admission = admission
        self._resource = resource
        self._within = within
        self._holds = True

    def check(self, policy: ResourcePolicy) -> None:
        """
        Could a session begin with it now.

        Raises:
            HandshakeRefused: 429, there is none within the quota.
        """
        if not (self._holds and self._within):
            self._admission.check_place(self._resource, policy)

    def claim(self, policy: ResourcePolicy) -> None:
        """
        Have it for a session that begins now; as with `Admission.take`, which is to be settled.

        Raises:
            HandshakeRefused: 429, there is none within the quota.
        """
        if self._holds and self._within:
            self._holds = False
        else:
            self._admission.take(self._resource, policy)
            self.give_back()

    def give_back(self) -> None:
        """The client has left, was refused, or has come to a session with a place. Repeating it is harmless."""
        if not self._holds:
            return
        self._holds = False
        if self._within:
            self._admission.settle(self._resource, False)
        else:
            self._admission.left(self._resource)


def _full(what: str) -> HandshakeRefused:
    return HandshakeRefused(429, f"The connection quota of this {what} is used up.", {"Retry-After": "1"}, _FULL)


def _allowance(quota: int) -> int:
    return max(_BESIDE, quota // _SHARE)

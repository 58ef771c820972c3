"""
Wiring of users of communication services: where they are kept, who may do what with them, and how their tokens are
verified.
"""

import hashlib
import secrets
import time

from hubwire.auth.communication_callers import CommunicationCallers
from hubwire.auth.key_ring import KeyRing
from hubwire.auth.request_signatures import SCHEME, SignedRequest
from hubwire.communication.tokens import Tokens, Verifier
from hubwire.communication.users import Users
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import Forbidden, NotFound
from hubwire.model.http import by_name
from hubwire.model.ports import Store
from hubwire.resources.communication_services import CommunicationServices
from hubwire.rest.call import FORM_BYTES, Call
from hubwire.rest.communication import CommunicationTable
from hubwire.rest.communication_control import CommunicationControl
from hubwire.rest.communication_verification import VerificationTable
from hubwire.rest.operation import Operation

__all__ = ["CommunicationEntrance", "CommunicationUsers"]


class CommunicationEntrance:
    """Which communication service is called, and who calls it; a `CommunicationDoor`."""

    def __init__(self, services: CommunicationServices, callers: CommunicationCallers) -> None:
        self._services = services
        self._callers = callers

    def service(self, resource: str) -> CommunicationService:
        """Raises: see `CommunicationDoor`."""
        return self._services.service_at(resource)

    def known_as(self, immutable_id: str) -> CommunicationService:
        """Raises: see `CommunicationDoor`."""
        wanted = immutable_id.lower()
        for stored in self._services.all():
            if stored.immutable_id == wanted:
                return self._services.service(stored.name)
        raise NotFound("There is no communication service with this id.", "Path")

    async def caller(self, service: CommunicationService, call: Call) -> CommunicationCaller:
        """Raises: see `CommunicationDoor`."""
        return await self._callers.caller(await _signed(service, call), service.name, call.caller.client_ip)

    async def verifier(self, service: CommunicationService, call: Call) -> CommunicationCaller:
        """Raises: see `CommunicationDoor`."""
        return await self._callers.verifier(await _signed(service, call), service.name, call.caller.client_ip)


class CommunicationUsers:
    """
    The users of a server.

    Args:
        ring: signs their tokens.
        base_url: of the server, which is in the tokens; without a slash at its end.
    """

    def __init__(self, store: Store, ring: KeyRing, base_url: str) -> None:
        self._tokens = Tokens(ring, base_url, time.time, secrets.token_bytes)
        self._users = Users(store, self._tokens, time.time, secrets.token_bytes)

    def operations(self, entrance: CommunicationEntrance) -> tuple[Operation, ...]:
        """All rows that have to do with users and their tokens."""
        table = CommunicationTable(self._users)
        return (
            *table.operations(),
            *CommunicationControl(self._users, table, entrance).operations(),
            *VerificationTable(self._tokens, Verifier(self._tokens, self._users), entrance).operations(),
        )

    async def close(self) -> None:
        """Store what is not yet."""
        await self._users.close()


async def _signed(service: CommunicationService, call: Call) -> SignedRequest:
    """
    A request as its signature sees it. Of whoever brings something else the body need not be read for that.

    Raises:
        Forbidden: nobody may call the service over the network.
        BodyTooLarge, BodyLate: the body cannot be read.
    """
    if not service.is_reachable:
        raise Forbidden("Access to this communication service over the network is switched off.", "Network")
    is_signed = (call.header("authorization") or "").strip().lower().startswith(SCHEME)
    body = await call.body(FORM_BYTES) if is_signed else b""
    asked = call.caller
    headers = {**by_name(call.headers), "host": [asked.sent_host] if asked.sent_host else []}
    forwarded = "" if asked.host == asked.sent_host.lower() else asked.host
    return SignedRequest(call.method, call.raw_target, headers, hashlib.sha256(body).digest(), forwarded)

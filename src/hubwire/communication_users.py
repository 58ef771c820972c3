"""
Wiring of users of communication services: where they are kept, who may do what with them, and how their tokens are
verified.
"""

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

from hubwire.auth.communication_callers import CommunicationCallers
from hubwire.auth.key_ring import KeyRing
from hubwire.auth.request_signatures import CONTENT_HASH, SCHEME, SignedRequest
from hubwire.communication.assignments import Assignments
from hubwire.communication.exchanges import Exchanges, UserTokens
from hubwire.communication.logins import UserLogins
from hubwire.communication.quotas import AZURE, Quotas, Quoted
from hubwire.communication.teams import TeamsUsers
from hubwire.communication.tokens import Tokens, Verifier
from hubwire.communication.users import Users
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import NotFound
from hubwire.model.ports import Store
from hubwire.resources.communication_services import CommunicationServices
from hubwire.rest.call import FORM_BYTES, Call
from hubwire.rest.communication import CommunicationTable
from hubwire.rest.communication_access import AccessTable
from hubwire.rest.communication_control import CommunicationControl
from hubwire.rest.communication_verification import VerificationTable
from hubwire.rest.operation import Operation
from hubwire.settings import BadSetting, Settings

__all__ = ["CommunicationEntrance", "CommunicationUsers", "limits_of"]

_QUOTED: Final[Mapping[str, Quoted]] = {asked.lower(): asked for asked in AZURE}
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


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

    def endpoint(self, service: CommunicationService) -> str:
        """See `CommunicationDoor`."""
        return self._services.endpoint(service)

    async def caller(self, service: CommunicationService, call: Call) -> CommunicationCaller:
        """Raises: see `CommunicationDoor`."""
        if call.own_limit_bytes is not None and _is_signed(call):
            # Of a body that may be long nothing is read before the signature holds, be it for another one.
            await self._callers.caller(_request(call, _claimed_hash(call)), service.name, call.caller.client_ip)
        return await self._callers.caller(await _signed(call), service.name, call.caller.client_ip)

    async def verifier(self, service: CommunicationService, call: Call) -> CommunicationCaller:
        """Raises: see `CommunicationDoor`."""
        return await self._callers.verifier(await _signed(call), service.name, call.caller.client_ip)


class CommunicationUsers:
    """
    The users of a server.

    Args:
        ring: signs their tokens.
        base_url: of the server, which is in the tokens; without a slash at its end.
        teams, clients: prove tokens of users of Teams, and of Entra.

    Attributes:
        logins: of users at hubs.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ring: KeyRing,
        base_url: str,
        services: CommunicationServices,
        teams: UserTokens,
        clients: UserTokens,
    ) -> None:
        self._tokens = Tokens(ring, base_url, time.time, secrets.token_bytes)
        self._users = Users(store, self._tokens, time.time, secrets.token_bytes)
        self._verifier = Verifier(self._tokens, self._users)
        self.logins = UserLogins(self._tokens, self._verifier, services.service)
        self._users.on_revoked.append(self.logins.revoked)
        self._assignments = Assignments(store)
        self._exchanges = Exchanges(self._users, self._assignments, clients, teams)
        self._teams = TeamsUsers(self._tokens, teams)
        self._quotas = Quotas(limits_of(settings))
        services.on_change.extend((self._changed, self.logins.service_changed))

    def operations(self, entrance: CommunicationEntrance) -> tuple[Operation, ...]:
        """All rows that have to do with users and their tokens."""
        rows = (
            *CommunicationTable(self._users, self._quotas).operations(),
            *AccessTable(self._teams, self._exchanges, self._assignments, entrance, self._quotas).operations(),
        )
        return (
            *rows,
            *CommunicationControl(self._users, rows, entrance).operations(),
            *VerificationTable(self._tokens, self._verifier, entrance).operations(),
        )

    def _changed(self, old: CommunicationService | None, new: CommunicationService | None) -> None:
        if old is not None and new is None:
            self._quotas.forget(old.immutable_id)

    async def close(self) -> None:
        """Store what is not yet."""
        await self._users.close()


def limits_of(settings: Settings) -> Mapping[Quoted, int]:
    """
    How often each thing may be asked of a service.

    Raises:
        BadSetting: `communication_limits` has something else.
    """
    limits: dict[Quoted, int] = {}
    for item in settings.communication_limits:
        name, _, number = item.partition("=")
        asked = _QUOTED.get(name.lower())
        if item.lower() == "azure":
            limits |= AZURE
        elif asked is not None and _NUMBER.fullmatch(number) is not None:
            limits[asked] = int(number)
        else:
            known = ", ".join(AZURE)
            raise BadSetting(
                f"communication_limits: {item!r} is neither azure nor OPERATION=NUMBER with one of {known}"
            )
    return limits


async def _signed(call: Call) -> SignedRequest:
    """
    A request as its signature sees it. Of whoever brings something else the body need not be read for that.

    Raises:
        BodyTooLarge, BodyLate: the body cannot be read.
    """
    body = await call.body(FORM_BYTES) if _is_signed(call) else b""
    return _request(call, hashlib.sha256(body).digest())


def _is_signed(call: Call) -> bool:
    return (call.header("authorization") or "").strip().lower().startswith(SCHEME)


def _request(call: Call, body_sha256: bytes) -> SignedRequest:
    asked = call.caller
    headers = {**call.fields, "host": [asked.sent_host] if asked.sent_host else []}
    forwarded = "" if asked.host == asked.sent_host.lower() else asked.host
    return SignedRequest(call.method, call.raw_target, headers, body_sha256, forwarded)


def _claimed_hash(call: Call) -> bytes:
    """That the body has by the word of its sender; no hash if there is no such word."""
    try:
        return base64.b64decode(call.header(CONTENT_HASH) or "", validate=True)
    except ValueError:
        return b""

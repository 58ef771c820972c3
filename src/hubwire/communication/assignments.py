"""
Who may exchange a token of Entra for one of a communication service: users, groups and whole tenants, each with the
applications that they may do it by; and users and resource accounts of Teams.

Source: Communication Services' REST definitions of assignments, api-versions 2025-03-02-preview and 2025-06-30.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from hubwire.communication.user_documents import is_guid
from hubwire.model.communication import CommunicationService
from hubwire.model.errors import BadRequest, Conflict, NotFound, PreconditionFailed
from hubwire.model.ports import Change, Store

__all__ = [
    "ENTRA_ASSIGNMENT",
    "PATCH_BYTES",
    "TEAMS_ASSIGNMENT",
    "Assignments",
    "EntraAssignment",
    "TeamsAssignment",
]

ENTRA_ASSIGNMENT: Final = "communicationEntraAssignment"
"""Kind of document; its key is the service's immutable id, a slash, and the object id."""

TEAMS_ASSIGNMENT: Final = "communicationTeamsAssignment"
"""Kind of document; its key is the service's immutable id, the tenant and the object id, with slashes between."""

_MOST_CLIENTS: Final = 100
_MOST_CHANGES: Final = 1000
_ATTEMPTS: Final = 100

PATCH_BYTES: Final = _MOST_CHANGES * 5 * 1024
"""Of a patch: room for as many assignments as it may have, each of them as long as it may be."""


class EntraAssignment(Struct, frozen=True, rename="camel"):
    """
    Attributes:
        object_id: of a user or group; of a tenant its id. All ids are GUIDs in lower case.
        client_ids: of the applications that the token may be for.
    """

    object_id: str
    tenant_id: str
    principal_type: Literal["user", "group", "tenant"]
    client_ids: tuple[str, ...]


class TeamsAssignment(Struct, frozen=True, rename="camel", omit_defaults=True):
    """
    Attributes:
        client_ids: of the applications that the token may be for; None is all.
    """

    object_id: str
    tenant_id: str
    principal_type: Literal["user", "resourceAccount"]
    client_ids: tuple[str, ...] | None = None


class Assignments:
    """Of all services, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # Of Entra.

    async def entra(self, service: CommunicationService, object_id: str) -> EntraAssignment:
        """
        Raises:
            BadRequest: no object id.
            NotFound: there is none.
        """
        document = await self._store.get(ENTRA_ASSIGNMENT, f"{service.immutable_id}/{_guid(object_id, 'objectId')}")
        if document is None:
            raise _no_assignment()
        return msgspec.convert(document.body, EntraAssignment)

    async def list_entra(
        self, service: CommunicationService, after: str | None, limit: int
    ) -> Sequence[EntraAssignment]:
        """
        Those of a service, by object id.

        Args:
            after: object id of the last one that is known already.
        """
        prefix = f"{service.immutable_id}/"
        begin = None if after is None else prefix + _guid(after, "after")
        documents = await self._store.list(ENTRA_ASSIGNMENT, prefix, begin, limit)
        return [msgspec.convert(document.body, EntraAssignment) for document in documents]

    async def put_entra(
        self, service: CommunicationService, object_id: str, body: Mapping[str, Any]
    ) -> tuple[EntraAssignment, bool]:
        """
        Make an assignment, or replace it.

        Returns:
            it, and whether it is new.

        Raises:
            BadRequest: a field is missing or malformed.
        """
        made = _entra(_guid(object_id, "objectId"), body)
        key = f"{service.immutable_id}/{made.object_id}"
        return made, await self._put(ENTRA_ASSIGNMENT, key, msgspec.to_builtins(made))

    async def patch_entra(self, service: CommunicationService, changes: Mapping[str, Any]) -> None:
        """
        Change several at once, or none. What an assignment does not say stays as it was.

        Args:
            changes: by object id; None deletes.

        Raises:
            BadRequest: as for `put_entra`, or there are too many.
            Conflict: too many others change the same ones.
        """
        if len(changes) > _MOST_CHANGES:
            raise BadRequest(f"There are at most {_MOST_CHANGES} assignments in a request.", "body")
        wanted = {_guid(object_id, "objectId"): change for object_id, change in changes.items()}
        if len(wanted) < len(changes):
            raise BadRequest("The same object id stands there twice.", "objectId")
        for _ in range(_ATTEMPTS):
            try:
                await self._store.commit([await self._patched(service, *change) for change in wanted.items()])
            except PreconditionFailed:
                continue
            return
        raise _busy()

    async def delete_entra(self, service: CommunicationService, object_id: str) -> None:
        """Harmless if there is none. Raises BadRequest: no object id."""
        key = f"{service.immutable_id}/{_guid(object_id, 'objectId')}"
        await self._store.commit([Change(ENTRA_ASSIGNMENT, key, None)])

    async def entra_of(
        self, service: CommunicationService, tenant: str, object_id: str, groups: Iterable[str], client_id: str
    ) -> bool:
        """May this user, whose groups these are, exchange a token for this application."""
        for name in dict.fromkeys((object_id, tenant, *groups)):
            document = await self._store.get(ENTRA_ASSIGNMENT, f"{service.immutable_id}/{name}")
            if document is None:
                continue
            found = msgspec.convert(document.body, EntraAssignment)
            kind = "user" if name == object_id else "tenant" if name == tenant else "group"
            if (found.tenant_id, found.principal_type) == (tenant, kind) and client_id in found.client_ids:
                return True
        return False

    # Of Teams.

    async def teams(self, service: CommunicationService, tenant_id: str, object_id: str) -> TeamsAssignment:
        """
        Raises:
            BadRequest: no tenant or object id.
            NotFound: there is none.
        """
        document = await self._store.get(TEAMS_ASSIGNMENT, _teams_key(service, tenant_id, object_id))
        if document is None:
            raise _no_assignment()
        return msgspec.convert(document.body, TeamsAssignment)

    async def put_teams(
        self, service: CommunicationService, tenant_id: str, object_id: str, body: Mapping[str, Any]
    ) -> tuple[TeamsAssignment, bool]:
        """As `put_entra`."""
        key = _teams_key(service, tenant_id, object_id)
        kind = body.get("principalType")
        if kind not in ("user", "resourceAccount"):
            raise BadRequest("principalType is user or resourceAccount.", "principalType")
        clients = None if body.get("clientIds") is None else _clients(body["clientIds"])
        made = TeamsAssignment(object_id.lower(), tenant_id.lower(), kind, clients)
        return made, await self._put(TEAMS_ASSIGNMENT, key, msgspec.to_builtins(made))

    async def delete_teams(self, service: CommunicationService, tenant_id: str, object_id: str) -> None:
        """Harmless if there is none. Raises BadRequest: no tenant or object id."""
        await self._store.commit([Change(TEAMS_ASSIGNMENT, _teams_key(service, tenant_id, object_id), None)])

    async def teams_of(self, service: CommunicationService, tenant: str, object_id: str, client_id: str) -> bool:
        """As `entra_of`."""
        document = await self._store.get(TEAMS_ASSIGNMENT, f"{service.immutable_id}/{tenant}/{object_id}")
        if document is None:
            return False
        found = msgspec.convert(document.body, TeamsAssignment)
        return found.client_ids is None or client_id in found.client_ids

    async def _patched(self, service: CommunicationService, object_id: str, change: object) -> Change:
        key = f"{service.immutable_id}/{object_id}"
        if change is None:
            return Change(ENTRA_ASSIGNMENT, key, None)
        if not isinstance(change, dict):
            raise BadRequest("An assignment is an object, or null.", object_id)
        old = await self._store.get(ENTRA_ASSIGNMENT, key)
        made = _entra(object_id, change if old is None else {**old.body, **change})
        return Change(ENTRA_ASSIGNMENT, key, msgspec.to_builtins(made), "absent" if old is None else old.etag)

    async def _put(self, kind: str, key: str, body: dict[str, Any]) -> bool:
        for _ in range(_ATTEMPTS):
            old = await self._store.get(kind, key)
            try:
                await self._store.commit([Change(kind, key, body, "absent" if old is None else old.etag)])
            except PreconditionFailed:
                continue
            return old is None
        raise _busy()


def _entra(object_id: str, body: Mapping[str, Any]) -> EntraAssignment:
    kind = body.get("principalType")
    if kind not in ("user", "group", "tenant"):
        raise BadRequest("principalType is user, group or tenant.", "principalType")
    tenant = _guid(body.get("tenantId"), "tenantId")
    if kind == "tenant" and object_id != tenant:
        raise BadRequest("The object id of a tenant is its tenantId.", "tenantId")
    return EntraAssignment(object_id, tenant, kind, _clients(body.get("clientIds")))


def _clients(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > _MOST_CLIENTS:
        raise BadRequest(f"clientIds is a list of at most {_MOST_CLIENTS} GUIDs.", "clientIds")
    return tuple(dict.fromkeys(_guid(item, "clientIds") for item in value))


def _guid(value: object, target: str) -> str:
    """In lower case."""
    if not isinstance(value, str) or not is_guid(value.lower()):
        raise BadRequest(f"{target} must be a GUID.", target)
    return value.lower()


def _teams_key(service: CommunicationService, tenant_id: str, object_id: str) -> str:
    return f"{service.immutable_id}/{_guid(tenant_id, 'tenantId')}/{_guid(object_id, 'objectId')}"


def _no_assignment() -> NotFound:
    return NotFound("There is no such assignment.", "objectId")


def _busy() -> Conflict:
    return Conflict("Too many others change this assignment; try again.")

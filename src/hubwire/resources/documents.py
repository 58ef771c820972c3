"""
What is stored of resource groups, resources, hubs, signing keys and the directory: documents to values and back.
"""

import base64
import logging
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from hubwire.model.errors import BadRequest, StartFailed
from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey
from hubwire.model.ports import Change, Document, Store
from hubwire.resources.handler_properties import event_handlers
from hubwire.resources.hub_properties import completed
from hubwire.resources.resource_properties import completed as completed_resource
from hubwire.resources.resource_properties import sku_of

__all__ = [
    "GROUP",
    "HOME_GROUP",
    "HUB",
    "MIN_KEY_BYTES",
    "RECOVERY",
    "RESOURCE",
    "SIGNING_KEY",
    "Identity",
    "PlacedResource",
    "StoredGroup",
    "StoredHub",
    "StoredResource",
    "group_change",
    "group_deletion",
    "hub_change",
    "hub_deletion",
    "read_group",
    "read_hub",
    "read_resource",
    "read_signing_key",
    "resource_change",
    "resource_deletion",
    "signing_key_change",
    "stored",
    "value_change",
    "value_of",
]

RESOURCE: Final = "resource"
"""Kind of document, its key is the resource's name in lower case."""

HUB: Final = "hub"
"""Kind of document, its key is "resource/hub", both in lower case. Neither name can have a slash."""

GROUP: Final = "resourceGroup"
"""Kind of document, its key is "subscription/group", both in lower case."""

HOME_GROUP: Final = "hubwire"
"""Resource group of what is there from the first start."""

SIGNING_KEY: Final = "signingKey"
"""Kind of document, its key is what the signatures are for."""

RECOVERY: Final = "recovery"
"""Key of the document whose key signs reconnection tokens."""

MIN_KEY_BYTES: Final = 32
"""Of every HMAC key. RFC 7518, 3.2."""


class Identity(Struct, frozen=True):
    """
    A resource's managed identity.

    Attributes:
        kind: None, SystemAssigned or UserAssigned.
        assigned: resource id of the user-assigned one.
        principal_id, client_id: GUIDs; empty where it has no identity.
    """

    kind: str = "None"
    assigned: str | None = None
    principal_id: str = ""
    client_id: str = ""


class StoredResource(Struct, frozen=True):
    """
    Attributes:
        name: in the spelling that it was given.
        subscription: empty for the one that all that is there from the first start belongs to.
        group: resource group, in the spelling that it was given.
        sku, properties: complete.
        ports: of its own, for HTTP and HTTPS; 0 while it has none.
        replicas: their bodies by name; they are kept, and do nothing.
        created_at, changed_at: seconds since 1970.
    """

    name: str
    keys: AccessKeys
    subscription: str = ""
    group: str = HOME_GROUP
    location: str = "local"
    kind: str = "WebPubSub"
    tags: dict[str, str] = {}
    sku: dict[str, Any] = {}
    identity: Identity = Identity()
    properties: dict[str, Any] = {}
    ports: tuple[int, int] = (0, 0)
    replicas: dict[str, dict[str, Any]] = {}
    created_at: int = 0
    changed_at: int = 0


class StoredGroup(Struct, frozen=True):
    """
    Attributes:
        name: in the spelling that it was given.
    """

    name: str
    subscription: str
    location: str = "local"
    tags: dict[str, str] = {}
    managed_by: str | None = None


class PlacedResource(Struct, frozen=True):
    """
    What there is of every resource that has a name of its own in the server and ports of its own.

    Attributes:
        name: in the spelling that it was given.
        group: resource group, in the spelling that it was given.
        properties: complete.
        ports: for HTTP and HTTPS; 0 while it has none.
        created_at, changed_at: seconds since 1970.
    """

    name: str
    subscription: str
    group: str
    location: str
    properties: dict[str, Any]
    tags: dict[str, str] = {}
    ports: tuple[int, int] = (0, 0)
    created_at: int = 0
    changed_at: int = 0


class StoredHub(Struct, frozen=True):
    """
    Attributes:
        name: in the spelling that it was first given.
        properties: complete, unknown ones included.
    """

    name: str
    properties: dict[str, Any]


class _SigningKey(Struct, frozen=True):
    value: bytes


_T = TypeVar("_T")

_PAGE: Final = 200
_HANDLERS: Final = "eventHandlers"

_log: Final = logging.getLogger("hubwire.server")


async def stored(store: Store, kind: str) -> list[Document]:
    """All documents of a kind, by key."""
    documents: list[Document] = []
    while page := await store.list(kind, "", documents[-1].key if documents else None, _PAGE):
        documents += page
    return documents


def value_change(kind: str, key: str, value: Struct | None, expect: str = "any") -> Change:
    """Store a value, or that it is gone."""
    return Change(kind, key, None if value is None else msgspec.to_builtins(value), expect)


def resource_change(resource: StoredResource, expect: str = "any") -> Change:
    """Store a resource."""
    return Change(RESOURCE, resource.name.lower(), msgspec.to_builtins(resource), expect)


def resource_deletion(name: str) -> Change:
    """Store that a resource is gone."""
    return Change(RESOURCE, name.lower(), None)


def group_change(group: StoredGroup) -> Change:
    """Store a resource group."""
    return Change(GROUP, f"{group.subscription}/{group.name}".lower(), msgspec.to_builtins(group))


def group_deletion(group: StoredGroup) -> Change:
    """Store that a resource group is gone."""
    return Change(GROUP, f"{group.subscription}/{group.name}".lower(), None)


def read_group(document: Document) -> StoredGroup:
    """
    Raises:
        StartFailed: damaged.
    """
    return value_of(StoredGroup, document)


def hub_change(key: HubKey, hub: StoredHub) -> Change:
    """Store a hub."""
    return Change(HUB, _hub_name(key), msgspec.to_builtins(hub))


def hub_deletion(key: HubKey) -> Change:
    """Store that a hub has the defaults again."""
    return Change(HUB, _hub_name(key), None)


def signing_key_change(purpose: str, value: bytes, expect: str = "any") -> Change:
    """Store a signing key."""
    return Change(SIGNING_KEY, purpose, {"value": base64.b64encode(value).decode()}, expect)


def read_resource(document: Document) -> StoredResource:
    """
    Raises:
        StartFailed: damaged.
    """
    resource = value_of(StoredResource, document)
    keys = resource.keys
    for key in (keys.primary, keys.secondary, *filter(None, (keys.salt,))):
        if len(key.encode()) < MIN_KEY_BYTES or ";" in key:
            raise _damaged(document)
    try:
        sku = sku_of(resource.sku or {"name": "Premium_P2", "capacity": 1000})
        properties = completed_resource(resource.properties)
    except BadRequest as error:
        raise StartFailed(f"the stored {document.kind} {document.key} cannot be used: {error.message}") from error
    return msgspec.structs.replace(resource, sku=sku, properties=properties)


def read_hub(document: Document) -> tuple[HubKey, StoredHub]:
    """
    Raises:
        StartFailed: damaged, or written by a version that knew more.
    """
    resource, _, hub = document.key.partition("/")
    found = value_of(StoredHub, document)
    properties = {name: value for name, value in found.properties.items() if name != _HANDLERS}
    try:
        hub_as_it_is = StoredHub(found.name, completed({**properties, _HANDLERS: _usable(document, found.properties)}))
        return HubKey(resource, hub), hub_as_it_is
    except BadRequest as error:
        raise StartFailed(f"the stored {document.kind} {document.key} cannot be used: {error.message}") from error


def _usable(document: Document, properties: dict[str, Any]) -> list[Any]:
    """
    The event handlers that can be used. Others are left out, and stay stored until the hub is saved again: a rule that
    came later must not keep the server from its start.
    """
    kept = []
    for handler in properties.get(_HANDLERS) or ():
        try:
            event_handlers(_HANDLERS, [handler])
        except BadRequest as error:
            _log.warning(
                "an event handler of the stored %s %s is left out: %s", document.kind, document.key, error.message
            )
        else:
            kept.append(handler)
    return kept


def read_signing_key(document: Document) -> bytes:
    """
    Raises:
        StartFailed: damaged.
    """
    value = value_of(_SigningKey, document).value
    if len(value) < MIN_KEY_BYTES:
        raise _damaged(document)
    return value


def _hub_name(key: HubKey) -> str:
    return f"{key.resource}/{key.hub}"


def value_of(shape: type[_T], document: Document) -> _T:
    """
    Raises:
        StartFailed: damaged.
    """
    try:
        return msgspec.convert(document.body, shape)
    except msgspec.ValidationError as error:
        raise _damaged(document) from error


def _damaged(document: Document) -> StartFailed:
    # Never with its content, which may be secret.
    return StartFailed(f"the stored {document.kind} {document.key} is damaged")

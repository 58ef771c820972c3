"""
What is stored of users of communication services: ids and documents. Every key begins with the immutable id of the
service and a slash.

Sources: the service's pages on its identity model; ids in the examples of its REST definition, and in the identifiers
of its official clients.
"""

import hashlib
import re
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from hubwire.model.communication import CommunicationService
from hubwire.model.errors import IdentityNotOwned, Unavailable
from hubwire.model.names import shown_end
from hubwire.model.ports import Change, Document

__all__ = [
    "CUSTOM_ID",
    "ISSUE",
    "LONGEST_CUSTOM_ID",
    "USER",
    "StoredUser",
    "custom_id_key",
    "is_custom_id",
    "is_gone",
    "is_guid",
    "key_of",
    "new_user_part",
    "read_user",
    "user_change",
    "user_id",
    "user_key",
    "user_part",
]

USER: Final = "communicationUser"
"""Kind of document; the last part of its key is the last part of the user's id."""

CUSTOM_ID: Final = "communicationCustomId"
"""Kind of document, whose body names the `user` by the last part of the id."""

ISSUE: Final = "communicationIssue"
"""Kind of document: `at` which second since 1970 a user had a token last. Its key is the user's."""

LONGEST_CUSTOM_ID: Final = 256

_PREFIX: Final = "8:acs:"
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A user of its own; one of Entra, with tenant and object id; one of a Teams extension, with the same.
_PART: Final = re.compile(rf"{_GUID.pattern}|(?:wf_)?{_GUID.pattern}_{_GUID.pattern}")


class StoredUser(Struct, frozen=True, rename="camel", omit_defaults=True):
    """
    Attributes:
        generation: that its tokens have to be of; one more for each revocation.
        created_at: seconds since 1970.
        deleted_at: the same, once it is deleted. What is left of it then says that it was once there.
    """

    generation: int = 1
    created_at: float = 0
    custom_id: str | None = None
    deleted_at: float | None = None


def is_custom_id(text: str) -> bool:
    """Source: the service's REST definition, api-version 2025-03-02-preview."""
    return 1 <= len(text) <= LONGEST_CUSTOM_ID


def is_guid(text: str) -> bool:
    """In lower case."""
    return _GUID.fullmatch(text) is not None


def new_user_part(now: float, random: bytes) -> str:
    """
    The last part of a new user's id: a GUID of version 7 (RFC 9562, 5.7), so that those who came later are behind those
    who came before.

    Args:
        now: seconds since 1970.
        random: ten bytes.
    """
    high = (int(now * 1000) & ((1 << 48) - 1)) << 80
    return str(UUID(int=high | int.from_bytes(random, "big") & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


def user_id(service: CommunicationService, part: str) -> str:
    """What everybody calls a user, such as `8:acs:2dee53b4-…_00000005-…`."""
    return f"{_PREFIX}{service.immutable_id}_{part}"


def user_part(service: CommunicationService, identity: str) -> str:
    """
    The last part of an id.

    Raises:
        IdentityNotOwned: no user of this service can have it.
    """
    part = identity.removeprefix(f"{_PREFIX}{service.immutable_id}_")
    if part == identity or _PART.fullmatch(part) is None:
        raise IdentityNotOwned
    return part


def key_of(service: CommunicationService, part: str) -> str:
    """Of a user's documents, by the last part of its id."""
    return f"{service.immutable_id}/{part}"


def user_key(service: CommunicationService, identity: str) -> str:
    """The same by its id. Raises as `user_part`."""
    return key_of(service, user_part(service, identity))


def custom_id_key(service: CommunicationService, custom_id: str) -> str:
    """Hashed: it may be anything, such as the address of a person, and keys get into logs."""
    return f"{service.immutable_id}/{hashlib.sha256(custom_id.encode()).hexdigest()}"


def read_user(document: Document) -> StoredUser:
    """
    Raises:
        Unavailable: damaged.
    """
    try:
        return msgspec.convert(document.body, StoredUser)
    except msgspec.ValidationError as error:
        # It gets into the log, where nobody is named, and tells where to look nevertheless.
        raise Unavailable(f"the stored {document.kind} {shown_end(document.key)} is damaged") from error


def is_gone(document: Document | None) -> bool:
    """Is there no such user, or none any more."""
    return document is None or document.body.get("deletedAt") is not None


def user_change(key: str, user: StoredUser, expect: str) -> Change:
    """Store a user."""
    return Change(USER, key, msgspec.to_builtins(user), expect)

"""
Users who are brought back from an export, many at a time: all that is new of a part of the file is one change of the
store, so a crash in the middle leaves whole users, and doing it again does the rest.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from hubwire.communication.issue_times import issue_change
from hubwire.communication.user_documents import (
    CUSTOM_ID,
    USER,
    StoredUser,
    custom_id_key,
    is_custom_id,
    key_of,
    read_user,
    user_change,
    user_id,
    user_part,
)
from hubwire.model.communication import CommunicationService
from hubwire.model.errors import Conflict, IdentityNotOwned, PreconditionFailed
from hubwire.model.ports import Change, Document, Store

__all__ = ["ExportedUser", "Restored", "restore"]

_ATTEMPTS: Final = 20
"""Each one that fails is somebody else's who made a user of the same id or custom id meanwhile."""
_SERVICE_PREFIX: Final = "8:acs:"

_Seconds = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""Since 1970, and up to the last year of the calendar."""
Restored = Literal["made", "known", "other", "deleted", "taken", "invalid"]


class ExportedUser(Struct, frozen=True, rename="camel", omit_defaults=True):
    """
    All that there is to say of a user. Times are seconds since 1970.

    Attributes:
        generation: that its tokens have to be of.
    """

    id: str
    generation: Annotated[int, Meta(ge=1, lt=1 << 53)]
    created_at: _Seconds
    custom_id: str | None = None
    last_token_issued_at: _Seconds | None = None


class _Stored:
    """What is stored of some users, by the keys of their documents and custom ids."""

    def __init__(self) -> None:
        self.users: dict[str, StoredUser] = {}
        self.taken: set[str] = set()


async def restore(
    store: Store, service: CommunicationService, users: Sequence[ExportedUser | None]
) -> Sequence[Restored]:
    """
    Bring users back that were exported, under the last parts of their ids. Repeating it does nothing.

    Args:
        users: None for what cannot be read as one.

    Returns:
        for each "made"; "known" if it is there, which stays as it is; or why it is not brought back: "other" if the
        user of this id has another custom id, "deleted" if it was deleted here since, "taken" if another user has its
        custom id, "invalid" if it is no user.

    Raises:
        Conflict: too many others change the same users.
    """
    keys = [None if user is None else _key(service, user) for user in users]
    wanted = [(key, user) for key, user in zip(keys, users, strict=True) if key is not None and user is not None]
    # First without looking: nearly always none of them is there.
    stored = _Stored()
    for _ in range(_ATTEMPTS):
        changes: list[Change] = []
        results = [
            "invalid" if key is None or user is None else _restored(service, key, user, stored, changes)
            for key, user in zip(keys, users, strict=True)
        ]
        try:
            await store.commit(changes)
        except PreconditionFailed:
            stored = await _look(store, service, wanted)
            continue
        return results
    raise Conflict("Too many others change these users; try again.")


def _restored(
    service: CommunicationService, key: str, exported: ExportedUser, stored: _Stored, changes: list[Change]
) -> Restored:
    """What becomes of a user; what there is to be stored for it is put behind the changes."""
    there = stored.users.get(key)
    if there is not None:
        if there.deleted_at is not None:
            return "deleted"
        return "known" if there.custom_id == exported.custom_id else "other"
    custom_id = exported.custom_id
    if custom_id is not None:
        name = custom_id_key(service, custom_id)
        if name in stored.taken:
            return "taken"
        stored.taken.add(name)
        part = key.partition("/")[2]
        changes.append(Change(CUSTOM_ID, name, {"user": part}, "absent"))
    user = StoredUser(exported.generation, exported.created_at, custom_id)
    stored.users[key] = user
    changes.append(user_change(key, user, "absent"))
    if exported.last_token_issued_at is not None:
        changes.append(issue_change(key, exported.last_token_issued_at))
    return "made"


async def _look(store: Store, service: CommunicationService, wanted: Sequence[tuple[str, ExportedUser]]) -> _Stored:
    stored = _Stored()
    for document in await _documents(store, sorted({key for key, _ in wanted})):
        stored.users[document.key] = read_user(document)
    for key, user in wanted:
        if key not in stored.users and user.custom_id is not None:
            name = custom_id_key(service, user.custom_id)
            if await store.get(CUSTOM_ID, name) is not None:
                stored.taken.add(name)
    return stored


async def _documents(store: Store, keys: Sequence[str]) -> Sequence[Document]:
    """
    Those of users that are there. An export is in the order of the keys, so that mostly one page has all of them.

    Args:
        keys: ascending.
    """
    prefix = keys[0].partition("/")[0] + "/"
    # A text that is a letter shorter is the last one before it, but for others of the same beginning.
    page = await store.list(USER, prefix, keys[0][:-1], len(keys))
    found = {document.key: document for document in page}
    is_whole = len(page) < len(keys)
    for key in keys:
        if key not in found and not is_whole and key > page[-1].key:
            document = await store.get(USER, key)
            if document is not None:
                found[key] = document
    return [found[key] for key in keys if key in found]


def _key(service: CommunicationService, user: ExportedUser) -> str | None:
    """Of its document here; None if this is no user."""
    prefix, _, part = user.id.partition("_")
    if not prefix.startswith(_SERVICE_PREFIX) or (user.custom_id is not None and not is_custom_id(user.custom_id)):
        return None
    try:
        return key_of(service, user_part(service, user_id(service, part)))
    except IdentityNotOwned:
        return None

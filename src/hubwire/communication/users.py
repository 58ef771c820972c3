"""
The users of communication services, in the store, and the tokens that they get.

What is answered is stored, and every node that has the same store goes by it at once: nothing is remembered between two
calls, except when a user had a token last.

Sources: Communication Services Identity, api-versions 2021-03-07 to 2025-06-30, and answers that the tests of its
official clients have recorded; the service's pages on its identity model, for what revocation and deletion mean.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hubwire.communication.issue_times import IssueTimes, issue_change
from hubwire.communication.restoring import ExportedUser, Restored, restore
from hubwire.communication.tokens import IssuedToken, Tokens
from hubwire.communication.user_documents import (
    CUSTOM_ID,
    ISSUE,
    LONGEST_CUSTOM_ID,
    USER,
    StoredUser,
    custom_id_key,
    is_custom_id,
    key_of,
    new_user_part,
    read_user,
    user_change,
    user_id,
    user_key,
    user_part,
)
from hubwire.model.communication import SCOPES, CommunicationCaller, CommunicationService
from hubwire.model.errors import BadRequest, Conflict, IdentityNotOwned, PreconditionFailed
from hubwire.model.ports import Change, Store

__all__ = ["Created", "User", "Users"]

_LEAST_MINUTES: Final = 60
_MOST_MINUTES: Final = 24 * 60
_ATTEMPTS: Final = 100
"""At a document that others change at the same time; each attempt that fails is somebody else's that did not."""
_PAGE: Final = 200


class User(Struct, frozen=True):
    """
    Attributes:
        custom_id: whatever its caller calls it.
        last_token_issued_at: seconds since 1970; None if it never had a token.
    """

    id: str
    custom_id: str | None = None
    last_token_issued_at: float | None = None


class Created(Struct, frozen=True):
    """A user, new or known, and its token if one was asked for."""

    user: User
    token: IssuedToken | None = None


class Users:
    """
    Args:
        clock: seconds since 1970.
        random_bytes: as many as asked for, unpredictable.
        times: None for those of this store.

    Attributes:
        on_revoked: told, by its id, whose tokens were revoked or who was deleted: when that is stored, and before it is
            answered.
    """

    def __init__(
        self,
        store: Store,
        tokens: Tokens,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        times: IssueTimes | None = None,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._random_bytes = random_bytes
        self._times = times or IssueTimes(store)
        self.on_revoked: list[Callable[[CommunicationService, str], None]] = []

    async def create(
        self,
        service: CommunicationService,
        caller: CommunicationCaller,
        custom_id: str | None = None,
        scopes: Sequence[str] | None = None,
        minutes: int | None = None,
    ) -> Created:
        """
        A new user, or the one that has this custom id already. If there are scopes, with a token.

        Args:
            custom_id: 1 to 256 characters, unique in a service; letter case counts.
            minutes: that the token is good for, 60 to 1440; None is 1440.

        Returns:
            of a user that is not new when it had a token before this one.

        Raises:
            BadRequest: out of range, with the `target` that the service has for it.
            Conflict: too many others change the same user.
        """
        _check_custom_id(custom_id)
        wanted = _scopes(scopes) if scopes else ()
        lifetime_s = _lifetime_s(minutes)
        for _ in range(_ATTEMPTS):
            now = self._clock()
            found = None if custom_id is None else await self._with_custom_id(service, custom_id)
            part, user = found or (new_user_part(now, self._random_bytes(10)), StoredUser(1, now, custom_id))
            if found is None and not await self._keep_new(service, part, user, now if wanted else None):
                continue
            before = None if found is None else await self._times.last(key_of(service, part))
            if not wanted:
                return Created(User(user_id(service, part), custom_id, before))
            token = self._issue(service, caller, part, user, wanted, now, now + lifetime_s)
            if found is not None:
                self._times.note(key_of(service, part), now)
            return Created(User(user_id(service, part), custom_id, now if before is None else before), token)
        raise _busy()

    async def get(self, service: CommunicationService, identity: str) -> User:
        """
        Raises:
            IdentityNotOwned: the service has no such user.
        """
        key = user_key(service, identity)
        user, _ = await self._alive(key)
        return User(identity, user.custom_id, await self._times.last(key))

    async def issue(
        self,
        service: CommunicationService,
        caller: CommunicationCaller,
        identity: str,
        scopes: Sequence[str] | None,
        minutes: int | None = None,
    ) -> IssuedToken:
        """
        A token of a user. Those that it has stay good.

        Args:
            scopes: at least one.
            minutes: as for `create`.

        Raises:
            BadRequest: as for `create`.
            IdentityNotOwned: the service has no such user.
        """
        if not scopes:
            raise BadRequest("A token has at least one scope.", "Scopes")
        wanted, lifetime_s = _scopes(scopes), _lifetime_s(minutes)
        part = user_part(service, identity)
        key = key_of(service, part)
        user, _ = await self._alive(key)
        now = self._clock()
        token = self._issue(service, caller, part, user, wanted, now, now + lifetime_s)
        self._times.note(key, now)
        return token

    async def revoke(self, service: CommunicationService, identity: str) -> None:
        """
        End all tokens that a user has.

        Raises:
            IdentityNotOwned: the service has no such user.
            Conflict: too many others change the same user.
        """
        key = user_key(service, identity)
        first: int | None = None
        for _ in range(_ATTEMPTS):
            user, etag = await self._alive(key)
            if first is not None and user.generation > first:
                break  # Somebody else revoked, and has done so since we were asked.
            first = user.generation
            if await self._commit(user_change(key, replace(user, generation=user.generation + 1), etag)):
                break
        else:
            raise _busy()
        self._tell_revoked(service, identity)

    async def delete(self, service: CommunicationService, identity: str) -> None:
        """
        Delete a user with its custom id, and end all tokens that it has. Repeating it does nothing.

        Raises:
            IdentityNotOwned: the service never had such a user.
            Conflict: too many others change the same user.
        """
        key = user_key(service, identity)
        for _ in range(_ATTEMPTS):
            document = await self._store.get(USER, key)
            if document is None:
                raise IdentityNotOwned
            user = read_user(document)
            if user.deleted_at is not None:
                break
            gone = StoredUser(user.generation, user.created_at, deleted_at=self._clock())
            changes = [user_change(key, gone, document.etag), Change(ISSUE, key, None)]
            if user.custom_id is not None:
                changes.append(Change(CUSTOM_ID, custom_id_key(service, user.custom_id), None))
            if await self._commit(*changes):
                self._times.forget(key)
                break
        else:
            raise _busy()
        self._tell_revoked(service, identity)

    async def exchange(
        self,
        service: CommunicationService,
        caller: CommunicationCaller,
        part: str,
        scopes: Sequence[str],
        expires_on: float,
    ) -> Created:
        """
        A token of a user whom somebody else vouches for; the user is made if it is not there.

        Args:
            part: last part of the id.
            expires_on: seconds since 1970.

        Raises:
            Conflict: too many others change the same user.
        """
        key = key_of(service, part)
        for _ in range(_ATTEMPTS):
            now = self._clock()
            document = await self._store.get(USER, key)
            user = StoredUser(1, now) if document is None else read_user(document)
            if document is None or user.deleted_at is not None:
                # Tokens from before the deletion must not be good again.
                user = StoredUser(user.generation + (document is not None), now)
                if not await self._commit(user_change(key, user, document.etag if document else "absent")):
                    continue
            before = await self._times.last(key)
            token = self._issue(service, caller, part, user, scopes, now, expires_on)
            self._times.note(key, now)
            return Created(User(user_id(service, part), None, now if before is None else before), token)
        raise _busy()

    async def generation(self, service: CommunicationService, identity: str) -> int:
        """
        That tokens of a user have to be of.

        Raises:
            IdentityNotOwned: the service has no such user.
        """
        user, _ = await self._alive(user_key(service, identity))
        return user.generation

    # All of them.

    async def list(self, service: CommunicationService, after: str | None, limit: int) -> Sequence[User]:
        """
        Users, those that came first before the others.

        Args:
            after: id of the last one that is known already.
        """
        exported = await self.export(service, after, limit)
        return [User(user.id, user.custom_id, user.last_token_issued_at) for user in exported]

    async def export(self, service: CommunicationService, after: str | None, limit: int) -> Sequence[ExportedUser]:
        """The same with all that there is to say of them."""
        begin = None if after is None else user_key(service, after)
        found: dict[str, StoredUser] = {}
        async for key, user in self._all_alive(service, begin):
            if len(found) == limit:
                break
            found[key] = user
        if not found:
            return []
        times = await self._times.page(f"{service.immutable_id}/", begin, next(reversed(found)), _PAGE)
        return [
            ExportedUser(
                user_id(service, key.partition("/")[2]),
                user.generation,
                user.created_at,
                user.custom_id,
                times.get(key),
            )
            for key, user in found.items()
        ]

    async def restore(
        self, service: CommunicationService, exported: Sequence[ExportedUser | None]
    ) -> Sequence[Restored]:
        """Bring users back that were exported; see `restoring.restore`."""
        return await restore(self._store, service, exported)

    async def close(self) -> None:
        """Store what is not yet."""
        await self._times.close()

    # Documents.

    async def _alive(self, key: str) -> tuple[StoredUser, str]:
        """A user that is not deleted, and the etag of its document."""
        document = await self._store.get(USER, key)
        user = None if document is None else read_user(document)
        if document is None or user is None or user.deleted_at is not None:
            raise IdentityNotOwned
        return user, document.etag

    async def _with_custom_id(self, service: CommunicationService, custom_id: str) -> tuple[str, StoredUser] | None:
        """Last part of the id, and the user."""
        named = await self._store.get(CUSTOM_ID, custom_id_key(service, custom_id))
        if named is None:
            return None
        part = str(named.body["user"])
        try:
            user, _ = await self._alive(key_of(service, part))
        except IdentityNotOwned:
            return None  # Deleted since, with its custom id.
        return part, user

    async def _keep_new(
        self, service: CommunicationService, part: str, user: StoredUser, issued_at: float | None
    ) -> bool:
        key = key_of(service, part)
        changes = [user_change(key, user, "absent")]
        if user.custom_id is not None:
            changes.append(Change(CUSTOM_ID, custom_id_key(service, user.custom_id), {"user": part}, "absent"))
        if issued_at is not None:
            changes.append(issue_change(key, issued_at))
        return await self._commit(*changes)

    def _tell_revoked(self, service: CommunicationService, identity: str) -> None:
        for told in self.on_revoked:
            told(service, identity)

    async def _commit(self, *changes: Change) -> bool:
        """False if something is not as it was expected."""
        try:
            await self._store.commit(changes)
        except PreconditionFailed:
            return False
        return True

    async def _all_alive(
        self, service: CommunicationService, after: str | None
    ) -> AsyncIterator[tuple[str, StoredUser]]:
        while page := await self._store.list(USER, f"{service.immutable_id}/", after, _PAGE):
            for document in page:
                user = read_user(document)
                if user.deleted_at is None:
                    yield document.key, user
            after = page[-1].key

    def _issue(
        self,
        service: CommunicationService,
        caller: CommunicationCaller,
        part: str,
        user: StoredUser,
        scopes: Sequence[str],
        issued_at: float,
        expires_on: float,
    ) -> IssuedToken:
        identity = user_id(service, part)
        return self._tokens.sign(service, caller, identity, scopes, user.generation, issued_at, expires_on)


def _check_custom_id(custom_id: str | None) -> None:
    if custom_id is not None and not is_custom_id(custom_id):
        raise BadRequest(f"The custom id has 1 to {LONGEST_CUSTOM_ID} characters.", "CustomId")


def _scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Each once."""
    if not all(scope in SCOPES for scope in scopes):
        raise BadRequest(f"A scope is one of {', '.join(SCOPES)}.", "Scopes")
    return tuple(dict.fromkeys(scopes))


def _lifetime_s(minutes: int | None) -> int:
    if minutes is None:
        return _MOST_MINUTES * 60
    if not _LEAST_MINUTES <= minutes <= _MOST_MINUTES:
        raise BadRequest(f"A token is good for {_LEAST_MINUTES} to {_MOST_MINUTES} minutes.", "ExpiresInMinutes")
    return minutes * 60


def _busy() -> Conflict:
    return Conflict("Too many others change this user; try again.")

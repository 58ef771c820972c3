"""
The directory of the local tenant: read once, kept in memory, written through to the store.

At the first start there are a development principal with a secret and a managed identity of this machine, both with the
role of an owner over everything, and two keys to sign tokens: one that signs, and the next one, so that whoever keeps
our keys for a while knows it before it is used.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal
from uuid import UUID

from msgspec.structs import replace

from hubwire.model.directory import (
    Application,
    Assignment,
    ClientCertificate,
    ClientSecret,
    FederatedCredential,
    Tenant,
    TokenKey,
    User,
    secret_digest,
)
from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, PreconditionFailed, StartFailed
from hubwire.model.ports import Change, Store
from hubwire.model.roles import OWNER, RESOURCE_OWNER, covers
from hubwire.resources.documents import stored, value_change, value_of
from hubwire.resources.resource_properties import is_identity_name
from hubwire.resources.serial import Serial

__all__ = ["ACTIVE_DAYS", "Directory", "NewKey", "Release"]

NewKey = Callable[[int], TokenKey]
"""Makes a key that is active from a time on. Takes a tenth of a second."""

Release = Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Carries out the deletion of a user-assigned identity, by its resource id, unless somebody has it: then Conflict."""

_TENANT: Final = "tenant"
_LOCAL: Final = "local"
_APPLICATION: Final = "application"
_ASSIGNMENT: Final = "roleAssignment"
_USER: Final = "user"
_TOKEN_KEY: Final = "tokenKey"  # noqa: S105  a kind of document

_DAY_S: Final = 24 * 3600
ACTIVE_DAYS: Final = 30
"""For so long a key signs before the next one does."""
_AHEAD_S: Final = 2 * _DAY_S
"""So long before it signs a key is published: validators keep keys for up to a day."""
_BEHIND_S: Final = 2 * _DAY_S
"""And so long after: the longest-lived tokens are good for a day."""

_SECRET_PREFIX: Final = "hws~"  # noqa: S105  so that one is known when it is seen
_SECRET_DAYS: Final = 365
_HINT: Final = len(_SECRET_PREFIX) + 3
_MOST_CREDENTIALS: Final = 50
_MOST_IDENTITIES: Final = 1000
_MACHINE: Final = "hubwire-machine"
_DEVELOPMENT: Final = "hubwire-development"

_SCRYPT: Final = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}


class Directory:
    """
    Answers from memory at once; a change returns when it is stored, and holds from then on. Made by `load`.

    Attributes:
        tenant: the one local tenant.
        is_identity: knows the object ids of principals that are kept elsewhere: the identities of resources.
        release: see there.
    """

    def __init__(self, store: Store, new_key: NewKey, random_bytes: Callable[[int], bytes]) -> None:
        self._store = store
        self._new_key = new_key
        self._random_bytes = random_bytes
        self._apps: dict[str, Application] = {}
        self._assignments: dict[str, Assignment] = {}
        self._roles: dict[tuple[str, str], tuple[Assignment, ...]] = {}
        self._users: dict[str, User] = {}
        self._keys: tuple[TokenKey, ...] = ()
        self._serial = Serial()
        # Each takes 16 MiB and a twentieth of a second, and there may be many at once.
        self._hashing = asyncio.Semaphore(2)
        self.is_identity: Callable[[str], bool] = lambda _: False
        self.release: Release = _at_once
        self.tenant: Tenant

    @classmethod
    async def load(
        cls,
        store: Store,
        new_key: NewKey,
        now: float,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> "Directory":
        """
        Read what is stored. At the first start make the tenant with its first principals and keys, and store them
        first.

        Args:
            now: seconds since 1970.

        Raises:
            StartFailed: what is stored is damaged, or the first start cannot store anything.
        """
        directory = cls(store, new_key, random_bytes)
        await directory._make_first(int(now))
        await directory._read()
        return directory

    def development_secret(self) -> str | None:
        """Of the principal that is there from the first start; None if somebody took it away."""
        app = self._apps.get(self.tenant.development_app)
        digest = secret_digest(self.tenant.development_secret)
        known = app is not None and any(secret.digest == digest for secret in app.secrets)
        return self.tenant.development_secret if known else None

    # Applications.

    def applications(self) -> list[Application]:
        """All, by name."""
        return sorted(self._apps.values(), key=lambda app: (app.name.lower(), app.app_id))

    def application(self, app_id: str) -> Application | None:
        """By client id, in any case."""
        return self._apps.get(app_id.lower())

    def find(self, text: str) -> Application:
        """
        The application that somebody means: by client id, object id, App ID URI, or name if that is unique.

        Raises:
            NotFound: there is none.
            Conflict: several have this name.
        """
        wanted = text.strip()
        exact = self._apps.get(wanted.lower())
        if exact is not None:
            return exact
        found = [app for app in self._apps.values() if wanted.lower() == app.object_id or wanted in app.id_uris]
        found = found or [app for app in self._apps.values() if app.name == wanted]
        if not found:
            raise NotFound("There is no such application.", "app")
        if len(found) > 1:
            ids = ", ".join(app.app_id for app in found[:10])
            raise Conflict(f"Several applications have this name; use a client id: {ids}.", "app")
        return found[0]

    def resource(self, uri: str) -> Application | None:
        """The application that is asked for as a resource: by App ID URI, without its last slash, or client id."""
        wanted = uri.rstrip("/")
        own = self._apps.get(wanted.removeprefix("api://").lower())
        if own is not None and own.kind == "application":
            return own
        return next((app for app in self._apps.values() if wanted in app.id_uris), None)

    def identity(self, selector: str | None) -> Application | None:
        """
        A managed identity.

        Args:
            selector: client id, object id or resource id, in any case; None is the one of this machine.
        """
        for app in tuple(self._apps.values()):  # deployments ask from beside the event loop
            if selector is None:
                if app.kind == "systemAssigned":
                    return app
            elif app.kind != "application" and selector.lower() in (
                app.app_id,
                app.object_id,
                app.resource_id.lower(),
            ):
                return app
        return None

    def identities(self) -> list[Application]:
        """All that are user-assigned, by name."""
        return [app for app in self.applications() if app.kind == "userAssigned"]

    async def create(
        self,
        name: str,
        now: float,
        *,
        id_uris: Sequence[str] = (),
        token_version: Literal[1, 2] | None = None,
        managed: bool = False,
    ) -> Application:
        """
        Args:
            managed: a managed identity, whose resource id is made from its name.

        Raises:
            BadRequest: no name of an identity.
            Conflict: another application has one of the App ID URIs, or the managed identity's name.
        """
        if managed:
            return await self._serial.run(self._create_named_identity(name, int(now)))
        return await self._serial.run(self._create(name, int(now), tuple(id_uris), token_version))

    async def create_identity(
        self, resource_id: str, now: float, location: str = "local", tags: Mapping[str, str] | None = None
    ) -> Application:
        """
        A user-assigned identity of a resource id.

        Raises:
            Conflict: it is there already, or there are as many as there may be.
        """
        return await self._serial.run(self._create_identity(resource_id, int(now), location, dict(tags or {})))

    async def describe_identity(self, app_id: str, location: str, tags: Mapping[str, str]) -> Application:
        """Let a user-assigned identity have another region and other tags. Raises NotFound."""
        return await self._serial.run(self._describe_identity(app_id, location, dict(tags)))

    async def delete(self, app_id: str) -> None:
        """
        An application, with all roles that it has.

        Raises:
            NotFound: there is none.
            Conflict: it is an identity that somebody has, or this machine's.
        """
        app = self._known(app_id)

        async def delete() -> None:
            await self._serial.run(self._delete(app.app_id))

        if app.kind == "userAssigned":
            await self.release(app.resource_id, delete)
        else:
            await delete()

    async def delete_below(self, scope: str) -> None:
        """
        Delete all user-assigned identities, and take away all roles, that are below a scope or at it, since it is going
        to be deleted itself. That nobody has these identities is for the caller to know.
        """
        await self._serial.run(self._delete_below(scope))

    async def add_secret(self, app_id: str, now: float, days: int = _SECRET_DAYS) -> tuple[ClientSecret, str]:
        """A new secret of an application, and its text, which cannot be had again."""
        return await self._serial.run(self._add_secret(app_id, int(now), days))

    async def add_certificate(self, app_id: str, certificate: ClientCertificate) -> Application:
        """Let an application prove itself with the key of this certificate. Repeating it does nothing."""
        return await self._serial.run(self._add_certificate(app_id, certificate))

    async def add_federated(self, app_id: str, federated: FederatedCredential) -> Application:
        """Let an application prove itself by tokens of another issuer. Repeating it does nothing."""
        return await self._serial.run(self._add_federated(app_id, federated))

    async def remove_credential(self, app_id: str, credential: str) -> Application:
        """
        Args:
            credential: id of a secret, thumbprint of a certificate, or subject of a federated one.

        Raises:
            NotFound: it has none such.
        """
        return await self._serial.run(self._remove_credential(app_id, credential))

    # Roles.

    def assignments(self) -> list[Assignment]:
        """All, in the order of their ids."""
        return [self._assignments[key] for key in sorted(self._assignments)]

    def roles_of(self, tenant: str, principal_id: str) -> tuple[Assignment, ...]:
        """What is assigned to a principal."""
        return self._roles.get((tenant, _named(tenant, principal_id)), ())

    def assignment(self, assignment_id: str) -> Assignment | None:
        """By its id, in any case."""
        return self._assignments.get(assignment_id.lower())

    async def assign(
        self, tenant: str, principal_id: str, role_id: str, scope: str, assignment_id: str | None = None
    ) -> Assignment:
        """
        The assignment; the one that is there, if it is there already.

        Args:
            assignment_id: of a new one, if somebody else has chosen it; a GUID.

        Raises:
            NotFound: the local tenant has no such principal.
        """
        assigning = self._assign(tenant, _named(tenant, principal_id), role_id, scope, assignment_id)
        return await self._serial.run(assigning)

    async def unassign(self, tenant: str, principal_id: str, role_id: str, scope: str) -> bool:
        """Take a role away. False if it was not assigned at this scope."""
        return await self._serial.run(self._unassign(tenant, _named(tenant, principal_id), role_id, scope))

    async def unassign_all(self, principal_id: str) -> None:
        """Take away all roles of a principal of this tenant, since it is gone."""
        await self._serial.run(self._unassign_all(principal_id))

    # Users.

    def users(self) -> list[User]:
        """All, by name."""
        return sorted(self._users.values(), key=lambda user: user.name.lower())

    def user(self, text: str) -> User | None:
        """By object id or sign-in name, in any case."""
        wanted = text.strip().lower()
        return self._users.get(wanted) or next(
            (user for user in self._users.values() if user.name.lower() == wanted), None
        )

    async def create_user(
        self, name: str, now: float, *, object_id: str | None = None, display_name: str = "", password: str = ""
    ) -> User:
        """
        Raises:
            Conflict: a user of this name or object id is there.
        """
        return await self._serial.run(self._create_user(name, int(now), object_id, display_name, password))

    async def delete_user(self, text: str) -> None:
        """
        Raises:
            NotFound: there is none.
        """
        await self._serial.run(self._delete_user(text))

    async def has_password(self, user: User, password: str) -> bool:
        """Is this the user's password. Takes as long for a user without one."""
        salt, _, digest = user.password.partition(":")
        async with self._hashing:
            found = await asyncio.to_thread(_scrypt, password, bytes.fromhex(salt))
        return hmac.compare_digest(found.hex(), digest) and bool(digest)

    # Keys.

    def token_keys(self) -> tuple[TokenKey, ...]:
        """All that are published, by the time from which they sign."""
        return self._keys

    async def keep_keys(self, now: float) -> bool:
        """
        See to it that there is a key that signs and one that will, and that old ones go.

        Returns:
            whether anything has changed.
        """
        return await self._serial.run(self._keep_keys(int(now)))

    async def rotate_keys(self, now: float, *, revoke: bool = False) -> None:
        """
        Let the next key sign from now on, and publish another one for after it.

        Args:
            revoke: take back all that were published, since somebody else may have them, and make new ones. What they
                signed is refused from now on.
        """
        await self._serial.run(self._revoke_keys(int(now)) if revoke else self._rotate_keys(int(now)))

    # Changes, each when it is its turn.

    async def _create(
        self,
        name: str,
        now: int,
        id_uris: tuple[str, ...],
        token_version: Literal[1, 2] | None,
    ) -> Application:
        for uri in id_uris:
            if self.resource(uri) is not None:
                raise Conflict("Another application has this App ID URI.", "idUri")
        app_id = self._guid()
        name = name.strip() or f"app-{app_id[:8]}"
        return await self._keep(
            Application(app_id, self._guid(), name, now, id_uris=id_uris, token_version=token_version)
        )

    async def _create_named_identity(self, name: str, now: int) -> Application:
        name = name.strip() or f"app-{self._guid()[:8]}"
        if not is_identity_name(name):
            raise BadRequest("The name of an identity has 3 to 128 letters, digits and characters of _-.", "name")
        return await self._create_identity(_identity_id(self.tenant.subscription_id, name), now, "local", {})

    async def _create_identity(self, resource_id: str, now: int, location: str, tags: dict[str, str]) -> Application:
        if self.identity(resource_id) is not None:
            raise Conflict("There is a managed identity of this name.", "name")
        if len(self.identities()) >= _MOST_IDENTITIES:
            raise Conflict(f"A server has {_MOST_IDENTITIES} user-assigned identities at most.", "quota")
        name = resource_id.rpartition("/")[2]
        made = Application(self._guid(), self._guid(), name, now, "userAssigned", resource_id=resource_id)
        return await self._keep(replace(made, location=location, tags=tags))

    async def _describe_identity(self, app_id: str, location: str, tags: dict[str, str]) -> Application:
        return await self._keep(replace(self._known(app_id), location=location, tags=tags))

    async def _delete(self, app_id: str) -> None:
        app = self._known(app_id)
        if app.kind == "systemAssigned":
            raise Conflict("The identity of this machine cannot be deleted.", "app")
        gone = self._roles_to_forget(app.object_id)
        await self._store.commit([Change(_APPLICATION, app.app_id, None), *_deletions(gone)])
        del self._apps[app.app_id]
        self._forget_roles(gone)

    async def _add_secret(self, app_id: str, now: int, days: int) -> tuple[ClientSecret, str]:
        app = self._credentialed(app_id)
        text = self._secret_text()
        secret = _hashed(text, self._guid(), now, now + days * _DAY_S)
        await self._keep(replace(app, secrets=(*app.secrets, secret)))
        return secret, text

    async def _add_certificate(self, app_id: str, certificate: ClientCertificate) -> Application:
        app = self._known(app_id)
        if any(known.thumbprint == certificate.thumbprint for known in app.certificates):
            return app
        app = self._credentialed(app_id)
        return await self._keep(replace(app, certificates=(*app.certificates, certificate)))

    async def _add_federated(self, app_id: str, federated: FederatedCredential) -> Application:
        app = self._known(app_id)
        if federated in app.federated:
            return app
        app = self._credentialed(app_id)
        return await self._keep(replace(app, federated=(*app.federated, federated)))

    async def _remove_credential(self, app_id: str, credential: str) -> Application:
        app = self._known(app_id)
        wanted = credential.strip()
        left = replace(
            app,
            secrets=tuple(secret for secret in app.secrets if secret.id != wanted.lower()),
            certificates=tuple(
                known for known in app.certificates if known.thumbprint != wanted.upper().replace(":", "")
            ),
            federated=tuple(federated for federated in app.federated if federated.subject != wanted),
        )
        if left == app:
            raise NotFound("The application has no such credential.", "credential")
        return await self._keep(left)

    async def _assign(
        self, tenant: str, principal_id: str, role_id: str, scope: str, assignment_id: str | None
    ) -> Assignment:
        found = self._assigned(tenant, principal_id, role_id, scope)
        if found is None:
            # Looked at here, when it is this change's turn: another one may just have deleted it.
            if tenant == self.tenant.tenant_id and not self._is_principal(principal_id):
                raise NotFound("There is no such principal in this tenant.", "principalId")
            chosen = assignment_id.lower() if assignment_id is not None else self._guid()
            if chosen in self._assignments:
                raise Conflict("There is another assignment of this id.", "id")
            found = Assignment(chosen, tenant, principal_id, role_id, scope)
            await self._store.commit([value_change(_ASSIGNMENT, found.id, found)])
            self._assignments[found.id] = found
            self._index_roles()
        return found

    async def _unassign(self, tenant: str, principal_id: str, role_id: str, scope: str) -> bool:
        found = self._assigned(tenant, principal_id, role_id, scope)
        if found is None:
            return False
        await self._store.commit([Change(_ASSIGNMENT, found.id, None)])
        del self._assignments[found.id]
        self._index_roles()
        return True

    async def _delete_below(self, scope: str) -> None:
        identities = [app for app in self.identities() if covers(scope, app.resource_id)]
        principals = {app.object_id for app in identities}
        gone = [
            key
            for key, item in self._assignments.items()
            if covers(scope, item.scope) or (item.tenant == self.tenant.tenant_id and item.principal_id in principals)
        ]
        if gone or identities:
            changes = [Change(_APPLICATION, app.app_id, None) for app in identities]
            await self._store.commit([*changes, *_deletions(gone)])
            for app in identities:
                del self._apps[app.app_id]
            self._forget_roles(gone)

    async def _unassign_all(self, principal_id: str) -> None:
        gone = self._roles_to_forget(principal_id)
        if gone:
            await self._store.commit(_deletions(gone))
            self._forget_roles(gone)

    async def _create_user(self, name: str, now: int, object_id: str | None, display_name: str, password: str) -> User:
        name = name.strip()
        wanted = object_id.lower() if object_id is not None else self._guid()
        if self.user(name) is not None or wanted in self._users:
            raise Conflict("There is a user of this name or object id.", "name")
        salt = self._random_bytes(16)
        digest = (await asyncio.to_thread(_scrypt, password, salt)).hex() if password else ""
        user = User(wanted, name, display_name or name, now, f"{salt.hex()}:{digest}")
        await self._store.commit([value_change(_USER, user.object_id, user)])
        self._users[user.object_id] = user
        return user

    async def _delete_user(self, text: str) -> None:
        user = self.user(text)
        if user is None:
            raise NotFound("There is no such user.", "user")
        gone = self._roles_to_forget(user.object_id)
        await self._store.commit([Change(_USER, user.object_id, None), *_deletions(gone)])
        del self._users[user.object_id]
        self._forget_roles(gone)

    async def _keep_keys(self, now: int) -> bool:
        keys = list(self._keys)
        # A key is over when the one after it has signed for so long that no token of its own is good any more.
        old = [key for key, after in pairwise(keys) if after.active_from + _BEHIND_S < now]
        left = [key for key in keys if key not in old]
        new: list[TokenKey] = []
        if not any(key.active_from <= now for key in left):
            new.append(await self._made(now))
        if not any(key.active_from > now for key in left):
            active = max((key.active_from for key in left if key.active_from <= now), default=now)
            new.append(await self._made(max(now + _AHEAD_S, active + ACTIVE_DAYS * _DAY_S)))
        if not old and not new:
            return False
        await self._replace_keys(old, new)
        return True

    async def _rotate_keys(self, now: int) -> None:
        await self._keep_keys(now)
        ahead = [key for key in self._keys if key.active_from > now]
        # Later than the one before it, so that within one second there is no doubt which of them signs.
        begin = max(now, *(key.active_from + 1 for key in self._keys if key.active_from <= now))
        await self._replace_keys(ahead, [replace(key, active_from=begin) for key in ahead[:1]])
        await self._keep_keys(begin)

    async def _revoke_keys(self, now: int) -> None:
        new = [await self._made(now), await self._made(now + ACTIVE_DAYS * _DAY_S)]
        await self._replace_keys(self._keys, new)

    async def _replace_keys(self, old: Sequence[TokenKey], new: Sequence[TokenKey]) -> None:
        changes = [value_change(_TOKEN_KEY, _key_name(key), None) for key in old]
        await self._store.commit(changes + [value_change(_TOKEN_KEY, _key_name(key), key) for key in new])
        self._keys = _in_order([*(key for key in self._keys if key not in old), *new])

    async def _made(self, active_from: int) -> TokenKey:
        return await asyncio.to_thread(self._new_key, active_from)

    async def _keep(self, app: Application) -> Application:
        await self._store.commit([value_change(_APPLICATION, app.app_id, app)])
        self._apps[app.app_id] = app
        return app

    def _known(self, app_id: str) -> Application:
        app = self.application(app_id)
        if app is None:
            raise NotFound("There is no such application.", "app")
        return app

    def _credentialed(self, app_id: str) -> Application:
        app = self._known(app_id)
        if app.kind != "application":
            raise BadRequest("A managed identity has no credentials of its own.", "app")
        if len(app.secrets) + len(app.certificates) + len(app.federated) >= _MOST_CREDENTIALS:
            raise Conflict("The application has as many credentials as it may have.", "app")
        return app

    def _assigned(self, tenant: str, principal_id: str, role_id: str, scope: str) -> Assignment | None:
        return next(
            (
                item
                for item in self.roles_of(tenant, principal_id)
                if item.role_id == role_id and item.scope.strip("/").lower() == scope.strip("/").lower()
            ),
            None,
        )

    def _is_principal(self, object_id: str) -> bool:
        here = object_id in self._users or any(app.object_id == object_id for app in self._apps.values())
        return here or self.is_identity(object_id)

    def _roles_to_forget(self, object_id: str) -> list[str]:
        """Assignments that go with a principal of this tenant."""
        return [item.id for item in self.roles_of(self.tenant.tenant_id, object_id)]

    def _forget_roles(self, assignments: Iterable[str]) -> None:
        for key in assignments:
            del self._assignments[key]
        self._index_roles()

    def _index_roles(self) -> None:
        roles: dict[tuple[str, str], tuple[Assignment, ...]] = {}
        for item in self._assignments.values():
            whose = (item.tenant, item.principal_id)
            roles[whose] = (*roles.get(whose, ()), item)
        self._roles = roles

    # The beginning.

    async def _make_first(self, now: int) -> None:
        if await self._store.get(_TENANT, _LOCAL) is not None:
            return
        subscription = self._guid()
        secret = self._secret_text()
        kept = _hashed(secret, self._guid(), now, now + 100 * _SECRET_DAYS * _DAY_S)
        development = Application(self._guid(), self._guid(), _DEVELOPMENT, now, secrets=(kept,))
        machine = Application(
            self._guid(), self._guid(), _MACHINE, now, "systemAssigned", resource_id=_machine_id(subscription)
        )
        tenant = Tenant(
            self._guid(),
            "hubwire.localhost",
            subscription,
            base64.urlsafe_b64encode(self._random_bytes(32)).decode().rstrip("="),
            development.app_id,
            secret,
        )
        # Every subscription may be named, so these two may everything in all of them.
        owners = [
            Assignment(self._guid(), tenant.tenant_id, app.object_id, role.id, "/")
            for app in (development, machine)
            for role in (OWNER, RESOURCE_OWNER)
        ]
        keys = [await self._made(now), await self._made(now + ACTIVE_DAYS * _DAY_S)]
        try:
            await self._store.commit(
                [
                    value_change(_TENANT, _LOCAL, tenant, "absent"),
                    *(value_change(_APPLICATION, app.app_id, app) for app in (development, machine)),
                    *(value_change(_ASSIGNMENT, owner.id, owner) for owner in owners),
                    *(value_change(_TOKEN_KEY, _key_name(key), key) for key in keys),
                ]
            )
        except PreconditionFailed:
            return  # Another process was faster, and what it made is as good.
        except NotStored as error:
            raise StartFailed(f"cannot store the first principals: {error.reason}") from error

    async def _read(self) -> None:
        tenant = await self._store.get(_TENANT, _LOCAL)
        if tenant is None:
            raise StartFailed(f"the store has no {_TENANT} {_LOCAL}")
        self.tenant = value_of(Tenant, tenant)
        for document in await stored(self._store, _APPLICATION):
            app = value_of(Application, document)
            self._apps[app.app_id] = app
        for document in await stored(self._store, _ASSIGNMENT):
            item = value_of(Assignment, document)
            self._assignments[item.id] = item
        self._index_roles()
        for document in await stored(self._store, _USER):
            user = value_of(User, document)
            self._users[user.object_id] = user
        self._keys = _in_order(value_of(TokenKey, document) for document in await stored(self._store, _TOKEN_KEY))

    def _guid(self) -> str:
        return str(UUID(bytes=self._random_bytes(16), version=4))

    def _secret_text(self) -> str:
        return _SECRET_PREFIX + base64.urlsafe_b64encode(self._random_bytes(30)).decode()


async def _at_once(_resource_id: str, delete: Callable[[], Awaitable[None]]) -> None:
    await delete()


def _hashed(text: str, secret_id: str, now: int, expires_at: int) -> ClientSecret:
    return ClientSecret(secret_id, secret_digest(text), text[:_HINT], now, expires_at)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)


def _key_name(key: TokenKey) -> str:
    """A digest of its certificate: a key that is to be active earlier keeps its name."""
    return hashlib.sha256(key.certificate.encode()).hexdigest()


def _named(tenant: str, principal_id: str) -> str:
    """GUIDs compare without case; what another kind of issuer calls its principals may not."""
    return principal_id if "://" in tenant else principal_id.lower()


def _deletions(assignments: Iterable[str]) -> list[Change]:
    return [Change(_ASSIGNMENT, key, None) for key in assignments]


def _in_order(keys: Iterable[TokenKey]) -> tuple[TokenKey, ...]:
    return tuple(sorted(keys, key=lambda key: key.active_from))


def _machine_id(subscription: str) -> str:
    group = f"/subscriptions/{subscription}/resourcegroups/hubwire"
    return f"{group}/providers/Microsoft.Compute/virtualMachines/{_MACHINE}"


def _identity_id(subscription: str, name: str) -> str:
    group = f"/subscriptions/{subscription}/resourcegroups/hubwire"
    return f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"

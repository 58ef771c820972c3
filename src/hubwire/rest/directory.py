"""
What the local operator may do with the directory of the token issuer, over the control socket only: applications and
their credentials, roles, users and their tokens, the keys.

Answers hold secrets: a new one is told here once.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Protocol
from uuid import UUID

from msgspec import Meta, Struct

from hubwire.auth.assertions import read_certificate
from hubwire.auth.issuer import Issuer
from hubwire.auth.refusals import TokenRefused
from hubwire.model.directory import (
    Application,
    Assignment,
    ClientCertificate,
    ClientSecret,
    FederatedCredential,
    User,
    is_issuer_url,
)
from hubwire.model.errors import BadRequest, Conflict, NotFound
from hubwire.model.roles import BUILT_IN, role_named, role_with_id
from hubwire.rest.bodies import json_reply, read_json
from hubwire.rest.call import Call
from hubwire.rest.operation import Handler, Operation, Reply

__all__ = ["Directory", "DirectoryTable", "shown_app"]

_APPS: Final = "/control/apps"
_APP: Final = _APPS + "/{app}"
_USERS: Final = "/control/users"
_USER: Final = _USERS + "/{user}"
_ASSIGNMENTS: Final = "/control/assignments"

# Not `$`, which lets a line end pass.
_LINE: Final = r"^[^\x00-\x1f\x7f]*\Z"
_Name = Annotated[str, Meta(min_length=1, max_length=120, pattern=_LINE)]
_Claim = Annotated[str, Meta(max_length=600, pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*\Z")]
"""What a token says about its issuer or subject; as long as Entra has them."""


class Directory(Protocol):
    """The directory. See `hubwire.resources.directory`."""

    def applications(self) -> Sequence[Application]: ...
    def find(self, text: str, /) -> Application: ...
    async def create(
        self,
        name: str,
        now: float,
        /,
        *,
        id_uris: Sequence[str] = ...,
        token_version: Literal[1, 2] | None = ...,
        managed: bool = ...,
    ) -> Application: ...
    async def delete(self, app_id: str, /) -> None: ...
    async def add_secret(self, app_id: str, now: float, days: int, /) -> tuple[ClientSecret, str]: ...
    async def add_certificate(self, app_id: str, certificate: ClientCertificate, /) -> Application: ...
    async def add_federated(self, app_id: str, federated: FederatedCredential, /) -> Application: ...
    async def remove_credential(self, app_id: str, credential: str, /) -> Application: ...
    def assignments(self) -> Sequence[Assignment]: ...
    def roles_of(self, tenant: str, principal_id: str, /) -> Sequence[Assignment]: ...
    async def assign(self, tenant: str, principal_id: str, role_id: str, scope: str, /) -> Assignment: ...
    async def unassign(self, tenant: str, principal_id: str, role_id: str, scope: str, /) -> bool: ...
    def users(self) -> Sequence[User]: ...
    def user(self, text: str, /) -> User | None: ...
    async def create_user(
        self, name: str, now: float, /, *, object_id: str | None = ..., display_name: str = ..., password: str = ...
    ) -> User: ...
    async def delete_user(self, text: str, /) -> None: ...
    async def rotate_keys(self, now: float, /, *, revoke: bool = ...) -> None: ...


class _NewApp(Struct, rename="camel", forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=120, pattern=_LINE)] = ""
    id_uris: list[str] = []
    token_version: Literal[1, 2] | None = None
    managed_identity: bool = False
    secret: bool = True


class _NewSecret(Struct, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1, le=36500)] = 365


class _NewCertificate(Struct, forbid_unknown_fields=True):
    pem: str


class _NewFederated(Struct, forbid_unknown_fields=True):
    issuer: _Claim
    subject: _Claim
    audience: _Claim = "api://AzureADTokenExchange"


class _RemovedCredential(Struct, forbid_unknown_fields=True):
    credential: _Claim


class _Assigned(Struct, rename="camel", forbid_unknown_fields=True):
    """Either of `app` and `principal_id`, this one with the tenant or issuer whose principal it is."""

    role: str
    app: str | None = None
    principal_id: _Claim | None = None
    tenant: _Claim | None = None
    scope: str | None = None


class _NewUser(Struct, rename="camel", forbid_unknown_fields=True):
    name: _Name
    object_id: str | None = None
    display_name: Annotated[str, Meta(max_length=120, pattern=_LINE)] = ""
    password: Annotated[str, Meta(max_length=256)] = ""


class _Rotation(Struct, forbid_unknown_fields=True):
    revoke: bool = False


class _UserToken(Struct, forbid_unknown_fields=True):
    app: str
    scope: str


class DirectoryTable:
    """
    The handlers.

    Args:
        default_scope: resource that roles are assigned at unless another one is named.
    """

    def __init__(self, directory: Directory, issuer: Issuer, default_scope: str) -> None:
        self._directory = directory
        self._issuer = issuer
        self._default_scope = default_scope

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(method: str, path: str, name: str, handler: Handler, *statuses: int) -> Operation:
            return Operation(method, path, name, handler, statuses, surface="operator")

        return (
            row("GET", _APPS, "ListApps", self._list_apps, 200),
            row("POST", _APPS, "CreateApp", self._create_app, 201, 400, 409),
            row("GET", _APP, "GetApp", self._get_app, 200, 404, 409),
            row("DELETE", _APP, "DeleteApp", self._delete_app, 204, 404, 409),
            row("POST", _APP + "/:addSecret", "AddAppSecret", self._add_secret, 201, 400, 404, 409),
            row("POST", _APP + "/:addCertificate", "AddAppCertificate", self._add_certificate, 200, 400, 404, 409),
            row("POST", _APP + "/:addFederated", "AddAppFederated", self._add_federated, 200, 400, 404, 409),
            row(
                "POST", _APP + "/:removeCredential", "RemoveAppCredential", self._remove_credential, 200, 400, 404, 409
            ),
            row("GET", _ASSIGNMENTS, "ListAssignments", self._list_assignments, 200),
            row("POST", _ASSIGNMENTS, "AssignRole", self._assign, 200, 400, 404, 409),
            row("POST", _ASSIGNMENTS + "/:remove", "RemoveRole", self._unassign, 204, 400, 404, 409),
            row("GET", _USERS, "ListUsers", self._list_users, 200),
            row("POST", _USERS, "CreateUser", self._create_user, 201, 400, 409),
            row("DELETE", _USER, "DeleteUser", self._delete_user, 204, 404),
            row("POST", _USER + "/:token", "IssueUserToken", self._user_token, 200, 400, 404, 409),
            row("POST", "/control/tokenKeys/:rotate", "RotateTokenKeys", self._rotate, 200, 400),
        )

    # Applications.

    async def _list_apps(self, call: Call) -> Reply:  # noqa: ARG002  handlers look alike
        return json_reply({"value": [shown_app(app) for app in self._directory.applications()]})

    async def _create_app(self, call: Call) -> Reply:
        request = await read_json(call, _NewApp)
        now = time.time()
        app = await self._directory.create(
            request.name,
            now,
            id_uris=[_id_uri(uri) for uri in request.id_uris],
            token_version=request.token_version,
            managed=request.managed_identity,
        )
        told: dict[str, str] = {}
        if request.secret and not request.managed_identity:
            _, told["clientSecret"] = await self._directory.add_secret(app.app_id, now, _NewSecret().days)
            app = self._directory.find(app.app_id)
        return json_reply({"tenantId": self._issuer.tenant_id, **shown_app(app), **told})

    async def _get_app(self, call: Call) -> Reply:
        app = self._app(call)
        roles = [shown_assignment(item) for item in self._directory.assignments() if item.principal_id == app.object_id]
        return json_reply({"tenantId": self._issuer.tenant_id, **shown_app(app), "roles": roles})

    async def _delete_app(self, call: Call) -> Reply:
        await self._directory.delete(self._app(call).app_id)
        return Reply()

    async def _add_secret(self, call: Call) -> Reply:
        app, request = self._app(call), await read_json(call, _NewSecret)
        secret, text = await self._directory.add_secret(app.app_id, time.time(), request.days)
        return json_reply(
            {
                "tenantId": self._issuer.tenant_id,
                "clientId": app.app_id,
                "secretId": secret.id,
                "clientSecret": text,
                "expires": _moment(secret.expires_at),
            }
        )

    async def _add_certificate(self, call: Call) -> Reply:
        app, request = self._app(call), await read_json(call, _NewCertificate)
        try:
            certificate = read_certificate(request.pem, time.time())
        except ValueError as error:
            raise BadRequest(f"The certificate cannot be used: {error}.", "pem") from error
        return json_reply(shown_app(await self._directory.add_certificate(app.app_id, certificate)))

    async def _add_federated(self, call: Call) -> Reply:
        app, request = self._app(call), await read_json(call, _NewFederated)
        if not is_issuer_url(request.issuer):
            raise BadRequest("An issuer is an https URL, as the claim iss of its tokens has it.", "issuer")
        federated = FederatedCredential(request.issuer, request.subject, request.audience)
        return json_reply(shown_app(await self._directory.add_federated(app.app_id, federated)))

    async def _remove_credential(self, call: Call) -> Reply:
        app, request = self._app(call), await read_json(call, _RemovedCredential)
        return json_reply(shown_app(await self._directory.remove_credential(app.app_id, request.credential)))

    def _app(self, call: Call) -> Application:
        return self._directory.find(call.names["app"])

    # Roles.

    async def _list_assignments(self, call: Call) -> Reply:  # noqa: ARG002
        return json_reply({"value": [shown_assignment(item) for item in self._directory.assignments()]})

    async def _assign(self, call: Call) -> Reply:
        tenant, principal_id, role_id, scope = self._meant(await read_json(call, _Assigned))
        return json_reply(shown_assignment(await self._directory.assign(tenant, principal_id, role_id, scope)))

    async def _unassign(self, call: Call) -> Reply:
        tenant, principal_id, role_id, scope = self._meant(await read_json(call, _Assigned))
        if not await self._directory.unassign(tenant, principal_id, role_id, scope):
            held = [item.scope for item in self._directory.roles_of(tenant, principal_id) if item.role_id == role_id]
            hint = f" It is assigned at {' and '.join(held)}." if held else ""
            raise NotFound(f"This role is not assigned at this scope.{hint}", "role")
        return Reply()

    def _meant(self, request: _Assigned) -> tuple[str, str, str, str]:
        """Tenant, principal, role and scope of a request."""
        role = role_named(request.role)
        if role is None:
            known = ", ".join(f"'{one.name}' ({one.short})" for one in BUILT_IN)
            raise BadRequest(f"The role is not known; there are {known}.", "role")
        scope = self._default_scope if request.scope is None else request.scope.strip()
        if not scope.startswith("/"):
            raise BadRequest("A scope begins with a slash, such as /subscriptions/ID.", "scope")
        if (request.app is None) == (request.principal_id is None):
            raise BadRequest("Name an application, or a principal by its object id.", "app")
        if request.tenant is not None and request.app is not None:
            raise BadRequest("A tenant goes with a principal of it, and applications are of this one.", "tenant")
        if request.app is not None:
            return self._issuer.tenant_id, self._directory.find(request.app).object_id, role.id, scope
        tenant = request.tenant or self._issuer.tenant_id
        return tenant.lower() if "://" not in tenant else tenant, request.principal_id or "", role.id, scope

    # Users.

    async def _list_users(self, call: Call) -> Reply:  # noqa: ARG002
        return json_reply({"value": [_shown_user(user) for user in self._directory.users()]})

    async def _create_user(self, call: Call) -> Reply:
        self._check_users()
        request = await read_json(call, _NewUser)
        user = await self._directory.create_user(
            request.name,
            time.time(),
            object_id=None if request.object_id is None else _guid(request.object_id, "objectId"),
            display_name=request.display_name,
            password=request.password,
        )
        return json_reply({"tenantId": self._issuer.tenant_id, **_shown_user(user)})

    async def _delete_user(self, call: Call) -> Reply:
        await self._directory.delete_user(call.names["user"])
        return Reply()

    async def _user_token(self, call: Call) -> Reply:
        self._check_users()
        request = await read_json(call, _UserToken)
        user = self._directory.user(call.names["user"])
        if user is None:
            raise NotFound("There is no such user.", "user")
        try:
            granted = self._issuer.user_token(user, self._directory.find(request.app), request.scope)
        except TokenRefused as error:
            raise BadRequest(error.message, "scope") from error
        return json_reply({"token": granted.token, "expires": _moment(granted.issued_at + granted.lifetime_s)})

    def _check_users(self) -> None:
        if not self._issuer.user_tokens:
            raise Conflict("Users have no tokens here: start the server with --user-tokens.", "user_tokens")

    # Keys.

    async def _rotate(self, call: Call) -> Reply:
        request = await read_json(call, _Rotation) if call.has_body else _Rotation()
        await self._directory.rotate_keys(time.time(), revoke=request.revoke)
        states = self._issuer.ring.states(time.time())
        return json_reply({"keys": [{"kid": kid, "state": state} for kid, state in states]})


def shown_app(app: Application) -> dict[str, Any]:
    """An application as operators see it: none of its secrets."""
    document: dict[str, Any] = {
        "name": app.name,
        "clientId": app.app_id,
        "objectId": app.object_id,
        "kind": app.kind,
        "idUris": app.id_uris,
    }
    if app.token_version is not None:
        document["tokenVersion"] = app.token_version
    if app.resource_id:
        document["resourceId"] = app.resource_id
    document["secrets"] = [
        {"id": secret.id, "hint": f"{secret.hint}…", "expires": _moment(secret.expires_at)} for secret in app.secrets
    ]
    document["certificates"] = [
        {"thumbprint": known.thumbprint, "expires": _moment(known.expires_at)} for known in app.certificates
    ]
    if app.federated:
        document["federated"] = [
            {"issuer": known.issuer, "subject": known.subject, "audience": known.audience} for known in app.federated
        ]
    return document


def shown_assignment(item: Assignment) -> Mapping[str, str]:
    """An assignment with the role's name."""
    role = role_with_id(item.role_id)
    return {
        "role": role.name if role is not None else item.role_id,
        "principalId": item.principal_id,
        "tenant": item.tenant,
        "scope": item.scope,
    }


def _shown_user(user: User) -> dict[str, Any]:
    return {"name": user.name, "objectId": user.object_id, "displayName": user.display_name}


def _id_uri(text: str) -> str:
    """
    Raises:
        BadRequest: no URI that an application can be called by.
    """
    uri = text.strip().rstrip("/")
    scheme, colon, rest = uri.partition("://")
    good = uri.isascii() and uri.isprintable() and " " not in uri and len(uri) <= 255
    if not colon or not scheme.isalnum() or not rest or not good:
        raise BadRequest("An App ID URI looks like api://name or https://name.", "idUri")
    return uri


def _guid(text: str, target: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise BadRequest("An object id is a GUID.", target) from error


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

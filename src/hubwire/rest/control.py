"""
What the local operator may ask for, over the control socket only: state, client URLs, access keys, hubs.

Answers hold secrets. They are written to that socket and nowhere else, least of all to a log.
"""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from hubwire.model.errors import BadRequest, NotFound
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys, KeyKind, connection_string
from hubwire.model.telemetry import Telemetry
from hubwire.rest.audience import TOKEN_MINUTES, client_url, known_client_type
from hubwire.rest.bodies import json_reply, read_json
from hubwire.rest.call import Call
from hubwire.rest.checks import checked_groups, checked_hub, checked_user
from hubwire.rest.management_calls import warning_headers
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import Catalog, Principals, Server

__all__ = ["Control"]

_KEYS: Final = "/control/keys"
_HUB: Final = "/control/hubs/{hub}"
_KEY_KINDS: Final[Mapping[str, KeyKind]] = {"primary": "primary", "secondary": "secondary", "salt": "salt"}


class _UrlRequest(Struct, rename="camel", forbid_unknown_fields=True):
    """Body of `POST /control/url`. `minutes` of 0 are the default lifetime."""

    hub: str
    user_id: str | None = None
    roles: list[str] = []
    groups: list[str] = []
    minutes: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    client_type: str | None = None


class _RotateRequest(Struct, rename="camel", forbid_unknown_fields=True):
    key_type: str


class _HubRequest(Struct, forbid_unknown_fields=True):
    properties: dict[str, Any] = {}


class Control:
    """
    The handlers of the local operator.

    Args:
        principal: what a program needs to sign in with the token issuer; empty if there is none.
        resource: whose keys and hubs these are.
    """

    def __init__(
        self,
        principals: Principals,
        catalog: Catalog,
        telemetry: Telemetry,
        server: Server,
        principal: Callable[[], Mapping[str, str]] = dict,
        resource: str = DEFAULT_RESOURCE,
    ) -> None:
        self._principal = principal
        self._principals = principals
        self._catalog = catalog
        self._telemetry = telemetry
        self._server = server
        self._resource = resource

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(method: str, path: str, name: str, handler: Handler, *statuses: int) -> Operation:
            return Operation(method, path, name, handler, statuses, surface="operator")

        return (
            row("GET", "/control/status", "GetStatus", self._status, 200),
            row("POST", "/control/url", "CreateClientUrl", self._client_url, 200, 400),
            row("GET", _KEYS, "GetKeys", self._get_keys, 200),
            row("POST", _KEYS + "/:rotate", "RotateKey", self._rotate_key, 200, 400),
            row("GET", "/control/hubs", "ListHubs", self._list_hubs, 200),
            row("GET", _HUB, "GetHub", self._get_hub, 200, 400, 404),
            row("PUT", _HUB, "PutHub", self._put_hub, 200, 400),
            row("PATCH", _HUB, "PatchHub", self._patch_hub, 200, 400),
            row("DELETE", _HUB, "DeleteHub", self._delete_hub, 204, 400, 404),
        )

    async def _status(self, call: Call) -> Reply:  # noqa: ARG002  handlers look alike
        server = self._server
        keys = self._catalog.access_keys(self._resource)
        https = server.https_endpoint
        return json_reply(
            {
                "endpoint": server.endpoint,
                "connectionString": connection_string(server.endpoint, keys.primary),
                **({} if https is None else {"httpsEndpoint": https}),
                **({} if https is None else {"ownHttpsEndpoint": server.own_https_endpoint}),
                **({} if https is None else {"httpsConnectionString": connection_string(https, keys.primary)}),
                **({} if server.ca_certificate is None else {"caCertificate": server.ca_certificate}),
                **self._principal(),
                "pid": server.pid,
                "version": server.version,
                "dataFolder": server.data_folder,
                "connections": self._telemetry.connections,
                "uptimeSeconds": int(time.monotonic() - server.started_at),
            }
        )

    async def _client_url(self, call: Call) -> Reply:
        request = await read_json(call, _UrlRequest)
        hub = checked_hub(request.hub)
        audience = client_url(self._server.endpoint, known_client_type(request.client_type), hub)
        token = self._principals.issue_client_token(
            self._resource,
            audience,
            checked_user(request.user_id) if request.user_id is not None else None,
            request.roles,
            checked_groups(request.groups, "groups"),
            request.minutes or TOKEN_MINUTES,
        )
        base = "ws" + audience.removeprefix("http")
        # A token is base64url and dots: nothing in it needs an escape.
        return json_reply({"url": f"{base}?access_token={token}", "baseUrl": base, "token": token})

    async def _get_keys(self, call: Call) -> Reply:  # noqa: ARG002
        return self._keys(self._catalog.access_keys(self._resource))

    async def _rotate_key(self, call: Call) -> Reply:
        request = await read_json(call, _RotateRequest)
        kind = _KEY_KINDS.get(request.key_type.lower())
        if kind is None:
            raise BadRequest("The key type must be primary, secondary or salt.", "keyType")
        return self._keys(await self._catalog.rotate_key(self._resource, kind))

    def _keys(self, keys: AccessKeys) -> Reply:
        return json_reply(
            {
                "primaryKey": keys.primary,
                "secondaryKey": keys.secondary,
                "primaryConnectionString": connection_string(self._server.endpoint, keys.primary),
                "secondaryConnectionString": connection_string(self._server.endpoint, keys.secondary),
            }
        )

    async def _list_hubs(self, call: Call) -> Reply:  # noqa: ARG002
        return json_reply({"value": await self._catalog.list_hubs()})

    async def _get_hub(self, call: Call) -> Reply:
        hub = await self._catalog.get_hub(_hub(call))
        if hub is None:
            raise NotFound("Nobody configured this hub; it has the defaults.", "hub")
        return json_reply(hub)

    async def _put_hub(self, call: Call) -> Reply:
        name = _hub(call)
        return self._hub_reply(await self._catalog.put_hub(name, (await read_json(call, _HubRequest)).properties))

    async def _patch_hub(self, call: Call) -> Reply:
        name = _hub(call)
        properties = (await read_json(call, _HubRequest)).properties
        try:
            return self._hub_reply(await self._catalog.patch_hub(name, properties))
        except NotFound:
            # Every hub has settings, the defaults if nobody gave it any: there is always something to change.
            given = {key: value for key, value in properties.items() if value is not None}
            return self._hub_reply(await self._catalog.put_hub(name, given))

    def _hub_reply(self, hub: Mapping[str, Any]) -> Reply:
        """With what of it does not act."""
        return json_reply(hub, warning_headers(self._catalog.hub_warnings(hub["name"])))

    async def _delete_hub(self, call: Call) -> Reply:
        if not await self._catalog.delete_hub(_hub(call)):
            raise NotFound("Nobody configured this hub; it has the defaults.", "hub")
        return Reply()


def _hub(call: Call) -> str:
    return checked_hub(call.names["hub"])

"""
Where a process of this machine gets tokens without a secret of its own: the endpoint of Azure's virtual machines
(IMDS), and the one of App Service, which asks for a header whose value stands in the process's environment.

Both answer this machine only. Whoever can make a program of this machine fetch a URL must not get a token: so a request
that passed a proxy is refused, one that asks for another host, and one without the header that no browser sends by
itself.

Sources: Azure's pages on the two endpoints; requests that the official identity libraries send.
"""

import hmac
import logging
import re
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, Literal

from hubwire.auth.failures import Failures
from hubwire.auth.issuer import Granted, Issuer
from hubwire.model.directory import Tenant
from hubwire.model.errors import BadRequest, Forbidden, Unauthorized
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import FORM_BYTES, Call, Caller
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.query import QueryString

__all__ = ["IDENTITY_PATH", "ManagedIdentityTable", "Offered"]

_log: Final = logging.getLogger("hubwire.auth")

Offered = Literal["off", "app-service", "imds"]
"""Which endpoints there are: none, the one that demands a secret header, or both."""

_SECRET: Final = (("cache-control", "no-store"),)

IDENTITY_PATH: Final = "/msi/token"
_IMDS_PATH: Final = "/metadata/identity/oauth2/token"
_IMDS_ADDRESS: Final = "169.254.169.254"
_PASSED_ON: Final = frozenset({"forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip", "origin"})
_PASSED_ON_PREFIXES: Final = ("x-forwarded-", "sec-fetch-")
"""Headers of proxies and of browsers; no library sends any of them."""
_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::[0-9]{1,5})?")
_SELECTORS: Final = ("client_id", "clientid", "object_id", "principal_id", "msi_res_id", "mi_res_id", "resource_id")


class ManagedIdentityTable:
    """
    The handlers of both endpoints.

    Args:
        offered: which of them there are.
        own_url: base URL of the plain listener, as processes of this machine reach it.
        is_proxy: is this the address of a trusted proxy.
        failures: by address.
    """

    def __init__(
        self,
        issuer: Issuer,
        tenant: Tenant,
        offered: Offered,
        own_url: str,
        is_proxy: Callable[[str], bool],
        failures: Failures,
    ) -> None:
        self._issuer = issuer
        self._header = tenant.identity_header
        self._offered = offered
        self._own_url = own_url
        self._is_proxy = is_proxy
        self._failures = failures

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(method: str, path: str, name: str, handler: Handler) -> Operation:
            return Operation(method, path, name, handler, (200, 400, 401, 403, 429), surface="identity")

        told = Operation("GET", "/control/environment", "GetEnvironment", self._environment, (200,), surface="operator")
        own = (
            told,
            row("GET", IDENTITY_PATH, "GetIdentityToken", self._app_service),
            row("POST", IDENTITY_PATH, "PostIdentityToken", self._app_service),
        )
        return {
            "off": (told,),
            "app-service": own,
            "imds": (*own, row("GET", _IMDS_PATH, "GetMachineToken", self._imds)),
        }[self._offered]

    async def _environment(self, call: Call) -> Reply:  # noqa: ARG002  handlers look alike
        """What the environment of a process must have for its libraries to find the endpoint. Holds a secret."""
        variables: dict[str, str] = {}
        if self._offered != "off":
            variables = {"IDENTITY_ENDPOINT": f"{self._own_url}{IDENTITY_PATH}", "IDENTITY_HEADER": self._header}
        return json_reply({"variables": variables}, _SECRET)

    async def _imds(self, call: Call) -> Reply:
        """Numbers are strings in the answers of both."""
        self._check_machine(call, proved=False)
        if (call.header("metadata") or "").lower() != "true":
            raise BadRequest("Required metadata header not specified", "Metadata")
        granted = self._granted(call.query)
        return _answer(granted)

    async def _app_service(self, call: Call) -> Reply:
        """
        Three ways to ask: App Service's, its older one (header `secret`), and Cloud Shell's, which posts a form and
        sends no secret: that one is for the machine's endpoint only.
        """
        given = call.header("x-identity-header") or call.header("secret")
        metadata = (call.header("metadata") or "").lower() == "true"
        cloud_shell = given is None and self._offered == "imds" and metadata and call.method == "POST"
        self._check_machine(call, proved=not cloud_shell)
        if not cloud_shell:
            self._check_header(given, call.caller)
        query = QueryString(await call.body(FORM_BYTES), "form") if call.method == "POST" else call.query
        return _answer(self._granted(query))

    def _granted(self, query: QueryString) -> Granted:
        resource = query.one("resource")
        if not resource:
            raise BadRequest("The parameter 'resource' is missing", "resource")
        selectors = [value for value in map(query.one, _SELECTORS) if value]
        if len(selectors) > 1:
            raise BadRequest("More than one identity is selected", "client_id")
        granted = self._issuer.to_identity(resource, selectors[0] if selectors else None)
        _log.info("token for managed identity %s", granted.client_id)
        return granted

    def _check_header(self, given: str | None, caller: Caller) -> None:
        address, now = caller.client_ip or "control", time.time()
        self._failures.check(address, now)
        if given is None:
            raise Unauthorized("The header X-IDENTITY-HEADER is missing.")  # no guess, so it is not counted as one
        if not hmac.compare_digest(given.encode(), self._header.encode()):
            self._failures.add(address, now)
            raise Unauthorized("The header X-IDENTITY-HEADER is wrong.")

    def _check_machine(self, call: Call, *, proved: bool) -> None:
        """
        Args:
            proved: a secret is demanded as well, so it may come from any address of ours, which may be a proxy's.

        Raises:
            Forbidden: this does not come from a process of this machine that meant to ask us.
        """
        caller = call.caller
        if caller.control:
            return
        client_ip = caller.client_ip or ""
        passed_on = any(name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES) for name, _ in call.headers)
        near = _is_loopback(client_ip)
        if proved:
            near = near or client_ip == caller.own_ip
        else:
            # Libraries ask by plain HTTP; what comes by TLS may have come through something that ends it.
            passed_on = passed_on or self._is_proxy(client_ip) or caller.scheme != "http"
        if passed_on or not near or not _is_own(caller):
            raise Forbidden("Only processes of this machine may ask, and not through a proxy.")


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _is_own(caller: Caller) -> bool:
    """Was it asked by a name that only this machine can mean: then no page of another site can have led here."""
    match = _AUTHORITY.fullmatch(caller.host.lower())
    host = match[match.lastindex or 0] if match is not None else ""
    return host in ("localhost", _IMDS_ADDRESS) or _is_loopback(host) or (host != "" and host == caller.own_ip)


def _answer(granted: Granted) -> Reply:
    return json_reply(
        {
            "access_token": granted.token,
            "client_id": granted.client_id,
            "expires_in": str(granted.lifetime_s),
            "expires_on": str(granted.issued_at + granted.lifetime_s),
            "ext_expires_in": str(granted.lifetime_s),
            "not_before": str(granted.issued_at),
            "resource": granted.resource,
            "token_type": "Bearer",
        },
        _SECRET,
    )

"""
The token issuer over HTTP: discovery, keys and tokens, in the form that identity libraries and validators of tokens
expect of Entra.

Source: OpenID Connect Discovery 1.0; Entra's metadata documents and its page on the client-credentials grant.
"""

import base64
import binascii
import logging
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from hubwire.auth.failures import Failures
from hubwire.auth.issuer import Granted, Issuer, TokenRequest, Version
from hubwire.auth.refusals import TokenRefused
from hubwire.model.directory import MICROSOFT_HOSTS
from hubwire.model.errors import BadRequest
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import FORM_BYTES, Call
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.query import QueryString

__all__ = ["IssuerTable"]

_log: Final = logging.getLogger("hubwire.auth")

_FORM: Final = "application/x-www-form-urlencoded"
_SECRET: Final = (("cache-control", "no-store"), ("pragma", "no-cache"))
_KEPT: Final = (("cache-control", "public, max-age=3600"),)
_MOST_FIELDS: Final = 100


class IssuerTable:
    """
    The handlers of the issuer.

    Args:
        failures: by address.
    """

    def __init__(self, issuer: Issuer, failures: Failures) -> None:
        self._issuer = issuer
        self._failures = failures

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(method: str, path: str, name: str, handler: Handler, *statuses: int) -> Operation:
            return Operation(method, "/{tenant}" + path, name, handler, statuses, surface="issuer")

        document = "/.well-known/openid-configuration"
        absent = [
            row(method, f"/oauth2/{version}{verb}", "InteractiveSignIn", _not_interactive, 400)
            for version in ("", "v2.0/")
            for verb, methods in (("authorize", ("GET", "POST")), ("devicecode", ("POST",)), ("logout", ("GET",)))
            for method in methods
        ]
        return (
            row("GET", "/v2.0" + document, "GetDiscovery", self._discovery, 200, 400),
            row("GET", document, "GetDiscoveryV1", self._discovery_v1, 200, 400),
            row("GET", "/discovery/v2.0/keys", "GetTokenKeys", self._keys, 200, 400),
            row("GET", "/discovery/keys", "GetTokenKeysV1", self._keys, 200, 400),
            row("GET", "/discovery/instance", "GetInstance", self._instance, 200, 400),
            row("GET", "/userrealm/{user}", "GetUserRealm", self._realm, 200),
            row("POST", "/oauth2/v2.0/token", "IssueToken", self._token_v2, 200, 400, 401, 429, 503),
            row("POST", "/oauth2/token", "IssueTokenV1", self._token_v1, 200, 400, 401, 429, 503),
            *absent,
        )

    async def _discovery(self, call: Call) -> Reply:
        return self._described(call, "/v2.0")

    async def _discovery_v1(self, call: Call) -> Reply:
        return self._described(call, "")

    def _described(self, call: Call, version: str) -> Reply:
        """All documents name the same issuer; one that is for any tenant leaves a place for its id."""
        asked = call.names["tenant"]
        self._issuer.check_tenant(asked, "invalid_tenant")
        shared = not self._issuer.is_tenant(asked, shared=False)
        tenant = asked.lower() if shared else self._issuer.tenant_id
        base = self._issuer.base_url
        oauth = f"{base}/{tenant}/oauth2{version}"
        return json_reply(
            {
                "token_endpoint": f"{oauth}/token",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
                "jwks_uri": f"{base}/{tenant}/discovery{version}/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"{base}/{{tenantid}}/v2.0" if shared else self._issuer.url,
                "request_uri_parameter_supported": False,
                "authorization_endpoint": f"{oauth}/authorize",
                "device_authorization_endpoint": f"{oauth}/devicecode",
                "end_session_endpoint": f"{oauth}/logout",
                "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "oid", "ver"],
                "tenant_region_scope": None,
                "cloud_instance_name": urlsplit(base).netloc,
            },
            _KEPT,
        )

    async def _keys(self, call: Call) -> Reply:
        self._issuer.check_tenant(call.names["tenant"], "invalid_tenant")
        issuer = f"{self._issuer.base_url}/{{tenantid}}/v2.0"
        return json_reply({"keys": self._issuer.ring.published(issuer)}, _KEPT)

    async def _instance(self, call: Call) -> Reply:
        """Is an authority one that can be trusted: this one is, and Entra's own names, which may lead here."""
        base = self._issuer.base_url
        host, parts = _authority(call.query.one("authorization_endpoint") or "")
        own = host == urlsplit(base).netloc.lower()
        if not (own or host in MICROSOFT_HOSTS) or not parts:
            raise TokenRefused(50049, "Unknown or invalid instance.")
        self._issuer.check_tenant(parts[0], "invalid_tenant")
        version = "/v2.0" if "v2.0" in parts else ""
        authority = base if own else f"https://{host}"
        return json_reply(
            {
                "tenant_discovery_endpoint": f"{authority}/{parts[0]}{version}/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            }
        )

    async def _realm(self, call: Call) -> Reply:
        """Every user signs in here, and nowhere else."""
        return json_reply(
            {
                "ver": "1.0",
                "account_type": "Managed",
                "domain_name": call.names["user"].rpartition("@")[2],
                "cloud_instance_name": urlsplit(self._issuer.base_url).netloc,
                "cloud_audience_urn": "urn:federation:MicrosoftOnline",
            }
        )

    async def _token_v2(self, call: Call) -> Reply:
        granted = await self._granted(call, 2)
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": granted.lifetime_s,
            "ext_expires_in": granted.lifetime_s,
            "access_token": granted.token,
        }
        return json_reply(answer | _of_user(granted), _SECRET)

    async def _token_v1(self, call: Call) -> Reply:
        granted = await self._granted(call, 1)
        answer = {
            "token_type": "Bearer",
            "expires_in": str(granted.lifetime_s),
            "ext_expires_in": str(granted.lifetime_s),
            "expires_on": str(granted.issued_at + granted.lifetime_s),
            "not_before": str(granted.issued_at),
            "resource": granted.resource,
            "access_token": granted.token,
        }
        return json_reply(answer | _of_user(granted), _SECRET)

    async def _granted(self, call: Call, version: Version) -> Granted:
        address = call.caller.client_ip or "control"
        self._failures.check(address, time.time())
        fields = await _form(call)
        self._failures.check(address, time.time())
        request = TokenRequest(call.names["tenant"], version, fields, _basic(call), address, call.correlation)
        # A request counts as a failure until it turns out to be none: of guesses that come all at once, those beyond
        # the limit are not even looked at.
        self._failures.add(address, time.time())
        failed = False
        try:
            granted = await self._issuer.grant(request)
        except TokenRefused as error:
            failed = error.is_failed_proof
            raise
        finally:
            if not failed:
                self._failures.take_back(address, time.time())
        _log.info("token for application %s, resource %s", granted.client_id, _printable(granted.resource))
        return granted


async def _not_interactive(call: Call) -> Reply:  # noqa: ARG001  handlers look alike
    raise TokenRefused(
        90023, "This issuer has no interactive sign-in: use a client secret, a certificate or a managed identity."
    )


def _authority(url: str) -> tuple[str, list[str]]:
    """Host and path of a URL, in parts; no host if it is none."""
    try:
        found = urlsplit(url)
    except ValueError:
        return "", []
    return found.netloc.lower(), [part for part in found.path.split("/") if part]


async def _form(call: Call) -> Mapping[str, str]:
    """
    Raises:
        TokenRefused: a field came twice.
        BadRequest: it is no form.
    """
    body = await call.body(FORM_BYTES)
    if (call.header("content-type") or "").partition(";")[0].strip().lower() != _FORM:
        return {}  # what is asked for is missing then, and the answer says so
    if body.count(b"&") >= _MOST_FIELDS:
        raise BadRequest("The form has too many fields.", "form")
    fields = QueryString(body, "form")
    values: dict[str, str] = {}
    for name in fields.names():
        if len(fields.all(name)) > 1:
            shown = name if name.isascii() and name.isprintable() else "?"
            raise TokenRefused(
                9000411, f"The request is not properly formatted. The parameter '{shown[:64]}' is duplicated."
            )
        values[name] = fields.all(name)[0]
    return values


def _basic(call: Call) -> tuple[str, str] | None:
    """Client id and secret of the Authorization header, each percent-encoded there (RFC 6749, 2.3.1)."""
    scheme, _, text = (call.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise BadRequest("The Authorization header is malformed.", "Authorization") from error
    if not colon:
        raise BadRequest("The Authorization header is malformed.", "Authorization")
    return unquote(name), unquote(secret)


def _of_user(granted: Granted) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if granted.scopes:
        more["scope"] = " ".join(granted.scopes)
    if granted.id_token is not None:
        more["id_token"] = granted.id_token
    if granted.client_info is not None:
        more["client_info"] = granted.client_info
    return more


def _printable(text: str) -> str:
    return text[:256] if text.isprintable() else "?"

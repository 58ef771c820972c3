"""
Secrets of Key Vaults elsewhere, through the official package, with the tokens of resources' managed identities.

The package is loaded when the first secret is asked for: it takes half a second, and most servers need none of it. Each
vault has a client for each identity, since a client keeps its token; a challenge is kept by the package for the whole
process.

A token goes to no host that the operator has not named, Azure's own but for that. Where the package does not hold a
challenge against the host, the host may be any, and so may the resource: so what a token is asked for is looked at
here as well.

Sources: the package's own code (azure-keyvault-secrets 4.12, azure-core 1.41) for what it verifies, retries and raises;
Key Vault's page on REST error codes.
"""

import asyncio
import logging
import math
import ssl
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp

from hubwire.model.errors import Forbidden, NotFound, Refused, Unavailable
from hubwire.model.identities import ManagedIdentity
from hubwire.model.ports import TokenSource
from hubwire.model.secret_references import parse_secret_uri

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.keyvault.secrets.aio import SecretClient

__all__ = ["AzureVaults"]

_CLOUDS: Final = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net")
_CONNECT_S: Final = 2.0
_TOTAL_S: Final = 10.0
_TRIES_AGAIN: Final = 2
_MOST_CLIENTS: Final = 200


class AzureVaults:
    """
    A `SecretSource`.

    Args:
        tokens: of managed identities.
        hosts: of vaults besides Azure's, or ".SUFFIX" for all below one; with a port for that port only.
        tls: whom to believe that they are a vault; None for those whom this machine trusts.
    """

    def __init__(self, tokens: TokenSource, hosts: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> None:
        self._tokens = tokens
        self._hosts = tuple(host.lower() for host in hosts)
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._clients: OrderedDict[tuple[str, str], SecretClient] = OrderedDict()

    async def secret(self, uri: str, identity: ManagedIdentity) -> str:
        """
        The value of a secret.

        Raises:
            Forbidden, NotFound, Unavailable: see `SecretSource`.
        """
        found = parse_secret_uri(uri)
        self._check(found.vault_url, uri)
        try:
            async with asyncio.timeout(_TOTAL_S):
                client = await self._client(found.vault_url, identity)
                secret = await client.get_secret(found.name, found.version)
        except TimeoutError:
            raise Unavailable(f"The vault of {uri} does not answer within {_TOTAL_S:g} seconds.") from None
        except Refused:
            raise  # there is no token, which is told already
        except Exception as error:
            # The package lets whatever it stumbles over in an answer through, and its texts may repeat answers.
            raise _told(error, uri, identity) from None
        if secret.value is None:
            raise Unavailable(f"The vault of {uri} has given no value.")
        return str(secret.value)

    async def close(self) -> None:
        """End the connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        if self._session is not None:
            await self._session.close()

    def _check(self, vault_url: str, uri: str) -> None:
        """
        Raises:
            Unavailable: the vault may not be asked.
        """
        url = urlsplit(vault_url)
        if url.scheme != "https":
            raise Unavailable(f"The vault of {uri} is not asked over http: a token would be seen by others.")
        if not _is_cloud(url.hostname or "") and not self._is_listed(url.netloc):
            raise Unavailable(
                f"The vault of {uri} is not asked: its host is none of Azure's. The setting vault_hosts can name it."
            )

    def _is_listed(self, authority: str) -> bool:
        host = urlsplit(f"//{authority}").hostname or ""
        names = (authority, host, f"[{host}]")
        return any(
            any(name.endswith(listed) for name in names[:2]) if listed.startswith(".") else listed in names
            for listed in self._hosts
        )

    async def _client(self, vault_url: str, identity: ManagedIdentity) -> "SecretClient":
        key = (vault_url, identity.principal_id)
        known = self._clients.get(key)
        if known is None:
            # Beside the event loop, which everybody waits for.
            kind, transport = await asyncio.to_thread(_load)
            known = self._clients.get(key)
        if known is None:
            authority = urlsplit(vault_url).netloc
            known = kind(
                vault_url,
                _Credential(self._tokens, identity, authority),
                transport=transport(session=self._opened(), session_owner=False),
                verify_challenge_resource=_is_cloud(urlsplit(vault_url).hostname or ""),
                retry_total=_TRIES_AGAIN,
                permit_redirects=False,
                connection_timeout=_CONNECT_S,
                read_timeout=_TOTAL_S,
            )
            self._clients[key] = known
            if len(self._clients) > _MOST_CLIENTS:
                # It holds nothing but a token: the connections are of all of them.
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return known

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        return self._session


class _BadChallenge(Exception):  # noqa: N818
    """A vault wants a token that is good for somebody else."""


class _Credential:
    """What the package asks for tokens of one identity, for one vault."""

    def __init__(self, tokens: TokenSource, identity: ManagedIdentity, authority: str) -> None:
        self._tokens = tokens
        self._identity = identity
        self._authority = authority

    async def get_token(self, *scopes: str, **_options: Any) -> "AccessToken":
        """
        Raises:
            _BadChallenge: the token would be good elsewhere.
            Unavailable: there is none.
        """
        from azure.core.credentials import AccessToken

        audience = scopes[0].removesuffix(".default").rstrip("/") if len(scopes) == 1 else ""
        wanted = urlsplit(audience).netloc.lower()
        if wanted not in (*_CLOUDS, self._authority) and not (wanted and self._authority.endswith(f".{wanted}")):
            raise _BadChallenge
        token = await self._tokens.token(audience, self._identity)
        return AccessToken(token.token, math.floor(token.expires_at))

    async def close(self) -> None:
        """Nothing is held."""

    async def __aenter__(self) -> "_Credential":
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass


def _load() -> tuple[Any, Any]:
    """The package's client, and what it sends with."""
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.keyvault.secrets.aio import SecretClient

    # What goes wrong is told by us, in words of ours.
    logging.getLogger("azure").setLevel(logging.ERROR)
    return SecretClient, AioHttpTransport


def _is_cloud(host: str) -> bool:
    return any(host.endswith(f".{suffix}") for suffix in _CLOUDS)


def _told(error: Exception, uri: str, identity: ManagedIdentity) -> Refused:
    """What is wrong, and what to mend. Nothing of an answer but its status and its codes."""
    causes = _causes(error)
    if any(isinstance(cause, _BadChallenge) for cause in causes) or isinstance(error, ValueError):
        return Unavailable(f"The vault of {uri} wants a token that would be good elsewhere too, and gets none.")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Unavailable(
            f"The vault of {uri} shows a certificate that is not trusted: name its authority by handler_ca."
        )
    status, code = getattr(error, "status_code", None), _code(error)
    match status:
        case None:
            return Unavailable(f"The vault of {uri} cannot be reached.")
        case 401:
            return Unavailable(f"The vault of {uri} takes no token of ours (401); is it one of another tenant?")
        case 403 if code in ("SecretDisabled", "SecretNotYetValid", "SecretExpired", "ForbiddenByFirewall"):
            return Forbidden(f"The vault of {uri} does not give the secret out ({code}).")
        case 403:
            return Forbidden(
                f"The vault of {uri} does not let the principal {identity.principal_id} read secrets: give it the "
                "permission get by an access policy, or the role 'Key Vault Secrets User'."
            )
        case 404:
            return NotFound(f"There is no secret {uri}.")
        case 429:
            return Unavailable(f"The vault of {uri} is asked too often (429).")
        case _:
            return Unavailable(f"The vault of {uri} answers {status}.")


def _code(error: Exception) -> str:
    """The inner code of a vault's error body."""
    inner = getattr(getattr(error, "error", None), "innererror", None)
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, str) else ""


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found += [cause, *(inner for inner in [getattr(cause, "inner_exception", None)] if inner is not None)]
        cause = cause.__cause__ or cause.__context__
    return found

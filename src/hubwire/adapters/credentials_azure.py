"""
Tokens of managed identities from elsewhere, through the official package: of the machine that this server runs on (IMDS
or App Service), or of an application at an authority that is compatible with Entra.

The package is loaded when the first source is made: it takes half a second, and most servers need none of it. Each
token has a credential of its own, which keeps none: so a token is always a new one, and files with secrets may change
at any time.

Sources: the package's own code (azure-identity 1.27) for what it reads from the environment, retries and raises.
"""

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct

from hubwire.model.errors import Unavailable
from hubwire.model.identities import AccessToken, ManagedIdentity

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

__all__ = ["AzureTokens", "CredentialSettings", "check"]

_TIMEOUT_S: Final = {"imds": 120.0, "app-service": 60.0, "client-credentials": 60.0}
"""For all tries of the package; at IMDS these alone take 75 seconds where it is being updated."""
_CONNECT_S: Final = 10.0
_READ_S: Final = 20.0
_TRIES_AGAIN: Final = 2
_LONGEST_REASON: Final = 300
_ENTRA_REASON: Final = re.compile(r"AADSTS[0-9]+: [^\r\n]*")
_TRACE: Final = re.compile(r"\s*Trace ID: .*")
_OTHER_MACHINES: Final = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT")
"""Variables by which the package would ask another endpoint than IMDS."""
_FEDERATED: Final = ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST")
"""The same, where all of them are set: it would be a workload identity."""


class CredentialSettings(Struct, frozen=True, kw_only=True):
    """
    The settings `identity_*`, of the same names.

    Attributes:
        client_id: of the application; or of the machine's identity that is to be used whatever a resource has.
        client_secret_file, certificate, token_file: paths, one of them.
    """

    source: Literal["imds", "app-service", "client-credentials"]
    authority: str = "https://login.microsoftonline.com"
    tenant: str | None = None
    client_id: str | None = None
    client_secret_file: str | None = None
    certificate: str | None = None
    token_file: str | None = None


def check(settings: CredentialSettings, environ: Mapping[str, str] = os.environ) -> None:
    """
    Raises:
        ValueError: no token can be had with these settings; the text names what is missing or wrong.
    """
    match settings.source:
        case "imds":
            found = next((name for name in _OTHER_MACHINES if environ.get(name)), None)
            if found is not None:
                raise ValueError(
                    f"identity_source is imds, but the environment has {found}, which leads elsewhere: "
                    "take that away, or choose app-service"
                )
            if all(map(environ.get, _FEDERATED)):
                raise ValueError(
                    "identity_source is imds, but the environment is that of a workload identity: "
                    "choose client-credentials with identity_token_file"
                )
        case "app-service":
            missing = [name for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER") if not environ.get(name)]
            if missing:
                raise ValueError(
                    f"identity_source is app-service, but the environment has no {' and no '.join(missing)}"
                )
        case "client-credentials":
            _check_application(settings)


def _check_application(settings: CredentialSettings) -> None:
    for name in ("tenant", "client_id"):
        if not getattr(settings, name):
            raise ValueError(f"identity_source is client-credentials, which needs identity_{name}")
    try:
        url = urlsplit(settings.authority)
        good = url.scheme == "https" and bool(url.hostname)
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"identity_authority must be an https URL, not {settings.authority!r}")
    if re.fullmatch(r"[A-Za-z0-9.-]+", settings.tenant or "") is None:
        raise ValueError("identity_tenant must be a tenant's id or domain")
    files = {
        "identity_client_secret_file": settings.client_secret_file,
        "identity_certificate": settings.certificate,
        "identity_token_file": settings.token_file,
    }
    given = {name: path for name, path in files.items() if path}
    if len(given) != 1:
        raise ValueError(
            f"identity_source is client-credentials, which needs one of {', '.join(files)}"
            + (f", not {len(given)} of them" if given else "")
        )
    if settings.certificate:
        _application(settings, {})
    else:
        _text(*next(iter(given.items())))


class _BadFile(ValueError):  # noqa: N818
    """A file that a setting names cannot be used. The text names both, and nothing of what is in it."""


class AzureTokens:
    """
    A `TokenSource`. Made in the process's main thread, before it serves: it loads the package.

    Args:
        tls: whom to believe that they are the authority; None for those whom this machine trusts.

    Raises:
        ValueError: as `check`.
    """

    def __init__(
        self,
        settings: CredentialSettings,
        tls: ssl.SSLContext | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        check(settings, environ)
        from azure.core.pipeline.transport import AioHttpTransport
        from azure.identity.aio import ManagedIdentityCredential

        # What goes wrong is told by whoever wanted the token, in words of ours; the package would warn besides.
        logging.getLogger("azure.identity").setLevel(logging.ERROR)
        self._settings = settings
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._transport: Callable[..., Any] = AioHttpTransport
        self._machine: Callable[..., Any] = ManagedIdentityCredential

    async def token(self, audience: str, identity: ManagedIdentity) -> AccessToken:
        scope = f"{audience.rstrip('/')}/.default"
        try:
            async with asyncio.timeout(_TIMEOUT_S[self._settings.source]):
                async with self._credential(identity) as credential:
                    granted = await credential.get_token(scope)
        except TimeoutError:
            raise Unavailable(f"{self._whom()} does not answer in time.") from None
        except _BadFile as error:
            raise Unavailable(f"{error}.") from None
        except Exception as error:
            # The package lets whatever it stumbles over in an answer through, and its texts may repeat answers.
            raise Unavailable(self._reason(error, audience, identity)) from None
        return AccessToken(granted.token, float(granted.expires_on))

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()

    def _credential(self, identity: ManagedIdentity) -> AbstractAsyncContextManager["AsyncTokenCredential"]:
        """
        Raises:
            _BadFile: see there.
        """
        options = {"transport": self._transport(session=self._opened(), session_owner=False)}
        if self._settings.source == "client-credentials":
            options |= {"retry_total": _TRIES_AGAIN, "connection_timeout": _CONNECT_S, "read_timeout": _READ_S}
            return _application(self._settings, options)
        if self._settings.source == "app-service":
            options |= {"retry_total": _TRIES_AGAIN, "connection_timeout": _CONNECT_S, "read_timeout": _READ_S}
        machine: AbstractAsyncContextManager[AsyncTokenCredential] = self._machine(
            client_id=self._selected(identity), **options
        )
        return machine

    def _selected(self, identity: ManagedIdentity) -> str | None:
        """Client id of the machine's identity to ask for; None is its own one."""
        return self._settings.client_id or (identity.client_id if identity.kind == "UserAssigned" else None)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The machine's own endpoints are never behind a proxy.
                trust_env=self._settings.source == "client-credentials",
            )
        return self._session

    def _whom(self) -> str:
        if self._settings.source == "client-credentials":
            return f"The authority {self._settings.authority}"
        name = "IMDS" if self._settings.source == "imds" else "IDENTITY_ENDPOINT"
        return f"The managed-identity endpoint of this machine ({name})"

    def _reason(self, error: BaseException, audience: str, identity: ManagedIdentity) -> str:
        """What is wrong, and what to mend. Nothing of an answer but what Entra says about its refusals."""
        status, said, unproved = None, None, False
        cause: BaseException | None = error
        while cause is not None:
            status = status or getattr(cause, "status_code", None)
            said = said or _ENTRA_REASON.search(str(cause))
            unproved = unproved or isinstance(cause, ssl.SSLCertVerificationError)
            cause = cause.__cause__ or cause.__context__
        if said is not None:
            return f"{self._whom()} refuses: {self._cleaned(said[0])}"
        if unproved:
            return f"{self._whom()} shows a certificate that is not trusted: name its authority by handler_ca."
        if status is None or status < 400:
            hint = " Is this a virtual machine with an identity?" if self._settings.source == "imds" else ""
            return f"{self._whom()} cannot be reached, or gives no answer that can be used.{hint}"
        if self._settings.source == "client-credentials":
            return f"{self._whom()} answers {status}, and gives no token."
        if status in (401, 403):
            return f"{self._whom()} answers {status}: it does not take this process for one of its own."
        selected = self._selected(identity)
        which = "no identity" if selected is None else f"no identity with the client id {selected}"
        return (
            f"{self._whom()} answers {status}: it has {which}, or no tokens for {audience}. "
            "The setting identity_client_id names an identity that it has."
        )

    def _cleaned(self, text: str) -> str:
        cut = _TRACE.sub("", text)[:_LONGEST_REASON]
        return "".join(character for character in cut if character.isprintable())


def _application(
    settings: CredentialSettings, options: Mapping[str, Any]
) -> AbstractAsyncContextManager["AsyncTokenCredential"]:
    """
    The credential of an application, with its secret as it is now. The asynchronous ones ask no authority but the one
    that they are given.

    Raises:
        _BadFile: see there.
    """
    from azure.identity.aio import CertificateCredential, ClientAssertionCredential, ClientSecretCredential

    who = (settings.tenant or "", settings.client_id or "")
    more = {"authority": settings.authority, **options}
    if settings.client_secret_file:
        secret = _text("identity_client_secret_file", settings.client_secret_file)
        return ClientSecretCredential(*who, secret, **more)
    if settings.token_file:
        token = _text("identity_token_file", settings.token_file)
        return ClientAssertionCredential(*who, lambda: token, **more)
    path = settings.certificate or ""
    pem = _read("identity_certificate", path)
    try:
        return CertificateCredential(*who, certificate_data=pem, **more)
    except (ValueError, TypeError) as error:
        # The second: its key is encrypted.
        reason = f"identity_certificate: {path} must be a PEM file with a certificate and its RSA key, not encrypted"
        raise _BadFile(reason) from error


def _text(name: str, path: str) -> str:
    """What stands in a file, without the blanks around it. Raises _BadFile."""
    try:
        text = _read(name, path).decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise _BadFile(f"{name}: the file {path} is empty, or holds something else")
    return text


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _BadFile(f"{name}: {path} cannot be read: {error.strerror or error}") from error

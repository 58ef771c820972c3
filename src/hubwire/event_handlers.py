"""
Wiring of what tells event handlers: settings in, a dispatcher out, and the end of it all.
"""

import ssl
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hubwire import __version__
from hubwire.adapters.authorities import trusting
from hubwire.adapters.cookies import HandlerCookies
from hubwire.adapters.credentials_azure import AzureTokens, CredentialSettings
from hubwire.adapters.credentials_azure import check as check_credentials
from hubwire.adapters.targets import TargetGuard
from hubwire.adapters.webhook_http import HttpWebhook
from hubwire.auth.built_in_tokens import BuiltInTokens
from hubwire.auth.issuer import Issuer
from hubwire.model.ports import HubDirectory, Journal, KeyDirectory, SecretSource, TokenSource
from hubwire.model.telemetry import Telemetry
from hubwire.settings import Settings
from hubwire.upstream.calls import Caller, Limits
from hubwire.upstream.dispatcher import Dispatcher
from hubwire.upstream.identity_tokens import IdentityTokens
from hubwire.upstream.review import HandlerReview
from hubwire.upstream.secret_values import SecretValues
from hubwire.upstream.tunnel import Tunnels
from hubwire.upstream.validation import Validator

__all__ = ["EventHandlers", "IdentitySource", "authorities_of", "check", "origin_of"]

_HEADER_BYTES: Final = 64 * 1024
"""Of a handler's answer, besides the state of a connection."""


def check(settings: Settings) -> None:
    """
    Raises:
        ValueError: what event handlers need cannot be had with these settings; the text names what is wrong.
    """
    try:
        TargetGuard(frozenset, settings.handler_networks)
    except ValueError as error:
        raise ValueError(f"handler_networks: {error}") from error
    try:
        authorities_of(settings)
    except ValueError as error:
        raise ValueError(f"handler_ca: {error}") from error
    credentials = _credentials(settings)
    if credentials is not None:
        check_credentials(credentials)


def authorities_of(settings: Settings) -> ssl.SSLContext | None:
    """Whom we trust to vouch for others besides this machine's usual authorities; None for these alone."""
    return None if settings.handler_ca is None else trusting(Path(settings.handler_ca))


def _credentials(settings: Settings) -> CredentialSettings | None:
    """None where the local issuer vouches for resources."""
    if settings.identity_source == "builtin":
        return None
    return CredentialSettings(
        source=settings.identity_source,
        authority=settings.identity_authority,
        tenant=settings.identity_tenant,
        client_id=settings.identity_client_id,
        client_secret_file=settings.identity_client_secret_file,
        certificate=settings.identity_certificate,
        token_file=settings.identity_token_file,
    )


class IdentitySource:
    """
    Where tokens of resources' managed identities come from.

    Args:
        issuer: the local one.
    """

    def __init__(self, settings: Settings, issuer: Issuer) -> None:
        credentials = _credentials(settings)
        self._azure = None if credentials is None else AzureTokens(credentials, authorities_of(settings))
        local = BuiltInTokens(issuer if settings.local_issuer else None)
        self.tokens: TokenSource = local if self._azure is None else self._azure

    async def close(self) -> None:
        """Release what is held."""
        if self._azure is not None:
            await self._azure.close()


class EventHandlers:
    """
    Everything that it takes to tell event handlers.

    Args:
        own: addresses and ports of our own listeners, to which no event may lead.
        origin: our host name for events of a resource that no client has given rise to.

    Attributes:
        dispatcher: tells them.
        review: looks at them before they are saved.
        tunnels: those that have dialled in.
        secrets: of Key Vaults.
    """

    def __init__(
        self,
        settings: Settings,
        directory: HubDirectory,
        keys: KeyDirectory,
        tokens: TokenSource,
        secrets: SecretSource,
        journal: Journal,
        telemetry: Telemetry,
        own: Callable[[], Collection[tuple[str, int]]],
        origin: Callable[[str], str],
    ) -> None:
        limits = Limits(
            attempt_s=settings.handler_timeout_s,
            blocking_s=settings.blocking_event_s,
            invocation_s=settings.invocation_timeout_s,
            retries_s=settings.handler_retries_s,
            state_bytes=settings.connection_state_bytes,
            in_flight=settings.handler_in_flight,
            waiting=settings.handler_waiting,
        )
        self._drain_s = settings.shutdown_events_s
        self._webhook = HttpWebhook(
            TargetGuard(own, settings.handler_networks),
            version=__version__,
            max_response_bytes=settings.handler_response_bytes,
            max_header_bytes=_HEADER_BYTES + settings.connection_state_bytes,
            authorities=authorities_of(settings),
        )
        self._validator = Validator(time.monotonic)
        self._tokens = IdentityTokens(tokens)
        self.secrets = SecretValues(secrets, time.monotonic, settings.secret_refresh_s, settings.secret_stale_s)
        self._journal = journal
        self.tunnels = Tunnels(settings.handler_response_bytes)
        caller = Caller(self._webhook, self.tunnels, self._validator, self._tokens, self.secrets, limits)
        self.dispatcher = Dispatcher(directory, keys, caller, journal, telemetry, limits, HandlerCookies)
        self.review = HandlerReview(
            directory,
            caller,
            self._validator,
            self.dispatcher,
            origin,
            self.tunnels.count,
            self.secrets.failure,
            strict=settings.validate_handlers == "strict",
        )

    async def end(self) -> int:
        """
        Tell what is still to be told, as long as there is time for it, and release what is held.

        Returns:
            how many events were given up.
        """
        left = await self.dispatcher.drain(self._drain_s)
        await self._validator.close()
        await self._tokens.close()
        await self.secrets.close()
        await self._webhook.close()
        return left


def origin_of(public_endpoints: Collection[str]) -> str | None:
    """Our host name for handlers, where the operator has given us one."""
    first = next(iter(public_endpoints), None)
    return None if first is None else urlsplit(first).hostname

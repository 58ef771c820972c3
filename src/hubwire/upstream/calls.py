"""
One event on its way to a handler: secrets, validation, token, the call with its retries, and what its status means.

Sources: the service's emulator (retries after 1, 3 and 5 s on 408, 5xx and where no answer came; nothing else is
repeated; the same body, number and request id each time); its page on managed identities.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

from hubwire.model.errors import BadRequest, EventUndelivered, Refused
from hubwire.model.identities import ManagedIdentity
from hubwire.model.names import HubKey
from hubwire.model.ports import Cookies, Webhook
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.handlers import Handler
from hubwire.upstream.lanes import Lane
from hubwire.upstream.validation import ATTEMPT_S, Validator

__all__ = ["Caller", "Decided", "EventFailed", "Limits", "Secrets", "Tokens", "Tunnels", "Wanted", "never"]

_log: Final = logging.getLogger("hubwire.upstream")

_UNHEARD: Final = ("unreachable", "refused target")

Wanted = Callable[[], bool]
"""Is anybody still interested in the outcome. Asked before another attempt is made."""
Decided = Callable[[IncomingResponse], bool]
"""Is this what a handler has to say, and would say again. Asked of answers after which others would be asked for."""


def never(_: IncomingResponse) -> bool:
    """No answer is more final than its status says."""
    return False


class EventFailed(EventUndelivered):
    """
    A handler did not take an event. The message is for the operator.

    Args:
        unreached: it has not heard of it.
    """

    def __init__(self, message: str, *, unreached: bool = False) -> None:
        super().__init__(message)
        self.unreached = unreached


class Tokens(Protocol):
    """Tokens of managed identities, kept while they are good."""

    async def token(self, audience: str, identity: ManagedIdentity, /) -> str:
        """Raises Unavailable."""

    async def refresh(self, audience: str, identity: ManagedIdentity, token: str, /) -> str:
        """Another one than `token`, which was refused, if one can be had; else the same. Raises Unavailable."""


class Secrets(Protocol):
    """Secrets of Key Vaults, kept for a while."""

    async def value(self, uri: str, identity: ManagedIdentity, /) -> str:
        """Raises Refused."""

    async def refresh(self, uri: str, identity: ManagedIdentity, /) -> None:
        """Read again, unless that was done a short while ago."""


class Tunnels(Protocol):
    """Handlers that have dialled in."""

    async def send(self, hub: HubKey, request: OutgoingRequest, timeout_s: float, /) -> IncomingResponse:
        """Raises WebhookFailed."""


class Limits(Struct, frozen=True):
    """
    Attributes:
        attempt_s: of one call.
        blocking_s: of all attempts of an event that a client waits for.
        invocation_s: the same of an event that a client waits for beside others.
        retries_s: pauses before further attempts.
        state_bytes: of a connection's state.
        in_flight, waiting: of each handler; see `Lane`.
    """

    attempt_s: float = 30.0
    blocking_s: float = 60.0
    invocation_s: float = 60.0
    retries_s: tuple[float, ...] = (1.0, 3.0, 5.0)
    state_bytes: int = 8192
    in_flight: int = 64
    waiting: int = 1024


class Caller:
    """
    Args:
        pause: waits for some seconds.
    """

    def __init__(
        self,
        webhook: Webhook,
        tunnels: Tunnels,
        validator: Validator,
        tokens: Tokens,
        secrets: Secrets,
        limits: Limits,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._webhook = webhook
        self._tunnels = tunnels
        self._validator = validator
        self._tokens = tokens
        self._secrets = secrets
        self._limits = limits
        self._pause = pause

    async def call(
        self,
        hub: HubKey,
        event: str,
        handler: Handler,
        lane: Lane,
        identity: ManagedIdentity | None,
        origin: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        cookies: Cookies | None,
        *,
        urgent: bool,
        wanted: Wanted,
        decided: Decided = never,
    ) -> tuple[str, IncomingResponse]:
        """
        Send an event.

        Args:
            decided: such an answer is the last one, whatever its status.

        Returns:
            the URL, and the handler's last answer, whatever its status.

        Raises:
            EventFailed: there is none.
        """
        secrets = await self.values(handler, identity)
        while True:
            try:
                url = handler.template.resolve(hub.hub, event, secrets)
                if not handler.template.is_tunnel:
                    await self.validate(hub, handler, lane, secrets, origin, urgent=urgent)
            except BadRequest as error:
                raise EventFailed(error.message, unreached=True) from error
            except EventUndelivered:
                renewed = await self._renewed(identity, secrets)
                if renewed is None:
                    raise
                secrets = renewed
                continue
            response = await self._posted(
                hub, url, handler, lane, identity, headers, body, cookies, urgent=urgent, wanted=wanted, decided=decided
            )
            if response.status not in (401, 403) or decided(response):
                return url, response
            renewed = await self._renewed(identity, secrets)
            if renewed is None:
                return url, response
            secrets = renewed

    async def validate(
        self,
        hub: HubKey,
        handler: Handler,
        lane: Lane,
        secrets: Mapping[str, str],
        origin: str,
        *,
        urgent: bool,
        looking: bool = False,
    ) -> None:
        """
        Ask the owner of a handler's URL, unless that was done a short while ago.

        Args:
            looking: nothing is to be sent; one attempt will do.

        Raises:
            EventUndelivered: it does not want our events, or cannot be asked.
            BadRequest: the URL is none.
        """
        url = handler.template.resolve(hub.hub, "validate", secrets)

        async def send(request: OutgoingRequest) -> IncomingResponse:
            # Somebody else may wait for the same answer, so this goes on when the first one is gone.
            return await self._attempts(
                lambda: self._webhook.send(request, ATTEMPT_S),
                lane,
                urgent=urgent,
                wanted=lambda: True,
                retry=not looking,
            )

        await (self._validator.look if looking else self._validator.check)(url, origin, send)

    async def values(self, handler: Handler, identity: ManagedIdentity | None) -> Mapping[str, str]:
        """
        The secrets of a handler's URL.

        Raises:
            EventFailed: one cannot be had.
        """
        if not handler.template.secrets:
            return {}
        if identity is None:
            raise EventFailed(
                "The handler's URL has a Key Vault reference, and the resource has no managed identity to read it.",
                unreached=True,
            )
        try:
            return {uri: await self._secrets.value(uri, identity) for uri in handler.template.secrets}
        except Refused as error:
            raise EventFailed(error.message, unreached=True) from error

    async def _renewed(self, identity: ManagedIdentity | None, secrets: Mapping[str, str]) -> Mapping[str, str] | None:
        """The handler may have another key by now: its secrets, if they are others than before."""
        if not secrets or identity is None:
            return None
        try:
            for uri in secrets:
                await self._secrets.refresh(uri, identity)
            renewed = {uri: await self._secrets.value(uri, identity) for uri in secrets}
        except Refused:
            return None
        return renewed if renewed != secrets else None

    async def _posted(
        self,
        hub: HubKey,
        url: str,
        handler: Handler,
        lane: Lane,
        identity: ManagedIdentity | None,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        cookies: Cookies | None,
        *,
        urgent: bool,
        wanted: Wanted,
        decided: Decided,
    ) -> IncomingResponse:
        token = await self._token(handler, identity)
        renewed = False

        async def send() -> IncomingResponse:
            more = list(headers)
            if token is not None:
                more.append(("Authorization", f"Bearer {token}"))
            if cookies is not None and (cookie := cookies.header(url)) is not None:
                more.append(("Cookie", cookie))
            request = OutgoingRequest("POST", url, tuple(more), body)
            if handler.template.is_tunnel:
                return await self._tunnels.send(hub, request, self._limits.attempt_s)
            return await self._webhook.send(request, self._limits.attempt_s)

        while True:
            response = await self._attempts(send, lane, urgent=urgent, wanted=wanted, decided=decided)
            if response.status != 401 or token is None or renewed or identity is None or handler.audience is None:
                return response
            if decided(response):
                return response
            renewed = True
            try:
                fresh = await self._tokens.refresh(handler.audience, identity, token)
            except Refused as error:
                _log.warning("%s", error.message)
                return response
            if fresh == token:
                return response
            token = fresh

    async def _token(self, handler: Handler, identity: ManagedIdentity | None) -> str | None:
        if handler.audience is None:
            return None
        if identity is None:
            raise EventFailed(
                "The handler is to get a token of the resource's managed identity, and the resource has none.",
                unreached=True,
            )
        try:
            return await self._tokens.token(handler.audience, identity)
        except Refused as error:
            raise EventFailed(error.message, unreached=True) from error

    async def _attempts(
        self,
        send: Callable[[], Awaitable[IncomingResponse]],
        lane: Lane,
        *,
        urgent: bool,
        wanted: Wanted,
        decided: Decided = never,
        retry: bool = True,
    ) -> IncomingResponse:
        """
        Raises:
            EventFailed: there was no answer to any of them.
        """
        pauses = list(self._limits.retries_s) if retry else []
        while True:
            failure: WebhookFailed | None = None
            response: IncomingResponse | None = None
            async with lane.call(urgent):
                try:
                    response = await send()
                except WebhookFailed as error:
                    failure = error
            if response is not None and (not _is_passing(response.status) or decided(response)):
                return response
            again = bool(pauses) and (failure is None or failure.kind == "unreachable")
            if not again or not wanted():
                if response is not None:
                    return response
                assert failure is not None, "one of the two"
                raise EventFailed(failure.reason, unreached=failure.kind in _UNHEARD) from failure
            await self._pause(pauses.pop(0))


def _is_passing(status: int) -> bool:
    """May another attempt be answered otherwise."""
    return status == 408 or 500 <= status <= 599

"""
Tokens of resources' managed identities, kept and renewed, so that no event waits for one.

A token is asked for again in the background before it ends. While that fails, the old one is used to its end. Each
token is asked for once at a time, whoever wants it; after a failure there is a pause, in which whoever wants it is told
of that failure at once.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from hubwire.model.errors import Unavailable
from hubwire.model.identities import AccessToken, ManagedIdentity
from hubwire.model.ports import TokenSource

__all__ = ["IdentityTokens"]

_log: Final = logging.getLogger("hubwire.upstream")

_EARLY_S: Final = 300.0
_EARLY_SHARE: Final = 0.1
"""A token is renewed so long before its end, or at this share of its life, whichever comes first."""
_LATEST_SHARE: Final = 0.5
"""But not in the first half of its life, for tokens of a few minutes."""
_RENEW_PAUSE_S: Final = 30.0
"""Between two renewals, where the source gives the old token again."""
_REFRESH_PAUSE_S: Final = 10.0
"""Between two tokens that were asked for since somebody refused the one before."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_MOST_KEYS: Final = 1000

_Key: TypeAlias = tuple[str, ManagedIdentity]


class _Kept:
    """What is known of one audience's tokens. Times are those of the clock."""

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.renew_at = 0.0
        self.refreshed_at: float | None = None
        self.request: asyncio.Task[None] | None = None
        self.failures = 0
        self.failed_at = 0.0
        self.failure = ""

    def good(self, now: float) -> AccessToken | None:
        """The token, if it has not ended."""
        return self.token if self.token is not None and now < self.token.expires_at else None

    def pauses(self, now: float) -> bool:
        """Is it too early for another try. A clock that was set back makes no pause longer."""
        pause = min(_FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 10), _LONGEST_PAUSE_S)
        return self.failures > 0 and 0 <= now - self.failed_at < pause


class IdentityTokens:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(self, source: TokenSource, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._requests: set[asyncio.Task[None]] = set()

    async def token(self, audience: str, identity: ManagedIdentity) -> str:
        """
        A token that is good now. A resource that has another identity than before has other tokens at once.

        Args:
            audience: App ID URI or client id, as it was configured.

        Raises:
            Unavailable: there is none; the message is for the operator.
        """
        kept = self._of(audience, identity)
        now = self._clock()
        held = kept.good(now)
        if held is None:
            return (await self._requested(audience, identity, kept)).token
        if now >= kept.renew_at and kept.request is None and not kept.pauses(now):
            self._request(audience, identity, kept)
        return held.token

    async def refresh(self, audience: str, identity: ManagedIdentity, token: str) -> str:
        """
        Another token than `token`, which somebody has refused.

        Returns:
            `token` again where there is no other one: none can be had now, or it is itself but seconds old.

        Raises:
            Unavailable: as `token`.
        """
        kept = self._of(audience, identity)
        now = self._clock()
        held = kept.good(now)
        if held is None or held.token != token:
            return await self.token(audience, identity)
        if kept.refreshed_at is not None and 0 <= now - kept.refreshed_at < _REFRESH_PAUSE_S and kept.request is None:
            return token
        kept.refreshed_at = now
        try:
            return (await self._requested(audience, identity, kept)).token
        except Unavailable:
            return token

    async def close(self) -> None:
        """Give up what is under way."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _of(self, audience: str, identity: ManagedIdentity) -> _Kept:
        key = (audience, identity)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
            if len(self._kept) > _MOST_KEYS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept

    async def _requested(self, audience: str, identity: ManagedIdentity, kept: _Kept) -> AccessToken:
        """A token of the request that is under way, or of a new one."""
        if kept.request is None:
            if kept.pauses(self._clock()):
                raise Unavailable(kept.failure)
            self._request(audience, identity, kept)
        assert kept.request is not None, "it was just made, or there before"
        # Whoever gives up waiting takes nothing from the others.
        await asyncio.shield(kept.request)
        if kept.failures or kept.token is None:
            raise Unavailable(kept.failure)
        return kept.token

    def _request(self, audience: str, identity: ManagedIdentity, kept: _Kept) -> None:
        kept.request = asyncio.get_running_loop().create_task(self._fetch(audience, identity, kept))
        self._requests.add(kept.request)
        kept.request.add_done_callback(self._requests.discard)

    async def _fetch(self, audience: str, identity: ManagedIdentity, kept: _Kept) -> None:
        try:
            token = await self._source.token(audience, identity)
            now = self._clock()
            if token.expires_at <= now:
                message = "The token that was given has ended already: is the clock of this machine right?"
                raise Unavailable(message)
        except Unavailable as error:
            kept.failures += 1
            kept.failed_at = self._clock()
            kept.failure = error.message
            left = "the old one is used to its end" if kept.good(kept.failed_at) else "there is none"
            _log.warning("no new token for %s of %s, and %s: %s", audience, identity.resource_id, left, error.message)
        else:
            life_s = token.expires_at - now
            early_s = min(max(_EARLY_S, life_s * _EARLY_SHARE), life_s * _LATEST_SHARE)
            kept.token, kept.failures = token, 0
            kept.renew_at = max(token.expires_at - early_s, now + _RENEW_PAUSE_S)
        finally:
            kept.request = None

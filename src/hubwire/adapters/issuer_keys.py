"""
Keys of other token issuers, fetched over HTTPS: their discovery document names where their keys are.

They are kept for an hour, and fetched again when a token names a key that is not among them, but not more often than
each half minute: anybody can make up names. While they are fetched for one request, others wait for the same fetch;
when that fails, keys that are known go on being good for a day.

Source: OpenID Connect Discovery 1.0, section 4; Entra's page on signing-key rollover.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from hubwire.auth.signatures import RsaPublicKey, read_keys
from hubwire.model.directory import is_issuer_url
from hubwire.model.errors import Unavailable

__all__ = ["IssuerKeys"]

_log: Final = logging.getLogger("hubwire.auth")

_FRESH_S: Final = 3600.0
_AWAITED_S: Final = 2 * _FRESH_S
"""After a time without requests the keys are fetched first, since one may have been withdrawn."""
_STALE_S: Final = 24 * 3600.0
_PAUSE_S: Final = 30.0
_TIMEOUT_S: Final = 10.0
_MOST_BYTES: Final = 1 << 20
_DOCUMENT: Final = ".well-known/openid-configuration"


class _Kept:
    """What is known of one issuer."""

    def __init__(self) -> None:
        self.keys: Mapping[str, RsaPublicKey] = {}
        self.fetched_at = -math.inf
        self.tried_at = -math.inf
        self.fetching: asyncio.Task[None] | None = None


class IssuerKeys:
    """
    Whoever asks knows already that the issuer is trusted: nothing is fetched from where a token alone leads.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: dict[str, _Kept] = {}
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def key(self, issuer: str, kid: str) -> RsaPublicKey | None:
        """
        A key of an issuer, None if it has none of this name.

        Raises:
            Unavailable: it cannot be told, because the issuer does not answer.
        """
        kept = self._kept.setdefault(issuer, _Kept())
        now = self._clock()
        if (kid not in kept.keys or now - kept.fetched_at > _FRESH_S) and now - kept.tried_at >= _PAUSE_S:
            kept.tried_at = now
            kept.fetching = asyncio.get_running_loop().create_task(self._fetch(issuer, kept))
        if kept.fetching is not None and (kid not in kept.keys or now - kept.fetched_at > _AWAITED_S):
            await asyncio.shield(kept.fetching)
        if self._clock() - kept.fetched_at > _STALE_S:
            raise Unavailable(f"The keys of the issuer {issuer} cannot be fetched.")
        return kept.keys.get(kid)

    async def close(self) -> None:
        """Give up what is under way."""
        fetching = [kept.fetching for kept in self._kept.values() if kept.fetching is not None]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, issuer: str, kept: _Kept) -> None:
        try:
            discovery = await self._document(f"{issuer.rstrip('/')}/{_DOCUMENT}")
            if discovery.get("issuer") != issuer:
                raise ValueError("its discovery document is another issuer's")
            where = str(discovery.get("jwks_uri"))
            if urlsplit(issuer).scheme == "https" and urlsplit(where).scheme != "https":
                raise ValueError(f"{where} is not an https URL")
            keys = read_keys(await self._document(where))
            if not keys:
                raise ValueError("it publishes no key that can be used")
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            _log.warning("cannot fetch the keys of %s: %s", issuer, str(error) or type(error).__name__)
            return
        finally:
            kept.fetching = None
        kept.keys, kept.fetched_at = keys, self._clock()

    async def _document(self, url: str) -> dict[str, Any]:
        if not is_issuer_url(url):
            raise ValueError(f"{url} is not an https URL")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True)
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"{url} answers {response.status}")
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError(f"{url} is too long")
        return msgspec.json.decode(body, type=dict[str, Any])

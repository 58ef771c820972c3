"""
Values of secrets that URL templates refer to: kept for a while, fetched again in the background, once for all who wait.

A value without a version is looked at again when it is used and some minutes old; whoever uses it need not wait for
that. A version never changes, and is looked at daily, since it may be taken back. While a vault fails the last value
stays good for a time.
"""

import asyncio
import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hubwire.model.errors import Forbidden, NotFound, Refused, Unavailable
from hubwire.model.identities import ManagedIdentity
from hubwire.model.ports import SecretSource
from hubwire.model.secret_references import parse_secret_uri

__all__ = ["SecretValues"]

_log: Final = logging.getLogger("hubwire.server")

_DAY_S: Final = 24 * 3600.0
_FORCED_S: Final = 60.0
"""Between two looks that an upstream's refusals give rise to."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_MOST_SECRETS: Final = 1000
_UNFIT: Final = re.compile(r"[\s#\x00-\x1f\x7f-\x9f]")


class _Kept:
    """
    What is known of one secret as one principal sees it.

    Args:
        fresh_s: after which it is looked at again.
        good_s: for how long its value may be used.

    Attributes:
        changes, changes_seen: of its vault. Whoever uses the value waits until it was looked at since the last one.
    """

    __slots__ = (
        "changes",
        "changes_seen",
        "confirmed_at",
        "failure",
        "fetching",
        "forced_at",
        "fresh_s",
        "good_s",
        "pauses",
        "try_at",
        "value",
    )

    def __init__(self, fresh_s: float, good_s: float) -> None:
        self.fresh_s = fresh_s
        self.good_s = good_s
        self.value: str | None = None
        self.confirmed_at = -math.inf
        self.changes = 0
        self.changes_seen = 0
        self.failure: Refused | None = None
        self.pauses = 0
        self.try_at = -math.inf
        self.forced_at = -math.inf
        self.fetching: asyncio.Task[None] | None = None


class SecretValues:
    """
    Identifiers of secrets are those that `find_references` gives.

    Args:
        clock: monotonic seconds.
        refresh_s: after which a secret without a version is looked at again.
        stale_s: for how long a value is good after it was confirmed last, while the vault fails.
    """

    def __init__(
        self, source: SecretSource, clock: Callable[[], float], refresh_s: float = 300.0, stale_s: float = 3600.0
    ) -> None:
        self._source = source
        self._clock = clock
        self._refresh_s = refresh_s
        self._stale_s = stale_s
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._fetches: set[asyncio.Task[None]] = set()

    async def value(self, uri: str, identity: ManagedIdentity) -> str:
        """
        The value of a secret: at once if it is known, else when the vault has answered.

        Raises:
            Forbidden, NotFound, Unavailable: the vault has not given it for too long; the text names the secret and
                says what to mend.
        """
        kept = self._of(uri, identity)
        now = self._clock()
        age_s = now - kept.confirmed_at
        doubted = kept.changes != kept.changes_seen
        if (age_s >= kept.fresh_s or doubted) and kept.fetching is None and now >= kept.try_at:
            self._fetch(uri, identity, kept)
        if kept.value is not None and age_s < kept.good_s and not doubted:
            return kept.value
        if kept.fetching is not None:
            await asyncio.shield(kept.fetching)
        if kept.value is not None and self._clock() - kept.confirmed_at < kept.good_s:
            return kept.value
        assert kept.failure is not None, "a fetch ends with a value or a failure"
        # Each who waits gets an error of their own: one that is raised again and again grows.
        raise type(kept.failure)(kept.failure.message)

    async def refresh(self, uri: str, identity: ManagedIdentity) -> None:
        """
        Look at a secret again, since what was called with it has refused it; once a minute at most. On return `value`
        gives what is known now.
        """
        kept = self._of(uri, identity)
        now = self._clock()
        if kept.fetching is None and now - kept.forced_at >= _FORCED_S:
            kept.forced_at = now
            self._fetch(uri, identity, kept)
        if kept.fetching is not None:
            await asyncio.shield(kept.fetching)

    def look_again(self, concerned: Callable[[str], bool] = lambda _uri: True) -> None:
        """
        Something has changed in vaults: their secrets are looked at before they are used again, without a pause after
        failures.

        Args:
            concerned: is a secret in one of these vaults.
        """
        for (uri, _), kept in self._kept.items():
            if concerned(uri):
                kept.changes += 1
                kept.try_at = -math.inf

    def failure(self, uri: str, identity: ManagedIdentity) -> str | None:
        """Why the last look at a secret gave nothing; None if it gave its value, or there was none yet."""
        kept = self._kept.get((uri, identity.principal_id))
        return None if kept is None or kept.failure is None else kept.failure.message

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._fetches:
            task.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)

    def _of(self, uri: str, identity: ManagedIdentity) -> _Kept:
        key = (uri, identity.principal_id)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = self._new(uri)
            if len(self._kept) > _MOST_SECRETS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept

    def _new(self, uri: str) -> _Kept:
        if parse_secret_uri(uri).version is None:
            return _Kept(self._refresh_s, max(self._refresh_s, self._stale_s))
        return _Kept(_DAY_S, _DAY_S + self._stale_s)

    def _fetch(self, uri: str, identity: ManagedIdentity, kept: _Kept) -> None:
        task = asyncio.get_running_loop().create_task(self._fetched(uri, identity, kept))
        kept.fetching = task
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    async def _fetched(self, uri: str, identity: ManagedIdentity, kept: _Kept) -> None:
        changes = kept.changes
        try:
            value = _fit(uri, await self._source.secret(uri, identity))
        except (Forbidden, NotFound, Unavailable) as error:
            self._failed(uri, kept, error)
        except Exception:
            _log.exception("an unexpected failure to read the secret %s", uri)
            self._failed(uri, kept, Unavailable(f"The secret {uri} could not be read; see the log."))
        else:
            self._confirmed(uri, kept, value)
        finally:
            kept.fetching, kept.changes_seen = None, changes

    def _confirmed(self, uri: str, kept: _Kept, value: str) -> None:
        if kept.failure is not None:
            _log.info("the secret %s can be read again", uri)
        elif kept.value not in (None, value):
            _log.info("the secret %s has a new value", uri)
        kept.value, kept.confirmed_at, kept.failure = value, self._clock(), None
        kept.pauses, kept.try_at = 0, -math.inf

    def _failed(self, uri: str, kept: _Kept, error: Refused) -> None:
        if kept.failure is None or kept.failure.message != error.message:
            left = "; its last value is used for a while" if kept.value is not None else ""
            _log.warning("cannot read the secret %s%s: %s", uri, left, error.message)
        pause_s = min(_FIRST_PAUSE_S * 2**kept.pauses, _LONGEST_PAUSE_S)
        kept.pauses = min(kept.pauses + 1, 10)
        kept.failure, kept.try_at = error, self._clock() + pause_s


def _fit(uri: str, value: str) -> str:
    """
    Raises:
        Unavailable: the value can be no part of a URL.
    """
    if _UNFIT.search(value) is not None:
        raise Unavailable(f"The value of the secret {uri} has a blank, a control character or a #: it fits in no URL.")
    return value

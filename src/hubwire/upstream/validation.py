"""
May events be sent to a URL: its owner is asked before the first one, and again from time to time.

An answer is good for a minute and then renewed in the background, while events go on by the old one. After a refusal
the owner is asked again in 1 s, then in 2, 4 and so on up to 60 s; in between, events fail at once.

Sources: CloudEvents, HTTP 1.1 web hooks (abuse protection); the behaviour of the service's own emulator (cache,
renewal, GET where OPTIONS is answered 404).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from hubwire.model.errors import EventUndelivered
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest

__all__ = ["ATTEMPT_S", "NotValidated", "Validator", "validation_refusal", "validation_request"]

ATTEMPT_S: Final = 10.0
"""For one attempt, which is not repeated when this is over."""

_GOOD_S: Final = 60.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_MOST_URLS: Final = 4096

Send = Callable[[OutgoingRequest], Awaitable[IncomingResponse]]
"""Sends a request of a validation, with the retries of deliveries. Raises EventUndelivered."""


class NotValidated(EventUndelivered):
    """
    The owner of a URL does not want our events, or did not say that it does.

    Args:
        answered: it has said so; else no answer came.
    """

    def __init__(self, message: str, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class _Known:
    """
    Attributes:
        refusal: why not; None if events may be sent.
        answered: that was said by the owner.
        due: from when it is to be asked again.
        pause_s: before the last asking; 0 after a success.
    """

    __slots__ = ("answered", "asking", "due", "pause_s", "refusal")

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.answered = False
        self.due = 0.0
        self.pause_s = 0.0
        self.asking: asyncio.Task[None] | None = None


class Validator:
    """
    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def look(self, url: str, origin: str, send: Send) -> None:
        """
        The same as `check`, for somebody who only wants to know. A handler that is not there yet may come at any
        moment, so whoever has an event for it asks again at once. One that has refused may have been mended for this
        very look, so it is asked now, however short a while ago that was.
        """
        before = self._known.get((url, origin))
        if before is not None and before.refusal is not None:
            before.due = min(before.due, self._clock())
        try:
            await self.check(url, origin, send)
        except NotValidated as error:
            known = self._known.get((url, origin))
            if known is not None and not error.answered:
                known.due, known.pause_s = self._clock(), 0.0
            raise

    async def check(self, url: str, origin: str, send: Send) -> None:
        """
        Return if events may be sent. Concurrent callers share one asking.

        Args:
            url: the template, filled in for the event `validate`.
            origin: our own host name.

        Raises:
            NotValidated: saying why not, for the operator.
        """
        key = (url, origin)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            if len(self._known) > _MOST_URLS:
                self._known.popitem(last=False)
            known.asking = self._ask(known, url, origin, send)
            await asyncio.shield(known.asking)
        else:
            self._known.move_to_end(key)
            await self._again(known, url, origin, send)
        if known.refusal is not None:
            raise NotValidated(known.refusal, known.answered)

    def last(self, url: str) -> dict[str, str | None]:
        """What the last askings brought, by origin: why not, or None for leave to send."""
        return {origin: known.refusal for (asked, origin), known in self._known.items() if asked == url and known.due}

    async def close(self) -> None:
        """Give up what is under way."""
        asking = [known.asking for known in self._known.values() if known.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _again(self, known: _Known, url: str, origin: str, send: Send) -> None:
        if known.asking is None and self._clock() >= known.due:
            known.asking = self._ask(known, url, origin, send)
        first = not known.due
        if known.asking is not None and (known.refusal is not None or first):
            await asyncio.shield(known.asking)

    def _ask(self, known: _Known, url: str, origin: str, send: Send) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(self._asked(known, url, origin, send))

    async def _asked(self, known: _Known, url: str, origin: str, send: Send) -> None:
        try:
            known.refusal, known.answered = await _refusal(url, origin, send)
        except BaseException:
            known.refusal, known.answered = "The server is stopping, or has failed.", False
            raise
        finally:
            known.asking = None
            if known.refusal is None:
                known.pause_s = 0.0
                known.due = self._clock() + _GOOD_S
            else:
                known.pause_s = min(known.pause_s * 2 or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
                known.due = self._clock() + known.pause_s


async def _refusal(url: str, origin: str, send: Send) -> tuple[str | None, bool]:
    """Why not, and whether the owner has said so."""
    try:
        response = await send(validation_request("OPTIONS", url, origin))
        if response.status == 404:
            response = await send(validation_request("GET", url, origin))
    except EventUndelivered as error:
        return f"AbuseProtectionResponseFailed: {error.message}", False
    return validation_refusal(response, origin), True


def validation_request(method: str, url: str, origin: str) -> OutgoingRequest:
    """
    What the owner of a URL is asked.

    Args:
        method: OPTIONS, or GET where that is answered 404.
    """
    headers = (("WebHook-Request-Origin", origin), ("ce-awpsversion", "1.0"))
    return OutgoingRequest("GET" if method == "GET" else "OPTIONS", url, headers)


def validation_refusal(response: IncomingResponse, origin: str) -> str | None:
    """Why an answer is no leave, for the operator; None if it is one. Names that users know stand first."""
    if not response.succeeded:
        hint = {
            401: "; is a key missing in the URL? Validation requests bring no token, so they must pass without one",
            403: "; validation requests bring no token, so they must pass without one",
            404: "; is the path right, and does it take OPTIONS",
            405: "; it must take OPTIONS",
        }.get(response.status, "")
        return f"AbuseProtectionResponseInvalidStatusCode: the handler answered the validation {response.status}{hint}."
    lines = response.all("webhook-allowed-origin")
    if not lines:
        return (
            "AbuseProtectionResponseMissingAllowedOrigin: the handler's answer to the validation has no header "
            f"WebHook-Allowed-Origin; it must be * or {origin}."
        )
    allowed = {part.strip().lower() for line in lines for part in line.split(",")}
    if "*" in allowed or any(_is_host(part, origin.lower()) for part in allowed):
        return None
    return (
        "AbuseProtectionResponseMissingAllowedOrigin: the handler's WebHook-Allowed-Origin names another host than "
        f"{origin}; add that to those whose events it takes, or give this server its name by --public-endpoint."
    )


def _is_host(allowed: str, origin: str) -> bool:
    """Some handlers name the host with its port, or as a URL."""
    host = allowed.partition("://")[2] or allowed
    host = host.rstrip("/")
    if host == origin:
        return True
    name, separator, port = host.rpartition(":")
    return bool(separator) and port.isdigit() and name == origin

"""
Records of what becomes of events, for whoever has to mend a handler. Never a query, a token or a body.

A handler that fails for all its clients says the same again and again: each reason is told once, and after that every
ten seconds, with how often it was left out.
"""

import logging
import time
from collections import OrderedDict
from typing import Final

from hubwire.model.names import HubKey, shown_user_id
from hubwire.upstream.handlers import Handler
from hubwire.upstream.sources import EventSource

__all__ = ["failed", "nobody", "refused"]

_log: Final = logging.getLogger("hubwire.upstream")
_AGAIN_S: Final = 10.0
_MOST: Final = 1000


class _Quiet:
    """What was said lately, and how often it was not said again."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def says(self, key: tuple[object, ...]) -> int | None:
        """How often it was left out since it was last said; None if it is to be left out now."""
        now = time.monotonic()
        at, left_out = self._said.pop(key, (-_AGAIN_S, 0))
        if now - at < _AGAIN_S:
            self._said[key] = (at, left_out + 1)
            return None
        self._said[key] = (now, 0)
        if len(self._said) > _MOST:
            self._said.popitem(last=False)
        return left_out


_quiet: Final = _Quiet()


def failed(source: EventSource, handler: Handler, event: str, reason: str) -> None:
    """A handler did not take an event."""
    left_out = _quiet.says((*source.hub, handler.template.shown, event, reason))
    if left_out is None:
        return
    more = f" ({left_out} more of these since)" if left_out else ""
    _emit(logging.WARNING, "EventFailed", f"{reason}{more}", source, handler, event)


def nobody(hub: HubKey, event: str) -> None:
    """Clients send events that no handler takes."""
    if _quiet.says((*hub, event)) is not None:
        hint = f"hubwire hub set {hub.hub} --handler URL --user-events PATTERN"
        text = f"no event handler takes the event {event}; to let one: {hint}"
        record = {"operationName": "EventHandlerNotFound", "hub": hub.hub, "event": event}
        _log.warning("%s", text, extra={"record": record})


def refused(source: EventSource, handler: Handler, status: int) -> None:
    """A handler does not want a client; that is its right."""
    _emit(logging.INFO, "ConnectRefused", f"the handler answered {status}", source, handler, "connect")


def _emit(level: int, operation: str, text: str, source: EventSource, handler: Handler, event: str) -> None:
    if not _log.isEnabledFor(level):
        return
    record = {
        "operationName": operation,
        "hub": source.hub.hub,
        "event": event,
        "connectionId": source.connection_id,
        "userId": shown_user_id(source.user_id),
        "handler": handler.template.shown,
    }
    _log.log(level, "%s", text, extra={"record": record})

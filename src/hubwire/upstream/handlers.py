"""
The event handlers of a hub, read once from its settings: which of them is told of what. Pure.

Sources: the service's page on event handlers (the first match wins, patterns of user events); its emulator (an element
of a pattern may have wildcards, and letter case does not count).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from hubwire.model.hubs import HubSettings
from hubwire.model.names import HubKey
from hubwire.model.patterns import Pattern, PatternSet, parse_pattern
from hubwire.model.ports import HubDirectory
from hubwire.upstream.url_templates import UrlTemplate, parse_template

__all__ = ["NO_HANDLERS", "Handler", "Handlers", "HandlersOf", "Presence", "SystemEvent", "read_handlers"]

SystemEvent = Literal["connect", "connected", "disconnected"]
Presence = Literal["joined", "left"]


class Handler:
    """
    One event handler.

    Attributes:
        template: of its URL.
        audience: that its tokens are for; None where it gets none.
        system: the system events that it is told of.
    """

    __slots__ = ("_any_user_event", "_groups", "_presence", "_users", "audience", "system", "template")

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.template: UrlTemplate = parse_template(settings["urlTemplate"])
        auth = settings.get("auth") or {}
        managed = str(auth.get("type") or "").lower() == "managedidentity"
        self.audience: str | None = (auth.get("managedIdentity") or {}).get("resource", "") if managed else None
        self.system = frozenset(str(name).lower() for name in settings.get("systemEvents") or ())
        elements = [part.strip() for part in (settings.get("userEventPattern") or "").split(",")]
        self._any_user_event = "*" in elements
        self._users = _patterns([part.lower() for part in elements if part and part != "*"])
        presence = settings.get("groupPresenceEvents") or {}
        self._presence = frozenset(str(name).lower() for name in presence.get("eventNames") or ())
        filters = presence.get("groupFilters")
        self._groups = None if filters is None else _patterns(filters)

    def takes_user_event(self, event: str) -> bool:
        """Is it told of a user event of this name."""
        return self._any_user_event or self._users.matches(event.lower())

    def takes_presence(self, event: Presence, group: str) -> bool:
        """Is it told who enters or leaves a group."""
        return event in self._presence and (self._groups is None or self._groups.matches(group))

    @property
    def takes_any_presence(self) -> bool:
        """Is it told that of any group."""
        return bool(self._presence)


class Handlers:
    """
    Those of one hub, in their order.

    Attributes:
        all: each of them.
        has_presence: is any told who enters and leaves groups.
    """

    __slots__ = ("_system", "all", "has_presence")

    def __init__(self, handlers: Sequence[Handler]) -> None:
        self.all = tuple(handlers)
        self.has_presence = any(handler.takes_any_presence for handler in handlers)
        self._system: dict[str, Handler] = {}
        for handler in handlers:
            for event in handler.system:
                self._system.setdefault(event, handler)

    def system(self, event: SystemEvent) -> Handler | None:
        """The one that is told of a system event."""
        return self._system.get(event)

    def user(self, event: str) -> Handler | None:
        """The one that is told of a user event; a name such as `connected` is only a name here."""
        for handler in self.all:
            if handler.takes_user_event(event):
                return handler
        return None

    def presence(self, event: Presence, group: str) -> Handler | None:
        """The one that is told of a membership."""
        if not self.has_presence:
            return None
        return next((handler for handler in self.all if handler.takes_presence(event, group)), None)


NO_HANDLERS: Final = Handlers(())


def read_handlers(settings: HubSettings) -> Handlers:
    """
    Raises:
        BadRequest: they cannot be; what is stored was checked when it was saved.
    """
    return Handlers([Handler(handler) for handler in settings.event_handlers])


class HandlersOf:
    """The handlers of every hub, as they are now. Answers from memory: settings are read again where they changed."""

    def __init__(self, directory: HubDirectory) -> None:
        self._directory = directory
        self._read: dict[HubKey, tuple[HubSettings, Handlers]] = {}

    def __call__(self, hub: HubKey) -> Handlers:
        settings = self._directory.settings(hub)
        if not settings.event_handlers:
            self._read.pop(hub, None)
            return NO_HANDLERS
        known = self._read.get(hub)
        if known is None or known[0] is not settings:
            known = self._read[hub] = (settings, read_handlers(settings))
        return known[1]


def _patterns(texts: Sequence[str]) -> PatternSet:
    parsed: list[Pattern] = [pattern for text in texts if (pattern := parse_pattern(text)) is not None]
    return PatternSet(parsed)

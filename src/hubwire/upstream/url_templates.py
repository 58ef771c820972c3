"""
URL templates of event handlers: taken apart once, filled in for each event. Pure.

Sources: the service's page on event handlers (placeholders and where they may stand); its emulator, which encodes
everything but unreserved characters and resolves in one pass; its page on managed identities (secrets).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from hubwire.model.errors import BadRequest
from hubwire.model.secret_references import find_references

__all__ = ["UrlTemplate", "parse_template"]

_PLACE: Final = re.compile(r"\{(hub|event)\}", re.IGNORECASE)
_WHOLE: Final = re.compile(r"https?://[^\s/?#{}]+(?:[/?]\S*)?", re.IGNORECASE | re.ASCII)
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*")
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))
_TUNNEL: Final = "tunnel://"


class _Secret(Struct, frozen=True):
    uri: str


class _Named(Struct, frozen=True):
    name: str


class UrlTemplate(Struct, frozen=True):
    """
    Attributes:
        shown: for logs and counters: neither a query, where keys stand, nor secrets.
        secrets: identifiers of those that it needs.
        is_tunnel: no URL of HTTP; whoever has dialled in is asked.
    """

    shown: str
    secrets: tuple[str, ...]
    is_tunnel: bool
    _parts: tuple[str | _Secret | _Named, ...]

    def resolve(self, hub: str, event: str, secrets: Mapping[str, str]) -> str:
        """
        The URL for an event.

        Args:
            secrets: values by identifier; put in as they are, and nothing in them is a placeholder, unless the template
                is a secret and nothing else.

        Raises:
            BadRequest: the secret that is to be the whole URL is none.
        """
        url = ""
        for part in self._parts:
            match part:
                case str():
                    url += part
                case _Named(name):
                    url += _encoded(hub if name == "hub" else event)
                case _Secret(uri) if len(self._parts) == 1:
                    return _whole(secrets[uri], {"hub": _encoded(hub), "event": _encoded(event)})
                case _Secret(uri):
                    url += secrets[uri]
        return url


def parse_template(text: str) -> UrlTemplate:
    """
    Raises:
        BadRequest: a reference in it is malformed.
    """
    parts: list[str | _Secret | _Named] = []
    secrets: list[str] = []
    end = 0
    for reference in find_references(text):
        parts += _places(text[end : reference.start])
        parts.append(_Secret(reference.uri))
        secrets.append(reference.uri)
        end = reference.end
    parts += _places(text[end:])
    shown = "".join([part if isinstance(part, str) else "{…}" for part in _without_names(parts)])
    return UrlTemplate(
        shown=re.split(r"[?#]", shown, maxsplit=1)[0],
        secrets=tuple(dict.fromkeys(secrets)),
        is_tunnel=text.lower().startswith(_TUNNEL),
        _parts=tuple(parts),
    )


def _encoded(name: str) -> str:
    return name if _UNRESERVED.fullmatch(name) else quote(name, safe="")


def _places(text: str) -> list[str | _Secret | _Named]:
    parts: list[str | _Secret | _Named] = []
    for position, piece in enumerate(_PLACE.split(text)):
        if position % 2:
            parts.append(_Named(piece.lower()))
        elif piece:
            parts.append(quote(piece, safe=_ASCII))
    return parts


def _without_names(parts: list[str | _Secret | _Named]) -> list[str | _Secret]:
    return [f"{{{part.name}}}" if isinstance(part, _Named) else part for part in parts]


def _whole(value: str, values: Mapping[str, str]) -> str:
    # Looked at before names are put in: a client that names an event must not choose the host by that.
    if _WHOLE.fullmatch(value) is None:
        raise BadRequest("The secret that is to be the URL of an event handler is no http or https URL.", "urlTemplate")
    return _PLACE.sub(lambda place: values[place[1].lower()], value)

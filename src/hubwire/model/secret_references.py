"""
Key Vault references in the URL templates of event handlers, and the identifiers of secrets in them. Pure.

Sources: the service's page on managed identities (notation, with its braces); Key Vault's page on identifiers; the
expression that the service's emulator matches them by. Blanks around the parts are taken, too. App Service writes
references without braces; here these would be sent as text, so they are refused.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from hubwire.model.errors import BadRequest

__all__ = ["SecretReference", "find_references", "is_secret_name", "parse_secret_uri"]

_OPENING: Final = re.compile(r"\{\s*@")
_REFERENCE: Final = re.compile(
    r"\{\s*@Microsoft\.KeyVault\s*\(\s*SecretUri\s*=\s*([^(){}]*?)\s*\)\s*\}", re.IGNORECASE | re.ASCII
)
_OUTSIDE: Final = re.compile(r"(?:@|%40)\s*Microsoft\.KeyVault\s*(?:\(|%28)", re.IGNORECASE | re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,127}")
_URI: Final = re.compile(
    r"(?P<vault>(?P<scheme>https?)://(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?)"
    r"/secrets/(?P<name>[^/?#\s]+)(?:/(?P<version>[^/?#\s]+))?/?",
    re.IGNORECASE | re.ASCII,
)
_VERSION: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_FORM: Final = "{@Microsoft.KeyVault(SecretUri=https://VAULT/secrets/NAME)}"


class SecretReference(Struct, frozen=True):
    """
    Attributes:
        start, end: of the reference in the template, its braces included.
        uri: identifier of the secret, without a slash at its end; scheme and host in lower case.
        vault_url: of the vault, without a slash at its end.
        version: None for the current one.
    """

    start: int
    end: int
    uri: str
    vault_url: str
    name: str
    version: str | None = None


def find_references(template: str, target: str = "urlTemplate") -> list[SecretReference]:
    """
    The references in a template, in their order.

    Args:
        target: what errors call the template.

    Raises:
        BadRequest: something begins like one and is none, or is one but for the braces.
    """
    found: list[SecretReference] = []
    position = 0
    while opening := _OPENING.search(template, position):
        match = _REFERENCE.match(template, opening.start())
        if match is None:
            raise BadRequest(f"{target} has a reference that is not of the form {_FORM}.", target)
        found.append(_reference(match.start(), match.end(), match[1], target))
        position = match.end()
    starts = [match.start() for match in _OUTSIDE.finditer(template)]
    if any(all(not one.start <= start < one.end for one in found) for start in starts):
        raise BadRequest(f"{target} has a reference outside of braces; it is written {_FORM}.", target)
    return found


def parse_secret_uri(uri: str, target: str = "SecretUri") -> SecretReference:
    """
    An identifier by itself, as a reference that is nothing else.

    Raises:
        BadRequest: it is none.
    """
    return _reference(0, len(uri), uri, target)


def is_secret_name(name: str) -> bool:
    """1 to 127 letters, digits and hyphens. Names of secrets compare without case."""
    return _NAME.fullmatch(name) is not None


def _reference(start: int, end: int, uri: str, target: str) -> SecretReference:
    parts = _URI.fullmatch(uri)
    if parts is None or not 1 <= int(parts["port"] or 1) <= 65535 or not _is_url(parts["vault"]):
        message = (
            f"{target} has a reference to a secret whose SecretUri is not of the form "
            "https://VAULT/secrets/NAME or https://VAULT/secrets/NAME/VERSION."
        )
        raise BadRequest(message, target)
    name, version, vault = parts["name"], parts["version"], parts["vault"].lower()
    if not is_secret_name(name):
        raise BadRequest(
            f"{target} has a reference to a secret whose name is not 1 to 127 letters, digits and -.", target
        )
    if version is not None and _VERSION.fullmatch(version) is None:
        raise BadRequest(
            f"{target} has a reference to a version of a secret that is not of letters and digits.", target
        )
    tail = f"/{version}" if version is not None else ""
    return SecretReference(start, end, f"{vault}/secrets/{name}{tail}", vault, name, version)


def _is_url(vault: str) -> bool:
    """What stands in brackets has to be an address."""
    try:
        return bool(urlsplit(vault).hostname)
    except ValueError:
        return False

"""
Under which addresses Key Vaults are reached, and for which resource a token for each of them is.

The official clients take a challenge only if the host that they have asked ends with a dot and the host of the resource
in it. So a vault says what its host is without its first label: `https://vault.azure.net` to whoever has asked for
`https://NAME.vault.azure.net`. What is left of an address of IPv4 is a host only for a scheme whose hosts nobody takes
for addresses: in `https://0.0.1:9443` URL parsers find another one.

Source: the challenge policies of azure-keyvault-secrets 4.12 and @azure/keyvault-common 2.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from hubwire.hosting import OwnPorts
from hubwire.model.listeners import listener_name, named_by, owner_of
from hubwire.resources.vault_documents import StoredVault
from hubwire.resources.vaults import Vaults
from hubwire.rest.call import Caller

__all__ = ["CLOUD", "VaultHosts"]

CLOUD: Final = "https://vault.azure.net"
"""Resource of every vault."""

_LOCAL: Final = "vault.localhost"
_LOCAL_SUFFIX: Final = f".{_LOCAL}"
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_REST_OF_ADDRESS: Final = re.compile(r"api://[0-9]{1,3}(?:\.[0-9]{1,3}){2}:([0-9]{1,5})")
_LOCAL_RESOURCE: Final = re.compile(rf"https://{re.escape(_LOCAL)}(?::([0-9]{{1,5}}))?")
_DEFAULT_PORTS: Final = (None, 80, 443)


class VaultHosts:
    """
    Args:
        main: URLs under which the main ports are reached.

    Attributes:
        own: ports of vaults; None until they are opened.
    """

    def __init__(self, vaults: Vaults, main: Sequence[str]) -> None:
        self._vaults = vaults
        self._main_ports = frozenset((*_DEFAULT_PORTS, *(urlsplit(url).port for url in main)))
        self._secure_port = next((urlsplit(url).port for url in main if url.startswith("https:")), None)
        self.own: OwnPorts | None = None

    def uri(self, vault: StoredVault) -> str:
        """Where a vault is reached, with a slash at its end; by name while it has no ports that are open."""
        urls = self._urls(vault.name)
        if not urls:
            port = "" if self._secure_port is None else f":{self._secure_port}"
            return f"https://{vault.name.lower()}{_LOCAL_SUFFIX}{port}/"
        return f"{urls[0]}/"

    def vault_at(self, vault_url: str) -> str | None:
        """
        The vault here that a URL leads to, in lower case; None if it leads elsewhere.

        Args:
            vault_url: scheme and authority.
        """
        authority = urlsplit(vault_url).netloc.lower()
        named = named_by("vault", authority)
        if named is not None:
            is_ours = _name(authority).endswith(_LOCAL_SUFFIX) or self._vaults.named(named) is not None
            return named if is_ours else None
        for vault in self._vaults.all():
            if vault_url.lower() in self._urls(vault.name):
                return vault.name.lower()
        return None

    def resource(self, asked: Caller) -> str:
        """For which resource a token for the vault that is asked has to be."""
        host = asked.host.lower()
        name, port = _name(host), _port(host)
        if name.endswith(_LOCAL_SUFFIX) and port in self._main_ports:
            return f"https://{_LOCAL}" if port is None else f"https://{_LOCAL}:{port}"
        return (self._rest(host) if self._knows(asked) else None) or CLOUD

    def base(self, asked: Caller) -> str:
        """URL of the vault that is asked as this caller knows it, without a slash at the end."""
        host = asked.host.lower()
        if self._knows(asked) or named_by("vault", host) is not None:
            return f"{asked.scheme}://{host}"
        vault = self._vaults.named(owner_of(asked.resource))
        return CLOUD if vault is None else self.uri(vault).rstrip("/")

    def is_resource(self, resource: str) -> bool:
        """
        Is this a resource that a vault here has named in a challenge, or could.

        Args:
            resource: in lower case, without a slash at its end.
        """
        if (local := _LOCAL_RESOURCE.fullmatch(resource)) is not None:
            return (None if local[1] is None else int(local[1])) in self._main_ports
        found = _REST_OF_ADDRESS.fullmatch(resource)
        for vault in self._vaults.all():
            urls = self._urls(vault.name)
            if found is not None and int(found[1]) in {_port(urlsplit(url).netloc) for url in urls}:
                return True
            if any(self._rest(urlsplit(url).netloc) == resource for url in urls):
                return True
        return False

    def _urls(self, vault: str) -> tuple[str, ...]:
        return () if self.own is None else self.own.urls(listener_name("vault", vault))

    def _knows(self, asked: Caller) -> bool:
        """Is the host that somebody has asked for one of the vault's own, or the address that they have reached."""
        host = asked.host.lower()
        authorities = {urlsplit(url).netloc for url in self._urls(owner_of(asked.resource))}
        return host in authorities or (
            asked.own_ip is not None
            and _name(host) == asked.own_ip
            and _port(host) in {_port(authority) for authority in authorities}
        )

    @staticmethod
    def _rest(authority: str) -> str | None:
        """An authority without its first label, as a resource; None if nothing is left."""
        name, port = _name(authority), _port(authority)
        rest = name.partition(".")[2]
        if not rest:
            return None
        scheme = "api" if _ADDRESS.fullmatch(name) else "https"
        return f"{scheme}://{rest}" if port is None else f"{scheme}://{rest}:{port}"


def _name(authority: str) -> str:
    """Host of an authority; of IPv6 nothing that has labels."""
    return "" if authority.startswith("[") else authority.partition(":")[0].rstrip(".")


def _port(authority: str) -> int | None:
    text = authority.rpartition("]")[2].partition(":")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None

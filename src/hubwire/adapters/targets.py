"""
Where event handlers may be: decided by the address to which a connection is about to be made, not by the name in a
URL, since a name may have another address a moment later.

Never called are the addresses at which this server itself listens, and those that belong to no single machine.
Link-local addresses (RFC 3927, RFC 4291), where clouds keep the endpoint that gives out a machine's credentials, are
called only where the operator names them.
"""

import socket
from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from aiohttp import AddrInfoType, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["GuardedResolver", "RefusedTarget", "TargetGuard"]

_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

_NOBODY: Final[tuple[_Network, ...]] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("255.255.255.255/32"),
    IPv6Network("::/128"),
    IPv6Network("ff00::/8"),
)
"""Unspecified, multicast, broadcast. Systems take the first for the loopback address."""
_LINK_LOCAL: Final[tuple[_Network, ...]] = (
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fe80::/10"),
    # Not link-local by their number, but the same by what answers there: where clouds keep what a machine may know.
    IPv6Network("fd00:ec2::254/128"),
    IPv4Network("100.100.100.200/32"),
    IPv4Network("168.63.129.16/32"),
)
_LED_ON: Final[tuple[_Network, ...]] = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
"""With an IPv4 address in the last 32 bits, to which gateways lead (RFC 6052, section 2.1; RFC 4291, 2.5.5.1)."""


class RefusedTarget(OSError):  # noqa: N818  the name says what happened
    """An address that no event handler may have; one of the errors that a connection attempt may end with."""


class TargetGuard:
    """
    Args:
        own: addresses and ports at which this server listens now, such as `("127.0.0.1", 8080)`; a wildcard stands for
            all addresses of this machine, of both families.
        networks: networks or addresses that handlers may have, and no others; link-local ones only by an entry that
            holds nothing else. Empty is everything that is not link-local.

    Raises:
        ValueError: an entry is neither; the text says which.
    """

    def __init__(self, own: Callable[[], Collection[tuple[str, int]]], networks: Iterable[str] = ()) -> None:
        self._own = own
        self._networks = tuple(map(_network, networks))

    def refusal(self, address: str, port: int) -> str | None:
        """
        Why nothing may be sent there, as the rest of a sentence that begins with the address; None if it may.

        Args:
            address: IPv4 or IPv6, with or without a zone. Anything else is refused.
        """
        try:
            plain = _plain(address)
        except ValueError:
            return "is no address"
        if _among(plain, _NOBODY):
            return "belongs to no single machine, which handler_networks cannot change"
        if self._is_own(address, plain, port):
            return f"is this server itself at port {port}, which handler_networks cannot change"
        named = [network for network in self._networks if plain in network]
        if _among(plain, _LINK_LOCAL) or _among(_behind(plain), _LINK_LOCAL):
            if not any(map(_is_link_local, named)):
                return "is link-local, and no entry of handler_networks is for link-local addresses alone"
        elif self._networks and not named:
            return "is not among handler_networks"
        return None

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        """
        A socket for a connection to the address of `info`, which is the last step before it is made.

        Raises:
            RefusedTarget: it may not be made.
        """
        family, kind, protocol, _, address = info
        refusal = self.refusal(address[0], address[1])
        if refusal is not None:
            raise RefusedTarget(f"{address[0]} {refusal}")
        return socket.socket(family, kind, protocol)

    def _is_own(self, address: str, plain: _Address, port: int) -> bool:
        return any(
            listening == port
            and (_plain(host) == plain or (_plain(host).is_unspecified and _is_of_this_machine(address, plain)))
            for host, listening in self._own()
        )


class GuardedResolver(AbstractResolver):
    """The system's resolver, of whose addresses those that are refused are left out."""

    def __init__(self, guard: TargetGuard) -> None:
        self._guard = guard
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Raises:
            RefusedTarget: none may be called.
            OSError: the name is unknown.
        """
        found = await self._names.resolve(host, port, family)
        refusals = [self._guard.refusal(each["host"], each["port"]) for each in found]
        allowed = [each for each, refusal in zip(found, refusals, strict=True) if refusal is None]
        if found and not allowed:
            raise RefusedTarget(f"its address {found[0]['host']} {refusals[0]}")
        if not found:
            raise OSError("the name has no address")
        return allowed

    async def close(self) -> None:
        await self._names.close()


def _network(text: str) -> _Network:
    """
    Raises:
        ValueError: it is neither a network nor an address.
    """
    try:
        found = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address or a network such as 10.0.0.0/8") from error
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    return IPv4Network((int(mapped), found.prefixlen - 96)) if mapped and found.prefixlen >= 96 else found


def _plain(text: str) -> _Address:
    """
    Without its zone, and an IPv4 address as such also where it is written as an IPv6 one.

    Raises:
        ValueError: it is no address.
    """
    found = ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _behind(address: _Address) -> _Address:
    """The IPv4 address to which an IPv6 one leads through a gateway; itself where there is none."""
    if isinstance(address, IPv4Address):
        return address
    if _among(address, _LED_ON):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def _among(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)


def _is_link_local(network: _Network) -> bool:
    return any(
        isinstance(network, type(outer)) and network.subnet_of(outer)  # type: ignore[arg-type]  # of the same family
        for outer in _LINK_LOCAL
    )


def _is_of_this_machine(address: str, plain: _Address) -> bool:
    """Whether one may bind a socket to it: the standard library has no list of a machine's addresses."""
    if plain.is_loopback:
        return True
    try:
        if plain.version == 4:
            family, where = socket.AF_INET, str(plain)
        else:
            family, where = socket.AF_INET6, address  # with its zone
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((where, 0))
    except OSError:
        return False
    return True

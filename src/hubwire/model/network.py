"""
Who may reach a resource over the network: by the type of the request and by the caller's address. Pure.

Every caller comes over the public network, since there are no private endpoints here. The address is that of the
client, by a trusted proxy's word where there is one.

Source: `networkACLs` and `publicNetworkAccess` of Microsoft.SignalRService/webPubSub, and the service's page on network
access control: the switch comes first, then the rules for types, then those for addresses, and the default action is
for what no rule speaks of.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

__all__ = ["OPEN", "IpRule", "NetworkRules", "RequestType", "network_rules"]

RequestType: TypeAlias = Literal["ClientConnection", "ServerConnection", "RESTAPI", "Trace"]

_Network: TypeAlias = IPv4Network | IPv6Network


class IpRule(Struct, frozen=True):
    """
    Attributes:
        network: None for a service tag, which no address here belongs to.
    """

    network: _Network | None
    allow: bool


class NetworkRules(Struct, frozen=True):
    """
    Attributes:
        public: may anybody come over the public network.
        default: what holds for a type or an address of which no rule speaks.
        allow, deny: types of requests.
        ip_rules: the first one that fits decides.
    """

    public: bool = True
    default: bool = True
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    ip_rules: tuple[IpRule, ...] = ()

    def refusal(self, kind: RequestType, client_ip: str) -> str | None:
        """Why a request may not come, for the one who sends it; None if it may."""
        if not self.public:
            return "Public network access to this resource is disabled."
        if kind in self.deny or not (kind in self.allow or self.default):
            return f"The network access control of this resource does not allow requests of type {kind}."
        if self.ip_rules and not self._takes(client_ip):
            return "The network access control of this resource does not allow the address of the caller."
        return None

    def _takes(self, client_ip: str) -> bool:
        address = _address(client_ip)
        for rule in self.ip_rules:
            if rule.network is not None and address is not None and address in rule.network:
                return rule.allow
        return self.default


OPEN: Final = NetworkRules()


def network_rules(acls: Mapping[str, Any], public_network_access: str) -> NetworkRules:
    """
    Args:
        acls: `networkACLs`, checked.
        public_network_access: `Enabled` or `Disabled`.
    """
    public = acls.get("publicNetwork") or {}
    return NetworkRules(
        public=public_network_access == "Enabled",
        default=acls.get("defaultAction", "Allow") == "Allow",
        allow=frozenset(public.get("allow") or ()),
        deny=frozenset(public.get("deny") or ()),
        ip_rules=tuple(_rule(rule) for rule in acls.get("ipRules") or ()),
    )


def _rule(rule: Mapping[str, str]) -> IpRule:
    try:
        network: _Network | None = ip_network(rule["value"], strict=False)
    except ValueError:
        network = None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        network = ip_network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return IpRule(network, rule["action"] == "Allow")


@lru_cache(1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found

"""
Whose word about the client is believed: proxies that the operator named, and nobody else. Pure.

A proxy must set the headers that it wants believed and not pass on the client's own: what a trusted proxy sends is
taken for its word.
"""

import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import InvalidVersion, load_der_x509_certificate

from hubwire.edge.head import is_authority

__all__ = ["TrustedProxies", "forwarded_certificate", "peer_address"]

_Address = IPv4Address | IPv6Address
_ENVOY = re.compile(r'(?:By=[^;,"]*+;)?Hash=([0-9a-f]{64});Cert="([^"]*+)"')
_PEM = re.compile(r"\s*+-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*+)-----END CERTIFICATE-----")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_TCHARS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# Colons and brackets outside quotes are against the grammar of RFC 7239, and yet proxies write them.
_VALUE = r"[!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]++"
_PAIR = re.compile(rf'[ \t]*+({_TCHARS})=({_VALUE}|"(?:[^"\\]|\\.)*+")[ \t]*+(;|,|$)')
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")


def forwarded_certificate(values: Sequence[str]) -> bytes | None:
    """
    The certificate that a client showed to a proxy, as one of the usual proxies writes it into a header: PEM that is
    percent-encoded (nginx) or has blanks for its line ends (Apache), base64 of DER (HAProxy; between colons, RFC 9440),
    or X-Forwarded-Client-Cert of one element (Envoy's SANITIZE_SET with its `cert`). Of a chain the first one.

    What Envoy writes behind the certificate is a client's own words, and not always quoted. So it is found where Envoy
    puts it, directly behind its hash, once, and the hash must be its own.

    Args:
        values: of the header, one for each line. A trusted proxy sends one.

    Returns:
        DER; None if there is none that can be read.
    """
    if len(values) != 1:
        return None
    value = values[0]
    element = _ENVOY.match(value)
    if element is not None and value.count("Hash=") != 1:
        return None
    text = unquote(value if element is None else element[2])
    pem = _PEM.match(text)
    try:
        der = binascii.a2b_base64("".join((pem[1] if pem else text.strip(": ")).split()), strict_mode=True)
        certificate = load_der_x509_certificate(der).public_bytes(Encoding.DER)
    except (ValueError, InvalidVersion):
        return None
    if element is not None and hashlib.sha256(certificate).hexdigest() != element[1]:
        return None
    return certificate


class TrustedProxies:
    """
    The addresses whose forwarded headers count.

    Args:
        addresses_or_networks: such as "10.0.0.7", "10.0.0.0/8", "::1" or "fd00::/8".

    Raises:
        ValueError: an entry is neither; the text is one line that names it.
    """

    def __init__(self, addresses_or_networks: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in addresses_or_networks:
            try:
                self._networks.append(ip_network(entry.strip()))
            except ValueError as error:
                raise ValueError(f"trusted proxy {entry!r}: {error}") from error

    def trusts(self, address: str) -> bool:
        """Is this one of the trusted proxies; an empty text (peers without an address) never is."""
        found = _address(address) if self._networks else None
        return found is not None and self._contain(found)

    def resolve(self, peer_ip: str, headers: Iterable[tuple[str, str]], scheme: str, host: str) -> tuple[str, str, str]:
        """
        Who asked, how and for what.

        X-Forwarded-For, -Proto and -Host are read; `Forwarded` only where none of them is there, because a proxy
        that speaks one of the two dialects usually lets a client's other one through. Of several values the last
        counts, since it is the one the nearest proxy wrote; for the address, the last that is no trusted proxy. A
        malformed value is as good as none.

        Args:
            peer_ip: of the connection, as `peer_address` gives it.
            headers: of the request; names in any case.
            scheme, host: what the request itself says.

        Returns:
            address of the client, scheme ("http" or "https") and authority (lower-case).

        Source: RFC 7239, sections 4 to 6; the X- headers have no standard.
        """
        if not self.trusts(peer_ip):
            return peer_ip, scheme, host
        lines: dict[str, str] = {}
        for name, value in headers:
            lower = name.lower()
            if lower.startswith("x-forwarded-") or lower == "forwarded":
                lines[lower] = f"{lines[lower]},{value}" if lower in lines else value
        if lines.keys() & {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}:
            client = self._client(_parts(lines.get("x-forwarded-for", "")))
            said_scheme, said_host = _last(lines.get("x-forwarded-proto", "")), _last(lines.get("x-forwarded-host", ""))
        else:
            client, said_scheme, said_host = self._forwarded(lines.get("forwarded", ""))
        return (
            client or peer_ip,
            _SCHEMES.get(said_scheme.lower(), scheme),
            said_host.lower() if is_authority(said_host) else host,
        )

    def _client(self, nodes: Sequence[str]) -> str | None:
        """The last address that is no trusted proxy; the first if all are; None if the way there is not readable."""
        address = None
        for node in reversed(nodes):
            address = _node(node)
            if address is None or not self._contain(address):
                break
        return str(address) if address is not None else None

    def _forwarded(self, text: str) -> tuple[str | None, str, str]:
        """Client, scheme and authority of the element that the outermost trusted proxy wrote."""
        elements = list(_elements(text))
        for element in reversed(elements):
            address = _node(element.get("for", ""))
            if address is None or not self._contain(address) or element is elements[0]:
                client = str(address) if address is not None else None
                return client, element.get("proto", ""), element.get("host", "")
        return None, "", ""

    def _contain(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def peer_address(peername: object) -> str:
    """
    The address of a connection's other end, as text that compares: no zone, IPv4 never in IPv6 clothes.

    Args:
        peername: as a transport's "peername"; empty text comes back for peers of a Unix socket, who have none.
    """
    if not isinstance(peername, tuple) or not peername:
        return ""
    if len(peername) == 2:
        return str(peername[0])  # IPv4, which the system writes in one way only
    address = _address(str(peername[0]).partition("%")[0])
    return str(address) if address is not None else ""


def _address(text: str) -> _Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A listener for both families sees IPv4 clients as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _node(text: str) -> _Address | None:
    """An address with an optional port; None for `unknown`, hidden names and everything else."""
    match = _NODE.fullmatch(text)
    return _address(match[match.lastindex or 0]) if match is not None else None


def _parts(text: str) -> list[str]:
    return [part for piece in text.split(",") if (part := piece.strip())]


def _last(text: str) -> str:
    parts = _parts(text)
    return parts[-1] if parts else ""


def _elements(text: str) -> Iterator[dict[str, str]]:
    """The elements of `Forwarded`, in order; none at all when any of them is malformed."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            return
        name, value, end = match.groups()
        elements[-1][name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if end == ",":
            elements.append({})
        at = match.end()
    yield from elements

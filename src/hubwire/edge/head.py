"""
The head of a request: bytes to a value, or a fault with the status to answer. Pure: no socket, no clock.

A head is read twice, here and again by the HTTP server behind, and often a third time by a proxy in front. Whatever
two readers could understand differently is refused instead of repaired, because a disagreement about where a request
ends lets one client speak in the name of the next (request smuggling).

Source: RFC 9112 (sections 2 to 6 and 11.2) and RFC 9110 (sections 5, 7.2, 7.8 and 9.1).
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple, NoReturn

from hubwire.model.errors import HubwireError
from hubwire.model.http import Fields, by_name

__all__ = ["MAX_HEADERS", "Head", "RequestFault", "is_authority", "parse_head", "serialise"]

MAX_HEADERS: Final = 200
"""Header lines of one request. Browsers and SDKs send 5 to 30."""

_MAX_LENGTH_DIGITS = 15  # of Content-Length: far beyond any body, far below what overflows anybody's integer

_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Possessive quantifiers (++, *+) never try again, so hostile heads cost no more than one pass.
_REQUEST_LINE = re.compile(rf"({_TCHAR}++) ([!-~]++) HTTP/([0-9])\.([0-9])")
_BLOCK = re.compile(rf"(?:{_TCHAR}++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+")
_FIELD = re.compile(r"([^:]++):([^\r]*+)\r\n")  # only for what matched _BLOCK
_NAME = re.compile(rf"{_TCHAR}++")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?]*+)(.*+)")
_LENGTH = re.compile(rf"[0-9]{{1,{_MAX_LENGTH_DIGITS}}}")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|[A-Za-z0-9._~-]{1,255})(?::([0-9]{1,5}))?")

# What the HTTP server behind understands as well; it would drop the connection on any other method.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_UPGRADE_ONLY = frozenset({"upgrade", "http2-settings"})


class RequestFault(HubwireError):  # noqa: N818  the name says whose fault it is
    """
    The client broke HTTP, or a bound of ours. It is answered `status`, and the connection ends.

    Args:
        status: 400, 408, 431, 501, 503 or 505.
        reason: generic text for the client, never a copy of what it sent.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head(NamedTuple):
    """
    Attributes:
        method: one of the eight that can be served, as sent.
        target: origin-form (path and query, percent-encoded as sent), or "*"; an absolute-form target without
            its scheme and authority.
        minor: of the HTTP version, 0 or 1.
        headers: name and value (without the blanks around it, read as Latin-1) in the order and spelling of arrival.
        fields: the same by name.
        host: authority that was asked for, lower-case: of an absolute-form target, else of `Host`; empty when an
            HTTP/1.0 client named none.
        length: bytes of body announced by Content-Length; 0 without one.
        chunked: a body in chunks follows; then `length` is 0.
        last: the client wants no further request on this connection.
        websocket: the client asks to speak WebSocket from here on.
        expects_continue: the client waits for "100 Continue" before it sends the body.
        verbatim: what was sent may go to the HTTP server as it is; else `serialise` says what goes there.
    """

    method: str
    target: str
    minor: int
    headers: tuple[tuple[str, str], ...]
    fields: Fields
    host: str
    length: int
    chunked: bool
    last: bool
    websocket: bool
    expects_continue: bool
    verbatim: bool


def parse_head(data: bytes) -> Head:
    """
    Read one whole head.

    Args:
        data: from the first byte of the request line up to and including the empty line that ends the head.

    Raises:
        RequestFault: 400 not HTTP, or ambiguous; 431 too many headers; 501 unknown method; 505 not HTTP/1.
    """
    line, _, block = data.decode("latin-1").partition("\r\n")
    method, target, minor = _request_line(line)
    headers = _headers(block)
    fields = by_name(headers)
    path, authority = _origin_form(method, target)
    host = _host(fields.get("host", ()), authority, minor)
    length, chunked = _framing(minor, fields.get("content-length", ()), fields.get("transfer-encoding", ()))
    options = _members(fields.get("connection", ()))
    upgrades = _members(fields.get("upgrade", ()))
    # An HTTP/1.0 client cannot upgrade: the field is ignored (RFC 9110, 7.8).
    websocket = (
        minor == 1
        and method == "GET"
        and "upgrade" in options
        and any(member.partition("/")[0] == "websocket" for member in upgrades)
    )
    if websocket and (length or chunked):
        raise RequestFault(400, "an upgrade to WebSocket has no body")
    return Head(
        method=method,
        target=path,
        minor=minor,
        headers=headers,
        fields=fields,
        host=host,
        length=length,
        chunked=chunked,
        last=minor == 0 or "close" in options,
        websocket=websocket,
        expects_continue=minor == 1 and "100-continue" in _members(fields.get("expect", ())),
        # A tab is legal white space, but not every parser takes it in every place.
        verbatim=authority is None and not upgrades and _UPGRADE_ONLY.isdisjoint(options) and b"\t" not in data,
    )


def serialise(head: Head) -> bytes:
    """
    The head as a plain HTTP/1 request in origin-form that offers no upgrade.

    Clients that offer HTTP/2 in passing (Java's, curl's) expect an ordinary answer; a parser that sees the offer
    would take the body for the other protocol.
    """
    lines = [f"{head.method} {head.target} HTTP/1.{head.minor}\r\n"]
    for name, value in head.headers:
        lower = name.lower()
        if lower in _UPGRADE_ONLY:
            continue
        kept = value
        if lower == "host":
            kept = head.host
        elif lower == "connection":
            kept = ", ".join(option for option in _members([value]) if option not in _UPGRADE_ONLY)
            if not kept:
                continue
        lines.append(f"{name}: {kept}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


def is_authority(text: str) -> bool:
    """
    Is this a host with an optional port: a name, an IPv4 address, or an IPv6 address in brackets.

    Stricter than RFC 3986: no user, no empty host or port, no punctuation that names of hosts do not have.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return False
    address, port = match.groups()
    if port is not None and int(port) > 65535:
        return False
    if address is not None:
        try:
            IPv6Address(address)
        except AddressValueError:
            return False
    return True


def _request_line(line: str) -> tuple[str, str, int]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RequestFault(400, "malformed request line")
    method, target, major, minor = match.groups()
    if major != "1" or minor not in "01":
        raise RequestFault(505, "HTTP/1.0 and HTTP/1.1 are spoken here")
    if method not in _METHODS:
        raise RequestFault(501, "unknown method")
    return method, target, int(minor)


def _headers(block: str) -> tuple[tuple[str, str], ...]:
    """
    Args:
        block: header lines with their line ends, then the empty line.
    """
    if not block.endswith("\r\n"):
        raise RequestFault(400, "the head has no end")
    fields = block[:-2]
    if _BLOCK.fullmatch(fields) is None:
        _refuse_headers(fields)
    found = _FIELD.findall(fields)
    if len(found) > MAX_HEADERS:
        raise RequestFault(431, f"more than {MAX_HEADERS} headers")
    return tuple([(name, value.strip(" \t")) for name, value in found])


def _refuse_headers(fields: str) -> NoReturn:
    """Find out what is wrong with lines that are no headers, for the person who wrote the client."""
    for line in fields.split("\r\n"):
        name, colon, _ = line.partition(":")
        if "\r" in line or "\n" in line:
            raise RequestFault(400, "a line does not end with CR LF")
        if line[:1] in {" ", "\t"}:
            raise RequestFault(400, "a header is folded over several lines")
        if colon and _NAME.fullmatch(name.rstrip(" \t")) and name[-1:] in {" ", "\t"}:
            raise RequestFault(400, "white space before the colon of a header")
        if line and not (colon and _NAME.fullmatch(name)):
            raise RequestFault(400, "malformed header")
    raise RequestFault(400, "control character in a header, or an empty line among them")


def _members(values: Iterable[str]) -> list[str]:
    """The members of a comma-separated list header, lower-case, empty ones left out."""
    return [member for value in values for part in value.split(",") if (member := part.strip(" \t").lower())]


def _origin_form(method: str, target: str) -> tuple[str, str | None]:
    """The target without scheme and authority; and the authority, if there was one."""
    if "#" in target:
        raise RequestFault(400, "a request target has no fragment")
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not is_authority(match[1]):
        raise RequestFault(400, "malformed request target")
    rest = match[2]
    return rest if rest.startswith("/") else "/" + rest, match[1]


def _host(values: Sequence[str], authority: str | None, minor: int) -> str:
    # Even next to an absolute-form target there is exactly one Host; the target's authority then counts, and Host
    # is ignored (RFC 9112, 3.2 and 3.2.2).
    if len(values) > 1 or (minor == 1 and not values):
        raise RequestFault(400, "exactly one Host is needed")
    if values and not is_authority(values[0]):
        raise RequestFault(400, "malformed Host")
    if authority is not None:
        return authority.lower()
    return values[0].lower() if values else ""


def _framing(minor: int, lengths: Sequence[str], codings: Sequence[str]) -> tuple[int, bool]:
    """Where the body ends: its length, or that it comes in chunks. RFC 9112, 6.3, without its repairs."""
    if codings:
        if lengths:
            raise RequestFault(400, "Content-Length together with Transfer-Encoding")
        if minor == 0:
            raise RequestFault(400, "Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise RequestFault(400, "the only transfer coding is one chunked")
        return 0, True
    if not lengths:
        return 0, False
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise RequestFault(400, "malformed or repeated Content-Length")
    return int(lengths[0]), False

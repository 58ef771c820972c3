"""
What a client of `hubwire proxy` asks for: the head of its request to a host and a port, and whether these lead to the
server. Pure.

Sources: RFC 9110, section 9.3.6 (CONNECT); RFC 9112, sections 2 to 5 (head of a request).
"""

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

from hubwire.cli.faults import BadCommandLine
from hubwire.cli.text import one_line

__all__ = ["NAMES", "VAULTS", "NotServed", "Target", "leads", "parse_head", "parse_name"]

NAMES: Final = (
    "login.microsoftonline.com",
    "login.windows.net",
    "sts.windows.net",
    "management.azure.com",
    "*.webpubsub.azure.com",
    "*.communication.azure.com",
)
"""That lead to the server in any case."""

VAULTS: Final = "*.vault.azure.net"
"""Of these only the server's own Key Vaults lead to it, since programs may need others of the cloud."""

_HTTPS_PORT: Final = 443
_LONGEST_NAME: Final = 253

_TCHAR: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_NAME: Final = r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}"
_REQUEST_LINE: Final = re.compile(rf"({_TCHAR}++) ([!-~]++) HTTP/1\.[01]")
_FIELDS: Final = re.compile(rf"(?:{_TCHAR}++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n")
_TARGET: Final = re.compile(rf"(?:\[([0-9A-Fa-f:.]{{2,45}})\]|({_NAME})\.?):([0-9]{{1,5}})")
_PATTERN: Final = re.compile(rf"((?:\*\.)?{_NAME})\.?")

_PHRASES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class NotServed(Exception):  # noqa: N818  the name says what becomes of the request
    """
    A request that is answered with an error, after which its connection ends.

    Args:
        status: one of 400, 403, 405, 408, 431, 500, 502 and 503.
        text: why, in a line.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text

    def answer(self) -> bytes:
        """As it is sent."""
        body = f"{one_line(self.text)}\n".encode()
        allowed = "Allow: CONNECT\r\n" if self.status == 405 else ""
        head = (
            f"HTTP/1.1 {self.status} {_PHRASES[self.status]}\r\nContent-Type: text/plain; charset=utf-8\r\n{allowed}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


class Target(NamedTuple):
    """
    Attributes:
        host: lower-case, without the dot that may end a name; an IPv6 address without its brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_head(head: bytes) -> Target:
    """
    Read the head of a request.

    Args:
        head: from its first byte up to and including the empty line that ends it.

    Raises:
        NotServed: 400 it is no HTTP, or names no host and port; 405 it asks for something else than CONNECT.
    """
    line, _, fields = head.decode("latin-1").partition("\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None or not _FIELDS.fullmatch(fields):
        raise NotServed(400, "this is no request of HTTP/1.1")
    if found[1] != "CONNECT":
        raise NotServed(405, "this proxy only takes CONNECT: name it in HTTPS_PROXY and nowhere else")
    target = _TARGET.fullmatch(found[2])
    if target is None:
        raise NotServed(400, "CONNECT wants a host and a port, such as example.org:443")
    address, name, port = target.groups()
    if not 1 <= int(port) <= 65535 or (name and len(name) > _LONGEST_NAME):
        raise NotServed(400, "there is no such host or port")
    try:
        return Target(name.lower() if name else str(IPv6Address(address)), int(port))
    except AddressValueError as error:
        raise NotServed(400, "there is no such address") from error


def parse_name(text: str) -> str:
    """
    A name that shall lead to the server, or `*.` and what such names end in; lower-case.

    Raises:
        BadCommandLine: it is neither.
    """
    found = _PATTERN.fullmatch(text)
    if found is None or len(found[1]) > _LONGEST_NAME:
        raise BadCommandLine(f"--name wants a host name, or *.example.org for all below that one, not {text!r}")
    return found[1].lower()


def leads(target: Target, names: Sequence[str]) -> bool:
    """
    Does a target lead to the server.

    Args:
        names: as `parse_name` gives them.
    """
    return target.port == _HTTPS_PORT and any(
        target.host.endswith(name[1:]) if name.startswith("*.") else target.host == name for name in names
    )

"""
Requests that the holder of an access key of a communication service signed with HMAC-SHA256. Pure: the time comes in as
an argument.

What is signed is the request's method, its target, and the headers that the signature names: a date, the host and a
hash of the body. The official clients differ in how they write target and host before they sign them, and proxies may
have rewritten the host, so several spellings of the same request are tried. None of them stands for another request.

Sources: the service's tutorial on signing requests; requests that the official clients of Python and JavaScript send;
the pages of App Configuration on the same scheme, for the window of time and for what the service's own do not say.
"""

import base64
import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Iterator, Mapping
from email.utils import parsedate
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from hubwire.model.communication import CommunicationKeys
from hubwire.model.errors import Unauthorized
from hubwire.model.http import Fields

__all__ = ["CONTENT_HASH", "SCHEME", "SignedRequest", "matching_key"]

SCHEME: Final = "hmac-sha256"
"""Of the Authorization header, in lower case."""

CONTENT_HASH: Final = "x-ms-content-sha256"
"""Header with the hash of the body, in base64."""

_DATES: Final = ("x-ms-date", "date")
_MOST_SIGNED: Final = 32
_PAIRS: Final = re.compile(r"&|,\s*")
_DATE: Final = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_PORT: Final = re.compile(r":(?:80|443)\Z")
_HAS_PORT: Final = re.compile(r":\d*\Z")


class SignedRequest(NamedTuple):
    """
    Attributes:
        method: as sent.
        raw_target: of the request line, as it came: with its query, nothing decoded.
        headers: a character for each byte (Latin-1).
        body_sha256: hash of the body as it came.
        forwarded_host: authority that a trusted proxy was asked for; empty if no such proxy says so.
    """

    method: str
    raw_target: bytes
    headers: Fields
    body_sha256: bytes
    forwarded_host: str = ""


def matching_key(
    request: SignedRequest, keys: CommunicationKeys, now: float, skew_s: float
) -> Literal["primary", "secondary"]:
    """
    With which key a request is signed.

    Args:
        now: seconds since 1970.
        skew_s: how far its date may be off, in either direction; 0 is any date.

    Raises:
        Unauthorized: it is not signed with one of them. The message names the rule, never a part of the request.
    """
    signature, names = _claimed(_single(request, "authorization"))
    values = {name: _single(request, name) for name in names}
    date = next((name for name in _DATES if name in values), None)
    if date is None or "host" not in values or CONTENT_HASH not in values:
        raise Unauthorized("the signature does not cover a date, the host and the hash of the body")
    if skew_s and abs(_seconds(values[date]) - now) > skew_s:
        raise Unauthorized("the date of the request is too far from the server's clock")
    expected = base64.b64encode(request.body_sha256)
    if not hmac.compare_digest(expected, _bytes(values[CONTENT_HASH])):
        raise Unauthorized("the hash of the body is another")
    secrets = _secrets(keys)
    for text in _spellings(request, values):
        for kind, secret in secrets:
            if hmac.compare_digest(base64.b64encode(hmac.digest(secret, text, hashlib.sha256)), signature):
                return kind
    raise Unauthorized("the request is signed with another key, or was changed on its way")


@lru_cache(maxsize=16)
def _secrets(keys: CommunicationKeys) -> tuple[tuple[Literal["primary", "secondary"], bytes], ...]:
    return ("primary", base64.b64decode(keys.primary)), ("secondary", base64.b64decode(keys.secondary))


def _claimed(authorization: str) -> tuple[bytes, tuple[str, ...]]:
    """The signature of the header, and the names of the headers that it covers, in lower case and their order."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() != SCHEME:
        raise Unauthorized("the request is not signed with HMAC-SHA256")
    pairs = [part.partition("=")[::2] for part in _PAIRS.split(rest.strip())]
    found = {name.strip().lower(): value.strip() for name, value in pairs}
    if len(found) < len(pairs):
        raise Unauthorized("the Authorization header says something twice")
    names = _names(found.get("signedheaders", ""))
    # Compared as text: of the bytes alone, several texts would be as good.
    return _bytes(found.get("signature", "")), names


# A client library always signs the same ones.
@lru_cache(maxsize=64)
def _names(listed: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in listed.split(";"))
    if not all(names) or len(set(names)) < len(names) or len(names) > _MOST_SIGNED:
        raise Unauthorized("the Authorization header does not name the signed headers, each once")
    return names


def _single(request: SignedRequest, name: str) -> str:
    """The one value of a header: of two, somebody else might read the other one."""
    values = request.headers.get(name, ())
    if len(values) != 1:
        raise Unauthorized(f"the request has {'two headers' if values else 'no header'} {_shown(name)}")
    return values[0]


def _shown(name: str) -> str:
    """Names come from strangers; those that are demanded are said."""
    return name if name in ("authorization", "host", CONTENT_HASH, *_DATES) else "that the signature covers"


# All requests of a second have the same date.
@lru_cache(maxsize=64)
def _seconds(date: str) -> int:
    # The expression first: the parser reads nearly anything.
    parsed = parsedate(date) if _DATE.fullmatch(date) else None
    if parsed is None:
        raise Unauthorized("the date of the request is not one such as Fri, 20 Nov 2026 13:37:12 GMT")
    try:
        return timegm(parsed)
    except ValueError as error:
        raise Unauthorized("the date of the request is out of range") from error


def _spellings(request: SignedRequest, values: dict[str, str]) -> Iterator[bytes]:
    """The texts that may be signed, the one that is written as it came first."""
    target, host = _origin(request)
    # Before the others are so much as thought of: nearly every request is signed in its first spelling.
    yield _text(request.method, target, {**values, "host": host})
    hosts = list(
        dict.fromkeys(spelling for known in (host, request.forwarded_host) if known for spelling in _hosts(known))
    )
    for written in _targets(target):
        for known in hosts:
            if written != target or known != host:
                yield _text(request.method, written, {**values, "host": known})


def _text(method: str, target: bytes, values: Mapping[str, str]) -> bytes:
    return b"\n".join((_bytes(method), target, _bytes(";".join(values.values()))))


def _origin(request: SignedRequest) -> tuple[bytes, str]:
    """The target without scheme and authority, and the host. Where both name one, it has to be the same."""
    host = _single(request, "host")
    absolute = _ABSOLUTE.fullmatch(request.raw_target)
    if absolute is None:
        return request.raw_target, host
    if absolute[1].lower() != _bytes(host).lower():
        raise Unauthorized("the request's target and its Host header name two hosts")
    rest = absolute[2]
    return rest if rest.startswith(b"/") else b"/" + rest, host


def _hosts(host: str) -> Iterator[str]:
    """
    As it came, and with a slash, as a client of Python signs whose endpoint ends in one; then without the default port,
    or with it: not every client and proxy that signs or forwards it also sends it.
    """
    others = [_PORT.sub("", host)] if _HAS_PORT.search(host) else [f"{host}:443", f"{host}:80"]
    for known in (host, *others):
        yield known
        yield f"{known}/"


def _targets(target: bytes) -> Iterator[bytes]:
    """
    As it came; with its query written as forms are, which is what the client of JavaScript signs; decoded, which is
    what some clients of the service's other APIs sign.
    """
    yield target
    path, mark, query = target.partition(b"?")
    if mark:
        form = urlencode(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True), safe="*")
        again = form.replace("~", "%7E").encode()
        yield path + b"?" + again if again else path
    # A line break would let one part of the text pass for another.
    if b"\n" not in (decoded := unquote_to_bytes(target)):
        yield decoded


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Unauthorized("the request is malformed") from error

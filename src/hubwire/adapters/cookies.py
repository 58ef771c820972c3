"""
Cookies of one connection's event handlers, so that a load balancer in front of them leads its events to the same
handler again.

A cookie goes out with the bytes with which it came. aiohttp's jar, which would be at hand, puts quotes around some
values, takes the date with which most servers delete a cookie (the beginning of 1970) for none, and sends one cookie
of a name only.

Source: RFC 6265, section 5. Of public suffixes those without a dot are known, since handlers are named by the operator.
"""

import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

__all__ = ["HandlerCookies"]

_MOST_COOKIES: Final = 50
_MOST_BYTES: Final = 16 * 1024
_LONGEST: Final = 4096
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_AGE: Final = re.compile(r"-?[0-9]{1,18}")
_BETWEEN_TOKENS: Final = re.compile(r"[\t -/;-@\[-`{-~]+")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY: Final = re.compile(r"[0-9]{1,2}(?![0-9])")
_YEAR: Final = re.compile(r"[0-9]{2,4}(?![0-9])")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class _Cookie(Struct, frozen=True):
    """
    Attributes:
        host_only: for `domain` itself, and not for what is below it.
        expires: seconds since 1970; None for the life of the connection.
    """

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    expires: float | None

    @property
    def size(self) -> int:
        return len(self.name) + len(self.value) + len(self.domain) + len(self.path)

    def goes_to(self, url: SplitResult) -> bool:
        host = url.hostname or ""
        return (
            (host == self.domain or (not self.host_only and _is_below(host, self.domain)))
            and _path_matches(url.path or "/", self.path)
            and (not self.secure or url.scheme == "https")
        )


class HandlerCookies:
    """
    `Cookies`. Once there are 50 of them or 16 KiB, further ones are not kept.

    Args:
        clock: seconds since 1970.
    """

    __slots__ = ("_clock", "_kept")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # In the order in which they were made: one that takes the place of another takes its age, too.
        self._kept: dict[tuple[str, str, str], _Cookie] = {}

    def header(self, url: str) -> str | None:
        if not self._kept:
            return None
        where = _split(url)
        self._forget_expired()
        found = [cookie for cookie in self._kept.values() if cookie.goes_to(where)]
        found.sort(key=lambda cookie: len(cookie.path), reverse=True)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in found) or None

    def keep(self, url: str, lines: Sequence[str]) -> None:
        where = _split(url)
        for line in lines[:_MOST_COOKIES]:
            cookie = _parse(line, where, self._clock())
            if cookie is not None:
                self._put(cookie)

    def copy(self) -> "HandlerCookies":
        copy = HandlerCookies(self._clock)
        copy._kept.update(self._kept)
        return copy

    def _put(self, cookie: _Cookie) -> None:
        self._kept[cookie.name, cookie.domain, cookie.path] = cookie
        self._forget_expired()
        if len(self._kept) > _MOST_COOKIES or sum(each.size for each in self._kept.values()) > _MOST_BYTES:
            del self._kept[cookie.name, cookie.domain, cookie.path]

    def _forget_expired(self) -> None:
        now = self._clock()
        for key in [key for key, each in self._kept.items() if each.expires is not None and each.expires <= now]:
            del self._kept[key]


def _split(url: str) -> SplitResult:
    """What is no URL has no host, and so no cookies."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _parse(line: str, url: SplitResult, now: float) -> _Cookie | None:
    """What a line sets; None if that is no cookie, or not one that the host of `url` may set."""
    try:
        # A response's bytes come as Latin-1, and a request's go as UTF-8.
        text = line.encode("latin-1").decode()
    except UnicodeError:
        return None
    pair, *rest = text.split(";")
    name, separator, value = (part.strip(" \t") for part in pair.partition("="))
    if not (name and separator) or len(pair) > _LONGEST or _CONTROLS.search(text):
        return None
    attributes = {key.strip(" \t").lower(): of.strip(" \t") for key, _, of in (part.partition("=") for part in rest)}
    host = url.hostname
    if not host:
        return None
    domain = attributes.get("domain", "").removeprefix(".").lower() or host
    if domain != host and not (_is_below(host, domain) and "." in domain):
        return None
    path = attributes.get("path", "")
    return _Cookie(
        name,
        value,
        domain,
        host_only=not attributes.get("domain", "").strip(".") or (domain == host and not _may_have_hosts_below(host)),
        path=path if path.startswith("/") else url.path.rpartition("/")[0] or "/",
        secure="secure" in attributes,
        expires=_end(attributes, now),
    )


def _may_have_hosts_below(host: str) -> bool:
    """Neither an address nor a single label, whose neighbours are somebody else's."""
    try:
        ip_address(host)
    except ValueError:
        return "." in host
    return False


def _is_below(host: str, domain: str) -> bool:
    return host.endswith(f".{domain}") and _may_have_hosts_below(host)


def _path_matches(path: str, cookie_path: str) -> bool:
    return path.startswith(cookie_path) and (
        len(path) == len(cookie_path) or cookie_path.endswith("/") or path[len(cookie_path)] == "/"
    )


def _end(attributes: dict[str, str], now: float) -> float | None:
    age = attributes.get("max-age", "")
    if _AGE.fullmatch(age):
        return now + int(age) if int(age) > 0 else 0.0
    return _date(attributes.get("expires", ""))


def _date(text: str) -> float | None:
    """Section 5.1.1: as lenient as servers are careless."""
    clock: tuple[int, int, int] | None = None
    day = year = None
    month = 0
    for token in _BETWEEN_TOKENS.split(text):
        if clock is None and (found := _TIME.match(token)):
            clock = int(found[1]), int(found[2]), int(found[3])
        elif day is None and (found := _DAY.match(token)):
            day = int(found[0])
        elif not month and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (found := _YEAR.match(token)):
            year = int(found[0])
    if clock is None or day is None or year is None:
        return None
    if year < 100:
        year += 1900 if year >= 70 else 2000
    try:
        hour, minute, second = clock
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None

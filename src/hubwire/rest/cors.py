"""
Web pages of other origins, by the rules of the Fetch standard. Pure.

Off until origins are named. Credentials in the sense of that standard (cookies) are never allowed: callers prove
themselves with a header that a page has to add on purpose.
"""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["Cors"]

_Headers = tuple[tuple[str, str], ...]

_PREFLIGHT_S: Final = 3600
_HEADER_LIST: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~, \t]{1,2048}")
_EXPOSED: Final = "x-ms-error-code, x-ms-client-request-id, api-supported-versions, retry-after"


class Cors:
    """
    Args:
        origins: such as "https://app.example"; "*" stands for any; none switches everything off.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._any = "*" in self._origins

    @property
    def on(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: str | None) -> bool:
        """May a page of this origin call; a request without an origin is nobody's page."""
        return origin is not None and (self._any or origin.lower() in self._origins)

    def answer(self, origin: str | None) -> _Headers:
        """What an answer carries, be it a success or a failure."""
        if not self.on:
            return ()
        # The answer differs by origin, also when none came: a cache in between has to know.
        vary = () if self._any else (("vary", "Origin"),)
        if origin is None or not self.allows(origin):
            return vary
        allowed = "*" if self._any else origin
        return (*vary, ("access-control-allow-origin", allowed), ("access-control-expose-headers", _EXPOSED))

    def preflight(self, methods: Iterable[str], asked_headers: str) -> _Headers:
        """What the answer to a preflight carries besides: methods of the path, and the headers that were asked for."""
        headers = (("access-control-allow-methods", ", ".join(methods)), ("access-control-max-age", str(_PREFLIGHT_S)))
        if _HEADER_LIST.fullmatch(asked_headers) is None:
            return headers
        return (*headers, ("access-control-allow-headers", asked_headers))

"""
Errors to answers, in one place and from one table. Pure.

The body of an answer is `{"code", "message", "target", "details"}`. Its content type is problem+json and not
application/json, because the official JavaScript client and its tests count on an error body that the client does not
take apart itself. Sources: ErrorDetail of the data plane's REST definition; the JavaScript client's `hubs.spec.ts`.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from hubwire.model.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotStored,
    PreconditionFailed,
    Refused,
    Throttled,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)

__all__ = ["JSON", "PROBLEM", "BodyLate", "BodyTooLarge", "Fault", "MethodNotAllowed", "fault_of"]

PROBLEM: Final = "application/problem+json; charset=utf-8"
JSON: Final = "application/json; charset=utf-8"


class MethodNotAllowed(Refused):
    """The path exists, and takes only the methods in `allow`."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__(f"This path takes {', '.join(allow)}.", "Method")
        self.allow = allow


class BodyTooLarge(BadRequest):
    """
    The body passes `limit_bytes`.

    Args:
        drained: all of it was read and thrown away, so that the connection can go on.
    """

    def __init__(self, limit_bytes: int, *, drained: bool) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes (see Content-Length).", "Content-Length")
        self.limit_bytes = limit_bytes
        self.drained = drained


class BodyLate(Refused):
    """The next part of the body did not come in time."""


class Fault(Struct, frozen=True):
    """
    An answer that says no.

    Attributes:
        code: also the value of `x-ms-error-code`.
        headers: what this status asks for.
        document: the body, where it is another than the data plane's.
    """

    status: int
    code: str
    message: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    document: Mapping[str, Any] | None = None

    @property
    def content_type(self) -> str:
        """Of the body."""
        return PROBLEM if self.document is None else JSON

    def body(self) -> bytes:
        """The documented error body; at the data plane empty for 401, where callers learn nothing more."""
        if self.document is not None:
            return msgspec.json.encode(self.document)
        if self.status == 401:
            return b""
        document = {"code": self.code, "message": self.message, "target": self.target, "details": []}
        return msgspec.json.encode(document)


_TABLE: Final[dict[type[Exception], tuple[int, str, str]]] = {
    BadRequest: (400, "Error.BadRequest", "The request is malformed."),
    Unauthorized: (401, "Error.Unauthorized", ""),
    Forbidden: (403, "Error.Forbidden", "The caller may not do this."),
    NotFound: (404, "Error.NotFound", "There is no such thing."),
    MethodNotAllowed: (405, "Error.MethodNotAllowed", ""),
    BodyLate: (408, "Error.RequestTimeout", "The body did not arrive in time."),
    Conflict: (409, "Error.Conflict", "The present state stands in the way."),
    PreconditionFailed: (412, "Error.PreconditionFailed", "The stored state is not the expected one."),
    UnsupportedMedia: (415, "Error.UnsupportedMediaType", "The content type is not supported."),
    Throttled: (429, "Error.TooManyRequests", "Too many requests."),
    NotStored: (503, "Error.ServiceUnavailable", "The change could not be stored."),
    Unavailable: (503, "Error.ServiceUnavailable", "The server cannot tell now."),
}
_UNEXPECTED: Final = Fault(500, "Error.InternalServerError", "The server failed to carry out the request.", "Request")


def fault_of(error: Exception) -> Fault:
    """What an error is for the caller. One that the table does not know is ours: a 500 that says nothing about it."""
    for kind in type(error).__mro__:
        if kind in _TABLE:
            status, code, message = _TABLE[kind]
            break
    else:
        return _UNEXPECTED
    assert isinstance(error, Refused)
    text = "" if status == 401 else error.message or message
    return Fault(status, code, text, error.target or "Request", _headers(error))


def _headers(error: Refused) -> tuple[tuple[str, str], ...]:
    match error:
        case Unauthorized():
            return (("www-authenticate", "Bearer"),)
        case MethodNotAllowed():
            return (("allow", ", ".join(error.allow)),)
        case Throttled():
            return (("retry-after", str(max(1, error.retry_after_s))),)
        case BodyLate() | BodyTooLarge(drained=False):
            return (("connection", "close"),)
        case _:
            return ()

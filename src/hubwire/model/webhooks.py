"""
Calls of event handlers, as values: what goes out, what comes back, and why nothing came back.
"""

from typing import Literal

from msgspec import Struct

from hubwire.model.errors import HubwireError

__all__ = ["IncomingResponse", "OutgoingRequest", "WebhookFailed"]


class OutgoingRequest(Struct, frozen=True):
    """
    Attributes:
        url: absolute, http or https, percent-encoded, sent exactly as it is. May hold a secret: never logged.
        headers: in order, in the spelling in which they are sent; values may hold characters beyond ASCII, which are
            sent as UTF-8. No CR, LF or NUL.
        body: its length is sent, also where it is empty and the method is POST.
    """

    method: Literal["OPTIONS", "GET", "POST"]
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"OutgoingRequest({self.method!r}, …)"


class IncomingResponse(Struct, frozen=True):
    """
    Attributes:
        headers: in order, each line by itself; bytes beyond ASCII are read as Latin-1.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """All values of a header, `name` in lower case, one for each line."""
        return [value for key, value in self.headers if key.lower() == name]

    def last(self, name: str) -> str | None:
        """The value of the last line of a header; None where it is absent."""
        values = self.all(name)
        return values[-1] if values else None

    @property
    def succeeded(self) -> bool:
        """Is the status one of 2xx."""
        return 200 <= self.status <= 299


class WebhookFailed(HubwireError):  # noqa: N818
    """
    No response, or none that can be used.

    Args:
        reason: one line for the operator, with what to mend; never a URL, a token or a part of a body.
        kind: what happened. Only "unreachable" (no connection, or one that broke before the response was complete) is
            worth another try.
    """

    def __init__(
        self, reason: str, kind: Literal["unreachable", "timeout", "too large", "refused target", "invalid"]
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind

"""
An attempt to connect, as a value, and the refusal that may be its answer.

Source: as `handshake`.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from hubwire.model.errors import HubwireError
from hubwire.model.http import RequestHead
from hubwire.model.names import HubKey, is_group_name
from hubwire.model.telemetry import CloseCategory

__all__ = ["Attempt", "HandshakeRefused", "PublishMode", "Recovery", "category_of"]

_CATEGORIES: Final = {
    401: CloseCategory.UNAUTHORIZED,
    403: CloseCategory.UNAUTHORIZED,
    500: CloseCategory.SERVICE_TRANSIENT_ERROR,
    429: CloseCategory.THROTTLED,
    503: CloseCategory.SERVICE_RELOAD,
}


def category_of(status: int) -> CloseCategory:
    """
    Under what a client is counted that was refused with an HTTP status.

    Refused connections are counted as closed ones, too: some of the service's categories have no other meaning.
    """
    return _CATEGORIES.get(status, CloseCategory.BAD_REQUEST)


class HandshakeRefused(HubwireError):  # noqa: N818
    """
    The answer instead of 101.

    Attributes:
        status: HTTP status code.
        text: one plain sentence for the client's developer; nothing that came with the request.
        headers: more headers of the answer.
        cause: for the records.
        body, content_type: in place of the text.
    """

    def __init__(
        self,
        status: int,
        text: str,
        headers: Mapping[str, str] | None = None,
        cause: str | None = None,
        body: bytes | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}
        self.cause = cause or text
        self.body = text.encode() if body is None else body
        self.content_type = content_type


class Recovery(Struct, frozen=True):
    """A client that says it was here before."""

    connection_id: str
    token: str

    def __repr__(self) -> str:
        return f"Recovery({self.connection_id!r}, …)"


class PublishMode(Struct, frozen=True):
    """What `webpubsub_mode=sendToGroup` asks of a simple client's connection."""

    group: str
    no_echo: bool


class Attempt(Struct, frozen=True):
    """
    What a client asks for, syntactically sound; nothing is proven yet.

    Attributes:
        path: the canonical path of the endpoint, which is what a token's audience names.
        token: from the query or the header; None if there is none.
        offered: subprotocols in the client's order.
        query: all parameters but the token, for the `connect` event.
        websocket_key: RFC 6455 4.2.1, already checked.
        protocol: whose endpoint it is: "webpubsub" is for all subprotocols and for simple clients, "mqtt" for MQTT,
            which has neither a recovery nor a publish mode in the query.
    """

    hub: HubKey
    path: str
    token: str | None
    offered: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    recovery: Recovery | None
    websocket_key: str
    head: RequestHead
    protocol: Literal["webpubsub", "mqtt"] = "webpubsub"

    def __repr__(self) -> str:
        return f"Attempt({self.hub!r}, offered={self.offered!r}, …)"

    def publish_mode(self) -> PublishMode | None:
        """
        What `webpubsub_mode` and its companions say; names and booleans compare without case, the last one counts.

        Raises:
            HandshakeRefused: 400, a value that the mode does not know.
        """
        if not self.query or self.protocol == "mqtt":
            return None
        last = {name.lower(): value for name, value in self.query}
        mode = last.get("webpubsub_mode", "").lower()
        if mode in ("", "sendevent"):
            return None
        if mode != "sendtogroup":
            raise HandshakeRefused(400, "webpubsub_mode must be sendEvent or sendToGroup.")
        group = last.get("group", "")
        if not is_group_name(group):
            raise HandshakeRefused(400, "webpubsub_mode=sendToGroup needs the name of a group.")
        no_echo = last.get("noecho", "false").lower()
        if no_echo not in ("true", "false"):
            raise HandshakeRefused(400, "noEcho must be true or false.")
        return PublishMode(group, no_echo == "true")

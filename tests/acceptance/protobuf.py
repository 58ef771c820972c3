"""A client of the protobuf subprotocols, made from the schema: there is no official one to be had from a registry."""

from collections.abc import Sequence
from typing import Any, Final

from acceptance.wire import JOIN, SEND, Frame, JsonClient, Target
from protobuf_messages import message_of, request_of

__all__ = ["ANY", "PROTOBUF", "PROTOBUF_RELIABLE", "ProtobufClient"]

PROTOBUF: Final = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE: Final = "protobuf.reliable.webpubsub.azure.v1"

ANY: Final = b"\x0a\x09a.b/c.Any\x12\x02\x08\x01"
"""A `google.protobuf.Any` as its bytes: the name of a type, and a message of it."""


class ProtobufClient(JsonClient):
    """As a `JsonClient`, and frames are in the same shapes; only what goes over the wire is protobuf."""

    def __init__(
        self,
        server: Target,
        hub: str,
        *,
        protocol: str = PROTOBUF,
        roles: Sequence[str] = (JOIN, SEND),
        **more: Any,
    ) -> None:
        super().__init__(server, hub, protocol=protocol, roles=roles, **more)

    def send(self, frame: Frame) -> None:
        self.socket.send(request_of(frame))

    def _read(self) -> Frame:
        payload = self.socket.recv(30)
        assert isinstance(payload, bytes), "a protobuf subprotocol speaks in binary frames"
        return message_of(payload)

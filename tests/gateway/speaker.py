"""Clients of a gateway that speak any of the subprotocols of the service."""

import json
from typing import Any

from doubles import RecordingSink, done, settle
from gateway.house import JSON, RELIABLE, Client, House
from protobuf_messages import message_of, request_of

__all__ = ["KINDS", "PROTOBUF", "PROTOBUF_RELIABLE", "RELIABLE_KINDS", "Speaker", "somebody"]

PROTOBUF = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE = "protobuf.reliable.webpubsub.azure.v1"
RELIABLE_KINDS = [RELIABLE, PROTOBUF_RELIABLE]
KINDS = [JSON, PROTOBUF, *RELIABLE_KINDS]


class Speaker(Client):
    """
    Somebody who speaks any of the subprotocols, in the shapes of JSON.

    Attributes:
        connected: the first message.
    """

    connected: dict[str, Any]

    def written(self, message: dict[str, Any]) -> str | bytes:
        """As it goes over the wire."""
        return request_of(message) if self._is_binary else json.dumps(message)

    def heard(self, sink: RecordingSink | None = None) -> list[dict[str, Any]]:
        """All that one of its sockets has brought, the first one if none is named."""
        read = message_of if self._is_binary else json.loads
        return [read(frame.payload) for frame in (sink or self.sink).frames]

    @property
    def _is_binary(self) -> bool:
        return self.connection.subprotocol in (PROTOBUF, PROTOBUF_RELIABLE)

    async def say(self, *messages: dict[str, Any] | str | bytes) -> list[Any]:
        before = len(self.sink.frames)
        for message in messages:
            payload = self.written(message) if isinstance(message, dict) else message
            await done(self.house.gateway.receive(self.connection, payload))
        await settle()
        return self.heard()[before:]

    @property
    def recovery(self) -> dict[str, str]:
        token = self.connected["reconnectionToken"]
        return {"awps_connection_id": self.connection.id, "awps_reconnection_token": token}


async def somebody(house: House, kind: str = JSON, **more: Any) -> Speaker:
    """A client that was let in and has read that."""
    client = await house.client(kind, **more)
    speaker = Speaker(house, client.connection, client.sink)
    (speaker.connected,) = speaker.heard()
    speaker.sink.forget()
    return speaker

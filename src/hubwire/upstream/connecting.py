"""
Whether a client may connect: what a handler is asked, and what follows if it says no. Pure.

Sources: the service's CloudEvents references, of WebSocket clients (only 400 to 499 is a refusal) and of MQTT clients
(anything but a success is one).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from hubwire.model.webhooks import IncomingResponse
from hubwire.upstream import cloudevents, mqtt_events
from hubwire.upstream.cloudevents import ClientCertificate, ConnectVerdict
from hubwire.upstream.mqtt_events import MqttConnect, MqttRefusal

__all__ = ["ConnectRefused", "ConnectRequest"]


class ConnectRefused(Exception):  # noqa: N818
    """
    A handler does not want a client.

    Attributes:
        status: 400 to 499; for an MQTT client any but 200 to 299.
        body: of its answer; may hold what is not for clients.
        content_type: of the body.
        mqtt: what is said to an MQTT client; None for all others.
    """

    def __init__(self, status: int, body: bytes, content_type: str, mqtt: MqttRefusal | None = None) -> None:
        super().__init__(str(status))
        self.status = status
        self.body = body
        self.content_type = content_type
        self.mqtt = mqtt


class ConnectRequest(Struct, frozen=True):
    """
    What a `connect` event says of a client.

    Attributes:
        query: without the token.
        headers: in their spelling, without credentials.
        subprotocols: that it offers. An MQTT client is said to offer `mqtt` and no other.
        subprotocol: that it gets unless the handler names another one.
        certificates: None where one was asked for and none was shown; an MQTT client is said to have shown none then.
        wanted: is the client still there.
        mqtt: what its CONNECT packet says; None for all others.
    """

    claims: Mapping[str, Any]
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str]
    subprotocol: str | None
    certificates: Sequence[ClientCertificate] | None
    wanted: Callable[[], bool]
    mqtt: MqttConnect | None = None

    def body(self) -> bytes:
        """Of the event."""
        if self.mqtt is None:
            return cloudevents.connect_body(self.claims, self.query, self.headers, self.subprotocols, self.certificates)
        return mqtt_events.mqtt_connect_body(self.claims, self.query, self.headers, self.certificates, self.mqtt)

    def is_refused(self, response: IncomingResponse) -> bool:
        """Does an answer refuse the client on purpose; else the handler fails, unless it succeeds."""
        return 400 <= response.status <= 499 or self.is_refused_by_code(response)

    def is_refused_by_code(self, response: IncomingResponse) -> bool:
        """Does it say so in a code of MQTT; such an answer is one also where others would be asked for again."""
        return self.mqtt is not None and mqtt_events.is_refusal(response, self.mqtt.protocol_version)

    def refusal(self, response: IncomingResponse) -> ConnectRefused:
        """What follows from an answer that is no success."""
        return ConnectRefused(
            response.status,
            response.body,
            response.last("content-type") or "application/octet-stream",
            None if self.mqtt is None else mqtt_events.read_refusal(response, self.mqtt.protocol_version),
        )

    def verdict(self, response: IncomingResponse) -> ConnectVerdict:
        """
        What a success means.

        Raises:
            BadResponse: it cannot mean anything.
        """
        if self.mqtt is None:
            return cloudevents.read_verdict(response.body, self.subprotocols)
        return mqtt_events.read_mqtt_verdict(response.body, self.mqtt.protocol_version)

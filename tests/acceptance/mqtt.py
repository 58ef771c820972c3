"""
MQTT clients for the tests: one of our own on a bare socket, that does what it is told and nothing by itself, and one of
paho-mqtt. Ours sends and reads packets as the package writes them, and bytes as a test wants them.
"""

import ssl
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from acceptance.servers import DEADLINE_S, Server, wait_until
from acceptance.wire import JOIN, SEND, RawClient, Target, metric, rest, signed
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader

__all__ = [
    "EVENTS",
    "SERVER_MESSAGES",
    "VERSIONS",
    "Ended",
    "MqttClient",
    "PahoClient",
    "await_offline",
    "close_all",
    "mqtt_target",
    "mqtt_token",
    "paho_client",
    "refused",
]

VERSIONS: Final = (4, 5)
"""MQTT 3.1.1 and 5.0, by the numbers in their CONNECT packets."""

SERVER_MESSAGES: Final = "$webpubsub/server/messages"
EVENTS: Final = "$webpubsub/server/events"

_BINARY: Final = 2
_CLOSE: Final = 8
_MAX_PACKET_BYTES: Final = 1 << 28

_Kind = TypeVar("_Kind", bound=Packet)


class Ended(NamedTuple):
    """
    How the server ended a connection.

    Attributes:
        code: of its DISCONNECT packet; None if there was none.
        reason: reason string of the packet.
        close_code: of the WebSocket; 1005 is a close frame without a code, 1006 no close frame at all.
    """

    code: int | None
    reason: str | None
    close_code: int


def mqtt_token(
    server: Target,
    hub: str,
    *,
    user: str = "",
    roles: Sequence[str] = (JOIN, SEND),
    groups: Sequence[str] = (),
    port: int | None = None,
    **more: Any,
) -> str:
    """
    An MQTT client's token; it may do everything, unless told otherwise.

    Args:
        port: where the client will connect, if not to the server itself.
        more: further claims and the options of `signed`.
    """
    claims: dict[str, Any] = {"role": list(roles), **more}
    if user:
        claims["sub"] = user
    if groups:
        claims["webpubsub.group"] = list(groups)
    return signed(server, f"http://{server.host}:{port or server.port}/clients/mqtt/hubs/{hub}", **claims)


def mqtt_target(hub: str, token: str | None, query: Iterable[tuple[str, str]] = ()) -> str:
    """The request target of an MQTT client's upgrade."""
    parameters = ([] if token is None else [("access_token", token)]) + list(query)
    return f"/clients/mqtt/hubs/{quote(hub)}" + (f"?{urlencode(parameters)}" if parameters else "")


class MqttClient:
    """
    A client of either version. What comes is kept in order until a test asks for it.

    Attributes:
        version: 4 or 5.
        client_id: as it was sent, or as it was assigned.
        token: that it has shown; "" for none.
        connack: the answer to its CONNECT packet.
        raw: its socket.
    """

    def __init__(
        self,
        server: Target,
        hub: str,
        *,
        version: int = 5,
        client_id: str | None = None,
        clean: bool = True,
        expiry_s: int | None = None,
        keep_alive_s: int = 60,
        will: Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
        properties: Mapping[str, Any] | None = None,
        token: str | None = None,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
        secure: ssl.SSLContext | None = None,
        behind: Sequence[Packet] = (),
        code: int = 0,
        **claims: Any,
    ) -> None:
        """
        Connect, and wait for the answer.

        Args:
            client_id: one of its own unless given; "" leaves it to the server.
            expiry_s: of its session, in 5.0; of no account in 3.1.1, where sessions last unless they are `clean`.
            properties: further ones of the CONNECT, by their names in `Properties`.
            token: "" for none; made of `claims` unless given, which are arguments of `mqtt_token`.
            query, headers: of the upgrade.
            behind: sent in the same WebSocket message as the CONNECT.
            code: that the answer must have; with another one than 0, `connack` is all there is to see.
        """
        self.version = version
        self.client_id = f"c{uuid4().hex}" if client_id is None else client_id
        same = {"version": version, "port": port, "secure": secure, "expiry_s": expiry_s, "token": token, **claims}
        self._again: Callable[..., MqttClient] = partial(MqttClient, server, hub, **same)
        self._waiting: list[Packet] = []
        self._packet_id = 0
        self._reader = PacketReader(_MAX_PACKET_BYTES)
        self._ended: Ended | None = None
        self.token = mqtt_token(server, hub, port=port, **claims) if token is None else token
        target = mqtt_target(hub, self.token or None, query)
        self.raw = RawClient(server, target, protocols=["mqtt"], headers=headers, port=port, secure=secure)
        try:
            assert self.raw.status == 101, (self.raw.status, self.raw.body)
            assert self.raw.headers["sec-websocket-protocol"] == "mqtt"
            wanted = Properties(session_expiry_s=expiry_s, **properties or {}) if version >= 5 else NO_PROPERTIES
            connect = Connect(version, self.client_id, clean, keep_alive_s, will, username, password, wanted)
            self.send(connect, *behind)
            self.connack = self.expect(Connack)
            assert self.connack.code == code, self.connack
            self.client_id = self.connack.properties.assigned_client_id or self.client_id
        except BaseException:
            self.raw.socket.close()
            raise

    def again(self, **changes: Any) -> "MqttClient":
        """The same client on another socket, with what changes; it wants its session back unless told otherwise."""
        return self._again(**{"client_id": self.client_id, "clean": False, **changes})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gone without a word, unless it has said one."""
        self.raw.socket.close()

    @property
    def resumed(self) -> bool:
        """There was a session, and it goes on."""
        return self.connack.session_present

    # Packets

    def next_id(self) -> int:
        """A packet identifier that is not in use."""
        self._packet_id += 1
        return self._packet_id

    def send(self, *packets: Packet) -> None:
        """In one WebSocket message."""
        self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        self.raw.send_frame(_BINARY, data)

    def receive(self) -> Packet:
        """
        The next packet, in the order in which they came.

        Raises:
            EOFError: there is none, since the connection has ended; `ended` says how.
        """
        return self._waiting.pop(0) if self._waiting else self._read()

    def expect(self, kind: type[_Kind]) -> _Kind:
        """The next packet of a kind; what came before it is kept for `receive`."""
        for position, waiting in enumerate(self._waiting):
            if isinstance(waiting, kind):
                del self._waiting[position]
                return waiting
        while not isinstance(packet := self._read(), kind):
            self._waiting.append(packet)
        return packet

    def _read(self) -> Packet:
        """A packet is one WebSocket message, and no more: some libraries cannot read anything else."""
        if self._ended is not None:
            raise EOFError
        try:
            opcode, payload = self.raw.receive_frame()
        except (EOFError, ConnectionError):
            self._ended = Ended(None, None, 1006)
            raise EOFError from None
        if opcode == _CLOSE:
            self._ended = Ended(None, None, struct.unpack("!H", payload[:2])[0] if payload else 1005)
            raise EOFError
        assert opcode == _BINARY, (opcode, payload)
        packets = self._reader.feed(payload)
        assert self._reader.fault is None
        assert len(packets) == 1, packets
        return decode(*packets[0], self.version)

    # What clients do

    def subscribe(self, *topics: str, qos: int = 1, identifier: int | None = None, **options: Any) -> tuple[int, ...]:
        """The codes of the answer. `options` are those of `Filter`."""
        ids = () if identifier is None else (identifier,)
        packet_id = self.next_id()
        filters = tuple(Filter(topic, qos, **options) for topic in topics)
        self.send(Subscribe(packet_id, filters, Properties(subscription_ids=ids) if ids else NO_PROPERTIES))
        answer = self.expect(Suback)
        assert answer.packet_id == packet_id
        return answer.codes

    def unsubscribe(self, *topics: str) -> tuple[int, ...]:
        """The codes of the answer, which has none in 3.1.1."""
        packet_id = self.next_id()
        self.send(Unsubscribe(packet_id, topics))
        answer = self.expect(Unsuback)
        assert answer.packet_id == packet_id
        return answer.codes

    def publish(self, topic: str, payload: bytes = b"", qos: int = 1, retain: bool = False, **properties: Any) -> int:
        """
        Publish, and with QoS 1 and 2 wait until that is done. `properties` by their names in `Properties`.

        Returns:
            the code of the answer; 0 with QoS 0, and in 3.1.1.
        """
        packet_id = self.next_id() if qos else None
        said = Properties(**properties) if properties else NO_PROPERTIES
        self.send(Publish(topic, payload, qos, retain, packet_id=packet_id, properties=said))
        if packet_id is None:
            return 0
        if qos == 1:
            answer = self.expect(Puback)
            assert answer.packet_id == packet_id
            return answer.code
        received = self.expect(Pubrec)
        assert received.packet_id == packet_id
        if received.code >= 0x80:
            return received.code
        self.send(Pubrel(packet_id))
        complete = self.expect(Pubcomp)
        assert (complete.packet_id, complete.code) == (packet_id, 0)
        return received.code

    def acknowledge(self, message: Publish) -> None:
        """Whatever the QoS of a message asks for, to its end."""
        if message.packet_id is None:
            return
        if message.qos == 1:
            self.send(Puback(message.packet_id))
            return
        self.send(Pubrec(message.packet_id))
        assert self.expect(Pubrel) == Pubrel(message.packet_id)
        self.send(Pubcomp(message.packet_id))

    def message(self) -> Publish:
        """The next message, acknowledged."""
        message = self.expect(Publish)
        self.acknowledge(message)
        return message

    def messages(self, count: int) -> list[Publish]:
        return [self.message() for _ in range(count)]

    def ping(self) -> None:
        """Everything that was for us before has come, once this is answered."""
        self.send(Pingreq())
        self.expect(Pingresp)

    def heard(self) -> list[Publish]:
        """All messages up to now, acknowledged."""
        self.ping()
        messages = [packet for packet in self._waiting if isinstance(packet, Publish)]
        self._waiting = [packet for packet in self._waiting if not isinstance(packet, Publish)]
        for message in messages:
            self.acknowledge(message)
        return messages

    # How it ends

    def goodbye(self, code: int = 0, **properties: Any) -> Ended:
        """Say DISCONNECT, and wait until the server has closed the connection."""
        self.send(Disconnect(code, Properties(**properties) if properties else NO_PROPERTIES))
        return self.ended()

    def drop(self) -> None:
        """Reset the connection, as when a device loses its network."""
        self.raw.abort()

    def ended(self) -> Ended:
        """Wait until the server has ended the connection; packets but its DISCONNECT are kept for `receive`."""
        last: Disconnect | None = None
        try:
            while last is None:
                packet = self._read()
                if isinstance(packet, Disconnect):
                    last = packet
                else:
                    self._waiting.append(packet)
            self._waiting.append(self._read())
        except EOFError:
            pass
        assert self._ended is not None, "a packet behind a DISCONNECT"
        if last is None:
            return self._ended
        return Ended(last.code, last.properties.reason_string, self._ended.close_code)


def await_offline(server: Server, count: int = 1) -> None:
    """
    Wait until the server knows that so many clients have lost their sockets. There must be no others: have a server
    for the module, and `close_all` behind each test.
    """
    wait_until(lambda: metric(server, "hubwire_connections_retained") == count, f"{count} sessions without a socket")


def close_all(server: Server, hub: str) -> None:
    """End all sessions of a hub, of those that are offline too."""
    assert rest(server, "POST", f"{hub}/:closeConnections").status == 204


def refused(server: Target, hub: str, code: int, **options: Any) -> Connack:
    """
    The CONNACK that keeps a client out, after which its connection is closed in order.

    Args:
        code: that it must have.
        options: of `MqttClient`.
    """
    with MqttClient(server, hub, code=code, **options) as client:
        assert client.ended() == Ended(None, None, 1000)
        return client.connack


class PahoClient:
    """
    A client of paho-mqtt over WebSocket, with a thread that reads and pings, and all that it has called back.

    Attributes:
        library: its own client.
        connects: code and session present of each CONNACK.
        messages: as they came.
        disconnects: codes of the ends.
    """

    def __init__(self, version: int, client_id: str, **options: Any) -> None:
        protocol = MQTTProtocolVersion(version)
        options = {"clean_session": True, **options} if version < 5 else options
        self.library = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=protocol, transport="websockets", **options
        )
        self.connects: list[tuple[int, bool]] = []
        self.messages: list[paho.MQTTMessage] = []
        self.disconnects: list[int] = []
        self._acknowledged: dict[int, list[int]] = {}
        self.library.on_connect = self._on_connect
        self.library.on_message = lambda _client, _data, message: self.messages.append(message)
        self.library.on_disconnect = self._on_disconnect
        self.library.on_subscribe = self._on_codes
        self.library.on_unsubscribe = self._on_codes
        self.library.on_publish = self._on_code

    def _on_connect(self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        self.connects.append((code.value, flags.session_present))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self.disconnects.append(code.value)

    def _on_codes(self, _client: Any, _data: Any, packet_id: int, codes: Any, _properties: Any) -> None:
        self._acknowledged[packet_id] = [code.value for code in codes]

    def _on_code(self, _client: Any, _data: Any, packet_id: int, code: Any, _properties: Any) -> None:
        self._acknowledged[packet_id] = [code.value]

    def _codes(self, packet_id: int | None) -> list[int]:
        assert packet_id is not None
        wait_until(lambda: packet_id in self._acknowledged, "an acknowledgement")
        return self._acknowledged.pop(packet_id)

    def open(self, host: str, port: int, **options: Any) -> None:
        """Connect; the thread goes on until `end`."""
        self.library.connect(host, port, **options)
        self.library.loop_start()
        wait_until(lambda: bool(self.connects), "a CONNACK")

    def subscribe(self, topic: str, qos: int) -> list[int]:
        return self._codes(self.library.subscribe(topic, qos)[1])

    def unsubscribe(self, topic: str) -> list[int]:
        return self._codes(self.library.unsubscribe(topic)[1])

    def publish(self, topic: str, payload: bytes, qos: int, **options: Any) -> list[int]:
        """The code of the answer, which the library makes up with QoS 0."""
        return self._codes(self.library.publish(topic, payload, qos, **options).mid)

    def received(self, count: int) -> list[paho.MQTTMessage]:
        """All messages, once there are so many; more are a fault."""
        wait_until(lambda: len(self.messages) >= count, f"{count} messages")
        assert len(self.messages) == count
        return self.messages

    def end(self) -> None:
        self.library.disconnect()
        self.library.loop_stop()


@contextmanager
def paho_client(
    server: Target,
    hub: str,
    version: int,
    *,
    client_id: str = "",
    keep_alive_s: int = 60,
    ca: str = "",
    in_header: bool = False,
    prepare: Callable[[paho.Client], None] = lambda _: None,
    options: Mapping[str, Any] | None = None,
    **claims: Any,
) -> Iterator[PahoClient]:
    """
    A client of paho-mqtt that is connected, and leaves in order at the end.

    Args:
        ca: certificate of an authority; with one, go to the HTTPS port.
        in_header: the token stands in a header instead of the path.
        prepare: called before it connects.
        options: of the call that connects.
        claims: arguments of `mqtt_token`.
    """
    token = mqtt_token(server, hub, **claims)
    client = PahoClient(version, client_id)
    if in_header:
        client.library.ws_set_options(path=mqtt_target(hub, None), headers={"Authorization": f"Bearer {token}"})
    else:
        client.library.ws_set_options(path=mqtt_target(hub, token))
    if ca:
        client.library.tls_set(ca)
    prepare(client.library)
    try:
        client.open(server.host, server.https_port if ca else server.port, keepalive=keep_alive_s, **options or {})
        yield client
    finally:
        client.end()
    wait_until(lambda: bool(client.disconnects), "the end of the connection", DEADLINE_S)

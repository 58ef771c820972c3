"""
A client of MQTT that loses its socket again and again, and goes on as the standard wants it of a client: it sends again
what was not acknowledged, and tells what it has had already by packet identifiers alone.

Source: OASIS MQTT 5.0, 4.3 and 4.4.
"""

import asyncio
import random
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from acceptance.mqtt import mqtt_target, mqtt_token
from acceptance.wire import Target
from crash.book import Book
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
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
    decode,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader

__all__ = ["Device", "Wish"]

_FAILED: Final = 0x80
_WINDOW: Final = 40
_DAY_S: Final = 86400
_ANSWER_S: Final = 30.0
_LARGEST: Final = 1 << 28

_Open: TypeAlias = dict[int, tuple[Publish | Pubrel, str]]
"""By packet identifier: what is sent again by the next socket, and the text of the message."""


class Wish(NamedTuple):
    """
    A subscription.

    Attributes:
        topics: that the filter stands for.
        share: name of those who have it together; "" for a client's own.
    """

    filter: str
    topics: frozenset[str]
    qos: int
    share: str = ""


class Device:
    """
    One client.

    Args:
        durable: its session outlives its sockets, and the server; else it begins anew with each.
        wish: what it subscribes to, once.

    Attributes:
        name: its client id.
        subscriber: who hears its messages: itself, or those with whom it shares a subscription.
        connected: it may have a socket.
        ending: it is to come to its end.
        is_in: it has a socket, and the server has answered.
        sessions: that it was told it goes on with.
        retains: does the server say that it keeps messages.
    """

    def __init__(
        self,
        book: Book,
        chance: random.Random,
        name: str,
        *,
        version: int = 5,
        durable: bool = True,
        wish: Wish | None = None,
    ) -> None:
        self._book = book
        self._chance = chance
        self._version = version
        self._durable = durable
        self._wish = wish
        self._open: _Open = {}
        self._received: set[int] = set()
        self._known = False
        self._asked = False
        self._subscribed = asyncio.Event()
        self._unsubscribed = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._window = asyncio.Event()
        self._last_id = 0
        self.name = name
        self.subscriber = name if wish is None or not wish.share else wish.share
        self.connected = True
        self.ending = False
        self.is_in = asyncio.Event()
        self.sessions = 0
        self.retains = False

    async def run(self, server: Target, hub: str) -> None:
        """Have a socket whenever that is possible, until it is to end."""
        while not self.ending:
            if self.connected:
                try:
                    await self._have_socket(server, hub)
                except (OSError, WebSocketException, TimeoutError, EOFError):
                    pass
                finally:
                    self._socket = None
                    self.is_in.clear()
                    self._window.set()
            await asyncio.sleep(self._chance.uniform(0.01, 0.1))

    async def _have_socket(self, server: Target, hub: str) -> None:
        url = f"ws://{server.host}:{server.port}{mqtt_target(hub, mqtt_token(server, hub))}"
        try:
            opened = await connect(
                url, subprotocols=[Subprotocol("mqtt")], compression=None, ping_interval=None, close_timeout=0.1
            )
        except InvalidHandshake:
            return  # the server is on its way in or out
        async with opened as socket:
            reader = PacketReader(_LARGEST)
            expiry = Properties(session_expiry_s=_DAY_S) if self._durable and self._version == 5 else NO_PROPERTIES
            await self._send(socket, Connect(self._version, self.name, not self._durable, 60, None, None, None, expiry))
            first: Connack | None = None
            while True:
                message = await asyncio.wait_for(socket.recv(), _ANSWER_S if first is None else None)
                assert isinstance(message, bytes)
                for head, body in reader.feed(message):
                    packet = decode(head, body, self._version)
                    if first is None:
                        assert isinstance(packet, Connack), packet
                        if packet.code:
                            return
                        first = packet
                        await self._begin(socket, first)
                    else:
                        await self._hear(socket, packet)
                assert reader.fault is None

    async def _begin(self, socket: ClientConnection, connack: Connack) -> None:
        """In: go on with what is open."""
        if self._known and self._durable and not connack.session_present:
            self._book.broken.append(f"the session of {self.name} was promised and is gone")
        if connack.session_present:
            self.sessions += 1
        else:
            # Nothing of an earlier session counts any more; what was not acknowledged stays in doubt.
            self._open.clear()
            self._received.clear()
        self._known = self._durable
        self.retains = connack.properties.retain_available != 0
        self._socket = socket
        for packet, _ in list(self._open.values()):
            await self._send(socket, _again(packet))
        if self._wish is not None and not self._subscribed.is_set():
            if not self._asked:
                self._asked = True
                self._book.subscribe(self.subscriber, self._wish.topics, self._wish.qos, bool(self._wish.share))
            await self._send(socket, Subscribe(1, (Filter(self._wish.filter, self._wish.qos),)))
        self.is_in.set()

    async def _send(self, socket: ClientConnection, *packets: Packet) -> None:
        await socket.send(b"".join(encode(packet, self._version) for packet in packets))

    async def _hear(self, socket: ClientConnection, packet: Packet) -> None:
        match packet:
            case Publish():
                await self._message(socket, packet)
            case Puback(packet_id, code) | Pubrec(packet_id, code):
                await self._acknowledged(socket, packet_id, code, isinstance(packet, Pubrec))
            case Pubcomp(packet_id):
                self._open.pop(packet_id, None)
                self._window.set()
            case Pubrel(packet_id):
                self._received.discard(packet_id)
                await self._send(socket, Pubcomp(packet_id))
            case Suback():
                if packet.codes[0] >= _FAILED:
                    self._book.broken.append(f"{self.name} may not subscribe: {packet.codes[0]:#x}")
                elif not self._subscribed.is_set():
                    self._book.subscribed(self.subscriber)
                    self._subscribed.set()
            case Unsuback():
                self._book.unsubscribed(self.subscriber)
                self._unsubscribed.set()
            case Disconnect():
                raise EOFError
            case _:
                self._book.broken.append(f"{self.name} heard {packet!r}")

    async def _message(self, socket: ClientConnection, packet: Publish) -> None:
        packet_id = packet.packet_id
        text = packet.payload.decode()
        if packet.qos < 2 or packet_id not in self._received:
            self._book.deliver(self.subscriber, text)
        if packet_id is None:
            return
        if packet.qos == 1:
            await self._send(socket, Puback(packet_id))
        else:
            self._received.add(packet_id)
            await self._send(socket, Pubrec(packet_id))

    async def _acknowledged(self, socket: ClientConnection, packet_id: int, code: int, more: bool) -> None:
        """PUBACK, or PUBREC where `more` is to come."""
        packet, text = self._open.get(packet_id, (None, ""))
        if packet is None:
            if more:
                await self._send(socket, Pubrel(packet_id))
            return
        if code >= _FAILED:
            self._book.broken.append(f"{self.name} was refused {text!r}: {code:#x}")
        elif isinstance(packet, Publish):
            self._book.accepted_now(text)
        if more and code < _FAILED:
            self._open[packet_id] = (Pubrel(packet_id), text)
            await self._send(socket, Pubrel(packet_id))
        else:
            del self._open[packet_id]
            self._window.set()

    # What it is told to do.

    async def publish(self, topic: str, qos: int, retain: bool = False) -> None:
        """Send a message of its own, as soon as there is a socket, and room for it."""
        while not self.is_in.is_set() or len(self._open) >= _WINDOW:
            if self.ending:
                return
            self._window.clear()
            if not self.is_in.is_set():
                await self.is_in.wait()
            elif len(self._open) >= _WINDOW:
                await self._window.wait()
        socket = self._socket
        assert socket is not None
        while self._last_id in self._open or not self._last_id:
            self._last_id = self._last_id % 65535 + 1
        packet_id = self._last_id
        text = self._book.publish(self.name, topic, qos)
        packet = Publish(topic, text.encode(), qos, retain, packet_id=packet_id)
        self._open[packet_id] = (packet, text)
        self._last_id = self._last_id % 65535 + 1
        try:
            await self._send(socket, packet)
        except (OSError, WebSocketException):
            pass  # it goes again by the next one, or is in doubt

    async def subscribed(self) -> None:
        """Wait until its subscription is promised."""
        await self._subscribed.wait()

    async def unsubscribe(self) -> None:
        """End its subscription, by the socket that it has now; wait until that is promised, or the socket is gone."""
        wish, socket = self._wish, self._socket
        assert wish is not None
        if socket is None:
            return
        self._book.unsubscribe(self.subscriber)
        try:
            await self._send(socket, Unsubscribe(2, (wish.filter,)))
            waiting = asyncio.ensure_future(self._unsubscribed.wait())
            gone = asyncio.ensure_future(socket.wait_closed())
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            gone.cancel()
        except (OSError, WebSocketException):
            pass

    def lose(self) -> None:
        """Lose the socket, at any moment."""
        if self._socket is not None:
            self._socket.transport.abort()

    @property
    def is_done(self) -> bool:
        """Is everything acknowledged that it has sent."""
        return not self._open


def _again(packet: Publish | Pubrel) -> Packet:
    if isinstance(packet, Pubrel):
        return packet
    return replace(packet, dup=True)

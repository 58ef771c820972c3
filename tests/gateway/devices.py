"""MQTT clients without sockets: what they say is bytes of the standard, what they hear is read as packets."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

from doubles import ALL_ROLES, HUB, RecordingSink, done, head, settle
from hubwire.auth.principals import Principals
from hubwire.gateway.gateway import Gateway
from hubwire.gateway.newcomer import Newcomer
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.packets import Connack, Disconnect, Packet, Publish
from hubwire.protocols.mqtt.session import MqttSession
from protocols.mqtt.pretend import heard
from vectors import mqtt_wire as wire

__all__ = ["URL", "Device"]

URL = f"/clients/mqtt/hubs/{HUB.hub}"


class Server(Protocol):
    """Whoever has a gateway."""

    @property
    def gateway(self) -> Gateway: ...

    @property
    def principals(self) -> Principals: ...


class Device:
    """
    One MQTT client, on one socket after the other.

    Args:
        more: of its upgrade requests' query; `access_token` in place of a good one.

    Attributes:
        sink, newcomer: of the latest socket.
    """

    def __init__(
        self,
        server: Server,
        client_id: str = "device",
        version: int = 5,
        *,
        user_id: str | None = None,
        roles: Sequence[str] = ALL_ROLES,
        groups: Sequence[str] = (),
        **more: str,
    ) -> None:
        self.server = server
        self.client_id = client_id
        self.version = version
        audience = f"http://localhost:8080{URL}"
        token = server.principals.issue_client_token(HUB.resource, audience, user_id, roles, groups, 5)
        self._query = {"access_token": token, **more}
        self.sink = RecordingSink()
        self._newcomer: Newcomer | None = None

    def upgrade(self) -> None:
        """A new socket, behind its 101."""
        gateway = self.server.gateway
        opening = gateway.decide(head(f"{URL}?{urlencode(self._query)}", offers=("mqtt",)))
        assert isinstance(opening, Opening), "nobody is asked before the CONNECT"
        self.sink = RecordingSink()
        assert gateway.begin(opening, self.sink) is None
        self._newcomer = opening.newcomer

    @property
    def newcomer(self) -> Newcomer:
        assert self._newcomer is not None, "it has no socket"
        return self._newcomer

    @property
    def connection(self) -> Connection:
        assert self.newcomer.connection is not None, "it is not in"
        return self.newcomer.connection

    @property
    def session(self) -> MqttSession:
        session = self.connection.session
        assert isinstance(session, MqttSession)
        return session

    @property
    def session_id(self) -> str:
        """By which handlers know its session."""
        assert self.connection.source.session_id is not None
        return str(self.connection.source.session_id)

    @property
    def is_in(self) -> bool:
        return self.newcomer.connection is not None

    def packet(self, *, clean: bool = True, expiry_s: int | None = None, **more: Any) -> bytes:
        """Its CONNECT. Who is not clean is to be kept for as long as may be, unless it says something else."""
        if not clean and expiry_s is None and self.version == 5:
            expiry_s = 0xFFFFFFFF
        return wire.connect(self.version, self.client_id, clean=clean, expiry_s=expiry_s, **more)

    async def connect(self, *behind: bytes, **how: Any) -> list[Packet]:
        """
        Come by a new socket. See `packet`.

        Args:
            behind: packets in the same message as the CONNECT.

        Returns:
            all that it is told to that.
        """
        self.upgrade()
        return await self.send(self.packet(**how) + b"".join(behind))

    async def send(self, *messages: bytes) -> list[Packet]:
        """What one message after the other is answered."""
        before = len(self.heard)
        for message in messages:
            await self._sent(message)
        await settle()
        return self.heard[before:]

    def sending(self, *messages: bytes) -> "asyncio.Task[None]":
        """The same, where something has to wait."""

        async def work() -> None:
            for message in messages:
                await self._sent(message)

        return asyncio.ensure_future(work())

    async def _sent(self, message: bytes) -> None:
        """As the edge does it: only to the connection whose sink this is."""
        gateway, newcomer = self.server.gateway, self.newcomer
        if newcomer.connection is None:
            if self.sink.closed is None:
                await done(gateway.arrive(newcomer, message, self.sink))
        elif newcomer.connection.sink is self.sink:
            await done(gateway.receive(newcomer.connection, message))

    def lose(self, code: int = 1006) -> None:
        """The socket is gone, and there was no goodbye of MQTT."""
        if self.newcomer.connection is None:
            self.newcomer.leave()
        else:
            self.server.gateway.lost(self.newcomer.connection, self.sink, code, CloseCategory.NORMAL)

    @property
    def heard(self) -> list[Packet]:
        """All packets that the latest socket has brought."""
        return heard(b"".join(write.data for write in self.sink.writes), self.version)

    @property
    def connack(self) -> Connack:
        """The first of them."""
        connack = self.heard[0]
        assert isinstance(connack, Connack)
        return connack

    @property
    def farewell(self) -> Disconnect | None:
        """The last of them, if it is a DISCONNECT."""
        last = self.heard[-1]
        return last if isinstance(last, Disconnect) else None

    @property
    def messages(self) -> list[tuple[str, bytes]]:
        """Topics and payloads of what was published to the latest socket."""
        return [(packet.topic, packet.payload) for packet in self.heard if isinstance(packet, Publish)]

    @property
    def code(self) -> int | None:
        """Of the close frame; None while the socket is open."""
        return None if self.sink.closed is None else self.sink.closed[0]

"""Subprotocol name to session: the only file that knows all protocols."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hubwire.protocols import json_reliable, json_v1, protobuf_reliable, protobuf_v1
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.json_v1 import JsonSession
from hubwire.protocols.protobuf_reliable import ReliableProtobufSession
from hubwire.protocols.protobuf_v1 import ProtobufSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Session
from hubwire.protocols.simple import SimpleSession

__all__ = ["QueueLimits", "choose", "create", "simple"]

_FACTORIES: Final[Mapping[str, Callable[[QueueLimits], Session]]] = {
    json_v1.NAME: lambda _: JsonSession(),
    json_reliable.NAME: ReliableJsonSession,
    protobuf_v1.NAME: lambda _: ProtobufSession(),
    protobuf_reliable.NAME: ReliableProtobufSession,
}


def choose(offered: Sequence[str]) -> str | None:
    """The first name in the client's order that we speak; None if there is none."""
    return next((name for name in offered if name in _FACTORIES), None)


def create(subprotocol: str, limits: QueueLimits) -> Session:
    """A session for a name that `choose` returned."""
    return _FACTORIES[subprotocol](limits)


def simple(subprotocol: str | None = None, publish_to: str | None = None, no_echo: bool = False) -> Session:
    """A session for a simple client; see `SimpleSession`."""
    return SimpleSession(subprotocol, publish_to, no_echo)

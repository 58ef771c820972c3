"""
Simple clients: no subprotocol of ours. What they receive is the bare payload; each message they send is one payload.

Source: the service's page on client protocols; the emulator's README for `webpubsub_mode`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hubwire.model.messages import (
    ClientRequest,
    Data,
    DataMessage,
    DirectMessage,
    GroupStateMessage,
    SendEvent,
    SendToGroup,
    ends_stream,
)
from hubwire.protocols.frames import BINARY, TEXT, build_frame
from hubwire.protocols.session import Codec, Unnumbered

__all__ = ["SimpleCodec", "SimpleSession"]

_EVENT: Final = "message"


class SimpleCodec:
    """
    Text and JSON become text frames with the sender's own spelling, everything else binary ones. The end of a stream,
    which has no payload, is nothing.
    """

    __slots__ = ()

    numbers: Final = False
    keeps: Final = False
    numbers_states: Final = False

    def prepare(self, message: DataMessage) -> bytes:
        if ends_stream(message):
            return b""
        data = message.data
        return build_frame(TEXT if data.kind in ("text", "json") else BINARY, data.body)

    def prepare_state(self, message: GroupStateMessage) -> bytes:  # noqa: ARG002  nobody can subscribe
        return b""

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:  # noqa: ARG002  nothing is numbered
        return None


CODEC: Final = SimpleCodec()


class SimpleSession(Unnumbered):
    """
    One simple client.

    Args:
        subprotocol: a name of the application's own that was agreed on by its event handler; else None.
        publish_to: group to which each message goes (`webpubsub_mode=sendToGroup`); None makes each message the
            user event `message`.
        no_echo: leave out the sender itself when publishing.
    """

    __slots__ = ("_no_echo", "_publish_to", "_subprotocol")

    def __init__(self, subprotocol: str | None = None, publish_to: str | None = None, no_echo: bool = False) -> None:
        self._subprotocol = subprotocol
        self._publish_to = publish_to
        self._no_echo = no_echo

    @property
    def codec(self) -> Codec:
        return CODEC

    @property
    def subprotocol(self) -> str | None:
        return self._subprotocol

    def direct(self, message: DirectMessage) -> bytes:  # noqa: ARG002  simple clients are told nothing but payloads
        return b""

    def receive(self, payload: str | bytes) -> Sequence[ClientRequest]:
        data = Data("text", payload.encode()) if isinstance(payload, str) else Data("binary", payload)
        if self._publish_to is None:
            return (SendEvent(_EVENT, data, must_succeed=True),)
        return (SendToGroup(self._publish_to, data, no_echo=self._no_echo, must_succeed=True),)

    def outgoing(self, now: float) -> Sequence[bytes]:  # noqa: ARG002  what is owed is owed now
        return ()

"""
What clients say to the protocol itself, where their subprotocol has words for it. Not compiled, since structs may not
be.
"""

from msgspec import Struct

__all__ = ["PING", "Ping", "SequenceAck"]


class Ping(Struct, frozen=True, gc=False):
    """Asks for a pong."""


class SequenceAck(Struct, frozen=True, gc=False):
    """Everything up to and including this number has arrived."""

    sequence_id: int


PING = Ping()

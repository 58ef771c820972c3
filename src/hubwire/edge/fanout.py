"""
What a fan-out brings to many clients at once: a compiled loop around the system call, past the event loop's own write.

Half of what the event loop's write costs beside the system call is its preparation for what hardly ever happens in a
fan-out, that a socket does not take all at once. Who is not ready for it is written to as ever. Where the loop is not
compiled there is no such way, and each client is written to by itself.
"""

from typing import Final

from hubwire.edge.websocket import ClientProtocol
from hubwire.model.ports import Sink, Spread

try:
    from hubwire.edge import _fanout
except ImportError:
    _COMPILED = False  # the package of pure Python
else:
    _COMPILED = True

__all__ = ["SPREAD", "spread"]


def spread(sinks: list[Sink], frames: list[bytes]) -> None:
    """
    Write to clients that are not paused.

    Args:
        sinks: of clients, each once; `direct` of each is not None. The caller counts the bytes.
        frames: whole ones, for the client at the same position.
    """
    descriptors: list[int] = []
    for sink in sinks:
        assert isinstance(sink, ClientProtocol)
        descriptors.append(sink.descriptor())
    for position, taken in _fanout.send_all(descriptors, frames):
        rest = sinks[position]
        assert isinstance(rest, ClientProtocol)
        rest.write_rest(frames[position], taken)


SPREAD: Final[Spread | None] = spread if _COMPILED else None
"""The compiled way, if there is one."""

"""
Streams that cannot be opened: what is not malformed, so that the client is answered, and not closed.

Source: the client spec, 3.6; the error names that it lists for streams.
"""

from typing import Final

__all__ = ["TO_GROUPS_ONLY", "opening_fault"]

TO_GROUPS_ONLY: Final = "A stream can be opened to a group only."
"""Events and invocations have a place for streams in the schema of the protobuf subprotocols, and nowhere else."""

_UINT32_MAX: Final = (1 << 32) - 1


def opening_fault(idle_timeout_ms: int | None, has_data: bool) -> str | None:
    """
    Why a stream cannot be opened so, for its client; None if it can.

    Args:
        idle_timeout_ms: as the client has it; None for nothing.
        has_data: the request has a payload.
    """
    if has_data:
        return "The request that opens a stream has no data."
    if idle_timeout_ms is not None and not 1 <= idle_timeout_ms <= _UINT32_MAX:
        return "idleTimeoutMs must be a whole number from 1 to 4294967295."
    return None

"""
Memory that the C library holds and nobody uses, given back to the system.

After a burst (ten thousand clients at once, a large fan-out to slow members) the freed blocks lie between those that
are still used. The GNU C library by itself gives back only what is free at the very top of its heap, so a process
keeps the size of its highest peak for ever, and a peak that comes late looks like a leak. Other C libraries have no
such call; with them nothing is done.

Source: malloc_trim(3) and mallinfo2(3) of the GNU C library, 2.33 and newer.
"""

import ctypes
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["Heap", "HeapUse", "heap"]

_WORTH_BYTES: Final = 64 << 20
_WORTH_SHARE: Final = 4
"""Below these, giving back costs more than it brings: pages that are returned are zeroed at their next use."""


class HeapUse(NamedTuple):
    """
    Attributes:
        held_bytes: what the library has of the system, large single blocks apart.
        free_bytes: how much of that nobody uses.
    """

    held_bytes: int
    free_bytes: int


class Heap:
    """
    Args:
        use: how the heap is used now.
        trim: gives back all pages that are wholly free.
    """

    def __init__(self, use: Callable[[], HeapUse], trim: Callable[[], object]) -> None:
        self._use = use
        self._trim = trim

    def give_back(self) -> int:
        """
        Give back free memory if it is worth it: over 64 MiB, and over a quarter of the heap.

        Returns:
            how many bytes were free, those of pages that were given back before included; 0 if it was not worth it.
        """
        held, free = self._use()
        if free <= _WORTH_BYTES or free * _WORTH_SHARE <= held:
            return 0
        self._trim()
        return free


class _MallInfo2(ctypes.Structure):
    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def heap() -> Heap | None:
    """The heap of this process; None where its C library offers no such calls."""
    try:
        library = ctypes.CDLL(None)
        mallinfo2, malloc_trim = library.mallinfo2, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    mallinfo2.restype = _MallInfo2
    malloc_trim.argtypes = (ctypes.c_size_t,)

    def use() -> HeapUse:
        found = mallinfo2()
        return HeapUse(found.arena, found.fordblks)

    return Heap(use, lambda: malloc_trim(0))

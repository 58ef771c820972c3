"""When a process stood still: it was stopped, its machine slept, or others had all the time there was."""

from typing import Final

__all__ = ["STOOD_STILL_S"]

STOOD_STILL_S: Final = 2.0
"""
Seconds. So late is a timer only if the process stood still. What came meanwhile is then to be read first, and the time
counts against nobody.
"""

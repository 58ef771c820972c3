"""
Reliable clients on a road that breaks all the time, while 5,000 numbered messages are published: nothing is lost,
nothing comes twice, and everybody hears the same in the same order.

`HUBWIRE_FAULT_SEEDS=1-20` runs more seeds than the few that belong to the suite. A seed decides what happens on the
road, not how fast the machine is, so it narrows a failure down and need not repeat it.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import aiohttp
import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer
from acceptance.wire import SEND, JsonClient, rest_request
from faults.reliable import ReliableClient
from faults.rough_proxy import KINDS, RoughProxy

MESSAGES: Final = 5000
CLIENTS: Final = 4
LAG: Final = 600
"""Messages that the slowest client may not have acknowledged; of reliable clients the server holds 1,000 each."""


def seeds(default: str) -> list[int]:
    """Numbers and ranges, such as "1,4-6"."""
    found: list[int] = []
    for part in os.environ.get("HUBWIRE_FAULT_SEEDS", default).split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found

"""
The official client libraries on a road that breaks all the time, while 5,000 numbered messages are published.

What the server sent is judged by the bytes that passed the proxy, strictly. The libraries are judged by what they
called back. The JavaScript one must not lose, repeat or reorder anything. The Python ones may not repeat anything, and
may lose only what the record shows to have reached them, or what they gave up a recoverable connection for.
"""

import asyncio
import gc
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest

import acceptance
from acceptance.sdk import Kind, SdkClient
from acceptance.servers import Server, StartServer
from acceptance.wire import JsonClient, client_target, client_token
from faults.publishing import Rest, until
from faults.rough_proxy import RoughProxy
from faults.wire_record import judged
from journeys.seeds import seeds

pytestmark = [
    # The synchronous library leaves the sockets of lost connections to the collector,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    # and its thread that acknowledges dies with a connection that breaks while it writes; another one takes over.
    pytest.mark.filterwarnings(
        r"ignore:Exception in thread .*\(sequence_id_ack_periodically\):pytest.PytestUnhandledThreadExceptionWarning"
    ),
]

MESSAGES: Final = 5000
BURST: Final = 20
PAUSE_S: Final = 0.04
WAIT_S: Final = 30.0
SCRIPT: Final = Path(acceptance.__path__[0]) / "js" / "listen.mjs"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What the library leaves to the collector is collected while its warnings are still ignored."""
    yield
    gc.collect()


class Listener(Protocol):
    """
    A client of one of the libraries.

    Attributes:
        strict: it is known to lose nothing.
    """

    strict: bool

    async def open(self, url: str) -> None: ...

    async def end(self) -> None: ...

    def heard(self) -> list[tuple[str, int]]:
        """Publisher and number of each message that it called back."""

    def connections(self) -> int:
        """How many connections it has had."""


class PythonListener:
    """Each callback runs in a thread or task of its own, so their order says nothing."""

    strict = False

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._client: SdkClient | None = None

    async def open(self, url: str) -> None:
        self._client = SdkClient(self._kind, url, True, {})
        await asyncio.to_thread(self._client.open)

    async def end(self) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.end)

    def heard(self) -> list[tuple[str, int]]:
        assert self._client is not None
        return [(message.data[0], message.data[1]) for message in list(self._client.group_messages)]

    def connections(self) -> int:
        assert self._client is not None
        return len(self._client.connected) + self._client.stopped


class JavaScriptListener:
    """A process of its own, which tells what it hears."""

    strict = True

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, url: str) -> None:
        node = shutil.which("node")
        assert node is not None, "Node.js is needed for the tests of its libraries"
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(node, SCRIPT, url, stdin=pipe, stdout=pipe)
        self._reading = asyncio.get_running_loop().create_task(self._read())
        await until(lambda: self.connections() == 1, lambda: self._told)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._told.append(json.loads(line))

    async def end(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    def heard(self) -> list[tuple[str, int]]:
        return [(told["message"][0], told["message"][1]) for told in self._told if "message" in told]

    def connections(self) -> int:
        return sum("connected" in told or "stopped" in told for told in self._told)


def url(server: Server, hub: str, proxy: RoughProxy) -> str:
    token = client_token(server, hub, user="u", groups=["g"], port=proxy.port)
    return f"ws://{server.host}:{proxy.port}{client_target(hub, token)}"


async def publish(server: Server, hub: str) -> list[tuple[str, int]]:
    """By REST and by a plain client in turn, in bursts, slowly enough for clients that wait a second to come back."""
    order: list[tuple[str, int]] = []
    with JsonClient(server, hub) as plain:
        async with aiohttp.ClientSession() as session:
            rest = Rest(server, hub, session, ["groups/g"])
            for number in range(MESSAGES // 2):
                await rest.publish(["rest", number])
                ack = await asyncio.to_thread(plain.publish, "g", ["plain", number])
                assert ack["success"], ack
                order += [("rest", number), ("plain", number)]
                if number % BURST == 0:
                    await asyncio.sleep(PAUSE_S)
    return order


LISTENERS: Final[dict[str, Callable[[], Listener]]] = {
    "JavaScript": JavaScriptListener,
    "Python": lambda: PythonListener("sync"),
    "Python aio": lambda: PythonListener("aio"),
}


@pytest.mark.parametrize("seed", seeds("1"))
async def test_official_libraries_hear_everything_on_a_road_that_breaks(
    start_server: StartServer, hub: str, seed: int
) -> None:
    """They acknowledge once a second, so the server holds more for them than it does by default."""
    server = start_server("--set", f"reliable_queue_messages={2 * MESSAGES}")
    async with AsyncExitStack() as stack:
        clients: dict[str, tuple[Listener, RoughProxy]] = {}
        for name, listener in LISTENERS.items():
            proxy = RoughProxy(server.host, server.port, f"{seed} {name}", frames=(20, 350), hears=150)
            clients[name] = (listener(), await stack.enter_async_context(proxy))
        for client, proxy in clients.values():
            proxy.calm = True  # a library whose very first connection fails gives up
            stack.push_async_callback(client.end)
            await client.open(url(server, hub, proxy))
            proxy.calm = False
            proxy.cut()

        order = await publish(server, hub)
        for _, proxy in clients.values():
            proxy.calm = True
            proxy.cut()

        def is_done(client: Listener, proxy: RoughProxy) -> bool:
            return len(client.heard()) >= MESSAGES or client.connections() > 1

        # Whoever never hears everything is judged too.
        with suppress(AssertionError):
            await until(lambda: all(is_done(*client) for client in clients.values()), lambda: "all to hear all", WAIT_S)
        for name, (client, proxy) in clients.items():
            judge(name, client, proxy, order)
        strikes = sum((proxy.strikes for _, proxy in clients.values()), Counter[str]())
        assert strikes.total() >= 5, "the road was smoother than it should be"


def judge(name: str, client: Listener, proxy: RoughProxy, order: list[tuple[str, int]]) -> None:
    """First the server, by the record; then the library."""
    records = judged(proxy.links)
    record = next(iter(records.values()))
    sent = [tuple(json.loads(record.messages[number])["data"]) for number in sorted(record.messages)]
    assert sent == order[: len(sent)], f"the server lost or reordered something for {name}"
    assert len(records) > 1 or len(sent) == len(order), f"the server did not send everything to {name}"
    heard = client.heard()
    recoveries = sum(link.answered for link in proxy.links) - len(records)
    print(f"{name}: {recoveries} recoveries, {dict(proxy.strikes)}, heard {len(heard)}, {len(records)} connections")
    assert recoveries >= 2
    repeated = [message for message, times in Counter(heard).items() if times > 1]
    assert not repeated, f"{name} called back twice: {repeated}"
    if client.strict:
        assert heard == order
        assert len(records) == 1
        return
    passed = {tuple(json.loads(record.messages[number])["data"]) for number in record.passed}
    lost = [message for message in order if message not in set(heard)]
    unexcused = [message for message in lost if message not in passed] if len(records) == 1 else []
    if lost:
        print(f"{name} lost {len(lost)} by its own fault, such as {lost[:3]}")
    assert not unexcused, f"{name} did not get {unexcused[:10]}"

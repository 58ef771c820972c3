"""
One crash test from its begin to its end: a server that is killed again and again under load, its clients, and the
verdict.
"""

import asyncio
import itertools
import json
import random
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol
from yarl import URL

from acceptance.mqtt import MqttClient
from acceptance.servers import PROGRAM, Server, free_port
from acceptance.wire import JSON, SEND, client_target, client_token, signed
from crash.book import Book
from crash.device import Device, Wish
from hubwire.protocols.mqtt.packets import Properties

__all__ = ["Plan", "Report", "run"]

_HUB: Final = "crash"
_TOPICS: Final = ("crash/a", "crash/b")
_ALL: Final = frozenset(_TOPICS)
_RETAINED: Final = "crash-retained"
_BEGIN_S: Final = 60.0
_QUIET_S: Final = 10.0
"""Without anything new, after which nobody waits any more for what is promised."""
_WORTH: Final = 200
"""Messages that are accepted before the first kill."""
_ENTRIES: Final = ("session", "subscription", "message", "queued", "received")
_ROOM: Final = ("mqtt_durable_queue_messages=1000000", "mqtt_durable_queue_bytes=1000000000")


class Plan(Struct, frozen=True):
    """
    Attributes:
        kills: how often the server ends, by SIGKILL; each tenth time by SIGTERM.
        load_s: between two of them, at most.
        rate: messages a second of each publisher.
        settings: of the server, as `--set` has them.
        program: what Python runs for it.
    """

    kills: int
    seed: int
    load_s: float = 1.5
    rate: float = 150.0
    settings: tuple[str, ...] = ()
    program: tuple[str, ...] = PROGRAM


class Report(Struct, frozen=True):
    """
    Attributes:
        faults: what was promised and not kept.
        published, accepted, heard: messages.
        resumed: how often a durable client was told that it goes on with its session.
        retained: how often a retained message was there after a restart.
        left: entries of sessions in the journal when all of them have ended.
    """

    faults: Sequence[str]
    published: int
    accepted: int
    heard: int
    resumed: int
    retained: int
    left: dict[str, int]


class _Test:
    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._chance = random.Random(plan.seed)
        self._port = free_port()
        self._server: Server | None = None
        self._publishing = True
        self._retained = 0
        self.book = Book()
        self.publishers = [
            self._device(f"{'kept' if durable else 'clean'}-{qos}-{version}", version=version, durable=durable)
            for durable, qos, version in ((True, 1, 5), (True, 2, 5), (True, 2, 4), (False, 1, 4), (False, 2, 5))
        ]
        self.subscribers = [
            self._subscriber("always-2", "crash/a", 2),
            self._subscriber("always-1", "crash/b", 1, version=4),
            self._subscriber("fickle-2", "crash/b", 2, version=4),
            self._subscriber("fickle-1", "crash/a", 1),
            self._subscriber("away-2", "crash/a", 2),
            self._subscriber("away-1", "crash/b", 1),
        ]
        self.retainer = self._device("retainer")
        self.leaver = self._subscriber("leaver", "crash/a", 2)

    def _device(self, name: str, *, version: int = 5, durable: bool = True, wish: Wish | None = None) -> Device:
        return Device(self.book, self._chance, name, version=version, durable=durable, wish=wish)

    def _subscriber(self, name: str, filter: str, qos: int, version: int = 5) -> Device:
        topics = _ALL if "+" in filter or "#" in filter else frozenset((filter,))
        return self._device(name, version=version, wish=Wish(filter, topics, qos))

    @property
    def _running(self) -> Server:
        assert self._server is not None
        return self._server

    async def _start(self) -> None:
        settings = (*_ROOM, *self._plan.settings)
        options = ["--port", str(self._port), *(part for setting in settings for part in ("--set", setting))]
        data = self._folder / "data"
        self._server = await asyncio.to_thread(Server, self._folder, *options, data=data, program=self._plan.program)

    async def _end(self, number: signal.Signals) -> None:
        server = self._running
        server.signal(number)
        code = await asyncio.to_thread(server.wait)
        expected = 0 if number == signal.SIGTERM else -number
        if code != expected:
            self.book.broken.append(f"the server ended with {code}")
        server.ready_file.unlink(missing_ok=True)

    async def go(self) -> Report:
        await self._start()
        try:
            return await self._go()
        finally:
            self._running.end()

    async def _go(self) -> Report:
        await self._widen()
        devices = [*self.publishers, *self.subscribers, self.retainer, self.leaver]
        async with asyncio.TaskGroup() as clients:
            for device in devices:
                clients.create_task(device.run(self._running, _HUB))
            try:
                await self._load()
                await self._settle()
            finally:
                for device in devices:
                    device.ending = True
                    device.lose()
        faults = list(self.book.faults())
        await asyncio.to_thread(self._end_sessions, devices)
        await self._end(signal.SIGTERM)
        self._running.assert_log_is_clean()
        return Report(
            faults=faults,
            published=self.book.begun,
            accepted=self.book.accepted,
            heard=self.book.heard,
            resumed=sum(device.sessions for device in devices),
            retained=self._retained,
            left=entries(self._folder / "data"),
        )

    async def _load(self) -> None:
        """Publish, and kill the server."""
        for device in (*self.subscribers, self.leaver):
            await asyncio.wait_for(device.subscribed(), _BEGIN_S)
        for device in self.subscribers:
            if device.name.startswith("away"):
                device.connected = False
                device.lose()
        async with asyncio.TaskGroup() as load:
            for device in self.publishers:
                load.create_task(self._publish(device, int(device.name.split("-")[1])))
            for work in (self._retain(), self._publish_json(), self._publish_rest(), self._disturb()):
                load.create_task(work)
            # However slow the machine is: there is something to lose.
            await self._until(lambda: self.book.accepted > _WORTH and self.book.latest("retainer")[0] > 0)
            for number in range(1, self._plan.kills + 1):
                await self._kill(number)
            self._publishing = False

    async def _widen(self) -> None:
        """With wildcards and shared subscriptions, too, where the server has them."""

        def look() -> Properties:
            with MqttClient(self._running, _HUB) as client:
                return client.connack.properties

        offered = await asyncio.to_thread(look)
        if offered.wildcard_available != 0:
            self.subscribers.append(self._subscriber("always-all", "crash/+", 2))
            self.subscribers.append(self._subscriber("away-all", "crash/#", 1))
        if offered.shared_available != 0:
            for qos, topic in ((1, "crash/a"), (2, "crash/b")):
                wish = Wish(f"$share/s{qos}/{topic}", frozenset((topic,)), qos, f"share-{qos}")
                self.subscribers += [self._device(f"fickle-{qos}-{which}", wish=wish) for which in "abc"]

    async def _kill(self, number: int) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, self._plan.load_s))
        how = signal.SIGTERM if number % 10 == 0 else signal.SIGKILL
        await self._end(how)
        self._say(f"{how.name} {number}: {self.book.begun} published, {self.book.accepted} accepted")
        await self._start()
        if number == (self._plan.kills + 1) // 2:
            await self._leave()
        await self._look_at_retained()

    async def _leave(self) -> None:
        await asyncio.wait_for(self.leaver.is_in.wait(), _BEGIN_S)
        await self.leaver.unsubscribe()

    # Load.

    async def _publish(self, device: Device, qos: int) -> None:
        # Each to one topic: in which order two of them are heard, nobody promises.
        topic = self._chance.choice(_TOPICS)
        while self._publishing:
            await device.publish(topic, qos)
            await self._rest()

    async def _retain(self) -> None:
        while self._publishing:
            await self.retainer.publish(_RETAINED, 1, True)
            await self._rest()

    async def _look_at_retained(self) -> None:
        """What was acknowledged last, or came later."""
        if not self.retainer.retains:
            return
        promised, _ = self.book.latest("retainer")

        def look() -> str | None:
            with MqttClient(self._running, _HUB) as client:
                client.subscribe(_RETAINED, qos=1)
                client.ping()
                found = client.heard()
                return found[0].payload.decode() if found else None

        text = await asyncio.to_thread(look)
        number = 0 if text is None else int(text.split()[1])
        self._retained += text is not None
        if number < promised:
            self.book.broken.append(f"of the retained messages {promised} was promised, and {text!r} is there")

    async def _rest(self) -> None:
        await asyncio.sleep(self._chance.expovariate(self._plan.rate))

    async def _publish_json(self) -> None:
        server = self._running
        while self._publishing:
            with suppress(OSError, WebSocketException):
                token = client_token(server, _HUB, roles=[SEND])
                url = f"ws://{server.host}:{server.port}{client_target(_HUB, token)}"
                async with connect(url, subprotocols=[Subprotocol(JSON)], compression=None) as socket:
                    await socket.recv()
                    await self._send_json(socket)
            await asyncio.sleep(0.05)

    async def _send_json(self, socket: ClientConnection) -> None:
        for ack_id in itertools.count(1):
            if not self._publishing:
                return
            text = self.book.publish("json", _TOPICS[0], 1)
            request = {"type": "sendToGroup", "group": _TOPICS[0], "ackId": ack_id, "dataType": "text", "data": text}
            await socket.send(json.dumps(request))
            answer = json.loads(await socket.recv())
            if answer["type"] != "ack":
                return  # the server says goodbye
            if answer != {"type": "ack", "ackId": ack_id, "success": True}:
                self.book.broken.append(f"a JSON client heard {answer}")
            self.book.accepted_now(text)
            await self._rest()

    async def _publish_rest(self) -> None:
        server = self._running
        path = f"/api/hubs/{_HUB}/groups/{quote(_TOPICS[1], safe='')}/:send"
        url = f"http://{server.host}:{server.port}{path}"
        target = URL(f"{url}?api-version=2024-12-01", encoded=True)
        async with aiohttp.ClientSession() as session:
            while self._publishing:
                text = self.book.publish("rest", _TOPICS[1], 1)
                token = signed(server, url)
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with session.post(target, data=text.encode(), headers=headers) as answer:
                        if answer.status == 202:
                            self.book.accepted_now(text)
                        elif answer.status != 503:
                            self.book.broken.append(f"REST answered {answer.status}: {await answer.text()}")
                await self._rest()

    async def _disturb(self) -> None:
        """Sockets are lost at any moment; some clients are away for a while."""
        fickle = [device for device in self.subscribers if device.name.startswith("fickle")]
        while self._publishing:
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))
            device = self._chance.choice([*fickle, *fickle, *self.publishers, *self.subscribers])
            if device in fickle:
                device.connected = self._chance.random() < 0.5
            device.lose()
        for device in fickle:
            device.connected = True

    # The end.

    async def _settle(self) -> None:
        """Everybody comes back, and has what was promised; behind that nothing more is on its way."""
        for device in self.subscribers:
            device.connected = True
        durable = [device for device in self.publishers if "kept" in device.name]
        await self._until(lambda: all(device.is_done for device in durable))
        for topic in _TOPICS:
            await durable[0].publish(topic, 1)
        await self._until(
            lambda: durable[0].is_done and not any(self.book.missing(one.subscriber) for one in self.subscribers)
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Or until nothing new happens any more; then the verdict says what is missing."""
        clock = asyncio.get_running_loop().time
        seen, since = (-1, -1), clock()
        while not condition() and clock() < since + _QUIET_S:
            await asyncio.sleep(0.1)
            now = (self.book.heard, self.book.accepted)
            if now != seen:
                seen, since = now, clock()

    def _end_sessions(self, devices: Sequence[Device]) -> None:
        for device in devices:
            with MqttClient(self._running, _HUB, client_id=device.name, clean=True, expiry_s=0) as client:
                client.ping()


async def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Report:
    """
    Run a crash test.

    Args:
        folder: for the server's data and its log.
        say: is told how it goes, a line at a time.
    """
    return await _Test(plan, folder, say).go()


def entries(data: Path) -> dict[str, int]:
    """How many entries of sessions are in the journal of a server that has ended, by their kinds; none of 0."""
    with closing(sqlite3.connect(data / "journal.db")) as database:
        counts = dict(database.execute("SELECT kind, COUNT(*) FROM entries GROUP BY kind"))
    return {kind: counts[kind] for kind in _ENTRIES if kind in counts}

"""
What happens to a server that is used: clients come and go, some without a word, some back again, some too slow; they
join and leave groups that nobody named before; REST is called rightly and wrongly; strangers knock.

The load is open: what is to happen next is due at its time, however long the server takes for what came before.
"""

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from acceptance.wire import JOIN, JSON, RELIABLE, SEND
from soak.clients import Address, Caller, Client, Refused, exchange, rest_token

__all__ = ["HUB", "Churn"]

HUB: Final = "soak"

_ROOMS: Final = 16
_CALLERS: Final = 32
_TICK_S: Final = 0.01
_OWED_S: Final = 0.5
_PENDING: Final = 500
_SMALLEST: Final = 64
_LARGEST: Final = 64 * 1024
_OVERWHELMING: Final = 1000
"""Messages of the largest size: more than the largest buffers on the way to a client hold together."""
_COME_BACK_S: Final = 5.0
_NEVER: Final = 0.1
"""Of those who could come back do not. What they miss is held for them, so more of them would hide other growth."""
_FORGED: Final = 0.05
_NUMBERS: Final = 2000
"""Users there are. Groups have no end: each joins new ones."""

_Step: TypeAlias = Callable[[], Awaitable[None] | None]

_STRANGERS: Final[list[tuple[bytes, set[int]]]] = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), {400}),
    (b"GET / HTTP/1.1\nHost: x\n\n", {400}),
    (b"GET /client/hubs/soak HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {400}),
    (b"BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n", {501}),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", {400}),
    (b"GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n", {505}),
    (b"POST /api/hubs/soak/:send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", {400, 401}),
    (b"GET /" + b"a" * 70_000, {431}),
]
_UPGRADES: Final[list[tuple[str, int]]] = [
    ("/client/hubs/soak", 401),
    ("/client/hubs/soak?access_token=nothing", 401),
    ("/client/hubs/9lives", 400),
    ("/client/nowhere/soak", 404),
    ("/clients/mqtt/hubs/soak", 400),
    ("/clients/socketio/hubs/soak", 404),
    ("/client/hubs/soak?webpubsub_mode=shout", 401),
]


class Churn:
    """
    Args:
        population: clients that are there on average.
        seed: of everything that is left to chance.

    Attributes:
        clients: those that are connected now, slow ones left out.
        done: how often each thing was done.
        faults: what should not have happened, and how often.
        rate: things to do in a second.
        lag_s: how late the load was at most, since somebody set this to 0.
        skipped: things that were not done because we, not the server, could not keep up.
    """

    def __init__(self, address: Address, population: int, seed: int) -> None:
        self._address = address
        self._population = population
        self._chance = random.Random(seed)
        self._callers = [Caller(address) for _ in range(_CALLERS)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost: list[Client] = []
        self._names = 0
        self._calls = 0
        self.clients: list[Client] = []
        self.done: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.rate = 0.0
        self.lag_s = 0.0
        self.skipped = 0
        self._arriving = 0
        self.received = 0
        # What is done, and how often in relation to the rest.
        self._steps: list[tuple[_Step, int]] = [
            (self._arrive_or_leave, 20),
            (self._come_back, 10),
            (self._join, 10),
            (self._leave_group, 8),
            (self._publish, 20),
            (self._odd_request, 6),
            (self._rest_send, 8),
            (self._rest_membership, 8),
            (self._rest_permission, 5),
            (self._rest_question, 8),
            (self._rest_refused, 6),
            (self._rest_close, 1),
            (self._stranger, 3),
            (self._slow_client, 0),
        ]

    # Time.

    async def run(self, seconds: float) -> None:
        """Do `rate` things a second."""
        loop = asyncio.get_running_loop()
        steps = [step for step, _ in self._steps]
        weights = [weight for _, weight in self._steps]
        end = loop.time() + seconds
        owed, last = 0.0, loop.time()
        while (now := loop.time()) < end:
            owed += (now - last) * self.rate
            self.lag_s = max(self.lag_s, now - last - _TICK_S)
            last = now
            # A machine that gives us no time must not make us ask for ever more of it.
            due = max(min(int(owed), int(self.rate * _OWED_S), _PENDING - len(self._tasks)), 0)
            self.skipped += int(owed) - due
            for step in self._chance.choices(steps, weights, k=due):
                self._do(step)
            owed -= int(owed)
            await asyncio.sleep(_TICK_S)

    async def slow_clients(self, seconds: float, every_s: float) -> None:
        """Let a client that reads nothing be dropped, again and again."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() + every_s < end:
            await asyncio.sleep(every_s)
            self._do(self._slow_client)

    async def stop(self) -> None:
        """Let what is under way come to its end, and all clients go."""
        await self._settle()
        for client in self.clients:
            client.leave(1000)
        await asyncio.gather(*(client.ended for client in self.clients))
        await self._settle()
        for caller in self._callers:
            caller.close()

    async def _settle(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _do(self, step: _Step) -> None:
        self.done[step.__name__.strip("_")] += 1
        waiting = step()
        if waiting is not None:
            self._spawn(self._guarded(waiting))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except Refused as refused:
            self._fault(f"a good client was {refused}")
        except (OSError, EOFError) as error:
            self._fault(f"{type(error).__name__}: a connection ended without an answer")

    def _fault(self, line: str) -> None:
        self.faults[line] += 1

    # Names and payloads.

    def _new_group(self) -> str:
        self._names += 1
        return f"group-{self._names}-{'x' * self._chance.randrange(40)}"

    def _room(self) -> str:
        return f"room{self._chance.randrange(_ROOMS)}"

    def _user(self) -> str:
        return f"user{self._chance.randrange(_NUMBERS)}"

    def _text(self) -> str:
        """64 B to 64 KiB, each power of two as likely as the next."""
        size = math.exp(self._chance.uniform(math.log(_SMALLEST), math.log(_LARGEST)))
        return "0123456789abcdef" * (int(size) // 16)

    def _somebody(self) -> Client | None:
        return self._chance.choice(self.clients) if self.clients else None

    # Clients.

    def _arrive_or_leave(self) -> Awaitable[None] | None:
        if self._chance.random() < len(self.clients) / (2 * self._population):
            self._leave()
            return None
        if self._arriving > self._population:
            return None  # the server has enough to do with those who knock already
        self._arriving += 1
        return self._arrive()

    async def _arrive(self) -> None:
        try:
            await self._connect()
        finally:
            self._arriving -= 1

    async def _connect(self) -> None:
        chance = self._chance
        claims: dict[str, Any] = {"webpubsub.group": [self._room(), self._new_group()]}
        if chance.random() < 0.8:
            claims["sub"] = self._user()
        # Now and then a client that may do nothing, or little.
        claims["role"] = chance.choice(
            [[JOIN, SEND]] * 6 + [[], [f"{SEND}.{self._room()}"], [f"{JOIN}s.group-*", f"{SEND}s.room?"]]
        )
        protocol = chance.choice([JSON, JSON, RELIABLE, RELIABLE, None])
        token = self._address.client_token(HUB, **claims)
        self._watch(await Client.connect(self._address, HUB, self._fault, protocol=protocol, token=token))

    def _watch(self, client: Client) -> None:
        self.clients.append(client)
        client.ended.add_done_callback(lambda _: self._gone(client))

    def _gone(self, client: Client) -> None:
        self.clients.remove(client)
        self.received += client.received
        closed = client.ended.result()
        # By REST, as the answer to a client's own, or what a client's mistake or slowness brings. 1011 is the only way
        # to tell a simple client that nobody handles its event.
        expected = {1000, 1005, 1006, 1007, 1008} | ({1011} if client.protocol is None else set())
        if closed.code not in expected:
            self._fault(f"a client was closed with {closed.code} {closed.reason}")

    def _leave(self) -> None:
        """With a goodbye, without one, or with one that a reliable client may come back from."""
        client = self._somebody()
        if client is None or client.leaving:
            return  # who is lost twice would be recovered twice, and each would miss what the other acknowledged
        client.leaving = True
        way = self._chance.randrange(3)
        if way == 0:
            client.leave(1000)
            return
        if way == 1:
            client.drop()
        else:
            client.leave(None)
        if client.protocol == RELIABLE and client.connection_id:
            self._lost.append(client)

    def _come_back(self) -> Awaitable[None] | None:
        if not self._lost:
            return None
        lost = self._lost.pop(self._chance.randrange(len(self._lost)))
        if self._chance.random() < _NEVER:
            return None
        if self._chance.random() < _FORGED:
            lost.reconnection_token = "forged"
        return self._recover(lost)

    async def _recover(self, lost: Client) -> None:
        await asyncio.sleep(self._chance.uniform(0, _COME_BACK_S))
        await lost.ended
        client = await Client.connect(self._address, HUB, self._fault, protocol=RELIABLE, lost=lost)
        self._watch(client)
        await asyncio.sleep(0.5)
        if client.open and self._chance.random() < 0.3:
            client.send_frame(1, b'{"type":"nonsense"}')  # ends it with 1007

    async def _slow_client(self) -> None:
        """Takes nothing of what it is sent until the server has had enough."""
        protocol = self._chance.choice([JSON, RELIABLE])
        token = self._address.client_token(HUB, sub=f"slow{self._chance.randrange(_NUMBERS)}")
        client = await Client.connect(
            self._address, HUB, self._fault, protocol=protocol, token=token, receive_buffer_bytes=4096
        )
        await client.connected.wait()
        client.stop_reading()
        await self._overwhelm(client.connection_id)
        client.read_on()
        await client.ended
        self.done["slow_client_dropped"] += 1

    async def _overwhelm(self, connection_id: str) -> None:
        """Send to a connection until it is no more."""
        path = f"/api/hubs/{HUB}/connections/{connection_id}"
        payload = b"0" * _LARGEST
        caller = Caller(self._address)
        try:
            for position in range(_OVERWHELMING):
                if position % 8 == 0 and await self._rest("HEAD", path, {200, 404}, caller=caller) == 404:
                    return
                await self._rest("POST", f"{path}/:send", {202}, payload, caller=caller)
        finally:
            caller.close()
        self._fault("a client that reads nothing was never dropped")

    # Requests of clients.

    def _join(self) -> None:
        client = self._somebody()
        if client is not None and client.protocol is not None:
            group = self._new_group()
            client.joined.append(group)
            client.request({"type": "joinGroup", "group": group})

    def _leave_group(self) -> None:
        client = self._somebody()
        if client is not None and client.protocol is not None and client.joined:
            group = client.joined.pop(self._chance.randrange(len(client.joined)))
            client.request({"type": "leaveGroup", "group": group})

    def _publish(self) -> None:
        client = self._somebody()
        if client is None:
            return
        if client.protocol is None:
            if self._chance.random() < 0.05:
                client.send_frame(2, b"an event that nobody handles ends a simple client")
            return
        kind, data = self._chance.choice([("text", self._text()), ("json", {"n": [1, self._text()]})])
        message = {"type": "sendToGroup", "group": self._room(), "dataType": kind, "data": data}
        if self._chance.random() < 0.5:
            client.request({**message, "noEcho": True})
        else:
            client.send(message)

    def _odd_request(self) -> None:
        client = self._somebody()
        if client is None or client.protocol is None:
            return
        match self._chance.randrange(6):
            case 0:
                client.request({"type": "event", "event": "hello", "dataType": "text", "data": "?"})
            case 1:
                client.send({"type": "ping"})
            case 2:
                client.send_frame(9, b"still there?")
            case 3:
                client.send({"type": "joinGroup", "group": "again", "ackId": 0})  # the second time a duplicate
            case 4:
                client.send({"type": "invoke", "invocationId": "i", "target": "event", "event": "e"})
            case _ if self._chance.random() < 0.1:
                client.send_frame(3, b"")  # a reserved opcode ends it with 1002
                client.drop()

    # REST.

    async def _rest(
        self,
        method: str,
        path: str,
        expected: set[int],
        body: bytes = b"",
        *,
        query: str = "",
        content_type: str = "text/plain",
        key: str | None = None,
        caller: Caller | None = None,
    ) -> int:
        self._calls += 1
        caller = caller or self._callers[self._calls % _CALLERS]
        headers = [rest_token(self._address, path, key=key)]
        if body:
            headers.append(f"Content-Type: {content_type}")
        answer = await caller.call(method, f"{path}?api-version=2024-12-01{query}", headers, body)
        if answer.status not in expected:
            self._fault(f"{method} {path.split('/')[4:5]} was answered {answer.status}, not {sorted(expected)}")
        return answer.status

    async def _rest_send(self) -> None:
        base, text = f"/api/hubs/{HUB}", self._text().encode()
        client = self._somebody()
        match self._chance.randrange(5):
            case 0:
                await self._rest("POST", f"{base}/groups/{self._room()}/:send", {202}, text)
            case 1:
                query = f"&filter={quote(chr(39) + self._room() + chr(39))}%20in%20groups"
                await self._rest("POST", f"{base}/:send", {202}, text[:1024], query=query)
            case 2:
                await self._rest("POST", f"{base}/users/{self._user()}/:send", {202}, text)
            case 3 if client is not None and client.connection_id:
                await self._rest("POST", f"{base}/connections/{client.connection_id}/:send", {202}, text)
            case _:
                body = json.dumps({"new": self._new_group()}).encode()
                path = f"{base}/groups/{self._new_group()}/:send"
                await self._rest("POST", path, {202}, body, content_type="application/json")

    async def _rest_membership(self) -> None:
        base, group, client = f"/api/hubs/{HUB}", self._new_group(), self._somebody()
        match self._chance.randrange(5):
            case 0 if client is not None and client.connection_id:
                path = f"{base}/groups/{group}/connections/{client.connection_id}"
                await self._rest("PUT", path, {200, 404})
                await self._rest("DELETE", path, {204})
            case 1:
                path = f"{base}/users/{self._user()}/groups/{group}"
                await self._rest("PUT", path, {200, 404})
                await self._rest("DELETE", path, {204})
            case 2:
                body = json.dumps({"groups": [group, self._new_group()], "filter": "userId eq 'user7'"}).encode()
                for verb in (":addToGroups", ":removeFromGroups"):
                    await self._rest("POST", f"{base}/{verb}", {200}, body, content_type="application/json")
            case 3 if client is not None and client.connection_id:
                client.joined.clear()
                await self._rest("DELETE", f"{base}/connections/{client.connection_id}/groups", {204})
                path = f"{base}/groups/{self._room()}/connections/{client.connection_id}"
                await self._rest("PUT", path, {200, 404})
            case _:
                await self._rest("PUT", f"{base}/groups/{group}/connections/nobody", {404})

    async def _rest_permission(self) -> None:
        client = self._somebody()
        if client is None or not client.connection_id:
            return
        kind = self._chance.choice(["joinLeaveGroup", "sendToGroup"])
        path = f"/api/hubs/{HUB}/permissions/{kind}/connections/{client.connection_id}"
        query = f"&targetName={self._new_group()}"
        await self._rest("PUT", path, {200, 404}, query=query)
        await self._rest("HEAD", path, {200, 404}, query=query)
        if self._chance.random() < 0.7:  # else it is left behind, and must go with its connection
            await self._rest("DELETE", path, {204}, query=query)

    async def _rest_question(self) -> None:
        base, client = f"/api/hubs/{HUB}", self._somebody()
        match self._chance.randrange(5):
            case 0:
                await self._rest("HEAD", f"{base}/groups/{self._room()}", {200, 404})
            case 1:
                await self._rest("HEAD", f"{base}/users/{self._user()}", {200, 404})
            case 2 if client is not None and client.connection_id:
                await self._rest("HEAD", f"{base}/connections/{client.connection_id}", {200, 404})
            case 3:
                await self._rest("GET", f"{base}/groups/{self._room()}/connections", {200}, query="&maxpagesize=5")
            case _:
                await self._rest("POST", f"{base}/:generateToken", {200}, query=f"&userId={self._user()}")

    async def _rest_refused(self) -> None:
        base = f"/api/hubs/{HUB}"
        match self._chance.randrange(8):
            case 0:
                await self._rest("POST", f"{base}/:send", {401}, b"x", key="a key that this server never had, or made")
            case 1:
                await self._rest("GET", f"/api/hubs/{self._new_group()}/nothing", {404})
            case 2:
                await self._rest("POST", f"{base}/:send", {400}, b"x", query="&filter=userId%20gt")
            case 3:
                await self._rest("POST", f"{base}/:addToGroups", {400}, b"[[[", content_type="application/json")
            case 4:
                await self._rest("POST", f"{base}/:send", {415}, b"x", content_type="image/png")
            case 5:
                await self._rest("DELETE", f"{base}/:send", {405})
            case 6:
                await self._rest("HEAD", f"{base}/users/{self._new_group()}", {404})
            case _:
                await self._rest("POST", f"{base}/:send", {400}, bytes(1200 * 1024))

    async def _rest_close(self) -> None:
        client = self._somebody()
        if client is not None and client.connection_id and self._chance.random() < 0.7:
            path = f"/api/hubs/{HUB}/connections/{client.connection_id}"
            await self._rest("DELETE", path, {204}, query="&reason=soak")
        else:
            await self._rest("POST", f"/api/hubs/{HUB}/users/{self._user()}/:closeConnections", {204})

    # Strangers.

    async def _stranger(self) -> None:
        """Somebody who does not speak as he should."""
        chance, address = self._chance, self._address
        match chance.randrange(3):
            case 0:
                wire, expected = chance.choice(_STRANGERS)
            case 1:
                target, status = chance.choice(_UPGRADES)
                expected = {status}
                wire = (
                    f"GET {target} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                ).encode()
            case _:
                # Gone before the end of the head, and now and then before its beginning.
                await exchange(address, b"GET /client/hubs/soak HTTP/1.1\r\nHost"[: chance.randrange(40)], cut=True)
                return
        answer = await exchange(address, wire)
        if int(answer[9:12] or 0) not in expected:
            self._fault(f"a stranger was answered {answer[:40]!r}, not {sorted(expected)}")

"""
Connection ids of any text: an MQTT client chooses its own, and every operation reaches it by that, and nobody else.
"""

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from doubles import RecordingSink, VirtualLoop, connection, done, settle
from hubwire.adapters.bus_memory import MemoryExchange
from hubwire.cluster.node import Node
from hubwire.hub.connection import Connection
from hubwire.model.messages import Connected
from hubwire.protocols.json_v1 import JsonSession
from rest.asgi import Reply, World

IDS = [
    "mqttjs_8d1f2a3b",
    "Fühler 7",
    "датчик-12",
    "🐙",
    "e\u0301",
    "it's 'quoted'",
    'a"b\\c',
    "a+b c",
    "a&b=c",
    "a;b,c",
    "a%2Fb",
    "tenant/alice",
    "a?b#c",
    "<script>",
    "\u202eflipped",
    " ",
    ":send",
    "groups",
    "connections",
    "...",
    "x" * 128,
    "ü" * 128,
]
PLANE = "/api/hubs/chat"


class Picky(JsonSession):
    """Takes no group that is called "+", as a session of MQTT does not."""

    def takes(self, group: str) -> bool:
        return group != "+"


class House:
    """The application on a real node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.node = Node(MemoryExchange().bus(), self.world.telemetry, VirtualLoop())
        monkeypatch.setattr(self.world.node, "ask", self.node.ask)
        monkeypatch.setattr(self.world.node, "execute", self.node.execute)
        self.sinks: dict[str, RecordingSink] = {}

    async def connect(self, connection_id: str, *groups: str, user_id: str | None = None) -> Connection:
        one = connection(Picky(), user_id, id=connection_id)
        self.sinks[connection_id] = RecordingSink()
        await done(self.node.attach(one, groups, self.sinks[connection_id], one.session.direct(Connected(one.id))))
        return one

    async def call(self, method: str, path: str, text: str = "", **query: Any) -> Reply:
        """A path below the hub and a query that is not encoded yet; what it leads to has happened."""
        body = text.encode()
        target = f"{PLANE}{path}?{urlencode(query, doseq=True, quote_via=quote)}"
        reply = await self.world.call(method, target, body=body, content_type="text/plain" if body else None)
        await settle()
        return reply

    def heard(self) -> dict[str, list[str]]:
        return {connection_id: sink.data for connection_id, sink in self.sinks.items() if sink.data}


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(monkeypatch)
    await house.connect("another", "g", user_id="u")
    return house


def place(connection_id: str) -> str:
    return f"/connections/{quote(connection_id, safe='')}"


@pytest.mark.parametrize("connection_id", IDS)
async def test_operation_on_a_connection_reaches_it_by_its_id_alone(house: House, connection_id: str) -> None:
    here, member = place(connection_id), f"/groups/g{place(connection_id)}"
    permission = f"/permissions/sendToGroup{here}"
    assert (await house.call("HEAD", here)).status == 404
    assert (await house.call("PUT", member)).status == 404
    one = await house.connect(connection_id)

    assert (await house.call("HEAD", here)).status == 200
    assert (await house.call("PUT", member)).status == 200
    assert list(one.groups) == ["g"]
    assert (await house.call("POST", f"{here}/:send", "hello")).status == 202
    assert house.heard() == {connection_id: ["hello"]}
    assert (await house.call("DELETE", permission, targetName="g")).status == 204
    assert (await house.call("HEAD", permission, targetName="g")).status == 404
    assert (await house.call("PUT", permission, targetName="g")).status == 200
    assert (await house.call("HEAD", permission, targetName="g")).status == 200
    assert (await house.call("DELETE", member)).status == 204
    assert not one.groups
    assert (await house.call("PUT", member)).status == 200
    assert (await house.call("DELETE", f"{here}/groups")).status == 204
    assert not one.groups
    assert (await house.call("DELETE", here, reason="bye")).status == 204
    assert (await house.call("HEAD", here)).status == 404
    assert (await house.call("HEAD", place("another"))).status == 200


@pytest.mark.parametrize("connection_id", IDS)
async def test_filter_names_a_connection_by_its_id(house: House, connection_id: str) -> None:
    await house.connect(connection_id)
    literal = "'" + connection_id.replace("'", "''") + "'"

    for number, filter in enumerate((f"connectionId eq {literal}", f"connectionId in ('nobody', {literal})")):
        assert (await house.call("POST", "/:send", str(number), filter=filter)).status == 202
    assert house.heard() == {connection_id: ["0", "1"]}
    assert (await house.call("POST", "/:send", "2", filter=f"connectionId ne {literal}")).status == 202
    assert house.heard() == {connection_id: ["0", "1"], "another": ["2"]}


@pytest.mark.parametrize("connection_id", IDS)
async def test_connection_is_excluded_by_its_id(house: House, connection_id: str) -> None:
    await house.connect(connection_id, "g")
    await house.connect("third", "g")

    assert (await house.call("POST", "/:send", "1", excluded=[connection_id, "third"])).status == 202
    assert (await house.call("POST", "/groups/g/:send", "2", excluded=[connection_id])).status == 202
    assert house.heard() == {"another": ["1", "2"], "third": ["2"]}
    assert (await house.call("POST", "/:closeConnections", excluded=[connection_id])).status == 204
    assert (await house.call("HEAD", place(connection_id))).status == 200
    assert (await house.call("HEAD", place("third"))).status == 404


@pytest.mark.parametrize("size", [1, 2, 7, 200])
async def test_pages_of_a_group_name_every_member_once_and_in_order(house: House, size: int) -> None:
    for connection_id in IDS:
        await house.connect(connection_id, "g ü")
    listed: list[str] = []
    reply = await house.call("GET", "/groups/g%20%C3%BC/connections", maxpagesize=size)
    while True:
        page = reply.json
        assert len(page["value"]) <= size
        listed += [item["connectionId"] for item in page["value"]]
        if page["nextLink"] is None:
            break
        link = urlsplit(page["nextLink"])
        assert link.query.isascii()
        assert parse_qs(link.query)["maxpagesize"] == [str(size)]
        reply = await house.world.call("GET", f"{link.path}?{link.query}")

    assert listed == sorted(IDS)


@pytest.mark.parametrize("connection_id", IDS)
async def test_refusal_says_what_is_wrong_and_repeats_no_strangers_text(house: House, connection_id: str) -> None:
    await house.connect(connection_id)
    replies = [
        await house.call("PUT", f"/groups/{quote('+')}{place(connection_id)}"),
        await house.call("PUT", f"/groups/g{place(connection_id + '!')}"),
        await house.call("PUT", f"/permissions/nothing{place(connection_id)}", targetName="g"),
    ]

    assert [reply.status for reply in replies] == [400, 404, 400]
    for reply in replies:
        told = json.loads(reply.body)
        assert told["code"] == reply.headers["x-ms-error-code"]
        if len(connection_id) > 3:
            assert connection_id not in told["message"]


async def test_group_that_a_connection_cannot_take_is_told_of_it_alone(house: House) -> None:
    """Here every node's answer counts, and nobody is in the group afterwards."""
    one = await house.connect("датчик", user_id="u")

    assert (await house.call("PUT", f"/groups/%2B{place('датчик')}")).status == 400
    assert (await house.call("PUT", "/users/u/groups/%2B")).status == 200
    reply = await house.world.call(
        "POST", f"{PLANE}/:addToGroups", body=b'{"groups":["+","h"]}', content_type="application/json"
    )
    assert reply.status == 200
    assert list(one.groups) == ["h"]
    assert (await house.call("HEAD", "/groups/%2B")).status == 404


@pytest.mark.parametrize("raw", ["%FF", "%E4", "%ED%A0%80", "%", "%2"])
async def test_id_that_is_no_text_is_refused(house: House, raw: str) -> None:
    assert (await house.call("HEAD", f"/connections/{raw}")).status == 400

"""Retained messages over HTTP: lists, single ones, and clearing them."""

import asyncio
from typing import Any

import pytest

from doubles import MemoryJournal, settle
from hubwire.cluster.commits import Commits
from hubwire.cluster.retained import Retained
from hubwire.model.messages import Data, GroupMessage, Publication
from hubwire.model.names import HubKey
from hubwire.rest.retained import RetainedTable
from rest.asgi import Reply, World

HUB = HubKey("default", "chat")
ALL = "/hubwire/hubs/Chat/retained"
NOW = 1_700_000_000.0


class Keeping:
    """A server that keeps messages."""

    def __init__(self) -> None:
        self.now = NOW
        self.journal = MemoryJournal()
        self.retained = Retained(Commits(self.journal), now=lambda: self.now)
        self.world = World(more=RetainedTable(self.retained).operations())

    def keep(self, topic: str, payload: bytes = b"x", **more: Any) -> None:
        user_id = more.pop("user_id", None)
        publication = Publication(more.pop("qos", 1), "device", retain=True, **more)
        self.retained.keep(HUB, GroupMessage(topic, Data("binary", payload), user_id, publication=publication))

    async def call(self, method: str, path: str = ALL) -> Reply:
        return await self.world.call(method, path)

    @property
    def topics(self) -> list[str]:
        return [kept.message.group for kept in self.retained.matching(HUB, "#")]


@pytest.fixture
def server() -> Keeping:
    return Keeping()


async def test_list_says_everything_but_the_payload(server: Keeping) -> None:
    server.keep(
        "site/door",
        b"open",
        qos=2,
        user_id="alice",
        content_type="text/plain",
        is_text=True,
        response_topic="r",
        correlation_data=b"\0",
        user_properties=(("a", "1"), ("a", "2")),
        expiry_s=60,
    )
    server.keep("site/lamp", b"\xff")
    server.now += 10

    reply = await server.call("GET")

    assert reply.status == 200
    assert reply.json == {
        "value": [
            {
                "topic": "site/door",
                "qos": 2,
                "payloadBytes": 4,
                "publishedAt": "2023-11-14T22:13:20+00:00",
                "clientId": "device",
                "userId": "alice",
                "expiresInSeconds": 50,
                "contentType": "text/plain",
                "payloadFormatIndicator": 1,
                "responseTopic": "r",
                "correlationData": "AA==",
                "userProperties": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}],
            },
            {
                "topic": "site/lamp",
                "qos": 1,
                "payloadBytes": 1,
                "publishedAt": "2023-11-14T22:13:20+00:00",
                "clientId": "device",
            },
        ],
        "after": None,
        "messages": 2,
        "bytes": server.retained.counts(HUB)[1],
    }


async def test_pages_of_a_list_hold_each_message_once(server: Keeping) -> None:
    for topic in "edcba":
        server.keep(topic)

    pages, after = [], ""
    while True:
        page = (await server.call("GET", f"{ALL}?limit=2&after={after}")).json
        pages.append([row["topic"] for row in page["value"]])
        if page["after"] is None:
            break
        after = page["after"]

    assert pages == [["a", "b"], ["c", "d"], ["e"]]


async def test_last_page_may_be_full(server: Keeping) -> None:
    server.keep("a")
    server.keep("b")

    page = (await server.call("GET", f"{ALL}?limit=2")).json

    assert (len(page["value"]), page["after"]) == (2, None)


async def test_list_has_a_hundred_unless_more_are_asked_for(server: Keeping) -> None:
    for number in range(101):
        server.keep(f"{number:03}")

    assert len((await server.call("GET")).json["value"]) == 100
    assert len((await server.call("GET", f"{ALL}?limit=1000")).json["value"]) == 101


async def test_filter_picks_topics(server: Keeping) -> None:
    for topic in ("a", "a/b", "a/b/c", "b"):
        server.keep(topic)

    for query, topics in (("a/%23", ["a", "a/b", "a/b/c"]), ("%2B/b", ["a/b"]), ("b", ["b"]), ("x", [])):
        reply = await server.call("GET", f"{ALL}?filter={query}")
        assert [row["topic"] for row in reply.json["value"]] == topics


async def test_hub_where_nothing_is_kept_has_an_empty_list(server: Keeping) -> None:
    reply = await server.call("GET", "/hubwire/hubs/other/retained")

    assert reply.json == {"value": [], "after": None, "messages": 0, "bytes": 0}


@pytest.mark.parametrize(("payload", "text"), [(b"open", "open"), (b"\xff", None), ("ü".encode(), "ü")])
async def test_one_message_has_its_payload(server: Keeping, payload: bytes, text: str | None) -> None:
    server.keep("a/b", payload)

    document = (await server.call("GET", f"{ALL}/a%2Fb")).json

    assert (document["topic"], document.get("text")) == ("a/b", text)
    assert document["payload"] == {b"open": "b3Blbg==", b"\xff": "/w=="}.get(payload, "w7w=")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_topic_for_which_nothing_is_kept_is_not_found(server: Keeping, method: str) -> None:
    server.keep("over", expiry_s=1)
    server.now += 1

    for topic in ("a", "over"):
        reply = await server.call("GET", f"{ALL}/{topic}")
        assert (reply.status, reply.headers["x-ms-error-code"]) == (404, "Error.NotFound")


async def test_one_message_is_cleared(server: Keeping) -> None:
    server.keep("a/b")
    server.keep("a")

    assert (await server.call("DELETE", f"{ALL}/a%2Fb")).status == 204
    assert (await server.call("DELETE", f"{ALL}/a%2Fb")).status == 404
    assert server.topics == ["a"]


async def test_what_a_filter_means_is_cleared(server: Keeping) -> None:
    for topic in ("a", "a/b", "b"):
        server.keep(topic)

    assert (await server.call("DELETE", f"{ALL}?filter=a/%23")).json == {"cleared": 2}
    assert server.topics == ["b"]
    assert (await server.call("DELETE", f"{ALL}?filter=%23")).json == {"cleared": 1}
    assert server.topics == []


@pytest.mark.parametrize("path", [ALL, f"{ALL}/", f"{ALL}?filter="])
async def test_all_are_not_cleared_by_mistake(server: Keeping, path: str) -> None:
    """As when the topic of a path is empty."""
    server.keep("a")

    reply = await server.call("DELETE", path)

    assert reply.status in (400, 404, 405)
    assert server.topics == ["a"]


async def test_answer_comes_when_it_is_on_the_disk(server: Keeping) -> None:
    server.keep("a")
    server.journal.fail("the disk is full")

    for path in (f"{ALL}/a", f"{ALL}?filter=%23"):
        waiting = asyncio.ensure_future(server.call("DELETE", path))
        await settle()
        assert not waiting.done()
        server.journal.mend()
        assert (await waiting).status in (200, 204)
        server.keep("b")
        server.journal.fail("again")
    server.journal.mend()


@pytest.mark.parametrize(
    "path",
    [
        "/hubwire/hubs/1/retained",
        f"{ALL}?filter=a%23",
        f"{ALL}?filter=",
        f"{ALL}?limit=0",
        f"{ALL}?limit=1001",
        f"{ALL}/%20",
    ],
)
async def test_bad_names_and_parameters_are_refused(server: Keeping, path: str) -> None:
    reply = await server.call("GET", path)

    assert reply.status == 400


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", ALL, "group/read"),
        ("GET", f"{ALL}/a", "group/read"),
        ("DELETE", f"{ALL}/a", "group/send/action"),
        ("DELETE", f"{ALL}?filter=%23", "group/send/action"),
    ],
)
async def test_caller_needs_a_token_and_its_role(server: Keeping, method: str, path: str, action: str) -> None:
    server.keep("a")

    assert (await server.world.call(method, path, token=None)).status == 401
    assert server.topics == ["a"]
    await server.call(method, path)
    assert server.world.principals.actions == [action] * 2


async def test_local_operator_needs_no_token(server: Keeping) -> None:
    server.keep("a")

    assert (await server.world.operate("DELETE", f"{ALL}/a")).status == 204

"""Retained messages of all hubs: in the journal and out of it again, their time, their end, and pages of them."""

import asyncio
import logging

import msgspec
import pytest

from doubles import HUB, MemoryJournal, settle
from hubwire.adapters.journal_sql import open_journal
from hubwire.cluster.commits import Commits
from hubwire.cluster.retained import Retained
from hubwire.hub.retained import RetainedLimits
from hubwire.model.errors import Conflict
from hubwire.model.messages import Data, GroupMessage, Publication
from hubwire.model.names import HubKey

OTHER = HubKey("default", "other")
ELSEWHERE = HubKey("elsewhere", "chat")
LATER = 1_700_000_000.0


class Server:
    """What one process has of them."""

    def __init__(
        self, journal: MemoryJournal | None = None, now: float = LATER, limits: RetainedLimits | None = None
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.now = now
        self.retained = Retained(Commits(self.journal), limits or RetainedLimits(), lambda: self.now)

    def keep(self, topic: str, text: str = "x", expiry_s: int | None = None, hub: HubKey = HUB) -> None:
        publication = Publication(1, "me", expiry_s=expiry_s, retain=True)
        self.retained.keep(hub, GroupMessage(topic, Data("binary", text.encode()), None, publication=publication))

    def topics(self, topic_filter: str = "#", hub: HubKey = HUB) -> list[str]:
        return [kept.message.group for kept in self.retained.matching(hub, topic_filter)]


async def restarted(server: Server, after_s: float = 0.0) -> Server:
    """The next process on the same journal."""
    await server.retained.written()
    later = Server(server.journal, server.now + after_s)
    await later.retained.load()
    return later


FULL = GroupMessage(
    "a/ü",
    Data("json", b'{"a": 1}'),
    "alice",
    {"name": "value"},
    Publication(2, "me", "application/json", True, "r", b"\0c", (("name", "value"), ("name", "again")), 60, True),
)


async def test_everything_of_a_message_is_there_after_a_restart() -> None:
    server = Server()
    server.retained.keep(HUB, FULL)

    later = await restarted(server, 20)

    [kept] = later.retained.matching(HUB, "a/ü")
    assert kept.message == msgspec.structs.replace(FULL, retained=True)
    assert (kept.kept_at, kept.expires_at) == (LATER, LATER + 60)
    message, left_s = later.retained.told(kept)
    assert left_s == 40
    assert message.publication is not None
    assert message.publication.expiry_s == 40


async def test_messages_are_there_after_a_restart_on_a_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('journal')}/journal.db"
    journal = await open_journal(url)
    first = Retained(Commits(journal))
    first.keep(HUB, FULL)
    first.keep(HUB, msgspec.structs.replace(FULL, group="gone"))
    first.forget(HUB, "gone")
    await first.written()
    await journal.close()

    journal = await open_journal(url)
    second = Retained(Commits(journal))
    await second.load()
    await journal.close()

    assert [kept.message.group for kept in second.matching(HUB, "#")] == ["a/ü"]


async def test_hubs_and_resources_are_told_apart() -> None:
    server = Server()
    for hub in (HUB, OTHER, ELSEWHERE):
        server.keep("a/b", hub.hub + hub.resource, hub=hub)

    later = await restarted(server)

    for hub in (HUB, OTHER, ELSEWHERE):
        [kept] = later.retained.matching(hub, "a/b")
        assert kept.message.data.body.decode() == hub.hub + hub.resource


async def test_what_was_cleared_is_gone_after_a_restart() -> None:
    server = Server()
    server.keep("a")
    server.keep("b")
    server.keep("a", "")

    assert (await restarted(server)).topics() == ["b"]


async def test_what_was_over_meanwhile_is_gone_after_a_restart() -> None:
    server = Server()
    server.keep("short", expiry_s=10)
    server.keep("long", expiry_s=11)

    later = await restarted(server, 10)

    assert later.topics() == ["long"]
    await later.retained.written()
    assert [key for _, key in server.journal.kept] == ["default/chat/long"], "and from the journal"


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("default/chat/a", b""),
        ("default/chat/a", b"\xc1"),
        ("default/chat/a", msgspec.msgpack.encode([1.0, ["other", "text", b"x", None, None, {}, {}]])),
        ("default/chat/a", msgspec.msgpack.encode([1.0, ["a", "text", b"x", None, None, {}, None]])),
        ("default/chat/a", msgspec.msgpack.encode([1.0, ["a", "text", b"", None, None, {}, {}]])),
        ("default/chat/a", msgspec.msgpack.encode([1.0, [None, "text", b"x", None, None, {}, {}]])),
        ("default/chat/a", msgspec.msgpack.encode([1.0, ["a", "sound", b"x", None, None, {}, {}]])),
        ("default/chat/a", msgspec.msgpack.encode([1.0, ["a", "text", b"x", "soon", None, {}, {}]])),
        ("chat", msgspec.msgpack.encode([1.0, ["a", "text", b"x", None, None, {}, {}]])),
        ("", b"\x93"),
    ],
)
async def test_damaged_entry_is_named_and_left_out(key: str, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.keep("b")
    server.journal.put("retained", key, body)

    with caplog.at_level(logging.WARNING, "hubwire.retained"):
        later = await restarted(server)

    assert later.topics() == ["b"]
    assert repr(key) in caplog.text
    later.keep("a", "anew")
    assert later.topics() == ["b", "a"]


async def test_entry_that_another_version_has_made_longer_is_read() -> None:
    server = Server()
    message = ["a", "text", b"x", None, None, {}, {"qos": 1, "retain": True, "more": 1}, "more"]
    server.journal.put("retained", "default/chat/a", msgspec.msgpack.encode([1.0, message, "more"]))

    assert (await restarted(server)).topics() == ["a"]


async def test_all_are_read_however_many_there_are() -> None:
    server = Server()
    for number in range(1201):
        server.keep(str(number))

    assert (await restarted(server)).retained.counts(HUB) == server.retained.counts(HUB)


async def test_more_than_may_be_kept_now_are_read() -> None:
    server = Server()
    server.keep("a")
    server.keep("b")
    await server.retained.written()
    later = Server(server.journal, limits=RetainedLimits(1))

    await later.retained.load()

    assert later.topics() == ["a", "b"]
    with pytest.raises(Conflict):
        later.keep("c")


def test_without_a_journal_they_are_kept_in_memory() -> None:
    retained = Retained()
    retained.keep(HUB, FULL)

    assert retained.get(HUB, "a/ü") is not None
    assert retained.forget(HUB, "a/ü")
    assert retained.get(HUB, "a/ü") is None


async def test_waiting_ends_when_everything_is_written() -> None:
    server = Server()
    await server.retained.written()
    server.journal.fail("the disk is full")
    server.keep("a")
    waiting = asyncio.ensure_future(server.retained.written())
    await settle()
    assert not waiting.done()

    server.journal.mend()
    await waiting

    assert [key for _, key in server.journal.kept] == ["default/chat/a"]


# Their time


async def test_sweep_takes_away_what_is_over_and_makes_room() -> None:
    server = Server(limits=RetainedLimits(2))
    server.keep("a", expiry_s=5)
    server.keep("b", expiry_s=15)

    server.now += 5
    assert server.topics() == ["b"], "nobody is told, swept or not"
    assert server.retained.get(HUB, "a") is None
    assert server.retained.counts(HUB)[0] == 2
    server.keep("c", hub=OTHER)

    assert server.retained.sweep() == (2, server.retained.counts(HUB)[1] + server.retained.counts(OTHER)[1])
    assert server.retained.counts(HUB)[0] == 1
    assert server.retained.forget(OTHER, "c")
    await server.retained.written()
    assert [key for _, key in server.journal.kept] == ["default/chat/b"]
    server.keep("c")
    assert server.topics() == ["b", "c"]


async def test_room_is_made_without_a_sweep_too() -> None:
    server = Server(limits=RetainedLimits(1))
    server.keep("a", expiry_s=5)
    server.now += 5

    server.keep("b")

    assert server.topics() == ["b"]


async def test_sweep_goes_on_where_it_stopped() -> None:
    server = Server()
    for number in range(1201):
        server.keep(str(number), expiry_s=1)
    server.now += 1

    rounds = 0
    while server.retained.counts(HUB)[0]:
        server.retained.sweep()
        rounds += 1

    assert rounds == 3
    await server.retained.written()
    assert server.journal.kept == {}


# Their end


async def test_filter_forgets_what_it_means() -> None:
    server = Server()
    for topic in ("a", "a/b", "a/b/c", "b"):
        server.keep(topic)
    server.keep("a/b", hub=OTHER)

    assert await server.retained.forget_all(HUB, "a/#") == 3
    assert await server.retained.forget_all(HUB, "a/#") == 0

    assert (server.topics(), server.topics(hub=OTHER)) == (["b"], ["a/b"])
    await server.retained.written()
    assert [key for _, key in server.journal.kept] == ["default/chat/b", "default/other/a/b"]


async def test_resource_leaves_nothing() -> None:
    server = Server()
    for hub in (HUB, OTHER, ELSEWHERE):
        server.keep("a", hub=hub)

    await server.retained.forget_resource("default")

    assert (server.topics(), server.topics(hub=OTHER), server.topics(hub=ELSEWHERE)) == ([], [], ["a"])


def test_refusal_is_news_once_until_there_is_room_again() -> None:
    server = Retained(None, RetainedLimits(1))
    server.keep(HUB, FULL)
    more = msgspec.structs.replace(FULL, group="more")

    for is_news in (True, False):
        with pytest.raises(Conflict):
            server.keep(HUB, more)
        assert server.is_news(HUB) == is_news

    server.forget(HUB, FULL.group)
    server.keep(HUB, FULL)
    with pytest.raises(Conflict):
        server.keep(HUB, more)
    assert server.is_news(HUB)


# Pages


async def test_pages_are_in_order_of_topics_and_go_on_after_one() -> None:
    server = Server()
    for topic in ("b", "a/c", "a", "ä", "a/b", "B"):
        server.keep(topic)

    def page(after: str, limit: int, topic_filter: str = "#") -> list[str]:
        return [kept.message.group for kept in server.retained.page(HUB, topic_filter, after, limit)]

    assert page("", 10) == ["B", "a", "a/b", "a/c", "b", "ä"]
    assert page("", 2) == ["B", "a"]
    assert page("a", 2) == ["a/b", "a/c"]
    assert page("zz", 2) == ["ä"]
    assert page("", 10, "a/+") == ["a/b", "a/c"]
    assert server.retained.page(HubKey("no", "hub"), "#", "", 5) == []

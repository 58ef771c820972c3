"""A short crash test, and whether the checker sees what it has to see."""

import os
from pathlib import Path
from typing import Final

import pytest

from crash.book import Book
from crash.run import Plan, run

COMPILED: Final = os.environ.get("HUBWIRE_EXPECT") == "compiled"

HASTY: Final = (
    "-c",
    "from hubwire.adapters import journal_sql; from hubwire.cli.main import main; from hubwire.hub.gate import Gate; "
    "journal_sql._ROUND_S = 0.3; Gate.hold = lambda *_: None; main()",
)
"""A server that acknowledges before anything is on the disk, and takes its time for that, so that each kill tells."""


@pytest.mark.parametrize(("fsync", "kills"), [("always", 4), ("interval", 2)])
async def test_what_was_acknowledged_survives_being_killed(tmp_path: Path, fsync: str, kills: int) -> None:
    """With QoS 1 at least once, with QoS 2 exactly once, in order; sessions and subscriptions, too."""
    report = await run(Plan(kills, 20261128, settings=(f"journal_fsync={fsync}",)), tmp_path)

    assert report.faults == []
    assert report.left == {}
    assert report.resumed > 5 * kills
    assert report.retained > 0
    assert report.published > report.accepted > 200
    assert report.heard > report.accepted


@pytest.mark.skipif(COMPILED, reason="nothing in compiled modules can be replaced")
async def test_server_that_acknowledges_too_early_is_found_out(tmp_path: Path) -> None:
    report = await run(Plan(kills=4, seed=1, program=HASTY), tmp_path)

    assert any("which was accepted" in fault for fault in report.faults)


# The book


@pytest.fixture
def book() -> Book:
    """One subscriber, who has its subscription."""
    book = Book()
    book.subscribe("s", frozenset(["t"]), 2)
    book.subscribed("s")
    return book


def test_everything_that_came_once_is_right(book: Book) -> None:
    for qos in (1, 2):
        text = book.publish("p", "t", qos)
        book.accepted_now(text)
        book.deliver("s", text)
    book.accepted_now(book.publish("p", "another topic", 2))

    assert list(book.faults()) == []
    assert (book.begun, book.accepted, book.heard, book.latest("p")) == (3, 3, 2, (3, 3))


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_accepted_and_never_came_is_a_fault(book: Book, qos: int) -> None:
    text = book.publish("p", "t", qos)
    assert list(book.faults()) == [], "that was not promised"

    book.accepted_now(text)
    assert list(book.faults()) == ["s never heard 'p 1', which was accepted"]
    assert book.missing("s") == ["p 1"]


def test_what_came_twice_is_a_fault_where_exactly_once_was_promised(book: Book) -> None:
    for qos in (1, 2):
        text = book.publish("p", "t", qos)
        book.deliver("s", text)
        book.deliver("s", text)

    assert list(book.faults()) == ["s heard 'p 2' 2 times"]


def test_subscriber_who_asked_for_less_may_hear_it_twice() -> None:
    book = Book()
    book.subscribe("s", frozenset(["t"]), 1)
    text = book.publish("p", "t", 2)
    book.deliver("s", text)
    book.deliver("s", text)

    assert list(book.faults()) == []


def test_what_was_sent_before_a_subscription_was_promised_may_come_or_not() -> None:
    book = Book()
    before = book.publish("p", "t", 1)
    book.accepted_now(before)
    book.subscribe("s", frozenset(["t"]), 2)
    meanwhile = book.publish("p", "t", 1)
    book.subscribed("s")
    book.accepted_now(meanwhile)
    assert list(book.faults()) == []

    book.deliver("s", meanwhile)
    assert list(book.faults()) == []


def test_what_was_sent_after_the_end_of_a_subscription_must_not_come(book: Book) -> None:
    before = book.publish("p", "t", 1)
    book.unsubscribe("s")
    book.accepted_now(before)
    book.unsubscribed("s")
    assert list(book.faults()) == []
    after = book.publish("p", "t", 1)
    book.accepted_now(after)
    assert list(book.faults()) == []

    book.deliver("s", before)
    book.deliver("s", after)
    assert list(book.faults()) == ["s heard 'p 2', which it had no subscription for any more"]


def test_what_comes_in_another_order_is_a_fault(book: Book) -> None:
    texts = [book.publish("p", "t", 1) for _ in range(3)]
    others = [book.publish("q", "t", 1) for _ in range(2)]
    for text in (texts[0], others[1], texts[2], texts[0], texts[1]):
        book.deliver("s", text)

    assert list(book.faults()) == ["s heard 'p 2' behind number 3 of the same publisher"]


def test_shared_subscription_has_no_order_of_its_own_and_each_message_once() -> None:
    book = Book()
    for _ in range(2):
        book.subscribe("s", frozenset(["t"]), 2, shared=True)
    book.subscribed("s")
    texts = [book.publish("p", "t", 2) for _ in range(3)]
    for text in texts:
        book.accepted_now(text)
    for text in (texts[1], texts[0], texts[1]):
        book.deliver("s", text)

    assert list(book.faults()) == ["s never heard 'p 3', which was accepted", "s heard 'p 2' 2 times"]


def test_what_nobody_sent_is_a_fault(book: Book) -> None:
    book.deliver("s", "p 7")

    assert list(book.faults()) == ["s heard 'p 7', which nobody sent"]


def test_what_was_wrong_at_once_is_a_fault(book: Book) -> None:
    book.broken.append("the session of s was promised and is gone")

    assert list(book.faults()) == ["the session of s was promised and is gone"]

"""One connection as a source of events."""

import msgspec

from doubles import HUB, KEYS
from hubwire.model.hubs import AccessKeys
from hubwire.upstream.cloudevents import sign
from hubwire.upstream.sources import EventSource, JournalledSource


def source() -> EventSource:
    return EventSource(HUB, "c1", "hub.example", "u", "p")


def test_events_are_numbered_from_1_since_0_is_that_of_connect() -> None:
    of = source()

    assert [of.next_id() for _ in range(3)] == [1, 2, 3]
    assert source().next_id() == 1


def test_signature_is_made_once_and_anew_where_the_keys_are_others() -> None:
    of = source()
    made: list[AccessKeys] = []

    def signed(connection_id: str, keys: AccessKeys) -> str:
        made.append(keys)
        return sign(connection_id, keys)

    assert of.signature(KEYS, signed) == of.signature(KEYS, signed) == sign("c1", KEYS)
    rotated = AccessKeys(KEYS.primary, "another secondary key for tests, 32 bytes")
    assert of.signature(rotated, signed) == sign("c1", rotated)
    assert of.signature(KEYS, signed) == sign("c1", KEYS)
    assert made == [KEYS, rotated, KEYS]


def test_journal_keeps_what_it_takes_to_tell_the_end() -> None:
    of = source()
    of.state = ""

    entry = of.journal_entry()
    of.ended = (7, "why")
    ended = of.journal_entry()

    assert entry == JournalledSource("default", "chat", "c1", "hub.example", "u", "p", "")
    assert (ended.event_id, ended.reason) == (7, "why")
    for each in (entry, ended):
        assert msgspec.json.decode(msgspec.json.encode(each), type=JournalledSource) == each


def test_entry_of_somebody_about_whom_little_is_known_is_small() -> None:
    """There may be a hundred thousand of them."""
    anonymous = EventSource(HUB, "c1", "h").journal_entry()

    assert msgspec.json.decode(msgspec.json.encode(anonymous)) == {
        "resource": "default",
        "hub": "chat",
        "connection_id": "c1",
        "origin": "h",
    }

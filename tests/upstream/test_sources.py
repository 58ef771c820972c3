"""One connection as a source of events."""

import msgspec

from doubles import HUB, KEYS
from hubwire.model.hubs import AccessKeys
from hubwire.upstream.cloudevents import sign
from hubwire.upstream.sources import Ended, EventSource, JournalledSource, MqttEnding


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
    of.ended = Ended(7, "why")
    ended = of.journal_entry()

    assert entry == JournalledSource("default", "chat", "c1", "hub.example", "u", "p", "")
    assert (ended.event_id, ended.reason) == (7, "why")
    for each in (entry, ended):
        assert msgspec.json.decode(msgspec.json.encode(each), type=JournalledSource) == each


def test_journal_keeps_what_it_takes_to_tell_the_end_of_an_mqtt_session() -> None:
    of = EventSource(HUB, "dev", "hub.example", "u", None, "p1", "s1")
    of.state = "x"
    of.ended = Ended(7, "why", MqttEnding(True, 4, (("n", "v"), ("n", "w"))))

    entry = msgspec.json.decode(msgspec.json.encode(of.journal_entry()), type=JournalledSource)
    again = EventSource.of(entry)

    assert (again.hub, again.connection_id, again.origin, again.user_id) == (HUB, "dev", "hub.example", "u")
    assert (again.subprotocol, again.physical_id, again.session_id, again.state) == ("mqtt", "p1", "s1", "x")
    assert again.ended == of.ended
    assert again.journalled
    assert again.journal_key() == of.journal_key()


def test_entry_of_a_connection_that_was_in_has_no_end() -> None:
    assert EventSource.of(source().journal_entry()).ended is None


def test_entry_that_was_written_before_there_were_mqtt_clients_can_be_read() -> None:
    entry = msgspec.json.decode(
        b'{"resource":"default","hub":"chat","connection_id":"c1","origin":"h","event_id":3,"reason":"why"}',
        type=JournalledSource,
    )

    of = EventSource.of(entry)

    assert (of.physical_id, of.session_id, of.ended) == (None, None, Ended(3, "why"))
    assert of.journal_key() == "default/chat/c1"


def test_each_session_of_one_mqtt_client_is_kept_by_itself_in_the_journal() -> None:
    one, two = (EventSource(HUB, "dev", "h", physical_id="p", session_id=session) for session in ("s1", "s2"))

    assert one.journal_key() != two.journal_key()


def test_subprotocol_of_an_mqtt_client_is_known_before_anybody_was_asked() -> None:
    assert EventSource(HUB, "dev", "h", physical_id="p").subprotocol == "mqtt"
    assert EventSource(HUB, "c1", "h").subprotocol is None


def test_entry_of_somebody_about_whom_little_is_known_is_small() -> None:
    """There may be a hundred thousand of them."""
    anonymous = EventSource(HUB, "c1", "h").journal_entry()

    assert msgspec.json.decode(msgspec.json.encode(anonymous)) == {
        "resource": "default",
        "hub": "chat",
        "connection_id": "c1",
        "origin": "h",
    }

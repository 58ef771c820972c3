"""Streams of one connection: order, acknowledgements, silence, ends, and what outlives a socket."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from hubwire.hub.streams import Outcome, Streams
from hubwire.model.messages import (
    Data,
    EndStream,
    KeepStream,
    OpenStream,
    StreamAck,
    StreamClosed,
    StreamError,
    StreamFragment,
    StreamInfo,
    StreamNack,
    StreamRequest,
)

NOW: Final = 1000.0
END: Final = Data("text", b"")


def data(text: str) -> Data:
    return Data("text", text.encode())


class Publisher:
    """Streams of a client, at a time that the test sets."""

    def __init__(self, limit: int = 3, survives: bool = True) -> None:
        self.streams = Streams(limit, survives)
        self.now = NOW
        self.allows: Callable[[str], bool] = lambda _: True

    def say(self, *requests: StreamRequest) -> list[Outcome]:
        return [self.streams.heard(request, self.allows, self.now) for request in requests]

    def open(self, stream_id: str = "s", **more: object) -> None:
        (outcome,) = self.say(OpenStream("g", stream_id, **more))  # type: ignore[arg-type]
        assert outcome.answer == StreamAck(stream_id, 1)

    def refusal(self, request: StreamRequest) -> tuple[str, str]:
        """Name and text with which a request is refused, after which nothing is published."""
        (outcome,) = self.say(request)
        assert outcome.info is None
        assert isinstance(outcome.answer, StreamClosed)
        error = outcome.answer.error
        assert error is not None
        assert error.message is not None
        return error.name, error.message

    def published(self, *numbers: int, stream_id: str = "s") -> list[int]:
        """Numbers of what is published of fragments with these."""
        outcomes = self.say(*(StreamFragment(stream_id, number, data(str(number))) for number in numbers))
        return [outcome.info.sequence_id for outcome in outcomes if outcome.info is not None]


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


# In order


def test_fragments_in_order_are_published_and_acknowledged_once(publisher: Publisher) -> None:
    publisher.open()
    first, second = publisher.say(StreamFragment("s", 1, data("a")), StreamFragment("s", 2, data("b")))

    assert (first.data, first.info, first.answer) == (data("a"), StreamInfo("s", 1), None)
    assert (second.data, second.info, second.answer) == (data("b"), StreamInfo("s", 2), None)
    assert publisher.streams.owes
    assert publisher.streams.acks() == [StreamAck("s", 3)]
    assert publisher.streams.acks() == []


def test_fragment_that_came_before_is_acknowledged_again_and_not_published(publisher: Publisher) -> None:
    publisher.open()
    assert publisher.published(1, 2) == [1, 2]
    publisher.streams.acks()

    assert publisher.published(1) == []
    assert publisher.streams.acks() == [StreamAck("s", 3)]
    assert publisher.published(0) == [], "a number that no fragment has"


def test_fragment_out_of_turn_is_refused_with_the_number_that_is_missing(publisher: Publisher) -> None:
    publisher.open()
    publisher.published(1)
    (outcome,) = publisher.say(StreamFragment("s", 3, data("c")))

    assert outcome.info is None
    assert outcome.answer == StreamNack("s", "The fragment with number 2 has not come.", 2)
    assert publisher.published(2, 3) == [2, 3], "and is taken in its turn"


def test_streams_of_one_connection_are_independent(publisher: Publisher) -> None:
    publisher.open("a")
    publisher.open("b")
    assert publisher.published(1, 2, stream_id="a") == [1, 2]
    assert publisher.published(1, stream_id="b") == [1]

    assert sorted(ack.expected for ack in publisher.streams.acks()) == [2, 3]


def test_bytes_are_in_flight_until_they_are_acknowledged(publisher: Publisher) -> None:
    publisher.open()
    publisher.say(StreamFragment("s", 1, data("abc")), StreamFragment("s", 1, data("abc")))
    assert publisher.streams.in_flight_bytes == 3

    publisher.streams.acks()
    assert publisher.streams.in_flight_bytes == 0


# Begin and end


@pytest.mark.parametrize("error", [None, StreamError("UserError", "m", "E1"), StreamError("UserError")])
def test_end_is_published_and_answered_without_an_error(publisher: Publisher, error: StreamError | None) -> None:
    publisher.open()
    publisher.published(1, 2)
    (outcome,) = publisher.say(EndStream("s", error))

    assert (outcome.data, outcome.info) == (END, StreamInfo("s", 3, True, error))
    assert outcome.answer == StreamClosed("s")
    assert publisher.streams.acks() == [], "the end says more"
    assert len(publisher.streams) == 0


def test_id_may_be_used_again_after_the_end_and_counts_from_one(publisher: Publisher) -> None:
    publisher.open()
    publisher.published(1, 2)
    publisher.say(EndStream("s"))
    publisher.open()

    assert publisher.published(1) == [1]


@pytest.mark.parametrize("request_", [StreamFragment("x", 1, END), KeepStream("x"), EndStream("x")])
def test_stream_that_is_not_there_is_not_found(publisher: Publisher, request_: StreamRequest) -> None:
    publisher.open()

    assert publisher.refusal(request_) == ("StreamNotFound", "There is no such stream.")


def test_stream_that_is_open_cannot_be_opened_and_goes_on(publisher: Publisher) -> None:
    publisher.open()
    publisher.published(1)

    assert publisher.refusal(OpenStream("h", "s")) == ("BadRequest", "A stream with this id is open.")
    assert publisher.published(2) == [2]


def test_streams_are_limited_and_each_end_makes_room(publisher: Publisher) -> None:
    for name in "abc":
        publisher.open(name)
    assert publisher.refusal(OpenStream("g", "d")) == ("BadRequest", "A connection may have 3 streams open.")

    publisher.say(EndStream("a"))
    publisher.open("d")


def test_request_with_a_fault_opens_nothing(publisher: Publisher) -> None:
    assert publisher.refusal(OpenStream("g", "s", fault="no")) == ("BadRequest", "no")
    assert publisher.refusal(OpenStream("g", "s" * 1025))[0] == "BadRequest"
    publisher.open("s" * 1024)


# Permissions


def test_stream_to_a_group_that_is_not_allowed_is_refused(publisher: Publisher) -> None:
    publisher.allows = lambda group: group != "g"
    text = "The client does not have permission to send to group 'g'."

    assert publisher.refusal(OpenStream("g", "s")) == ("Forbidden", text)
    assert publisher.streams.is_void


@pytest.mark.parametrize("request_", [StreamFragment("s", 2, data("b")), KeepStream("s"), EndStream("s")])
def test_stream_ends_once_its_group_is_no_longer_allowed(publisher: Publisher, request_: StreamRequest) -> None:
    publisher.open()
    publisher.published(1)
    publisher.allows = lambda _: False
    (outcome,) = publisher.say(request_)

    error = StreamError("Forbidden", "The client does not have permission to send to group 'g'.")
    assert outcome.info == StreamInfo("s", 2, True, error)
    assert outcome.data == END
    assert outcome.answer == StreamClosed("s", error)
    assert outcome.closed == "Forbidden"


# Silence


@pytest.mark.parametrize(("idle_timeout_ms", "idle_s"), [(None, 300.0), (1, 0.001), (1000, 1.0)])
def test_silent_stream_is_overdue_after_its_idle_timeout(
    publisher: Publisher, idle_timeout_ms: int | None, idle_s: float
) -> None:
    publisher.open(idle_timeout_ms=idle_timeout_ms)
    publisher.published(1)
    assert publisher.streams.deadline() == NOW + idle_s
    assert publisher.streams.overdue(NOW + idle_s * 0.99) == []

    (closing,) = publisher.streams.overdue(NOW + idle_s)
    assert closing.info is not None
    assert closing.info.error is not None
    assert (closing.info.sequence_id, closing.info.end, closing.info.error.name) == (2, True, "IdleTimeout")
    assert closing.answer == StreamClosed("s", closing.info.error)
    assert publisher.streams.deadline() is None


@pytest.mark.parametrize(
    "request_",
    [
        StreamFragment("s", 1, data("a")),
        StreamFragment("s", 0, data("again")),
        StreamFragment("s", 9, data("too early")),
        KeepStream("s"),
    ],
)
def test_every_word_of_the_publisher_shows_that_it_is_there(publisher: Publisher, request_: StreamRequest) -> None:
    publisher.open(idle_timeout_ms=1000)
    publisher.now += 0.9
    publisher.say(request_)

    assert publisher.streams.overdue(NOW + 1.8) == []
    assert len(publisher.streams.overdue(NOW + 1.9)) == 1


def test_word_of_one_stream_says_nothing_of_another(publisher: Publisher) -> None:
    publisher.open("a", idle_timeout_ms=1000)
    publisher.open("b", idle_timeout_ms=1000)
    publisher.now += 0.9
    publisher.say(KeepStream("b"))

    (closing,) = publisher.streams.overdue(NOW + 1.0)
    assert closing.stream is not None
    assert closing.stream.id == "a"


# Sockets that come and go


def test_streams_go_on_by_another_socket_which_has_all_the_time(publisher: Publisher) -> None:
    publisher.open(idle_timeout_ms=1000)
    publisher.published(1, 2)
    publisher.now += 20
    publisher.streams.resumed(publisher.now)

    assert publisher.streams.overdue(publisher.now) == []
    assert publisher.published(1, 2, 3) == [3]
    assert publisher.streams.acks() == [StreamAck("s", 4)]


def test_what_was_said_of_an_end_is_repeated_to_who_may_have_missed_it(publisher: Publisher) -> None:
    """Its publisher sends again what it has no acknowledgement of, the end included."""
    publisher.open()
    publisher.published(1)
    publisher.say(EndStream("s"))
    assert publisher.refusal(EndStream("s"))[0] == "StreamNotFound", "on the same socket it was told"
    publisher.streams.resumed(publisher.now)

    again = publisher.say(StreamFragment("s", 1, data("1")), EndStream("s"))
    assert [outcome.answer for outcome in again] == [StreamClosed("s")] * 2
    assert [outcome.info for outcome in again] == [None] * 2


def test_no_more_ends_are_remembered_than_streams_may_be_open() -> None:
    publisher = Publisher(limit=2)
    for name in "abc":
        publisher.open(name)
        publisher.say(EndStream(name))
    publisher.streams.resumed(publisher.now)
    assert publisher.refusal(EndStream("a"))[0] == "StreamNotFound"
    assert [outcome.answer for outcome in publisher.say(EndStream("b"), EndStream("c"))] == [
        StreamClosed("b"),
        StreamClosed("c"),
    ]

    publisher.open("d")
    publisher.say(EndStream("d"))
    assert publisher.refusal(EndStream("b"))[0] == "StreamNotFound"


def test_nothing_is_remembered_for_who_cannot_come_back() -> None:
    publisher = Publisher(survives=False)
    publisher.open()
    publisher.say(EndStream("s"))

    assert publisher.streams.is_void


def test_all_streams_end_with_their_connection(publisher: Publisher) -> None:
    publisher.open("a")
    publisher.open("b")
    publisher.published(1, stream_id="b")
    error = StreamError("Cancelled", "The publisher is gone.")

    closings = publisher.streams.cancel()
    assert [closing.info for closing in closings] == [
        StreamInfo("a", 1, True, error),
        StreamInfo("b", 2, True, error),
    ]
    assert len(publisher.streams) == 0


# Whatever comes

IDS: Final = st.sampled_from("abcd")
LIMIT: Final = 2


class Told:
    """What a model publisher remembers of one of its streams."""

    def __init__(self, heard_at: float, idle_s: float, group: str) -> None:
        self.published = 0
        self.acknowledged = 1
        self.heard_at = heard_at
        self.idle_s = idle_s
        self.group = group


class AnyPublisher(RuleBasedStateMachine):
    """
    Any requests in any order at any time, held against a model: each stream's messages are numbered 1, 2, 3 … and then
    its end, acknowledgements never go backwards nor in front of what was sent, and there is never more kept than may.
    """

    fragments = Bundle("fragments")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.open: dict[str, Told] = {}
        self.forbidden: set[str] = set()
        self.in_flight = 0

    @initialize(survives=st.booleans())
    def begin(self, survives: bool) -> None:
        self.streams = Streams(LIMIT, survives)

    def hear(self, request: StreamRequest) -> Outcome:
        return self.streams.heard(request, lambda group: group not in self.forbidden, self.now)

    def ended(self, stream_id: str, outcome: Outcome, name: str | None) -> None:
        """The end of a stream that was open, under this name."""
        told = self.open.pop(stream_id)
        assert outcome.info is not None
        assert (outcome.info.stream_id, outcome.info.end) == (stream_id, True)
        assert outcome.info.sequence_id == told.published + 1
        assert (outcome.info.error.name if outcome.info.error else None) == name
        assert outcome.data == END
        assert isinstance(outcome.answer, StreamClosed)
        assert outcome.closed == (name or "")

    @rule(stream_id=IDS, group=st.sampled_from("gh"), idle_timeout_ms=st.none() | st.integers(1, 3000))
    def start(self, stream_id: str, group: str, idle_timeout_ms: int | None) -> None:
        outcome = self.hear(OpenStream(group, stream_id, idle_timeout_ms))
        assert outcome.info is None
        if stream_id in self.open or group in self.forbidden or len(self.open) == LIMIT:
            assert isinstance(outcome.answer, StreamClosed)
            assert outcome.answer.error is not None
        else:
            assert outcome.answer == StreamAck(stream_id, 1)
            self.open[stream_id] = Told(self.now, (idle_timeout_ms or 300_000) / 1000, group)

    def is_answered_otherwise(self, stream_id: str, outcome: Outcome) -> bool:
        """There is no such stream, or it may not go on."""
        told = self.open.get(stream_id)
        if told is None:
            assert outcome.info is None
            assert isinstance(outcome.answer, StreamClosed)
            return True
        if told.group in self.forbidden:
            self.ended(stream_id, outcome, "Forbidden")
            return True
        told.heard_at = self.now
        return False

    @rule(target=fragments, stream_id=IDS, ahead=st.integers(-2, 2), size=st.integers(0, 5))
    def fragment(self, stream_id: str, ahead: int, size: int) -> StreamFragment:
        told = self.open.get(stream_id)
        number = max((told.published if told else 0) + 1 + ahead, 0)
        fragment = StreamFragment(stream_id, number, Data("binary", b"x" * size))
        self.send(fragment)
        return fragment

    @rule(fragment=consumes(fragments))
    def send_again(self, fragment: StreamFragment) -> None:
        self.send(fragment)

    def send(self, fragment: StreamFragment) -> None:
        outcome = self.hear(fragment)
        if self.is_answered_otherwise(fragment.stream_id, outcome):
            return
        told = self.open[fragment.stream_id]
        expected = told.published + 1
        if fragment.sequence_id == expected:
            assert (outcome.data, outcome.info) == (fragment.data, StreamInfo(fragment.stream_id, expected))
            told.published += 1
            self.in_flight += len(fragment.data.body)
        else:
            assert outcome.info is None
        if fragment.sequence_id > expected:
            assert isinstance(outcome.answer, StreamNack)
            assert outcome.answer.expected == expected
        else:
            assert outcome.answer is None
            assert self.streams.owes

    @rule(stream_id=IDS)
    def keep(self, stream_id: str) -> None:
        outcome = self.hear(KeepStream(stream_id))
        if not self.is_answered_otherwise(stream_id, outcome):
            assert (outcome.info, outcome.answer) == (None, None)

    @rule(stream_id=IDS, error=st.sampled_from([None, StreamError("UserError", "m")]))
    def end(self, stream_id: str, error: StreamError | None) -> None:
        outcome = self.hear(EndStream(stream_id, error))
        if not self.is_answered_otherwise(stream_id, outcome):
            self.ended(stream_id, outcome, None if error is None else "UserError")
            assert outcome.answer == StreamClosed(stream_id)

    @rule()
    def acknowledge(self) -> None:
        for ack in self.streams.acks():
            told = self.open[ack.stream_id]
            assert told.acknowledged <= ack.expected == told.published + 1
            told.acknowledged = ack.expected
        self.in_flight = 0

    @rule(seconds=st.floats(0, 4))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for closing in self.streams.overdue(self.now):
            assert closing.stream is not None
            told = self.open[closing.stream.id]
            assert told.heard_at + told.idle_s <= self.now
            self.ended(closing.stream.id, closing, "IdleTimeout")
        assert all(told.heard_at + told.idle_s > self.now for told in self.open.values())

    @rule()
    def come_back(self) -> None:
        self.streams.resumed(self.now)
        for told in self.open.values():
            told.heard_at = self.now

    @rule(group=st.sampled_from("gh"))
    def change_permission(self, group: str) -> None:
        self.forbidden ^= {group}

    @precondition(lambda self: self.open)
    @rule()
    def cancel(self) -> None:
        for closing in self.streams.cancel():
            assert closing.stream is not None
            self.ended(closing.stream.id, closing, "Cancelled")
        assert not self.open

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "streams"):
            return
        assert len(self.streams) == len(self.open)
        assert self.streams.in_flight_bytes == self.in_flight
        assert (self.streams.deadline() is None) == (not self.open)


TestAnyPublisher = AnyPublisher.TestCase
TestAnyPublisher.settings = settings(stateful_step_count=40)

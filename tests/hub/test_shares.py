"""Shared subscriptions: who of all members gets a message."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from doubles import RecordingSink, connection
from hubwire.hub.connection import Connection
from hubwire.hub.shares import Share


class Holding:
    """
    A session that holds as many messages as a test says.

    Attributes:
        looks: how often it was asked.
    """

    codec = None

    def __init__(self, messages: int = 0) -> None:
        self.messages = messages
        self.looks = 0

    def held(self) -> tuple[int, int]:
        self.looks += 1
        return self.messages, 0


class Members:
    """A share with members, by their places."""

    def __init__(self, *held: int, away: tuple[int, ...] = ()) -> None:
        self.share = Share("$share/s/a")
        self.sessions = [Holding(messages) for messages in held]
        self.all: list[Connection] = []
        for place, session in enumerate(self.sessions):
            one = connection(session, id=str(place))  # type: ignore[arg-type]
            one.sink = None if place in away else RecordingSink()
            self.all.append(one)
            self.share.add(one)

    def choose(self, turn: int = 1, *left_out: int) -> int | None:
        chosen = self.share.choose(turn, [str(place) for place in left_out])
        return None if chosen is None else self.all.index(chosen)

    def chosen(self, count: int, turn: int = 1, *left_out: int) -> list[int | None]:
        return [self.choose(turn, *left_out) for _ in range(count)]


def test_messages_of_one_turn_go_round() -> None:
    members = Members(0, 0, 0)

    assert members.chosen(7) == [0, 1, 2, 0, 1, 2, 0]


def test_messages_of_one_turn_each_go_round() -> None:
    """Who has nothing to do is as good as another, and so the next one is."""
    members = Members(0, 0, 0)

    assert [members.choose(turn) for turn in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_who_has_least_on_its_way_comes_first() -> None:
    members = Members(2, 0, 1)

    assert members.chosen(7) == [1, 2, 1, 0, 2, 1, 0]


def test_what_is_on_its_way_is_asked_for_in_each_turn() -> None:
    members = Members(5, 5)
    assert members.choose(1) == 0

    members.sessions[0].messages = 0
    assert members.chosen(3, 2) == [0, 0, 0]
    members.sessions[0].messages = 9
    assert members.choose(3) == 1


def test_who_is_away_comes_last_whatever_it_has() -> None:
    members = Members(0, 50, 1, away=(0, 2))

    assert members.chosen(3) == [1, 1, 1]


def test_if_all_are_away_the_one_with_least_gets_it() -> None:
    members = Members(3, 1, 2, away=(0, 1, 2))

    assert members.chosen(4) == [1, 2, 1, 0]


def test_who_comes_back_counts_from_the_next_turn_on() -> None:
    members = Members(0, 7, away=(0,))
    assert members.choose(1) == 1

    members.all[0].sink = RecordingSink()
    assert members.choose(2) == 0


def test_message_is_not_for_who_is_left_out_of_it() -> None:
    members = Members(0, 0, 4)

    assert members.choose(1, 0) == 1
    assert members.choose(1, 0, 1) == 2
    assert members.choose(1) == 0, "it was not given that one"
    assert members.choose(1, 0, 1, 2) is None
    assert members.choose(1) in (0, 1)


def test_who_has_left_gets_no_more() -> None:
    members = Members(0, 0, 0)
    members.chosen(2)
    members.share.remove(members.all[2])

    assert set(members.chosen(6, 1)) == {0, 1}
    members.share.remove(members.all[0])
    members.share.remove(members.all[1])
    assert members.choose() is None
    assert len(members.share) == 0


def test_who_comes_gets_its_part() -> None:
    members = Members(0)
    members.chosen(3)
    late = connection(Holding(), id="1")  # type: ignore[arg-type]
    late.sink = RecordingSink()
    members.all.append(late)
    members.share.add(late)

    assert Counter(members.chosen(8, 2)) == {0: 4, 1: 4}


def test_nobody_is_looked_at_twice_in_a_turn_nor_behind_who_is_idle() -> None:
    members = Members(*([3] * 100))
    members.chosen(500)
    assert [session.looks for session in members.sessions] == [1] * 100

    members = Members(*([0] * 100))
    members.choose()
    assert sum(session.looks for session in members.sessions) == 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=6),
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
)
def test_every_choice_is_one_of_the_best(members: list[tuple[int, bool]], turns: list[int]) -> None:
    made = Members(*[held for held, _ in members], away=tuple(p for p, (_, there) in enumerate(members) if not there))
    for turn, count in enumerate(turns):
        given_now = Counter[int]()
        for _ in range(count):
            load = [(not there, held + given_now[place]) for place, (held, there) in enumerate(members)]
            chosen = made.choose(turn)
            assert chosen is not None
            assert load[chosen] == min(load)
            given_now[chosen] += 1

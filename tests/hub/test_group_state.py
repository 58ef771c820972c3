"""States in groups: what is kept, how much of it, who is told, and that nobody is left with what is not so any more."""

from collections import deque
from collections.abc import Mapping

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from doubles import connection
from hubwire.hub.connection import Connection
from hubwire.hub.group_state import GroupStates, StateLimits, Subscribing
from hubwire.model.errors import Conflict
from hubwire.model.messages import GroupStateMessage, MemberState

NOW_MS = 1_700_000_000_000
TYPING = {"status": "typing"}


def states_of(*limits: int) -> GroupStates:
    return GroupStates(StateLimits(*limits))


def subscribed(states: GroupStates, one: Connection, group: str = "g") -> GroupStateMessage:
    """What a connection is told first by a node that is alone."""
    subscribing = states.subscribe(one, group)
    subscribing.learn(states.items(group))
    message = states.began(subscribing)
    states.settle(subscribing)
    return message


# What is kept


def test_state_is_there_until_it_is_cleared() -> None:
    states, one = states_of(), connection(user_id="u")

    item = states.set(one, "g", TYPING, NOW_MS)

    assert item == MemberState(one.id, "u", TYPING, NOW_MS)
    assert states.items("g") == (item,)
    assert states.items("other") == ()
    assert states.clear(one, "g", NOW_MS + 1) == MemberState(one.id, "u", None, NOW_MS + 1)
    assert states.items("g") == ()
    assert not states.concerns("g")


def test_clearing_what_is_not_there_is_no_change() -> None:
    states, one = states_of(), connection()
    states.set(one, "g", TYPING, NOW_MS)

    assert states.clear(one, "other", NOW_MS) is None
    assert states.clear(connection(), "g", NOW_MS) is None


def test_later_state_takes_the_place_of_the_earlier_one() -> None:
    states, one = states_of(), connection()
    states.set(one, "g", TYPING, NOW_MS)

    item = states.set(one, "g", {}, NOW_MS + 5)

    assert states.items("g") == (item,)
    assert item.state == {}


@pytest.mark.parametrize("now_ms", [NOW_MS, NOW_MS - 60_000], ids=["the same millisecond", "a clock that was set back"])
def test_later_change_has_a_later_time(now_ms: int) -> None:
    """Else who compares them would keep the earlier state."""
    states, one = states_of(), connection()
    states.set(one, "g", TYPING, NOW_MS)

    cleared = states.clear(one, "g", now_ms)
    again = states.set(one, "g", TYPING, now_ms)

    assert cleared is not None
    assert (cleared.updated_at, again.updated_at) == (NOW_MS + 1, NOW_MS + 2)


def test_everything_of_a_connection_goes_with_it() -> None:
    """Its states in all groups, and whatever it was told."""
    states, one, other = states_of(), connection(), connection()
    for group in ("g", "h"):
        states.set(one, group, TYPING, NOW_MS)
        subscribed(states, one, group)
    kept = states.set(other, "g", TYPING, NOW_MS)

    gone = states.remove(one, NOW_MS + 60)

    times = (NOW_MS + 60, NOW_MS + 61)
    assert gone == [(group, MemberState(one.id, None, None, at)) for group, at in zip("gh", times, strict=True)]
    assert states.items("g") == (kept,)
    assert not states.subscribers("g")
    assert not states.concerns("h")
    assert states.remove(connection(), NOW_MS) == []


# How much


def test_state_may_have_so_many_entries_and_no_more() -> None:
    states, one = states_of(2), connection()
    states.set(one, "g", {"a": "", "b": ""}, NOW_MS)

    with pytest.raises(Conflict, match="2 entries"):
        states.set(one, "g", {"a": "", "b": "", "c": ""}, NOW_MS)

    assert states.items("g")[0].state == {"a": "", "b": ""}


def test_state_may_have_so_many_bytes_and_no_more() -> None:
    """Of names and values, as UTF-8."""
    states, one = states_of(100, 8), connection()
    states.set(one, "g", {"ü": "x", "a": "1234"}, NOW_MS)

    with pytest.raises(Conflict, match="8 bytes"):
        states.set(one, "g", {"ü": "x", "a": "12345"}, NOW_MS)


def test_connection_may_have_a_state_in_so_many_groups() -> None:
    """One that it has may be changed, and one that it gives up makes room."""
    states, one = states_of(100, 100, 2), connection()
    for group in ("a", "b", "a"):
        states.set(one, group, TYPING, NOW_MS)

    with pytest.raises(Conflict, match="2 groups"):
        states.set(one, "c", TYPING, NOW_MS)
    assert not states.concerns("c")

    states.clear(one, "a", NOW_MS)
    states.set(one, "c", TYPING, NOW_MS)


def test_connection_may_be_told_of_so_many_groups() -> None:
    """One that it is told of may be asked for again, and one that it gives up makes room."""
    states, one = states_of(100, 100, 2), connection()
    for group in ("a", "b", "a"):
        subscribed(states, one, group)

    with pytest.raises(Conflict, match="2 groups"):
        states.subscribe(one, "c")
    assert not states.concerns("c")

    states.unsubscribe(one, "a")
    subscribed(states, one, "c")


def test_states_of_a_group_may_have_so_many_bytes_together() -> None:
    """What is changed or gone does not count any more."""
    states, one, other = states_of(100, 1000, 100, 600), connection(id="1"), connection(id="2")
    states.set(one, "g", {"a": "x" * 300}, NOW_MS)

    with pytest.raises(Conflict, match="600 bytes"):
        states.set(other, "g", {"a": "x" * 300}, NOW_MS)
    states.set(other, "h", {"a": "x" * 300}, NOW_MS)

    for _ in range(5):
        states.set(one, "g", {"a": "x" * 200}, NOW_MS)
    states.set(other, "g", {"a": "x" * 200}, NOW_MS)
    with pytest.raises(Conflict):
        states.set(one, "g", {"a": "x" * 300}, NOW_MS)
    states.clear(other, "g", NOW_MS)
    states.set(one, "g", {"a": "x" * 300}, NOW_MS)


# Who is told


def test_subscriber_is_told_all_and_then_each_change() -> None:
    states, one, other = states_of(), connection(), connection()
    item = states.set(other, "g", TYPING, NOW_MS)

    assert subscribed(states, one) == GroupStateMessage("g", (item,), snapshot=True)
    assert list(states.subscribers("g")) == [one]

    states.unsubscribe(one, "g")
    assert not states.subscribers("g")
    states.unsubscribe(one, "g")


def test_change_is_not_told_before_the_snapshot_but_is_in_it() -> None:
    """It may be heard before the node that it comes from is asked, or behind that; the later state counts."""
    states, one = states_of(), connection()
    subscribing = states.subscribe(one, "g")
    assert not states.subscribers("g")

    newer, older = MemberState("x", None, {"n": "2"}, 2), MemberState("x", None, {"n": "1"}, 1)
    states.heard(GroupStateMessage("g", (newer, MemberState("y", None, None, 9))))
    states.heard(GroupStateMessage("other", (MemberState("z", None, {}, 9),)))
    subscribing.learn((older, MemberState("y", None, {"n": "1"}, 8)))

    assert states.began(subscribing) == GroupStateMessage("g", (newer,), snapshot=True)


def test_group_concerns_nobody_once_a_subscription_has_failed() -> None:
    states = states_of()
    subscribing = states.subscribe(connection(), "g")
    assert states.concerns("g")

    states.settle(subscribing)

    assert not states.concerns("g")


def test_who_gives_up_before_it_is_told_is_marked() -> None:
    states, one, other = states_of(), connection(), connection()
    subscribing, another = states.subscribe(one, "g"), states.subscribe(other, "g")

    states.unsubscribe(one, "g")

    assert (subscribing.given_up, another.given_up) == (True, False)


# Whatever happens, in whatever order

GROUPS = ("g", "g", "g", "h")
NODES = 2
STATES = st.sampled_from([{"n": "1"}, {"n": "2"}, {}])


class _View:
    """What a client knows that goes by the times of states, as the protocol wants it."""

    def __init__(self) -> None:
        self._known: dict[str, MemberState] = {}

    def hear(self, message: GroupStateMessage) -> None:
        if message.snapshot:
            self._known.clear()
        for item in message.items:
            known = self._known.get(item.connection_id)
            if known is None or known.updated_at < item.updated_at:
                self._known[item.connection_id] = item

    @property
    def states(self) -> dict[str, Mapping[str, str]]:
        return {name: item.state for name, item in self._known.items() if item.state is not None}


class _Opening:
    """A subscription under way: whom it is for, and which nodes have answered already; and is it unwanted by now."""

    def __init__(self, subscribing: Subscribing) -> None:
        self.subscribing = subscribing
        self.answers: dict[int, tuple[MemberState, ...]] = {}
        self.unwanted = False


class StatesOfTwoNodes(RuleBasedStateMachine):
    """
    Two nodes that hear one another late, and answer late: each sender's changes in order, and no more than that. Times
    are all the same, so that nothing but their order can tell states apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nodes = [GroupStates(StateLimits()) for _ in range(NODES)]
        self.wires: dict[tuple[int, int], deque[GroupStateMessage]] = {
            (sender, receiver): deque() for sender in range(NODES) for receiver in range(NODES)
        }
        self.where: dict[Connection, int] = {}
        self.clients: list[Connection] = []
        self.expected: dict[tuple[str, str], Mapping[str, str]] = {}
        self.views: dict[tuple[str, str], _View] = {}
        self.openings: list[_Opening] = []
        for node in range(NODES):
            self.connect(node)

    def _publish(self, node: int, group: str, item: MemberState) -> None:
        for receiver in range(NODES):
            self.wires[node, receiver].append(GroupStateMessage(group, (item,)))

    def _pick(self, data: st.DataObject) -> tuple[int, Connection]:
        one: Connection = data.draw(st.sampled_from(self.clients))
        return self.where[one], one

    @precondition(lambda self: len(self.clients) < NODES + 1)
    @rule(node=st.integers(0, NODES - 1))
    def connect(self, node: int) -> None:
        one = connection(id=f"c{len(self.where)}")
        self.where[one] = node
        self.clients.append(one)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), group=st.sampled_from(GROUPS), state=STATES)
    def set_state(self, data: st.DataObject, group: str, state: Mapping[str, str]) -> None:
        node, one = self._pick(data)
        self._publish(node, group, self.nodes[node].set(one, group, state, NOW_MS))
        self.expected[one.id, group] = state

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), group=st.sampled_from(GROUPS))
    def clear(self, data: st.DataObject, group: str) -> None:
        node, one = self._pick(data)
        item = self.nodes[node].clear(one, group, NOW_MS)
        assert (item is not None) == ((one.id, group) in self.expected)
        if item is not None:
            self._publish(node, group, item)
            del self.expected[one.id, group]

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), group=st.sampled_from(GROUPS), asked=st.sets(st.integers(0, NODES - 1)))
    def subscribe(self, data: st.DataObject, group: str, asked: set[int]) -> None:
        node, one = self._pick(data)
        opening = _Opening(self.nodes[node].subscribe(one, group))
        opening.answers = {other: self.nodes[other].items(group) for other in asked}
        self.openings.append(opening)

    @precondition(lambda self: self.openings)
    @rule(node=st.integers(0, NODES - 1))
    def answer(self, node: int) -> None:
        for opening in self.openings:
            opening.answers.setdefault(node, self.nodes[node].items(opening.subscribing.group))

    @rule()
    def complete(self) -> None:
        for opening in list(self.openings):
            if len(opening.answers) == NODES:
                self._complete(opening)

    def _complete(self, opening: _Opening) -> None:
        self.openings.remove(opening)
        subscribing = opening.subscribing
        one, group = subscribing.connection, subscribing.group
        for items in opening.answers.values():
            subscribing.learn(items)
        states = self.nodes[self.where[one]]
        if one in self.clients:
            assert subscribing.given_up == opening.unwanted
        if one in self.clients and not opening.unwanted:
            self.views.setdefault((one.id, group), _View()).hear(states.began(subscribing))
        states.settle(subscribing)

    @precondition(lambda self: self.clients and (self.views or self.openings))
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        node, one = self._pick(data)
        for group in GROUPS:
            self.nodes[node].unsubscribe(one, group)
            self.views.pop((one.id, group), None)
        for opening in self.openings:
            opening.unwanted |= opening.subscribing.connection is one

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        node, one = self._pick(data)
        self.clients.remove(one)
        for group, item in self.nodes[node].remove(one, NOW_MS):
            self._publish(node, group, item)
        self.expected = {key: state for key, state in self.expected.items() if key[0] != one.id}
        self.views = {key: view for key, view in self.views.items() if key[0] != one.id}

    @precondition(lambda self: any(self.wires.values()))
    @rule(data=st.data())
    def hear_one(self, data: st.DataObject) -> None:
        self._hear(*data.draw(st.sampled_from([ends for ends, wire in self.wires.items() if wire])))

    def _hear(self, sender: int, receiver: int) -> None:
        wire = self.wires[sender, receiver]
        if wire:
            message = wire.popleft()
            self.nodes[receiver].heard(message)
            for one in self.nodes[receiver].subscribers(message.group):
                self.views[one.id, message.group].hear(message)

    def teardown(self) -> None:
        """All is heard and answered: then everybody who is told knows what is so."""
        for sender, receiver in self.wires:
            while self.wires[sender, receiver]:
                self._hear(sender, receiver)
        for opening in list(self.openings):
            for node in range(NODES):
                opening.answers.setdefault(node, self.nodes[node].items(opening.subscribing.group))
            self._complete(opening)
        for (_, group), view in self.views.items():
            assert view.states == {name: state for (name, other), state in self.expected.items() if other == group}

    @invariant()
    def each_node_has_the_states_of_its_own(self) -> None:
        """And nothing of a group that concerns nobody."""
        for number, node in enumerate(self.nodes):
            own = {one.id for one in self.clients if self.where[one] == number}
            for group in GROUPS:
                found = {item.connection_id: item.state for item in node.items(group)}
                assert found == {
                    name: state for (name, other), state in self.expected.items() if other == group and name in own
                }
                told = {one.id for one in node.subscribers(group)}
                assert told == {name for name, other in self.views if other == group and name in own}
                waiting = any(
                    opening.subscribing.group == group and self.where[opening.subscribing.connection] == number
                    for opening in self.openings
                )
                assert node.concerns(group) == bool(found or told or waiting)


TestStatesOfTwoNodes = StatesOfTwoNodes.TestCase
TestStatesOfTwoNodes.settings = settings(max_examples=80, stateful_step_count=40)

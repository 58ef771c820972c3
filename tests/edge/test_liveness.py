"""Who is pinged, who is given up, and when."""

from itertools import pairwise

import pytest

from doubles import VirtualLoop
from hubwire.edge.liveness import Liveness


class Client:
    """
    Attributes:
        interval: what its hub's setting says now.
        pinged: seconds on the loop's clock, as is `given_up`.
        answers: does it answer a ping.
    """

    def __init__(self, house: "House", interval: float = 20, answers: bool = False) -> None:
        self.house = house
        self.last_seen = 0
        self.interval = interval
        self.answers = answers
        self.pinged: list[float] = []
        self.given_up: list[float] = []

    def keep_alive_s(self) -> float:
        return self.interval

    def ping(self) -> None:
        self.pinged.append(self.house.time)
        if self.answers:
            self.say()

    def say(self) -> None:
        """Some bytes come from it."""
        self.last_seen = self.house.liveness.now

    def give_up(self) -> None:
        self.given_up.append(self.house.time)


class House:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.start = self.loop.time()
        self.liveness = Liveness(self.loop)

    @property
    def time(self) -> float:
        return self.loop.time() - self.start

    def watch(self, interval: float = 20, answers: bool = False, patience: int | None = None) -> Client:
        client = Client(self, interval, answers)
        if patience is None:
            self.liveness.watch(client)
        else:
            self.liveness.watch(client, patience)
        return client


@pytest.fixture
def house() -> House:
    return House()


async def test_silent_client_is_pinged_after_its_interval_and_given_up_after_three(house: House) -> None:
    client = house.watch(20)

    await house.loop.advance(19)
    assert client.pinged == []
    await house.loop.advance(100)

    assert (client.pinged, client.given_up) == ([20, 40], [60])


async def test_client_that_answers_is_pinged_at_each_interval_and_never_given_up(house: House) -> None:
    client = house.watch(20, answers=True)

    await house.loop.advance(200)

    assert (client.pinged, client.given_up) == ([20, 40, 60, 80, 100, 120, 140, 160, 180, 200], [])


async def test_silence_is_counted_from_the_last_sign_of_life(house: House) -> None:
    client = house.watch(20)
    await house.loop.advance(13)
    client.say()

    await house.loop.advance(100)

    assert (client.pinged, client.given_up) == ([33, 53], [73])


async def test_interval_between_two_ticks_is_that_up_to_the_later_one(house: House) -> None:
    client = house.watch(1.6)
    await house.loop.advance(10)

    assert (client.pinged, client.given_up) == ([1.75, 3.5], [5.25])


async def test_busy_client_is_never_pinged(house: House) -> None:
    client = house.watch(5)
    for _ in range(50):
        await house.loop.advance(2)
        client.say()

    assert (client.pinged, client.given_up) == ([], [])


@pytest.mark.parametrize("interval", [1, 1.5, 7, 120])
async def test_each_hub_has_its_own_interval(house: House, interval: float) -> None:
    client, other = house.watch(interval), house.watch(20)

    await house.loop.advance(400)

    assert (client.pinged, client.given_up) == ([interval, 2 * interval], [3 * interval])
    assert (other.pinged, other.given_up) == ([20, 40], [60])


async def test_interval_is_asked_for_again_each_time(house: House) -> None:
    client = house.watch(5, answers=True)
    await house.loop.advance(5)
    client.interval = 20
    await house.loop.advance(50)

    assert client.pinged == [5, 10, 30, 50]


@pytest.mark.parametrize(("patience", "pinged"), [(1, []), (2, [20]), (4, [20, 40, 60])])
async def test_client_is_given_up_after_as_many_intervals_as_were_said(
    house: House, patience: int, pinged: list[float]
) -> None:
    client = house.watch(20, patience=patience)

    await house.loop.advance(200)

    assert (client.pinged, client.given_up) == (pinged, [20 * patience])


async def test_client_of_whom_one_interval_is_the_end_stays_while_it_is_heard(house: House) -> None:
    client = house.watch(5, patience=1)
    for _ in range(20):
        await house.loop.advance(4)
        client.say()
    assert client.given_up == []

    await house.loop.advance(20)

    assert (client.pinged, client.given_up) == ([], [85])


async def test_client_without_an_interval_may_be_silent(house: House) -> None:
    client = house.watch(0)
    assert house.loop.timers == 0
    other = house.watch(20)

    await house.loop.advance(1000)
    house.liveness.forget(client)

    assert (client.pinged, client.given_up) == ([], [])
    assert other.given_up == [60]


@pytest.mark.parametrize("patience", [1, 3])
async def test_client_whose_interval_is_taken_away_may_be_silent_from_then_on(house: House, patience: int) -> None:
    client = house.watch(20, patience=patience)
    await house.loop.advance(5)
    client.say()
    client.interval = 0

    await house.loop.advance(1000)

    assert (client.pinged, client.given_up) == ([], [])
    assert house.loop.timers == 0


@pytest.mark.parametrize("seen", [0, 1, 19])
async def test_shorter_interval_gives_nobody_up_who_was_not_asked(house: House, seen: int) -> None:
    """Whole crowds were rightly silent under the longer one."""
    alive, dead = house.watch(20, answers=True), house.watch(20)
    await house.loop.advance(seen)
    for client in (alive, dead):
        client.say()
        client.interval = 2

    await house.loop.advance(60)

    assert (len(alive.pinged) > 10, alive.given_up) == (True, [])
    assert (len(dead.pinged) > 0, len(dead.given_up)) == (True, 1)


async def test_client_that_is_forgotten_is_left_alone(house: House) -> None:
    client, other = house.watch(20), house.watch(20)
    await house.loop.advance(10)

    house.liveness.forget(client)
    house.liveness.forget(client)
    await house.loop.advance(100)

    assert (client.pinged, client.given_up) == ([], [])
    assert other.given_up == [60]


async def test_client_that_was_given_up_is_forgotten(house: House) -> None:
    client = house.watch(1)
    await house.loop.advance(100)
    house.liveness.forget(client)

    assert client.given_up == [3]
    assert house.loop.timers == 0


async def test_client_that_is_given_up_may_be_watched_anew_and_the_clock_is_still_one(house: House) -> None:
    client = house.watch(1)
    client.give_up = lambda: house.liveness.watch(client)  # type: ignore[method-assign]

    await house.loop.advance(10)

    assert client.pinged == [1, 2, 4, 5, 7, 8, 10]
    assert house.loop.timers == 1


async def test_clock_stands_still_while_nobody_is_there(house: House) -> None:
    assert house.loop.timers == 0
    client = house.watch()
    assert house.loop.timers == 1

    house.liveness.forget(client)
    await house.loop.advance(2)

    assert house.loop.timers == 0


@pytest.mark.parametrize("before", [False, True])
async def test_first_client_after_a_quiet_time_is_not_taken_for_a_silent_one(house: House, before: bool) -> None:
    """The clock stood still meanwhile, and time did not."""
    if before:
        house.liveness.forget(house.watch())
    await house.loop.advance(1000)
    client = house.watch(20)

    await house.loop.advance(19)
    assert (client.pinged, client.given_up) == ([], [])
    await house.loop.advance(100)
    assert (client.pinged, client.given_up) == ([1020, 1040], [1060])


async def test_silence_begins_when_a_client_comes_and_not_before(house: House) -> None:
    """Its socket was there a while before it was let in."""
    house.watch(20, answers=True)
    await house.loop.advance(100)
    client = house.watch(20)

    await house.loop.advance(40)

    assert (client.pinged, client.given_up) == ([120, 140], [])


async def test_nothing_is_kept_of_clients_that_are_gone(house: House) -> None:
    for interval in range(1, 20):
        client = house.watch(interval, answers=interval % 2 == 0)
        await house.loop.advance(7)
        house.liveness.forget(client)

    assert (house.liveness._due, house.liveness._when) == ({}, {})


async def test_second_client_does_not_start_a_second_clock(house: House) -> None:
    house.watch()
    await house.loop.advance(0.5)
    house.watch()

    assert house.loop.timers == 1


async def test_time_in_which_the_process_stood_still_is_nobodys_silence(house: House) -> None:
    """It was stopped, or its machine slept: nobody could be heard, and nobody was asked."""
    dead, alive = house.watch(5), house.watch(5, answers=True)
    house.loop.jump(1000)

    await house.loop.advance(2)
    assert (dead.given_up, alive.given_up) == ([], [])

    await house.loop.advance(20)
    assert (len(dead.pinged), len(dead.given_up)) == (2, 1)
    assert len(alive.pinged) > 2
    assert alive.given_up == []


@pytest.mark.parametrize("late_s", [0.1, 0.25, 0.3, 0.5, 0.9, 1.5, 1.9, 2.5])
async def test_client_with_the_least_interval_is_not_given_up_for_one_late_tick(house: House, late_s: float) -> None:
    """It answers each ping, and three seconds of silence are its end; or it says something each second by itself."""
    client, device = house.watch(1, answers=True), house.watch(1.75, patience=1)
    for _ in range(10):
        device.say()
        await house.loop.advance(1)
    house.loop.jump(late_s)
    await house.loop.advance(0)
    device.say()
    await house.loop.advance(1)
    device.say()
    await house.loop.advance(1)

    assert (client.given_up, device.given_up) == ([], [])


async def test_answer_that_came_while_the_process_stood_still_is_read_before_anybody_is_given_up(house: House) -> None:
    """Timers may go off before the sockets are read."""
    asked, dead, alive = house.watch(1), house.watch(1), house.watch(1, answers=True)
    await house.loop.advance(1)
    assert (len(asked.pinged), len(dead.pinged)) == (1, 1)

    house.loop.jump(10)
    await house.loop.advance(0)
    assert (asked.given_up, dead.given_up) == ([], [])

    asked.say()
    await house.loop.advance(2)
    assert asked.given_up == []
    assert len(dead.given_up) == 1
    await house.loop.advance(5)
    assert alive.given_up == []


async def test_thousands_are_looked_after_some_at_a_time(house: House) -> None:
    """A ping costs a system call, and others want their turn."""
    clients = [house.watch(1) for _ in range(1200)]
    turns = [0]

    def count() -> None:
        turns.append(sum(len(client.pinged) for client in clients))
        if turns[-1] < 1200:
            house.loop.call_soon(count)

    await house.loop.advance(0.9)
    count()
    await house.loop.advance(0.1)

    assert turns[-1] == 1200
    assert max(later - earlier for earlier, later in pairwise(turns)) <= 500
    await house.loop.advance(3)
    assert all((len(client.pinged), len(client.given_up)) == (2, 1) for client in clients)


async def test_client_that_leaves_while_others_are_looked_after_is_left_alone(house: House) -> None:
    first, second = Client(house, 1), Client(house, 1)
    leaving = {first: second, second: first}
    for client in leaving:
        client.ping = lambda client=client: house.liveness.forget(leaving[client])  # type: ignore[misc, method-assign]
        house.liveness.watch(client)

    await house.loop.advance(1)

    assert (first.given_up, second.given_up) == ([], [])
    await house.loop.advance(2)
    assert len(first.given_up) + len(second.given_up) == 1

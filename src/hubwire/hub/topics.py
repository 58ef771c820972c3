"""
Filters of MQTT beside the groups of a hub: who hears of a message to a group because its name matches.

The filters are a tree of their levels, in which a run of levels without a fork is one step, with the run as its text:
so a filter takes its text and one step, however many levels it has. To match is to walk down the levels of a name, at
each fork by the level itself, by `+` and by `#`. So the cost grows with the levels of the name and with what matches,
not with the number of filters.

Source: OASIS MQTT 5.0, 4.7.
"""

from collections.abc import Collection, Mapping, Sequence

from hubwire.hub.connection import Connection
from hubwire.hub.shares import Share
from hubwire.model.names import is_topic_name
from hubwire.model.topic_filters import share_of

__all__ = ["Audience", "Filters"]

_ONE = "+"
_REST = "#"


class Audience:
    """
    Who hears of a message to a group.

    Attributes:
        receivers: each of them once.
        matched: of those with filters, which of these match, behind the name of the group if it is a member.
        shares: of each, one member gets each message besides.
    """

    __slots__ = ("matched", "receivers", "shares")

    def __init__(
        self,
        receivers: Collection[Connection],
        matched: Mapping[Connection, tuple[str, ...]],
        shares: Sequence[Share],
    ) -> None:
        self.receivers = receivers
        self.matched = matched
        self.shares = shares


class _Filter:
    """
    A filter and who has subscribed with it.

    Attributes:
        names: its text, as `Audience` has it.
        subscribers: each with these names, so that of one filter nothing has to be put together.
        shares: by their names; None while there is none.
    """

    __slots__ = ("names", "shares", "subscribers")

    def __init__(self, text: str) -> None:
        # Of any length for the type checker: a compiled tuple of fixed length would be made anew for each subscriber.
        self.names: tuple[str, ...] = (text,)
        self.subscribers: dict[Connection, tuple[str, ...]] = {}
        self.shares: dict[str, Share] | None = None


class _Step:
    """
    A run of levels, and where it leads to.

    Attributes:
        run: one level or more, with slashes between them; at the root there is none, and this means nothing. `#` is the
            last of a run behind which nothing comes.
        forks: what may follow, by its first level.
        filter: that ends here; None if none does.
    """

    __slots__ = ("filter", "forks", "run")

    def __init__(self, run: str, filter: _Filter | None = None) -> None:
        self.run = run
        self.forks: dict[str, _Step] = {}
        self.filter = filter


class Filters:
    """Filters of one hub and their subscribers on this node."""

    __slots__ = ("_filters", "_root")

    def __init__(self) -> None:
        self._filters: dict[str, _Filter] = {}
        self._root = _Step("")

    def __len__(self) -> int:
        return len(self._filters)

    def add(self, name: str, connection: Connection) -> None:
        """
        Subscribe a connection that is not subscribed so.

        Args:
            name: a filter, or a shared subscription to one.
        """
        share, text = share_of(name)
        known = self._filters.get(text)
        if known is None:
            known = self._filters[text] = _Filter(text)
            self._plant(text.split("/"), known)
        if share is None:
            known.subscribers[connection] = known.names
            return
        if known.shares is None:
            known.shares = {}
        if share not in known.shares:
            known.shares[share] = Share(name)
        known.shares[share].add(connection)

    def remove(self, name: str, connection: Connection) -> None:
        """The end of a subscription that there is."""
        share, text = share_of(name)
        known = self._filters[text]
        if share is None:
            del known.subscribers[connection]
        else:
            assert known.shares is not None, "it shares one"
            members = known.shares[share]
            members.remove(connection)
            if not members:
                del known.shares[share]
                known.shares = known.shares or None
        if not known.subscribers and known.shares is None:
            del self._filters[text]
            self._uproot(text.split("/"))

    def share(self, name: str) -> Share | None:
        """A shared subscription; None if nobody has it."""
        share, text = share_of(name)
        known = self._filters.get(text)
        if known is None or known.shares is None or share is None:
            return None
        return known.shares.get(share)

    def _plant(self, levels: list[str], filter: _Filter) -> None:
        step = self._root
        position = 0
        while position < len(levels):
            first = levels[position]
            following = step.forks.get(first)
            if following is None:
                step.forks[first] = _Step("/".join(levels[position:]), filter)
                return
            run = following.run.split("/")
            shared = _shared(run, levels, position)
            if shared < len(run):
                upper = _Step("/".join(run[:shared]))
                following.run = "/".join(run[shared:])
                upper.forks[run[shared]] = following
                step.forks[first] = following = upper
            step = following
            position += shared
        step.filter = filter

    def _uproot(self, levels: list[str]) -> None:
        path = [self._root]
        position = 0
        while position < len(levels):
            step = path[-1].forks[levels[position]]
            position += step.run.count("/") + 1
            path.append(step)
        last = path.pop()
        last.filter = None
        upper = path.pop()
        if last.forks:
            _close(upper, last)
            return
        del upper.forks[_first(last)]
        if path:
            _close(path[-1], upper)

    def audience(self, group: str, members: Collection[Connection]) -> Audience | None:
        """
        Who hears of a message to a group.

        Args:
            members: of the group.

        Returns:
            None if these are all.
        """
        if not is_topic_name(group):
            return None
        found = self._match(group.split("/"))
        if not found:
            return None
        shares = [share for filter in found if filter.shares is not None for share in filter.shares.values()]
        matched = found[0].subscribers
        if len(found) > 1:
            matched = dict(matched)
            for filter in found[1:]:
                for connection, names in filter.subscribers.items():
                    before = matched.get(connection)
                    matched[connection] = names if before is None else before + names
        if not members:
            return Audience(matched.keys(), matched, shares)
        group_alone: tuple[str, ...] = (group,)
        both = [connection for connection in matched if group in connection.groups]
        if both:
            if len(found) == 1:
                matched = dict(matched)
            for connection in both:
                matched[connection] = group_alone + matched[connection]
        others = [connection for connection in matched if group not in connection.groups]
        return Audience([*members, *others], matched, shares)

    def _match(self, levels: list[str]) -> list[_Filter]:
        found: list[_Filter] = []
        end = len(levels)
        # Steps that are behind us, each with the place in the name up to which it leads.
        steps = [self._root]
        places = [0]
        while steps:
            step = steps.pop()
            place = places.pop()
            if place == end and step.filter is not None:
                found.append(step.filter)
            forks = step.forks
            if not forks:
                continue
            for first in (levels[place], _ONE, _REST) if place < end else (_REST,):
                following = forks.get(first)
                if following is not None:
                    reached = _reached(following.run, levels, place)
                    if reached >= 0:
                        steps.append(following)
                        places.append(reached)
        return found


def _shared(run: list[str], levels: list[str], position: int) -> int:
    """How many levels of a run are those of a filter from a position on."""
    most = min(len(run), len(levels) - position)
    for number in range(most):
        if run[number] != levels[position + number]:
            return number
    return most


def _reached(run: str, levels: list[str], place: int) -> int:
    """How far a run of a filter leads in a name, from a place on; -1 if they do not match."""
    end = len(levels)
    for level in run.split("/"):
        if level == _REST:
            return end  # also where nothing is left: `a/#` matches `a`
        if place == end or (level != _ONE and level != levels[place]):
            return -1
        place += 1
    return place


def _close(upper: _Step, step: _Step) -> None:
    """A step where no filter ends and nothing forks any more is one with what follows it."""
    if step.filter is not None or len(step.forks) != 1:
        return
    [following] = step.forks.values()
    following.run = f"{step.run}/{following.run}"
    upper.forks[_first(following)] = following


def _first(step: _Step) -> str:
    """The first level of a run."""
    return step.run.partition("/")[0]

"""
What clients and operators may do, as values, and a way to draw the next one at random.

The same operations are carried out on a gateway in this process and on a running server.
"""

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias
from urllib.parse import quote, urlencode

__all__ = [
    "ANY_MESSAGE",
    "FILTERS",
    "GROUPS",
    "IN_PROTOBUF",
    "JSON",
    "KINDS",
    "NUMBERED",
    "OFFERS",
    "PROTOBUF",
    "PROTOBUF_RELIABLE",
    "RELIABLE",
    "ROLES",
    "SAYING",
    "WILDCARDS",
    "Acknowledge",
    "Call",
    "Confirm",
    "Connect",
    "Depart",
    "Filter",
    "Listing",
    "Operation",
    "Packet",
    "Pass",
    "Payload",
    "Recover",
    "Say",
    "Subject",
    "World",
    "draw",
    "listing_target",
    "target",
]

JSON: Final = "json.webpubsub.azure.v1"
RELIABLE: Final = "json.reliable.webpubsub.azure.v1"

PROTOBUF: Final = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE: Final = "protobuf.reliable.webpubsub.azure.v1"

Kind: TypeAlias = Literal["json", "reliable", "protobuf", "reliable-protobuf", "simple", "mqtt4", "mqtt5"]
Whom: TypeAlias = Literal["hub", "group", "user", "connection"]

SAYING: Final[tuple[Kind, ...]] = ("json", "reliable", "protobuf", "reliable-protobuf")
"""Those who make requests in the words of the service's subprotocols."""
NUMBERED: Final[tuple[Kind, ...]] = ("reliable", "reliable-protobuf")
IN_PROTOBUF: Final[tuple[Kind, ...]] = ("protobuf", "reliable-protobuf")
OFFERS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "json": (JSON,),
    "reliable": (RELIABLE,),
    "protobuf": (PROTOBUF,),
    "reliable-protobuf": (PROTOBUF_RELIABLE,),
    "simple": (),
}
"""What they ask for; those of MQTT come otherwise."""

GROUPS: Final = ("a", "b", "b.x", "ü/%")
WILDCARDS: Final[Mapping[str, Callable[[str], bool]]] = {
    "+": lambda group: "/" not in group,
    "#": lambda group: True,
    "ü/+": lambda group: group == "ü/%",
    "b.x/#": lambda group: group == "b.x",
}
"""Filters of MQTT, and which groups they stand for."""
ANY_MESSAGE: Final = b"\x0a\x04%s/x\x12\x02\x00\xff"
"""A serialised `google.protobuf.Any`."""
USERS: Final = ("anna", "bob", None)

ROLES: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "webpubsub.joinLeaveGroup": ("joinLeaveGroup", lambda group: True),
    "webpubsub.sendToGroup": ("sendToGroup", lambda group: True),
    "webpubsub.joinLeaveGroup.a": ("joinLeaveGroup", lambda group: group == "a"),
    "webpubsub.sendToGroup.b": ("sendToGroup", lambda group: group == "b"),
    "webpubsub.sendToGroup.*": ("sendToGroup", lambda group: group == "*"),
    "webpubsub.joinLeaveGroups.*": ("joinLeaveGroup", lambda group: "." not in group),
    "webpubsub.sendToGroups.b**": ("sendToGroup", lambda group: group.startswith("b")),
    "webpubsub.sendToGroups.?": ("sendToGroup", lambda group: len(group) == 1 and group != "."),
    "webpubsub.unheardOf": ("", lambda group: False),
}
"""Roles, the permission that each gives, and the groups for which it does."""


class Subject(Protocol):
    """What filters see of a connection."""

    id: str
    user: str | None
    groups: set[str]
    kind: Kind


class Filter(NamedTuple):
    """A filter's text, and what it means."""

    text: str
    matches: Callable[[Subject], bool]


FILTERS: Final = (
    Filter("userId eq 'anna'", lambda one: one.user == "anna"),
    Filter("userId ne 'anna'", lambda one: one.user != "anna"),
    Filter("userId eq null", lambda one: one.user is None),
    Filter("'a' in groups", lambda one: "a" in one.groups),
    Filter("not ('b' in groups) and 'a' in groups", lambda one: "b" not in one.groups and "a" in one.groups),
    Filter("length(groups) gt 1", lambda one: len(one.groups) > 1),
    Filter("length(groups) eq 0 or startswith(userId, 'b')", lambda one: not one.groups or one.user == "bob"),
    Filter(f"protocol eq '{RELIABLE}'", lambda one: one.kind == "reliable"),
    Filter(f"protocol ne '{PROTOBUF}'", lambda one: one.kind != "protobuf"),
    Filter("userId in ('bob', 'carl')", lambda one: one.user == "bob"),
    Filter("true", lambda one: True),
    Filter("false", lambda one: False),
)


class Connect(NamedTuple):
    """
    A new client. `name` is how the other operations call it.

    Attributes:
        publish_to, no_echo: of a simple client that publishes what it says; else None.
        issued: its token comes from REST instead of being made by the application itself.
    """

    name: str
    kind: Kind
    user: str | None
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    publish_to: str | None = None
    no_echo: bool = False
    issued: bool = False


class Say(NamedTuple):
    """
    Messages of a JSON client, one right behind the other; text that is no request stands for itself. A protobuf client
    says the same in its words.
    """

    name: str
    frames: tuple[dict[str, Any] | str, ...]


class Payload(NamedTuple):
    """A message of a simple client."""

    name: str
    data: str | bytes


class Packet(NamedTuple):
    """
    A packet of an MQTT client.

    Attributes:
        what: SUBSCRIBE, UNSUBSCRIBE or PUBLISH.
        group: the only filter, with wildcards or without, or the topic.
        qos: of a subscription or a publication.
        data: text has a content type that says so, where there are content types.
        retain: the publication is to be kept, or, if it is empty, what is kept is not any more.
    """

    name: str
    what: Literal["subscribe", "unsubscribe", "publish"]
    group: str
    qos: int = 0
    data: str | bytes = b""
    retain: bool = False


class Confirm(NamedTuple):
    """An MQTT client acknowledges this number of what it received and has not acknowledged, the oldest ones first."""

    name: str
    number: int


class Acknowledge(NamedTuple):
    """Everything up to this sequence id has arrived, says a client, whether that is so or not."""

    name: str
    number: int


class Depart(NamedTuple):
    """
    A socket ends: cut without a word, or with a close frame of this code; in front of that of 1000 an MQTT client says
    goodbye in a packet, and both keep its session.
    """

    name: str
    how: Literal["cut", 1000, 1001]


class Recover(NamedTuple):
    """Somebody asks for a connection back, with its token or with another one; in MQTT, with its client id and such."""

    name: str
    honest: bool


class Call(NamedTuple):
    """
    A REST call.

    Attributes:
        path: below `/api/hubs/HUB/`, percent-encoded.
        what: the same for the reference: the operation, whom it is for, and the rest of what it says.
    """

    method: str
    path: str
    what: tuple[Any, ...]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str | None = None


class Listing(NamedTuple):
    """Ask who is in a group: in pages of this size, and so many in all."""

    group: str
    page: int
    top: int | None


class Pass(NamedTuple):
    """Time passes."""

    seconds: int


Operation: TypeAlias = (
    Connect | Say | Payload | Packet | Acknowledge | Confirm | Depart | Recover | Call | Listing | Pass
)


class World(Protocol):
    """
    What drawing must know of those who are there.

    Attributes:
        lifetimes: whole seconds that messages may be given; 0 is for ever.
        kinds: of clients that come, each as often as it is to.
    """

    lifetimes: Sequence[int]
    kinds: Sequence[Kind]

    def names(self, *kinds: Kind, there: bool | None = None) -> Sequence[str]:
        """Clients that were ever let in: of these kinds (none for all), with or without a socket now."""

    def id_of(self, name: str) -> str:
        """The id of a client's connection."""

    def ack_ids(self, name: str) -> Sequence[int]:
        """Ack ids that the client has used."""

    def last_number(self, name: str) -> int:
        """The highest sequence id that the client was sent."""

    def streams(self, name: str) -> Mapping[str, int]:
        """The streams that the client has open, each with the number of its next fragment."""

    def unacknowledged(self, name: str) -> int:
        """How many messages the client has not acknowledged."""

    @property
    def count(self) -> int:
        """How many clients were let in so far."""

    @property
    def alive(self) -> int:
        """How many of them there are."""


Draw: TypeAlias = "Callable[[random.Random, World], Operation | None]"


def _connect(draw: random.Random, world: World) -> Operation | None:
    if world.alive >= 9:
        return None
    kind = draw.choice(world.kinds)
    roles: tuple[str, ...] = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")
    if draw.random() < 0.5:
        roles = tuple(draw.sample(sorted(ROLES), draw.randint(0, 3)))
    groups = tuple(draw.sample(GROUPS, draw.randint(0, 2)))
    name = f"{kind}{world.count}"
    if kind == "simple":
        # Nobody tells a simple client its id, but whoever lists a group that only this client is in.
        groups += (name,)
    publish_to = draw.choice((None, *GROUPS)) if kind == "simple" else None
    no_echo = publish_to is not None and draw.random() < 0.5
    return Connect(name, kind, draw.choice(USERS), roles, groups, publish_to, no_echo, draw.random() < 0.3)


def _ack_id(draw: random.Random, used: Sequence[int], position: int) -> int | None:
    """None, one that was used, or a new one: mostly the next, sometimes a huge one."""
    choice = draw.randint(0, 9)
    if choice == 0:
        return None
    if choice <= 2 and used:
        return draw.choice(used)
    if choice == 3:
        return (1 << 64) - 1 - draw.randint(0, 3)
    return max((id for id in used if id < 1 << 32), default=0) + 1 + position


def _request(draw: random.Random, ack_id: int | None, lifetimes: Sequence[int]) -> dict[str, Any] | str:
    group = draw.choice(GROUPS)
    frame: dict[str, Any]
    match draw.choice(("joinGroup", "joinGroup", "leaveGroup", "send", "send", "send", "event")):
        case "send":
            frame = {"type": "sendToGroup", "group": group, **_data(draw)}
            if draw.random() < 0.4:
                frame["noEcho"] = draw.random() < 0.8
            if draw.random() < 0.2:
                frame["metadata"] = {"k": draw.choice("xyz")}
            if draw.random() < 0.3:
                frame["ttlSeconds"] = draw.choice(lifetimes)
        case "event":
            frame = {"type": "event", "event": "ev", "dataType": "text", "data": "x"}
        case kind:
            frame = {"type": kind, "group": group}
    if ack_id is not None:
        frame["ackId"] = ack_id
    return frame


def _stream_request(draw: random.Random, streams: dict[str, int]) -> dict[str, Any]:
    """
    Args:
        streams: as `World.streams` has them, with what was drawn since.
    """
    stream_id = draw.choice("st")
    match draw.choice(("start", "data", "data", "data", "keep", "end")):
        case "start":
            streams.setdefault(stream_id, 1)
            # Nobody is silent for so long.
            stream = {"streamId": stream_id, "idleTimeoutMs": (1 << 32) - 1}
            return {
                "type": "sendToGroup",
                "group": draw.choice(GROUPS),
                "noEcho": draw.random() < 0.3,
                "stream": stream,
            }
        case "data":
            number = streams.get(stream_id, 1) + draw.choice((0, 0, 0, 0, -1, 1))
            streams[stream_id] = max(number, streams.get(stream_id, 1)) + 1
            return {
                "type": "streamData",
                "streamId": stream_id,
                "streamSequenceId": max(number, 1),
                "dataType": "json",
                **_data(draw),
            }
        case "keep":
            return {"type": "streamData", "streamId": stream_id}
        case _:
            streams.pop(stream_id, None)
            error = {"error": {"message": "m", "userErrorCode": "E1"}} if draw.random() < 0.5 else {}
            return {"type": "streamEnd", "streamId": stream_id, **error}


def _data(draw: random.Random) -> dict[str, Any]:
    number = draw.randint(0, 999)
    match draw.choice(("json", "none", "text", "binary", "protobuf")):
        case "none":
            return {"data": number}
        case "json":
            return {"dataType": "json", "data": {"n": number, "%d": ["%", None]}}
        case "text":
            return {"dataType": "text", "data": f"tëxt %s {number}"}
        case "protobuf":
            return {"dataType": "protobuf", "data": base64.b64encode(ANY_MESSAGE).decode()}
        case _:
            return {"dataType": "binary", "data": "AAH/"}


def _say(draw: random.Random, world: World) -> Operation | None:
    names = world.names(*SAYING, there=True)
    if not names:
        return None
    name = draw.choice(names)
    if draw.random() < 0.01:
        return Say(name, (draw.choice(("no JSON", '{"type":"joinGroup"}', '{"type":"unheardOf"}', "[]")),))
    used = world.ack_ids(name)
    count = draw.choice((1, 1, 1, draw.randint(2, 6)))
    ack_ids = [_ack_id(draw, used, position) for position in range(count)]
    streams = dict(world.streams(name))
    return Say(
        name,
        tuple(
            _stream_request(draw, streams) if draw.random() < 0.25 else _request(draw, ack_id, world.lifetimes)
            for ack_id in ack_ids
        ),
    )


def _payload(draw: random.Random, world: World) -> Operation | None:
    names = world.names("simple", there=True)
    if not names:
        return None
    return Payload(draw.choice(names), draw.choice(("a text", "", "ü", b"\x00\xff", b"")))


def _packet(draw: random.Random, world: World) -> Operation | None:
    names = world.names("mqtt4", "mqtt5", there=True)
    if not names:
        return None
    name, group = draw.choice(names), draw.choice(GROUPS)
    wanted = draw.choice(tuple(WILDCARDS)) if draw.random() < 0.4 else group
    match draw.choice(("subscribe", "subscribe", "unsubscribe", "publish", "publish", "publish")):
        case "subscribe":
            return Packet(name, "subscribe", wanted, draw.choice((0, 1, 1)))
        case "unsubscribe":
            return Packet(name, "unsubscribe", wanted)
    data = draw.choice(("a text", "ü", b"\x00\xff", b""))
    return Packet(name, "publish", group, draw.choice((0, 1, 1)), data, draw.random() < 0.4)


def _confirm(draw: random.Random, world: World) -> Operation | None:
    names = world.names("mqtt4", "mqtt5", there=True)
    if not names:
        return None
    name = draw.choice(names)
    held = world.unacknowledged(name)
    return Confirm(name, draw.choice((held, held, draw.randint(0, held))))


def _acknowledge(draw: random.Random, world: World) -> Operation | None:
    names = world.names(*NUMBERED, there=True)
    if not names:
        return None
    name = draw.choice(names)
    last = world.last_number(name)
    return Acknowledge(name, draw.choice((last, last, draw.randint(0, last), last + 1000)))


def _depart(draw: random.Random, world: World) -> Operation | None:
    names = world.names(there=True)
    if not names:
        return None
    how: Literal["cut", 1000, 1001] = draw.choice(("cut", "cut", "cut", 1000, 1001))
    return Depart(draw.choice(names), how)


def _recover(draw: random.Random, world: World) -> Operation | None:
    away = world.names(*NUMBERED, "mqtt4", "mqtt5", there=False)
    names = away if away and draw.random() < 0.8 else world.names(*SAYING, "mqtt4", "mqtt5")
    return Recover(draw.choice(names), draw.random() < 0.85) if names else None


def _some_id(draw: random.Random, world: World) -> str:
    names = world.names()
    return world.id_of(draw.choice(names)) if names and draw.random() < 0.95 else "unknown"


def _place(draw: random.Random, world: World, whom: Whom) -> tuple[str, str]:
    """The name of somebody, and the path to him."""
    match whom:
        case "hub":
            return "", ""
        case "group":
            name = draw.choice(GROUPS)
        case "user":
            name = draw.choice(("anna", "bob", "nobody"))
        case "connection":
            name = _some_id(draw, world)
    return name, f"{whom}s/{quote(name, safe='')}/"


def _excluded(draw: random.Random, world: World) -> tuple[str, ...]:
    return tuple(_some_id(draw, world) for _ in range(draw.choice((0, 0, 1, 2))))


def _send(draw: random.Random, world: World) -> Operation | None:
    whom: Whom = draw.choice(("hub", "group", "group", "user", "connection"))
    name, path = _place(draw, world, whom)
    excluded = _excluded(draw, world) if whom in ("hub", "group") else ()
    filter = draw.choice(FILTERS) if whom != "connection" and draw.random() < 0.3 else None
    ttl_s = draw.choice(world.lifetimes)
    query = [("excluded", id) for id in excluded]
    if filter is not None:
        query.append(("filter", filter.text))
    if ttl_s:
        query.append(("messageTtlSeconds", str(ttl_s)))
    kind, content_type, body = draw.choice(
        (
            ("text", "text/plain", f"tëxt % {draw.randint(0, 999)}".encode()),
            ("json", "application/json", json.dumps({"%s": draw.randint(0, 999)}).encode()),
            ("binary", "application/octet-stream", b"\x00\xff%"),
            ("protobuf", "application/x-protobuf", ANY_MESSAGE),
        )
    )
    what = ("send", whom, name, excluded, filter, ttl_s, kind, body)
    return Call("POST", f"{path}:send", what, tuple(query), body, content_type)


def _membership(draw: random.Random, world: World) -> Operation | None:
    whom: Whom = draw.choice(("connection", "user"))
    name, path = _place(draw, world, whom)
    group = draw.choice(GROUPS)
    action = draw.choice(("add", "add", "add", "remove", "remove", "remove all"))
    if action == "remove all":
        return Call("DELETE", f"{path}groups", (action, whom, name))
    in_group = f"groups/{quote(group, safe='')}"
    where = f"{in_group}/{path}".rstrip("/") if whom == "connection" else f"{path}{in_group}"
    return Call("PUT" if action == "add" else "DELETE", where, (action, whom, name, group))


def _bulk(draw: random.Random, world: World) -> Operation | None:
    action = draw.choice(("add bulk", "remove bulk"))
    groups = tuple(draw.sample(GROUPS, draw.randint(1, 2)))
    filter = draw.choice((None, *FILTERS))
    body = json.dumps({"groups": groups, "filter": filter.text if filter else None}).encode()
    verb = ":addToGroups" if action == "add bulk" else ":removeFromGroups"
    return Call("POST", verb, (action, groups, filter), (), body, "application/json")


def _rule(draw: random.Random, world: World) -> Operation | None:
    action, method = draw.choice((("grant", "PUT"), ("revoke", "DELETE"), ("check", "HEAD"), ("check", "HEAD")))
    permission = draw.choice(("joinLeaveGroup", "sendToGroup"))
    id, group = _some_id(draw, world), draw.choice((*GROUPS, "*"))
    path = f"permissions/{permission}/connections/{id}"
    return Call(method, path, (action, id, permission, group), (("targetName", group),))


def _exists(draw: random.Random, world: World) -> Operation | None:
    whom: Whom = draw.choice(("group", "user", "connection"))
    name, path = _place(draw, world, whom)
    return Call("HEAD", path.rstrip("/"), ("exists", whom, name))


def _list(draw: random.Random, world: World) -> Operation | None:
    return Listing(draw.choice(GROUPS), draw.choice((1, 2, 200)), draw.choice((None, None, 1, 3)))


def _close(draw: random.Random, world: World) -> Operation | None:
    whom: Whom = draw.choice(("connection", "connection", "connection", "user", "group", "hub"))
    if whom == "hub" and draw.random() < 0.7:
        return None
    name, path = _place(draw, world, whom)
    reason = draw.choice(("", "enough", "ü&=+ " + "x" * 200))
    query = [("reason", reason)] if reason else []
    if whom == "connection":
        return Call("DELETE", path.rstrip("/"), ("close", whom, name, (), reason), tuple(query))
    excluded = _excluded(draw, world)
    query += [("excluded", id) for id in excluded]
    return Call("POST", f"{path}:closeConnections", ("close", whom, name, excluded, reason), tuple(query))


def _pass(draw: random.Random, world: World) -> Operation | None:
    return Pass(draw.choice((2, 2, 7, 40)))


_DRAWS: Final[Mapping[str, tuple[int, Draw]]] = {
    "connect": (6, _connect),
    "say": (30, _say),
    "payload": (2, _payload),
    "packet": (10, _packet),
    "acknowledge": (8, _acknowledge),
    "confirm": (4, _confirm),
    "depart": (5, _depart),
    "recover": (8, _recover),
    "send": (14, _send),
    "membership": (8, _membership),
    "bulk": (3, _bulk),
    "rule": (8, _rule),
    "exists": (5, _exists),
    "list": (4, _list),
    "close": (1, _close),
    "pass": (2, _pass),
}

KINDS: Final[tuple[str, ...]] = tuple(kind for kind, (weight, _) in _DRAWS.items() for _ in range(weight))
"""What can be drawn, each as often as it is to occur."""


def draw(kind: str, random: random.Random, world: World) -> Operation | None:
    """The next operation of a kind; None if there is nobody to do it."""
    return _DRAWS[kind][1](random, world)


def target(call: Call, hub: str, api_version: str = "2024-12-01") -> str:
    """Where a call goes: path and query."""
    return f"/api/hubs/{hub}/{call.path}?{urlencode([('api-version', api_version), *call.query])}"


def listing_target(listing: Listing, hub: str) -> str:
    """Where a listing begins."""
    query = {"api-version": "2024-12-01", "maxpagesize": listing.page}
    if listing.top is not None:
        query["top"] = listing.top
    return f"/api/hubs/{hub}/groups/{quote(listing.group, safe='')}/connections?{urlencode(query)}"

"""
The workloads, as a table: what each measures, what the load generator is told, who takes part, and for how long.

All fan-out rows have 1,000 members in one group and 64 bytes of payload where they say nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from bench.figures import FIGURES

__all__ = [
    "CALL_TARGET",
    "CENTRIFUGO",
    "CENTRIFUGO_RPC",
    "FLOOR",
    "HUB",
    "HUBWIRE",
    "HUBWIRE_ASKING",
    "HUBWIRE_EVENTS",
    "HUBWIRE_INTERVAL",
    "HUBWIRE_MANY_USERS",
    "HUBWIRE_USERS",
    "MANY_USERS",
    "MOCHI",
    "MOSQUITTO",
    "NATS",
    "NATS_MQTT",
    "SIGNATURE",
    "SOCKETIO",
    "SYNC",
    "WITHOUT_SERVER",
    "WORKLOADS",
    "WS",
    "Candidate",
    "Mode",
    "Operation",
    "Options",
    "Workload",
    "frame_bytes",
    "mqtt_frame_bytes",
    "quick",
    "run_seconds",
    "seconds",
    "with_rounds",
    "with_users",
]

HUBWIRE: Final = "hubwire"
HUBWIRE_ASKING: Final = "hubwire-asking"
"""The same server, told to ask clients for a certificate."""

HUBWIRE_EVENTS: Final = "hubwire-events"
"""The same server, with an event handler."""

HUBWIRE_INTERVAL: Final = "hubwire-interval"
"""The same server, whose journal is synced once in a second."""

HUBWIRE_USERS: Final = "hubwire-users"
"""The same server, with 1,000 users of its communication service."""

HUBWIRE_MANY_USERS: Final = "hubwire-many-users"
"""The same server, with many more of them."""

MANY_USERS: Final = 200_000
"""So many, unless one wants another number: a million takes more than a minute to bring in."""

NATS: Final = "nats"
NATS_MQTT: Final = "nats-mqtt"
"""The same server, spoken to in MQTT."""

CENTRIFUGO: Final = "centrifugo"
CENTRIFUGO_RPC: Final = "centrifugo-rpc"
"""The same server, with an application's server that it passes calls of clients on to."""

WS: Final = "ws"
SOCKETIO: Final = "socketio"
MOSQUITTO: Final = "mosquitto"
MOCHI: Final = "mochi"
FLOOR: Final = "floor"
SIGNATURE: Final = "signature"
"""No server either: what an RSA signature takes, in a process of Python."""

SYNC: Final = "sync"
"""No server either: how often the disk syncs 4 KiB in a file, one after the other."""

WITHOUT_SERVER: Final = (FLOOR, SIGNATURE, SYNC)

HUB: Final = "bench"
"""The hub that Hubwire's clients are in."""

CALL_TARGET: Final = f"/api/hubs/{HUB}/groups/g0/:send?api-version=2024-12-01"
"""What the REST workload calls; the generator's first group is `g0`."""

Operation = Literal["create", "get", "issue", "introspect"]
"""Of a communication service."""

Mode = Literal["fanout", "echo", "idle", "churn", "connect", "disconnect", "calls", "publish", "floor"]

Options = tuple[tuple[str, str], ...]
"""Options of the load generator, with their values."""

_HANDSHAKES_PER_S: Final = {
    HUBWIRE: 3000,
    HUBWIRE_ASKING: 3000,
    HUBWIRE_EVENTS: 3000,
    HUBWIRE_INTERVAL: 3000,
    HUBWIRE_USERS: 3000,
    HUBWIRE_MANY_USERS: 3000,
    NATS: 3000,
    NATS_MQTT: 3000,
    CENTRIFUGO: 2500,
    CENTRIFUGO_RPC: 2500,
    WS: 2500,
    SOCKETIO: 1200,
    MOSQUITTO: 5000,
    MOCHI: 3000,
    FLOOR: 20_000,
    SIGNATURE: 20_000,
    SYNC: 20_000,
}
"""For the plan only: how fast members come in, their joins included."""

_TLS_HANDSHAKES_PER_S: Final = 1000

_DRAIN_S: Final = 10.0
"""How long the generator waits for what is in flight. Whoever is overloaded needs all of it."""

_PAUSE_S: Final = 0.5
"""Around each run: processes, and waiting until the server has got over the end of its clients."""

_START_S: Final = 1.5
"""Of a fresh server, its clients' tokens included."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """
    Who takes part in a workload.

    Attributes:
        server: key of the table of servers, or `FLOOR`.
        name: what it is called in this workload if that is not its server's name, since a server may take part twice.
        protocol: of the generator, if it is not the server's usual one.
        options: of the generator, besides those of the workload.
        tls: over TLS, to the server's other port; connecting takes longer then.
        official: called by the official client library of Python instead of the load generator.
        overloaded: it cannot carry what is offered, so that its runs last until the generator gives up waiting.
    """

    server: str
    name: str = ""
    protocol: str = ""
    options: Options = ()
    tls: bool = False
    official: bool = False
    overloaded: bool = False

    @property
    def label(self) -> str:
        """Its name in tables and goals."""
        return self.name or self.server


@dataclass(frozen=True, kw_only=True)
class Workload:
    """
    A row of the benchmark.

    Attributes:
        name: what `--only` takes.
        title: heading of its table.
        measures: one or two sentences for the reader of the page.
        options: of the generator, for all candidates but the floor.
        per: what CPU time is divided by.
        columns: keys of `FIGURES` to show.
        connections: that a run opens.
        rounds: how often each candidate runs.
        quick: labels of those that take part in a quick run; none leaves the row out.
        extra_s: what a run lasts besides connecting, warm-up and measured time.
        fresh: a server is started for each run, since what others left behind would count.
        groups_claimed: groups that the token of each of Hubwire's clients names.
        operation: of a communication service, which is called instead of the hub.
        users: that the server with many users has; where the sentences say `{users}`, that is shown.
    """

    name: str
    title: str
    measures: str
    mode: Mode
    options: Options
    per: str
    columns: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    connections: int
    quick: tuple[str, ...] = (HUBWIRE,)
    rounds: int = 3
    warmup_s: float = 0.5
    duration_s: float = 1.5
    extra_s: float = 0.0
    fresh: bool = False
    groups_claimed: int = 0
    operation: Operation | None = None
    users: int = MANY_USERS


def frame_bytes(payload_bytes: int) -> int:
    """Bytes of the frame in which Hubwire delivers a text of so many: what the floor has to send for one message."""
    text = "x" * payload_bytes
    payload = (
        f'{{"type":"message","from":"group","fromUserId":"user-1099","group":"g0","dataType":"text","data":"{text}"}}'
    )
    return len(payload) + (2 if len(payload) < 126 else 4 if len(payload) < 65_536 else 10)


def mqtt_frame_bytes(payload_bytes: int, qos: int) -> int:
    """The same in MQTT 3.1.1, at quality of service 0 or 1."""
    body = len(b"..g0") + (2 if qos else 0) + payload_bytes
    packet = 1 + (1 if body < 128 else 2 if body < 16_384 else 3) + body
    return packet + (2 if packet < 126 else 4 if packet < 65_536 else 10)


def _servers(*names: str, overloaded: Sequence[str] = ()) -> tuple[Candidate, ...]:
    return tuple(Candidate(server=name, overloaded=name in overloaded) for name in names)


def _floor(payload_bytes: int, connections: int, rate: int = 0) -> Candidate:
    """Bare sockets that are sent as many bytes as ours, `rate` times a second; 0 is as fast as it goes."""
    size = ("--size", str(frame_bytes(payload_bytes)))
    return Candidate(server=FLOOR, options=(size, ("--connections", str(connections)), ("--rate", str(rate))))


def _mqtt(protocol: str, *candidates: Candidate) -> tuple[Candidate, ...]:
    """These, and Hubwire before them, in a protocol of the MQTT family."""
    return tuple(
        one if one.protocol or one.server == FLOOR else replace(one, protocol=protocol)
        for one in (Candidate(server=HUBWIRE), *candidates)
    )


def _mqtt_floor(qos: int, rate: int) -> Candidate:
    """
    Bare sockets that are sent as many bytes as our clients of MQTT. With quality of service 1 each answers with as many
    as a PUBACK has in its masked frame, and all answers are read.
    """
    size = ("--size", str(mqtt_frame_bytes(64, qos)))
    answer = (("--answer", str(_PUBACK_FRAME_BYTES)),) if qos else ()
    return Candidate(server=FLOOR, options=(size, ("--connections", "1000"), ("--rate", str(rate)), *answer))


_PUBACK_FRAME_BYTES: Final = 10
_FANOUT: Final = ("cpu_us", "per_s", "p50_ms", "p99_ms", "max_ms", "memory_mib")
_PROBED: Final = ("p50_ms", "p99_ms", "max_ms")
_MAIN: Final = (HUBWIRE, NATS, CENTRIFUGO, WS)
_BURST: Final = 16
_TLS: Final = (
    Candidate(server=HUBWIRE, name="hubwire plain"),
    Candidate(server=HUBWIRE, name="hubwire TLS", tls=True),
    Candidate(server=HUBWIRE_ASKING, name="hubwire TLS, asking", tls=True),
)
"""Without TLS, with it, and with a server that asks its clients for a certificate, of which they have none."""

_TLS_IDLE: Final = 1000
_MQTT_PUBLISHERS: Final = (
    ("--publishers", "500"),
    ("--members", "10"),
    ("--groups", "10"),
    ("--size", "64"),
    ("--window", "1"),
)
_MQTT_PEERS: Final = _servers(NATS_MQTT, MOCHI)


def _fanout(
    name: str,
    title: str,
    measures: str,
    candidates: tuple[Candidate, ...],
    *options: str,
    size: int = 64,
    members: int = 1000,
    rounds: int = 3,
    quick: tuple[str, ...] = (HUBWIRE,),
    fresh: bool = False,
    duration_s: float = 1.5,
) -> Workload:
    """A row of the fan-out kind; `options` are name and value in turn."""
    return Workload(
        name=name,
        title=title,
        measures=measures,
        mode="fanout",
        options=(
            ("--members", str(members)),
            ("--size", str(size)),
            *zip(options[::2], options[1::2], strict=True),
        ),
        per="delivery",
        columns=_FANOUT,
        candidates=candidates,
        connections=members,
        rounds=rounds,
        quick=quick,
        duration_s=duration_s,
        fresh=fresh,
    )


def _echo(connections: int, *more: str) -> Workload:
    return Workload(
        name=f"echo-{connections}",
        title=f"Echo, {connections} connections",
        measures="Each connection is alone in a group, sends itself 64 bytes and sends again once it has them.",
        mode="echo",
        options=(("--connections", str(connections)), ("--size", "64")),
        per="delivery",
        columns=_FANOUT,
        candidates=_servers(*_MAIN, *more),
        connections=connections,
        quick=(HUBWIRE, WS),
    )


def _identities(operation: Operation, title: str, measures: str, *more: Candidate) -> Workload:
    """A row about users of a communication service."""
    return Workload(
        name=f"identity-{operation}",
        title=f"Communication users: {title}",
        measures=f"{measures} 8 callers on connections that stay open, each with one call under way, at 1,000 users "
        "and at {users}; about users that chance chooses.",
        mode="calls",
        options=(("--members", "0"), ("--callers", "8")),
        per="call",
        columns=("cpu_us", "per_s", "p50_ms", "p99_ms", "memory_mib"),
        candidates=(
            Candidate(server=HUBWIRE_USERS, name="hubwire"),
            Candidate(server=HUBWIRE_MANY_USERS, name="hubwire, many users"),
            *more,
        ),
        connections=0,
        quick=("hubwire", *(one.label for one in more if not one.official)),
        duration_s=1.0,
        operation=operation,
    )


_OFFICIAL: Final = Candidate(server=HUBWIRE_USERS, name="hubwire, official client", official=True)
_ONE_CALLER: Final = "The official client library of Python is one caller, and spends most of the time itself."

WORKLOADS: Final = (
    _fanout(
        "paced",
        "Paced: 60 messages/s, one at a time",
        "Nothing can be batched, so that each delivery costs a system call and wakes its reader. The floor is a C "
        "program that sends as many bytes to as many sockets at the same pace and does nothing else.",
        (*_servers(*_MAIN, MOSQUITTO), _floor(64, 1000, rate=60)),
        "--rate",
        "60",
        rounds=4,
        quick=(HUBWIRE, WS, FLOOR),
    ),
    _fanout(
        "bursts",
        "Bursts of 16: 480 messages/s, open loop",
        "Bursts come on schedule, however the server fares: no feedback between its speed and the size of its batches. "
        "The fairest single row.",
        _servers(*_MAIN, overloaded=(WS,)),
        "--rate",
        "480",
        "--burst",
        str(_BURST),
        rounds=4,
        quick=(HUBWIRE, NATS, CENTRIFUGO, WS),
    ),
    _fanout(
        "saturated",
        "Saturated: 64 messages in flight",
        "One publisher keeps 64 messages under way and sends the next as soon as all members have one.",
        (*_servers(*_MAIN, SOCKETIO, MOSQUITTO), _floor(64, 1000)),
        "--window",
        "64",
        rounds=4,
        quick=(HUBWIRE, NATS, WS, SOCKETIO),
    ),
    _fanout(
        "publishers",
        "50 publishers, 50 messages in flight",
        "As saturated, but the messages arrive one by one on 50 connections.",
        _servers(*_MAIN),
        "--publishers",
        "50",
        "--window",
        "50",
        quick=(HUBWIRE, NATS),
    ),
    _fanout(
        "offered",
        "500 messages/s from 50 publishers, open loop",
        "Half a million deliveries a second are due, three times what one send for each could carry on a core.",
        _servers(HUBWIRE, NATS, CENTRIFUGO),
        "--publishers",
        "50",
        "--rate",
        "500",
        rounds=4,
        quick=(HUBWIRE, NATS),
    ),
    _fanout(
        "1kib",
        "1 KiB, saturated",
        "Larger messages, 64 in flight.",
        (*_servers(*_MAIN), _floor(1024, 1000)),
        "--window",
        "64",
        size=1024,
        quick=(HUBWIRE, NATS),
    ),
    _fanout(
        "2kib",
        "2 KiB, 300 messages/s, open loop",
        "What Azure's own table of performance gives for 100 units, on one core.",
        _servers(HUBWIRE, NATS, CENTRIFUGO),
        "--rate",
        "300",
        size=2048,
    ),
    _fanout(
        "16kib",
        "16 KiB, saturated",
        "The kernel's copying is most of the work here. 64 in flight.",
        (*_servers(*_MAIN), _floor(16 * 1024, 1000)),
        "--window",
        "64",
        size=16 * 1024,
        quick=(HUBWIRE, WS),
    ),
    _fanout(
        "groups",
        "100 groups of 10 members, saturated",
        "64 in flight, to one group after the other: small fan-out, where each message's own cost shows.",
        _servers(*_MAIN),
        "--groups",
        "100",
        "--window",
        "64",
        quick=(HUBWIRE, NATS),
    ),
    _fanout(
        "one-in-20",
        "One connection in 20 groups, saturated",
        "All messages of all groups go to the same client.",
        _servers(*_MAIN),
        "--groups",
        "20",
        "--memberships",
        "20",
        "--window",
        "64",
        members=1,
    ),
    _fanout(
        "all-in-20",
        "1,000 connections, each in 20 of 200 groups, saturated",
        "A message goes to 100 members, and the groups overlap.",
        _servers(*_MAIN),
        "--groups",
        "200",
        "--memberships",
        "20",
        "--window",
        "64",
    ),
    _fanout(
        "reliable",
        "Reliable JSON, saturated",
        "Each frame carries the number of its own connection, and the members acknowledge every 100th message. 64 in "
        "flight. Queue limit: `reliable_queue_messages` at its default of 1000. A fresh server each time: clients that "
        "are gone stay members until the time for their recovery is over.",
        (
            Candidate(
                server=HUBWIRE,
                name="hubwire reliable",
                protocol="azure-reliable",
                options=(("--ack-every", "100"),),
            ),
            Candidate(server=HUBWIRE, name="hubwire plain"),
        ),
        "--window",
        "64",
        rounds=4,
        quick=("hubwire reliable", "hubwire plain"),
        fresh=True,
    ),
    _fanout(
        "protobuf",
        "Protobuf, saturated",
        "The protobuf subprotocols next to the JSON ones, plain and reliable. 64 in flight; members of the reliable "
        "ones acknowledge every 100th message. A fresh server each time, as above.",
        (
            Candidate(server=HUBWIRE, name="hubwire protobuf", protocol="azure-protobuf"),
            Candidate(server=HUBWIRE, name="hubwire JSON"),
            Candidate(
                server=HUBWIRE,
                name="hubwire reliable protobuf",
                protocol="azure-protobuf-reliable",
                options=(("--ack-every", "100"),),
            ),
            Candidate(
                server=HUBWIRE,
                name="hubwire reliable JSON",
                protocol="azure-reliable",
                options=(("--ack-every", "100"),),
            ),
        ),
        "--window",
        "64",
        rounds=3,
        quick=("hubwire protobuf",),
        fresh=True,
    ),
    _fanout(
        "tls",
        "TLS, saturated",
        "As saturated, over TLS 1.3, and once more with a server that asks clients for a certificate.",
        _TLS,
        "--window",
        "64",
        quick=("hubwire plain", "hubwire TLS"),
    ),
    _echo(100, SOCKETIO, MOSQUITTO),
    _echo(500),
    Workload(
        name="events",
        title="Echo through an event handler, 100 connections",
        measures="Each connection sends an event of 64 bytes and sends again once it has the answer, which comes from "
        "an application's server: Hubwire's event handler, and whom Centrifugo's RPC proxy asks, by a POST over "
        "HTTP/1.1. That is a small C program on the load generator's core. Azure's own table of performance gives 500 "
        "events/s for a unit.",
        mode="echo",
        options=(("--connections", "100"), ("--size", "64")),
        per="event",
        columns=_FANOUT,
        candidates=(
            Candidate(server=HUBWIRE_EVENTS, name="hubwire"),
            Candidate(server=CENTRIFUGO_RPC, name="centrifugo"),
        ),
        connections=100,
        quick=("hubwire",),
    ),
    Workload(
        name="rest",
        title="REST `:send` to a group of 1,000",
        measures="8 callers on connections that stay open, each with one call under way; the token of each call is "
        "checked, and all 1,000 members receive each message. CPU is of a call with all its deliveries.",
        mode="calls",
        options=(("--members", "1000"), ("--size", "64"), ("--callers", "8")),
        per="call",
        columns=_FANOUT,
        candidates=_servers(HUBWIRE),
        connections=1000,
    ),
    Workload(
        name="handshake",
        title="Handshake",
        measures="32 at a time: TCP connection, upgrade, close. Hubwire checks a token that no one else has, with a "
        "user and three roles; the peers check nothing.",
        mode="churn",
        options=(("--concurrency", "32"),),
        per="handshake",
        columns=("cpu_us", "per_s", "memory_mib"),
        candidates=_servers(*_MAIN, SOCKETIO),
        connections=0,
        quick=(HUBWIRE, WS),
        rounds=3,
        fresh=True,
    ),
    Workload(
        name="idle",
        title="10,000 idle connections",
        measures="Growth of the server's resident memory by the connections, divided by their number; kernel memory is "
        "not in it. Each of Hubwire's clients has a user, three roles and two groups; those of the peers have "
        "nothing.",
        mode="idle",
        options=(("--connections", "10000"),),
        per="connection",
        columns=("kib_each", "memory_mib"),
        candidates=_servers(*_MAIN),
        connections=10_000,
        warmup_s=0.0,
        duration_s=0.0,
        extra_s=2.0,
        fresh=True,
        groups_claimed=2,
    ),
    Workload(
        name="tls-handshake",
        title="Handshake over TLS",
        measures="As the handshake above, with a full TLS handshake (ECDSA, P-256) before it.",
        mode="churn",
        options=(("--concurrency", "32"),),
        per="handshake",
        columns=("cpu_us", "per_s", "memory_mib"),
        candidates=_TLS[1:],
        connections=0,
        quick=("hubwire TLS",),
        duration_s=1.0,
        fresh=True,
    ),
    Workload(
        name="tls-idle",
        title=f"{_TLS_IDLE:,} idle connections over TLS",
        measures="As the idle ones above.",
        mode="idle",
        options=(("--connections", str(_TLS_IDLE)), ("--settle-s", "1")),
        per="connection",
        columns=("kib_each", "memory_mib"),
        candidates=_TLS[1:],
        connections=_TLS_IDLE,
        quick=("hubwire TLS",),
        warmup_s=0.0,
        duration_s=0.0,
        extra_s=1.0,
        fresh=True,
        groups_claimed=2,
    ),
    Workload(
        name="disconnect",
        title="Mass disconnect of 5,000",
        measures="5,000 members of a group are gone at once. Latency is that of somebody else, who meanwhile sends a "
        "message to himself each 5 ms.",
        mode="disconnect",
        options=(("--connections", "5000"),),
        per="connection",
        columns=("cpu_us", *_PROBED),
        candidates=_servers(HUBWIRE, CENTRIFUGO, WS),
        connections=5000,
        warmup_s=0.0,
        duration_s=0.0,
        extra_s=2.5,
        fresh=True,
    ),
    Workload(
        name="connect",
        title="10,000 connect at once",
        measures="All connections are opened before any handshake is awaited. Latency is that of somebody else, as "
        "above; the seconds are until all are in.",
        mode="connect",
        options=(("--connections", "10000"),),
        per="connection",
        columns=("seconds", "cpu_us", *_PROBED),
        candidates=_servers(HUBWIRE, CENTRIFUGO, WS),
        connections=10_000,
        warmup_s=0.0,
        duration_s=0.0,
        extra_s=1.0,
        fresh=True,
    ),
    _fanout(
        "mqtt-paced",
        "MQTT, paced: 60 messages/s, one at a time",
        "MQTT 3.1.1 over WebSocket at quality of service 0, otherwise as the row paced. The floor sends as many bytes "
        "as a message has here.",
        _mqtt("mqtt", *_servers(NATS_MQTT), _mqtt_floor(0, rate=60)),
        "--rate",
        "60",
    ),
    _fanout(
        "mqtt-saturated",
        "MQTT, saturated: 64 messages in flight",
        "MQTT 3.1.1 over WebSocket at quality of service 0, otherwise as the row saturated; Hubwire also in MQTT 5.0, "
        "which NATS does not speak.",
        _mqtt(
            "mqtt", Candidate(server=HUBWIRE, name="hubwire 5.0", protocol="mqtt5"), *_MQTT_PEERS, *_servers(MOSQUITTO)
        ),
        "--window",
        "64",
        quick=(HUBWIRE, NATS_MQTT),
    ),
    _fanout(
        "mqtt-qos1-paced",
        "MQTT at quality of service 1, paced: 30 messages/s, one at a time",
        "Each of the 1,000 members answers each message with a PUBACK of its own, and so does the server to the "
        "publisher: two system calls and two wake-ups for a delivery. So does the floor, which reads as many answers. "
        "NATS cannot keep this pace here, and is left out.",
        _mqtt("mqtt-qos1", *_servers(MOCHI), _mqtt_floor(1, rate=30)),
        "--rate",
        "30",
        quick=(HUBWIRE, FLOOR),
    ),
    _fanout(
        "mqtt-qos1-saturated",
        "MQTT at quality of service 1, saturated: 64 messages in flight",
        "As above, with 64 messages under way: each is until all members have it. No server comes near a limit of its "
        "own; Hubwire's is `reliable_queue_messages`, 1,000 for each member that it has not acknowledged.",
        _mqtt("mqtt-qos1", *_MQTT_PEERS),
        "--window",
        "64",
    ),
    _fanout(
        "mqtt-filters",
        "MQTT, subscribed by filters with wildcards, saturated: 64 messages in flight",
        "As the row of MQTT that is saturated, with members that subscribe to `g0/#` instead of `g0`. Where there are "
        "10,001 filters, each of the 1,000 has ten more, which differ from the topic in their last level alone. The "
        "topic has one level, or 20.",
        (
            Candidate(server=HUBWIRE, name="hubwire, no filter", protocol="mqtt"),
            Candidate(server=HUBWIRE, name="hubwire, 10,001 filters", protocol="mqtt", options=(("--filters", "11"),)),
            Candidate(
                server=HUBWIRE,
                name="hubwire, 10,001 of 20 levels",
                protocol="mqtt",
                options=(("--filters", "11"), ("--levels", "20")),
            ),
        ),
        "--window",
        "64",
        quick=(),
    ),
    _fanout(
        "mqtt-topics",
        "MQTT, 1,000 topics and as many filters, saturated: 64 messages in flight",
        "Each of the members subscribes to a topic of its own, so that each message has one receiver and all that it "
        "costs besides shows: with a group, with a filter for each, with ten more for each, and with 20 levels.",
        (
            Candidate(server=HUBWIRE, name="hubwire, no filter", protocol="mqtt"),
            Candidate(server=HUBWIRE, name="hubwire, 1,000 filters", protocol="mqtt", options=(("--filters", "1"),)),
            Candidate(server=HUBWIRE, name="hubwire, 11,000 filters", protocol="mqtt", options=(("--filters", "11"),)),
            Candidate(
                server=HUBWIRE,
                name="hubwire, 11,000 of 20 levels",
                protocol="mqtt",
                options=(("--filters", "11"), ("--levels", "20")),
            ),
        ),
        "--groups",
        "1000",
        "--window",
        "64",
        quick=(),
    ),
    Workload(
        name="mqtt-publishers",
        title="MQTT, 500 publishers at quality of service 1",
        measures="Each publisher has one message of 64 bytes under way and sends the next as soon as it has the "
        "PUBACK. They send to 10 topics, each of which has one subscriber, at quality of service 1 too. Latency is "
        "that of the PUBACK.",
        mode="publish",
        options=_MQTT_PUBLISHERS,
        per="publication",
        columns=_FANOUT,
        candidates=_mqtt("mqtt-qos1", *_MQTT_PEERS),
        connections=510,
        quick=(HUBWIRE, MOCHI),
    ),
    Workload(
        name="mqtt-durable",
        title="MQTT, 500 publishers to sessions that outlive the server",
        measures="As above, with subscribers whose sessions outlive the server: each message is written and synced "
        "before its publisher is acknowledged and its subscriber has it, and forgotten when that has acknowledged it. "
        "Or the subscribers are away, and their messages wait for them; or `journal_fsync` is `interval`. Beside them, "
        "how often this disk syncs 4 KiB, one after the other.",
        mode="publish",
        options=_MQTT_PUBLISHERS,
        per="publication",
        columns=_FANOUT,
        candidates=(
            Candidate(server=HUBWIRE, protocol="mqtt-kept"),
            Candidate(server=HUBWIRE, name="hubwire, away", protocol="mqtt-kept", options=(("--away", "1"),)),
            Candidate(server=HUBWIRE_INTERVAL, name="hubwire, interval", protocol="mqtt-kept"),
            Candidate(server=SYNC),
        ),
        connections=510,
        fresh=True,
    ),
    Workload(
        name="mqtt-idle",
        title="10,000 idle MQTT connections",
        measures="As the idle ones above, after CONNECT, with clean sessions and a keep alive of 60 s.",
        mode="idle",
        options=(("--connections", "10000"),),
        per="connection",
        columns=("kib_each", "memory_mib"),
        candidates=_mqtt("mqtt", *_servers(NATS_MQTT)),
        connections=10_000,
        warmup_s=0.0,
        duration_s=0.0,
        extra_s=2.0,
        fresh=True,
        groups_claimed=2,
    ),
    _identities("get", "get", "A user is asked for; the request is signed with an access key."),
    _identities(
        "issue",
        "issue a token",
        "A token for one scope; the request is signed with an access key. The signature is what RSA alone takes, in a "
        f"process of Python that does nothing else. {_ONE_CALLER}",
        _OFFICIAL,
        Candidate(server=SIGNATURE),
    ),
    _identities(
        "introspect",
        "introspect a token",
        "Is a token good, one of 200 in turn; the caller shows an access key as password.",
    ),
    _identities(
        "create",
        "create",
        f"A new user, on the disk before it is answered. {_ONE_CALLER}",
        _OFFICIAL,
    ),
)
"""In the order in which they run."""

_QUICK_WARMUP_S: Final = 0.3
_QUICK_DURATION_S: Final = 1.0


def quick(workloads: Sequence[Workload]) -> tuple[Workload, ...]:
    """The same rows for a short look: one round, less time, and only who matters most."""
    return tuple(
        replace(
            workload,
            rounds=1,
            warmup_s=min(workload.warmup_s, _QUICK_WARMUP_S),
            duration_s=min(workload.duration_s, _QUICK_DURATION_S),
            candidates=tuple(candidate for candidate in workload.candidates if candidate.label in workload.quick),
        )
        for workload in workloads
        if workload.quick
    )


def with_rounds(workloads: Sequence[Workload], rounds: int) -> tuple[Workload, ...]:
    """The same rows, each with so many rounds."""
    return tuple(replace(workload, rounds=rounds) for workload in workloads)


def with_users(workloads: Sequence[Workload], users: int) -> tuple[Workload, ...]:
    """The same rows, with so many users where there are many, and said so."""
    return tuple(
        replace(workload, users=users, measures=workload.measures.replace("{users}", f"{users:,}"))
        for workload in workloads
    )


def run_seconds(workload: Workload, candidate: Candidate) -> float:
    """How long one run is expected to last, in seconds. A plan, made from how fast each server lets clients in."""
    start_s = _START_S if workload.fresh else 0.0
    connect_s = workload.connections / (_TLS_HANDSHAKES_PER_S if candidate.tls else _HANDSHAKES_PER_S[candidate.server])
    drain_s = _DRAIN_S if candidate.overloaded else 0.0
    return start_s + connect_s + workload.warmup_s + workload.duration_s + drain_s + workload.extra_s + _PAUSE_S


def seconds(workloads: Sequence[Workload]) -> float:
    """How long all rounds of all rows are expected to last."""
    return sum(
        workload.rounds * run_seconds(workload, candidate)
        for workload in workloads
        for candidate in workload.candidates
    )


assert all(set(workload.columns) <= FIGURES.keys() for workload in WORKLOADS)

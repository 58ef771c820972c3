"""The table of workloads is complete and well formed, and fits into the time it is given."""

import pytest

from bench.figures import FIGURES
from bench.servers import SERVERS
from bench.workloads import (
    FLOOR,
    HUBWIRE,
    HUBWIRE_EVENTS,
    HUBWIRE_USERS,
    MANY_USERS,
    WITHOUT_SERVER,
    WORKLOADS,
    Candidate,
    Workload,
    frame_bytes,
    mqtt_frame_bytes,
    quick,
    run_seconds,
    seconds,
    with_rounds,
    with_users,
)
from doubles import frames
from hubwire.model.messages import Data, GroupMessage
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.json_v1 import JsonCodec
from hubwire.protocols.mqtt.packets import Puback, Publish, encode

FULL_S = 24 * 60
QUICK_S = 3 * 60
OURS = {HUBWIRE, HUBWIRE_EVENTS, HUBWIRE_USERS}
SET_UP_S = 20
"""For compiling the generator, and looking for peers that are there already."""


def named(name: str) -> Workload:
    return next(workload for workload in WORKLOADS if workload.name == name)


def options(name: str) -> dict[str, str]:
    return dict(named(name).options)


def test_plan_of_the_whole_fits_into_twenty_four_minutes() -> None:
    """With every peer there is."""
    assert SET_UP_S + seconds(WORKLOADS) < FULL_S


def test_plan_of_a_short_look_fits_into_three_minutes() -> None:
    assert SET_UP_S + seconds(quick(WORKLOADS)) < QUICK_S


def test_plan_adds_up_every_run() -> None:
    """Rounds times what each candidate needs; whoever is overloaded needs longer, and so does a fresh server."""
    row = named("bursts")
    plain, slow = (
        next(candidate for candidate in row.candidates if candidate.overloaded is overloaded)
        for overloaded in (False, True)
    )

    assert seconds([row]) == pytest.approx(row.rounds * sum(run_seconds(row, one) for one in row.candidates))
    assert seconds(with_rounds([row], 2)) == pytest.approx(2 * seconds(with_rounds([row], 1)))
    assert run_seconds(row, slow) > run_seconds(row, plain) > row.warmup_s + row.duration_s
    assert run_seconds(named("idle"), Candidate(server=HUBWIRE)) > 10_000 / 5000


def test_there_is_a_row_for_everything_that_is_to_be_measured() -> None:
    assert [workload.name for workload in WORKLOADS] == [
        "paced",
        "bursts",
        "saturated",
        "publishers",
        "offered",
        "1kib",
        "2kib",
        "16kib",
        "groups",
        "one-in-20",
        "all-in-20",
        "reliable",
        "protobuf",
        "tls",
        "echo-100",
        "echo-500",
        "events",
        "rest",
        "handshake",
        "idle",
        "tls-handshake",
        "tls-idle",
        "disconnect",
        "connect",
        "mqtt-paced",
        "mqtt-saturated",
        "mqtt-qos1-paced",
        "mqtt-qos1-saturated",
        "mqtt-filters",
        "mqtt-topics",
        "mqtt-publishers",
        "mqtt-durable",
        "mqtt-idle",
        "identity-get",
        "identity-issue",
        "identity-introspect",
        "identity-create",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paced", {"--members": "1000", "--size": "64", "--rate": "60"}),
        ("bursts", {"--members": "1000", "--size": "64", "--rate": "480", "--burst": "16"}),
        ("saturated", {"--members": "1000", "--size": "64", "--window": "64"}),
        ("publishers", {"--members": "1000", "--size": "64", "--publishers": "50", "--window": "50"}),
        ("offered", {"--members": "1000", "--size": "64", "--publishers": "50", "--rate": "500"}),
        ("1kib", {"--members": "1000", "--size": "1024", "--window": "64"}),
        ("2kib", {"--members": "1000", "--size": "2048", "--rate": "300"}),
        ("16kib", {"--members": "1000", "--size": "16384", "--window": "64"}),
        ("groups", {"--members": "1000", "--size": "64", "--groups": "100", "--window": "64"}),
        ("events", {"--connections": "100", "--size": "64"}),
        ("rest", {"--members": "1000", "--size": "64", "--callers": "8"}),
        ("idle", {"--connections": "10000"}),
        ("disconnect", {"--connections": "5000"}),
        ("connect", {"--connections": "10000"}),
        ("mqtt-paced", {"--members": "1000", "--size": "64", "--rate": "60"}),
        ("mqtt-saturated", {"--members": "1000", "--size": "64", "--window": "64"}),
        ("mqtt-qos1-paced", {"--members": "1000", "--size": "64", "--rate": "30"}),
        ("mqtt-qos1-saturated", {"--members": "1000", "--size": "64", "--window": "64"}),
        (
            "mqtt-publishers",
            {"--publishers": "500", "--members": "10", "--groups": "10", "--size": "64", "--window": "1"},
        ),
        (
            "mqtt-durable",
            {"--publishers": "500", "--members": "10", "--groups": "10", "--size": "64", "--window": "1"},
        ),
        ("mqtt-filters", {"--members": "1000", "--size": "64", "--window": "64"}),
        ("mqtt-topics", {"--members": "1000", "--size": "64", "--groups": "1000", "--window": "64"}),
        ("mqtt-idle", {"--connections": "10000"}),
    ],
)
def test_row_is_what_its_title_says(name: str, expected: dict[str, str]) -> None:
    assert options(name) == expected


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_row_is_well_formed(workload: Workload) -> None:
    """Known servers with labels of their own, ourselves among them, known columns, and members of the quick run."""
    labels = [candidate.label for candidate in workload.candidates]
    servers = {candidate.server for candidate in workload.candidates}

    assert len(set(labels)) == len(labels)
    assert servers & OURS
    assert servers <= {*SERVERS, *WITHOUT_SERVER}
    assert set(workload.columns) <= FIGURES.keys()
    assert set(workload.quick) <= set(labels)
    assert workload.rounds >= 3
    assert workload.title
    assert workload.measures.endswith(".")
    for named_twice in (*workload.options, *(o for candidate in workload.candidates for o in candidate.options)):
        assert named_twice[0].startswith("--")


def test_number_of_users_is_said_where_there_are_many() -> None:
    for row in with_users(WORKLOADS, 1_234_567):
        assert row.users == 1_234_567
        assert ("1,234,567" in row.measures) is (row.operation is not None)
        assert "{" not in row.measures
    assert named("identity-issue").users == MANY_USERS


def test_floor_sends_what_we_would_send_and_as_often() -> None:
    for name, rate in (("paced", "60"), ("saturated", "0"), ("1kib", "0"), ("16kib", "0")):
        [floor] = [candidate for candidate in named(name).candidates if candidate.server == FLOOR]
        size = int(options(name)["--size"])

        assert dict(floor.options) == {"--size": str(frame_bytes(size)), "--connections": "1000", "--rate": rate}


@pytest.mark.parametrize(
    ("name", "qos", "expected"),
    [("mqtt-paced", 0, {"--rate": "60"}), ("mqtt-qos1-paced", 1, {"--rate": "30", "--answer": "10"})],
)
def test_floor_of_mqtt_sends_and_is_answered_what_the_server_would_be(
    name: str, qos: int, expected: dict[str, str]
) -> None:
    [floor] = [candidate for candidate in named(name).candidates if candidate.server == FLOOR]
    answer = build_frame(BINARY, encode(Puback(1), 4))

    assert dict(floor.options) == {"--size": str(mqtt_frame_bytes(64, qos)), "--connections": "1000", **expected}
    # The client's frame has a mask of four bytes.
    assert len(answer) + 4 == int(expected.get("--answer", "10"))


@pytest.mark.parametrize("size", [64, 100, 1024, 70_000])
@pytest.mark.parametrize(("qos", "packet_id"), [(0, None), (1, 7)])
def test_frame_of_mqtt_is_as_long_as_the_packet_in_it(size: int, qos: int, packet_id: int | None) -> None:
    packet = Publish("g0", b"x" * size, qos, packet_id=packet_id)

    assert mqtt_frame_bytes(size, qos) == len(build_frame(BINARY, encode(packet, 4)))


def test_all_that_take_part_in_a_row_of_mqtt_speak_the_same_quality_of_service() -> None:
    for row in WORKLOADS:
        spoken = {one.protocol for one in row.candidates if one.server != FLOOR}
        if row.name == "mqtt-durable":
            assert spoken == {"mqtt-kept", ""}, "and what takes no server"
        elif row.name.startswith("mqtt"):
            wanted = "-qos1" if "qos1" in row.name or row.name == "mqtt-publishers" else ""
            assert spoken <= {f"mqtt{wanted}", f"mqtt5{wanted}"}
            assert f"mqtt{wanted}" in spoken


@pytest.mark.parametrize("size", [64, 1024, 16 * 1024, 70_000])
def test_frame_is_as_long_as_the_one_that_the_server_builds(size: int) -> None:
    """Of a message to the first group, from a publisher whose token comes last."""
    message = GroupMessage("g0", Data("text", b"x" * size), "user-1099")
    [frame] = frames(JsonCodec().prepare(message))

    assert frame_bytes(size) == len(build_frame(frame.opcode, frame.payload))


def test_short_look_has_rows_of_the_long_one_with_less_of_everything() -> None:
    looked_at = [workload for workload in WORKLOADS if workload.quick]
    assert [workload.name for workload in WORKLOADS if not workload.quick] == ["mqtt-filters", "mqtt-topics"]
    for long, short in zip(looked_at, quick(WORKLOADS), strict=True):
        assert short.name == long.name
        assert short.options == long.options
        assert short.rounds == 1
        assert short.duration_s <= long.duration_s
        assert {candidate.label for candidate in short.candidates} == set(long.quick)
        assert {candidate.server for candidate in short.candidates} & OURS

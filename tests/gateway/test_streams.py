"""Streams through the gateway: what publishers are told, what subscribers of each protocol get, and when they end."""

import asyncio
import json
from typing import Any

import pytest

from doubles import HUB, RecordingSink, done, settle
from gateway.devices import Device
from gateway.house import JSON, RELIABLE, Client, House
from gateway.speaker import KINDS, RELIABLE_KINDS, somebody
from handlers import answer, handler
from hubwire.hub.streams import StreamLimits
from hubwire.model.commands import Close, PermissionRule
from hubwire.model.targets import to_connection
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse

SEND = "webpubsub.sendToGroup"
END = {"type": "streamEnd", "streamId": "s"}
TOLD_S = 0.05
"""After which a publisher hears of the end of its stream."""
KEEP = {"type": "streamData", "streamId": "s"}


def start(stream_id: str = "s", group: str = "g", idle_timeout_ms: int | None = None, **more: Any) -> dict[str, Any]:
    stream: dict[str, Any] = {"streamId": stream_id}
    if idle_timeout_ms is not None:
        stream["idleTimeoutMs"] = idle_timeout_ms
    return {"type": "sendToGroup", "group": group, "stream": stream, **more}


def fragment(number: int, data: Any = None, data_type: str = "text", stream_id: str = "s") -> dict[str, Any]:
    value = f"f{number}" if data is None else data
    return {
        "type": "streamData",
        "streamId": stream_id,
        "streamSequenceId": number,
        "dataType": data_type,
        "data": value,
    }


def ack(expected: int, stream_id: str = "s") -> dict[str, Any]:
    return {"type": "streamAck", "streamId": stream_id, "expectedSequenceId": expected}


def closed(name: str | None = None, message: str | None = None, stream_id: str = "s") -> dict[str, Any]:
    error = {} if name is None else {"error": {"name": name, "message": message}}
    return {"type": "streamClosed", "streamId": stream_id, **error}


def seen(client: Client) -> list[tuple[Any, ...]]:
    """Data, number, and the name of the end or of its error, of each message that belongs to a stream."""
    found: list[tuple[Any, ...]] = []
    for row in client.sink.received:
        if row["type"] == "message":
            stream = row["stream"]
            end = stream.get("error", {}).get("name", "") if stream.get("endOfStream") else None
            found.append((row["data"], stream["streamSequenceId"], end))
    return found


async def revoke(house: House, client: Client, action: Any = "revoke") -> None:
    await house.node.ask(PermissionRule(action, to_connection(HUB, client.connection.id), "sendToGroup", "g"))


async def end(client: Client, **more: Any) -> list[Any]:
    """End a stream; returns the answers until some time after it."""
    before = len(client.sink.frames)
    await client.say({**END, **more})
    await client.house.loop.advance(TOLD_S)
    return client.sink.received[before:]


@pytest.fixture
def house() -> House:
    return House()


async def reliable(house: House, **more: Any) -> Client:
    return await house.client(RELIABLE, **more)


async def come_back(house: House, client: Client) -> list[Any]:
    """A reliable client takes its connection up by another socket; returns what that begins with."""
    query = client.recovery
    client.sink = RecordingSink()
    connection = await house.begin(house.decide(RELIABLE, **query), client.sink)
    assert connection is client.connection
    await settle()
    return client.sink.received


# From publisher to subscribers


async def test_stream_reaches_the_group_in_order_and_is_acknowledged(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json(user_id="u")
    assert await publisher.say(start()) == [ack(1)]
    assert await publisher.say(fragment(1)) == [ack(2)]
    assert await publisher.say(fragment(2, {"a": 1}, "json"), fragment(3, "AQ==", "binary")) == [ack(4)], "once a turn"
    assert await end(publisher) == [closed()]

    assert seen(listener) == [("f1", 1, None), ({"a": 1}, 2, None), ("AQ==", 3, None), ("", 4, "")]
    assert {(row["group"], row["fromUserId"], row["stream"]["streamId"]) for row in listener.sink.received} == {
        ("g", "u", "s")
    }


async def test_acknowledgement_comes_behind_the_fragment_that_its_publisher_hears(house: House) -> None:
    publisher = await house.json(groups=["g"])
    first, second, third = await publisher.say(start(), fragment(1))

    assert (first, second["data"], third) == (ack(1), "f1", ack(2))


async def test_keep_alive_is_not_answered_nor_delivered(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start())

    assert await publisher.say(KEEP) == []
    assert seen(listener) == []


async def test_fragments_twice_or_too_early_are_not_delivered(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start(), fragment(1))

    assert await publisher.say(fragment(1)) == [ack(2)]
    (nack,) = await publisher.say(fragment(3))
    assert nack == {
        "type": "streamNack",
        "streamId": "s",
        "expectedSequenceId": 2,
        "name": "InvalidSequenceId",
        "message": "The fragment with number 2 has not come.",
    }
    assert [number for _, number, _ in seen(listener)] == [1]
    assert house.telemetry.streams_refused == {"InvalidSequenceId": 1}


@pytest.mark.parametrize("error", [{"message": "m", "userErrorCode": "E1"}, {}])
async def test_error_of_the_publisher_reaches_the_group_under_our_name(house: House, error: dict[str, str]) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start())

    assert await end(publisher, error=error) == [closed()]
    (message,) = listener.sink.received
    assert message["stream"] == {
        "streamId": "s",
        "streamSequenceId": 1,
        "endOfStream": True,
        "error": {"name": "UserError", **error},
    }
    assert (message["dataType"], message["data"]) == ("text", "")


@pytest.mark.parametrize("no_echo", [False, True])
async def test_no_echo_holds_for_all_fragments_and_the_end(house: House, no_echo: bool) -> None:
    listener = await house.json(groups=["g"], user_id="u")
    publisher = await house.json(groups=["g"], user_id="u")
    await publisher.say(start(noEcho=no_echo), fragment(1), fragment(2), END)

    assert [number for _, number, _ in seen(listener)] == [1, 2, 3]
    assert [number for _, number, _ in seen(publisher)] == ([] if no_echo else [1, 2, 3])


async def test_metadata_of_the_start_holds_for_all_fragments_and_the_end(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start(metadata={"k": "v"}), fragment(1), END)

    assert [row["metadata"] for row in listener.sink.received] == [{"k": "v"}] * 2


async def test_ttl_of_the_start_holds_for_all_fragments_and_the_end_waits_for_ever(house: House) -> None:
    listener, publisher = await reliable(house, groups=["g"]), await house.json()
    listener.drop()
    await publisher.say(start(ttlSeconds=2), fragment(1), fragment(2), END)
    await house.loop.advance(10)
    await come_back(house, listener)

    assert seen(listener) == [("", 3, "")]


async def test_reliable_subscriber_has_numbers_of_its_own(house: House) -> None:
    listener, publisher = await reliable(house, groups=["g"]), await house.json()
    await publisher.say(start(), fragment(1))
    house.send("g", "between")
    await publisher.say(fragment(2), END)
    messages = [row for row in listener.sink.received if row["type"] == "message"]

    assert [row["sequenceId"] for row in messages] == [1, 2, 3, 4]
    assert [row.get("stream", {}).get("streamSequenceId") for row in messages] == [1, None, 2, 3]


async def test_simple_client_gets_the_payloads_and_no_end(house: House) -> None:
    listener, publisher = await house.client(groups=["g"]), await house.json()
    await publisher.say(start(), fragment(1), fragment(2, {"a": 1}, "json"), fragment(3, "AQ==", "binary"), END)

    assert [(frame.opcode, frame.payload) for frame in listener.sink.frames] == [
        (1, b"f1"),
        (1, b'{"a": 1}'),
        (2, b"\1"),
    ]


@pytest.mark.parametrize("version", [4, 5])
async def test_mqtt_client_gets_the_payloads_and_no_end(house: House, version: int) -> None:
    listener = Device(house, "listener", version, groups=["g"])
    await listener.connect(keep_alive_s=0)
    publisher = await house.json()
    await publisher.say(start(), fragment(1), fragment(2), END)

    assert listener.messages == [("g", b"f1"), ("g", b"f2")]


async def test_streams_with_the_same_id_of_two_publishers_are_two(house: House) -> None:
    listener = await house.json(groups=["g"])
    one, other = await house.json(), await house.json()
    await one.say(start(), fragment(1))
    await other.say(start(), fragment(1))
    await one.say(END)

    assert await other.say(fragment(2)) == [ack(3)]
    assert [number for _, number, _ in seen(listener)] == [1, 1, 2, 2]


async def test_publisher_hears_of_the_end_later_than_its_subscribers(house: House) -> None:
    """The official JavaScript client may take an answer for a failure that comes at once."""
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start("a"), start("b"))
    publisher.sink.forget()

    assert await publisher.say({**END, "streamId": "a"}) == []
    assert seen(listener) == [("", 1, "")]
    await house.loop.advance(TOLD_S / 2)
    await publisher.say({**END, "streamId": "b"})
    await house.loop.advance(TOLD_S / 2)
    assert publisher.sink.received == [closed(stream_id="a")]
    await house.loop.advance(TOLD_S / 2)
    assert publisher.sink.received == [closed(stream_id="a"), closed(stream_id="b")]


async def test_end_is_told_before_its_id_is_used_again(house: House) -> None:
    publisher = await house.json()
    await publisher.say(start(), fragment(1))

    assert await publisher.say(END, start()) == [closed(), ack(1)]
    await house.loop.advance(TOLD_S)
    assert await publisher.say(fragment(1)) == [ack(2)]


async def test_no_more_ends_wait_to_be_told_than_streams_may_be_open() -> None:
    house = House(streams=StreamLimits(streams=2))
    publisher = await house.json()
    told: list[Any] = []
    for name in "abcd":
        await publisher.say(start(name))
        told += await publisher.say({**END, "streamId": name})

    assert told == [closed(stream_id="a"), closed(stream_id="b")]
    publisher.sink.forget()
    await house.loop.advance(TOLD_S)
    assert publisher.sink.received == [closed(stream_id="c"), closed(stream_id="d")]


# Each protocol


def place_of(message: dict[str, Any]) -> tuple[Any, int, Any, int | None]:
    """Payload, number, whether it is the end or the name of its error, and the number of a reliable client."""
    stream = message["stream"]
    end = stream.get("error", {}).get("name", stream.get("endOfStream"))
    return message["data"], stream["streamSequenceId"], end, message.get("sequenceId")


@pytest.mark.parametrize("publishes", KINDS)
@pytest.mark.parametrize("listens", KINDS)
async def test_stream_goes_from_each_protocol_to_each(publishes: str, listens: str) -> None:
    """Data of each kind, an end with an error, and one that nobody has said."""
    house = House(queue_messages=100)
    listener, publisher = await somebody(house, listens, groups=["g"]), await somebody(house, publishes)
    any_ = "CgNhL2I="
    assert await publisher.say(start()) == [ack(1)]
    assert await publisher.say(fragment(1), fragment(2, {"a": [1]}, "json")) == [ack(3)]
    assert await publisher.say(KEEP) == []
    assert await publisher.say(fragment(3, "AP8=", "binary"), fragment(4, any_, "protobuf")) == [ack(5)]
    assert await publisher.say(fragment(4, any_, "protobuf")) == [ack(5)]
    (nack,) = await publisher.say(fragment(9))
    assert (nack["type"], nack["name"], nack["expectedSequenceId"]) == ("streamNack", "InvalidSequenceId", 5)
    await publisher.say({**END, "error": {"message": "m", "userErrorCode": "E1"}}, start(idle_timeout_ms=1000))
    await house.loop.advance(1.0)
    (told,) = publisher.heard()[-1:]

    numbers = iter(range(1, 9))
    number = (lambda: next(numbers)) if listens in RELIABLE_KINDS else lambda: None
    messages = [row for row in listener.heard() if row["type"] == "message"]
    assert [place_of(message) for message in messages] == [
        ("f1", 1, None, number()),
        ({"a": [1]}, 2, None, number()),
        ("AP8=", 3, None, number()),
        (any_, 4, None, number()),
        ("", 5, "UserError", number()),
        ("", 1, "IdleTimeout", number()),
    ]
    assert [message["dataType"] for message in messages[:5]] == ["text", "json", "binary", "protobuf", "text"]
    assert messages[4]["stream"]["error"] == {"name": "UserError", "message": "m", "userErrorCode": "E1"}
    assert (told["type"], told["error"]["name"]) == ("streamClosed", "IdleTimeout")


@pytest.mark.parametrize("kind", RELIABLE_KINDS)
async def test_stream_of_each_reliable_protocol_goes_on_after_a_recovery(house: House, kind: str) -> None:
    listener, publisher = await somebody(house, kind, groups=["g"]), await somebody(house, kind)
    await publisher.say(start(idle_timeout_ms=1000), fragment(1))
    for client in (listener, publisher):
        client.drop()
        sink = RecordingSink()
        connection = await house.begin(house.decide(kind, **client.recovery), sink)
        assert connection is client.connection
        client.sink = sink
    await settle()

    assert (await publisher.say(fragment(1), fragment(2)))[-1] == ack(3)
    messages = [row for row in listener.heard() if row["type"] == "message"]
    assert [place_of(message) for message in messages] == [("f1", 1, None, 1), ("f2", 2, None, 2)]


# Refusals


async def test_start_is_answered_by_the_stream_and_never_by_an_ack(house: House) -> None:
    """The official client would wait for ever."""
    publisher = await house.json(roles=[f"{SEND}.g"])

    assert await publisher.say(start(ackId=1)) == [ack(1)]
    assert await publisher.say(start("t", "h", ackId=2)) == [
        closed("Forbidden", "The client does not have permission to send to group 'h'.", "t")
    ]
    assert house.telemetry.streams_refused == {"Forbidden": 1}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (start(idle_timeout_ms=0), "idleTimeoutMs must be a whole number from 1 to 4294967295."),
        (start(data="x"), "The request that opens a stream has no data."),
        (
            {"type": "event", "event": "e", "data": 1, "stream": {"streamId": "s"}},
            "A stream can be opened to a group only.",
        ),
    ],
)
async def test_what_cannot_be_opened_is_a_bad_request_and_the_client_goes_on(
    house: House, request_: dict[str, Any], message: str
) -> None:
    publisher = await house.json()

    assert await publisher.say(request_) == [closed("BadRequest", message)]
    assert await publisher.say(start()) == [ack(1)]


@pytest.mark.parametrize("kind", [JSON, RELIABLE])
async def test_event_fails_with_the_stream_that_it_cannot_have(house: House, kind: str) -> None:
    publisher = await house.client(kind)
    text = "A stream can be opened to a group only."
    error = {"name": "InternalServerError", "message": text}

    assert await publisher.say({"type": "event", "event": "e", "ackId": 1, "stream": {"streamId": "s"}}) == [
        closed("BadRequest", text),
        {"type": "ack", "ackId": 1, "success": False, "error": error},
    ]
    assert not publisher.connection.was_done(1)


async def test_stream_that_is_open_is_not_opened_twice(house: House) -> None:
    publisher = await house.json()
    await publisher.say(start())

    assert await publisher.say(start()) == [closed("BadRequest", "A stream with this id is open.")]


@pytest.mark.parametrize("request_", [fragment(1), KEEP, END])
async def test_stream_that_is_not_there_is_not_found(house: House, request_: dict[str, Any]) -> None:
    publisher = await house.json()

    assert await publisher.say(request_) == [closed("StreamNotFound", "There is no such stream.")]


async def test_streams_of_a_connection_are_limited() -> None:
    house = House(streams=StreamLimits(streams=2))
    publisher, other = await house.json(), await house.json()
    await publisher.say(start("a"), start("b"))

    assert await publisher.say(start("c")) == [closed("BadRequest", "A connection may have 2 streams open.", "c")]
    assert await other.say(start("c")) == [ack(1, "c")], "of one connection"
    await publisher.say({**END, "streamId": "a"})
    assert await publisher.say(start("c")) == [ack(1, "c")]


# Permissions


@pytest.mark.parametrize("request_", [fragment(2), KEEP, END])
async def test_stream_ends_when_its_publisher_loses_the_permission(house: House, request_: dict[str, Any]) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start(), fragment(1))
    await revoke(house, publisher)
    text = "The client does not have permission to send to group 'g'."

    assert await publisher.say(request_) == [closed("Forbidden", text)]
    assert seen(listener) == [("f1", 1, None), ("", 2, "Forbidden")]
    await revoke(house, publisher, "grant")
    assert await publisher.say(fragment(2)) == [closed("StreamNotFound", "There is no such stream.")]


# Silence


async def test_silent_stream_ends_for_publisher_and_subscribers(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start(idle_timeout_ms=1000), fragment(1))
    publisher.sink.forget()
    await house.loop.advance(0.9)
    assert publisher.sink.received == []

    await house.loop.advance(0.1)
    assert publisher.sink.received == [closed("IdleTimeout", "Nothing has come for longer than the idle time-out.")]
    assert seen(listener) == [("f1", 1, None), ("", 2, "IdleTimeout")]
    assert house.telemetry.streams_closed == {"IdleTimeout": 1}
    assert house.loop.timers == 0


async def test_idle_timeout_is_five_minutes_unless_another_is_said(house: House) -> None:
    publisher = await house.json()
    await publisher.say(start())
    await house.loop.advance(299)
    assert house.telemetry.streams == 1

    await house.loop.advance(1)
    assert house.telemetry.streams == 0


@pytest.mark.parametrize("request_", [KEEP, fragment(1), fragment(0), fragment(9)])
async def test_every_word_keeps_a_stream(house: House, request_: dict[str, Any]) -> None:
    publisher = await house.json()
    await publisher.say(start(idle_timeout_ms=1000))
    for _ in range(5):
        await house.loop.advance(0.8)
        await publisher.say(request_)
    assert house.telemetry.streams == 1

    await house.loop.advance(1.0)
    assert house.telemetry.streams == 0


async def test_stream_that_is_opened_later_may_be_overdue_earlier(house: House) -> None:
    publisher = await house.json()
    await publisher.say(start("slow", idle_timeout_ms=60_000), start("fast", idle_timeout_ms=1000))
    publisher.sink.forget()

    await house.loop.advance(1.0)
    assert [row["streamId"] for row in publisher.sink.received] == ["fast"]
    await house.loop.advance(59.0)
    assert [row["streamId"] for row in publisher.sink.received] == ["fast", "slow"]


async def test_time_in_which_this_process_stood_still_is_nobodys_silence(house: House) -> None:
    publisher = await house.json()
    await publisher.say(start(idle_timeout_ms=1000))
    house.loop.jump(30)
    await house.loop.advance(0)
    assert house.telemetry.streams == 1

    await house.loop.advance(4)
    assert house.telemetry.streams == 0


async def test_publisher_that_waits_for_an_event_handler_is_not_silent(house: House) -> None:
    """What it says meanwhile is read, and carried out behind the event."""
    house.upstream.configure(HUB, handler(userEventPattern="*"))
    publisher = await house.json()
    await publisher.say(start(idle_timeout_ms=1000))
    answered = asyncio.Event()

    async def answer_later() -> IncomingResponse:
        await answered.wait()
        return answer(204)

    house.upstream.webhook.answers = lambda _: answer_later()
    event = json.dumps({"type": "event", "event": "e", "data": 1})
    asking = asyncio.ensure_future(done(house.gateway.receive(publisher.connection, event)))
    await settle()
    for _ in range(10):
        await house.loop.advance(1)
    assert house.telemetry.streams == 1

    answered.set()
    await asking
    await house.loop.advance(3)
    assert house.telemetry.streams == 0


# Recovery


async def test_stream_goes_on_when_its_publisher_comes_back(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await reliable(house)
    await publisher.say(start(idle_timeout_ms=1000), fragment(1), fragment(2))
    publisher.drop()
    await house.loop.advance(20)
    assert [row["type"] for row in await come_back(house, publisher)] == ["system"]

    # It sends again what it has no acknowledgement of.
    assert await publisher.say(fragment(1), fragment(2), fragment(3)) == [ack(4)]
    assert [number for _, number, _ in seen(listener)] == [1, 2, 3]
    await house.loop.advance(1.0)
    assert house.telemetry.streams == 0, "and may be silent no longer than before"


async def test_end_that_was_answered_in_vain_is_answered_again(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await reliable(house)
    await publisher.say(start(), fragment(1))
    await end(publisher)
    publisher.drop()
    await come_back(house, publisher)

    assert await publisher.say(fragment(1)) == [closed()]
    assert await end(publisher) == [closed()]
    assert [number for _, number, _ in seen(listener)] == [1, 2]


async def test_subscriber_that_comes_back_misses_nothing_of_a_stream(house: House) -> None:
    listener, publisher = await reliable(house, groups=["g"]), await house.json()
    await publisher.say(start(), fragment(1))
    await listener.say({"type": "sequenceAck", "sequenceId": 1})
    listener.drop()
    await publisher.say(fragment(2), END)
    await come_back(house, listener)

    assert seen(listener) == [("f2", 2, None), ("", 3, "")]


async def test_streams_of_a_publisher_that_does_not_come_back_are_cancelled(house: House) -> None:
    listener, publisher = await house.json(groups=["g"]), await reliable(house)
    await publisher.say(start(), fragment(1))
    publisher.drop()
    await house.loop.advance(20)
    assert len(seen(listener)) == 1

    await house.loop.advance(20)
    assert seen(listener)[1:] == [("", 2, "Cancelled")]


# The end of the connection


def drop(client: Client) -> None:
    client.drop()


def finish(client: Client) -> None:
    client.drop(1000)


def misbehave(client: Client) -> None:
    client.house.gateway.receive(client.connection, "nonsense")


@pytest.mark.parametrize("end", [drop, finish, misbehave])
async def test_streams_end_with_the_connection_of_a_plain_client(house: House, end: Any) -> None:
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start(), fragment(1), start("t"))
    end(publisher)
    await settle()

    assert [row["stream"] for row in listener.sink.received[1:]] == [
        {
            "streamId": stream_id,
            "streamSequenceId": number,
            "endOfStream": True,
            "error": {"name": "Cancelled", "message": "The publisher is gone."},
        }
        for stream_id, number in (("s", 2), ("t", 1))
    ]
    assert house.telemetry.streams == 0
    assert house.telemetry.streams_closed == {"Cancelled": 2}
    assert house.loop.timers == 0


@pytest.mark.parametrize("kind", ["plain", "reliable"])
async def test_streams_end_when_rest_closes_their_publisher(house: House, kind: str) -> None:
    listener = await house.json(groups=["g"])
    publisher = await (house.json() if kind == "plain" else reliable(house))
    await publisher.say(start(), fragment(1))
    await house.node.ask(Close(to_connection(HUB, publisher.connection.id)))
    await settle()

    assert seen(listener)[1:] == [("", 2, "Cancelled")]
    assert house.ended[-1][1] == CloseCategory.CLOSED_BY_APP_SERVER


async def test_nothing_is_left_of_streams_that_have_ended(house: House) -> None:
    publisher = await house.json()
    for number in range(3):
        await publisher.say(start(f"{number}"), {**END, "streamId": f"{number}"})
    await house.loop.advance(TOLD_S)

    assert (house.telemetry.streams, house.loop.timers) == (0, 0)
    assert house.telemetry.streams_closed == {"": 3}
    assert not house.gateway._streams._publishers


# Bytes in flight


async def test_publisher_waits_while_too_much_is_in_flight_and_nothing_is_dropped() -> None:
    house = House(streams=StreamLimits(in_flight_bytes=10))
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start())
    say = [json.dumps(fragment(number, "x" * 6)) for number in (1, 2, 3)]

    assert house.gateway.receive(publisher.connection, say[0]) is None, "as much as may be"
    waiting = house.gateway.receive(publisher.connection, say[1])
    assert waiting is not None
    assert seen(listener) == []
    await waiting
    assert [number for _, number, _ in seen(listener)] == [1, 2], "it has waited for this"
    assert house.gateway.receive(publisher.connection, say[2]) is None
    await settle()

    assert [number for _, number, _ in seen(listener)] == [1, 2, 3]


async def test_publisher_that_waits_may_end_meanwhile() -> None:
    house = House(streams=StreamLimits(in_flight_bytes=1))
    listener, publisher = await house.json(groups=["g"]), await house.json()
    await publisher.say(start())
    waiting = house.gateway.receive(publisher.connection, json.dumps(fragment(1)))
    assert waiting is not None
    publisher.drop()
    await waiting
    await settle()

    assert seen(listener) == [("f1", 1, None), ("", 2, "Cancelled")]


# Records


async def test_requests_and_ends_are_traced(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "hubwire.messaging")
    publisher = await house.json()
    await publisher.say(start(idle_timeout_ms=1000), fragment(1), fragment(9), KEEP, start(), END, END)
    await publisher.say(start("t", idle_timeout_ms=1000))
    await house.loop.advance(1.0)

    assert [row.record["operationName"] for row in caplog.records] == [  # type: ignore[attr-defined]
        "OpenStream",
        "StreamFragment",
        "RefusedInvalidSequenceId",
        "KeepStream",
        "RefusedBadRequest",
        "EndStream",
        "RefusedStreamNotFound",
        "OpenStream",
        "StreamClosed",
    ]
    assert caplog.records[-1].record["reason"] == "IdleTimeout"  # type: ignore[attr-defined]
    assert caplog.records[-1].record["streamId"] == "t"  # type: ignore[attr-defined]

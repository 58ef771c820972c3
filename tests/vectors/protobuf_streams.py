"""Streams in the protobuf subprotocols as data; the columns are those of `protobuf_frames`."""

from hubwire.model.messages import (
    Data,
    EndStream,
    GroupMessage,
    KeepStream,
    OpenStream,
    StreamAck,
    StreamClosed,
    StreamError,
    StreamFragment,
    StreamInfo,
    StreamNack,
)
from vectors.protobuf_frames import (
    ANY,
    GROUP_OF_1024,
    UINT64_MAX,
    Direct,
    Message,
    Request,
    entry,
    json,
    part,
    text,
    value,
)

__all__ = ["DIRECT", "MESSAGES", "REFUSED", "REQUESTS"]

_NO_DATA = "The request that opens a stream has no data."
_IDLE = "idleTimeoutMs must be a whole number from 1 to 4294967295."
_GROUPS = "A stream can be opened to a group only."

REQUESTS = (
    Request("start", part(1, part(1, "g"), part(7, part(1, "s"))), OpenStream("g", "s")),
    Request(
        "start with everything, whose ack id asks for nothing",
        part(
            1,
            part(1, "g"),
            value(2, 5),
            value(4, 1),
            value(5, 3),
            entry(6, "k", "v"),
            part(7, part(1, "s"), value(2, 4294967295)),
        ),
        OpenStream("g", "s", 4294967295, True, 3, {"k": "v"}),
    ),
    Request(
        "start with data",
        part(1, part(1, "g"), part(3, part(1, "")), part(7, part(1, "s"))),
        OpenStream("g", "s", fault=_NO_DATA),
    ),
    Request(
        "start without any time to be idle",
        part(1, part(1, "g"), part(7, part(1, "s"), value(2, 0))),
        OpenStream("g", "s", 0, fault=_IDLE),
    ),
    Request(
        "start to an event",
        part(5, part(1, "ev"), part(5, part(1, "s"))),
        OpenStream("", "s", fault=_GROUPS),
    ),
    Request(
        "start to an event with an ack id",
        part(5, part(1, "ev"), value(3, 0), part(5, part(1, "s"))),
        OpenStream("", "s", fault=_GROUPS, ack_id=0),
    ),
    Request(
        "text",
        part(13, part(1, "ü"), value(2, 1), part(3, part(1, "a"))),
        StreamFragment("ü", 1, text("a")),
    ),
    Request(
        "json in its own spelling",
        part(13, part(1, "s"), value(2, 2), part(3, part(4, '{ "a" : 1.0 }'))),
        StreamFragment("s", 2, json('{ "a" : 1.0 }')),
    ),
    Request(
        "no bytes, of the greatest number",
        part(13, part(1, "s"), value(2, UINT64_MAX), part(3, part(2))),
        StreamFragment("s", UINT64_MAX, Data("binary", b"")),
    ),
    Request(
        "protobuf of the number that no fragment has",
        part(13, part(1, "s"), value(2, 0), part(3, part(3, ANY))),
        StreamFragment("s", 0, Data("protobuf", ANY)),
    ),
    Request("keep alive", part(13, part(1, "s")), KeepStream("s")),
    Request("end", part(14, part(1, "s")), EndStream("s")),
    Request(
        "end with an error",
        part(14, part(1, "s"), part(2, part(1, "m"), part(2, "E1"))),
        EndStream("s", StreamError("UserError", "m", "E1")),
    ),
    Request(
        "end with an error of which nothing is said",
        part(14, part(1, "s"), part(2)),
        EndStream("s", StreamError("UserError")),
    ),
)

REFUSED = (
    part(1, part(1, "g"), part(7)),
    part(1, part(1, "g"), part(7, part(1, "s"), part(2, "1"))[:-1]),
    part(1, part(1, "g"), value(5, 301), part(7, part(1, "s"))),
    part(1, part(1, GROUP_OF_1024 + "g"), part(7, part(1, "s"))),
    part(1, part(7, part(1, "s"))),
    part(5, part(1, "ev"), part(5)),
    part(13),
    part(13, part(1, "s"), value(2, 1)),
    part(13, part(1, "s"), part(3, part(1, "a"))),
    part(13, part(1, "s"), value(2, 1), part(3)),
    part(13, part(1, "s"), value(2, 1), part(3, part(4, "{"))),
    part(13, value(2, 1), part(3, part(1, "a"))),
    part(13, part(1, b"\xff"), value(2, 1), part(3, part(1, "a"))),
    part(14),
    part(14, part(1, "s"), part(2, part(1, b"\xff"))),
)
"""What is not in the language."""

_PART = part(1, "group") + part(2, "g")
_EMPTY = part(3, part(1, ""))

MESSAGES = (
    Message(
        "fragment",
        GroupMessage("g", text("a"), "u", stream=StreamInfo("s", 1)),
        _PART + part(3, part(1, "a")) + part(6, part(1, "s"), value(2, 1)),
    ),
    Message(
        "fragment with metadata, of the greatest number",
        GroupMessage("g", json("[ ]"), None, {"k": "v"}, stream=StreamInfo("ü", UINT64_MAX)),
        _PART + part(3, part(4, "[ ]")) + entry(5, "k", "v") + part(6, part(1, "ü"), value(2, UINT64_MAX)),
    ),
    Message(
        "end",
        GroupMessage("g", text(""), stream=StreamInfo("s", 3, True)),
        _PART + _EMPTY + part(6, part(1, "s"), value(2, 3), value(3, 1)),
    ),
    Message(
        "end with an error",
        GroupMessage("g", text(""), stream=StreamInfo("s", 1, True, StreamError("UserError", "m", "E1"))),
        _PART
        + _EMPTY
        + part(6, part(1, "s"), value(2, 1), value(3, 1), part(4, part(1, "UserError"), part(2, "m"), part(3, "E1"))),
    ),
    Message(
        "end with nothing but the name of an error",
        GroupMessage("g", text(""), stream=StreamInfo("s", 1, True, StreamError("UserError"))),
        _PART + _EMPTY + part(6, part(1, "s"), value(2, 1), value(3, 1), part(4, part(1, "UserError"))),
    ),
)

DIRECT = (
    Direct("ack", StreamAck("ü", UINT64_MAX), part(6, part(1, "ü"), value(2, UINT64_MAX))),
    Direct(
        "nack",
        StreamNack("s", "no", 2),
        part(7, part(1, "s"), part(2, "InvalidSequenceId"), part(3, "no"), value(4, 2)),
    ),
    Direct("closed", StreamClosed("s"), part(8, part(1, "s"))),
    Direct(
        "closed with an error",
        StreamClosed("s", StreamError("IdleTimeout", "silent")),
        part(8, part(1, "s"), part(2, part(1, "IdleTimeout"), part(2, "silent"))),
    ),
)

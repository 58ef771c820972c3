"""
The protobuf subprotocols as data: what clients say and what it means, what they are told and how that is written.

Messages are put together field by field, by their numbers, without the schema and without any of our own code.
"""

from typing import NamedTuple

from hubwire.model.messages import (
    Ack,
    AckError,
    CancelInvocation,
    ClientRequest,
    Connected,
    Data,
    DataMessage,
    DirectMessage,
    Disconnected,
    FromServer,
    GroupMessage,
    GroupStateMessage,
    Invoke,
    InvokeResponse,
    JoinGroup,
    LeaveGroup,
    MemberState,
    SendEvent,
    SendToGroup,
    SetGroupState,
    SubscribeGroupState,
    UnsubscribeGroupState,
)
from hubwire.protocols.housekeeping import PING, Ping, SequenceAck

__all__ = [
    "ANY",
    "DIRECT",
    "MESSAGES",
    "PONG",
    "REFUSED",
    "REQUESTS",
    "STATES",
    "Direct",
    "Message",
    "Request",
    "State",
    "entry",
    "part",
    "value",
]


def varint(number: int) -> bytes:
    """A whole number in as few bytes as it takes."""
    out = [number & 0x7F]
    while number := number >> 7:
        out[-1] |= 0x80
        out.append(number & 0x7F)
    return bytes(out)


def value(field: int, number: int) -> bytes:
    """A field that is a number."""
    return varint(field << 3) + varint(number)


def part(field: int, *content: bytes | str) -> bytes:
    """A field that is a text, bytes, or a message of fields."""
    body = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in content)
    return varint(field << 3 | 2) + varint(len(body)) + body


def entry(field: int, key: str, content: str) -> bytes:
    """One entry of a map from text to text."""
    return part(field, part(1, key), part(2, content))


class Request(NamedTuple):
    """
    Attributes:
        wire: what a client sends.
        value: what it asks for.
    """

    name: str
    wire: bytes
    value: ClientRequest | Ping | SequenceAck

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class Message(NamedTuple):
    """
    Attributes:
        body: the fields of its `DataMessage`, to a plain client. A reliable one gets its number as field 4 behind them.
    """

    name: str
    value: DataMessage
    body: bytes

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class State(NamedTuple):
    """
    Attributes:
        field: of the outermost message.
        body: the fields of the inner one, to a plain client. A reliable one gets its number as field 3 behind them.
    """

    name: str
    value: GroupStateMessage
    field: int
    body: bytes

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class Direct(NamedTuple):
    """
    Attributes:
        wire: the whole message; empty where nothing is said.
    """

    name: str
    value: DirectMessage
    wire: bytes

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


UINT64_MAX = 18446744073709551615
GROUP_OF_1024 = "ü" * 1024
ANY = part(1, "type.googleapis.com/chat.Line") + part(2, b"\x0a\x02hi")
PONG = part(4)


def text(words: str) -> Data:
    """A text payload."""
    return Data("text", words.encode())


def json(words: str) -> Data:
    """A JSON payload in exactly this spelling."""
    return Data("json", words.encode())


REQUESTS = (
    Request("join", part(6, part(1, "g1"), value(2, 1)), JoinGroup("g1", 1)),
    Request("join without an ack id", part(6, part(1, "g1")), JoinGroup("g1")),
    Request("ack id zero", part(6, part(1, "g1"), value(2, 0)), JoinGroup("g1", 0)),
    Request("greatest ack id", part(6, part(1, "g1"), value(2, UINT64_MAX)), JoinGroup("g1", UINT64_MAX)),
    Request("fields in any order", part(6, value(2, 1), part(1, "g1")), JoinGroup("g1", 1)),
    Request("field that is there twice", part(6, part(1, "g0"), part(1, "g1")), JoinGroup("g1")),
    Request(
        "unknown fields of every type",
        part(6, value(9, 1), part(10, "x"), b"\x61" + b"\0" * 8, b"\x6d" + b"\0" * 4, part(1, "g1")) + part(99, "y"),
        JoinGroup("g1"),
    ),
    Request("unknown group of fields", part(6, part(1, "g1"), b"\x5b\x08\x01\x5c"), JoinGroup("g1")),
    Request("numbers in more bytes than they take", part(6, part(1, "g1"), b"\x10\x81\x80\x00"), JoinGroup("g1", 1)),
    Request("group of any script", part(6, part(1, "a/b?c#d%2F ü 😀")), JoinGroup("a/b?c#d%2F ü 😀")),
    Request("longest group", part(6, part(1, GROUP_OF_1024)), JoinGroup(GROUP_OF_1024)),
    Request("last of several requests", part(9) + part(6, part(1, "g1")), JoinGroup("g1")),
    Request("one request in two pieces", part(6, part(1, "g1")) + part(6, value(2, 5)), JoinGroup("g1", 5)),
    Request("leave", part(7, part(1, "g1"), value(2, 2)), LeaveGroup("g1", 2)),
    Request(
        "send with everything",
        part(1, part(1, "g"), value(2, 3), part(3, part(1, "hi")), value(4, 1), value(5, 300), entry(6, "k", "v")),
        SendToGroup("g", text("hi"), 3, True, 300, {"k": "v"}),
    ),
    Request(
        "send that says what is the default",
        part(1, part(1, "g"), part(3, part(1, "")), value(4, 0), value(5, 0)),
        SendToGroup("g", text("")),
    ),
    Request(
        "binary",
        part(1, part(1, "g"), part(3, part(2, b"\x01\x02\xff"))),
        SendToGroup("g", Data("binary", b"\x01\x02\xff")),
    ),
    Request("empty binary", part(1, part(1, "g"), part(3, part(2))), SendToGroup("g", Data("binary", b""))),
    Request("protobuf", part(1, part(1, "g"), part(3, part(3, ANY))), SendToGroup("g", Data("protobuf", ANY))),
    Request("empty protobuf", part(1, part(1, "g"), part(3, part(3))), SendToGroup("g", Data("protobuf", b""))),
    Request(
        "json in the sender's spelling",
        part(1, part(1, "g"), part(3, part(4, ' { "b" : 1.0,\t"ü":1e2 } '))),
        SendToGroup("g", json(' { "b" : 1.0,\t"ü":1e2 } ')),
    ),
    Request(
        "half a character in json",
        part(1, part(1, "g"), part(3, part(4, r'["\ud83d","\ud83d\ude00"]'))),
        SendToGroup("g", json(r'["\ufffd","\ud83d\ude00"]')),
    ),
    Request(
        "last of several payloads",
        part(1, part(1, "g"), part(3, part(1, "a"), part(2, b"b"))),
        SendToGroup("g", Data("binary", b"b")),
    ),
    Request(
        "metadata instead of data",
        part(1, part(1, "g"), entry(6, "k", "")),
        SendToGroup("g", text(""), metadata={"k": ""}),
    ),
    Request(
        "event",
        part(5, part(1, "ev.1_a-B"), part(2, part(1, "hi")), value(3, 4), entry(4, "a", "b")),
        SendEvent("ev.1_a-B", text("hi"), 4, {"a": "b"}),
    ),
    Request("event without an ack id", part(5, part(1, "e"), part(2, part(4, "[ ]"))), SendEvent("e", json("[ ]"))),
    Request(
        "event with metadata instead of data",
        part(5, part(1, "e"), entry(4, "a", "b")),
        SendEvent("e", text(""), metadata={"a": "b"}),
    ),
    Request("ping", part(9), PING),
    Request("ack of a sequence", part(8, value(1, 17)), SequenceAck(17)),
    Request("ack of the greatest number", part(8, value(1, UINT64_MAX)), SequenceAck(UINT64_MAX)),
    Request("ack of nothing", part(8), SequenceAck(0)),
    Request(
        "invocation",
        part(10, part(1, "ev"), part(2, "1"), part(3, part(1, "x")), entry(4, "k", "v")),
        Invoke("1", "ev", text("x"), {"k": "v"}),
    ),
    Request("invocation without data", part(10, part(1, "ev"), part(2, "ü 2")), Invoke("ü 2", "ev", text(""))),
    Request(
        "invocation of json null",
        part(10, part(1, "ev"), part(2, "3"), part(3, part(4, "null"))),
        Invoke("3", "ev", json("null")),
    ),
    Request("cancelled invocation", part(11, part(1, "1")), CancelInvocation("1")),
    Request(
        "invocation with a stream",
        part(10, part(1, "ev"), part(2, "1"), part(5, part(1, "s"))),
        Invoke("1", "ev", text(""), is_streamed=True),
    ),
    Request(
        "group state",
        part(15, part(1, "g"), value(2, 1), part(3, entry(1, "status", "typing"))),
        SetGroupState("g", {"status": "typing"}, 1),
    ),
    Request("group state without entries", part(15, part(1, "g"), part(3)), SetGroupState("g", {})),
    Request("end of group state", part(15, part(1, "g"), value(2, 2)), SetGroupState("g", None, 2)),
    Request("subscription of group state", part(16, part(1, "g"), value(2, 3)), SubscribeGroupState("g", 3)),
    Request("its end", part(17, part(1, "g")), UnsubscribeGroupState("g")),
)


def _send(*fields: bytes) -> bytes:
    return part(1, part(1, "g"), *fields)


_NESTED = b""
for _ in range(2000):
    _NESTED = part(6, _NESTED)

REFUSED = (
    b"",
    b"nonsense",
    b'{"type":"ping"}',
    b"\x00",
    b"\xff" * 20,
    part(2, part(1, "g")),
    part(3),
    part(4),
    part(12),
    part(99, "x"),
    value(6, 1),
    value(9, 0),
    part(6),
    part(6, part(1, "")),
    part(6, part(1, " \t\u2003")),
    part(6, part(1, GROUP_OF_1024 + "g")),
    part(6, part(1, b"\xff")),
    part(6, part(1, b"\xed\xa0\x80")),
    part(6, part(1, b"\xc0\x80")),
    part(6, value(1, 1)),
    part(6, part(1, "g"))[:-1],
    part(6, part(1, "g")) + b"\x08",
    part(6, part(1, "g"), b"\x10" + b"\xff" * 11),
    b"\x32\xff\xff\xff\xff\x0f",
    b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x32\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x0b" * 200,
    b"\x0b" * 200 + b"\x0c" * 200,
    b"\x0c",
    b"\x33\x0a\x01g\x34",
    b"\x06\x00",
    b"\x07\x00",
    _send(),
    _send(part(3)),
    _send(part(3), entry(6, "k", "v")),
    _send(part(3, part(5, "x"))),
    _send(part(3, part(1, b"\xff"))),
    _send(part(3, part(3, b"\xff"))),
    _send(part(3, part(3, value(1, 1) + b"\x0a"))),
    _send(part(3, part(3, part(1, b"\xff")))),
    _send(part(3, part(4, ""))),
    _send(part(3, part(4, "nonsense"))),
    _send(part(3, part(4, '"}'))),
    _send(part(3, part(4, '1,"group":"other"'))),
    _send(part(3, part(4, "NaN"))),
    _send(part(3, part(4, "[" * 100_000))),
    _send(part(3, part(4, "[" * 100_000 + "]" * 100_000))),
    _send(part(3, part(4, '"\ud800"'.encode("utf-8", "surrogatepass")))),
    _send(part(3, part(1, "x")), value(5, 301)),
    _send(part(3, part(1, "x")), value(5, (1 << 32) - 1)),
    _send(part(3, part(1, "x")), entry(6, "no key", "x")),
    _send(part(3, part(1, "x")), entry(6, "", "x")),
    _send(part(3, part(1, "x")), part(6)),
    _send(part(3, part(1, "x")), entry(6, "k", "ü")),
    _send(part(3, part(1, "x")), entry(6, "k", "v" * 1025)),
    _send(part(3, part(1, "x")), *(entry(6, str(number), "v" * 1000) for number in range(9))),
    _send(part(3, part(1, "x")), *(entry(6, str(number), "") for number in range(20_000))),
    _send(part(7)),
    _send(part(7, part(1, ""))),
    part(5, part(1, "1abc"), part(2, part(1, "x"))),
    part(5, part(2, part(1, "x"))),
    part(5, part(1, "e")),
    part(5, part(1, "e"), part(2)),
    part(5, part(1, "e"), part(5)),
    part(8, part(1, "1")) + b"\x40",
    part(10, part(1, "e")),
    part(10, part(2, "1")),
    part(10, part(1, "no name"), part(2, "1")),
    part(10, part(1, "e"), part(2, "i" * 1025)),
    part(10, part(1, "e"), part(2, "1"), part(3)),
    part(10, part(1, "e"), part(2, "1"), part(3, part(4, "nonsense"))),
    part(10, part(1, "e"), part(2, "1"), entry(4, "no key", "x")),
    part(11),
    part(13),
    part(14),
    part(15, part(1, "")),
    _NESTED + b"\x0a",
)
"""What is not in the language."""

_GROUP = part(1, "group")
_SERVER = part(1, "server")

MESSAGES = (
    Message(
        "text of a user to a group",
        GroupMessage("g1", text("hi"), "u1", {"k": "v"}),
        _GROUP + part(2, "g1") + part(3, part(1, "hi")) + entry(5, "k", "v"),
    ),
    Message(
        "anonymous text to a group", GroupMessage("g1", text("hi")), _GROUP + part(2, "g1") + part(3, part(1, "hi"))
    ),
    Message(
        "json from the server, as it was spelled",
        FromServer(json('{ "a" : 1.0 }')),
        _SERVER + part(3, part(4, '{ "a" : 1.0 }')),
    ),
    Message(
        "empty text with metadata",
        FromServer(text(""), {"k": "v", "l": ""}),
        _SERVER + part(3, part(1, "")) + entry(5, "k", "v") + entry(5, "l", ""),
    ),
    Message(
        "names and text of any script",
        GroupMessage("ü☃", text("\0ü😀"), "ü"),
        _GROUP + part(2, "ü☃") + part(3, part(1, "\0ü😀")),
    ),
    Message("binary", FromServer(Data("binary", b"\x01\xff")), _SERVER + part(3, part(2, b"\x01\xff"))),
    Message("protobuf", FromServer(Data("protobuf", ANY)), _SERVER + part(3, part(3, ANY))),
    Message("empty protobuf", FromServer(Data("protobuf", b"")), _SERVER + part(3, part(3))),
    # Of other protocols, where nobody has looked at it.
    Message(
        "what is called protobuf and is no Any",
        FromServer(Data("protobuf", b"\x08\x01")),
        _SERVER + part(3, part(2, b"\x08\x01")),
    ),
    Message(
        "percent signs",
        GroupMessage("100%d", text("%s %% %b %"), None, {"%": "%%%"}),
        _GROUP + part(2, "100%d") + part(3, part(1, "%s %% %b %")) + entry(5, "%", "%%%"),
    ),
)


def _error(field: int, name: str, words: str) -> bytes:
    return part(field, part(1, name), part(2, words))


STATES = (
    State("empty snapshot", GroupStateMessage("g", (), snapshot=True), 10, part(1, "g")),
    State(
        "snapshot",
        GroupStateMessage(
            "ü/%",
            (MemberState("c1", "u1", {"%s": "typing"}, 1_700_000_000_000), MemberState("c2", None, {}, 0)),
            snapshot=True,
        ),
        10,
        part(1, "ü/%")
        + part(2, part(1, "c1"), part(2, "u1"), part(3, entry(1, "%s", "typing")), value(4, 1_700_000_000_000))
        + part(2, part(1, "c2"), part(3)),
    ),
    State(
        "update",
        GroupStateMessage("g", (MemberState("c1", "u1", {"a": ""}, 5),)),
        9,
        part(1, "g") + part(2, part(1, "c1"), part(2, "u1"), part(3, entry(1, "a", "")), value(4, 5)),
    ),
    State(
        "update without a state",
        GroupStateMessage("g", (MemberState("c1", "", None, 5),)),
        9,
        part(1, "g") + part(2, part(1, "c1"), part(2), value(4, 5)),
    ),
)

DIRECT = (
    Direct("connected", Connected("c1", "u1"), part(3, part(1, part(1, "c1"), part(2, "u1")))),
    Direct(
        "connected without a user, and recoverable",
        Connected("c1", None, "token"),
        part(3, part(1, part(1, "c1"), part(3, "token"))),
    ),
    Direct("disconnected", Disconnected("closed. é"), part(3, part(2, part(2, "closed. é")))),
    Direct("success", Ack(1), part(1, value(1, 1), value(2, 1))),
    Direct("success of ack id zero", Ack(0), part(1, value(2, 1))),
    Direct("success of the greatest ack id", Ack(UINT64_MAX), part(1, value(1, UINT64_MAX), value(2, 1))),
    Direct("failure", Ack(200, AckError("Forbidden", "no")), part(1, value(1, 200), _error(3, "Forbidden", "no"))),
    Direct(
        "answer to an invocation",
        InvokeResponse("7", json('{ "a" : 1.0 }'), {"k": "v"}),
        part(5, part(1, "7"), value(2, 1), part(3, part(4, '{ "a" : 1.0 }')), entry(5, "k", "v")),
    ),
    Direct(
        "binary answer to an invocation",
        InvokeResponse("7", Data("binary", b"\x01\xff")),
        part(5, part(1, "7"), value(2, 1), part(3, part(2, b"\x01\xff"))),
    ),
    Direct(
        "empty text as an answer to an invocation",
        InvokeResponse("7", text("")),
        part(5, part(1, "7"), value(2, 1), part(3, part(1, ""))),
    ),
    Direct(
        "protobuf as an answer to an invocation",
        InvokeResponse("7", Data("protobuf", ANY)),
        part(5, part(1, "7"), value(2, 1), part(3, part(3, ANY))),
    ),
    Direct(
        "empty protobuf as an answer to an invocation",
        InvokeResponse("7", Data("protobuf", b"")),
        part(5, part(1, "7"), value(2, 1), part(3, part(3))),
    ),
    Direct(
        "what is called protobuf and is no Any as an answer to an invocation",
        InvokeResponse("7", Data("protobuf", b"\x08\x01")),
        part(5, part(1, "7"), value(2, 1), part(3, part(2, b"\x08\x01"))),
    ),
    Direct("empty answer to an invocation", InvokeResponse("7"), part(5, part(1, "7"), value(2, 1))),
    Direct(
        "invocation that failed",
        InvokeResponse("7", error=AckError("Duplicate", "no")),
        part(5, part(1, "7"), _error(4, "Duplicate", "no")),
    ),
)

"""
The JSON subprotocols as data: what clients say and what it means, what they are told and how that is written.
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

__all__ = ["DIRECT", "MESSAGES", "REFUSED", "REQUESTS", "STATES", "Direct", "Message", "Request", "State"]


class Request(NamedTuple):
    """
    Attributes:
        text: what a client sends.
        value: what it asks for.
    """

    name: str
    text: str
    value: ClientRequest | Ping | SequenceAck

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class Message(NamedTuple):
    """
    Attributes:
        text: the exact JSON of a plain client. A reliable one gets `"sequenceId":N,` behind the opening brace.
    """

    name: str
    value: DataMessage
    text: str

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class State(NamedTuple):
    """
    Attributes:
        text: the exact JSON, for plain and reliable clients alike.
    """

    name: str
    value: GroupStateMessage
    text: str

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


class Direct(NamedTuple):
    """
    Attributes:
        text: the exact JSON; empty where nothing is said.
    """

    name: str
    value: DirectMessage
    text: str

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def text(value: str) -> Data:
    """A text payload."""
    return Data("text", value.encode())


def json(value: str) -> Data:
    """A JSON payload in exactly this spelling."""
    return Data("json", value.encode())


def binary(value: bytes) -> Data:
    """A binary payload."""
    return Data("binary", value)


UINT64_MAX = 18446744073709551615
GROUP_OF_1024 = "g" * 1024

REQUESTS = (
    Request("join", '{"type":"joinGroup","group":"g1","ackId":1}', JoinGroup("g1", 1)),
    Request("join without an ack id", '{"type":"joinGroup","group":"g1"}', JoinGroup("g1")),
    Request("null is absent", '{"type":"joinGroup","group":"g1","ackId":null}', JoinGroup("g1")),
    Request("ack id zero", '{"type":"joinGroup","group":"g1","ackId":0}', JoinGroup("g1", 0)),
    Request(
        "greatest ack id",
        '{"type":"joinGroup","group":"g1","ackId":18446744073709551615}',
        JoinGroup("g1", UINT64_MAX),
    ),
    Request(
        "ack id that no double can hold",
        '{"type":"joinGroup","group":"g1","ackId":9007199254740993}',
        JoinGroup("g1", 9007199254740993),
    ),
    Request(
        "properties in any order, blanks, and unknown ones",
        ' { "ackId" : 1 , "x" : [ {} , "}" ] , "group" : "g1" , "type" : "joinGroup" } ',
        JoinGroup("g1", 1),
    ),
    Request(
        "group of any script",
        '{"type":"joinGroup","group":"a/b?c#d%2F \\u00fc \U0001f600 \\ud83d\\ude00"}',
        JoinGroup("a/b?c#d%2F ü 😀 😀"),
    ),
    Request(
        "half a character in a payload, in any place of it",
        r'{"type":"sendToGroup","group":"g","data":["\ud83d","\\ud83d","\ud83d\ude00","\n\ude00x","\ud83d\ud83d\ude00"]}',
        SendToGroup(
            "g",
            Data("json", rb'["\ufffd","\\ud83d","\ud83d\ude00","\n\ufffdx","\ufffd\ud83d\ude00"]'),
        ),
    ),
    Request(
        "half a character in text",
        r'{"type":"sendToGroup","group":"g","dataType":"text","data":"a\uDC00"}',
        SendToGroup("g", Data("text", "a\ufffd".encode())),
    ),
    Request("half a character in what nobody reads", r'{"type":"ping","zzz":"\ud83d"}', PING),
    Request("longest group", f'{{"type":"joinGroup","group":"{GROUP_OF_1024}"}}', JoinGroup(GROUP_OF_1024)),
    Request("leave", '{"type":"leaveGroup","group":"g1","ackId":2}', LeaveGroup("g1", 2)),
    Request(
        "send with everything",
        '{"type":"sendToGroup","group":"g","ackId":3,"noEcho":true,"dataType":"json","data":{"any":"json"},'
        '"ttlSeconds":300,"metadata":{"k":"v"}}',
        SendToGroup("g", json('{"any":"json"}'), 3, True, 300, {"k": "v"}),
    ),
    Request(
        "send with nulls",
        '{"type":"sendToGroup","group":"g","ackId":null,"noEcho":null,"dataType":null,"data":1,'
        '"ttlSeconds":null,"metadata":null,"stream":null}',
        SendToGroup("g", json("1")),
    ),
    Request("json is the default", '{"type":"sendToGroup","group":"g","data":"x"}', SendToGroup("g", json('"x"'))),
    Request(
        "json in the sender's spelling",
        '{"type":"sendToGroup","group":"g","data": { "b" : 1.0,\t"a":1e2 , "b":-0 } }',
        SendToGroup("g", json('{ "b" : 1.0,\t"a":1e2 , "b":-0 }')),
    ),
    Request("json null", '{"type":"sendToGroup","group":"g","data":null}', SendToGroup("g", json("null"))),
    Request(
        "text",
        '{"type":"sendToGroup","group":"g","dataType":"text","data":"\\u00fc\\n\\""}',
        SendToGroup("g", text('ü\n"')),
    ),
    Request(
        "binary",
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"AQID"}',
        SendToGroup("g", binary(b"\x01\x02\x03")),
    ),
    Request(
        "empty binary",
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":""}',
        SendToGroup("g", binary(b"")),
    ),
    Request(
        "protobuf",
        '{"type":"sendToGroup","group":"g","dataType":"protobuf","data":"CgNhL2I="}',
        SendToGroup("g", Data("protobuf", b"\n\x03a/b")),
    ),
    Request(
        "data type in any case",
        '{"type":"sendToGroup","group":"g","dataType":"TeXt","data":"x"}',
        SendToGroup("g", text("x")),
    ),
    Request(
        "metadata instead of data",
        '{"type":"sendToGroup","group":"g","metadata":{"k":""}}',
        SendToGroup("g", text(""), metadata={"k": ""}),
    ),
    Request(
        "event",
        '{"type":"event","event":"ev.1_a-B","ackId":4,"dataType":"text","data":"hi","metadata":{"a":"b"}}',
        SendEvent("ev.1_a-B", text("hi"), 4, {"a": "b"}),
    ),
    Request("event without an ack id", '{"type":"event","event":"e","data":[ ]}', SendEvent("e", json("[ ]"))),
    Request("ping", '{"type":"ping"}', PING),
    Request("ack of a sequence", '{"type":"sequenceAck","sequenceId":17}', SequenceAck(17)),
    Request("ack of a sequence as text", '{"type":"sequenceAck","sequenceId":"17"}', SequenceAck(17)),
    Request(
        "invocation",
        '{"type":"invoke","invocationId":"1","target":"event","event":"ev","dataType":"json","data":{}}',
        Invoke("1", "ev", json("{}")),
    ),
    Request(
        "invocation of text with metadata",
        '{"type":"invoke","invocationId":"\\u00fc 2","event":"ev","dataType":"TEXT","data":"x","metadata":{"a":"b"}}',
        Invoke("ü 2", "ev", text("x"), {"a": "b"}),
    ),
    Request(
        "invocation without data",
        '{"type":"invoke","invocationId":"3","target":"event","event":"ev"}',
        Invoke("3", "ev", text("")),
    ),
    Request(
        "invocation whose other properties are null",
        '{"type":"invoke","invocationId":"4","target":null,"event":"ev","dataType":null,"metadata":null}',
        Invoke("4", "ev", text("")),
    ),
    Request(
        "invocation of json null",
        '{"type":"invoke","invocationId":"5","event":"ev","data":null}',
        Invoke("5", "ev", json("null")),
    ),
    Request(
        "invocation of binary data",
        '{"type":"invoke","invocationId":"6","event":"ev","dataType":"binary","data":"AQ=="}',
        Invoke("6", "ev", binary(b"\x01")),
    ),
    Request(
        "invocation of metadata alone",
        '{"type":"invoke","invocationId":"7","event":"ev","dataType":"json","metadata":{"a":"b"}}',
        Invoke("7", "ev", text(""), {"a": "b"}),
    ),
    Request(
        "invocation with a stream",
        '{"type":"invoke","invocationId":"8","event":"ev","stream":{"streamId":"s"}}',
        Invoke("8", "ev", text(""), is_streamed=True),
    ),
    Request(
        "longest invocation id",
        f'{{"type":"invoke","invocationId":"{"i" * 1024}","event":"ev"}}',
        Invoke("i" * 1024, "ev", text("")),
    ),
    Request("cancelled invocation", '{"type":"cancelInvocation","invocationId":"1"}', CancelInvocation("1")),
    Request(
        "group state",
        '{"type":"setGroupState","group":"g","state":{"status":"typing"},"ackId":1}',
        SetGroupState("g", {"status": "typing"}, 1),
    ),
    Request("group state without entries", '{"type":"setGroupState","group":"g","state":{}}', SetGroupState("g", {})),
    Request("end of group state", '{"type":"setGroupState","group":"g","ackId":2}', SetGroupState("g", None, 2)),
    Request("group state of null", '{"type":"setGroupState","group":"g","state":null}', SetGroupState("g")),
    Request(
        "subscription of group state",
        '{"type":"subscribeGroupState","group":"g","ackId":3}',
        SubscribeGroupState("g", 3),
    ),
    Request(
        "its end",
        '{"type":"unsubscribeGroupState","group":"g"}',
        UnsubscribeGroupState("g"),
    ),
)

_SEND = '{"type":"sendToGroup","group":"g",%s}'

REFUSED = (
    "",
    "nonsense",
    "[]",
    "null",
    '"joinGroup"',
    "{}",
    '{"type":"joinGroup","group":"g"',
    '{"type":"joinGroup","group":"g"}}',
    '\ufeff{"type":"ping"}',
    '{"type":null}',
    '{"type":1}',
    '{"type":"unknown"}',
    '{"type":"JoinGroup","group":"g"}',
    '{"type":"joinGroup"}',
    '{"type":"joinGroup","group":null}',
    '{"type":"joinGroup","group":""}',
    '{"type":"joinGroup","group":" \\t\\u2003"}',
    '{"type":"joinGroup","group":5}',
    f'{{"type":"joinGroup","group":"{GROUP_OF_1024}g"}}',
    '{"type":"joinGroup","group":"\ud800"}',
    '{"type":"joinGroup","group":"g","ackId":-1}',
    '{"type":"joinGroup","group":"g","ackId":1.5}',
    '{"type":"joinGroup","group":"g","ackId":true}',
    '{"type":"joinGroup","group":"g","ackId":"1"}',
    '{"type":"joinGroup","group":"g","ackId":18446744073709551616}',
    f'{{"type":"joinGroup","group":"g","ackId":{"9" * 5000}}}',
    '{"type":"joinGroup","group":"g","unknown":01}',
    _SEND % '"ackId":1',
    _SEND % '"metadata":{}',
    _SEND % '"data":01',
    _SEND % '"data":NaN',
    _SEND % '"data":[1,]',
    _SEND % '"data":"\\q"',
    _SEND % '"data":"\n"',
    _SEND % f'"data":{"[" * 100_000}',
    _SEND % f'"data":{"[" * 100_000}{"]" * 100_000}',
    _SEND % '"dataType":"text","data":5',
    _SEND % '"dataType":"text","data":null',
    _SEND % '"dataType":"binary","data":"no base64!"',
    _SEND % '"dataType":"binary","data":"AQ"',
    _SEND % '"dataType":"binary","data":"AQ==AQ=="',
    _SEND % '"dataType":"binary","data":"ü"',
    _SEND % '"dataType":"protobuf","data":{}',
    _SEND % '"dataType":"xml","data":"x"',
    _SEND % '"dataType":"xml","metadata":{"k":"v"}',
    _SEND % '"data":1,"noEcho":1',
    _SEND % '"data":1,"ttlSeconds":-1',
    _SEND % '"data":1,"ttlSeconds":301',
    _SEND % '"data":1,"ttlSeconds":1.5',
    _SEND % '"data":1,"metadata":{"no key":"x"}',
    _SEND % '"data":1,"metadata":{"":"x"}',
    _SEND % '"data":1,"metadata":{"k":1}',
    _SEND % '"data":1,"metadata":{"k":"ü"}',
    _SEND % f'"data":1,"metadata":{{"k":"{"v" * 1025}"}}',
    _SEND % '"data":1,"metadata":[]',
    '{"type":"event","event":"1abc","data":1}',
    '{"type":"event","event":"","data":1}',
    '{"type":"event","data":1}',
    '{"type":"event","event":"e"}',
    '{"type":"sequenceAck"}',
    '{"type":"sequenceAck","sequenceId":1.5}',
    '{"type":"invoke","invocationId":"","event":"e"}',
    f'{{"type":"invoke","invocationId":"{"i" * 1025}","event":"e"}}',
    '{"type":"invoke","invocationId":1,"event":"e"}',
    '{"type":"invoke","event":"e"}',
    '{"type":"invoke","invocationId":"1"}',
    '{"type":"invoke","invocationId":"1","event":"no name"}',
    '{"type":"invoke","invocationId":"1","target":"group","event":"e"}',
    '{"type":"invoke","invocationId":"1","event":"e","dataType":"text"}',
    '{"type":"invoke","invocationId":"1","event":"e","dataType":"text","data":1}',
    '{"type":"invoke","invocationId":"1","event":"e","dataType":"xml","data":1}',
    '{"type":"invoke","invocationId":"1","event":"e","metadata":{"no key":"x"}}',
    '{"type":"cancelInvocation"}',
    '{"type":"cancelInvocation","invocationId":""}',
    '{"type":"setGroupState","group":""}',
    '{"type":"setGroupState","state":{}}',
    '{"type":"setGroupState","group":"g","state":[]}',
    '{"type":"setGroupState","group":"g","state":"x"}',
    '{"type":"setGroupState","group":"g","state":{"a":1}}',
    '{"type":"setGroupState","group":"g","state":{"a":null}}',
    '{"type":"setGroupState","group":"g","state":{"a":{}}}',
    '{"type":"setGroupState","group":"g","state":{},"ackId":-1}',
    '{"type":"subscribeGroupState"}',
    '{"type":"subscribeGroupState","group":" "}',
    '{"type":"unsubscribeGroupState","group":1}',
)
"""What is not in the language."""

MESSAGES = (
    Message(
        "text of a user to a group",
        GroupMessage("g1", text("hi"), "u1", {"k": "v"}),
        '{"type":"message","from":"group","group":"g1","fromUserId":"u1","dataType":"text","data":"hi",'
        '"metadata":{"k":"v"}}',
    ),
    Message(
        "anonymous text to a group",
        GroupMessage("g1", text("hi")),
        '{"type":"message","from":"group","group":"g1","dataType":"text","data":"hi"}',
    ),
    Message(
        "json from the server, as it was spelled",
        FromServer(json('{ "a" : 1.0 }')),
        '{"type":"message","from":"server","dataType":"json","data":{ "a" : 1.0 }}',
    ),
    Message(
        "json null",
        FromServer(json("null")),
        '{"type":"message","from":"server","dataType":"json","data":null}',
    ),
    Message(
        "empty text with metadata",
        FromServer(text(""), {"k": "v", "l": ""}),
        '{"type":"message","from":"server","dataType":"text","data":"","metadata":{"k":"v","l":""}}',
    ),
    Message(
        "text that must be escaped",
        GroupMessage('"\\\n', text('"\\\n\0ü☃'), '"'),
        '{"type":"message","from":"group","group":"\\"\\\\\\n","fromUserId":"\\"","dataType":"text",'
        '"data":"\\"\\\\\\n\\u0000ü☃"}',
    ),
    Message(
        "binary",
        FromServer(binary(b"\x01\x02\x03\xff")),
        '{"type":"message","from":"server","dataType":"binary","data":"AQID/w=="}',
    ),
    Message(
        "protobuf",
        FromServer(Data("protobuf", b"\n\x03a/b")),
        '{"type":"message","from":"server","dataType":"protobuf","data":"CgNhL2I="}',
    ),
    Message(
        "percent signs",
        GroupMessage("100%d", text("%s %% %(x)d %"), "%u", {"%": "%%%"}),
        '{"type":"message","from":"group","group":"100%d","fromUserId":"%u","dataType":"text",'
        '"data":"%s %% %(x)d %","metadata":{"%":"%%%"}}',
    ),
)


STATES = (
    State(
        "empty snapshot",
        GroupStateMessage("g", (), snapshot=True),
        '{"type":"groupStateSnapshot","group":"g","items":[]}',
    ),
    State(
        "snapshot",
        GroupStateMessage(
            "ü/%d",
            (
                MemberState("c1", "u1", {"status": "typing", "%s": ""}, 1_700_000_000_000),
                MemberState("c2", None, {}, 0),
            ),
            snapshot=True,
        ),
        '{"type":"groupStateSnapshot","group":"ü/%d","items":[{"connectionId":"c1","userId":"u1",'
        '"state":{"status":"typing","%s":""},"updatedAt":1700000000000},{"connectionId":"c2","state":{},"updatedAt":0}]}',
    ),
    State(
        "update",
        GroupStateMessage("g", (MemberState("c1", "u1", {"a": "1"}, 5),)),
        '{"type":"groupStateUpdate","group":"g","items":[{"connectionId":"c1","userId":"u1","state":{"a":"1"},"updatedAt":5}]}',
    ),
    State(
        "update without a state",
        GroupStateMessage("g", (MemberState("c1", "", None, 5),)),
        '{"type":"groupStateUpdate","group":"g","items":[{"connectionId":"c1","userId":"","updatedAt":5}]}',
    ),
)

DIRECT = (
    Direct(
        "connected",
        Connected("c1", "u1"),
        '{"type":"system","event":"connected","userId":"u1","connectionId":"c1"}',
    ),
    Direct(
        "connected without a user, and recoverable",
        Connected("c1", None, "token"),
        '{"type":"system","event":"connected","userId":"","connectionId":"c1","reconnectionToken":"token"}',
    ),
    Direct(
        "disconnected",
        Disconnected("Application server closed the connection. Reason: é"),
        '{"type":"system","event":"disconnected","message":"Application server closed the connection. Reason: é"}',
    ),
    Direct("success", Ack(1), '{"type":"ack","ackId":1,"success":true}'),
    Direct(
        "success of the greatest ack id",
        Ack(UINT64_MAX),
        '{"type":"ack","ackId":18446744073709551615,"success":true}',
    ),
    Direct(
        "failure",
        Ack(2, AckError("Forbidden", "no")),
        '{"type":"ack","ackId":2,"success":false,"error":{"name":"Forbidden","message":"no"}}',
    ),
    Direct(
        "answer to an invocation",
        InvokeResponse('"7"', json('{ "a" : 1.0 }')),
        '{"type":"invokeResponse","invocationId":"\\"7\\"","success":true,"dataType":"json","data":{ "a" : 1.0 }}',
    ),
    Direct(
        "binary answer to an invocation, with metadata",
        InvokeResponse("7", binary(b"\x01"), {"k": "v"}),
        '{"type":"invokeResponse","invocationId":"7","success":true,"dataType":"binary","data":"AQ==",'
        '"metadata":{"k":"v"}}',
    ),
    Direct(
        "empty text as an answer to an invocation",
        InvokeResponse("7", text("")),
        '{"type":"invokeResponse","invocationId":"7","success":true,"dataType":"text","data":""}',
    ),
    Direct(
        "empty answer to an invocation",
        InvokeResponse("7"),
        '{"type":"invokeResponse","invocationId":"7","success":true}',
    ),
    # With a null that is written out, the official client would wait for ever.
    Direct(
        "json null as an answer to an invocation",
        InvokeResponse("7", json(" null\n"), {"k": "v"}),
        '{"type":"invokeResponse","invocationId":"7","success":true,"metadata":{"k":"v"}}',
    ),
    Direct(
        "invocation that failed",
        InvokeResponse("7", error=AckError("Duplicate", 'an "id"')),
        '{"type":"invokeResponse","invocationId":"7","success":false,'
        '"error":{"name":"Duplicate","message":"an \\"id\\""}}',
    ),
)

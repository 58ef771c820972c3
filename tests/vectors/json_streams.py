"""Streams in the JSON subprotocols as data; the columns are those of `json_frames`."""

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
from vectors.json_frames import GROUP_OF_1024, UINT64_MAX, Direct, Message, Request, binary, json, text

__all__ = ["DIRECT", "MESSAGES", "REFUSED", "REQUESTS"]

_START = '{"type":"sendToGroup","group":"g",%s}'
_NO_DATA = "The request that opens a stream has no data."
_GROUPS = "A stream can be opened to a group only."
_IDLE = "idleTimeoutMs must be a whole number from 1 to 4294967295."

REQUESTS = (
    Request("start", _START % '"stream":{"streamId":"s"}', OpenStream("g", "s")),
    Request(
        "start as the official client has it",
        _START % '"noEcho":false,"stream":{"streamId":"s","idleTimeoutMs":1000}',
        OpenStream("g", "s", 1000),
    ),
    Request(
        "start with everything, whose ack id asks for nothing",
        _START % '"ackId":5,"noEcho":true,"ttlSeconds":3,"metadata":{"k":"v"},'
        '"stream":{"streamId":"s","idleTimeoutMs":4294967295,"x":1}',
        OpenStream("g", "s", 4294967295, True, 3, {"k": "v"}),
    ),
    Request(
        "start with nulls",
        _START % '"ackId":null,"data":null,"dataType":null,"stream":{"streamId":"s","idleTimeoutMs":null}',
        OpenStream("g", "s"),
    ),
    Request(
        "start with data",
        _START % '"data":1,"stream":{"streamId":"s"}',
        OpenStream("g", "s", fault=_NO_DATA),
    ),
    Request(
        "start with a data type",
        _START % '"dataType":"text","stream":{"streamId":"s"}',
        OpenStream("g", "s", fault=_NO_DATA),
    ),
    Request(
        "start without any time to be idle",
        _START % '"stream":{"streamId":"s","idleTimeoutMs":0}',
        OpenStream("g", "s", 0, fault=_IDLE),
    ),
    Request(
        "start with less than none",
        _START % '"stream":{"streamId":"s","idleTimeoutMs":-1}',
        OpenStream("g", "s", -1, fault=_IDLE),
    ),
    Request(
        "start with too much",
        _START % '"stream":{"streamId":"s","idleTimeoutMs":4294967296}',
        OpenStream("g", "s", 4294967296, fault=_IDLE),
    ),
    Request(
        "start to an event",
        '{"type":"event","event":"e","data":1,"stream":{"streamId":"s"}}',
        OpenStream("", "s", fault=_GROUPS),
    ),
    Request(
        "start to an event with an ack id",
        '{"type":"event","event":"e","ackId":0,"stream":{"streamId":"s"}}',
        OpenStream("", "s", fault=_GROUPS, ack_id=0),
    ),
    Request(
        "text",
        '{"type":"streamData","streamId":"s","streamSequenceId":1,"dataType":"text","data":"a"}',
        StreamFragment("s", 1, text("a")),
    ),
    Request(
        "json in its own spelling",
        '{"type":"streamData","streamId":"s","streamSequenceId":2,"dataType":"json","data": { "a" : 1.0 } }',
        StreamFragment("s", 2, json('{ "a" : 1.0 }')),
    ),
    Request(
        "json null",
        '{"type":"streamData","streamId":"s","streamSequenceId":2,"dataType":"json","data":null}',
        StreamFragment("s", 2, json("null")),
    ),
    Request(
        "binary of the greatest number",
        '{"type":"streamData","streamId":"\\u00fc","streamSequenceId":18446744073709551615,"dataType":"Binary",'
        '"data":"AQID"}',
        StreamFragment("ü", UINT64_MAX, binary(b"\1\2\3")),
    ),
    Request(
        "protobuf of the number that no fragment has",
        '{"type":"streamData","streamId":"s","streamSequenceId":0,"dataType":"protobuf","data":"CgNhL2I="}',
        StreamFragment("s", 0, Data("protobuf", b"\n\x03a/b")),
    ),
    Request("keep alive", '{"type":"streamData","streamId":"s"}', KeepStream("s")),
    Request(
        "keep alive with nulls",
        '{"type":"streamData","streamId":"s","streamSequenceId":null,"dataType":null,"data":null}',
        KeepStream("s"),
    ),
    Request("end", '{"type":"streamEnd","streamId":"s"}', EndStream("s")),
    Request("end with null", '{"type":"streamEnd","streamId":"s","error":null}', EndStream("s")),
    Request(
        "end with an error, whose name is ours",
        '{"type":"streamEnd","streamId":"s","error":{"name":"Forbidden","message":"m","userErrorCode":"E1"}}',
        EndStream("s", StreamError("UserError", "m", "E1")),
    ),
    Request(
        "end with an error of which nothing is said",
        '{"type":"streamEnd","streamId":"s","error":{}}',
        EndStream("s", StreamError("UserError")),
    ),
)

REFUSED = (
    _START % '"stream":{}',
    _START % '"stream":[]',
    _START % '"stream":{"streamId":""}',
    _START % '"stream":{"streamId":5}',
    _START % '"stream":{"streamId":"s","idleTimeoutMs":"1"}',
    _START % '"stream":{"streamId":"s","idleTimeoutMs":1.5}',
    _START % '"ttlSeconds":301,"stream":{"streamId":"s"}',
    f'{{"type":"sendToGroup","group":"{GROUP_OF_1024}g","stream":{{"streamId":"s"}}}}',
    '{"type":"event","event":"e","data":1,"stream":{"streamId":""}}',
    '{"type":"streamData"}',
    '{"type":"streamData","streamId":""}',
    '{"type":"streamData","streamId":"s","streamSequenceId":1}',
    '{"type":"streamData","streamId":"s","streamSequenceId":1,"dataType":"text"}',
    '{"type":"streamData","streamId":"s","streamSequenceId":1,"data":1}',
    '{"type":"streamData","streamId":"s","dataType":"text","data":"a"}',
    '{"type":"streamData","streamId":"s","data":1}',
    '{"type":"streamData","streamId":"s","streamSequenceId":-1,"dataType":"json","data":1}',
    '{"type":"streamData","streamId":"s","streamSequenceId":18446744073709551616,"dataType":"json","data":1}',
    '{"type":"streamData","streamId":"s","streamSequenceId":"1","dataType":"json","data":1}',
    '{"type":"streamData","streamId":"s","streamSequenceId":1,"dataType":"text","data":1}',
    '{"type":"streamData","streamId":"s","streamSequenceId":1,"dataType":"xml","data":"x"}',
    '{"type":"streamEnd"}',
    '{"type":"streamEnd","streamId":""}',
    '{"type":"streamEnd","streamId":"s","error":"x"}',
    '{"type":"streamEnd","streamId":"s","error":{"message":1}}',
)
"""What is not in the language."""

_PART = '{"type":"message","from":"group","group":"g",%s}'

MESSAGES = (
    Message(
        "fragment",
        GroupMessage("g", text("a"), "u", stream=StreamInfo("s", 1)),
        _PART % '"fromUserId":"u","dataType":"text","data":"a","stream":{"streamId":"s","streamSequenceId":1}',
    ),
    Message(
        "fragment with metadata, an id that must be escaped, and percent signs",
        GroupMessage("g", json("[ ]"), None, {"k": "%d"}, stream=StreamInfo('%"', UINT64_MAX)),
        _PART % '"dataType":"json","data":[ ],"metadata":{"k":"%d"},'
        '"stream":{"streamId":"%\\"","streamSequenceId":18446744073709551615}',
    ),
    Message(
        "end",
        GroupMessage("g", text(""), stream=StreamInfo("s", 3, True)),
        _PART % '"dataType":"text","data":"","stream":{"streamId":"s","streamSequenceId":3,"endOfStream":true}',
    ),
    Message(
        "end with an error",
        GroupMessage("g", text(""), stream=StreamInfo("s", 1, True, StreamError("UserError", "m", "E1"))),
        _PART % '"dataType":"text","data":"","stream":{"streamId":"s","streamSequenceId":1,"endOfStream":true,'
        '"error":{"name":"UserError","message":"m","userErrorCode":"E1"}}',
    ),
    Message(
        "end with nothing but the name of an error",
        GroupMessage("g", text(""), stream=StreamInfo("s", 1, True, StreamError("UserError"))),
        _PART % '"dataType":"text","data":"","stream":{"streamId":"s","streamSequenceId":1,"endOfStream":true,'
        '"error":{"name":"UserError"}}',
    ),
)

DIRECT = (
    Direct(
        "ack",
        StreamAck('"', UINT64_MAX),
        '{"type":"streamAck","streamId":"\\"","expectedSequenceId":18446744073709551615}',
    ),
    Direct(
        "nack",
        StreamNack("s", "no", 2),
        '{"type":"streamNack","streamId":"s","expectedSequenceId":2,"name":"InvalidSequenceId","message":"no"}',
    ),
    Direct("closed", StreamClosed("s"), '{"type":"streamClosed","streamId":"s"}'),
    Direct(
        "closed with an error",
        StreamClosed("s", StreamError("IdleTimeout", "silent")),
        '{"type":"streamClosed","streamId":"s","error":{"name":"IdleTimeout","message":"silent"}}',
    ),
)

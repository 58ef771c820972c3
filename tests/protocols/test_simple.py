"""Clients without a subprotocol of ours."""

import pytest

from doubles import Frame, frames
from hubwire.model.messages import Data, FromServer, GroupMessage, SendEvent, SendToGroup
from hubwire.protocols.session import Batch
from hubwire.protocols.simple import SimpleCodec, SimpleSession
from vectors.json_frames import DIRECT, Direct

CODEC = SimpleCodec()
TEXT, BINARY = 1, 2


@pytest.mark.parametrize(
    ("data", "opcode"),
    [
        (Data("text", "ü ☃".encode()), TEXT),
        (Data("text", b""), TEXT),
        (Data("json", b'{ "b" : 1.0,\t"a":1 }'), TEXT),
        (Data("json", b'"x"'), TEXT),
        (Data("binary", b"\x00\xff%d"), BINARY),
        (Data("binary", b""), BINARY),
        (Data("protobuf", b"\n\x03a/b"), BINARY),
    ],
)
def test_message_is_its_payload_as_it_was_sent(data: Data, opcode: int) -> None:
    """And nothing around it: neither group nor user nor metadata."""
    for message in (FromServer(data, {"k": "v"}), GroupMessage("g", data, "u", {"k": "v"})):
        assert frames(CODEC.prepare(message)) == [Frame(opcode, data.body)]


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_simple_client_is_told_nothing_but_payloads(direct: Direct) -> None:
    assert SimpleSession().direct(direct.value) == b""


@pytest.mark.parametrize(
    ("payload", "data"),
    [("ü", Data("text", "ü".encode())), ("", Data("text", b"")), (b"\xff", Data("binary", b"\xff"))],
)
def test_each_message_is_an_event_unless_a_group_was_named(payload: str | bytes, data: Data) -> None:
    assert SimpleSession().receive(payload) == (SendEvent("message", data, must_succeed=True),)


@pytest.mark.parametrize("no_echo", [False, True])
def test_each_message_goes_to_the_group_that_was_named(no_echo: bool) -> None:
    session = SimpleSession(publish_to="g", no_echo=no_echo)

    assert session.receive("hi") == (SendToGroup("g", Data("text", b"hi"), no_echo=no_echo, must_succeed=True),)
    assert session.receive(b"hi") == (SendToGroup("g", Data("binary", b"hi"), no_echo=no_echo, must_succeed=True),)


def test_what_looks_like_a_request_is_a_payload() -> None:
    (request,) = SimpleSession().receive('{"type":"ping"}')

    assert request == SendEvent("message", Data("text", b'{"type":"ping"}'), must_succeed=True)
    assert SimpleSession().outgoing(0.0) == ()


def test_session_keeps_nothing() -> None:
    session = SimpleSession()
    batch = Batch(CODEC, [CODEC.prepare(FromServer(Data("text", b"a")))] * 2, None)

    assert session.deliver(batch, 0.0) is SimpleSession().deliver(batch, 0.0) is batch.joined
    assert (session.recoverable, session.held(), session.resume(0.0)) == (False, (0, 0), ())
    assert isinstance(session.codec, SimpleCodec)
    assert session.codec is SimpleSession("custom").codec


def test_name_of_a_custom_subprotocol_is_remembered() -> None:
    assert SimpleSession().subprotocol is None
    assert SimpleSession("mine.v1").subprotocol == "mine.v1"

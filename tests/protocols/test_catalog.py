"""Which subprotocol a client gets."""

import pytest

from hubwire.model.errors import ProtocolViolation
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols import catalog
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.json_v1 import JsonSession
from hubwire.protocols.protobuf_reliable import ReliableProtobufSession
from hubwire.protocols.protobuf_v1 import ProtobufSession
from hubwire.protocols.session import Breach, Session
from hubwire.protocols.simple import SimpleSession

JSON = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"
PROTOBUF = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE = "protobuf.reliable.webpubsub.azure.v1"
NAMES = (JSON, RELIABLE, PROTOBUF, PROTOBUF_RELIABLE)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["mine"], None),
        ([JSON], JSON),
        ([RELIABLE], RELIABLE),
        ([JSON, RELIABLE], JSON),
        ([RELIABLE, JSON], RELIABLE),
        (["mine", RELIABLE, JSON], RELIABLE),
        ([PROTOBUF, JSON], PROTOBUF),
        ([PROTOBUF_RELIABLE], PROTOBUF_RELIABLE),
        ([JSON.upper()], None),
        ([JSON + " "], None),
    ],
)
def test_first_name_that_we_speak_wins_in_the_clients_order(offered: list[str], chosen: str | None) -> None:
    assert catalog.choose(offered) == chosen


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (JSON, JsonSession),
        (RELIABLE, ReliableJsonSession),
        (PROTOBUF, ProtobufSession),
        (PROTOBUF_RELIABLE, ReliableProtobufSession),
    ],
)
def test_each_client_gets_a_session_of_its_own_that_knows_its_name(name: str, kind: type) -> None:
    first, second = (catalog.create(name, QueueLimits()) for _ in range(2))

    assert isinstance(first, kind)
    assert first.subprotocol == name
    assert first is not second
    assert first.codec is second.codec


def test_simple_client_is_made_as_it_asked() -> None:
    session = catalog.simple("mine", "g", True)

    assert isinstance(session, SimpleSession)
    assert session.subprotocol == "mine"
    (request,) = session.receive("x")
    assert (getattr(request, "group", None), getattr(request, "no_echo", None)) == ("g", True)


@pytest.mark.parametrize("session", [*(catalog.create(name, QueueLimits()) for name in NAMES), catalog.simple()])
def test_clients_of_the_services_own_protocols_have_no_words_for_their_end(session: Session) -> None:
    """How their WebSocket is closed counts, the server asks for signs of life, and who breaks the rules is out."""
    session.not_allowed("g", "no")
    session.forget_will()

    assert (session.says_goodbye, session.silence_s) == (False, None)
    assert (session.ending, session.will, session.fault) == (None, None, None)
    breach = session.breached(ProtocolViolation("broken", 1002))
    assert breach == Breach(1002, CloseCategory.BAD_REQUEST, final=True)

"""What reads outside of the server: the command line, the server's messages to it, and settings."""

from typing import Final

from hypothesis import strategies as st

from fuzz.inputs import TEXTS, damaged, json_objects, json_texts
from fuzz.target import Target
from hubwire.cli.access import parse_connection_string
from hubwire.cli.connect import parse_url
from hubwire.cli.conversation import JsonConversation, RawConversation
from hubwire.cli.faults import BadCommandLine
from hubwire.settings import BadSetting, load

__all__ = ["TARGETS"]


def _check_conversation(payload: bytes) -> None:
    for conversation in (JsonConversation(), RawConversation()):
        messages: list[str | bytes] = [payload]
        try:
            messages.append(payload.decode())
        except UnicodeDecodeError:
            pass
        for message in messages:
            line = conversation.hear(message)
            # A terminal obeys what is not printable.
            assert line is None or line.isprintable()
        conversation.acknowledge()


def _check_access(text: str) -> None:
    try:
        found = parse_connection_string(text)
        assert found.access_key not in repr(found) or len(found.access_key) < 8
    except BadCommandLine:
        pass
    try:
        parse_url(text)
    except BadCommandLine:
        pass


def _check_settings(name: str, value: str) -> None:
    try:
        load({}, {f"HUBWIRE_{name.upper()}": value})
        load({name: value}, {})
    except BadSetting as fault:
        assert "\n" not in str(fault)


_heard = json_objects(
    {
        "type": st.sampled_from(['"message"', '"ack"', '"system"', '"pong"']),
        "event": st.sampled_from(['"connected"', '"disconnected"']),
        "from": st.sampled_from(['"group"', '"server"']),
        "data": json_texts,
        "dataType": st.sampled_from(['"json"', '"text"', '"binary"']),
        "ackId": st.just("1"),
        "success": st.sampled_from(["true", "false"]),
        "error": st.sampled_from(["{}", '{"name":"\\u001b[2J"}']),
        "sequenceId": json_texts,
        "metadata": st.just('{"a":"\\u0007"}'),
    }
)
_connection_strings = st.lists(
    st.sampled_from(
        [
            "Endpoint=http://localhost:8080",
            "endpoint = localhost",
            "AccessKey=abc=",
            "Port=80",
            "Port=x",
            "Endpoint=http://[",
            ";",
            "=",
            "Endpoint=http://a:99999",
            "ws://localhost/client/hubs/a",
            "http://[::1",
            "Port=-1",
            "Port=" + "9" * 5000,
        ]
    )
    | TEXTS,
    max_size=4,
).map(";".join)

TARGETS: Final = {
    "conversation": Target((_heard | damaged(_heard),), _check_conversation),
    "access": Target((_connection_strings,), _check_access),
    "settings": Target(
        (
            st.sampled_from(["port", "host", "data", "loop", "head_timeout_s", "log_off", "max_connections", "nope"]),
            TEXTS,
        ),
        _check_settings,
    ),
}

"""The schema, and what its compiler has made of it."""

import subprocess
import sysconfig
from pathlib import Path
from typing import Final

import pytest

from hubwire.protocols import webpubsub_pb2
from vectors import protobuf_frames, protobuf_streams

FOLDER: Final = Path(webpubsub_pb2.__file__).parent
SOURCE: Final = FOLDER.parent.parent
SCRIPTS: Final = Path(sysconfig.get_path("scripts"))
INCLUDE: Final = Path(sysconfig.get_path("data")) / "include"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the compiler makes of the schema now; the same command as `make proto`."""
    folder = tmp_path_factory.mktemp("generated")
    command = [str(SCRIPTS / "protoc"), "-I.", f"-I{INCLUDE}", f"--python_out={folder}", f"--pyi_out={folder}"]
    subprocess.run([*command, "hubwire/protocols/webpubsub.proto"], cwd=SOURCE, check=True)
    return folder / "hubwire" / "protocols"


@pytest.mark.parametrize("name", ["webpubsub_pb2.py", "webpubsub_pb2.pyi"])
def test_generated_file_is_what_the_schema_says(generated: Path, name: str) -> None:
    """Whoever changes the one makes the other anew with `make proto`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == (generated / name).read_text(encoding="utf-8")


UPSTREAM = {
    "": {
        "send_to_group_message": 1,
        "event_message": 5,
        "join_group_message": 6,
        "leave_group_message": 7,
        "sequence_ack_message": 8,
        "ping_message": 9,
        "invoke_event_message": 10,
        "cancel_invocation_message": 11,
        "stream_data_message": 13,
        "stream_end_message": 14,
        "set_group_state_message": 15,
        "subscribe_group_state_message": 16,
        "unsubscribe_group_state_message": 17,
    },
    "SendToGroupMessage": {
        "group": 1,
        "ack_id": 2,
        "data": 3,
        "no_echo": 4,
        "ttl_seconds": 5,
        "metadata": 6,
        "stream": 7,
    },
    "EventMessage": {"event": 1, "data": 2, "ack_id": 3, "metadata": 4, "stream": 5},
    "JoinGroupMessage": {"group": 1, "ack_id": 2},
    "LeaveGroupMessage": {"group": 1, "ack_id": 2},
    "SequenceAckMessage": {"sequence_id": 1},
    "PingMessage": {},
    "InvokeEventMessage": {"event": 1, "invocation_id": 2, "data": 3, "metadata": 4, "stream": 5},
    "CancelInvocationMessage": {"invocation_id": 1},
    "StreamStartInfo": {"stream_id": 1, "idle_timeout_ms": 2},
    "StreamDataMessage": {"stream_id": 1, "stream_sequence_id": 2, "data": 3},
    "StreamEndMessage": {"stream_id": 1, "error": 2},
    "StreamEndMessage.StreamEndError": {"message": 1, "user_error_code": 2},
    "SetGroupStateMessage": {"group": 1, "ack_id": 2, "state": 3},
    "SubscribeGroupStateMessage": {"group": 1, "ack_id": 2},
    "UnsubscribeGroupStateMessage": {"group": 1, "ack_id": 2},
}
DOWNSTREAM = {
    "": {
        "ack_message": 1,
        "data_message": 2,
        "system_message": 3,
        "pong_message": 4,
        "invoke_response_message": 5,
        "stream_ack_message": 6,
        "stream_nack_message": 7,
        "stream_closed_message": 8,
        "group_state_update_message": 9,
        "group_state_snapshot_message": 10,
    },
    "AckMessage": {"ack_id": 1, "success": 2, "error": 3},
    "AckMessage.ErrorMessage": {"name": 1, "message": 2},
    "DataMessage": {"from": 1, "group": 2, "data": 3, "sequence_id": 4, "metadata": 5, "stream": 6},
    "SystemMessage": {"connected_message": 1, "disconnected_message": 2},
    "SystemMessage.ConnectedMessage": {"connection_id": 1, "user_id": 2, "reconnection_token": 3},
    "SystemMessage.DisconnectedMessage": {"reason": 2},
    "PongMessage": {},
    "InvokeResponseMessage": {"invocation_id": 1, "success": 2, "data": 3, "error": 4, "metadata": 5},
    "InvokeResponseMessage.ErrorMessage": {"name": 1, "message": 2},
    "StreamAckMessage": {"stream_id": 1, "expected_sequence_id": 2},
    "StreamNackMessage": {"stream_id": 1, "name": 2, "message": 3, "expected_sequence_id": 4},
    "StreamClosedMessage": {"stream_id": 1, "error": 2},
    "StreamClosedMessage.ErrorMessage": {"name": 1, "message": 2},
    "GroupStateUpdateMessage": {"group": 1, "items": 2, "sequence_id": 3},
    "GroupStateSnapshotMessage": {"group": 1, "items": 2, "sequence_id": 3},
}
OTHERS = {
    "MessageData": {"text_data": 1, "binary_data": 2, "protobuf_data": 3, "json_data": 4},
    "StreamInfo": {"stream_id": 1, "stream_sequence_id": 2, "end_of_stream": 3, "error": 4},
    "StreamInfo.StreamError": {"name": 1, "message": 2, "user_error_code": 3},
    "GroupStateItem": {"connection_id": 1, "user_id": 2, "state": 3, "updated_at": 4},
    "GroupStateItem.GroupState": {"entries": 1},
}


def test_numbers_of_fields_are_those_of_the_service() -> None:
    expected = {f"UpstreamMessage.{name}".rstrip("."): fields for name, fields in UPSTREAM.items()}
    expected |= {f"DownstreamMessage.{name}".rstrip("."): fields for name, fields in DOWNSTREAM.items()}
    expected |= OTHERS

    found: dict[str, dict[str, int]] = {}
    waiting = list(webpubsub_pb2.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        if not message.GetOptions().map_entry:
            name = message.full_name.removeprefix("azure.webpubsub.")
            found[name] = {field.name: field.number for field in message.fields}
            waiting += message.nested_types
    assert found == expected


def test_every_message_that_clients_send_is_in_a_table() -> None:
    wires = [request.wire for table in (protobuf_frames.REQUESTS, protobuf_streams.REQUESTS) for request in table]
    found = {webpubsub_pb2.UpstreamMessage.FromString(wire).WhichOneof("message") for wire in wires}

    assert found == set(UPSTREAM[""])


def test_every_message_that_clients_are_sent_is_in_a_table() -> None:
    wires = [direct.wire for table in (protobuf_frames.DIRECT, protobuf_streams.DIRECT) for direct in table]
    wires += [protobuf_frames.part(2, message.body) for message in protobuf_frames.MESSAGES]
    wires += [protobuf_frames.part(state.field, state.body) for state in protobuf_frames.STATES]
    found = {
        webpubsub_pb2.DownstreamMessage.FromString(wire).WhichOneof("message")
        for wire in (*wires, protobuf_frames.PONG)
        if wire
    }

    assert found == set(DOWNSTREAM[""])

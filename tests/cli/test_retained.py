"""`hubwire retained`, against a stand-in on a control socket or a port."""

import json
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn, serving

ALL = "/hubwire/hubs/chat/retained"
DOOR: dict[str, Any] = {
    "topic": "site/door",
    "qos": 1,
    "payloadBytes": 4,
    "publishedAt": "2026-11-28T16:10:49+00:00",
    "clientId": "device",
    "expiresInSeconds": 50,
    "contentType": "text/plain",
    "userProperties": [{"name": "a", "value": "1"}],
}
LAMP: dict[str, Any] = {
    "topic": "site/\x1b[31mlamp",
    "qos": 0,
    "payloadBytes": 100,
    "publishedAt": "2026-11-28T16:10:50+00:00",
}
KEY = "Endpoint=http://127.0.0.1:{port};AccessKey=abcdefghijklmnopqrstuvwxyz;Version=1.0;"


@pytest.fixture
def service(server: StandIn) -> StandIn:
    server.on("GET", ALL, 200, {"value": [DOOR, LAMP], "after": None, "messages": 2, "bytes": 900})
    server.on("GET", f"{ALL}/site%2Fdoor", 200, {**DOOR, "payload": "b3Blbg==", "text": "open"})
    server.on("DELETE", f"{ALL}/site%2Fdoor", 204)
    server.on("DELETE", ALL, 200, {"cleared": 2})
    return server


def asked(server: StandIn) -> list[tuple[str, str]]:
    return [(one.method, one.path) for one in server.asked]


def test_list_has_a_line_for_each_message(run: Run, service: StandIn) -> None:
    done = run("retained", "list", "--hub", "chat")

    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "site/door          QoS 1  4 bytes    2026-11-28T16:10:49+00:00  expires in 50 s",
        "site/\\x1b[31mlamp  QoS 0  100 bytes  2026-11-28T16:10:50+00:00",
    ]


def test_list_goes_through_all_pages(run: Run, server: StandIn) -> None:
    async def page(asking: Any) -> object:
        first = "after" not in asking.path
        return {"value": [DOOR if first else LAMP], "after": "site/door" if first else None}

    server.on_call("GET", ALL, page)

    done = run("retained", "list", "--hub", "chat", "--filter", "site/#", "--json")

    assert json.loads(done.output) == [DOOR, LAMP]
    assert asked(server) == [
        ("GET", f"{ALL}?limit=1000&filter=site%2F%23"),
        ("GET", f"{ALL}?limit=1000&filter=site%2F%23&after=site%2Fdoor"),
    ]


def test_empty_list_says_so(run: Run, server: StandIn) -> None:
    server.on("GET", ALL, 200, {"value": [], "after": None})

    done = run("retained", "list", "--hub", "chat")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "hubwire: nothing is retained\n")
    assert json.loads(run("retained", "list", "--hub", "chat", "--json").stdout) == []


def test_message_is_shown_with_its_payload(run: Run, service: StandIn) -> None:
    done = run("retained", "get", "site/door", "--hub", "chat")

    assert done.exit_code == 0
    lines = dict(line.split("  ", 1) for line in done.output.splitlines())
    assert {name.strip(): value.strip() for name, value in lines.items()} == {
        "topic": "site/door",
        "QoS": "1",
        "published": "2026-11-28T16:10:49+00:00",
        "expires in": "50 s",
        "client": "device",
        "content type": "text/plain",
        "user properties": "a: 1",
        "payload": "open",
    }


def test_message_that_is_no_text_is_not_printed_unless_asked_for(run: Run, server: StandIn) -> None:
    server.on("GET", f"{ALL}/a", 200, {**LAMP, "payload": "/wA=", "payloadBytes": 2})

    assert "payload    2 bytes that are no text (--payload)" in run("retained", "get", "a", "--hub", "chat").output
    assert run("retained", "get", "a", "--hub", "chat", "--payload").stdout_bytes == b"\xff\0"
    assert json.loads(run("retained", "get", "a", "--hub", "chat", "--json").output)["payload"] == "/wA="


def test_message_is_cleared_silently(run: Run, service: StandIn) -> None:
    done = run("retained", "clear", "site/door", "--hub", "chat")

    assert (done.exit_code, done.output) == (0, "")
    assert asked(service) == [("DELETE", f"{ALL}/site%2Fdoor")]
    assert json.loads(run("retained", "clear", "site/door", "--hub", "chat", "--json").output) == {"cleared": 1}


@pytest.mark.parametrize(
    ("option", "query"), [(["--all"], "%23"), (["--filter", "site/+"], "site%2F%2B"), (["--filter", "#"], "%23")]
)
def test_many_are_cleared_and_counted(run: Run, service: StandIn, option: list[str], query: str) -> None:
    done = run("retained", "clear", "--hub", "chat", *option)

    assert (done.exit_code, done.output) == (0, "cleared 2 messages\n")
    assert asked(service) == [("DELETE", f"{ALL}?filter={query}")]


@pytest.mark.parametrize("arguments", [[], ["a", "--all"], ["--all", "--filter", "#"], ["a", "--filter", "#"], [""]])
def test_what_is_to_be_cleared_is_named_once(run: Run, service: StandIn, arguments: list[str]) -> None:
    done = run("retained", "clear", "--hub", "chat", *arguments)

    assert done.exit_code == 2
    assert asked(service) == []


def test_topic_that_has_none_is_said_so(run: Run, server: StandIn) -> None:
    server.on(
        "DELETE", f"{ALL}/a", 404, {"code": "Error.NotFound", "message": "No message is retained for this topic."}
    )

    done = run("retained", "clear", "a", "--hub", "chat")

    assert done.exit_code == 1
    assert "No message is retained for this topic." in done.stderr


def test_other_service_is_asked_with_a_token(run: Run) -> None:
    with serving() as other:
        other.on("DELETE", f"{ALL}/a", 204)
        string = KEY.format(port=other.port)

        assert run("retained", "clear", "a", "--hub", "chat", "--connection-string", string).exit_code == 0
        assert run("retained", "clear", "a", "--hub", "chat", env={"HUBWIRE_CONNECTION_STRING": string}).exit_code == 0

        assert asked(other) == [("DELETE", f"{ALL}/a")] * 2
        assert all(one.headers["Authorization"].startswith("Bearer ") for one in other.asked)


def test_answer_that_is_no_json_is_no_traceback(run: Run, server: StandIn) -> None:
    server.on_raw("GET", ALL, 200, b"<html>")

    done = run("retained", "list", "--hub", "chat")

    assert done.exit_code == 1
    assert "not JSON" in done.stderr

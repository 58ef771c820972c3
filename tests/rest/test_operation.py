"""The one way of every request: found, known, read, carried out, answered, logged."""

import asyncio
import json
import logging
from typing import Any

import pytest

from hubwire.model.commands import Answer
from hubwire.model.errors import Conflict, Forbidden, NotStored, Refused, Throttled, Unavailable
from hubwire.model.http import WholeRequest, by_name
from hubwire.rest.call import Caller, caller_in
from rest.asgi import GOOD, World, request

SEND = "/api/hubs/chat/:send"
GROUP = "/api/hubs/chat/groups/g"
VERSIONS = "2021-10-01, 2022-11-01, 2023-07-01, 2024-01-01, 2024-12-01"


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["record"] for record in caplog.records if record.name == "hubwire.http"]


# Finding.


@pytest.mark.parametrize("path", ["/", "/api", "/api/hubs/chat", "/nothing", "/api/Health", "/client/hubs/chat", "/*"])
async def test_unknown_path_is_a_404_with_the_documented_body(world: World, path: str) -> None:
    reply = await world.call("GET", path)

    assert reply.status == 404
    assert reply.headers["content-type"] == "application/problem+json; charset=utf-8"
    assert reply.headers["x-ms-error-code"] == "Error.NotFound"
    assert reply.json == {
        "code": "Error.NotFound",
        "message": "There is no operation at this path.",
        "target": "Path",
        "details": [],
    }


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/health", "HEAD"),
        ("GET", SEND, "POST"),
        ("PATCH", "/api/hubs/chat/users/u/groups/g", "DELETE, PUT"),
        ("POST", "/metrics", "GET, HEAD"),
        ("OPTIONS", SEND, "POST"),
        ("BREW", SEND, "POST"),
    ],
)
async def test_method_that_a_path_does_not_take_is_a_405_that_says_which_it_takes(
    world: World, method: str, path: str, allow: str
) -> None:
    reply = await world.call(method, path)

    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert reply.json["code"] == "Error.MethodNotAllowed"


@pytest.mark.parametrize("path", ["/api/hubs/chat/groups/%", "/api/hubs/%FF/:send", "/%zz"])
async def test_path_that_does_not_decode_is_a_400(world: World, path: str) -> None:
    reply = await world.call("POST", path)

    assert (reply.status, reply.json["target"]) == (400, "path")


# Knowing.


@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic good-token"])
async def test_caller_without_a_good_token_learns_nothing(world: World, token: str | None) -> None:
    reply = await world.call("POST", SEND, token=token, body=b"x")

    assert (reply.status, reply.body) == (401, b"")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["content-length"] == "0"
    assert "content-type" not in reply.headers
    assert world.node.heard == []


async def test_token_is_held_against_the_host_and_the_raw_path(world: World) -> None:
    await world.call("HEAD", "//api/hubs/Chat/groups/a%2Fb?api-version=2024-12-01")

    assert world.principals.seen == [(GOOD, "default", "hub.example:8080", "//api/hubs/Chat/groups/a%2Fb")]


async def test_token_is_held_against_the_host_that_the_edge_found_out(world: World) -> None:
    await world.call("HEAD", GROUP, state={"host": "public.example", "scheme": "https"})

    assert world.principals.seen[0][2] == "public.example"


@pytest.mark.parametrize(
    ("failure", "status", "headers"),
    [
        (Forbidden("It takes the role 'Owner'.", "Authorization"), 403, {}),
        (Throttled("Too many requests of this address proved nothing.", 20), 429, {"retry-after": "20"}),
        (Unavailable("The keys of the issuer https://issuer.example cannot be fetched."), 503, {}),
    ],
)
async def test_caller_who_may_not_is_told_why(
    world: World, failure: Refused, status: int, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    world.principals.failure = failure
    reply = await world.call("POST", SEND, body=b"x")

    assert (reply.status, reply.json["message"]) == (status, failure.message)
    assert headers.items() <= reply.headers.items()
    assert "www-authenticate" not in reply.headers
    assert world.node.heard == []
    assert status == 429 or records(caplog)[0]["reason"] == failure.message


@pytest.mark.parametrize(("state", "address"), [({}, "192.0.2.7"), ({"client_ip": "198.51.100.9"}, "198.51.100.9")])
async def test_failures_of_callers_are_counted_by_the_address_that_the_edge_found_out(
    world: World, state: dict[str, str], address: str
) -> None:
    await world.call("HEAD", GROUP, token="Bearer wrong", state=state)

    assert world.principals.addresses == [address]


async def test_local_operator_needs_no_token_for_the_data_plane(world: World) -> None:
    assert (await world.operate("HEAD", GROUP)).status == 200
    assert world.principals.seen == []


async def test_health_needs_no_token(world: World) -> None:
    reply = await world.call("HEAD", "/api/health", token=None)

    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")


# Reading the query.


@pytest.mark.parametrize("version", ["", *(f"?api-version={version}" for version in VERSIONS.split(", "))])
async def test_every_stable_version_and_none_is_taken(world: World, version: str) -> None:
    reply = await world.call("HEAD", GROUP + version)

    assert (reply.status, reply.headers["api-supported-versions"]) == (200, VERSIONS)


@pytest.mark.parametrize(
    "query",
    [
        "api-version=",
        "api-version=2020-10-01",
        "api-version=2024-12-01-preview",
        "api-version=latest",
        "api-version=2024-12-01&api-version=2024-12-01",
        "api-version=2024-12-01&API-Version=2021-10-01",
    ],
)
@pytest.mark.parametrize("path", ["/api/health", GROUP])
async def test_other_or_repeated_versions_are_a_400(world: World, path: str, query: str) -> None:
    reply = await world.call("HEAD", f"{path}?{query}")

    assert (reply.status, reply.body, reply.headers["content-length"]) == (400, b"", "0")
    assert world.node.heard == []


async def test_refused_version_is_named_as_the_fault(world: World) -> None:
    reply = await world.call("POST", SEND + "?api-version=1", body=b"x")

    assert (reply.status, reply.json["target"]) == (400, "api-version")
    assert reply.headers["api-supported-versions"] == VERSIONS


# Answering.


async def test_success_without_a_body_has_length_0_and_no_type(world: World) -> None:
    reply = await world.call("POST", SEND, body=b"x")

    assert (reply.status, reply.body, reply.headers["content-length"]) == (202, b"", "0")
    assert "content-type" not in reply.headers


async def test_204_has_no_length_at_all(world: World) -> None:
    reply = await world.call("DELETE", "/api/hubs/chat/connections/c")

    assert (reply.status, reply.body) == (204, b"")
    assert "content-length" not in reply.headers


async def test_request_id_is_echoed_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    reply = await world.call("HEAD", GROUP, headers=[("x-ms-client-request-id", "id-1")])

    assert reply.headers["x-ms-client-request-id"] == "id-1"
    assert records(caplog)[0]["traceId"] == "id-1"


async def test_request_id_that_is_not_printable_is_neither_echoed_nor_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    reply = await world.call("HEAD", GROUP, headers=[("x-ms-client-request-id", "a\x1b[31m")])

    assert "x-ms-client-request-id" not in reply.headers
    assert records(caplog)[0]["traceId"] is None


@pytest.mark.parametrize(
    ("failure", "status", "header"),
    [
        (Forbidden("not you"), 403, ("x-ms-error-code", "Error.Forbidden")),
        (Conflict("too many"), 409, ("x-ms-error-code", "Error.Conflict")),
        (Throttled("slower", 3), 429, ("retry-after", "3")),
        (RuntimeError("inside"), 500, ("x-ms-error-code", "Error.InternalServerError")),
    ],
)
async def test_error_of_a_handler_becomes_its_answer(
    world: World, failure: Exception, status: int, header: tuple[str, str]
) -> None:
    world.node.failure = failure
    reply = await world.call("PUT", GROUP + "/connections/c")

    assert reply.status == status
    assert reply.headers[header[0]] == header[1]
    assert set(reply.json) == {"code", "message", "target", "details"}
    assert b"inside" not in reply.body


@pytest.mark.parametrize("failure", [Conflict("x"), RuntimeError("x")])
async def test_head_has_no_body_even_in_failure(world: World, failure: Exception) -> None:
    world.node.failure = failure
    reply = await world.call("HEAD", GROUP)

    assert (reply.body, reply.headers["content-length"]) == (b"", "0")
    assert "x-ms-error-code" in reply.headers


# Reading the body.


@pytest.mark.parametrize("size", [1024, 1025, 8192])
async def test_body_may_be_as_large_as_the_limit(world: World, size: int) -> None:
    reply = await world.call("POST", SEND, body=b"x" * size)

    if size <= 1024:
        assert reply.status == 202
    else:
        assert (reply.status, reply.json["target"]) == (400, "Content-Length")
        assert "1024" in reply.json["message"]
        assert "connection" not in reply.headers
        assert world.node.heard == []


async def test_chunked_body_has_the_same_limit(world: World) -> None:
    headers = [("Authorization", GOOD), ("Transfer-Encoding", "chunked")]
    taken = await request(world.app, "POST", SEND, headers, [b"x" * 512, b"x" * 512, b""])
    refused = await request(world.app, "POST", SEND, headers, [b"x" * 512, b"x" * 512, b"x"])

    assert taken is not None
    assert refused is not None
    assert (taken.status, refused.status) == (202, 400)
    assert len(world.node.executed) == 1


async def test_body_without_an_end_is_refused_and_the_connection_ended(world: World) -> None:
    reply = await request(world.app, "POST", SEND, [("Authorization", GOOD)], [b"x" * 1024] * 100)

    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (400, "close")


async def test_connection_ends_when_nobody_wanted_a_long_body(world: World) -> None:
    headers = [("Content-Length", "5000"), ("Authorization", "Bearer wrong")]
    reply = await request(world.app, "POST", SEND, headers, [])

    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (401, "close")


async def test_body_that_stops_coming_is_a_408() -> None:
    world = World(idle_timeout_s=0.01)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": SEND.encode(),
        "query_string": b"",
        "headers": [(b"authorization", GOOD.encode())],
    }
    await world.app(scope, receive, send)

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_client_that_goes_away_is_left_in_peace(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reply = await request(world.app, "POST", SEND, [("Authorization", GOOD)], [b"half", None])

    assert reply is None
    assert world.node.heard == []
    assert [record.levelname for record in caplog.records if record.name.startswith("hubwire")] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", SEND, 202),
        ("POST", "/api/hubs/chat/:closeConnections", 204),
        ("POST", "/api/hubs/chat/:generateToken", 200),
        ("POST", GROUP + "/:closeConnections", 204),
        ("PUT", GROUP + "/connections/c", 200),
    ],
)
async def test_request_without_body_and_length_works(world: World, method: str, path: str, status: int) -> None:
    """As `curl -X POST` sends it."""
    reply = await request(world.app, method, path, [("Authorization", GOOD)])

    assert reply is not None
    assert reply.status == status


# Web pages of other origins.

PREFLIGHT = [
    ("Origin", "https://app.example"),
    ("Access-Control-Request-Method", "PUT"),
    ("Access-Control-Request-Headers", "authorization,content-type"),
]
MEMBER = "/api/hubs/chat/users/u/groups/g"


async def test_preflight_is_answered_for_a_named_origin() -> None:
    world = World(cors_origins=["https://app.example"])
    reply = await world.call("OPTIONS", MEMBER, token=None, headers=PREFLIGHT)

    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert reply.headers["access-control-allow-methods"] == "DELETE, PUT"
    assert reply.headers["access-control-allow-headers"] == "authorization,content-type"
    assert reply.headers["vary"] == "Origin"
    assert world.telemetry.requests == {("Unknown", 204): 1}


async def test_answers_and_refusals_tell_a_named_origin_that_it_may_read_them() -> None:
    world = World(cors_origins=["*"])
    for token in (GOOD, None):
        reply = await world.call("PUT", MEMBER, token=token, headers=PREFLIGHT[:1])
        assert reply.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("origins", "path", "headers"),
    [
        ((), MEMBER, PREFLIGHT),
        (("https://other.example",), MEMBER, PREFLIGHT),
        (("*",), MEMBER, PREFLIGHT[:1]),
        (("*",), MEMBER, PREFLIGHT[1:]),
        (("*",), "/metrics", PREFLIGHT),
    ],
)
async def test_other_preflights_are_methods_that_the_path_does_not_take(
    origins: tuple[str, ...], path: str, headers: list[tuple[str, str]]
) -> None:
    reply = await World(cors_origins=origins).call("OPTIONS", path, token=None, headers=headers)

    assert reply.status == 405
    assert "access-control-allow-methods" not in reply.headers


async def test_nothing_is_said_about_origins_unless_some_are_named(world: World) -> None:
    reply = await world.call("PUT", MEMBER, headers=PREFLIGHT)

    assert [name for name in reply.headers if name.startswith("access-control")] == []
    assert "vary" not in reply.headers


# Logging and counting.


@pytest.mark.parametrize(
    ("method", "target", "status", "level", "name", "template"),
    [
        ("HEAD", GROUP + "?api-version=2024-12-01", 200, "INFO", "GroupExists", "/api/hubs/{hub}/groups/{group}"),
        ("HEAD", GROUP + "?api-version=1", 400, "WARNING", "GroupExists", "/api/hubs/{hub}/groups/{group}"),
        ("GET", GROUP, 405, "WARNING", "Unknown", None),
        ("GET", "/nothing", 404, "WARNING", "Unknown", None),
    ],
)
async def test_request_is_one_record_and_one_count(
    world: World,
    caplog: pytest.LogCaptureFixture,
    method: str,
    target: str,
    status: int,
    level: str,
    name: str,
    template: str | None,
) -> None:
    caplog.set_level(logging.DEBUG, "hubwire.http")
    await world.call(method, target)

    record = records(caplog)[0]
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == level
    assert record.pop("duration") >= 0
    assert record == {
        "operationName": name,
        "routeTemplate": template,
        "httpMethod": method,
        "url": target.partition("?")[0],
        "statusCode": status,
        "callerIpAddress": "192.0.2.7",
        "traceId": None,
    }
    assert json.dumps(record)
    assert world.telemetry.requests == {(name, status): 1}


async def test_no_to_a_question_is_no_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Programs ask all the time whether somebody is there; an operator need not hear of each that is not."""
    caplog.set_level(logging.DEBUG, "hubwire.http")
    world.node.answer = Answer()
    reply = await world.call("HEAD", GROUP + "?api-version=2024-12-01")

    assert reply.status == 404
    assert caplog.records[0].levelname == "INFO"


async def test_record_names_the_address_that_the_edge_found_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    await world.call("HEAD", GROUP, state={"client_ip": "198.51.100.9"})

    assert records(caplog)[0]["callerIpAddress"] == "198.51.100.9"


async def test_path_in_a_record_is_short_and_printable(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    await world.call("GET", b"/a\nb\x1b\xff" + b"x" * 10_000)

    url = records(caplog)[0]["url"]
    assert url.startswith("/a?b?\\xff")
    assert len(url) <= 2100
    assert url.isprintable()


async def test_unexpected_failure_is_logged_with_its_place(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    world.node.failure = RuntimeError("inside")
    await world.call("HEAD", GROUP + "?secret=query")

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "RuntimeError: inside" in caplog.text
    assert "in _exists" in caplog.text
    assert "secret" not in caplog.text


async def test_refused_caller_is_explained_to_the_operator_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    reply = await world.call("HEAD", GROUP, token="Bearer wrong")

    assert records(caplog)[0]["reason"] == "the signature does not fit"
    assert reply.body == b""
    assert caplog.records[0].exc_info is None


async def test_change_that_cannot_be_stored_is_told_to_both_in_a_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.node.failure = NotStored("the disk is full")
    reply = await world.call("PUT", GROUP + "/connections/c")

    assert (reply.status, reply.json["code"]) == (503, "Error.ServiceUnavailable")
    assert reply.json["message"] == records(caplog)[0]["reason"] == "The change could not be stored: the disk is full."
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("ERROR", None)]


async def test_tokens_and_queries_are_never_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ["good-token", "wrong-token", "issued-token", "query-secret", "body-secret", "primary-secret"]
    await world.call("POST", SEND + "?filter=query-secret&access_token=query-secret", body=b"body-secret")
    await world.call("POST", SEND, token="Bearer wrong-token", body=b"body-secret")
    await world.call("POST", SEND + "?query-secret=%", body=b"body-secret")
    await world.call("POST", "/api/hubs/chat/:generateToken?userId=query-secret")
    await world.call("GET", "/nothing?access_token=query-secret", token="Bearer wrong-token")
    await world.operate("POST", "/control/url", {"hub": "chat", "userId": "body-secret"})
    await world.operate("POST", "/control/keys/:rotate", {"keyType": "body-secret"})
    await world.operate("GET", "/control/keys")
    await world.operate("GET", "/control/status")
    world.node.failure = RuntimeError("x")
    await world.call("POST", "/api/hubs/chat/:closeConnections?reason=query-secret", body=b"body-secret")

    assert len(records(caplog)) == 10
    logged = caplog.text + json.dumps(records(caplog))
    assert [secret for secret in secrets if secret in logged] == []


async def test_bodies_of_the_data_plane_are_traffic(world: World) -> None:
    await world.call("POST", SEND, body=b"12345")
    await world.call("POST", SEND, body=b"x" * 1025)
    reply = await world.call("POST", "/api/hubs/chat/:generateToken")
    await world.operate("GET", "/control/status")
    await world.call("GET", "/metrics")

    assert world.telemetry.inbound_bytes == 1030
    assert world.telemetry.outbound_bytes > len(reply.body)
    assert world.telemetry.inbound_messages == 1
    # The refusal of the second send, and the token; neither status nor metrics.
    assert world.telemetry.outbound_bytes < 300


async def test_probes_are_records_for_debugging_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    world.ready = False
    await world.call("GET", "/readyz", token=None)

    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "hubwire.http")
    await world.call("GET", "/readyz", token=None)

    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert world.telemetry.requests == {("Readiness", 503): 2}


async def test_application_takes_nothing_but_http(world: World) -> None:
    with pytest.raises(AssertionError):
        await request(world.app, "GET", "/", scope={"type": "websocket"})


# Whole requests.


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("POST", SEND, [("content-type", "text/plain")], b"hi"),
        ("POST", SEND + "?api-version=2022-11-01&excluded=a&excluded=b", [("content-type", "text/plain")], b"hi"),
        ("POST", SEND, [("content-type", "text/plain")], b"x" * 1025),
        ("POST", SEND, [("content-type", "text/plain")], b"x" * 8193),
        ("POST", SEND, [("content-type", "text/plain"), ("content-type", "text/plain")], b"hi"),
        ("POST", SEND + "?", [("x-ms-client-request-id", "mine")], b"hi"),
        ("GET", SEND, [], b""),
        ("HEAD", "/api/health", [], b""),
        ("HEAD", "/nothing", [], b""),
        ("GET", "/api/hubs/chat/groups/%ff", [], b""),
        ("GET", "/health", [], b""),
    ],
)
async def test_whole_request_is_answered_as_any_other(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Without ASGI, and to the same effect."""
    one, other = World(), World()
    every = [("host", "hub.example:8080"), *headers, ("authorization", GOOD), ("content-length", str(len(body)))]
    whole = WholeRequest(
        method, target, by_name(every), "http", "hub.example:8080", "192.0.2.7", "default", False, "127.0.0.1", "", body
    )

    expected = await request(one.app, method, target, every, (body,), {"target": target})
    answer = await other.app.answer(whole)

    assert expected is not None
    assert (answer.status, dict(answer.headers), answer.body) == expected
    assert other.node.executed == one.node.executed
    assert other.telemetry.requests == one.telemetry.requests
    assert (other.telemetry.inbound_bytes, other.telemetry.outbound_bytes) == (
        one.telemetry.inbound_bytes,
        one.telemetry.outbound_bytes,
    )


async def test_caller_of_a_whole_request_is_the_one_that_the_edge_names() -> None:
    """The local operator over the control socket, of whom no address is known."""
    world = World()
    whole = WholeRequest("GET", "/control/status", {}, "http", "localhost", "", "default", True, None, "", b"")

    assert caller_in(whole) == Caller("localhost", "http", None, True)
    assert (await world.app.answer(whole)).status == 200

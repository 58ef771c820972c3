"""
Events on their way: who is asked before, what is tried again, what bad handlers do to their clients and to nobody else,
and where no event goes.
"""

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from typing import Any, Final

import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer, free_port, running, wait_until
from acceptance.upstreams import Answer, Heard, Reply, Upstream, allow, await_line, configure, says
from acceptance.wire import JSON, Frame, JsonClient, RawClient, client_target, client_token, metric
from acceptance.wire import Answer as Saved
from faults.control import control

INTERNAL: Final = {"name": "InternalServerError", "message": "Internal server error"}
MEGABYTES: Final = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, without room: two calls of a handler at once, and two that wait."""
    room = ("handler_retries_s=0.05,0.05,0.05", "handler_in_flight=2", "handler_waiting=2")
    with running(tmp_path_factory.mktemp("delivery"), *(word for text in room for word in ("--set", text))) as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def bystander(server: Server) -> Iterator[JsonClient]:
    """A client of another hub, whose handler is a good one."""
    with Upstream() as good:
        good.answer = lambda _: says(200, b"served", Content_Type="text/plain")
        configure(server, "bystanders", good.handler(systemEvents=[]))
        with JsonClient(server, "bystanders") as client:
            yield client


def say(client: JsonClient, name: str = "say") -> Frame:
    """Send an event with an ack id; returns the ack."""
    return client.request({"type": "event", "event": name, "dataType": "text", "data": "x"})


def is_served(bystander: JsonClient) -> bool:
    ack = say(bystander)
    return bool(ack["success"]) and bystander.receive()["data"] == "served"


def status(server: Server, hub: str, **headers: str) -> int:
    """What a client with a good token is answered."""
    target = client_target(hub, client_token(server, hub))
    with RawClient(server, target, protocols=[JSON], headers=headers) as client:
        return client.status


# Before the first event


def test_owner_of_a_url_is_asked_once_before_the_first_event(server: Server, hub: str, upstream: Upstream) -> None:
    """Clients that come at once share the answer, and events do not repeat the question."""
    configure(server, hub, upstream.handler("{event}?code=k", auth={"type": "None"}))
    upstream.answer = lambda _: Reply(204, headers=[("Set-Cookie", "a=b; Path=/"), ("ce-connectionState", "s")])
    with ExitStack() as stack:
        with ThreadPoolExecutor(4) as pool:
            clients = list(pool.map(lambda _: stack.enter_context(JsonClient(server, hub)), range(4)))
        for client in clients:
            assert say(client)["success"]

    asked, *events = upstream.heard
    assert {event.method for event in events} == {"POST"}
    assert (asked.method, asked.target, asked.body) == ("OPTIONS", "/validate?code=k", b"")
    assert (asked.get("WebHook-Request-Origin"), asked.awpsversion) == (server.host, "1.0")
    names = {name.lower() for name, _ in asked.headers}
    assert names == {"host", "webhook-request-origin", "ce-awpsversion", "user-agent"} | (names & {"content-length"})


@pytest.mark.parametrize(
    "allowed",
    [
        ["*"],
        ["localhost"],
        ["LocalHost"],
        ["localhost:8080"],
        ["other.example", "localhost"],
        ["other.example, localhost"],
    ],
)
def test_owner_allows_events_by_our_host_or_all(
    server: Server, hub: str, upstream: Upstream, allowed: list[str]
) -> None:
    assert server.host == "localhost"
    upstream.validation = lambda _: Reply(200, headers=[("WebHook-Allowed-Origin", value) for value in allowed])
    configure(server, hub, upstream.handler())

    assert status(server, hub) == 101


def test_owner_that_knows_no_options_is_asked_by_get(server: Server, hub: str, upstream: Upstream) -> None:
    upstream.validation = lambda asked: says(404) if asked.method == "OPTIONS" else allow(asked)
    configure(server, hub, upstream.handler())

    assert status(server, hub) == 101
    first, second = upstream.validations()
    assert (first.method, second.method) == ("OPTIONS", "GET")
    assert first.target == second.target
    assert {name: first.get(name) for name in ("WebHook-Request-Origin", "ce-awpsversion")} == {
        name: second.get(name) for name in ("WebHook-Request-Origin", "ce-awpsversion")
    }


MISSING: Final = "AbuseProtectionResponseMissingAllowedOrigin"
INVALID: Final = "AbuseProtectionResponseInvalidStatusCode"


@pytest.mark.parametrize(
    ("reply", "asked", "line"),
    [
        (says(200), ["OPTIONS"], MISSING),
        (says(200, WebHook_Allowed_Origin=""), ["OPTIONS"], MISSING),
        (says(200, WebHook_Allowed_Origin="nohost"), ["OPTIONS"], MISSING),
        (says(200, WebHook_Allowed_Origin="xlocalhost"), ["OPTIONS"], MISSING),
        (says(401, WebHook_Allowed_Origin="*"), ["OPTIONS"], f"{INVALID}: the handler answered the validation 401"),
        (says(405, WebHook_Allowed_Origin="*"), ["OPTIONS"], f"{INVALID}: the handler answered the validation 405"),
        (says(302, WebHook_Allowed_Origin="*", Location="/"), ["OPTIONS"], INVALID),
        (says(404, WebHook_Allowed_Origin="*"), ["OPTIONS", "GET"], INVALID),
        (says(500, WebHook_Allowed_Origin="*"), ["OPTIONS"] * 4, INVALID),
        (b"", ["OPTIONS"] * 4, "AbuseProtectionResponseFailed"),
    ],
)
def test_owner_that_does_not_allow_events_gets_none(
    server: Server, hub: str, upstream: Upstream, reply: Reply | bytes, asked: list[str], line: str
) -> None:
    upstream.validation = lambda _: reply
    configure(server, hub, upstream.handler())

    # By this name nobody knows us yet.
    assert status(server, hub, Host=f"127.0.0.1:{server.port}") == 500
    await_line(server, hub, line, "event=connect")
    assert upstream.events() == []
    methods = [one.method for one in upstream.validations() if one.get("WebHook-Request-Origin") == "127.0.0.1"]
    # Where there was no answer, a connection that was just closed is no attempt.
    assert methods == asked or (reply == b"" and methods[:4] == asked)


def test_owner_is_asked_again_after_a_failure_that_may_pass(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler())
    replies: Iterator[Reply | bytes] = iter([says(503), says(408), b""])
    upstream.validation = lambda asked: next(replies, allow(asked))

    assert status(server, hub, Host=f"127.0.0.1:{server.port}") == 101


def test_owner_that_has_refused_is_asked_again(server: Server, hub: str, upstream: Upstream) -> None:
    """After a pause that is longer each time, once somebody wants something of it; users' events fail until then."""
    upstream.validation = lambda _: says(200)
    configure(server, hub, upstream.handler(systemEvents=[]))
    with JsonClient(server, hub) as client:

        def fails_at_once() -> bool:
            before = len(upstream.validations())
            assert say(client)["error"] == INTERNAL
            return len(upstream.validations()) == before

        assert say(client)["error"] == INTERNAL
        # The first pause of a second may be over before a slow machine comes to the next event.
        wait_until(fails_at_once, "an event in a pause")
        count = len(upstream.validations())
        upstream.validation = allow
        wait_until(lambda: bool(say(client)["success"]), "another question")
    assert len(upstream.validations()) == count + 1


# Tried again


@pytest.mark.parametrize("first", [says(500), says(503), says(599), says(408), b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_failure_that_may_pass_is_tried_again_with_the_same_event(
    server: Server, hub: str, upstream: Upstream, first: Reply | bytes
) -> None:
    configure(server, hub, upstream.handler(systemEvents=[]))
    replies: Iterator[Reply | bytes] = iter([first])
    upstream.answer = lambda _: next(replies, says(200, b"done", Content_Type="text/plain"))
    with JsonClient(server, hub) as client:
        assert say(client)["success"]
        assert [frame["data"] for frame in client.heard()] == ["done"]
    one, other = upstream.await_events(2)

    assert one._replace(connection=0) == other._replace(connection=0)
    assert (one.id, one.get("x-ms-client-request-id")) == ("1", other.get("x-ms-client-request-id"))


def test_connect_is_tried_again_too(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(systemEvents=["connect"]))
    replies = iter([says(503), says(503)])
    upstream.answer = lambda _: next(replies, says(200, {"userId": "u"}))
    with JsonClient(server, hub) as client:
        assert client.connected["userId"] == "u"
    events = upstream.await_events(3)

    assert {(event.id, event.connectionId) for event in events} == {("0", client.connection_id)}


@pytest.mark.parametrize(("reply", "attempts"), [(says(500), 4), (says(400), 1), (says(429), 1), (says(302), 1)])
def test_attempts_are_counted(server: Server, hub: str, upstream: Upstream, reply: Reply, attempts: int) -> None:
    configure(server, hub, upstream.handler(systemEvents=[]))
    upstream.answer = lambda _: reply
    with JsonClient(server, hub) as client:
        assert say(client)["error"] == INTERNAL

    assert len(upstream.events()) == attempts


def test_notification_is_tried_again_and_given_up_for_the_log(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(systemEvents=["connected", "disconnected"]))
    upstream.answer = lambda event: says(500 if event.eventName == "connected" else 204)
    with JsonClient(server, hub) as client:
        pass
    upstream.await_events(1, "disconnected")

    assert [event.eventName for event in upstream.events()] == ["connected"] * 4 + ["disconnected"]
    await_line(server, hub, "the handler answered 500", "event=connected", f"connectionId={client.connection_id}")


# Bad handlers


@cache
def big() -> bytes:
    """100 MB, made when it is needed."""
    return b"x" * (100 * MEGABYTES)


@cache
def packed() -> bytes:
    """The same in a few kilobytes."""
    return gzip.compress(big(), 1)


HEAD: Final = b"HTTP/1.1 200 OK\r\n"
BAD: Final[dict[str, tuple[Reply | bytes | Callable[[], Reply | bytes], str]]] = {
    "redirect": (says(307, Location="http://127.0.0.1:1/"), "the handler answered 307; redirects are not followed"),
    "refusal": (says(418), "the handler answered 418"),
    "failure": (says(500), "the handler answered 500"),
    "no status": (b"HTTP/1.1 0 None\r\n\r\n", "did not answer in HTTP/1.1"),
    "100 MB with a length": (
        lambda: Reply(200, big()),
        "answered with more than 16777216 bytes (handler_response_bytes)",
    ),
    "100 MB without a length": (
        lambda: HEAD + b"Connection: close\r\n\r\n" + big(),
        "answered with more than 16777216 bytes",
    ),
    "100 MB in a few": (
        lambda: Reply(200, packed(), [("Content-Encoding", "gzip")]),
        "answered with more than 16777216 bytes",
    ),
    "no gzip": (Reply(200, b"x" * 100, [("Content-Encoding", "gzip")]), "Content-Encoding that cannot be decoded"),
    "state that is no text": (
        HEAD + b"ce-connectionState: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        "ce-connectionState is not UTF-8",
    ),
    "state that is too long": (says(200, ce_connectionState="x" * 8193), "ce-connectionState has more than 8192 bytes"),
    "closed at once": (b"", "closed the connection instead of answering"),
    "closed in the head": (HEAD + b"Content-Len", "closed the connection in the middle of its answer"),
    "closed in the body": (HEAD + b"Content-Length: 10\r\n\r\nabc", "broke in the middle of its answer"),
    "closed in a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "broke in the middle of its answer"),
    "no chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n", "did not answer in HTTP/1.1"),
    "no HTTP": (b"220 mail.example.org ESMTP\r\n", "did not answer in HTTP/1.1"),
    "a header without end": (HEAD + b"X-Long: " + b"x" * MEGABYTES, "header that is too long"),
    "too many headers": (HEAD + b"X: y\r\n" * 10_000 + b"\r\n", "too many headers"),
}
"""What a handler says to events, and what the log says of that."""


@pytest.mark.parametrize(("answer", "line"), BAD.values(), ids=BAD)
def test_bad_answer_is_the_matter_of_one_client(
    server: Server,
    hub: str,
    upstream: Upstream,
    bystander: JsonClient,
    answer: Reply | bytes | Callable[[], Reply | bytes],
    line: str,
) -> None:
    """Its event fails, or it is not let in; the log says why; everybody else is served."""
    configure(server, hub, upstream.handler(systemEvents=["connect"]))
    said = answer() if callable(answer) else answer
    bad: Answer = lambda _: said  # noqa: E731
    upstream.answer = lambda event: Reply() if event.eventName == "connect" else bad(event)
    with JsonClient(server, hub) as client:
        client.send({"type": "event", "event": "say", "dataType": "text", "data": "x", "ackId": 1})
        assert is_served(bystander)
        assert client.receive() == {"type": "ack", "ackId": 1, "success": False, "error": INTERNAL}
        assert client.heard() == []
    upstream.answer = bad
    assert status(server, hub) in ((418,) if said == says(418) else (500,))
    assert is_served(bystander)

    logged = await_line(server, f"hub={hub} event=say", line)
    assert "warning" in logged
    assert f"handler={upstream.url()}" in logged
    if said != says(418):
        await_line(server, f"hub={hub} event=connect", line)


def test_strange_headers_are_no_fault(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(systemEvents=[]))
    strange = [b"X-Latin: \xfc", "X-Utf: ü".encode(), b"Set-Cookie: \xff=\xfe", b"ce-connectionState: one"]
    lines = [*strange, b"CE-CONNECTIONSTATE: \xc3\xbc", b"Content-Type: text/plain", b"Content-Length: 2"]
    upstream.answer = lambda _: HEAD + b"\r\n".join(lines) + b"\r\n\r\nok"
    with JsonClient(server, hub) as client:
        assert say(client)["success"]
        assert client.receive()["data"] == "ok"
        assert say(client)["success"]

    assert [event.get("ce-connectionState") for event in upstream.events()] == [None, "ü"]


def test_handler_that_nobody_runs_fails_its_own_clients(server: Server, hub: str, bystander: JsonClient) -> None:
    configure(server, hub, {"urlTemplate": f"http://127.0.0.1:{free_port()}/", "systemEvents": ["connect"]})

    assert status(server, hub) == 500
    assert is_served(bystander)
    await_line(server, hub, "event=connect", "AbuseProtectionResponseFailed: cannot connect to 127.0.0.1:")


def test_slow_handler_holds_up_its_own_clients_only(
    server: Server, hub: str, upstream: Upstream, bystander: JsonClient
) -> None:
    """As many events as may wait do; one more fails at once, and all others are served when it is quick again."""
    configure(server, hub, upstream.handler(systemEvents=["connect"]))
    gate = threading.Event()

    def answer(event: Heard) -> Reply:
        assert event.eventName == "connect" or gate.wait(DEADLINE_S)
        return Reply()

    upstream.answer = answer
    labels = f'{{handler="{upstream.url()}",hub="{hub}",resource="default"}}'
    with ExitStack() as stack:
        clients = [stack.enter_context(JsonClient(server, hub)) for _ in range(5)]
        for client in clients[:4]:
            client.send({"type": "event", "event": "say", "dataType": "text", "data": "x", "ackId": 1})
        wait_until(lambda: metric(server, f"hubwire_handler_calls{labels}") == 2, "two calls")
        wait_until(lambda: metric(server, f"hubwire_handler_waiting{labels}") == 2, "two that wait")
        assert say(clients[4])["error"] == INTERNAL
        assert status(server, hub) == 500
        assert is_served(bystander)
        await_line(server, f"hub={hub} event=say", "Too many events wait for this handler", "handler_waiting")
        assert [client.heard() for client in clients[4:]] == [[]]
        gate.set()
        assert all(client.receive()["success"] for client in clients[:4])
        assert say(clients[4])["success"]
    assert len(upstream.events("say")) == 5


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """
    It waits three seconds for an answer, in which also a slow machine gives one, and six for all attempts; it takes
    only handlers that want to be told, and passes on what refusals say.
    """
    limits = ("handler_timeout_s=3", "blocking_event_s=6", "handler_retries_s=30")
    choices = ("validate_handlers=strict", "refusal_bodies=forward")
    options = (word for text in (*limits, *choices) for word in ("--set", text))
    with running(tmp_path_factory.mktemp("impatient"), *options) as server:
        yield server


def test_handler_that_never_answers_is_given_up(impatient: Server, hub: str, upstream: Upstream) -> None:
    """It is not asked once more, and neither its clients nor others wait longer than that."""
    configure(impatient, hub, upstream.handler(systemEvents=["connect"]))
    upstream.answer = lambda event: Reply() if event.eventName == "connect" else upstream.never(event)
    with JsonClient(impatient, hub) as client:
        assert say(client)["error"] == INTERNAL
        assert client.heard() == []
    upstream.answer = upstream.never
    assert status(impatient, hub) == 500

    assert [event.eventName for event in upstream.events()] == ["connect", "say", "connect"]
    for event in ("say", "connect"):
        await_line(impatient, f"hub={hub} event={event}", "did not answer within 3 s")


def test_all_attempts_together_have_an_end(impatient: Server, hub: str, upstream: Upstream) -> None:
    configure(impatient, hub, upstream.handler(systemEvents=["connect"]))
    upstream.answer = lambda _: says(503)

    assert status(impatient, hub) == 500
    await_line(impatient, f"hub={hub} event=connect", "no answer within 6 s, all attempts together (blocking_event_s)")
    assert len(upstream.events()) == 1


def test_text_of_a_refusal_is_passed_on_where_the_operator_wants_it(
    impatient: Server, hub: str, upstream: Upstream
) -> None:
    configure(impatient, hub, upstream.handler(systemEvents=["connect"]))
    upstream.answer = lambda _: says(403, b"not you", Content_Type="text/plain; charset=utf-8", X_Internal="y")
    with RawClient(impatient, client_target(hub, client_token(impatient, hub)), protocols=[JSON]) as client:
        assert (client.status, client.body) == (403, b"not you")
        assert client.headers["content-type"] == "text/plain; charset=utf-8"
        assert "x-internal" not in client.headers


# Settings that change


def save(server: Server, hub: str, handler: Mapping[str, Any]) -> Saved:
    """What the saving of a hub with one handler is answered."""
    return control(server, "PUT", f"hubs/{hub}", {"properties": {"eventHandlers": [handler]}})


def test_handler_that_cannot_be_told_yet_is_saved_with_a_warning(server: Server, hub: str, upstream: Upstream) -> None:
    """What comes of it is seen by who looks."""
    upstream.validation = lambda _: says(401)
    nobody = {"urlTemplate": f"http://127.0.0.1:{free_port()}/", "systemEvents": ["connect"]}
    for handler, said in ((upstream.handler(), f"{INVALID}: "), (nobody, "AbuseProtectionResponseFailed: ")):
        answer = save(server, hub, handler)
        assert answer.status in (200, 201)
        assert f"eventHandlers[0]: {said}" in answer.headers["warning"]
        (state,) = control(server, "GET", f"handlers/default/{hub}").json()["value"]
        assert said in state["state"]
    upstream.validation = allow
    assert "warning" not in save(server, hub, upstream.handler("good")).headers
    shown = server.cli("hub", "show", hub)
    assert (shown.returncode, "it takes events" in shown.stdout) == (0, True), shown.stdout


def test_handler_that_refuses_is_not_saved_where_the_operator_is_strict(
    impatient: Server, hub: str, upstream: Upstream
) -> None:
    """One that cannot be reached is: it may be started later."""
    configure(impatient, hub, upstream.handler("old"))
    upstream.validation = lambda _: says(403)
    answer = save(impatient, hub, upstream.handler("new"))
    assert answer.status == 400
    assert INVALID.encode() in answer.body
    assert b"eventHandlers[0].urlTemplate" in answer.body
    assert status(impatient, hub) == 101
    assert upstream.events()[0].target == "/old"

    nobody = {"urlTemplate": f"http://127.0.0.1:{free_port()}/", "systemEvents": ["connect"]}
    assert save(impatient, hub, nobody).status == 200
    assert status(impatient, hub) == 500


def test_changed_settings_act_on_the_next_event_and_leave_connections(
    server: Server, hub: str, upstream: Upstream
) -> None:
    with Upstream() as other, JsonClient(server, hub, user="u") as client:
        assert not say(client)["success"]
        configure(server, hub, upstream.handler())
        assert say(client, "one")["success"]
        configure(server, hub, other.handler(userEventPattern="two", systemEvents=["disconnected"]))
        assert say(client, "two")["success"]
        assert not say(client, "one")["success"]
        body: dict[str, Any] = {"properties": {"eventHandlers": [{"urlTemplate": "http://{hub}.example.org/"}]}}
        assert control(server, "PUT", f"hubs/{hub}", body).status == 400
        assert say(client, "two")["success"]
        configure(server, hub)
        assert not say(client, "two")["success"]
        assert status(server, hub) == 101
        configure(server, hub, other.handler(systemEvents=["disconnected"]))
        client.socket.close()
        other.await_events(1, "disconnected", of=client.connection_id)

        assert [event.eventName for event in upstream.events()] == ["one"]
        assert [event.eventName for event in other.events()] == ["two", "two", "disconnected"]
        assert {event.userId for event in (*upstream.events(), *other.events())} == {"u"}


# Where no event goes


@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/metadata",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://0.0.0.0:{port}/",
        "https://127.0.0.1:{https_port}/",
        "http://224.0.0.1/",
    ],
)
def test_addresses_of_machines_and_our_own_get_no_events(server: Server, hub: str, place: str) -> None:
    """What is known of the server cannot be got at by whoever may configure a hub."""
    url = place.format(port=server.port, https_port=server.https_port)
    configure(server, hub, {"urlTemplate": url, "systemEvents": ["connect"]})

    assert status(server, hub) == 500
    await_line(server, hub, "event=connect", "may not be called")


def test_handlers_can_be_held_to_some_networks(start_server: StartServer, hub: str) -> None:
    """By their addresses, whatever they are called."""
    server = start_server("--set", "handler_networks=127.0.0.2/31")
    with Upstream("127.0.0.2") as inside, Upstream() as outside:
        configure(server, hub, inside.handler(systemEvents=["connect"]))
        assert status(server, hub) == 101
        for url in (outside.url(), outside.url().replace("127.0.0.1", "localhost")):
            configure(server, hub, {"urlTemplate": url, "systemEvents": ["connect"]})
            assert status(server, hub) == 500
        await_line(server, hub, "event=connect", "127.0.0.1 is not among handler_networks")
        assert len(inside.events()) == 1
        assert outside.heard == []

"""`hubwire tunnel`: what is printed, and what keeps it from starting. How it dials and forwards is tested beside it."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import Result
from yarl import URL

from acceptance.servers import free_port, wait_until
from cli.conftest import Run
from cli.standin import DEADLINE_S, StandIn, serving
from cli.test_resources import KEYS, LIST, PATH, SUBSCRIPTION, resource
from hubwire.cli.faults import BadCommandLine
from hubwire.cli.forwarding import Forwarded
from hubwire.cli.tunnel import Lines, parse_upstream
from hubwire.upstream.tunnel_frames import HttpRequest
from vectors.tunnel_frames import message_bytes

TUNNEL = ("tunnel", "--hub", "chat", "--upstream", "http://localhost:3000")
KEY = "p" * 32


def told(result: Result, code: int = 1) -> str:
    """The one line of a command that failed."""
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    return line


def string(port: int, key: str = KEY) -> str:
    return f"Endpoint=http://127.0.0.1:{port};AccessKey={key};Version=1.0;"


@pytest.fixture
def manager(server: StandIn) -> StandIn:
    """A server with one resource, `default`, whose key is known."""
    server.on("GET", "/control/status", 200, {"subscriptionId": SUBSCRIPTION.rpartition("/")[2]})
    server.on("GET", LIST, 200, {"value": [resource("default")]})
    server.on("POST", f"{PATH}/listKeys", 200, KEYS)
    return server


# What keeps it from starting


@pytest.mark.parametrize("hub", ["", "a b", "9lives", "x" * 129])
def test_name_that_no_hub_has_is_told(run: Run, hub: str) -> None:
    line = told(run("tunnel", "--hub", hub, "--upstream", "http://localhost:3000"), 2)

    assert line == f"hubwire: {hub!r} is no name of a hub"


@pytest.mark.parametrize(
    "upstream",
    ["", "ftp://localhost", "http://", "http://[::1", "http://localhost:99999", "http://h/?a=b", "http://h/#x"],
)
def test_upstream_that_is_no_url_to_send_to_is_told(run: Run, upstream: str) -> None:
    line = told(run("tunnel", "--hub", "chat", "--upstream", upstream), 2)

    assert line == "hubwire: --upstream wants a URL such as http://localhost:3000, without a query"


def test_upstream_with_a_password_is_refused_and_not_quoted() -> None:
    with pytest.raises(BadCommandLine) as caught:
        parse_upstream("http://user:hidden@localhost")

    assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:3000", "http://localhost:3000"),
        ("localhost:3000", "http://localhost:3000"),
        ("https://app.example/base", "https://app.example/base"),
        ("[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_scheme_of_the_upstream_may_be_left_out(text: str, url: str) -> None:
    assert parse_upstream(text) == URL(url)


@pytest.mark.parametrize("missing", ["--hub", "--upstream"])
def test_hub_and_upstream_are_needed(run: Run, missing: str) -> None:
    options = {"--hub": "chat", "--upstream": "http://localhost:3000"}
    del options[missing]

    assert f"Missing option '{missing}'" in told(run("tunnel", *(word for pair in options.items() for word in pair)), 2)


def test_resource_and_connection_string_exclude_each_other(run: Run) -> None:
    line = told(run(*TUNNEL, "--resource", "x", "--connection-string", string(1)), 2)

    assert line.startswith("hubwire: --resource goes with the server of the data folder")


def test_connection_string_that_is_none_is_told_and_not_quoted(run: Run) -> None:
    assert "hidden" not in told(run(*TUNNEL, env={"HUBWIRE_CONNECTION_STRING": "hidden"}), 2)


def test_folder_without_a_server_is_told(run: Run) -> None:
    assert told(run(*TUNNEL)).startswith("hubwire: no server runs on the data folder data; start one with: ")


def test_resource_that_is_not_there_is_told(run: Run, manager: StandIn) -> None:
    assert told(run(*TUNNEL, "--resource", "x")) == "hubwire: there is no resource x; there are: default"


def test_resource_that_takes_no_access_keys_is_told(run: Run, manager: StandIn) -> None:
    manager.on("GET", LIST, 200, {"value": [resource("default", disableLocalAuth=True)]})

    assert told(run(*TUNNEL)).startswith("hubwire: default takes no tokens of access keys (disableLocalAuth)")


def test_service_that_cannot_be_reached_is_told(run: Run) -> None:
    port = free_port()

    line = told(run(*TUNNEL, "--connection-string", string(port)))

    assert line.startswith(f"hubwire: cannot reach 127.0.0.1:{port}: Connection refused")
    assert KEY not in line


@pytest.mark.parametrize(
    ("status", "words", "line"),
    [
        (401, b"The access token is not valid.", "401 Unauthorized: The access token is not valid."),
        (404, b"", "404 Not Found"),
        (503, b"The resource is stopped.", "503 Service Unavailable: The resource is stopped."),
    ],
)
def test_refusal_is_told_in_the_words_of_the_service(run: Run, status: int, words: bytes, line: str) -> None:
    with serving() as service:
        service.on_raw("GET", "/server/tunnel", status, words)

        assert told(run(*TUNNEL, "--connection-string", string(service.port))) == (
            f"hubwire: the server refused the connection: {line}"
        )


# What is printed


def request(url: str = "tunnel:///events/connect?code=hidden", headers: Any = None) -> HttpRequest:
    return HttpRequest(1, "POST", url, headers)


@pytest.mark.parametrize(
    ("asked", "answer", "line"),
    [
        (request(headers={"ce-eventName": ["connect"]}), Forwarded(200, {}, b""), "POST connect 200 12 ms"),
        (request(headers={"CE-EventName": "my.event"}), Forwarded(401, {}, b""), "POST my.event 401 12 ms"),
        (request(), Forwarded(204, {}, b""), "POST /events/connect 204 12 ms"),
        (request(headers={"ce-eventName": []}), Forwarded(204, {}, b""), "POST /events/connect 204 12 ms"),
        (
            request(headers={"ce-eventName": ["connect"]}),
            Forwarded(500, {}, b"", "cannot reach http://localhost:3000: Connection refused"),
            "POST connect 500 12 ms (cannot reach http://localhost:3000: Connection refused)",
        ),
        (request(headers={"ce-eventName": ["a\x1b[2J\nb"]}), Forwarded(200, {}, b""), "POST a\\x1b[2J b 200 12 ms"),
        (request(headers={"ce-eventName": ["x" * 1000]}), Forwarded(200, {}, b""), f"POST {'x' * 128} 200 12 ms"),
    ],
)
def test_request_is_one_line_that_says_what_came_of_it(
    capsys: pytest.CaptureFixture[str], asked: HttpRequest, answer: Forwarded, line: str
) -> None:
    Lines("chat", URL("http://localhost:3000")).forwarded(asked, answer, 12.3)

    assert capsys.readouterr() == (line + "\n", "")


def test_what_happens_to_the_connection_is_told_beside_the_requests(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines("chat", URL("http://localhost:3000"))

    lines.lost("The server is shutting down.")
    lines.back()
    lines.say("Main\ntenance.")

    assert capsys.readouterr() == (
        "",
        "hubwire: The server is shutting down; connecting again\nhubwire: connected again\nhubwire: Main tenance.\n",
    )


class Process:
    """The command in a process of its own, with its output in files."""

    def __init__(self, *arguments: str) -> None:
        self._output, self._errors = Path("stdout.txt"), Path("stderr.txt")
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hubwire", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def output(self) -> list[str]:
        return self._output.read_text(encoding="utf-8").splitlines()

    @property
    def errors(self) -> str:
        return self._errors.read_text(encoding="utf-8")

    def end(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


async def welcoming(socket: web.WebSocketResponse) -> None:
    """Connects the tool, asks once, and goes on listening."""
    welcome = message_bytes(10, ConnectionId="c1")
    event = {"ce-eventName": ["connect"]}
    await socket.send_bytes(
        welcome + message_bytes(1, b"{}", AckId=1, HttpMethod="POST", Url="tunnel:///e", Headers=event)
    )
    async for message in socket:
        assert message.type == aiohttp.WSMsgType.BINARY


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_tunnel_says_where_it_leads_and_ends_by_a_signal(manager: StandIn, number: signal.Signals, code: int) -> None:
    """Found through the control socket, with the key that the server tells."""
    with serving() as service, serving() as application:
        service.on_socket("/server/tunnel", welcoming)
        application.on_raw("POST", "/base/e", 200, b"")
        keys = KEYS | {"primaryConnectionString": string(service.port)}
        manager.on("POST", f"{PATH}/listKeys", 200, keys)
        upstream = f"http://127.0.0.1:{application.port}/base"
        tool = Process("tunnel", "--hub", "chat", "--upstream", upstream)
        try:
            wait_until(lambda: tool.process.poll() is not None or len(tool.output) == 5, "the line of a request")
            assert tool.errors == ""
            assert tool.output[:4] == [
                "Hubwire tunnel for hub chat is connected",
                f"  events of       http://127.0.0.1:{service.port}",
                f"  go to           {upstream}",
                "  stop it         Ctrl-C",
            ]
            assert tool.output[4].startswith("POST connect 200 ")
            assert [asked.path for asked in application.asked] == ["/base/e"]
            assert service.asked[0].path.startswith("/server/tunnel?hub=chat&access_token=")
            assert tool.end(number) == code
            assert tool.errors == ""
        finally:
            if tool.process.poll() is None:
                tool.process.kill()
                tool.process.wait(DEADLINE_S)

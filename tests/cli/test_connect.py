"""`hubwire connect`: the conversation with a server, in pipes and in a terminal."""

import asyncio
import contextlib
import fcntl
import importlib
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, WSMsgType, web
from aiohttp.abc import AbstractResolver, ResolveResult

from cli.conftest import Run
from cli.standin import DEADLINE_S, Asked, SocketHandler, StandIn, serving, socket_server
from hubwire.cli.connect import converse, open_socket, parse_url
from hubwire.cli.conversation import JsonConversation
from hubwire.cli.faults import CommandFailed
from hubwire.settings import Settings

PATH = "/client/hubs/chat"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.secret.token"
CONNECTED = {"type": "system", "event": "connected", "userId": "alice", "connectionId": "c1"}


async def polite(socket: web.WebSocketResponse) -> None:
    """Greets, acknowledges everything, sends what is published back, and refuses the group `secret`."""
    await socket.send_json(CONNECTED)
    async for message in socket:
        request = json.loads(message.data)
        ack: dict[str, Any] = {"type": "ack", "ackId": request["ackId"], "success": True}
        if request.get("group") == "secret":
            ack |= {"success": False, "error": {"name": "Forbidden", "message": "no permission"}}
        await socket.send_json(ack)
        if request["type"] == "sendToGroup":
            echo = {key: request[key] for key in ("group", "dataType", "data")}
            await socket.send_json({"type": "message", "from": "group", "fromUserId": "alice", **echo})


def command(url: str, *options: str) -> list[str]:
    """A command line for a process of its own."""
    return [sys.executable, "-m", "hubwire", "connect", *options, url]


def piped(url: str, typed: str | bytes, *options: str) -> subprocess.CompletedProcess[str]:
    """Run with input from a pipe."""
    data = typed.encode() if isinstance(typed, str) else typed
    done = subprocess.run(command(url, *options), input=data, capture_output=True, timeout=60, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def url_of(server: StandIn, path: str = PATH) -> str:
    """A client access URL with a token."""
    return f"ws://127.0.0.1:{server.port}{path}?access_token={TOKEN}"


def test_lines_of_a_pipe_are_sent_and_all_answers_are_shown() -> None:
    """In order; then the connection ends with 1000."""
    codes: list[int | None] = []

    async def counting(socket: web.WebSocketResponse) -> None:
        await polite(socket)
        codes.append(socket.close_code)

    with socket_server(PATH, counting) as server:
        done = piped(url_of(server), "join room\n\nsend room hello\nsendjson room [1]\nevent e x")

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "* connected as alice, connection c1",
        "* done: join room",
        "* done: send to room",
        "[room] alice> hello",
        "* done: send to room",
        "[room] alice> [1]",
        "* done: event e",
    ]
    assert (done.returncode, codes) == (0, [1000])
    assert server.asked[0].headers["Sec-WebSocket-Protocol"] == "json.webpubsub.azure.v1"
    assert server.asked[0].path.endswith(f"?access_token={TOKEN}")


def test_regular_file_is_read_like_a_pipe(tmp_path: Any) -> None:
    """An event loop cannot watch files; we can."""
    script = tmp_path / "script"
    script.write_text("join room\r\nquit\nsend room never\n")
    with socket_server(PATH, polite) as server, script.open("rb") as file:
        done = subprocess.run(command(url_of(server)), stdin=file, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == ["* connected as alice, connection c1", "* done: join room"]


def test_help_is_shown_on_request() -> None:
    """Without asking the server."""
    with socket_server(PATH, polite) as server:
        done = piped(url_of(server), "help\n")

    assert "sendjson GROUP JSON" in done.stdout


def test_refused_and_senseless_lines_of_a_pipe_fail_the_command() -> None:
    """The others are carried out all the same."""
    with socket_server(PATH, polite) as server:
        done = piped(url_of(server), "jion room\njoin secret\njoin room\n")

    assert "* refused: join secret: Forbidden: no permission" in done.stdout
    assert "* done: join room" in done.stdout
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "hubwire: line 1: unknown word jion; try help",
        "hubwire: not all lines were carried out: 1 not understood, 1 refused",
    ]


def test_input_that_is_not_text_is_one_line() -> None:
    """Nothing of it is sent."""
    with socket_server(PATH, polite) as server:
        done = piped(url_of(server), b"send room \xff\n")

    assert (done.returncode, done.stderr) == (1, "hubwire: the input is not UTF-8 text\n")


def test_simple_client_offers_no_subprotocol_and_sends_lines_as_they_are() -> None:
    """Every word is a message."""

    async def echo(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            await socket.send_str(message.data)
            await socket.send_bytes(b"\x01")
            await socket.close()

    with socket_server(PATH, echo) as server:
        done = piped(url_of(server), "quit\n", "--subprotocol", "none", "--wait", "60")

    assert done.stdout.splitlines() == ["quit", "(binary, base64) AQ=="]
    assert "Sec-WebSocket-Protocol" not in server.asked[0].headers


def test_reliable_server_hears_what_arrived() -> None:
    """Before its memory of unacknowledged messages is full, and again at the latest after a second."""
    heard: list[int] = []

    async def flood(socket: web.WebSocketResponse) -> None:
        await socket.send_json(CONNECTED)
        for number in range(1, 251):
            await socket.send_json(
                {"type": "message", "from": "server", "dataType": "text", "data": "x", "sequenceId": number}
            )
        async for message in socket:
            heard.append(json.loads(message.data)["sequenceId"])
            if heard[-1] == 250:
                await socket.close()

    with socket_server(PATH, flood) as server:
        done = piped(url_of(server), "", "--subprotocol", "json.reliable.webpubsub.azure.v1", "--wait", "60")

    assert done.stdout.count("server> x") == 250
    # A tick of the clock may come in between; never more than a hundred are left unsaid.
    assert all(later - earlier <= 100 for earlier, later in zip([0, *heard], heard, strict=False))
    assert heard[-1] == 250


@pytest.mark.parametrize(
    ("code", "words"),
    [(1000, "the server closed the connection (code 1000)"), (1001, "the server closed the connection (code 1001)")],
)
def test_close_by_the_server_is_one_line_and_exit_code_1(code: int, words: str) -> None:
    """Why it did was shown before, if it said so."""

    async def closing(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "system", "event": "disconnected", "message": "go home"})
        await socket.close(code=code)

    with socket_server(PATH, closing) as server:
        done = piped(url_of(server), "", "--wait", "60")

    assert done.stdout == "* the server ends the connection: go home\n"
    assert (done.returncode, done.stderr) == (1, f"hubwire: {words}\n")


def test_reason_of_a_close_is_shown_as_far_as_a_terminal_may_have_it() -> None:
    """For simple clients it stands nowhere else."""

    async def closing(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1011, message=b"No event handler\x1b[2J is\nconfigured.")

    with socket_server(PATH, closing) as server:
        done = piped(url_of(server), "hello\n", "--subprotocol", "none", "--wait", "60")

    words = "the server closed the connection (code 1011): No event handler\\x1b[2J is configured."
    assert (done.returncode, done.stderr) == (1, f"hubwire: {words}\n")


def test_failure_of_an_event_handler_comes_with_where_to_look() -> None:
    """The server tells strangers nothing more."""
    with serving() as server:
        server.on_raw("GET", PATH, 500, b"The event handler failed.")
        failed = piped(url_of(server), "")
        server.on_raw("GET", PATH, 500, b"Something else.")
        other = piped(url_of(server), "")

    assert "The event handler failed. The server's log says why, and so may: " in failed.stderr
    assert failed.stderr.endswith("hubwire hub show chat\n")
    assert "hub show" not in other.stderr
    assert (failed.returncode, other.returncode) == (1, 1)


def test_server_that_asks_a_handler_is_waited_for_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it may be doing is said if it takes longer still."""

    async def silent(asked: Asked) -> object:
        await asyncio.sleep(DEADLINE_S)
        return None

    async def dial(url: str, *patience_s: float) -> None:
        async with ClientSession() as session:
            await open_socket(session, parse_url(url), None, *patience_s)

    module = importlib.import_module("hubwire.cli.connect")
    assert Settings().blocking_event_s < module._ANSWERED_S
    monkeypatch.setattr(module, "_REACHED_S", 0.0)
    with serving() as server:
        server.on_call("GET", PATH, silent)
        with pytest.raises(CommandFailed, match=r"within 0\.1 seconds; it may be waiting for an event handler$"):
            asyncio.run(dial(url_of(server), 0.1))


def test_lost_connection_is_one_line_and_exit_code_1() -> None:
    """A server that is gone says nothing."""

    async def dying(socket: web.WebSocketResponse) -> None:
        await socket.send_json(CONNECTED)
        transport = socket._req.transport if socket._req is not None else None
        assert transport is not None
        transport.abort()

    with socket_server(PATH, dying) as server:
        done = piped(url_of(server), "", "--wait", "60")

    assert (done.returncode, done.stderr) == (1, "hubwire: the connection was lost\n")


def test_missing_answers_fail_the_command_after_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never acknowledges does not hold us for ever."""
    module = importlib.import_module("hubwire.cli.connect")
    monkeypatch.setattr(module, "_ACK_TIMEOUT_S", 0.2)

    async def silent(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    class Screen:
        """One line, and then the end of the input."""

        interactive = False

        def __init__(self) -> None:
            self.stopped = asyncio.Event()
            self.lines = ["join room"]

        async def line(self) -> str | None:
            return self.lines.pop() if self.lines else None

        def begin(self) -> None:
            """Nothing to draw."""

        def show(self, line: str) -> None:
            """Nothing is expected."""
            raise AssertionError(line)

        complain = show

    async def talk(url: str) -> None:
        async with ClientSession() as session:
            socket = await open_socket(session, parse_url(url), "json.webpubsub.azure.v1")
            await converse(socket, JsonConversation(), Screen(), 0)

    with socket_server(PATH, silent) as server, pytest.raises(CommandFailed, match="1 not answered"):
        asyncio.run(talk(url_of(server)))


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (401, b"", "hubwire: the server refused the connection: 401 Unauthorized\n"),
        (
            400,
            b"Invalid\nhub name.",
            "hubwire: the server refused the connection: 400 Bad Request: Invalid hub name.\n",
        ),
        (
            429,
            f"too many, {TOKEN}".encode(),
            "hubwire: the server refused the connection: 429 Too Many Requests: too many, …\n",
        ),
        (
            200,
            b"a page\x1b[2J",
            "hubwire: the server refused the connection: 200 OK: a page\\x1b[2J\n",
        ),
    ],
)
def test_refused_handshake_shows_status_and_words(status: int, body: bytes, line: str) -> None:
    """And never the token, whatever the server quotes."""
    with serving() as server:
        server.on_raw("GET", PATH, status, body)
        done = piped(url_of(server), "")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_refusal_of_another_endpoint_shows_what_a_url_looks_like() -> None:
    """Such as that of a REST call; a client's endpoint is not told from itself."""
    with serving() as server:
        there = piped(url_of(server), "")
        elsewhere = piped(url_of(server, "/chat"), "")

    sample = f"(one looks like ws://127.0.0.1:{server.port}/client/hubs/HUB?access_token=TOKEN)\n"
    assert "404 Not Found" in there.stderr
    assert "one looks like" not in there.stderr
    assert elsewhere.stderr.endswith(sample)


def test_long_refusal_is_cut() -> None:
    """One line is one line."""
    with serving() as server:
        server.on_raw("GET", PATH, 500, b"x" * 100_000)
        done = piped(url_of(server), "")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 500


def test_server_that_does_not_speak_the_subprotocol_is_left() -> None:
    """What it would say could not be read."""

    async def server_without_it(socket: web.WebSocketResponse) -> None:
        raise AssertionError("never reached")

    with serving() as server:
        server.on_socket(PATH, server_without_it)
        server.protocols = ()
        done = piped(url_of(server), "")

    assert done.returncode == 1
    assert "does not speak json.webpubsub.azure.v1" in done.stderr


def test_nobody_listening_is_one_line_that_helps() -> None:
    """With the place, without the token."""
    with serving() as server:
        url = url_of(server)
    done = piped(url, "")

    assert done.returncode == 1
    assert done.stderr.startswith(
        f"hubwire: cannot reach 127.0.0.1:{server.port}: Connection refused; is the server running? ("
    )
    assert "hubwire serve" in done.stderr
    assert TOKEN not in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_listening_under_any_address_of_this_machine_is_told_the_same() -> None:
    """However many were tried."""
    with serving() as server:
        url = url_of(server).replace("127.0.0.1", "localhost")
    done = piped(url, "")

    assert done.stderr.startswith(
        f"hubwire: cannot reach localhost:{server.port}: Connection refused; is the server running? ("
    )


def test_name_that_nobody_knows_is_no_reason_to_start_a_server() -> None:
    """It would not help."""

    class Resolver(AbstractResolver):
        """Knows no name."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def close(self) -> None:
            """Nothing is open."""

    async def connect() -> None:
        async with ClientSession(connector=TCPConnector(resolver=Resolver())) as session:
            await open_socket(session, parse_url(f"ws://chat.example{PATH}"), None)

    with pytest.raises(CommandFailed) as caught:
        asyncio.run(connect())

    assert caught.value.message == "cannot reach chat.example:80: Name or service not known"


def test_tls_to_a_plain_port_is_told_so() -> None:
    """Not in words of the TLS library."""
    with serving() as server:
        done = piped(url_of(server).replace("ws:", "wss:"), "")

    line = f"hubwire: cannot reach 127.0.0.1:{server.port}: the server there does not speak TLS; try ws://\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_empty_url_is_told_so(run: Run) -> None:
    """A command inside $( ) may have failed."""
    assert run("connect", "").stderr == "hubwire: the URL is empty\n"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chat",
        "localhost:8080/client/hubs/chat",
        "ftp://localhost/client/hubs/chat",
        "ws:///client/hubs/chat",
        "ws://localhost:99999/client/hubs/chat",
        "ws://[::1/client/hubs/chat",
        "ws://localhost:8080/clients/mqtt/hubs/chat",
        "ws://localhost:8080/Clients/MQTT/hubs/chat",
    ],
)
def test_bad_url_is_one_line_that_does_not_quote_it(run: Run, url: str) -> None:
    """It may hold a token."""
    result = run("connect", f"{url}?access_token={TOKEN}" if url else "")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hubwire: ")
    assert TOKEN not in result.stderr
    assert result.stderr.count("\n") == 1


def test_url_of_an_mqtt_client_is_told_apart_from_a_bad_one(run: Run) -> None:
    """It is good, for somebody else."""
    stderr = run("connect", f"ws://localhost:8080/clients/mqtt/hubs/chat?access_token={TOKEN}").stderr

    assert stderr == (
        "hubwire: this URL is for MQTT clients, such as mqtt.js and paho-mqtt over WebSocket; "
        "connect speaks the JSON subprotocols only: hubwire connect --hub HUB\n"
    )


@pytest.mark.parametrize(
    "arguments", [[], ["ws://localhost/", "--hub", "chat"], ["ws://localhost/", "--user", "u"], ["--wait", "-1"]]
)
def test_either_a_url_or_a_hub_is_named(run: Run, arguments: list[str]) -> None:
    """With a hub one says who the client is; a URL has said it already."""
    assert run("connect", *arguments).exit_code == 2


def test_hub_of_the_local_server_needs_no_url(server: StandIn) -> None:
    """The server of the data folder makes one."""
    with socket_server(PATH, polite) as other:
        server.on("POST", "/control/url", 200, {"url": url_of(other)})
        done = subprocess.run(
            [sys.executable, "-m", "hubwire", "connect", "--hub", "chat", "--group", "g", "--role", "joinGroup"],
            input=b"join room\n",
            capture_output=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 0
    assert b"* done: join room" in done.stdout
    document = server.asked[0].document()
    assert isinstance(document, dict)
    assert document["groups"] == ["g"]
    assert done.stderr == (
        b"hubwire: 'joinGroup' is no role that this server knows; did you mean webpubsub.joinLeaveGroup?\n"
    )


def test_reader_that_goes_away_ends_us_quietly() -> None:
    """`hubwire connect … | head` is a usual thing to do."""

    async def talkative(socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while not socket.closed:
                await socket.send_json(CONNECTED)
                await asyncio.sleep(0)

    with socket_server(PATH, talkative) as server:
        process = subprocess.Popen(
            command(url_of(server), "--wait", "60"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        code = process.wait(DEADLINE_S)
        assert process.stderr.read() == b""
        process.stderr.close()

    assert code == 1


class Tty:
    """`hubwire connect` in a pseudo terminal of 40 columns."""

    def __init__(self, url: str, *options: str) -> None:
        self.seen = b""
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        self.modes = termios.tcgetattr(side)
        environ = {**os.environ, "TERM": "xterm"}
        environ.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            command(url, *options), stdin=side, stdout=side, stderr=side, env=environ, start_new_session=True
        )
        self._side = side

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._main, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read on until `text` was written."""
        end = time.monotonic() + DEADLINE_S
        while text.encode() not in self.seen:
            ready, _, _ = select.select([self._main], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} did not come; seen: {self.seen!r}"
            self.seen += os.read(self._main, 65536)

    def ended(self) -> int:
        """Wait for the end; its exit code."""
        return self.process.wait(DEADLINE_S)

    def rest(self) -> bytes:
        """Everything that was written; ask at the end."""
        while select.select([self._main], [], [], 0)[0]:
            self.seen += os.read(self._main, 65536)
        return self.seen

    def modes_now(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self._side)

    def close(self) -> None:
        """End whatever is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        os.close(self._main)
        os.close(self._side)


@contextlib.contextmanager
def terminal(handler: SocketHandler = polite) -> Iterator[Tty]:
    """A conversation in a terminal, after its greeting."""
    with socket_server(PATH, handler) as server:
        tty = Tty(url_of(server))
        try:
            tty.wait_for("* connected as alice, connection c1")
            yield tty
        finally:
            tty.close()


def test_terminal_shows_what_was_typed_and_what_came_of_it() -> None:
    """Lines stay readable: what one said, then the answers."""
    with terminal() as tty:
        tty.type("join rox\x7fom\r")
        tty.wait_for("* done: join room")
        tty.type("send room hello\r")
        tty.wait_for("[room] alice> hello")
        tty.type("quit\r")

        assert tty.ended() == 0
        assert b"> join room\r\n" in tty.rest()


def test_simple_client_in_a_terminal_is_told_that_it_is_connected() -> None:
    """No message of the server says so."""

    async def echo(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            await socket.send_str(message.data)

    with socket_server(PATH, echo) as server, contextlib.closing(Tty(url_of(server), "--subprotocol", "none")) as tty:
        tty.wait_for("* connected; every line is one message\r\n")
        tty.type("hello\r")
        tty.wait_for("> hello\r\n\r\x1b[K> \r\x1b[Khello\r\n")
        tty.type("\x04")

        assert tty.ended() == 0


def test_half_typed_line_survives_a_message_that_arrives() -> None:
    """It is drawn again below the message, and still there to be sent."""
    told: list[web.WebSocketResponse] = []

    async def meddler(socket: web.WebSocketResponse) -> None:
        told.append(socket)
        await socket.send_json(CONNECTED)
        async for message in socket:
            if message.type is WSMsgType.TEXT and json.loads(message.data)["type"] == "event":
                await socket.send_json({"type": "message", "from": "server", "dataType": "text", "data": "surprise"})
            else:
                await socket.send_json({"type": "ack", "ackId": json.loads(message.data)["ackId"], "success": True})

    with terminal(meddler) as tty:
        # Both in one go: the second line is half typed when the answer to the first arrives.
        tty.type("event provoke it\rsend room hal")
        tty.wait_for("\r\x1b[Kserver> surprise\r\n\r\x1b[K> send room hal")
        tty.type("f\r")
        tty.wait_for("> send room half\r\n")
        tty.wait_for("* done: send to room")


def test_mistake_in_a_terminal_is_explained_and_forgiven() -> None:
    """The person can try again, and the exit code is theirs to earn."""
    with terminal() as tty:
        tty.type("jion room\r")
        tty.wait_for("* unknown word jion; try help")
        tty.type("help\r")
        tty.wait_for("leave GROUP")
        tty.type("\x04")

        assert tty.ended() == 0


@pytest.mark.parametrize("how", ["ctrl-d", "ctrl-c", "SIGTERM", "SIGHUP"])
def test_end_is_clean_and_leaves_the_terminal_as_it_was(how: str) -> None:
    """No traceback, exit code 0, close code 1000, echo on again."""
    codes: list[int | None] = []

    async def counting(socket: web.WebSocketResponse) -> None:
        await polite(socket)
        codes.append(socket.close_code)

    with terminal(counting) as tty:
        tty.type("half a li")
        tty.wait_for("> half a li")
        match how:
            case "ctrl-d":
                tty.type("\x15\x04")
            case "ctrl-c":
                # The terminal is not the controlling one of that process, so the key's signal is sent by hand.
                tty.process.send_signal(signal.SIGINT)
            case _:
                tty.process.send_signal(getattr(signal, how))

        assert tty.ended() == 0
        assert b"Traceback" not in tty.rest()
        assert tty.modes_now() == tty.modes
    assert codes == [1000]


def test_terminal_is_put_back_when_the_server_ends_the_connection() -> None:
    """The one line that says so stands alone."""

    async def leaving(socket: web.WebSocketResponse) -> None:
        await socket.send_json(CONNECTED)
        async for _ in socket:
            await socket.close(code=1001)

    with terminal(leaving) as tty:
        tty.type("join room\rhalf a li")

        assert tty.ended() == 1
        assert tty.rest().endswith(b"\r\x1b[Khubwire: the server closed the connection (code 1001)\r\n")
        assert tty.modes_now() == tty.modes

"""What a server logs of requests that nobody saw, and a server whose log nobody reads."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from acceptance.servers import DEADLINE_S, StartServer, wait_until
from acceptance.wire import metric

REFUSED = (
    b"GET /client/hubs/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
HEALTH = b"HEAD /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_request_that_the_front_refuses_is_logged_and_counted(start_server: StartServer) -> None:
    """With its status, its reason and the client's address, and with nothing of what the client sent."""
    server = start_server("--log-format", "json")
    with socket.create_connection((server.host, server.port), DEADLINE_S) as client:
        client.sendall(b"BREW /pot?milk=secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 501 ")

    assert metric(server, 'hubwire_requests_total{operation="RequestRefused",status="501"}') == 1
    server.stop()
    (line,) = [line for line in map(json.loads, server.log().splitlines()) if line["operationName"] == "RequestRefused"]
    assert (line["category"], line["level"]) == ("HttpRequestLogs", "Warning")
    assert line["callerIpAddress"] in ("127.0.0.1", "::1")
    assert line["properties"] == {"message": "unknown method", "statusCode": 501}
    assert "secret" not in server.log()


class Unheard:
    """A server whose standard error is a pipe that nobody reads."""

    def __init__(self, folder: Path) -> None:
        ready_file = folder / "ready.json"
        command = [sys.executable, "-m", "hubwire", "serve", "--no-banner", "--port", "0", "--grace", "600"]
        command += ["--data", str(folder / "data"), "--ready-file", str(ready_file)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until(lambda: self.process.poll() is not None or ready_file.exists(), "the ready file")
        url = urlsplit(json.loads(ready_file.read_text(encoding="utf-8"))["endpoint"])
        self.address = (url.hostname, url.port)

    def ask(self, request: bytes) -> bytes:
        """The whole answer to a request after which the server ends the connection."""
        answer = b""
        with socket.create_connection(self.address, DEADLINE_S) as connection:
            connection.sendall(request)
            while data := connection.recv(1 << 16):
                answer += data
        return answer

    def fill(self) -> None:
        """Make it log far more than a pipe holds."""
        for _ in range(2000):
            assert self.ask(REFUSED).startswith(b"HTTP/1.1 401")


@pytest.fixture
def unheard(tmp_path: Path) -> Iterator[Unheard]:
    server = Unheard(tmp_path)
    yield server
    server.process.kill()
    server.process.communicate(timeout=DEADLINE_S)


def test_server_whose_log_nobody_reads_serves_on_and_ends_in_order(unheard: Unheard) -> None:
    """And says everything, in order, to somebody who begins to read."""
    unheard.fill()

    assert unheard.ask(HEALTH).startswith(b"HTTP/1.1 200")
    unheard.process.send_signal(signal.SIGTERM)
    _, log = unheard.process.communicate(timeout=DEADLINE_S)
    lines = log.decode().splitlines()
    assert unheard.process.returncode == 0
    assert sum("ConnectionRefused" in line for line in lines) == 2000
    assert lines[-1].endswith("stopped")


def test_server_whose_log_nobody_reads_ends_without_a_reader(unheard: Unheard) -> None:
    unheard.fill()
    unheard.process.send_signal(signal.SIGTERM)

    assert unheard.process.wait(DEADLINE_S) == 0


def test_second_signal_ends_a_server_whose_log_nobody_reads(unheard: Unheard) -> None:
    """A REST call whose body never comes would hold it up for ten minutes."""
    unheard.fill()
    with socket.create_connection(unheard.address, DEADLINE_S) as stuck:
        stuck.sendall(b"POST /api/hubs/chat/:send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx")
        unheard.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(unheard), "the listener's end")
        unheard.process.send_signal(signal.SIGTERM)

        assert unheard.process.wait(DEADLINE_S) == 1


def listens(server: Unheard) -> bool:
    try:
        socket.create_connection(server.address, DEADLINE_S).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("missing", ["<&-", "2>&-", "<&- 2>&-"])
def test_server_that_was_started_without_a_standard_stream_serves_and_ends_in_peace(
    tmp_path: Path, missing: str, loop: str
) -> None:
    ready_file = tmp_path / "ready.json"
    serve = f"serve --no-banner --port 0 --set loop={loop} --data {tmp_path}/data --ready-file {ready_file}"
    process = subprocess.Popen(["sh", "-c", f'exec "$0" -m hubwire {serve} {missing}', sys.executable])
    wait_until(lambda: process.poll() is not None or ready_file.exists(), "the ready file")
    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE_S) == 0

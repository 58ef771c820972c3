"""Servers as real processes, started as an operator would start them."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

__all__ = [
    "DEADLINE_S",
    "PROCESS_S",
    "PROGRAM",
    "CloudProxy",
    "Server",
    "StartServer",
    "fixed_ports",
    "free_port",
    "run_command",
    "running",
    "wait_until",
    "whole_lines",
]

DEADLINE_S: Final = 25.0
"""
How long a test waits for what must happen; generous, because nothing is slower on a busy machine for being right. Yet
less than the 30 s after which the server gives up an attempt of an event handler: that is not what a test waits for.
"""

PROCESS_S: Final = 90.0
"""How long a process may take to start, or a command from there to its end: that is work, for which others compete."""

PROGRAM: Final = ("-m", "hubwire")
"""Our command line, as Python is told to run it."""

_POLL_S: Final = 0.01
_FIRST_PORT: Final = 20_000
"""From here up to 31 199 we take ours: below those that systems give to whoever asks for any port, and to clients."""
_PORTS_EACH: Final = 700
_WORKERS: Final = 16
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.")
_FAULT: Final = re.compile(r'^\S+ (error|critical) |"level":"Error"|Traceback \(most recent call last\)')


def _own_ports() -> Iterator[int]:
    """Those of this process, round and round, so that none comes twice soon. Workers of one run have different ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first, begin = _FIRST_PORT + worker * _PORTS_EACH, secrets.randbelow(_PORTS_EACH)
    return cycle([first + (begin + at) % _PORTS_EACH for at in range(_PORTS_EACH)])


_ports: Final = _own_ports()


def free_port() -> int:
    """
    A port that nobody listens on now, for servers whose port must be known beforehand, and for nobody to listen on.

    It stays free until it is asked for by its number, however many servers and clients come and go meanwhile.
    """
    for _ in range(_PORTS_EACH):
        port = next(_ports)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("none of our ports is free")


def fixed_ports() -> tuple[str, ...]:
    """Options for a server that is to be started again at the same ports; those of its resources stay the same, too."""
    return ("--port", str(free_port()), "--https-port", str(free_port()))


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Return as soon as `condition` holds; fail, naming `what` was waited for, when the time is over."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited {timeout_s:g} s in vain: {what}"
        time.sleep(_POLL_S)


def whole_lines(path: Path) -> str:
    """What a process has written to a file so far, without the line that it may be in the midst of."""
    written = path.read_bytes()
    return written[: written.rfind(b"\n") + 1].decode()


class Server:
    """
    `hubwire serve` in a process of its own.

    Attributes:
        data: its data folder.
        endpoint, connection_string, pid: as the ready file tells them.
        authority, tenant_id, client_id, client_secret: for who signs in with its token issuer; each empty where the
            ready file has none.
        access_key: the primary one, as it was at the start.
        host, port: of `endpoint`; the port is 0 if a public endpoint names none.
        provoked: texts by which faults in its log are known that the test brings about.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        data: Path | None = None,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        Start a server on a free port and wait until it is ready.

        Args:
            folder: for its output, its ready file and, unless `data` names another, its data folder.
            options: of `hubwire serve`, besides port, data folder and ready file.
            program: what Python runs, for a server that something is added to.
            environment: added to ours.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.data = data or folder / "data"
        self.provoked: tuple[str, ...] = ()
        self.ready_file = folder / "ready.json"
        self._output = folder / "stdout.txt"
        self._log = folder / "stderr.txt"
        command = [sys.executable, *program, "serve", "--port", "0", "--data", str(self.data)]
        if "--port" in options:
            command += ["--https-port", "0"]  # else it would be 8443, and one server at a time
        command += ["--ready-file", str(self.ready_file), *options]
        with self._output.open("ab") as output, self._log.open("ab") as log:
            variables = {**os.environ, **(environment or {})}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=variables)
        try:
            wait_until(lambda: self.process.poll() is not None or self.ready_file.exists(), "the ready file", PROCESS_S)
        except BaseException:
            self.end()  # nobody else knows of it yet
            raise
        assert self.process.poll() is None, f"ended with {self.process.returncode} at start:\n{self.log()}"
        ready = json.loads(self.ready_file.read_text(encoding="utf-8"))
        self.endpoint: str = ready["endpoint"]
        self.connection_string: str = ready["connectionString"]
        self.https_endpoint: str = ready.get("httpsEndpoint", "")
        self.https_connection_string: str = ready.get("httpsConnectionString", "")
        self.https_port = urlsplit(self.https_endpoint).port or 0
        self.ca = Path(ready.get("caCertificate", ""))
        self.authority: str = ready.get("authority", "")
        self.tenant_id: str = ready.get("tenantId", "")
        self.client_id: str = ready.get("clientId", "")
        self.client_secret: str = ready.get("clientSecret", "")
        self.subscription_id: str = ready.get("subscriptionId", "")
        self.pid: int = ready["pid"]
        assert self.pid == self.process.pid
        parts = dict(part.split("=", 1) for part in self.connection_string.split(";") if part)
        self.access_key = parts["AccessKey"]
        url = urlsplit(self.endpoint)
        self.host = url.hostname or ""
        self.port = url.port or 0

    def log(self) -> str:
        """What it has logged so far, and whatever else it wrote to its standard error."""
        return whole_lines(self._log)

    def output(self) -> str:
        """What it has printed so far: its banner, which shows the connection string."""
        return self._output.read_text(encoding="utf-8")

    def cli(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command of ours on this server's data folder, to its end; it reads what is `said`."""
        return run_command(*arguments, "--data", str(self.data), said=said)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, which we started."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, once it has ended, which takes less than an attempt of an event handler may."""
        return self.process.wait(DEADLINE_S)

    def stop(self) -> None:
        """End it as a supervisor would and hold it to a clean end; nothing to do if it ended already."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            assert self.wait() == 0, self.log()
        self.assert_log_is_clean()

    def end(self) -> None:
        """Leave no process behind, whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)

    def assert_log_is_clean(self) -> None:
        """Neither faults of ours in the log, nor anything that opens a door: access keys and tokens."""
        log = self.log()
        faults = [line for line in log.splitlines() if _FAULT.search(line)]
        faults = [line for line in faults if not any(text in line for text in self.provoked)]
        assert not faults, f"faults in the server's log:\n{log}"
        assert self.access_key not in log
        assert not self.client_secret or self.client_secret not in log
        assert _TOKEN.search(log) is None, "the log holds a token"


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    """A server for a block, see `Server`. It is held to a clean end, and leaves no process behind in any case."""
    server = Server(folder, *options)
    try:
        yield server
        server.stop()
    finally:
        server.end()


class CloudProxy:
    """
    `hubwire proxy` in a process of its own.

    Attributes:
        url: for HTTPS_PROXY.
        port: of it.
        environment: of a program that is to reach the server by the cloud's names, and knows nothing else of us.
    """

    def __init__(self, folder: Path, server: Server, *options: str) -> None:
        """
        Start it in front of a server, on a free port, and wait until it listens.

        Args:
            folder: for its output.
            options: besides port and data folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder / "stdout.txt"
        self._log = folder / "stderr.txt"
        command = [sys.executable, *PROGRAM, "proxy", "--port", "0", "--data", str(server.data), *options]
        with self._output.open("wb") as output, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, preexec_fn=_heed_interrupts
            )
        wait_until(
            lambda: self.process.poll() is not None or "Ctrl-C" in self.output(),
            "what it prints at the start",
            PROCESS_S,
        )
        assert self.process.poll() is None, f"ended with {self.process.returncode} at start:\n{self.log()}"
        exports = dict(re.findall(r"export (\w+)=(\S+)", self.output() + server.cli("ca", "env").stdout))
        self.url: str = exports["HTTPS_PROXY"]
        self.port = urlsplit(self.url).port or 0
        # Not what the environment of the tests says of proxies and of whom to trust.
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_bundle"))}
        self.environment = {**kept, **exports}

    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8")

    def log(self) -> str:
        """What it has written to its standard error so far."""
        return whole_lines(self._log)

    def run(self, program: str, *arguments: str) -> str:
        """What a program in Python prints that was started from a shell in which this proxy is in use."""
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROCESS_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code after a signal; nothing is done if it ended already."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PROCESS_S)

    def end(self) -> None:
        """Leave no process behind, whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and its children with it; a test may be one of these."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class StartServer(Protocol):
    """Starts a server with options of its own; it is ended, and its log judged, when the test is over."""

    def __call__(
        self,
        *options: str,
        data: Path | None = None,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
    ) -> Server: ...


def run_command(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end; `said` is its standard input."""
    return subprocess.run(
        [sys.executable, *PROGRAM, *arguments],
        input=said,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

"""
The other ends of tunnels: a tool that was written from the description of the protocol alone, and does what the
service's own one does; and our command in a process of its own.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from acceptance.servers import DEADLINE_S, PROCESS_S, PROGRAM, Server, wait_until, whole_lines
from acceptance.wire import Target, signed
from vectors.tunnel_frames import message_bytes, unpacked

__all__ = ["Asked", "Said", "Tool", "TunnelCommand", "tunnel_target", "tunnel_token"]

_REQUEST: Final = 1
_RESPONSE: Final = 2
_CONNECTED: Final = 10


def tunnel_target(hub: str, token: str | None) -> str:
    """The request target of a tunnel's upgrade."""
    return f"/server/tunnel?hub={quote(hub)}" + ("" if token is None else f"&access_token={quote(token)}")


def tunnel_token(server: Target, hub: str, **options: Any) -> str:
    """As the service's own tool makes it: for the URL that it dials, an hour."""
    audience = f"ws://{server.host}:{server.port}/server/tunnel?hub={quote(hub)}"
    return signed(server, audience, ttl_s=3600, sub=str(uuid4()), **options)


class Asked(NamedTuple):
    """
    A request that came through the tunnel.

    Attributes:
        path: of its URL; the service's own tool takes nothing else of that.
        headers: each line of each, as bytes.
    """

    path: str
    headers: Mapping[str, list[bytes]]
    body: bytes
    method: str
    ack_id: int

    def get(self, name: str) -> str:
        """The value of a header that comes once."""
        (value,) = self.headers[name]
        return value.decode()


class Said(NamedTuple):
    """What a handler answers."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, list[str]] = {}


class Tool:
    """
    A tool that is connected when it is made, and answers in a thread.

    Attributes:
        welcome: the first message.
        asked: every request.
        heard: type and fields of every other message.
        answer: to requests; None leaves one without any.
        closed: code with which the server ended the connection; 1006 is no close frame at all.
    """

    def __init__(self, server: Server, hub: str, *, token: str | None = None) -> None:
        self.asked: list[Asked] = []
        self.heard: list[tuple[int, dict[str, Any]]] = []
        self.answer: Callable[[Asked], Said | None] = lambda _: Said()
        self.closed = 0
        target = tunnel_target(hub, token or tunnel_token(server, hub))
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(
            connect(
                f"ws://{server.host}:{server.port}{target}",
                compression=None,
                ping_interval=None,
                open_timeout=DEADLINE_S,
                close_timeout=DEADLINE_S,
                max_size=None,
                proxy=None,
            )
        )
        assert self._socket.subprotocol is None
        number, self.welcome, _ = unpacked(self._receive())
        assert number == _CONNECTED
        self._thread = threading.Thread(target=self._work, name="a tunnel")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def await_asked(self, count: int) -> list[Asked]:
        """The requests so far, once there are as many."""
        wait_until(lambda: len(self.asked) >= count, f"{count} requests through a tunnel")
        assert len(self.asked) == count
        return self.asked

    def send(self, number: int, content: bytes | None = None, **fields: Any) -> None:
        """Say something of its own accord."""
        self._socket.send(message_bytes(number, content, **fields))

    def vanish(self) -> None:
        """The network is gone: no close frame."""
        self._socket.socket.shutdown(2)
        self._thread.join(DEADLINE_S)

    def leave(self) -> None:
        """End the connection."""
        self._stack.close()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def await_end(self) -> int:
        """The code with which the server ended the connection."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self.closed

    def _receive(self) -> bytes:
        message = self._socket.recv()
        assert isinstance(message, bytes), "tunnels speak in binary messages"
        return message

    def _work(self) -> None:
        try:
            while True:
                self._take(self._receive())
        except ConnectionClosed as error:
            self.closed = 1006 if error.rcvd is None else error.rcvd.code

    def _take(self, message: bytes) -> None:
        number, fields, content = unpacked(message)  # one message each: the service's own tool reads no second one
        if number != _REQUEST:
            self.heard.append((number, fields))
            return
        url = urlsplit(fields["Url"])
        assert url.scheme, "its URL is absolute"
        headers = {name: [line.encode("latin-1") for line in lines] for name, lines in fields["Headers"].items()}
        asked = Asked(url.path, headers, content, fields["HttpMethod"], fields["AckId"])
        self.asked.append(asked)
        said = self.answer(asked)
        if said is not None:
            same = {name: fields[name] for name in ("AckId", "LocalRouting", "ChannelName")}
            self.send(_RESPONSE, said.body, StatusCode=said.status, Headers=dict(said.headers), **same)


class TunnelCommand:
    """`hubwire tunnel` in a process of its own."""

    def __init__(self, folder: Path, upstream: str, hub: str, *options: str, **environment: str) -> None:
        """
        Start it, and wait until it is connected.

        Args:
            folder: for its output.
            options: of what leads to the service.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder / "stdout.txt"
        self._log = folder / "stderr.txt"
        command = [sys.executable, *PROGRAM, "tunnel", "--hub", hub, "--upstream", upstream, *options]
        with self._output.open("wb") as output, self._log.open("wb") as log:
            variables = {**os.environ, **environment}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=variables)
        wait_until(
            lambda: self.process.poll() is not None or "Ctrl-C" in self.output(),
            "what it prints at the start",
            PROCESS_S,
        )
        assert self.process.poll() is None, f"ended with {self.process.returncode} at start:\n{self.log()}"

    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8")

    def requests(self) -> list[str]:
        """The lines of requests, without how long they took."""
        lines = [line for line in self.output().splitlines() if line.startswith("POST ")]
        return [" ".join(line.split()[1:3]) for line in lines]

    def log(self) -> str:
        """What it has written to its standard error so far."""
        return whole_lines(self._log)

    def stop(self) -> int:
        """Its exit code after SIGTERM, or the one with which it has ended already."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """Leave no process behind, whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)

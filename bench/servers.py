"""
The servers under test, as processes: how each is started, where its clients go, and how it is ended.

Each runs on one core. None of them knows that it is measured: they are started as an operator would start them, with
the few settings that stand here, and the report names them.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.installation import Available
from bench.machine import cpu_ticks, pinned
from bench.tokens import Issuer
from bench.workloads import CENTRIFUGO, HUBWIRE, HUBWIRE_ASKING, MOSQUITTO, NATS, SOCKETIO, WS

__all__ = ["SERVERS", "Kind", "NotStarted", "Running", "start"]

_START_S: Final = 20.0
_STOP_S: Final = 5.0
_POLL_S: Final = 0.02
_QUIET_S: Final = 0.1
_QUIET_TIMEOUT_S: Final = 5.0
_HOST: Final = "127.0.0.1"


class NotStarted(Exception):  # noqa: N818
    """A server that ended, or did not listen in time. Its text is one line."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """
    A server of the table.

    Attributes:
        title: its name for readers.
        protocol: of the load generator.
        path: request target of its clients; empty where each client has one of its own.
        arguments: of its command line, given a free port and a folder of its own.
        env: environment variables besides ours.
        settings: what differs from its defaults, for the report.
        ours: it tells in a ready file where it is, and its clients need tokens.
    """

    title: str
    protocol: str
    path: str
    arguments: Callable[[int, Path], list[str]]
    env: Callable[[int], Mapping[str, str]] = lambda _port: {}
    settings: str
    ours: bool = False


def _hubwire_arguments(port: int, folder: Path) -> list[str]:
    places = ["--data", str(folder / "data"), "--ready-file", str(folder / "ready.json")]
    return ["serve", "--port", str(port), "--https-port", "0", *places, "--log-level", "warning"]


def _asking_arguments(port: int, folder: Path) -> list[str]:
    template = folder / "asking.json"
    template.write_text(json.dumps(_ASKING), encoding="utf-8")
    return [*_hubwire_arguments(port, folder), "--template", str(template)]


_ASKING: Final = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "resources": [
        {
            "type": "Microsoft.SignalRService/webPubSub",
            "apiVersion": "2024-03-01",
            "name": "default",
            "location": "local",
            "sku": {"name": "Premium_P2", "capacity": 1000},
            "properties": {"tls": {"clientCertEnabled": True}},
        }
    ],
}


def _nats_arguments(port: int, folder: Path) -> list[str]:
    configuration = folder / "nats.conf"
    configuration.write_text(
        f'listen: "{_HOST}:-1"\nwebsocket {{ host: "{_HOST}", port: {port}, no_tls: true }}\n', encoding="utf-8"
    )
    return ["-c", str(configuration)]


def _mosquitto_arguments(port: int, folder: Path) -> list[str]:
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} {_HOST}\nprotocol websockets\nallow_anonymous true\nmax_queued_messages 0\n", encoding="utf-8"
    )
    return ["-c", str(configuration)]


def _centrifugo_env(port: int) -> dict[str, str]:
    """The names of version 5 and of version 6; each knows its own."""
    address = {
        f"CENTRIFUGO_{prefix}{name}": value
        for prefix in ("", "HTTP_SERVER_")
        for name, value in (("ADDRESS", _HOST), ("PORT", str(port)))
    }
    buffer = {"CENTRIFUGO_CLIENT_QUEUE_MAX_SIZE": str(4 * 2**20)}
    return {**address, **buffer, "CENTRIFUGO_CLIENT_INSECURE": "true", **_ONE_CORE}


_ONE_CORE: Final = {"GOMAXPROCS": "1"}

SERVERS: Final[Mapping[str, Kind]] = {
    HUBWIRE: Kind(
        title="Hubwire",
        protocol="azure",
        path="",
        arguments=_hubwire_arguments,
        settings="`log_level` is `warning`, so that like the peers it writes no line for each connection and call",
        ours=True,
    ),
    HUBWIRE_ASKING: Kind(
        title="Hubwire, asking",
        protocol="azure",
        path="",
        arguments=_asking_arguments,
        settings="as Hubwire, and `tls.clientCertEnabled`",
        ours=True,
    ),
    NATS: Kind(
        title="NATS server",
        protocol="nats",
        path="/",
        arguments=_nats_arguments,
        env=lambda _port: _ONE_CORE,
        settings="WebSocket without TLS; `GOMAXPROCS=1`, since it has one core",
    ),
    CENTRIFUGO: Kind(
        title="Centrifugo",
        protocol="centrifugo",
        path="/connection/websocket",
        arguments=lambda _port, _folder: [],
        env=_centrifugo_env,
        settings="`client_insecure` (everybody may do all, no token), a client's queue of 4 MiB as in Hubwire "
        "instead of 1, `GOMAXPROCS=1`",
    ),
    WS: Kind(
        title="Node `ws`",
        protocol="plain",
        path="/",
        arguments=lambda port, _folder: [str(port)],
        settings="no compression; the server is `bench/peers/node/ws.js`: JSON, groups, and a loop over the members",
    ),
    SOCKETIO: Kind(
        title="Socket.IO",
        protocol="socketio",
        path="/socket.io/?EIO=4&transport=websocket",
        arguments=lambda port, _folder: [str(port)],
        settings="WebSocket only, no compression; the server is `bench/peers/node/socketio.js`: an event to a room",
    ),
    MOSQUITTO: Kind(
        title="Mosquitto",
        protocol="mqtt",
        path="/mqtt",
        arguments=_mosquitto_arguments,
        settings="WebSocket listener, anonymous clients, no limit of queued messages",
    ),
}
"""By the name under which workloads call them."""


@dataclass
class Running:
    """
    A server that listens.

    Attributes:
        address: host and port.
        issuer: makes tokens for its clients; only Hubwire has one.
        folder: of its own; files for its clients are put there too.
        secure: host and port of its TLS, and the file of whom to trust for it; only Hubwire is measured over TLS.
    """

    name: str
    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    issuer: Issuer | None = None
    secure: tuple[str, str] | None = None
    _paths: dict[tuple[int, int], Path] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def clients(self, count: int, groups: int) -> list[str]:
        """
        Options of the generator that say where its clients go.

        Args:
            count: so many different tokens, where there are tokens.
            groups: that each token names.
        """
        kind = SERVERS[self.name]
        if self.issuer is None:
            return ["--path", kind.path]
        if (count, groups) not in self._paths:
            path = self.folder / f"paths-{count}-{groups}"
            path.write_text("".join(f"{target}\n" for target in self.issuer.targets(count, groups)), encoding="ascii")
            self._paths[count, groups] = path
        return ["--paths", str(self._paths[count, groups])]

    def wait_until_quiet(self) -> bool:
        """Whether it has got over what it was given: no processor time in a tenth of a second, within some seconds."""
        end = time.monotonic() + _QUIET_TIMEOUT_S
        while time.monotonic() < end:
            before = cpu_ticks(self.process.pid)
            time.sleep(_QUIET_S)
            # One tick is a hundredth of a second: a timer or two may have run.
            if cpu_ticks(self.process.pid) - before <= 1:
                return True
        return False

    def stop(self) -> None:
        """End it: politely, then by force."""
        if self.alive:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start(name: str, available: Available, folder: Path, core: int) -> Running:
    """
    Start a server on one core and wait until it listens.

    Args:
        folder: empty, its own.

    Raises:
        NotStarted: it ended, or did not listen in time. Nothing is left behind.
    """
    kind = SERVERS[name]
    folder.mkdir(parents=True)
    port = _free_port()
    command = [*available.command, *kind.arguments(port, folder)]
    log = folder / "log.txt"
    try:
        with log.open("wb") as output, pinned(core):
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**_clean_environment(), **kind.env(port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    except OSError as fault:
        raise NotStarted(f"{command[0]} cannot be run: {fault.strerror}") from fault
    running = Running(name, process, f"{_HOST}:{port}", folder)
    try:
        _wait_until_it_listens(running, port, log)
        if kind.ours:
            ready = json.loads((folder / "ready.json").read_text(encoding="utf-8"))
            running.issuer = _issuer(ready, running.address)
            if "httpsEndpoint" in ready:
                running.secure = f"{_HOST}:{ready['httpsEndpoint'].rpartition(':')[2]}", ready["caCertificate"]
    except BaseException:
        running.stop()
        raise
    return running


def _clean_environment() -> dict[str, str]:
    """Ours, without what would change a server's settings behind the report's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HUBWIRE_", "CENTRIFUGO_"))}


def _issuer(ready: Mapping[str, str], address: str) -> Issuer:
    """Of Hubwire's tokens, from what it tells in its ready file."""
    parts = dict(part.split("=", 1) for part in ready["connectionString"].split(";") if part)
    return Issuer(address, parts["AccessKey"])


def _wait_until_it_listens(running: Running, port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while not _listens(port) or (SERVERS[running.name].ours and not (running.folder / "ready.json").exists()):
        if not running.alive:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1].strip() if lines else "it said nothing"
            raise NotStarted(f"it ended at start with exit code {running.process.returncode}: {last}")
        if time.monotonic() > end:
            raise NotStarted(f"it did not listen within {_START_S:g} s")
        time.sleep(_POLL_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

"""
The servers under test, as processes: how each is started, where its clients go, and how it is ended.

Each runs on one core. None of them knows that it is measured: they are started as an operator would start them, with
the few settings that stand here, and the report names them.
"""

import http.client
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.identities import Identities, fill
from bench.installation import Available
from bench.machine import cpu_ticks, pinned
from bench.tokens import Issuer, client_path
from bench.workloads import (
    CENTRIFUGO,
    CENTRIFUGO_RPC,
    HUB,
    HUBWIRE,
    HUBWIRE_ASKING,
    HUBWIRE_EVENTS,
    HUBWIRE_INTERVAL,
    HUBWIRE_MANY_USERS,
    HUBWIRE_USERS,
    MANY_USERS,
    MOCHI,
    MOSQUITTO,
    NATS,
    NATS_MQTT,
    SOCKETIO,
    WS,
)

__all__ = ["SERVERS", "Kind", "NotStarted", "Running", "start"]

_START_S: Final = 20.0
_STOP_S: Final = 5.0
_POLL_S: Final = 0.02
_QUIET_S: Final = 0.1
_QUIET_TIMEOUT_S: Final = 5.0
_HOST: Final = "127.0.0.1"
_USERS: Final = 1000


class NotStarted(Exception):  # noqa: N818
    """A server that ended, or did not listen in time. Its text is one line."""


@dataclass(frozen=True)
class Site:
    """
    Where a server is to run.

    Attributes:
        port: free, for its clients.
        handler_port: free, where the load generator answers as an application's server.
        folder: of its own.
    """

    port: int
    handler_port: int
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Kind:
    """
    A server of the table.

    Attributes:
        title: its name for readers.
        protocol: of the load generator.
        path: request target of its clients; empty where each client has one of its own.
        arguments: of its command line.
        env: environment variables besides ours.
        settings: what differs from its defaults, for the report.
        ours: it tells in a ready file where it is, and its clients need tokens.
        asks: an application's server, which the load generator is to be.
    """

    title: str
    protocol: str
    path: str
    arguments: Callable[[Site], list[str]]
    env: Callable[[Site], Mapping[str, str]] = lambda _site: {}
    settings: str
    ours: bool = False
    asks: bool = False


def _hubwire_arguments(site: Site) -> list[str]:
    places = ["--data", str(site.folder / "data"), "--ready-file", str(site.folder / "ready.json")]
    return ["serve", "--port", str(site.port), "--https-port", "0", *places, "--log-level", "warning"]


def _asking_arguments(site: Site) -> list[str]:
    properties = {"tls": {"clientCertEnabled": True}}
    premium = {"location": "local", "sku": {"name": "Premium_P2", "capacity": 1000}}
    return _templated(site, {"type": _RESOURCE, "name": "default", **premium, "properties": properties})


def _events_arguments(site: Site) -> list[str]:
    handler = {"urlTemplate": f"http://{_HOST}:{site.handler_port}/{{event}}", "userEventPattern": "*"}
    properties = {"eventHandlers": [handler]}
    return _templated(site, {"type": f"{_RESOURCE}/hubs", "name": f"default/{HUB}", "properties": properties})


def _templated(site: Site, resource: Mapping[str, object]) -> list[str]:
    """With a resource from a template, as one deploys it to Azure."""
    template = site.folder / "template.json"
    text = {"$schema": _SCHEMA, "contentVersion": "1.0.0.0", "resources": [{"apiVersion": "2024-03-01", **resource}]}
    template.write_text(json.dumps(text), encoding="utf-8")
    return [*_hubwire_arguments(site), "--template", str(template)]


_RESOURCE: Final = "Microsoft.SignalRService/webPubSub"
_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


def _nats_arguments(site: Site) -> list[str]:
    configuration = site.folder / "nats.conf"
    configuration.write_text(
        f'listen: "{_HOST}:-1"\nwebsocket {{ host: "{_HOST}", port: {site.port}, no_tls: true }}\n', encoding="utf-8"
    )
    return ["-c", str(configuration)]


def _nats_mqtt_arguments(site: Site) -> list[str]:
    configuration = site.folder / "nats.conf"
    configuration.write_text(
        f'listen: "{_HOST}:-1"\nserver_name: bench\njetstream {{ store_dir: "{site.folder / "jetstream"}" }}\n'
        f'websocket {{ host: "{_HOST}", port: {site.port}, no_tls: true }}\n'
        f'mqtt {{ host: "{_HOST}", port: -1, consumer_memory_storage: true }}\n',
        encoding="utf-8",
    )
    return ["-c", str(configuration)]


def _mochi_arguments(site: Site) -> list[str]:
    elsewhere = f"{_HOST}:0"
    return ["-ws", f"{_HOST}:{site.port}", "-tcp", elsewhere, "-info", elsewhere]


def _mosquitto_arguments(site: Site) -> list[str]:
    configuration = site.folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {site.port} {_HOST}\nprotocol websockets\nallow_anonymous true\nmax_queued_messages 0\n",
        encoding="utf-8",
    )
    return ["-c", str(configuration)]


def _centrifugo_env(site: Site) -> dict[str, str]:
    """The names of version 5 and of version 6; each knows its own."""
    address = {
        f"CENTRIFUGO_{prefix}{name}": value
        for prefix in ("", "HTTP_SERVER_")
        for name, value in (("ADDRESS", _HOST), ("PORT", str(site.port)))
    }
    buffer = {"CENTRIFUGO_CLIENT_QUEUE_MAX_SIZE": str(4 * 2**20)}
    return {**address, **buffer, "CENTRIFUGO_CLIENT_INSECURE": "true", **_ONE_CORE}


def _centrifugo_rpc_env(site: Site) -> dict[str, str]:
    names = ("CENTRIFUGO_PROXY_RPC_ENDPOINT", "CENTRIFUGO_RPC_PROXY_ENDPOINT")
    endpoint = dict.fromkeys(names, f"http://{_HOST}:{site.handler_port}/rpc")
    return {**_centrifugo_env(site), **endpoint, "CENTRIFUGO_RPC_WITHOUT_NAMESPACE_PROXY_ENABLED": "true"}


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
    HUBWIRE_EVENTS: Kind(
        title="Hubwire, with a handler",
        protocol="azure-events",
        path="",
        arguments=_events_arguments,
        settings="as Hubwire, and an event handler for all user events",
        ours=True,
        asks=True,
    ),
    HUBWIRE_INTERVAL: Kind(
        title="Hubwire, interval",
        protocol="azure",
        path="",
        arguments=lambda site: [*_hubwire_arguments(site), "--set", "journal_fsync=interval"],
        settings="as Hubwire, and `journal_fsync` is `interval`",
        ours=True,
    ),
    HUBWIRE_USERS: Kind(
        title="Hubwire, with users",
        protocol="azure",
        path="",
        arguments=_hubwire_arguments,
        settings="as Hubwire, and 1,000 users of its communication service, from an import",
        ours=True,
    ),
    HUBWIRE_MANY_USERS: Kind(
        title="Hubwire, with many users",
        protocol="azure",
        path="",
        arguments=_hubwire_arguments,
        settings="as Hubwire, and as many users of its communication service as the rows say, from an import",
        ours=True,
    ),
    NATS: Kind(
        title="NATS server",
        protocol="nats",
        path="/",
        arguments=_nats_arguments,
        env=lambda _site: _ONE_CORE,
        settings="WebSocket without TLS; `GOMAXPROCS=1`, since it has one core",
    ),
    NATS_MQTT: Kind(
        title="NATS server, in MQTT",
        protocol="mqtt",
        path="/mqtt",
        arguments=_nats_mqtt_arguments,
        env=lambda _site: _ONE_CORE,
        settings="MQTT 3.1.1 over its WebSocket without TLS, and JetStream in files, which MQTT needs; "
        "`consumer_memory_storage`, so that at least who has what is not in files; `GOMAXPROCS=1`",
    ),
    CENTRIFUGO: Kind(
        title="Centrifugo",
        protocol="centrifugo",
        path="/connection/websocket",
        arguments=lambda _site: [],
        env=_centrifugo_env,
        settings="`client_insecure` (everybody may do all, no token), a client's queue of 4 MiB as in Hubwire "
        "instead of 1, `GOMAXPROCS=1`",
    ),
    CENTRIFUGO_RPC: Kind(
        title="Centrifugo, with a proxy",
        protocol="centrifugo-rpc",
        path="/connection/websocket",
        arguments=lambda _site: [],
        env=_centrifugo_rpc_env,
        settings="as Centrifugo, and `proxy_rpc_endpoint`",
        asks=True,
    ),
    WS: Kind(
        title="Node `ws`",
        protocol="plain",
        path="/",
        arguments=lambda site: [str(site.port)],
        settings="no compression; the server is `bench/peers/node/ws.js`: JSON, groups, and a loop over the members",
    ),
    SOCKETIO: Kind(
        title="Socket.IO",
        protocol="socketio",
        path="/socket.io/?EIO=4&transport=websocket",
        arguments=lambda site: [str(site.port)],
        settings="WebSocket only, no compression; the server is `bench/peers/node/socketio.js`: an event to a room",
    ),
    MOSQUITTO: Kind(
        title="Mosquitto",
        protocol="mqtt",
        path="/mqtt",
        arguments=_mosquitto_arguments,
        settings="WebSocket listener, anonymous clients, no limit of queued messages",
    ),
    MOCHI: Kind(
        title="Mochi MQTT",
        protocol="mqtt",
        path="/",
        arguments=_mochi_arguments,
        env=lambda _site: _ONE_CORE,
        settings="its own program, whose clients may do all; nothing is stored; `GOMAXPROCS=1`",
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
        handler_port: where it asks an application's server; 0 if it asks none.
        identities: users of its communication service, where it was given some.
    """

    name: str
    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    issuer: Issuer | None = None
    secure: tuple[str, str] | None = None
    handler_port: int = 0
    identities: Identities | None = None
    _paths: dict[tuple[int, int, str], Path] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def clients(self, count: int, groups: int, protocol: str) -> list[str]:
        """
        Options of the generator that say where its clients go.

        Args:
            count: so many different tokens, where there are tokens.
            groups: that each token names.
            protocol: of the generator.
        """
        kind = SERVERS[self.name]
        if self.issuer is None:
            return ["--path", kind.path]
        clients = client_path(protocol)
        if (count, groups, clients) not in self._paths:
            path = self.folder / f"paths-{len(self._paths)}"
            targets = self.issuer.targets(count, groups, clients)
            path.write_text("".join(f"{target}\n" for target in targets), encoding="ascii")
            self._paths[count, groups, clients] = path
        return ["--paths", str(self._paths[count, groups, clients])]

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


def start(name: str, available: Available, folder: Path, core: int, many_users: int = MANY_USERS) -> Running:
    """
    Start a server on one core and wait until it listens.

    Args:
        folder: empty, its own.
        many_users: users of the server that has many.

    Raises:
        NotStarted: it ended, or did not listen in time. Nothing is left behind.
    """
    kind = SERVERS[name]
    folder.mkdir(parents=True)
    site = Site(_free_port(), _free_port(), folder)
    command = [*available.command, *kind.arguments(site)]
    log = folder / "log.txt"
    try:
        with log.open("wb") as output, pinned(core):
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**_clean_environment(), **kind.env(site)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    except OSError as fault:
        raise NotStarted(f"{command[0]} cannot be run: {fault.strerror}") from fault
    handler_port = site.handler_port if kind.asks else 0
    running = Running(name, process, f"{_HOST}:{site.port}", folder, handler_port=handler_port)
    try:
        _wait_until_it_listens(running, site.port, log)
        if kind.ours:
            ready = json.loads((folder / "ready.json").read_text(encoding="utf-8"))
            running.issuer = _issuer(ready, running.address)
            if "httpsEndpoint" in ready:
                running.secure = f"{_HOST}:{ready['httpsEndpoint'].rpartition(':')[2]}", ready["caCertificate"]
            users = {HUBWIRE_USERS: _USERS, HUBWIRE_MANY_USERS: many_users}.get(name, 0)
            if users:
                running.identities = _filled(available, running, ready["communicationConnectionString"], users)
    except BaseException:
        running.stop()
        raise
    return running


def _filled(available: Available, running: Running, connection_string: str, users: int) -> Identities:
    key = connection_string.partition("accesskey=")[2]
    try:
        return fill(available, running.folder, running.address, key, users)
    except (OSError, ValueError, LookupError, subprocess.SubprocessError, http.client.HTTPException) as fault:
        raise NotStarted(f"it does not take {users:,} users: {type(fault).__name__}") from fault


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
    """None of those that the system gives to whoever asks for any: the server takes it a while later."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server((_HOST, port)):
            return port

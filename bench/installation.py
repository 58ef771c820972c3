"""
Where the servers come from. Whatever cannot be had is missing, with the reason; that never ends a run.

Everything goes into one folder, and what is there already is not made again.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from bench.faults import Unusable
from bench.workloads import (
    CENTRIFUGO,
    CENTRIFUGO_RPC,
    HUBWIRE,
    HUBWIRE_ASKING,
    HUBWIRE_EVENTS,
    HUBWIRE_INTERVAL,
    HUBWIRE_MANY_USERS,
    HUBWIRE_USERS,
    MOCHI,
    MOSQUITTO,
    NATS,
    NATS_MQTT,
    SOCKETIO,
    WS,
)

__all__ = ["WITH_TLS", "Available", "Installed", "Missing", "compile_generator", "install", "speaks_tls"]

_SOURCES: Final = Path(__file__).parent
_PEERS: Final = _SOURCES / "peers"
_INSTALL_S: Final = 900.0
_BUILD_S: Final = 120.0
WITH_TLS: Final = ("-DWITH_TLS", "-lssl", "-lcrypto")
"""What compiles the load generator with TLS, behind its sources."""

_MIN_NODE: Final = 20


@dataclass(frozen=True)
class Available:
    """
    Attributes:
        command: the start of its command line.
        version: for the reader.
    """

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Missing:
    """
    Attributes:
        reason: one line.
    """

    reason: str


Installed = Available | Missing


class _CommandFailed(Exception):  # noqa: N818
    """A command that we ran; its text is the last line that it wrote."""


def _run(
    command: Sequence[str], timeout_s: float, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and return what it wrote."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except OSError as fault:
        raise _CommandFailed(f"{command[0]}: {fault.strerror}") from fault
    except subprocess.TimeoutExpired as fault:
        raise _CommandFailed(f"{command[0]} did not end within {timeout_s:g} s") from fault
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise _CommandFailed(f"{Path(command[0]).name}: {lines[-1].strip()}")
    return done.stdout + done.stderr


# The generator.


def compile_generator(sources: Path, build: Path) -> Path:
    """
    The load generator, compiled if its sources are newer than what is there.

    Raises:
        Unusable: there is no C compiler, or the sources do not compile here.
    """
    binary = build / "load"
    files = sorted(sources.glob("*.c"))
    if not files:
        raise Unusable(f"the load generator's sources are not in {sources}")
    newest = max(path.stat().st_mtime for path in (*files, *sources.glob("*.h")))
    if binary.exists() and binary.stat().st_mtime > newest:
        return binary
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise Unusable(
            f"no C compiler: {compiler!r} is not on the PATH; install one (gcc or clang), or name it with CC=..."
        )
    build.mkdir(parents=True, exist_ok=True)
    fresh = binary.with_suffix(".new")
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", *map(str, files), "-o", str(fresh)]
    try:
        _run([*command, *WITH_TLS], _BUILD_S)
    except _CommandFailed:
        # Perhaps for want of OpenSSL's headers: then without the rows that need it.
        try:
            _run(command, _BUILD_S)
        except _CommandFailed as fault:
            raise Unusable(f"the load generator does not compile: {fault}") from fault
    fresh.replace(binary)
    return binary


def speaks_tls(binary: Path) -> bool:
    """Was there OpenSSL when the load generator was compiled."""
    done = subprocess.run([str(binary), "echo", "--tls", os.devnull], capture_output=True, text=True, check=False)
    return "without OpenSSL" not in done.stderr


# The servers.


def install(names: Sequence[str], build: Path) -> dict[str, Installed]:
    """Each of these servers, or why it is missing."""
    return {name: _installed(_WAYS[name], build.resolve()) for name in names}


def _installed(way: Callable[[Path], Available], build: Path) -> Installed:
    try:
        return way(build)
    except _CommandFailed as fault:
        return Missing(str(fault))


def _hubwire(build: Path) -> Available:
    del build
    try:
        loop = f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        loop = "without uvloop"
    command = (sys.executable, "-m", "hubwire")
    told = _run([*command, "--version"], 10.0).strip().removeprefix("hubwire, version ")
    return Available(command, f"{told}, {loop}")


def _nats(build: Path) -> Available:
    """Current through Go, else whichever the system has."""
    try:
        return _with_version(_go(NATS, "github.com/nats-io/nats-server/v2", build), "--version")
    except _CommandFailed as fault:
        return _with_version(_on_path("nats-server", fault), "--version")


def _centrifugo(build: Path) -> Available:
    """Whichever the system has, else through Go."""
    found = shutil.which("centrifugo")
    if found is not None:
        return _with_version(Path(found), "version")
    # Built from a module it does not know its own version, but the lock file does.
    return Available((str(_go(CENTRIFUGO, "github.com/centrifugal/centrifugo/v5", build)),), _locked("centrifugo"))


def _mochi(build: Path) -> Available:
    # It does not know its own version, but the lock file does.
    return Available((str(_go(MOCHI, "github.com/mochi-mqtt/server/v2/cmd", build)),), _locked(MOCHI))


def _mosquitto(build: Path) -> Available:
    del build
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise _CommandFailed("mosquitto is not on the PATH")
    # Its help ends with an exit code that is not the same in all versions.
    done = subprocess.run([found, "-h"], capture_output=True, text=True, timeout=10, check=False)
    named = re.search(r"version (\S+)", done.stdout + done.stderr)
    return Available((found,), named[1] if named else "unknown version")


def _with_version(binary: Path, option: str) -> Available:
    found = re.search(r"v?(\d+\.\d+\.\d+)", _run([str(binary), option], 10.0))
    return Available((str(binary),), found[1] if found else "unknown version")


def _on_path(name: str, fault: Exception) -> Path:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise _CommandFailed(f"{fault}; and {name} is not on the PATH") from fault
    return Path(found)


def _locked(peer: str) -> str:
    """The version that a Go module is locked at."""
    found = re.search(r"^require \S+ v(\S+)$", (_PEERS / peer / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown version"


def _go(peer: str, package: str, build: Path) -> Path:
    """Build a Go package at its locked version."""
    binary = build / "bin" / peer
    with _Once(binary, [_PEERS / peer / "go.mod", _PEERS / peer / "go.sum"]) as once:
        if once.needed:
            if shutil.which("go") is None:
                raise _CommandFailed("the Go toolchain is not on the PATH")
            binary.parent.mkdir(parents=True, exist_ok=True)
            command = ["go", "build", "-buildvcs=false", "-o", str(binary), package]
            _run(command, _INSTALL_S, folder=_PEERS / peer, env={"CGO_ENABLED": "0"})
    return binary


def _node(script: str) -> Callable[[Path], Available]:
    def way(build: Path) -> Available:
        node = shutil.which("node")
        if node is None:
            raise _CommandFailed("Node.js is not on the PATH")
        running = _run([node, "--version"], 10.0).strip().lstrip("v")
        if int(running.split(".")[0]) < _MIN_NODE:
            raise _CommandFailed(f"Node.js is {running}, but {_MIN_NODE} or newer is needed")
        folder = _node_packages(build)
        shutil.copy2(_PEERS / "node" / f"{script}.js", folder)
        package = {"ws": "ws", "socketio": "socket.io"}[script]
        manifest = (folder / "node_modules" / package / "package.json").read_text(encoding="utf-8")
        found = re.search(r'"version": "([^"]+)"', manifest)
        return Available(
            (node, str(folder / f"{script}.js")),
            f"{package} {found[1] if found else '?'}, Node.js {running}",
        )

    return way


def _node_packages(build: Path) -> Path:
    """The folder with the packages of the Node.js peers. Nothing is installed into the source tree."""
    folder = build / "node"
    files = [_PEERS / "node" / name for name in ("package.json", "package-lock.json", ".npmrc")]
    with _Once(folder / "node_modules", files) as once:
        if once.needed:
            npm = os.environ.get("NPM", "npm")
            if shutil.which(npm) is None:
                raise _CommandFailed("npm is not on the PATH")
            folder.mkdir(parents=True, exist_ok=True)
            for path in files:
                shutil.copy2(path, folder)
            _run([npm, "ci", "--no-fund", "--no-audit", "--loglevel=error"], _INSTALL_S, folder=folder)
    return folder


class _Once:
    """
    What is made from some files, and made again when they changed. A stamp is left beside it once it is there.

    Attributes:
        needed: it has to be made.
    """

    def __init__(self, made: Path, files: Sequence[Path]) -> None:
        self._stamp = made.with_name(f".{made.name}.stamp")
        self._digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        left = self._stamp.read_text(encoding="utf-8") if self._stamp.exists() else ""
        self.needed = not made.exists() or left != self._digest

    def __enter__(self) -> "_Once":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.needed:
            self._stamp.write_text(self._digest, encoding="utf-8")


_WAYS: Final[Mapping[str, Callable[[Path], Available]]] = {
    HUBWIRE: _hubwire,
    HUBWIRE_ASKING: _hubwire,
    HUBWIRE_EVENTS: _hubwire,
    HUBWIRE_INTERVAL: _hubwire,
    HUBWIRE_USERS: _hubwire,
    HUBWIRE_MANY_USERS: _hubwire,
    NATS: _nats,
    NATS_MQTT: _nats,
    CENTRIFUGO: _centrifugo,
    CENTRIFUGO_RPC: _centrifugo,
    WS: _node("ws"),
    SOCKETIO: _node("socketio"),
    MOSQUITTO: _mosquitto,
    MOCHI: _mochi,
}

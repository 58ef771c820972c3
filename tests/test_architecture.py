"""
The import rule of the house, held against every file: who may import whom, which outside package belongs where, and
that the pure half runs no coroutine and knows no clock, socket or random number.

The checker is a function from a folder to a list of faults, so that it can be shown to find them.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "hubwire"


class Room(NamedTuple):
    """
    A package or module right below the root of the package.

    Attributes:
        floor: numbered from the ground; imports lead downwards, or sideways where the table says so.
        imports: rooms it may import, besides itself; `room.module` allows that one module only.
    """

    floor: int
    imports: tuple[str, ...]


class Rule(NamedTuple):
    """
    What is allowed, as tables.

    Attributes:
        rooms: every room there is; a room that is not here may not exist.
        doors: single files that may import more than their room.
        packages: outside package, or one module of it, to the places that may import it: a folder, a file, or all ("").
        pure: places without coroutines and without `impure` modules.
        impure: of the standard library: clocks, sockets, random numbers, whatever waits.
        outward: of the standard library: networks and databases; only in the places given.
    """

    rooms: Mapping[str, Room]
    doors: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, tuple[str, ...]]
    pure: tuple[str, ...]
    impure: frozenset[str]
    outward: Mapping[str, tuple[str, ...]]


_LISTENS_OR_CALLS_OUT = ("edge/", "adapters/", "cli/")

HOUSE = Rule(
    rooms={
        "__init__": Room(1, ()),
        "__main__": Room(7, ("cli",)),
        "app": Room(
            7,
            (
                "settings",
                "logs",
                "periodic",
                "hosting",
                "shown_certificates",
                "event_handlers",
                "key_vaults",
                "communication_services",
                "communication_users",
                "mqtt_clients",
                "edge",
                "rest",
                "gateway",
                "cluster",
                "hub",
                "protocols",
                "upstream",
                "auth",
                "resources",
                "adapters",
                "model",
            ),
        ),
        "hosting": Room(
            7, ("shown_certificates", "edge.server", "rest.ports", "auth.principals", "resources", "model")
        ),
        "shown_certificates": Room(
            7,
            (
                "settings",
                "periodic",
                "edge.tls",
                "adapters.certificate_files",
                "adapters.data_folder",
                "model.errors",
            ),
        ),
        "vault_hosts": Room(7, ("hosting", "rest.call", "resources", "model")),
        "key_vaults": Room(
            7, ("settings", "vault_hosts", "rest", "upstream", "resources", "adapters", "auth", "model")
        ),
        "communication_services": Room(7, ("hosting", "rest", "resources", "communication", "model")),
        "communication_users": Room(7, ("settings", "rest", "resources", "communication", "auth", "model")),
        # What applications import; of ours it needs nothing.
        "communication_tokens": Room(1, ()),
        "event_handlers": Room(7, ("settings", "upstream", "resources", "adapters", "auth", "model")),
        "cli": Room(7, ("settings", "model")),
        "edge": Room(6, ("gateway", "protocols.frames", "model")),
        "rest": Room(5, ("cluster", "auth", "resources", "communication", "model")),
        "gateway": Room(5, ("cluster", "upstream", "auth", "protocols.catalog", "model")),
        "cluster": Room(4, ("hub", "model")),
        "hub": Room(3, ("protocols.session", "model")),
        "protocols": Room(2, ("model",)),
        "upstream": Room(2, ("auth", "model", "time_limit")),
        "resources": Room(2, ("model",)),
        "adapters": Room(2, ("model", "time_limit")),
        "communication": Room(2, ("auth", "model")),
        "auth": Room(1, ("model",)),
        "logs": Room(2, ("settings",)),
        "mqtt_clients": Room(7, ("settings", "gateway.arrivals", "protocols.catalog", "protocols.mqtt")),
        "periodic": Room(1, ()),
        "settings": Room(1, ()),
        "time_limit": Room(1, ()),
        "model": Room(1, ()),
    },
    doors={
        # Commands that run a server, or open its store, in their own process; they load `app` only then.
        "cli/serve.py": ("app",),
        "cli/offline.py": ("app",),
        "cli/offline_deployments.py": (
            "app",
            "resources.catalog",
            "resources.deployments",
            "resources.export",
            "resources.template_faults",
        ),
        # Files that people write are read, compiled and typed where they are; loaded only then.
        "cli/bicep.py": ("resources.bicep",),
        "cli/json_files.py": ("resources.lenient_json",),
        "cli/template_files.py": (
            "resources.bicep",
            "resources.lenient_json",
            "resources.template_faults",
            "resources.template_parameters",
        ),
        # Which groups an MQTT client can be in, before it is given a URL.
        "cli/access.py": ("protocols.mqtt.topics",),
        # What it shows to programs that ask for another host.
        "cli/proxy.py": ("auth.certificates",),
        # Both ends of a tunnel speak the same.
        "cli/dialled.py": ("upstream.tunnel_frames",),
        "cli/dialling.py": ("upstream.tunnel_frames",),
        "cli/forwarding.py": ("upstream.tunnel_frames",),
        "cli/tunnel.py": ("upstream.tunnel_frames",),
        "adapters/certificate_files.py": ("auth.certificates",),
        "adapters/issuer_keys.py": ("auth.signatures",),
        # The value that stands for one client passes through these hands; nothing else of the hub does.
        "gateway/events.py": ("hub.connection", "protocols.mqtt"),
        "gateway/gateway.py": ("hub.connection", "hub.streams", "protocols.session"),
        "gateway/group_state.py": ("hub.connection",),
        "gateway/invocations.py": ("hub.connection",),
        "gateway/logged_in.py": ("hub.connection",),
        "gateway/opening.py": ("hub.connection",),
        "gateway/records.py": ("hub.connection", "protocols.mqtt"),
        "gateway/requests.py": ("hub.connection",),
        "gateway/retaining.py": ("hub.connection",),
        "gateway/streams.py": ("hub.connection", "hub.streams"),
        # Sessions that outlive the process are those of MQTT.
        "cluster/durable.py": ("protocols.mqtt", "protocols.reliable", "protocols.session"),
        "cluster/durable_keepers.py": ("protocols.mqtt",),
        "cluster/durable_entries.py": ("protocols.mqtt",),
        # MQTT opens with its first packet, and a session of it may end by what another client does.
        "gateway/arrivals.py": ("hub.connection", "protocols.mqtt"),
        "gateway/newcomer.py": ("hub.connection", "protocols.mqtt"),
        "gateway/restored.py": ("hub.connection", "protocols.mqtt", "protocols.reliable", "protocols.session"),
        "gateway/sessions.py": ("hub.connection", "protocols.mqtt"),
        "gateway/wills.py": ("hub.connection",),
        "edge/websocket.py": ("hub.connection",),
        # So it is with a tunnel and the way out that it is given.
        "edge/tunnel_socket.py": ("upstream.tunnel",),
    },
    packages={
        "msgspec": ("",),
        # The classes of the schema, which the compiler of that has written, and their one user.
        "google.protobuf": ("protocols/webpubsub_pb2.py", "protocols/protobuf_wire.py"),
        "jwt": ("auth/", "communication_tokens.py"),
        "cryptography": ("auth/", "edge/tls.py", "edge/proxies.py"),
        "OpenSSL": ("edge/tls.py",),
        "sqlalchemy": (
            "adapters/store_sql.py",
            "adapters/store_postgresql.py",
            "adapters/store_sqlite.py",
            "adapters/journal_sql.py",
            "adapters/sqlite_files.py",
        ),
        # The drivers of databases, which are named in URLs only.
        "aiosqlite": ("adapters/store_sqlite.py",),
        "asyncpg": ("adapters/store_postgresql.py",),
        "aiohttp": ("cli/", "adapters/", "communication_tokens.py"),
        # The official clients of what we call with a managed identity.
        "azure": ("adapters/credentials_azure.py", "adapters/vault_azure.py"),
        "starlette": ("rest/operation.py",),
        "tree_sitter": ("resources/",),
        "tree_sitter_bicep": ("resources/",),
        "prometheus_client": ("rest/metrics.py",),
        "uvicorn": ("edge/",),
        "httptools": ("edge/",),
        "uvloop": ("edge/", "app.py"),
        # The C function that unmasks frames; its fallback in Python lives beside it.
        "websockets.speedups": ("edge/",),
        "websockets.utils": ("edge/",),
        "click": ("cli/",),
        # The URLs that aiohttp takes.
        "yarl": ("cli/", "adapters/"),
    },
    pure=(
        "model/",
        "protocols/",
        "hub/",
        "auth/jwt.py",
        "auth/signatures.py",
        "auth/request_signatures.py",
        "auth/failures.py",
    ),
    impure=frozenset(
        {
            "asyncio",
            "concurrent",
            "contextvars",
            "datetime",
            "multiprocessing",
            "os",
            "random",
            "secrets",
            "select",
            "selectors",
            "signal",
            "socket",
            "ssl",
            "subprocess",
            "tempfile",
            "threading",
            "time",
            "uuid",
        }
    ),
    outward={
        "ftplib": _LISTENS_OR_CALLS_OUT,
        "http.client": (*_LISTENS_OR_CALLS_OUT, "communication_tokens.py"),
        "http.server": _LISTENS_OR_CALLS_OUT,
        "smtplib": _LISTENS_OR_CALLS_OUT,
        "socket": (*_LISTENS_OR_CALLS_OUT, "app.py", "hosting.py"),
        "socketserver": _LISTENS_OR_CALLS_OUT,
        "sqlite3": _LISTENS_OR_CALLS_OUT,
        "ssl": (*_LISTENS_OR_CALLS_OUT, "event_handlers.py", "shown_certificates.py", "communication_tokens.py"),
        "urllib.request": _LISTENS_OR_CALLS_OUT,
    },
)


class Import(NamedTuple):
    """One name that a file imports, as the dotted path of the module where it stands."""

    line: int
    module: str


def _within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _allowed(file: str, places: tuple[str, ...]) -> bool:
    return any(file == place or place == "" or (place.endswith("/") and file.startswith(place)) for place in places)


def _modules(package: Path) -> dict[str, Path]:
    """Dotted name of every module of a package to its file."""
    found: dict[str, Path] = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Content(NamedTuple):
    """What the rules look at in one file: what it imports, and the lines where it waits."""

    imports: tuple[Import, ...]
    waits: tuple[int, ...]


@cache
def _content(text: str, module: str, is_package: bool, known: frozenset[str]) -> Content:
    """The same files are looked at again for each door; reading them is what takes its time."""
    tree = ast.parse(text)
    return Content(tuple(_imports(tree, module, is_package, known)), tuple(_waits(tree)))


def _imports(tree: ast.AST, module: str, is_package: bool, known: Collection[str]) -> Iterator[Import]:
    """Every import of a file, those inside functions and for type checkers included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + is_package]
                origin = ".".join([*above, origin] if origin else above)
            for alias in node.names:
                # `from package import name` imports a module if there is one of that name.
                inner = f"{origin}.{alias.name}"
                yield Import(node.lineno, inner if inner in known or origin in _PARENTS else origin)


_PARENTS = frozenset({"http", "urllib", "websockets"})
"""Packages from which a name must be taken as a module, because the tables speak of single modules of theirs."""


def _waits(tree: ast.AST) -> Iterator[int]:
    """Lines that run a coroutine. A signature alone (docstring or `...`, as in a port) only declares one."""
    for node in ast.walk(tree):
        match node:
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield node.lineno
            case ast.AsyncFunctionDef(body=body) if not all(map(_says_only, body)):
                yield node.lineno


def _says_only(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)


def _fault_of(imported: str, file: str, room: str, root: str, rule: Rule) -> str | None:
    """Why `file` may not import `imported`, or None."""
    if _within(imported, root):
        inner = imported[len(root) + 1 :]
        allowed = rule.rooms[room].imports + rule.doors.get(file, ())
        if not inner or any(_within(inner, name) for name in (room, *allowed)):
            return None
        return f"{room} may import {', '.join(allowed) or 'nothing of ours'}"
    if imported.split(".")[0] in sys.stdlib_module_names:
        for name, places in rule.outward.items():
            if _within(imported, name) and not _allowed(file, places):
                return f"only in {', '.join(places)}"
        if imported.split(".")[0] in rule.impure and _allowed(file, rule.pure):
            return "clocks, sockets, random numbers and whatever waits have no place in a pure file"
        return None
    places = next((places for name, places in rule.packages.items() if _within(imported, name)), ())
    return None if _allowed(file, places) else f"only in {', '.join(places) or 'no file at all'}"


def _circles(edges: Mapping[str, frozenset[str]]) -> Iterator[list[str]]:
    """Each way that leads back to where it began, once."""
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> Iterator[list[str]]:
        if node in way:
            yield way[way.index(node) :]
            return
        if node in done:
            return
        for following in sorted(edges.get(node, ())):
            yield from walk(following, [*way, node])
        done.add(node)

    for start in sorted(edges):
        yield from walk(start, [])


def faults(package: Path, rule: Rule) -> list[str]:
    """Every line of a package that breaks the rule, as `file:line what: why`."""
    found: list[str] = []
    known = _modules(package)
    names = frozenset(known)
    edges: dict[str, frozenset[str]] = {}
    for module, path in known.items():
        file = path.relative_to(package).as_posix()
        room = file.split("/")[0].removesuffix(".py")
        if room not in rule.rooms:
            found.append(f"{file}:1 no such room: {room}")
            continue
        text = path.read_text(encoding="utf-8")
        imports, waits = _content(text, module, path.name == "__init__.py", names)
        edges[module] = frozenset(entry.module for entry in imports if entry.module in known and entry.module != module)
        for line, imported in imports:
            why = _fault_of(imported, file, room, package.name, rule)
            if why is not None:
                found.append(f"{file}:{line} imports {imported}: {why}")
        if _allowed(file, rule.pure):
            found.extend(f"{file}:{line} waits: a pure file runs no coroutine" for line in waits)
    found.extend(f"circle: {' -> '.join([*circle, circle[0]])}" for circle in _circles(edges))
    return found


def test_every_import_follows_the_rule() -> None:
    """The whole package, file for file."""
    assert faults(PACKAGE, HOUSE) == []


def test_every_room_of_the_table_exists() -> None:
    """The table speaks of what is there, so that it is read as true."""
    missing = [room for room in HOUSE.rooms if not (PACKAGE / room).is_dir() and not (PACKAGE / f"{room}.py").is_file()]

    assert missing == []


def test_every_door_leads_somewhere() -> None:
    """An exception that nobody needs any more is closed."""
    unused = [
        f"{file} -> {door}"
        for file, doors in HOUSE.doors.items()
        for door in doors
        if faults(PACKAGE, HOUSE._replace(doors={**HOUSE.doors, file: tuple(d for d in doors if d != door)})) == []
    ]

    assert unused == []


def test_table_itself_leads_downwards_only() -> None:
    """No room may import a higher one, and no way through the table leads back."""
    upwards = [
        f"{name} -> {imported}"
        for name, room in HOUSE.rooms.items()
        for imported in room.imports
        if HOUSE.rooms[imported.split(".")[0]].floor > room.floor
    ]
    rooms = {name: frozenset(imported.split(".")[0] for imported in room.imports) for name, room in HOUSE.rooms.items()}

    assert upwards == []
    assert list(_circles(rooms)) == []


def test_outside_packages_of_the_table_are_the_declared_dependencies() -> None:
    """What may be imported is installed with the package, and nothing is installed that no file may import."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^A-Za-z0-9_-]", requirement)[0].lower().replace("-", "_") for requirement in declared}

    imported = {
        "protobuf": "google",
        "pyjwt": "jwt",
        "pyopenssl": "OpenSSL",
        "azure_identity": "azure",
        "azure_keyvault_secrets": "azure",
    }

    assert {package.split(".")[0] for package in HOUSE.packages} == {imported.get(name, name) for name in names}


SMALL = Rule(
    rooms={
        "__init__": Room(1, ()),
        "ground": Room(1, ()),
        "middle": Room(2, ("ground.open",)),
        "top": Room(3, ("middle", "ground")),
    },
    doors={"middle/door.py": ("ground.closed",)},
    packages={"msgspec": ("",), "aiohttp": ("top/client.py",), "websockets.speedups": ("top/",)},
    pure=("ground/",),
    impure=frozenset({"time", "asyncio"}),
    outward={"urllib.request": ("top/",)},
)


def _house(folder: Path, files: Mapping[str, str]) -> Path:
    """A small package `house` that keeps the rule, with some files put in or replaced."""
    package = folder / "house"
    sound = {
        "__init__.py": "",
        "ground/__init__.py": "",
        "ground/open.py": "import json\nimport msgspec\n\nasync def port() -> None:\n    'Declared only.'\n",
        "ground/closed.py": "from house.ground import open\n",
        "middle/__init__.py": "",
        "middle/door.py": "from house.ground import closed\n",
        "middle/plain.py": "from house.ground.open import port\nimport time\n",
        "top/__init__.py": "",
        "top/client.py": "import aiohttp\nimport urllib.request\nfrom house.ground import closed\n",
        "top/mask.py": "from websockets import speedups\nfrom websockets.speedups import apply_mask\n",
    }
    for name, text in (sound | dict(files)).items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_checker_finds_nothing_in_a_house_that_keeps_the_rule(tmp_path: Path) -> None:
    """Allowed neighbours, packages in their places, and a coroutine that is declared but not run."""
    assert faults(_house(tmp_path, {}), SMALL) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("ground/low.py", "import house.top.client\n", "ground/low.py:1 imports house.top.client: "),
        ("ground/low.py", "from house import top\n", "ground/low.py:1 imports house.top: "),
        ("ground/low.py", "from ..top import client\n", "ground/low.py:1 imports house.top.client: "),
        ("ground/__init__.py", "from ..top import client\n", "ground/__init__.py:1 imports house.top.client: "),
        (
            "ground/low.py",
            "def late() -> None:\n    from house.middle import plain\n",
            "ground/low.py:2 imports house.middle.plain: ",
        ),
        ("middle/room.py", "from house.ground.closed import x\n", "middle/room.py:1 imports house.ground.closed: "),
        ("middle/room.py", "from house.ground import closed\n", "middle/room.py:1 imports house.ground.closed: "),
        ("middle/room.py", "import aiohttp.web\n", "middle/room.py:1 imports aiohttp.web: only in top/client.py"),
        ("top/other.py", "from aiohttp import web\n", "top/other.py:1 imports aiohttp: only in top/client.py"),
        ("top/other.py", "import requests\n", "top/other.py:1 imports requests: only in no file at all"),
        ("top/other.py", "import websockets\n", "top/other.py:1 imports websockets: only in no file at all"),
        ("middle/room.py", "from urllib import request\n", "middle/room.py:1 imports urllib.request: only in top/"),
        ("ground/low.py", "from time import monotonic\n", "ground/low.py:1 imports time: "),
        ("ground/low.py", "import asyncio.streams as s\n", "ground/low.py:1 imports asyncio.streams: "),
        ("ground/low.py", "async def f() -> None:\n    return\n", "ground/low.py:1 waits: "),
        ("ground/low.py", "async def f() -> None:\n    await g()\n", "ground/low.py:2 waits: "),
        ("cellar/__init__.py", "", "cellar/__init__.py:1 no such room: cellar"),
        (
            "ground/open.py",
            "from house.ground import closed\n",
            "circle: house.ground.closed -> house.ground.open -> house.ground.closed",
        ),
    ],
)
def test_checker_finds_each_kind_of_fault(tmp_path: Path, file: str, text: str, fault: str) -> None:
    """One fault put into a sound house is found, with its place."""
    assert [line for line in faults(_house(tmp_path, {file: text}), SMALL) if line.startswith(fault)]

"""
Requests of the commands: to the server of a data folder over its control socket, or to any server over HTTP.

The control socket is `control.sock` in the data folder and belongs to the user who started the server; who can open it
needs no token.
"""

import asyncio
import errno
import fcntl
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from hubwire.cli.faults import CommandFailed, Refusal
from hubwire.cli.program import data_option, program

__all__ = [
    "Answer",
    "NoServer",
    "answer_of",
    "ask",
    "control",
    "control_session",
    "exchange",
    "plain_session",
    "why_unreachable",
]

_SOCKET: Final = "control.sock"
_LOCK: Final = "lock"
_ORIGIN: Final = "http://localhost"
_TIMEOUT_S: Final = 30.0
# What the decoder raises for bytes that are no JSON, text that is no UTF-8, and deep nesting.
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# `sun_path` holds 108 bytes on Linux and 104 elsewhere, the final NUL included.
_LONGEST_PATH_BYTES: Final = 103
# How the TLS library, by its version, calls bytes that are no TLS.
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
# RFC 9111, section 5.5 of its predecessor: code, agent, text. Several may stand in one line.
_WARNING: Final = re.compile(r'\d{3} \S+ "(.*?)"(?=, \d{3} \S+ "|$)')


class Answer(Struct, frozen=True):
    """
    Attributes:
        document: the decoded body; None if there is none.
        warnings: what the server says besides, such as of a setting that does not act.
    """

    status: int
    document: Any
    warnings: tuple[str, ...] = ()


class NoServer(CommandFailed):
    """Nobody listens on the control socket of a data folder, and nobody has its lock."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no server runs on the data folder {folder}; start one with: {program()} serve{data_option(folder)} "
            "(or name another folder with --data)"
        )


def control(folder: Path, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
    """
    The document of `ask`.

    Raises:
        NoServer, Refusal, CommandFailed: see there.
    """
    return ask(folder, method, path, document).document


def ask(folder: Path, method: str, path: str, document: Mapping[str, Any] | None = None) -> Answer:
    """
    One operation of the local operator, JSON in and JSON out.

    Args:
        folder: data folder of the server.
        path: below the root, already percent-encoded, such as "/control/status".
        document: the body; None sends none.

    Raises:
        NoServer, Refusal, CommandFailed: see there.
    """
    return asyncio.run(_ask(folder, method, path, None if document is None else msgspec.json.encode(document)))


async def _ask(folder: Path, method: str, path: str, body: bytes | None) -> Answer:
    async with control_session(folder) as session:
        return await answer_of(session, method, path, body)


async def answer_of(session: aiohttp.ClientSession, method: str, path: str, body: bytes | None = None) -> Answer:
    """
    The same in a session of `control_session`, with a body of which somebody made JSON.

    Raises:
        Refusal, CommandFailed: see `exchange`.
    """
    headers = {} if body is None else {"Content-Type": "application/json"}
    url = URL(_ORIGIN + path, encoded=True)
    response, answer = await _exchanged(session, method, url, headers=headers, body=body or b"")
    warnings = tuple(text for line in response.headers.getall("warning", ()) for text in _WARNING.findall(line))
    if not answer:
        return Answer(response.status, None, warnings)
    try:
        return Answer(response.status, msgspec.json.decode(answer), warnings)
    except _NOT_JSON as error:
        raise CommandFailed("the server's answer is not JSON; is it a Hubwire server of another version?") from error


@asynccontextmanager
async def control_session(folder: Path, timeout_s: float = _TIMEOUT_S) -> AsyncIterator[aiohttp.ClientSession]:
    """
    A session whose requests reach the server of `folder`, whatever host their URL names.

    Args:
        timeout_s: of each request.

    Raises:
        NoServer, CommandFailed: the socket is not there, or may not be opened.
    """
    with _reachable(folder) as path:
        try:
            async with _session(aiohttp.UnixConnector(path), timeout_s) as session:
                yield session
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(folder, error.os_error) from error


@asynccontextmanager
async def plain_session() -> AsyncIterator[aiohttp.ClientSession]:
    """
    A session whose requests go where their URL says.

    Raises:
        CommandFailed: nobody listens there.
    """
    try:
        async with _session(aiohttp.TCPConnector(), _TIMEOUT_S) as session:
            yield session
    except aiohttp.ClientConnectorError as error:
        raise CommandFailed(f"cannot reach {error.host}:{error.port}: {why_unreachable(error, 'http')}") from error


def why_unreachable(error: aiohttp.ClientConnectorError, plain: str) -> str:
    """
    In words of the system, without the addresses that were tried.

    Args:
        plain: scheme to try when the other side does not speak TLS.
    """
    cause = error.os_error
    if isinstance(cause, ssl.SSLError):
        if cause.reason in _NOT_TLS:
            return f"the server there does not speak TLS; try {plain}://"
        return f"TLS failed: {cause.reason or cause}"
    if cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return cause.strerror or "no connection"


async def exchange(
    session: aiohttp.ClientSession, method: str, url: URL, *, headers: Mapping[str, str], body: bytes
) -> bytes:
    """
    One request and the body of its answer.

    Raises:
        Refusal: the status is 400 or more; the text is the server's own.
        CommandFailed: the connection broke or the server took too long.
    """
    return (await _exchanged(session, method, url, headers=headers, body=body))[1]


async def _exchanged(
    session: aiohttp.ClientSession, method: str, url: URL, *, headers: Mapping[str, str], body: bytes
) -> tuple[aiohttp.ClientResponse, bytes]:
    try:
        async with session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as response:
            answer = await response.read()
            if response.status >= 300:
                raise _refusal(response.status, response.reason, answer)
            return response, answer
    except TimeoutError as error:
        raise CommandFailed(f"the server did not answer within {session.timeout.total:g} seconds") from error
    except aiohttp.ClientConnectorError:
        raise
    except aiohttp.ClientError as error:
        # Its text may quote the URL, but these URLs hold no secret.
        raise CommandFailed(f"the connection to the server broke: {error}") from error


def _session(connector: aiohttp.BaseConnector, timeout_s: float) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


def _refusal(status: int, phrase: str | None, body: bytes) -> Refusal:
    """What the error body says, be it of the data plane or of the resource manager; else the bare status."""
    try:
        document = msgspec.json.decode(body)
    except _NOT_JSON:
        document = None
    if isinstance(document, dict):
        error = document.get("error")
        if isinstance(error, dict) and isinstance(message := error.get("message"), str) and message:
            return Refusal(message, [*_details(error)], status, error)
        if isinstance(message := document.get("message"), str) and message:
            return Refusal(message, (), status)
    return Refusal(f"the server refused the request: {status} {phrase or ''}".rstrip(), (), status)


def _details(error: Mapping[str, Any]) -> Iterator[str]:
    """A line for each of several faults."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            target = detail.get("target")
            yield f"{target}: {detail.get('message')}" if target else str(detail.get("message"))


@contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """A path of the control socket that is short enough for the system call, whatever the folder is called."""
    path = str(folder / _SOCKET)
    if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES:
        yield path
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unreachable(folder, error) from error
    try:
        short = f"/proc/self/fd/{descriptor}/{_SOCKET}"
        if not os.path.isdir(os.path.dirname(short)):
            raise CommandFailed(
                f"the path {path} is too long for a socket on this system; "
                "run the command in a folder closer to it and name the data folder relative to that"
            )
        yield short
    finally:
        os.close(descriptor)


def _unreachable(folder: Path, error: OSError) -> CommandFailed:
    match error.errno:
        case errno.ENOENT | errno.ECONNREFUSED | errno.ENOTDIR | errno.ENOTSOCK:
            if _is_locked(folder):
                return CommandFailed(
                    f"a server runs on the data folder {folder} but its control socket is missing; restart it"
                )
            return NoServer(folder)
        case errno.EACCES | errno.EPERM:
            return CommandFailed(f"{folder / _SOCKET} may be opened only by the user who started the server")
        case _:
            return CommandFailed(f"cannot open {folder / _SOCKET}: {error.strerror or error}")


def _is_locked(folder: Path) -> bool:
    """Does a process have the data folder. Nothing is created, and nothing stays locked."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two commands at once do not take each other for a server.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False

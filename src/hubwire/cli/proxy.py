"""
`hubwire proxy`: programs that call the cloud by its own host names reach the local server, unmodified.

A program whose HTTPS_PROXY names this proxy asks it to CONNECT to a host, and then speaks TLS with that host. For names
that lead to the server TLS ends here, with a certificate that the local authority issues for exactly that name; what is
inside goes on to the server's HTTPS endpoint. Every other target is passed on as it is, unseen.
"""

import asyncio
import contextlib
import math
import resource
import signal
import ssl
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import click
from yarl import URL

from hubwire.cli.control import answer_of, control, control_session
from hubwire.cli.faults import CommandFailed
from hubwire.cli.options import WholeNumber, data_folder
from hubwire.cli.program import data_option, program
from hubwire.cli.sides import why
from hubwire.cli.target import NAMES, VAULTS, NotServed, Target, parse_name
from hubwire.cli.text import one_line
from hubwire.cli.tunnels import BOUNDS, SPARE, Proxy, Upstream

__all__ = ["proxy"]

_WIDTH: Final = 90
_ASKED_S: Final = 1.0
"""For so long an answer about the server's vaults is good."""


@click.command(short_help="Lead the cloud's names to the server.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=8888,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--name",
    "more",
    multiple=True,
    metavar="PATTERN",
    help="Another host name that leads to the server, or *.SUFFIX for all below one; repeatable.",
)
@click.option("--only", is_flag=True, help="Refuse all other targets but the server's own endpoint.")
@data_folder
def proxy(host: str, port: int, more: tuple[str, ...], only: bool, data: Path) -> None:
    """
    Lead programs that use the cloud's host names to the local server, unmodified, until Ctrl-C or SIGTERM.

    They need HTTPS_PROXY in their environment, as is printed at the start, and must trust the local CA.
    """
    names = tuple(dict.fromkeys((*NAMES, *map(parse_name, more))))
    endpoint = _endpoint(control(data, "GET", "/control/status"))
    trusting = f'eval "$({program()} ca env{data_option(data)})"'

    def complain(text: str) -> None:
        click.echo(f"hubwire: {one_line(text)}; does it trust the local CA? {trusting}", err=True)

    def announce(address: str, port: int) -> None:
        for line in _screen(address, port, names, endpoint, only, trusting):
            click.echo(line)
        sys.stdout.flush()

    issue, upstream = _issuer(data), _upstream(endpoint, data / "ca.pem")
    served = Proxy(names, only, upstream, issue, complain, _Vaults(data).has)
    asyncio.run(_run(served, upstream, host, port, announce))


class _Vaults:
    """
    The Key Vaults of the server, which come and go while the proxy runs.

    Args:
        folder: data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: frozenset[str] = frozenset()
        self._asked_at = -math.inf

    async def has(self, host: str) -> bool:
        """
        Is it one of them that has this name in the cloud.

        Raises:
            NotServed: 502, the server cannot tell.
        """
        now = time.monotonic()
        if now - self._asked_at > _ASKED_S:
            try:
                async with control_session(self._folder) as session:
                    found = (await answer_of(session, "GET", "/control/vaults")).document
            except CommandFailed as error:
                raise NotServed(502, f"cannot ask the server whether it has {host}: {error}") from error
            self._names = frozenset(str(one["name"]).lower() + VAULTS[1:] for one in found["value"])
            self._asked_at = now
        return host in self._names


async def _run(served: Proxy, upstream: Upstream, host: str, port: int, announce: Callable[[str, int], None]) -> None:
    """
    Serve until SIGTERM, or until cancelled.

    Raises:
        CommandFailed: the server cannot be reached, or the proxy cannot listen.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    _raise_descriptor_limit()
    try:
        (await upstream.reach()).abort()
    except NotServed as fault:
        raise CommandFailed(fault.text) from fault
    async with contextlib.AsyncExitStack() as stack:
        try:
            address, port = await stack.enter_async_context(served.listening(host, port))
        except OSError as error:
            raise CommandFailed(f"cannot listen on {Target(host, port)}: {why(error)}; see --port") from error
        announce(address, port)
        await stop.wait()


def _endpoint(status: Any) -> URL:
    """Of a server that can be led to."""
    if "httpsEndpoint" not in status:
        raise CommandFailed("the server does not listen on HTTPS; start it without --no-https")
    if "caCertificate" not in status:
        raise CommandFailed(
            "the server shows a certificate of your own, so there is no local CA to issue others; "
            "start it without --cert and --key"
        )
    return URL(status["ownHttpsEndpoint"])


def _issuer(data: Path) -> Callable[[str], tuple[bytes, bytes]]:
    """Issues certificates of the local authority."""
    # Here, not above: no other command needs what this loads.
    from hubwire.auth.certificates import Credentials, days_left, issue

    certificate, key = data / "ca.pem", data / "ca-key.pem"
    try:
        authority = Credentials(certificate.read_bytes(), key.read_bytes())
        days_left(authority, time.time())
    except OSError as error:
        raise CommandFailed(f"cannot read {error.filename}: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandFailed(f"cannot use {certificate} with {key}: {error}") from error
    return lambda name: issue(authority, (name,), time.time())


def _upstream(endpoint: URL, authority: Path) -> Upstream:
    try:
        return Upstream(endpoint, authority)
    except ssl.SSLError as error:
        raise CommandFailed(f"cannot use {authority}: {error.reason or error}") from error


def _raise_descriptor_limit() -> None:
    """A tunnel takes two file descriptors, and usually there are 1024."""
    wanted = 2 * (BOUNDS.clients + SPARE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _screen(address: str, port: int, names: Sequence[str], endpoint: URL, only: bool, trusting: str) -> list[str]:
    """What is printed at the start."""
    told = ip_address(address)
    url = f"http://{Target(_here(address), port)}"
    named = textwrap.wrap(", ".join(names), _WIDTH, break_long_words=False, break_on_hyphens=False)
    rows = [
        *zip(("these names", *[""] * len(named)), named, strict=False),
        ("", f"{VAULTS} of the server's own vaults"),
        ("lead to", str(endpoint)),
        ("all others", "are refused" if only else "are passed on as they are"),
        ("use it", f"export HTTPS_PROXY={url}"),
        ("", "export NO_PROXY=localhost,127.0.0.1,::1"),
        ("", trusting),
        ("stop it", "Ctrl-C"),
    ]
    if not told.is_loopback:
        rows.append(("warning", f"whoever reaches {address} can use this proxy"))
    return [f"Hubwire proxy listens on {Target(address, port)}", *(f"  {title:<16}{text}" for title, text in rows)]


def _here(address: str) -> str:
    """Under which this machine reaches what listens on an address."""
    found = ip_address(address)
    if not found.is_unspecified:
        return address
    return "127.0.0.1" if found.version == 4 else "::1"

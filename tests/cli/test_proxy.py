"""`hubwire proxy`: what keeps it from starting, each told in a line. How it serves is in the acceptance tests."""

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from acceptance.servers import PROCESS_S, free_port
from cli.conftest import Run
from cli.standin import DEADLINE_S, StandIn
from hubwire.auth.certificates import issue, new_authority
from hubwire.cli import proxy as proxy_module
from hubwire.cli.proxy import _Vaults
from hubwire.cli.target import NotServed


def told(result: Result) -> str:
    """The one line of a command that failed."""
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def data() -> Path:
    """The default data folder, with a local authority in it."""
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    authority = new_authority(time.time())
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "ca-key.pem").write_bytes(authority.key)
    own = issue(authority, ("localhost",), time.time())
    (folder / "server.pem").write_bytes(own.certificate)
    (folder / "server-key.pem").write_bytes(own.key)
    return folder


def announce(server: StandIn, data: Path, port: int) -> None:
    """The stand-in says that HTTPS is on a port."""
    own = f"https://localhost:{port}"
    status = {
        "httpsEndpoint": "https://chat.example.org",
        "ownHttpsEndpoint": own,
        "caCertificate": str(data / "ca.pem"),
    }
    server.on("GET", "/control/status", 200, status)


@contextmanager
def shaking_hands(data: Path) -> Iterator[int]:
    """A port on which one handshake is answered with the certificate of the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(data / "server.pem", data / "server-key.pem")

    def work() -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as secure:
            secure.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        thread = threading.Thread(target=work, name="handshake")
        thread.start()
        yield listener.getsockname()[1]
        thread.join(DEADLINE_S)


def test_folder_without_a_server_is_told(run: Run) -> None:
    assert told(run("proxy")).startswith("hubwire: no server runs on the data folder data; start one with: ")


def test_server_without_https_is_told(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/status", 200, {"endpoint": "http://localhost:8080"})

    assert told(run("proxy")) == "hubwire: the server does not listen on HTTPS; start it without --no-https"


def test_server_with_a_certificate_of_its_own_is_told(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/status", 200, {"httpsEndpoint": "https://localhost:8443"})

    line = told(run("proxy"))
    assert line.startswith("hubwire: the server shows a certificate of your own, so there is no local CA")


@pytest.mark.parametrize(
    ("name", "reason"), [("ca.pem", "Is a directory"), ("ca-key.pem", "Is a directory"), ("ca-key.pem", None)]
)
def test_authority_that_cannot_be_read_is_told(
    run: Run, server: StandIn, data: Path, name: str, reason: str | None
) -> None:
    announce(server, data, free_port())
    (data / name).unlink()
    if reason:
        (data / name).mkdir()

    assert told(run("proxy")) == f"hubwire: cannot read data/{name}: {reason or 'No such file or directory'}"


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
@pytest.mark.parametrize("content", ["nonsense", "another"])
def test_authority_that_cannot_be_used_is_told(run: Run, server: StandIn, data: Path, name: str, content: str) -> None:
    announce(server, data, free_port())
    other = new_authority(time.time())
    another = {"ca.pem": other.certificate, "ca-key.pem": other.key}
    (data / name).write_bytes(b"nonsense" if content == "nonsense" else another[name])

    assert told(run("proxy")).startswith("hubwire: cannot use data/ca.pem with data/ca-key.pem: ")


def test_server_that_cannot_be_reached_is_told(run: Run, server: StandIn, data: Path) -> None:
    port = free_port()
    announce(server, data, port)

    line = told(run("proxy"))
    assert line.startswith(f"hubwire: cannot reach the server at https://localhost:{port}: ")


def test_port_that_is_taken_is_told(run: Run, server: StandIn, data: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, shaking_hands(data) as port:
        announce(server, data, port)
        used = taken.getsockname()[1]

        line = told(run("proxy", "--port", str(used)))
    assert line == f"hubwire: cannot listen on 127.0.0.1:{used}: Address already in use; see --port"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "https://a.example"), "--name wants a host name, or *.example.org for all below that one"),
        (("--port", "65536"), "'65536' is not a whole number from 0 to 65535"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_asked(run: Run, options: tuple[str, ...], said: str) -> None:
    result = run("proxy", *options)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_vaults_are_those_that_the_server_has_now(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again after a moment: one that is made while the proxy runs leads to it, too."""
    vaults = _Vaults(Path("data"))
    monkeypatch.setattr(proxy_module, "_ASKED_S", 3600.0)
    server.on("GET", "/control/vaults", 200, {"value": [{"name": "Ours"}]})

    async def ask() -> list[bool]:
        return [await vaults.has(f"{name}.vault.azure.net") for name in ("ours", "theirs", "new")]

    assert asyncio.run(ask()) == [True, False, False]
    assert len(server.asked) == 1
    server.on("GET", "/control/vaults", 200, {"value": [{"name": "new"}]})
    monkeypatch.setattr(proxy_module, "_ASKED_S", -1.0)
    assert asyncio.run(ask()) == [False, False, True]


def test_server_that_cannot_tell_its_vaults_is_told() -> None:
    with pytest.raises(
        NotServed, match=r"cannot ask the server whether it has v\.vault\.azure\.net: no server runs"
    ) as told:
        asyncio.run(_Vaults(Path("data")).has("v.vault.azure.net"))
    assert told.value.status == 502


def test_other_commands_load_nothing_that_issues_certificates() -> None:
    program = "import sys; import hubwire.cli.commands; print('hubwire.auth.certificates' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PROCESS_S)

    assert (done.stdout, done.stderr) == ("False\n", "")

"""HTTPS: the local authority and its certificates, the operator's own, and clients of both listeners on one hub."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from acceptance.servers import DEADLINE_S, PROCESS_S, Server, StartServer, free_port, run_command, wait_until
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    http_request,
    metric,
    rest,
    signed,
    trusting,
)
from hubwire.auth.certificates import Credentials, issue, new_authority

LOOPS = ["uvloop", "asyncio"]


def call(server: Server, context: ssl.SSLContext, method: str, target: str, **more: Any) -> tuple[int, bytes]:
    """One request on a TLS connection of its own."""
    connection = http.client.HTTPSConnection(server.host, server.https_port, timeout=DEADLINE_S, context=context)
    with closing(connection):
        connection.request(method, target, **more)
        response = connection.getresponse()
        return response.status, response.read()


def send(server: Server, hub: str, body: bytes, context: ssl.SSLContext) -> int:
    """A text to the group `g`, over HTTPS, with a token for that URL."""
    target = f"/api/hubs/{hub}/groups/g/:send?api-version=2024-12-01"
    headers = {
        "Content-Type": "text/plain",
        "Authorization": f"Bearer {signed(server, server.https_endpoint + target, ttl_s=60)}",
    }
    return call(server, context, "POST", target, body=body, headers=headers)[0]


@contextmanager
def secure_client(server: Server, hub: str, context: ssl.SSLContext, **claims: Any) -> Iterator[RawClient]:
    """
    A WebSocket client over TLS that is in the group `g`. Its token names the plain endpoint: both are one server.

    Of one thread: Python's TLS may lose what one thread writes while another reads, as the threads of `websockets` do.
    """
    token = client_token(server, hub, groups=["g"], roles=[JOIN, SEND], **claims)
    with RawClient(server, client_target(hub, token), protocols=[JSON], secure=context) as client:
        assert client.receive_json()["event"] == "connected"
        yield client


# The local authority


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_trusts_the_local_authority_is_served(server: Server, host: str, version: ssl.TLSVersion) -> None:
    context = trusting(server.ca)
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((host, server.https_port), DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        assert secure.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert secure.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_who_does_not_trust_it_is_warned(server: Server) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        call(server, ssl.create_default_context(), "GET", "/healthz")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_tls_is_refused(server: Server) -> None:
    context = trusting(server.ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        call(server, context, "GET", "/healthz")


def test_authority_and_keys_outlive_a_restart_and_private_keys_are_the_owners(start_server: StartServer) -> None:
    first = start_server()
    trusted = first.ca.read_bytes()
    modes = {path.name: path.stat().st_mode & 0o777 for path in first.data.glob("*-key.pem")}
    assert modes == {"ca-key.pem": 0o600, "server-key.pem": 0o600}
    first.stop()

    second = start_server(data=first.data)
    assert second.ca.read_bytes() == trusted
    assert call(second, trusting(second.ca), "GET", "/healthz")[0] == 200


def test_certificate_is_for_the_public_names_too(start_server: StartServer) -> None:
    port = free_port()
    public = ("--public-endpoint", "https://chat.example.org/", "--public-endpoint", "wss://10.1.2.3")
    server = start_server("--https-port", str(port), *public)
    assert (server.endpoint, server.https_endpoint) == ("https://chat.example.org",) * 2
    context = trusting(server.ca)
    for name in ("chat.example.org", "10.1.2.3", "localhost"):
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain:
            context.wrap_socket(plain, server_hostname=name).close()


def test_public_endpoint_of_websocket_is_told_as_the_http_that_sdks_want(start_server: StartServer) -> None:
    server = start_server("--public-endpoint", "ws://chat.example.org", "--public-endpoint", "WSS://safe.example.org/")
    assert (server.endpoint, server.https_endpoint) == ("http://chat.example.org", "https://safe.example.org")


def test_commands_tell_where_the_certificate_is(server: Server) -> None:
    assert server.cli("ca", "path").stdout == f"{server.ca}\n"
    status = json.loads(server.cli("status", "--json").stdout)
    assert (status["httpsEndpoint"], status["caCertificate"]) == (server.https_endpoint, str(server.ca))
    assert status["httpsConnectionString"] == server.https_connection_string
    assert server.access_key not in server.cli("status").stdout


# Both listeners are one server


@pytest.mark.parametrize("loop", LOOPS)
def test_plain_and_secure_clients_of_a_group_hear_the_same_in_order(
    start_server: StartServer, hub: str, loop: str
) -> None:
    """Enough of them for the fan-out to take its short way, where there is one."""
    server = start_server("--set", f"loop={loop}")
    context = trusting(server.ca)
    with (
        secure_client(server, hub, context) as one,
        secure_client(server, hub, context) as two,
        JsonClient(server, hub, groups=["g"]) as first,
        ExitStack() as stack,
    ):
        plain = [stack.enter_context(JsonClient(server, hub, groups=["g"])) for _ in range(8)]
        texts = [f"{number} " + "x" * (number * 997) for number in range(40)]
        for number, text in enumerate(texts):
            if number % 2:
                assert send(server, hub, text.encode(), context) == 202
            else:
                one.send_json(
                    {"type": "sendToGroup", "group": "g", "dataType": "text", "data": text, "ackId": number + 1}
                )
                while one.receive_json().get("type") != "ack":
                    pass
        assert [frame["data"] for frame in first.heard()] == texts
        assert [[frame["data"] for frame in client.heard()] for client in plain] == [texts] * 8
        assert [two.receive_json()["data"] for _ in texts] == texts


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_client_that_speaks_first_is_heard_whole(start_server: StartServer, hub: str, loop: str, size: int) -> None:
    """As each client does; a loop may sit on what came with the end of the handshake."""
    server = start_server("--set", f"loop={loop}", "--set", "max_message_bytes=4000000")
    context = trusting(server.ca)
    with secure_client(server, hub, context) as client:
        text = "y" * size
        assert send(server, hub, text.encode(), context) == 202
        assert client.receive_json()["data"] == text
        client.send_json({"type": "sendToGroup", "group": "g", "dataType": "text", "data": text})
        assert client.receive_json()["data"] == text


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_token_for_one_listener_is_good_at_the_other(server: Server, hub: str, name: str) -> None:
    """Under each name that this machine has."""
    target = f"/api/hubs/{hub}/groups/g/:send?api-version=2024-12-01"
    headers = {
        "Authorization": f"Bearer {signed(server, f'https://{name}:{server.https_port}{target}')}",
        "Content-Type": "text/plain",
    }

    assert http_request(server, "POST", target, body=b"x", headers=headers).status == 202


SERVERS = {
    f"{loop}, {'asking' if ask else 'not asking'}": (
        "--set",
        f"loop={loop}",
        *(("--template", str(Path(__file__).with_name("asking.json"))) if ask else ()),
    )
    for loop in LOOPS
    for ask in (False, True)
}
"""Each event loop with each of the two ways to shake hands."""

each_server = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)


@each_server
def test_signal_tells_every_secure_client(start_server: StartServer, hub: str, options: tuple[str, ...]) -> None:
    server = start_server(*options)
    target = client_target(hub, client_token(server, hub))
    with (
        RawClient(server, target, protocols=[JSON], secure=trusting(server.ca)) as client,
        RawClient(server, target, secure=trusting(server.ca)) as simple,
    ):
        server.signal(signal.SIGTERM)
        assert [client.receive_json()["event"] for _ in range(2)] == ["connected", "disconnected"]
        assert [client.closed().code, simple.closed().code] == [1001, 1001]
    assert server.wait() == 0


@each_server
def test_secure_client_that_never_reads_is_closed_and_delays_nobody(
    start_server: StartServer, hub: str, options: tuple[str, ...]
) -> None:
    """What waits for it is bounded; everybody else gets everything, in order."""
    server = start_server(*options, "--set", "client_buffer_bytes=65536")
    target = client_target(hub, client_token(server, hub, groups=["g"]))
    small: dict[str, Any] = {"receive_buffer_bytes": 4096, "secure": trusting(server.ca)}
    payload = "x" * 65536
    with (
        RawClient(server, target, protocols=[JSON], **small) as slow,
        secure_client(server, hub, trusting(server.ca)) as reader,
        JsonClient(server, hub) as sender,
    ):
        for number in range(300):
            sender.publish("g", f"{number} {payload}", "text")
            assert reader.receive_json()["data"].startswith(f"{number} ")

        ended = 'webpubsub_connection_close_total{category="SlowClient"}'
        wait_until(lambda: metric(server, ended) == 1, "the slow client is closed")
        with suppress(ssl.SSLError):
            assert slow.closed().code in (1008, 1006), "a full socket may have no room for a close frame"


@each_server
def test_what_breaks_the_framing_of_a_secure_client_is_answered(
    start_server: StartServer, hub: str, options: tuple[str, ...]
) -> None:
    server = start_server(*options)
    target = client_target(hub, client_token(server, hub))
    with RawClient(server, target, protocols=[JSON], secure=trusting(server.ca)) as client:
        client.receive_json()
        client.send_frame(1, b"x", first_byte=0xC0)
        assert client.closed().code == 1002
    with RawClient(server, target, protocols=[JSON], secure=trusting(server.ca)) as client:
        client.receive_json()
        client.close_frame(1000)
        assert client.closed().code == 1000


@each_server
def test_reliable_client_comes_back_over_tls(start_server: StartServer, hub: str, options: tuple[str, ...]) -> None:
    server = start_server(*options)
    context = trusting(server.ca)
    target = client_target(hub, client_token(server, hub, groups=["g"]))
    with RawClient(server, target, protocols=[RELIABLE], secure=context) as first:
        connected = first.receive_json()
        assert send(server, hub, b"1", context) == 202
        assert first.receive_json()["data"] == "1"
        first.abort()
    assert send(server, hub, b"2", context) == 202
    query = [
        ("awps_connection_id", connected["connectionId"]),
        ("awps_reconnection_token", connected["reconnectionToken"]),
    ]
    with RawClient(server, client_target(hub, None, query), protocols=[RELIABLE], secure=context) as second:
        assert second.receive_json()["connectionId"] == connected["connectionId"]
        assert [second.receive_json()["data"] for _ in range(2)] == ["1", "2"]


@each_server
def test_body_that_is_too_large_is_answered_over_tls(
    start_server: StartServer, hub: str, options: tuple[str, ...]
) -> None:
    server = start_server(*options, "--set", "max_message_bytes=1024")

    assert send(server, hub, b"x" * 200_000, trusting(server.ca)) == 400
    assert send(server, hub, b"x" * 1000, trusting(server.ca)) == 202


# Who does it wrong


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 600, b""])
def test_what_is_no_handshake_is_ended_and_leaves_nothing(start_server: StartServer, said: bytes) -> None:
    server = start_server("--set", "head_timeout_s=3")  # in which a slow machine says what it has to say
    with socket.create_connection((server.host, server.https_port), DEADLINE_S) as client:
        client.sendall(said)
        try:
            while client.recv(1 << 16):
                pass
        except ConnectionError:
            pass
    assert call(server, trusting(server.ca), "GET", "/healthz")[0] == 200


def test_client_that_is_gone_without_a_goodbye_is_noticed(server: Server, hub: str) -> None:
    with secure_client(server, hub, trusting(server.ca), user="u") as client:
        there = f"{hub}/users/u"
        assert rest(server, "HEAD", there).status == 200
        client.socket.close()
        wait_until(lambda: rest(server, "HEAD", there).status == 404, "the end of the connection")


# The operator's own certificate


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(time.time())


def bring(folder: Path, authority: Credentials, name: str = "localhost") -> tuple[str, ...]:
    """A certificate of somebody else's authority in files, and the options that name them."""
    own = issue(authority, (name,), time.time())
    (folder / "own.pem").write_bytes(own.certificate)
    (folder / "own.key").write_bytes(own.key)
    (folder / "other.pem").write_bytes(authority.certificate)
    return ("--cert", str(folder / "own.pem"), "--key", str(folder / "own.key"))


def test_own_certificate_is_shown_and_replaced_at_sighup_while_clients_stay(
    start_server: StartServer, hub: str, tmp_path: Path, authority: Credentials
) -> None:
    server = start_server(*bring(tmp_path, authority))
    context = trusting(tmp_path / "other.pem")
    assert not list(server.data.glob("*.pem")), "no authority of ours is needed"
    with secure_client(server, hub, context) as client:
        before = shown(server)
        bring(tmp_path, authority)
        server.signal(signal.SIGHUP)
        wait_until(lambda: shown(server) != before, "the new certificate")

        assert send(server, hub, b"still here", context) == 202
        assert client.receive_json()["data"] == "still here"


def test_bad_replacement_is_told_and_the_old_certificate_goes_on(
    start_server: StartServer, tmp_path: Path, authority: Credentials
) -> None:
    server = start_server(*bring(tmp_path, authority))
    before = shown(server)
    (tmp_path / "own.pem").write_text("nonsense")
    server.signal(signal.SIGHUP)
    server.provoked = ("HTTPS goes on with its old certificate",)
    wait_until(lambda: "HTTPS goes on with its old certificate" in server.log(), "the line that tells so")

    assert shown(server) == before


def shown(server: Server) -> bytes:
    """The certificate that a new handshake is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((server.host, server.https_port), DEADLINE_S) as plain,
        context.wrap_socket(plain) as secure,
    ):
        found = secure.getpeercert(binary_form=True)
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--cert", "own.pem"), 2, "a certificate and its private key are given together"),
        (("--key", "own.key"), 2, "a certificate and its private key are given together"),
        (("--cert", "none.pem", "--key", "own.key"), 1, "cannot read none.pem: No such file or directory"),
        (("--cert", "own.key", "--key", "own.key"), 1, "cannot use certificate own.key with key own.key"),
        (("--cert", "own.pem", "--key", "another.key"), 1, "cannot use certificate own.pem with key another.key"),
        (("--cert", "own.pem", "--key", "own.key", "--no-https"), 2, "a certificate is given, but HTTPS is left out"),
        (
            ("--set", "client_certificate_header=X-Cert"),
            2,
            "client_certificate_header counts from trusted proxies only",
        ),
        (("--https-port", "65536"), 2, "--https-port: '65536' is not a whole number from 0 to 65535"),
    ],
)
def test_certificate_that_cannot_be_used_ends_the_start_in_a_line(
    tmp_path: Path, authority: Credentials, options: tuple[str, ...], code: int, said: str
) -> None:
    bring(tmp_path, authority)
    (tmp_path / "another.key").write_bytes(authority.key)
    done = subprocess.run(
        [sys.executable, "-m", "hubwire", "serve", "--port", "0", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Without


def test_server_without_https_tells_of_none(start_server: StartServer) -> None:
    server = start_server("--no-https")

    assert (server.https_endpoint, str(server.ca)) == ("", ".")
    assert "https:" not in server.output()
    assert not list(server.data.glob("*.pem"))
    assert server.cli("ca", "path").returncode == 1


def test_https_port_in_use_is_told_with_the_ways_out(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = run_command("serve", "--port", str(free_port()), "--https-port", port, "--data", str(tmp_path / "data"))

    assert done.returncode == 1
    assert (
        f"port {port} is already in use on 127.0.0.1; choose another with --https-port, or leave HTTPS out"
        in done.stderr
    )


# Programs that are told of the authority by the environment


SCRIPT = """
import asyncio, json, os, sys, threading
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncService
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncClient
from azure.messaging.webpubsubclient.models import CallbackType

text, hub = sys.argv[1:]
roles = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]
service = WebPubSubServiceClient.from_connection_string(text, hub)
url = service.get_client_access_token(roles=roles)["url"]
assert url.startswith("wss://"), url
heard, got = [], threading.Event()
client = WebPubSubClient(url, ack_timeout=10, start_timeout=10)  # see sdk.py
with client:
    client.subscribe(CallbackType.GROUP_MESSAGE, lambda message: (heard.append(message.data), got.set()))
    client.join_group("g")
    service.send_to_group("g", "sync", content_type="text/plain")
    assert got.wait(30)

async def main():
    client = AsyncClient(url)
    async with AsyncService.from_connection_string(text, hub) as service, client:
        arrived = asyncio.Event()
        async def listen(message):
            heard.append(message.data)
            arrived.set()
        await client.subscribe(CallbackType.GROUP_MESSAGE, listen)
        await client.join_group("g")
        await service.send_to_group("g", "async", content_type="text/plain")
        await asyncio.wait_for(arrived.wait(), 30)

asyncio.run(main())
print(json.dumps(heard))
"""


def test_official_python_libraries_work_over_https_once_the_environment_says_whom_to_trust(
    server: Server, hub: str
) -> None:
    """As `eval "$(hubwire ca env)"` sets it. Nothing is told to the libraries themselves."""
    lines = server.cli("ca", "env").stdout.splitlines()
    named = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, server.https_connection_string, hub],
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["sync", "async"]

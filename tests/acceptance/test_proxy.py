"""Programs that know nothing but the cloud's host names reach a server through `hubwire proxy`."""

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import pytest
import requests

from acceptance.sdk import KINDS, Kind
from acceptance.servers import DEADLINE_S, CloudProxy, Server, StartServer, free_port, wait_until
from acceptance.wire import JsonClient

NAME: Final = "contoso.webpubsub.azure.com"
HEALTH: Final = f"https://{NAME}/api/health"


class StartProxy(Protocol):
    """Starts a proxy in front of a server; it is ended when the test is over, and has complained of nothing."""

    def __call__(self, server: Server, *options: str) -> CloudProxy: ...


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    proxies: list[CloudProxy] = []

    def start(server: Server, *options: str) -> CloudProxy:
        proxies.append(CloudProxy(tmp_path / f"proxy{len(proxies)}", server, *options))
        return proxies[-1]

    try:
        yield start
        for proxy in proxies:
            proxy.stop()
            assert "Traceback" not in proxy.log()
    finally:
        for proxy in proxies:
            proxy.end()


@pytest.fixture
def proxy(start_proxy: StartProxy, server: Server) -> CloudProxy:
    return start_proxy(server)


@contextmanager
def connecting(proxy: CloudProxy, head: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S) as client:
        client.sendall(head.encode())
        yield client


def answer(proxy: CloudProxy, head: str) -> tuple[int, str]:
    """Status and text of a request that makes no tunnel."""
    with connecting(proxy, head) as client:
        said = b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()
    start, _, body = said.partition("\r\n\r\n")
    return int(start.split(" ")[1]), body


def cloud_string(server: Server) -> str:
    """A connection string as it came from the cloud, but for the key."""
    return f"Endpoint=https://{NAME};AccessKey={server.access_key};Version=1.0;"


def healthy(server: Server, proxy: CloudProxy) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        reached = session.head(HEALTH, proxies={"https": proxy.url}, verify=str(server.ca), timeout=DEADLINE_S)
    return reached.status_code == 200


# Unmodified programs.


def test_what_is_printed_at_the_start_is_all_that_a_program_needs(server: Server, proxy: CloudProxy) -> None:
    program = "import requests, sys; print(requests.head(sys.argv[1]).status_code)"

    assert proxy.run(program, HEALTH) == "200\n"
    lines = proxy.output().splitlines()
    assert lines[0] == f"Hubwire proxy listens on 127.0.0.1:{proxy.port}"
    assert any(line.endswith(f'ca env --data {server.data})"') for line in lines)
    assert f"  lead to         {server.https_endpoint}" in lines
    assert NAME.replace("contoso", "*") in proxy.output()
    assert len(lines) < 24
    assert proxy.log() == ""


SERVICE: Final = {
    "sync": """
import sys
from azure.messaging.webpubsubservice import WebPubSubServiceClient
with WebPubSubServiceClient.from_connection_string(sys.argv[1], sys.argv[2]) as client:
    client.send_to_all("from the cloud's client", content_type="text/plain")
""",
    "aio": """
import asyncio, sys
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
async def main():
    async with WebPubSubServiceClient.from_connection_string(sys.argv[1], sys.argv[2]) as client:
        await client.send_to_all("from the cloud's client", content_type="text/plain")
asyncio.run(main())
""",
}


@pytest.mark.parametrize("kind", KINDS)
def test_service_library_sends_with_the_connection_string_of_the_cloud(
    server: Server, proxy: CloudProxy, hub: str, kind: Kind
) -> None:
    with JsonClient(server, hub) as receiver:
        proxy.run(SERVICE[kind], cloud_string(server), hub)

        assert receiver.receive()["data"] == "from the cloud's client"
    assert proxy.log() == ""


_URL: Final = """
import sys
from azure.messaging.webpubsubservice import WebPubSubServiceClient
service = WebPubSubServiceClient.from_connection_string(sys.argv[1], sys.argv[2])
roles = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]
url = service.get_client_access_token(roles=roles)["url"]
assert url.startswith("wss://contoso.webpubsub.azure.com/client/hubs/"), url
"""
CLIENTS: Final = {
    "official": _URL
    + """
import queue
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType
heard = queue.Queue()
client = WebPubSubClient(url, ack_timeout=5, start_timeout=5)  # see sdk.py
with client:
    client.subscribe(CallbackType.GROUP_MESSAGE, lambda message: heard.put(message.data))
    client.join_group("g")
    client.send_to_group("g", "to oneself", WebPubSubDataType.TEXT)
    print(heard.get(timeout=20))
""",
    "websockets": _URL
    + """
import asyncio, json
from websockets.asyncio.client import connect
async def main():  # of one thread, for Python's TLS may lose what one writes while another reads
    async with asyncio.timeout(20), connect(url, subprotocols=["json.webpubsub.azure.v1"]) as client:
        await client.recv()
        await client.send(json.dumps({"type": "joinGroup", "group": "g"}))
        await client.send(json.dumps({"type": "sendToGroup", "group": "g", "dataType": "text", "data": "to oneself"}))
        print(json.loads(await client.recv())["data"])
asyncio.run(main())
""",
}


@pytest.mark.parametrize("library", CLIENTS)
def test_client_library_opens_the_url_that_the_cloud_would_give(
    server: Server, proxy: CloudProxy, hub: str, library: str
) -> None:
    assert proxy.run(CLIENTS[library], cloud_string(server), hub) == "to oneself\n"
    assert proxy.log() == ""


CREDENTIAL: Final = """
import sys
from azure.identity import ClientSecretCredential
from azure.messaging.webpubsubservice import WebPubSubServiceClient
endpoint, hub, *principal = sys.argv[1:]
with WebPubSubServiceClient(endpoint, hub, ClientSecretCredential(*principal)) as client:
    client.send_to_all("from a principal", content_type="text/plain")
"""


def test_credential_gets_its_token_from_the_authority_of_the_cloud(
    start_proxy: StartProxy, server: Server, hub: str
) -> None:
    """Which is built into the library, like the hosts that it asks for it. Nothing else is reached."""
    proxy = start_proxy(server, "--only")
    principal = (server.tenant_id, server.client_id, server.client_secret)
    with JsonClient(server, hub) as receiver:
        proxy.run(CREDENTIAL, f"https://{NAME}", hub, *principal)

        assert receiver.receive()["data"] == "from a principal"
    assert proxy.log() == ""


def test_further_names_lead_to_the_server(start_proxy: StartProxy, server: Server) -> None:
    proxy = start_proxy(server, "--only", "--name", "chat.example.org", "--name", "*.Example.net")

    for name, status in (("chat.example.org", 200), ("a.b.example.net", 200), ("example.net", 403)):
        with connecting(proxy, f"CONNECT {name}:443 HTTP/1.1\r\n\r\n") as client:
            assert client.recv(1 << 16).startswith(f"HTTP/1.1 {status} ".encode())


# Everything else.


def test_any_other_target_is_passed_on_as_it_is(server: Server, proxy: CloudProxy) -> None:
    with connecting(proxy, f"CONNECT {server.host}:{server.port} HTTP/1.1\r\n\r\n") as client:
        assert client.recv(1 << 16) == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        client.sendall(b"HEAD /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    assert "  all others      are passed on as they are" in proxy.output()


def test_any_other_target_is_refused_on_demand(start_proxy: StartProxy, server: Server) -> None:
    proxy = start_proxy(server, "--only")
    target = f"{server.host}:{server.port}"

    text = f"{target} does not lead to the server, and nothing else is served (--only)\n"
    assert answer(proxy, f"CONNECT {target} HTTP/1.1\r\n\r\n") == (403, text)
    assert "  all others      are refused" in proxy.output()


def test_what_cannot_be_served_is_answered(proxy: CloudProxy) -> None:
    port = free_port()
    unreachable = f"cannot reach [::1]:{port}: "

    status, text = answer(proxy, f"CONNECT [::1]:{port} HTTP/1.1\r\n\r\n")
    assert (status, text[: len(unreachable)]) == (502, unreachable)
    assert answer(proxy, "GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n")[0] == 405
    assert answer(proxy, "CONNECT example.org HTTP/1.1\r\n\r\n")[0] == 400


def test_client_that_does_not_trust_is_told_of_in_a_line_and_harms_nobody(server: Server, proxy: CloudProxy) -> None:
    with connecting(proxy, f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n") as client:
        assert b" 200 " in client.recv(1 << 16)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(client, server_hostname=NAME)

    wait_until(lambda: proxy.log().endswith("\n"), "the line")
    assert proxy.log().startswith(f"hubwire: TLS with a client for {NAME} failed: ")
    assert f'ca env --data {server.data})"\n' in proxy.log()
    assert len(proxy.log().splitlines()) == 1
    assert healthy(server, proxy)


# From start to end.


def test_server_may_be_started_again(start_proxy: StartProxy, start_server: StartServer) -> None:
    port = str(free_port())
    first = start_server("--https-port", port)
    proxy = start_proxy(first)
    assert healthy(first, proxy)
    first.stop()
    assert answer(proxy, f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n")[0] == 502

    assert healthy(start_server("--https-port", port, data=first.data), proxy)


def is_over(client: socket.socket) -> bool:
    """Wait for a connection to end. A reset is an end, too: what it had said is perhaps not even read."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_ends_it_with_all_of_its_tunnels(
    server: Server, proxy: CloudProxy, number: signal.Signals, code: int
) -> None:
    with (
        connecting(proxy, f"CONNECT {server.host}:{server.port} HTTP/1.1\r\n\r\n") as client,
        connecting(proxy, f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n") as half_open,
        connecting(proxy, "CONNECT ") as undecided,
    ):
        assert b" 200 " in client.recv(1 << 16)
        assert b" 200 " in half_open.recv(1 << 16)

        assert proxy.stop(number) == code
        assert all(map(is_over, (client, half_open, undecided)))
    assert proxy.log() == ""

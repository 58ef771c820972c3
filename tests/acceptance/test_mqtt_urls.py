"""URLs and tokens for MQTT clients, by whoever makes them: each opens a connection as it is."""

from urllib.parse import urlsplit

import pytest

from acceptance.mqtt import VERSIONS, PahoClient
from acceptance.sdk import KINDS, Kind, service_client
from acceptance.servers import Server
from acceptance.wire import JOIN, SEND, JsonClient, RawClient, rest


def check(server: Server, hub: str, url: str, *, user: str = "u") -> None:
    """Paho goes to a URL, and finds itself to be who and where, and allowed what, it was made for."""
    address = urlsplit(url)
    assert address.path == f"/clients/mqtt/hubs/{hub}"
    secure = address.scheme == "wss"
    assert address.port == (server.https_port if secure else server.port)
    for version in VERSIONS:
        client = PahoClient(version, "")
        client.library.ws_set_options(path=f"{address.path}?{address.query}")
        if secure:
            client.library.tls_set(str(server.ca))
        try:
            client.open(address.hostname or "", address.port or 0)
            assert client.connects == [(0, False)]
            assert client.subscribe("mine", 1) == [1]
            with JsonClient(server, hub, groups=["theirs"]) as other:
                assert client.publish("theirs", b"x", 1) == [0]
                assert other.receive()["fromUserId"] == user
                for group in ("given", "mine"):
                    other.publish(group, group)
            assert sorted(message.topic for message in client.received(2)) == ["given", "mine"]
        finally:
            client.end()


ROLES = [f"{JOIN}.mine", f"{SEND}.theirs"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_url_of_the_official_library(server: Server, hub: str, kind: Kind, scheme: str) -> None:
    text = {"http": server.connection_string, "https": server.https_connection_string}[scheme]
    options = {"connection_verify": str(server.ca)} if scheme == "https" else {}
    with service_client(kind, text, hub, **options) as service:
        access = service.get_client_access_token(client_protocol="MQTT", user_id="u", roles=ROLES, groups=["given"])
    check(server, hub, access["url"])
    assert access["url"] == f"{access['baseUrl']}?access_token={access['token']}"


def test_url_of_the_command_line(server: Server, hub: str) -> None:
    words = [word for role in ROLES for word in ("--role", role)]
    done = server.cli("url", "--mqtt", "--hub", hub, "--user", "u", *words, "--group", "given")
    assert done.returncode == 0, done.stderr
    check(server, hub, done.stdout.strip())


@pytest.mark.parametrize("client_type", ["mqtt", "MQTT", "Mqtt"])
def test_token_of_rest(server: Server, hub: str, client_type: str) -> None:
    query = [("clientType", client_type), ("userId", "u"), ("group", "given"), *(("role", role) for role in ROLES)]
    answer = rest(server, "POST", f"{hub}/:generateToken", query=query)
    assert answer.status == 200
    check(
        server, hub, f"ws://{server.host}:{server.port}/clients/mqtt/hubs/{hub}?access_token={answer.json()['token']}"
    )


def test_token_for_other_clients_opens_no_mqtt_connection(server: Server, hub: str) -> None:
    """And that for MQTT clients no other one."""
    for client_type, path in (("Default", "clients/mqtt/hubs"), ("MQTT", "client/hubs")):
        token = rest(server, "POST", f"{hub}/:generateToken", query=[("clientType", client_type)]).json()["token"]
        target = f"/{path}/{hub}?access_token={token}"
        protocol = "mqtt" if "mqtt" in path else "json.webpubsub.azure.v1"
        with RawClient(server, target, protocols=[protocol]) as client:
            assert client.status == 401


def test_our_own_client_says_that_it_does_not_speak_mqtt(server: Server, hub: str) -> None:
    done = server.cli("url", "--mqtt", "--hub", hub)
    tried = server.cli("connect", done.stdout.strip())
    assert tried.returncode != 0
    assert "MQTT" in tried.stderr

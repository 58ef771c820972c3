"""MQTT clients of Python that others wrote, unmodified and with their defaults: paho-mqtt, and aiomqtt around it."""

import gc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import paho.mqtt.client as paho
import pytest
from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from acceptance.mqtt import SERVER_MESSAGES, VERSIONS, PahoClient, mqtt_target, mqtt_token, paho_client
from acceptance.servers import DEADLINE_S, Server, wait_until
from acceptance.upstreams import await_line
from acceptance.wire import JsonClient, rest

LEVELS = (0, 1, 2)
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


# paho-mqtt


def said(packet_type: int, **values: Any) -> Any:
    """Properties of a packet in the words of paho-mqtt."""
    properties: Any = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def exchange(client: PahoClient) -> None:
    """Everything that a client can ask for."""
    for granted in LEVELS:
        assert client.subscribe(f"site/{granted}", granted) == [granted]
    for published in LEVELS:
        for granted in LEVELS:
            client.messages.clear()
            payload = bytes([0, 255, published])
            assert client.publish(f"site/{granted}", payload, published) == [0]
            (message,) = client.received(1)
            assert (message.topic, message.payload) == (f"site/{granted}", payload)
            assert (message.qos, message.retain) == (min(published, granted), False)
    assert client.unsubscribe("site/1") in ([0], [])  # 3.1.1 has no codes
    client.messages.clear()
    client.publish("site/1", b"nobody hears this", 1)
    client.publish("site/2", b"still here", 1)
    assert client.received(1)[0].payload == b"still here"


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("in_header", [False, True], ids=["path", "header"])
def test_paho_subscribes_publishes_and_leaves(
    server: Server, hub: str, version: int, secure: bool, in_header: bool
) -> None:
    """With its empty client id."""
    with paho_client(server, hub, version, ca=str(server.ca) if secure else "", in_header=in_header) as client:
        assert client.connects == [(0, False)]
        exchange(client)
    assert client.disconnects == [0]


def test_paho_leaves_in_order_although_it_does_not_mask_its_close(server: Server, hub: str, version: int) -> None:
    client_id = f"paho{version}"
    with paho_client(server, hub, version, client_id=client_id):
        assert rest(server, "HEAD", f"{hub}/connections/{client_id}").status == 200
    line = await_line(server, hub, client_id, "ConnectionEnded")
    assert "Normal" in line
    assert rest(server, "HEAD", f"{hub}/connections/{client_id}").status == 404


def test_paho_stays_for_five_keep_alive_periods(server: Server, hub: str) -> None:
    """
    It has nothing to say but that it is there, which is asked of it within one and a half times the period: with three
    seconds also a slow machine has the time for it.
    """
    pongs: dict[int, list[str]] = {version: [] for version in VERSIONS}

    def listen(version: int) -> Callable[[paho.Client], None]:
        def prepare(library: paho.Client) -> None:
            library.on_log = lambda *args: pongs[version].append(args[-1]) if "PINGRESP" in args[-1] else None

        return prepare

    with (
        paho_client(server, hub, 4, keep_alive_s=3, prepare=listen(4)) as older,
        paho_client(server, hub, 5, keep_alive_s=3, prepare=listen(5)) as newer,
    ):
        wait_until(lambda: all(len(texts) >= 5 for texts in pongs.values()), "five answers to the pings of each")
        for client in (older, newer):
            assert client.subscribe("g", 1) == [1]
            assert client.disconnects == []


def test_paho_comes_back_to_its_session(server: Server, hub: str, version: int) -> None:
    """The library reconnects by itself when its socket breaks, and what was sent meanwhile is there."""
    expiry = said(PacketTypes.CONNECT, SessionExpiryInterval=30)
    options = {} if version < 5 else {"clean_start": False, "properties": expiry}

    def keep(library: paho.Client) -> None:
        library.reconnect_delay_set(1, 1)
        if version < 5:
            library._clean_session = False

    client_id = f"back{version}"
    with paho_client(server, hub, version, client_id=client_id, prepare=keep, options=options) as client:
        client.subscribe("g", 2)
        socket = client.library.socket()
        assert socket is not None
        socket.close()
        wait_until(lambda: bool(client.disconnects), "the library sees that its socket is broken")
        assert rest(server, "POST", f"{hub}/groups/g/:send", body=b"meanwhile", headers=TEXT).status == 202
        wait_until(lambda: len(client.connects) == 2, "another connection")

        assert client.connects == [(0, False), (0, True)]
        assert [message.payload for message in client.received(1)] == [b"meanwhile"]


def test_properties_of_paho_reach_paho(server: Server, hub: str) -> None:
    sent = said(
        PacketTypes.PUBLISH,
        ContentType="application/json",
        PayloadFormatIndicator=1,
        ResponseTopic="answers/1",
        CorrelationData=b"\x00\x01",
        MessageExpiryInterval=60,
        UserProperty=[("a", "1"), ("b", "ü"), ("a", "2")],
    )
    with paho_client(server, hub, 5) as client:
        client.subscribe("g", 1)
        client.publish("g", b"{}", 1, properties=sent)
        (message,) = client.received(1)

        got: Any = message.properties
        assert (got.ContentType, got.PayloadFormatIndicator) == ("application/json", 1)
        assert (got.ResponseTopic, got.CorrelationData) == ("answers/1", b"\x00\x01")
        assert 0 < got.MessageExpiryInterval <= 60
        assert got.UserProperty == [("a", "1"), ("b", "ü"), ("a", "2")]


def test_server_is_heard_by_paho_without_a_subscription(server: Server, hub: str, version: int) -> None:
    client_id = f"listens{version}"
    with paho_client(server, hub, version, client_id=client_id) as client:
        assert rest(server, "POST", f"{hub}/connections/{client_id}/:send", body=b"you", headers=TEXT).status == 202
        (message,) = client.received(1)

        assert (message.topic, message.payload, message.qos) == (SERVER_MESSAGES, b"you", 1)


def test_paho_is_told_that_it_may_not(server: Server, hub: str, version: int) -> None:
    """
    3.1.1 has no way to say so of a publication; that is acknowledged and dropped. With QoS 2 this library goes on with
    the exchange that was refused, and shows what it hears last.
    """
    with (
        paho_client(server, hub, version, roles=[]) as client,
        JsonClient(server, hub, groups=["g"]) as other,
    ):
        assert client.subscribe("g", 1) == [0x87 if version == 5 else 0x80]
        for qos, code in ((1, 0x87), (2, 0x92)):
            assert client.publish("g", b"x", qos) == [code if version == 5 else 0]
        assert other.heard() == []
        assert client.disconnects == []


@pytest.fixture
def collected() -> Iterator[None]:
    """What the library leaves to the collector is collected while its warnings are still ignored."""
    yield
    gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_paho_without_a_valid_token_is_not_let_in(server: Server, hub: str, version: int) -> None:
    client = PahoClient(version, "")
    client.library.ws_set_options(path=mqtt_target(hub, "x.y.z"))
    with pytest.raises(paho.WebsocketConnectionError):
        client.library.connect(server.host, server.port)


# aiomqtt


@pytest.mark.parametrize("in_header", [False, True], ids=["path", "header"])
async def test_aiomqtt_subscribes_publishes_and_leaves(server: Server, hub: str, version: int, in_header: bool) -> None:
    """With its empty client id."""
    token = mqtt_token(server, hub)
    target = mqtt_target(hub, None if in_header else token)
    async with aiomqtt.Client(
        server.host,
        server.port,
        transport="websockets",
        websocket_path=target,
        websocket_headers={"Authorization": f"Bearer {token}"} if in_header else None,
        protocol=ProtocolVersion(version),
        timeout=DEADLINE_S,
    ) as client:
        for qos in LEVELS:
            await client.subscribe(f"site/{qos}", qos)
            await client.publish(f"site/{qos}", f"with {qos}", qos)
        await client.unsubscribe("site/0")
        await client.publish("site/0", "nobody hears this", 1)
        await client.publish("site/1", "last", 1)
        received = {}
        async for message in client.messages:
            received[message.payload] = (str(message.topic), message.qos)
            if message.payload == b"last":
                break

    assert received == {
        b"with 0": ("site/0", 0),
        b"with 1": ("site/1", 1),
        b"with 2": ("site/2", 2),
        b"last": ("site/1", 1),
    }


async def test_aiomqtt_speaks_over_tls(server: Server, hub: str, version: int) -> None:
    host, port = urlsplit(server.https_endpoint).hostname, server.https_port
    async with aiomqtt.Client(
        host or "",
        port,
        transport="websockets",
        websocket_path=mqtt_target(hub, mqtt_token(server, hub)),
        tls_params=aiomqtt.TLSParameters(ca_certs=str(server.ca)),
        protocol=ProtocolVersion(version),
        timeout=DEADLINE_S,
    ) as client:
        await client.subscribe("g", 1)
        await client.publish("g", "x", 1)
        async for message in client.messages:
            assert message.payload == b"x"
            break


async def test_aiomqtt_raises_for_a_subscription_that_is_not_allowed(server: Server, hub: str) -> None:
    async with aiomqtt.Client(
        server.host,
        server.port,
        transport="websockets",
        websocket_path=mqtt_target(hub, mqtt_token(server, hub, roles=[])),
        protocol=ProtocolVersion.V5,
        timeout=DEADLINE_S,
    ) as client:
        codes = await client.subscribe("g", 1)
        assert [getattr(code, "value", code) for code in codes] == [0x87]

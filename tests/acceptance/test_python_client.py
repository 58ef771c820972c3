"""The official Python client library, unmodified, synchronous and asynchronous, reliable and plain."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncWebPubSubClient
from azure.messaging.webpubsubclient.models import OpenClientError, SendMessageError, WebPubSubDataType
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from acceptance.proxy import Proxy
from acceptance.sdk import KINDS, Kind, SdkClient, sdk_client
from acceptance.servers import Server, StartServer, free_port, wait_until
from acceptance.wire import JOIN, SEND, JsonClient, client_target, client_token, metric

TEXT, JSON_DATA, BINARY = WebPubSubDataType.TEXT, WebPubSubDataType.JSON, WebPubSubDataType.BINARY

pytestmark = [
    # The synchronous library leaves the sockets of lost connections to the collector,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    # and its thread that acknowledges dies with a connection that breaks while it writes; another one takes over.
    pytest.mark.filterwarnings(
        r"ignore:Exception in thread .*\(sequence_id_ack_periodically\):pytest.PytestUnhandledThreadExceptionWarning"
    ),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What the library leaves to the collector is collected while its warnings are still ignored."""
    yield
    gc.collect()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def service(server: Server, hub: str) -> Iterator[WebPubSubServiceClient]:
    with WebPubSubServiceClient.from_connection_string(server.connection_string, hub) as client:
        yield client


def url(server: Server, hub: str, *, port: int | None = None, **claims: Any) -> str:
    """A client access URL; with a port, one that leads through a proxy there."""
    token = client_token(server, hub, port=port, **{"roles": [JOIN, SEND], **claims})
    return f"ws://{server.host}:{port or server.port}{client_target(hub, token)}"


@pytest.mark.parametrize("reliable", [True, False])
def test_client_is_told_who_it_is(server: Server, hub: str, kind: Kind, reliable: bool) -> None:
    with sdk_client(kind, url(server, hub, user="ü/1"), reliable=reliable) as client:
        assert client.users == ["ü/1"]
        assert len(client.connected) == 1
        assert client.calls.is_connected()


@pytest.mark.parametrize("reliable", [True, False])
def test_each_kind_of_data_reaches_the_group(server: Server, hub: str, kind: Kind, reliable: bool) -> None:
    with sdk_client(kind, url(server, hub, user="u"), reliable=reliable) as client:
        client.calls.join_group("g")
        client.publish("g", "tëxt", TEXT)
        client.publish("g", {"a": [1, None, "ü"]}, JSON_DATA)
        client.publish("g", memoryview(b"\x00\xff"), BINARY)
        wait_until(lambda: len(client.group_messages) == 3, "three messages")

        received = {message.data_type: message for message in client.group_messages}
        assert received["text"].data == "tëxt"
        assert received["json"].data == {"a": [1, None, "ü"]}
        assert bytes(received["binary"].data) == b"\x00\xff"
        assert {(message.group, message.from_user_id) for message in received.values()} == {("g", "u")}
        assert sorted(m.sequence_id for m in received.values() if m.sequence_id) == ([1, 2, 3] if reliable else [])


def test_json_null_is_delivered(server: Server, hub: str, kind: Kind) -> None:
    """The library cannot send one: it leaves out what is None."""
    with sdk_client(kind, url(server, hub, groups=["g"])) as client, JsonClient(server, hub) as sender:
        sender.publish("g", None)
        wait_until(lambda: len(client.group_messages) == 1, "the message")

        assert client.group_messages[0].data is None


def test_no_echo_and_leaving(server: Server, hub: str, kind: Kind) -> None:
    with sdk_client(kind, url(server, hub)) as client, JsonClient(server, hub, groups=["g"]) as other:
        client.calls.join_group("g")
        client.publish("g", "1 not for me", no_echo=True)
        client.publish("g", "2 for all")
        client.calls.leave_group("g")
        client.publish("g", "3 not for me any more")
        client.calls.join_group("g")
        client.publish("g", "4 again")

        assert client.data(2) == ["2 for all", "4 again"]
        assert [frame["data"][0] for frame in other.heard()] == ["1", "2", "3", "4"]


def test_message_without_an_ack_arrives(server: Server, hub: str, kind: Kind) -> None:
    with sdk_client(kind, url(server, hub, groups=["g"])) as client:
        client.publish("g", "x", ack=False)

        assert client.data(1) == ["x"]


def test_messages_of_the_server_arrive(server: Server, hub: str, kind: Kind, service: WebPubSubServiceClient) -> None:
    with sdk_client(kind, url(server, hub, user="u")) as client:
        service.send_to_all({"to": "all"})
        service.send_to_user("u", "to user", content_type="text/plain")
        service.send_to_connection(client.connected[0], "to connection", content_type="text/plain")
        wait_until(lambda: len(client.server_messages) == 3, "three messages")

        assert sorted(m.data for m in client.server_messages if m.data_type == "text") == ["to connection", "to user"]


def test_forbidden_request_raises_with_its_name(server: Server, hub: str, kind: Kind) -> None:
    with sdk_client(kind, url(server, hub, roles=[f"{JOIN}.g"]), message_retry_total=0) as client:
        client.calls.join_group("g")
        requests: list[Callable[[], None]] = [
            lambda: client.calls.join_group("h"),
            lambda: client.calls.leave_group("h"),
            lambda: client.publish("g", "x"),
        ]
        for request in requests:
            with pytest.raises(SendMessageError) as refused:
                request()
            assert refused.value.error_detail is not None
            assert refused.value.error_detail.name == "Forbidden"


def test_event_without_a_handler_raises_internal_server_error(server: Server, hub: str, kind: Kind) -> None:
    with sdk_client(kind, url(server, hub), message_retry_total=0) as client:
        for data_type, content in ((TEXT, "x"), (JSON_DATA, {"a": 1}), (BINARY, memoryview(b"\x00"))):
            with pytest.raises(SendMessageError) as refused:
                client.calls.send_event("ev", content, data_type)
            assert refused.value.error_detail is not None
            assert refused.value.error_detail.name == "InternalServerError"
        client.calls.join_group("g")


def test_same_ack_id_twice_is_one_message_and_two_successes(server: Server, hub: str, kind: Kind) -> None:
    with sdk_client(kind, url(server, hub)) as client, JsonClient(server, hub, groups=["g"]) as other:
        for text in ("once", "twice"):
            client.publish("g", text, ack_id=1000)
        client.publish("g", "after", ack_id=1001)

        assert [frame["data"] for frame in other.heard()] == ["once", "after"]


def test_hundred_sends_at_once_are_all_acknowledged_and_arrive_once(server: Server, hub: str, kind: Kind) -> None:
    texts = [f"{number:03}" for number in range(100)]
    with sdk_client(kind, url(server, hub, groups=["g"])) as client:
        failed: list[BaseException] = []

        def send(text: str) -> None:
            try:
                client.publish("g", text)
            except SendMessageError as error:
                failed.append(error)

        threads = [threading.Thread(target=send, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failed == []
        assert client.data(100) == texts


def test_hundred_tasks_of_one_loop_are_all_acknowledged(server: Server, hub: str) -> None:
    """The asynchronous library as it is meant to be used."""

    async def publish() -> int:
        client = AsyncWebPubSubClient(url(server, hub))
        await client.open()
        try:
            sends = [client.send_to_group("g", str(number), WebPubSubDataType.TEXT) for number in range(100)]
            return len(await asyncio.gather(*sends))
        finally:
            await client.close()

    with JsonClient(server, hub, groups=["g"]) as other:
        assert asyncio.run(publish()) == 100
        assert sorted(int(frame["data"]) for frame in other.heard()) == list(range(100))


@pytest.mark.parametrize("reliable", [True, False])
def test_client_may_be_opened_again_after_it_was_closed(
    server: Server, hub: str, kind: Kind, reliable: bool, service: WebPubSubServiceClient
) -> None:
    """It says goodbye with 1000, so its connection is gone at once; the next one is another."""
    with sdk_client(kind, url(server, hub), reliable=reliable) as client:
        client.calls.close()
        wait_until(lambda: client.stopped == 1, "the stopped callback")
        wait_until(lambda: not service.connection_exists(client.connected[0]), "the connection is gone")
        client.open()

        assert len(set(client.connected)) == 2
        client.calls.join_group("g")


def test_client_without_a_valid_token_does_not_open(server: Server, hub: str, kind: Kind) -> None:
    client = SdkClient(kind, url(server, hub, ttl_s=-400), reliable=True, options={})
    try:
        with pytest.raises(OpenClientError):
            client.open()
    finally:
        client.end()


@pytest.mark.parametrize("reliable", [True, False])
def test_closed_by_rest_a_client_comes_back_as_another_connection_in_its_groups(
    server: Server, hub: str, kind: Kind, reliable: bool, service: WebPubSubServiceClient
) -> None:
    """The library tries to recover, is refused for good, and then opens anew and joins again."""
    with sdk_client(kind, url(server, hub), reliable=reliable) as client:
        client.calls.join_group("g")
        client.calls.join_group("left")
        client.calls.leave_group("left")
        service.close_connection(client.connected[0], reason="out")
        wait_until(lambda: len(client.connected) == 2, "another connection")
        wait_until(lambda: service.group_exists("g"), "the group was joined again")
        service.send_to_group("g", "hello", content_type="text/plain")

        assert client.data(1) == ["hello"]
        assert len(set(client.connected)) == 2
        wait_until(lambda: len(client.disconnected) > 0, "the disconnected callback")
        assert client.disconnected == ["Application server closed the connection. Reason: out"]
        assert not service.group_exists("left")


def test_plain_client_that_lost_its_connection_comes_back_as_another(
    server: Server, hub: str, kind: Kind, service: WebPubSubServiceClient
) -> None:
    with (
        Proxy(server.host, server.port) as proxy,
        sdk_client(kind, url(server, hub, port=proxy.port), reliable=False) as client,
    ):
        client.calls.join_group("g")
        assert proxy.cut() == 1
        wait_until(lambda: len(client.connected) == 2, "another connection")
        wait_until(lambda: service.group_exists("g"), "the group was joined again")
        service.send_to_group("g", "hello", content_type="text/plain")

        assert client.data(1) == ["hello"]
        assert len(set(client.connected)) == 2


BREAKS: dict[str, Callable[[Proxy], int]] = {"reset": Proxy.cut, "end": Proxy.end, "half-open": Proxy.lose_client}


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("sync", "reset"),
        ("sync", "end"),
        ("sync", "half-open"),
        # The asynchronous library takes a reset for a refusal and opens anew, so it is not reset here.
        ("aio", "end"),
        ("aio", "half-open"),
    ],
)
def test_reliable_client_misses_nothing_and_hears_nothing_twice(
    server: Server, hub: str, service: WebPubSubServiceClient, kind: Kind, way: str
) -> None:
    """Its connection breaks again and again while messages keep coming, and it stays one and the same."""
    breaks, messages = 3, 120
    numbers = [f"{number:04}" for number in range(messages)]
    with (
        Proxy(server.host, server.port) as proxy,
        sdk_client(kind, url(server, hub, port=proxy.port, groups=["g"])) as client,
    ):
        for position, number in enumerate(numbers):
            if position and position % (messages // (breaks + 1)) == 0:
                wait_until(lambda: proxy.connections() == 1, "a connection to break")
                assert BREAKS[way](proxy) == 1
            service.send_to_group("g", number, content_type="text/plain")

        assert client.data(messages) == numbers
        assert sorted(m.sequence_id for m in client.group_messages) == list(range(1, messages + 1))
        assert len(client.connected) == 1
        assert service.connection_exists(client.connected[0])


def test_connection_that_died_silently_is_found_out_and_recovered(start_server: StartServer, hub: str) -> None:
    """No packet passes any more and nobody is told: pings go unanswered, and the client hears of it later."""
    server = start_server()
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    with (
        WebPubSubServiceClient.from_connection_string(server.connection_string, hub) as service,
        Proxy(server.host, server.port) as proxy,
        sdk_client("sync", url(server, hub, port=proxy.port, groups=["g"])) as client,
    ):
        service.send_to_group("g", "1", content_type="text/plain")
        assert client.data(1) == ["1"]
        assert proxy.freeze() == 1
        service.send_to_group("g", "2", content_type="text/plain")
        wait_until(lambda: metric(server, "hubwire_connections_retained") == 1, "the server finds it out")
        service.send_to_group("g", "3", content_type="text/plain")
        proxy.cut()

        assert client.data(3) == ["1", "2", "3"]
        assert len(client.connected) == 1


def test_clients_of_a_server_that_restarts_come_back_as_other_connections(
    start_server: StartServer, tmp_path: Path, hub: str, kind: Kind
) -> None:
    port, data = free_port(), tmp_path / "data"
    first = start_server("--port", str(port), data=data)
    with sdk_client(kind, url(first, hub)) as client:
        client.calls.join_group("g")
        first.stop()
        second = start_server("--port", str(port), data=data)
        wait_until(lambda: len(client.connected) == 2, "another connection")
        with WebPubSubServiceClient.from_connection_string(second.connection_string, hub) as service:
            wait_until(lambda: service.group_exists("g"), "the group was joined again")
            service.send_to_group("g", "hello", content_type="text/plain")

        assert client.data(1) == ["hello"]


def test_synchronous_client_works_as_a_context_manager(server: Server, hub: str) -> None:
    client = WebPubSubClient(url(server, hub), ack_timeout=5, start_timeout=5)
    with client:
        client.join_group("g")
        assert client.is_connected()
    assert not client.is_connected()

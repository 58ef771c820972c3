"""Settings of MQTT clients, on servers that are started with them."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from acceptance.mqtt import VERSIONS, MqttClient, close_all, refused
from acceptance.servers import Server, StartServer, running, wait_until
from acceptance.upstreams import await_line
from acceptance.wire import JsonClient, RawClient, rest
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Publish, Will

CLIENT_ID_NOT_VALID: Final = {4: 2, 5: 0x85}
UNAVAILABLE: Final = 3
"""What 3.1.1 says of a keep alive that is not taken."""
RETAIN_UNSUPPORTED: Final = 0x9A
TOPIC_INVALID: Final = 0x90
RECEIVE_MAXIMUM_EXCEEDED: Final = 0x93
QUOTA_EXCEEDED: Final = 0x97
PROTOCOL_ERROR: Final = 1002


def settings(**values: object) -> tuple[str, ...]:
    return tuple(word for name, value in values.items() for word in ("--set", f"{name}={value}"))


AZURE: Final = settings(mqtt_compatibility="azure", mqtt_session_takeover="azure", mqtt_v4_text="true")
TIGHT: Final = settings(
    mqtt_client_ids="azure",
    mqtt_session_expiry_s=1,
    mqtt_receive_maximum=2,
    mqtt_connect_timeout_s=5,
    reliable_queue_messages=10,
    reliable_queue_bytes=1 << 16,
)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As the service is said to be, in all that may be chosen."""
    with running(tmp_path_factory.mktemp("azure"), *AZURE) as server:
        yield server


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With small limits."""
    with running(tmp_path_factory.mktemp("tight"), *TIGHT) as server:
        yield server


# The presets

COMMON_IDS: Final = ["a", "Z9", "mqttjs_0123abcd", "x" * 128]
LENIENT_IDS: Final = ["a-b", "a.b:c", "ü", "a b", "{device}"]
NO_IDS: Final = ["a/b", "a?", "a#", "a%20", "a\x01", "x" * 129]


@pytest.mark.parametrize("client_id", [*COMMON_IDS, *LENIENT_IDS])
def test_lenient_takes_the_ids_that_libraries_make(server: Server, hub: str, version: int, client_id: str) -> None:
    with MqttClient(server, hub, version=version, client_id=client_id) as client:
        client.ping()


@pytest.mark.parametrize("client_id", COMMON_IDS)
def test_azure_takes_letters_digits_and_underscores(azure: Server, hub: str, version: int, client_id: str) -> None:
    with MqttClient(azure, hub, version=version, client_id=client_id) as client:
        client.ping()


@pytest.mark.parametrize("client_id", [*LENIENT_IDS, *NO_IDS])
def test_azure_takes_no_other_ids(azure: Server, hub: str, version: int, client_id: str) -> None:
    refused(azure, hub, CLIENT_ID_NOT_VALID[version], version=version, client_id=client_id)


@pytest.mark.parametrize("client_id", NO_IDS)
def test_lenient_takes_no_ids_that_end_a_path(server: Server, hub: str, version: int, client_id: str) -> None:
    refused(server, hub, CLIENT_ID_NOT_VALID[version], version=version, client_id=client_id)


@pytest.mark.parametrize("keep_alive_s", [0, 181, 65535])
def test_keep_alive_of_version_4_that_azure_refuses_and_lenient_takes(
    server: Server, azure: Server, hub: str, keep_alive_s: int
) -> None:
    refused(azure, hub, UNAVAILABLE, version=4, keep_alive_s=keep_alive_s)
    with MqttClient(server, hub, version=4, keep_alive_s=keep_alive_s) as client:
        client.ping()


@pytest.mark.parametrize("keep_alive_s", [1, 180])
def test_keep_alive_of_version_4_that_azure_takes(azure: Server, hub: str, keep_alive_s: int) -> None:
    with MqttClient(azure, hub, version=4, keep_alive_s=keep_alive_s) as client:
        client.ping()


@pytest.mark.parametrize(("wanted", "told"), [(1, None), (180, None), (0, 180), (181, 180), (65535, 180)])
def test_client_of_version_5_is_told_its_keep_alive(
    server: Server, azure: Server, hub: str, wanted: int, told: int | None
) -> None:
    for each in (server, azure):
        with MqttClient(each, hub, keep_alive_s=wanted) as client:
            assert client.connack.properties.server_keep_alive_s == told


def test_message_of_qos_0_for_a_topic_of_other_servers_is_dropped_and_by_azure_refused(
    server: Server, azure: Server, start_server: StartServer, hub: str, version: int
) -> None:
    """Who is dropped does not notice: no filter that begins with a wildcard would have shown it anyway [4.7.2]."""
    with MqttClient(server, hub, version=version) as client:
        client.subscribe("#", "+/+")
        client.publish("$SYS/uptime", b"1", 0)
        client.publish("site/door", b"2", 0)
        assert [message.payload for message in client.heard()] == [b"2"]
    for each in (azure, start_server(*settings(mqtt_reserved_topics="refuse"))):
        with MqttClient(each, hub, version=version) as client:
            client.publish("$SYS/uptime", b"1", 0)
            assert client.ended().code == (TOPIC_INVALID if version == 5 else None)


def test_retain_is_kept_ignored_or_refused(server: Server, azure: Server, start_server: StartServer, hub: str) -> None:
    """In 3.1.1, which knows no server without it, never the last."""
    for each, kept in ((server, True), (start_server(*settings(mqtt_retain="ignore")), False)):
        with (
            MqttClient(each, hub, groups=["g"]) as subscriber,
            MqttClient(each, hub) as newer,
            MqttClient(each, hub, version=4) as older,
        ):
            for client in (newer, older):
                told = client.connack.properties.retain_available
                assert told == (0 if client.version == 5 and not kept else None)
                client.send(Publish("g", b"x", 0, retain=True))
                message = subscriber.message()
                assert (message.payload, message.retain) == (b"x", False)
        with MqttClient(each, hub) as late:
            late.subscribe("g")
            assert [(one.payload, one.retain) for one in late.heard()] == ([(b"x", True)] if kept else [])

    with MqttClient(azure, hub, groups=["g"]) as subscriber, MqttClient(azure, hub) as newer:
        newer.send(Publish("g", b"x", 0, retain=True))
        assert newer.ended().code == RETAIN_UNSUPPORTED
        with MqttClient(azure, hub, version=4) as older:
            older.send(Publish("g", b"y", 0, retain=True))
            assert subscriber.message().payload == b"y"


def test_will_that_is_to_be_retained_is_taken_or_refused(server: Server, azure: Server, hub: str) -> None:
    will = Will("g", b"gone", 1, True)
    refused(azure, hub, RETAIN_UNSUPPORTED, will=will)
    for each, version in ((server, 5), (server, 4), (azure, 4)):
        with MqttClient(each, hub, groups=["g"]) as subscriber:
            with MqttClient(each, hub, version=version, will=will) as client:
                client.drop()
            message = subscriber.message()
            assert (message.payload, message.retain) == (b"gone", False)


def test_single_setting_goes_before_the_preset(start_server: StartServer, hub: str) -> None:
    server = start_server(*settings(mqtt_compatibility="azure", mqtt_keep_alive="any", mqtt_client_ids="lenient"))
    with MqttClient(server, hub, version=4, client_id="a-b", keep_alive_s=0) as client:
        client.ping()
    refused(server, hub, RETAIN_UNSUPPORTED, will=Will("g", b"", 0, True))


def test_what_cannot_be_chosen_is_announced_as_absent(server: Server, azure: Server, hub: str) -> None:
    for each in (server, azure):
        with MqttClient(each, hub) as client:
            told = client.connack.properties
            absent = (told.retain_available, told.wildcard_available, told.shared_available)
            assert absent == ((None, None, None) if each is server else (0, 0, 0))
            assert (told.maximum_qos, told.subscription_ids_available) == (None, None)
            assert (told.receive_maximum, told.maximum_packet_size) == (1024, 1 << 20)
            assert told.topic_alias_maximum == (16 if each is server else None)


# Who may go on with a session


def test_anybody_may_take_sessions_over_as_at_the_service(azure: Server, hub: str, version: int) -> None:
    """The session keeps its first user, and its roles."""
    with (
        JsonClient(azure, hub, groups=["g"]) as other,
        MqttClient(azure, hub, version=version, user="owner", clean=False, expiry_s=30) as owner,
        owner.again(user="other", roles=[]) as back,
    ):
        assert back.resumed
        assert owner.ended().close_code == 1000
        back.publish("g")
        assert other.receive()["fromUserId"] == "owner"
    close_all(azure, hub)


# What a payload of 3.1.1 is


def test_payload_of_version_4_is_text_where_it_can_be(azure: Server, hub: str) -> None:
    with (
        JsonClient(azure, hub, groups=["g"]) as other,
        MqttClient(azure, hub, groups=["g"]) as subscriber,
        MqttClient(azure, hub, version=4) as publisher,
    ):
        for payload, kind, data in (("tëxt".encode(), "text", "tëxt"), (b"\xff", "binary", "/w==")):
            publisher.publish("g", payload)
            frame = other.receive()
            assert (frame["dataType"], frame["data"]) == (kind, data)
            assert subscriber.message().properties == NO_PROPERTIES


# Limits


def lasting(server: Server, hub: str, version: int, **options: Any) -> MqttClient:
    """A client that wants its session to wait for it for long."""
    return MqttClient(server, hub, version=version, client_id=hub, clean=False, expiry_s=0xFFFF_FFFF, **options)


def await_end(server: Server, hub: str, client: MqttClient) -> None:
    path = f"{hub}/connections/{client.client_id}"
    wait_until(lambda: rest(server, "HEAD", path).status == 404, "the end of the session")


def test_sessions_last_no_longer_than_they_may(tight: Server, hub: str, version: int) -> None:
    with lasting(tight, hub, version) as client:
        assert client.connack.properties.session_expiry_s == (1 if version == 5 else None)
        client.drop()
    await_end(tight, hub, client)


def test_no_session_lasts_where_none_may(start_server: StartServer, hub: str) -> None:
    server = start_server(*settings(mqtt_session_expiry_s=0))
    with lasting(server, hub, 5) as newer, lasting(server, f"{hub}4", 4) as older:
        assert newer.connack.properties.session_expiry_s == 0
        newer.drop()
        older.drop()
        await_end(server, hub, newer)
        await_end(server, f"{hub}4", older)


def test_client_that_leaves_too_many_publications_open_is_cut_off(tight: Server, hub: str) -> None:
    with MqttClient(tight, hub, client_id="open") as client:
        assert client.connack.properties.receive_maximum == 2
        for packet_id in (1, 2):
            client.send(Publish("g", b"", 2, packet_id=packet_id))
        client.send(Publish("g", b"", 2, packet_id=3))
        assert client.ended().code == RECEIVE_MAXIMUM_EXCEEDED


def test_client_that_acknowledges_nothing_is_cut_off(tight: Server, hub: str, version: int) -> None:
    """As it is with reliable clients of other protocols, once it is too much in bytes."""
    with MqttClient(tight, hub, version=version, client_id="slow", groups=["g"]) as client:
        client.ping()
        for _ in range(11):
            rest(tight, "POST", f"{hub}/groups/g/:send", body=b"x" * 6000)
        assert client.ended().code == (QUOTA_EXCEEDED if version == 5 else None)
    await_end(tight, hub, client)


def test_client_for_which_too_many_messages_wait_is_cut_off(tight: Server, hub: str) -> None:
    narrow = {"receive_maximum": 1}
    with MqttClient(tight, hub, client_id="narrow", groups=["g"], properties=narrow) as client:
        client.ping()
        for number in range(12):
            rest(tight, "POST", f"{hub}/groups/g/:send", body=b"%d" % number)
        assert client.ended().code == QUOTA_EXCEEDED
    await_end(tight, hub, client)


def test_messages_on_their_way_to_a_client_do_not_wait(tight: Server, hub: str, version: int) -> None:
    with MqttClient(tight, hub, version=version, client_id="quick", groups=["g"]) as client:
        client.ping()
        for number in range(30):
            rest(tight, "POST", f"{hub}/groups/g/:send", body=b"%d" % number)
        assert [one.payload for one in client.messages(30)] == [b"%d" % number for number in range(30)]
        client.ping()


def test_socket_without_a_connect_packet_is_closed(tight: Server, hub: str) -> None:
    with MqttClient(tight, hub, client_id="a") as client:
        target = f"/clients/mqtt/hubs/{hub}?access_token={client.token}"
        with RawClient(tight, target, protocols=["mqtt"]) as silent:
            assert silent.status == 101
            assert silent.closed().code == PROTOCOL_ERROR
    await_line(tight, "ConnectionRefused", "CONNECT")

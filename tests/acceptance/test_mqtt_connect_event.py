"""
Who lets MQTT clients in: their tokens alone, an event handler alone, and both together, of which the handler has the
last word. Its code, its reason and its user properties reach the client.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest

from acceptance.mqtt import VERSIONS, MqttClient, close_all, mqtt_target, mqtt_token, refused
from acceptance.servers import Server, StartServer, free_port, running
from acceptance.upstreams import Answer, Heard, Reply, Upstream, await_line, configure, says
from acceptance.wire import JOIN, SEND, RawClient, client_token, rest
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Filter,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
)

V4_CODES: Final = [1, 2, 3, 4, 5]
V5_CODES: Final = [*range(128, 139), 140, 144, 149, 151, *range(153, 158), 159]
"""With which a handler may refuse a client."""

NOT_ALLOWED: Final = {4: [-1, 0, 6, 0x87], 5: [0, 3, 0x8B, 0x8D, 0x8E, 0x92, 0xA2, 256]}
"""Some that it may not use."""

UNSPECIFIED: Final = 0x80
UNAVAILABLE: Final = {4: 3, 5: 0x88}
NOT_AUTHORIZED: Final = {4: 5, 5: 0x87}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which does not wait long before it tries again. Each test has a hub of its own."""
    folder = tmp_path_factory.mktemp("connect")
    with running(folder, "--set", "handler_retries_s=0.01,0.01") as server:
        yield server


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def about(server: Server, hub: str, upstream: Upstream, **properties: Any) -> None:
    """Let a handler decide about the clients of a hub."""
    configure(server, hub, upstream.handler(systemEvents=["connect"]), **properties)


def always(reply: Reply) -> Answer:
    return lambda _: reply


def status(server: Server, hub: str, token: str | None, **options: Any) -> int:
    """What the upgrade of an MQTT client is answered."""
    with RawClient(server, mqtt_target(hub, token), **{"protocols": ["mqtt"], **options}) as client:
        return client.status


# By claims


def test_token_alone_lets_a_client_in_with_what_it_claims(server: Server, hub: str, version: int) -> None:
    """User, roles, and groups by either of the names that they go by."""
    claims: dict[str, Any] = {"user": "u", "roles": [f"{SEND}.g"], "groups": ["g"], "group": ["h", "i"]}
    with MqttClient(server, hub, version=version, **claims) as client:
        assert client.publish("g", b"1") == 0
        for group in ("h", "i"):
            rest(server, "POST", f"{hub}/groups/{group}/:send", body=b"2")
        assert [message.topic for message in client.heard()] == ["g", "h", "i"]
        assert client.subscribe("g") == (0x87 if version == 5 else 0x80,)
        assert rest(server, "HEAD", f"{hub}/users/u").status == 200


def test_single_role_and_single_group_may_be_texts(server: Server, hub: str) -> None:
    token = mqtt_token(server, hub, role=f"{SEND}.g", group="g")
    with MqttClient(server, hub, token=token) as client:
        assert client.publish("g") == 0
        assert [message.topic for message in client.heard()] == ["g"]


def test_token_may_be_shown_in_a_header(server: Server, hub: str, version: int) -> None:
    headers = {"Authorization": f"Bearer {mqtt_token(server, hub, user='u')}"}
    with MqttClient(server, hub, version=version, token="", headers=headers) as client:
        client.ping()
        assert rest(server, "HEAD", f"{hub}/users/u").status == 200


TOKENS: Final[Mapping[str, Callable[[Server, str], str | None]]] = {
    "none": lambda server, hub: None,
    "expired": lambda server, hub: mqtt_token(server, hub, ttl_s=-400),
    "of another key": lambda server, hub: mqtt_token(server, hub, key="k" * 44),
    "of another hub": lambda server, hub: mqtt_token(server, "other"),
    "of another protocol": client_token,
    "no token": lambda server, hub: "x.y.z",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_upgrade_without_a_valid_token_is_answered_401(server: Server, hub: str, kind: str) -> None:
    """Also with a handler that would let everybody in."""
    token = TOKENS[kind](server, hub)
    assert status(server, hub, token) == 401
    with Upstream() as upstream:
        about(server, hub, upstream)
        assert status(server, hub, token) == 401
        assert upstream.events() == []


@pytest.mark.parametrize("protocols", [[], ["mqttv3.1"], ["json.webpubsub.azure.v1"]])
def test_upgrade_that_does_not_offer_mqtt_is_answered_400(server: Server, hub: str, protocols: list[str]) -> None:
    assert status(server, hub, mqtt_token(server, hub), protocols=protocols) == 400


def test_answer_to_the_upgrade_has_nothing_that_confuses_clients(server: Server, hub: str) -> None:
    """A common one takes each header with the word connection for that of the name, if it does not say upgrade."""
    target = mqtt_target(hub, mqtt_token(server, hub))
    with RawClient(server, target, protocols=["other", "mqtt"]) as client:
        assert client.status == 101
        assert client.headers["sec-websocket-protocol"] == "mqtt"
        assert "sec-websocket-extensions" not in client.headers
        for name, value in client.headers.items():
            line = f"{name}: {value}".lower()
            assert "connection" not in line or "upgrade" in line


# By the handler


def test_handler_is_told_all_that_a_client_says(server: Server, hub: str, version: int, upstream: Upstream) -> None:
    about(server, hub, upstream)
    properties = (("b", "2"), ("a", "ü"), ("b", "1"))
    with MqttClient(
        server,
        hub,
        version=version,
        client_id="device",
        username="näme",
        password=b"\x00secret",
        properties={"user_properties": properties},
        query=[("failure", "xxx"), ("failure", "y")],
        headers={"X-Device": "7"},
        user="u",
        roles=[JOIN],
        groups=["g"],
        color=["red", "green"],
        size=7,
    ):
        (event,) = upstream.events()

    body = event.json()
    assert event.get("ce-sessionId") is None
    assert (event.connectionId, event.userId, event.eventName) == ("device", "u", "connect")
    assert event.type == "azure.webpubsub.sys.connect"
    said = [{"name": name, "value": value} for name, value in properties]
    assert body["mqtt"] == {
        "protocolVersion": version,
        "cleanStart": True,
        "username": "näme",
        "password": base64.b64encode(b"\x00secret").decode(),
        "userProperties": said if version == 5 else None,
    }
    assert body["claims"]["sub"] == ["u"]
    assert body["claims"]["role"] == [JOIN]
    assert body["claims"]["webpubsub.group"] == ["g"]
    assert (body["claims"]["color"], body["claims"]["size"]) == (["red", "green"], ["7"])
    assert body["query"]["failure"] == ["xxx", "y"]
    assert body["headers"]["X-Device"] == ["7"]
    assert (body["subprotocols"], body["clientCertificates"]) == (["mqtt"], [])
    assert "access_token" not in body["query"]


def test_handler_is_told_what_a_client_does_not_say(server: Server, hub: str, version: int, upstream: Upstream) -> None:
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version, clean=False):
        (event,) = upstream.events()
    assert event.get("ce-userId") is None
    assert event.json()["mqtt"] == {
        "protocolVersion": version,
        "cleanStart": False,
        "username": None,
        "password": None,
        "userProperties": None,
    }
    close_all(server, hub)


def test_handler_alone_lets_clients_in(server: Server, hub: str, version: int, upstream: Upstream) -> None:
    """By user name and password, where the hub lets clients without a token come as far as that."""

    def decide(heard: Heard) -> Reply:
        said = heard.json()["mqtt"]
        if (said["username"], said["password"]) != ("device", base64.b64encode(b"secret").decode()):
            return says(401, {"mqtt": {"code": 4 if said["protocolVersion"] == 4 else 0x86}})
        return says(200, {"userId": "known", "roles": [f"{SEND}.g"], "groups": ["g"]})

    upstream.answer = decide
    about(server, hub, upstream, anonymousConnectPolicy="allow")
    said: dict[str, Any] = {"version": version, "token": "", "username": "device"}
    refused(server, hub, 4 if version == 4 else 0x86, **said, password=b"guess")
    refused(server, hub, 4 if version == 4 else 0x86, **said)
    with MqttClient(server, hub, **said, password=b"secret") as client:
        assert client.publish("g", b"x") == 0
        assert [message.payload for message in client.heard()] == [b"x"]
        assert client.subscribe("h") == (0x87 if version == 5 else 0x80,)
        assert rest(server, "HEAD", f"{hub}/users/known").status == 200


def test_client_without_a_token_needs_a_hub_that_allows_it(server: Server, hub: str, upstream: Upstream) -> None:
    about(server, hub, upstream, anonymousConnectPolicy="deny")
    assert status(server, hub, None) == 401
    about(server, hub, upstream, anonymousConnectPolicy="allow")
    with MqttClient(server, hub, token="") as client:
        assert client.subscribe("g") == (0x87,)


# By both


def test_handler_has_the_last_word(server: Server, hub: str, version: int, upstream: Upstream) -> None:
    """User, roles and groups of its answer take the place of those of the token."""
    upstream.answer = always(says(200, {"userId": "named", "roles": [f"{SEND}.g"], "groups": ["g"]}))
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version, user="u", roles=[JOIN], groups=["h"]) as client:
        assert upstream.events()[0].userId == "u"
        assert client.subscribe("i") == (0x87 if version == 5 else 0x80,)
        assert client.publish("g") == 0
        assert [message.topic for message in client.heard()] == ["g"]
        assert rest(server, "HEAD", f"{hub}/users/named").status == 200
        assert rest(server, "HEAD", f"{hub}/users/u").status == 404
        assert rest(server, "HEAD", f"{hub}/groups/h").status == 404


@pytest.mark.parametrize("answer", [Reply(204), Reply(200), says(200, {}), says(202, {"mqtt": None})])
def test_handler_that_names_nothing_leaves_it_to_the_token(
    server: Server, hub: str, version: int, upstream: Upstream, answer: Reply
) -> None:
    upstream.answer = always(answer)
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version, user="u", groups=["g"]) as client:
        assert client.publish("g") == 0
        assert [message.topic for message in client.heard()] == ["g"]
        assert rest(server, "HEAD", f"{hub}/users/u").status == 200


def test_user_properties_of_the_handler_are_in_the_connack(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    """Of a new session, and of one that goes on."""
    pairs = (("a", "1"), ("b", "ü"), ("a", "2"))
    said = [{"name": name, "value": value} for name, value in pairs]
    upstream.answer = always(says(200, {"subprotocol": "mqtt", "mqtt": {"userProperties": said}}))
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version, clean=False, expiry_s=30) as client, client.again() as back:
        assert back.resumed
        for each in (client, back):
            assert each.connack.properties.user_properties == (pairs if version == 5 else ())
    close_all(server, hub)


def test_handler_is_asked_for_a_session_that_goes_on_but_changes_nothing(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    answers = iter([{"userId": "first", "roles": [SEND], "groups": ["g"]}, {"userId": "first", "roles": [JOIN]}])
    upstream.answer = lambda _: says(200, next(answers))
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version, clean=False, expiry_s=30) as client, client.again() as back:
        assert back.resumed
        assert len(upstream.events()) == 2
        assert back.publish("g") == 0
        assert back.subscribe("h") == (0x87 if version == 5 else 0x80,)
        assert [message.topic for message in back.heard()] == ["g"]
    close_all(server, hub)


def test_client_that_the_handler_refuses_does_not_end_the_session_that_is_there(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    answers = iter([Reply(204), says(403)])
    upstream.answer = lambda _: next(answers)
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version) as client:
        refused(server, hub, NOT_AUTHORIZED[version], version=version, client_id=client.client_id)
        client.ping()


def test_names_that_are_no_topics_are_left_out_of_the_groups_of_an_answer(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    upstream.answer = always(says(200, {"groups": ["a/#", "g", "$own"]}))
    about(server, hub, upstream)
    with MqttClient(server, hub, version=version) as client:
        client.publish("g")
        assert [message.topic for message in client.heard()] == ["g"]
        await_line(server, client.client_id, "GroupsLeftOut")


# Refusals


def test_each_code_of_the_handler_reaches_the_client(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    """With its words, in 5.0. Whatever the status is, and at once: one that names a code is not asked again."""
    about(server, hub, upstream)
    pairs = [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]
    for code in V4_CODES if version == 4 else V5_CODES:
        for failure in (400, 401, 503):
            before = len(upstream.events())
            upstream.answer = always(
                says(failure, {"mqtt": {"code": code, "reason": f"because {code}", "userProperties": pairs}})
            )
            connack = refused(server, hub, code, version=version)
            wanted = Properties(reason_string=f"because {code}", user_properties=(("a", "1"), ("a", "2")))
            assert connack.properties == (wanted if version == 5 else NO_PROPERTIES)
            assert len(upstream.events()) == before + 1


def test_code_that_is_none_of_its_version_is_an_unspecified_error(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    about(server, hub, upstream)
    for code in NOT_ALLOWED[version]:
        for failure, wanted in ((400, 5), (503, 3)):
            upstream.answer = always(says(failure, {"mqtt": {"code": code}}))
            refused(server, hub, UNSPECIFIED if version == 5 else wanted, version=version)


BODIES: Final = [b"", b"not JSON", b"[]", b"{}", b'{"mqtt": 1}', b'{"mqtt": {}}', b'{"mqtt": {"code": "5"}}']


@pytest.mark.parametrize("body", BODIES)
def test_refusal_without_a_code_is_told_by_its_status(
    server: Server, hub: str, version: int, upstream: Upstream, body: bytes
) -> None:
    about(server, hub, upstream)
    for failure, newer, older in (
        (400, 0x86, 4),
        (401, 0x87, 5),
        (403, 0x87, 5),
        (404, 0x88, 3),
        (429, 0x97, 3),
        (500, 0x88, 3),
    ):
        upstream.answer = always(Reply(failure, body, [("Content-Type", "application/json")]))
        refused(server, hub, newer if version == 5 else older, version=version)


@pytest.mark.parametrize("answer", [says(200, b"not JSON"), says(200, {"groups": "g"}), says(200, {"userId": 7})])
def test_answer_that_makes_no_sense_keeps_the_client_out(
    server: Server, hub: str, version: int, upstream: Upstream, answer: Reply
) -> None:
    upstream.answer = always(answer)
    about(server, hub, upstream)
    refused(server, hub, UNAVAILABLE[version], version=version)


def test_answer_that_names_another_subprotocol_keeps_the_client_out(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    """For which 5.0 has a code of its own, since trying again does not help."""
    upstream.answer = always(says(200, {"subprotocol": "json.webpubsub.azure.v1"}))
    about(server, hub, upstream)
    refused(server, hub, {4: 3, 5: 0x83}[version], version=version)


def test_handler_that_cannot_be_reached_keeps_clients_out(server: Server, hub: str, version: int) -> None:
    configure(server, hub, {"urlTemplate": f"http://127.0.0.1:{free_port()}/", "systemEvents": ["connect"]})
    client_id = f"unreached{version}"
    refused(server, hub, UNAVAILABLE[version], version=version, client_id=client_id)
    assert "event handler" in await_line(server, client_id, "ConnectionRefused")


def test_handler_that_does_not_answer_in_time_keeps_clients_out(
    start_server: StartServer, hub: str, upstream: Upstream
) -> None:
    server = start_server("--set", "handler_timeout_s=0.5")
    upstream.answer = upstream.never
    about(server, hub, upstream)
    refused(server, hub, UNAVAILABLE[5])


def test_packets_behind_the_connect_packet_wait_for_the_handler(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    """A client need not wait for its CONNACK."""
    about(server, hub, upstream)
    behind = (Subscribe(1, (Filter("g", 1),)), Publish("g", b"early", 1, packet_id=2), Pingreq())
    with MqttClient(server, hub, version=version, behind=behind) as client:
        assert client.expect(Suback).codes == (1,)
        assert client.expect(Puback).packet_id == 2
        assert client.message().payload == b"early"
        client.expect(Pingresp)

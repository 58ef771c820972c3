"""What MQTT clients may do by the roles of their tokens, and by what REST grants and revokes while they are there."""

from typing import Any, Final

import pytest

from acceptance.mqtt import EVENTS, SERVER_MESSAGES, VERSIONS, Ended, MqttClient
from acceptance.servers import Server
from acceptance.upstreams import await_line
from acceptance.wire import JOIN, SEND, JsonClient, rest

NOT_AUTHORIZED: Final = 0x87
NO_SUCH_SUBSCRIPTION: Final = 0x11
FILTER_INVALID: Final = 0x8F
TOPIC_INVALID: Final = 0x90


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def code_of(version: int, code: int) -> int:
    """A code of a SUBACK, of which 3.1.1 has but one."""
    return code if version == 5 else 0x80


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscription_without_the_role_is_refused_alone(server: Server, hub: str, version: int, qos: int) -> None:
    """Others in the same packet are not, and the client stays."""
    no = code_of(version, NOT_AUTHORIZED)
    with MqttClient(server, hub, version=version, roles=[f"{JOIN}.g", f"{JOIN}.i"]) as client:
        assert client.subscribe("g", "h", "i", qos=qos) == (qos, no, qos)
        for group in ("g", "h", "i"):
            rest(server, "POST", f"{hub}/groups/{group}/:send", body=b"1")
        assert [message.topic for message in client.heard()] == ["g", "i"]


def test_membership_stays_where_the_role_to_leave_is_missing(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version, roles=[f"{JOIN}.h"], groups=["g", "h"]) as client:
        codes = client.unsubscribe("g", "h", "h")
        assert codes == ((NOT_AUTHORIZED, 0, NO_SUCH_SUBSCRIPTION) if version == 5 else ())
        for group in ("g", "h"):
            rest(server, "POST", f"{hub}/groups/{group}/:send", body=b"1")
        assert [message.topic for message in client.heard()] == ["g"]


def test_publication_with_qos_0_without_the_role_ends_the_connection(server: Server, hub: str, version: int) -> None:
    with (
        JsonClient(server, hub, groups=["g"]) as other,
        MqttClient(server, hub, version=version, roles=[JOIN]) as client,
    ):
        client.publish("g", b"x", 0)
        ended = client.ended()
        assert (ended.code, ended.close_code) == (NOT_AUTHORIZED if version == 5 else None, 1000)
        assert other.heard() == []


@pytest.mark.parametrize("qos", [1, 2])
def test_publication_without_the_role_is_answered_and_dropped(server: Server, hub: str, version: int, qos: int) -> None:
    """In 3.1.1 the answer cannot but be a good one, to the end of the exchange."""
    with (
        JsonClient(server, hub, groups=["g", "h"]) as other,
        MqttClient(server, hub, version=version, roles=[JOIN, f"{SEND}.h"]) as client,
    ):
        for _ in range(2):
            assert client.publish("g", b"x", qos) == (NOT_AUTHORIZED if version == 5 else 0)
        assert client.publish("h", b"y", qos) == 0
        assert [frame["group"] for frame in other.heard()] == ["h"]
        assert client.goodbye() == Ended(None, None, 1000)


def test_roles_of_one_kind_do_not_give_the_other(server: Server, hub: str, version: int) -> None:
    no = code_of(version, NOT_AUTHORIZED)
    with MqttClient(server, hub, version=version, roles=[SEND]) as client:
        assert client.subscribe("g") == (no,)
        assert client.publish("g") == 0
    with MqttClient(server, hub, version=version, roles=[JOIN]) as client:
        assert client.subscribe("g") == (1,)
        assert client.publish("g") == (NOT_AUTHORIZED if version == 5 else 0)


def test_star_in_a_role_is_for_one_segment_between_dots_and_a_slash_is_no_end_of_one(
    server: Server, hub: str, version: int
) -> None:
    no = code_of(version, NOT_AUTHORIZED)
    roles = ["webpubsub.joinLeaveGroups.site/*", "webpubsub.sendToGroups.site.*.temperature"]
    with MqttClient(server, hub, version=version, roles=roles) as client:
        assert client.subscribe("site/a", "site/a/b", "site/a.b", "site", "other/a") == (1, 1, no, no, no)
    with MqttClient(server, hub, roles=roles) as client:
        for topic, code in (
            ("site.a.temperature", 0),
            ("site.a/b.temperature", 0),
            ("site.a.b.temperature", NOT_AUTHORIZED),
            ("site.a.humidity", NOT_AUTHORIZED),
        ):
            assert client.publish(topic) == code


def test_topics_of_the_service_need_no_role(server: Server, hub: str, version: int) -> None:
    topics = (SERVER_MESSAGES, f"{EVENTS}/ev/succeeded", f"{EVENTS}/ev/failed")
    with MqttClient(server, hub, version=version, roles=[]) as client:
        assert client.subscribe(*topics, qos=2) == (2, 2, 2)
        assert client.unsubscribe(*topics) == ((0, 0, 0) if version == 5 else ())
        send = rest(server, "POST", f"{hub}/:send", body=b"1")
        assert send.status == 202
        (message,) = client.heard()
        assert (message.topic, message.qos) == (SERVER_MESSAGES, 1)


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("a+", FILTER_INVALID),
        ("a/#/b", FILTER_INVALID),
        (" ", FILTER_INVALID),
        ("x" * 1025, FILTER_INVALID),
        ("$own", FILTER_INVALID),
        ("$webpubsub/other", FILTER_INVALID),
        (f"{EVENTS}/ev", FILTER_INVALID),
    ],
)
def test_filters_that_are_not_offered_are_refused_alone(
    server: Server, hub: str, version: int, topic: str, code: int
) -> None:
    with MqttClient(server, hub, version=version) as client:
        assert client.subscribe("g", topic, "h") == (1, code_of(version, code), 1)


@pytest.mark.parametrize("topic", ["$own", "$webpubsub/other", SERVER_MESSAGES, " ", "x" * 1025, f"{EVENTS}/a/b"])
def test_topics_that_nobody_may_publish_to(server: Server, hub: str, version: int, topic: str) -> None:
    v5 = version == 5
    with MqttClient(server, hub, version=version) as client:
        for qos in (1, 2):
            assert client.publish(topic, b"x", qos) == (TOPIC_INVALID if v5 else 0)
        client.publish(topic, b"x", 0)
        if topic == "$own":
            client.ping()
        else:
            ended = client.ended()
            assert (ended.code, ended.close_code) == ((TOPIC_INVALID, 1000) if v5 else (None, 1002))


# What REST changes


def change(server: Server, hub: str, method: str, permission: str, client: MqttClient, group: str) -> int:
    path = f"{hub}/permissions/{permission}/connections/{client.client_id}"
    return rest(server, method, path, query=[("targetName", group)]).status


def test_rights_are_granted_and_revoked_while_a_client_is_there(server: Server, hub: str, version: int) -> None:
    no, dropped = code_of(version, NOT_AUTHORIZED), NOT_AUTHORIZED if version == 5 else 0
    with (
        JsonClient(server, hub, groups=["g"]) as other,
        MqttClient(server, hub, version=version, roles=[]) as client,
    ):
        assert client.subscribe("g") == (no,)
        assert client.publish("g", b"1") == dropped
        for permission in ("joinLeaveGroup", "sendToGroup"):
            assert change(server, hub, "HEAD", permission, client, "g") == 404
            assert change(server, hub, "PUT", permission, client, "g") == 200
            assert change(server, hub, "HEAD", permission, client, "g") == 200
        assert client.subscribe("g", "h") == (1, no)
        assert client.publish("g", b"2", content_type="application/json") == 0
        for permission in ("joinLeaveGroup", "sendToGroup"):
            assert change(server, hub, "DELETE", permission, client, "g") == 204
        assert client.subscribe("g") == (no,)
        assert client.publish("g", b"3") == dropped
        # Nobody leaves a group because the right to join it is gone.
        assert [message.payload for message in client.heard()] == [b"2"]
        assert len(other.heard()) == 1


def test_right_that_a_role_gives_may_be_revoked(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version) as client:
        assert change(server, hub, "DELETE", "joinLeaveGroup", client, "g") == 204
        assert client.subscribe("g", "h") == (code_of(version, NOT_AUTHORIZED), 1)


def test_refusal_for_a_role_is_in_the_log_with_what_to_do(server: Server, hub: str, version: int) -> None:
    said: dict[str, Any] = {"version": version, "roles": []}
    with MqttClient(server, hub, **said) as client:
        client.subscribe("secret garden")
        line = await_line(server, "RequestRefused", client.client_id)
        assert "secret garden" in line
        assert "roles" in line

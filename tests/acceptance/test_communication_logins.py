"""
Communication users at hubs, over real sockets: one token for both, and what takes it back closes their connections.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from acceptance.communication import Service, V, call, first_service, introspect, quoted, service_of
from acceptance.mqtt import MqttClient, mqtt_target
from acceptance.servers import Server, running, wait_until
from acceptance.wire import RELIABLE, Closed, JsonClient, RawClient, client_target, client_token, connect_status
from hubwire.protocols.mqtt.packets import Publish

OVER = "The access token was revoked."
GONE = Closed(1008, OVER)
JOIN = "webpubsub.joinLeaveGroup"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Its log must name no user and have no token."""
    with running(tmp_path_factory.mktemp("logins"), "--log-level", "debug") as server:
        assert server.cli("hub", "set", "open", "--identities", "default", "--identity-roles", JOIN).returncode == 0
        yield server
    assert "8:acs:" not in server.log()
    assert "eyJ" not in server.log()


@pytest.fixture(scope="module")
def service(server: Server) -> Service:
    return first_service(server)


def another(server: Server, name: str) -> Service:
    """A service of its own."""
    assert server.cli("communication", "create", name).returncode == 0
    keys = json.loads(server.cli("communication", "keys", name, "--json").stdout)
    return service_of(server, keys["primaryConnectionString"], server.port)


class User:
    """A new user of a service, with a token."""

    def __init__(self, service: Service, *scopes: str) -> None:
        self.service = service
        made = call(service, "POST", "/identities" + V, {"createTokenWithScopes": list(scopes or ("chat",))}).json()
        self.id: str = made["identity"]["id"]
        self.token: str = made["accessToken"]["token"]

    def revoke(self) -> None:
        path = f"/identities/{quoted(self.id)}/:revokeAccessTokens{V}"
        assert call(self.service, "POST", path).status == 204

    def delete(self) -> None:
        assert call(self.service, "DELETE", f"/identities/{quoted(self.id)}{V}").status == 204

    def issue(self) -> str:
        path = f"/identities/{quoted(self.id)}/:issueAccessToken{V}"
        return str(call(self.service, "POST", path, {"scopes": ["chat"]}).json()["token"])


def refusals(server: Server) -> list[str]:
    """What the log has of them."""
    return [line for line in server.log().splitlines() if "ConnectionRefused" in line]


def assert_refused(server: Server, hub: str, token: str, reason: str) -> None:
    """With a status, and with the reason in the log."""
    before = len(refusals(server))
    assert connect_status(server, hub, token) == 401
    # Those of others may come late, too.
    wait_until(lambda: any(reason in line for line in refusals(server)[before:]), f"{reason!r} in the log")


def test_hub_takes_no_token_of_a_user_by_itself(server: Server, service: Service) -> None:
    user = User(service)

    assert_refused(server, "closed", user.token, "communicationIdentity is off")
    assert user.token not in server.log()
    assert user.id not in server.log()


def test_user_is_connected_under_its_id(server: Server, service: Service) -> None:
    user = User(service)

    with JsonClient(server, "open", token=user.token) as client:
        assert client.connected["userId"] == user.id
        client.join("g")
        refused = client.publish("g", "x")
        assert (refused["success"], refused["error"]["name"]) == (False, "Forbidden")


def test_token_comes_in_the_header_and_from_simple_clients_too(server: Server, service: Service) -> None:
    user = User(service)
    headers = {"Authorization": f"Bearer {user.token}"}

    with RawClient(server, client_target("open", None), headers=headers) as client:
        assert client.status == 101
        user.revoke()
        assert client.closed() == GONE


def test_token_that_is_not_good_is_refused_and_the_log_says_why(server: Server, service: Service) -> None:
    user, caller = User(service), User(service, "voip")
    foreign = User(another(server, "acs-foreign"))
    head, payload, signature = user.token.split(".")
    revoked, deleted = User(service), User(service)
    revoked.revoke()
    deleted.delete()

    for token, reason in (
        (caller.token, "token does not have the scope chat"),
        (foreign.token, "token is of another service"),
        (f"{head}.{caller.token.split('.')[1]}.{signature}", "token is signed with another key"),
        (f"{head}.{payload}.{signature[:-8]}AAAAAAAA", "token is signed with another key"),
        (revoked.token, "token was revoked"),
        (deleted.token, "token is of a user that is gone"),
    ):
        assert_refused(server, "open", token, reason)
    assert connect_status(server, "open", user.token) == 101
    assert connect_status(server, "open", revoked.issue()) == 101


Ending = Callable[[Server, User], None]


def by_command(verb: str) -> Ending:
    def end(server: Server, user: User) -> None:
        assert server.cli("identity", verb, user.id).returncode == 0

    return end


ENDINGS: dict[str, Ending] = {
    "revoke": lambda _, user: user.revoke(),
    "delete": lambda _, user: user.delete(),
    "revoke by command": by_command("revoke"),
    "delete by command": by_command("delete"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_taking_a_token_back_closes_its_connections_for_good(server: Server, service: Service, ending: str) -> None:
    """Also the one that has lost its socket; and those of nobody else."""
    user, other = User(service), User(service)
    with contextlib.ExitStack() as stack:
        ordinary = stack.enter_context(JsonClient(server, "open", token=client_token(server, "open", user=user.id)))
        neighbour = stack.enter_context(JsonClient(server, "open", token=other.token))
        client = stack.enter_context(JsonClient(server, "open", token=user.token, protocol=RELIABLE))
        away = stack.enter_context(JsonClient(server, "open", token=user.token, protocol=RELIABLE))
        away.lose()

        ENDINGS[ending](server, user)

        assert client.closed() == GONE
        assert client.receive() == {"type": "system", "event": "disconnected", "message": OVER}
        for gone in (client, away):
            target = client_target("open", user.token, gone.recovery())
            with RawClient(server, target, protocols=[RELIABLE]) as recovering:
                assert recovering.status == 101
                assert recovering.closed().code == 1008
        assert connect_status(server, "open", user.token) == 401
        assert not introspect(service, server, user.token).json()["active"]
        assert ordinary.heard() == neighbour.heard() == []


def test_key_that_is_replaced_and_service_that_is_deleted_close_connections(server: Server) -> None:
    service = another(server, "acs-short")
    assert server.cli("hub", "set", "short", "--identities", "ACS-short").returncode == 0
    keys = json.loads(server.cli("communication", "keys", "acs-short", "--json").stdout)
    by_secondary = service_of(server, keys["secondaryConnectionString"], server.port)
    first, second = User(service), User(by_secondary)

    with (
        JsonClient(server, "short", token=first.token) as of_primary,
        JsonClient(server, "short", token=second.token) as of_secondary,
    ):
        assert server.cli("communication", "rotate", "acs-short", "primary").returncode == 0
        assert of_primary.closed() == GONE
        assert connect_status(server, "short", first.token) == 401
        assert of_secondary.heard() == []

        assert server.cli("communication", "delete", "acs-short").returncode == 0
        assert of_secondary.closed() == GONE
    assert_refused(server, "short", second.token, "there is no communication service ACS-short")


@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_client_is_let_in_and_told_when_its_token_is_revoked(
    server: Server, service: Service, version: int
) -> None:
    user = User(service)
    with (
        MqttClient(server, "open", version=version, token=user.token, clean=False, expiry_s=600) as client,
        MqttClient(server, "open") as other,
    ):
        client.subscribe("news")
        other.publish("news", b"hello")
        message = client.expect(Publish)
        assert (message.topic, message.payload) == ("news", b"hello")

        user.revoke()

        ended = client.ended()
        assert (ended.code, ended.close_code) == ((0x87, 1000) if version == 5 else (None, 1000))
        other.ping()
    with client.again(token=user.issue()) as back:
        assert not back.resumed
    revoked = User(service)
    revoked.revoke()
    with RawClient(server, mqtt_target("open", revoked.token), protocols=["mqtt"]) as refused:
        assert refused.status == 401


def test_setting_is_shown_and_taken_away(server: Server, service: Service) -> None:
    user = User(service)
    assert server.cli("hub", "set", "brief", "--identities", "default").returncode == 0
    assert "identities  default (scopes chat)" in server.cli("hub", "show", "brief").stdout
    with JsonClient(server, "brief", token=user.token) as client:
        assert server.cli("hub", "set", "brief", "--no-identities").returncode == 0
        assert client.heard() == [], "it ends nobody"
    assert connect_status(server, "brief", user.token) == 401
    shown: dict[str, Any] = json.loads(server.cli("hub", "show", "brief", "--json").stdout)
    assert "communicationIdentity" not in shown["properties"]

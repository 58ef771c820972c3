"""Tools that dial in: who may, and what the others are answered."""

import logging
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from doubles import HUB, KEYS, Directory, Keys, head
from hubwire.auth import jwt
from hubwire.auth.bearers import Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.tunnel_callers import TunnelCallers
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.tunnel_handshake import TunnelEntrance, TunnelOpening, is_tunnel_path
from hubwire.model.errors import Forbidden, NotFound, Unavailable
from hubwire.model.hubs import HubSettings
from hubwire.model.names import HubKey
from hubwire.model.network import NetworkRules
from hubwire.model.resources import ResourcePolicy
from hubwire.upstream.tunnel import Tunnels

URL = "/server/tunnel"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class NoIssuer:
    """Nobody is known by a token of an issuer, for a reason that the test may give."""

    def __init__(self) -> None:
        self.fault: Exception = Forbidden("The principal lacks a role.")

    async def caller(self, _token: str, _action: str | None, _scope: str) -> Any:
        raise self.fault


class World:
    """One server without its edge."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.issuer = NoIssuer()
        self.tunnels = Tunnels()
        keys = Keys()
        issuer: Any = self.issuer
        bearers: Bearers = issuer
        callers = TunnelCallers(Principals(keys, (), 0), bearers, Failures(2), keys)
        self.entrance = TunnelEntrance(self.tunnels, callers, self.directory)

    async def decide(
        self, token: str | None = None, *, url: str = URL, hub: str = "chat", **more: str
    ) -> TunnelOpening:
        """An upgrade request with a token that is good, or another one."""
        query = {"hub": hub, **more, "access_token": with_key() if token is None else token}
        return await self.entrance.decide(head(f"{url}?{urlencode(query)}"))

    async def refusal(self, target: str | None = None, **more: Any) -> HandshakeRefused:
        """What is answered instead of 101."""
        target = target or f"{URL}?{urlencode({'hub': 'chat', 'access_token': with_key()})}"
        with pytest.raises(HandshakeRefused) as caught:
            await self.entrance.decide(head(target, **more))
        return caught.value

    def demand(self, **policy: Any) -> None:
        self.directory.policies[HUB.resource] = ResourcePolicy(**policy)


class Wire:
    """A tool that only listens."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.full = False

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)


@pytest.fixture
def world() -> World:
    return World()


def with_key(hub: str = "chat", key: str = KEYS.primary) -> str:
    audience = f"ws://localhost:8080{URL}?hub={hub}"
    return jwt.sign({"aud": audience, "sub": "guid", "exp": time.time() + 60}, key.encode())


WITH_ISSUER = "eyJhbGciOiJSUzI1NiJ9.e30.x"


# Where


@pytest.mark.parametrize(
    "target",
    ["/server/tunnel", "/server/tunnel?hub=chat", "//Server/TUNNEL/", "/server/tunnel/?"],
)
def test_endpoint_is_known_however_it_is_spelled(target: str) -> None:
    assert is_tunnel_path(target)


@pytest.mark.parametrize(
    "target", ["/", "/server", "/server/tunnel/chat", "/tunnel", "/client?x=/server/tunnel", "/server%2Ftunnel", "/api"]
)
def test_other_targets_belong_to_others(target: str) -> None:
    assert not is_tunnel_path(target)


# Who


async def test_tool_with_a_token_of_the_hub_may_come_in(world: World) -> None:
    assert await world.decide() == TunnelOpening(HUB, KEY, "guid", "192.0.2.1")


async def test_target_and_letter_case_of_the_hub_do_not_count(world: World) -> None:
    assert await world.decide(hub="CHAT", target="t1") == TunnelOpening(HUB, KEY, "guid", "192.0.2.1")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_token_in_the_header_counts_and_the_query_wins(world: World, scheme: str) -> None:
    headers = [("Authorization", f"{scheme} {with_key()}")]

    assert (await world.entrance.decide(head(f"{URL}?hub=chat", headers=headers))).user_id == "guid"
    assert (await world.refusal(f"{URL}?hub=chat&access_token=x", headers=headers)).status == 401


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (URL, 400),
        (f"{URL}?hub=", 400),
        (f"{URL}?hub=a%20b", 400),
        (f"{URL}?hub=chat", 401),
        (f"{URL}?hub=chat&access_token=", 401),
        (f"{URL}?hub=chat&access_token=x", 401),
        (f"{URL}?hub=other&access_token={with_key()}", 401),
        (f"{URL}?hub=other&hub=chat&access_token={with_key()}", 401),
        (f"{URL}?hub=chat&access_token={with_key(key='z' * 32)}", 401),
        (f"{URL}?hub=chat&access_token={WITH_ISSUER}", 403),
    ],
)
async def test_whoever_may_not_come_is_answered_a_status(world: World, target: str, status: int) -> None:
    assert (await world.refusal(target)).status == status


@pytest.mark.parametrize(
    ("headers", "without", "method", "status"),
    [
        ([], ["upgrade"], "GET", 400),
        ([], ["sec-websocket-key"], "GET", 400),
        ([], [], "POST", 400),
        ([("Sec-WebSocket-Version", "12")], [], "GET", 426),
    ],
)
async def test_request_that_is_no_upgrade_is_refused_whoever_sends_it(
    world: World, headers: Sequence[tuple[str, str]], without: Sequence[str], method: str, status: int
) -> None:
    assert (await world.refusal(headers=headers, without=without, method=method)).status == status


async def test_role_that_is_missing_is_named_and_an_issuer_that_is_silent_is_503(world: World) -> None:
    target = f"{URL}?hub=chat&access_token={WITH_ISSUER}"
    assert (await world.refusal(target)).text == "The principal lacks a role."

    world.issuer.fault = Unavailable("The issuer does not answer.")

    refused = await world.refusal(target)
    assert (refused.status, refused.headers) == (503, {"Retry-After": "1"})


async def test_address_that_fails_too_often_is_429(world: World) -> None:
    target = f"{URL}?hub=chat&access_token=x"
    assert [(await world.refusal(target)).status for _ in range(3)] == [401, 401, 429]
    assert (await world.refusal(target)).headers == {"Retry-After": "30"}
    assert (await world.decide()).hub == HUB


async def test_reason_of_a_refusal_is_in_the_log_and_not_in_the_answer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        refused = await world.refusal(f"{URL}?hub=other&access_token={with_key()}")

    assert refused.text == "The access token is not valid."
    assert [record.getMessage() for record in caplog.records] == ["token is for another audience"]
    assert "access_token" not in str(vars(caplog.records[0]))


# What a resource demands


async def test_network_rules_are_those_for_connections_of_servers(world: World) -> None:
    world.demand(network=NetworkRules(default=False, allow=frozenset({"ClientConnection", "RESTAPI"})))

    refused = await world.refusal()

    assert (refused.status, "type ServerConnection" in refused.text) == (403, True)
    world.demand(network=NetworkRules(default=False, allow=frozenset({"ServerConnection"})))
    assert (await world.decide()).hub == HUB


async def test_stopped_resource_and_stopping_server_are_503_and_a_resource_that_is_gone_404(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.demand(stopped=True)
    assert (await world.refusal()).status == 503
    world.demand()
    assert (await world.decide()).hub == HUB

    world.entrance.stop()
    assert (await world.refusal()).status == 503

    def gone(_resource: str) -> ResourcePolicy:
        raise NotFound

    other = World()
    monkeypatch.setattr(other.directory, "policy", gone)
    assert (await other.refusal()).status == 404


async def test_resource_that_is_stopped_while_the_token_is_proved_lets_nobody_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(TunnelCallers):
        async def caller(self, token: str, hub: HubKey, host: str, client_ip: str) -> str | None:
            world.demand(stopped=True)
            return None

    monkeypatch.setattr(world.entrance, "_callers", Slow.__new__(Slow))

    assert (await world.refusal()).status == 503


# Inside


async def test_tool_that_is_let_in_is_a_tunnel_of_its_hub(world: World) -> None:
    wire = Wire()

    tunnel = world.entrance.begin(await world.decide(), wire)

    assert (tunnel.hub, world.tunnels.count(HUB), len(wire.sent)) == (HUB, 1, 1)
    world.entrance.stop()
    assert (world.tunnels.count(HUB), wire.closed) == (1, None)

    world.entrance.end()
    assert world.tunnels.count(HUB) == 0
    assert wire.closed == (1001, "The server is shutting down.")


async def test_tunnels_end_with_their_resource(world: World) -> None:
    wire = Wire()
    world.entrance.begin(await world.decide(), wire)

    world.entrance.end_resource("other", "Gone.", for_good=True)
    assert wire.closed is None

    world.entrance.end_resource(HUB.resource, "Gone.", for_good=True)
    assert wire.closed == (1001, "Gone.")


def test_tunnel_is_kept_alive_as_the_clients_of_its_hub_are(world: World) -> None:
    assert world.entrance.keep_alive_s(HUB) == 20

    world.directory.hubs[HUB] = HubSettings(web_socket_keep_alive_interval_in_seconds=7)

    assert world.entrance.keep_alive_s(HUB) == 7

"""Who may dial in to answer the events of a hub."""

from collections.abc import Callable

import pytest

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, resource_id, rsa_key, signed
from auth.test_principals import HOST, HUB, KEYS, Keys
from hubwire.auth import jwt
from hubwire.auth.bearers import Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.tunnel_callers import TunnelCallers
from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, NotFound, Throttled, Unauthorized, Unavailable
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.model.roles import OWNER, READER, Role

KID = "foreign-key"
SCOPE = resource_id(TENANT.subscription_id, "default")


class World:
    """Access keys, and one issuer that is trusted."""

    def __init__(self, *, down: bool = False) -> None:
        self.clock = Clock()
        self.directory = InMemory()
        self.keys = Keys()
        self.demand()
        foreign = ForeignKeys({(ISSUER_URL, KID): rsa_key("foreign").public_key()}, down=down)
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (), 0, self.clock)
        principals = Principals(self.keys, (), 0, self.clock)
        self._callers = TunnelCallers(principals, bearers, Failures(3), self.keys, self.clock)

    def demand(self, *, local_auth: bool = True, entra_auth: bool = True) -> None:
        self.keys.policies["default"] = ResourcePolicy(SCOPE, local_auth, entra_auth)

    def assign(self, role: Role) -> None:
        self.directory.assignments.append(Assignment("id", TENANT.tenant_id, OBJECT_ID, role.id, SCOPE))

    async def caller(self, token: str, hub: HubKey = HUB, ip: str = "10.0.0.1") -> str | None:
        return await self._callers.caller(token, hub, HOST, ip)


@pytest.fixture
def world() -> World:
    return World()


def with_key(key: str = KEYS.primary, hub: str = "chat") -> str:
    audience = f"ws://{HOST}/server/tunnel?hub={hub}"
    return jwt.sign({"aud": audience, "sub": "guid", "exp": NOW + 60}, key.encode())


def with_token(**claims: object) -> str:
    known = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "aud": "https://webpubsub.azure.com"}
    return signed({**known, "exp": NOW + 60, **claims}, rsa_key("foreign"), {"alg": "RS256", "kid": KID})


async def test_access_key_proves_a_caller(world: World) -> None:
    assert await world.caller(with_key()) == "guid"
    assert await world.caller(with_key(KEYS.secondary)) == "guid"


async def test_token_of_an_issuer_proves_a_caller_who_owns_the_service(world: World) -> None:
    """Events hold what clients say; that is more than a reader may know."""
    with pytest.raises(Forbidden):
        await world.caller(with_token())
    world.assign(READER)
    with pytest.raises(Forbidden, match="'Web PubSub Service Owner'"):
        await world.caller(with_token())

    world.assign(OWNER)

    assert await world.caller(with_token()) == OBJECT_ID


@pytest.mark.parametrize(
    "token",
    [
        lambda: "",
        lambda: "x",
        lambda: "a.b.c",
        lambda: with_key("another-key-of-at-least-32-bytes"),
        lambda: with_key(hub="other"),
        lambda: with_token(iss="https://elsewhere"),
        lambda: with_token(aud="https://vault.azure.net"),
        lambda: with_token(exp=NOW - 1),
    ],
)
async def test_whoever_proves_nothing_is_refused_and_told_to_wait_in_the_end(
    world: World, token: Callable[[], str]
) -> None:
    world.assign(OWNER)
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await world.caller(token())
    with pytest.raises(Throttled):
        await world.caller(token())

    with pytest.raises(Unauthorized):
        await world.caller(token(), ip="10.0.0.2")
    assert await world.caller(with_key()) == "guid"


async def test_either_way_to_prove_oneself_can_be_switched_off(world: World) -> None:
    world.assign(OWNER)
    world.demand(local_auth=False)
    with pytest.raises(Unauthorized):
        await world.caller(with_key())
    assert await world.caller(with_token()) == OBJECT_ID

    world.demand(entra_auth=False)
    with pytest.raises(Unauthorized):
        await world.caller(with_token())
    assert await world.caller(with_key()) == "guid"


async def test_resource_that_is_gone_and_issuer_that_does_not_answer_are_told_apart() -> None:
    with pytest.raises(NotFound):
        await World().caller(with_key(), HubKey("gone", "chat"))
    with pytest.raises(Unavailable):
        await World(down=True).caller(with_token())

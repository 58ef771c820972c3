"""Who calls the resource manager: whoever brings a token of an issuer for it."""

import pytest

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key, signed
from hubwire.auth import jwt
from hubwire.auth.bearers import MANAGEMENT, Bearer, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.managers import Managers
from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, Throttled, Unauthorized, Unavailable
from hubwire.model.roles import CONTRIBUTOR, RESOURCE_READER

KID = "foreign-key"
OWN = "https://localhost:8443"
ME = Bearer(TENANT.tenant_id, OBJECT_ID)
SCOPE = "/subscriptions/s/resourceGroups/g"
READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
WRITE = "Microsoft.Resources/subscriptions/resourceGroups/write"


class World:
    """Three failures a minute are taken from an address."""

    def __init__(self, *, down: bool = False) -> None:
        self.clock = Clock()
        self.directory = InMemory()
        foreign = ForeignKeys({(ISSUER_URL, KID): rsa_key("foreign").public_key()}, down=down)
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (OWN,), 0, self.clock, MANAGEMENT)
        self.managers = Managers(bearers, Failures(3), self.clock)

    async def caller(self, authorization: str | None, ip: str | None = "10.0.0.1") -> Bearer:
        return await self.managers.caller(authorization, ip)

    async def fail(self, authorization: str | None = "Bearer x", ip: str | None = "10.0.0.1") -> None:
        with pytest.raises(Unauthorized):
            await self.caller(authorization, ip)

    def assign(self, role_id: str, scope: str) -> None:
        self.directory.assignments.append(Assignment("id", TENANT.tenant_id, OBJECT_ID, role_id, scope))


def with_token(**claims: object) -> str:
    known = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "aud": "https://management.azure.com"}
    return "Bearer " + signed({**known, "exp": NOW + 60, **claims}, rsa_key("foreign"), {"alg": "RS256", "kid": KID})


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    "audience",
    [
        "https://management.azure.com",
        "https://management.azure.com/",
        "https://management.core.windows.net",
        "https://management.core.windows.net/",
    ],
)
async def test_token_for_the_resource_manager_proves_who_it_is(world: World, audience: str) -> None:
    assert await world.caller(with_token(aud=audience)) == ME


async def test_token_for_our_own_url_is_one_of_an_application(world: World) -> None:
    """Clients in JavaScript ask for this one. An ID token for the same audience proves nothing."""
    assert await world.caller(with_token(aud=f"{OWN}/", azp="app")) == ME
    await world.fail(with_token(aud=f"{OWN}/"))


@pytest.mark.parametrize("spelling", ["bearer {}", "BEARER {}", "  Bearer   {}  "])
async def test_scheme_has_any_letter_case_and_space_around_it(world: World, spelling: str) -> None:
    assert await world.caller(spelling.format(with_token().partition(" ")[2])) == ME


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic dXNlcjpwYXNz",
        with_token().replace("Bearer", "Basic"),
        with_token(aud="https://webpubsub.azure.com"),
        with_token(iss="https://elsewhere"),
        with_token(exp=NOW - 1),
        "Bearer " + jwt.sign({"aud": OWN, "exp": NOW + 60}, b"k" * 32),
    ],
)
async def test_whoever_proves_nothing_is_refused(world: World, authorization: str | None) -> None:
    await world.fail(authorization)


async def test_address_that_fails_too_often_is_told_to_wait_and_others_are_not(world: World) -> None:
    for _ in range(3):
        await world.fail()

    with pytest.raises(Throttled):
        await world.caller("Bearer x")
    assert await world.caller(with_token()) == ME
    await world.fail(ip="10.0.0.2")
    world.clock.now += 20
    await world.fail()


@pytest.mark.parametrize(("authorization", "ip"), [(None, "10.0.0.1"), ("Bearer x", None)])
async def test_no_credential_and_no_address_is_no_guess(
    world: World, authorization: str | None, ip: str | None
) -> None:
    for _ in range(10):
        await world.fail(authorization, ip)


async def test_issuer_that_does_not_answer_is_no_failure_of_the_caller() -> None:
    world = World(down=True)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await world.caller(with_token())

    await world.fail()


def test_manager_may_what_the_role_says_at_its_scope_and_below(world: World) -> None:
    with pytest.raises(Forbidden):
        world.managers.check(ME, READ, SCOPE)
    world.assign(RESOURCE_READER.id, SCOPE)

    world.managers.check(ME, READ, SCOPE)
    world.managers.check(ME, "Microsoft.SignalRService/webPubSub/hubs/read", f"{SCOPE}/providers/x")
    with pytest.raises(Forbidden) as refused:
        world.managers.check(ME, WRITE, SCOPE)
    assert refused.value.target == "Authorization"
    assert f"permission to perform {WRITE} at {SCOPE}. It takes the role 'Owner' or 'Contributor'." in (
        refused.value.message
    )
    with pytest.raises(Forbidden):
        world.managers.check(ME, READ, "/subscriptions/s")


def test_manager_sees_what_is_above_and_below_a_role(world: World) -> None:
    assert not world.managers.sees(ME, "/subscriptions/s")
    world.assign(CONTRIBUTOR.id, SCOPE)

    assert world.managers.sees(ME, "/subscriptions/s")
    assert world.managers.sees(ME, f"{SCOPE}/providers/x")
    assert not world.managers.sees(ME, "/subscriptions/t")

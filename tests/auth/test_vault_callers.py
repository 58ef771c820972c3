"""Who calls a Key Vault: whoever brings a token of an issuer for it."""

import pytest

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key, signed
from hubwire.auth.bearers import VAULTS, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.vault_callers import VaultCallers
from hubwire.model.errors import Throttled, Unauthorized, Unavailable
from hubwire.model.vaults import VaultCaller

KID = "foreign-key"
OWN = "api://0.0.1:9443"
ADDRESS = "10.0.0.1"


class World:
    """Three failures a minute are taken from an address."""

    def __init__(self, *, down: bool = False) -> None:
        self.clock = Clock()
        foreign = ForeignKeys({(ISSUER_URL, KID): rsa_key("foreign").public_key()}, down=down)
        bearers = Bearers(InMemory(), None, (ISSUER_URL,), foreign, (), 0, self.clock, VAULTS)
        self.callers = VaultCallers(bearers, Failures(3), self.clock)

    async def caller(self, authorization: str | None, ip: str | None = ADDRESS) -> VaultCaller:
        return await self.callers.caller(authorization, (OWN,), ip)


def with_token(**claims: object) -> str:
    known = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "appid": "x", "exp": NOW + 60}
    token = {**known, "aud": "https://vault.azure.net", **claims}
    return "Bearer " + signed(token, rsa_key("foreign"), {"alg": "RS256", "kid": KID})


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("audience", ["https://vault.azure.net", "https://vault.azure.net/", OWN, f"{OWN}/"])
async def test_token_for_a_vault_is_taken(world: World, audience: str) -> None:
    """For any, or for the one that is asked."""
    assert await world.caller(with_token(aud=audience)) == VaultCaller(TENANT.tenant_id, OBJECT_ID)
    assert await world.caller(with_token(aud=audience, oid=OBJECT_ID.upper())) == VaultCaller(
        TENANT.tenant_id, OBJECT_ID
    )


@pytest.mark.parametrize(
    "audience",
    ["https://management.azure.com", "https://webpubsub.azure.com", "api://0.0.1:9444", "https://0.0.1:9443", "", None],
)
async def test_token_for_somebody_else_is_refused(world: World, audience: object) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(with_token(aud=audience))


@pytest.mark.parametrize("authorization", [None, "", "Basic eDp5", "Bearer", "Bearer x", "Bearer a.b.c"])
async def test_whoever_proves_nothing_is_refused(world: World, authorization: str | None) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(authorization)


async def test_id_token_is_no_access_token_even_for_the_vault_itself(world: World) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(with_token(aud=OWN, appid=None))


async def test_token_out_of_its_time_is_refused(world: World) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(with_token(exp=NOW - 1))


async def test_address_that_failed_too_often_is_slowed_down_and_asking_is_no_failure(world: World) -> None:
    """Every client asks once without a token, to learn how to sign in."""
    for _ in range(20):
        with pytest.raises(Unauthorized):
            await world.caller(None)
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await world.caller("Bearer x")
    with pytest.raises(Throttled):
        await world.caller("Bearer x")
    assert await world.caller(with_token()) == VaultCaller(TENANT.tenant_id, OBJECT_ID)
    with pytest.raises(Unauthorized):
        await world.caller("Bearer x", None)


async def test_issuer_whose_keys_cannot_be_had_is_said() -> None:
    with pytest.raises(Unavailable):
        await World(down=True).caller(with_token())

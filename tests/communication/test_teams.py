"""Teams users, whose tokens are exchanged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.entra import NOW, decoded
from communication.entra_users import APP, OBJECT_ID, TENANT_ID, proofs, user_token
from communication.world import ENTRA, OTHER, PRIMARY, SERVICE, World, opened, with_keys
from hubwire.auth.communication_callers import TEAMS
from hubwire.communication.teams import TeamsUsers
from hubwire.communication.tokens import IssuedToken
from hubwire.model.communication import CommunicationCaller
from hubwire.model.errors import BadRequest, InvalidAccessToken, Unavailable

AUDIENCE = "https://auth.msft.communication.azure.com"
BOTH = "Teams.ManageCalls Teams.ManageChats"
SOMEBODY = "66666666-aaaa-4000-8000-00000000000c"


class Teams(World):
    """With users of Teams."""

    def teams(self, *, down: bool = False, leeway_s: int = 0) -> TeamsUsers:
        return TeamsUsers(self.tokens, proofs(TEAMS, self.clock, down=down, leeway_s=leeway_s), self.clock)

    async def exchange(
        self,
        token: str,
        app_id: str = APP,
        user_id: str = OBJECT_ID,
        caller: CommunicationCaller = PRIMARY,
    ) -> IssuedToken:
        return await self.teams().exchange(SERVICE, caller, token, app_id, user_id)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Teams]:
    async with opened(tmp_path) as world:
        yield Teams(world.store)


def teams_token(**claims: object) -> str:
    return user_token(AUDIENCE, BOTH, **claims)  # type: ignore[arg-type]  # none of them is the name of the key


@pytest.mark.parametrize(
    "token",
    [
        teams_token(),
        teams_token(aud=f"{AUDIENCE}/"),
        teams_token(aud="1fd5118e-2576-4263-8130-9503064c837a"),
        teams_token(scp=f"User.Read {BOTH}"),
        teams_token(appid=None, azp=APP),
        teams_token(appid=APP.upper(), oid=OBJECT_ID.upper()),
    ],
)
async def test_token_is_exchanged_for_one_that_ends_with_it(world: Teams, token: str) -> None:
    issued = await world.exchange(token)

    assert issued.expires_on == int(NOW) + 3000
    claims = decoded(issued.token)
    assert claims["exp"] == int(NOW) + 3000
    assert claims["skypeid"] == f"orgid:{OBJECT_ID}"
    facts = await world.verifier.facts(SERVICE, issued.token)
    assert facts is not None
    assert (facts.user, facts.scopes) == (f"8:orgid:{OBJECT_ID}", ("chat", "voip"))
    world.clock.now = NOW + 3000
    assert not await world.is_good(issued.token)


async def test_ids_are_taken_in_any_case(world: Teams) -> None:
    assert (await world.exchange(teams_token(), APP.upper(), OBJECT_ID.upper())).expires_on > NOW


async def test_exchanged_token_is_good_at_its_service_until_the_key_is_made_anew(world: Teams) -> None:
    """As every other one."""
    by_key = await world.exchange(teams_token())
    by_token = await world.exchange(teams_token(), caller=ENTRA)

    assert not await world.is_good(by_key.token, OTHER)
    assert await world.is_good(by_token.token, with_keys(2, 1))
    assert not await world.is_good(by_key.token, with_keys(2, 1))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "invalid",
        "a.b.c",
        teams_token(exp=NOW - 1),
        teams_token(exp=NOW),
        teams_token(exp=None),
        teams_token(nbf=NOW + 60),
        teams_token(aud="https://communication.azure.com"),
        teams_token(aud="https://communication.azure.com/clients"),
        teams_token(iss="https://login.example/tenant/v2.0"),
        teams_token(oid=None),
        teams_token(scp="Teams.ManageCalls"),
        teams_token(scp="Teams.ManageChats"),
        teams_token(scp="Teams.ManageCallsTeams.ManageChats"),
        teams_token(scp=""),
        teams_token(scp=None, idtyp="app"),
        teams_token(scp=["Teams.ManageCalls", "Teams.ManageChats"]),
        user_token(AUDIENCE, BOTH, key="somebody"),
        teams_token()[:-6] + "AAAAAA",
    ],
)
@pytest.mark.parametrize(("app_id", "user_id"), [(APP, OBJECT_ID), ("", ""), ("wrong", SOMEBODY)])
async def test_token_that_proves_nothing_is_refused_before_anything_else(
    world: Teams, token: str, app_id: str, user_id: str
) -> None:
    with pytest.raises(InvalidAccessToken) as error:
        await world.exchange(token, app_id, user_id)
    assert error.value.target is None


async def test_leeway_does_not_bring_a_token_back_that_is_over(world: Teams) -> None:
    """Its exchange would be over as well."""
    with pytest.raises(InvalidAccessToken):
        await world.teams(leeway_s=300).exchange(SERVICE, PRIMARY, teams_token(exp=NOW - 1), APP, OBJECT_ID)


@pytest.mark.parametrize(
    ("app_id", "user_id", "target"),
    [
        ("", OBJECT_ID, "appId"),
        ("no GUID", OBJECT_ID, "appId"),
        (SOMEBODY, OBJECT_ID, "appId"),
        (OBJECT_ID, APP, "appId"),
        ("", "", "appId"),
        (SOMEBODY, SOMEBODY, "appId"),
        (APP, "", "userId"),
        (APP, "no GUID", "userId"),
        (APP, SOMEBODY, "userId"),
        (APP, TENANT_ID, "userId"),
    ],
)
async def test_ids_of_somebody_else_are_refused_the_application_first(
    world: Teams, app_id: str, user_id: str, target: str
) -> None:
    with pytest.raises(BadRequest) as error:
        await world.exchange(teams_token(), app_id, user_id)
    assert error.value.target == target


async def test_issuer_whose_keys_cannot_be_had_is_said(world: Teams) -> None:
    with pytest.raises(Unavailable):
        await world.teams(down=True).exchange(SERVICE, PRIMARY, teams_token(), APP, OBJECT_ID)

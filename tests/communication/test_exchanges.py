"""Users of Entra and of a Teams extension, whose tokens are exchanged if they are assigned to the service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.entra import NOW
from communication.entra_users import APP, OBJECT_ID, TENANT_ID, proofs, user_token
from communication.world import OTHER, SERVICE, World, opened, with_keys
from hubwire.auth.communication_callers import CLIENTS, TEAMS
from hubwire.communication.assignments import Assignments
from hubwire.communication.exchanges import Exchanges
from hubwire.model.errors import Forbidden, Unauthorized, Unavailable

CLIENTS_URL = "https://communication.azure.com/clients"
TEAMS_URL = "https://auth.msft.communication.azure.com"
GROUP = "77777777-aaaa-4000-8000-00000000000d"
OTHER_TENANT = "99999999-aaaa-4000-8000-000000000009"
EXTENSION = "TeamsExtension.ManageCalls"


class Exchanging(World):
    """With users of a tenant."""

    def exchanges(self, *, down: bool = False) -> Exchanges:
        entra = proofs(CLIENTS, self.clock, down=down, leeway_s=300)
        teams = proofs(TEAMS, self.clock, down=down, leeway_s=300)
        return Exchanges(self.users, Assignments(self.store), entra, teams, self.clock)

    async def assign(self, object_id: str = OBJECT_ID, kind: str = "user", tenant: str = TENANT_ID) -> None:
        body = {"tenantId": tenant, "principalType": kind, "clientIds": [APP]}
        await Assignments(self.store).put_entra(SERVICE, object_id, body)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Exchanging]:
    async with opened(tmp_path) as world:
        exchanging = Exchanging(world.store)
        yield exchanging
        await exchanging.users.close()


def entra_token(permissions: str | None = "Chat", **claims: object) -> str:
    return user_token(CLIENTS_URL, permissions, **claims)  # type: ignore[arg-type]  # none is the name of the key


def teams_token(permissions: str | None = EXTENSION, **claims: object) -> str:
    return user_token(TEAMS_URL, permissions, **claims)  # type: ignore[arg-type]  # none is the name of the key


@pytest.mark.parametrize(
    ("permissions", "scopes"),
    [
        ("Chat", ("chat",)),
        ("VoIP", ("voip",)),
        ("Chat.Join", ("chat.join",)),
        ("Chat.Join.Limited", ("chat.join.limited",)),
        ("VoIP.Join", ("voip.join",)),
        ("VoIP User.Read Chat", ("chat", "voip")),
    ],
)
async def test_permissions_of_the_token_become_scopes(
    world: Exchanging, permissions: str, scopes: tuple[str, ...]
) -> None:
    await world.assign()

    created = await world.exchanges().entra(SERVICE, entra_token(permissions))

    assert created.user.id == f"8:acs:{SERVICE.immutable_id}_wf_{TENANT_ID}_{OBJECT_ID}"
    assert created.token is not None
    assert created.token.expires_on == int(NOW) + 3000
    facts = await world.verifier.facts(SERVICE, created.token.token)
    assert facts is not None
    assert (facts.user, facts.scopes, facts.expires_at) == (created.user.id, scopes, int(NOW) + 3000)
    assert await world.is_good(created.token.token, with_keys(2, 2))


async def test_user_of_entra_is_one_user_that_can_be_revoked_and_deleted(world: Exchanging) -> None:
    await world.assign()
    first = await world.exchanges().entra(SERVICE, entra_token())
    await world.users.revoke(SERVICE, first.user.id)
    second = await world.exchanges().entra(SERVICE, entra_token())
    await world.users.delete(SERVICE, first.user.id)
    third = await world.exchanges().entra(SERVICE, entra_token())

    good = [await world.is_good(one.token.token) for one in (first, second, third) if one.token is not None]
    assert good == [False, False, True]
    assert {first.user.id, second.user.id, third.user.id} == {first.user.id}


@pytest.mark.parametrize(("object_id", "kind"), [(OBJECT_ID, "user"), (GROUP, "group"), (TENANT_ID, "tenant")])
async def test_user_group_or_tenant_that_is_assigned_may_exchange_until_it_is_not(
    world: Exchanging, object_id: str, kind: str
) -> None:
    token = entra_token(groups=[OTHER_TENANT, GROUP])
    with pytest.raises(Forbidden):
        await world.exchanges().entra(SERVICE, token)

    await world.assign(object_id, kind)
    assert (await world.exchanges().entra(SERVICE, token)).token is not None
    with pytest.raises(Forbidden):
        await world.exchanges().entra(OTHER, token)

    await Assignments(world.store).delete_entra(SERVICE, object_id)
    with pytest.raises(Forbidden):
        await world.exchanges().entra(SERVICE, token)


@pytest.mark.parametrize(
    ("object_id", "kind", "tenant"),
    [
        (OBJECT_ID, "group", TENANT_ID),
        (GROUP, "user", TENANT_ID),
        (GROUP, "group", OTHER_TENANT),
        (OBJECT_ID, "user", OTHER_TENANT),
        (OTHER_TENANT, "tenant", OTHER_TENANT),
        (APP, "user", TENANT_ID),
    ],
)
async def test_assignment_of_another_kind_or_tenant_lets_nobody_exchange(
    world: Exchanging, object_id: str, kind: str, tenant: str
) -> None:
    await world.assign(object_id, kind, tenant)

    with pytest.raises(Forbidden) as refused:
        await world.exchanges().entra(SERVICE, entra_token(groups=[GROUP]))
    # The log has the message.
    assert OBJECT_ID not in refused.value.message


@pytest.mark.parametrize(
    "token",
    [
        entra_token(appid=OTHER_TENANT),
        entra_token(appid=None),
        entra_token(None),
        entra_token("User.Read"),
        entra_token("chat"),
        entra_token(scp=["Chat"]),
    ],
)
async def test_token_for_another_application_or_without_permissions_is_not_exchanged(
    world: Exchanging, token: str
) -> None:
    await world.assign()

    with pytest.raises(Forbidden):
        await world.exchanges().entra(SERVICE, token)
    assert list(await world.users.list(SERVICE, None, 10)) == []


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        entra_token(exp=NOW - 1),
        entra_token(exp=None),
        entra_token(oid=None, sub="no GUID"),
        entra_token(tid=OTHER_TENANT),
        entra_token(aud="https://communication.azure.com"),
        teams_token(),
        user_token(CLIENTS_URL, "Chat", key="somebody"),
    ],
)
async def test_token_that_proves_nothing_is_not_exchanged(world: Exchanging, token: str) -> None:
    """Nor one that is over, whatever the leeway: its exchange would be over as well."""
    await world.assign()

    with pytest.raises(Unauthorized):
        await world.exchanges().entra(SERVICE, token)


@pytest.mark.parametrize("audience", [CLIENTS_URL, f"{CLIENTS_URL}/", "2a04943b-b6a7-4f65-8786-2bb6131b59f6"])
async def test_token_of_entra_is_for_clients_of_the_service(world: Exchanging, audience: str) -> None:
    await world.assign()

    assert (await world.exchanges().entra(SERVICE, entra_token(aud=audience))).token is not None


async def test_issuer_whose_keys_cannot_be_had_is_said(world: Exchanging) -> None:
    for call in (
        world.exchanges(down=True).entra(SERVICE, entra_token()),
        world.exchanges(down=True).teams_extension(SERVICE, teams_token()),
    ):
        with pytest.raises(Unavailable):
            await call


# Teams extensions


@pytest.mark.parametrize("kind", ["user", "resourceAccount"])
@pytest.mark.parametrize("clients", [None, [APP]])
async def test_user_of_a_teams_extension_that_is_assigned_may_exchange(
    world: Exchanging, kind: str, clients: list[str] | None
) -> None:
    with pytest.raises(Forbidden):
        await world.exchanges().teams_extension(SERVICE, teams_token())

    body = {"principalType": kind, "clientIds": clients}
    await Assignments(world.store).put_teams(SERVICE, TENANT_ID, OBJECT_ID, body)
    created = await world.exchanges().teams_extension(SERVICE, teams_token())

    assert created.user.id == f"8:acs:{SERVICE.immutable_id}_{TENANT_ID}_{OBJECT_ID}"
    assert created.token is not None
    facts = await world.verifier.facts(SERVICE, created.token.token)
    assert facts is not None
    assert (facts.scopes, facts.expires_at) == (("voip",), int(NOW) + 3000)
    await Assignments(world.store).delete_teams(SERVICE, TENANT_ID, OBJECT_ID)
    with pytest.raises(Forbidden):
        await world.exchanges().teams_extension(SERVICE, teams_token())


async def test_teams_extension_wants_its_own_application_permission_and_audience(world: Exchanging) -> None:
    body = {"principalType": "user", "clientIds": [APP]}
    await Assignments(world.store).put_teams(SERVICE, TENANT_ID, OBJECT_ID, body)
    await world.assign()

    for token in (teams_token(appid=OTHER_TENANT), teams_token("Chat"), teams_token(None)):
        with pytest.raises(Forbidden):
            await world.exchanges().teams_extension(SERVICE, token)
    for token in (entra_token(), entra_token(EXTENSION), teams_token(exp=NOW - 1)):
        with pytest.raises(Unauthorized):
            await world.exchanges().teams_extension(SERVICE, token)

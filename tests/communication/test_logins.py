"""Users of communication services at hubs: whose token opens one, and what takes that back."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from communication.world import ENTRA, OTHER, PRIMARY, SECONDARY, SERVICE, World, opened, with_keys
from hubwire.auth.logins import Login
from hubwire.communication.logins import UserLogins
from hubwire.communication.tokens import TEAMS_PREFIX, Verifier
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import NotFound, Unauthorized
from hubwire.model.hubs import CommunicationLogin

CHAT = CommunicationLogin()


class Hub:
    """
    A hub that lets users in.

    Attributes:
        services: those that are there.
        over: logins that it was told are over.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.services = {service.name: service for service in (SERVICE, OTHER)}
        self.logins = UserLogins(world.tokens, world.verifier, self._service)
        self.over: list[Login] = []
        self.logins.on_over = self._told
        world.users.on_revoked.append(self.logins.revoked)

    def _service(self, name: str) -> CommunicationService:
        if name not in self.services:
            raise NotFound("There is none.", "resource")
        return self.services[name]

    def _told(self, logins: Sequence[Login]) -> None:
        assert all(login.is_over for login in logins)
        self.over.extend(logins)

    async def user(
        self,
        scopes: Sequence[str] = ("chat",),
        caller: CommunicationCaller = PRIMARY,
        service: CommunicationService = SERVICE,
    ) -> tuple[str, str]:
        """A new one with a token."""
        created = await self.world.users.create(service, caller, None, scopes)
        assert created.token is not None
        return created.user.id, created.token.token

    async def refusal(self, token: str, wanted: CommunicationLogin = CHAT) -> str:
        with pytest.raises(Unauthorized) as refused:
            await self.logins.log_in(token, wanted)
        assert token not in refused.value.message
        return refused.value.message


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with opened(tmp_path) as world:
        yield Hub(world)


async def test_user_is_let_in_under_its_id_without_roles_and_groups(hub: Hub) -> None:
    user, token = await hub.user(["voip", "chat"])

    login = await hub.logins.log_in(token, CHAT)

    assert not login.is_over
    assert (login.claims.user_id, login.claims.roles, login.claims.groups) == (user, (), ())
    assert login.claims.claims["sub"] == user
    assert login.claims.claims["acsScope"] == "voip,chat"
    assert not {"gen", "kix"} & set(login.claims.claims)


async def test_user_has_the_roles_that_the_hub_gives(hub: Hub) -> None:
    _, token = await hub.user()

    login = await hub.logins.log_in(token, replace(CHAT, roles=("webpubsub.sendToGroup.room",)))

    assert login.claims.roles == ("webpubsub.sendToGroup.room",)


async def test_all_scopes_that_the_hub_wants_are_needed(hub: Hub) -> None:
    _, token = await hub.user(["chat.join", "voip"])

    assert await hub.refusal(token) == "token does not have the scope chat"
    wanted = replace(CHAT, scopes=("voip", "chat", "voip.join"))
    assert await hub.refusal(token, wanted) == "token does not have the scope chat or voip.join"
    await hub.logins.log_in(token, replace(CHAT, scopes=("voip", "chat.join")))


async def test_token_of_another_service_is_refused(hub: Hub) -> None:
    _, token = await hub.user()
    _, foreign = await hub.user(service=OTHER)

    assert await hub.refusal(foreign) == "token is of another service"
    await hub.logins.log_in(foreign, replace(CHAT, service="other"))
    assert await hub.refusal(token, replace(CHAT, service="other")) == "token is of another service"
    assert await hub.refusal(token, replace(CHAT, service="gone")) == "there is no communication service gone"


async def test_forged_token_is_refused(hub: Hub) -> None:
    _, token = await hub.user()
    _, other = await hub.user()
    head, payload, signature = token.split(".")

    assert await hub.refusal(".".join((head, other.split(".")[1], signature))) == "token is signed with another key"
    assert await hub.refusal(".".join((head, payload, ""))) == "token is signed with another key"
    assert await hub.refusal(f"{head}.{payload}") == "token is malformed"


async def test_token_whose_time_is_over_is_refused_and_ends_nobody_who_is_in(hub: Hub) -> None:
    _, token = await hub.user()
    login = await hub.logins.log_in(token, CHAT)
    hub.world.clock.now += 24 * 3600 + 1

    assert "expired" in await hub.refusal(token)
    assert not login.is_over
    assert hub.over == []


async def test_token_of_a_teams_user_is_refused_since_nobody_could_take_it_back(hub: Hub) -> None:
    user = f"{TEAMS_PREFIX}55555555-aaaa-4000-8000-00000000000b"
    now = hub.world.clock.now
    issued = hub.world.tokens.sign(SERVICE, ENTRA, user, ["chat"], 1, now, now + 3600)

    assert await hub.refusal(issued.token) == "token is of a user of Teams, whom no communication service has"


async def test_revoked_user_is_out_with_all_logins_and_nobody_else_is(hub: Hub) -> None:
    user, token = await hub.user()
    _, of_another = await hub.user()
    logins = [await hub.logins.log_in(token, CHAT) for _ in range(2)]
    another = await hub.logins.log_in(of_another, CHAT)

    await hub.world.users.revoke(SERVICE, user)

    assert set(hub.over) == set(logins)
    assert not another.is_over
    assert await hub.refusal(token) == "token was revoked"
    fresh = await hub.world.users.issue(SERVICE, PRIMARY, user, ["chat"])
    assert not (await hub.logins.log_in(fresh.token, CHAT)).is_over


async def test_deleted_user_is_out(hub: Hub) -> None:
    user, token = await hub.user()
    login = await hub.logins.log_in(token, CHAT)

    for _ in range(2):
        await hub.world.users.delete(SERVICE, user)
        assert hub.over == [login]

    assert await hub.refusal(token) == "token is of a user that is gone"


class Overtaken:
    """Generations of users that are old when they are told: something happens in between."""

    def __init__(self, hub: Hub, meanwhile: Callable[[str], Awaitable[None]]) -> None:
        self._users = hub.world.users
        self._meanwhile = meanwhile

    async def generation(self, service: CommunicationService, identity: str, /) -> int:
        found = await self._users.generation(service, identity)
        await self._meanwhile(identity)
        return found


@pytest.mark.parametrize("what", ["revoke", "delete", "key", "service"])
async def test_nobody_slips_in_while_the_token_is_taken_back(hub: Hub, what: str) -> None:
    """Also where the store was asked just before that."""
    _, token = await hub.user()

    async def meanwhile(identity: str) -> None:
        match what:
            case "key":
                hub.logins.service_changed(SERVICE, with_keys(2, 1))
            case "service":
                hub.logins.service_changed(SERVICE, None)
            case _:
                await getattr(hub.world.users, what)(SERVICE, identity)

    hub.logins = UserLogins(
        hub.world.tokens, Verifier(hub.world.tokens, Overtaken(hub, meanwhile)), lambda _name: SERVICE
    )
    hub.world.users.on_revoked[:] = [hub.logins.revoked]

    assert await hub.refusal(token) == "token was revoked"


async def test_key_that_is_made_anew_ends_the_logins_that_hang_on_it(hub: Hub) -> None:
    logins = {}
    for caller in (PRIMARY, SECONDARY, ENTRA):
        _, token = await hub.user(caller=caller)
        logins[caller.kind] = await hub.logins.log_in(token, CHAT)
    _, foreign = await hub.user(service=OTHER)
    elsewhere = await hub.logins.log_in(foreign, replace(CHAT, service="other"))

    hub.logins.service_changed(with_keys(1, 1), replace(with_keys(1, 1), local_auth=False))
    assert hub.over == []
    hub.logins.service_changed(with_keys(1, 1), with_keys(2, 1))

    assert hub.over == [logins["primary"]]
    assert not elsewhere.is_over


async def test_service_that_is_deleted_ends_all_its_logins(hub: Hub) -> None:
    logins = []
    for caller in (PRIMARY, ENTRA):
        _, token = await hub.user(caller=caller)
        logins.append(await hub.logins.log_in(token, CHAT))
    _, foreign = await hub.user(service=OTHER)
    elsewhere = await hub.logins.log_in(foreign, replace(CHAT, service="other"))

    hub.logins.service_changed(None, SERVICE)
    assert hub.over == []
    hub.logins.service_changed(SERVICE, None)

    assert set(hub.over) == set(logins)
    assert not elsewhere.is_over


async def test_login_that_nobody_holds_any_more_is_forgotten(hub: Hub) -> None:
    user, token = await hub.user()
    login: Login | None = await hub.logins.log_in(token, CHAT)
    assert login is not None
    del login
    gc.collect()

    await hub.world.users.revoke(SERVICE, user)

    assert hub.over == []
    assert not hub.logins._users

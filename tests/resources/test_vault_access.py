"""Who may do what with the secrets of a Key Vault, and what somebody is told who may not."""

import pytest

from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, NotFound
from hubwire.model.roles import OWNER, RESOURCE_OWNER, SECRETS_OFFICER, SECRETS_USER
from hubwire.model.vaults import NewSecret, VaultCaller
from hubwire.resources.vault_documents import vault_id
from resources.vaulting import GROUP, NOBODY, NOW, READER, Vaulting, policy

ALL = ("get", "list", "set", "delete")


@pytest.fixture
async def world() -> Vaulting:
    return await Vaulting().start()


async def allowed(world: Vaulting, who: VaultCaller) -> set[str]:
    """What somebody may do with the secret `code`, which is there before and after."""
    found = set()
    for permission in ALL:
        await world.access.set("vault-one", "code", NewSecret("1"), None)
        try:
            match permission:
                case "get":
                    assert (await world.access.get("vault-one", "code", None, who)).value == "1"
                case "list":
                    assert world.access.all("vault-one", who)
                    assert world.access.versions("vault-one", "code", who)
                case "set":
                    await world.access.update("vault-one", "code", None, {"enabled": True}, who)
                    await world.access.set("vault-one", "code", NewSecret("1"), who)
                case "delete":
                    await world.access.delete("vault-one", "code", who)
        except Forbidden:
            continue
        found.add(permission)
    return found


@pytest.mark.parametrize("words", [(), ("get",), ("list",), ("set",), ("delete",), ("get", "list"), ("backup",)])
async def test_access_policy_lets_its_principal_do_what_it_names(world: Vaulting, words: tuple[str, ...]) -> None:
    await world.made("vault-one", policy(*words))

    assert await allowed(world, READER) == set(words) & set(ALL)
    assert await allowed(world, NOBODY) == set()
    assert await allowed(world, READER._replace(tenant="other")) == set()


async def test_word_all_stands_for_everything(world: Vaulting) -> None:
    await world.made("vault-one", policy("all"))

    assert await allowed(world, READER) == set(ALL)


@pytest.mark.parametrize(
    ("role", "scope", "expected"),
    [
        (SECRETS_USER.id, GROUP, {"get", "list"}),
        (SECRETS_OFFICER.id, "/", set(ALL)),
        (SECRETS_USER.id, f"{GROUP}/providers/Microsoft.KeyVault/vaults/vault-two", set()),
        (OWNER.id, "/", set()),
        (RESOURCE_OWNER.id, "/", set()),
        ("unknown", "/", set()),
    ],
)
async def test_vault_that_goes_by_roles_looks_at_nothing_else(
    world: Vaulting, role: str, scope: str, expected: set[str]
) -> None:
    """Who owns the vault may let themselves in, and is not in by that."""
    await world.made("vault-one", policy("all", who=NOBODY), enableRbacAuthorization=True)
    world.assigned = [Assignment("a", READER.tenant, READER.principal_id, role, scope)]

    assert await allowed(world, READER) == expected
    assert await allowed(world, NOBODY) == set()


async def test_role_at_one_secret_is_for_that_secret(world: Vaulting) -> None:
    vault = await world.made("vault-one", enableRbacAuthorization=True)
    for name in ("code", "other"):
        await world.access.set("vault-one", name, NewSecret("1"), None)
    scope = f"{vault_id(vault)}/secrets/code"
    world.assigned = [Assignment("a", READER.tenant, READER.principal_id, SECRETS_USER.id, scope)]

    assert (await world.access.get("vault-one", "CODE", None, READER)).value == "1"
    with pytest.raises(Forbidden):
        await world.access.get("vault-one", "other", None, READER)
    with pytest.raises(Forbidden):
        world.access.all("vault-one", READER)


async def test_roles_mean_nothing_to_a_vault_with_access_policies(world: Vaulting) -> None:
    await world.made()
    world.assigned = [Assignment("a", READER.tenant, READER.principal_id, SECRETS_OFFICER.id, "/")]

    assert await allowed(world, READER) == set()


async def test_refusal_says_how_to_let_them(world: Vaulting) -> None:
    await world.made()
    await world.access.set("vault-one", "code", NewSecret("s3cret"), None)

    with pytest.raises(Forbidden) as refused:
        await world.access.get("vault-one", "code", None, READER)
    assert refused.value.target == "AccessDenied"
    assert refused.value.message == (
        f"The principal {READER.principal_id} may not read secrets of the vault vault-one. To let it: "
        f"hubwire vault grant vault-one {READER.principal_id} --permission get "
        "(or an access policy with permissions.secrets: ['get'])."
    )
    with pytest.raises(Forbidden, match=r" --permission get --tenant other \(or"):
        await world.access.get("vault-one", "code", None, READER._replace(tenant="other"))


async def test_refusal_of_a_vault_that_goes_by_roles_names_one(world: Vaulting) -> None:
    vault = await world.made("vault-one", enableRbacAuthorization=True)

    with pytest.raises(Forbidden) as refused:
        world.access.all("vault-one", READER)
    assert refused.value.message == (
        f"The principal {READER.principal_id} may not list secrets of the vault vault-one. It takes the role "
        f"'Key Vault Secrets User': hubwire app assign --principal {READER.principal_id} --role vault-secrets-user "
        f"--scope {vault_id(vault)}"
    )


async def test_who_may_not_learns_not_whether_a_secret_is_there(world: Vaulting) -> None:
    await world.made()

    with pytest.raises(Forbidden):
        await world.access.get("vault-one", "nothing", None, READER)


async def test_what_is_not_there_is_not_found(world: Vaulting) -> None:
    await world.made("vault-one", policy("all"))
    await world.access.set("vault-one", "code", NewSecret("1"), None)

    for action in (
        world.access.get("other", "code", None, READER),
        world.access.get("vault-one", "other", None, READER),
        world.access.get("vault-one", "code", "0" * 32, READER),
        world.access.set("other", "code", NewSecret("1"), READER),
        world.access.delete("vault-one", "other", READER),
        world.access.update("vault-one", "code", "0" * 32, {}, READER),
    ):
        with pytest.raises(NotFound):
            await action
    with pytest.raises(NotFound):
        world.access.versions("vault-one", "other", READER)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (NewSecret("s3cret", enabled=False), "SecretDisabled"),
        (NewSecret("s3cret", not_before=int(NOW) + 1), "SecretNotYetValid"),
        (NewSecret("s3cret", expires=int(NOW)), "SecretExpired"),
    ],
)
async def test_secret_that_is_disabled_or_out_of_its_time_is_not_given_out(
    world: Vaulting, given: NewSecret, code: str
) -> None:
    """Its time is looked at each time; and whoever may list still sees it."""
    await world.made("vault-one", policy("all"))
    await world.access.set("vault-one", "code", given, READER)

    for who in (READER, None):
        with pytest.raises(Forbidden) as refused:
            await world.access.get("vault-one", "code", None, who)
        assert refused.value.target == code
    assert len(world.access.all("vault-one", READER)) == 1


async def test_secret_is_given_out_in_its_time(world: Vaulting) -> None:
    await world.made("vault-one", policy("all"))
    given = NewSecret("s3cret", not_before=int(NOW), expires=int(NOW) + 1)
    await world.access.set("vault-one", "code", given, READER)

    assert (await world.access.get("vault-one", "code", None, READER)).value == "s3cret"


async def test_what_a_template_says_again_is_known(world: Vaulting) -> None:
    await world.made()
    given = NewSecret("s3cret", "text/plain", {"a": "b"})
    assert not await world.access.holds("vault-one", "code", given)
    await world.access.set("vault-one", "code", given, None)

    assert await world.access.holds("vault-one", "CODE", NewSecret("s3cret", "text/plain", {"a": "b"}))
    for other in (
        NewSecret("other", "text/plain", {"a": "b"}),
        NewSecret("s3cret", None, {"a": "b"}),
        NewSecret("s3cret", "text/plain"),
        NewSecret("s3cret", "text/plain", {"a": "b"}, enabled=False),
    ):
        assert not await world.access.holds("vault-one", "code", other)


async def test_each_change_of_a_secret_is_told(world: Vaulting) -> None:
    await world.made()
    await world.access.set("vault-one", "code", NewSecret("1"), None)
    await world.access.update("vault-one", "code", None, {"enabled": False}, None)
    await world.access.delete("vault-one", "code", None)

    assert world.told == 4

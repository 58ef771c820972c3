"""Versions of secrets: how many are kept, what is stored of them, and the same after each new start."""

import json

import pytest
from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, StartFailed, Unavailable
from hubwire.model.ports import Document
from hubwire.model.vaults import NewSecret
from hubwire.resources import vault_secrets
from hubwire.resources.vault_secrets import VaultSecrets
from resources.vaulting import NOW, Vaulting


@pytest.fixture
async def world() -> Vaulting:
    started = await Vaulting().start()
    await started.made()
    return started


def kept(world: Vaulting) -> VaultSecrets:
    return world.vaults.kept


async def value(world: Vaulting, name: str = "code", version: str | None = None) -> str:
    return (await kept(world).value("vault-one", kept(world).find("vault-one", name, version))).value


async def test_newest_version_is_the_present_one_and_older_ones_stay(world: Vaulting) -> None:
    first = await kept(world).set("vault-one", "Code", NewSecret("one"))
    second = await kept(world).set("VAULT-ONE", "code", NewSecret("two"))

    assert await value(world) == "two"
    assert await value(world, "CODE", first.version.upper()) == "one"
    assert kept(world).versions("Vault-One", "cOdE") == [second, first]
    assert kept(world).current("vault-one") == [second]
    assert second.name == "Code"


async def test_all_is_the_same_after_a_new_start(world: Vaulting) -> None:
    """In the same order, although all were made in one second."""
    versions = [await kept(world).set("vault-one", "code", NewSecret(str(number))) for number in range(12)]
    about = NewSecret("x", "text/plain", {"a": "b"}, False, 1, 2)
    other = await kept(world).set("vault-one", "other", about)

    await world.start()

    assert kept(world).versions("vault-one", "code") == versions[::-1]
    assert await value(world) == "11"
    found = kept(world).find("vault-one", "other")
    assert found == other
    assert (found.content_type, found.tags, found.enabled) == ("text/plain", {"a": "b"}, False)
    assert (found.not_before, found.expires, found.created_at, found.updated_at) == (1, 2, NOW, NOW)


async def test_no_more_than_25_versions_are_kept(world: Vaulting) -> None:
    versions = [await kept(world).set("vault-one", "code", NewSecret(str(number))) for number in range(27)]

    assert kept(world).versions("vault-one", "code") == versions[:1:-1]
    assert sum(kind == "vaultSecret" for kind, _ in world.store.documents) == 25
    with pytest.raises(NotFound):
        kept(world).find("vault-one", "code", versions[1].version)


async def test_no_value_is_stored_as_text(world: Vaulting) -> None:
    await kept(world).set("vault-one", "code", NewSecret("s3cret-value"))

    assert "s3cret-value" not in json.dumps([document.body for document in world.store.documents.values()])


async def test_stored_value_opens_in_its_own_place_only(world: Vaulting) -> None:
    """Two rows of the database that are exchanged give nobody another secret."""
    one = await kept(world).set("vault-one", "one", NewSecret("1"))
    two = await kept(world).set("vault-one", "two", NewSecret("2"))
    places = [("vaultSecret", f"vault-one/{version.name}/{version.version}") for version in (one, two)]
    first, second = (world.store.documents[place] for place in places)
    swapped = {**first.body, "sealed": second.body["sealed"]}
    world.store.documents[places[0]] = replace(first, body=swapped)

    with pytest.raises(Unavailable, match=f"value of the secret vault-one/one/{one.version} is damaged"):
        await value(world, "one")
    assert await value(world, "two") == "2"


async def test_lost_key_is_told_and_no_new_one_is_made_while_there_are_values(world: Vaulting) -> None:
    await kept(world).set("vault-one", "code", NewSecret("1"))
    await world.start()
    world.key_file.lost = True

    for action in (value(world), kept(world).set("vault-one", "new", NewSecret("2"))):
        with pytest.raises(Unavailable, match=r"vault\.key is missing"):
            await action
    assert [secret.name for secret in kept(world).current("vault-one")] == ["code"]


async def test_changed_properties_leave_the_value(world: Vaulting) -> None:
    first = await kept(world).set("vault-one", "code", NewSecret("1"))
    await kept(world).set("vault-one", "code", NewSecret("2"))
    world.now += 10

    changed = await kept(world).update("vault-one", replace(first, enabled=False, tags={"a": "b"}))

    assert (changed.enabled, changed.updated_at, changed.created_at) == (False, NOW + 10, NOW)
    await world.start()
    assert kept(world).find("vault-one", "code", first.version) == changed
    assert await value(world, "code", first.version) == "1"
    assert await value(world) == "2"
    with pytest.raises(NotFound):
        await kept(world).update("vault-one", replace(first, version="0" * 32))


async def test_deleted_secret_is_gone_with_all_versions(world: Vaulting) -> None:
    await kept(world).set("vault-one", "code", NewSecret("1"))
    second = await kept(world).set("vault-one", "code", NewSecret("2"))
    await kept(world).set("vault-one", "code-2", NewSecret("3"))

    assert await kept(world).delete("vault-one", "CODE") == second

    with pytest.raises(NotFound):
        kept(world).find("vault-one", "code")
    with pytest.raises(NotFound):
        await kept(world).delete("vault-one", "code")
    assert await value(world, "code-2") == "3"
    assert sum(kind == "vaultSecret" for kind, _ in world.store.documents) == 1


async def test_value_that_is_deleted_while_it_is_read_is_not_found(world: Vaulting) -> None:
    found = await kept(world).set("vault-one", "code", NewSecret("1"))
    await kept(world).delete("vault-one", "code")

    with pytest.raises(NotFound):
        await kept(world).value("vault-one", found)


async def test_secret_that_could_not_be_stored_is_not_there(world: Vaulting) -> None:
    await kept(world).set("vault-one", "code", NewSecret("1"))
    world.store.full = True

    for action in (
        kept(world).set("vault-one", "code", NewSecret("2")),
        kept(world).set("vault-one", "new", NewSecret("2")),
        kept(world).delete("vault-one", "code"),
    ):
        with pytest.raises(NotStored):
            await action
    assert await value(world) == "1"
    assert len(kept(world).current("vault-one")) == 1


@pytest.mark.parametrize("name", ["", "a_b", "a/b", "a" * 128, "ä", "a\n"])
async def test_illegal_name_is_refused(world: Vaulting, name: str) -> None:
    with pytest.raises(BadRequest):
        await kept(world).set("vault-one", name, NewSecret("1"))


async def test_vault_is_full_at_some_point(world: Vaulting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of what is there is still taken."""
    monkeypatch.setattr(vault_secrets, "_MOST_SECRETS", 2)
    for name in ("one", "two"):
        await kept(world).set("vault-one", name, NewSecret("1"))

    with pytest.raises(Conflict):
        await kept(world).set("vault-one", "three", NewSecret("1"))
    await kept(world).set("vault-one", "two", NewSecret("2"))
    await kept(world).set("vault-two", "three", NewSecret("1"))


@pytest.mark.parametrize("key", ["vault-one/code/1", "vault-one/other/0123", "vault-one"])
async def test_damaged_document_is_named_at_the_start(world: Vaulting, key: str) -> None:
    made = await kept(world).set("vault-one", "code", NewSecret("s3cret"))
    document = world.store.documents.pop(("vaultSecret", f"vault-one/code/{made.version}"))
    world.store.documents["vaultSecret", key] = Document("vaultSecret", key, document.body, "1")

    with pytest.raises(StartFailed, match=f"^the stored vaultSecret {key} is damaged$"):
        await world.start()

"""Secrets of the vaults here for calls of this server: by the same rules as for everybody."""

import pytest

from hubwire.model.errors import Forbidden, NotFound
from hubwire.model.identities import ManagedIdentity
from hubwire.model.vaults import NewSecret
from hubwire.resources.local_secrets import LocalSecrets
from resources.vaulting import NOBODY, READER, TENANT, Vaulting, policy

HERE = "https://127.0.0.1:9443"


def identity(principal_id: str) -> ManagedIdentity:
    return ManagedIdentity("SystemAssigned", "/wps", "/wps", principal_id, "client")


@pytest.fixture
async def world() -> Vaulting:
    started = await Vaulting().start()
    await started.made("vault-one", policy("get"))
    await started.access.set("vault-one", "code", NewSecret("s3cret"), None)
    return started


def secrets(world: Vaulting) -> LocalSecrets:
    return LocalSecrets(world.access, {HERE: "vault-one"}.get, TENANT)


async def test_identity_with_the_permission_reads_a_secret(world: Vaulting) -> None:
    version = world.access.versions("vault-one", "code", None)[0].version

    for tail in ("code", f"code/{version}"):
        assert await secrets(world).secret(f"{HERE}/secrets/{tail}", identity(READER.principal_id)) == "s3cret"


async def test_identity_without_the_permission_is_told_what_to_grant(world: Vaulting) -> None:
    with pytest.raises(Forbidden, match=f"hubwire vault grant vault-one {NOBODY.principal_id} --permission get"):
        await secrets(world).secret(f"{HERE}/secrets/code", identity(NOBODY.principal_id))


async def test_what_is_not_there_is_not_found(world: Vaulting) -> None:
    for tail in ("other", f"code/{'0' * 32}"):
        with pytest.raises(NotFound):
            await secrets(world).secret(f"{HERE}/secrets/{tail}", identity(READER.principal_id))


async def test_it_knows_which_vaults_are_here(world: Vaulting) -> None:
    """Whether or not they have such a secret."""
    assert secrets(world).has(f"{HERE}/secrets/nothing")
    assert not secrets(world).has("https://v.vault.azure.net/secrets/code")

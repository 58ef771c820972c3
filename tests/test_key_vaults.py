"""Who gets into a vault, and what it says to whoever has no token."""

from typing import Any

import pytest

from auth.entra import BASE_URL, ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key, signed
from hubwire.auth.bearers import VAULTS, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.issuer import Issuer
from hubwire.auth.vault_callers import VaultCallers
from hubwire.key_vaults import VaultEntrance
from hubwire.model.errors import Forbidden, NotFound, Unauthorized
from hubwire.model.listeners import listener_name
from hubwire.model.vaults import VaultCaller
from hubwire.rest.call import Caller
from hubwire.settings import Settings
from hubwire.vault_hosts import VaultHosts
from resources.vaulting import Vaulting

THEIRS = "77777777-aaaa-4000-8000-000000000007"
LOCAL = f"{BASE_URL}/{TENANT.tenant_id}"


def asked(vault: str = "vault-one", host: str = "vault-one.vault.azure.net", ip: str | None = "10.0.0.1") -> Caller:
    return Caller(host, "https", ip, False, "127.0.0.1", listener_name("vault", vault))


async def entrance(
    *trusted: str, local: bool = True, tenant: str = TENANT.tenant_id, **properties: Any
) -> VaultEntrance:
    """To a server with one vault, which may be of another tenant."""
    world = await Vaulting().start()
    await world.made("vault-one", tenantId=tenant, **properties)
    settings = Settings(local_issuer=local, trusted_issuers=trusted)
    foreign = ForeignKeys({(ISSUER_URL, "k"): rsa_key("foreign").public_key()})
    issuer = Issuer(InMemory(), BASE_URL, (), foreign, user_tokens=False)
    bearers = Bearers(InMemory(), None, (ISSUER_URL,), foreign, (), 0, Clock(), VAULTS)
    hosts = VaultHosts(world.vaults, (BASE_URL,))
    return VaultEntrance(settings, world.vaults, hosts, issuer, VaultCallers(bearers, Failures(0), Clock()))


def token(audience: str = "https://vault.azure.net") -> str:
    claims = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "appid": "x", "exp": NOW + 60}
    return "Bearer " + signed({**claims, "aud": audience}, rsa_key("foreign"), {"alg": "RS256", "kid": "k"})


async def test_challenge_names_the_issuer_with_the_tenant_and_the_resource() -> None:
    found = await entrance()

    assert found.challenge(asked()) == f'Bearer authorization="{LOCAL}", resource="https://vault.azure.net"'
    by_name = asked(host="vault-one.vault.localhost:8443")
    assert found.challenge(by_name) == f'Bearer authorization="{LOCAL}", resource="https://vault.localhost:8443"'


@pytest.mark.parametrize(
    ("trusted", "authority"),
    [
        (f"https://login.microsoftonline.com/{THEIRS}/v2.0", f"https://login.microsoftonline.com/{THEIRS}"),
        (f"https://sts.windows.net/{THEIRS}/", f"https://login.microsoftonline.com/{THEIRS}"),
        (f"https://idp.example:8443/{THEIRS.upper()}/v2.0", f"https://idp.example:8443/{THEIRS}"),
    ],
)
@pytest.mark.parametrize("local", [True, False])
async def test_vault_of_a_trusted_tenant_leads_there(trusted: str, authority: str, local: bool) -> None:
    """As does any vault where the local issuer is switched off."""
    found = await entrance(trusted, local=local, tenant=THEIRS)
    assert f'authorization="{authority}"' in found.challenge(asked())

    found = await entrance(trusted, local=local)
    assert f'authorization="{LOCAL if local else authority}"' in found.challenge(asked())


async def test_vault_of_a_tenant_that_nobody_trusts_leads_to_the_local_one() -> None:
    found = await entrance("https://idp.example", tenant=THEIRS)

    assert f'authorization="{LOCAL}"' in found.challenge(asked())
    assert f'authorization="{LOCAL}"' in found.challenge(asked("gone"))
    assert f'authorization="{LOCAL}"' in (await entrance(local=False)).challenge(asked())


async def test_token_gets_in() -> None:
    found = await entrance()

    assert await found.caller(asked(), token()) == VaultCaller(TENANT.tenant_id, OBJECT_ID)
    by_name = asked(host="vault-one.vault.localhost:8443")
    assert await found.caller(by_name, token("https://vault.localhost:8443")) is not None
    with pytest.raises(Unauthorized):
        await found.caller(asked(), token("https://vault.localhost:8443"))
    with pytest.raises(Unauthorized):
        await found.caller(asked(), None)


async def test_vault_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        await (await entrance()).caller(asked("other"), None)


async def test_network_rules_come_first() -> None:
    found = await entrance(publicNetworkAccess="Disabled")

    with pytest.raises(Forbidden) as refused:
        await found.caller(asked(), None)
    assert refused.value.target == "ForbiddenByFirewall"
    assert await found.caller(asked(ip=None), token()) is not None


async def test_vault_is_called_as_it_was_asked() -> None:
    assert (await entrance()).base(asked()) == "https://vault-one.vault.azure.net"

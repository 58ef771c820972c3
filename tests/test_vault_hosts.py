"""Under which addresses vaults are reached, and for which resource a token for each of them is."""

from urllib.parse import urlsplit

import pytest

from hubwire.hosting import OwnPorts
from hubwire.model.listeners import listener_name
from hubwire.rest.call import Caller
from hubwire.vault_hosts import CLOUD, VaultHosts
from resources.vaulting import Vaulting

MAIN = ("https://localhost:8443", "http://localhost:8080", "http://127.0.0.1:8080", "https://127.0.0.1:8443")
LOCAL = (
    "https://127.0.0.1:9443",
    "https://localhost:9443",
    "https://[::1]:9443",
    "http://127.0.0.1:9080",
    "http://localhost:9080",
)


class Ports(OwnPorts):
    """Those of vaults, that nobody listens on."""

    def __init__(self, **urls: tuple[str, ...]) -> None:
        self._urls = {listener_name("vault", name.replace("_", "-")): found for name, found in urls.items()}

    def urls(self, name: str) -> tuple[str, ...]:
        return self._urls.get(name, ())


async def hosts(**urls: tuple[str, ...]) -> VaultHosts:
    """Of two vaults, whose ports may be open."""
    world = await Vaulting().start()
    for name in ("vault-one", "Vault-Two"):
        await world.made(name)
    made = VaultHosts(world.vaults, MAIN)
    made.own = Ports(**urls) if urls else None
    return made


def asked(host: str, vault: str = "vault-one", own_ip: str | None = "127.0.0.1", scheme: str = "https") -> Caller:
    return Caller(host, scheme, "127.0.0.1", False, own_ip, listener_name("vault", vault))


# Where a vault is


async def test_vault_is_reached_by_the_best_of_its_urls() -> None:
    found = await hosts(vault_one=LOCAL)
    one, two = found._vaults.all()

    assert found.uri(one) == "https://127.0.0.1:9443/"
    assert found.uri(two) == "https://vault-two.vault.localhost:8443/"


async def test_vault_without_ports_is_reached_by_name() -> None:
    world = await Vaulting().start()
    vault = await world.made()

    assert VaultHosts(world.vaults, ()).uri(vault) == "https://vault-one.vault.localhost/"


@pytest.mark.parametrize(
    ("url", "vault"),
    [
        ("https://vault-one.vault.azure.net", "vault-one"),
        ("https://VAULT-TWO.vault.azure.net", "vault-two"),
        ("https://vault-three.vault.azure.net", None),
        ("https://vault-one.vault.azure.cn", None),
        ("https://vault-three.vault.localhost:8443", "vault-three"),
        ("https://127.0.0.1:9443", "vault-one"),
        ("https://LOCALHOST:9443", "vault-one"),
        ("http://127.0.0.1:9080", "vault-one"),
        ("https://127.0.0.1:9080", None),
        ("https://127.0.0.1:8443", None),
        ("https://example.org", None),
    ],
)
async def test_url_leads_to_a_vault_here_or_elsewhere(url: str, vault: str | None) -> None:
    """A cloud's name is ours while there is such a vault, and one of localhost in any case."""
    found = await hosts(vault_one=LOCAL)

    assert found.vault_at(url) == vault


# What tokens are for


@pytest.mark.parametrize(
    ("host", "resource"),
    [
        ("vault-one.vault.azure.net", CLOUD),
        ("vault-one.vault.azure.net:443", CLOUD),
        ("vault-one.vault.localhost", "https://vault.localhost"),
        ("VAULT-ONE.Vault.LocalHost:8443", "https://vault.localhost:8443"),
        ("vault-one.vault.localhost:8080", "https://vault.localhost:8080"),
        ("vault-one.vault.localhost:1234", CLOUD),
        ("127.0.0.1:9443", "api://0.0.1:9443"),
        ("127.0.0.1:9080", "api://0.0.1:9080"),
        ("vaults.example.com:9443", "https://example.com:9443"),
        ("localhost:9443", CLOUD),
        ("[::1]:9443", CLOUD),
        ("127.0.0.1:1234", CLOUD),
        ("192.0.2.1:9443", CLOUD),
        ("evil.example:9443", CLOUD),
        ('x", resource="https://evil.example', CLOUD),
        ("", CLOUD),
    ],
)
async def test_resource_is_the_host_without_its_first_label_where_the_host_is_known(host: str, resource: str) -> None:
    """So official clients take it; a host that nobody knows is never mirrored."""
    found = await hosts(vault_one=(*LOCAL, "https://vaults.example.com:9443"))

    assert found.resource(asked(host)) == resource
    assert host == "" or resource == CLOUD or _ends(host, resource)
    assert resource == CLOUD or found.is_resource(resource)


def _ends(host: str, resource: str) -> bool:
    """What the official clients look at."""
    return host.lower().endswith(f".{urlsplit(resource).netloc}")


async def test_address_that_was_reached_is_known() -> None:
    """Where a server listens on all of them."""
    found = await hosts(vault_one=LOCAL)

    assert found.resource(asked("192.0.2.1:9443", own_ip="192.0.2.1")) == "api://0.2.1:9443"
    assert found.is_resource("api://0.2.1:9443")
    assert found.resource(asked("192.0.2.1:1234", own_ip="192.0.2.1")) == CLOUD
    assert found.resource(asked("192.0.2.1:9443", own_ip=None)) == CLOUD


async def test_host_of_one_vault_is_not_known_to_another() -> None:
    found = await hosts(vault_one=LOCAL, vault_two=("https://127.0.0.1:9444",))

    assert found.resource(asked("127.0.0.1:9443", "vault-two")) == CLOUD
    assert found.resource(asked("127.0.0.1:9444", "vault-two")) == "api://0.0.1:9444"


@pytest.mark.parametrize(
    "resource",
    [
        "https://vault.localhost:1234",
        "http://vault.localhost",
        "https://vault.localhost.evil.example",
        "https://0.0.1:9443",
        "api://0.0.1:1234",
        "api://0.0.1",
        "api://1:9443",
        "https://example.com:9443",
        "https://localhost:9443",
        "",
        "x",
        "https://[",
        "https://vault.localhost:",
        "api://[::1]:9443",
    ],
)
async def test_other_resources_are_nobodys(resource: str) -> None:
    found = await hosts(vault_one=LOCAL)

    assert not found.is_resource(resource)


# What a vault calls itself


@pytest.mark.parametrize(
    ("host", "scheme", "base"),
    [
        ("127.0.0.1:9443", "https", "https://127.0.0.1:9443"),
        ("localhost:9080", "http", "http://localhost:9080"),
        ("vault-one.vault.azure.net", "https", "https://vault-one.vault.azure.net"),
        ("vault-one.vault.localhost:8443", "https", "https://vault-one.vault.localhost:8443"),
        ("evil.example", "https", "https://127.0.0.1:9443"),
        ("", "http", "https://127.0.0.1:9443"),
    ],
)
async def test_identifiers_begin_with_the_address_that_was_asked(host: str, scheme: str, base: str) -> None:
    found = await hosts(vault_one=LOCAL)

    assert found.base(asked(host, scheme=scheme)) == base


async def test_vault_that_is_gone_meanwhile_still_has_a_name() -> None:
    found = await hosts(vault_one=LOCAL)

    assert found.base(asked("evil.example", "gone")) == CLOUD

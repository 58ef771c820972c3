"""Which vault a secret is asked of."""

from hubwire.model.identities import ManagedIdentity
from hubwire.upstream.secret_router import SecretRouter

ME = ManagedIdentity("SystemAssigned", "/wps", "/wps", "principal", "client")


class Vaults:
    def __init__(self, name: str) -> None:
        self.name = name

    def has(self, uri: str, /) -> bool:
        return self.name in uri

    async def secret(self, uri: str, identity: ManagedIdentity) -> str:
        assert identity is ME
        return f"{self.name}: {uri}"


async def test_vault_of_this_server_is_asked_first_and_others_for_what_is_in_none_of_these() -> None:
    router = SecretRouter(Vaults("here"), Vaults("there"))

    assert await router.secret("https://here/secrets/x", ME) == "here: https://here/secrets/x"
    assert await router.secret("https://v/secrets/x", ME) == "there: https://v/secrets/x"

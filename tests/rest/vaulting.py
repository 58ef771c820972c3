"""The tables of Key Vaults on vaults in memory, below an application whose callers are whom they say."""

import json
from typing import Any

from hubwire.model.errors import Unauthorized
from hubwire.model.telemetry import Telemetry
from hubwire.model.vaults import VaultCaller
from hubwire.resources.vault_documents import StoredVault
from hubwire.rest.call import Caller
from hubwire.rest.operation import RestApp
from hubwire.rest.secrets import SecretTable
from hubwire.rest.vault_control import VaultControl
from resources.vaulting import READER, Vaulting
from rest.asgi import FakePrincipals, Reply, request

__all__ = ["CHALLENGE", "Door", "Serving"]

CHALLENGE = 'Bearer authorization="https://login.example/t", resource="https://vault.azure.net"'


class Door:
    """
    Lets everybody in who says so.

    Attributes:
        failure: raised instead.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked: list[Caller] = []

    async def caller(self, asked: Caller, authorization: str | None, /) -> VaultCaller:
        self.asked.append(asked)
        if self.failure is not None:
            raise self.failure
        if authorization is None:
            raise Unauthorized("no bearer token")
        return VaultCaller(READER.tenant, authorization.removeprefix("Bearer "))

    def challenge(self, _asked: Caller, /) -> str:
        return CHALLENGE

    def base(self, asked: Caller, /) -> str:
        return f"{asked.scheme}://{asked.host}"


class Serving:
    """A vault with a secret `code`, and an application that serves it."""

    def __init__(self, vaulting: Vaulting) -> None:
        self.vaulting = vaulting
        self.door = Door()
        rows = (
            *SecretTable(vaulting.access, self.door).operations(),
            *VaultControl(vaulting.vaults, vaulting.access, self.uri).operations(),
        )
        self.app = RestApp(
            rows,
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=(),
            max_message_bytes=1 << 20,
            idle_timeout_s=30.0,
            issuer_url="",
            vaults=self.door,
        )

    @staticmethod
    def uri(vault: StoredVault) -> str:
        return f"https://{vault.name.lower()}.example:9443/"

    async def call(
        self,
        method: str,
        target: str,
        document: object = None,
        *,
        who: VaultCaller | None = READER,
        body: bytes = b"",
        state: dict[str, Any] | None = None,
    ) -> Reply:
        """A request at the vault's address; with None from somebody without a token."""
        body = body or (b"" if document is None else json.dumps(document).encode())
        headers = [] if who is None else [("Authorization", f"Bearer {who.principal_id}")]
        if body:
            headers.append(("Content-Length", str(len(body))))
        known = {"host": "vault-one.example:9443", "scheme": "https", "resource": "vault/vault-one"}
        reply = await request(self.app, method, target, headers, (body,), known if state is None else state)
        assert reply is not None
        return reply

    async def operate(self, method: str, target: str, document: object = None) -> Reply:
        """A request of the local operator."""
        return await self.call(method, target, document, who=None, state={"control": True, "host": "localhost"})

    async def fault(self, method: str, target: str, document: object = None, **more: Any) -> tuple[int, str]:
        """Status and code of a refusal."""
        reply = await self.call(method, target, document, **more)
        assert reply.headers["content-type"].startswith("application/json")
        return reply.status, reply.json["error"]["code"]

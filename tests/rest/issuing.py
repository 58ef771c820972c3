"""A token issuer and its tables on a directory in memory, below the application on fakes."""

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from msgspec.structs import replace

from hubwire.auth.failures import Failures
from hubwire.auth.issuer import Issuer
from hubwire.auth.key_ring import new_token_key
from hubwire.auth.signatures import RsaPublicKey, unverified
from hubwire.model.directory import TokenKey
from hubwire.model.errors import NotStored, PreconditionFailed
from hubwire.model.ports import Change, Document
from hubwire.resources.directory import Directory
from hubwire.rest.directory import DirectoryTable
from hubwire.rest.issuer import IssuerTable
from hubwire.rest.managed_identity import ManagedIdentityTable, Offered
from rest.asgi import Reply, World

__all__ = [
    "BASE",
    "BODY_LIMIT",
    "FORM",
    "OWN",
    "SCOPE",
    "ForeignIssuers",
    "Issuing",
    "MemoryStore",
    "claims",
    "open_issuing",
]

BASE = "https://hub.example:8443"
OWN = "http://127.0.0.1:8080"
FORM = "application/x-www-form-urlencoded"
BODY_LIMIT = 8192
SCOPE = "/subscriptions/s/resourceGroups/hubwire/providers/Microsoft.SignalRService/webPubSub/default"


class MemoryStore:
    """
    Documents in a dictionary.

    Attributes:
        full: nothing more can be stored.
    """

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.full = False
        self._commits = 0

    async def get(self, kind: str, key: str) -> Document | None:
        return self.documents.get((kind, key))

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        found = [document for (of, _), document in sorted(self.documents.items()) if of == kind]
        return [item for item in found if item.key.startswith(prefix) and (after is None or item.key > after)][:limit]

    async def commit(self, changes: Sequence[Change]) -> None:
        if self.full:
            raise NotStored("database or disk is full")
        for change in changes:
            known = self.documents.get((change.kind, change.key))
            if change.expect != "any" and change.expect != ("absent" if known is None else known.etag):
                raise PreconditionFailed
        self._commits += 1
        for change in changes:
            name = (change.kind, change.key)
            if change.body is None:
                self.documents.pop(name, None)
            else:
                self.documents[name] = Document(change.kind, change.key, change.body, str(self._commits))

    async def close(self) -> None:
        """Nothing is held."""


class ForeignIssuers:
    """
    Keys of other issuers, by issuer and name.

    Attributes:
        failure: raised instead of an answer.
    """

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], RsaPublicKey] = {}
        self.failure: Exception | None = None

    async def key(self, issuer: str, kid: str, /) -> RsaPublicKey | None:
        if self.failure is not None:
            raise self.failure
        return self.keys.get((issuer, kid))


class Issuing(NamedTuple):
    """The tables of one issuer, and what they stand on."""

    world: World
    directory: Directory
    issuer: Issuer
    foreign: ForeignIssuers
    store: MemoryStore

    @property
    def tenant(self) -> str:
        """The id of the local tenant."""
        return self.directory.tenant.tenant_id

    @property
    def fields(self) -> dict[str, str]:
        """The form with which the first principal gets a token."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.directory.tenant.development_app,
            "client_secret": self.directory.tenant.development_secret,
            "scope": "https://webpubsub.azure.com/.default",
        }

    @property
    def fields_v1(self) -> dict[str, str]:
        """The same for the older endpoint."""
        fields = {name: value for name, value in self.fields.items() if name != "scope"}
        return {**fields, "resource": "https://webpubsub.azure.com"}

    async def get(self, target: str, **more: Any) -> Reply:
        """What anybody may ask for."""
        return await self.world.call("GET", target, token=None, **more)

    async def post(
        self, target: str, fields: Mapping[str, str], *, content_type: str | None = FORM, **more: Any
    ) -> Reply:
        """Send a form."""
        body = urlencode(fields).encode()
        return await self.world.call("POST", target, token=None, body=body, content_type=content_type, **more)

    async def token(self, fields: Mapping[str, str], **more: Any) -> Reply:
        """Ask for a token at the tenant's endpoint."""
        return await self.post(f"/{self.tenant}/oauth2/v2.0/token", fields, **more)


@functools.cache
def _key(number: int) -> TokenKey:
    """A key that all tests share: making one takes a tenth of a second."""
    return new_token_key(int(time.time()), int(time.time()))


async def open_issuing(
    *,
    user_tokens: bool = False,
    offered: Offered = "imds",
    proxies: Sequence[str] = (),
    failures_per_minute: int = 0,
    cors_origins: Sequence[str] = (),
    base_url: str = BASE,
    max_message_bytes: int = BODY_LIMIT,
) -> Issuing:
    """
    Args:
        offered: which endpoints of managed identities there are.
        proxies: addresses of trusted ones.
        failures_per_minute: 0 is no limit.
    """
    numbers = iter(range(100))
    store, foreign = MemoryStore(), ForeignIssuers()
    # Since a while, so that what is changed now is changed later than that.
    directory = await Directory.load(
        store, lambda active_from: replace(_key(next(numbers)), active_from=active_from), time.time() - 60
    )
    issuer = Issuer(directory, base_url, (OWN,), foreign, user_tokens=user_tokens)
    failures = Failures(failures_per_minute)
    rows = (
        *DirectoryTable(directory, issuer, SCOPE).operations(),
        *ManagedIdentityTable(
            issuer, directory.tenant, offered, OWN, frozenset(proxies).__contains__, failures
        ).operations(),
        *IssuerTable(issuer, failures).operations(),
    )
    world = World(more=rows, issuer_url=base_url, cors_origins=cors_origins, max_message_bytes=max_message_bytes)
    return Issuing(world, directory, issuer, foreign, store)


def claims(token: str) -> Mapping[str, Any]:
    """What stands in a token, unproved."""
    return unverified(token).claims

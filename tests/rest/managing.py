"""The resource manager's tables on a real catalog, below an application that only takes its tokens."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key, signed
from hubwire.auth.bearers import MANAGEMENT, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.managers import Managers
from hubwire.model.directory import Assignment, TokenKey
from hubwire.model.roles import RESOURCE_OWNER
from hubwire.model.telemetry import Telemetry
from hubwire.resources.catalog import Catalog
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredResource
from hubwire.resources.identities import UserIdentities, join
from hubwire.resources.resource_documents import Place
from hubwire.rest.identities import IdentityTable
from hubwire.rest.operation import Operation, RestApp
from hubwire.rest.subscriptions import SubscriptionTable
from hubwire.rest.web_pubsub import WebPubSubTable
from rest.asgi import FakePrincipals, Reply, request
from rest.issuing import MemoryStore

__all__ = ["GROUP", "GROUPS", "ISSUER", "OWN", "SUBSCRIPTION", "VERSION", "WPS", "Managing", "bearer", "open_managing"]

SUBSCRIPTION = TENANT.subscription_id
GROUPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"
GROUP = f"{GROUPS}/g"
WPS = f"{GROUP}/providers/Microsoft.SignalRService/webPubSub"
VERSION = "2024-03-01"
ISSUER = "https://localhost:8443"
OWN = "https://hub.example:8443"
_KID = "foreign-key"


def bearer(**claims: object) -> str:
    """A token for the resource manager."""
    known = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "aud": "https://management.azure.com/"}
    return "Bearer " + signed({**known, "exp": NOW + 60, **claims}, rsa_key("foreign"), {"alg": "RS256", "kid": _KID})


class Managing:
    """
    Attributes:
        directory: of those who call.
        stored: the directory that has the identities.
        restarted: resources that were.
    """

    def __init__(self, store: MemoryStore, catalog: Catalog, stored: Directory) -> None:
        join(catalog, stored)
        self.store = store
        self.catalog = catalog
        self.stored = stored
        self.identities = UserIdentities(catalog, stored, lambda: NOW)
        self.directory = InMemory()
        self.restarted: list[str] = []
        clock = Clock()
        foreign = ForeignKeys({(ISSUER_URL, _KID): rsa_key("foreign").public_key()})
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (), 0, clock, MANAGEMENT)
        managers = Managers(bearers, Failures(0), clock)
        web_pubsub = WebPubSubTable(catalog, self.place, TENANT.tenant_id, self._restart, managers).operations()
        actions = sorted({row.action for row in web_pubsub if row.action is not None})
        others = (self.identities.documents,)
        subscriptions = SubscriptionTable(catalog, self.place, TENANT.tenant_id, ISSUER, OWN, managers, actions, others)
        identities = IdentityTable(self.identities, managers).operations()
        self.operations: tuple[Operation, ...] = (*web_pubsub, *subscriptions.operations(), *identities)
        self.app = RestApp(
            self.operations,
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=(),
            max_message_bytes=1 << 20,
            idle_timeout_s=30.0,
            issuer_url=ISSUER,
            managers=managers,
        )

    @staticmethod
    def place(resource: StoredResource) -> Place:
        return Place(f"http://{resource.name.lower()}.example:8081", f"{resource.name.lower()}.example", 8444, 8444)

    async def _restart(self, resource: str) -> None:
        self.restarted.append(resource)

    def assign(self, role_id: str, scope: str = "/") -> None:
        self.directory.assignments.append(Assignment("id", TENANT.tenant_id, OBJECT_ID, role_id, scope))

    async def call(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        version: str | None = VERSION,
        token: str | None = "",
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        state: dict[str, Any] | None = None,
    ) -> Reply:
        """
        A request with a token.

        Args:
            path: with the query, if it has more of one than the api-version.
            token: the usual one if it is empty; None for none.
        """
        if version is not None:
            path += f"{'&' if '?' in path else '?'}api-version={version}"
        if body is None:
            body = b"" if document is None else json.dumps(document).encode()
        lines = list(headers)
        if token is not None:
            lines.append(("Authorization", token or bearer()))
        if body:
            lines += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        reply = await request(self.app, method, path.encode(), lines, (body,), state)
        assert reply is not None
        return reply

    async def fault(self, method: str, path: str, document: object = None, **more: Any) -> tuple[int, str]:
        """Status and code of a refusal, which has the one form that all of them have."""
        reply = await self.call(method, path, document, **more)
        if method == "HEAD":
            assert reply.body == b""
            return reply.status, reply.headers["x-ms-error-code"]
        error = reply.json["error"]
        assert reply.json.keys() == {"error"}
        assert error["message"]
        assert reply.headers["x-ms-error-code"] == error["code"]
        assert reply.headers["content-type"].startswith("application/json")
        return reply.status, error["code"]

    async def made(self, name: str = "wps-one", group: str = "g", **body: Any) -> StoredResource:
        """A resource, made without a request."""
        found, _ = await self.catalog.put_resource(SUBSCRIPTION, group, name, {"location": "eastus", **body})
        return found


async def open_managing(role_id: str = RESOURCE_OWNER.id) -> Managing:
    """Whoever calls has a role for everything."""
    store, numbers = MemoryStore(), itertools.count()
    catalog = await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: NOW)
    stored = await Directory.load(
        store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
    )
    managing = Managing(store, catalog, stored)
    managing.assign(role_id)
    return managing

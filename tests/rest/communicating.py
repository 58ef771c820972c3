"""The tables of communication services on users in a store, below an application whose callers are whom they say."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from communication.world import OTHER, SERVICE, World, opened
from hubwire.auth.bearers import Proved
from hubwire.communication.assignments import Assignments
from hubwire.communication.exchanges import Exchanges
from hubwire.communication.quotas import Quotas
from hubwire.communication.teams import TeamsUsers
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import NotFound, Unauthorized
from hubwire.model.listeners import owner_of
from hubwire.model.telemetry import Telemetry
from hubwire.rest.call import Call
from hubwire.rest.communication import CommunicationTable
from hubwire.rest.communication_access import AccessTable
from hubwire.rest.communication_control import CommunicationControl
from hubwire.rest.communication_verification import VerificationTable
from hubwire.rest.operation import RestApp
from rest.asgi import FakePrincipals, Reply, request

__all__ = ["Door", "Serving", "UserTokens", "V", "serving_users"]

V = "?api-version=2023-10-01"


class Door:
    """
    Lets everybody in who says with which key.

    Attributes:
        services: by name.
    """

    def __init__(self) -> None:
        self.services = {"default": SERVICE, "other": OTHER}

    def service(self, resource: str, /) -> CommunicationService:
        found = self.services.get(owner_of(resource))
        if found is None:
            raise NotFound("There is no such service.", "resource")
        return found

    def known_as(self, immutable_id: str, /) -> CommunicationService:
        for service in self.services.values():
            if service.immutable_id == immutable_id.lower():
                return service
        raise NotFound("There is no such service.", "resource")

    def endpoint(self, service: CommunicationService, /) -> str:
        return f"https://{service.name}.example:9443"

    async def caller(self, service: CommunicationService, call: Call, /) -> CommunicationCaller:
        match call.header("authorization"):
            case "primary":
                return CommunicationCaller("primary", "primary", service.keys.primary_generation)
            case "secondary":
                return CommunicationCaller("secondary", "secondary", service.keys.secondary_generation)
            case _:
                raise Unauthorized("nobody")

    async def verifier(self, service: CommunicationService, call: Call, /) -> CommunicationCaller:
        return await self.caller(service, call)


class UserTokens:
    """
    Takes tokens for what they say that they prove.

    Attributes:
        known: by token.
    """

    def __init__(self) -> None:
        self.known: dict[str, Proved] = {}

    async def proved(self, token: str, /) -> Proved:
        if token not in self.known:
            raise Unauthorized("token proves nothing")
        return self.known[token]


class Serving:
    """An application that serves the users of two services."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.door = Door()
        self.tokens = UserTokens()
        self.quotas = Quotas({"exchange": 20})
        assignments = Assignments(world.store)
        exchanges = Exchanges(world.users, assignments, self.tokens, self.tokens, world.clock)
        teams = TeamsUsers(world.tokens, self.tokens, world.clock)
        rows = (
            *CommunicationTable(world.users, self.quotas).operations(),
            *AccessTable(teams, exchanges, assignments, self.door, self.quotas).operations(),
        )
        self.app = RestApp(
            (
                *rows,
                *CommunicationControl(world.users, rows, self.door).operations(),
                *VerificationTable(world.tokens, world.verifier, self.door).operations(),
            ),
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=(),
            max_message_bytes=1 << 20,
            idle_timeout_s=30.0,
            issuer_url="",
            communication=self.door,
        )

    async def call(
        self,
        method: str,
        target: str | bytes,
        document: object = None,
        *,
        body: bytes | None = None,
        who: str | None = "primary",
        content_type: str = "application/json",
        **state: Any,
    ) -> Reply:
        """A request to the first service, unless the state says something else."""
        content = body if body is not None else b"" if document is None else json.dumps(document).encode()
        headers = [("Content-Length", str(len(content))), ("Content-Type", content_type)]
        headers += [] if who is None else [("Authorization", who)]
        reply = await request(self.app, method, target, headers, (content,), {"resource": "default", **state})
        assert reply is not None
        return reply

    async def operate(self, method: str, target: str, document: object = None) -> Reply:
        """A request of the local operator."""
        return await self.call(method, "/control/communication" + target, document, who=None, control=True)

    async def user(self, **fields: Any) -> dict[str, Any]:
        """What the creation of a user is answered."""
        reply = await self.call("POST", "/identities" + V, fields)
        assert reply.status == 201
        return dict(reply.json)


@asynccontextmanager
async def serving_users(folder: Path) -> AsyncIterator[Serving]:
    """One with a store of its own in a folder."""
    async with opened(folder) as world:
        yield Serving(world)

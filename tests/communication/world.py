"""What stands around the users of communication services in their tests: a store, keys, services, a clock."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from auth.entra import BASE_URL, Clock, InMemory
from hubwire.adapters.store_sql import open_store
from hubwire.auth.key_ring import KeyRing
from hubwire.communication.issue_times import IssueTimes
from hubwire.communication.tokens import Tokens, Verifier
from hubwire.communication.users import Users
from hubwire.model.communication import CommunicationCaller, CommunicationKeys, CommunicationService
from hubwire.model.ports import Store

__all__ = ["ENTRA", "OTHER", "PRIMARY", "SECONDARY", "SERVICE", "World", "opened", "with_keys"]

SERVICE = CommunicationService(
    "default", "2dee53b4-1111-4222-8333-8493fb117652", "local", "United States", CommunicationKeys("", "")
)
OTHER = replace(SERVICE, name="other", immutable_id="3eff64c5-1111-4222-8333-8493fb117652")
PRIMARY = CommunicationCaller("primary", "primary", 1)
SECONDARY = CommunicationCaller("secondary", "secondary", 1)
ENTRA = CommunicationCaller("entra", "55555555-aaaa-4000-8000-00000000000b")


def with_keys(primary: int, secondary: int) -> CommunicationService:
    """The same service after its keys were made anew; generations of them."""
    return replace(SERVICE, keys=CommunicationKeys("", "", primary, secondary))


class World:
    """A server, as far as users are concerned; several may share a store."""

    def __init__(self, store: Store, delay_s: float = 3600) -> None:
        self.store = store
        self.clock = Clock()
        self.directory = InMemory()
        self.tokens = Tokens(KeyRing(self.directory), BASE_URL, self.clock, secrets.token_bytes)
        self.times = IssueTimes(store, delay_s)
        self.users = Users(store, self.tokens, self.clock, secrets.token_bytes, self.times)
        self.verifier = Verifier(self.tokens, self.users)

    async def is_good(self, token: str, service: CommunicationService = SERVICE) -> bool:
        return await self.verifier.facts(service, token) is not None


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    """One with a store of its own in a folder, which may be there already."""
    store = await open_store(f"sqlite:///{folder}/store.db")
    world = World(store)
    try:
        yield world
    finally:
        await world.users.close()
        await store.close()

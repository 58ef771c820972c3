import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from hubwire.adapters.store_sql import open_store
from hubwire.auth import jwt
from hubwire.auth.principals import Principals
from hubwire.model.errors import BadRequest, NotFound, NotStored, PreconditionFailed, StartFailed, Unauthorized
from hubwire.model.hubs import AccessKeys, HubSettings, KeyKind
from hubwire.model.names import HubKey
from hubwire.model.ports import Change, Document, Store
from hubwire.resources.catalog import Catalog

CHAT = HubKey("default", "chat")
DEFAULTS = {
    "eventHandlers": [],
    "eventListeners": [],
    "anonymousConnectPolicy": "deny",
    "webSocketKeepAliveIntervalInSeconds": 20,
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


@pytest.fixture
async def catalog(store: Store) -> Catalog:
    return await Catalog.load(store)


class Between:
    """A store behind a store, whose commits can be made to wait afterwards, or to fail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.committed = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()
        self.failing = False
        self.full = False

    async def get(self, kind: str, key: str) -> Document | None:
        return await self._store.get(kind, key)

    async def commit(self, changes: Sequence[Change]) -> None:
        if self.failing:
            raise PreconditionFailed
        if self.full:
            raise NotStored("the disk is full")
        await self._store.commit(changes)
        self.committed.set()
        await self.released.wait()

    async def close(self) -> None:
        await self._store.close()

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        return await self._store.list(kind, prefix, after, limit)


# First and later starts


async def test_first_start_makes_the_default_resource_with_three_good_keys(catalog: Catalog) -> None:
    keys = catalog.access_keys("default")

    assert len({keys.primary, keys.secondary, keys.salt}) == 3
    for key in (keys.primary, keys.secondary, keys.salt):
        assert len(key.encode()) >= 32
        assert key.isascii()
        assert ";" not in key
    assert len(catalog.recovery_key()) >= 32


async def test_every_key_comes_from_the_random_source(store: Store) -> None:
    counter = itertools.count(1)
    catalog = await Catalog.load(store, lambda size: bytes([next(counter)]) * size)

    keys = catalog.access_keys("default")
    rotated = await catalog.rotate_key("default", "primary")

    assert (keys.primary[:4], keys.secondary[:4], keys.salt[:4]) == ("AQEB", "AgIC", "AwMD")
    assert catalog.recovery_key() == b"\x04" * 32
    assert rotated.primary[:4] == "BQUF"


async def test_two_servers_never_have_the_same_keys(tmp_path: Path) -> None:
    seen: set[str | bytes] = set()
    for number in range(2):
        store = await open_store(f"sqlite:///{tmp_path}/{number}.db")
        catalog = await Catalog.load(store)
        keys = catalog.access_keys("default")
        seen |= {keys.primary, keys.secondary, keys.salt, catalog.recovery_key()}
        await store.close()

    assert len(seen) == 8


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    before = await Catalog.load(store)
    await before.put_hub("Chat", {"anonymousConnectPolicy": "allow", "x": [1, {"y": None}]})
    await before.put_hub("gone", {})
    await before.delete_hub("gone")
    keys = await before.rotate_key("default", "secondary")
    await store.close()

    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    after = await Catalog.load(store)

    assert after.access_keys("default") == before.access_keys("default") == keys
    assert after.recovery_key() == before.recovery_key()
    assert await after.list_hubs() == await before.list_hubs()
    assert [hub["name"] for hub in await after.list_hubs()] == ["Chat"]
    assert after.settings(CHAT) == HubSettings(anonymous_connect_policy="allow")
    await store.close()


async def test_keys_are_stored_before_anybody_hears_of_them(store: Store) -> None:
    """A process that dies right after its first start comes back with the same keys."""
    catalog = await Catalog.load(store)

    assert (await Catalog.load(store)).access_keys("default") == catalog.access_keys("default")


async def test_first_start_that_cannot_store_its_keys_says_why(store: Store) -> None:
    full = Between(store)
    full.full = True

    with pytest.raises(StartFailed, match="cannot store the first keys: the disk is full"):
        await Catalog.load(full)


async def test_two_first_starts_at_once_end_with_the_same_keys(store: Store) -> None:
    catalogs = await asyncio.gather(*(Catalog.load(store) for _ in range(5)))

    assert len({catalog.access_keys("default").primary for catalog in catalogs}) == 1
    assert len({catalog.recovery_key() for catalog in catalogs}) == 1


@pytest.mark.parametrize(("kind", "key"), [("resource", "default"), ("signingKey", "recovery")])
async def test_damaged_store_stops_the_start(store: Store, kind: str, key: str) -> None:
    await Catalog.load(store)
    await store.commit([Change(kind, key, {"value": "x"})])

    with pytest.raises(StartFailed, match=f"{kind} {key} is damaged"):
        await Catalog.load(store)


@pytest.mark.parametrize(("kind", "key"), [("resource", "default"), ("signingKey", "recovery")])
async def test_store_with_a_part_missing_stops_the_start(store: Store, kind: str, key: str) -> None:
    """New keys in the place of lost ones would lock everybody out without a word."""
    await Catalog.load(store)
    await store.commit([Change(kind, key, None)])

    with pytest.raises(StartFailed, match=f"{kind} {key}"):
        await Catalog.load(store)


async def test_more_hubs_than_a_page_are_read(store: Store) -> None:
    catalog = await Catalog.load(store)
    await store.commit([Change("hub", f"default/h{n}", {"name": f"H{n}", "properties": {}}) for n in range(450)])

    again = await Catalog.load(store)

    assert await catalog.list_hubs() == []
    assert len(await again.list_hubs()) == 450


# Keys


async def test_rotation_replaces_one_key_at_once(catalog: Catalog) -> None:
    before = catalog.access_keys("default")

    first = await catalog.rotate_key("default", "primary")
    assert first == catalog.access_keys("default")
    assert (first.primary != before.primary, first.secondary) == (True, before.secondary)

    second = await catalog.rotate_key("default", "secondary")
    assert second == catalog.access_keys("default")
    assert (second.primary, second.secondary != before.secondary) == (first.primary, True)


@pytest.mark.parametrize(("kind", "other"), [("primary", "secondary"), ("secondary", "primary")])
async def test_token_of_a_replaced_key_is_refused_at_once(catalog: Catalog, kind: KeyKind, other: KeyKind) -> None:
    principals = Principals(catalog, (), 0)
    key = getattr(catalog.access_keys("default"), kind)
    claims = {"aud": "http://h/client/hubs/chat", "sub": "alice", "exp": time.time() + 60}
    token = jwt.sign(claims, key.encode())

    await catalog.rotate_key("default", other)
    await catalog.rotate_key("default", "salt")
    assert principals.client(token, CHAT, "/client/hubs/chat", "h").user_id == "alice"
    await catalog.rotate_key("default", kind)

    with pytest.raises(Unauthorized):
        principals.client(token, CHAT, "/client/hubs/chat", "h")


@pytest.mark.parametrize("kind", ["primary", "salt"])
async def test_token_that_the_server_issued_is_taken_back_by_its_key_and_by_the_salt(
    catalog: Catalog, kind: KeyKind
) -> None:
    principals = Principals(catalog, (), 0)
    token = principals.issue_client_token("default", "http://h/client/hubs/chat", "alice", [], [], 60)

    await catalog.rotate_key("default", "secondary")
    assert principals.client(token, CHAT, "/client/hubs/chat", "h").user_id == "alice"
    await catalog.rotate_key("default", kind)

    with pytest.raises(Unauthorized):
        principals.client(token, CHAT, "/client/hubs/chat", "h")


async def test_rotation_leaves_reconnection_tokens_alone(catalog: Catalog) -> None:
    before = catalog.recovery_key()

    for kind in get_args(KeyKind):
        await catalog.rotate_key("default", kind)

    assert catalog.recovery_key() == before


async def test_resource_names_have_any_letter_case(catalog: Catalog) -> None:
    await catalog.rotate_key("DEFAULT", "primary")

    assert catalog.access_keys("Default") == catalog.access_keys("default")


async def test_unknown_resource_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        catalog.access_keys("other")
    with pytest.raises(NotFound):
        await catalog.rotate_key("other", "primary")
    with pytest.raises(NotFound):
        await catalog.put_hub("chat", {}, "other")
    with pytest.raises(NotFound):
        await catalog.patch_hub("chat", {}, "other")
    assert await catalog.get_hub("chat", "other") is None
    assert await catalog.list_hubs("other") == []
    assert not await catalog.delete_hub("chat", "other")


async def test_keys_that_could_not_be_stored_do_not_hold(store: Store) -> None:
    between = Between(store)
    catalog = await Catalog.load(between)
    before = catalog.access_keys("default")
    between.failing = True

    with pytest.raises(PreconditionFailed):
        await catalog.rotate_key("default", "primary")

    assert catalog.access_keys("default") == before


async def test_rotation_holds_even_if_its_caller_gives_up(store: Store) -> None:
    """It is stored, so the old key must not be good any more."""
    between = Between(store)
    catalog = await Catalog.load(between)
    before = catalog.access_keys("default")
    between.committed.clear()
    between.released.clear()
    rotating = asyncio.create_task(catalog.rotate_key("default", "primary"))
    await between.committed.wait()

    rotating.cancel()
    await asyncio.gather(rotating, return_exceptions=True)
    between.released.set()
    after: AccessKeys = await catalog.rotate_key("default", "secondary")

    assert rotating.cancelled()
    assert after.primary != before.primary
    assert (await Catalog.load(store)).access_keys("default") == after


# Hubs


async def test_hub_that_nobody_configured_has_the_defaults(catalog: Catalog) -> None:
    assert catalog.settings(CHAT) == HubSettings()
    assert await catalog.get_hub("chat") is None
    assert await catalog.list_hubs() == []


async def test_put_hub_holds_at_once_and_is_shown_complete(catalog: Catalog) -> None:
    put = await catalog.put_hub("Chat", {"anonymousConnectPolicy": "Allow"})

    assert put == {"name": "Chat", "properties": {**DEFAULTS, "anonymousConnectPolicy": "allow"}}
    assert await catalog.get_hub("Chat") == put
    assert catalog.settings(CHAT) == HubSettings(anonymous_connect_policy="allow")
    assert catalog.settings(HubKey("default", "chat2")) == HubSettings()
    assert catalog.settings(HubKey("other", "chat")) == HubSettings()


async def test_put_replaces_what_was_there(catalog: Catalog) -> None:
    await catalog.put_hub("chat", {"anonymousConnectPolicy": "allow", "x": 1})

    put = await catalog.put_hub("chat", {"webSocketKeepAliveIntervalInSeconds": 5})

    assert put["properties"] == {**DEFAULTS, "webSocketKeepAliveIntervalInSeconds": 5}
    assert catalog.settings(CHAT) == HubSettings(web_socket_keep_alive_interval_in_seconds=5)


async def test_patch_keeps_what_it_does_not_name(catalog: Catalog) -> None:
    await catalog.put_hub("chat", {"anonymousConnectPolicy": "allow", "x": 1})

    patched = await catalog.patch_hub("chat", {"webSocketKeepAliveIntervalInSeconds": 5})

    assert patched["properties"] == {
        **DEFAULTS,
        "anonymousConnectPolicy": "allow",
        "webSocketKeepAliveIntervalInSeconds": 5,
        "x": 1,
    }
    assert await catalog.get_hub("chat") == patched
    assert catalog.settings(CHAT).web_socket_keep_alive_interval_in_seconds == 5


async def test_hub_that_nobody_configured_cannot_be_patched(catalog: Catalog) -> None:
    for name in ("chat", "1 no name"):
        with pytest.raises(NotFound):
            await catalog.patch_hub(name, {})

    assert await catalog.list_hubs() == []


async def test_hub_keeps_its_first_spelling(catalog: Catalog) -> None:
    await catalog.put_hub("Chat", {})

    assert (await catalog.put_hub("CHAT", {"x": 1}))["name"] == "Chat"
    assert (await catalog.patch_hub("chat", {"y": 1}))["name"] == "Chat"
    assert await catalog.get_hub("cHAT") == {"name": "Chat", "properties": {**DEFAULTS, "x": 1, "y": 1}}
    assert len(await catalog.list_hubs()) == 1

    await catalog.delete_hub("CHAT")
    assert (await catalog.put_hub("CHAT", {}))["name"] == "CHAT"


async def test_hubs_are_listed_by_name_without_case(catalog: Catalog) -> None:
    for name in ("b", "C", "a_`,.[]", "A"):
        await catalog.put_hub(name, {})

    assert [hub["name"] for hub in await catalog.list_hubs()] == ["A", "a_`,.[]", "b", "C"]


async def test_deleted_hub_has_the_defaults_again(catalog: Catalog) -> None:
    await catalog.put_hub("Chat", {"anonymousConnectPolicy": "allow"})

    assert await catalog.delete_hub("chat")

    assert not await catalog.delete_hub("chat")
    assert await catalog.get_hub("chat") is None
    assert catalog.settings(CHAT) == HubSettings()


@pytest.mark.parametrize(
    "name", ["", "1chat", "_chat", "a b", "a/b", "a-b", "ä", "x" * 129, "chat\n", "\udcff", "\u212a"]
)
async def test_illegal_name_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(BadRequest) as failed:
        await catalog.put_hub(name, {})

    assert failed.value.target == "hub"
    assert await catalog.get_hub(name) is None
    assert not await catalog.delete_hub(name)


async def test_letter_whose_lower_case_is_ascii_names_no_hub(catalog: Catalog) -> None:
    """The Kelvin sign is a k in lower case."""
    await catalog.put_hub("k", {})

    assert await catalog.get_hub("\u212a") is None
    assert not await catalog.delete_hub("\u212a")


async def test_illegal_property_changes_nothing(catalog: Catalog) -> None:
    before = await catalog.put_hub("chat", {"x": 1})

    illegal: tuple[dict[str, Any], ...] = ({"anonymousConnectPolicy": "maybe"}, {"eventHandlers": [{}]})
    for properties in illegal:
        with pytest.raises(BadRequest):
            await catalog.put_hub("chat", properties)
        with pytest.raises(BadRequest):
            await catalog.patch_hub("chat", properties)

    assert await catalog.get_hub("chat") == before


async def test_hub_that_could_not_be_stored_does_not_hold(store: Store) -> None:
    between = Between(store)
    catalog = await Catalog.load(between)
    before = await catalog.put_hub("chat", {})
    between.failing = True

    with pytest.raises(PreconditionFailed):
        await catalog.put_hub("chat", {"anonymousConnectPolicy": "allow"})
    with pytest.raises(PreconditionFailed):
        await catalog.delete_hub("chat")

    assert await catalog.get_hub("chat") == before
    assert catalog.settings(CHAT) == HubSettings()


async def test_what_is_shown_is_a_copy(catalog: Catalog) -> None:
    await catalog.put_hub("chat", {"x": [1]})

    shown = await catalog.get_hub("chat")
    assert shown is not None
    shown["properties"]["x"].append(2)
    (await catalog.list_hubs())[0]["properties"]["x"].append(3)

    assert await catalog.get_hub("chat") == {"name": "chat", "properties": {**DEFAULTS, "x": [1]}}


async def test_patches_at_once_lose_nothing(catalog: Catalog) -> None:
    await catalog.put_hub("chat", {})

    await asyncio.gather(*(catalog.patch_hub("chat", {f"x{number}": number}) for number in range(10)))

    shown = await catalog.get_hub("chat")
    assert shown is not None
    assert shown["properties"] == {**DEFAULTS, **{f"x{number}": number for number in range(10)}}


# Findings of event handlers


async def test_findings_are_told_until_the_hub_is_changed_otherwise(catalog: Catalog) -> None:
    """What was found at one save is no news of a later one, which has not looked at the handlers."""
    reviewed: list[HubKey] = []

    async def review(hub: HubKey, settings: HubSettings) -> list[str]:
        reviewed.append(hub)
        return [f"{handler['urlTemplate']} does not answer" for handler in settings.event_handlers]

    catalog.review = review
    finding, no_identity = "http://h does not answer", "eventHandlers with a token get no events"
    auth = {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}
    handlers = {"eventHandlers": [{"urlTemplate": "http://h", "auth": auth}]}

    await catalog.put_hub("chat", handlers)
    first, second = catalog.hub_warnings("chat")
    assert (first[: len(no_identity)], second) == (no_identity, finding)
    await catalog.patch_hub("Chat", {"webSocketKeepAliveIntervalInSeconds": 30})
    assert catalog.hub_warnings("chat") == [first]
    assert reviewed == [CHAT]

    await catalog.patch_hub("chat", {"EVENTHANDLERS": [{"urlTemplate": "http://h"}]})
    assert catalog.hub_warnings("chat") == [finding]
    await catalog.patch_hub("chat", {"eventHandlers": None})
    assert catalog.hub_warnings("chat") == []


async def test_findings_end_with_their_hub(catalog: Catalog) -> None:
    async def review(_hub: HubKey, _settings: HubSettings) -> list[str]:
        return ["nobody answers"]

    catalog.review = review
    await catalog.put_hub("chat", {"eventHandlers": [{"urlTemplate": "http://h"}]})
    assert catalog.hub_warnings("chat") == ["nobody answers"]

    await catalog.delete_hub("chat")
    assert catalog.hub_warnings("chat") == []

from typing import Any

import pytest

from hubwire.model.errors import StartFailed
from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey
from hubwire.model.ports import Change, Document
from hubwire.resources.documents import (
    StoredHub,
    StoredResource,
    hub_change,
    hub_deletion,
    read_hub,
    read_resource,
    read_signing_key,
    resource_change,
    signing_key_change,
)
from hubwire.resources.hub_properties import completed

KEYS = AccessKeys("p" * 32, "s" * 32)


def stored(change: Change) -> Document:
    assert change.body is not None
    return Document(change.kind, change.key, change.body, "etag")


def test_resource_comes_back() -> None:
    resource = StoredResource("Default", KEYS)

    change = resource_change(resource, "absent")

    assert (change.kind, change.key, change.expect) == ("resource", "default", "absent")
    assert read_resource(stored(change)) == resource


def test_hub_comes_back() -> None:
    key, hub = HubKey("default", "chat"), StoredHub("Chat", completed({"x": [1]}))

    change = hub_change(key, hub)

    assert (change.kind, change.key) == ("hub", "default/chat")
    assert read_hub(stored(change)) == (key, hub)
    assert hub_deletion(key) == Change("hub", "default/chat", None)


def test_signing_key_comes_back() -> None:
    value = bytes(range(32))

    assert read_signing_key(stored(signing_key_change("recovery", value))) == value


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "default"},
        {"name": "default", "keys": None},
        {"name": "default", "keys": {"primary": "p" * 32}},
        {"name": "default", "keys": {"primary": "p" * 32, "secondary": "TOP-SECRET"}},
        {"name": "default", "keys": {"primary": "TOP-SECRET;" * 9, "secondary": "s" * 32}},
        {"name": 1, "keys": {"primary": "p" * 32, "secondary": "s" * 32}},
    ],
)
def test_damaged_resource_is_named_and_not_shown(body: dict[str, Any]) -> None:
    with pytest.raises(StartFailed, match="the stored resource default is damaged") as failed:
        read_resource(Document("resource", "default", body, "etag"))

    assert "SECRET" not in str(failed.value)


@pytest.mark.parametrize("body", [{}, {"value": 1}, {"value": "%"}, {"value": "AAAA"}, {"value": None}])
def test_damaged_signing_key_is_named(body: dict[str, Any]) -> None:
    with pytest.raises(StartFailed, match="the stored signingKey recovery is damaged"):
        read_signing_key(Document("signingKey", "recovery", body, "etag"))


@pytest.mark.parametrize("body", [{}, {"name": "Chat"}, {"name": "Chat", "properties": []}, {"properties": {}}])
def test_damaged_hub_is_named(body: dict[str, Any]) -> None:
    with pytest.raises(StartFailed, match="the stored hub default/chat is damaged"):
        read_hub(Document("hub", "default/chat", body, "etag"))


def test_hub_of_a_version_that_knew_event_handlers_is_refused() -> None:
    """It would otherwise run without calling the application, and nobody would know why."""
    body = {"name": "Chat", "properties": {"eventHandlers": [{"urlTemplate": "https://example.com"}]}}

    with pytest.raises(StartFailed, match="hub default/chat cannot be used: eventHandlers must be empty"):
        read_hub(Document("hub", "default/chat", body, "etag"))


def test_keys_do_not_show_in_the_text_of_a_resource() -> None:
    assert "pppp" not in repr(StoredResource("default", KEYS))

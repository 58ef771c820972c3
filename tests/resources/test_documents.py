from typing import Any

import pytest

from hubwire.model.errors import StartFailed
from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey
from hubwire.model.ports import Change, Document
from hubwire.resources.documents import (
    Identity,
    StoredGroup,
    StoredHub,
    StoredResource,
    group_change,
    group_deletion,
    hub_change,
    hub_deletion,
    read_group,
    read_hub,
    read_resource,
    read_signing_key,
    resource_change,
    resource_deletion,
    signing_key_change,
)
from hubwire.resources.hub_properties import completed
from hubwire.resources.resource_properties import completed as completed_resource
from hubwire.resources.resource_properties import sku_of

KEYS = AccessKeys("p" * 32, "s" * 32)


def stored(change: Change) -> Document:
    assert change.body is not None
    return Document(change.kind, change.key, change.body, "etag")


def test_resource_comes_back() -> None:
    resource = StoredResource(
        "Default",
        KEYS,
        subscription="22222222-aaaa-4000-8000-000000000002",
        group="Group",
        location="East US",
        kind="SocketIO",
        tags={"a": "b"},
        sku=sku_of({"name": "Standard_S1", "capacity": 5}),
        identity=Identity("SystemAssigned", None, "principal", "client"),
        properties=completed_resource({"tls": {"clientCertEnabled": True}, "x": [1, None]}),
        ports=(8081, 8444),
        replicas={"one": {"location": "westus"}},
        created_at=1,
        changed_at=2,
    )

    change = resource_change(resource, "absent")

    assert (change.kind, change.key, change.expect) == ("resource", "default", "absent")
    assert read_resource(stored(change)) == resource
    assert resource_deletion("Default") == Change("resource", "default", None)


def test_resource_of_a_version_that_knew_of_keys_alone_is_completed() -> None:
    """It gets what it had in effect: everything, and as many connections as there can be."""
    body = {"name": "default", "keys": {"primary": "p" * 32, "secondary": "s" * 32}}

    found = read_resource(Document("resource", "default", body, "etag"))

    assert found.keys == AccessKeys("p" * 32, "s" * 32, "")
    assert found.sku == {"name": "Premium_P2", "tier": "Premium", "size": "P2", "capacity": 1000}
    assert found.properties == completed_resource({})
    assert (found.subscription, found.group, found.location, found.ports) == ("", "hubwire", "local", (0, 0))


@pytest.mark.parametrize(
    "more", [{"sku": {"name": "Basic"}}, {"properties": {"resourceStopped": 7}}, {"properties": {"tls": []}}]
)
def test_resource_that_cannot_be_is_named(more: dict[str, Any]) -> None:
    body = {"name": "default", "keys": {"primary": "p" * 32, "secondary": "s" * 32}, **more}

    with pytest.raises(StartFailed, match="the stored resource default cannot be used: "):
        read_resource(Document("resource", "default", body, "etag"))


def test_group_comes_back() -> None:
    group = StoredGroup("Group", "S", "eastus", {"a": "b"}, "somebody")

    change = group_change(group)

    assert (change.kind, change.key) == ("resourceGroup", "s/group")
    assert read_group(stored(change)) == group
    assert group_deletion(group) == Change("resourceGroup", "s/group", None)


@pytest.mark.parametrize("body", [{}, {"name": "g"}, {"name": "g", "subscription": 1}, {"name": "g", "tags": []}])
def test_damaged_group_is_named(body: dict[str, Any]) -> None:
    with pytest.raises(StartFailed, match="the stored resourceGroup s/g is damaged"):
        read_group(Document("resourceGroup", "s/g", body, "etag"))


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


def test_handler_that_cannot_be_is_left_out_and_the_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    """A rule that came after it was stored keeps no server from its start."""
    good = {"urlTemplate": "http://app.example/"}
    body = {"name": "Chat", "properties": {"eventHandlers": [{"urlTemplate": "ftp://example.com"}, good]}}

    _, hub = read_hub(Document("hub", "default/chat", body, "etag"))

    assert hub.properties["eventHandlers"] == [good]
    [line] = caplog.messages
    assert line.startswith("an event handler of the stored hub default/chat is left out: eventHandlers[0].urlTemplate")


def test_hub_that_cannot_be_is_refused() -> None:
    body = {"name": "Chat", "properties": {"anonymousConnectPolicy": "perhaps"}}

    with pytest.raises(StartFailed, match="hub default/chat cannot be used: anonymousConnectPolicy must"):
        read_hub(Document("hub", "default/chat", body, "etag"))


def test_keys_do_not_show_in_the_text_of_a_resource() -> None:
    assert "pppp" not in repr(StoredResource("default", KEYS))

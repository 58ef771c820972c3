"""What is kept and does nothing is said, and what acts is not."""

from typing import Any

import pytest
from msgspec.structs import replace

from hubwire.model.hubs import AccessKeys
from hubwire.resources.documents import Identity, StoredHub, StoredResource
from hubwire.resources.effects import ignored, ignored_of_hub
from hubwire.resources.hub_properties import completed as completed_hub
from hubwire.resources.resource_properties import completed, sku_of

PLAIN: dict[str, Any] = {"urlTemplate": "http://h"}
WITH_TOKEN = {**PLAIN, "auth": {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}}
WITH_REFERENCE = {"urlTemplate": "http://h?code={@microsoft.keyvault(SecretUri=https://v.vault.azure.net/secrets/c)}"}


def warnings(body: dict[str, Any]) -> list[str]:
    resource = StoredResource(
        "wps-one",
        AccessKeys("", ""),
        kind=body.get("kind", "WebPubSub"),
        sku=sku_of(body.get("sku")),
        properties=completed(body.get("properties")),
    )
    return ignored(resource, body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"properties": None},
        {"properties": {"disableLocalAuth": True, "disableAadAuth": True, "resourceStopped": "true"}},
        {"properties": {"publicNetworkAccess": "Disabled", "networkACLs": {"defaultAction": "Deny"}}},
        {"properties": {"regionEndpointEnabled": "Enabled", "socketIO": None}},
        {"sku": {"name": "Standard_S1"}, "properties": {"tls": {"clientCertEnabled": True}}},
        {"sku": {"name": "Free_F1"}, "properties": {"tls": {"clientCertEnabled": False}}},
        {"sku": {"name": "Free_F1"}},
    ],
)
def test_what_acts_needs_no_warning(body: dict[str, Any]) -> None:
    assert warnings(body) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("liveTraceConfiguration", {"enabled": "true"}),
        ("resourceLogConfiguration", {"categories": []}),
        ("applicationFirewall", {"clientConnectionCountRules": []}),
        ("socketIO", {"serviceMode": "Default"}),
        ("regionEndpointEnabled", "Disabled"),
    ],
)
def test_property_that_does_nothing_is_named(name: str, value: object) -> None:
    (warning,) = warnings({"properties": {name: value}})

    assert warning.startswith(f"{name} is kept and does nothing here")


def test_kind_that_is_not_served_is_said() -> None:
    assert warnings({"kind": "SocketIO"}) == ["Socket.IO clients are not served here"]


@pytest.mark.parametrize("properties", [{"tls": {"clientCertEnabled": True}}, {"TLS": {"ClientCertEnabled": True}}])
def test_certificates_of_the_free_tier_are_said_to_be_ignored(properties: dict[str, Any]) -> None:
    body = {"sku": {"name": "Free_F1"}, "properties": properties}

    assert warnings(body) == ["tls.clientCertEnabled is ignored on Free_F1"]


def test_several_warnings_come_one_by_one() -> None:
    assert len(warnings({"kind": "SocketIO", "properties": {"socketIO": {"serviceMode": "Default"}}})) == 2


def test_listeners_that_are_not_called_are_said() -> None:
    handler = {"urlTemplate": "http://h"}
    listener = {
        "filter": {"type": "EventName"},
        "endpoint": {"type": "EventHub", "fullyQualifiedNamespace": "a", "eventHubName": "b"},
    }

    assert ignored_of_hub(StoredHub("chat", completed_hub({}))) == []
    found = ignored_of_hub(StoredHub("chat", completed_hub({"eventHandlers": [handler], "eventListeners": [listener]})))
    assert [text.split(" ")[0] for text in found] == ["eventListeners"]


def test_property_of_a_hub_that_nobody_knows_is_said() -> None:
    handler = {"urlTemplate": "http://h", "systemEvnts": ["connect"]}
    hub = StoredHub("chat", completed_hub({"anonymusConnectPolicy": "allow", "eventHandlers": [handler]}))

    assert ignored_of_hub(hub) == [
        "properties.anonymusConnectPolicy is not known here: it is kept and does nothing",
        "properties.eventHandlers[0].systemEvnts is not known here: it is kept and does nothing",
    ]


@pytest.mark.parametrize(("count", "last"), [(10, "properties.x9 is"), (11, "1 more are"), (100, "90 more are")])
def test_many_unknown_properties_are_counted(count: int, last: str) -> None:
    found = ignored_of_hub(StoredHub("chat", completed_hub({f"x{number}": 1 for number in range(count)})))

    assert len(found) == min(count, 11)
    assert found[-1].startswith(f"{last} not known here")


@pytest.mark.parametrize(
    ("handlers", "needs"),
    [
        ([], None),
        ([PLAIN, {**PLAIN, "auth": {"type": "None"}}, {**PLAIN, "auth": None}], None),
        ([PLAIN, WITH_TOKEN], "a token"),
        ([WITH_REFERENCE], "a Key Vault reference"),
        ([WITH_REFERENCE, WITH_TOKEN, WITH_TOKEN], "a token or a Key Vault reference"),
    ],
)
def test_handler_that_needs_the_identity_that_is_missing_is_said(handlers: list[Any], needs: str | None) -> None:
    hub = StoredHub("chat", completed_hub({"eventHandlers": handlers}))
    resource = StoredResource("wps-one", AccessKeys("", ""), sku=sku_of(None), properties=completed({}))
    told = (
        f"eventHandlers with {needs} get no events, in chat: the resource wps-one has no identity, which "
        "`hubwire resource set wps-one --identity system` gives it"
    )

    assert ignored_of_hub(hub, resource) == ([] if needs is None else [told])
    assert ignored(resource, {}, None, [hub]) == ([] if needs is None else [told])
    assert ignored_of_hub(hub) == []
    assert ignored(resource, {}) == []
    for identity in (Identity("SystemAssigned"), Identity("UserAssigned", "/x")):
        assert ignored_of_hub(hub, replace(resource, identity=identity)) == []


@pytest.mark.parametrize(
    ("count", "told"), [(2, "chat0, chat1:"), (10, "chat9:"), (11, "chat9, 1 more:"), (1000, "chat9, 990 more:")]
)
def test_hubs_whose_handlers_miss_their_identity_are_named_or_counted(count: int, told: str) -> None:
    resource = StoredResource("wps-one", AccessKeys("", ""), sku=sku_of(None), properties=completed({}))
    properties = completed_hub({"eventHandlers": [WITH_TOKEN]})
    hubs = [StoredHub(f"chat{number}", properties) for number in range(count)]

    (found,) = ignored(resource, {}, None, [StoredHub("other", completed_hub({})), *hubs])

    assert f"{told} the resource wps-one has no identity" in found
    assert "other" not in found

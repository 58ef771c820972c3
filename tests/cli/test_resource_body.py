"""Options of a resource as the body of a request."""

from typing import Any

import pytest

from hubwire.cli.faults import BadCommandLine
from hubwire.cli.resource_body import Wanted, body_of

ACLS = {
    "defaultAction": "Deny",
    "publicNetwork": {"allow": ["RESTAPI"], "deny": ["Trace"]},
    "ipRules": [{"value": "10.0.0.0/8", "action": "Allow"}],
    "privateEndpoints": [],
}
OLD = {
    "sku": {"name": "Premium_P1", "tier": "Premium", "capacity": 2},
    "tags": {"a": "1", "b": "2"},
    "properties": {
        "networkACLs": ACLS,
        "tls": {"clientCertEnabled": False, "more": 1},
        "deep": {"a": {"b": 1}, "c": 2},
    },
}
IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        (Wanted(), {}),
        (Wanted(location="East US"), {"location": "East US"}),
        (Wanted(sku="Free_F1"), {"sku": {"name": "Free_F1"}}),
        (Wanted(capacity=3), {"sku": {"name": "Premium_P1", "capacity": 3}}),
        (Wanted(sku="Standard_S1", capacity=3), {"sku": {"name": "Standard_S1", "capacity": 3}}),
        (Wanted(tags=("a=", "c=d=e")), {"tags": {"b": "2", "c": "d=e"}}),
        (Wanted(tags=("none=",)), {"tags": {"a": "1", "b": "2"}}),
        (Wanted(identity="None"), {"identity": {"type": "None"}}),
        (Wanted(identity="system"), {"identity": {"type": "SystemAssigned"}}),
        (
            Wanted(identity=IDENTITY),
            {"identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}},
        ),
        (Wanted(client_certificates=True), {"properties": {"tls": {"clientCertEnabled": True, "more": 1}}}),
        (
            Wanted(local_auth=False, entra_auth=True),
            {"properties": {"disableLocalAuth": True, "disableAadAuth": False}},
        ),
        (Wanted(public_network_access=False), {"properties": {"publicNetworkAccess": "Disabled"}}),
        (Wanted(stopped=False), {"properties": {"resourceStopped": "false"}}),
    ],
)
def test_each_option_is_its_part_of_the_body(wanted: Wanted, body: dict[str, Any]) -> None:
    """What is not named is not in it."""
    assert body_of(wanted, OLD) == body


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        (Wanted(default_action="allow"), {"defaultAction": "Allow"}),
        (Wanted(allow=("Trace",)), {"publicNetwork": {"allow": ["RESTAPI", "Trace"], "deny": []}}),
        (Wanted(allow=("RESTAPI", "RESTAPI")), {}),
        (Wanted(deny=("RESTAPI",)), {"publicNetwork": {"allow": [], "deny": ["Trace", "RESTAPI"]}}),
        (Wanted(ip_rules=("none",)), {"ipRules": []}),
        (
            Wanted(ip_rules=("Deny:2001:db8::/32", "allow:10.0.0.1")),
            {"ipRules": [{"value": "2001:db8::/32", "action": "Deny"}, {"value": "10.0.0.1", "action": "Allow"}]},
        ),
    ],
)
def test_network_rules_are_merged_because_the_service_replaces_them(wanted: Wanted, changed: dict[str, Any]) -> None:
    """And what is there already is not changed in place."""
    assert body_of(wanted, OLD) == {"properties": {"networkACLs": {**ACLS, **changed}}}
    assert ACLS["publicNetwork"] == {"allow": ["RESTAPI"], "deny": ["Trace"]}


def test_network_rules_of_a_new_resource_begin_with_everything_allowed() -> None:
    assert body_of(Wanted(deny=("Trace",)), {})["properties"]["networkACLs"] == {
        "defaultAction": "Allow",
        "publicNetwork": {"allow": ["ClientConnection", "ServerConnection", "RESTAPI"], "deny": ["Trace"]},
    }


@pytest.mark.parametrize(
    ("assignments", "body"),
    [
        (("regionEndpointEnabled=Disabled",), {"properties": {"regionEndpointEnabled": "Disabled"}}),
        (("properties.a=1",), {"properties": {"a": 1}}),
        (("a=true", "b=null", 'c={"d": [1]}'), {"properties": {"a": True, "b": None, "c": {"d": [1]}}}),
        (("deep.a.x=3",), {"properties": {"deep": {"a": {"b": 1, "x": 3}, "c": 2}}}),
        (("new.a.x=3", "new.b=4"), {"properties": {"new": {"a": {"x": 3}, "b": 4}}}),
        (("kind=SocketIO",), {"kind": "SocketIO"}),
        (("sku.capacity=4",), {"sku": {"name": "Premium_P1", "tier": "Premium", "capacity": 4}}),
        (('a="1=2"',), {"properties": {"a": "1=2"}}),
    ],
)
def test_any_property_can_be_named_by_its_path(assignments: tuple[str, ...], body: dict[str, Any]) -> None:
    """What the service would replace as a whole stays but for that."""
    assert body_of(Wanted(properties=assignments), OLD) == body


def test_named_property_joins_those_with_options() -> None:
    wanted = Wanted(client_certificates=True, properties=("tls.other=2",))

    assert body_of(wanted, OLD) == {"properties": {"tls": {"clientCertEnabled": True, "more": 1, "other": 2}}}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(tags=("a",)), "--tag wants NAME=VALUE, not 'a'"),
        (Wanted(tags=("=a",)), "--tag wants"),
        (Wanted(identity="mine"), "--identity wants none, system or a resource id, not 'mine'"),
        (Wanted(allow=("Trace",), deny=("Trace",)), "--allow and --deny both name Trace"),
        (Wanted(ip_rules=("10.0.0.0/8",)), "--ip-rule wants"),
        (Wanted(ip_rules=("maybe:10.0.0.0/8",)), "--ip-rule wants"),
        (Wanted(ip_rules=("allow:",)), "--ip-rule wants"),
        (Wanted(properties=("a",)), "--property wants PATH=JSON"),
        (Wanted(properties=("a..b=1",)), "--property wants PATH=JSON"),
        (Wanted(properties=("properties=1",)), "--property sets one property"),
        (Wanted(properties=("a={b",)), "--property a: the value is not JSON"),
    ],
)
def test_option_that_cannot_be_used_is_told(wanted: Wanted, words: str) -> None:
    with pytest.raises(BadCommandLine) as refused:
        body_of(wanted, OLD)

    assert words in refused.value.message

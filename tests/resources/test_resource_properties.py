"""A webPubSub resource as it arrives: defaults, every property, what is refused, kept or dropped."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubwire.model.errors import BadRequest
from hubwire.model.network import OPEN, network_rules
from hubwire.resources.resource_properties import (
    SKUS,
    completed,
    identity_of,
    is_group_name,
    is_identity_name,
    is_location,
    is_resource_name,
    kind_of,
    merged,
    quota_of,
    sku_of,
    tags_of,
)

TYPES = ["ClientConnection", "ServerConnection", "RESTAPI", "Trace"]
DEFAULTS: dict[str, Any] = {
    "tls": {"clientCertEnabled": False},
    "networkACLs": {
        "defaultAction": "Allow",
        "publicNetwork": {"allow": TYPES, "deny": []},
        "privateEndpoints": [],
    },
    "publicNetworkAccess": "Enabled",
    "disableLocalAuth": False,
    "disableAadAuth": False,
    "regionEndpointEnabled": "Enabled",
    "resourceStopped": "false",
}
IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
OTHER_IDENTITY = f"{IDENTITY}-too"


def fault(check: Callable[[], object]) -> BadRequest:
    with pytest.raises(BadRequest) as failed:
        check()
    return failed.value


# Properties


@pytest.mark.parametrize("given", [None, {}, dict.fromkeys(DEFAULTS)])
def test_nothing_given_is_all_defaults(given: object) -> None:
    assert completed(given) == DEFAULTS


def test_defaults_keep_nobody_out() -> None:
    rules = network_rules(completed({})["networkACLs"], completed({})["publicNetworkAccess"])

    assert all(rules.refusal(kind, "192.0.2.1") is OPEN.refusal(kind, "192.0.2.1") is None for kind in TYPES)  # type: ignore[arg-type]


GOOD: list[tuple[str, Any, Any]] = [
    ("tls", {"clientCertEnabled": True}, {"clientCertEnabled": True}),
    ("tls", {}, {"clientCertEnabled": False}),
    ("tls", {"CLIENTCERTENABLED": True, "x": 1}, {"clientCertEnabled": True, "x": 1}),
    (
        "liveTraceConfiguration",
        {"enabled": "False", "categories": [{"name": "ConnectivityLogs", "enabled": "TRUE"}]},
        {"enabled": "false", "categories": [{"name": "ConnectivityLogs", "enabled": "true"}]},
    ),
    ("resourceLogConfiguration", {"categories": [{"name": "x", "enabled": True}]}, None),
    ("networkACLs", {}, {"defaultAction": "Allow", "privateEndpoints": []}),
    (
        "networkACLs",
        {
            "defaultAction": "deny",
            "publicNetwork": {"allow": ["restapi", "CLIENTCONNECTION"], "deny": []},
            "privateEndpoints": [{"name": "one", "allow": ["trace"]}],
            "ipRules": [{"value": "10.0.0.0/8", "action": "allow"}, {"value": "AzureCloud.eastus", "action": "Deny"}],
        },
        {
            "defaultAction": "Deny",
            "publicNetwork": {"allow": ["RESTAPI", "ClientConnection"], "deny": []},
            "privateEndpoints": [{"name": "one", "allow": ["Trace"]}],
            "ipRules": [{"value": "10.0.0.0/8", "action": "Allow"}, {"value": "AzureCloud.eastus", "action": "Deny"}],
        },
    ),
    ("publicNetworkAccess", "disabled", "Disabled"),
    ("disableLocalAuth", True, True),
    ("disableAadAuth", True, True),
    ("regionEndpointEnabled", "DISABLED", "Disabled"),
    ("resourceStopped", "True", "true"),
    ("resourceStopped", True, "true"),
    ("socketIO", {"serviceMode": "serverless"}, {"serviceMode": "Serverless"}),
    (
        "applicationFirewall",
        {"clientConnectionCountRules": [{"type": "ThrottleByUserIdRule", "maxCount": 20}]},
        {"clientConnectionCountRules": [{"type": "ThrottleByUserIdRule", "maxCount": 20}]},
    ),
    ("somethingNew", {"a": [None, 2**60]}, {"a": [None, 2**60]}),
    ("somethingNew", None, None),
]


@pytest.mark.parametrize(("name", "value", "kept"), GOOD)
def test_property_is_kept_as_the_definition_spells_it(name: str, value: Any, kept: Any) -> None:
    if name == "resourceLogConfiguration":
        kept = {"categories": [{"name": "x", "enabled": "true"}]}

    assert completed({name: value}) == {**DEFAULTS, name: kept}


@pytest.mark.parametrize(("name", "value", "kept"), [row for row in GOOD if row[0] != "somethingNew"])
def test_name_of_a_property_has_any_letter_case(name: str, value: Any, kept: Any) -> None:
    del kept

    assert completed({name.upper(): value}) == completed({name.lower(): value}) == completed({name: value})


def test_what_is_complete_stays_as_it_is() -> None:
    for name, value, _ in GOOD:
        once = completed({name: value})
        assert completed(once) == once


BAD: list[tuple[str, Any, str | None]] = [
    ("tls", [], "tls"),
    ("tls", {"clientCertEnabled": "true"}, "tls.clientCertEnabled"),
    ("tls", {"clientCertEnabled": True, "ClientCertEnabled": False}, "tls.clientCertEnabled"),
    ("liveTraceConfiguration", {"enabled": "maybe"}, "liveTraceConfiguration.enabled"),
    ("liveTraceConfiguration", {"categories": {}}, "liveTraceConfiguration.categories"),
    ("resourceLogConfiguration", {"categories": [{"name": ""}]}, "resourceLogConfiguration.categories[0].name"),
    ("networkACLs", "Allow", "networkACLs"),
    ("networkACLs", {"defaultAction": "maybe"}, "networkACLs.defaultAction"),
    ("networkACLs", {"publicNetwork": {"allow": ["All"]}}, "networkACLs.publicNetwork.allow[0]"),
    ("networkACLs", {"publicNetwork": {"deny": "Trace"}}, "networkACLs.publicNetwork.deny"),
    ("networkACLs", {"privateEndpoints": {}}, "networkACLs.privateEndpoints"),
    ("networkACLs", {"ipRules": [{"value": "10.0.0.1"}]}, "networkACLs.ipRules[0].action"),
    ("networkACLs", {"ipRules": [{"action": "Allow"}]}, "networkACLs.ipRules[0].value"),
    ("networkACLs", {"ipRules": [{"value": "10.0.0.0/33", "action": "Allow"}]}, "networkACLs.ipRules[0].value"),
    ("networkACLs", {"ipRules": [{"value": "10.0.0.1-9", "action": "Allow"}]}, "networkACLs.ipRules[0].value"),
    ("networkACLs", {"ipRules": [{"value": "10.0.0.1", "action": "Log"}]}, "networkACLs.ipRules[0].action"),
    ("networkACLs", {"ipRules": [{"value": "10.0.0.1", "action": "Allow"}] * 31}, "networkACLs.ipRules"),
    ("publicNetworkAccess", True, "publicNetworkAccess"),
    ("publicNetworkAccess", "SecuredByPerimeter", "publicNetworkAccess"),
    ("disableLocalAuth", "true", "disableLocalAuth"),
    ("disableAadAuth", 1, "disableAadAuth"),
    ("regionEndpointEnabled", "", "regionEndpointEnabled"),
    ("resourceStopped", "yes", "resourceStopped"),
    ("resourceStopped", 0, "resourceStopped"),
    ("socketIO", {"serviceMode": "Other"}, "socketIO.serviceMode"),
    ("applicationFirewall", {"clientConnectionCountRules": [{"type": 1}]}, None),
    ("applicationFirewall", {"clientTrafficControlRules": [1]}, None),
    ("somethingNew", [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]], "somethingNew"),
]


@pytest.mark.parametrize(("name", "value", "target"), BAD)
def test_property_that_cannot_be_is_named(name: str, value: Any, target: str | None) -> None:
    error = fault(lambda: completed({name: value}))

    assert error.target is not None
    assert error.target.startswith(f"properties.{target or name}")
    assert error.target in error.message or name in error.message


@pytest.mark.parametrize("value", [[], "x", 1, True])
def test_properties_that_are_no_object_are_refused(value: object) -> None:
    assert fault(lambda: completed(value)).target == "properties"
    assert fault(lambda: merged({}, value)).target == "properties"


def test_property_that_is_given_twice_is_refused() -> None:
    assert fault(lambda: completed({"tls": {}, "TLS": {}})).target == "properties.tls"
    assert fault(lambda: merged(completed({}), {"tls": {}, "TLS": {}})).target == "properties.tls"


@pytest.mark.parametrize(
    "name",
    [
        "provisioningState",
        "externalIP",
        "hostName",
        "publicPort",
        "serverPort",
        "version",
        "hostNamePrefix",
        "privateEndpointConnections",
        "sharedPrivateLinkResources",
        "HOSTNAME",
    ],
)
def test_what_only_the_service_says_is_left_out(name: str) -> None:
    """Clients send back what they were shown."""
    assert completed({name: "anything"}) == DEFAULTS


def test_default_is_nobodys_to_change() -> None:
    completed({})["networkACLs"]["publicNetwork"]["allow"].clear()
    completed({})["tls"]["clientCertEnabled"] = True

    assert completed({}) == DEFAULTS


def test_ip_rules_are_thirty_at_most() -> None:
    rules = [{"value": f"10.0.0.{number}", "action": "Allow"} for number in range(30)]

    assert completed({"networkACLs": {"ipRules": rules}})["networkACLs"]["ipRules"] == rules


# A patch


def test_patch_replaces_what_it_names_and_leaves_the_rest() -> None:
    old = completed({"disableLocalAuth": True, "x": 1, "tls": {"clientCertEnabled": True}})

    assert merged(old, {}) == old
    assert merged(old, {"RESOURCESTOPPED": "true", "y": 2}) == {**old, "resourceStopped": "true", "y": 2}
    assert merged(old, {"tls": {}}) == {**old, "tls": {"clientCertEnabled": False}}


def test_null_in_a_patch_takes_back() -> None:
    old = completed({"disableLocalAuth": True, "x": 1, "socketIO": {"serviceMode": "Default"}})

    assert merged(old, {"disableLocalAuth": None, "x": None, "socketio": None}) == DEFAULTS


def test_patch_is_checked_like_a_whole_and_changes_nothing_itself() -> None:
    old = completed({"x": [1]})

    assert fault(lambda: merged(old, {"disableLocalAuth": 1})).target == "properties.disableLocalAuth"
    merged(old, {"x": [2]})["tls"]["clientCertEnabled"] = True
    assert old == {**DEFAULTS, "x": [1]}


# Skus


def test_no_sku_is_the_smallest_that_has_a_use() -> None:
    assert sku_of(None) == {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"name": "Free_F1"}, {"name": "Free_F1", "tier": "Free", "size": "F1", "capacity": 1}),
        ({"NAME": "standard_s1"}, {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1}),
        (
            {"name": "Premium_P1", "tier": "Premium", "size": "P1", "family": None, "capacity": 20},
            {"name": "Premium_P1", "tier": "Premium", "size": "P1", "capacity": 20},
        ),
        ({"name": "Premium_P2"}, {"name": "Premium_P2", "tier": "Premium", "size": "P2", "capacity": 100}),
        (
            {"name": "Premium_P2", "capacity": None},
            {"name": "Premium_P2", "tier": "Premium", "size": "P2", "capacity": 100},
        ),
        (
            {"name": "Standard_S1", "tier": "free"},
            {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1},
        ),
    ],
)
def test_sku_is_completed_by_its_name(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sku_of(given) == expected


@pytest.mark.parametrize(
    ("name", "capacities"),
    [
        ("Free_F1", [1]),
        ("Standard_S1", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ("Premium_P1", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ("Premium_P2", [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]),
    ],
)
def test_sku_comes_in_so_many_units(name: str, capacities: list[int]) -> None:
    def is_taken(capacity: int) -> bool:
        try:
            return bool(sku_of({"name": name, "capacity": capacity})["capacity"] == capacity)
        except BadRequest:
            return False

    assert [capacity for capacity in range(-1, 1102) if is_taken(capacity)] == capacities


def test_names_within_a_sku_have_any_letter_case() -> None:
    assert sku_of({"Name": "Standard_S1", "Capacity": 5})["capacity"] == 5


@pytest.mark.parametrize("capacity", [True, "1", 1.0, 1.5, [], {}, 2**70])
def test_capacity_is_a_number(capacity: object) -> None:
    assert fault(lambda: sku_of({"name": "Standard_S1", "capacity": capacity})).target == "sku.capacity"


@pytest.mark.parametrize("sku", [{}, {"name": "Standard"}, {"name": "Standard_S2"}, {"tier": "Standard"}])
def test_unknown_sku_is_told_which_ones_there_are(sku: dict[str, Any]) -> None:
    error = fault(lambda: sku_of(sku))

    assert error.target == "sku.name"
    assert all(name in error.message for name in SKUS)


@pytest.mark.parametrize("sku", ["Standard_S1", [], 1, {"name": 1}, {"name": "Standard_S1", "tier": "Gold"}])
def test_sku_of_another_shape_is_refused(sku: object) -> None:
    assert (fault(lambda: sku_of(sku)).target or "").startswith("sku")


@pytest.mark.parametrize(
    ("sku", "quota"),
    [({"name": "Free_F1"}, 20), ({"name": "Standard_S1"}, 1000), ({"name": "Premium_P2", "capacity": 1000}, 1_000_000)],
)
def test_quota_is_that_of_the_units(sku: dict[str, Any], quota: int) -> None:
    assert quota_of(sku_of(sku)) == quota


# The envelope


@pytest.mark.parametrize(("given", "kind"), [(None, "WebPubSub"), ("webpubsub", "WebPubSub"), ("SOCKETIO", "SocketIO")])
def test_kind_has_any_letter_case(given: object, kind: str) -> None:
    assert kind_of(given) == kind


@pytest.mark.parametrize("kind", ["", "SignalR", 1, True, []])
def test_other_kinds_are_refused(kind: object) -> None:
    assert fault(lambda: kind_of(kind)).target == "kind"


@pytest.mark.parametrize("tags", [None, {}, {"a": ""}, {"a" * 512: "b" * 256}, {f"{n}": "x" for n in range(50)}])
def test_tags_are_texts(tags: Any) -> None:
    assert tags_of(tags) == (tags or {})


@pytest.mark.parametrize(
    "tags",
    [
        [],
        "a",
        {"a": 1},
        {"a": None},
        {"": "x"},
        {"a" * 513: "x"},
        {"a": "b" * 257},
        {f"{n}": "x" for n in range(51)},
    ],
)
def test_other_tags_are_refused(tags: object) -> None:
    assert fault(lambda: tags_of(tags)).target == "tags"


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (None, ("None", None)),
        ({}, ("None", None)),
        ({"type": "none"}, ("None", None)),
        ({"type": "systemassigned", "principalId": "sent back"}, ("SystemAssigned", None)),
        ({"type": "SystemAssigned", "userAssignedIdentities": {}}, ("SystemAssigned", None)),
        ({"type": "SystemAssigned", "userAssignedIdentities": {IDENTITY: None}}, ("SystemAssigned", None)),
        ({"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}, ("UserAssigned", IDENTITY)),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {"clientId": "sent back"}}},
            ("UserAssigned", IDENTITY),
        ),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY.upper(): {}, OTHER_IDENTITY: None}},
            ("UserAssigned", IDENTITY.upper()),
        ),
    ],
)
def test_resource_has_one_identity_or_none(identity: object, expected: tuple[str, str | None]) -> None:
    assert identity_of(identity) == expected


@pytest.mark.parametrize(
    "identity",
    [
        [],
        "SystemAssigned",
        {"type": "SystemAssigned,UserAssigned"},
        {"type": "SystemAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        {"type": "None", "userAssignedIdentities": {IDENTITY: {}}},
        {"userAssignedIdentities": {IDENTITY: {}}},
        {"type": "UserAssigned"},
        {"type": "UserAssigned", "userAssignedIdentities": {}},
        {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: None}},
        {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}, OTHER_IDENTITY: {}}},
        {"type": "UserAssigned", "userAssignedIdentities": [IDENTITY]},
        {"type": "UserAssigned", "userAssignedIdentities": IDENTITY},
        {"type": "UserAssigned", "userAssignedIdentities": {"one": {}}},
        {"type": "UserAssigned", "userAssignedIdentities": {f"{IDENTITY}/more": {}}},
    ],
)
def test_other_identities_are_refused(identity: object) -> None:
    assert (fault(lambda: identity_of(identity)).target or "").startswith("identity")


@pytest.mark.parametrize(
    "kind", ["SystemAssigned, UserAssigned", "SystemAssigned,UserAssigned", "userassigned,systemassigned"]
)
def test_both_kinds_of_identity_at_once_are_refused_with_the_reason(kind: str) -> None:
    identity = {"type": kind, "userAssignedIdentities": {IDENTITY: {}}}

    assert "one identity" in fault(lambda: identity_of(identity)).message


@pytest.mark.parametrize("name", ["one", "0ne", "a-b_C", "x" * 128])
def test_name_of_an_identity_is_good(name: str) -> None:
    assert is_identity_name(name)


@pytest.mark.parametrize("name", ["", "on", "-one", "_one", "a b", "a/b", "a.b", "x" * 129, "önE", "one\n"])
def test_name_of_no_identity_is_known(name: str) -> None:
    assert not is_identity_name(name)


def test_names_within_an_identity_have_any_letter_case() -> None:
    assert identity_of({"Type": "UserAssigned", "UserAssignedIdentities": {IDENTITY: {}}}) == ("UserAssigned", IDENTITY)


# Names


@pytest.mark.parametrize("name", ["abc", "A-b", "wps-one", "a" * 63, "a1-2"])
def test_name_of_a_resource(name: str) -> None:
    assert is_resource_name(name)


@pytest.mark.parametrize("name", ["", "ab", "a" * 64, "1ab", "-ab", "ab-", "a_b", "a.b", "äbc", "abc\n", "a b", "a/b"])
def test_no_name_of_a_resource(name: str) -> None:
    assert not is_resource_name(name)


@pytest.mark.parametrize("name", ["g", "my-group", "My_Group.(1)", "1", "größe", "a" * 90])
def test_name_of_a_group(name: str) -> None:
    assert is_group_name(name)


@pytest.mark.parametrize("name", ["", "g.", ".", "a" * 91, "a b", "a/b", "a\n", "a,b"])
def test_no_name_of_a_group(name: str) -> None:
    assert not is_group_name(name)


def test_location_is_any_name_of_a_region() -> None:
    assert all(map(is_location, ["local", "eastus", "East US 2", "a" * 50]))
    assert not any(map(is_location, ["", " eastus", "2east", "east/us", "a" * 51, None, 1, ["eastus"], "eastus\n"]))


# Anything


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    [
        *DEFAULTS,
        *(name for name, _, _ in GOOD),
        *("clientCertEnabled", "enabled", "categories", "name", "defaultAction", "publicNetwork", "allow", "deny"),
        *("privateEndpoints", "ipRules", "value", "action", "serviceMode", "type", "capacity", "tier", "size"),
        *("clientConnectionCountRules", "userAssignedIdentities", IDENTITY),
    ]
)
_WORDS = st.sampled_from(
    ["Allow", "true", "Enabled", "Trace", "10.0.0.0/8", "::1%x", "Standard_S1", "UserAssigned", "SystemAssigned"]
)
_LIKELY = st.recursive(
    _JSON | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300)
@given(value=_LIKELY)
def test_whatever_comes_is_taken_or_refused(value: Any) -> None:
    """And what is taken can be taken again, as it is when the server starts the next time."""
    checks: list[Callable[[Any], object]] = [sku_of, kind_of, tags_of, identity_of, partial(merged, completed({}))]
    for check in checks:
        with suppress(BadRequest):
            check(value)
    try:
        kept = completed(value)
    except BadRequest:
        return
    assert repr(completed(kept)) == repr(kept)
    network_rules(kept["networkACLs"], kept["publicNetworkAccess"]).refusal("RESTAPI", "10.0.0.1")

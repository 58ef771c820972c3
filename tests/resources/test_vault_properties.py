"""The properties of a Key Vault as they arrive, its access policies, and the address that it lets in."""

from typing import Any

import pytest

from hubwire.model.errors import BadRequest
from hubwire.model.vaults import NewSecret
from hubwire.resources.vault_properties import (
    changed_policies,
    completed,
    given_changes,
    given_secret,
    ignored,
    merged,
    network_of,
    permissions_of,
    policies_of,
)
from resources.vaulting import NOBODY, READER, TENANT, policy

DEFAULTS: dict[str, Any] = {
    "tenantId": TENANT,
    "sku": {"family": "A", "name": "standard"},
    "accessPolicies": [],
    "enableRbacAuthorization": False,
    "publicNetworkAccess": "Enabled",
}


@pytest.mark.parametrize("given", [None, {}, {"tenantId": None}, {"createMode": "Default"}])
def test_vault_has_its_defaults(given: object) -> None:
    assert completed(given, TENANT) == DEFAULTS


def test_properties_are_spelled_as_in_the_definition_and_unknown_ones_are_kept() -> None:
    """What only the service says is left out, so that a document that was read can be written."""
    given = {
        "SKU": {"FAMILY": "a", "NAME": "Premium"},
        "EnableSoftDelete": True,
        "softDeleteRetentionInDays": 7,
        "publicnetworkaccess": "disabled",
        "vaultUri": "https://elsewhere/",
        "provisioningState": "Succeeded",
        "other": [1],
    }

    assert completed(given, TENANT) == {
        **DEFAULTS,
        "sku": {"family": "A", "name": "premium"},
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": 7,
        "publicNetworkAccess": "Disabled",
        "other": [1],
    }


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ([], "properties"),
        ({"tenantId": "x"}, "properties.tenantId"),
        ({"sku": {"family": "B"}}, "properties.sku.family"),
        ({"sku": {"name": "free"}}, "properties.sku.name"),
        ({"sku": 1, "SKU": 1}, "properties.sku"),
        ({"enableRbacAuthorization": "yes"}, "properties.enableRbacAuthorization"),
        ({"softDeleteRetentionInDays": 6}, "properties.softDeleteRetentionInDays"),
        ({"createMode": "recover"}, "properties.createMode"),
        ({"accessPolicies": {}}, "properties.accessPolicies"),
        ({"accessPolicies": [{}]}, "properties.accessPolicies[0].tenantId"),
        ({"accessPolicies": [{"tenantId": TENANT}]}, "properties.accessPolicies[0].objectId"),
        ({"accessPolicies": [{"tenantId": TENANT, "objectId": "x"}]}, "properties.accessPolicies[0].objectId"),
        (
            {"accessPolicies": [{"tenantId": TENANT, "objectId": TENANT}]},
            "properties.accessPolicies[0].permissions",
        ),
        ({"accessPolicies": [policy("read")]}, "properties.accessPolicies[0].permissions.secrets[0]"),
        ({"accessPolicies": [policy("get")] * 1025}, "properties.accessPolicies"),
        ({"networkAcls": {"defaultAction": "Maybe"}}, "properties.networkAcls.defaultAction"),
        ({"networkAcls": {"ipRules": [{"value": "x"}]}}, "properties.networkAcls.ipRules[0].value"),
        ({"networkAcls": {"ipRules": [{}]}}, "properties.networkAcls.ipRules[0].value"),
    ],
)
def test_property_that_cannot_be_is_refused_by_name(given: object, target: str) -> None:
    with pytest.raises(BadRequest) as refused:
        completed(given, TENANT)
    assert refused.value.target == target


def test_patch_replaces_what_it_names_and_a_null_takes_back_to_the_default() -> None:
    old = completed({"enableSoftDelete": True, "other": 1, "accessPolicies": [policy("get")]}, TENANT)

    patched = merged(old, {"ENABLESOFTDELETE": None, "enableRbacAuthorization": True})

    assert patched == {
        **DEFAULTS,
        "accessPolicies": [policy("get")],
        "enableRbacAuthorization": True,
        "other": 1,
    }
    with pytest.raises(BadRequest):
        merged(old, [])


# Access policies


def test_added_policy_joins_what_its_principal_may_already() -> None:
    old = [policy("get")]

    added = changed_policies(old, "add", [policy("list", "get"), policy("get", who=NOBODY)])

    assert added == [policy("get", "list"), policy("get", who=NOBODY)]
    assert old == [policy("get")]


def test_replaced_policy_is_the_only_one_of_its_principal() -> None:
    assert changed_policies([policy("get"), policy("get", who=NOBODY)], "replace", [policy("set")]) == [
        policy("set"),
        policy("get", who=NOBODY),
    ]


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        (("get",), [policy("list")]),
        (("get", "list"), []),
        (("all",), []),
        (("set",), [policy("get", "list")]),
        ((), [policy("get", "list")]),
    ],
)
def test_removed_permissions_are_taken_and_a_policy_without_any_goes(
    taken: tuple[str, ...], left: list[dict[str, Any]]
) -> None:
    assert changed_policies([policy("get", "list")], "remove", [policy(*taken)]) == left
    assert changed_policies([], "remove", [policy(*taken)]) == []


def test_policies_are_of_a_tenant_and_an_object_id_in_any_case() -> None:
    old = policy("get")
    upper = {**old, "objectId": old["objectId"].upper(), "tenantId": TENANT.upper()}

    assert len(changed_policies([old], "add", [upper])) == 1
    assert permissions_of([upper], *READER) == {"get"}
    assert permissions_of([upper], "other", READER.principal_id) == set()
    assert permissions_of([upper], *NOBODY) == set()


def test_policies_of_several_kinds_of_things_keep_what_is_not_about_secrets() -> None:
    keys = {**policy("get"), "permissions": {"keys": ["sign"]}}

    (both,) = changed_policies([policy("get")], "add", [keys])

    assert both["permissions"] == {"secrets": ["get"], "keys": ["sign"]}
    assert permissions_of([keys], *READER) == set()


def test_more_policies_than_a_vault_may_have_are_refused() -> None:
    full = [policy("get", who=NOBODY._replace(principal_id=f"{number:08}-aaaa-4000-8000-0")) for number in range(1024)]

    with pytest.raises(BadRequest):
        changed_policies(full, "add", [policy("get")])


def test_change_of_policies_names_them() -> None:
    assert policies_of({"ACCESSPOLICIES": [policy("get")]}) == [policy("get")]
    for wrong in ({}, {"accessPolicies": None}, None, {"accessPolicies": [1]}):
        with pytest.raises(BadRequest):
            policies_of(wrong)


# Network


@pytest.mark.parametrize(
    ("properties", "in_range", "elsewhere"),
    [
        ({}, True, True),
        ({"publicNetworkAccess": "Disabled"}, False, False),
        ({"networkAcls": {"defaultAction": "Deny"}}, False, False),
        ({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "10.0.0.0/8"}]}}, True, False),
        ({"networkAcls": {"defaultAction": "Allow", "ipRules": [{"value": "10.0.0.0/8"}]}}, True, True),
        ({"networkAcls": {}}, True, True),
    ],
)
def test_network_rules_let_addresses_in(properties: dict[str, Any], in_range: bool, elsewhere: bool) -> None:
    rules = network_of(completed(properties, TENANT))

    assert (rules.refusal("RESTAPI", "10.1.2.3") is None) is in_range
    assert (rules.refusal("RESTAPI", "192.0.2.1") is None) is elsewhere
    assert (rules.refusal("RESTAPI", "2001:db8::1") is None) is elsewhere


# Secrets


def test_secret_of_a_template_is_read() -> None:
    given = {"value": "s3cret", "contentType": "text/plain", "attributes": {"enabled": False, "nbf": 1, "exp": 2}}

    assert given_secret("properties", given, {"a": "b"}) == NewSecret("s3cret", "text/plain", {"a": "b"}, False, 1, 2)
    assert given_secret("properties", {"value": ""}, None) == NewSecret("")
    assert given_secret("properties", {"contentType": "x"}, None) is None


def test_what_is_said_of_a_secret_is_what_changes() -> None:
    assert given_changes("properties", {"attributes": {"enabled": False}}, None) == {"enabled": False}
    assert given_changes("properties", {"contentType": "x", "attributes": {"nbf": 0, "EXP": 2}}, {}) == {
        "content_type": "x",
        "tags": {},
        "not_before": 0,
        "expires": 2,
    }
    assert given_changes("properties", {"value": "x", "attributes": {"exp": None}}, None) == {}


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        (None, None),
        ({"value": 1}, None),
        ({"value": "x" * (25 * 1024 + 1)}, None),
        ({"value": "ü" * (25 * 512 + 1)}, None),
        ({"value": "\ud800"}, None),
        ({"value": "x", "contentType": "x" * 256}, None),
        ({"value": "x", "contentType": "\udc00"}, None),
        ({"value": "x", "attributes": {"enabled": 1}}, None),
        ({"value": "x", "attributes": {"exp": -1}}, None),
        ({"value": "x", "attributes": {"nbf": "2030"}}, None),
        ({"value": "x"}, {"a": 1}),
        ({"value": "x"}, {str(number): "" for number in range(16)}),
    ],
)
def test_secret_that_cannot_be_is_refused_without_its_value(given: object, tags: object) -> None:
    with pytest.raises(BadRequest) as refused:
        given_secret("properties", given, tags)
    assert "xxx" not in refused.value.message


# What does nothing


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({}, []),
        ({"enableSoftDelete": False}, []),
        (
            {"enableSoftDelete": True},
            ["enableSoftDelete is kept and does nothing here", "what is deleted in the vault is gone at once"],
        ),
        ({"enabledForDeployment": True}, ["enabledForDeployment is kept and does nothing here"]),
        ({"other": 1}, ["properties.other is not known here: it is kept and does nothing"]),
        (
            {"networkAcls": {"virtualNetworkRules": [{"id": "x"}]}},
            [
                "networkAcls.virtualNetworkRules are kept and let nobody in, since there is no virtual network",
            ],
        ),
        (
            {"accessPolicies": [{**policy("get"), "permissions": {"keys": ["get"], "certificates": ["get"]}}]},
            ["permissions for keys and certificates are kept; this vault has secrets only"],
        ),
        ({"accessPolicies": [policy("get")]}, []),
    ],
)
def test_what_does_not_act_is_said(properties: dict[str, Any], told: list[str]) -> None:
    assert ignored(completed(properties, TENANT)) == told

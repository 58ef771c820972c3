"""
The properties of a Key Vault as they arrive: checked, completed, merged. Access policies, and who they let in. Pure.

Source: Microsoft.KeyVault/vaults, api-version 2023-07-01; Key Vault's page on network security.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Final, Literal, TypeAlias

from hubwire.model.errors import BadRequest
from hubwire.model.network import NetworkRules, network_rules
from hubwire.model.vaults import NewSecret
from hubwire.resources.resource_properties import tags_of
from hubwire.resources.shapes import Check, as_list, as_object, boolean, choice, choices, free, number, patched, text

__all__ = [
    "PolicyChange",
    "changed_policies",
    "completed",
    "given_changes",
    "given_secret",
    "ignored",
    "merged",
    "network_of",
    "permissions_of",
    "policies_of",
]

PolicyChange: TypeAlias = Literal["add", "replace", "remove"]

_MOST_POLICIES: Final = 1024
_MOST_VALUE_BYTES: Final = 25 * 1024
_MOST_TAGS: Final = 15
_ATTRIBUTES: Final = {"enabled": "enabled", "nbf": "not_before", "exp": "expires"}
_SECRETS: Final = ("get", "list", "set", "delete", "backup", "restore", "recover", "purge", "all")
_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_READ_ONLY: Final = frozenset({"vaultUri", "provisioningState", "hsmPoolResourceId", "privateEndpointConnections"})
_NO_EFFECT: Final = (
    "enabledForDeployment",
    "enabledForDiskEncryption",
    "enableSoftDelete",
    "enablePurgeProtection",
)


def completed(properties: object, tenant_id: str) -> dict[str, Any]:
    """
    All properties of a vault: the defaults, and over them what is given, in the spelling of the definition. What only
    the service says is left out, and what is not known is kept as it is.

    Args:
        tenant_id: whose principals it is for unless another tenant is named.

    Raises:
        BadRequest: a property that cannot be; `target` is its name.
    """
    given = as_object("properties", {} if properties is None else properties, _CHECKS)
    if given.pop("createMode", "default") == "recover":
        raise BadRequest("A vault that was deleted is gone: createMode may be default.", "properties.createMode")
    result: dict[str, Any] = {
        "tenantId": tenant_id,
        "sku": {"family": "A", "name": "standard"},
        "accessPolicies": [],
        "enableRbacAuthorization": False,
        "publicNetworkAccess": "Enabled",
    }
    result |= {name: value for name, value in given.items() if name not in _READ_ONLY}
    result["sku"] = {"family": "A", "name": "standard", **result["sku"]}
    return result


def merged(old: Mapping[str, Any], patch: object) -> dict[str, Any]:
    """
    Complete properties `old` with those of `patch` in place of their own; a null takes one back to its default.

    Raises:
        BadRequest: as for `completed`.
    """
    return completed(patched(old, patch, _CHECKS), old["tenantId"])


def policies_of(properties: object) -> list[dict[str, Any]]:
    """
    The access policies that somebody wants to add, replace or remove.

    Raises:
        BadRequest: they are none.
    """
    given = as_object("properties", properties, {"accessPolicies": _policies})
    if "accessPolicies" not in given:
        raise BadRequest("properties.accessPolicies is required.", "properties.accessPolicies")
    return list(given["accessPolicies"])


def changed_policies(
    old: Sequence[Mapping[str, Any]], kind: PolicyChange, given: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """
    Access policies after a change. Each is for a principal: `add` gives it more permissions, `replace` others, and
    `remove` takes those away that are named.

    Raises:
        BadRequest: there would be too many.
    """
    found = {_whose(policy): {**policy, "permissions": dict(policy["permissions"])} for policy in old}
    for policy in given:
        known = found.get(_whose(policy))
        if kind == "replace" or (known is None and kind == "add"):
            found[_whose(policy)] = dict(policy)
        elif known is not None:
            for what, words in policy["permissions"].items():
                known["permissions"][what] = _changed(known["permissions"].get(what, []), kind, words)
    if len(found) > _MOST_POLICIES:
        raise BadRequest(f"A vault may have {_MOST_POLICIES} access policies.", "properties.accessPolicies")
    return [policy for policy in found.values() if kind != "remove" or any(policy["permissions"].values())]


def permissions_of(policies: Sequence[Mapping[str, Any]], tenant: str, principal_id: str) -> frozenset[str]:
    """What a principal may do with secrets; `all` stands for everything."""
    return frozenset(
        word
        for policy in policies
        if (policy["tenantId"].lower(), policy["objectId"].lower()) == (tenant.lower(), principal_id.lower())
        for word in policy["permissions"].get("secrets", ())
    )


def network_of(properties: Mapping[str, Any]) -> NetworkRules:
    """Who may reach a vault by the network."""
    acls = properties.get("networkAcls") or {}
    rules = [{"value": rule["value"], "action": "Allow"} for rule in acls.get("ipRules") or ()]
    default = acls.get("defaultAction", "Allow")
    if default == "Deny" and not rules:
        rules = [{"value": "0.0.0.0/0", "action": "Deny"}, {"value": "::/0", "action": "Deny"}]
    found = {"defaultAction": default, "publicNetwork": {"allow": ["RESTAPI"]}, "ipRules": rules}
    return network_rules(found, properties["publicNetworkAccess"])


def given_secret(within: str, properties: object, tags: object) -> NewSecret | None:
    """
    A secret as it is given in a document; None without a value, which stays as it is then.

    Args:
        within: what errors call `properties`.

    Raises:
        BadRequest: it cannot be.
    """
    found = given_changes(within, properties, tags)
    value = as_object(within, properties, _SECRET).get("value")
    return None if value is None else NewSecret(value, **found)


def given_changes(within: str, properties: object, tags: object) -> dict[str, Any]:
    """
    What is said of a secret besides its value, by names of `SecretVersion`, as far as anything is said.

    Raises: as `given_secret`.
    """
    given = as_object(within, properties, _SECRET)
    found = {"content_type": given.get("contentType"), "tags": None if tags is None else tags_of(tags)}
    found |= {name: given.get("attributes", {}).get(short) for short, name in _ATTRIBUTES.items()}
    if len(found["tags"] or ()) > _MOST_TAGS:
        raise BadRequest(f"A secret may have {_MOST_TAGS} tags.", "tags")
    return {name: value for name, value in found.items() if value is not None}


def ignored(properties: Mapping[str, Any]) -> list[str]:
    """What of complete properties does not act here, in words for whoever sets it."""
    found = [f"{name} is kept and does nothing here" for name in _NO_EFFECT if properties.get(name)]
    if properties.get("enableSoftDelete"):
        found.append("what is deleted in the vault is gone at once")
    if (properties.get("networkAcls") or {}).get("virtualNetworkRules"):
        found.append("networkAcls.virtualNetworkRules are kept and let nobody in, since there is no virtual network")
    for policy in properties["accessPolicies"]:
        others = [name for name, words in policy["permissions"].items() if words and name != "secrets"]
        if others:
            found.append(f"permissions for {' and '.join(others)} are kept; this vault has secrets only")
            break
    unknown = [name for name in properties if name not in _CHECKS]
    return found + [f"properties.{name} is not known here: it is kept and does nothing" for name in unknown]


def _changed(old: Sequence[str], kind: PolicyChange, words: Sequence[str]) -> list[str]:
    if kind == "add":
        return list(dict.fromkeys((*old, *words)))
    return [] if "all" in words else [word for word in old if word not in words]


def _whose(policy: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(policy.get(name, "")).lower() for name in ("tenantId", "objectId", "applicationId"))


def _guid(name: str, value: object) -> str:
    if not isinstance(value, str) or _GUID.fullmatch(value) is None:
        raise BadRequest(f"{name} must be a GUID.", target=name)
    return value


def _policies(name: str, value: object) -> list[Any]:
    return as_list(name, value, _policy, _MOST_POLICIES)


def _policy(name: str, value: object) -> dict[str, Any]:
    policy = as_object(name, value, _POLICY)
    for needed in ("tenantId", "objectId", "permissions"):
        if needed not in policy:
            raise BadRequest(f"{name}.{needed} is required.", target=f"{name}.{needed}")
    return policy


def _words(name: str, value: object) -> list[Any]:
    return as_list(name, value, text)


def _permissions(name: str, value: object) -> dict[str, Any]:
    checks = {"secrets": choices(*_SECRETS), "keys": _words, "certificates": _words, "storage": _words}
    return as_object(name, value, checks)


def _sku(name: str, value: object) -> dict[str, Any]:
    return as_object(name, value, {"family": choice("A"), "name": choice("standard", "premium")})


def _ip_rule(name: str, value: object) -> dict[str, Any]:
    rule = as_object(name, value, {"value": text})
    try:
        ip_network(rule.get("value", ""), strict=False)
    except ValueError as error:
        raise BadRequest(f"{name}.value must be an address or a range such as 10.0.0.0/8.", f"{name}.value") from error
    return rule


def _network_acls(name: str, value: object) -> dict[str, Any]:
    return as_object(
        name,
        value,
        {
            "bypass": choice("AzureServices", "None"),
            "defaultAction": choice("Allow", "Deny"),
            "ipRules": lambda at, items: as_list(at, items, _ip_rule, _MOST_POLICIES),
            "virtualNetworkRules": free,
        },
    )


def _value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string.", target=name)
    if len(value.encode("utf-8", "surrogatepass")) > _MOST_VALUE_BYTES or not _is_text(value):
        raise BadRequest(f"{name} must be text of at most {_MOST_VALUE_BYTES} bytes.", target=name)
    return value


def _is_text(value: str) -> bool:
    """No half characters, which no UTF-8 can have."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _content_type(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 255 or not _is_text(value):
        raise BadRequest(f"{name} must be a string of at most 255 characters.", target=name)
    return value


def _attributes(name: str, value: object) -> dict[str, Any]:
    moment = number(0, 1 << 40)
    return as_object(name, value, {"enabled": boolean, "nbf": moment, "exp": moment})


_CHECKS: Final[Mapping[str, Check]] = {
    "tenantId": _guid,
    "sku": _sku,
    "accessPolicies": _policies,
    "enableRbacAuthorization": boolean,
    "enableSoftDelete": boolean,
    "softDeleteRetentionInDays": number(7, 90),
    "enablePurgeProtection": boolean,
    "enabledForDeployment": boolean,
    "enabledForDiskEncryption": boolean,
    "enabledForTemplateDeployment": boolean,
    "networkAcls": _network_acls,
    "publicNetworkAccess": choice("Enabled", "Disabled"),
    "createMode": choice("default", "recover"),
    **dict.fromkeys(_READ_ONLY, free),
}
_POLICY: Final[Mapping[str, Check]] = {
    "tenantId": _guid,
    "objectId": _guid,
    "applicationId": _guid,
    "permissions": _permissions,
}
_SECRET: Final[Mapping[str, Check]] = {
    "value": _value,
    "contentType": _content_type,
    "attributes": _attributes,
}

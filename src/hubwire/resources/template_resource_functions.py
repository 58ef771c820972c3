"""Functions of the template language that speak of resources, of the place they are in, and of the template itself."""

from collections.abc import Mapping
from typing import Any, Final

from hubwire.resources.expressions import Function, Scope, plain
from hubwire.resources.template_context import Runtime, Target
from hubwire.resources.template_values import Unfit, integer, text

__all__ = ["RESOURCES", "joined"]


def joined(type_name: str, names: list[str]) -> str:
    """
    The part of an id behind `/providers/`: `Namespace/type/name/type/name`.

    Raises:
        Unfit: there is not one name for each type.
    """
    namespace, *types = type_name.split("/")
    if not namespace or not types or not all(types) or len(types) != len(names):
        raise Unfit(f"the type '{type_name[:200]}' takes {len(types)} names, but {len(names)} are given.")
    return "/".join([namespace, *(part for pair in zip(types, names, strict=True) for part in pair)])


def _parameters(scope: Scope, name: Any) -> Any:
    return scope.parameter(text(name))


def _variables(scope: Scope, name: Any) -> Any:
    return scope.variable(text(name))


def _copy_index(scope: Scope, *given: Any) -> int:
    name = given[0].lower() if given and isinstance(given[0], str) else ""
    offsets = given[1:] if name else given
    if len(offsets) > 1:
        raise Unfit("a name and an offset are expected.")
    if name not in scope.copies:
        raise Unfit("there is no such copy loop around it.")
    return scope.copies[name] + (integer(offsets[0]) if offsets else 0)


def _typed(given: tuple[Any, ...], most: int) -> tuple[list[str], str, list[str]]:
    """What stands before a resource type, the type, and the names behind it."""
    words = [text(word) for word in given]
    at = next((at for at, word in enumerate(words[: most + 1]) if "/" in word), None)
    if at is None:
        raise Unfit("a resource type such as 'Namespace/type' is expected.")
    return words[:at], words[at], words[at + 1 :]


def _resource_id(scope: Scope, *given: Any) -> str:
    before, type_name, names = _typed(given, 2)
    subscription = before[0] if len(before) == 2 else scope.environment.subscription_id
    group = before[-1] if before else scope.environment.resource_group
    if len(before) == 1 and len(group) == 36 and group.count("-") == 4:
        # One word that looks like a subscription; a group of such a name needs both words.
        subscription, group = group, scope.environment.resource_group
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{joined(type_name, names)}"


def _subscription_resource_id(scope: Scope, *given: Any) -> str:
    before, type_name, names = _typed(given, 1)
    subscription = before[0] if before else scope.environment.subscription_id
    return f"/subscriptions/{subscription}/providers/{joined(type_name, names)}"


def _tenant_resource_id(*given: Any) -> str:
    _, type_name, names = _typed(given, 0)
    return f"/providers/{joined(type_name, names)}"


def _management_group_resource_id(*given: Any) -> str:
    before, type_name, names = _typed(given, 1)
    if not before:
        raise Unfit("the name of the management group must be given: this deployment is not made in one.")
    return f"/providers/Microsoft.Management/managementGroups/{before[0]}/providers/{joined(type_name, names)}"


def _extension_resource_id(base: Any, *given: Any) -> str:
    _, type_name, names = _typed(given, 0)
    return f"{text(base).rstrip('/')}/providers/{joined(type_name, names)}"


def _resource_group(scope: Scope) -> dict[str, Any]:
    environment = scope.environment
    return {
        "id": environment.group_id,
        "name": environment.resource_group,
        "type": "Microsoft.Resources/resourceGroups",
        "location": environment.location,
        "tags": dict(environment.group_tags),
        "properties": {"provisioningState": "Succeeded"},
    }


def _subscription(scope: Scope) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{scope.environment.subscription_id}",
        "subscriptionId": scope.environment.subscription_id,
        "tenantId": scope.environment.tenant_id,
        "displayName": scope.environment.subscription_name,
    }


def _tenant(scope: Scope) -> dict[str, Any]:
    tenant = scope.environment.tenant_id
    return {"id": f"/tenants/{tenant}", "tenantId": tenant, "displayName": tenant}


def _deployment(scope: Scope) -> dict[str, Any]:
    return {
        "name": scope.environment.deployment_name,
        "properties": {"template": scope.template, "mode": "Incremental", "provisioningState": "Accepted"},
    }


def _environment(scope: Scope) -> dict[str, Any]:
    """Where Azure's own services are; the resource manager and who signs in are ours."""
    endpoint = scope.environment.endpoint
    return {
        "name": "AzureCloud",
        "resourceManager": endpoint,
        "authentication": {
            "loginEndpoint": endpoint,
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {
            "acrLoginServer": ".azurecr.io",
            "keyvaultDns": ".vault.azure.net",
            "sqlServerHostname": ".database.windows.net",
            "storage": "core.windows.net",
        },
    }


def _runtime(scope: Scope) -> Runtime:
    if scope.runtime is None:
        raise Unfit("it is not expected at this location: the value must be known before any resource is there.")
    return scope.runtime


def _is_full(word: Any) -> bool:
    if text(word).lower() != "full":
        raise Unfit("the last argument can only be 'Full'.")
    return True


def _reference(scope: Scope, wanted: Any, api_version: Any = None, full: Any = None) -> dict[str, Any]:
    runtime = _runtime(scope)
    if isinstance(api_version, str) and api_version.lower() == "full" and full is None:
        api_version, full = None, api_version
    target = scope.target(text(wanted))
    version = target.api_version if api_version is None else text(api_version)
    return runtime.reference(target.id, version, full is not None and _is_full(full))


def _references(scope: Scope, loop: Any, full: Any = None) -> list[Any]:
    runtime, whole = _runtime(scope), full is not None and _is_full(full)
    return [runtime.reference(target.id, target.api_version, whole) for target in scope.targets(text(loop))]


def _list(scope: Scope, function: str, wanted: Any, api_version: Any, values: Any = None) -> dict[str, Any]:
    runtime = _runtime(scope)
    if values:
        raise Unfit("a third argument is not available.")
    return runtime.list_secrets(function, scope.target(text(wanted)).id, text(api_version))


def _resource_info(scope: Scope, symbol: Any) -> dict[str, Any]:
    target: Target = scope.target(text(symbol))
    return {"id": target.id, "name": target.name, "type": target.type, "apiVersion": target.api_version}


RESOURCES: Final[Mapping[str, Function]] = {
    "copyindex": Function(_copy_index, 0, 2),
    "deployment": Function(_deployment, 0, 0, passes=True),
    "environment": Function(_environment, 0, 0),
    "extensionresourceid": plain(_extension_resource_id, 3, None),
    "list*": Function(_list, 2, 3, named=True),
    "managementgroupresourceid": plain(_management_group_resource_id, 2, None),
    "parameters": Function(_parameters, 1, 1, passes=True),
    "reference": Function(_reference, 1, 3),
    "references": Function(_references, 1, 2),
    "resourcegroup": Function(_resource_group, 0, 0),
    "resourceid": Function(_resource_id, 2, None),
    "resourceinfo": Function(_resource_info, 1, 1),
    "subscription": Function(_subscription, 0, 0),
    "subscriptionresourceid": Function(_subscription_resource_id, 2, None),
    "tenant": Function(_tenant, 0, 0),
    "tenantresourceid": plain(_tenant_resource_id, 2, None),
    "variables": Function(_variables, 1, 1, passes=True),
}

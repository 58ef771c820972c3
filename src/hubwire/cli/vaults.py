"""`hubwire vault`: the Key Vaults of this server, and who may read their secrets."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.control import control
from hubwire.cli.faults import BadCommandLine, CommandFailed, Refusal
from hubwire.cli.management import Manager, ResourceType, group_option, new_group_option
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_document, print_rows, rows_of
from hubwire.cli.program import data_option, program
from hubwire.cli.resource_body import changed_tags
from hubwire.cli.text import printable

__all__ = ["vault"]

_VAULT: Final = ResourceType("Microsoft.KeyVault/vaults", "vault", "2023-07-01", "a vault has a name")
_PERMISSIONS: Final = ("get", "list", "set", "delete", "all")
_PRINCIPALS: Final = ("resource", "managed-identity", "app")
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_tenant = click.option("--tenant", metavar="TENANT", help="Whose principal it is. [the local tenant]")


@click.group(short_help="Show or change Key Vaults.")
def vault() -> None:
    """
    Show or change Key Vaults, from which event handlers' URLs get their secrets.

    Any program reads them with an official client. Secrets themselves are set by: secret set
    """


@vault.command("create")
@click.argument("name")
@new_group_option
@click.option("--location", default="local", metavar="PLACE", help="Name of a region; any will do.")
@click.option("--roles", is_flag=True, help="Let roles decide who may read secrets, instead of access policies.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag; repeatable.")
@as_json
@data_folder
def create(name: str, group: str, location: str, roles: bool, tags: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Make a vault. Nobody may read its secrets until somebody is let in."""
    manager = Manager(data)
    if any(there["name"].lower() == name.lower() for there in manager.resources(kind=_VAULT)):
        raise CommandFailed(f"there is a vault {name} already")
    properties = {"sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": roles}
    body = {"location": location, "tags": changed_tags(tags, {}), "properties": properties}
    made = manager.call("PUT", manager.place(group, name, _VAULT), body, _VAULT.version).document
    _show(data, manager, made, as_json)
    if not as_json and not roles:
        click.echo(
            f"hubwire: to let somebody in: {program()} vault grant {name} PRINCIPAL{data_option(data)}", err=True
        )


@vault.command("list")
@group_option
@as_json
@data_folder
def list_vaults(group: str | None, data: Path, as_json: bool) -> None:
    """Show all vaults: name, URL, resource group."""
    found = Manager(data).resources(group, _VAULT)
    if as_json:
        print_document(found, as_json)
        return
    width = max((len(document["name"]) for document in found), default=0)
    for document in found:
        cells = (document["name"].ljust(width), document["properties"]["vaultUri"], document["id"].split("/")[4])
        click.echo(printable("  ".join(cells)))


@vault.command("show")
@click.argument("name")
@group_option
@as_json
@data_folder
def show(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show one vault, and who may do what with its secrets."""
    manager = Manager(data)
    _show(data, manager, manager.find(name, group, _VAULT), as_json)


@vault.command("delete")
@click.argument("name")
@group_option
@data_folder
def delete(name: str, group: str | None, data: Path) -> None:
    """Delete a vault with all its secrets, for good."""
    manager = Manager(data)
    manager.call("DELETE", manager.path(name, group, _VAULT), None, _VAULT.version)


@vault.command("grant")
@click.argument("name")
@click.argument("principal")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    type=click.Choice(_PERMISSIONS),
    default=("get",),
    show_default=True,
    help="What they may do with secrets; repeatable.",
)
@_tenant
@as_json
@data_folder
def grant(name: str, principal: str, permissions: Sequence[str], tenant: str | None, data: Path, as_json: bool) -> None:
    """
    Let somebody read the secrets of a vault, or more. It holds at once.

    PRINCIPAL is a resource by its name, which stands for the identity that it has; a managed identity or an application
    by name or client id; or anybody by object id.
    """
    _change(data, name, "add", principal, permissions, tenant, as_json)


@vault.command("revoke")
@click.argument("name")
@click.argument("principal")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    type=click.Choice(_PERMISSIONS),
    default=("all",),
    show_default=True,
    help="What they may not do any more; repeatable.",
)
@_tenant
@as_json
@data_folder
def revoke(
    name: str, principal: str, permissions: Sequence[str], tenant: str | None, data: Path, as_json: bool
) -> None:
    """
    Take permissions away. PRINCIPAL as for vault grant.

    Where a resource could read a secret, its event handlers go on with the last value for an hour (secret_stale_s).
    """
    _change(data, name, "remove", principal, permissions, tenant, as_json)


def _change(
    data: Path,
    name: str,
    kind: str,
    principal: str,
    permissions: Sequence[str],
    tenant: str | None,
    as_json: bool,
) -> None:
    manager = Manager(data)
    found = manager.find(name, kind=_VAULT)
    if found["properties"].get("enableRbacAuthorization") is True:
        assign = f"{program()} app assign {principal} --role vault-secrets-user --scope {found['id']}"
        raise CommandFailed(f"in the vault {name} roles decide: {assign}{data_option(data)}")
    policy = {
        "tenantId": tenant or found["properties"]["tenantId"],
        "objectId": principal if tenant is not None else _object_id(data, manager, principal),
        "permissions": {"secrets": list(permissions)},
    }
    body = {"properties": {"accessPolicies": [policy]}}
    manager.call("PUT", f"{manager.path_of(found)}/accessPolicies/{kind}", body, _VAULT.version)
    _show(data, manager, manager.find(name, kind=_VAULT), as_json)


def _object_id(data: Path, manager: Manager, principal: str) -> str:
    """Of a principal of the local tenant, however it is named."""
    if not principal.strip():
        raise BadCommandLine("a principal has a name or an object id")
    for resource in manager.resources():
        if resource["name"].lower() == principal.lower():
            return _identity_of(resource)
    try:
        return str(control(data, "GET", f"/control/apps/{quote(principal, safe='')}")["objectId"])
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        if _GUID.fullmatch(principal) is None:
            lists = ", ".join(f"{program()} {kind} list{data_option(data)}" for kind in _PRINCIPALS)
            text = f"no resource, managed identity or application is called {principal}; to list them: {lists}"
            raise CommandFailed(text) from refusal
    return principal


def _identity_of(resource: Mapping[str, Any]) -> str:
    identity = resource.get("identity") or {}
    assigned = list((identity.get("userAssignedIdentities") or {}).values())
    found = identity.get("principalId") or next((one.get("principalId") for one in assigned), None)
    if not found:
        name = resource["name"]
        raise CommandFailed(
            f"the resource {name} has no identity; to give it one: {program()} resource set {name} --identity system"
        )
    return str(found)


def _names(data: Path, manager: Manager) -> dict[str, str]:
    """What principals of the local tenant are, by object id."""
    names = {}
    for app in control(data, "GET", "/control/apps")["value"]:
        kind = "application" if app["kind"] == "application" else "managed identity"
        names[app["objectId"].lower()] = f"{kind} {app['name']}"
    for resource in manager.resources():
        own = (resource.get("identity") or {}).get("principalId")
        if own:
            names[own.lower()] = f"resource {resource['name']}"
    return names


def _show(data: Path, manager: Manager, document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document, as_json)
        return
    properties = document["properties"]
    shown = {
        "name": document["name"],
        "url": properties["vaultUri"],
        "location": document["location"],
        "tags": document["tags"],
        "decided by": "roles" if properties.get("enableRbacAuthorization") else "access policies",
        "resource id": document["id"],
    }
    rows = rows_of(shown)
    names = _names(data, manager) if properties["accessPolicies"] else {}
    for policy in properties["accessPolicies"]:
        whose = policy["objectId"]
        if policy["tenantId"].lower() != properties["tenantId"].lower():
            whose += f" of {policy['tenantId']}"
        elif (name := names.get(whose.lower())) is not None:
            whose += f" ({name})"
        rows.append((f"policy of {whose}", ", ".join(policy["permissions"].get("secrets") or ["-"])))
    print_rows(rows)

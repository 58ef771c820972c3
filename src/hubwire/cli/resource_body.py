"""What options say of a webPubSub resource, as the body of a request. Pure."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
import msgspec
from msgspec import Struct

from hubwire.cli.faults import BadCommandLine
from hubwire.cli.options import Command, WholeNumber

__all__ = ["Wanted", "body_of", "changed_tags", "resource_options"]

REQUEST_TYPES: Final = ("ClientConnection", "ServerConnection", "RESTAPI", "Trace")
SKUS: Final = ("Free_F1", "Standard_S1", "Premium_P1", "Premium_P2")
_ALL_ALLOWED: Final = {"defaultAction": "Allow", "publicNetwork": {"allow": list(REQUEST_TYPES), "deny": []}}
_ROOTS: Final = frozenset({"properties", "kind", "sku", "tags", "identity", "location"})
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]*")
_WORDS: Final = {"true": True, "false": False, "null": None}


class Wanted(Struct, frozen=True):
    """
    The options; None and () where one is not given.

    Attributes:
        tags: `name=value` each.
        allow, deny: types of requests over the public network.
        ip_rules: `allow:RANGE` or `deny:RANGE` each, or one `none`.
        identity: none, system, or the resource id of a user-assigned identity.
        properties: `path=json` each.
    """

    location: str | None = None
    sku: str | None = None
    capacity: int | None = None
    tags: tuple[str, ...] = ()
    client_certificates: bool | None = None
    local_auth: bool | None = None
    entra_auth: bool | None = None
    public_network_access: bool | None = None
    stopped: bool | None = None
    default_action: str | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    ip_rules: tuple[str, ...] = ()
    identity: str | None = None
    properties: tuple[str, ...] = ()


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def resource_options(command: Command) -> Command:
    """The options of `create` and `set`, by the names of `Wanted`."""
    types = click.Choice(REQUEST_TYPES, case_sensitive=False)
    for option in reversed(
        (
            click.option("--location", metavar="PLACE", help="Name of a region; any will do."),
            click.option(
                "--sku", type=click.Choice(SKUS, case_sensitive=False), metavar="SKU", help=f"{_listed(SKUS)}."
            ),
            click.option(
                "--capacity",
                type=WholeNumber(1, 1000),
                metavar="UNITS",
                help="Of 1000 connections each; 20 on Free_F1.",
            ),
            click.option(
                "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag; NAME= takes it away; repeatable."
            ),
            click.option(
                "--client-certificates/--no-client-certificates",
                default=None,
                help="Ask clients for one; not on Free_F1.",
            ),
            click.option("--local-auth/--no-local-auth", default=None, help="Take tokens of the access keys."),
            click.option("--entra-auth/--no-entra-auth", default=None, help="Take tokens of the token issuer."),
            click.option("--public-network-access/--no-public-network-access", default=None, help="Be reached at all."),
            click.option("--stopped/--started", default=None, help="Serve nobody until it is started again."),
            click.option(
                "--default-action",
                type=click.Choice(("allow", "deny"), case_sensitive=False),
                help="For requests that --allow and --deny do not name.",
            ),
            click.option(
                "--allow", type=types, multiple=True, metavar="TYPE", help=f"{_listed(REQUEST_TYPES)}; repeatable."
            ),
            click.option(
                "--deny", type=types, multiple=True, metavar="TYPE", help="Type of requests to refuse; repeatable."
            ),
            click.option(
                "--ip-rule",
                "ip_rules",
                multiple=True,
                metavar="ACTION:RANGE",
                help="Such as allow:10.0.0.0/8, in place of all others; none takes them away; repeatable.",
            ),
            click.option(
                "--identity",
                metavar="WHICH",
                help="Managed identity: none, system, or the name or resource id of a user-assigned one.",
            ),
            click.option(
                "--property",
                "properties",
                multiple=True,
                metavar="PATH=JSON",
                help="Any other property, such as regionEndpointEnabled=Disabled; repeatable.",
            ),
        )
    ):
        command = option(command)
    return command


def body_of(wanted: Wanted, old: Mapping[str, Any]) -> dict[str, Any]:
    """
    The body of a PATCH, or of a PUT with `location` besides.

    Parts that the service replaces as a whole are made of what they are and what is to be different.

    Args:
        old: the resource as it is; empty for a new one.

    Raises:
        BadCommandLine: an option that cannot be used.
    """
    body: dict[str, Any] = {}
    if wanted.location is not None:
        body["location"] = wanted.location
    if wanted.sku is not None or wanted.capacity is not None:
        body["sku"] = _sku(wanted, old)
    if wanted.tags:
        body["tags"] = changed_tags(wanted.tags, old.get("tags") or {})
    if wanted.identity is not None:
        body["identity"] = _identity(wanted.identity)
    properties = _properties(wanted, old.get("properties") or {})
    if properties:
        body["properties"] = properties
    for assignment in wanted.properties:
        _assign(body, old, assignment)
    return body


def _sku(wanted: Wanted, old: Mapping[str, Any]) -> dict[str, Any]:
    name = wanted.sku or (old.get("sku") or {}).get("name") or "Standard_S1"
    return {"name": name} if wanted.capacity is None else {"name": name, "capacity": wanted.capacity}


def changed_tags(assignments: Sequence[str], old: Mapping[str, str]) -> dict[str, str]:
    """
    Tags as they are with each `name=value` of some; one without a value goes.

    Raises:
        BadCommandLine: there is something else among them.
    """
    tags = dict(old)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise BadCommandLine(f"--tag wants NAME=VALUE, not {assignment!r}")
        if value:
            tags[name] = value
        else:
            tags.pop(name, None)
    return tags


def _identity(which: str) -> dict[str, Any]:
    match which.lower():
        case "none":
            return {"type": "None"}
        case "system":
            return {"type": "SystemAssigned"}
    if not which.startswith("/"):
        raise BadCommandLine(f"--identity wants none, system or a resource id, not {which!r}")
    return {"type": "UserAssigned", "userAssignedIdentities": {which: {}}}


def _properties(wanted: Wanted, old: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have options of their own."""
    found: dict[str, Any] = {}
    if wanted.client_certificates is not None:
        found["tls"] = {**(old.get("tls") or {}), "clientCertEnabled": wanted.client_certificates}
    if wanted.local_auth is not None:
        found["disableLocalAuth"] = not wanted.local_auth
    if wanted.entra_auth is not None:
        found["disableAadAuth"] = not wanted.entra_auth
    if wanted.public_network_access is not None:
        found["publicNetworkAccess"] = "Enabled" if wanted.public_network_access else "Disabled"
    if wanted.stopped is not None:
        found["resourceStopped"] = str(wanted.stopped).lower()
    if wanted.default_action or wanted.allow or wanted.deny or wanted.ip_rules:
        found["networkACLs"] = _network_acls(wanted, old.get("networkACLs") or _ALL_ALLOWED)
    return found


def _network_acls(wanted: Wanted, old: Mapping[str, Any]) -> dict[str, Any]:
    acls = dict(copy.deepcopy(old))
    if wanted.default_action is not None:
        acls["defaultAction"] = wanted.default_action.capitalize()
    if both := set(wanted.allow) & set(wanted.deny):
        raise BadCommandLine(f"--allow and --deny both name {min(both)}")
    public = acls.setdefault("publicNetwork", {})
    for mine, other, types in (("allow", "deny", wanted.allow), ("deny", "allow", wanted.deny)):
        if types:
            there = public.get(mine) or []
            public[mine] = [*there, *(kind for kind in dict.fromkeys(types) if kind not in there)]
            public[other] = [kind for kind in public.get(other) or [] if kind not in types]
    if wanted.ip_rules:
        acls["ipRules"] = [] if wanted.ip_rules == ("none",) else [_ip_rule(rule) for rule in wanted.ip_rules]
    return acls


def _ip_rule(text: str) -> dict[str, str]:
    action, colon, value = text.partition(":")
    if not colon or action.lower() not in ("allow", "deny") or not value:
        raise BadCommandLine(f"--ip-rule wants allow:RANGE or deny:RANGE, not {text!r}")
    return {"value": value, "action": action.capitalize()}


def _assign(body: dict[str, Any], old: Mapping[str, Any], assignment: str) -> None:
    """Put `path=json` into a body, with what is beside it in the part that is replaced as a whole."""
    path, equals, text = assignment.partition("=")
    steps = path.split(".")
    if not equals or not all(steps):
        raise BadCommandLine(f"--property wants PATH=JSON, not {assignment!r}")
    if steps[0] not in _ROOTS:
        steps = ["properties", *steps]
    whole = 2 if steps[0] == "properties" else 1
    if len(steps) < whole:
        raise BadCommandLine("--property sets one property; name it")
    inside: Any = body
    there: Any = old
    for at, step in enumerate(steps[:-1], 1):
        there = there.get(step) if isinstance(there, Mapping) else None
        if not isinstance(inside.get(step), dict):
            inside[step] = copy.deepcopy(there) if at >= whole and isinstance(there, dict) else {}
        inside = inside[step]
    inside[steps[-1]] = _json(path, text)


def _json(path: str, text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _WORD.fullmatch(text):
        return text  # a word need not stand in quotes within quotes of a shell
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadCommandLine(f"--property {path}: the value is not JSON: {error}") from error

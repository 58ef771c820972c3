"""`hubwire hub`: what is configured for hubs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.control import NoServer, ask, control
from hubwire.cli.faults import BadCommandLine, CommandFailed, Refusal
from hubwire.cli.json_files import read_json
from hubwire.cli.management import Manager, warned
from hubwire.cli.offline import StoredCatalog, read_offline
from hubwire.cli.options import WholeNumber, as_json, data_folder, file_path, resource_option
from hubwire.cli.output import print_document, print_rows
from hubwire.cli.text import printable
from hubwire.model.hubs import DEFAULT_RESOURCE

__all__ = ["hub"]

_EVENTS: Final = ("connect", "connected", "disconnected")
_PRESENCE: Final = ("joined", "left")


@click.group()
def hub() -> None:
    """
    Show or change what is configured for hubs.

    A hub needs no configuration: any name works, with the defaults.
    """


@hub.command("list")
@resource_option
@as_json
@data_folder
def list_hubs(resource: str | None, data: Path, as_json: bool) -> None:
    """Show the configured hubs."""
    try:
        hubs: Sequence[Any] = _Hubs(data, resource).all()
    except NoServer:

        async def stored(catalog: StoredCatalog) -> Sequence[Mapping[str, Any]]:
            return await catalog.list_hubs(_stored_resource(catalog, resource))

        hubs = read_offline(data, stored)
    if as_json:
        print_document(hubs, as_json)
        return
    if not hubs:
        click.echo("hubwire: no hub is configured; all have the defaults", err=True)
    rows = [_hub_lines(document) for document in hubs]
    width = max((len(row[0][1]) for row in rows), default=0)
    for (_, name), *more in rows:
        click.echo(printable("  ".join([name.ljust(width), *(f"{title} {value}" for title, value in more)])))


@hub.command("show")
@click.argument("name")
@resource_option
@as_json
@data_folder
def show_hub(name: str, resource: str | None, data: Path, as_json: bool) -> None:
    """Show what is configured for one hub, and how its event handlers are."""
    states: Sequence[str] = ()
    try:
        hubs = _Hubs(data, resource)
        document = hubs.get(name)
        if document["properties"].get("eventHandlers"):
            states = hubs.handler_states(name)
        if as_json:
            document["handlerStates"] = states
    except NoServer:

        async def stored(catalog: StoredCatalog) -> Mapping[str, Any] | None:
            return await catalog.get_hub(name, _stored_resource(catalog, resource))

        found = read_offline(data, stored)
        if found is None:
            raise CommandFailed(f"nobody configured a hub {name}; it has the defaults") from None
        document = dict(found)
    _print_hub(document, as_json, states)


@hub.command("set")
@click.argument("name")
@click.option("--anonymous", type=click.Choice(("allow", "deny")), help="May clients connect without a token.")
@click.option(
    "--keep-alive",
    "keep_alive_s",
    type=WholeNumber(1, 120),
    metavar="SECONDS",
    help="Time between pings to a silent client.",
)
@click.option("--handler", metavar="URL", help="Where events go, with {hub} and {event} in it; in place of all others.")
@click.option("--events", metavar="LIST", help="System events for it: connect,connected,disconnected. [none]")
@click.option("--user-events", metavar="PATTERN", help="User events for it: *, or names with commas between. [none]")
@click.option("--presence", metavar="LIST", help="Of groups, for it: joined,left. [none]")
@click.option(
    "--presence-groups", metavar="PATTERNS", help="Of these groups only: names or patterns with commas between."
)
@click.option("--handler-auth", metavar="RESOURCE", help="Audience of a token of the resource's managed identity.")
@click.option("--handlers", "handlers_file", type=file_path, metavar="FILE", help="JSON file with all event handlers.")
@click.option("--no-handlers", is_flag=True, help="Without event handlers.")
@click.option(
    "--identities", metavar="SERVICE", help="Communication service whose users may connect with their tokens."
)
@click.option("--identity-scopes", metavar="LIST", help="That such a token needs, all of them. [chat]")
@click.option("--identity-roles", metavar="LIST", help="That its connection has. [none]")
@click.option("--no-identities", is_flag=True, help="No tokens of communication services.")
@click.option(
    "--reliable-retention",
    "retention_s",
    type=WholeNumber(0, 604_800),
    metavar="SECONDS",
    help="How long reliable clients may be away, restarts of the server included; 0 for as without this.",
)
@resource_option
@as_json
@data_folder
def set_hub(
    name: str,
    anonymous: str | None,
    keep_alive_s: int | None,
    handler: str | None,
    events: str | None,
    user_events: str | None,
    presence: str | None,
    presence_groups: str | None,
    handler_auth: str | None,
    handlers_file: str | None,
    no_handlers: bool,
    identities: str | None,
    identity_scopes: str | None,
    identity_roles: str | None,
    no_identities: bool,
    retention_s: int | None,
    resource: str | None,
    data: Path,
    as_json: bool,
) -> None:
    """Configure a hub. What is not named stays as it is; a new one has the defaults."""
    if sum((handler is not None, handlers_file is not None, no_handlers)) > 1:
        raise click.UsageError("only one of --handler, --handlers and --no-handlers may be named")
    handlers: list[Any] | None = [] if no_handlers else None
    if handler is not None:
        handlers = [_handler(handler, events, user_events, _presence(presence, presence_groups), handler_auth)]
    elif any(option is not None for option in (events, user_events, presence, presence_groups, handler_auth)):
        raise click.UsageError("--events, --user-events, --presence and --handler-auth go with --handler")
    elif handlers_file is not None:
        handlers = _handlers_of(handlers_file)
    if identities is not None and no_identities:
        raise click.UsageError("only one of --identities and --no-identities may be named")
    login = None if identities is None else _login(identities, identity_scopes, identity_roles)
    if login is None and (identity_scopes is not None or identity_roles is not None):
        raise click.UsageError("--identity-scopes and --identity-roles go with --identities")
    given = {
        "anonymousConnectPolicy": anonymous,
        "webSocketKeepAliveIntervalInSeconds": keep_alive_s,
        "eventHandlers": handlers,
        "communicationIdentity": login,
        "reliableRetentionInSeconds": retention_s,
    }
    properties: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    taken_away = {"communicationIdentity": no_identities, "reliableRetentionInSeconds": retention_s == 0}
    properties.update({key: None for key, is_taken in taken_away.items() if is_taken})
    _print_hub(_Hubs(data, resource).change(name, properties), as_json)


@hub.command("delete")
@click.argument("name")
@resource_option
@data_folder
def delete_hub(name: str, resource: str | None, data: Path) -> None:
    """Forget what is configured for a hub. Its connections stay; it has the defaults again."""
    _Hubs(data, resource).delete(name)


class _Hubs:
    """
    The hubs of a resource on a running server. It raises what `ask` raises.

    Args:
        resource: None is the one that is there from the start.
    """

    def __init__(self, folder: Path, resource: str | None) -> None:
        self._folder = folder
        self._resource = resource
        self._manager = Manager(folder)

    def all(self) -> list[Any]:
        if self._resource is None:
            return list(control(self._folder, "GET", "/control/hubs")["value"])
        return list(self._manager.call("GET", self._path()).document["value"])

    def get(self, name: str) -> dict[str, Any]:
        if self._resource is None:
            return dict(control(self._folder, "GET", f"/control/hubs{_below(name)}"))
        return dict(self._manager.call("GET", self._path(name)).document)

    def change(self, name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        if self._resource is None:
            answer = ask(self._folder, "PATCH", f"/control/hubs{_below(name)}", {"properties": properties})
            return dict(warned(answer).document)
        path = self._path(name)
        try:
            old = self._manager.call("GET", path).document["properties"]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            old = {}
        # The resource manager replaces a hub as a whole.
        return dict(self._manager.call("PUT", path, {"properties": {**old, **properties}}).document)

    def handler_states(self, name: str) -> list[str]:
        """How each of its event handlers is, in words."""
        resource = quote(self._resource or DEFAULT_RESOURCE, safe="")
        answer = control(self._folder, "GET", f"/control/handlers/{resource}{_below(name)}")
        return [str(handler["state"]) for handler in answer["value"]]

    def delete(self, name: str) -> None:
        if self._resource is None:
            control(self._folder, "DELETE", f"/control/hubs{_below(name)}")
        elif self._manager.call("DELETE", self._path(name)).status == 204:
            raise CommandFailed(f"nobody configured a hub {name}; it has the defaults")

    def _path(self, name: str | None = None) -> str:
        below = "" if name is None else _below(name)
        return f"{self._manager.path(self._resource or DEFAULT_RESOURCE)}/hubs{below}"


def _below(name: str) -> str:
    if not name:
        raise click.UsageError("a hub has a name")
    return f"/{quote(name, safe='')}"


def _stored_resource(catalog: StoredCatalog, resource: str | None) -> str:
    """
    Raises:
        Refused: there is no such resource.
    """
    name = resource or DEFAULT_RESOURCE
    catalog.access_keys(name)
    return name


def _handler(
    url: str, events: str | None, user_events: str | None, presence: Mapping[str, Any] | None, audience: str | None
) -> dict[str, Any]:
    handler: dict[str, Any] = {"urlTemplate": url}
    if events is not None:
        handler["systemEvents"] = _listed("--events", events, _EVENTS)
    if user_events is not None:
        handler["userEventPattern"] = user_events
    if presence is not None:
        handler["groupPresenceEvents"] = presence
    if audience is not None:
        handler["auth"] = {"type": "ManagedIdentity", "managedIdentity": {"resource": audience}}
    return handler


def _login(service: str, scopes: str | None, roles: str | None) -> dict[str, Any]:
    login: dict[str, Any] = {"service": service}
    if scopes is not None:
        login["scopes"] = _names(scopes)
    if roles is not None:
        login["roles"] = _names(roles)
    return login


def _presence(events: str | None, groups: str | None) -> dict[str, Any] | None:
    if events is None:
        if groups is not None:
            raise click.UsageError("--presence-groups goes with --presence")
        return None
    presence: dict[str, Any] = {"eventNames": _listed("--presence", events, _PRESENCE)}
    if groups is not None:
        presence["groupFilters"] = _names(groups)
    return presence


def _listed(option: str, text: str, known: Sequence[str]) -> list[str]:
    names = _names(text)
    for name in names:
        if name not in known:
            more = "; joined and left are for --presence" if name in _PRESENCE else ""
            raise BadCommandLine(f"{option}: {name!r} is none of {', '.join(known)}{more}")
    return names


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _handlers_of(file: str) -> list[Any]:
    """A list of them, or the properties of a hub in which they are."""
    value = read_json(file).value
    if isinstance(value, dict):
        value = value.get("eventHandlers")
    if not isinstance(value, list):
        raise CommandFailed(f"{file}: event handlers are a list, or the eventHandlers of an object")
    return value


def _hub_lines(document: Mapping[str, Any], states: Sequence[str] = ()) -> list[tuple[str, str]]:
    properties = document["properties"]
    lines = [
        ("hub", str(document["name"])),
        ("anonymous", str(properties["anonymousConnectPolicy"])),
        ("keep alive", f"{properties['webSocketKeepAliveIntervalInSeconds']} s"),
    ]
    if login := properties.get("communicationIdentity"):
        lines.append(("identities", _login_text(login)))
    if retention_s := properties.get("reliableRetentionInSeconds"):
        lines.append(("reliable", f"clients may be away for {retention_s} s, restarts included"))
    handlers = properties.get("eventHandlers") or ()
    for position, handler in enumerate(handlers):
        lines.append(("handler", _handler_text(handler)))
        if position < len(states):
            lines.append(("", states[position]))
    return lines


def _login_text(login: Mapping[str, Any]) -> str:
    roles = f", with the roles {', '.join(login['roles'])}" if login["roles"] else ""
    return f"{login['service']} (scopes {', '.join(login['scopes'])}{roles})"


def _handler_text(handler: Mapping[str, Any]) -> str:
    events = [*handler.get("systemEvents", ())]
    if pattern := handler.get("userEventPattern"):
        events.append(f"user events {pattern}")
    presence = handler.get("groupPresenceEvents") or {}
    if names := presence.get("eventNames"):
        groups = presence.get("groupFilters")
        events += names if groups is None else [*names[:-1], f"{names[-1]} of groups {','.join(groups)}"]
    identity = (handler.get("auth") or {}).get("managedIdentity") or {}
    token = f", with a token for {identity['resource']}" if identity.get("resource") else ""
    return f"{handler['urlTemplate']} ({', '.join(events) or 'no events'}{token})"


def _print_hub(document: Mapping[str, Any], as_json: bool, states: Sequence[str] = ()) -> None:
    if as_json:
        print_document(document, as_json)
    else:
        print_rows(_hub_lines(document, states))

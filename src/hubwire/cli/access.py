"""
Who may connect and call: client access URLs from a running server, and signed calls with a connection string.
"""

import base64
import difflib
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import msgspec
from msgspec import Struct
from yarl import URL

from hubwire.cli.control import control
from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.management import Manager
from hubwire.cli.text import printable
from hubwire.model.names import is_hub_name
from hubwire.model.permissions import parse_roles
from hubwire.protocols.mqtt.topics import is_group_topic

__all__ = [
    "ConnectionString",
    "bearer",
    "check_topics",
    "client_url",
    "client_url_of",
    "doubtful_roles",
    "parse_connection_string",
    "service_of",
    "tunnel_url",
]

_TOKEN_LIFETIME_S: Final = 60
_TUNNEL_LIFETIME_S: Final = 3600
_ROLE_PREFIX: Final = "webpubsub"
_ROLES: Final = ("joinLeaveGroup", "sendToGroup")
_ENDPOINT: Final = re.compile(r"https?://", re.IGNORECASE)


class ConnectionString(Struct, frozen=True):
    """Where a service is, without a final slash, and the access key that proves us."""

    endpoint: str
    access_key: str

    def __repr__(self) -> str:
        return f"ConnectionString({self.endpoint!r}, …)"


def parse_connection_string(text: str) -> ConnectionString:
    """
    `Endpoint=URL;AccessKey=KEY;Version=1.0;` with its names in any case and order, and perhaps a `Port`.

    Raises:
        BadCommandLine: a part is missing; the text never quotes any of it.

    Source: the connection strings that server SDKs read.
    """
    parts: dict[str, str] = {}
    for segment in text.split(";"):
        name, equals, value = segment.partition("=")
        if equals:
            parts[name.strip().lower()] = value.strip()
    endpoint, access_key, port = parts.get("endpoint", ""), parts.get("accesskey", ""), parts.get("port")
    if not endpoint or not access_key:
        raise BadCommandLine("a connection string looks like Endpoint=URL;AccessKey=KEY;Version=1.0;")
    if not _ENDPOINT.match(endpoint):
        endpoint = f"https://{endpoint}"
    try:
        url = URL(endpoint.rstrip("/"))
        if port is not None:
            url = url.with_port(int(port))
        usable = bool(url.host)
    except ValueError:
        usable = False
    if not usable:
        raise BadCommandLine("the Endpoint or Port of the connection string cannot be used")
    return ConnectionString(str(url).rstrip("/"), access_key)


def bearer(url: URL, access_key: str) -> dict[str, str]:
    """The header that proves a call of exactly this URL, for a minute."""
    return {"Authorization": f"Bearer {_token({'aud': str(url)}, _TOKEN_LIFETIME_S, access_key)}"}


def _token(claims: Mapping[str, Any], lifetime_s: int, access_key: str) -> str:
    claims = {**claims, "exp": int(time.time()) + lifetime_s}
    signed = b".".join(_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = _base64url(hmac.digest(access_key.encode(), signed, hashlib.sha256))
    return f"{signed.decode()}.{signature.decode()}"


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def client_url(
    folder: Path,
    hub: str,
    user_id: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    minutes: int,
    *,
    mqtt: bool,
) -> str:
    """
    A client access URL from the server that runs on `folder`. Roles that mean nothing to it are told on stderr.

    Args:
        mqtt: of the endpoint of MQTT clients.

    Raises:
        NoServer, Refusal: see `control`.
    """
    request: dict[str, Any] = {
        "hub": hub,
        "userId": user_id,
        "roles": roles,
        "groups": groups,
        "minutes": minutes,
        "clientType": "MQTT" if mqtt else "Default",
    }
    answer = control(folder, "POST", "/control/url", request)
    if not isinstance(answer, dict) or not isinstance(url := answer.get("url"), str):
        raise CommandFailed("the server's answer holds no URL; is it a Hubwire server of another version?")
    _doubt(roles, mqtt)
    return url


def client_url_of(
    folder: Path,
    resource: str,
    hub: str,
    user_id: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    minutes: int,
    *,
    mqtt: bool,
) -> str:
    """
    The same for a resource of its own name, signed here with its primary access key as server SDKs do: the server
    issues tokens itself only to who calls the resource where it listens.

    Raises:
        NoServer, Refusal: see `ask`.
        CommandFailed: there is no such resource, or it takes no tokens of access keys.
    """
    if not is_hub_name(hub):
        raise BadCommandLine(f"{hub!r} is no name of a hub")
    service = service_of(folder, resource)
    audience = f"{service.endpoint}/client{'s/mqtt' if mqtt else ''}/hubs/{quote(hub, safe='')}"
    claims = {"aud": audience, "sub": user_id, "role": roles, "webpubsub.group": groups}
    _doubt(roles, mqtt)
    token = _token({name: value for name, value in claims.items() if value}, minutes * 60, service.access_key)
    return f"ws{audience.removeprefix('http')}?access_token={token}"


def service_of(folder: Path, resource: str) -> ConnectionString:
    """
    Where a resource of the server that runs on `folder` is, with its primary access key.

    Raises:
        NoServer, Refusal: see `ask`.
        CommandFailed: there is no such resource, or it takes no tokens of access keys.
    """
    manager = Manager(folder)
    if manager.find(resource)["properties"].get("disableLocalAuth") is True:
        raise CommandFailed(f"{resource} takes no tokens of access keys (disableLocalAuth), so no URL can be made")
    keys = manager.call("POST", f"{manager.path(resource)}/listKeys").document
    return parse_connection_string(keys["primaryConnectionString"])


def tunnel_url(service: ConnectionString, hub: str, tool_id: str, target: str = "") -> URL:
    """
    What a tunnel dials, with the token that proves it for an hour.

    Args:
        tool_id: what the service shall call it.
        target: that the service has named for this connection; empty for none.
    """
    query = f"hub={quote(hub, safe='')}" + (f"&target={quote(target, safe='')}" if target else "")
    audience = f"ws{service.endpoint.removeprefix('http')}/server/tunnel?{query}"
    token = _token({"aud": audience, "sub": tool_id}, _TUNNEL_LIFETIME_S, service.access_key)
    return URL(f"{audience}&access_token={token}", encoded=True)


def check_topics(groups: tuple[str, ...]) -> None:
    """
    Can MQTT clients be in these groups. A token for another one would be taken, and its client hear nothing.

    Raises:
        BadCommandLine: not in all of them.
    """
    for group in groups:
        if not is_group_topic(group):
            raise BadCommandLine(
                f"no MQTT client can be in the group '{printable(group)}': a topic has 1 to 1024 characters, "
                "not only blanks, no + or # (wildcards are not offered) and no $ in front"
            )


def _doubt(roles: tuple[str, ...], mqtt: bool) -> None:
    for doubt in doubtful_roles(roles) + (_roles_without_topics(roles) if mqtt else []):
        click.echo(f"hubwire: {doubt}", err=True)


def _roles_without_topics(roles: tuple[str, ...]) -> list[str]:
    """A line for each role with wildcards of MQTT, which are letters like others here, and in no topic."""
    hint = "patterns of roles have * and **, as in webpubsub.sendToGroups.site/**"
    return [
        f"'{printable(role)}' allows nothing to an MQTT client, since + and # are in no topic; {hint}"
        for role in roles
        if "+" in role or "#" in role
    ]


def doubtful_roles(roles: tuple[str, ...]) -> list[str]:
    """A line for each role that allows nothing, as a typing error does. Other services may know it, so none is bad."""
    lines = []
    for role in roles:
        allowed = parse_roles((role,))
        if not allowed.everywhere and not allowed.grants:
            meant = _meant(role)
            hint = f"; did you mean {printable(meant)}?" if meant not in (None, role) else ""
            lines.append(f"'{printable(role)}' is no role that this server knows{hint}")
    return lines


def _meant(role: str) -> str | None:
    """The role that looks most like this one, for the same group or pattern."""
    first, _, more = role.partition(".")
    name, _, group = (more if _near(first, (_ROLE_PREFIX,)) else role).partition(".")
    found = _near(name, tuple(known + plural for known in _ROLES for plural in ("", "s")))
    if found is None:
        return None
    return f"{_ROLE_PREFIX}.{found}.{group}" if group else f"{_ROLE_PREFIX}.{found.removesuffix('s')}"


def _near(text: str, known: tuple[str, ...]) -> str | None:
    spelled = {name.lower(): name for name in known}
    found = difflib.get_close_matches(text.lower(), spelled, 1)
    return spelled[found[0]] if found else None

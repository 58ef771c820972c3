"""
Roles of callers that a token issuer vouches for, and what each of them allows at the data plane. Pure.

Roles are not in the token: the service looks up what is assigned to the caller's object id at a scope, and a scope
holds for all that lies below it.

Source: Azure's built-in roles "Web PubSub Service Owner" and "Web PubSub Service Reader", and the permissions of
Microsoft.SignalRService.
"""

from typing import Final

from msgspec import Struct

__all__ = [
    "BUILT_IN",
    "OWNER",
    "READER",
    "Role",
    "allows",
    "covers",
    "full_name",
    "resource_id",
    "role_named",
    "role_with_id",
]

_PREFIX: Final = "Microsoft.SignalRService/WebPubSub/"
_RESOURCE_GROUP: Final = "hubwire"


class Role(Struct, frozen=True):
    """
    Attributes:
        id: GUID of the role definition.
        actions: data actions that it allows, without the prefix that all have; "*" stands for any characters.
        short: how the command line may call it.
    """

    id: str
    name: str
    actions: tuple[str, ...]
    short: str


OWNER: Final = Role("12cf5a90-567b-43ae-8102-96cf46c7d9b4", "Web PubSub Service Owner", ("*",), "owner")
READER: Final = Role("bfb1c7d2-fb1a-466b-b2ba-aee63b92deaf", "Web PubSub Service Reader", ("*/read",), "reader")
BUILT_IN: Final = (OWNER, READER)


def allows(role: Role, action: str) -> bool:
    """
    Args:
        action: such as "group/send/action".
    """
    return any(
        action == pattern or (pattern.startswith("*") and action.endswith(pattern[1:])) for pattern in role.actions
    )


def full_name(action: str) -> str:
    """A data action as role definitions spell it."""
    return _PREFIX + action


def role_with_id(role_id: str) -> Role | None:
    """A built-in role by the GUID of its definition, in any case."""
    return next((role for role in BUILT_IN if role.id == role_id.lower()), None)


def role_named(text: str) -> Role | None:
    """A built-in role by its name, its short name or the GUID of its definition, in any case."""
    wanted = text.strip().lower()
    return next((role for role in BUILT_IN if wanted in (role.id, role.name.lower(), role.short)), None)


def resource_id(subscription_id: str, name: str) -> str:
    """Where a resource of this server stands in the tree of scopes."""
    group = f"/subscriptions/{subscription_id}/resourceGroups/{_RESOURCE_GROUP}"
    return f"{group}/providers/Microsoft.SignalRService/webPubSub/{name}"


def covers(scope: str, resource: str) -> bool:
    """Does what is assigned at `scope` hold at `resource`? Scopes compare without case, segment by segment."""
    outer = [part for part in scope.lower().split("/") if part]
    inner = [part for part in resource.lower().split("/") if part]
    return inner[: len(outer)] == outer

"""
Roles of callers that a token issuer vouches for, and what each of them allows at the data plane, at the resource
manager and with the secrets of Key Vaults. Pure.

Roles are not in the token: the service looks up what is assigned to the caller's object id at a scope, and a scope
holds for all that lies below it.

Source: Azure's built-in roles of these names, and the permissions of Microsoft.SignalRService and Microsoft.KeyVault.
"""

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

__all__ = [
    "BUILT_IN",
    "CONTRIBUTOR",
    "OWNER",
    "READER",
    "RESOURCE_OWNER",
    "RESOURCE_READER",
    "SECRETS_OFFICER",
    "SECRETS_USER",
    "WEB_PUBSUB_CONTRIBUTOR",
    "Role",
    "allows",
    "covers",
    "full_name",
    "manages",
    "may_with_secrets",
    "role_named",
    "role_with_id",
]

_PREFIX: Final = "Microsoft.SignalRService/WebPubSub/"


class Role(Struct, frozen=True):
    """
    Attributes:
        id: GUID of the role definition.
        actions: data actions that it allows, without the prefix that all have; "*" stands for any characters.
        short: how the command line may call it.
        management: actions of the resource manager that it allows.
        but_not: of these, those that it does not.
        secrets: what it allows with the secrets of a Key Vault, in words of access policies.
    """

    id: str
    name: str
    actions: tuple[str, ...]
    short: str
    management: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


OWNER: Final = Role("12cf5a90-567b-43ae-8102-96cf46c7d9b4", "Web PubSub Service Owner", ("*",), "owner")
READER: Final = Role("bfb1c7d2-fb1a-466b-b2ba-aee63b92deaf", "Web PubSub Service Reader", ("*/read",), "reader")
RESOURCE_OWNER: Final = Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", (), "resource-owner", ("*",))
CONTRIBUTOR: Final = Role(
    "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Contributor",
    (),
    "contributor",
    ("*",),
    ("Microsoft.Authorization/*/write", "Microsoft.Authorization/*/delete"),
)
RESOURCE_READER: Final = Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", (), "resource-reader", ("*/read",))
WEB_PUBSUB_CONTRIBUTOR: Final = Role(
    "8cf5e20a-e4b2-4e9d-b3a1-5ceb692c2761",
    "SignalR/Web PubSub Contributor",
    (),
    "webpubsub-contributor",
    (
        "Microsoft.SignalRService/*",
        "Microsoft.Authorization/*/read",
        "Microsoft.Resources/deployments/*",
        "Microsoft.Resources/subscriptions/resourceGroups/read",
    ),
)
SECRETS_USER: Final = Role(
    "4633458b-17de-408a-b874-0445c86b69e6",
    "Key Vault Secrets User",
    (),
    "vault-secrets-user",
    secrets=("get", "list"),
)
SECRETS_OFFICER: Final = Role(
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Key Vault Secrets Officer",
    (),
    "vault-secrets-officer",
    secrets=("get", "list", "set", "delete"),
)
BUILT_IN: Final = (
    OWNER,
    READER,
    RESOURCE_OWNER,
    CONTRIBUTOR,
    RESOURCE_READER,
    WEB_PUBSUB_CONTRIBUTOR,
    SECRETS_USER,
    SECRETS_OFFICER,
)


def allows(role: Role, action: str) -> bool:
    """
    Args:
        action: such as "group/send/action".
    """
    return any(
        action == pattern or (pattern.startswith("*") and action.endswith(pattern[1:])) for pattern in role.actions
    )


def manages(role: Role, action: str) -> bool:
    """
    Does a role allow an action of the resource manager.

    Args:
        action: such as "Microsoft.SignalRService/webPubSub/write"; letter case does not count.
    """
    return _any_matches(role.management, action) and not _any_matches(role.but_not, action)


def may_with_secrets(role: Role, permission: str) -> bool:
    """
    Does a role allow something with secrets.

    Args:
        permission: as access policies call it, such as "get".
    """
    return permission in role.secrets


def _any_matches(patterns: tuple[str, ...], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) is not None for pattern in patterns)


@lru_cache(64)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE)


def full_name(action: str) -> str:
    """A data action as role definitions spell it."""
    return _PREFIX + action


def role_with_id(role_id: str) -> Role | None:
    """A built-in role by the GUID of its definition, in any case."""
    return next((role for role in BUILT_IN if role.id == role_id.lower()), None)


def role_named(text: str) -> Role | None:
    """
    A built-in role by its name, its short name or the GUID of its definition, in any case. Where a short name is one of
    the names, the spelling counts: "Owner" and "owner" are two roles.
    """
    wanted = text.strip()
    exact = next((role for role in BUILT_IN if role.name == wanted), None)
    wanted = wanted.lower()
    return exact or next((role for role in BUILT_IN if wanted in (role.id, role.name.lower(), role.short)), None)


def covers(scope: str, resource: str) -> bool:
    """Does what is assigned at `scope` hold at `resource`? Scopes compare without case, segment by segment."""
    outer = [part for part in scope.lower().split("/") if part]
    inner = [part for part in resource.lower().split("/") if part]
    return inner[: len(outer)] == outer

"""
What listeners of Key Vaults and communication services are called, and which host leads to which. Values only.

Listeners of a webPubSub resource have its name, which has no slash; others have their kind before it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from hubwire.model.communication import is_communication_name
from hubwire.model.vaults import is_vault_name

__all__ = ["ListenerKind", "kind_of", "listener_name", "listener_of_host", "named_by", "owner_of", "title_of"]

ListenerKind: TypeAlias = Literal["vault", "communication"]

_TITLES: Final[Mapping[ListenerKind, str]] = {"vault": "Key Vault", "communication": "communication service"}
_KINDS: Final[Mapping[str, ListenerKind]] = {kind: kind for kind in _TITLES}
_HOSTS: Final[Mapping[ListenerKind, re.Pattern[str]]] = {
    "vault": re.compile(r"([^.]+)\.vault\.(?:azure\.net|localhost)"),
    # In the cloud some have the place of their data behind the name, such as NAME.unitedstates.communication.azure.com.
    "communication": re.compile(r"([^.]+)\.(?:(?:[a-z0-9]+\.)?communication\.azure\.com|communication\.localhost)"),
}


def listener_name(kind: ListenerKind, owner: str) -> str:
    """What the listeners of a vault or a communication service are called."""
    return f"{kind}/{owner.lower()}"


def kind_of(listener: str) -> ListenerKind | None:
    """Whose listeners are called so; None for those of a webPubSub resource."""
    kind, slash, _ = listener.partition("/")
    return _KINDS.get(kind) if slash else None


def owner_of(listener: str) -> str:
    """The name of the vault, the service or the resource whose listeners are called so, in lower case."""
    return listener.rpartition("/")[2]


def title_of(listener: str) -> str:
    """Whose they are, for people."""
    kind = kind_of(listener)
    return f"{'resource' if kind is None else _TITLES[kind]} {owner_of(listener)}"


# Asked for each request, about the few hosts that a server has.
@lru_cache(maxsize=256)
def listener_of_host(host: str) -> str | None:
    """
    What the listeners are called of the vault or service that a host names, be it there or not; None if it names none.

    Args:
        host: authority, in lower case.
    """
    return next((listener_name(kind, name) for kind in _HOSTS if (name := named_by(kind, host)) is not None), None)


def named_by(kind: ListenerKind, host: str) -> str | None:
    """The vault, or the service, that a host names, in lower case; None if it names none. For `host` see above."""
    found = _HOSTS[kind].fullmatch(host.partition(":")[0].rstrip("."))
    is_name = is_vault_name if kind == "vault" else is_communication_name
    return found[1] if found is not None and is_name(found[1]) else None

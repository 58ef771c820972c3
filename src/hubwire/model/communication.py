"""
Communication services and those who call them, as values.

Sources: identity model and authentication pages of Communication Services; connection strings as the official clients
read them; Microsoft.Communication/communicationServices, api-version 2023-04-01.
"""

import re
from typing import Final, Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "SCOPES",
    "CommunicationCaller",
    "CommunicationKeyKind",
    "CommunicationKeys",
    "CommunicationService",
    "communication_connection_string",
    "is_communication_name",
]

SCOPES: Final = ("chat", "voip", "chat.join", "chat.join.limited", "voip.join")
"""What a token of a user can be good for. Letter case counts."""

CommunicationKeyKind: TypeAlias = Literal["primary", "secondary"]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class CommunicationCaller(Struct, frozen=True):
    """
    Attributes:
        kind: "primary" and "secondary" proved to hold that key of the service; "entra" brought a token of an issuer
            that is trusted; "operator" came by the control socket.
        name: for the log; of an access key which one, of a token the object id.
        key_generation: of the key; 0 for whoever came without one.
    """

    kind: Literal["primary", "secondary", "entra", "operator"]
    name: str
    key_generation: int = 0


class CommunicationKeys(Struct, frozen=True):
    """
    The two keys of a service, either of which proves a caller.

    Attributes:
        primary, secondary: base64, in the standard alphabet, of 64 random bytes; these bytes are the HMAC key.
        primary_generation, secondary_generation: from 1; one more each time that the key is made anew, which ends the
            tokens that it let somebody have.
    """

    primary: str
    secondary: str
    primary_generation: int = 1
    secondary_generation: int = 1

    def __repr__(self) -> str:
        return "CommunicationKeys(…)"

    def generation(self, kind: CommunicationKeyKind) -> int:
        """Of one of them."""
        return self.primary_generation if kind == "primary" else self.secondary_generation


class CommunicationService(Struct, frozen=True):
    """
    A resource of type Microsoft.Communication/communicationServices, as those need it who manage its users.

    Attributes:
        name: in the spelling that it was given.
        immutable_id: GUID in lower case that stands in the ids of its users; it stays when anything else changes, and
            no later service of the same name has it.
        location: region of the resource.
        data_location: where it keeps its data, in the resource manager's words, such as "United States".
        local_auth: are access keys taken.
        is_reachable: is anybody served who comes over the network.
    """

    name: str
    immutable_id: str
    location: str
    data_location: str
    keys: CommunicationKeys
    local_auth: bool = True
    is_reachable: bool = True


def is_communication_name(name: str) -> bool:
    """Of a service: 1 to 63 letters, digits and hyphens, no hyphen first or last. Names compare without case."""
    return _NAME.fullmatch(name) is not None


def communication_connection_string(endpoint: str, key: str) -> str:
    """
    What an SDK is given: where the service is, and a key of it. A secret. The order counts, and nothing may follow: the
    official clients take everything behind the last name for the key.

    Args:
        endpoint: such as "https://localhost:8443", with or without a slash at the end.
    """
    return f"endpoint={endpoint.rstrip('/')}/;accesskey={key}"

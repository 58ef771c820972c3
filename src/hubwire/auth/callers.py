"""What proved callers are, as values."""

from typing import Any, Literal

from msgspec import Struct

__all__ = ["ClientClaims", "Principal"]


class ClientClaims(Struct, frozen=True):
    """
    What a client's token says about it.

    Attributes:
        user_id: None for an anonymous client.
        roles: initial permissions as they came; unknown ones grant nothing.
        groups: legal names, each once; joined at connect without any permission.
        claims: all of the token, `user_id` and the like included, for whoever decides on the connection.
    """

    user_id: str | None
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    claims: dict[str, Any]


class Principal(Struct, frozen=True):
    """
    A caller of an operation.

    Attributes:
        kind: "accessKey" proved to hold a key of the resource; "operator" came by the control socket; "entra" brought a
            token of an issuer that is trusted.
        name: for the log; of an access key "primary" or "secondary", of a token the object id.
    """

    kind: Literal["accessKey", "operator", "entra"]
    name: str

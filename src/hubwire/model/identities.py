"""The managed identity of a resource, and tokens for calls that it makes, as values."""

from typing import Literal

from msgspec import Struct

__all__ = ["AccessToken", "ManagedIdentity"]


class ManagedIdentity(Struct, frozen=True):
    """
    Attributes:
        resource_id: of the resource that has it.
        identity_id: resource id of the identity itself; of a system-assigned one that of the resource.
        principal_id, client_id: GUIDs in lower case.
    """

    kind: Literal["SystemAssigned", "UserAssigned"]
    resource_id: str
    identity_id: str
    principal_id: str
    client_id: str


class AccessToken(Struct, frozen=True):
    """
    Attributes:
        expires_at: seconds since 1970.
    """

    token: str
    expires_at: float

    def __repr__(self) -> str:
        return f"AccessToken(…, {self.expires_at})"

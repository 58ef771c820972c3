"""
What a resource of type Microsoft.SignalRService/webPubSub demands of those who use it, as the hot path reads it.

Source: the resource's definition, stable api-version 2024-03-01; the units of the service's pricing tiers.
"""

from typing import Final

from msgspec import Struct

from hubwire.model.identities import ManagedIdentity
from hubwire.model.network import OPEN, NetworkRules

__all__ = ["UNLIMITED", "ResourcePolicy"]

UNLIMITED: Final = 1 << 31


class ResourcePolicy(Struct, frozen=True):
    """
    Attributes:
        scope: id of the resource, at which roles are assigned.
        local_auth: may callers prove themselves by an access key.
        entra_auth: may they by a token of an issuer.
        network: who may reach it at all.
        stopped: the data plane answers nobody.
        quota: connections at once.
        client_certificates: are clients asked for one during the TLS handshake.
        identity: under which it calls event handlers and Key Vaults; None if it has none.
    """

    scope: str = ""
    local_auth: bool = True
    entra_auth: bool = True
    network: NetworkRules = OPEN
    stopped: bool = False
    quota: int = UNLIMITED
    client_certificates: bool = False
    identity: ManagedIdentity | None = None

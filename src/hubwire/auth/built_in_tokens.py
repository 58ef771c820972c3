"""Tokens of resources' managed identities by the local issuer."""

from hubwire.auth.issuer import Issuer
from hubwire.model.errors import Unavailable
from hubwire.model.identities import AccessToken, ManagedIdentity

__all__ = ["BuiltInTokens"]


class BuiltInTokens:
    """
    A `TokenSource`.

    Args:
        issuer: None where it is switched off: nobody could prove its tokens then.
    """

    def __init__(self, issuer: Issuer | None) -> None:
        self._issuer = issuer

    async def token(self, audience: str, identity: ManagedIdentity) -> AccessToken:
        if self._issuer is None:
            message = "The local issuer is switched off (local_issuer=false): name another identity_source."
            raise Unavailable(message, "identity_source")
        granted = self._issuer.to_resource(identity, audience)
        return AccessToken(granted.token, granted.issued_at + granted.lifetime_s)

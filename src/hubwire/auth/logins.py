"""
Clients who prove who they are with the token of another service of this server, which can be revoked: then they are let
in no more, and whoever is in with it has to leave.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from hubwire.auth.callers import ClientClaims
from hubwire.model.hubs import CommunicationLogin

__all__ = ["Login", "Logins"]


class Login:
    """
    What one client has proved.

    Attributes:
        is_over: the token was revoked since, or what it hangs on is gone. That its time is over does not count.
    """

    __slots__ = ("__weakref__", "claims", "is_over")

    def __init__(self, claims: ClientClaims) -> None:
        self.claims = claims
        self.is_over = False


class Logins(Protocol):
    """
    Attributes:
        on_over: told of those that are over, at once and before whoever ended them is answered.
    """

    on_over: Callable[[Sequence[Login]], None]

    async def log_in(self, token: str, wanted: CommunicationLogin) -> Login:
        """
        Verify a client's token. Asks the store once, and only about a token that is good by all that it says itself.

        Raises:
            Unauthorized: it is not good for this; the message is for the operator and says why.
            Unavailable: the store does not answer.
        """

    def is_of_user(self, token: str) -> bool:
        """Does a token say that it is of a communication user of this server. Nothing of it is proved."""

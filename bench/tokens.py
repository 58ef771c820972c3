"""Real tokens for Hubwire's clients and callers, each of them different, as an application's server would make them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import jwt

from bench.workloads import CALL_TARGET, HUB

__all__ = ["Issuer", "client_path"]

_TTL_S: Final = 7200
"""Longer than the whole benchmark."""

_ROLES: Final = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


def client_path(protocol: str) -> str:
    """Where Hubwire's clients go that speak this protocol of the generator."""
    return f"/clients/mqtt/hubs/{HUB}" if protocol.startswith("mqtt") else f"/client/hubs/{HUB}"


@dataclass(frozen=True)
class Issuer:
    """
    Attributes:
        address: host and port of the server, which the tokens are for.
        key: one of its access keys.
    """

    address: str
    key: str

    def targets(self, count: int, groups: int, path: str) -> Iterator[str]:
        """
        Request targets of so many clients, each with a user, three roles and so many groups of its own token.

        The third role is one that only this client has, as where rooms are private.

        Args:
            path: as from `client_path`.
        """
        audience = f"http://{self.address}{path}"
        for number in range(count):
            claims: dict[str, object] = {
                "sub": f"user-{number}",
                "role": [*_ROLES, f"webpubsub.sendToGroup.room-{number}"],
            }
            if groups:
                claims["webpubsub.group"] = [f"team-{(number + step) % 1000}" for step in range(groups)]
            yield f"{path}?access_token={self._token(audience, claims)}"

    def call_token(self) -> str:
        """For the call of the REST workload."""
        return self._token(f"http://{self.address}{CALL_TARGET}", {})

    def _token(self, audience: str, claims: dict[str, object]) -> str:
        now = int(time.time())
        return jwt.encode({"aud": audience, "iat": now, "exp": now + _TTL_S, **claims}, self.key, "HS256")

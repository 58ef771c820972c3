"""Callers who can only have an access key."""

from doubles import Keys
from hubwire.auth.bearers import Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.rest_callers import RestCallers
from hubwire.auth.signatures import RsaPublicKey
from hubwire.model.directory import Assignment

__all__ = ["access_keys_only"]


class _Nobody:
    """No keys and no roles."""

    async def key(self, issuer: str, kid: str, /) -> RsaPublicKey | None:
        return None

    def roles_of(self, tenant: str, principal_id: str, /) -> tuple[Assignment, ...]:
        return ()


def access_keys_only(principals: Principals) -> RestCallers:
    """No issuer is trusted, and no address is slowed down."""
    nobody = _Nobody()
    bearers = Bearers(nobody, None, (), nobody, (), 0, lambda: 0.0)
    return RestCallers(principals, bearers, Failures(0), Keys())

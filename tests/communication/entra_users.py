"""Tokens of users of a tenant, as an issuer that is trusted signs them, and what proves them."""

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key, signed
from hubwire.auth.bearers import Bearers, Service

__all__ = ["APP", "OBJECT_ID", "TENANT_ID", "proofs", "user_token"]

APP = "44444444-aaaa-4000-8000-00000000000a"
TENANT_ID = TENANT.tenant_id
_KID = "foreign-key"


def proofs(service: Service, clock: Clock, *, down: bool = False, leeway_s: int = 0) -> Bearers:
    """Of one kind of tokens."""
    foreign = ForeignKeys({(ISSUER_URL, _KID): rsa_key("foreign").public_key()}, down=down)
    return Bearers(InMemory(), None, (ISSUER_URL,), foreign, (), leeway_s, clock, service)


def user_token(audience: str, permissions: str | None, *, key: str = "foreign", **claims: object) -> str:
    """
    Args:
        key: name of the one that signs; the tenant's own is "foreign".
        claims: more of them, or other values; None leaves one out.
    """
    known = {"iss": ISSUER_URL, "tid": TENANT_ID, "oid": OBJECT_ID, "appid": APP, "exp": int(NOW) + 3000}
    said = {**known, "aud": audience, "scp": permissions, **claims}
    return signed(
        {name: value for name, value in said.items() if value is not None},
        rsa_key(key),
        {"alg": "RS256", "kid": _KID},
    )

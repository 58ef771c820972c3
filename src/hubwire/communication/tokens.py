"""
Tokens of users of communication services: what stands in them, and whether one is good.

They are signed with the keys of the token issuer, and carry what the service's own carry; besides that an issuer and an
audience, so that anybody can verify them by the published keys, and what it takes to tell whether one was revoked:
the generation of its user, and that of the access key which it was issued for. Seconds are never compared.

Sources: tokens of the service that were published; its pages on its identity model; RFC 7519; RFC 7662 for what is told
of a token.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from hubwire.auth.key_ring import KeyRing
from hubwire.auth.signatures import unverified, verified
from hubwire.model.communication import SCOPES, CommunicationCaller, CommunicationService
from hubwire.model.errors import IdentityNotOwned, Unauthorized

__all__ = ["TEAMS_PREFIX", "Generations", "IssuedToken", "TokenFacts", "Tokens", "Verifier", "introspection"]

TEAMS_PREFIX: Final = "8:orgid:"
"""Of the ids of Teams users, whom no service has: their tokens are good until they end."""

_VOICE_AND_CHAT: Final = 1792
"""`scp` of every token that was seen, whatever its scopes."""

_ISSUERS: Final = "/communication/"

_MISREAD: Final = ">?~\x7f"
"""
The official client of Python reads claims in the other alphabet of base64, which has neither of the two digits that
these characters become where they are third of three; and it reads ASCII.
"""
_ESCAPED: Final = {ord(character): f"\\u{ord(character):04x}" for character in _MISREAD}

_REGIONS: Final = {
    "amer": {"unitedstates", "canada", "brazil"},
    "emea": {"africa", "europe", "france", "germany", "norway", "switzerland", "uae", "uk"},
}


class IssuedToken(Struct, frozen=True):
    """
    Attributes:
        expires_on: seconds since 1970.
    """

    token: str
    expires_on: float

    def __repr__(self) -> str:
        return f"IssuedToken(…, {self.expires_on})"


class TokenFacts(Struct, frozen=True):
    """
    What a good token says.

    Attributes:
        user: id.
        issued_at, expires_at: seconds since 1970.
        generation: of its user; `authority` says on whose word it was issued. For this server alone.
    """

    user: str
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int
    issuer: str
    audience: str
    token_id: str
    generation: int
    authority: str


class Generations(Protocol):
    """The users, as far as their tokens depend on them."""

    async def generation(self, service: CommunicationService, identity: str, /) -> int:
        """
        That tokens of a user have to be of.

        Raises:
            IdentityNotOwned: the service has no such user.
        """


class _Claims(Struct, frozen=True):
    """Those that decide; names as in the token."""

    skypeid: str
    acsScope: str  # noqa: N815
    iss: str
    aud: str
    iat: int
    exp: int
    jti: str
    gen: int
    kix: str


class Tokens:
    """
    Args:
        base_url: of the server, without a slash at its end; issuers of all services are below it.
        clock: seconds since 1970.
        random_bytes: as many as asked for, unpredictable.
    """

    def __init__(
        self, ring: KeyRing, base_url: str, clock: Callable[[], float], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._ring = ring
        self._base_url = base_url
        self._clock = clock
        self._random_bytes = random_bytes

    def issuer(self, service: CommunicationService) -> str:
        """The `iss` of a service's tokens."""
        return f"{self._base_url}{_ISSUERS}{service.immutable_id}"

    def discovery(self, service: CommunicationService) -> dict[str, Any]:
        """The document at `/.well-known/openid-configuration` below the issuer."""
        issuer = self.issuer(service)
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/keys",
            "introspection_endpoint": f"{issuer}/introspect",
            "id_token_signing_alg_values_supported": ["RS256"],
            "introspection_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "scopes_supported": list(SCOPES),
        }

    def keys(self, service: CommunicationService) -> list[dict[str, Any]]:
        """The JSON Web Keys that verify a service's tokens."""
        return self._ring.published(self.issuer(service))

    def sign(
        self,
        service: CommunicationService,
        caller: CommunicationCaller,
        user: str,
        scopes: Sequence[str],
        generation: int,
        issued_at: float,
        expires_on: float,
    ) -> IssuedToken:
        """
        A token of a user.

        Args:
            caller: for whom it is issued; a token ends with the access key that its caller held.
            user: id.
            generation: of the user.
            issued_at: seconds since 1970, as read once for this token; whoever asked for a lifetime gets that much.
            expires_on: seconds since 1970.
        """
        location, region = _place(service.data_location)
        claims = {
            "skypeid": user.removeprefix("8:"),
            "scp": _VOICE_AND_CHAT,
            "csi": str(int(issued_at)),
            "exp": int(expires_on),
            "rgn": region,
            "acsScope": ",".join(scopes),
            "resourceId": service.immutable_id,
            "resourceLocation": location,
            "iat": int(issued_at),
            "iss": self.issuer(service),
            "aud": service.immutable_id,
            "jti": _guid(self._random_bytes(16)),
            "gen": generation,
            "kix": _authority(service, caller.kind, caller.key_generation),
        }
        return IssuedToken(self._ring.sign(_payload(claims), issued_at, thumbprint=True), expires_on)

    def read(self, service: CommunicationService, token: str) -> TokenFacts:
        """
        What a token of a service says.

        Raises:
            Unauthorized: it is no such token, its time is over, or the access key that it was issued for was made anew.
        """
        parts = unverified(token)
        kid = parts.header.get("kid")
        key = self._ring.public(kid) if isinstance(kid, str) else None
        if key is None:
            raise Unauthorized("token is signed with an unknown key")
        try:
            said = msgspec.convert(verified(parts, key, ("RS256",), self._clock(), 0), _Claims)
        except msgspec.ValidationError as error:
            raise Unauthorized("token is of another kind") from error
        if said.iss != self.issuer(service) or said.aud != service.immutable_id:
            raise Unauthorized("token is of another service")
        facts = TokenFacts(
            f"8:{said.skypeid}",
            tuple(said.acsScope.split(",")),
            said.iat,
            said.exp,
            said.iss,
            said.aud,
            said.jti,
            said.gen,
            said.kix,
        )
        if not self.has_authority(service, facts):
            raise Unauthorized("the access key that the token was issued for was made anew")
        return facts

    def names_us(self, token: str) -> bool:
        """Does a token say that a service of this server issued it. Nothing of it is proved."""
        try:
            return unverified(token).text("iss").startswith(f"{self._base_url}{_ISSUERS}")
        except Unauthorized:
            return False

    @staticmethod
    def has_authority(service: CommunicationService, facts: TokenFacts) -> bool:
        """Does the word still count that a token of the service was issued on."""
        kind = facts.authority.partition(".")[0]
        return bool(kind) and facts.authority == _authority(service, kind, None)


class Verifier:
    """Tells good tokens from all others."""

    def __init__(self, tokens: Tokens, users: Generations) -> None:
        self._tokens = tokens
        self._users = users

    async def facts(self, service: CommunicationService, token: str) -> TokenFacts | None:
        """
        What a token says; None if it is not good at this service: forged, of another one, expired, revoked, or of a
        user that is gone.
        """
        try:
            facts = self._tokens.read(service, token)
            await self.check(service, facts)
        except Unauthorized:
            return None
        return facts

    async def check(self, service: CommunicationService, facts: TokenFacts) -> None:
        """
        Is a token good, as far as it does not say that itself.

        Raises:
            Unauthorized: it was revoked, or its user is gone; the message says which.
        """
        if facts.user.startswith(TEAMS_PREFIX):
            return
        try:
            generation = await self._users.generation(service, facts.user)
        except IdentityNotOwned as error:
            raise Unauthorized("token is of a user that is gone") from error
        if generation != facts.generation:
            raise Unauthorized("token was revoked")


def introspection(facts: TokenFacts | None) -> Mapping[str, Any]:
    """What is told of a token. Of one that is not good nothing else is. Source: RFC 7662, 2.2."""
    if facts is None:
        return {"active": False}
    return {
        "active": True,
        "scope": " ".join(facts.scopes),
        "sub": facts.user,
        "username": facts.user,
        "token_type": "Bearer",
        "iat": facts.issued_at,
        "exp": facts.expires_at,
        "iss": facts.issuer,
        "aud": facts.audience,
        "jti": facts.token_id,
    }


def _payload(claims: Mapping[str, object]) -> bytes:
    """As JSON that every official client reads."""
    payload = msgspec.json.encode(claims)
    # Only the address of a server or the name of a place can have such characters, and hardly any has.
    if payload.isascii() and len(payload.translate(None, _MISREAD.encode())) == len(payload):
        return payload
    return json.dumps(claims, separators=(",", ":")).translate(_ESCAPED).encode()


@lru_cache(maxsize=64)
def _place(data_location: str) -> tuple[str, str]:
    """Where a service keeps its data, and the region of that, as tokens have them."""
    location = "".join(filter(str.isalnum, data_location)).lower()
    return location, next((region for region, places in _REGIONS.items() if location in places), "apac")


def _guid(random: bytes) -> str:
    """Of version 4. Takes an eighth of the time of `uuid`."""
    digits = random.hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _authority(service: CommunicationService, kind: str, generation: int | None) -> str:
    """
    Whose word a token was issued on, such as "primary.1" or "entra"; empty for nobody's.

    Args:
        generation: of an access key; None is the one of now.
    """
    match kind:
        case "primary" | "secondary":
            return f"{kind}.{service.keys.generation(kind) if generation is None else generation}"
        case "entra" | "operator":
            return kind
        case _:
            return ""

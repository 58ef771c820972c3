"""
Who is calling: access-key tokens of clients, of tunnels and of REST callers to claims and principals, and the tokens
that the service itself issues.

A token names the URL it is for (`aud`), and that is its scope: a client's token is for one hub's endpoint, a REST
token for one path. How two such URLs are compared stands in `_Audience`.

Sources: Web PubSub's client protocol page, its MQTT pages and data-plane reference; the URLs and tokens that the
official SDKs make.
"""

import hmac
import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from hubwire.auth import jwt
from hubwire.auth.callers import ClientClaims, Principal
from hubwire.model.errors import BadRequest, StartFailed, Unauthorized
from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey, is_group_name, is_user_id
from hubwire.model.ports import KeyDirectory

__all__ = ["Principals", "public_authority"]

_NAME_IDENTIFIER: Final = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
_GROUPS: Final = "webpubsub.group"
_MQTT_GROUPS: Final = (_GROUPS, "group")
"""The service's MQTT pages know the short name alone, and its SDKs write the long one, for MQTT clients too."""

_RECOVERY_S: Final = 7 * 24 * 3600
_SEALED: Final = "hubwire.salt."
_KEY_NAMES: Final = ("primary", "secondary")
_LEGACY: Final = (b"client",)
_MQTT: Final = (b"clients", b"mqtt")
_TUNNEL: Final = (b"server", b"tunnel")
_SHOWN: Final = 256
"""Characters of a host that a stranger chose."""
_KNOWN_URLS: Final = 256
_LONG_URL: Final = 512
"""Characters; longer ones are not remembered, so that the memory stays small whatever strangers send."""

_URL = re.compile(r"(?:https?|wss?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@\[\]/?#]+)(?::([0-9]{0,5}))?")
# Not told apart, since schemes are not: TLS may end in front of us.
_DEFAULT_PORTS: Final = frozenset({"", "80", "443"})


class Principals:
    """
    Args:
        public_endpoints: URLs under which this server is reached besides the request's own host.
        leeway_s: 0 to 300, how far a caller's clock may be off.
        clock: seconds since 1970.

    Raises:
        StartFailed: a public endpoint is no http, https, ws or wss URL.
    """

    def __init__(
        self,
        keys: KeyDirectory,
        public_endpoints: Sequence[str],
        leeway_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._leeway_s = leeway_s
        self._clock = clock
        self._public = frozenset(map(public_authority, public_endpoints))
        self._published: dict[str, frozenset[str]] = {}
        self._also: frozenset[str] = frozenset()

    def client(self, token: str, hub: HubKey, path: str, host: str) -> ClientClaims:
        """
        What the token of a connecting client says, once it is proved.

        An audience fits if its path is `path`, in any letter case. The older form of the client endpoint has an older
        form of audience, `/client/?hub={hub}`; it names the same endpoint, so it fits where `/client/hubs/{hub}` does.
        Without its hub it would be good for every hub, so then it fits nowhere. The endpoint of MQTT clients is another
        one, and has no such form.

        Args:
            path: canonical path of the endpoint, such as "/client/hubs/chat" or "/clients/mqtt/hubs/chat", whichever
                form the client used.
            host: authority that the request was sent to.

        Raises:
            Unauthorized: bad signature, audience or time, or a claim of the wrong type, or no legal user id.
            BadRequest: a good token that names an illegal group.
        """
        keys = self._keys.access_keys(hub.resource)
        claims = self._verify(token, _secrets(keys)).claims
        self._check_seal(claims, keys, hub.resource)
        wanted = _endpoint(path)
        legacy = wanted == (b"client", b"hubs", hub.hub.encode())
        if not any(
            self._is_ours(audience.authority, host)
            and (audience.endpoint == wanted or (legacy and _names_hub(audience, _LEGACY, hub.hub)))
            for audience in _audiences(claims)
        ):
            raise Unauthorized(f"token is for another audience than http://{host[:_SHOWN]}{path}")
        names = _MQTT_GROUPS if wanted[:2] == _MQTT else (_GROUPS,)
        return ClientClaims(_user_id(claims), _texts(claims, "role"), _groups(claims, names), claims)

    def rest(self, authorization: str | None, resource: str, host: str, raw_path: str) -> Principal:
        """
        Who sends a REST request.

        Args:
            authorization: value of the header, None if there is none.
            host: authority that the request was sent to.
            raw_path: its path, still percent-encoded; a character for each byte (Latin-1), as HTTP libraries give it.

        Raises:
            Unauthorized: nobody whom we know, or a token for another path.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("no bearer token")
        if not self._keys.policy(resource).local_auth:
            raise Unauthorized("access keys are switched off")
        verified = self._verify(token.strip(), _secrets(self._keys.access_keys(resource)))
        # Letter case counts here, unlike at the client endpoints: users and groups are case-sensitive.
        wanted = _segments(_wire_bytes(raw_path))
        if not any(
            self._is_ours(audience.authority, host) and audience.segments == wanted
            for audience in _audiences(verified.claims)
        ):
            raise Unauthorized("token is for another audience")
        return Principal("accessKey", _KEY_NAMES[verified.key])

    def tunnel(self, token: str, hub: HubKey, host: str) -> str | None:
        """
        Who dials in to answer the events of a hub: the user id of its token, once that is proved, or None.

        The audience is the URL that was dialled, so its query says for which hub it is; what else stands there, such as
        the target of a reconnection, does not count.

        Args:
            host: authority that the request was sent to.

        Raises:
            Unauthorized: bad signature, audience or time, or access keys are switched off.
        """
        if not self._keys.policy(hub.resource).local_auth:
            raise Unauthorized("access keys are switched off")
        claims = self._verify(token, _secrets(self._keys.access_keys(hub.resource))).claims
        if not any(
            self._is_ours(audience.authority, host) and _names_hub(audience, _TUNNEL, hub.hub)
            for audience in _audiences(claims)
        ):
            raise Unauthorized("token is for another audience")
        return _user_id(claims)

    def issue_client_token(
        self,
        resource: str,
        audience: str,
        user_id: str | None,
        roles: Sequence[str],
        groups: Sequence[str],
        minutes: int,
    ) -> str:
        """
        A token with which a client may connect, signed with the primary key of `resource` and sealed with its salt.

        Args:
            audience: URL of the client endpoint.
            groups: names that are known to be legal.
            minutes: 1 or more, from now.

        Raises:
            BadRequest: the user id is not legal, or the token would be longer than we accept ourselves.
        """
        if user_id and not is_user_id(user_id):
            raise BadRequest("A user id has no control characters.", "userId")
        now = int(self._clock())
        claims: dict[str, Any] = {"aud": audience, "nbf": now, "iat": now, "exp": now + minutes * 60}
        if user_id:
            claims["sub"] = user_id
        if roles:
            claims["role"] = list(roles)
        if groups:
            claims[_GROUPS] = list(groups)
        keys = self._keys.access_keys(resource)
        if keys.salt:
            claims["jti"] = _seal(claims, keys.salt)
        token = jwt.sign(claims, _secrets(keys)[0])
        if len(token) > jwt.MAX_TOKEN_BYTES:
            raise BadRequest(f"The token would be longer than {jwt.MAX_TOKEN_BYTES} bytes.")
        return token

    def issue_recovery_token(self, connection_id: str) -> str:
        """What a reliable client shows to get its dropped connection back; good for a week."""
        now = int(self._clock())
        return jwt.sign({"aud": connection_id, "iat": now, "exp": now + _RECOVERY_S}, self._keys.recovery_key())

    def verify_recovery_token(self, token: str, connection_id: str) -> bool:
        """Did we issue this, for this connection, less than a week ago."""
        try:
            verified = jwt.verify(token, (self._keys.recovery_key(),), self._clock(), self._leeway_s)
        except Unauthorized:
            return False
        return bool(verified.claims.get("aud") == connection_id)

    def publish(self, name: str, endpoints: Sequence[str]) -> None:
        """
        Take these URLs, too, as ones under which this server is reached.

        Args:
            name: of what they are for; its URLs of before are forgotten.
        """
        self._published[name] = frozenset(map(public_authority, endpoints))
        self._also = frozenset().union(*self._published.values())

    def _check_seal(self, claims: dict[str, Any], keys: AccessKeys, resource: str) -> None:
        """A token with a seal was issued by this server, under the salt of now; only such ones need no access keys."""
        token_id = claims.get("jti")
        if isinstance(token_id, str) and token_id.startswith(_SEALED):
            said = {name: value for name, value in claims.items() if name != "jti"}
            if not keys.salt or not hmac.compare_digest(_seal(said, keys.salt), token_id):
                raise Unauthorized("token was issued under another salt")
        elif not self._keys.policy(resource).local_auth:
            raise Unauthorized("access keys are switched off")

    def _verify(self, token: str, secrets: tuple[bytes, ...]) -> jwt.Verified:
        return jwt.verify(token, secrets, self._clock(), self._leeway_s)

    def _is_ours(self, authority: str, host: str) -> bool:
        return authority in self._public or authority == _authority(host) or authority in self._also


def _seal(claims: dict[str, Any], salt: str) -> str:
    """What only whoever knows the salt can say of these claims; the holder of an access key cannot."""
    return _SEALED + hmac.new(salt.encode(), msgspec.json.encode(claims), "sha256").hexdigest()


def _secrets(keys: AccessKeys) -> tuple[bytes, bytes]:
    return keys.primary.encode(), keys.secondary.encode()


class _Audience(NamedTuple):
    """
    A URL as far as it counts.

    Attributes:
        authority: host in lower case, and the port unless it is 80 or 443; a missing port is as good as these.
        segments: of the path, each percent-decoded once, so that an encoded slash is no separator; empty ones, and so
            a doubled or trailing slash, are left out. Bytes, since what is no UTF-8 must not fall together.
        endpoint: the segments in lower case.
        query: still encoded; it counts at the endpoints that have their hub there.
    """

    authority: str
    segments: tuple[bytes, ...]
    endpoint: tuple[bytes, ...]
    query: str


def _audiences(claims: dict[str, Any]) -> list[_Audience]:
    """Those of the token's audiences that are URLs of our kind; any others are not for us."""
    value = claims.get("aud")
    texts = value if isinstance(value, list) else [value]
    return [audience for text in texts if isinstance(text, str) and (audience := _audience(text)) is not None]


def _audience(url: str) -> _Audience | None:
    """Tokens differ from one another, and what they are for hardly ever does."""
    return _read_audience(url) if len(url) > _LONG_URL else _known_audience(url)


@lru_cache(_KNOWN_URLS)
def _known_audience(url: str) -> _Audience | None:
    return _read_audience(url)


def _read_audience(url: str) -> _Audience | None:
    match = _URL.fullmatch(url)
    if match is None:
        return None
    authority = _authority(match[1])
    if authority is None:
        return None
    segments = _segments(match[2].encode())
    return _Audience(authority, segments, _lower(segments), match[3] or "")


def _authority(text: str) -> str | None:
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        return None
    port = (match[2] or "").lstrip("0")
    return match[1] if port in _DEFAULT_PORTS else f"{match[1]}:{port}"


def public_authority(endpoint: str) -> str:
    """
    Host and port under which an endpoint is reached, lower-case, without a default port.

    Raises:
        StartFailed: no http, https, ws or wss URL.
    """
    audience = _audience(endpoint)
    if audience is None:
        raise StartFailed(f"public endpoint {endpoint!r} is not a URL such as https://hub.example.com")
    return audience.authority


def _segments(raw_path: bytes) -> tuple[bytes, ...]:
    return tuple([unquote_to_bytes(part) for part in raw_path.split(b"/") if part])


def _wire_bytes(raw_path: str) -> bytes:
    try:
        return raw_path.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Unauthorized("the request's path is malformed") from error


def _lower(segments: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple([segment.lower() for segment in segments])


@lru_cache(_KNOWN_URLS)
def _endpoint(path: str) -> tuple[bytes, ...]:
    return _lower(_segments(path.encode()))


def _names_hub(audience: _Audience, endpoint: tuple[bytes, ...], hub: str) -> bool:
    """Is it for an endpoint whose query names the hub, and for this hub."""
    if audience.endpoint != endpoint:
        return False
    named = parse_qs(audience.query, keep_blank_values=True).get("hub", [])
    return len(named) == 1 and named[0].lower() == hub


def _user_id(claims: dict[str, Any]) -> str | None:
    """The `sub` claim, or the long name that .NET gives it; an empty one names nobody."""
    value = claims.get("sub") or claims.get(_NAME_IDENTIFIER)
    if value is not None and not isinstance(value, str):
        raise Unauthorized("the user id is not a string")
    if value and not is_user_id(value):
        raise Unauthorized("the user id has a control character")
    return value or None


def _groups(claims: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of all the claims of these names, in this order; each once."""
    found: dict[str, None] = {}
    for name in names:
        groups = _texts(claims, name)
        if not all(map(is_group_name, groups)):
            raise BadRequest(f"Claim {name} names an invalid group.", target=name)
        found.update(dict.fromkeys(groups))
    return tuple(found)


def _texts(claims: dict[str, Any], name: str) -> tuple[str, ...]:
    """A claim that is a string or an array of strings; each once, in order."""
    value = claims.get(name, [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise Unauthorized(f"claim {name} is neither a string nor an array of strings")
    return tuple(dict.fromkeys(texts))

"""
For applications that are shown tokens of communication users: is one good, and whose is it.

    verifier = TokenVerifier(issuer_url, access_key=key, ca_file="data/ca.pem")
    user = verifier.verify(token, scopes=("chat",)).user_id

Nothing of the server is imported. What is decided is decided once, in a generator that asks for requests; the two
classes carry them out, one waiting, one in an event loop.

Sources: RFC 7519 (tokens), 7517 (their keys), 7662 (introspection).
"""

import asyncio
import base64
import hashlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlencode, urlsplit

import aiohttp
import jwt
import msgspec
from jwt.types import Options
from msgspec import Struct

__all__ = ["AsyncTokenVerifier", "Reason", "TokenNotVerified", "TokenVerifier", "VerifiedToken", "issuer_at"]

Reason: TypeAlias = Literal[
    "malformed", "issuer", "signature", "audience", "expired", "scope", "revoked", "refused", "unavailable"
]

_ALGORITHM: Final = "RS256"
_LEAST_KEY_BITS: Final = 2048
_LONGEST_TOKEN: Final = 16 * 1024
_LARGEST_ANSWER: Final = 1024 * 1024
_MOST_CACHED: Final = 10_000
_LONGEST_CACHE_S: Final = 3600.0
_KEYS_LIFETIME_S: Final = 3600.0
_KEYS_PAUSE_S: Final = 10.0
"""Between two fetches for keys that are not known: anybody can invent their names."""


class TokenNotVerified(Exception):  # noqa: N818
    """
    A token is not good, or nobody can tell.

    Attributes:
        reason: "malformed", "issuer" (of somebody else), "signature", "audience", "expired", "scope" (lacks one that
            was demanded) and "revoked" (or its user deleted, or its access key replaced) are final. "refused" is not
            the token's fault: the server does not take our access key, or there is no such service. Nor is
            "unavailable": the server cannot be reached or does not answer as it should.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class VerifiedToken(Struct, frozen=True):
    """
    What a good token says.

    Attributes:
        user_id: such as `8:acs:GUID_GUID`.
        issued_at, expires_on: seconds since 1970.
        token_id: no other token has it.
    """

    user_id: str
    scopes: tuple[str, ...]
    issued_at: int
    expires_on: int
    token_id: str


class _Claims(Struct, frozen=True):
    skypeid: str
    acsScope: str  # noqa: N815
    iat: int
    exp: int
    jti: str


class _Request(NamedTuple):
    """
    Attributes:
        is_shared: the answer is the same for everybody who asks.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    is_shared: bool = False


class _Response(NamedTuple):
    status: int
    body: bytes


class _Keys(NamedTuple):
    """
    Attributes:
        at: when they were fetched.
    """

    by_id: Mapping[str, jwt.PyJWK]
    at: float


_Flow: TypeAlias = Generator[_Request, _Response, VerifiedToken]


def issuer_at(endpoint: str, resource_id: str) -> str:
    """
    The issuer of a communication service.

    Args:
        endpoint: of the server, such as `https://localhost:8443`; not that of a service with ports of its own.
        resource_id: the immutable id of the service.
    """
    return f"{endpoint.rstrip('/')}/communication/{resource_id.lower()}"


class _Verification:
    """What both verifiers know and decide. May be used by several threads at once."""

    def __init__(
        self,
        issuer_url: str,
        access_key: str | None,
        cache_s: float,
        ca_file: str | None,
        clock: Callable[[], float],
    ) -> None:
        parts = urlsplit(issuer_url)
        resource_id = parts.path.rpartition("/")[2]
        if parts.scheme not in ("http", "https") or not parts.hostname or not resource_id:
            raise ValueError("an issuer looks like https://HOST:PORT/communication/GUID")
        if not 0 <= cache_s <= _LONGEST_CACHE_S:
            raise ValueError(f"cache_s is 0 to {_LONGEST_CACHE_S:g}")
        self.context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._issuer = issuer_url
        self._resource_id = resource_id
        self._cache_s = cache_s
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: _Keys | None = None
        self._active: dict[bytes, float] = {}
        self._headers = None
        if access_key is not None:
            proof = base64.b64encode(f"{resource_id}:{access_key}".encode()).decode()
            self._headers = {
                "Authorization": f"Basic {proof}",
                "Content-Type": "application/x-www-form-urlencoded",
            }

    def flow(self, token: str, scopes: Collection[str]) -> _Flow:
        """The requests that it takes to tell; ends with what the token says, or raises TokenNotVerified."""
        if isinstance(scopes, str):
            raise TypeError("scopes is a collection of names")
        key_id = self._key_id(token)
        key = self._known_key(key_id)
        if key is None and self._may_fetch_keys():
            response = yield _Request("GET", f"{self._issuer}/keys", is_shared=True)
            key = self._known_key(key_id)  # if somebody else has taken the same answer apart already
            if key is None:
                self._take_keys(response)
                key = self._known_key(key_id)
        if key is None:
            raise TokenNotVerified("signature", "the token is signed with a key that its issuer has not published")
        said = self._claims(token, key)
        if not self._clock() < said.exp:
            raise TokenNotVerified("expired", "the token's time is over")
        found = VerifiedToken(f"8:{said.skypeid}", tuple(said.acsScope.split(",")), said.iat, said.exp, said.jti)
        lacking = [scope for scope in scopes if scope not in found.scopes]
        if lacking:
            raise TokenNotVerified("scope", f"the token is not good for {', '.join(lacking)}")
        if self._headers is not None and not self._is_known(token):
            body = urlencode({"token": token}).encode()
            self._take_answer(token, (yield _Request("POST", f"{self._issuer}/introspect", self._headers, body)))
        return found

    def _key_id(self, token: str) -> str:
        """Before anything is fetched or believed."""
        if len(token) > _LONGEST_TOKEN:
            raise _malformed()
        try:
            parts = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _malformed() from None
        if parts["payload"].get("iss") != self._issuer:
            raise TokenNotVerified("issuer", "the token is of another issuer")
        key_id = parts["header"].get("kid")
        if not isinstance(key_id, str) or parts["header"].get("alg") != _ALGORITHM:
            raise TokenNotVerified("signature", f"the token is not signed with {_ALGORITHM} and a named key")
        return key_id

    def _known_key(self, key_id: str) -> jwt.PyJWK | None:
        keys = self._keys
        return None if keys is None or self._age_s(keys.at) >= _KEYS_LIFETIME_S else keys.by_id.get(key_id)

    def _may_fetch_keys(self) -> bool:
        keys = self._keys
        return keys is None or self._age_s(keys.at) >= _KEYS_PAUSE_S

    def _take_keys(self, response: _Response) -> None:
        published = _document(response).get("keys")
        if not isinstance(published, list):
            raise _unavailable()
        found: dict[str, jwt.PyJWK] = {}
        for described in published:
            try:
                key = jwt.PyJWK(described, _ALGORITHM)
                if key.key.key_size >= _LEAST_KEY_BITS:
                    found[described["kid"]] = key
            except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
                continue  # of a kind that signs nothing for us
        self._keys = _Keys(found, self._clock())

    def _claims(self, token: str, key: jwt.PyJWK) -> _Claims:
        # Times are compared here, with the same clock as everything else.
        unchecked: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            said = jwt.decode(token, key, [_ALGORITHM], unchecked, audience=self._resource_id, issuer=self._issuer)
            claims = msgspec.convert(said, _Claims)
            # Half characters pass as JSON, and fail where somebody writes them down.
            f"{claims.skypeid}{claims.acsScope}{claims.jti}".encode()
            return claims
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
            raise TokenNotVerified("audience", "the token is for somebody else") from None
        except jwt.InvalidSignatureError:
            raise TokenNotVerified("signature", "the token's signature is wrong") from None
        except (jwt.PyJWTError, msgspec.ValidationError, UnicodeEncodeError):
            raise _malformed() from None

    def _is_known(self, token: str) -> bool:
        """Was the server asked a short time ago."""
        at = self._active.get(_digest(token))
        return at is not None and self._age_s(at) < self._cache_s

    def _take_answer(self, token: str, response: _Response) -> None:
        if _document(response).get("active") is not True:
            raise TokenNotVerified("revoked", "the token was revoked, or its user deleted, or its access key replaced")
        if self._cache_s:
            with self._lock:
                self._active.pop(_digest(token), None)
                self._active[_digest(token)] = self._clock()
                if len(self._active) > _MOST_CACHED:
                    del self._active[next(iter(self._active))]

    def _age_s(self, at: float) -> float:
        """Endless where the clock was set back."""
        age_s = self._clock() - at
        return age_s if age_s >= 0 else float("inf")


class TokenVerifier:
    """
    Verifies tokens of one communication service; may be used by several threads at once.

    Args:
        issuer_url: of the service, `{endpoint of the server}/communication/{immutable id}`; see `issuer_at`.
        access_key: of the service, either one; with it the server is asked whether a token was revoked. None asks
            nobody: then revoked tokens are taken until they end.
        cache_s: for how long the server's answer that a token is active is believed, 0 to 3600. So long may a
            revocation go unnoticed.
        ca_file: PEM of the authorities to trust instead of the system's, such as a local server's `data/ca.pem`.
        timeout_s: of each step of a request.
        clock: seconds since 1970.

    Raises:
        ValueError: an argument cannot be used.
        OSError: the file cannot be read.
    """

    def __init__(
        self,
        issuer_url: str,
        *,
        access_key: str | None,
        cache_s: float = 0,
        ca_file: str | None = None,
        timeout_s: float = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verification = _Verification(issuer_url, access_key, cache_s, ca_file, clock)
        self._timeout_s = timeout_s

    def verify(self, token: str, scopes: Collection[str] = ()) -> VerifiedToken:
        """
        What a good token says.

        Args:
            scopes: all of which the token must have.

        Raises:
            TokenNotVerified: with a `reason`.
        """
        flow = self._verification.flow(token, scopes)
        try:
            request = next(flow)
            while True:
                request = flow.send(self._sent(request))
        except StopIteration as ended:
            found: VerifiedToken = ended.value
            return found

    def _sent(self, request: _Request) -> _Response:
        url = urlsplit(request.url)
        host, port = url.hostname or "", url.port
        if self._verification.context is None:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        else:
            connection = http.client.HTTPSConnection(
                host, port, timeout=self._timeout_s, context=self._verification.context
            )
        try:
            connection.request(request.method, url.path, request.body, dict(request.headers))
            response = connection.getresponse()
            return _bounded(response.status, response.read(_LARGEST_ANSWER + 1))
        except (OSError, http.client.HTTPException) as error:
            raise _unavailable() from error
        finally:
            connection.close()


class AsyncTokenVerifier:
    """
    The same in an event loop, with connections that stay open. To be closed, or used in `async with`.

    Args:
        issuer_url, access_key, cache_s, ca_file, clock: see `TokenVerifier`.
        timeout_s: of a whole request.
    """

    def __init__(
        self,
        issuer_url: str,
        *,
        access_key: str | None,
        cache_s: float = 0,
        ca_file: str | None = None,
        timeout_s: float = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verification = _Verification(issuer_url, access_key, cache_s, ca_file, clock)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._shared: asyncio.Task[_Response] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def verify(self, token: str, scopes: Collection[str] = ()) -> VerifiedToken:
        """See `TokenVerifier.verify`."""
        flow = self._verification.flow(token, scopes)
        try:
            request = next(flow)
            while True:
                request = flow.send(await (self._answer_for_all(request) if request.is_shared else self._sent(request)))
        except StopIteration as ended:
            found: VerifiedToken = ended.value
            return found

    async def close(self) -> None:
        """Close its connections."""
        if self._shared is not None:
            self._shared.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _answer_for_all(self, request: _Request) -> _Response:
        """Whoever asks while somebody does waits for the same answer; whoever is cancelled ends it for nobody else."""
        if self._shared is None:
            self._shared = asyncio.create_task(self._sent(request))
            self._shared.add_done_callback(self._end_shared)
        task = self._shared
        await asyncio.wait((task,))
        if task.cancelled():
            raise _unavailable()
        failed = task.exception()
        if isinstance(failed, TokenNotVerified):
            raise TokenNotVerified(failed.reason, str(failed)) from failed  # each their own
        return task.result()

    def _end_shared(self, task: asyncio.Task[_Response]) -> None:
        self._shared = None
        if not task.cancelled():
            task.exception()  # Looked at, in case nobody waits any more.

    async def _sent(self, request: _Request) -> _Response:
        if self._session is None:
            # Here, where there is a loop.
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                ssl=self._verification.context or True,
                allow_redirects=False,
            ) as response:
                content = bytearray()
                async for part in response.content.iter_chunked(64 * 1024):
                    content += part
                    if len(content) > _LARGEST_ANSWER:
                        break
                return _bounded(response.status, bytes(content))
        except (OSError, aiohttp.ClientError) as error:  # a timeout is an OSError
            raise _unavailable() from error


def _bounded(status: int, body: bytes) -> _Response:
    if len(body) > _LARGEST_ANSWER:
        raise _unavailable()
    return _Response(status, body)


def _document(response: _Response) -> Mapping[str, Any]:
    """What a server answers that answers as it should."""
    if response.status in (400, 401, 403, 404):
        raise TokenNotVerified(
            "refused", f"the server refuses to tell ({response.status}); are issuer and access key right?"
        )
    if response.status != 200:
        raise _unavailable()
    try:
        document = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unavailable() from None
    if not isinstance(document, dict):
        raise _unavailable()
    return document


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _malformed() -> TokenNotVerified:
    return TokenNotVerified("malformed", "this is no token of a communication user")


def _unavailable() -> TokenNotVerified:
    return TokenNotVerified("unavailable", "the server that issued the token cannot be asked now")

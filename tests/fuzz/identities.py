"""Users of communication services: what is asked of them, and tokens whose signature is good over anything."""

import asyncio
import json
import logging
import secrets
from typing import Final

from hypothesis import strategies as st

from auth.entra import BASE_URL, NOW, InMemory
from communication.entra_users import APP, OBJECT_ID, TENANT_ID
from communication.world import SERVICE, World
from fuzz.inputs import TEXTS, damaged, json_objects, json_texts, strings
from fuzz.target import Target
from hubwire.auth.bearers import Bearer, Proved
from hubwire.auth.key_ring import KeyRing
from hubwire.communication.tokens import Tokens
from hubwire.communication.user_documents import StoredUser, user_change, user_key
from hubwire.communication_tokens import TokenNotVerified, VerifiedToken, _Response, _Verification
from hubwire.model.errors import Unauthorized
from rest.communicating import Serving, V
from rest.issuing import MemoryStore

__all__ = ["TARGETS"]

_USER: Final = f"8:acs:{SERVICE.immutable_id}_01a3185c-5001-7c6a-8cdd-6a84f1af1842"
_TOKENS: Final = Tokens(KeyRing(InMemory()), BASE_URL, lambda: NOW, secrets.token_bytes)
_ISSUER: Final = _TOKENS.issuer(SERVICE)
_KNOWN: Final = Proved(
    Bearer(TENANT_ID, OBJECT_ID),
    {"exp": int(NOW) + 60, "appid": APP, "scp": "Chat Teams.ManageCalls Teams.ManageChats TeamsExtension.ManageCalls"},
)
# Whoever looks for faults does not want to read what was refused.
logging.getLogger("hubwire.http").addHandler(logging.NullHandler())

_EXPECTED: Final = (200, 201, 204, 400, 401, 403, 404, 405, 413)
"""Nothing fails, and nobody else is there who could be in the way."""


def _check_call(call: tuple[str, bytes], query: bytes, body: bytes, is_users: bool) -> None:
    """Whatever comes, it is carried out, or the answer says in the form of the service why not."""

    async def answered() -> None:
        store = MemoryStore()
        await store.commit([user_change(user_key(SERVICE, _USER), StoredUser(), "absent")])
        serving = Serving(World(store))
        serving.tokens.known["good"] = _KNOWN
        who = "Bearer good" if is_users else "primary"
        method, path = call
        # At its own port, where everything is the service's.
        reply = await serving.call(method, path + query, body=body, who=who, resource="communication/default")
        await serving.world.users.close()
        assert reply.status in _EXPECTED, reply
        if reply.status >= 400:
            error = reply.json["error"]
            assert error["code"]
            assert error["message"]
        elif reply.body:
            assert isinstance(reply.json, dict)

    asyncio.run(answered())


def _check_token(claims: bytes) -> None:
    """With a good signature of ours."""
    token = _TOKENS._ring.sign(claims, NOW, thumbprint=True)
    _TOKENS.names_us(token)
    try:
        facts = _TOKENS.read(SERVICE, token)
    except Unauthorized as refusal:
        assert refusal.message
        return
    assert facts.expires_at > NOW
    assert (facts.issuer, facts.audience) == (_ISSUER, SERVICE.immutable_id)


def _check_answers(claims: bytes, keys: bytes, said: bytes, status: int) -> None:
    """What whoever verifies a token is told by a server that may be any."""
    token = _TOKENS._ring.sign(claims, NOW, thumbprint=True)
    verification = _Verification(_ISSUER, "a2V5", 60, None, lambda: NOW)
    flow = verification.flow(token, ("chat",))
    try:
        next(flow)
        flow.send(_Response(200, keys))
        flow.send(_Response(status, said))
    except TokenNotVerified as refusal:
        assert token not in str(refusal)
    except StopIteration as ended:
        assert isinstance(ended.value, VerifiedToken)
        assert status == 200
        assert json.loads(said)["active"] is True
    else:
        raise AssertionError("it never ends")


_ids = st.sampled_from([f'"{OBJECT_ID}"', f'"{TENANT_ID.upper()}"', f'"{APP}"', '""', "null"]) | strings
_clients = st.sampled_from(["[]", f'["{APP}"]', f'["{APP}","{APP}"]', f'["{APP}",null]', "null"]) | json_texts
_assignments = json_objects(
    {
        "tenantId": _ids,
        "principalType": st.sampled_from(['"user"', '"group"', '"tenant"', '"resourceAccount"', '"User"']),
        "clientIds": _clients,
    }
)
_scopes = st.sampled_from(['["chat"]', '["chat","voip.join","chat"]', "[]", "null", '["Chat"]', '"chat"']) | json_texts
_bodies = (
    json_objects(
        {
            "customId": strings | st.sampled_from(['"alice"', "null"]),
            "createTokenWithScopes": _scopes,
            "expiresInMinutes": st.sampled_from(["60", "1440", "59", "60.0", "null"]) | json_texts,
        }
    )
    | json_objects({"scopes": _scopes, "expiresInMinutes": st.sampled_from(["60", "1441", "true"]) | json_texts})
    | json_objects({"token": st.just('"good"') | strings, "appId": _ids, "userId": _ids})
    | _assignments
    | st.builds(lambda one: f'{{"{OBJECT_ID}":'.encode() + one + b"}", _assignments)
    | json_texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
)
_ROWS: Final = (
    ("POST", "/identities"),
    ("GET", f"/identities/{_USER}"),
    ("DELETE", f"/Identities/{_USER.replace(':', '%3A')}"),
    ("POST", f"//identities/{_USER}/:issueAccessToken"),
    ("POST", f"/identities/{_USER}/%3arevokeAccessTokens"),
    ("POST", "/teamsUser/:exchangeAccessToken"),
    ("POST", "/access/entra/:exchangeAccessToken"),
    ("POST", "/access/teamsExtension/:exchangeAccessToken"),
    ("GET", f"/access/teamsExtension/tenants/{TENANT_ID}/assignments/{OBJECT_ID}"),
    ("PUT", f"/access/teamsExtension/tenants/{TENANT_ID}/assignments/{OBJECT_ID}"),
    ("GET", "/access/entra/assignments"),
    ("PATCH", "/access/entra/assignments"),
    ("PUT", f"/access/entra/assignments/{OBJECT_ID}"),
    ("DELETE", f"/access/entra/assignments/{OBJECT_ID}"),
)
_calls = st.sampled_from(_ROWS).map(lambda row: (row[0], row[1].encode()))
_other_calls = st.tuples(
    st.sampled_from(["POST", "PUT", "PATCH", "GET", "DELETE"]),
    damaged(st.sampled_from([path.encode() for _, path in _ROWS])).filter(lambda path: not {*b"?#"} & {*path}),
)
_queries = st.sampled_from(
    [
        V,
        f"{V}&maxpagesize=3&after={OBJECT_ID}",
        f"{V}&maxpagesize=x",
        f"{V}&after=%ff",
        f"{V}{V}",
        "",
        "?api-version=2025-03-02-preview&&=",
    ]
)
_claims = json_objects(
    {
        "skypeid": strings | st.just(f'"{_USER[2:]}"'),
        "acsScope": st.sampled_from(['"chat,voip"', '"chat"', '""', '",,"']) | strings,
        "iss": st.sampled_from([f'"{_ISSUER}"', '"https://elsewhere"', "[]"]),
        "aud": st.sampled_from([f'"{SERVICE.immutable_id}"', f'["{SERVICE.immutable_id}"]', "1"]),
        "iat": st.sampled_from(["1", "-1", "1e300", "1.5", "9" * 400]),
        "exp": st.sampled_from(["2000000000", "1", "1e300", '"1"', "9" * 400]),
        "jti": strings,
        "gen": st.sampled_from(["1", "-1", "1.0", "9" * 400]),
        "kix": st.sampled_from(['"primary.1"', '"operator"', '"entra"', '""', '"primary."', '"."']) | strings,
    }
)
_published = st.builds(
    lambda others: json.dumps({"keys": [*others, *_TOKENS.keys(SERVICE)]}).encode(),
    st.lists(
        st.sampled_from([None, 1, {}, {"kid": "x"}, {"kid": [], "kty": "RSA"}, {"kid": "y", "kty": "EC", "crv": 1}]),
        max_size=2,
    ),
)
_answers = st.sampled_from([b'{"active":true}', b'{"active":false}', b'{"active":1}', b"[]", b""])

TARGETS: Final = {
    "identity calls": Target(
        (
            _calls | _calls | _other_calls,
            _queries.map(str.encode) | TEXTS.map(lambda text: f"{V}&{text}".encode("utf-8", "surrogatepass")),
            _bodies | damaged(_bodies),
            st.booleans(),
        ),
        _check_call,
    ),
    "identity tokens": Target((_claims | damaged(_claims),), _check_token),
    "verified tokens": Target(
        (
            _claims | damaged(_claims),
            _published | damaged(_published),
            _answers | damaged(_answers) | json_texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.sampled_from([200, 200, 200, 204, 301, 400, 401, 404, 429, 500, 503]),
        ),
        _check_answers,
    ),
}

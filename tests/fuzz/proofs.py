"""What decides who somebody is: tokens, their claims, and upgrade requests."""

import base64
import hashlib
import hmac
from typing import Final

from hypothesis import strategies as st

from doubles import HUB, Keys
from fuzz.inputs import TEXTS, damaged, nested
from fuzz.target import Target
from fuzz.wires import claims, upgrades
from hubwire.auth import jwt
from hubwire.auth.principals import Principals
from hubwire.edge.head import RequestFault, parse_head
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.handshake import is_client_path, read
from hubwire.model.errors import BadRequest, Unauthorized
from hubwire.model.http import RequestHead
from hubwire.model.names import is_group_name, is_hub_name
from hubwire.model.permissions import Permissions, parse_roles

__all__ = ["TARGETS"]

_NOW: Final = 1_700_000_000.0
_KEYS: Final = (b"k" * 32, b"K" * 32)
_PRINCIPALS: Final = Principals(Keys(), ("https://hub.example",), 60, lambda: _NOW)


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(header: bytes, payload: bytes) -> str:
    signing = f"{_segment(header)}.{_segment(payload)}"
    return f"{signing}.{_segment(hmac.digest(_KEYS[0], signing.encode(), hashlib.sha256))}"


def _check_token(token: bytes) -> None:
    try:
        verified = jwt.verify(token.decode("latin-1"), _KEYS, _NOW, 60)
    except Unauthorized as refusal:
        assert not refusal.message.isspace()
        return
    assert verified.key in (0, 1)
    assert isinstance(verified.claims, dict)


def _check_claims(header: bytes, payload: bytes) -> None:
    """A token with a good signature over anything."""
    keys = Keys()
    secret = keys.access_keys(HUB.resource).primary.encode()
    signing = f"{_segment(header)}.{_segment(payload)}"
    token = f"{signing}.{_segment(hmac.digest(secret, signing.encode(), hashlib.sha256))}"
    _check_token(_signed(header, payload).encode())
    try:
        who = _PRINCIPALS.client(token, HUB, "/client/hubs/chat", "localhost:8080")
    except (Unauthorized, BadRequest):
        pass
    else:
        assert all(map(is_group_name, who.groups))
        Permissions(parse_roles(who.roles)).allows("sendToGroup", "room")
        # Whatever a token says is written into logs and frames.
        (who.user_id or "").encode()
    try:
        _PRINCIPALS.rest(f"Bearer {token}", HUB.resource, "localhost:8080", "/client/hubs/chat")
    except Unauthorized:
        pass
    _PRINCIPALS.verify_recovery_token(token, "id")


def _check_authorization(authorization: str, host: str, path: str) -> None:
    for call in (
        lambda: _PRINCIPALS.rest(authorization, HUB.resource, host, path),
        lambda: _PRINCIPALS.client(authorization, HUB, path.encode("latin-1", "ignore").decode("latin-1"), host),
    ):
        try:
            call()
        except Unauthorized:
            continue
        raise AssertionError("nobody has a key")


def _check_handshake(data: bytes) -> None:
    wire = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        head = parse_head(wire)
    except RequestFault:
        return
    is_client_path(head.target)
    try:
        attempt = read(RequestHead(head.method, head.target, head.headers, head.fields, "http", head.host, "192.0.2.1"))
        mode = attempt.publish_mode()
    except HandshakeRefused as refused:
        assert refused.status in (400, 404, 426)
        refused.text.encode("ascii")
        return
    assert is_hub_name(attempt.hub.hub)
    assert attempt.hub.hub == attempt.hub.hub.lower()
    assert mode is None or is_group_name(mode.group)
    # It is echoed in the answer's head, so it must not be able to end it.
    assert all(name.isascii() and name.isprintable() and " " not in name for name in attempt.offered)


_query_items = st.sampled_from(
    [
        "access_token=x",
        "hub=chat",
        "webpubsub_mode=sendToGroup",
        "group=room",
        "noEcho=true",
        "noEcho=x",
        "%ff=%00",
        "awps_connection_id=a",
        "awps_reconnection_token=b.c.d",
        "webpubsub_mode=%ed%a0%80",
        "a",
        "=",
        "a=b=c",
    ]
)
_client_targets = st.builds(
    lambda path, items: path + "?" + "&".join(items),
    st.sampled_from(
        [
            "/client/hubs/chat",
            "/client",
            "/client/",
            "/clients/mqtt/hubs/a",
            "//client//hubs//%63hat",
            "/client/hubs/%2f",
        ]
    ),
    st.lists(_query_items, max_size=5),
)
_headers_of_tokens = st.sampled_from(
    [
        b'{"alg":"HS256","typ":"JWT"}',
        b'{"alg":"none"}',
        b'{"alg":"HS512"}',
        b'{"alg":["HS256"]}',
        b'{"alg":"HS256","crit":["b64"],"b64":false}',
        b"{}",
        b"[]",
        b"1",
        b"",
        nested(3000, "[").encode(),
        nested(3000, "{").encode(),
    ]
)
_tokens = st.builds(_signed, _headers_of_tokens, claims()).map(str.encode)

TARGETS: Final = {
    "tokens": Target((damaged(_tokens) | st.binary(max_size=200),), _check_token),
    "claims": Target((_headers_of_tokens, claims() | damaged(claims())), _check_claims),
    "authorization": Target(
        (TEXTS | st.builds(lambda text: "Bearer " + text, TEXTS), TEXTS, TEXTS), _check_authorization
    ),
    "handshake": Target((damaged(upgrades(_client_targets)),), _check_handshake),
}

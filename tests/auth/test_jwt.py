import base64
import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.auth import jwt
from hubwire.model.errors import Unauthorized

KEY = b"0123456789abcdef0123456789abcdef"
OTHER = b"another-key-of-at-least-32-bytes"
NOW = 1_700_000_000.5


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_of(payload: bytes, header: object = None, key: bytes = KEY, digest: str = "sha256") -> str:
    """A token made without the code under test, so that anything can be in it."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = f"{segment(json.dumps(head).encode())}.{segment(payload)}"
    return f"{signed}.{segment(hmac.new(key, signed.encode(), digest).digest())}"


def claims_token(**claims: object) -> str:
    return token_of(msgspec.json.encode({"exp": NOW + 3600, **claims}))


def verify(token: str, leeway_s: float = 0) -> dict[str, object]:
    return jwt.verify(token, (KEY,), NOW, leeway_s).claims


def refusal(token: str, leeway_s: float = 0) -> str:
    with pytest.raises(Unauthorized) as refused:
        verify(token, leeway_s)
    return refused.value.message


def test_signed_claims_come_back() -> None:
    claims = {"exp": 1_800_000_000, "sub": "älice", "role": ["a", "b"], "nested": {"x": [1, None, True]}}

    assert verify(jwt.sign(claims, KEY)) == claims


def test_signed_token_is_an_ordinary_hs256_token() -> None:
    head, payload, signature = jwt.sign({"exp": 1}, KEY).split(".")

    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert base64.urlsafe_b64decode(payload + "==") == b'{"exp":1}'
    assert signature == segment(hmac.new(KEY, f"{head}.{payload}".encode(), hashlib.sha256).digest())


def test_any_of_several_keys_may_have_signed() -> None:
    """And the caller is told which one."""
    claims = {"exp": NOW + 60}

    assert jwt.verify(jwt.sign(claims, KEY), (KEY, OTHER), NOW, 0).key == 0
    assert jwt.verify(jwt.sign(claims, OTHER), (KEY, OTHER), NOW, 0).key == 1


def test_token_of_a_foreign_key_is_refused() -> None:
    assert refusal(jwt.sign({"exp": NOW + 60}, OTHER)) == "token is signed with another key"


def test_changed_claims_are_refused() -> None:
    head, _, signature = jwt.sign({"exp": NOW + 60, "sub": "alice"}, KEY).split(".")
    payload = segment(msgspec.json.encode({"exp": NOW + 60, "sub": "admin"}))

    assert refusal(f"{head}.{payload}.{signature}") == "token is signed with another key"


def test_key_id_and_type_in_the_header_are_ignored() -> None:
    payload = msgspec.json.encode({"exp": NOW + 60})

    assert verify(token_of(payload, {"alg": "HS256", "typ": "x", "kid": "../../nowhere"})) == {"exp": NOW + 60}


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("none", "sha256"), ("None", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), ("RS256", "sha256")]
    + [("hs256", "sha256"), ("", "sha256"), (None, "sha256"), (["HS256"], "sha256"), (256, "sha256")],
)
def test_other_algorithms_are_refused_even_with_the_right_key(algorithm: object, digest: str) -> None:
    token = token_of(msgspec.json.encode({"exp": NOW + 60}), {"alg": algorithm}, digest=digest)

    assert refusal(token) == "token is not signed with HS256"
    assert refusal(token.rpartition(".")[0] + ".") == "token is not signed with HS256"


def test_header_without_algorithm_is_refused() -> None:
    assert refusal(token_of(b'{"exp":1e10}', {"typ": "JWT"})) == "token is not signed with HS256"
    assert refusal("e30.e30.") == "token is not signed with HS256"


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b", "a.b.c", "=.=.=", "nulls\0.\0.\0", "ünïcode.ä.ö", "\udcff.\udcff.a"]
    + [f"{segment(head)}.{segment(b'{}')}.{segment(b'x')}" for head in (b"", b"[]", b"1", b"\xff", b"{", b"[" * 9000)]
    + [token_of(b"{}", {"alg": "HS256", "crit": ["b64"], "b64": False}), token_of(b"{}", {"alg": "HS256", "kid": 1})],
)
def test_junk_is_refused_as_malformed(token: str) -> None:
    assert refusal(token) == "token is malformed"


@given(st.text(max_size=200))
def test_no_text_does_anything_but_prove_nothing(token: str) -> None:
    assert refusal(token)


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b'"x"', b"{", b"\xff", b'{"exp":NaN}', b'{"exp":Infinity}', b'{"exp":1e999}', b"[" * 9000]
    + [b'{"exp":9e9,"sub":"\\ud800"}', b'{"exp":9e9,"sub":"\xed\xa0\x80"}', b'{"exp":' + b"9" * 6000 + b"}"]
    + [b'{"exp":9e9,"a":' + b"[" * 9000],
)
def test_signed_junk_is_refused(payload: bytes) -> None:
    """Also what a lenient JSON parser takes but nobody could handle afterwards: NaN, half a surrogate pair."""
    assert refusal(token_of(payload)) == "token's claims are not a JSON object"


def test_token_may_have_16_kib_and_no_byte_more() -> None:
    size = len(claims_token(filler=""))
    fits = claims_token(filler="x" * ((jwt.MAX_TOKEN_BYTES - size) * 3 // 4 - 1))
    too_long = token_of(b'{"exp":9e9}') + "A" * jwt.MAX_TOKEN_BYTES

    assert jwt.MAX_TOKEN_BYTES - 4 < len(fits) <= jwt.MAX_TOKEN_BYTES
    assert "filler" in verify(fits)
    assert refusal(too_long) == "token is too long"


def test_expiry_is_required() -> None:
    assert refusal(token_of(b"{}")) == "token has no claim exp"


@pytest.mark.parametrize("value", [True, "1800000000", None, [], {}, ""])
@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_times_are_numbers(claim: str, value: object) -> None:
    assert refusal(claims_token(**{claim: value})) == f"claim {claim} is not a number"


@pytest.mark.parametrize("exp", [NOW + 1, int(NOW) + 1, 10**300, 10**400, 1.5e300])
def test_token_is_good_before_its_expiry(exp: float) -> None:
    assert "exp" in verify(claims_token(exp=exp))


@pytest.mark.parametrize("exp", [NOW, NOW - 1, int(NOW), 0, -1, -(10**400), -1.5e300])
def test_token_is_no_good_from_its_expiry_on(exp: float) -> None:
    assert refusal(claims_token(exp=exp)) == "token has expired"


def test_expiry_has_leeway() -> None:
    assert verify(claims_token(exp=NOW - 59), leeway_s=60)
    assert refusal(claims_token(exp=NOW - 60), leeway_s=60) == "token has expired"


def test_token_is_no_good_before_its_time() -> None:
    assert verify(claims_token(nbf=NOW))
    assert refusal(claims_token(nbf=NOW + 1)) == "token is not valid yet"
    assert refusal(claims_token(nbf=10**400)) == "token is not valid yet"


def test_not_before_has_leeway() -> None:
    assert verify(claims_token(nbf=NOW + 60), leeway_s=60)
    assert refusal(claims_token(nbf=NOW + 61), leeway_s=60) == "token is not valid yet"


@pytest.mark.parametrize("iat", [NOW + 86400, "yesterday", None, -1])
def test_issue_time_is_not_looked_at(iat: object) -> None:
    assert verify(claims_token(iat=iat))["iat"] == iat


@pytest.mark.parametrize(
    "claims", [{"iss": 7}, {"jti": 7}, {"aud": 7}, {"aud": None}, {"iss": ["a"], "jti": [], "aud": {}}]
)
def test_claims_that_others_judge_are_handed_over_as_they_are(claims: dict[str, object]) -> None:
    assert verify(claims_token(**claims)) == {"exp": NOW + 3600, **claims}


@pytest.mark.parametrize("sub", [["alice"], [], 7, None, True, {"a": 1}])
def test_subject_is_a_string(sub: object) -> None:
    assert refusal(claims_token(sub=sub)) == "claim sub is not a string"


def test_short_key_is_our_own_mistake() -> None:
    """Not the caller's: neither a refusal nor the library's warning."""
    with pytest.raises(AssertionError):
        jwt.sign({"exp": 1}, b"x" * 31)
    with pytest.raises(AssertionError):
        jwt.verify(claims_token(), (b"x" * 31,), NOW, 0)

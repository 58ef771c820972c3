import base64
import json
from typing import Any

import jwt as pyjwt
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.entra import NOW, certificate, pem_of, rsa_key, segment, signed
from hubwire.auth.jwt import MAX_TOKEN_BYTES
from hubwire.auth.signatures import algorithm_of, read_keys, sign_rs256, unverified, verified
from hubwire.model.errors import Unauthorized

BOTH = ("RS256", "PS256")
PUBLIC = rsa_key().public_key()
GOOD = {"exp": NOW + 60, "sub": "älice"}


def verify(token: str, algorithms: tuple[str, ...] = BOTH, leeway_s: float = 0, now: float = NOW) -> dict[str, Any]:
    return dict(verified(unverified(token), PUBLIC, algorithms, now, leeway_s))


def refusal(token: str, algorithms: tuple[str, ...] = BOTH, leeway_s: float = 0) -> str:
    with pytest.raises(Unauthorized) as refused:
        verify(token, algorithms, leeway_s)
    return refused.value.message


def jwk(**members: object) -> dict[str, object]:
    """The public key as a JSON Web Key, with members replaced; None takes one away."""
    numbers = PUBLIC.public_numbers()
    known = {"kty": "RSA", "use": "sig", "kid": "k", "n": segment(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    return {name: value for name, value in {**known, **members}.items() if value is not None}


# Both ways


def test_what_is_signed_here_others_verify() -> None:
    token = sign_rs256({"exp": int(NOW) + 60, "aud": "x", "a": [1, {"b": None}]}, rsa_key(), {"kid": "k", "x5t": "t"})

    assert pyjwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": "k", "x5t": "t"}
    assert pyjwt.decode(
        token, PUBLIC, algorithms=["RS256"], audience="x", options={"verify_exp": False, "verify_iat": False}
    ) == {"exp": int(NOW) + 60, "aud": "x", "a": [1, {"b": None}]}


@pytest.mark.parametrize("algorithm", BOTH)
def test_what_others_sign_is_verified_here(algorithm: str) -> None:
    token = pyjwt.encode(dict(GOOD), rsa_key(), algorithm=algorithm)

    assert verify(token) == GOOD
    assert verify(token, (algorithm,)) == GOOD


@pytest.mark.parametrize("pss", [False, True])
@pytest.mark.parametrize("filler", ["", "x", "xx", "xxx"])
def test_padding_of_segments_is_accepted_whether_it_is_signed_or_not(pss: bool, filler: str) -> None:
    claims = {**GOOD, "filler": filler}
    clean = signed(claims, pss=pss)
    added = ".".join(part + "=" * (-len(part) % 4) for part in clean.split("."))

    assert verify(clean) == verify(added) == verify(signed(claims, pss=pss, padded=True)) == claims


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in ("exp", "nbf")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )
)
@settings(max_examples=50)
def test_any_claims_come_back(claims: dict[str, Any]) -> None:
    claims = {**claims, "exp": NOW + 1}

    assert verify(sign_rs256(claims, rsa_key(), {})) == msgspec.json.decode(msgspec.json.encode(claims))


# Algorithms and keys


def test_token_of_an_algorithm_that_this_kind_does_not_have_is_refused() -> None:
    assert refusal(signed(GOOD, pss=True), ("RS256",)) == "token is not signed with RS256"
    assert refusal(signed(GOOD), ("PS256",)) == "token is not signed with PS256"


@pytest.mark.parametrize("algorithm", ["none", "None", "rs256", "RS384", "PS512", "", None, 7, ["RS256"], {"RS256": 1}])
def test_other_algorithms_are_refused_even_with_the_right_signature(algorithm: object) -> None:
    token = signed(GOOD, header={"alg": algorithm})

    assert refusal(token) == "token is not signed with PS256 or RS256"
    assert refusal(token.rpartition(".")[0] + ".") == "token is not signed with PS256 or RS256"


def test_header_without_algorithm_is_refused() -> None:
    assert refusal(signed(GOOD, header={})) == "token is not signed with PS256 or RS256"


@pytest.mark.parametrize("form", ["key", "certificate"])
def test_public_key_is_no_secret_of_an_hmac(form: str) -> None:
    """Everybody has it, so everybody could sign with it."""
    pem = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    to_sign = f"{segment(json.dumps({'alg': 'HS256'}).encode())}.{segment(json.dumps(GOOD).encode())}"
    mac = hmac.HMAC(pem if form == "key" else pem_of(certificate()).encode(), hashes.SHA256())
    mac.update(to_sign.encode())
    signature = mac.finalize()

    assert refusal(f"{to_sign}.{segment(signature)}") == "token is not signed with PS256 or RS256"
    relabelled = ".".join((segment(b'{"alg":"RS256"}'), to_sign.partition(".")[2], segment(signature)))
    assert refusal(relabelled) == "token is signed with another key"


def test_elliptic_curves_are_refused() -> None:
    token = pyjwt.encode(dict(GOOD), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")

    assert refusal(token) == "token is not signed with PS256 or RS256"


def test_signature_of_one_algorithm_is_none_of_the_other() -> None:
    assert refusal(signed(GOOD, header={"alg": "PS256"})) == "token is signed with another key"
    assert refusal(signed(GOOD, header={"alg": "RS256"}, pss=True)) == "token is signed with another key"


@pytest.mark.parametrize("pss", [False, True])
def test_token_of_another_key_is_refused(pss: bool) -> None:
    assert refusal(signed(GOOD, rsa_key("other"), pss=pss)) == "token is signed with another key"


@pytest.mark.parametrize("signature", ["", "AAAA", "A" * 4000])
def test_something_else_in_the_place_of_the_signature_is_refused(signature: str) -> None:
    assert refusal(f"{signed(GOOD).rpartition('.')[0]}.{signature}") == "token is signed with another key"


def test_changed_claims_are_refused() -> None:
    head, _, signature = signed(GOOD).split(".")

    assert refusal(f"{head}.{segment(json.dumps({**GOOD, 'sub': 'admin'}).encode())}.{signature}") == (
        "token is signed with another key"
    )


def test_key_in_the_header_is_not_looked_at() -> None:
    """A token that brings its own key, or the address of one, proves only that its maker has a key."""
    numbers = rsa_key("attacker").public_key().public_numbers()
    own = {"kty": "RSA", "n": segment(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    header = {"alg": "RS256", "jwk": own, "jku": "https://attacker.example/keys", "x5u": "https://attacker.example/x"}

    assert refusal(signed(GOOD, rsa_key("attacker"), header)) == "token is signed with another key"
    assert verify(signed(GOOD, header=header)) == GOOD


def test_short_key_proves_nothing() -> None:
    short = rsa_key("short", 1024)

    with pytest.raises(Unauthorized, match="the key is too short"):
        verified(unverified(signed(GOOD, short)), short.public_key(), BOTH, NOW, 0)


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"crit": ["b64"], "b64": False}, {"b64": 1}]
)
def test_extension_that_is_demanded_is_refused(header: dict[str, object]) -> None:
    assert refusal(signed(GOOD, header={"alg": "RS256", **header})) == "token demands an extension"


def test_extension_that_demands_what_holds_anyway_is_accepted() -> None:
    assert verify(signed(GOOD, header={"alg": "RS256", "b64": True})) == GOOD


# Times


@pytest.mark.parametrize("exp", [NOW + 0.25, int(NOW) + 1, NOW + 60.5, pytest.param(10**400, id="huge")])
def test_dates_may_be_fractions(exp: float) -> None:
    assert verify(signed({"exp": exp, "nbf": NOW - 0.5}))["exp"] == exp


def test_token_ends_after_its_expiry_and_the_leeway() -> None:
    assert refusal(signed({"exp": NOW})) == "token has expired"
    assert verify(signed({"exp": NOW - 299.5}), leeway_s=300)
    assert refusal(signed({"exp": NOW - 300}), leeway_s=300) == "token has expired"


def test_token_begins_with_its_time_less_the_leeway() -> None:
    assert verify(signed({**GOOD, "nbf": NOW}))
    assert refusal(signed({**GOOD, "nbf": NOW + 0.5})) == "token is not valid yet"
    assert verify(signed({**GOOD, "nbf": NOW + 300}), leeway_s=300)
    assert refusal(signed({**GOOD, "nbf": NOW + 301}), leeway_s=300) == "token is not valid yet"


@pytest.mark.parametrize("value", [None, "1900000000", True, [], {}])
@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_dates_are_numbers(claim: str, value: object) -> None:
    assert refusal(signed({**GOOD, claim: value})) == f"claim {claim} is not a number"


def test_expiry_is_required() -> None:
    assert refusal(signed({"sub": "alice"})) == "token has no claim exp"


def test_times_of_a_stranger_are_not_told() -> None:
    assert refusal(signed({"exp": 1}, rsa_key("other"))) == "token is signed with another key"


# What is no token


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b", "a.b.c", "e30.e30", "e30.e30.e30.e30", "e30.e30.e30.", "e30.e30.e30.e30.e30"]
    + ["nulls\0.\0.\0", "ünïcode.ä.ö", "e30.e30.ü", "\udcff.\udcff.a", "e30.e30.a", "e30.e30.a+b/", "e30.e30.ab=c"]
    + ["e30.e30.ab cd", "e30.e30.ab\n", "=.=.=", "e3=0.e30.AAAA"]
    + [f"{segment(head)}.e30.AAAA" for head in (b"", b"[]", b"1", b"null", b'"RS256"', b"\xff", b"{", b"[" * 9000)]
    + [
        f"e30.{segment(claims)}.AAAA" for claims in (b"", b"[]", b"7", b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":' * 900)
    ],
)
def test_junk_is_refused_as_malformed(token: str) -> None:
    assert refusal(token) == "token is malformed"


def test_token_may_have_16_kib_and_no_byte_more() -> None:
    bare = len(signed({**GOOD, "filler": ""}))
    fits = signed({**GOOD, "filler": "x" * ((MAX_TOKEN_BYTES - bare) * 3 // 4 - 1)})

    assert MAX_TOKEN_BYTES - 4 < len(fits) <= MAX_TOKEN_BYTES
    assert "filler" in verify(fits)
    assert refusal(fits + "A" * (MAX_TOKEN_BYTES + 1 - len(fits))) == "token is too long"


@given(
    st.text(max_size=200) | st.text("e30.AZ-_=", max_size=40) | st.binary(max_size=60).map(lambda x: f"{segment(x)}..")
)
@settings(max_examples=200)
def test_no_text_does_anything_but_prove_nothing(token: str) -> None:
    assert isinstance(algorithm_of(token), str)
    try:
        found = unverified(token)
    except Unauthorized:
        return
    with pytest.raises(Unauthorized):
        verified(found, PUBLIC, BOTH, NOW, 0)


def test_claim_that_is_no_string_reads_as_none() -> None:
    token = unverified(signed({"a": "x", "b": 7, "c": ["x"], "d": None}))

    assert [token.text(name) for name in "abcde"] == ["x", "", "", "", ""]


# The algorithm by which a way of proving is chosen


@pytest.mark.parametrize(
    ("token", "algorithm"),
    [
        (signed(GOOD), "RS256"),
        (signed(GOOD, pss=True, padded=True), "PS256"),
        (pyjwt.encode({}, "secret" * 9, algorithm="HS256"), "HS256"),
        (segment(b'{"alg":"HS256"}'), "HS256"),
        (segment(b'{"alg":["HS256"]}') + ".e30.", ""),
        (segment(b"{}") + ".e30.", ""),
        (segment(b"[]") + ".e30.", ""),
        (segment(b"[" * 9000) + ".e30.", ""),
        ("", ""),
        ("ü.e30.", ""),
        ("\udcff.e30.", ""),
        (segment(b'{"alg":"RS256"}') + "." + "A" * MAX_TOKEN_BYTES, ""),
    ],
)
def test_algorithm_is_what_the_header_says(token: str, algorithm: str) -> None:
    assert algorithm_of(token) == algorithm


# Key sets


def test_keys_are_read_by_their_names() -> None:
    other = rsa_key("other").public_key().public_numbers()
    second = jwk(kid="l", use=None, n=segment(other.n.to_bytes(256, "big")))

    keys = read_keys({"keys": [jwk(), second]})

    assert {name: key.public_numbers() for name, key in keys.items()} == {"k": PUBLIC.public_numbers(), "l": other}


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": {}}, {"keys": "RSA"}, {"keys": []}, {"key": [jwk()]}]
)
def test_document_without_keys_has_none(document: dict[str, object]) -> None:
    assert read_keys(document) == {}


@pytest.mark.parametrize(
    "odd",
    [None, 7, "RSA", [], [jwk()], {}, jwk(kty="EC"), jwk(kty="oct"), jwk(kty=None), jwk(use="enc"), jwk(use=7)]
    + [jwk(kid=None), jwk(n=None), jwk(e=None), jwk(n=""), jwk(e=""), jwk(n="AQAB"), jwk(e="Ag"), jwk(e="AQ")]
    + [jwk(n="!"), jwk(n="ü"), jwk(n="a+b/"), jwk(e=65537), jwk(n=7), jwk(n=[]), jwk(n={}), jwk(n=True)],
)
def test_odd_key_is_left_out_and_the_others_are_read(odd: object) -> None:
    assert list(read_keys({"keys": [odd, jwk(kid="good")]})) == ["good"]


def test_set_of_keys_has_an_end() -> None:
    assert len(read_keys({"keys": [jwk(kid=f"{number}") for number in range(500)]})) == 100


def test_key_with_padding_in_its_numbers_is_read() -> None:
    padded = base64.urlsafe_b64encode(PUBLIC.public_numbers().n.to_bytes(256, "big")).decode()

    assert read_keys({"keys": [jwk(n=padded)]})["k"].public_numbers() == PUBLIC.public_numbers()

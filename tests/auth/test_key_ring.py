import base64
import hashlib
from datetime import UTC, datetime, timedelta

import jwt as pyjwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from msgspec.structs import replace

from auth.entra import NOW, InMemory, decoded, header_of, segment, token_key
from hubwire.auth.key_ring import KeyRing, new_token_key
from hubwire.auth.signatures import read_keys, unverified, verified
from hubwire.model.directory import TokenKey
from hubwire.model.errors import StartFailed, Unauthorized

DAY_S = 24 * 3600
CLAIMS = {"exp": NOW + 10 * DAY_S, "sub": "alice"}


class Source(InMemory):
    """Has keys, and nothing else that counts."""

    def __init__(self, *keys: TokenKey) -> None:
        super().__init__()
        self.keys = keys


def ring(*keys: TokenKey) -> KeyRing:
    return KeyRing(Source(*keys))


def certificate_of(key: TokenKey) -> x509.Certificate:
    return x509.load_pem_x509_certificate(key.certificate.encode())


def kid_of(key: TokenKey) -> str:
    der = certificate_of(key).public_bytes(serialization.Encoding.DER)
    return segment(hashlib.sha1(der, usedforsecurity=False).digest())


def signer(keys: KeyRing, now: float) -> str:
    kid = header_of(keys.sign(CLAIMS, now, thumbprint=False))["kid"]
    assert isinstance(kid, str)
    return kid


FIRST, SECOND, THIRD = token_key(0), token_key(1, NOW + 30 * DAY_S), token_key(2, NOW + 60 * DAY_S)


# A new key


def test_new_key_is_of_2048_bits_and_its_certificate_is_its_own() -> None:
    key = new_token_key(int(NOW), int(NOW) + DAY_S)

    private = serialization.load_pem_private_key(key.private_key.encode(), None)
    assert isinstance(private, RSAPrivateKey)
    assert private.key_size == 2048
    certificate = certificate_of(key)
    assert certificate.public_key() == private.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert (key.created_at, key.active_from) == (NOW, NOW + DAY_S)


def test_certificate_is_good_from_before_the_key_is_made_until_long_after_it_has_signed() -> None:
    for created_at, active_from in ((NOW, NOW + 400 * DAY_S), (NOW, NOW - DAY_S)):
        certificate = certificate_of(new_token_key(int(created_at), int(active_from)))

        earlier, later = sorted((created_at, active_from))
        assert certificate.not_valid_before_utc < datetime.fromtimestamp(earlier, UTC)
        assert certificate.not_valid_after_utc > datetime.fromtimestamp(later, UTC) + timedelta(days=365)


def test_no_two_keys_are_the_same() -> None:
    assert len({kid_of(key) for key in (FIRST, SECOND, THIRD)}) == 3


# What is published


def test_key_is_called_by_the_thumbprint_of_its_certificate() -> None:
    (published,) = ring(FIRST).published("https://issuer")

    der = base64.b64decode(published["x5c"][0], validate=True)
    assert x509.load_der_x509_certificate(der) == certificate_of(FIRST)
    assert published["kid"] == published["x5t"] == segment(hashlib.sha1(der, usedforsecurity=False).digest())


def test_published_key_has_the_numbers_of_the_certificate() -> None:
    (published,) = ring(FIRST).published("https://issuer")

    assert {name: published[name] for name in ("kty", "use", "alg", "issuer")} == {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "issuer": "https://issuer",
    }
    assert published["e"] == "AQAB"
    assert pyjwt.PyJWK(published).key == certificate_of(FIRST).public_key()


def test_no_private_number_is_published() -> None:
    (published,) = ring(FIRST).published("https://issuer")

    assert sorted(published) == ["alg", "e", "issuer", "kid", "kty", "n", "use", "x5c", "x5t"]


def test_published_keys_are_read_as_a_key_set() -> None:
    keys = read_keys({"keys": ring(FIRST, SECOND).published("https://issuer")})

    assert keys == {kid_of(key): certificate_of(key).public_key() for key in (FIRST, SECOND)}


def test_next_key_is_published_before_it_signs_and_an_old_one_after() -> None:
    keys = ring(FIRST, SECOND, THIRD)

    assert [key["kid"] for key in keys.published("")] == [kid_of(key) for key in (FIRST, SECOND, THIRD)]
    for key in (FIRST, SECOND, THIRD):
        assert keys.public(kid_of(key)) == certificate_of(key).public_key()


@pytest.mark.parametrize(
    "kid",
    ["", "unknown", kid_of(FIRST).lower(), kid_of(FIRST) + "=", kid_of(SECOND)],
    ids=["empty", "unknown", "lower", "padded", "another"],
)
def test_key_of_another_name_is_not_ours(kid: str) -> None:
    assert ring(FIRST).public(kid) is None


# Who signs


@pytest.mark.parametrize(
    ("after_days", "key"),
    [(0, FIRST), (29.99, FIRST), (30, SECOND), (59.99, SECOND), (60, THIRD), (1000, THIRD)],
)
def test_key_whose_time_it_is_signs(after_days: float, key: TokenKey) -> None:
    assert signer(ring(FIRST, SECOND, THIRD), NOW + after_days * DAY_S) == kid_of(key)


@pytest.mark.parametrize("after_days", [-0.001, -400])
def test_clock_that_was_set_back_lets_the_first_key_sign(after_days: float) -> None:
    assert signer(ring(FIRST, SECOND), NOW + after_days * DAY_S) == kid_of(FIRST)


def test_key_that_is_to_sign_earlier_does_so_at_once() -> None:
    """And keeps its name, by which others know it already."""
    source = Source(FIRST, SECOND)
    keys = KeyRing(source)
    assert signer(keys, NOW + DAY_S) == kid_of(FIRST)

    source.keys = (FIRST, replace(SECOND, active_from=int(NOW) + DAY_S))

    assert signer(keys, NOW + DAY_S) == kid_of(SECOND)


def test_token_of_a_key_that_is_gone_proves_nothing_any_more() -> None:
    source = Source(FIRST, SECOND)
    keys = KeyRing(source)
    token = unverified(keys.sign(CLAIMS, NOW, thumbprint=False))
    assert keys.public(kid_of(FIRST)) is not None

    source.keys = (SECOND, THIRD)

    assert keys.public(kid_of(FIRST)) is None
    other = keys.public(kid_of(SECOND))
    assert other is not None
    with pytest.raises(Unauthorized):
        verified(token, other, ("RS256",), NOW, 0)


def test_token_is_verified_with_the_published_key() -> None:
    keys = ring(FIRST, SECOND)
    token = keys.sign(CLAIMS, NOW, thumbprint=True)

    public = keys.public(header_of(token)["kid"])
    assert public is not None
    assert verified(unverified(token), public, ("RS256",), NOW, 0) == CLAIMS == decoded(token)


def test_header_names_the_key_and_in_version_1_its_thumbprint_as_well() -> None:
    keys = ring(FIRST)
    kid = kid_of(FIRST)

    assert header_of(keys.sign(CLAIMS, NOW, thumbprint=False)) == {"alg": "RS256", "typ": "JWT", "kid": kid}
    assert header_of(keys.sign(CLAIMS, NOW, thumbprint=True)) == {"alg": "RS256", "typ": "JWT", "kid": kid, "x5t": kid}


# Damage


@pytest.mark.parametrize(
    "damaged",
    [
        replace(FIRST, private_key="junk"),
        replace(FIRST, private_key=""),
        replace(FIRST, certificate="junk"),
        replace(FIRST, certificate=""),
        replace(FIRST, private_key=FIRST.certificate),
        replace(
            FIRST,
            private_key=ec.generate_private_key(ec.SECP256R1())
            .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            .decode(),
        ),
    ],
)
def test_damaged_key_is_named_without_its_content(damaged: TokenKey) -> None:
    with pytest.raises(StartFailed, match=r"^a stored tokenKey is damaged$"):
        ring(damaged).published("")


def test_private_key_does_not_show_when_a_key_is_printed() -> None:
    assert "PRIVATE" in FIRST.private_key
    assert "PRIVATE" not in repr(FIRST)

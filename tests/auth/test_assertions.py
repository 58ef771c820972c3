import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from auth.entra import (
    APP_ID,
    BASE_URL,
    ISSUER_URL,
    NOW,
    TENANT,
    TOKEN_URL,
    VARIANTS,
    ForeignKeys,
    InMemory,
    Variant,
    application,
    assertion,
    certificate,
    client_certificate,
    pem_of,
    rsa_key,
    segment,
    signed,
)
from hubwire.auth import assertions
from hubwire.auth.assertions import ASSERTION_TYPE, Assertions, Proof, read_certificate
from hubwire.auth.issuer import Issuer, TokenRequest
from hubwire.auth.refusals import TokenRefused
from hubwire.model.directory import Application
from hubwire.model.errors import Throttled

HERE = Proof("10.0.0.1", "scope=a")
THUMBPRINT = bytes.fromhex(client_certificate().thumbprint)


def checker() -> Assertions:
    return Assertions(lambda audience: audience == TOKEN_URL)


def verify(text: str, app: Application | None = None, now: float = NOW) -> None:
    checker().verify(app or application(), text, HERE, now)


def refused_by(known: Assertions, text: str, proof: Proof = HERE, app: Application | None = None) -> TokenRefused:
    with pytest.raises(TokenRefused) as refused:
        known.verify(app or application(), text, proof, NOW)
    assert text not in refused.value.message
    return refused.value


def code(text: str, app: Application | None = None) -> int:
    return refused_by(checker(), text, app=app).code


# What the official libraries send


@pytest.mark.parametrize("variant", VARIANTS)
def test_assertion_of_each_library_is_accepted(variant: Variant) -> None:
    verify(assertion(variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_assertion_with_its_certificates_is_accepted(variant: Variant) -> None:
    """They are sent for another kind of trust, and not looked at."""
    der = certificate().public_bytes(serialization.Encoding.DER)

    verify(assertion(variant, header={"x5c": [base64.b64encode(der).decode()]}))


@pytest.mark.parametrize(
    "header",
    [
        {"x5t": segment(THUMBPRINT)},
        {"x5t": base64.b64encode(THUMBPRINT).decode()},
        {"x5t": base64.urlsafe_b64encode(THUMBPRINT).decode()},
        {"x5t": "unknown", "kid": THUMBPRINT.hex()},
        {"x5t": "unknown", "kid": THUMBPRINT.hex().upper()},
        {"x5t": "unknown", "kid": segment(THUMBPRINT)},
        {"x5t": 7, "kid": segment(THUMBPRINT)},
    ],
)
def test_certificate_is_named_by_a_thumbprint_in_any_spelling(header: dict[str, object]) -> None:
    verify(assertion(header=header))


@pytest.mark.parametrize(
    "header",
    [{"x5t": "unknown"}, {"x5t": ""}, {"x5t": None}, {"x5t": [segment(THUMBPRINT)]}, {"x5t": THUMBPRINT.hex()}],
)
def test_certificate_that_nobody_registered_is_refused(header: dict[str, object]) -> None:
    assert code(assertion(header=header)) == 700027
    assert code(assertion(), application(certificates=())) == 700027
    assert code(assertion(name="other")) == 700027


def test_each_of_several_certificates_proves_the_application() -> None:
    app = application(certificates=(client_certificate("other"), client_certificate()))

    verify(assertion(), app)
    verify(assertion(name="other"), app)
    assert code(assertion(), application(certificates=(client_certificate("other"),))) == 700027


def test_certificate_that_is_over_proves_nothing() -> None:
    app = application(certificates=(client_certificate(expires_at=NOW + 100),))

    verify(assertion(), app, NOW + 99)
    with pytest.raises(TokenRefused, match=r"AADSTS700027: The certificate .* has expired"):
        verify(assertion(), app, NOW + 100)


@pytest.mark.parametrize("variant", VARIANTS)
def test_key_of_somebody_else_proves_nothing(variant: Variant) -> None:
    """Whatever certificates stand in the header: they are public."""
    der = certificate("attacker").public_bytes(serialization.Encoding.DER)
    header = {"x5c": [base64.b64encode(der).decode()], "jku": "https://attacker.example/keys"}

    assert code(assertion(variant, key=rsa_key("attacker"), header=header)) == 700027


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30.", "ü.ü.ü", "A" * 20_000])
def test_junk_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        verify(text)
    assert refused.value.code == 700027


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "ES256", None])
def test_other_algorithms_are_refused(algorithm: str | None) -> None:
    assert code(assertion(header={"alg": algorithm})) == 700027


# What it says


@pytest.mark.parametrize("claim", ["iss", "sub"])
@pytest.mark.parametrize("value", [None, "", "someone-else", 7, [APP_ID]])
def test_issuer_and_subject_are_the_client_id(claim: str, value: object) -> None:
    claims: dict[str, Any] = {claim: value}

    assert code(assertion(without=claim if value is None else "", **claims)) == 700027


def test_client_id_may_be_in_any_letter_case() -> None:
    verify(assertion(iss=APP_ID.upper(), sub=APP_ID.upper()))


@pytest.mark.parametrize("audience", [TOKEN_URL, [TOKEN_URL], ["https://elsewhere", 7, None, TOKEN_URL]])
def test_audience_may_be_one_of_several(audience: object) -> None:
    verify(assertion(audience=audience))


@pytest.mark.parametrize("audience", [None, "", "https://elsewhere", 7, [], [[TOKEN_URL]], {TOKEN_URL: 1}])
def test_other_audiences_are_refused(audience: object) -> None:
    assert code(assertion(audience=audience)) == 700023
    assert code(assertion(without="aud")) == 700023


@pytest.mark.parametrize("variant", VARIANTS)
def test_assertion_is_good_for_its_time_and_five_minutes(variant: Variant) -> None:
    text = assertion(variant, lifetime_s=600)

    verify(text, now=NOW + 899)
    with pytest.raises(TokenRefused) as refused:
        verify(text, now=NOW + 901)
    assert refused.value.code == 700024


def test_assertion_that_is_not_good_yet_is_refused() -> None:
    verify(assertion("javascript"), now=NOW - 300)
    with pytest.raises(TokenRefused) as refused:
        verify(assertion("javascript"), now=NOW - 301)
    assert refused.value.code == 700024


@pytest.mark.parametrize("exp", [NOW + 24 * 3600 + 1, NOW + 1e9, 1e300, pytest.param(10**400, id="huge")])
def test_assertion_that_is_good_for_more_than_a_day_is_refused(exp: float) -> None:
    assert code(assertion(exp=exp)) == 700024
    verify(assertion(exp=NOW + 24 * 3600))


@pytest.mark.parametrize("exp", ["soon", None, True])
def test_date_that_is_none_is_refused(exp: object) -> None:
    assert code(assertion(exp=exp)) == 700027
    assert code(assertion(without="exp")) == 700027


# Once


@pytest.mark.parametrize("variant", VARIANTS)
def test_assertion_is_good_once_for_one_request(variant: Variant) -> None:
    known, text = checker(), assertion(variant)
    known.verify(application(), text, HERE, NOW)

    refusal = refused_by(known, text)

    assert refusal.code == 700027
    assert "used before (jti)" in refusal.message


def test_assertion_is_good_for_another_scope_from_the_same_address() -> None:
    """One of the official libraries keeps it for nine minutes."""
    known, text = checker(), assertion()
    for scope in ("a", "b", "c"):
        known.verify(application(), text, Proof("10.0.0.1", scope), NOW)

    assert refused_by(known, text, Proof("10.0.0.1", "b")).code == 700027


def test_assertion_is_not_good_from_another_address() -> None:
    known, text = checker(), assertion()
    known.verify(application(), text, Proof("10.0.0.1", "a"), NOW)

    assert refused_by(known, text, Proof("10.0.0.2", "b")).code == 700027
    assert refused_by(known, text, Proof("10.0.0.2", "a")).code == 700027


def test_assertion_is_not_good_for_any_number_of_scopes() -> None:
    """What is remembered of one has an end."""
    known, text = checker(), assertion()
    for number in range(1000):
        known.verify(application(), text, Proof("10.0.0.1", f"{number}"), NOW)

    assert refused_by(known, text, Proof("10.0.0.1", "one more")).code == 700027


def test_other_assertion_with_the_same_id_is_the_same() -> None:
    known = checker()
    known.verify(application(), assertion(jti="one"), HERE, NOW)

    assert refused_by(known, assertion("javascript", jti="one")).code == 700027
    known.verify(application(), assertion(jti="another"), HERE, NOW)


def test_id_is_one_of_the_application() -> None:
    """Another one may have made up the same."""
    known, other_id = checker(), "77777777-aaaa-4000-8000-00000000000f"
    other = Application(other_id, "o", "other", 0, certificates=(client_certificate("other"),))
    known.verify(application(), assertion(), HERE, NOW)

    known.verify(other, assertion(name="other", iss=other_id, sub=other_id), HERE, NOW)


@pytest.mark.parametrize("jti", [None, "", 7, ["x"]])
def test_assertion_without_an_id_is_known_by_what_it_says(jti: object) -> None:
    known = checker()
    text = assertion(jti=jti, without="jti" if jti is None else "")
    known.verify(application(), text, HERE, NOW)

    assert refused_by(known, text).code == 700027
    assert refused_by(known, text.rpartition(".")[0] + "." + text.rpartition(".")[2] + "==").code == 700027
    known.verify(application(), assertion(jti=jti, lifetime_s=601), HERE, NOW)


def test_assertion_that_was_refused_is_not_used_up() -> None:
    known = checker()
    for wrong in (assertion(audience="https://elsewhere"), assertion(key=rsa_key("attacker")), assertion(exp=1)):
        refused_by(known, wrong)

    known.verify(application(), assertion(), HERE, NOW)


def test_used_assertion_is_remembered_until_it_is_over_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assertions, "_REMEMBERED", 2)
    known, app = checker(), application()
    for number in range(2):
        known.verify(app, assertion(jti=f"{number}", lifetime_s=600), HERE, NOW)

    with pytest.raises(Throttled) as full:
        known.verify(app, assertion(jti="2"), HERE, NOW)
    assert full.value.retry_after_s == 60
    known.verify(app, assertion(jti="0", lifetime_s=600), Proof(HERE.address, "other"), NOW)

    later = NOW + 902
    for number in range(2, 4):
        known.verify(app, assertion(jti=f"{number}", now=later), HERE, later)


# Audiences of this server


def token_request(text: str) -> TokenRequest:
    fields = {
        "grant_type": "client_credentials",
        "client_id": APP_ID,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": text,
        "scope": "https://webpubsub.azure.com/.default",
    }
    return TokenRequest(TENANT.tenant_id, 2, fields, None, "10.0.0.1")


async def codes(*audiences: str) -> set[int | None]:
    """With what number assertions for these audiences are refused; None for one that is accepted."""
    issuer = Issuer(
        InMemory(), BASE_URL, ("http://localhost:8080",), ForeignKeys(), user_tokens=False, clock=lambda: NOW
    )
    found: set[int | None] = set()
    for audience in audiences:
        try:
            await issuer.grant(token_request(assertion(audience=audience, jti=audience)))
            found.add(None)
        except TokenRefused as error:
            found.add(error.code)
    return found


@pytest.mark.parametrize("tenant", [TENANT.tenant_id, TENANT.tenant_id.upper(), TENANT.domain, "common"])
@pytest.mark.parametrize(
    "base",
    [BASE_URL, BASE_URL.upper().replace("HTTPS", "https"), "http://localhost:8080", "https://localhost:8080"]
    + ["https://login.microsoftonline.com", "https://login.windows.net", "https://sts.windows.net"],
)
async def test_token_endpoint_and_issuer_are_audiences_under_every_name(tenant: str, base: str) -> None:
    paths = ("/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/v2.0/", "", "/")

    assert await codes(*(f"{base}/{tenant}{path}" for path in paths)) == {None}


@pytest.mark.parametrize(
    "audience",
    [
        "",
        BASE_URL,
        f"{BASE_URL}/",
        f"{BASE_URL}/{TENANT.tenant_id}/oauth2/v2.0",
        f"{BASE_URL}/{TENANT.tenant_id}/oauth2/v2.0/token/more",
        f"{BASE_URL}/{TENANT.tenant_id}/oauth2/v2.0/authorize",
        f"{BASE_URL}/99999999-aaaa-4000-8000-000000000009/oauth2/v2.0/token",
        f"{BASE_URL}/oauth2/v2.0/token",
        TOKEN_URL.replace("localhost", "elsewhere.example"),
        TOKEN_URL.replace("localhost", "localhost.elsewhere.example"),
        TOKEN_URL.replace("localhost", "user@localhost"),
        TOKEN_URL.replace("8443", "8444"),
        TOKEN_URL.replace("https", "http"),
        TOKEN_URL.replace("https", "ftp"),
        f"http://login.microsoftonline.com/{TENANT.tenant_id}/v2.0",
        "https://login.microsoftonline.com/99999999-aaaa-4000-8000-000000000009/v2.0",
        f"https://login.microsoftonline.com.example/{TENANT.tenant_id}/v2.0",
        APP_ID,
        "https://[",
        "//",
        "\x00",
    ],
)
async def test_nothing_else_is_an_audience(audience: str) -> None:
    assert await codes(audience) == {700023}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_application_gets_a_token_with_each_of_them(variant: Variant) -> None:
    issuer = Issuer(InMemory(), BASE_URL, (), ForeignKeys(), user_tokens=False, clock=lambda: NOW)

    assert (await issuer.grant(token_request(assertion(variant, audience=ISSUER_URL)))).token


# Certificates


def test_certificate_is_kept_by_its_thumbprint() -> None:
    kept = read_certificate(pem_of(certificate()), NOW + 0.5)

    assert kept == client_certificate(expires_at=datetime(2040, 1, 1, tzinfo=UTC).timestamp())


def test_private_key_beside_the_certificate_is_not_kept() -> None:
    """Files often have both."""
    private = (
        rsa_key()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        .decode()
    )
    pem = pem_of(certificate())

    for text in (private + pem, pem + private, f"Bag Attributes\n  friendlyName: x\n{pem}\n{private}"):
        assert read_certificate(text, NOW) == read_certificate(pem, NOW)


def test_first_certificate_of_a_chain_is_the_applications() -> None:
    assert read_certificate(pem_of(certificate()) + pem_of(certificate("other")), NOW) == (
        read_certificate(pem_of(certificate()), NOW)
    )


def of_key(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> x509.Certificate:
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
    )
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@pytest.mark.parametrize(
    "made",
    [
        of_key(ec.generate_private_key(ec.SECP256R1())),
        of_key(ed25519.Ed25519PrivateKey.generate()),
        certificate("short", 1024),
    ],
)
def test_key_must_be_rsa_and_long_enough(made: x509.Certificate) -> None:
    with pytest.raises(ValueError, match="its key must be RSA with 2048 bits or more"):
        read_certificate(pem_of(made), NOW)


def on_unknown_curve() -> str:
    der = of_key(ec.generate_private_key(ec.SECP256R1())).public_bytes(serialization.Encoding.DER)
    curve = bytes.fromhex("2a8648ce3d0301")
    return _armoured(der.replace(curve + b"\x07", curve + b"\x63"))


def _armoured(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "junk",
        "\udcff",
        "\x00" * 100,
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        _armoured(b""),
        _armoured(b"junk"),
        _armoured(certificate().public_bytes(serialization.Encoding.DER)[:-7]),
        pem_of(certificate()).replace("CERTIFICATE", "PRIVATE KEY"),
        on_unknown_curve(),
    ],
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it is not a PEM certificate"):
        read_certificate(text, NOW)


def test_assertion_signed_with_what_was_read_is_accepted() -> None:
    app = application(certificates=(read_certificate(pem_of(certificate()), NOW),))

    verify(assertion(), app)
    assert code(signed({"exp": NOW + 60}, rsa_key()), app) == 700027

"""The local authority, and what it issues: read by OpenSSL and by the strictest verifier that we have."""

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hubwire.auth.certificates import (
    AUTHORITY_DAYS,
    SERVER_DAYS,
    Credentials,
    days_left,
    is_current,
    issue,
    new_authority,
)

NOW = 1_800_000_000.0
DAY = 86_400.0
NAMES = ("localhost", "127.0.0.1", "::1", "chat.example.org")


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(NOW)


@pytest.fixture(scope="module")
def server(authority: Credentials) -> Credentials:
    return issue(authority, NAMES, NOW)


def verify(server: Credentials, authority: Credentials, name: str, at: float) -> None:
    """
    Raises:
        VerificationError: no client that looks closely would take it.
    """
    leaf, *chain = x509.load_pem_x509_certificates(server.certificate)
    store = Store(x509.load_pem_x509_certificates(authority.certificate))
    subject = x509.IPAddress(ip_address(name)) if name[0] in "1:" else x509.DNSName(name)
    policy = PolicyBuilder().store(store).time(datetime.fromtimestamp(at, UTC).replace(tzinfo=None))
    policy.build_server_verifier(subject).verify(leaf, chain)


@pytest.mark.parametrize("name", NAMES)
def test_server_certificate_is_good_for_each_of_its_names(
    server: Credentials, authority: Credentials, name: str
) -> None:
    verify(server, authority, name, NOW)
    verify(server, authority, name, NOW - 1800)
    verify(server, authority, name, NOW + (SERVER_DAYS - 1) * DAY)


@pytest.mark.parametrize(("name", "at"), [("other.example.org", NOW), ("localhost", NOW + (SERVER_DAYS + 1) * DAY)])
def test_server_certificate_is_good_for_nothing_else(
    server: Credentials, authority: Credentials, name: str, at: float
) -> None:
    with pytest.raises(VerificationError):
        verify(server, authority, name, at)


def test_server_certificate_of_another_authority_is_refused(server: Credentials) -> None:
    with pytest.raises(VerificationError):
        verify(server, new_authority(NOW), "localhost", NOW)


def test_authority_issues_certificates_of_servers_and_no_other_authorities(
    server: Credentials, authority: Credentials
) -> None:
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value

    assert (limits.ca, limits.path_length) == (True, 0)
    leaf = x509.load_pem_x509_certificate(server.certificate)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_openssl_takes_key_and_certificate(server: Credentials, authority: Credentials, tmp_path: Path) -> None:
    for name, content in (("cert", server.certificate), ("key", server.key), ("ca", authority.certificate)):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    context.load_verify_locations(tmp_path / "ca")


@pytest.mark.parametrize(
    ("days", "current"), [(0, True), (SERVER_DAYS / 2, True), (SERVER_DAYS * 0.7, False), (SERVER_DAYS + 1, False)]
)
def test_server_certificate_is_replaced_when_a_third_of_its_time_is_left(
    server: Credentials, authority: Credentials, days: float, current: bool
) -> None:
    assert is_current(server, NAMES, NOW + days * DAY, authority) is current


def test_certificate_that_begins_later_is_not_current(authority: Credentials) -> None:
    """The clock was set back, and clients would refuse it."""
    later = issue(authority, NAMES, NOW + 10 * DAY)

    assert not is_current(later, NAMES, NOW + 5 * DAY, authority)
    assert is_current(later, NAMES, NOW + 10 * DAY, authority)


def test_certificate_is_current_for_the_names_that_it_has(server: Credentials, authority: Credentials) -> None:
    assert is_current(server, NAMES[:2], NOW, authority)
    assert is_current(server, ("0:0:0:0:0:0:0:1",), NOW, authority), "the same address in another spelling"
    assert not is_current(server, (*NAMES, "new.example.org"), NOW, authority)


def test_certificate_of_another_authority_is_not_current(server: Credentials) -> None:
    assert not is_current(server, NAMES, NOW, new_authority(NOW))


def test_authority_says_how_long_it_lasts(authority: Credentials) -> None:
    assert days_left(authority, NOW) == AUTHORITY_DAYS
    assert days_left(authority, NOW + 1000 * DAY) == AUTHORITY_DAYS - 1000
    assert days_left(authority, NOW + (AUTHORITY_DAYS + 1) * DAY) < 0


@pytest.mark.parametrize("damage", ["certificate", "key", "pair"])
def test_authority_that_cannot_be_read_is_told(authority: Credentials, damage: str) -> None:
    broken = {
        "certificate": Credentials(b"x", authority.key),
        "key": Credentials(authority.certificate, b"x"),
        "pair": Credentials(authority.certificate, new_authority(NOW).key),
    }[damage]
    with pytest.raises(ValueError):
        days_left(broken, NOW)


def test_clock_that_is_before_the_authority_gets_the_first_certificate_there_can_be(authority: Credentials) -> None:
    """A machine without a battery begins in the past. What it issues then is good as soon as the clock is right."""
    early = issue(authority, NAMES, NOW - 1000 * DAY)

    assert is_current(early, NAMES, NOW - 1000 * DAY, authority)
    assert is_current(early, NAMES, NOW, authority)
    verify(early, authority, "localhost", NOW)


def test_server_certificate_does_not_outlive_its_authority() -> None:
    old = new_authority(NOW - (AUTHORITY_DAYS - 10) * DAY)
    leaf = x509.load_pem_x509_certificate(issue(old, NAMES, NOW).certificate)

    assert leaf.not_valid_after_utc <= x509.load_pem_x509_certificate(old.certificate).not_valid_after_utc


def test_what_cannot_be_read_or_does_not_belong_together_is_not_current(
    server: Credentials, authority: Credentials
) -> None:
    other = issue(authority, NAMES, NOW)
    for certificate, key in (
        (b"", server.key),
        (server.certificate, b""),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", server.key),
        (server.certificate, other.key),
        (server.certificate, server.certificate),
    ):
        assert not is_current(Credentials(certificate, key), NAMES, NOW, authority)


def test_private_key_is_not_shown(server: Credentials) -> None:
    assert "PRIVATE" not in f"{server!r}{server}"

"""
A certificate authority of one's own, and the server certificates that it issues. Knows no file and no clock: the time
comes in as an argument.

Keys are on the curve P-256, which every client knows and which costs a handshake least. Certificates are such as the
strictest of today's verifiers ask for (key identifiers, critical usages, names only in the extension).

Sources: RFC 5280, sections 4.1.2.5 and 4.2.1; RFC 6125 for names.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["AUTHORITY_DAYS", "SERVER_DAYS", "Credentials", "days_left", "is_current", "issue", "new_authority"]

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 90
_RENEWED_FROM: Final = 2 / 3
"""Of its lifetime: so far a certificate is used before it is replaced."""
_BACKDATED: Final = timedelta(hours=1)
"""Clocks of clients may be slow."""
_LONGEST_COMMON_NAME: Final = 64


class Credentials(NamedTuple):
    """
    Attributes:
        certificate: PEM; of a server followed by that of its authority.
        key: its private key, PEM (PKCS 8, not encrypted).
    """

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Credentials(…)"


def new_authority(now: float) -> Credentials:
    """
    A new authority, good for `AUTHORITY_DAYS`.

    Args:
        now: seconds since 1970.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    begin = _time(now)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hubwire local CA {begin:%Y-%m-%d}")])
    certificate = (
        _builder(name, name, key.public_key(), begin, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(of_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Credentials(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def issue(authority: Credentials, names: Sequence[str], now: float) -> Credentials:
    """
    A server certificate, good for `SERVER_DAYS` and never longer than its authority.

    Args:
        names: under which clients reach the server: host names and addresses, at least one.
        now: seconds since 1970.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = _private_key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_LONGEST_COMMON_NAME])])
    begin = max(_time(now), issuer.not_valid_before_utc + _BACKDATED)
    days = min(SERVER_DAYS, max(0, (issuer.not_valid_after_utc - begin).days))
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), begin, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(of_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return Credentials(certificate.public_bytes(serialization.Encoding.PEM) + authority.certificate, _pem(key))


def is_current(server: Credentials, names: Sequence[str], now: float, authority: Credentials) -> bool:
    """
    May these be shown from now on, or is it time for new ones? What cannot be read is not current.

    Args:
        names: that the certificate must be for.
        now: seconds since 1970.
        authority: that must have issued it.
    """
    try:
        certificate = _pair(server)
        issuer = x509.load_pem_x509_certificate(authority.certificate)
        certificate.verify_directly_issued_by(issuer)
        covered = _names(certificate)
    except (ValueError, TypeError, InvalidSignature, x509.InvalidVersion):
        return False
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        covered.issuperset(map(_general_name, names))
        # Before its authority there is nothing better to be had: the clock is wrong.
        and begin <= max(_time(now), issuer.not_valid_before_utc)
        and _time(now) < begin + (end - begin) * _RENEWED_FROM
    )


def days_left(authority: Credentials, now: float) -> float:
    """
    How long an authority can still be trusted.

    Raises:
        ValueError: certificate and key cannot be read, or do not belong together.
    """
    try:
        end = _pair(authority).not_valid_after_utc
    except (TypeError, x509.InvalidVersion) as error:
        raise ValueError(str(error)) from error
    return (end - _time(now)) / timedelta(days=1)


def _pair(credentials: Credentials) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(credentials.certificate)
    if certificate.public_key() != _private_key(credentials.key).public_key():
        raise ValueError("the key is another certificate's")
    return certificate


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _BACKDATED)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, of_authority: bool) -> x509.KeyUsage:
    """An authority signs certificates, a server its handshakes."""
    return x509.KeyUsage(
        digital_signature=not of_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=of_authority,
        crl_sign=of_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    try:
        return frozenset(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return frozenset()


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not a key on an elliptic curve")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

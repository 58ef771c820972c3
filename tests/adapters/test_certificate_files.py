"""Certificates as files: made once, kept, and replaced in time."""

import stat
from pathlib import Path

import pytest
from cryptography import x509

from hubwire.adapters.certificate_files import CertificateFiles
from hubwire.auth.certificates import AUTHORITY_DAYS, SERVER_DAYS
from hubwire.model.errors import StartFailed

NOW = 1_800_000_000.0
DAY = 86_400.0
NAMES = ("localhost", "127.0.0.1")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(folder: Path, before: dict[str, bytes]) -> set[str]:
    return {name for name, content in contents(folder).items() if before.get(name) != content}


def test_all_is_made_at_first_and_is_for_the_owner_alone(tmp_path: Path) -> None:
    assert CertificateFiles(tmp_path).provide(NAMES, NOW)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {
        "ca.pem": 0o600,
        "ca-key.pem": 0o600,
        "ca-bundle.pem": 0o600,
        "server.pem": 0o600,
        "server-key.pem": 0o600,
    }


def test_nothing_changes_while_all_is_good(tmp_path: Path) -> None:
    CertificateFiles(tmp_path).provide(NAMES, NOW)
    before = contents(tmp_path)

    assert not CertificateFiles(tmp_path).provide(NAMES, NOW + DAY)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("names", "days"), [(NAMES, SERVER_DAYS * 0.7), (("localhost", "new.example.org"), 1.0), (NAMES, -2.0)]
)
def test_server_certificate_is_replaced_in_time_by_the_same_authority(
    tmp_path: Path, names: tuple[str, ...], days: float
) -> None:
    """Who trusted it once need not be asked again. It is replaced also when the clock was set back."""
    CertificateFiles(tmp_path).provide(NAMES, NOW - 10 * DAY)
    CertificateFiles(tmp_path).provide((*NAMES, "old.example.org"), NOW)
    before = contents(tmp_path)

    assert CertificateFiles(tmp_path).provide(names, NOW + days * DAY)
    assert changed(tmp_path, before) == {"server.pem", "server-key.pem"}


def test_authority_is_replaced_a_year_before_it_ends_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CertificateFiles(tmp_path).provide(NAMES, NOW)
    before = contents(tmp_path)
    CertificateFiles(tmp_path).provide(NAMES, NOW + (AUTHORITY_DAYS - 366) * DAY)
    assert changed(tmp_path, before) == {"server.pem", "server-key.pem"}
    assert caplog.messages == []

    assert CertificateFiles(tmp_path).provide(NAMES, NOW + (AUTHORITY_DAYS - 364) * DAY)
    assert changed(tmp_path, before) == set(before)
    assert caplog.messages == ["the local CA is near its end: there is a new one, which clients must trust instead"]


@pytest.mark.parametrize("days", [-1.0, -4000.0])
def test_clock_that_is_wrong_for_once_does_not_replace_the_authority(tmp_path: Path, days: float) -> None:
    """Whoever trusted it would be lost."""
    CertificateFiles(tmp_path).provide(NAMES, NOW)
    trusted = (tmp_path / "ca.pem").read_bytes()
    CertificateFiles(tmp_path).provide(NAMES, NOW + days * DAY)
    assert not CertificateFiles(tmp_path).provide(NAMES, NOW + days * DAY), "not again and again"
    CertificateFiles(tmp_path).provide(NAMES, NOW)

    assert (tmp_path / "ca.pem").read_bytes() == trusted


@pytest.mark.parametrize(
    ("name", "content"),
    [("ca.pem", b""), ("ca.pem", b"nonsense"), ("ca-key.pem", None), ("ca-key.pem", b""), ("ca-key.pem", b"nonsense")],
)
def test_authority_that_is_damaged_is_told_and_not_replaced(tmp_path: Path, name: str, content: bytes | None) -> None:
    CertificateFiles(tmp_path).provide(NAMES, NOW)
    before = contents(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(
        StartFailed, match=r"the local CA cannot be used .*: restore .*ca\.pem and .*ca-key\.pem, or remove"
    ):
        CertificateFiles(tmp_path).provide(NAMES, NOW)

    assert changed(tmp_path, before) <= {name}


@pytest.mark.parametrize("left", [["ca-key.pem"], ["ca-key.pem", "ca.pem"], ["ca-key.pem", "ca.pem", "server-key.pem"]])
def test_first_start_that_was_cut_short_is_no_hindrance_to_the_next(tmp_path: Path, left: list[str]) -> None:
    """Files are written in this order; whichever was the last, the next start makes the rest."""
    CertificateFiles(tmp_path).provide(NAMES, NOW)
    for path in tmp_path.iterdir():
        if path.name not in left:
            path.unlink()

    assert CertificateFiles(tmp_path).provide(NAMES, NOW)
    assert not CertificateFiles(tmp_path).provide(NAMES, NOW)


def test_bundle_does_not_feed_on_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be started from a shell that was told to trust it."""
    CertificateFiles(tmp_path).provide(NAMES, NOW)
    before = contents(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca-bundle.pem"))

    assert not CertificateFiles(tmp_path).provide(NAMES, NOW)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["server.pem", "server-key.pem", "ca-bundle.pem"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00 nonsense"])
def test_what_is_missing_or_damaged_is_made_again(tmp_path: Path, name: str, content: bytes | None) -> None:
    files = CertificateFiles(tmp_path)
    files.provide(NAMES, NOW)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    files.provide(NAMES, NOW)

    x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert (tmp_path / name).read_bytes() != content
    assert not files.provide(NAMES, NOW)


def test_bundle_ends_with_our_authority(tmp_path: Path) -> None:
    """Programs that are given one file trust nobody else, so the system's authorities stand before ours."""
    files = CertificateFiles(tmp_path)
    files.provide(NAMES, NOW)

    assert (tmp_path / "ca-bundle.pem").read_bytes().endswith(files.authority.read_bytes())


def test_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "server-key.pem").mkdir()
    (tmp_path / "server.pem").write_bytes(b"")
    with pytest.raises(StartFailed, match=r"cannot read or write .*server-key\.pem: Is a directory"):
        CertificateFiles(tmp_path).provide(NAMES, NOW)

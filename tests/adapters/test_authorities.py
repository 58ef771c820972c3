"""Files of authorities, good and bad. What they are good for is seen in `test_webhook_http`."""

import ssl
import time
from pathlib import Path

import pytest

from hubwire.adapters.authorities import trusting
from hubwire.auth.certificates import new_authority


def test_authorities_of_a_file_are_trusted_besides_the_usual_ones(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(new_authority(time.time()).certificate + new_authority(time.time()).certificate)

    found = trusting(file)

    usual = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert found.cert_store_stats()["x509_ca"] == usual + 2
    assert (found.verify_mode, found.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff\xfe\x00"]
)
def test_file_without_a_certificate_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)

    with pytest.raises(ValueError, match=rf"^{file} is no PEM file of certificates$"):
        trusting(file)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^cannot read {tmp_path}/ca\.pem: No such file or directory$"):
        trusting(tmp_path / "ca.pem")


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^cannot read {tmp_path}: Is a directory$"):
        trusting(tmp_path)

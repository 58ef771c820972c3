"""The context of TLS listeners: what it takes, and what happens when its files change."""

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from hubwire.auth.certificates import Credentials, issue, new_authority
from hubwire.edge.tls import ServerTls
from hubwire.model.errors import StartFailed


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(time.time())


@pytest.fixture
def files(tmp_path: Path, authority: Credentials) -> tuple[Path, Path]:
    return write(tmp_path, issue(authority, ("localhost",), time.time()))


def write(folder: Path, credentials: Credentials) -> tuple[Path, Path]:
    certificate, key = folder / "c.pem", folder / "k.pem"
    certificate.write_bytes(credentials.certificate)
    key.write_bytes(credentials.key)
    return certificate, key


def shown(tls: ServerTls, authority: Credentials) -> bytes:
    """The certificate that a client gets to see who trusts this authority alone. It agrees on HTTP/1.1."""
    ours, theirs = socket.socketpair()
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.set_alpn_protocols(["h2", "http/1.1"])
    server = threading.Thread(target=lambda: tls.context.wrap_socket(ours, server_side=True).close())
    server.start()
    with client.wrap_socket(theirs, server_hostname="localhost") as secure:
        found = secure.getpeercert(binary_form=True)
        assert secure.selected_alpn_protocol() == "http/1.1"
    server.join(10)
    ours.close()
    assert found is not None
    return found


def test_new_files_are_used_from_the_next_handshake_on(files: tuple[Path, Path], authority: Credentials) -> None:
    tls = ServerTls(*files)
    before = shown(tls, authority)
    assert shown(tls, authority) == before
    write(files[0].parent, issue(authority, ("localhost",), time.time()))
    assert shown(tls, authority) == before, "nobody has looked yet"
    tls.load()

    assert shown(tls, authority) != before


def test_files_that_do_not_fit_together_change_nothing(files: tuple[Path, Path], authority: Credentials) -> None:
    tls = ServerTls(*files)
    before = shown(tls, authority)
    files[0].write_bytes(issue(authority, ("localhost",), time.time()).certificate)
    with pytest.raises(StartFailed, match=r"cannot use certificate .*c\.pem with key .*k\.pem: KEY_VALUES_MISMATCH"):
        tls.load()

    assert shown(tls, authority) == before


def test_encrypted_key_is_told_and_nobody_is_asked(files: tuple[Path, Path], authority: Credentials) -> None:
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(StartFailed, match="the private key is encrypted"):
        ServerTls(*files)


@pytest.mark.parametrize("missing", [0, 1])
def test_file_that_is_not_there_is_named(files: tuple[Path, Path], missing: int) -> None:
    files[missing].unlink()
    with pytest.raises(StartFailed, match=rf"cannot read .*{files[missing].name}: No such file"):
        ServerTls(*files)


def test_older_tls_is_not_spoken(files: tuple[Path, Path]) -> None:
    assert ServerTls(*files).context.minimum_version == ssl.TLSVersion.TLSv1_2

"""The file with the key of stored secrets."""

import stat
from pathlib import Path

import pytest

from hubwire.adapters.vault_key import VaultKeyFile
from hubwire.model.errors import Unavailable


def test_key_is_made_once_and_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    made = VaultKeyFile(tmp_path).make()

    assert len(made) == 32
    assert VaultKeyFile(tmp_path).make() == VaultKeyFile(tmp_path).read() == made
    assert stat.S_IMODE((tmp_path / "vault.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["vault.key"]


def test_keys_of_two_folders_differ(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert VaultKeyFile(tmp_path / "a").make() != VaultKeyFile(tmp_path / "b").make()


def test_missing_key_is_named_with_what_can_be_done(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"vault\.key is missing .* Bring it back; or delete the secrets"):
        VaultKeyFile(tmp_path).read()


@pytest.mark.parametrize("content", [b"", b"!", b"AAAA", b"\xff" * 44])
def test_damaged_key_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    """What is left of it may be of use to somebody who mends it."""
    (tmp_path / "vault.key").write_bytes(content)

    for action in (VaultKeyFile(tmp_path).read, VaultKeyFile(tmp_path).make):
        with pytest.raises(Unavailable, match=r"vault\.key in the data folder is damaged"):
            action()
    assert (tmp_path / "vault.key").read_bytes() == content


def test_what_cannot_be_read_or_written_is_said_in_words_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "vault.key").mkdir()

    with pytest.raises(Unavailable, match="cannot be read: Is a directory"):
        VaultKeyFile(tmp_path).read()
    with pytest.raises(Unavailable, match="cannot be written: No such file or directory"):
        VaultKeyFile(tmp_path / "nowhere").make()

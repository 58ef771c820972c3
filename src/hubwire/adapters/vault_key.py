"""
The key under which values of secrets are stored: a file of the data folder that only its owner may read, apart from the
database. Whoever keeps copies of the one should keep those of the other in another place.
"""

import base64
import binascii
import secrets
from pathlib import Path
from typing import Final

from hubwire.adapters.data_folder import replace_file
from hubwire.model.errors import Unavailable

__all__ = ["VaultKeyFile"]

_NAME: Final = "vault.key"
_KEY_BYTES: Final = 32


class VaultKeyFile:
    """
    Args:
        folder: the data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def read(self) -> bytes:
        """
        The key.

        Raises:
            Unavailable: it is missing or damaged.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            raise Unavailable(
                f"The file {_NAME} is missing in the data folder, and without it no stored secret can be read. "
                "Bring it back; or delete the secrets of all vaults and set them again."
            ) from None
        except OSError as error:
            raise Unavailable(f"The file {_NAME} cannot be read: {error.strerror or error}.") from error
        try:
            key = base64.b64decode(content.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY_BYTES:
            raise Unavailable(
                f"The file {_NAME} in the data folder is damaged: it holds no key. Bring back the right one."
            )
        return key

    def make(self) -> bytes:
        """
        The key; a new one, if there is none.

        Raises:
            Unavailable: it cannot be kept, or what is there is damaged.
        """
        if self._path.exists():
            return self.read()
        key = secrets.token_bytes(_KEY_BYTES)
        try:
            replace_file(self._path, base64.b64encode(key) + b"\n")
        except OSError as error:
            raise Unavailable(f"The file {_NAME} cannot be written: {error.strerror or error}.") from error
        return key

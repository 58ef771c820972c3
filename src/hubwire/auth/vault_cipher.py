"""
Values of secrets as they are stored: sealed by AES-256-GCM under a key that is not in the database.

What a value is of goes into its seal, so that none can be put in the place of another one. The seal names its key by a
digest, so that it can be told whether the value is damaged or the key is another one.

Source: NIST SP 800-38D, with random nonces of 96 bits.
"""

import base64
import binascii
import hashlib
import secrets
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hubwire.model.errors import Unavailable

__all__ = ["KeyFile", "VaultCipher"]

_FORM: Final = "1"
_NONCE_BYTES: Final = 12


class KeyFile(Protocol):
    """Where the key is kept. See `hubwire.adapters.vault_key`."""

    def read(self) -> bytes:
        """
        32 bytes.

        Raises:
            Unavailable: it is missing or damaged.
        """

    def make(self) -> bytes:
        """
        A new key, kept durably; the one that is there, if there is one.

        Raises:
            Unavailable: it cannot be kept, or what is there is damaged.
        """


class VaultCipher:
    """The key is read, or made, when it is first needed."""

    def __init__(self, key_file: KeyFile) -> None:
        self._key_file = key_file
        self._key: bytes | None = None

    def seal(self, value: str, place: str, *, first: bool) -> str:
        """
        Args:
            place: what the value is of, such as "vault/name/version".
            first: nothing was sealed yet, so that there may be no key.

        Raises:
            Unavailable: the key cannot be had.
        """
        key = self._known_key(make=first)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, value.encode(), place.encode())
        return f"{_FORM}.{_name(key)}.{base64.b64encode(sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """
        Raises:
            Unavailable: the key cannot be had or is another one, or the value is damaged.
        """
        key = self._known_key(make=False)
        form, _, rest = sealed.partition(".")
        name, _, text = rest.partition(".")
        if form == _FORM and len(name) == len(_name(key)) and name != _name(key):
            raise Unavailable(f"The secret {place} was stored under another key than the present vault.key.")
        try:
            data = base64.b64decode(text, validate=True)
            if form != _FORM:
                raise ValueError(form)
            return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error):
            # From None: what was decoded so far is not for a log.
            raise Unavailable(f"The stored value of the secret {place} is damaged.") from None

    def _known_key(self, *, make: bool) -> bytes:
        if self._key is None:
            self._key = self._key_file.make() if make else self._key_file.read()
        return self._key


def _name(key: bytes) -> str:
    """Tells keys apart, and nothing of them."""
    return hashlib.sha256(b"hubwire vault key\0" + key).hexdigest()[:16]

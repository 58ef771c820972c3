"""Values of secrets as they are stored: what opens them, and what is said when nothing does."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.auth.vault_cipher import VaultCipher
from hubwire.model.errors import Unavailable

PLACE = "v/code/0123456789abcdef0123456789abcdef"


class KeyFile:
    def __init__(self, key: bytes | None = None) -> None:
        self.key = key
        self.reads = 0

    def read(self) -> bytes:
        self.reads += 1
        if self.key is None:
            raise Unavailable("vault.key is missing")
        return self.key

    def make(self) -> bytes:
        self.key = self.key or b"k" * 32
        return self.key


def cipher(key: bytes | None = b"k" * 32) -> VaultCipher:
    return VaultCipher(KeyFile(key))


@given(st.text(max_size=200), st.text(max_size=50))
def test_what_was_sealed_is_opened(value: str, place: str) -> None:
    made = cipher()

    sealed = made.seal(value, place, first=False)

    assert made.open(sealed, place) == value
    assert cipher().open(sealed, place) == value


def test_sealed_value_does_not_show_what_is_in_it() -> None:
    """And the same value is another text each time, so that equal ones cannot be told."""
    made = cipher()
    sealed = [made.seal("s3cret-s3cret-s3cret", PLACE, first=False) for _ in range(2)]

    assert sealed[0] != sealed[1]
    assert all(b"s3cret" not in base64.b64decode(text.split(".")[2]) for text in sealed)
    assert all(base64.b64encode(b"k" * 32).decode()[:20] not in text for text in sealed)


def test_value_is_opened_at_its_own_place_only() -> None:
    """Whoever may write the database cannot put one secret in the place of another."""
    sealed = cipher().seal("s3cret", PLACE, first=False)

    with pytest.raises(Unavailable, match=r"^The stored value of the secret v/other/1 is damaged\.$"):
        cipher().open(sealed, "v/other/1")


@pytest.mark.parametrize("change", ["", "2", "1.", "1..", "1.0000000000000000", "cut", "flip", "1.x.AAAA", "1.!.!"])
def test_damaged_value_is_refused_without_being_shown(change: str) -> None:
    made = cipher()
    sealed = made.seal("s3cret", PLACE, first=False)
    head, _, text = sealed.rpartition(".")
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    damaged = {"cut": sealed[:-8], "flip": f"{head}.{base64.b64encode(data).decode()}"}.get(change, change)

    with pytest.raises(Unavailable) as refused:
        made.open(damaged, PLACE)
    assert refused.value.message in (
        f"The stored value of the secret {PLACE} is damaged.",
        f"The secret {PLACE} was stored under another key than the present vault.key.",
    )


def test_another_key_is_told_from_damage() -> None:
    sealed = cipher(b"a" * 32).seal("s3cret", PLACE, first=False)

    with pytest.raises(Unavailable, match=r"stored under another key than the present vault\.key"):
        cipher(b"b" * 32).open(sealed, PLACE)


def test_key_is_made_for_the_first_value_only() -> None:
    """With values there already, a missing key is a loss to be told, and not to be made worse."""
    first = KeyFile()
    VaultCipher(first).seal("s3cret", PLACE, first=True)
    later = KeyFile()

    with pytest.raises(Unavailable, match="missing"):
        VaultCipher(later).seal("s3cret", PLACE, first=False)
    assert (first.key, later.key) == (b"k" * 32, None)


def test_key_is_read_once() -> None:
    file = KeyFile(b"k" * 32)
    made = VaultCipher(file)
    sealed = made.seal("s3cret", PLACE, first=False)
    made.open(sealed, PLACE)

    assert file.reads == 1

"""Names of Key Vaults, and values that do not show what is secret in them."""

import pytest

from hubwire.model.vaults import NewSecret, Secret, SecretVersion, is_vault_name


@pytest.mark.parametrize("name", ["abc", "a-b", "Vault-1", "a1b2", "a" * 24])
def test_name_of_a_vault_is_taken(name: str) -> None:
    assert is_vault_name(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 25, "1ab", "-ab", "ab-", "a--b", "a_b", "a.b", "abc\n", "äbc", "ab\u212a", "a b"]
)
def test_name_of_a_vault_is_refused(name: str) -> None:
    """Also a line break at its end, and letters of other scripts."""
    assert not is_vault_name(name)


def test_values_are_not_shown() -> None:
    """Whatever prints one of these prints no secret."""
    version = SecretVersion("code", "0" * 32, 1, 1)

    assert "s3cret" not in repr([NewSecret("s3cret"), Secret(version, "s3cret")])

"""What listeners are called, and which host leads to which."""

import pytest

from hubwire.model.communication import is_communication_name
from hubwire.model.listeners import kind_of, listener_name, listener_of_host, named_by, owner_of, title_of


def test_listener_says_whose_it_is() -> None:
    vault, service = listener_name("vault", "Vault-One"), listener_name("communication", "Acs-One")

    assert (vault, service) == ("vault/vault-one", "communication/acs-one")
    assert [kind_of(name) for name in (vault, service, "wps-one", "vault")] == ["vault", "communication", None, None]
    assert [owner_of(name) for name in (vault, service, "wps-one")] == ["vault-one", "acs-one", "wps-one"]
    assert [title_of(name) for name in (vault, service, "wps-one")] == [
        "Key Vault vault-one",
        "communication service acs-one",
        "resource wps-one",
    ]


@pytest.mark.parametrize(
    ("host", "listener"),
    [
        ("vault-one.vault.azure.net", "vault/vault-one"),
        ("vault-one.vault.localhost.:8443", "vault/vault-one"),
        ("acs-one.communication.azure.com", "communication/acs-one"),
        ("acs-one.communication.azure.com.:443", "communication/acs-one"),
        ("acs-one.unitedstates.communication.azure.com", "communication/acs-one"),
        ("1.communication.localhost:8443", "communication/1"),
        (f"{'a' * 63}.communication.localhost", f"communication/{'a' * 63}"),
        (f"{'a' * 64}.communication.localhost", None),
        ("acs-one.unitedstates.communication.localhost", None),
        ("a.b.c.communication.azure.com", None),
        ("-a.communication.localhost", None),
        ("a_b.communication.localhost", None),
        (".communication.localhost", None),
        ("communication.localhost", None),
        ("communication.azure.com", None),
        ("acs-one.communication.azure.us", None),
        ("acs-one.communication.localhost.example.com", None),
        ("acs-one.communication", None),
        ("localhost:8443", None),
        ("[::1]:8443", None),
        ("", None),
    ],
)
def test_host_leads_to_the_vault_or_service_that_it_names(host: str, listener: str | None) -> None:
    assert listener_of_host(host) == listener


def test_host_names_one_kind_only() -> None:
    assert named_by("vault", "one.communication.localhost") is None
    assert named_by("communication", "one-two.vault.localhost") is None


@pytest.mark.parametrize(
    ("name", "is_name"),
    [("a", True), ("1-a", True), ("A" * 63, True), ("a" * 64, False), ("", False), ("-a", False), ("a-", False)],
)
def test_name_of_a_communication_service(name: str, is_name: bool) -> None:
    assert is_communication_name(name) is is_name

"""Key Vault references in URL templates: what is one, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.model.errors import BadRequest
from hubwire.model.secret_references import SecretReference, find_references, is_secret_name, parse_secret_uri

VERSION = "0123456789abcdef0123456789abcdef"


def reference(uri: str) -> str:
    return f"{{@Microsoft.KeyVault(SecretUri={uri})}}"


@pytest.mark.parametrize(
    ("uri", "vault_url", "name", "version"),
    [
        ("https://v.vault.azure.net/secrets/code", "https://v.vault.azure.net", "code", None),
        ("https://v.vault.azure.net/secrets/code/", "https://v.vault.azure.net", "code", None),
        (f"https://v.vault.azure.net/secrets/code/{VERSION}", "https://v.vault.azure.net", "code", VERSION),
        (f"https://v.vault.azure.net/secrets/code/{VERSION}/", "https://v.vault.azure.net", "code", VERSION),
        ("https://127.0.0.1:9443/secrets/a-B-1/1", "https://127.0.0.1:9443", "a-B-1", "1"),
        ("http://localhost:8080/secrets/" + "n" * 127, "http://localhost:8080", "n" * 127, None),
        ("https://[::1]:9443/secrets/x", "https://[::1]:9443", "x", None),
        ("HTTPS://V.Vault.Azure.NET/Secrets/Code", "https://v.vault.azure.net", "Code", None),
    ],
)
def test_identifier_is_taken_apart(uri: str, vault_url: str, name: str, version: str | None) -> None:
    """Scheme and host in lower case, no slash at the end; the name as it was given."""
    found = parse_secret_uri(uri)

    tail = f"/{version}" if version else ""
    assert (found.vault_url, found.name, found.version) == (vault_url, name, version)
    assert found.uri == f"{vault_url}/secrets/{name}{tail}"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://v.vault.azure.net",
        "https://v.vault.azure.net/",
        "https://v.vault.azure.net/secrets",
        "https://v.vault.azure.net/secrets/",
        "https://v.vault.azure.net/keys/code",
        f"https://v.vault.azure.net/secrets/code/{VERSION}/more",
        "https://v.vault.azure.net/secrets//code",
        "https://v.vault.azure.net/secrets/code//",
        "https://v.vault.azure.net/secrets/co_de",
        "https://v.vault.azure.net/secrets/co%64e",
        "https://v.vault.azure.net/secrets/" + "n" * 128,
        "https://v.vault.azure.net/secrets/code/a-b",
        "https://v.vault.azure.net/secrets/code?api-version=7.4",
        "https://v.vault.azure.net/secrets/code#x",
        "https://v.vault.azure.net:0/secrets/code",
        "https://v.vault.azure.net:65536/secrets/code",
        "https://user@v.vault.azure.net/secrets/code",
        "https://v.vault.azure.net\\@evil.example/secrets/code",
        "https:///secrets/code",
        "https://[1.2.3.4]/secrets/code",
        "https://[::1::]/secrets/code",
        "https://[....]/secrets/code",
        "ftp://v.vault.azure.net/secrets/code",
        "v.vault.azure.net/secrets/code",
        "https://v.vault.azure.net/secrets/cod\u00e9",
        "https://v.vault.azure.net/secrets/\u212aode",
    ],
)
def test_other_identifiers_are_refused_with_a_sentence(uri: str) -> None:
    with pytest.raises(BadRequest, match=r"^urlTemplate has a reference .*\.$") as refused:
        find_references(f"https://h/?c={reference(uri)}")

    assert refused.value.target == "urlTemplate"


@pytest.mark.parametrize(
    "text",
    [
        "{@Microsoft.KeyVault(SecretUri=https://v/secrets/n)}",
        "{@MICROSOFT.KEYVAULT(SECRETURI=https://v/secrets/n)}",
        "{@microsoft.keyvault(secreturi=https://v/secrets/n/)}",
        "{ @Microsoft.KeyVault ( SecretUri = https://v/secrets/n ) }",
    ],
)
def test_keyword_has_any_case_and_blanks_around_its_parts(text: str) -> None:
    template = f"https://h/{{hub}}?code={text}&x={{event}}"

    assert find_references(template) == [
        SecretReference(template.index(text), template.index(text) + len(text), "https://v/secrets/n", "https://v", "n")
    ]


def test_several_references_are_found_in_their_order() -> None:
    """Each ends at its own closing parenthesis and brace."""
    one, two = reference("https://v/secrets/one"), reference("https://w/secrets/two/2")
    template = f"https://h/{one}/{{hub}}{two}"

    found = find_references(template)

    assert [template[item.start : item.end] for item in found] == [one, two]
    assert [(item.name, item.version) for item in found] == [("one", None), ("two", "2")]


@pytest.mark.parametrize(
    "text",
    [
        "{@Microsoft.KeyVault}",
        "{@Microsoft.KeyVault()}",
        "{@Microsoft.KeyVault(SecretUri)}",
        "{@Microsoft.KeyVault(VaultName=v;SecretName=n)}",
        "{@Microsoft.KeyVault(SecretUri=https://v/secrets/n}",
        "{@Microsoft.KeyVault(SecretUri=https://v/secrets/n)",
        "{@Microsoft.KeyVault(SecretUri=https://v/secrets/{hub})}",
        "{@Microsoft.KeyVaults(SecretUri=https://v/secrets/n)}",
        "{@Other(SecretUri=https://v/secrets/n)}",
        "{@}",
        "{ @",
        "{\u212a@}{@Microsoft.\u212aeyVault(SecretUri=https://v/secrets/n)}",
    ],
)
def test_what_begins_like_a_reference_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^urlTemplate has a reference .*\.$"):
        find_references(f"https://h/{text}")


@pytest.mark.parametrize(
    "template",
    ["", "https://h/{hub}/{event}", "https://h/@{hub}", "https://h/Microsoft.KeyVault(x)/@Microsoft.KeyVaults"],
)
def test_template_without_references_has_none(template: str) -> None:
    assert find_references(template) == []


@pytest.mark.parametrize(
    "text",
    [
        "@Microsoft.KeyVault(SecretUri=https://v/secrets/n)",
        "@MICROSOFT.keyvault(SecretUri=https://v/secrets/n)",
        "@Microsoft.KeyVault(VaultName=v;SecretName=n)",
        "%7B@Microsoft.KeyVault(SecretUri=https://v/secrets/n)%7D",
        "%7b%40Microsoft.KeyVault%28SecretUri=https://v/secrets/n%29%7d",
        "@Microsoft.KeyVault(",
        reference("https://v/secrets/n") + "&x=@Microsoft.KeyVault(SecretUri=https://v/secrets/n)",
        "@Microsoft.KeyVault(SecretUri=https://v/secrets/n)&x=" + reference("https://v/secrets/n"),
    ],
)
def test_reference_outside_of_braces_is_refused_with_the_form_that_is_right(text: str) -> None:
    """It is the form of App Service, and would be sent to the handler as it stands."""
    with pytest.raises(BadRequest) as refused:
        find_references(f"https://h/x?code={text}")

    assert refused.value.message == (
        "urlTemplate has a reference outside of braces; "
        "it is written {@Microsoft.KeyVault(SecretUri=https://VAULT/secrets/NAME)}."
    )
    assert refused.value.target == "urlTemplate"


@given(st.text(alphabet="{}@()= /:.Microsoft.KeyVaultSecretUrihttps", max_size=80))
def test_any_text_has_references_or_is_refused(template: str) -> None:
    """What is found lies in the text, in order, without overlap."""
    try:
        found = find_references(template)
    except BadRequest:
        return
    ends = [0, *(place for item in found for place in (item.start, item.end))]
    assert ends == sorted(ends)


@pytest.mark.parametrize(("name", "good"), [("a", True), ("A-1", True), ("", False), ("a_b", False), ("a\n", False)])
def test_name_of_a_secret_has_letters_digits_and_hyphens(name: str, good: bool) -> None:
    assert is_secret_name(name) is good

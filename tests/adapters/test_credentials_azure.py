"""Tokens through the official package, from endpoints on this machine, and what is said when there is none."""

import asyncio
import base64
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from auth.entra import certificate, pem_of, rsa_key
from hubwire.adapters.credentials_azure import AzureTokens, CredentialSettings, check
from hubwire.auth.certificates import issue, new_authority
from hubwire.model.errors import Unavailable
from hubwire.model.identities import ManagedIdentity

TENANT = "11111111-aaaa-4000-8000-000000000001"
CLIENT = "33333333-aaaa-4000-8000-000000000003"
SECRET = "hws~a-secret-that-nobody-else-has"
AUDIENCE = "api://orders"
SYSTEM = ManagedIdentity("SystemAssigned", "/wps", "/wps", "principal", "44444444-aaaa-4000-8000-000000000004")
USER = ManagedIdentity("UserAssigned", "/wps", "/robot", "principal", "55555555-aaaa-4000-8000-000000000005")
VARIABLES = (
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT"),
    *("MSI_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_ID"),
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """
    Whoever gives tokens, on this machine.

    Attributes:
        asked: path, query or form, and headers of each request.
        answer: instead of a token.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.answer: Answer | None = None
        self.url = ""
        self._runner: web.ServerRunner | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = self._runner.addresses[0][1]
        self.url = f"{'http' if tls is None else 'https'}://localhost:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        fields = {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
        self.asked.append((request.path, fields, {name.lower(): value for name, value in request.headers.items()}))
        if self.answer is not None:
            return await self.answer(request)  # type: ignore[arg-type]  # all that they look at is in both
        number = len(self.asked)
        ends = int(time.time()) + 3600
        token = {"access_token": f"token-{number}", "token_type": "Bearer", "resource": fields.get("resource", "")}
        return web.json_response({**token, "expires_in": "3600", "expires_on": str(ends), "refresh_in": 1})


def answering(status: int, document: Any = None, text: str = "") -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        if document is None:
            return web.Response(status=status, text=text)
        return web.json_response(document, status=status)

    return answer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """That of a process that knows nothing of any cloud."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    level = logging.getLogger("azure.identity").level
    yield monkeypatch
    logging.getLogger("azure.identity").setLevel(level)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    await endpoint.start()
    try:
        yield endpoint
    finally:
        await endpoint.stop()


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Endpoint]:
    """Over TLS, with a certificate of `ca.pem`."""
    ours = new_authority(time.time())
    shown = issue(ours, ["localhost"], time.time())
    (tmp_path / "ca.pem").write_bytes(ours.certificate)
    (tmp_path / "shown.pem").write_bytes(shown.certificate)
    (tmp_path / "shown.key").write_bytes(shown.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "shown.pem", tmp_path / "shown.key")
    endpoint = Endpoint()
    await endpoint.start(context)
    try:
        yield endpoint
    finally:
        await endpoint.stop()


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.pem")


def application(folder: Path, authority: str, **more: Any) -> CredentialSettings:
    """One with a secret, unless something else is said."""
    if not more:
        (folder / "secret").write_text(f"{SECRET}\n")
        more = {"client_secret_file": str(folder / "secret")}
    return CredentialSettings(source="client-credentials", authority=authority, tenant=TENANT, client_id=CLIENT, **more)


async def token(tokens: AzureTokens, identity: ManagedIdentity = SYSTEM, audience: str = AUDIENCE) -> str:
    granted = await tokens.token(audience, identity)
    assert time.time() + 3000 < granted.expires_at <= time.time() + 3600
    return granted.token


async def refusal(tokens: AzureTokens, identity: ManagedIdentity = SYSTEM) -> str:
    """One sentence or two, in which nothing is that is a secret, nor is it behind them."""
    with pytest.raises(Unavailable) as failed:
        await tokens.token(AUDIENCE, identity)
    await tokens.close()
    assert SECRET not in failed.value.message
    assert failed.value.__cause__ is None
    assert failed.value.message.endswith((".", "?"))
    return failed.value.message


# An application


@pytest.mark.parametrize("audience", [AUDIENCE, f"{AUDIENCE}/"])
async def test_application_gets_a_token_by_its_secret(authority: Endpoint, tmp_path: Path, audience: str) -> None:
    tokens = AzureTokens(application(tmp_path, authority.url), trusting(tmp_path))

    assert await token(tokens, audience=audience) == "token-1"
    await tokens.close()

    (path, form, _) = authority.asked[0]
    assert path == f"/{TENANT}/oauth2/v2.0/token"
    assert form == {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "grant_type": "client_credentials",
        "scope": f"{AUDIENCE}/.default",
    }


async def test_each_token_is_a_new_one_and_proved_with_the_secret_as_it_is_then(
    authority: Endpoint, tmp_path: Path
) -> None:
    """The package would give the same one for an hour, also where somebody has refused it."""
    tokens = AzureTokens(application(tmp_path, authority.url), trusting(tmp_path))
    first = await token(tokens)
    (tmp_path / "secret").write_text("another")

    assert [first, await token(tokens)] == ["token-1", "token-2"]
    await tokens.close()

    assert [form["client_secret"] for _, form, _ in authority.asked] == [SECRET, "another"]


async def test_application_gets_a_token_by_a_certificate(authority: Endpoint, tmp_path: Path) -> None:
    key = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "app.pem").write_bytes(key + pem_of(certificate()).encode())
    tokens = AzureTokens(
        application(tmp_path, authority.url, certificate=str(tmp_path / "app.pem")), trusting(tmp_path)
    )

    assert await token(tokens) == "token-1"
    await tokens.close()

    claims = json.loads(base64.urlsafe_b64decode(authority.asked[0][1]["client_assertion"].split(".")[1] + "=="))
    assert (claims["iss"], claims["aud"]) == (CLIENT, f"{authority.url}/{TENANT}/oauth2/v2.0/token")


async def test_application_gets_a_token_by_the_token_in_a_file_as_it_is_then(
    authority: Endpoint, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    tokens = AzureTokens(application(tmp_path, authority.url, token_file=str(file)), trusting(tmp_path))
    await token(tokens)
    file.write_text("second\n")
    await token(tokens)
    await tokens.close()

    assert [form["client_assertion"] for _, form, _ in authority.asked] == ["first", "second"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            answering(
                401,
                {
                    "error": "invalid_client",
                    "error_description": "AADSTS7000215: Invalid client secret provided. Trace ID: x Timestamp: y",
                },
            ),
            "refuses: AADSTS7000215: Invalid client secret provided.",
        ),
        (answering(400, {"error": "invalid", "error_description": f"no {SECRET}"}), "answers 400, and gives no token."),
        (answering(404, text="<html>"), "gives no answer that can be used."),
        (answering(200, {"access_token": SECRET, "expires_on": SECRET}), "gives no answer that can be used."),
        (answering(200, ["x"]), "gives no answer that can be used."),
    ],
    ids=["wrong secret", "no reason", "no token endpoint", "no time", "no object"],
)
async def test_authority_that_gives_no_token_is_told_of(
    authority: Endpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    expected: str,
) -> None:
    authority.answer = answer
    tokens = AzureTokens(application(tmp_path, authority.url), trusting(tmp_path))

    message = await refusal(tokens)

    assert message.startswith(f"The authority {authority.url} ")
    assert message.endswith(expected)
    assert SECRET not in caplog.text


async def test_authority_whose_certificate_nobody_vouches_for_gets_no_secret(
    authority: Endpoint, tmp_path: Path
) -> None:
    assert "handler_ca" in await refusal(AzureTokens(application(tmp_path, authority.url)))
    assert authority.asked == []


async def test_authority_that_is_not_there_is_told_of(authority: Endpoint, tmp_path: Path) -> None:
    await authority.stop()

    assert "cannot be reached" in await refusal(AzureTokens(application(tmp_path, authority.url), trusting(tmp_path)))


async def test_authority_that_does_not_answer_is_given_up(
    authority: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubwire.adapters.credentials_azure._TIMEOUT_S", {"client-credentials": 0.1})
    gate = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    authority.answer = never

    message = await refusal(AzureTokens(application(tmp_path, authority.url), trusting(tmp_path)))

    gate.set()
    assert "does not answer in time" in message


async def test_file_that_is_gone_is_told_of(authority: Endpoint, tmp_path: Path) -> None:
    tokens = AzureTokens(application(tmp_path, authority.url), trusting(tmp_path))
    (tmp_path / "secret").unlink()

    assert await refusal(tokens) == (
        f"identity_client_secret_file: {tmp_path / 'secret'} cannot be read: No such file or directory."
    )


# The machine


async def test_machine_gives_tokens_at_imds(endpoint: Endpoint, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    tokens = AzureTokens(CredentialSettings(source="imds"))

    assert [await token(tokens), await token(tokens, USER)] == ["token-1", "token-2"]
    await tokens.close()

    (path, system, headers), (_, user, _) = endpoint.asked
    assert path == "/metadata/identity/oauth2/token"
    assert headers["metadata"] == "true"
    assert system == {"api-version": "2018-02-01", "resource": AUDIENCE}
    assert user == {**system, "client_id": USER.client_id}


async def test_machine_gives_tokens_as_app_service(endpoint: Endpoint, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/msi/token")
    environment.setenv("IDENTITY_HEADER", SECRET)
    tokens = AzureTokens(CredentialSettings(source="app-service"))

    assert [await token(tokens), await token(tokens, USER)] == ["token-1", "token-2"]
    await tokens.close()

    (path, system, headers), (_, user, _) = endpoint.asked
    assert path == "/msi/token"
    assert headers["x-identity-header"] == SECRET
    assert system == {"api-version": "2019-08-01", "resource": AUDIENCE}
    assert user == {**system, "client_id": USER.client_id}


@pytest.mark.parametrize("identity", [SYSTEM, USER])
async def test_identity_of_the_machine_can_be_chosen_for_all_resources(
    endpoint: Endpoint, environment: pytest.MonkeyPatch, identity: ManagedIdentity
) -> None:
    """In a cloud, the machine has none of the identities that are made here."""
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    tokens = AzureTokens(CredentialSettings(source="imds", client_id=CLIENT))

    await token(tokens, identity)
    await tokens.close()

    assert endpoint.asked[0][1]["client_id"] == CLIENT


async def test_machine_is_asked_past_every_proxy(endpoint: Endpoint, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    environment.setenv("http_proxy", "http://127.0.0.1:1")
    tokens = AzureTokens(CredentialSettings(source="imds"))

    assert await token(tokens) == "token-1"
    await tokens.close()


async def test_machine_without_the_identity_says_what_to_mend(
    endpoint: Endpoint, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    endpoint.answer = answering(400, {"error": "invalid_request", "error_description": "Identity not found"})

    message = await refusal(AzureTokens(CredentialSettings(source="imds")), USER)

    assert (
        f"answers 400: it has no identity with the client id {USER.client_id}, or no tokens for {AUDIENCE}" in message
    )
    assert "identity_client_id" in message
    assert "it has no identity, or" in await refusal(AzureTokens(CredentialSettings(source="imds")))


async def test_header_that_is_not_the_machines_is_told_of(endpoint: Endpoint, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/msi/token")
    environment.setenv("IDENTITY_HEADER", SECRET)
    endpoint.answer = answering(401, {"statusCode": 401, "message": "wrong"})

    assert "answers 401" in await refusal(AzureTokens(CredentialSettings(source="app-service")))


async def test_machine_that_is_none_of_a_cloud_is_told_of(endpoint: Endpoint, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    endpoint.answer = answering(200, text="welcome to the router")

    assert "virtual machine" in await refusal(AzureTokens(CredentialSettings(source="imds")))


# Settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tenant": None}, "needs identity_tenant"),
        ({"client_id": ""}, "needs identity_client_id"),
        ({"tenant": "a/b"}, "identity_tenant must be"),
        ({"authority": "http://localhost:8443"}, "identity_authority must be an https URL"),
        ({"authority": "login.microsoftonline.com"}, "identity_authority must be an https URL"),
        ({"authority": "https://[::1"}, "identity_authority must be an https URL"),
        ({"client_secret_file": None}, "needs one of identity_client_secret_file, identity_certificate"),
        ({"certificate": "x"}, "not 2 of them"),
        ({"client_secret_file": "/nowhere"}, "identity_client_secret_file: /nowhere cannot be read: No such file"),
        ({"client_secret_file": None, "token_file": "/nowhere"}, "identity_token_file: /nowhere cannot be read"),
        ({"client_secret_file": None, "certificate": "/nowhere"}, "identity_certificate: /nowhere cannot be read"),
    ],
)
def test_application_that_cannot_be_proved_is_refused(tmp_path: Path, settings: dict[str, Any], expected: str) -> None:
    known = application(tmp_path, "https://localhost:1")
    fields = {name: getattr(known, name) for name in CredentialSettings.__struct_fields__}

    with pytest.raises(ValueError, match=expected):
        check(CredentialSettings(**{**fields, **settings}), {})


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    settings = application(tmp_path, "https://localhost:1")
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(ValueError, match="is empty, or holds something else"):
        check(settings, {})


@pytest.mark.parametrize(
    "content",
    [
        b"no certificate",
        pem_of(certificate()).encode(),
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        + pem_of(certificate()).encode(),
    ],
    ids=["something else", "without its key", "a key alone", "encrypted"],
)
def test_certificate_that_proves_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "app.pem").write_bytes(content)
    settings = application(tmp_path, "https://localhost:1", certificate=str(tmp_path / "app.pem"))

    with pytest.raises(ValueError, match="must be a PEM file with a certificate and its RSA key"):
        check(settings, {})


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("imds", {"IDENTITY_ENDPOINT": "x"}, "IDENTITY_ENDPOINT"),
        ("imds", {"MSI_ENDPOINT": "x"}, "MSI_ENDPOINT"),
        (
            "imds",
            {"AZURE_FEDERATED_TOKEN_FILE": "x", "AZURE_TENANT_ID": "x", "AZURE_AUTHORITY_HOST": "x"},
            "identity_token_file",
        ),
        ("app-service", {}, "no IDENTITY_ENDPOINT and no IDENTITY_HEADER"),
        ("app-service", {"IDENTITY_ENDPOINT": "x"}, "no IDENTITY_HEADER"),
    ],
)
def test_environment_of_another_source_is_refused(source: Any, variables: dict[str, str], expected: str) -> None:
    """The package would follow the environment, and not the setting."""
    with pytest.raises(ValueError, match=expected):
        check(CredentialSettings(source=source), variables)


def test_settings_that_are_whole_are_good(tmp_path: Path) -> None:
    check(application(tmp_path, "https://localhost:1"), {"IDENTITY_ENDPOINT": "x"})
    check(CredentialSettings(source="imds"), {"AZURE_TENANT_ID": "x"})
    check(CredentialSettings(source="app-service"), {"IDENTITY_ENDPOINT": "x", "IDENTITY_HEADER": "y"})

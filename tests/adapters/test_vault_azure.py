"""Secrets through the official package, from a vault on this machine: how it is asked, and what is said if it fails."""

import asyncio
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from azure.keyvault.secrets._shared import http_challenge_cache

from acceptance.servers import free_port
from hubwire.adapters import vault_azure
from hubwire.adapters.authorities import trusting
from hubwire.adapters.vault_azure import AzureVaults
from hubwire.auth.certificates import Credentials, issue, new_authority
from hubwire.model.errors import Forbidden, NotFound, Refused, Unavailable
from hubwire.model.identities import AccessToken, ManagedIdentity

VERSION = "0123456789abcdef0123456789abcdef"
ONE = ManagedIdentity("SystemAssigned", "/wps", "/wps", "principal-one", "client-one")
TWO = ManagedIdentity("UserAssigned", "/wps", "/robot", "principal-two", "client-two")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tokens:
    """
    A token for each principal.

    Attributes:
        asked: audience and principal of each.
        failure: raised instead.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.failure: Exception | None = None

    async def token(self, audience: str, identity: ManagedIdentity) -> AccessToken:
        self.asked.append((audience, identity.principal_id))
        if self.failure is not None:
            raise self.failure
        return AccessToken(f"token-of-{identity.principal_id}", 4_000_000_000.0)


class Vault:
    """
    A vault over TLS.

    Attributes:
        asked: path, query and bearer of each request.
        challenge: with which it answers who brings no token.
        answers: in order, instead of the secret.
    """

    def __init__(self, authority: Credentials) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.answers: list[Answer] = []
        self._authority = authority
        self._runner: web.ServerRunner | None = None
        self.host = ""
        self.challenge = ""

    async def start(self, folder: Path) -> None:
        certificate, key = issue(self._authority, ("vault.localhost", "localhost"), time.time())
        file = folder / "vault.pem"
        file.write_bytes(key + certificate)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(file)
        self._runner = web.ServerRunner(web.Server(self._answer), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.host = f"localhost:{self._runner.addresses[0][1]}"
        self.challenge = f'Bearer authorization="https://login.example/tenant", resource="https://{self.host}"'

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def uri(self) -> str:
        return f"https://{self.host}/secrets/code"

    async def _answer(self, request: Any) -> web.StreamResponse:
        bearer = request.headers.get("Authorization")
        self.asked.append((request.path, request.query_string, bearer))
        if bearer is None:
            return refusal(401, "Unauthorized", headers={"WWW-Authenticate": self.challenge})
        if self.answers:
            return await self.answers.pop(0)(request)
        identifier = f"{self.uri}/{VERSION}"
        return web.json_response({"value": "s3cret", "id": identifier, "attributes": {"enabled": True}})


def refusal(status: int, code: str, inner: str | None = None, headers: Any = None) -> web.Response:
    error: dict[str, Any] = {"code": code, "message": "s3cret-message"}
    if inner is not None:
        error["innererror"] = {"code": inner}
    return web.json_response({"error": error}, status=status, headers=headers)


def answering(*arguments: Any, **options: Any) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return refusal(*arguments, **options)

    return answer


class World:
    def __init__(self, vault: Vault, folder: Path) -> None:
        self.vault = vault
        self.folder = folder
        self.tokens = Tokens()
        self.vaults = self.open(vault.host)

    def open(self, *hosts: str) -> AzureVaults:
        return AzureVaults(self.tokens, hosts, trusting(self.folder / "ca.pem"))

    async def secret(self, uri: str | None = None, identity: ManagedIdentity = ONE) -> str:
        return await self.vaults.secret(uri or self.vault.uri, identity)

    async def refused(self, uri: str | None = None, kind: type[Refused] = Unavailable) -> str:
        """Why, in which nothing stands of what the vault says."""
        with pytest.raises(kind) as told:
            await self.secret(uri)
        assert type(told.value) is kind
        assert "s3cret" not in told.value.message
        assert "token-of" not in told.value.message
        return told.value.message


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    # The package remembers by host and port what it was challenged with, and the port may have been another test's.
    http_challenge_cache.clear()
    authority = new_authority(time.time())
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    vault = Vault(authority)
    await vault.start(tmp_path)
    made = World(vault, tmp_path)
    yield made
    await made.vaults.close()
    await vault.stop()


# A secret is read


async def test_secret_is_read_after_a_challenge(world: World) -> None:
    """First without a token, to learn for what it has to be; from then on with the one that is known."""
    assert await world.secret() == "s3cret"
    assert await world.secret(f"{world.vault.uri}/{VERSION}") == "s3cret"

    paths = [(path.rstrip("/"), bearer) for path, _, bearer in world.vault.asked]
    assert paths == [
        ("/secrets/code", None),
        ("/secrets/code", "Bearer token-of-principal-one"),
        (f"/secrets/code/{VERSION}", "Bearer token-of-principal-one"),
    ]
    assert all("api-version=" in query for _, query, _ in world.vault.asked)
    assert world.tokens.asked == [(f"https://{world.vault.host}", "principal-one")]


async def test_each_identity_has_its_own_token(world: World) -> None:
    await world.secret()
    await world.secret(identity=TWO)
    await world.secret()

    assert [bearer for _, _, bearer in world.vault.asked if bearer] == [
        *("Bearer token-of-principal-one", "Bearer token-of-principal-two", "Bearer token-of-principal-one")
    ]


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer authorization_uri="https://login.example/t", resource="https://HOST"',
        'Bearer authorization="https://login.example/t", scope="https://HOST/.default"',
        'Bearer authorization="https://login.example/t", resource="https://vault.azure.net"',
        'Bearer authorization="https://login.example/t", resource="https://vault.azure.cn"',
    ],
)
async def test_other_forms_of_a_challenge_are_understood(world: World, challenge: str) -> None:
    """Also one for Azure's own vaults, as stand-ins for these give."""
    world.vault.challenge = challenge.replace("HOST", world.vault.host)

    assert await world.secret() == "s3cret"


async def test_busy_vault_is_asked_again(world: World) -> None:
    busy = {"Retry-After": "0"}
    world.vault.answers = [answering(429, "Throttled", headers=busy), answering(503, "x", headers=busy)]

    assert await world.secret() == "s3cret"


async def test_token_that_is_no_longer_taken_is_replaced(world: World) -> None:
    await world.secret()
    world.vault.answers = [answering(401, "Unauthorized", headers={"WWW-Authenticate": world.vault.challenge})]

    assert await world.secret() == "s3cret"
    assert len(world.tokens.asked) == 2


async def test_more_vaults_than_there_is_room_for_are_asked_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_azure, "_MOST_CLIENTS", 1)

    assert [await world.secret(identity=identity) for identity in (ONE, TWO, ONE)] == ["s3cret"] * 3


# It is not


@pytest.mark.parametrize(
    ("status", "code", "inner", "kind", "why"),
    [
        (403, "Forbidden", "AccessDenied", Forbidden, "does not let the principal principal-one read secrets: give it"),
        (403, "Forbidden", None, Forbidden, "permission get by an access policy, or the role 'Key Vault Secrets User'"),
        (403, "Forbidden", "SecretDisabled", Forbidden, r"does not give the secret out \(SecretDisabled\)"),
        (403, "Forbidden", "ForbiddenByFirewall", Forbidden, "ForbiddenByFirewall"),
        (404, "SecretNotFound", None, NotFound, "There is no secret https://localhost:"),
        (400, "BadParameter", None, Unavailable, "answers 400"),
        (418, "x", None, Unavailable, "answers 418"),
    ],
)
async def test_refusal_is_told_with_what_to_mend(
    world: World, status: int, code: str, inner: str | None, kind: type[Refused], why: str
) -> None:
    world.vault.answers = [answering(status, code, inner)]

    with pytest.raises(kind, match=why) as told:
        await world.secret()
    assert type(told.value) is kind
    assert world.vault.uri in told.value.message


@pytest.mark.parametrize(("status", "why"), [(429, "asked too often"), (500, "answers 500"), (503, "answers 503")])
async def test_vault_that_stays_busy_is_given_up(world: World, status: int, why: str) -> None:
    world.vault.answers = [answering(status, "x", headers={"Retry-After": "0"})] * 3

    assert why in await world.refused()
    assert len(world.vault.asked) == 4


async def test_token_of_another_tenant_is_said(world: World) -> None:
    world.vault.answers = [answering(401, "Unauthorized", headers={"WWW-Authenticate": world.vault.challenge})] * 5

    assert "takes no token of ours (401)" in await world.refused()


async def test_identity_without_a_token_is_said_in_the_words_of_its_source(world: World) -> None:
    world.tokens.failure = Unavailable("IMDS does not answer.")

    assert await world.refused() == "IMDS does not answer."


async def test_answer_that_makes_no_sense_is_said(world: World) -> None:
    async def nonsense(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="s3cret {", content_type="application/json")

    async def nothing(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": f"{world.vault.uri}/{VERSION}"})

    for answer in (nonsense, nothing):
        world.vault.answers = [answer]
        assert world.vault.uri in await world.refused()


async def test_vault_that_does_not_answer_in_time_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(math.inf)
        raise AssertionError("unreachable")

    await world.secret()  # the package is loaded
    monkeypatch.setattr(vault_azure, "_TOTAL_S", 0.05)
    world.vault.answers = [never]

    assert "does not answer within 0.05 seconds" in await world.refused()


async def test_vault_that_is_not_there_is_said(world: World) -> None:
    host = f"localhost:{free_port()}"
    world.vaults = world.open(host)

    assert "cannot be reached" in await world.refused(f"https://{host}/secrets/code")


async def test_certificate_that_nobody_vouches_for_is_said(world: World) -> None:
    world.vaults = AzureVaults(world.tokens, (world.vault.host,))

    assert "shows a certificate that is not trusted: name its authority by handler_ca" in await world.refused()
    assert world.tokens.asked == []


async def test_nothing_of_it_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "azure.core")
    await world.secret()
    world.vault.answers = [answering(403, "Forbidden")]
    await world.refused(kind=Forbidden)

    assert "s3cret" not in caplog.text
    assert "token-of" not in caplog.text


# Where no token goes


@pytest.mark.parametrize(
    ("hosts", "asked", "good"),
    [
        ((), "HOST", False),
        (("HOST",), "HOST", True),
        (("localhost",), "HOST", True),
        (("localhost:1",), "HOST", False),
        ((".localhost",), "HOST", False),
        (("evil.localhost", ".vault.azure.net"), "HOST", False),
    ],
)
async def test_only_hosts_that_are_named_are_asked(
    world: World, hosts: tuple[str, ...], asked: str, good: bool
) -> None:
    world.vaults = world.open(*(host.replace("HOST", world.vault.host) for host in hosts))

    if good:
        assert await world.secret() == "s3cret"
        return
    assert "its host is none of Azure's. The setting vault_hosts can name it" in await world.refused()
    assert (world.vault.asked, world.tokens.asked) == ([], [])
    assert asked == "HOST"


@pytest.mark.parametrize(
    ("listed", "host", "good"),
    [
        ((), "v.vault.azure.net", True),
        ((), "V.vault.usgovcloudapi.net", True),
        ((), "v.vault.azure.cn:8443", True),
        ((), "vault.azure.net", False),
        ((), "evilvault.azure.net", False),
        ((), "v.vault.azure.net.evil.example", False),
        (("vault.example",), "VAULT.example", True),
        (("vault.example",), "x.vault.example", False),
        ((".vault.example",), "x.vault.example:8443", True),
        ((".vault.example",), "x.evilvault.example", False),
        ((".vault.example:8443",), "x.vault.example:8443", True),
        ((".vault.example:8443",), "x.vault.example", False),
        (("[::1]:8443",), "[::1]:8443", True),
        (("::1",), "[::1]:8443", True),
    ],
)
def test_hosts_are_azures_or_listed(listed: tuple[str, ...], host: str, good: bool) -> None:
    vaults = AzureVaults(Tokens(), listed)

    if good:
        vaults._check(f"https://{host}".lower(), "uri")
    else:
        with pytest.raises(Unavailable):
            vaults._check(f"https://{host}".lower(), "uri")


async def test_no_token_goes_over_plain_http(world: World) -> None:
    world.vaults = world.open("localhost", world.vault.host)

    assert "not asked over http" in await world.refused(f"http://{world.vault.host}/secrets/code")


@pytest.mark.parametrize(
    "resource",
    [
        "https://management.azure.com",
        "https://graph.microsoft.com",
        "https://evil.example",
        "https://evil.example/https://vault.azure.net",
        "https://vault.azure.net.evil.example",
        "https://ocalhost:1",
        "https://",
        "https://[",
        "",
    ],
)
async def test_challenge_for_somebody_else_gets_no_token(world: World, resource: str) -> None:
    """Even where the host is listed, so that the package looks at nothing."""
    world.vault.challenge = f'Bearer authorization="https://login.example/t", resource="{resource}"'

    await world.refused()
    assert world.tokens.asked == []
    assert all(bearer is None for _, _, bearer in world.vault.asked)


async def test_redirect_takes_no_token_elsewhere(world: World) -> None:
    async def elsewhere(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"https://{world.vault.host}/stolen"})

    await world.secret()
    world.vault.answers = [elsewhere]

    assert "answers 307" in await world.refused()
    assert not any(path == "/stolen" for path, _, _ in world.vault.asked)

"""What applications do with tokens that they are shown, against a real server, in both forms."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import pytest

from acceptance.communication import Service, V, call, first_service, operate, service_of
from acceptance.servers import Server, StartServer, running
from hubwire.communication_tokens import (
    AsyncTokenVerifier,
    TokenNotVerified,
    TokenVerifier,
    VerifiedToken,
    issuer_at,
)

ALL: Final = "/control/communication"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module."""
    with running(tmp_path_factory.mktemp("verifying")) as server:
        yield server


@pytest.fixture(scope="module")
def service(server: Server) -> Service:
    return first_service(server)


Verify = Callable[[str], VerifiedToken]
Made = Callable[..., Verify]


@pytest.fixture(params=["sync", "async"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """Makes a verifier of either form, as a function."""
    with asyncio.Runner() as runner:
        opened: list[AsyncTokenVerifier] = []

        def make(server: Server, service: Service, **options: Any) -> Verify:
            options = {"access_key": service.access_key, "ca_file": str(server.ca), **options}
            issuer = issuer_at(server.https_endpoint, service.immutable_id)
            if request.param == "sync":
                waiting = TokenVerifier(issuer, **options)
                return lambda token: waiting.verify(token, ("chat",))
            verifier = AsyncTokenVerifier(issuer, **options)
            opened.append(verifier)
            return lambda token: runner.run(verifier.verify(token, ("chat",)))

        yield make
        for verifier in opened:
            runner.run(verifier.close())


def user_of(service: Service, *scopes: str) -> tuple[str, str]:
    """A new user, and its token."""
    made = call(service, "POST", "/identities" + V, {"createTokenWithScopes": scopes or ("chat",)}).json()
    return made["identity"]["id"], made["accessToken"]["token"]


def path_of(user: str) -> str:
    return f"{ALL}/default/identities/{quote(user, safe='')}"


def reason(verify: Verify, token: str) -> str:
    with pytest.raises(TokenNotVerified) as caught:
        verify(token)
    return caught.value.reason


def test_good_token_is_verified(server: Server, service: Service, made: Made) -> None:
    user, token = user_of(service, "chat", "voip")

    found = made(server, service)(token)

    assert (found.user_id, found.scopes) == (user, ("chat", "voip"))
    assert found.expires_on - found.issued_at == 86_400


def test_token_that_is_not_good_is_told_by_its_reason(server: Server, service: Service, made: Made) -> None:
    _, token = user_of(service)
    head, body, signature = token.split(".")
    late = made(server, service, clock=lambda: time.time() + 86_401)

    assert reason(made(server, service), f"{head}.{body}.{signature[::-1]}") in ("signature", "malformed")
    assert reason(made(server, service), user_of(service, "voip")[1]) == "scope"
    assert reason(late, token) == "expired"
    assert reason(made(server, service, access_key="bm90IHRoZSBrZXk="), token) == "refused"
    assert reason(made(server, service._replace(immutable_id=str(uuid4()))), token) == "issuer"
    assert reason(made(server, service, ca_file=None), token) == "unavailable", "whose certificate nobody knows"


def test_revocation_and_deletion_count_at_once(server: Server, service: Service, made: Made) -> None:
    user, token = user_of(service)
    verify, careless = made(server, service), made(server, service, access_key=None)
    verify(token)

    assert operate(server, "POST", path_of(user) + "/:revokeAccessTokens").status == 204
    assert reason(verify, token) == "revoked"
    assert careless(token).user_id == user, "who asks nobody cannot know"

    issued = operate(server, "POST", path_of(user) + "/:issueAccessToken", {"scopes": ["chat"]}).json()["token"]
    assert verify(issued).user_id == user
    assert operate(server, "DELETE", path_of(user)).status == 204
    assert reason(verify, issued) == "revoked"


def test_tokens_of_other_services_and_servers_are_foreign(
    server: Server, service: Service, made: Made, start_server: StartServer
) -> None:
    verify = made(server, service)
    other = start_server()
    server.cli("communication", "create", "second")
    keys = server.cli("communication", "keys", "second").stdout
    second = service_of(server, keys[keys.index("endpoint=") :].split()[0], server.port)

    assert reason(verify, user_of(first_service(other))[1]) == "issuer"
    assert reason(verify, user_of(second)[1]) == "issuer"
    assert made(server, second)(user_of(second)[1]).scopes == ("chat",)


def test_server_that_is_down_is_no_fault_of_the_token(made: Made, start_server: StartServer) -> None:
    server = start_server()
    service = first_service(server)
    _, token = user_of(service)
    verify, believing = made(server, service), made(server, service, cache_s=600)
    verify(token)
    believing(token)

    server.stop()

    assert reason(verify, token) == "unavailable"
    assert believing(token).scopes == ("chat",)

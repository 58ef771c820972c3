"""
The official library for identities of users, synchronous and asynchronous, in each way that it gets to a service; and
the official credential, which looks at the tokens.
"""

import base64
from datetime import timedelta
from typing import Any, Final

import pytest
from azure.communication.chat import CommunicationTokenCredential
from azure.communication.identity import CommunicationUserIdentifier
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from acceptance.communication import first_service, introspect
from acceptance.directory import create_app
from acceptance.sdk import KINDS, Kind, identity_client
from acceptance.servers import Server, StartServer

WAYS: Final = ("http", "slash", "https", "entra")
FOREIGN: Final = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def code_of(error: HttpResponseError) -> str | None:
    """What the service has called it."""
    return None if error.error is None else error.error.code


@pytest.mark.parametrize("way", WAYS)
def test_library_does_with_users_what_it_does_elsewhere(server: Server, kind: Kind, way: str) -> None:
    service = first_service(server)
    with identity_client(kind, server, way, service.connection_string) as client:
        user = client.create_user()
        assert user.raw_id.startswith(f"8:acs:{service.immutable_id}_")
        other, token = client.create_user_and_token(["chat", "voip"])
        assert other.raw_id != user.raw_id
        credential: Any = CommunicationTokenCredential(token.token)
        assert introspect(service, server, credential.get_token().token).json()["sub"] == other.raw_id
        for minutes in (60, 1440):
            client.get_token(user, ["chat.join"], token_expires_in=timedelta(minutes=minutes))
        before = client.get_token(user, ["voip.join", "chat.join.limited"]).token
        client.revoke_tokens(user)
        after = client.get_token(user, ["chat"]).token
        assert [introspect(service, server, one).json()["active"] for one in (before, after)] == [False, True]
        client.delete_user(user)
        client.delete_user(user)
        with pytest.raises(ClientAuthenticationError) as gone:
            client.get_token(user, ["chat"])
        assert code_of(gone.value) == "IdentityNotOwned"


@pytest.mark.parametrize("way", WAYS)
def test_library_is_told_what_cannot_be(server: Server, kind: Kind, way: str) -> None:
    with identity_client(kind, server, way, first_service(server).connection_string) as client:
        user = client.create_user()
        refused: tuple[tuple[Any, dict[str, Any], str], ...] = (
            (["chat"], {"token_expires_in": timedelta(minutes=59)}, "ExpiresInMinutes"),
            (["chat"], {"token_expires_in": timedelta(minutes=1441)}, "ExpiresInMinutes"),
            (None, {}, "Scopes"),
            ([], {}, "Scopes"),
            (["fly"], {}, "Scopes"),
        )
        for scopes, options, target in refused:
            with pytest.raises(HttpResponseError) as error:
                client.get_token(user, scopes, **options)
            assert (error.value.status_code, code_of(error.value)) == (400, "ValidationError")
            assert error.value.error is not None
            assert error.value.error.target == target
        foreign = CommunicationUserIdentifier(FOREIGN)
        for call in (client.revoke_tokens, client.delete_user, lambda who: client.get_token(who, ["chat"])):
            with pytest.raises(ClientAuthenticationError) as denied:
                call(foreign)
            assert code_of(denied.value) == "IdentityNotOwned"


def test_library_with_another_key_is_denied(server: Server, kind: Kind) -> None:
    service = first_service(server)
    other = base64.b64encode(bytes(64)).decode()
    text = service.connection_string.replace(service.access_key, AzureKeyCredential(other).key)
    with identity_client(kind, server, "https", text) as client:
        with pytest.raises(ClientAuthenticationError) as denied:
            client.create_user()
        assert code_of(denied.value) == "Denied"


def test_library_exchanges_the_token_of_a_teams_user(start_server: StartServer, kind: Kind) -> None:
    server, alice = start_server("--user-tokens"), "3f0c9b8e-7b1c-4c43-9d0e-0f4e35d1a001"
    app, service = create_app(server), first_service(server)
    assert server.cli("user", "create", "alice@example.com", "--object-id", alice).returncode == 0
    scopes = [f"https://auth.msft.communication.azure.com/Teams.Manage{what}" for what in ("Calls", "Chats")]
    options = [word for scope in scopes for word in ("--scope", scope)]
    token = server.cli("user", "token", "alice@example.com", "--app", app.client_id, *options).stdout.strip()

    for way in WAYS:
        with identity_client(kind, server, way, service.connection_string) as client:
            exchanged = client.get_token_for_teams_user(token, app.client_id, alice)
            assert introspect(service, server, exchanged.token).json()["sub"] == f"8:orgid:{alice}"
            for given, code in (
                (("", app.client_id, alice), "InvalidAccessToken"),
                ((token, alice, alice), "ValidationError"),
                ((token, app.client_id, app.client_id), "ValidationError"),
            ):
                with pytest.raises(HttpResponseError) as error:
                    client.get_token_for_teams_user(*given)
                assert code_of(error.value) == code

"""
The official library for identities of users, synchronous and asynchronous, in each way that it gets to a service; and
the official credential, which looks at the tokens.
"""

import base64
import json
import time
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.request import urlopen

import jwt
import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from cryptography.hazmat.primitives.asymmetric import rsa

from acceptance.communication import V, call, first_service, introspect
from acceptance.directory import (
    TEAMS_SCOPES,
    claims_of,
    create_app,
    create_user,
    minted,
    stored_keys,
    token_of_user,
)
from acceptance.sdk import KINDS, Kind, identity_client, token_credential
from acceptance.servers import Server, StartServer

WAYS: Final = ("http", "slash", "https", "entra")
SCOPES: Final = ("chat", "voip", "chat.join", "chat.join.limited", "voip.join")
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
        assert introspect(service, server, read(kind, token.token).token).json()["sub"] == other.raw_id
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


def test_library_goes_on_with_either_key_while_the_other_one_is_replaced(start_server: StartServer, kind: Kind) -> None:
    server = start_server()
    service = first_service(server)

    def keys() -> dict[str, str]:
        shown: dict[str, str] = json.loads(server.cli("communication", "keys", "--json").stdout)
        return shown

    def active(key: str, *tokens: str) -> list[bool]:
        return [introspect(service, server, token, password=key).json()["active"] for token in tokens]

    primary, secondary = keys()["primaryConnectionString"], keys()["secondaryConnectionString"]
    with (
        identity_client(kind, server, "https", primary) as one,
        identity_client(kind, server, "https", secondary) as two,
    ):
        user, of_primary = one.create_user_and_token(["chat"])
        of_secondary = two.get_token(user, ["chat"])
        with identity_client(kind, server, "entra", primary) as nobodys:
            of_entra = nobodys.get_token(user, ["chat"])
        tokens = (of_primary.token, of_secondary.token, of_entra.token)
        assert active(keys()["primaryKey"], *tokens) == [True, True, True]

        assert server.cli("communication", "rotate", "default", "primary").returncode == 0

        with pytest.raises(ClientAuthenticationError) as denied:
            one.create_user()
        assert code_of(denied.value) == "Denied"
        assert two.get_token(user, ["chat"]).token
        assert active(keys()["secondaryKey"], *tokens) == [False, True, True]
    with identity_client(kind, server, "https", keys()["primaryConnectionString"]) as renewed:
        assert active(keys()["primaryKey"], renewed.get_token(user, ["chat"]).token) == [True]


def test_token_of_the_library_is_verified_by_who_knows_the_address_of_the_service(server: Server, kind: Kind) -> None:
    service = first_service(server)
    issuer = f"{service.endpoint}/communication/{service.immutable_id}"
    with identity_client(kind, server, "https", service.connection_string) as client:
        user, token = client.create_user_and_token(["chat", "voip"])

    with urlopen(f"{issuer}/.well-known/openid-configuration", context=service.secure) as answer:
        discovery = json.load(answer)
    assert discovery["issuer"] == issuer
    keys = jwt.PyJWKClient(discovery["jwks_uri"], ssl_context=service.secure)
    key = keys.get_signing_key_from_jwt(token.token)
    algorithms = discovery["id_token_signing_alg_values_supported"]
    known: dict[str, Any] = {"algorithms": algorithms, "audience": service.immutable_id, "issuer": issuer}
    claims = jwt.decode(token.token, key, **known)
    assert ("8:" + claims["skypeid"], claims["acsScope"]) == (user.raw_id, "chat,voip")

    other = minted(
        token.token, rsa.generate_private_key(public_exponent=65537, key_size=2048), {"acsScope": "voip.join"}
    )
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(other, key, **known)
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token.token, key, **{**known, "audience": FOREIGN})


def test_library_exchanges_the_token_of_a_teams_user(start_server: StartServer, kind: Kind) -> None:
    server = start_server("--user-tokens")
    app, other, alice, service = create_app(server), create_app(server), create_user(server), first_service(server)
    token, signing = token_of_user(server, app, *TEAMS_SCOPES), stored_keys(server)[0].private
    past = {name: claims_of(token)[name] - 86_400 for name in ("iat", "nbf", "exp")}
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    for way in WAYS:
        with identity_client(kind, server, way, service.connection_string) as client:
            exchanged = client.get_token_for_teams_user(token, app.client_id, alice)
            assert introspect(service, server, exchanged.token).json()["sub"] == f"8:orgid:{alice}"
            assert claims_of(exchanged.token)["exp"] == claims_of(token)["exp"]
            for given, status, code in (
                (("", app.client_id, alice), 401, "InvalidAccessToken"),
                (("invalid", app.client_id, alice), 401, "InvalidAccessToken"),
                ((minted(token, signing, past), app.client_id, alice), 401, "InvalidAccessToken"),
                ((minted(token, foreign), app.client_id, alice), 401, "InvalidAccessToken"),
                ((exchanged.token, app.client_id, alice), 401, "InvalidAccessToken"),
                ((token, other.client_id, alice), 400, "ValidationError"),
                ((token, "", alice), 400, "ValidationError"),
                ((token, app.client_id, other.object_id), 400, "ValidationError"),
                ((token, app.client_id, ""), 400, "ValidationError"),
            ):
                with pytest.raises(HttpResponseError) as error:
                    client.get_token_for_teams_user(*given)
                assert (error.value.status_code, code_of(error.value)) == (status, code)


# The credential of the libraries for chat and calls


def read(kind: Kind, token: str) -> AccessToken:
    """A token as the official credential reads it."""
    with token_credential(kind, token) as get_token:
        return get_token()


def test_credential_reads_from_each_of_many_tokens_when_it_ends(server: Server, kind: Kind) -> None:
    with identity_client(kind, server, "https", first_service(server).connection_string) as client:
        for number in range(93):
            scopes = [scope for place, scope in enumerate(SCOPES) if (number % 31 + 1) & (1 << place)]
            lifetime = timedelta(minutes=60 + number)
            _, token = client.create_user_and_token(scopes, token_expires_in=lifetime)

            assert read(kind, token.token).expires_on == int(datetime.fromisoformat(token.expires_on).timestamp())


def test_credential_asks_for_another_token_in_time(start_server: StartServer, kind: Kind) -> None:
    """Of a Teams user, whose tokens may be short: they end with those for which they were exchanged."""
    server = start_server("--user-tokens")
    app, alice, service = create_app(server), create_user(server), first_service(server)
    token, signing = token_of_user(server, app, *TEAMS_SCOPES), stored_keys(server)[0].private
    soon = int(time.time()) + 300
    with identity_client(kind, server, "https", service.connection_string) as client:
        short, longer = (
            client.get_token_for_teams_user(given, app.client_id, alice).token
            for given in (minted(token, signing, {"exp": soon}), token)
        )
    assert read(kind, short).expires_on == soon
    assert read(kind, longer).expires_on == claims_of(token)["exp"]
    renewed = read(kind, longer)
    for proactive, begun, expected in ((True, short, longer), (True, longer, longer), (False, short, short)):
        with token_credential(kind, begun, lambda: renewed, proactive=proactive) as get_token:
            assert get_token().token == expected


def test_credential_reads_when_the_token_of_a_user_of_entra_ends(start_server: StartServer, kind: Kind) -> None:
    server = start_server("--user-tokens")
    app, alice, service = create_app(server), create_user(server), first_service(server)
    token = token_of_user(server, app, "https://communication.azure.com/clients/Chat")
    assigned = {"tenantId": server.tenant_id, "principalType": "user", "clientIds": [app.client_id]}
    assert call(service, "PUT", f"/access/entra/assignments/{alice}{V}", assigned).status == 201

    answer = call(service, "POST", f"/access/entra/:exchangeAccessToken{V}", {}, bearer=token).json()

    assert read(kind, answer["accessToken"]["token"]).expires_on == claims_of(token)["exp"]

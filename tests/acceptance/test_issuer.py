"""The token issuer by itself: tokens that others verify, what outlives a restart, tokens by curl, tokens of users."""

import json
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import jwt
import msal  # type: ignore[import-untyped]  # it says nothing of its types
import pytest
import requests
from jwt import PyJWKClient

from acceptance.directory import (
    SCOPE,
    WEB_PUBSUB,
    App,
    ask_token,
    assign,
    bearer,
    claims_of,
    create_app,
    secret_of,
    token_of,
)
from acceptance.servers import DEADLINE_S, Server, StartServer, fixed_ports, running, wait_until
from acceptance.wire import JSON, RawClient, client_target, http_request, trusting

DOCUMENTS = {
    "version 2": "{tenant}/v2.0",
    "version 1": "{tenant}",
    "any tenant": "common/v2.0",
    "any tenant, version 1": "common",
    "organizations": "organizations/v2.0",
    "by domain": "hubwire.localhost/v2.0",
}
"""Where discovery documents are, below the authority."""


def discovered(server: Server, path: str = "{tenant}/v2.0") -> dict[str, Any]:
    target = f"/{path.format(tenant=server.tenant_id)}/.well-known/openid-configuration"
    answer = http_request(server, "GET", target, secure=trusting(server.ca))
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json()
    return document


def verified(server: Server, token: str, audience: str, document: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token, for who knows a discovery document and the audience, and nothing else of us."""
    keys = PyJWKClient(document["jwks_uri"], ssl_context=trusting(server.ca), timeout=DEADLINE_S)
    key = keys.get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=document["id_token_signing_alg_values_supported"],
        audience=audience,
        issuer=document["issuer"].replace("{tenantid}", claims_of(token)["tid"]),
        options={"require": ["exp", "nbf", "iat", "iss", "aud", "sub"]},
    )
    return claims


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published(server: Server) -> list[str]:
    """The names of all keys that may have signed a token."""
    answer = http_request(server, "GET", "/common/discovery/v2.0/keys", secure=trusting(server.ca))
    return [key["kid"] for key in answer.json()["keys"]]


# Tokens that others verify


@pytest.mark.parametrize("path", DOCUMENTS.values(), ids=DOCUMENTS)
def test_token_is_verified_by_who_knows_discovery_and_audience_alone(server: Server, path: str) -> None:
    uri = f"api://{uuid4()}"
    app = create_app(server, "--id-uri", uri)
    document = discovered(server, path)

    service = verified(server, token_of(server), WEB_PUBSUB, document)
    by_id = verified(server, token_of(server, scope=f"{app.client_id}/.default"), app.client_id, document)
    by_uri = verified(server, token_of(server, scope=f"{uri}/.default"), uri, document)

    assert (service["ver"], by_id["ver"], by_uri["ver"]) == ("1.0", "2.0", "1.0")
    assert {one["tid"] for one in (service, by_id, by_uri)} == {server.tenant_id}
    with pytest.raises(jwt.InvalidAudienceError):
        verified(server, token_of(server), app.client_id, document)


def test_tokens_for_an_application_can_all_be_of_version_2(server: Server) -> None:
    """Then their audience is the application's id, however it was asked for."""
    uri = f"api://{uuid4()}"
    app = create_app(server, "--id-uri", uri, "--token-version", "2")
    claims = verified(server, token_of(server, scope=f"{uri}/.default"), app.client_id, discovered(server))

    assert (claims["ver"], claims["azp"], claims["azpacr"]) == ("2.0", server.client_id, "1")


def test_endpoint_of_version_1_takes_a_resource(server: Server) -> None:
    fields = {name: value for name, value in secret_of(server).items() if name != "scope"}
    answer = ask_token(server, {**fields, "resource": WEB_PUBSUB}, version="").json()

    assert (answer["resource"], answer["expires_in"]) == (WEB_PUBSUB, "3599")
    assert verified(server, answer["access_token"], WEB_PUBSUB, discovered(server, "{tenant}"))


def test_document_of_an_unknown_tenant_is_refused(server: Server) -> None:
    target = f"/{uuid4()}/v2.0/.well-known/openid-configuration"
    answer = http_request(server, "GET", target, secure=trusting(server.ca))

    assert (answer.status, answer.json()["error"], answer.json()["error_codes"]) == (400, "invalid_tenant", [90002])


def test_keys_that_are_rotated_were_published_before_and_stay_after(start_server: StartServer) -> None:
    server = start_server()
    before, known = token_of(server), published(server)
    assert len(known) == 2
    assert server.cli("app", "rotate-keys").returncode == 0
    # The keys of one second take their turns in the next ones.
    wait_until(lambda: kid_of(token_of(server)) != kid_of(before), "a token of the next key")
    after = token_of(server)

    assert {kid_of(before), kid_of(after)} == set(known), "whoever kept the keys of before knows the new one"
    assert set(known) < set(published(server)), "the next one is published already"
    for token in (before, after):
        assert verified(server, token, WEB_PUBSUB, discovered(server))["appid"] == server.client_id
        assert bearer(server, token).status == 202


# What outlives a restart


def test_restart_keeps_principals_secrets_roles_and_keys(start_server: StartServer) -> None:
    ports = fixed_ports()
    first = start_server(*ports)
    app = create_app(first)
    assign(first, app, "owner")
    tokens, known = [token_of(first), token_of(first, app)], published(first)
    first.stop()
    second = start_server(*ports, data=first.data)

    assert published(second) == known
    told = ("authority", "tenant_id", "client_id", "client_secret", "subscription_id")
    assert [getattr(second, name) for name in told] == [getattr(first, name) for name in told]
    for token in (*tokens, token_of(second), token_of(second, app)):
        assert bearer(second, token).status == 202


def test_kill_loses_nothing_that_a_command_has_returned_from(start_server: StartServer) -> None:
    """Each time at once after the command."""
    ports = fixed_ports()
    first = start_server(*ports)
    app = create_app(first)
    first.signal(signal.SIGKILL)
    first.wait()

    second = start_server(*ports, data=first.data)
    token = token_of(second, app)
    assert bearer(second, token).status == 403
    assign(second, app, "owner")
    second.signal(signal.SIGKILL)
    second.wait()

    third = start_server(*ports, data=first.data)
    assert bearer(third, token).status == 202
    more = third.cli("app", "secret", app.client_id, "--json")
    assert third.cli("app", "rotate-keys").returncode == 0
    third.signal(signal.SIGKILL)
    third.wait()

    fourth = start_server(*ports, data=first.data)
    again = app._replace(secret=json.loads(more.stdout)["clientSecret"])
    assert kid_of(token_of(fourth, again)) != kid_of(token)
    assert bearer(fourth, token).status == 202


def test_deleted_application_stays_deleted(start_server: StartServer) -> None:
    """Its tokens prove who it was, and allow nothing."""
    ports = fixed_ports()
    first = start_server(*ports)
    app = create_app(first)
    assign(first, app, "owner")
    token = token_of(first, app)
    assert bearer(first, token).status == 202
    assert first.cli("app", "delete", app.client_id).returncode == 0
    statuses = [bearer(first, token).status]
    first.stop()
    second = start_server(*ports, data=first.data)

    assert [*statuses, bearer(second, token).status] == [403, 403]
    assert ask_token(second, secret_of(second, app)).json()["error_codes"] == [700016]


def test_secret_that_is_removed_is_wrong_and_the_other_stays_right(server: Server) -> None:
    app = create_app(server)
    (first,) = json.loads(server.cli("app", "show", app.client_id, "--json").stdout)["secrets"]
    second = json.loads(server.cli("app", "secret", app.client_id, "--json").stdout)
    assert server.cli("app", "secret", app.client_id, "--remove", first["id"]).returncode == 0

    assert ask_token(server, secret_of(server, app)).json()["error_codes"] == [7000215]
    assert ask_token(server, secret_of(server, app._replace(secret=second["clientSecret"]))).status == 200


# By curl


def curl(server: Server, *arguments: str) -> Any:
    """The JSON that curl prints."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl")
    command = [program, "--silent", "--show-error", "--fail-with-body", "--cacert", str(server.ca), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def curled(server: Server) -> str:
    """A token, as a shell gets it."""
    answer = curl(
        server,
        f"{server.authority}/{server.tenant_id}/oauth2/v2.0/token",
        "-d",
        f"client_id={server.client_id}",
        "-d",
        f"client_secret={server.client_secret}",
        "-d",
        "grant_type=client_credentials",
        "-d",
        "scope=https%3A%2F%2Fwebpubsub.azure.com%2F.default",
    )
    assert (answer["token_type"], answer["expires_in"], answer["ext_expires_in"]) == ("Bearer", 3599, 3599)
    return str(answer["access_token"])


def generate(server: Server, token: str, hub: str, more: str = "") -> str:
    """A client's token, made by a POST without a body."""
    url = f"{server.https_endpoint}/api/hubs/{hub}/:generateToken?api-version=2024-01-01{more}"
    return str(curl(server, "-X", "POST", url, "-H", f"Authorization: Bearer {token}")["token"])


def test_curl_gets_a_token_and_with_it_one_for_a_client(server: Server, hub: str, curled: str) -> None:
    token = generate(server, curled, hub)

    target = client_target(hub, token)
    with RawClient(server, target, protocols=[JSON], secure=trusting(server.ca)) as client:
        assert client.receive_json()["event"] == "connected"


def test_curl_gets_a_token_for_a_client_of_mqtt(server: Server, hub: str, curled: str) -> None:
    token = generate(server, curled, hub, "&clientType=mqtt")

    assert claims_of(token)["aud"] == f"{server.https_endpoint}/clients/mqtt/hubs/{hub}"


def test_curl_may_bring_the_secret_in_a_header(server: Server) -> None:
    answer = curl(
        server,
        f"{server.authority}/{server.tenant_id}/oauth2/v2.0/token",
        "--user",
        f"{server.client_id}:{server.client_secret}",
        "-d",
        "grant_type=client_credentials",
        "-d",
        f"scope={SCOPE}",
    )
    assert claims_of(answer["access_token"])["appid"] == server.client_id


# Users


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets users have tokens."""
    with running(tmp_path_factory.mktemp("users"), "--set", "user_tokens=true") as server:
        yield server


def create_user(server: Server, password: str) -> tuple[str, str]:
    """Sign-in name and object id of a new one."""
    name = f"{uuid4()}@example.com"
    done = server.cli("user", "create", name, "--password-stdin", "--json", said=password + "\n")
    assert done.returncode == 0, done.stderr
    return name, json.loads(done.stdout)["objectId"]


class _Port(requests.adapters.HTTPAdapter):
    """
    The library asks for a user's realm at the host of the authority, and leaves its port out. Who uses it has 443, or a
    proxy that leads there.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        request.url = url._replace(netloc=f"{url.hostname}:{self._port}").geturl()
        return super().send(request, *arguments, **options)


def sign_in(server: Server, app: App, name: str, password: str, scope: str) -> dict[str, Any]:
    """As Microsoft's library does it, with the password grant."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(server.ca)
        session.mount(f"https://{server.host}/common/userrealm/", _Port(server.https_port))
        client = msal.PublicClientApplication(
            app.client_id,
            authority=f"{server.authority}/{server.tenant_id}",
            instance_discovery=False,
            http_client=session,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the library thinks little of this grant
            answer: dict[str, Any] = client.acquire_token_by_username_password(name, password, scopes=[scope])
        return answer


def test_user_signs_in_with_a_password(users: Server) -> None:
    uri = f"api://{uuid4()}"
    app = create_app(users, "--id-uri", uri)
    name, object_id = create_user(users, "a pass wörd")

    answer = sign_in(users, app, name, "a pass wörd", f"{uri}/Orders.Read")

    assert "access_token" in answer, answer
    claims = verified(users, answer["access_token"], uri, discovered(users))
    assert (claims["oid"], claims["scp"], claims["upn"], claims["appid"]) == (
        object_id,
        "Orders.Read",
        name,
        app.client_id,
    )
    assert verified(users, answer["id_token"], app.client_id, discovered(users))["preferred_username"] == name


def test_wrong_password_and_unknown_user_are_the_same_to_whoever_asks(users: Server) -> None:
    app, (name, _) = create_app(users), create_user(users, "right")
    strangers = ((name, "wrong"), (f"{uuid4()}@example.com", "right"))
    answers = [sign_in(users, app, *who, SCOPE) for who in strangers]

    assert [answer["error_codes"] for answer in answers] == [[50126], [50126]]
    assert len({answer["error_description"].partition(" Trace")[0] for answer in answers}) == 1


def test_operator_mints_a_users_token(users: Server) -> None:
    app, (name, object_id) = create_app(users), create_user(users, "secret")
    scope = "https://auth.msft.communication.azure.com/Teams.ManageCalls"
    done = users.cli("user", "token", name, "--app", app.client_id, "--scope", scope)
    assert done.returncode == 0, done.stderr

    audience = "https://auth.msft.communication.azure.com"
    claims = verified(users, done.stdout.strip(), audience, discovered(users))
    assert (claims["oid"], claims["scp"]) == (object_id, "Teams.ManageCalls")


def test_users_token_needs_a_role_like_any_other(users: Server) -> None:
    app, (name, object_id) = create_app(users), create_user(users, "secret")
    done = users.cli("user", "token", name, "--app", app.client_id, "--scope", SCOPE)
    token = done.stdout.strip()
    assert bearer(users, token).status == 403
    assert users.cli("app", "assign", "--principal", object_id, "--role", "owner").returncode == 0
    assert bearer(users, token).status == 202


def test_users_have_no_tokens_unless_the_server_is_told_so(server: Server) -> None:
    app = create_app(server)
    done = server.cli("user", "create", "alice@example.com")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--user-tokens" in done.stderr

    answer = sign_in(server, app, "alice@example.com", "secret", SCOPE)
    assert (answer["error"], answer["error_codes"]) == ("unsupported_grant_type", [70003])

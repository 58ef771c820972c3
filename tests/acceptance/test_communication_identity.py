"""
Users of communication services and their tokens, over real sockets and without an official library: every operation
with what it answers, each way to prove who calls, and how a token is looked at by whoever is shown it.
"""

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import jwt
import pytest

from acceptance.communication import (
    Service,
    V,
    call,
    first_service,
    introspect,
    operate,
    quoted,
    service_of,
    signed_headers,
)
from acceptance.directory import TEAMS_SCOPES, App, create_app, create_user, token_of, token_of_user
from acceptance.servers import DEADLINE_S, Server, StartServer, running
from acceptance.wire import Answer, http_request, metric, trusting

RAW_ID: Final = re.compile(
    r"8:acs:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
MOMENT: Final = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00")
FOREIGN: Final = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Its log must name no user."""
    with running(tmp_path_factory.mktemp("identity"), "--log-level", "debug") as server:
        yield server
    assert "8:acs:" not in server.log()
    assert "8%3Aacs" not in server.log()
    assert "somebody@" not in server.log()


@pytest.fixture(scope="module")
def service(server: Server) -> Service:
    return first_service(server)


@pytest.fixture(scope="module")
def app(server: Server) -> App:
    return create_app(server)


def made(service: Service, **fields: Any) -> dict[str, Any]:
    """What the creation of a user is answered."""
    answer = call(service, "POST", "/identities" + V, fields)
    assert answer.status == 201, answer
    return dict(answer.json())


def user_of(service: Service, **fields: Any) -> str:
    """The id of a new user."""
    return str(made(service, **fields)["identity"]["id"])


def path_of(user: str, verb: str = "") -> str:
    return f"/identities/{quoted(user)}{verb}{V}"


def token_for(service: Service, user: str, **fields: Any) -> str:
    answer = call(service, "POST", path_of(user, "/:issueAccessToken"), {"scopes": ["chat"], **fields})
    assert answer.status == 200, answer
    return str(answer.json()["token"])


def refused(answer: Answer) -> tuple[int, str, str | None]:
    """Status, code and target of a refusal in the form of the service."""
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "2023-10-01" in answer.headers["api-supported-versions"].split(", ")
    error = answer.json()["error"]
    assert error["message"]
    return answer.status, error["code"], error.get("target")


def is_active(service: Service, server: Server, token: str) -> bool:
    answer = introspect(service, server, token)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    return bool(answer.json()["active"])


# Operations


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"createTokenWithScopes":null,"expiresInMinutes":null}'])
def test_user_is_created(service: Service, body: bytes) -> None:
    answer = call(service, "POST", "/identities" + V, body=body, headers={"x-ms-client-request-id": "mine"})

    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-ms-client-request-id"] == "mine"
    assert "2023-10-01" in answer.headers["api-supported-versions"].split(", ")
    assert set(answer.json()) == {"identity"}
    assert set(answer.json()["identity"]) == {"id"}
    assert RAW_ID.fullmatch(answer.json()["identity"]["id"])
    assert answer.json()["identity"]["id"].startswith(f"8:acs:{service.immutable_id}_")


def test_user_is_created_with_a_token(service: Service) -> None:
    answer = made(service, createTokenWithScopes=["chat", "voip"], expiresInMinutes=60)

    assert set(answer) == {"identity", "accessToken"}
    assert MOMENT.fullmatch(answer["accessToken"]["expiresOn"])
    assert MOMENT.fullmatch(answer["identity"]["lastTokenIssuedAt"])
    claims = jwt.decode(answer["accessToken"]["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["skypeid"] == answer["identity"]["id"].removeprefix("8:")
    assert claims["acsScope"] == "chat,voip"


def test_custom_id_leads_to_the_same_user_every_time(service: Service) -> None:
    custom = f"somebody@{uuid4()}.example"

    first = made(service, customId=custom)
    second = made(service, customId=custom, createTokenWithScopes=["chat"])
    third = made(service, customId=custom, createTokenWithScopes=["chat"])
    found = call(service, "GET", path_of(first["identity"]["id"]))

    assert first["identity"] == {"id": first["identity"]["id"], "customId": custom}
    assert second["identity"]["id"] == third["identity"]["id"] == first["identity"]["id"]
    assert third["identity"]["lastTokenIssuedAt"] == second["identity"]["lastTokenIssuedAt"]
    assert found.status == 200
    assert found.json()["id"] == first["identity"]["id"]
    assert found.json()["customId"] == custom
    assert MOMENT.fullmatch(found.json()["lastTokenIssuedAt"])
    assert made(service, customId=custom.upper())["identity"]["id"] != first["identity"]["id"]


@pytest.mark.parametrize("verb", ["/:issueAccessToken", "/%3AissueAccessToken", "/:issueaccesstoken"])
@pytest.mark.parametrize("written", [quoted, str, lambda user: quoted(user).replace("A", "a")])
def test_token_is_issued_however_the_id_is_written(service: Service, written: Any, verb: str) -> None:
    user = user_of(service)

    answer = call(service, "POST", f"/identities/{written(user)}{verb}{V}", {"scopes": ["voip.join"]})

    assert answer.status == 200
    assert set(answer.json()) == {"token", "expiresOn"}
    assert MOMENT.fullmatch(answer.json()["expiresOn"])


def test_revoked_tokens_are_over_and_later_ones_are_good(service: Service, server: Server) -> None:
    user = user_of(service)
    tokens = [token_for(service, user), token_for(service, user)]
    assert [is_active(service, server, token) for token in tokens] == [True, True]

    answer = call(service, "POST", path_of(user, "/:revokeAccessTokens"))
    later = token_for(service, user)

    assert (answer.status, answer.body) == (204, b"")
    assert [is_active(service, server, token) for token in (*tokens, later)] == [False, False, True]


def test_deleted_user_is_gone_with_tokens_and_custom_id(service: Service, server: Server) -> None:
    custom = f"somebody@{uuid4()}.example"
    user = user_of(service, customId=custom)
    token = token_for(service, user)

    for _ in range(2):
        answer = call(service, "DELETE", path_of(user))
        assert (answer.status, answer.body) == (204, b"")

    assert not is_active(service, server, token)
    assert refused(call(service, "GET", path_of(user)))[:2] == (401, "IdentityNotOwned")
    issue = call(service, "POST", path_of(user, "/:issueAccessToken"), {"scopes": ["chat"]})
    assert refused(issue)[:2] == (401, "IdentityNotOwned")
    assert user_of(service, customId=custom) != user


@pytest.mark.parametrize("user", [FOREIGN, "8:orgid:x", "x", "8:acs:", "%00", "8:acs:x_\N{SNOWMAN}"])
def test_identity_of_somebody_else_is_not_owned(service: Service, user: str) -> None:
    written = quoted(user).encode().decode("latin-1") if user.isascii() else "8%3Aacs%3Ax_%E2%98%83"
    issue = call(service, "POST", f"/identities/{written}/:issueAccessToken{V}", {"scopes": ["chat"]})
    revoke = call(service, "POST", f"/identities/{written}/:revokeAccessTokens{V}")
    delete = call(service, "DELETE", f"/identities/{written}{V}")
    get = call(service, "GET", f"/identities/{written}{V}")

    for answer in (issue, revoke, delete, get):
        assert refused(answer) == (401, "IdentityNotOwned", None)


# What cannot be


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"expiresInMinutes": 59}, "ExpiresInMinutes"),
        ({"expiresInMinutes": 1441}, "ExpiresInMinutes"),
        ({"expiresInMinutes": -60}, "ExpiresInMinutes"),
        ({"expiresInMinutes": "60"}, "ExpiresInMinutes"),
        ({"expiresInMinutes": 60.5}, "ExpiresInMinutes"),
        ({"expiresInMinutes": True}, "ExpiresInMinutes"),
        ({"expiresInMinutes": 10**30}, "ExpiresInMinutes"),
        ({"scopes": None}, "Scopes"),
        ({"scopes": []}, "Scopes"),
        ({"scopes": ["Chat"]}, "Scopes"),
        ({"scopes": ["chat", "fly"]}, "Scopes"),
        ({"scopes": "chat"}, "Scopes"),
        ({"scopes": [1]}, "Scopes"),
        ({"scopes": [["chat"]]}, "Scopes"),
        ({"scopes": {}}, "Scopes"),
    ],
)
def test_token_that_cannot_be_issued_is_refused_by_name(service: Service, fields: dict[str, Any], target: str) -> None:
    user = user_of(service)

    answer = call(service, "POST", path_of(user, "/:issueAccessToken"), {"scopes": ["chat"], **fields})

    assert refused(answer) == (400, "ValidationError", target)


@pytest.mark.parametrize("minutes", [60, 1440])
def test_lifetime_is_taken_to_its_bounds(service: Service, minutes: int) -> None:
    token = token_for(service, user_of(service), expiresInMinutes=minutes)

    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == minutes * 60


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"customId": ""}, "CustomId"),
        ({"customId": "x" * 257}, "CustomId"),
        ({"customId": 7}, "CustomId"),
        ({"createTokenWithScopes": ["fly"]}, "Scopes"),
        ({"createTokenWithScopes": ["chat"], "expiresInMinutes": 5}, "ExpiresInMinutes"),
    ],
)
def test_user_that_cannot_be_created_is_refused_by_name(service: Service, fields: dict[str, Any], target: str) -> None:
    assert refused(call(service, "POST", "/identities" + V, fields)) == (400, "ValidationError", target)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b'"x"',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"expiresInMinutes":1e999}',
        b'{"customId":"\\ud800"}',
        b'{"customId":"\xff"}',
        b"\xff\xfe{\x00}\x00",
        b'{"expiresInMinutes":' + b"9" * 5000 + b"}",
    ],
)
def test_body_that_says_nothing_is_refused(service: Service, body: bytes) -> None:
    for target in ("/identities" + V, path_of(FOREIGN, "/:issueAccessToken")):
        status, code, _ = refused(call(service, "POST", target, body=body))
        assert (status, code) == (400, "ValidationError")


def test_custom_id_may_be_any_text(service: Service) -> None:
    for custom in ("\x00", "a/b", "\N{SNOWMAN}" * 256, " x ", "%2F", "'; --", "\n"):
        assert made(service, customId=custom)["identity"]["customId"] == custom
        assert made(service, customId=custom)["identity"]["customId"] == custom


def test_of_a_field_that_comes_twice_the_last_one_counts(service: Service) -> None:
    answer = call(service, "POST", "/identities" + V, body=b'{"expiresInMinutes":1,"expiresInMinutes":60}')

    assert answer.status == 201


def test_body_that_is_too_long_is_refused(service: Service) -> None:
    answer = call(service, "POST", "/identities" + V, body=b" " * 70_000)

    assert refused(answer)[:2] == (413, "RequestEntityTooLarge")


def test_long_body_is_taken_from_whoever_signed_it_and_from_strangers_not_even_read(service: Service) -> None:
    target = f"/access/entra/assignments{V}"
    clients = [str(uuid4()) for _ in range(100)]
    one = {"tenantId": str(uuid4()), "principalType": "user", "clientIds": clients}
    user = str(uuid4())
    document = {user: one} | {str(uuid4()): one for _ in range(999)}

    patched = call(service, "PATCH", target, document)
    signed = signed_headers(service.access_key, "PATCH", target, service.name_and_port, b"{}")
    other = call(service, "PATCH", target, document, headers=signed)
    found = call(service, "GET", f"/access/entra/assignments/{user}{V}")

    assert patched.status == 204
    assert refused(other)[:2] == (401, "Denied")
    assert found.json()["clientIds"] == clients
    host = f"{service.host}:{service.port}"
    foreign = signed_headers(base64.b64encode(bytes(64)).decode(), "PATCH", target, host, b"{}")
    lines = {"Host": host, "Content-Length": "4000000", **foreign}
    with socket.create_connection((service.host, service.port), DEADLINE_S) as stranger:
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        stranger.sendall(f"PATCH {target} HTTP/1.1\r\n{head}\r\n".encode())
        answer = stranger.recv(4096)
    assert answer.startswith(b"HTTP/1.1 401 "), "of the body nothing was sent"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "ApiVersionUnspecified"),
        ("?", "ApiVersionUnspecified"),
        ("?api-version=", "ApiVersionUnspecified"),
        ("?api-version=2021-03-06", "UnsupportedApiVersion"),
        ("?api-version=newest", "UnsupportedApiVersion"),
    ],
)
def test_version_is_demanded(service: Service, query: str, code: str) -> None:
    assert refused(call(service, "POST", "/identities" + query)) == (400, code, None)


def test_path_and_method_that_are_not_there_are_refused_in_the_form_of_the_service(service: Service) -> None:
    assert refused(call(service, "GET", "/identities/a/b" + V))[:2] == (404, "NotFound")
    answer = call(service, "PUT", "/identities/a" + V)
    assert refused(answer)[:2] == (405, "MethodNotAllowed")
    assert answer.headers["allow"] == "DELETE, GET"


# Who calls


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "target",
    [
        "/identities" + V,
        "//identities/" + V,
        "/identities?x=%2F%20+&api-version=2023-10-01",
        "/identities?api%2Dversion=2023-10-01",
        "/%69dentities" + V,
    ],
)
def test_signature_is_proved_on_the_target_as_it_came(service: Service, target: str, plain: bool) -> None:
    assert call(service, "POST", target, plain=plain).status == 201


def test_signature_is_proved_on_an_absolute_target(service: Service) -> None:
    absolute = f"https://{service.name_and_port}/identities{V}"

    assert call(service, "POST", absolute, signed="/identities" + V).status == 201


def test_slash_that_a_client_signs_behind_the_host_is_overlooked(service: Service) -> None:
    assert call(service, "POST", "/identities" + V, signed_host=service.name_and_port + "/").status == 201


def test_host_counts_in_the_spelling_in_which_it_was_sent(service: Service) -> None:
    host = service.name_and_port.replace("localhost", "LocalHost")
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}

    assert call(service, "POST", "/identities" + V, headers={"Host": host, **upgrade}).status == 201


@pytest.mark.parametrize("change", ["key", "target", "date", "method", "body", "nothing", "garbage", "basic", "twice"])
def test_whoever_proves_nothing_is_denied(service: Service, change: str) -> None:
    other = base64.b64encode(bytes(64)).decode()
    target = "/identities" + V
    if change == "key":
        answer = call(service, "POST", target, key=other)
    elif change == "target":
        answer = call(service, "POST", target, signed="/identities?api-version=2022-10-01")
    elif change == "date":
        answer = call(service, "POST", target, at=time.time() - 1000)
    elif change == "method":
        answer = call(service, "DELETE", path_of(FOREIGN), headers={"x-ms-date": "Sat, 28 Nov 2026 09:31:01 GMT"})
    elif change == "body":
        answer = call(service, "POST", target, {"a": 1}, headers={"x-ms-content-sha256": other[:44]})
    elif change == "nothing":
        answer = http_request(service, "POST", target, secure=service.secure)
    else:
        said = {"garbage": "HMAC-SHA256 Signature=x", "basic": "Basic eDp5", "twice": "HMAC-SHA256 a=1&a=2"}[change]
        answer = call(service, "POST", target, headers={"Authorization": said})

    assert refused(answer) == (401, "Denied", None)
    assert answer.headers["www-authenticate"] == "HMAC-SHA256, Bearer"


@pytest.mark.parametrize(
    "scope", ["https://communication.azure.com//.default", "https://communication.azure.com/.default"]
)
def test_application_with_a_token_of_the_issuer_may_do_the_same(
    service: Service, server: Server, app: App, scope: str
) -> None:
    token = token_of(server, app, scope)

    answer = call(service, "POST", "/identities" + V, {"createTokenWithScopes": ["chat"]}, bearer=token)

    assert answer.status == 201
    assert is_active(service, server, answer.json()["accessToken"]["token"])


def test_token_for_something_else_proves_nothing(service: Service, server: Server, app: App) -> None:
    token = token_of(server, app, "https://webpubsub.azure.com/.default")

    assert refused(call(service, "POST", "/identities" + V, bearer=token))[:2] == (401, "Denied")


def test_operator_may_do_the_same_over_the_control_socket(service: Service, server: Server) -> None:
    below = "/control/communication/default/identities"

    created = operate(server, "POST", below, {"createTokenWithScopes": ["chat"], "customId": "somebody@operator"})
    user, token = created.json()["identity"]["id"], created.json()["accessToken"]["token"]
    one = f"{below}/{quoted(user)}"

    assert created.status == 201
    assert is_active(service, server, token)
    assert operate(server, "GET", one).json()["customId"] == "somebody@operator"
    issued = operate(server, "POST", one + "/:issueAccessToken", {"scopes": ["voip"]})
    assert is_active(service, server, issued.json()["token"])
    assert operate(server, "POST", one + "/:revokeAccessTokens").status == 204
    assert not is_active(service, server, token)
    assert operate(server, "DELETE", one).status == 204
    gone = operate(server, "GET", one)
    assert (gone.status, gone.json()["code"]) == (404, "Error.NotFound")
    assert operate(server, "GET", "/control/communication/none/identities").status == 404
    assert operate(server, "POST", "/identities" + V).status == 201
    assert http_request(server, "GET", below).status == 404


# Users who have an identity elsewhere


@pytest.fixture(scope="module")
def users_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose issuer has tokens for users."""
    with running(tmp_path_factory.mktemp("users"), "--user-tokens") as server:
        yield server


@pytest.fixture(scope="module")
def alice(users_server: Server) -> str:
    """The object id of a user."""
    return create_user(users_server)


def test_token_of_a_teams_user_is_exchanged_for_one_that_ends_with_it(users_server: Server, alice: str) -> None:
    service, app = first_service(users_server), create_app(users_server)
    token = token_of_user(users_server, app, *TEAMS_SCOPES)
    asked = {"token": token, "appId": app.client_id, "userId": alice}
    target = "/teamsUser/:exchangeAccessToken" + V

    answer = call(service, "POST", target, asked)

    assert answer.status == 200
    claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert claims["exp"] == jwt.decode(token, options={"verify_signature": False})["exp"]
    assert claims["skypeid"] == f"orgid:{alice}"
    assert is_active(service, users_server, answer.json()["token"])
    weak = token_of_user(users_server, app, TEAMS_SCOPES[0])
    for fields, refusal in (
        ({"token": "x", "userId": ""}, (401, "InvalidAccessToken", None)),
        ({"token": weak}, (401, "InvalidAccessToken", None)),
        ({"appId": "x"}, (400, "ValidationError", "appId")),
        ({"appId": alice}, (400, "ValidationError", "appId")),
        ({"userId": ""}, (400, "ValidationError", "userId")),
        ({"userId": app.client_id}, (400, "ValidationError", "userId")),
    ):
        assert refused(call(service, "POST", target, {**asked, **fields})) == refusal


def test_user_of_entra_exchanges_their_own_token_while_they_are_assigned(users_server: Server, alice: str) -> None:
    service, app = first_service(users_server), create_app(users_server)
    token = token_of_user(users_server, app, "https://communication.azure.com/clients/Chat")
    one, target = f"/access/entra/assignments/{alice}{V}", f"//access/entra/:exchangeAccessToken{V}"
    assignment = {"tenantId": users_server.tenant_id, "principalType": "user", "clientIds": [app.client_id]}

    assert refused(call(service, "POST", target, {}, bearer=token))[:2] == (403, "Forbidden")
    assert call(service, "PUT", one, assignment).status == 201
    answer = call(service, "POST", target, {}, bearer=token)
    assert answer.status == 200
    assert answer.json()["identity"]["id"].startswith(f"8:acs:{service.immutable_id}_wf_{users_server.tenant_id}_")
    assert is_active(service, users_server, answer.json()["accessToken"]["token"])
    assert call(service, "DELETE", one).status == 204
    assert refused(call(service, "POST", target, {}, bearer=token))[:2] == (403, "Forbidden")


# How a token is looked at


def test_token_is_proved_by_what_its_issuer_publishes(service: Service, server: Server) -> None:
    token = token_for(service, user_of(service))
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]

    document = _fetched(server, f"{issuer}/.well-known/openid-configuration")
    keys = _fetched(server, document["jwks_uri"])

    assert issuer == f"{server.https_endpoint}/communication/{service.immutable_id}"
    assert document["issuer"] == issuer
    assert document["introspection_endpoint"] == f"{issuer}/introspect"
    kid = jwt.get_unverified_header(token)["kid"]
    key = jwt.PyJWK(next(key for key in keys["keys"] if key["kid"] == kid))
    claims = jwt.decode(token, key, ["RS256"], audience=service.immutable_id, issuer=issuer)
    assert claims["acsScope"] == "chat"


def _fetched(server: Server, url: str) -> Any:
    answer = http_request(server, "GET", url.removeprefix(server.https_endpoint), secure=trusting(server.ca))
    assert answer.status == 200
    return answer.json()


def test_whoever_holds_a_key_or_a_token_is_told_what_a_token_is_worth(
    service: Service, server: Server, app: App
) -> None:
    user = user_of(service)
    token = token_for(service, user, scopes=["chat", "voip.join"])
    claims = jwt.decode(token, options={"verify_signature": False})
    target, form = f"/communication/{service.immutable_id}/introspect", {"Content-Type": FORM}
    body = f"token={token}&token_type_hint=access_token".encode()
    bearer = token_of(server, app, "https://communication.azure.com/.default")

    answers = [
        introspect(service, server, token),
        introspect(service, server, token, user="default"),
        call(service, "POST", target, body=body, headers=form),
        call(service, "POST", target, body=body, headers=form, bearer=bearer),
    ]

    for answer in answers:
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json() == {
            "active": True,
            "scope": "chat voip.join",
            "sub": user,
            "username": user,
            "iss": claims["iss"],
            "aud": service.immutable_id,
            "exp": claims["exp"],
            "iat": claims["iat"],
            "jti": claims["jti"],
            "token_type": "Bearer",
        }


FORM: Final = "application/x-www-form-urlencoded"


def test_of_what_is_no_good_token_nothing_is_told(service: Service, server: Server, app: App) -> None:
    token = token_for(service, user_of(service))
    head, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    foreign = jwt.encode(claims, "x" * 32, "HS256", {"kid": jwt.get_unverified_header(token)["kid"]})

    for bad in (
        "x",
        "a.b.c",
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        foreign,
        token_of(server, app, "https://communication.azure.com/.default"),
        jwt.encode(claims, "", "none"),
        "\N{SNOWMAN}",
        "x" * 40_000,
    ):
        answer = introspect(service, server, bad)
        assert (answer.status, answer.json()) == (200, {"active": False})


def test_whoever_proves_nothing_is_told_nothing_of_a_token(service: Service, server: Server) -> None:
    token = token_for(service, user_of(service))
    other = base64.b64encode(bytes(64)).decode()

    for answer in (
        introspect(service, server, token, password=other),
        introspect(service, server, token, user="somebody"),
        introspect(service, server, token, user="\xff\x00"),
        call(service, "POST", f"/communication/{service.immutable_id}/introspect", body=b"token=x", bearer=token),
    ):
        assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
        assert "Basic" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("body", [b"", b"token=", b"token=a&token=b", b"token=%zz", b"token=%ff", b"tok=x"])
def test_question_without_a_token_is_refused(service: Service, server: Server, body: bytes) -> None:
    target = f"/communication/{service.immutable_id}/introspect"

    answer = call(service, "POST", target, body=body, headers={"Content-Type": FORM})

    assert (answer.status, answer.json()["error"]) == (400, "invalid_request")


def test_issuer_that_is_not_there_has_no_documents(server: Server) -> None:
    for path in ("/.well-known/openid-configuration", "/keys"):
        answer = http_request(server, "GET", f"/communication/{uuid4()}{path}")
        assert (answer.status, answer.json()["error"]) == (404, "not_found")


# Services and servers


def test_new_key_ends_the_tokens_of_the_old_one_and_no_other(start_server: StartServer) -> None:
    server = start_server()
    service = first_service(server)
    keys = _keys(server)
    second = service._replace(access_key=keys["secondaryKey"])
    user = user_of(service)
    by_first, by_second = token_for(service, user), token_for(second, user)

    _manage(server, "POST", "/regenerateKey", {"keyType": "Primary"})
    renewed = service._replace(access_key=_keys(server)["primaryKey"])

    assert refused(call(service, "POST", "/identities" + V))[:2] == (401, "Denied")
    assert call(renewed, "POST", "/identities" + V).status == 201
    assert not is_active(renewed, server, by_first)
    assert is_active(renewed, server, by_second)


def _manage(server: Server, method: str, path: str, document: object = None, name: str = "default") -> Any:
    below = f"/subscriptions/{server.subscription_id}/resourceGroups/hubwire/providers/Microsoft.Communication"
    answer = operate(server, method, f"{below}/communicationServices/{name}{path}?api-version=2023-04-01", document)
    assert answer.status < 300, answer
    return answer.json() if answer.body else None


def _keys(server: Server, name: str = "default") -> Any:
    return _manage(server, "POST", "/listKeys", name=name)


def test_further_service_has_ports_hosts_keys_and_users_of_its_own(start_server: StartServer) -> None:
    server = start_server()
    first = first_service(server)
    _manage(server, "PUT", "", {"location": "global", "properties": {"dataLocation": "Europe"}}, "Second")
    other = service_of(server, _keys(server, "second")["primaryConnectionString"], 0)
    user = user_of(other)

    assert other.https_port != first.https_port
    assert other.immutable_id != first.immutable_id
    for host in ("second.communication.azure.com", f"SECOND.communication.localhost:{first.https_port}"):
        there = first._replace(access_key=other.access_key)
        assert call(there, "GET", path_of(user), headers={"Host": host}).status == 200
    assert refused(call(first, "GET", path_of(user)))[:2] == (401, "IdentityNotOwned")
    assert refused(call(first._replace(access_key=other.access_key), "POST", "/identities" + V))[0] == 401
    assert not introspect(first, server, token_for(other, user)).json()["active"]
    assert introspect(other, server, token_for(other, user)).json()["active"]
    for target in ("/api/health", "/api/hubs/chat/users/x?api-version=2024-12-01"):
        assert refused(call(other, "GET", target))[:2] == (404, "NotFound")
    _manage(server, "DELETE", "", None, "second")
    assert call(first, "GET", path_of(user), headers={"Host": "second.communication.azure.com"}).status == 404


def test_port_of_a_further_web_pubsub_resource_serves_no_identities(start_server: StartServer) -> None:
    server = start_server()
    made_resource = server.cli("resource", "create", "second", "--json")
    assert made_resource.returncode == 0, made_resource.stderr
    port = json.loads(made_resource.stdout)["properties"]["publicPort"]

    answer = http_request(server, "POST", "/identities" + V, port=port, secure=trusting(server.ca))

    assert answer.status == 404


def test_users_and_tokens_survive_a_new_start(start_server: StartServer) -> None:
    server = start_server()
    service = first_service(server)
    answer = made(service, customId="somebody@start", createTokenWithScopes=["chat"])
    revoked = token_for(service, answer["identity"]["id"])
    call(service, "POST", path_of(answer["identity"]["id"], "/:revokeAccessTokens"))
    token = token_for(service, answer["identity"]["id"])
    server.stop()

    again = start_server(data=server.data)
    service = first_service(again)

    assert made(service, customId="somebody@start")["identity"]["id"] == answer["identity"]["id"]
    assert "lastTokenIssuedAt" in call(service, "GET", path_of(answer["identity"]["id"])).json()
    assert introspect(service, again, revoked).json() == {"active": False}
    # The port, which is in the issuer, is another one now; the token says who made it.
    assert introspect(service, again, token).json() == {"active": False}
    assert is_active(service, again, token_for(service, answer["identity"]["id"]))


def test_web_page_of_an_allowed_origin_may_call(start_server: StartServer) -> None:
    service = first_service(start_server("--cors-origin", "https://app.example"))
    page = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}

    asked = {**page, "Access-Control-Request-Headers": "authorization,x-ms-date,x-ms-content-sha256"}
    preflight = http_request(service, "OPTIONS", "/identities" + V, headers=asked, secure=service.secure)
    answer = call(service, "POST", "/identities" + V, headers={"Origin": "https://app.example"})

    assert preflight.status == 204
    assert preflight.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


def test_operations_beyond_their_limit_are_throttled(start_server: StartServer) -> None:
    service = first_service(start_server("--set", "communication_limits=azure,create=2"))

    assert call(service, "POST", "/identities" + V).status == 201
    answer = call(service, "POST", "/identities" + V)

    assert refused(answer)[:2] == (429, "TooManyRequests")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert refused(call(service, "DELETE", path_of(FOREIGN)))[:2] == (401, "IdentityNotOwned")


@pytest.mark.parametrize("limits", ["azur", "create", "create=0", "create=-1", "create=x", "list=1", "=1"])
def test_limit_that_is_none_ends_the_start_with_a_line(start_server: StartServer, limits: str) -> None:
    with pytest.raises(AssertionError, match="ended with 2 at start:\nhubwire: communication_limits: "):
        start_server("--set", f"communication_limits={limits}")


def test_clock_of_callers_may_be_off_as_far_as_the_setting_says(start_server: StartServer) -> None:
    any_time = first_service(start_server("--set", "communication_clock_skew_s=0"))

    assert call(any_time, "POST", "/identities" + V, at=time.time() - 100_000).status == 201


def test_only_named_principals_may_call_where_some_are_named(start_server: StartServer, server: Server) -> None:
    started = start_server()
    app, other = create_app(started), create_app(started)
    started.stop()
    again = start_server("--set", f"communication_principals={app.client_id.upper()}", data=started.data)
    service = first_service(again)
    scope = "https://communication.azure.com/.default"

    assert call(service, "POST", "/identities" + V, bearer=token_of(again, app, scope)).status == 201
    answer = call(service, "POST", "/identities" + V, bearer=token_of(again, other, scope))
    assert refused(answer)[:2] == (403, "Forbidden")


def test_requests_are_counted_by_operation(service: Service, server: Server) -> None:
    user_of(service)

    assert metric(server, 'hubwire_requests_total{operation="CommunicationIdentity_Create",status="201"}') >= 1

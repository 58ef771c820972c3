"""The token issuer as identity libraries and validators of tokens meet it."""

import asyncio
import base64
import json
import logging
import re
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest

from auth.entra import assertion, client_certificate
from hubwire.model.directory import MICROSOFT_HOSTS, FederatedCredential
from hubwire.model.errors import Unavailable
from rest.asgi import Reply, request
from rest.issuing import BASE, BODY_LIMIT, FORM, Issuing, claims, open_issuing

HOST = BASE.removeprefix("https://")
DOCUMENT = "/.well-known/openid-configuration"
SHARED = ["common", "organizations", "consumers"]
OTHER = "11111111-2222-4333-8444-555555555555"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Fields = dict[str, str]


def described(tenant: str, version: str, issuer: str) -> dict[str, Any]:
    """A discovery document."""
    return {
        "token_endpoint": f"{BASE}/{tenant}/oauth2{version}/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
        "jwks_uri": f"{BASE}/{tenant}/discovery{version}/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "request_uri_parameter_supported": False,
        "authorization_endpoint": f"{BASE}/{tenant}/oauth2{version}/authorize",
        "device_authorization_endpoint": f"{BASE}/{tenant}/oauth2{version}/devicecode",
        "end_session_endpoint": f"{BASE}/{tenant}/oauth2{version}/logout",
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "oid", "ver"],
        "tenant_region_scope": None,
        "cloud_instance_name": HOST,
    }


def check_error(reply: Reply, status: int, error: str, code: int) -> Mapping[str, Any]:
    """The members of an error, each of its form."""
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (status, error, [code])
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    body: Mapping[str, Any] = reply.json
    assert sorted(body) == [
        "correlation_id",
        "error",
        "error_codes",
        "error_description",
        "error_uri",
        "timestamp",
        "trace_id",
    ]
    assert MOMENT.fullmatch(body["timestamp"])
    assert GUID.fullmatch(body["trace_id"])
    assert GUID.fullmatch(body["correlation_id"].lower())
    assert body["error_uri"] == f"{BASE}/error?code={code}"
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert body["error_description"].endswith(
        f" Trace ID: {body['trace_id']} Correlation ID: {body['correlation_id']} Timestamp: {body['timestamp']}"
    )
    assert reply.headers["x-ms-request-id"] == body["trace_id"]
    return body


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


# Discovery.


@pytest.mark.parametrize("version", ["/v2.0", ""])
@pytest.mark.parametrize("named", ["id", "ID", "domain", "Domain"])
async def test_document_of_the_tenant_is_the_same_however_it_is_named(
    issuing: Issuing, version: str, named: str
) -> None:
    tenant = issuing.directory.tenant
    names = {
        "id": tenant.tenant_id,
        "ID": tenant.tenant_id.upper(),
        "domain": tenant.domain,
        "Domain": "HubWire.LocalHost",
    }
    reply = await issuing.get(f"/{names[named]}{version}{DOCUMENT}")

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["cache-control"] == "public, max-age=3600"
    assert reply.json == described(tenant.tenant_id, version, f"{BASE}/{tenant.tenant_id}/v2.0")


@pytest.mark.parametrize("version", ["/v2.0", ""])
@pytest.mark.parametrize("name", [*SHARED, "Common"])
async def test_document_for_any_tenant_leaves_a_place_for_its_id(issuing: Issuing, version: str, name: str) -> None:
    reply = await issuing.get(f"/{name}{version}{DOCUMENT}")

    assert reply.status == 200
    assert reply.json == described(name.lower(), version, f"{BASE}/{{tenantid}}/v2.0")


@pytest.mark.parametrize("version", ["/v2.0", ""])
@pytest.mark.parametrize("name", ["tenant", *SHARED])
async def test_issuer_of_a_document_is_that_of_the_tokens(issuing: Issuing, version: str, name: str) -> None:
    document = (await issuing.get(f"/{issuing.tenant if name == 'tenant' else name}{version}{DOCUMENT}")).json
    endpoint = document["token_endpoint"].removeprefix(BASE)
    fields = issuing.fields if version else issuing.fields_v1
    token = claims((await issuing.post(endpoint, fields)).json["access_token"])

    assert token["iss"] == document["issuer"].replace("{tenantid}", token["tid"])


@pytest.mark.parametrize("path", [f"/v2.0{DOCUMENT}", DOCUMENT, "/discovery/v2.0/keys", "/discovery/keys"])
@pytest.mark.parametrize("tenant", [OTHER, "other.example", "adfs", "common%00", "%20", "a%2Fb", "%3Cb%3E", "x" * 300])
async def test_unknown_tenant_is_a_400(issuing: Issuing, path: str, tenant: str) -> None:
    reply = await issuing.get(f"/{tenant}{path}")

    body = check_error(reply, 400, "invalid_tenant", 90002)
    assert (tenant in body["error_description"]) == (tenant in (OTHER, "other.example", "adfs"))
    assert "<b>" not in body["error_description"]


@pytest.mark.parametrize(
    "path",
    [
        f"/v2.0{DOCUMENT}",
        DOCUMENT,
        "/discovery/v2.0/keys",
        "/discovery/instance?authorization_endpoint=https://evil/common",
    ],
)
async def test_host_that_a_request_names_is_never_in_an_answer(issuing: Issuing, path: str) -> None:
    for tenant in (issuing.tenant, "common"):
        usual = await issuing.get(f"/{tenant}{path}")
        strange = await issuing.get(
            f"/{tenant}{path}",
            headers=[("Host", "strange.example"), ("X-Forwarded-Host", "strange.example")],
            state={"host": "strange.example", "scheme": "http"},
        )

        assert b"strange" not in strange.body
        assert strange.status == usual.status
        if usual.status == 200:
            assert strange.body == usual.body


async def test_host_that_a_request_names_is_never_in_a_token_or_an_error(issuing: Issuing) -> None:
    headers = [("Host", "strange.example")]
    token = await issuing.token(issuing.fields, headers=headers)
    error = await issuing.token({}, headers=headers)

    assert "strange" not in json.dumps(dict(claims(token.json["access_token"])))
    assert b"strange" not in error.body


# Keys.


@pytest.mark.parametrize("tenant", ["own", *SHARED])
@pytest.mark.parametrize("path", ["/discovery/v2.0/keys", "/discovery/keys"])
async def test_keys_are_published_without_their_private_part(issuing: Issuing, tenant: str, path: str) -> None:
    reply = await issuing.get(f"/{issuing.tenant if tenant == 'own' else tenant}{path}")

    keys = reply.json["keys"]
    assert (reply.status, reply.headers["cache-control"], len(keys)) == (200, "public, max-age=3600", 2)
    for key in keys:
        assert sorted(key) == ["alg", "e", "issuer", "kid", "kty", "n", "use", "x5c", "x5t"]
        assert (key["kty"], key["use"], key["alg"], key["e"]) == ("RSA", "sig", "RS256", "AQAB")
        assert key["kid"] == key["x5t"]
        assert key["issuer"] == f"{BASE}/{{tenantid}}/v2.0"


@pytest.mark.parametrize("version", [1, 2])
async def test_ordinary_library_proves_a_token_by_the_published_keys(issuing: Issuing, version: int) -> None:
    fields = issuing.fields if version == 2 else issuing.fields_v1
    path = "/oauth2/v2.0/token" if version == 2 else "/oauth2/token"
    token = (await issuing.post(f"/{issuing.tenant}{path}", fields)).json["access_token"]
    keys = {key["kid"]: key for key in (await issuing.get("/common/discovery/v2.0/keys")).json["keys"]}
    key = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])

    found = jwt.decode(token, key, ["RS256"], audience="https://webpubsub.azure.com", issuer=issuing.issuer.url)

    assert found["appid"] == fields["client_id"]


async def test_key_that_signs_next_is_published_before(issuing: Issuing) -> None:
    before = [key["kid"] for key in (await issuing.get("/common/discovery/keys")).json["keys"]]
    old = jwt.get_unverified_header((await issuing.token(issuing.fields)).json["access_token"])["kid"]
    await issuing.directory.rotate_keys(time.time())
    new = jwt.get_unverified_header((await issuing.token(issuing.fields)).json["access_token"])["kid"]
    after = [key["kid"] for key in (await issuing.get("/common/discovery/keys")).json["keys"]]

    assert [old, new] == before
    assert after[:2] == before
    assert len(after) == 3


# Instances and realms.


@pytest.mark.parametrize("host", [HOST, HOST.upper(), *sorted(MICROSOFT_HOSTS), "Login.MicrosoftOnline.com"])
@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("common/oauth2/v2.0/authorize", "/v2.0"),
        ("common/oauth2/authorize", ""),
        ("{own}/oauth2/v2.0/authorize", "/v2.0"),
    ],
)
async def test_instance_of_ours_or_of_entra_is_known(issuing: Issuing, host: str, path: str, version: str) -> None:
    path = path.format(own=issuing.tenant)
    reply = await issuing.get(
        f"/common/discovery/instance?api-version=1.1&authorization_endpoint={quote(f'https://{host}/{path}', safe='')}"
    )

    name = host.lower()
    assert reply.status == 200
    assert reply.json == {
        "tenant_discovery_endpoint": f"https://{name}/{path.partition('/')[0]}{version}{DOCUMENT}",
        "api-version": "1.1",
        "metadata": [{"preferred_network": name, "preferred_cache": name, "aliases": [name]}],
    }


async def test_instance_of_ours_is_named_as_it_is_served() -> None:
    issuing = await open_issuing(base_url="http://Localhost:8080")
    reply = await issuing.get(
        "/common/discovery/instance?authorization_endpoint=http://localhost:8080/common/oauth2/authorize"
    )

    assert reply.json["tenant_discovery_endpoint"] == f"http://Localhost:8080/common{DOCUMENT}"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?authorization_endpoint=",
        "?authorization_endpoint=https://login.example/common/oauth2/authorize",
        f"?authorization_endpoint=https://{HOST}.evil.example/common/oauth2/authorize",
        f"?authorization_endpoint=https://{HOST}@evil.example/common/oauth2/authorize",
        "?authorization_endpoint=https://hub.example:9/common/oauth2/authorize",
        f"?authorization_endpoint=https://{HOST}",
        f"?authorization_endpoint={HOST}/common",
        "?authorization_endpoint=https://%5B/common",
        "?authorization_endpoint=https://%5B::1%5Dx/common",
    ],
)
async def test_instance_of_others_is_unknown(issuing: Issuing, query: str) -> None:
    check_error(await issuing.get(f"/common/discovery/instance{query}"), 400, "invalid_instance", 50049)


async def test_instance_of_another_tenant_is_unknown(issuing: Issuing) -> None:
    reply = await issuing.get(
        f"/common/discovery/instance?authorization_endpoint=https://{HOST}/{OTHER}/oauth2/authorize"
    )

    check_error(reply, 400, "invalid_tenant", 90002)


async def test_instance_that_is_asked_for_twice_is_malformed(issuing: Issuing) -> None:
    url = f"https://{HOST}/common/oauth2/authorize"
    reply = await issuing.get(f"/common/discovery/instance?authorization_endpoint={url}&authorization_endpoint={url}")

    check_error(reply, 400, "invalid_request", 90013)


@pytest.mark.parametrize("user", ["ada@hub.example", "ada%40hub.example"])
async def test_every_user_signs_in_here(issuing: Issuing, user: str) -> None:
    reply = await issuing.get(f"/common/userrealm/{user}?api-version=1.0")

    assert (reply.status, reply.json) == (
        200,
        {
            "ver": "1.0",
            "account_type": "Managed",
            "domain_name": "hub.example",
            "cloud_instance_name": HOST,
            "cloud_audience_urn": "urn:federation:MicrosoftOnline",
        },
    )


# Tokens.


async def test_answer_of_the_second_version_has_numbers(issuing: Issuing) -> None:
    reply = await issuing.token(issuing.fields)

    answer = reply.json
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    token = claims(answer.pop("access_token"))
    assert answer == {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}
    assert token["exp"] - token["iat"] == 3599
    assert (token["aud"], token["tid"]) == ("https://webpubsub.azure.com", issuing.tenant)


async def test_answer_of_the_first_version_has_strings(issuing: Issuing) -> None:
    reply = await issuing.post(f"/{issuing.tenant}/oauth2/token", issuing.fields_v1)

    answer = reply.json
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    token = claims(answer.pop("access_token"))
    assert answer == {
        "token_type": "Bearer",
        "expires_in": "3599",
        "ext_expires_in": "3599",
        "expires_on": str(token["exp"]),
        "not_before": str(token["nbf"]),
        "resource": "https://webpubsub.azure.com",
    }


@pytest.mark.parametrize("tenant", ["own", "hubwire.localhost", *SHARED])
async def test_tokens_are_of_the_tenant_however_it_is_named(issuing: Issuing, tenant: str) -> None:
    name = issuing.tenant if tenant == "own" else tenant
    reply = await issuing.post(f"/{name}/oauth2/v2.0/token", issuing.fields)

    assert claims(reply.json["access_token"])["iss"] == f"{BASE}/{issuing.tenant}/v2.0"


@pytest.mark.parametrize(
    "query",
    [f"?client-request-id={OTHER}", "?grant_type=password&client_id=x&client_secret=x&scope=x", "?a=1&a=2", "?"],
)
async def test_query_of_a_token_request_is_ignored(issuing: Issuing, query: str) -> None:
    reply = await issuing.post(f"/{issuing.tenant}/oauth2/v2.0/token{query}", issuing.fields)

    assert reply.status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded;charset=utf-8",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-URLEncoded",
    ],
)
async def test_form_may_name_its_charset(issuing: Issuing, content_type: str) -> None:
    assert (await issuing.token(issuing.fields, content_type=content_type)).status == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"client_info": "1"},
        {"claims": '{"access_token":{"xms_cc":{"values":["CP1"]}}}'},
        {"x-client-SKU": "MSAL.Python", "x-client-VER": "1.39.0", "x-ms-lib-capability": "retry-after"},
        {"client-request-id": OTHER, "x-client-current-telemetry": "4|730,2|"},
    ],
)
async def test_fields_that_libraries_add_do_no_harm(issuing: Issuing, extra: Fields) -> None:
    reply = await issuing.token({**issuing.fields, **extra})

    assert (reply.status, sorted(reply.json)) == (200, ["access_token", "expires_in", "ext_expires_in", "token_type"])


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
@pytest.mark.parametrize("with_id", [True, False])
async def test_client_may_prove_itself_in_the_header(issuing: Issuing, scheme: str, with_id: bool) -> None:
    """Each part is percent-encoded there."""
    fields = issuing.fields
    name, secret = fields["client_id"], fields.pop("client_secret")
    if not with_id:
        del fields["client_id"]
    proof = basic(quote(name, safe=""), "".join(f"%{ord(letter):02x}" for letter in secret))
    reply = await issuing.token(fields, headers=[("Authorization", f"{scheme} {proof.partition(' ')[2]}")])

    assert reply.status == 200
    assert claims(reply.json["access_token"])["appidacr"] == "1"


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic ", "Basic !!", "Basic YQ", "Basic YWJj", "Basic \xe4", "Basic /////w==", "Basic YTpi YTpi"],
)
async def test_malformed_basic_proof_is_a_400(issuing: Issuing, header: str) -> None:
    reply = await issuing.token(issuing.fields, headers=[("Authorization", header)])

    check_error(reply, 400, "invalid_request", 90013)


async def test_other_schemes_of_the_header_are_no_proof(issuing: Issuing) -> None:
    fields = issuing.fields
    del fields["client_secret"]
    reply = await issuing.token(fields, headers=[("Authorization", "Bearer a.b.c")])

    check_error(reply, 401, "invalid_client", 7000218)


@pytest.mark.parametrize(
    ("change", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        (
            {"client_secret": None, "client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE},
            401,
            "invalid_client",
            700027,
        ),
        ({"client_secret": None, "client_assertion": "a.b.c"}, 400, "invalid_request", 900144),
        ({"client_assertion": "a.b.c"}, 400, "invalid_request", 90013),
        ({"client_id": OTHER}, 400, "unauthorized_client", 700016),
        ({"client_id": None}, 400, "invalid_request", 900144),
        ({"client_id": ""}, 400, "invalid_request", 900144),
        ({"grant_type": None}, 400, "invalid_request", 900144),
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": None}, 400, "invalid_request", 900144),
        ({"scope": "https://webpubsub.azure.com"}, 400, "invalid_scope", 1002012),
        ({"scope": 'https://"/.default'}, 400, "invalid_scope", 70011),
        ({"scope": "openid"}, 400, "invalid_scope", 70011),
        ({"scope": "https://vault.azure.net/.default https://a/.default"}, 400, "invalid_scope", 28000),
        ({"scope": "api://unknown/.default"}, 400, "invalid_resource", 500011),
    ],
)
async def test_request_that_gets_no_token_is_told_why(
    issuing: Issuing, change: Mapping[str, str | None], status: int, error: str, code: int
) -> None:
    fields = {name: value for name, value in {**issuing.fields, **change}.items() if value is not None}

    check_error(await issuing.token(fields), status, error, code)


async def test_secret_whose_time_is_over_is_told_apart(issuing: Issuing) -> None:
    app = await issuing.directory.create("old", time.time())
    _, secret = await issuing.directory.add_secret(app.app_id, time.time() - 2 * 86400, 1)
    reply = await issuing.token({**issuing.fields, "client_id": app.app_id, "client_secret": secret})

    check_error(reply, 401, "invalid_client", 7000222)


async def test_missing_resource_of_the_first_version_is_named(issuing: Issuing) -> None:
    body = check_error(
        await issuing.post(f"/{issuing.tenant}/oauth2/token", issuing.fields), 400, "invalid_request", 900144
    )

    assert "'resource'" in body["error_description"]


@pytest.mark.parametrize("path", ["/oauth2/v2.0/token", "/oauth2/token"])
async def test_unknown_tenant_gives_no_token(issuing: Issuing, path: str) -> None:
    reply = await issuing.post(f"/{OTHER}{path}", {**issuing.fields, **issuing.fields_v1})

    check_error(reply, 400, "invalid_request", 90002)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data", "", None])
async def test_body_that_is_no_form_lacks_everything(issuing: Issuing, content_type: str | None) -> None:
    body = check_error(await issuing.token(issuing.fields, content_type=content_type), 400, "invalid_request", 900144)

    assert "'grant_type'" in body["error_description"]


@pytest.mark.parametrize(
    ("more", "shown"),
    [("client_id=x", "'client_id'"), ("SCOPE=x", "'scope'"), ("a%0Ab=1&a%0Ab=1", "'?'"), ("%C3%A4=1&%C3%A4=1", "'?'")],
)
async def test_field_that_comes_twice_is_refused(issuing: Issuing, more: str, shown: str) -> None:
    body = "&".join(f"{name}={quote(value, safe='')}" for name, value in issuing.fields.items())
    reply = await issuing.world.call(
        "POST",
        f"/{issuing.tenant}/oauth2/v2.0/token",
        body=f"{body}&{more}".encode(),
        content_type=FORM,
        token=None,
    )

    assert shown in check_error(reply, 400, "invalid_request", 9000411)["error_description"]


@pytest.mark.parametrize("body", [b"grant_type=%", b"grant_type=%zz", b"%FF=1", b"scope=%C3"])
async def test_form_that_does_not_decode_is_a_400(issuing: Issuing, body: bytes) -> None:
    reply = await issuing.world.call(
        "POST",
        f"/{issuing.tenant}/oauth2/v2.0/token",
        body=body,
        content_type=FORM,
        token=None,
    )

    check_error(reply, 400, "invalid_request", 90013)


async def test_form_of_more_than_64_kib_is_a_400_whatever_bodies_may_have() -> None:
    """Strangers send it, and who they are is not known before it is read."""
    issuing = await open_issuing(max_message_bytes=1 << 20)
    reply = await issuing.token({**issuing.fields, "claims": "x" * 65_536})

    check_error(reply, 400, "invalid_request", 90013)


async def test_form_of_a_hundred_thousand_fields_is_not_taken_apart(issuing: Issuing) -> None:
    reply = await issuing.post(f"/{issuing.tenant}/oauth2/v2.0/token", {str(number): "" for number in range(101)})

    check_error(reply, 400, "invalid_request", 90013)


async def test_query_without_end_is_not_taken_apart(issuing: Issuing) -> None:
    reply = await issuing.get(f"/common/discovery/instance?{'a=b&' * 3000}")

    check_error(reply, 400, "invalid_request", 90013)


async def test_copy_of_a_request_with_an_assertion_is_refused_and_another_request_is_not(issuing: Issuing) -> None:
    """The libraries name each request, in a header or in the query."""
    app = issuing.directory.tenant.development_app
    await issuing.directory.add_certificate(app, client_certificate())
    endpoint = f"{BASE}/{issuing.tenant}/oauth2/v2.0/token"
    proof = assertion("javascript", audience=endpoint, now=time.time(), iss=app, sub=app)
    fields = {**issuing.fields, "client_assertion": proof, "client_assertion_type": ASSERTION_TYPE}
    del fields["client_secret"]
    for headers, query in (((), ""), ((("client-request-id", OTHER),), ""), ((), "?client-request-id=another")):
        target = f"/{issuing.tenant}/oauth2/v2.0/token{query}"
        assert (await issuing.post(target, fields, headers=headers)).status == 200
        assert (await issuing.post(target, fields, headers=headers)).status == 401


async def test_error_is_called_as_the_request_was_in_its_query(issuing: Issuing) -> None:
    """One of the official libraries names it there."""
    wrong = {**issuing.fields, "client_secret": "wrong"}
    reply = await issuing.post(f"/{issuing.tenant}/oauth2/v2.0/token?client-request-id={OTHER}", wrong)

    assert (reply.status, reply.json["correlation_id"]) == (401, OTHER)


async def test_body_over_the_limit_is_a_400(issuing: Issuing) -> None:
    fields = {**issuing.fields, "x": "x" * BODY_LIMIT}

    check_error(await issuing.token(fields), 400, "invalid_request", 90013)


async def test_body_without_an_end_is_refused_and_the_connection_ended(issuing: Issuing) -> None:
    path = f"/{issuing.tenant}/oauth2/v2.0/token"
    reply = await request(issuing.world.app, "POST", path, (), [b"x" * BODY_LIMIT] * 100)

    assert reply is not None
    check_error(reply, 400, "invalid_request", 90013)
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("given", [OTHER, OTHER.upper().replace("1", "A")])
async def test_callers_name_of_its_request_is_kept(issuing: Issuing, given: str) -> None:
    reply = await issuing.token({}, headers=[("client-request-id", given)])

    assert reply.json["correlation_id"] == given


@pytest.mark.parametrize("given", ["", "1", OTHER + "0", f"{{{OTHER}}}", OTHER.replace("-", ""), "<script>"])
async def test_callers_name_that_is_no_guid_is_not_mirrored(issuing: Issuing, given: str) -> None:
    reply = await issuing.token({}, headers=[("client-request-id", given)])

    body = check_error(reply, 400, "invalid_request", 900144)
    assert body["correlation_id"] != given
    assert "<script>" not in body["error_description"]


async def test_every_error_has_ids_of_its_own(issuing: Issuing) -> None:
    first, second = (await issuing.token({})).json, (await issuing.token({})).json

    assert len({first["trace_id"], second["trace_id"], first["correlation_id"], second["correlation_id"]}) == 4


async def test_issuer_that_cannot_be_asked_for_its_keys_is_a_503(issuing: Issuing) -> None:
    federated = FederatedCredential("https://other.example", "s", "a")
    await issuing.directory.add_federated(issuing.fields["client_id"], federated)
    issuing.foreign.failure = Unavailable("The keys of the issuer https://other.example cannot be fetched.")
    fields = {**issuing.fields, "client_assertion_type": ASSERTION_TYPE}
    del fields["client_secret"]
    fields["client_assertion"] = jwt.encode(
        {"iss": "https://other.example", "sub": "s", "aud": "a"}, "k" * 32, headers={"kid": "k"}
    )

    check_error(await issuing.token(fields), 503, "temporarily_unavailable", 90033)


async def test_unexpected_failure_says_nothing_about_itself(issuing: Issuing, caplog: pytest.LogCaptureFixture) -> None:
    issuing.foreign.failure = RuntimeError("inside")
    await issuing.directory.add_federated(issuing.fields["client_id"], FederatedCredential("https://o", "s", "a"))
    fields = {**issuing.fields, "client_assertion_type": ASSERTION_TYPE}
    del fields["client_secret"]
    fields["client_assertion"] = jwt.encode(
        {"iss": "https://o", "sub": "s", "aud": "a"}, "k" * 32, headers={"kid": "k"}
    )
    reply = await issuing.token(fields)

    check_error(reply, 500, "temporarily_unavailable", 90033)
    assert b"inside" not in reply.body
    assert "RuntimeError: inside" in caplog.text


# Users.


async def user_fields(issuing: Issuing) -> Fields:
    await issuing.directory.create_user("ada@hub.example", time.time(), password="lovelace")
    return {
        "grant_type": "password",
        "client_id": issuing.fields["client_id"],
        "username": "Ada@hub.example",
        "password": "lovelace",
        "scope": "https://auth.msft.communication.azure.com/Teams.ManageCalls openid profile offline_access",
        "client_info": "1",
    }


async def test_user_gets_a_token_where_the_setting_allows_it() -> None:
    issuing = await open_issuing(user_tokens=True)
    reply = await issuing.token(await user_fields(issuing))

    answer = reply.json
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert (claims(answer["access_token"])["scp"], answer["expires_in"]) == ("Teams.ManageCalls", 3599)
    assert answer["scope"] == "https://auth.msft.communication.azure.com/Teams.ManageCalls"
    assert claims(answer["id_token"])["aud"] == issuing.fields["client_id"]
    assert json.loads(base64.urlsafe_b64decode(answer["client_info"] + "==")) == {
        "uid": issuing.directory.users()[0].object_id,
        "utid": issuing.tenant,
    }
    assert "refresh_token" not in answer


async def test_user_gets_only_what_was_asked_for() -> None:
    issuing = await open_issuing(user_tokens=True)
    fields = {**await user_fields(issuing), "scope": "https://graph.microsoft.com/User.Read", "client_info": "0"}
    answer = (await issuing.token(fields)).json

    assert sorted(answer) == ["access_token", "expires_in", "ext_expires_in", "scope", "token_type"]


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"username": "bob@hub.example"}])
async def test_wrong_password_and_unknown_user_look_alike(change: Fields) -> None:
    issuing = await open_issuing(user_tokens=True)
    body = check_error(await issuing.token({**await user_fields(issuing), **change}), 400, "invalid_grant", 50126)

    assert "invalid username or password" in body["error_description"]


# Slowing down.


class Clock:
    """Seconds since 1970 as the table sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr("hubwire.rest.issuer.time", SimpleNamespace(time=lambda: self.now))


@pytest.mark.parametrize("change", [{"client_secret": "guess"}, {"client_secret": ""}])
async def test_address_that_fails_too_often_is_slowed_down(monkeypatch: pytest.MonkeyPatch, change: Fields) -> None:
    """And it alone, until its failures are forgotten."""
    clock = Clock(monkeypatch)
    issuing = await open_issuing(failures_per_minute=3)
    wrong = {**issuing.fields, **change}
    for _ in range(3):
        assert (await issuing.token(wrong)).status == 401

    slowed = await issuing.token(issuing.fields)
    check_error(slowed, 429, "temporarily_unavailable", 90055)
    assert slowed.headers["retry-after"] == "20"
    older = await issuing.post(f"/{issuing.tenant}/oauth2/token", issuing.fields_v1)
    assert older.status == 429
    assert (await issuing.token(issuing.fields, state={"client_ip": "198.51.100.9"})).status == 200
    assert (await issuing.get(f"/common{DOCUMENT}")).status == 200

    clock.now += 19
    assert (await issuing.token(issuing.fields)).headers["retry-after"] == "1"
    clock.now += 2
    assert (await issuing.token(wrong)).status == 401
    assert (await issuing.token(issuing.fields)).status == 429
    clock.now += 60
    assert (await issuing.token(issuing.fields)).status == 200


async def test_wrong_passwords_count_as_failures() -> None:
    issuing = await open_issuing(user_tokens=True, failures_per_minute=1)
    fields = await user_fields(issuing)

    assert (await issuing.token({**fields, "password": "guess"})).status == 400
    assert (await issuing.token(fields)).status == 429


@pytest.mark.parametrize("change", [{"client_id": OTHER}, {"scope": "x"}, {"grant_type": "x"}, {"grant_type": ""}, {}])
async def test_whoever_proves_nothing_wrong_is_not_slowed_down(change: Fields) -> None:
    issuing = await open_issuing(failures_per_minute=1)
    statuses = [(await issuing.token({**issuing.fields, **change})).status for _ in range(3)]

    assert 429 not in statuses


async def test_guess_whose_body_comes_late_is_slowed_down_by_those_before_it() -> None:
    """Requests that were begun together are as many guesses as those that came one after another."""
    issuing = await open_issuing(failures_per_minute=1)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        assert (await issuing.token({**issuing.fields, "client_secret": "guess"})).status == 401
        return {"type": "http.request", "body": urlencode(issuing.fields).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": f"/{issuing.tenant}/oauth2/v2.0/token".encode(),
        "query_string": b"",
        "headers": [(b"content-type", FORM.encode())],
        "client": ("192.0.2.7", 50124),
    }
    await issuing.world.app(scope, receive, send)

    assert sent[0]["status"] == 429


async def test_of_guesses_that_come_at_once_only_so_many_learn_anything() -> None:
    issuing = await open_issuing(user_tokens=True, failures_per_minute=1)
    fields = await user_fields(issuing)
    passwords = ["guess-1", "guess-2", "guess-3", "lovelace"]
    replies = await asyncio.gather(*(issuing.token({**fields, "password": password}) for password in passwords))

    statuses = [reply.status for reply in replies]
    assert statuses.count(400) == 1
    assert set(statuses[:3]) == {400, 429}


# What there is not.


@pytest.mark.parametrize("version", ["/v2.0", ""])
@pytest.mark.parametrize(
    ("method", "verb"), [("GET", "authorize"), ("POST", "authorize"), ("POST", "devicecode"), ("GET", "logout")]
)
async def test_interactive_endpoints_say_that_there_is_no_sign_in(
    issuing: Issuing, method: str, verb: str, version: str
) -> None:
    reply = await issuing.world.call(method, f"/common/oauth2{version}/{verb}?redirect_uri=https://evil", token=None)

    body = check_error(reply, 400, "unsupported_response_type", 90023)
    assert "no interactive sign-in" in body["error_description"]
    assert "location" not in reply.headers


PATHS = [
    ("/common/v2.0" + DOCUMENT, "GET"),
    ("/common" + DOCUMENT, "GET"),
    ("/common/discovery/v2.0/keys", "GET"),
    ("/common/discovery/keys", "GET"),
    ("/common/discovery/instance", "GET"),
    ("/common/userrealm/ada", "GET"),
    ("/common/oauth2/v2.0/token", "POST"),
    ("/common/oauth2/token", "POST"),
    ("/common/oauth2/authorize", "GET, POST"),
    ("/common/oauth2/v2.0/devicecode", "POST"),
    ("/common/oauth2/v2.0/logout", "GET"),
]


@pytest.mark.parametrize(("path", "allow"), PATHS)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "BREW"])
async def test_other_methods_are_a_405_that_says_which_there_are(
    issuing: Issuing, path: str, allow: str, method: str
) -> None:
    reply = await issuing.world.call(method, path, token=None)

    check_error(reply, 405, "invalid_request", 90013)
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize(("path", "allow"), PATHS)
async def test_web_pages_of_other_origins_get_nothing(path: str, allow: str) -> None:
    """Not even where the data plane is open to all of them: a page has no business with a secret."""
    issuing = await open_issuing(cors_origins=["*"])
    origin = ("Origin", "https://app.example")
    preflight = await issuing.world.call(
        "OPTIONS", path, token=None, headers=[origin, ("Access-Control-Request-Method", allow.partition(",")[0])]
    )
    plain = await issuing.world.call(allow.partition(",")[0], path, token=None, headers=[origin])

    assert preflight.status == 405
    for reply in (preflight, plain):
        assert [name for name in reply.headers if name.startswith("access-control")] == []
        assert "api-supported-versions" not in reply.headers


async def test_token_of_the_data_plane_is_not_asked_for(issuing: Issuing) -> None:
    await issuing.token(issuing.fields)
    await issuing.get(f"/common{DOCUMENT}")

    assert issuing.world.principals.seen == []


# Logging and counting.


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    issuing = await open_issuing(user_tokens=True)
    fields, user = issuing.fields, await user_fields(issuing)
    secret = fields["client_secret"]
    answers = [
        await issuing.token(fields),
        await issuing.token(user),
        await issuing.token({**fields, "client_secret": "wrong-secret"}),
        await issuing.token({**user, "password": "wrong-secret"}),
        await issuing.token({**fields, "x": "1"}, headers=[("Authorization", basic("a", "wrong-secret"))]),
        await issuing.token({**fields, "grant_type": "wrong-secret"}),
        await issuing.token({**fields, "scope": "wrong-secret/.default"}),
        await issuing.token(fields, content_type="text/plain"),
        await issuing.get(f"/common/discovery/instance?authorization_endpoint=https://wrong-secret/x?code={secret}"),
    ]
    tokens = [answer.json["access_token"] for answer in answers[:2]]

    assert [answer.status for answer in answers] == [200, 200, 401, 400, 400, 400, 400, 400, 400]
    logged = caplog.text + repr([vars(record) for record in caplog.records])
    signatures = [token.rpartition(".")[2] for token in tokens]
    # A resource that nobody knows is named: it is no secret, and the operator can make it known.
    logged = logged.replace("named wrong-secret was", "")
    assert [word for word in (secret, "lovelace", "wrong-secret", *signatures) if word in logged] == []
    assert "token for application" in caplog.text


async def test_operator_reads_why_somebody_got_no_token(issuing: Issuing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.http")
    await issuing.token({**issuing.fields, "client_secret": "wrong"})
    await issuing.get(f"/{OTHER}{DOCUMENT}")
    await issuing.token(issuing.fields, headers=[("Authorization", "Basic !")])

    found = [vars(record)["record"] for record in caplog.records]
    assert [(item["operationName"], item["statusCode"], item["reason"][:14]) for item in found] == [
        ("IssueToken", 401, "AADSTS7000215:"),
        ("GetDiscoveryV1", 400, "AADSTS90002: T"),
        ("IssueToken", 400, "The Authorizat"),
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert found[0]["routeTemplate"] == "/{tenant}/oauth2/v2.0/token"


async def test_token_is_told_to_the_operator_by_its_application(
    issuing: Issuing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hubwire.auth")
    await issuing.token(issuing.fields)

    app = issuing.fields["client_id"]
    assert f"token for application {app}, resource https://webpubsub.azure.com" in caplog.messages


async def test_tokens_are_counted_and_are_no_traffic(issuing: Issuing) -> None:
    await issuing.token(issuing.fields)
    await issuing.token({})

    telemetry = issuing.world.telemetry
    assert telemetry.requests == {("IssueToken", 200): 1, ("IssueToken", 400): 1}
    assert (telemetry.inbound_bytes, telemetry.outbound_bytes) == (0, 0)

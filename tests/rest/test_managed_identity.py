"""Tokens for processes of this machine: as the official libraries ask for them, and for nobody else."""

import logging
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from hubwire.model.directory import Application
from hubwire.rest.managed_identity import Offered
from rest.asgi import Reply
from rest.issuing import FORM, OWN, Issuing, claims, open_issuing

IMDS = "/metadata/identity/oauth2/token"
APP_SERVICE = "/msi/token"
RESOURCE = "https://webpubsub.azure.com"
METADATA = ("Metadata", "true")
HERE = {"client_ip": "127.0.0.1", "host": "127.0.0.1:8080"}


def query(**more: str) -> str:
    return "?" + urlencode({"api-version": "2018-02-01", "resource": RESOURCE, **more})


async def machine(
    issuing: Issuing,
    target: str = IMDS + query(),
    *headers: tuple[str, str],
    state: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
) -> Reply:
    """Ask as a process of this machine does, at the endpoint of virtual machines."""
    return await issuing.world.call(
        "GET", target, token=None, headers=[METADATA, *headers], state={**HERE, **(state or {})}, scope=scope
    )


async def app_service(issuing: Issuing, *headers: tuple[str, str], target: str = APP_SERVICE + query()) -> Reply:
    return await issuing.world.call("GET", target, token=None, headers=headers, state=HERE)


def secret(issuing: Issuing) -> str:
    return issuing.directory.tenant.identity_header


async def assigned(issuing: Issuing) -> Application:
    """A managed identity beside the machine's own."""
    return await issuing.directory.create("worker", time.time(), managed=True)


def own(issuing: Issuing) -> Application:
    found = issuing.directory.identity(None)
    assert found is not None
    return found


def check_error(reply: Reply, status: int, error: str, text: str) -> None:
    """The members of both endpoints' errors stand side by side."""
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    body = reply.json
    assert len(body.pop("correlationId")) == 36
    assert body == {"error": error, "error_description": text, "statusCode": status, "message": text}


# The endpoint of virtual machines.


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("resource", [quote(RESOURCE, safe=""), RESOURCE, RESOURCE + "/"])
async def test_machine_gets_a_token_of_its_own_identity(issuing: Issuing, slash: str, resource: str) -> None:
    """With a slash behind the path as one library has it, and without; the resource escaped or not."""
    reply = await machine(issuing, f"{IMDS}{slash}?api-version=2018-02-01&resource={resource}")

    answer = reply.json
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    token = claims(answer.pop("access_token"))
    assert answer == {
        "client_id": own(issuing).app_id,
        "expires_in": "86399",
        "expires_on": str(token["exp"]),
        "ext_expires_in": "86399",
        "not_before": str(token["nbf"]),
        "resource": RESOURCE + ("/" if resource.endswith("/") else ""),
        "token_type": "Bearer",
    }
    assert (token["oid"], token["xms_mirid"]) == (own(issuing).object_id, own(issuing).resource_id)


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
async def test_header_that_no_browser_sends_is_enough(issuing: Issuing, value: str) -> None:
    reply = await issuing.world.call("GET", IMDS + query(), token=None, headers=[("Metadata", value)], state=HERE)

    assert reply.status == 200


@pytest.mark.parametrize("headers", [[], [("Metadata", "")], [("Metadata", "false")], [("Metadata", "true,true")]])
async def test_without_that_header_there_is_a_400(issuing: Issuing, headers: list[tuple[str, str]]) -> None:
    """A library that looks whether there is an endpoint needs no more than a fast answer."""
    reply = await issuing.world.call("GET", IMDS + query(), token=None, headers=headers, state=HERE)

    check_error(reply, 400, "invalid_request", "Required metadata header not specified")


@pytest.mark.parametrize("target", ["", "?", "?resource=", "?api-version=2018-02-01"])
async def test_request_for_no_resource_is_a_400(issuing: Issuing, target: str) -> None:
    check_error(await machine(issuing, IMDS + target), 400, "invalid_request", "The parameter 'resource' is missing")


async def test_request_for_two_resources_is_a_400(issuing: Issuing) -> None:
    reply = await machine(issuing, IMDS + query() + "&resource=x")

    check_error(reply, 400, "invalid_request", "The parameter 'resource' may be given only once.")


async def test_request_for_an_unknown_resource_is_a_400(issuing: Issuing) -> None:
    reply = await machine(issuing, IMDS + query(resource="api://unknown"))

    assert (reply.status, reply.json["error"], reply.json["statusCode"]) == (400, "invalid_resource", 400)
    assert reply.json["message"] == reply.json["error_description"]
    assert "api://unknown" in reply.json["message"]


@pytest.mark.parametrize(
    "name", ["client_id", "clientid", "object_id", "principal_id", "msi_res_id", "mi_res_id", "resource_id"]
)
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("mine", [False, True])
async def test_identity_is_selected(issuing: Issuing, name: str, upper: bool, mine: bool) -> None:
    """By the names that the libraries have for client id, object id and resource id; the machine's own as well."""
    other = await assigned(issuing)
    wanted = own(issuing) if mine else other
    value = wanted.resource_id if "res_id" in name else wanted.object_id if "id" not in name[:9] else wanted.app_id
    reply = await machine(issuing, IMDS + query(**{name: value.upper() if upper else value}))

    assert (reply.status, reply.json["client_id"]) == (200, wanted.app_id)


@pytest.mark.parametrize("name", ["client_id", "object_id", "msi_res_id"])
async def test_unknown_identity_is_a_400(issuing: Issuing, name: str) -> None:
    reply = await machine(issuing, IMDS + query(**{name: "11111111-2222-4333-8444-555555555555"}))

    check_error(reply, 400, "invalid_request", "Identity not found")


async def test_application_is_no_identity_of_the_machine(issuing: Issuing) -> None:
    reply = await machine(issuing, IMDS + query(client_id=issuing.fields["client_id"]))

    check_error(reply, 400, "invalid_request", "Identity not found")


async def test_two_selectors_are_a_400(issuing: Issuing) -> None:
    other = await assigned(issuing)
    reply = await machine(issuing, IMDS + query(client_id=other.app_id, object_id=other.object_id))

    check_error(reply, 400, "invalid_request", "More than one identity is selected")
    twice = await machine(issuing, IMDS + query(client_id=other.app_id) + f"&client_id={other.app_id}")
    assert twice.status == 400


async def test_empty_selector_is_none(issuing: Issuing) -> None:
    reply = await machine(issuing, IMDS + query(client_id="", object_id=""))

    assert reply.json["client_id"] == own(issuing).app_id


async def test_identity_that_is_deleted_gets_nothing_more(issuing: Issuing) -> None:
    other = await assigned(issuing)
    assert (await machine(issuing, IMDS + query(client_id=other.app_id))).status == 200
    await issuing.directory.delete(other.app_id)

    assert (await machine(issuing, IMDS + query(client_id=other.app_id))).status == 400


# The endpoint of App Service.


@pytest.mark.parametrize("name", ["X-IDENTITY-HEADER", "secret"])
@pytest.mark.parametrize("with_metadata", [False, True])
async def test_process_that_knows_the_header_gets_a_token(issuing: Issuing, name: str, with_metadata: bool) -> None:
    """The older protocol's header is called `secret`."""
    headers = [(name, secret(issuing)), *([METADATA] if with_metadata else [])]
    reply = await app_service(issuing, *headers)

    answer = reply.json
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert answer["expires_on"] == str(claims(answer["access_token"])["exp"])
    assert (answer["client_id"], answer["resource"], answer["token_type"]) == (own(issuing).app_id, RESOURCE, "Bearer")


@pytest.mark.parametrize(("name", "selector"), [("X-IDENTITY-HEADER", "client_id"), ("secret", "clientid")])
async def test_both_protocols_select_an_identity(issuing: Issuing, name: str, selector: str) -> None:
    other = await assigned(issuing)
    target = APP_SERVICE + query(**{selector: other.app_id})
    reply = await app_service(issuing, (name, secret(issuing)), target=target)

    assert reply.json["client_id"] == other.app_id


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [METADATA],
        [("X-IDENTITY-HEADER", "")],
        [("X-IDENTITY-HEADER", "wrong")],
        [("X-IDENTITY-HEADER", "wr\xf6ng")],
        [("secret", "wrong"), METADATA],
    ],
)
@pytest.mark.parametrize("offered", ["app-service", "imds"])
async def test_missing_or_wrong_header_is_a_401(offered: Offered, headers: list[tuple[str, str]]) -> None:
    issuing = await open_issuing(offered=offered)
    reply = await app_service(issuing, *headers)

    given = [value for name, value in headers if name != METADATA[0] and value]
    said = "The header X-IDENTITY-HEADER is wrong." if given else "The header X-IDENTITY-HEADER is missing."
    check_error(reply, 401, "unauthorized_client", said)
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_header_counts_before_that_of_the_older_protocol(issuing: Issuing) -> None:
    reply = await app_service(issuing, ("X-IDENTITY-HEADER", "wrong"), ("secret", secret(issuing)))

    assert reply.status == 401


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"resource": ""}, "invalid_request"),
        ({"resource": "api://unknown"}, "invalid_resource"),
        ({"client_id": "x"}, "invalid_request"),
    ],
)
async def test_error_has_the_members_that_the_library_reads(issuing: Issuing, more: dict[str, str], error: str) -> None:
    reply = await app_service(issuing, ("X-IDENTITY-HEADER", secret(issuing)), target=APP_SERVICE + query(**more))

    assert (reply.status, reply.json["error"], reply.json["statusCode"]) == (400, error, 400)
    assert reply.json["message"]
    assert len(reply.json["correlationId"]) == 36


async def test_guesses_of_the_header_are_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("hubwire.rest.managed_identity.time", SimpleNamespace(time=lambda: now[0]))
    issuing = await open_issuing(failures_per_minute=2)
    right = ("X-IDENTITY-HEADER", secret(issuing))
    for _ in range(2):
        assert (await app_service(issuing, ("X-IDENTITY-HEADER", "guess"))).status == 401

    slowed = await app_service(issuing, right)
    check_error(slowed, 429, "temporarily_unavailable", "Too many requests of this address proved nothing.")
    assert slowed.headers["retry-after"] == "30"
    elsewhere = await issuing.world.call(
        "GET", APP_SERVICE + query(), token=None, headers=[right], state={**HERE, "client_ip": "127.0.0.2"}
    )
    assert elsewhere.status == 200
    now[0] += 31
    assert (await app_service(issuing, right)).status == 200


# The protocol of Cloud Shell.


async def post(issuing: Issuing, fields: Mapping[str, str], *headers: tuple[str, str], target: str = "") -> Reply:
    return await issuing.world.call(
        "POST",
        APP_SERVICE + target,
        token=None,
        headers=headers,
        body=urlencode(fields).encode(),
        content_type=FORM,
        state=HERE,
    )


async def test_form_needs_no_secret_where_the_machine_has_an_endpoint_without_one(issuing: Issuing) -> None:
    other = await assigned(issuing)
    reply = await post(issuing, {"resource": RESOURCE, "client_id": other.app_id}, METADATA, target="?resource=x")

    assert (reply.status, reply.json["client_id"], reply.json["expires_in"]) == (200, other.app_id, "86399")


async def test_form_without_the_metadata_header_needs_the_secret(issuing: Issuing) -> None:
    refused = await post(issuing, {"resource": RESOURCE})
    allowed = await post(issuing, {"resource": RESOURCE}, ("X-IDENTITY-HEADER", secret(issuing)))

    assert (refused.status, allowed.status) == (401, 200)


async def test_form_with_a_wrong_secret_is_a_401_whatever_else_it_has(issuing: Issuing) -> None:
    assert (await post(issuing, {"resource": RESOURCE}, METADATA, ("secret", "wrong"))).status == 401


async def test_form_needs_the_secret_where_the_other_endpoint_is_not_offered() -> None:
    issuing = await open_issuing(offered="app-service")
    refused = await post(issuing, {"resource": RESOURCE}, METADATA)
    allowed = await post(issuing, {"resource": RESOURCE}, METADATA, ("secret", secret(issuing)))

    assert (refused.status, allowed.status) == (401, 200)


async def test_form_that_is_none_is_a_400(issuing: Issuing) -> None:
    reply = await issuing.world.call(
        "POST", APP_SERVICE, token=None, headers=[METADATA], body=b"resource=%zz", state=HERE
    )

    assert (reply.status, reply.json["error"]) == (400, "invalid_request")


# What there is.


@pytest.mark.parametrize(
    ("offered", "imds", "msi", "posted"),
    [("off", 404, 404, 404), ("app-service", 404, 401, 401), ("imds", 200, 401, 200)],
)
async def test_setting_decides_which_endpoints_there_are(offered: Offered, imds: int, msi: int, posted: int) -> None:
    issuing = await open_issuing(offered=offered)

    assert (await machine(issuing)).status == imds
    assert (await machine(issuing, IMDS + "/" + query())).status == imds
    assert (await app_service(issuing)).status == msi
    assert (await post(issuing, {"resource": RESOURCE}, METADATA)).status == posted


@pytest.mark.parametrize(("path", "allow"), [(IMDS, "GET"), (APP_SERVICE, "GET, POST")])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_other_methods_are_a_405_that_says_which_there_are(
    issuing: Issuing, path: str, allow: str, method: str
) -> None:
    reply = await issuing.world.call(method, path + query(), token=None, headers=[METADATA], state=HERE)

    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert reply.body == b"" if method == "HEAD" else reply.json["error"] == "invalid_request"


@pytest.mark.parametrize("path", [IMDS, APP_SERVICE])
async def test_web_pages_get_neither_a_preflight_nor_an_answer_to_read(path: str) -> None:
    issuing = await open_issuing(cors_origins=["*"])
    origin = ("Origin", "https://app.example")
    preflight = await issuing.world.call(
        "OPTIONS",
        path,
        token=None,
        headers=[
            origin,
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "metadata,x-identity-header"),
        ],
        state=HERE,
    )
    plain = await issuing.world.call(
        "GET", path + query(), token=None, headers=[origin, METADATA, ("secret", secret(issuing))], state=HERE
    )

    assert (preflight.status, plain.status) == (405, 403)
    for reply in (preflight, plain):
        assert [name for name in reply.headers if name.startswith("access-control")] == []


# Who may ask.

REFUSED = "Only processes of this machine may ask, and not through a proxy."


async def both(
    issuing: Issuing, *headers: tuple[str, str], state: Mapping[str, Any], scope: Mapping[str, Any] | None = None
) -> list[Reply]:
    """The same request at both endpoints, with all that proves a process."""
    proof = ("X-IDENTITY-HEADER", secret(issuing))
    return [
        await machine(issuing, path + query(), proof, *headers, state=state, scope=scope)
        for path in (IMDS, APP_SERVICE)
    ]


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", ""),
        ("x-forwarded-host", "localhost"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "192.0.2.7"),
        ("CF-Connecting-IP", "192.0.2.7"),
        ("True-Client-IP", "192.0.2.7"),
        ("Origin", "http://localhost:8080"),
        ("Sec-Fetch-Site", "same-origin"),
    ],
)
async def test_request_that_passed_a_proxy_is_refused(issuing: Issuing, header: tuple[str, str]) -> None:
    for reply in await both(issuing, header, state={}):
        check_error(reply, 403, "access_denied", REFUSED)


async def test_request_of_a_trusted_proxy_is_refused() -> None:
    """It may have dropped the headers that would say so."""
    issuing = await open_issuing(proxies=["127.0.0.9"])

    by_machine, by_secret = await both(issuing, state={"client_ip": "127.0.0.9"})

    check_error(by_machine, 403, "access_denied", REFUSED)
    assert by_secret.status == 200, "who knows the secret may be a neighbour of the proxy"
    assert [reply.status for reply in await both(issuing, state={"client_ip": "127.0.0.1"})] == [200, 200]


@pytest.mark.parametrize(
    "address",
    ["192.0.2.7", "10.0.0.1", "2001:db8::1", "fe80::1", "::ffff:192.0.2.7", "169.254.169.254", "x", "128.0.0.1"],
)
async def test_other_machines_are_refused(issuing: Issuing, address: str) -> None:
    for reply in await both(issuing, state={"client_ip": address}):
        check_error(reply, 403, "access_denied", REFUSED)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.5", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_may_come_by_each_of_its_loopback_addresses(issuing: Issuing, address: str) -> None:
    assert [reply.status for reply in await both(issuing, state={"client_ip": address})] == [200, 200]


async def test_this_machine_may_come_by_the_address_that_it_asks(issuing: Issuing) -> None:
    """A process that reaches the server by the machine's own address in a network comes from that address."""
    host, scope = {"host": "192.0.2.1:8080"}, {"server": ("192.0.2.1", 8080)}

    mine = await both(issuing, state={"client_ip": "192.0.2.1", **host}, scope=scope)
    other = await both(issuing, state={"client_ip": "192.0.2.2", **host}, scope=scope)
    # Without a secret only by the loopback address: a port forwarder's clients may come by ours.
    assert [reply.status for reply in mine] == [403, 200]
    assert [reply.status for reply in other] == [403, 403]


async def test_missing_header_is_no_guess(issuing: Issuing) -> None:
    """Any page could make a browser send such requests."""
    for _ in range(2000):
        assert (await app_service(issuing)).status == 401
    assert (await app_service(issuing, ("secret", secret(issuing)))).status == 200


async def test_what_came_by_tls_gets_no_token_without_a_secret(issuing: Issuing) -> None:
    """Libraries ask by plain HTTP; something that ends TLS would bring others here."""
    state = {"client_ip": "127.0.0.1", "scheme": "https"}

    assert [reply.status for reply in await both(issuing, state=state)] == [403, 200]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1:8080",
        "[2001:db8::1]:8080",
        "[::1].evil.example",
        "[::1",
        "",
        "localhost@evil.example",
    ],
)
async def test_request_by_a_name_that_others_can_lead_here_is_refused(issuing: Issuing, host: str) -> None:
    """A page whose name was made to lead to this machine can send every header that it likes."""
    for reply in await both(issuing, state={"host": host}):
        check_error(reply, 403, "access_denied", REFUSED)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8080",
        "127.0.0.1",
        "127.0.0.5:80",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
        "169.254.169.254",
        "169.254.169.254:80",
    ],
)
async def test_request_by_a_name_of_this_machine_alone_is_answered(issuing: Issuing, host: str) -> None:
    assert [reply.status for reply in await both(issuing, state={"host": host})] == [200, 200]


async def test_local_operator_is_of_this_machine(issuing: Issuing) -> None:
    reply = await issuing.world.call(
        "GET", IMDS + query(), token=None, headers=[METADATA], state={"control": True, "host": "x"}
    )

    assert reply.status == 200


# What the operator is told, and what is not.


@pytest.mark.parametrize("offered", ["app-service", "imds"])
async def test_operator_is_told_what_an_environment_needs(offered: Offered) -> None:
    issuing = await open_issuing(offered=offered)
    reply = await issuing.world.operate("GET", "/control/environment")

    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.json == {"variables": {"IDENTITY_ENDPOINT": f"{OWN}/msi/token", "IDENTITY_HEADER": secret(issuing)}}


async def test_environment_needs_nothing_where_there_is_no_endpoint() -> None:
    issuing = await open_issuing(offered="off")

    assert (await issuing.world.operate("GET", "/control/environment")).json == {"variables": {}}


async def test_nobody_else_is_told_about_the_environment(issuing: Issuing) -> None:
    reply = await issuing.world.call("GET", "/control/environment", state=HERE)

    assert reply.status == 404
    assert secret(issuing).encode() not in reply.body


async def test_nothing_secret_is_logged_and_every_refusal_is(
    issuing: Issuing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = [
        (await machine(issuing)).json["access_token"],
        (await app_service(issuing, ("secret", secret(issuing)))).json["access_token"],
    ]
    await app_service(issuing, ("X-IDENTITY-HEADER", "wrong-secret"))
    await both(issuing, ("Via", "1.1 p"), state={})
    await machine(issuing, IMDS + query(client_id="x"))
    await issuing.world.operate("GET", "/control/environment")

    logged = caplog.text + repr([vars(record) for record in caplog.records])
    assert [word for word in (secret(issuing), "wrong-secret", *tokens) if word in logged] == []
    found = [vars(record)["record"] for record in caplog.records if record.name == "hubwire.http"]
    assert [(item["operationName"], item.get("reason")) for item in found] == [
        ("GetMachineToken", None),
        ("GetIdentityToken", None),
        ("GetIdentityToken", "The header X-IDENTITY-HEADER is wrong."),
        ("GetMachineToken", REFUSED),
        ("GetIdentityToken", REFUSED),
        ("GetMachineToken", "Identity not found"),
        ("GetEnvironment", None),
    ]
    assert f"token for managed identity {own(issuing).app_id}" in caplog.messages

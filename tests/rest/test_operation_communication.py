"""Requests to communication services: which paths lead to them, who is let in, what answers carry, what is logged."""

import logging
from typing import Any

import pytest

from hubwire.model.communication import CommunicationCaller, CommunicationKeys, CommunicationService
from hubwire.model.errors import NotFound, Throttled, Unauthorized
from hubwire.model.telemetry import Telemetry
from hubwire.rest.call import Call
from hubwire.rest.communication_versions import COMMUNICATION_VERSIONS
from hubwire.rest.operation import Operation, Reply, RestApp, Surface
from rest.asgi import FakePrincipals, request
from rest.asgi import Reply as Answer

V = "?api-version=2023-10-01"
FIRST = CommunicationService("default", "0" * 36, "global", "Europe", CommunicationKeys("QQ==", "Qg=="))
OTHER = CommunicationService("Other", "1" * 36, "global", "Europe", CommunicationKeys("QQ==", "Qg=="))
CLOSED = CommunicationService(
    "closed", "2" * 36, "global", "Europe", CommunicationKeys("QQ==", "Qg=="), is_reachable=False
)
SERVICES = {
    "default": FIRST,
    "communication/default": FIRST,
    "communication/other": OTHER,
    "communication/closed": CLOSED,
}


class Door:
    """Lets everybody in who shows anything at all."""

    def service(self, resource: str, /) -> CommunicationService:
        if resource not in SERVICES:
            raise NotFound("There is no such service.")
        return SERVICES[resource]

    def known_as(self, immutable_id: str, /) -> CommunicationService:
        raise NotFound("There is no such service.")

    def endpoint(self, service: CommunicationService, /) -> str:
        return f"https://{service.name}.example"

    async def caller(self, service: CommunicationService, call: Call, /) -> CommunicationCaller:
        await call.body(4)
        if call.header("authorization") is None:
            raise Unauthorized("no credential")
        if call.header("authorization") == "again":
            raise Throttled("Too many.", 9)
        return CommunicationCaller("primary", service.name, 1)

    async def verifier(self, service: CommunicationService, call: Call, /) -> CommunicationCaller:
        return await self.caller(service, call)


class Serving:
    """Some rows; handlers remember the calls that they were given."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

        async def handler(call: Call) -> Reply:
            self.calls.append(call)
            await call.body()
            return Reply()

        def row(method: str, path: str, surface: Surface = "communication", **more: Any) -> Operation:
            return Operation(method, path, f"{method}{path}", handler, (200,), surface=surface, **more)

        self.app = RestApp(
            (
                row("POST", "/identities"),
                row("GET", "/identities/{id}"),
                row("POST", "/identities/{id}/:issueAccessToken"),
                row("POST", "/access/entra/:exchangeAccessToken", anonymous=True),
                row("GET", "/communication/{service}/keys", "verification"),
                row("GET", "/control/users/{id}", "operator", personal=True),
                row("GET", "/api/hubs/{hub}", "data"),
                row("GET", "/api/health", "probe"),
            ),
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=("https://app.example",),
            max_message_bytes=100,
            idle_timeout_s=30.0,
            issuer_url="",
            communication=Door(),
        )

    async def call(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        resource: str = "default",
        proof: str | None = "any",
        body: bytes = b"",
        **state: Any,
    ) -> Answer:
        lines = list(headers) + ([] if proof is None else [("Authorization", proof)])
        answer = await request(self.app, method, target, lines, (body,), {"resource": resource, **state})
        assert answer is not None
        return answer

    async def fault(self, method: str, target: str, *headers: tuple[str, str], **more: Any) -> tuple[int, str]:
        """Status and code of a refusal, which has the form of the service."""
        answer = await self.call(method, target, *headers, **more)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["api-supported-versions"] == ", ".join(COMMUNICATION_VERSIONS)
        assert set(answer.json) == {"error"}
        return answer.status, answer.json["error"]["code"]


@pytest.fixture
def serving() -> Serving:
    return Serving()


# Which paths lead there


@pytest.mark.parametrize(
    "target",
    [
        "/identities/8:acs:a_b",
        "/identities/8%3Aacs%3Aa_b",
        "//identities//8%3aacs:a_b/",
        "/Identities/8:acs:a_b",
        "/%69dentities/8:acs:a_b",
    ],
)
async def test_user_is_found_however_the_id_is_written(serving: Serving, target: str) -> None:
    assert (await serving.call("GET", target + V)).status == 200
    assert serving.calls[0].names == {"id": "8:acs:a_b"}


@pytest.mark.parametrize("verb", [":issueAccessToken", "%3AissueAccessToken", ":ISSUEACCESSTOKEN"])
async def test_verb_is_found_however_it_is_written(serving: Serving, verb: str) -> None:
    assert (await serving.call("POST", f"/identities/8%3Aacs%3Aa_b/{verb}{V}")).status == 200


async def test_doubled_slash_of_an_endpoint_that_ends_in_one_is_one(serving: Serving) -> None:
    assert (await serving.call("POST", "//access/entra/:exchangeAccessToken" + V)).status == 200


@pytest.mark.parametrize(
    ("resource", "service"),
    [("default", FIRST), ("communication/default", FIRST), ("communication/other", OTHER)],
)
async def test_service_is_the_one_of_the_listener_or_of_the_host(
    serving: Serving, resource: str, service: CommunicationService
) -> None:
    assert (await serving.call("POST", "/identities" + V, resource=resource)).status == 200
    assert serving.calls[0].service is service
    assert serving.calls[0].bearer == CommunicationCaller("primary", service.name, 1)


async def test_paths_of_services_are_nowhere_else(serving: Serving) -> None:
    for resource in ("wps2", "vault/v1"):
        answer = await serving.call("POST", "/identities" + V, resource=resource)
        assert answer.status == 404
        assert answer.headers.get("api-supported-versions") != ", ".join(COMMUNICATION_VERSIONS)
    assert not serving.calls


@pytest.mark.parametrize("target", ["/api/hubs/chat", "/api/health", "/communication/x/keys", "/", "/control/users/x"])
async def test_port_of_a_service_serves_nothing_else(serving: Serving, target: str) -> None:
    assert await serving.fault("GET", target, resource="communication/other") == (404, "NotFound")
    assert not serving.calls


async def test_service_that_is_not_there_has_no_paths(serving: Serving) -> None:
    assert await serving.fault("POST", "/identities" + V, resource="communication/none") == (404, "NotFound")


async def test_path_and_method_that_are_not_there_are_refused_in_the_form_of_the_service(serving: Serving) -> None:
    assert await serving.fault("GET", "/identities/a/b/c" + V) == (404, "NotFound")
    assert await serving.fault("PUT", "/identities/a" + V) == (405, "MethodNotAllowed")
    assert (await serving.call("PUT", "/identities/a" + V)).headers["allow"] == "GET"
    assert await serving.fault("GET", "/identities/%zz" + V) == (400, "BadRequest")
    assert await serving.fault("GET", "/identities/%ff" + V) == (400, "BadRequest")


# Who is let in, and with which version


async def test_whoever_proves_nothing_is_denied_and_told_how(serving: Serving) -> None:
    assert await serving.fault("POST", "/identities" + V, proof=None) == (401, "Denied")
    answer = await serving.call("POST", "/identities", proof=None)
    assert answer.headers["www-authenticate"] == "HMAC-SHA256, Bearer"
    assert not serving.calls


async def test_whoever_comes_too_often_is_told_when_to_come_back(serving: Serving) -> None:
    assert await serving.fault("POST", "/identities" + V, proof="again") == (429, "TooManyRequests")
    assert (await serving.call("POST", "/identities", proof="again")).headers["retry-after"] == "9"


async def test_users_token_is_for_the_handler_to_look_at(serving: Serving) -> None:
    assert (await serving.call("POST", "/access/entra/:exchangeAccessToken" + V, proof=None)).status == 200
    assert serving.calls[0].bearer is None
    assert serving.calls[0].service is FIRST


async def test_local_operator_needs_no_proof(serving: Serving) -> None:
    assert (await serving.call("POST", "/identities" + V, proof=None, control=True)).status == 200
    assert serving.calls[0].bearer == CommunicationCaller("operator", "operator")


async def test_service_that_is_closed_to_the_network_serves_the_operator_alone(serving: Serving) -> None:
    for target in ("/identities", "/access/entra/:exchangeAccessToken"):
        assert await serving.fault("POST", target + V, resource="communication/closed") == (403, "Forbidden")
    answer = await serving.call("POST", "/identities" + V, proof=None, resource="communication/closed", control=True)
    assert answer.status == 200


async def test_version_is_demanded_of_everybody(serving: Serving) -> None:
    for target in ("/identities", "/access/entra/:exchangeAccessToken"):
        assert await serving.fault("POST", target) == (400, "ApiVersionUnspecified")
        assert await serving.fault("POST", target + "?api-version=2019-01-01") == (400, "UnsupportedApiVersion")
    assert await serving.fault("POST", "/identities?api-version=%zz") == (400, "BadRequest")
    assert not serving.calls


async def test_body_that_is_too_long_is_refused(serving: Serving) -> None:
    assert await serving.fault("POST", "/identities" + V, body=b"12345") == (413, "RequestEntityTooLarge")


async def test_target_of_a_request_is_handed_on_as_it_came(serving: Serving) -> None:
    state = {"resource": "default", "target": "//identities/8%3Aa" + V}
    await request(serving.app, "GET", "/identities/8%3Aa" + V, [("Authorization", "any")], state=state)

    assert serving.calls[0].raw_target == b"//identities/8%3Aa?api-version=2023-10-01"


# What answers carry


async def test_answers_name_versions_and_request(serving: Serving) -> None:
    answer = await serving.call("POST", "/identities" + V, ("x-ms-client-request-id", "abc"))

    assert answer.headers["api-supported-versions"] == ", ".join(COMMUNICATION_VERSIONS)
    assert answer.headers["x-ms-client-request-id"] == "abc"


async def test_web_pages_of_allowed_origins_may_call(serving: Serving) -> None:
    page = ("Origin", "https://app.example")
    asked = ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "x-ms-date,authorization")

    answer = await serving.call("POST", "/identities" + V, page)
    allowed = await serving.call("OPTIONS", "/identities", page, *asked, proof=None)
    foreign = await serving.call("OPTIONS", "/identities", ("Origin", "https://x.example"), *asked, proof=None)
    keys = await serving.call("GET", "/communication/x/keys", page, proof=None)

    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert (allowed.status, allowed.headers["access-control-allow-methods"]) == (204, "POST")
    assert allowed.headers["access-control-allow-headers"] == "x-ms-date,authorization"
    assert foreign.status == 405
    assert "access-control-allow-origin" not in keys.headers


# What is logged


@pytest.mark.parametrize(
    ("method", "target", "state", "shown"),
    [
        ("GET", "/identities/8:acs:secret", {}, "/identities/{id}"),
        ("PUT", "/identities/8:acs:secret", {}, "/identities/…"),
        ("GET", "//IDENTITIES/8:acs:secret/x", {}, "/IDENTITIES/…"),
        ("GET", "/secret", {"resource": "communication/other"}, "/secret/…"),
        ("GET", "/8%3Aacs%3Asecret/x", {"resource": "communication/other"}, "/…/…"),
        ("GET", "/control/users/secret", {"control": True}, "/control/users/{id}"),
        ("PUT", "/control/users/secret", {"control": True}, "/control/…"),
        ("GET", "/control/users/secret", {}, "/control/…"),
        ("GET", "/%63ontrol/communication/x/identities/8:acs:secret", {}, "/%63ontrol/…"),
        ("GET", "/base/identities/8:acs:secret_0123456789ab", {}, "/base/identities/…0123456789ab"),
    ],
)
async def test_log_names_no_user(
    serving: Serving,
    caplog: pytest.LogCaptureFixture,
    method: str,
    target: str,
    state: dict[str, Any],
    shown: str,
) -> None:
    caplog.set_level(logging.DEBUG, "hubwire.http")

    await serving.call(method, target + V, **state)

    (logged,) = caplog.records
    assert vars(logged)["record"]["url"] == shown
    assert "acs" not in caplog.text + str(vars(logged))

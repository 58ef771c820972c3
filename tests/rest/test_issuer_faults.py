"""Every error in the form of the endpoint that it met."""

import json
import re
from typing import Any

import pytest

from hubwire.auth.refusals import TokenRefused
from hubwire.model.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotStored,
    PreconditionFailed,
    Refused,
    Throttled,
    Unauthorized,
    Unavailable,
)
from hubwire.rest.faults import BodyLate, BodyTooLarge, Fault, MethodNotAllowed
from hubwire.rest.issuer_faults import identity_fault, issuer_fault

BASE = "https://hub.example:8443"
NAMED = "1B4e28Ba-2fa1-11d2-883F-0016d3cca427"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def document(fault: Fault) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(fault.body())
    assert fault.content_type == "application/json; charset=utf-8"
    return body


@pytest.mark.parametrize(
    ("error", "status", "name", "code", "headers"),
    [
        (TokenRefused(7000215, "Wrong."), 401, "invalid_client", 7000215, {}),
        (TokenRefused(90002, "None.", error="invalid_tenant"), 400, "invalid_tenant", 90002, {}),
        (
            Throttled("Slowly.", 7),
            429,
            "temporarily_unavailable",
            90055,
            {"retry-after": "7"},
        ),
        (BadRequest("Malformed."), 400, "invalid_request", 90013, {}),
        (BodyTooLarge(10, drained=True), 400, "invalid_request", 90013, {}),
        (BodyTooLarge(10, drained=False), 400, "invalid_request", 90013, {"connection": "close"}),
        (BodyLate(), 408, "invalid_request", 90013, {"connection": "close"}),
        (MethodNotAllowed(("GET", "POST")), 405, "invalid_request", 90013, {"allow": "GET, POST"}),
        (NotStored("disk"), 503, "temporarily_unavailable", 90033, {}),
        (Unavailable("Later."), 503, "temporarily_unavailable", 90033, {}),
        (RuntimeError("inside"), 500, "temporarily_unavailable", 90033, {}),
        (Refused("inside"), 500, "temporarily_unavailable", 90033, {}),
    ],
)
def test_error_of_the_issuer(error: Exception, status: int, name: str, code: int, headers: dict[str, str]) -> None:
    fault = issuer_fault(error, NAMED, BASE)

    body = document(fault)
    assert (fault.status, fault.code, body["error"], body["error_codes"]) == (status, name, name, [code])
    assert dict(fault.headers) == {**headers, "x-ms-request-id": body["trace_id"]}
    assert body["correlation_id"] == NAMED
    assert body["error_uri"] == f"{BASE}/error?code={code}"
    assert re.fullmatch(
        rf"AADSTS{code}: .+ Trace ID: {body['trace_id']} Correlation ID: {NAMED} Timestamp: {body['timestamp']}",
        body["error_description"],
    )
    assert b"inside" not in fault.body()


@pytest.mark.parametrize("given", ["", "x", NAMED + "\n", f"{NAMED} {NAMED}", NAMED.replace("-", "")])
def test_name_of_a_request_is_made_up_unless_it_is_a_guid(given: str) -> None:
    first, second = (document(issuer_fault(BadRequest(), given, BASE)) for _ in range(2))

    assert GUID.fullmatch(first["correlation_id"])
    assert first["correlation_id"] != second["correlation_id"]


@pytest.mark.parametrize(
    ("error", "status", "name", "text", "headers"),
    [
        (TokenRefused(500011, "Unknown."), 400, "invalid_resource", "AADSTS500011: Unknown.", {}),
        (TokenRefused(7000215, "Wrong."), 400, "invalid_client", "AADSTS7000215: Wrong.", {}),
        (NotFound("Identity not found"), 400, "invalid_request", "Identity not found", {}),
        (BadRequest("Malformed."), 400, "invalid_request", "Malformed.", {}),
        (BadRequest(), 400, "invalid_request", "The request is malformed.", {}),
        (Unauthorized("Wrong header."), 401, "unauthorized_client", "Wrong header.", {"www-authenticate": "Bearer"}),
        (Forbidden("Not you."), 403, "access_denied", "Not you.", {}),
        (MethodNotAllowed(("GET",)), 405, "invalid_request", "This path takes GET.", {"allow": "GET"}),
        (BodyLate(), 408, "invalid_request", "The body did not arrive in time.", {"connection": "close"}),
        (Conflict("State."), 409, "invalid_request", "State.", {}),
        (PreconditionFailed(), 412, "invalid_request", "The stored state is not the expected one.", {}),
        (Throttled("Slowly.", 3), 429, "temporarily_unavailable", "Slowly.", {"retry-after": "3"}),
        (NotStored("disk"), 503, "temporarily_unavailable", "The change could not be stored: disk.", {}),
        (Unavailable("Later."), 503, "temporarily_unavailable", "Later.", {}),
        (RuntimeError("inside"), 500, "unknown", "The server failed to carry out the request.", {}),
    ],
)
def test_error_of_an_identity_endpoint_speaks_to_both_kinds_of_libraries(
    error: Exception, status: int, name: str, text: str, headers: dict[str, str]
) -> None:
    fault = identity_fault(error)

    body = document(fault)
    assert (fault.status, fault.code, dict(fault.headers)) == (status, name, headers)
    assert GUID.fullmatch(body.pop("correlationId"))
    assert body == {"error": name, "error_description": text, "statusCode": status, "message": text}

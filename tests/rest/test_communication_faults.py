"""Errors in the form of Communication Services, and those of OAuth; both are pinned here."""

import json
from typing import Any

import pytest

from hubwire.model.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    IdentityNotOwned,
    InvalidAccessToken,
    NotFound,
    NotStored,
    Throttled,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from hubwire.rest.communication_faults import CommunicationFault, communication_fault, verification_fault
from hubwire.rest.faults import BodyLate, BodyTooLarge, MethodNotAllowed

PROOF = (("www-authenticate", "HMAC-SHA256, Bearer"),)
CLOSE = (("connection", "close"),)


@pytest.mark.parametrize(
    ("error", "status", "code", "target", "headers"),
    [
        (BadRequest("text", "ExpiresInMinutes"), 400, "ValidationError", "ExpiresInMinutes", ()),
        (BadRequest("text"), 400, "ValidationError", None, ()),
        (BadRequest("text", "path"), 400, "BadRequest", "path", ()),
        (BadRequest("text", "query"), 400, "BadRequest", "query", ()),
        (CommunicationFault("UnsupportedApiVersion", "text"), 400, "UnsupportedApiVersion", None, ()),
        (Unauthorized("the signature is another"), 401, "Denied", None, PROOF),
        (IdentityNotOwned(), 401, "IdentityNotOwned", None, ()),
        (InvalidAccessToken("token has expired"), 401, "InvalidAccessToken", None, ()),
        (Forbidden("text", "x"), 403, "Forbidden", None, ()),
        (NotFound("text", "Path"), 404, "NotFound", None, ()),
        (MethodNotAllowed(("GET", "PUT")), 405, "MethodNotAllowed", None, (("allow", "GET, PUT"),)),
        (BodyLate(), 408, "RequestTimeout", None, CLOSE),
        (Conflict("text", "x"), 409, "Conflict", "x", ()),
        (BodyTooLarge(10, drained=True), 413, "RequestEntityTooLarge", None, ()),
        (BodyTooLarge(10, drained=False), 413, "RequestEntityTooLarge", None, CLOSE),
        (UnsupportedMedia("text", "Content-Type"), 415, "UnsupportedMediaType", None, ()),
        (Throttled("text", 7), 429, "TooManyRequests", None, (("retry-after", "7"),)),
        (NotStored("disk full"), 503, "ServiceUnavailable", None, ()),
        (Unavailable("text"), 503, "ServiceUnavailable", None, ()),
        (KeyError("a secret"), 500, "InternalServerError", None, ()),
    ],
)
def test_error_becomes_its_status_code_and_body(
    error: Exception, status: int, code: str, target: str | None, headers: tuple[tuple[str, str], ...]
) -> None:
    fault = communication_fault(error)

    expected: dict[str, Any] = {"code": code, "message": fault.message}
    if target is not None:
        expected["target"] = target
    assert (fault.status, fault.code, fault.headers) == (status, code, headers)
    assert json.loads(fault.body()) == {"error": expected}
    assert fault.content_type == "application/json; charset=utf-8"
    assert fault.message


def test_nobody_learns_why_a_credential_proves_nothing() -> None:
    assert b"another" not in communication_fault(Unauthorized("the signature is another")).body()
    assert b"secret" not in communication_fault(KeyError("a secret")).body()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("text", "form"), 400, "invalid_request"),
        (Unauthorized("why"), 401, "invalid_client"),
        (NotFound("text"), 404, "not_found"),
        (MethodNotAllowed(("POST",)), 405, "invalid_request"),
        (BodyTooLarge(10, drained=True), 413, "invalid_request"),
        (Throttled("text", 7), 429, "temporarily_unavailable"),
        (Unavailable("text"), 503, "temporarily_unavailable"),
        (KeyError("a secret"), 500, "server_error"),
    ],
)
def test_verifiers_get_errors_of_oauth(error: Exception, status: int, code: str) -> None:
    fault = verification_fault(error)

    assert (fault.status, fault.code) == (status, code)
    assert json.loads(fault.body()) == {"error": code, "error_description": fault.message}
    assert ("cache-control", "no-store") in fault.headers


def test_verifiers_are_told_that_a_password_is_good_enough() -> None:
    headers = dict(verification_fault(Unauthorized("why")).headers)

    assert headers["www-authenticate"].startswith('HMAC-SHA256, Bearer, Basic realm="')

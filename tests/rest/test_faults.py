"""One table from errors to answers; the shape of their bodies is pinned here."""

import json

import pytest

from hubwire.model.errors import (
    BadRequest,
    Conflict,
    Duplicate,
    EventUndelivered,
    Forbidden,
    NotFound,
    NotStored,
    PreconditionFailed,
    ProtocolViolation,
    Throttled,
    Unauthorized,
    UnsupportedMedia,
)
from hubwire.rest.faults import BodyLate, BodyTooLarge, MethodNotAllowed, fault_of


@pytest.mark.parametrize(
    ("error", "status", "code", "target", "headers"),
    [
        (BadRequest("text", "filter"), 400, "Error.BadRequest", "filter", ()),
        (BodyTooLarge(10, drained=True), 400, "Error.BadRequest", "Content-Length", ()),
        (BodyTooLarge(10, drained=False), 400, "Error.BadRequest", "Content-Length", (("connection", "close"),)),
        (Forbidden("text"), 403, "Error.Forbidden", "Request", ()),
        (NotFound("text", "hub"), 404, "Error.NotFound", "hub", ()),
        (MethodNotAllowed(("GET", "PUT")), 405, "Error.MethodNotAllowed", "Method", (("allow", "GET, PUT"),)),
        (BodyLate(), 408, "Error.RequestTimeout", "Request", (("connection", "close"),)),
        (Conflict("text"), 409, "Error.Conflict", "Request", ()),
        (PreconditionFailed("text"), 412, "Error.PreconditionFailed", "Request", ()),
        (UnsupportedMedia("text", "Content-Type"), 415, "Error.UnsupportedMediaType", "Content-Type", ()),
        (Throttled("text", 7), 429, "Error.TooManyRequests", "Request", (("retry-after", "7"),)),
        (NotStored("text"), 503, "Error.ServiceUnavailable", "Request", ()),
    ],
)
def test_error_becomes_its_status_code_and_body(
    error: Exception, status: int, code: str, target: str, headers: tuple[tuple[str, str], ...]
) -> None:
    fault = fault_of(error)

    assert (fault.status, fault.code, fault.headers) == (status, code, headers)
    assert json.loads(fault.body()) == {"code": code, "message": fault.message, "target": target, "details": []}
    assert fault.message


def test_body_keeps_its_order_and_its_script() -> None:
    fault = fault_of(BadRequest("Grüße 'x'", "filter"))

    expected = '{"code":"Error.BadRequest","message":"Grüße \'x\'","target":"filter","details":[]}'
    assert fault.body() == expected.encode()


def test_unauthorized_says_nothing_but_how_to_prove_oneself() -> None:
    fault = fault_of(Unauthorized("the signature does not fit"))

    assert (fault.status, fault.headers, fault.body()) == (401, (("www-authenticate", "Bearer"),), b"")
    assert "signature" not in fault.message


@pytest.mark.parametrize(
    "error", [KeyError("secret"), ProtocolViolation("secret"), Duplicate(1), EventUndelivered("secret")]
)
def test_unexpected_error_is_a_500_that_tells_nothing_about_it(error: Exception) -> None:
    fault = fault_of(error)

    assert (fault.status, fault.code, fault.target) == (500, "Error.InternalServerError", "Request")
    assert b"secret" not in fault.body()

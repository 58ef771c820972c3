"""Errors of the resource manager, in the form that all of Azure Resource Manager has."""

from typing import Any

import msgspec
import pytest

from hubwire.model.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotStored,
    PreconditionFailed,
    Throttled,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from hubwire.rest.faults import BodyLate, BodyTooLarge, MethodNotAllowed
from hubwire.rest.management_faults import ManagementFault, management_fault, not_available

ISSUER = "https://localhost:8443/tenant"


def error_of(error: Exception) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(management_fault(error, ISSUER).body())
    assert found.keys() == {"error"}
    inner: dict[str, Any] = found["error"]
    return inner


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("x"), 400, "InvalidParameter"),
        (BadRequest("x", "location"), 400, "LocationRequired"),
        (BadRequest("x", "sku.name"), 400, "InvalidParameter"),
        (Unauthorized("a secret reason"), 401, "AuthenticationFailed"),
        (Forbidden("x", "Authorization"), 403, "AuthorizationFailed"),
        (NotFound("x", "resource"), 404, "ResourceNotFound"),
        (NotFound("x", "group"), 404, "ResourceGroupNotFound"),
        (NotFound("x", "Path"), 404, "NotFound"),
        (MethodNotAllowed(("GET",)), 405, "MethodNotAllowed"),
        (BodyLate(), 408, "RequestTimeout"),
        (Conflict("x"), 409, "Conflict"),
        (Conflict("x", "name"), 409, "NameNotAvailable"),
        (Conflict("x", "location"), 409, "InvalidResourceLocation"),
        (PreconditionFailed("x"), 412, "PreconditionFailed"),
        (BodyTooLarge(10, drained=True), 400, "InvalidParameter"),
        (UnsupportedMedia("x"), 415, "UnsupportedMediaType"),
        (Throttled("x", 7), 429, "TooManyRequests"),
        (NotStored("disk is full"), 503, "ServiceUnavailable"),
        (Unavailable("x"), 503, "ServiceUnavailable"),
        (RuntimeError("a secret reason"), 500, "InternalServerError"),
    ],
    ids=repr,
)
def test_error_has_a_status_and_a_code(error: Exception, status: int, code: str) -> None:
    fault = management_fault(error, ISSUER)

    assert (fault.status, fault.code) == (status, code)
    assert error_of(error)["code"] == code
    assert error_of(error)["message"]
    assert "secret" not in fault.body().decode()


def test_error_names_what_it_is_about() -> None:
    assert error_of(BadRequest("No.", "sku.name")) == {
        "code": "InvalidParameter",
        "message": "No.",
        "target": "sku.name",
    }
    assert "target" not in error_of(BadRequest("No."))
    assert "target" not in error_of(MethodNotAllowed(("GET",)))


def test_caller_without_a_good_token_is_told_where_to_get_one() -> None:
    (header,) = management_fault(Unauthorized("x"), ISSUER).headers

    assert header == (
        "www-authenticate",
        f'Bearer authorization_uri="{ISSUER}", error="invalid_token", '
        'error_description="The access token is missing, or is not good for the resource manager."',
    )


def test_headers_of_other_errors_stay() -> None:
    assert management_fault(Throttled("x", 7), ISSUER).headers == (("retry-after", "7"),)
    assert management_fault(MethodNotAllowed(("GET", "PUT")), ISSUER).headers == (("allow", "GET, PUT"),)


def test_fault_with_a_code_of_its_own_is_shown_as_it_is() -> None:
    detail = {"code": "Inner", "message": "why"}
    more = {"type": "TemplateViolation", "info": {"lineNumber": 7}}
    fault = ManagementFault(418, "Teapot", "No.", "pot", [detail], [more])

    assert error_of(fault) == {
        "code": "Teapot",
        "message": "No.",
        "target": "pot",
        "details": [detail],
        "additionalInfo": [more],
    }
    assert management_fault(fault, ISSUER).status == 418
    assert error_of(ManagementFault(400, "Plain", "No.")) == {"code": "Plain", "message": "No."}


def test_what_this_server_lacks_is_named() -> None:
    fault = not_available("A custom domain")

    assert (fault.status, fault.code) == (501, "FeatureNotAvailable")
    assert fault.message == "A custom domain is not available in this server."

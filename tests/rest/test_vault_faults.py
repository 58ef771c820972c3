"""Errors of a Key Vault: their one form, and the challenge."""

import json
from typing import Any

import pytest

from hubwire.model.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotStored,
    Throttled,
    Unauthorized,
    Unavailable,
    Untimely,
)
from hubwire.rest.faults import BodyLate, MethodNotAllowed
from hubwire.rest.vault_faults import NotOffered, vault_fault

CHALLENGE = 'Bearer authorization="https://login.example/t", resource="https://vault.azure.net"'


def told(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    fault = vault_fault(error, CHALLENGE)
    assert fault.content_type.startswith("application/json")
    document = json.loads(fault.body())
    assert document.keys() == {"error"}
    return fault.status, document["error"], dict(fault.headers)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("no", "api-version"), 400, "BadParameter"),
        (NotFound("no", "secret-name"), 404, "SecretNotFound"),
        (NotFound("no", "version"), 404, "SecretNotFound"),
        (NotFound("no", "vault"), 404, "VaultNotFound"),
        (NotFound("no", "Path"), 404, "NotFound"),
        (MethodNotAllowed(("GET",)), 405, "MethodNotAllowed"),
        (BodyLate("no"), 408, "RequestTimeout"),
        (Conflict("no"), 409, "Conflict"),
        (Throttled("no", 3), 429, "Throttled"),
        (NotOffered("no"), 501, "NotSupported"),
        (Unavailable("no"), 503, "ServiceUnavailable"),
        (NotStored("disk is full"), 503, "ServiceUnavailable"),
        (ZeroDivisionError("secret"), 500, "InternalServerError"),
    ],
)
def test_error_has_the_code_of_the_service(error: Exception, status: int, code: str) -> None:
    found, document, _ = told(error)

    assert (found, document["code"]) == (status, code)
    assert document["message"]
    assert "secret" not in document["message"]
    assert document.keys() == {"code", "message"}


@pytest.mark.parametrize("error", [Unauthorized("token is signed with an unknown key"), Untimely("over")])
def test_whoever_is_not_known_is_told_how_to_sign_in_and_nothing_more(error: Unauthorized) -> None:
    status, document, headers = told(error)

    assert (status, document["code"], headers) == (401, "Unauthorized", {"www-authenticate": CHALLENGE})
    assert error.message not in document["message"]


@pytest.mark.parametrize("inner", ["AccessDenied", "SecretDisabled"])
def test_refusal_says_why_in_its_inner_error(inner: str) -> None:
    status, document, _ = told(Forbidden("You may not.", inner))

    assert (status, document) == (
        403,
        {"code": "Forbidden", "message": "You may not.", "innererror": {"code": inner}},
    )


def test_throttled_caller_is_told_when_to_come_again() -> None:
    assert told(Throttled("no", 3))[2] == {"retry-after": "3"}

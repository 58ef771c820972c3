"""
Errors of communication services to answers, and of those who verify tokens of their users. Pure.

Sources: answers of the service, which the tests of its official clients have recorded; ErrorResponse of its REST
definition; RFC 6749, section 5.2, and RFC 7662, section 2.3.
"""

from typing import Any, Final

from hubwire.model.errors import BadRequest, IdentityNotOwned, InvalidAccessToken, NotFound, Throttled, Unauthorized
from hubwire.rest.faults import BodyTooLarge, Fault, fault_of

__all__ = ["CommunicationFault", "communication_fault", "verification_fault"]

_CODES: Final = {
    400: "ValidationError",
    401: "Denied",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
_MALFORMED: Final = ("path", "query")
"""Targets of what cannot even be read; every other one is a part of what was read."""

_DENIED: Final = "The request carries no credential, or one that proves nothing for this service."
_NOT_OWNED: Final = "The resource has no such identity."
_NO_USER: Final = "The user's access token proves nothing here, or lacks a permission."
_SCHEMES: Final = "HMAC-SHA256, Bearer"
_VERIFIERS: Final = 'HMAC-SHA256, Bearer, Basic realm="Communication Services", charset="UTF-8"'


class CommunicationFault(BadRequest):
    """A request that is malformed in a way that has a code of its own."""

    def __init__(self, code: str, message: str, target: str | None = None) -> None:
        super().__init__(message, target)
        self.code = code


def communication_fault(error: Exception) -> Fault:
    """What an error is for a caller of a communication service."""
    found = fault_of(error)
    status, message, headers = found.status, found.message, found.headers
    if isinstance(error, BodyTooLarge):
        status = 413
    code = _CODES.get(status, "BadRequest")
    # What nobody named as a part of the request is not named here either.
    target = getattr(error, "target", None) if status in (400, 409) else None
    if isinstance(error, IdentityNotOwned):
        code, message, headers = "IdentityNotOwned", _NOT_OWNED, ()
    elif isinstance(error, InvalidAccessToken):
        code, message, headers = "InvalidAccessToken", _NO_USER, ()
    elif isinstance(error, Unauthorized):
        message, headers = _DENIED, (("www-authenticate", _SCHEMES),)
    elif isinstance(error, CommunicationFault):
        code = error.code
    elif status == 400 and target in _MALFORMED:
        code = "BadRequest"
    document: dict[str, Any] = {"code": code, "message": message}
    if target is not None:
        document["target"] = target
    return Fault(status, code, message, target or "", headers, {"error": document})


def verification_fault(error: Exception) -> Fault:
    """What an error is for whoever verifies tokens."""
    found = fault_of(error)
    status, code, message, headers = found.status, "invalid_request", found.message, found.headers
    if isinstance(error, BodyTooLarge):
        status = 413
    if isinstance(error, Unauthorized):
        code, message, headers = "invalid_client", _DENIED, (("www-authenticate", _VERIFIERS),)
    elif isinstance(error, NotFound):
        code = "not_found"
    elif isinstance(error, Throttled) or status == 503:
        code = "temporarily_unavailable"
    elif status >= 500:
        code = "server_error"
    kept = (*headers, ("cache-control", "no-store"))
    return Fault(status, code, message, "", kept, {"error": code, "error_description": message})

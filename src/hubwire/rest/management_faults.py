"""
Errors of the resource manager to answers, in the form that all of Azure Resource Manager has. Pure.

Source: the resource provider contract's error response; codes as resource providers and the resource manager give them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubwire.model.errors import Refused, Unauthorized
from hubwire.rest.faults import Fault, MethodNotAllowed, fault_of

__all__ = ["ManagementFault", "management_fault", "not_available"]

_CODES: Final = {
    400: "InvalidParameter",
    401: "AuthenticationFailed",
    403: "AuthorizationFailed",
    404: "ResourceNotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    412: "PreconditionFailed",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
_BY_TARGET: Final = {
    (404, "group"): "ResourceGroupNotFound",
    (404, "Path"): "NotFound",
    (400, "location"): "LocationRequired",
    (409, "location"): "InvalidResourceLocation",
    (409, "name"): "NameNotAvailable",
    (409, "quota"): "QuotaExceeded",
    (409, "identity"): "IdentityInUse",
}


class ManagementFault(Refused):
    """
    An answer with a code of its own.

    Args:
        details: of the same form as the error, for what came of several things.
        information: `type` and `info` of what is known besides.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        target: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        information: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, target)
        self.status = status
        self.code = code
        self.details = details
        self.information = information

    def document(self) -> dict[str, Any]:
        """What stands below `error`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        if self.details:
            error["details"] = list(self.details)
        if self.information:
            error["additionalInfo"] = list(self.information)
        return error


def not_available(feature: str) -> ManagementFault:
    """The answer to what the service has and this server does not."""
    return ManagementFault(501, "FeatureNotAvailable", f"{feature} is not available in this server.")


def management_fault(error: Exception, authority: str) -> Fault:
    """
    What an error is for a caller of the resource manager.

    Args:
        authority: URL where tokens are to be had.
    """
    if isinstance(error, ManagementFault):
        return Fault(error.status, error.code, error.message, "", document={"error": error.document()})
    found = fault_of(error)
    code = _BY_TARGET.get((found.status, found.target), _CODES.get(found.status, "BadRequest"))
    message, headers = found.message, found.headers
    if isinstance(error, Unauthorized):
        message = "The access token is missing, or is not good for the resource manager."
        challenge = f'Bearer authorization_uri="{authority}", error="invalid_token", error_description="{message}"'
        headers = (("www-authenticate", challenge),)
    document: dict[str, Any] = {"code": code, "message": message}
    if isinstance(error, Refused) and error.target and not isinstance(error, MethodNotAllowed):
        document["target"] = error.target
    return Fault(found.status, code, message, found.target, headers, {"error": document})

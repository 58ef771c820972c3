"""
Errors of a Key Vault to answers, and the challenge with which it tells how to sign in. Pure.

Source: Key Vault's pages on authentication, requests and responses, and on its REST error codes; the challenge parsers
of the official clients.
"""

from typing import Any, Final

from hubwire.model.errors import Forbidden, Refused, Unauthorized
from hubwire.rest.faults import Fault, fault_of

__all__ = ["NotOffered", "vault_fault"]

_CODES: Final = {
    400: "BadParameter",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    429: "Throttled",
    500: "InternalServerError",
    501: "NotSupported",
    503: "ServiceUnavailable",
}
_BY_TARGET: Final = {
    "secret-name": "SecretNotFound",
    "version": "SecretNotFound",
    "vault": "VaultNotFound",
}
_SIGN_IN: Final = "The access token is missing, or is not good for this vault."


class NotOffered(Refused):
    """Something that the service has and this server does not."""


def vault_fault(error: Exception, challenge: str) -> Fault:
    """
    What an error is for a caller of a vault.

    Args:
        challenge: says where to get a token, and for what.
    """
    if isinstance(error, NotOffered):
        return Fault(501, _CODES[501], error.message, "", (), _document(_CODES[501], error.message))
    found = fault_of(error)
    code, message, headers = _CODES.get(found.status, "BadParameter"), found.message, found.headers
    if found.status == 404:
        code = _BY_TARGET.get(found.target, code)
    if isinstance(error, Unauthorized):
        message, headers = _SIGN_IN, (("www-authenticate", challenge),)
    document = _document(code, message)
    if isinstance(error, Forbidden) and error.target:
        document["error"]["innererror"] = {"code": error.target}
    return Fault(found.status, code, message, found.target, headers, document)


def _document(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}

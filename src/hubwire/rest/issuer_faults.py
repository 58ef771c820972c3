"""
Errors of the token issuer and of the managed-identity endpoints to answers. Pure, but for the ids that it makes up.

Sources: Entra's page on the client-credentials grant; the identity endpoints of Azure's virtual machines and of App
Service, whose members stand side by side in one body.
"""

import re
import time
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from hubwire.auth.refusals import NUMBERS, TokenRefused
from hubwire.model.errors import Forbidden, NotFound, NotStored, Refused, Throttled, Unauthorized, Unavailable
from hubwire.rest.faults import Fault, fault_of

__all__ = ["identity_fault", "issuer_fault"]

_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_INVALID_INPUT: Final = 90013
_THROTTLED: Final = 90055
_UNAVAILABLE: Final = 90033


def issuer_fault(error: Exception, correlation: str, base_url: str) -> Fault:
    """
    An OAuth error with Entra's members.

    Args:
        correlation: what the caller names its request; kept if it is a GUID.
        base_url: of the issuer.
    """
    fault = fault_of(error)
    if isinstance(error, TokenRefused):
        code, status, name, message = error.code, error.status, error.error, error.message
    else:
        status = fault.status
        code = _THROTTLED if status == 429 else _INVALID_INPUT if status < 500 else _UNAVAILABLE
        name = NUMBERS[code][1]
        message = f"AADSTS{code}: {fault.message}"
    trace = str(uuid4())
    known = correlation if _GUID.fullmatch(correlation) else str(uuid4())
    moment = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    document: dict[str, Any] = {
        "error": name,
        "error_description": f"{message} Trace ID: {trace} Correlation ID: {known} Timestamp: {moment}",
        "error_codes": [code],
        "timestamp": moment,
        "trace_id": trace,
        "correlation_id": known,
        "error_uri": f"{base_url}/error?code={code}",
    }
    return Fault(status, name, message, "", (*fault.headers, ("x-ms-request-id", trace)), document)


def identity_fault(error: Exception) -> Fault:
    """An error of a managed-identity endpoint: what virtual machines say, and beside it what App Service says."""
    fault = fault_of(error)
    status, name = fault.status, "invalid_request"
    match error:
        case TokenRefused():
            status, name = 400, error.error
        case NotFound():
            status = 400
        case Unauthorized():
            name = "unauthorized_client"
        case Forbidden():
            name = "access_denied"
        case Throttled() | NotStored() | Unavailable():
            name = "temporarily_unavailable"
        case Refused():
            pass
        case _:
            name = "unknown"
    text = error.message if isinstance(error, Refused) and error.message else fault.message
    document = {
        "error": name,
        "error_description": text,
        "statusCode": status,
        "message": text,
        "correlationId": str(uuid4()),
    }
    return Fault(status, name, text, "", fault.headers, document)

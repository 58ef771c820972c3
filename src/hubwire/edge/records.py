"""What the front refused by itself, for whoever looks for the fault: one record and one count for each."""

import logging
from typing import Final

from hubwire.model.telemetry import Telemetry

__all__ = ["REQUEST_REFUSED", "refused"]

REQUEST_REFUSED: Final = "RequestRefused"
"""Stands where requests that reached REST have the name of their operation."""

_http: Final = logging.getLogger("hubwire.http")


def refused(telemetry: Telemetry, status: int, reason: str, client_ip: str) -> None:
    """
    A request was answered before anybody saw it.

    Args:
        reason: generic text; never what the client sent, which may be anything.
        client_ip: empty for peers of a Unix socket.
    """
    telemetry.count_request(REQUEST_REFUSED, status)
    record = {"operationName": REQUEST_REFUSED, "callerIpAddress": client_ip, "statusCode": status}
    _http.warning("%s", reason, extra={"record": record})

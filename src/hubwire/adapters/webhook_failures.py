"""
What went wrong with a call of an event handler, in words of its operator.

The texts of aiohttp's errors are not passed on: many hold the URL, which may hold a secret, or a part of the response.
"""

import os
import ssl
from typing import Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong

from hubwire.adapters.targets import RefusedTarget
from hubwire.model.webhooks import WebhookFailed

__all__ = ["failure"]

_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
"""Of X509_V_ERR: no issuer found, or one that is not trusted."""
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
"""Of OpenSSL, depending on its version, when a server answers a greeting in plain text."""


def failure(error: BaseException, place: str) -> WebhookFailed:
    """
    Args:
        error: that an exchange over HTTP ended with.
        place: host and port of the handler.
    """
    match error:
        case aiohttp.ClientConnectorError():
            return _not_connected(error, place)
        case aiohttp.ServerDisconnectedError() if isinstance(error.message, str):
            return WebhookFailed(f"{place} closed the connection instead of answering", "unreachable")
        case aiohttp.ServerDisconnectedError():
            return WebhookFailed(f"{place} closed the connection in the middle of its answer", "unreachable")
        case aiohttp.ClientPayloadError() if isinstance(error.__cause__, ContentEncodingError):
            return WebhookFailed(f"{place} answered with a Content-Encoding that cannot be decoded", "invalid")
        case aiohttp.ClientPayloadError():
            return WebhookFailed(f"the connection to {place} broke in the middle of its answer", "unreachable")
        case HttpProcessingError():
            return _malformed(error, place)
        case aiohttp.ClientConnectionError() | OSError():
            return WebhookFailed(f"the connection to {place} broke{_reason(error)}", "unreachable")
        case _:
            return WebhookFailed(f"{place} cannot be called: the host of the URL is none", "invalid")


def _not_connected(error: aiohttp.ClientConnectorError, place: str) -> WebhookFailed:
    why = error.os_error
    match why:
        case RefusedTarget():
            return WebhookFailed(f"{place} may not be called: {why}", "refused target")
        case ssl.SSLCertVerificationError():
            text = f"the certificate of {place} is not accepted: {why.verify_message}"
            if why.verify_code in _UNKNOWN_AUTHORITY:
                text += "; handler_ca can name further authorities"
            return WebhookFailed(text, "unreachable")
        case ssl.SSLError() if why.reason in _NO_TLS:
            return WebhookFailed(
                f"{place} does not speak TLS at this port: is the URL to begin with http?", "unreachable"
            )
        case ssl.SSLError() | ConnectionResetError(errno=None):
            return WebhookFailed(f"{place} ended the TLS handshake{_reason(why)}", "unreachable")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return WebhookFailed(f"the name of {place} cannot be resolved: {why.strerror or why}", "unreachable")
    return WebhookFailed(f"cannot connect to {place}{_reason(why)}", "unreachable")


def _malformed(error: HttpProcessingError, place: str) -> WebhookFailed:
    """Something answers, and would answer the same once more."""
    cause = error.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, LineTooLong):
        return WebhookFailed(f"{place} answered with a header that is too long", "invalid")
    if error.message.startswith("Too many headers"):
        return WebhookFailed(f"{place} answered with too many headers", "invalid")
    return WebhookFailed(f"{place} did not answer in HTTP/1.1: is the URL to begin with https?", "invalid")


def _reason(error: BaseException) -> str:
    """The end of a sentence, in words of the system; empty where it has none."""
    first = error.__cause__ or error
    if isinstance(first, ssl.SSLError):  # its numbers are none of the system's
        return f": {first.reason}" if first.reason else ""
    number = getattr(first, "errno", None)
    return f": {os.strerror(number)}" if number else ""

"""
What the token issuer answers when it gives no token: an OAuth error with the number that Entra has for it.

Programs look at `error`, people look up the number. Sources: RFC 6749, 5.2; Entra's page of AADSTS error codes.
"""

from typing import Final

from hubwire.model.errors import Refused

__all__ = ["NUMBERS", "TokenRefused"]

NUMBERS: Final[dict[int, tuple[int, str]]] = {
    28000: (400, "invalid_scope"),
    50049: (400, "invalid_instance"),
    50126: (400, "invalid_grant"),
    70003: (400, "unsupported_grant_type"),
    70011: (400, "invalid_scope"),
    90002: (400, "invalid_request"),
    90013: (400, "invalid_request"),
    90023: (400, "unsupported_response_type"),
    90033: (503, "temporarily_unavailable"),
    90055: (429, "temporarily_unavailable"),
    500011: (400, "invalid_resource"),
    700016: (400, "unauthorized_client"),
    700023: (401, "invalid_client"),
    700024: (401, "invalid_client"),
    700027: (401, "invalid_client"),
    700213: (401, "invalid_client"),
    900144: (400, "invalid_request"),
    1002012: (400, "invalid_scope"),
    7000215: (401, "invalid_client"),
    7000218: (401, "invalid_client"),
    7000222: (401, "invalid_client"),
    9000411: (400, "invalid_request"),
}


class TokenRefused(Refused):
    """
    Args:
        code: of the table; decides status and OAuth error.
        text: for the caller; no secret and no token.
        error: instead of the table's.
    """

    def __init__(self, code: int, text: str, *, error: str | None = None) -> None:
        super().__init__(f"AADSTS{code}: {text}")
        self.code = code
        self.status, known = NUMBERS[code]
        self.error = error or known

    @property
    def is_failed_proof(self) -> bool:
        """Somebody could not prove who they are. Such failures are counted, and too many of them slowed down."""
        return self.status == 401 or self.code == 50126

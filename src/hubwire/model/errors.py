"""
The tree of errors, and who is at fault.

    HubwireError
      ProtocolViolation     the peer's fault: its connection is closed, nobody else notices
      QueueOverflow         the peer is too slow: its connection is closed, nobody else notices
      Refused               an answer: what was asked for is not done, and the asker is told why
        BadRequest            malformed or out of range (400)
        Unauthorized          no credential, or one that proves nothing (401)
          Untimely            a token whose time is over, or still to come (401)
          IdentityNotOwned    a user that a communication service does not have (401)
          InvalidAccessToken  a token that was to be exchanged proves nothing (401)
        Forbidden             known, but not allowed (403, ack "Forbidden")
        NotFound              no such thing (404)
        Conflict              a limit or another state stands in the way (409)
        Duplicate             an ack id that was already carried out (ack "Duplicate")
        PreconditionFailed    the stored document is not the expected one (412)
        UnsupportedMedia      a content type that cannot be taken (415)
        Throttled             a quota is used up (429)
        NotStored             the change could not be written, such as to a full disk (503)
        Unavailable           something that it takes does not answer (503)
        EventUndelivered      no event handler took the event (ack "InternalServerError")
      StartFailed           the server cannot start; the text is one line for the operator

An assertion that fails is our own fault and is not in this tree.
Only the edge that speaks a protocol turns an error into a code of that protocol.
"""

__all__ = [
    "BadRequest",
    "Conflict",
    "Duplicate",
    "EventUndelivered",
    "Forbidden",
    "HubwireError",
    "IdentityNotOwned",
    "InvalidAccessToken",
    "NotFound",
    "NotStored",
    "PreconditionFailed",
    "ProtocolViolation",
    "QueueOverflow",
    "Refused",
    "StartFailed",
    "Throttled",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMedia",
    "Untimely",
]


class HubwireError(Exception):
    """Base of everything that this package raises on purpose."""


class ProtocolViolation(HubwireError):  # noqa: N818  the name says whose fault it is
    """
    The peer broke its protocol. Its connection ends with `close_code`.

    Args:
        reason: generic text, safe to show to the peer and in a log; never a copy of what it sent.
        close_code: RFC 6455 status code, 1002 to 1011.
    """

    def __init__(self, reason: str, close_code: int = 1007) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close_code = close_code


class QueueOverflow(HubwireError):  # noqa: N818
    """A reliable client left more unacknowledged than it may. `messages` and `size_bytes` are what it held."""

    def __init__(self, messages: int, size_bytes: int) -> None:
        super().__init__(f"{messages} messages, {size_bytes} bytes unacknowledged")
        self.messages = messages
        self.size_bytes = size_bytes


class Refused(HubwireError):  # noqa: N818
    """
    Base of answers that say no.

    Args:
        message: for the asker; never a secret, a token or another user's data.
        target: the part of the request that is at fault, such as a parameter's name; None for the request itself.
    """

    def __init__(self, message: str = "", target: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.target = target


class BadRequest(Refused):
    """What was sent is malformed or out of its range."""


class Unauthorized(Refused):
    """No credential, or one that proves nothing. `message` is for the log only: callers learn nothing more."""


class Untimely(Unauthorized):
    """A token whose time is over, or still to come."""


class IdentityNotOwned(Unauthorized):
    """A communication service has no such user, or no longer. Whose it may be is not said."""


class InvalidAccessToken(Unauthorized):
    """A user's token that was to be exchanged for another proves nothing. Who asks may well be known."""


class Forbidden(Refused):
    """The caller is known and may not do this."""


class NotFound(Refused):
    """No such connection, user or thing."""


class Conflict(Refused):
    """A limit or another state stands in the way."""


class Duplicate(Refused):
    """An ack id that was already carried out on this connection."""

    def __init__(self, ack_id: int) -> None:
        super().__init__(f"Message with ack-id: {ack_id} has been processed")
        self.ack_id = ack_id


class PreconditionFailed(Refused):
    """A change demanded a state of a stored document that is not (or no longer) there."""


class UnsupportedMedia(Refused):
    """A body whose content type or charset this operation does not take."""


class Throttled(Refused):
    """A quota is used up. `retry_after_s` is a hint, in whole seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotStored(Refused):
    """
    A change could not be written; what holds is what held before.

    Args:
        reason: in words of the database, such as "database or disk is full".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The change could not be stored: {reason}.")
        self.reason = reason


class Unavailable(Refused):
    """Something outside of this server does not answer, and without it nothing can be said. Trying again may help."""


class EventUndelivered(Refused):
    """No event handler took the event, or the one that should have failed."""


class StartFailed(HubwireError):  # noqa: N818
    """The server cannot start, for a reason that the operator can mend."""

"""The kinds of documents that belong to a communication service, and go with it."""

from typing import Final

from hubwire.communication.assignments import ENTRA_ASSIGNMENT, TEAMS_ASSIGNMENT
from hubwire.communication.user_documents import CUSTOM_ID, ISSUE, USER

__all__ = ["OWNED"]

OWNED: Final = (USER, CUSTOM_ID, ISSUE, ENTRA_ASSIGNMENT, TEAMS_ASSIGNMENT)
"""The key of each begins with the immutable id of the service and a slash."""

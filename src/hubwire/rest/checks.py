"""What several tables check in the same way. Pure."""

from collections.abc import Iterable

from hubwire.model.communication import CommunicationService
from hubwire.model.errors import BadRequest, Forbidden
from hubwire.model.names import is_group_name, is_hub_name, is_user_id

__all__ = ["check_reachable", "checked_groups", "checked_hub", "checked_user"]


def check_reachable(service: CommunicationService) -> None:
    """
    Raises:
        Forbidden: nobody may call this service over the network.
    """
    if not service.is_reachable:
        raise Forbidden("Access to this communication service over the network is switched off.", "Network")


def checked_hub(name: str) -> str:
    """
    A hub's name as it was spelt.

    Raises:
        BadRequest: not a legal one.
    """
    if not is_hub_name(name):
        raise BadRequest("A hub name is a letter and up to 127 letters, digits and _`,.[] after it.", "hub")
    return name


def checked_groups(names: Iterable[str], target: str) -> tuple[str, ...]:
    """
    Each group once, in the order in which they came.

    Args:
        target: what the error names.

    Raises:
        BadRequest: one of them is not a legal name.
    """
    groups = tuple(dict.fromkeys(names))
    if not all(map(is_group_name, groups)):
        raise BadRequest("A group name has 1 to 1024 characters and is not only white space.", target)
    return groups


def checked_user(user_id: str) -> str:
    """
    Raises:
        BadRequest: blank, or not a legal one.
    """
    if not user_id or user_id.isspace():
        raise BadRequest("A user id is not blank.", "userId")
    if not is_user_id(user_id):
        raise BadRequest("A user id has no control characters.", "userId")
    return user_id

"""
What operators and nodes say to one another: commands (nobody answers) and queries (somebody answers).
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from hubwire.model.messages import DataMessage, GroupStateMessage, MemberState
from hubwire.model.targets import Target

__all__ = [
    "AddToGroups",
    "Answer",
    "Close",
    "Command",
    "Exists",
    "ListMembers",
    "ListStates",
    "Member",
    "Permission",
    "PermissionRule",
    "Query",
    "RemoveFromGroups",
    "Send",
    "StatesChanged",
]

Permission: TypeAlias = Literal["joinLeaveGroup", "sendToGroup"]


class Send(Struct, frozen=True):
    """
    Deliver `message` to `target`.

    Attributes:
        excluded: ids of connections that must not receive it.
        filter: an OData expression, already known to be valid, that receivers must satisfy; None for all.
        ttl_s: 0 to 300 whole seconds that it may wait for a receiver; 0 is for ever.
    """

    target: Target
    message: DataMessage
    excluded: tuple[str, ...] = ()
    filter: str | None = None
    ttl_s: int = 0


class StatesChanged(Struct, frozen=True):
    """Tell `target`, who has subscribed to the states of a group, what has changed."""

    target: Target
    message: GroupStateMessage


Command: TypeAlias = Send | StatesChanged


class Exists(Struct, frozen=True):
    """How many connections does `target` have? Those that wait for their recovery count. Answer: `count`."""

    target: Target


class ListMembers(Struct, frozen=True):
    """
    The connections of `target` in ascending order of connection id. Answer: `members`, `count` of them.

    Attributes:
        after: only ids that sort after this one; empty for the beginning.
        limit: at most so many, 1 or more.
    """

    target: Target
    after: str
    limit: int


class ListStates(Struct, frozen=True):
    """What connections have set as their states in a group; `target` is who is told them. Answer: `states`."""

    target: Target


class AddToGroups(Struct, frozen=True):
    """
    Make the connections of `target` that satisfy `filter` members of all `groups`. Answer: `count` of connections.

    When the answer arrives, the membership holds: what is sent to the group afterwards reaches them. `untakable` says
    that it does not for some, whose protocol has no such names of groups.
    """

    target: Target
    groups: tuple[str, ...]
    filter: str | None = None


class RemoveFromGroups(Struct, frozen=True):
    """The opposite of `AddToGroups`; `groups` of None means all that each connection is in."""

    target: Target
    groups: tuple[str, ...] | None
    filter: str | None = None


class Close(Struct, frozen=True):
    """Close the connections of `target`, those that wait for their recovery included. Answer: `count`."""

    target: Target
    excluded: tuple[str, ...] = ()
    reason: str = ""


class PermissionRule(Struct, frozen=True):
    """
    Ask for, add or remove a permission of one connection (`target` is a connection) for one literal group.

    Answer: `count` is 0 for an unknown connection, else 1; `allowed` says what holds afterwards; `limit_reached` that
    a rule more would be over the limit, and nothing was changed.
    """

    action: Literal["check", "grant", "revoke"]
    target: Target
    permission: Permission
    group: str


Query: TypeAlias = Exists | ListMembers | ListStates | AddToGroups | RemoveFromGroups | Close | PermissionRule


class Member(Struct, frozen=True, gc=False):
    """One connection in a list."""

    connection_id: str
    user_id: str | None = None


class Answer(Struct, frozen=True):
    """One node's answer to a query. Which fields count is said by the query."""

    count: int = 0
    members: tuple[Member, ...] = ()
    states: tuple[MemberState, ...] = ()
    allowed: bool = False
    limit_reached: bool = False
    untakable: bool = False

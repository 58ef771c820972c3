"""Whom something is for: a whole hub, a group, those who are told its states, a user or one connection."""

from typing import Literal, NamedTuple, TypeAlias

from hubwire.model.names import HubKey

__all__ = ["Target", "TargetKind", "to_connection", "to_group", "to_group_state", "to_groups", "to_hub", "to_user"]

TargetKind: TypeAlias = Literal["hub", "group", "groups", "group state", "user", "connection"]


class Target(NamedTuple):
    """
    Whom something is for, and at the same time the topic by which nodes hear of it.

    Attributes:
        name: group name, user id or connection id, case-sensitive; empty for a whole hub and for all its groups.
    """

    kind: TargetKind
    hub: HubKey
    name: str


# A named tuple's own constructor is a function in Python, which compiled callers would wait for at each message.


def to_hub(hub: HubKey) -> Target:
    """Every connection of a hub."""
    return tuple.__new__(Target, ("hub", hub, ""))


def to_group(hub: HubKey, group: str) -> Target:
    """The members of a group."""
    return tuple.__new__(Target, ("group", hub, group))


def to_groups(hub: HubKey) -> Target:
    """
    All groups of a hub, for who wants to hear of whatever is sent to any of them. Nothing is sent to it, and nobody
    belongs to it who could be asked for.
    """
    return tuple.__new__(Target, ("groups", hub, ""))


def to_group_state(hub: HubKey, group: str) -> Target:
    """Who has subscribed to the states of a group."""
    return tuple.__new__(Target, ("group state", hub, group))


def to_user(hub: HubKey, user_id: str) -> Target:
    """Every connection of a user."""
    return tuple.__new__(Target, ("user", hub, user_id))


def to_connection(hub: HubKey, connection_id: str) -> Target:
    """One connection."""
    return tuple.__new__(Target, ("connection", hub, connection_id))

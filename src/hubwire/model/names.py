"""
Names of hubs, groups, events and users, and the metadata of messages: what is legal.

Sources: the data plane's REST definition of 2024-12-01 (hub and group patterns) and the behaviour of the service's
own emulator (event names, metadata limits).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = [
    "HubKey",
    "is_event_name",
    "is_group_name",
    "is_hub_name",
    "is_invocation_id",
    "is_topic_name",
    "is_user_id",
    "metadata_fault",
    "shown_end",
    "shown_user_id",
]

_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_METADATA_KEY = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
_METADATA_VALUE = re.compile(r"[\x00-\x7f]{0,1024}")
_METADATA_TOTAL = 8192
_GROUP_LENGTH = 1024
_INVOCATION_LENGTH = 1024
_COMMUNICATION_USER = "8:acs:"
_SHOWN_END = 12


class HubKey(NamedTuple):
    """Which hub: the resource that owns it, and the hub's name in lower case (hub names compare without case)."""

    resource: str
    hub: str


def is_hub_name(name: str) -> bool:
    """1 to 128 characters, a letter first. Callers lower-case the name before they look anything up."""
    return _HUB.fullmatch(name) is not None


def is_group_name(name: str) -> bool:
    """1 to 1024 characters of any script, case-sensitive, not only white space."""
    return 0 < len(name) <= _GROUP_LENGTH and not name.isspace()


def is_topic_name(group: str) -> bool:
    """
    Can a group be a topic of MQTT: without U+0000 and without what stands for wildcards in filters. What begins with a
    dollar sign is kept for other uses.

    Args:
        group: legal as the name of one.

    Source: OASIS MQTT 5.0, 1.5.4, 4.7.1 and 4.7.2.
    """
    return group[0] != "$" and "+" not in group and "#" not in group and "\0" not in group


def is_user_id(text: str) -> bool:
    """Any text but none, without control characters: it stands as it is in a header of what handlers are told."""
    return text != "" and _CONTROL.search(text) is None


def shown_user_id(user_id: str | None) -> str | None:
    """As it stands in records. Of users of communication services these have the end alone, which tells them apart."""
    if user_id is not None and user_id.startswith(_COMMUNICATION_USER):
        return shown_end(user_id)
    return user_id


def shown_end(text: str) -> str:
    """What may name a person, as it stands in the log: the last twelve characters, enough to find it again."""
    return f"…{text[-_SHOWN_END:]}"


def is_event_name(name: str) -> bool:
    """1 to 128 characters: letters, digits, `_`, `.` and `-`, a letter first."""
    return _EVENT.fullmatch(name) is not None


def is_invocation_id(text: str) -> bool:
    """1 to 1024 characters. The service documents no limit; each that is pending is kept, so there has to be one."""
    return 0 < len(text) <= _INVOCATION_LENGTH


def metadata_fault(metadata: Mapping[str, str]) -> str | None:
    """
    What is wrong with the metadata of a message, or None.

    Keys are HTTP tokens of at most 256 characters; values ASCII of at most 1024; all together at most 8192 bytes.
    """
    total = 0
    for key, value in metadata.items():
        if _METADATA_KEY.fullmatch(key) is None:
            return "metadata key is not an HTTP token of 1 to 256 characters"
        if _METADATA_VALUE.fullmatch(value) is None:
            return "metadata value is not ASCII of at most 1024 characters"
        total += len(key) + len(value)
    if total > _METADATA_TOTAL:
        return f"metadata is larger than {_METADATA_TOTAL} bytes"
    return None

"""
Who may join and send: roles, patterns and grants to yes or no.

A role is a string of a token. Without any, a client may neither join nor send to a group; what it was put in by others
it still receives. At runtime, REST adds rules for single groups, which win over the roles.

Source: the service's pages on client protocols and on wildcard group roles; the limit of its emulator.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, get_args

from hubwire.model.commands import Permission
from hubwire.model.errors import Conflict
from hubwire.model.names import is_group_name
from hubwire.model.patterns import Pattern, PatternSet, parse_pattern
from hubwire.model.topic_filters import covers, has_wildcards, matches

__all__ = ["Permissions", "RoleSet", "parse_roles"]

_RULE_LIMIT: Final = 1000
"""Rules for one permission of one connection."""

_PREFIX: Final = "webpubsub."
_CACHED_ROLE_SETS: Final = 1024
_CACHED_MATCHES: Final = 4096


class _Grants(NamedTuple):
    """
    Groups for which roles give one permission.

    Attributes:
        patterns: None for none.
        spelled: what these are made of.
    """

    groups: frozenset[str]
    patterns: PatternSet | None
    spelled: frozenset[Pattern]


@lru_cache(_CACHED_MATCHES)
def _matches(patterns: PatternSet, group: str) -> bool:
    """Clients publish to few groups, over and over. One bounded memory for all, whatever the number of connections."""
    return patterns.matches(group)


@lru_cache(_CACHED_MATCHES)
def _cover(grants: _Grants, topic_filter: str) -> bool:
    """Many clients subscribe with few filters, each time that they come."""
    if grants.patterns is None:
        return False  # a filter with wildcards stands for more names than anybody lists
    single = [Pattern(tuple(group)) for group in grants.groups if matches(topic_filter, group)]
    return covers(PatternSet([*grants.spelled, *single]) if single else grants.patterns, topic_filter)


class RoleSet(NamedTuple):
    """
    What the roles of a token allow. One object for all connections with the same roles.

    Attributes:
        everywhere: permissions that hold for all groups.
        grants: for single groups and patterns, only where there are any.
    """

    everywhere: frozenset[Permission]
    grants: Mapping[Permission, _Grants]

    def allows(self, permission: Permission, group: str) -> bool:
        """Is it allowed for the group of this name."""
        if permission in self.everywhere:
            return True
        grants = self.grants.get(permission)
        if grants is None:
            return False
        return group in grants.groups or (grants.patterns is not None and _matches(grants.patterns, group))

    def allows_filter(self, permission: Permission, topic_filter: str) -> bool:
        """Is it allowed for every group whose name matches a filter of MQTT."""
        if permission in self.everywhere:
            return True
        if not has_wildcards(topic_filter):
            return self.allows(permission, topic_filter)
        grants = self.grants.get(permission)
        return grants is not None and _cover(grants, topic_filter)

    def covers(self, other: "RoleSet") -> bool:
        """
        Is all allowed that other roles allow. A pattern is only covered by the same one, or by a role for all groups:
        whether one is within another is not worked out, and so denied.
        """
        if not other.everywhere <= self.everywhere:
            return False
        for permission, wanted in other.grants.items():
            if permission in self.everywhere:
                continue
            grants = self.grants.get(permission)
            if grants is None or not wanted.spelled <= grants.spelled:
                return False
            if not all(self.allows(permission, group) for group in wanted.groups):
                return False
        return True


def parse_roles(roles: Sequence[str]) -> RoleSet:
    """
    Read the roles of a token, such as `webpubsub.sendToGroup`, `webpubsub.sendToGroup.room*` (that one group) or
    `webpubsub.sendToGroups.room*` (a pattern). Case-sensitive; unknown ones and bad patterns allow nothing.
    """
    return _role_set(tuple(roles))


@lru_cache(_CACHED_ROLE_SETS)
def _role_set(roles: tuple[str, ...]) -> RoleSet:
    everywhere: set[Permission] = set()
    grants: dict[Permission, _Grants] = {}
    for permission in get_args(Permission):
        whole = _PREFIX + permission
        patterns = _patterns(roles, f"{whole}s.")
        if whole in roles or any(pattern.matches_all for pattern in patterns):
            everywhere.add(permission)
            continue
        names = {role.removeprefix(f"{whole}.") for role in roles if role.startswith(f"{whole}.")}
        names.update(pattern.literal for pattern in patterns if pattern.literal is not None)
        groups = frozenset(filter(is_group_name, names))
        patterns = [pattern for pattern in patterns if pattern.literal is None]
        if groups or patterns:
            grants[permission] = _Grants(groups, PatternSet(patterns) if patterns else None, frozenset(patterns))
    return RoleSet(frozenset(everywhere), grants)


def _patterns(roles: Sequence[str], prefix: str) -> list[Pattern]:
    """The usable patterns of the roles that begin so, each one once."""
    texts = dict.fromkeys(role.removeprefix(prefix) for role in roles if role.startswith(prefix))
    return [pattern for pattern in map(parse_pattern, texts) if pattern is not None]


class Permissions:
    """
    What one connection may do: its roles, and over them the rules that were set at runtime. They live as long as the
    connection, its recoveries included.

    A rule is kept where it says other than the roles, and only there: taking back a grant leaves nothing behind, and
    most connections have no rule at all.

    Attributes:
        roles: as its token or event handler gave them.
    """

    __slots__ = ("_exceptions", "roles")

    def __init__(self, roles: RoleSet) -> None:
        self.roles = roles
        self._exceptions: dict[Permission, set[str]] | None = None

    def allows(self, permission: Permission, group: str) -> bool:
        """Is it allowed for the group of this name, now."""
        exceptions = self._exceptions
        if exceptions is None:
            # Asked at each publish, and nearly always answered here.
            return permission in self.roles.everywhere or self.roles.allows(permission, group)
        return self.roles.allows(permission, group) != (group in exceptions.get(permission, ()))

    def allows_filter(self, permission: Permission, topic_filter: str) -> bool:
        """
        Is it allowed for every group whose name matches a filter of MQTT, now. Rules that allow single groups do not
        count where there are wildcards; those that deny one that matches do.
        """
        exceptions = self._exceptions
        if exceptions is None:
            return self.roles.allows_filter(permission, topic_filter)
        if not has_wildcards(topic_filter):
            return self.allows(permission, topic_filter)
        if not self.roles.allows_filter(permission, topic_filter):
            return False
        return not any(matches(topic_filter, group) for group in exceptions.get(permission, ()))

    def grant(self, permission: Permission, group: str) -> None:
        """
        Allow it for this group from now on. `group` is a name; an asterisk in it means an asterisk.

        Raises:
            Conflict: that would be a rule too many; nothing was changed.
        """
        if not self.allows(permission, group):
            self._invert(permission, group)

    def revoke(self, permission: Permission, group: str) -> None:
        """
        Deny it for this group, whatever the roles say, until it is granted again. Membership is not touched.

        Raises:
            Conflict: as in `grant`.
        """
        if self.allows(permission, group):
            self._invert(permission, group)

    def rules(self) -> tuple[tuple[Permission, str, bool], ...]:
        """What was set at runtime, as far as it says other than the roles: for which group, and granted or revoked."""
        exceptions = self._exceptions or {}
        return tuple(
            (permission, group, not self.roles.allows(permission, group))
            for permission, groups in exceptions.items()
            for group in sorted(groups)
        )

    def restore(self, rules: Iterable[tuple[Permission, str, bool]]) -> None:
        """Set again what `rules` said."""
        for permission, group, granted in rules:
            if granted:
                self.grant(permission, group)
            else:
                self.revoke(permission, group)

    def _invert(self, permission: Permission, group: str) -> None:
        exceptions = self._exceptions or {}
        groups = exceptions.get(permission) or set()
        if group in groups:
            groups.remove(group)
        elif len(groups) < _RULE_LIMIT:
            groups.add(group)
        else:
            raise Conflict(f"A connection has at most {_RULE_LIMIT} rules for one permission.")
        left = {**exceptions, permission: groups}
        self._exceptions = left if any(left.values()) else None

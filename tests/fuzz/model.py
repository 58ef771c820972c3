"""What reads the small languages inside of requests: filters, patterns, roles, metadata."""

from typing import Final, NamedTuple

from hypothesis import strategies as st

from fuzz.inputs import TEXTS
from fuzz.target import Target
from hubwire.model.errors import BadRequest, Conflict
from hubwire.model.filters import compile_filter
from hubwire.model.names import is_event_name, is_group_name, is_hub_name, metadata_fault
from hubwire.model.patterns import PatternSet, parse_pattern
from hubwire.model.permissions import Permissions, parse_roles

__all__ = ["TARGETS"]


class _Subject(NamedTuple):
    connection_id: str
    user_id: str | None
    subprotocol: str | None
    groups: frozenset[str]


_SUBJECTS: Final = (
    _Subject("id", None, None, frozenset()),
    _Subject("", "", "", frozenset({""})),
    _Subject("a1", "user", "json.webpubsub.azure.v1", frozenset({"room", "é", "\0"})),
)
_WORDS: Final = (
    "userId",
    "connectionId",
    "protocol",
    "groups",
    "null",
    "true",
    "false",
    "not ",
    " and ",
    " or ",
    " eq ",
    " ne ",
    " gt ",
    " le ",
    " in ",
    "(",
    ")",
    ",",
    "'",
    "'a'",
    "''''",
    "1",
    "-1",
    "2147483648",
    "length(",
    "startswith(",
    "substring(",
    "indexof(",
    "concat(",
    "tolower(",
    "contains(",
    "(" * 150,
    "not " * 150,
    "a" * 9000,
    " eq 1" * 1200,
    "$",
    "é",
    "\0",
)


def _check_filter(text: str) -> None:
    if not text.strip():
        return
    try:
        compiled = compile_filter(text)
    except BadRequest as refusal:
        assert refusal.target == "filter"
        refusal.message.encode()
        assert len(refusal.message) < 10_000
        return
    for subject in _SUBJECTS:
        assert compiled.matches(subject) in (True, False)


def _check_names(texts: list[str], name: str) -> None:
    patterns = [pattern for pattern in map(parse_pattern, texts) if pattern is not None]
    matched = PatternSet(patterns).matches(name)
    assert matched == any(PatternSet([pattern]).matches(name) for pattern in patterns)
    for is_name in (is_hub_name, is_group_name, is_event_name):
        is_name(name)
    permissions = Permissions(parse_roles([*texts, *(f"webpubsub.sendToGroups.{text}" for text in texts)]))
    try:
        permissions.grant("sendToGroup", name)
        assert permissions.allows("sendToGroup", name)
        permissions.revoke("sendToGroup", name)
        assert not permissions.allows("sendToGroup", name)
    except Conflict:
        pass
    metadata_fault(dict.fromkeys(texts, name))


TARGETS: Final = {
    "filters": Target((st.lists(st.sampled_from(_WORDS) | TEXTS, max_size=12).map("".join),), _check_filter),
    "names": Target(
        (st.lists(TEXTS | st.sampled_from(["a*", "**", "?", "a\\*", "\\", "*.*", "?" * 6]), max_size=4), TEXTS),
        _check_names,
    ),
}

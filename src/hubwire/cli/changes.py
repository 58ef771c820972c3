"""What a deployment would change, and what it does, as lines for people. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from hubwire.cli.output import compact
from hubwire.cli.text import one_line

__all__ = ["STEP_WORDS", "Paint", "Step", "change_lines", "step_lines", "step_of", "type_and_name"]

_PLAIN: Final = "\x1b[0m"
_GREEN, _YELLOW, _RED, _WEAK = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m"
_KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "Create": ("+", "create", _GREEN),
    "Modify": ("~", "modify", _YELLOW),
    "Delete": ("-", "delete", _RED),
    "NoChange": ("=", "no change", _WEAK),
    "Ignore": ("*", "stays", _WEAK),
    "Unsupported": ("x", "left out", _RED),
}
"""Type of a change to its sign, its word, and its colour."""
_SIGNS: Final = {"Create": "+", "Delete": "-", "Modify": "~"}
_DURATION: Final = re.compile(r"PT([0-9.]+(?:e-?[0-9]+)?)S")
_LONGEST: Final = 60
"""Of a value that stands on one line with another."""
_TYPE_WIDTH: Final = len("Microsoft.SignalRService/webPubSub/hubs")


class Paint(Struct, frozen=True):
    """Control sequences around a text, or none."""

    colour: bool

    def __call__(self, text: str, sequence: str) -> str:
        return f"{sequence}{text}{_PLAIN}" if self.colour else text


STEP_WORDS: Final = {"Delete": "deleted", "NotSpecified": "ignored"}
"""What is done to a resource other than deploying it, by the word of the resource manager."""


class Step(Struct, frozen=True):
    """
    What a deployment did to one resource.

    Attributes:
        word: created, updated, deleted, ignored or failed.
        why: it failed; empty where it did not.
        warnings: what of it does not act.
    """

    resource_id: str
    word: str
    duration_s: float
    why: str = ""
    warnings: tuple[str, ...] = ()


def type_and_name(resource_id: str) -> tuple[str, str]:
    """
    What a resource id says: `Microsoft.SignalRService/webPubSub/hubs` and `wps/chat`. An id without a provider is all
    name.
    """
    _, separator, last = resource_id.rpartition("/providers/")
    parts = last.split("/")
    if not separator or len(parts) < 3:
        return "", resource_id
    return "/".join([parts[0], *parts[1::2]]), "/".join(parts[2::2])


def step_of(operation: Mapping[str, Any]) -> Step:
    """One of a deployment's operations, as the resource manager shows it."""
    properties = operation["properties"]
    said = properties.get("statusMessage") or {}
    duration = _DURATION.fullmatch(properties["duration"])
    word = STEP_WORDS.get(properties["provisioningOperation"], "updated")
    if properties["statusCode"] == "Created":
        word = "created"
    why = ""
    if properties["provisioningState"] == "Failed":
        word, why = "failed", str(said.get("error", {}).get("message", "nobody knows why"))
    seconds = float(duration[1]) if duration else 0.0
    return Step(properties["targetResource"]["id"], word, seconds, why, tuple(said.get("warnings", ())))


def step_lines(step: Step, paint: Paint) -> Iterator[str]:
    """A line for the resource, and one for each warning."""
    kind, name = type_and_name(step.resource_id)
    colour = {"created": _GREEN, "updated": _YELLOW}.get(step.word, _RED)
    took = f"{step.duration_s * 1000:.0f} ms" if step.duration_s < 1 else f"{step.duration_s:.1f} s"
    yield f"{paint(f'{step.word:7}', colour)}  {kind:{_TYPE_WIDTH}}  {one_line(name)}  {took}"
    if step.why:
        yield f"  {one_line(step.why)}"
    for warning in step.warnings:
        yield f"  {paint('warning', _YELLOW)}  {one_line(warning)}"


def change_lines(changes: Sequence[Mapping[str, Any]], paint: Paint) -> Iterator[str]:
    """A line for each resource, one for each property of it that changes, and how many there are of each kind."""
    counts: dict[str, int] = {}
    for change in changes:
        sign, word, colour = _KINDS.get(change["changeType"], ("?", str(change["changeType"]), _PLAIN))
        counts[word] = counts.get(word, 0) + 1
        kind, name = type_and_name(change["resourceId"])
        yield f"{paint(f'{sign} {word:9}', colour)}  {kind:{_TYPE_WIDTH}}  {one_line(name)}"
        for delta in change.get("delta") or ():
            yield from _property_lines(delta, paint)
    yield ", ".join(f"{count} {word}" for word, count in counts.items()) or "the template has no resources"


def _property_lines(delta: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    kind = delta["propertyChangeType"]
    sign, colour = _SIGNS.get(kind, "~"), _KINDS.get(kind, _KINDS["Modify"])[2]
    before, after = _shown(delta.get("before")), _shown(delta.get("after"))
    title = f"    {paint(sign, colour)} {one_line(delta['path'])}"
    if kind != "Modify":
        yield f"{title}  {after if kind == 'Create' else before}"
    elif len(before) + len(after) <= _LONGEST:
        yield f"{title}  {before} -> {after}"
    else:
        yield title
        yield f"        {before}"
        yield f"     -> {after}"


def _shown(value: Any) -> str:
    return one_line(compact(value))

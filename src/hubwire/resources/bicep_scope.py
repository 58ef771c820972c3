"""
Where an expression of a Bicep program stands, and what is come across while it is read. Pure.
"""

from collections.abc import Iterable, Mapping

import msgspec

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_arm import Access, FunctionCall, Scalar, Value
from hubwire.resources.bicep_symbols import ResourceSymbol

__all__ = ["Found", "Identity", "Scope", "Use", "call", "turn"]


class Scope(msgspec.Struct, frozen=True):
    """
    Where an expression stands.

    Attributes:
        within: the resource in whose body.
        local: what loops and lambdas around it named.
        copies: names of the property loops around it; None where a property cannot have a loop.
        in_default: it is the default of a parameter.
    """

    within: ResourceSymbol | None = None
    local: Mapping[str, Value] = {}
    copies: frozenset[str] | None = None
    in_default: bool = False

    def naming(self, local: Mapping[str, Value]) -> "Scope":
        """The same with further names."""
        return msgspec.structs.replace(self, local={**self.local, **local})


class Use(msgspec.Struct, frozen=True):
    """A resource that something speaks of; `index` says which of a loop, None is all of them."""

    resource: ResourceSymbol
    index: Value | None


class Found:
    """
    What was come across while expressions were read.

    Attributes:
        runtime: whether any value is known only once a resource is there.
    """

    def __init__(self) -> None:
        self.runtime = False
        self._uses: dict[tuple[str, int], Use] = {}

    @property
    def uses(self) -> list[Use]:
        """The resources that were spoken of, in order."""
        return [*self._uses.values()]

    def add(self, uses: Iterable[Use]) -> None:
        """
        Take down further resources.

        The very same use is kept once: variables that name one another twice would else double it each time.
        """
        for use in uses:
            self._uses.setdefault((use.resource.key, id(use.index)), use)


class Identity(msgspec.Struct, frozen=True):
    """
    How a resource is spoken of.

    Attributes:
        type: in full.
        names: one for each segment of the type behind the first.
        own_name: as its declaration has it; of a child without the parent's.
        is_child: of a parent that is named in the program.
        function: of the template, which gives its id from `leading`, the type and the names.
        target: id of the resource that an extension belongs to, or None.
    """

    type: str
    names: tuple[Value, ...]
    own_name: Value
    is_child: bool = False
    function: str = "resourceId"
    leading: tuple[Value, ...] = ()
    target: Value | None = None

    @property
    def id(self) -> Value:
        """The full id."""
        return call(self.function, *self.leading, Scalar(self.type), *self.names)

    @property
    def full_name(self) -> Value:
        """All names with slashes between, as a template has them."""
        if not self.is_child:
            return self.own_name
        pattern = "/".join(f"{{{i}}}" for i in range(len(self.names)))
        return call("format", Scalar(pattern), *self.names)


def call(name: str, *arguments: Value) -> FunctionCall:
    """A call of a function of the template language."""
    return FunctionCall(name, arguments)


def turn(loop: syntax.Loop, over: Value, index: Value) -> dict[str, Value]:
    """What the names of a loop stand for in one turn."""
    local: dict[str, Value] = {loop.item: Access(over, index)}
    if loop.index is not None:
        local[loop.index] = index
    return local

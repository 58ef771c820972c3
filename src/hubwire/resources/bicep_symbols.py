"""
The names of a Bicep program: what each one stands for, and in which order the things behind them can be read. Pure.

Parameters, variables and resources share one space of names, outputs have their own. A resource in the body of another
is seen by its siblings and by what is in them; from outside it is reached as `outer::inner`.

Source: the Bicep documentation of file structure, child resources and loops; its diagnostics BCP028, BCP057, BCP080.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_source import Source

__all__ = ["NAMESPACES", "ResourceSymbol", "Symbol", "Symbols"]

NAMESPACES: Final = frozenset({"az", "sys"})
"""What functions may be written behind, unless the program has a name like it."""

_TYPE: Final = re.compile(r"([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*)(?:@([A-Za-z0-9.-]+))?", re.ASCII)


class ResourceSymbol(msgspec.Struct, frozen=True, eq=False):
    """
    A resource by its name.

    Attributes:
        key: unique in the program: the name, or `outer::inner`.
        type: in full, such as `Microsoft.SignalRService/webPubSub/hubs`.
        outer: the resource in whose body this one stands.
        inner: those in its own body.
    """

    key: str
    declaration: syntax.Resource
    type: str
    api_version: str
    outer: "ResourceSymbol | None"
    inner: dict[str, "ResourceSymbol"] = {}

    @property
    def name(self) -> str:
        """As it was declared."""
        return self.declaration.name

    def property(self, name: str) -> syntax.Expression | None:
        """What the body says of a property at its top, or None."""
        return next(
            (
                entry.value
                for entry in self.declaration.body.entries
                if isinstance(entry, syntax.Property) and entry.key.parts == (name,)
            ),
            None,
        )


Symbol = syntax.Parameter | syntax.Variable | ResourceSymbol


class Symbols:
    """
    The names of one program.

    Attributes:
        resources: all, an outer one before those in it.
    """

    def __init__(self, source: Source, program: syntax.Program) -> None:
        """
        Raises:
            BicepFault: a name that is taken or unknown, a type that is none, a circle.
        """
        self._source = source
        self._named: dict[str, Symbol] = {}
        self.resources: list[ResourceSymbol] = []
        outputs: set[str] = set()
        metadata: set[str] = set()
        for statement in program.statements:
            match statement:
                case syntax.Output(name=name):
                    self._unused(name in outputs, name, statement)
                    outputs.add(name)
                case syntax.Metadata(name=name):
                    self._unused(name in metadata, name, statement)
                    metadata.add(name)
                case syntax.Resource(name=name):
                    self._unused(name in self._named, name, statement)
                    self._named[name] = self._resource(statement, None)
                case _:
                    self._unused(statement.name in self._named, statement.name, statement)
                    self._named[statement.name] = statement
        self._check_references(program)
        self._order = self._ordered()

    def find(self, name: str, within: ResourceSymbol | None) -> Symbol | None:
        """
        What a name stands for.

        Args:
            within: the resource in whose body it is written.
        """
        while within is not None:
            if name in within.inner:
                return within.inner[name]
            within = within.outer
        return self._named.get(name)

    @property
    def ordered(self) -> list[Symbol]:
        """All of them, each behind whatever it refers to."""
        return self._order

    def _unused(self, taken: bool, name: str, node: syntax.Node) -> None:
        if taken:
            raise self._source.fault(node.at, f'Identifier "{name}" is declared multiple times.')

    # Resources.

    def _resource(self, declaration: syntax.Resource, outer: ResourceSymbol | None) -> ResourceSymbol:
        type_, api_version = self._type(declaration, outer)
        key = declaration.name if outer is None else f"{outer.key}::{declaration.name}"
        symbol = ResourceSymbol(key, declaration, type_, api_version, outer, {})
        self.resources.append(symbol)
        if declaration.body.resources and declaration.loop is not None:
            raise self._source.fault(
                declaration.body.resources[0].at, "A resource in a loop with another in its body is not supported."
            )
        for inner in declaration.body.resources:
            self._unused(inner.name in symbol.inner, inner.name, inner)
            symbol.inner[inner.name] = self._resource(inner, symbol)
        return symbol

    def _type(self, declaration: syntax.Resource, outer: ResourceSymbol | None) -> tuple[str, str]:
        at = declaration.type.at
        match declaration.type.parts:
            case (str() as text,) if (found := _TYPE.fullmatch(text)) is not None:
                type_, api_version = found.groups()
            case _:
                raise self._source.fault(
                    at, "The resource type is not valid. Specify one such as 'Some.Space/type@date'."
                )
        if outer is None:
            if "/" not in type_ or api_version is None:
                raise self._source.fault(
                    at, "The resource type is not valid. Specify one such as 'Some.Space/type@date'."
                )
            return type_, api_version
        if "/" in type_:
            raise self._source.fault(
                at, "The resource type of a nested resource has one segment, without its parent's."
            )
        return f"{outer.type}/{type_}", api_version or outer.api_version

    # References.

    def _check_references(self, program: syntax.Program) -> None:
        for statement in program.statements:
            if isinstance(statement, syntax.Output | syntax.Metadata):
                for _ in self._references(statement.value, None):
                    pass

    def _references(self, node: syntax.Node, within: ResourceSymbol | None) -> Iterator[tuple[syntax.Node, Symbol]]:
        """Every name that is used in a node and stands for something of the program."""
        waiting: list[tuple[syntax.Node, frozenset[str]]] = [(node, frozenset())]
        while waiting:
            node, local = waiting.pop()
            match node:
                case syntax.Resource() | syntax.Decorator():
                    continue
                case syntax.Loop(item=item, index=index, over=over, condition=condition, body=body):
                    if item == index:
                        raise self._source.fault(node.at, f'Identifier "{item}" is declared multiple times.')
                    waiting.append((over, local))
                    inside = local | {item, *([] if index is None else [index])}
                    waiting += [(part, inside) for part in (condition, body) if part is not None]
                    continue
                case syntax.Lambda(names=names):
                    if len({*names}) != len(names):
                        raise self._source.fault(node.at, "A lambda has two arguments of one name.")
                    local = local | {*names}
                case syntax.Name(text=text) if text not in local:
                    yield node, self._known(node, within)
                case syntax.Method(of=syntax.Name(text=text), arguments=arguments) if (
                    text in NAMESPACES and text not in local and self.find(text, within) is None
                ):
                    waiting += [(argument, local) for argument in arguments]
                    continue
                case syntax.Nested():
                    target = self.resource(node, within)
                    if target is not None:
                        yield node, target
                case _:
                    pass
            waiting += [(child, local) for child in syntax.children(node)]

    def resource(self, node: syntax.Expression, within: ResourceSymbol | None) -> ResourceSymbol | None:
        """
        The resource that a name or `outer::inner` stands for, or None if it is something else.

        Raises:
            BicepFault: `outer` is no resource or has no such one in its body.
        """
        path: list[syntax.Nested] = []
        while isinstance(node, syntax.Nested):
            path.append(node)
            node = node.of
        found = self.find(node.text, within) if isinstance(node, syntax.Name) else None
        if not isinstance(found, ResourceSymbol):
            if path:
                raise self._source.fault(node.at, 'Only a resource has nested ones that can be reached by "::".')
            return None
        for step in reversed(path):
            if step.name not in found.inner:
                message = f'The resource "{found.name}" does not contain a nested resource named "{step.name}".'
                raise self._source.fault(step.at, message)
            found = found.inner[step.name]
        return found

    def _known(self, name: syntax.Name, within: ResourceSymbol | None) -> Symbol:
        found = self.find(name.text, within)
        if found is None:
            raise self._source.fault(name.at, f'The name "{name.text}" does not exist in the current context.')
        return found

    # Order.

    def _ordered(self) -> list[Symbol]:
        """By depth first, without recursion: a program may name one thing after the other a thousand times."""
        done: list[Symbol] = []
        placed: set[int] = set()
        every = [
            *(symbol for symbol in self._named.values() if not isinstance(symbol, ResourceSymbol)),
            *self.resources,
        ]
        for first in every:
            way: dict[int, Symbol] = {}
            steps: list[tuple[Symbol, Iterator[tuple[syntax.Node, Symbol]]]] = []
            following: Symbol | None = first if id(first) not in placed else None
            while following is not None or steps:
                if following is not None:
                    way[id(following)] = following
                    steps.append((following, self._needs(following)))
                here, needs = steps[-1]
                following = None
                for at, needed in needs:
                    if id(needed) in way:
                        raise self._source.fault(at.at, _circle([*way.values()], needed))
                    if id(needed) not in placed:
                        following = needed
                        break
                else:
                    steps.pop()
                    del way[id(here)]
                    placed.add(id(here))
                    done.append(here)
        return done

    def _needs(self, symbol: Symbol) -> Iterator[tuple[syntax.Node, Symbol]]:
        match symbol:
            case syntax.Parameter(default=None):
                return
            case syntax.Parameter(default=default) if default is not None:
                for at, needed in self._references(default, None):
                    if not isinstance(needed, syntax.Parameter):
                        message = "This symbol cannot be referenced here. Only other parameters can be."
                        raise self._source.fault(at.at, message)
                    yield at, needed
            case syntax.Variable(value=value):
                yield from self._references(value, None)
            case ResourceSymbol(declaration=declaration, outer=outer):
                if outer is not None:
                    yield declaration, outer
                yield from self._references(_whole(declaration), symbol)
            case _:
                return


def _whole(declaration: syntax.Resource) -> syntax.Node:
    """All that a resource refers to, as one loop or object."""
    body = msgspec.structs.replace(declaration.body, resources=())
    if declaration.loop is not None:
        return msgspec.structs.replace(declaration.loop, body=body)
    if declaration.condition is not None:
        return syntax.ArrayLiteral(declaration.at, (declaration.condition, body))
    return body


def _circle(way: list[Symbol], again: Symbol) -> str:
    start = next(i for i, symbol in enumerate(way) if symbol is again)
    names = [_key(symbol) for symbol in way[start:]]
    if len(names) == 1:
        return "This expression is referencing its own declaration, which is not allowed."
    shown = '" -> "'.join(names[:8])
    return f'The expression is involved in a cycle ("{shown}").'


def _key(symbol: Symbol) -> str:
    return symbol.key if isinstance(symbol, ResourceSymbol) else symbol.name

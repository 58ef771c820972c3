"""
Bicep in, a template of Azure Resource Manager out. Pure: nothing is looked up, no file is read.

    text -> `bicep_source` -> `bicep_parser` -> nodes of `bicep_syntax`
         -> `bicep_symbols` (names) -> `bicep_values`, `bicep_types` -> values of `bicep_arm` -> JSON

The template is the one that the official compiler writes: resources in an array with `dependsOn` by id, or by symbolic
name (language version 2.0) where a parameter has a type that the older form does not know. What is not supported is
refused by name and place: modules, imports, own types and functions, and deployments to anything but a resource group.
Types are not checked; the template engine says what does not fit.

Source: the Bicep documentation of file structure and resource declarations; of ARM, template syntax.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_arm import Access, ArrayOf, Copy, FunctionCall, ObjectOf, Scalar, Unwritable, Value, Writer
from hubwire.resources.bicep_parser import parsed
from hubwire.resources.bicep_scope import Scope, Use, call
from hubwire.resources.bicep_source import BicepFault, Source
from hubwire.resources.bicep_symbols import ResourceSymbol, Symbols
from hubwire.resources.bicep_types import Types
from hubwire.resources.bicep_values import Values

__all__ = ["BicepFault", "compile_bicep"]

_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_GENERATOR: Final = {"name": "hubwire", "version": "1.0"}
_SPECIAL: Final = frozenset({"name", "parent", "scope", "dependsOn"})
"""Properties of a body that say how a resource stands to others, and not how it is."""
_IDENTIFYING: Final = frozenset({"name", "parent", "scope"})
"""All that is said of a resource that exists already."""
_READ_ONLY: Final = frozenset({"id", "type", "apiVersion", "condition", "copy"})


def compile_bicep(text: str) -> dict[str, Any]:
    """
    The template of a program.

    Args:
        text: a whole file; what it refers to outside of itself is refused.

    Raises:
        BicepFault: it is not Bicep, means nothing, is too large, or uses what is not supported.
    """
    source = Source.of(text)
    program = parsed(source)
    return _Compilation(source, program).template()


class _Compilation:
    def __init__(self, source: Source, program: syntax.Program) -> None:
        self._source = source
        self._program = program
        self._symbols = Symbols(source, program)
        self._values = Values(source, self._symbols)
        self._types = Types(source)
        self._writer = Writer()
        self._at = 0
        """What is being written, for the fault if it is too much."""
        self._symbolic = False
        """Whether the template is of language version 2.0, which is known once the parameters and outputs are read."""

    def template(self) -> dict[str, Any]:
        try:
            return self._template()
        except Unwritable as fault:
            raise self._source.fault(self._at, str(fault)) from None

    def _template(self) -> dict[str, Any]:
        parameters = {node.name: self._parameter(node) for node in self._of(syntax.Parameter)}
        outputs = {node.name: self._schema_of_output(node) for node in self._of(syntax.Output)}
        variables = self._variables()
        resources: dict[str, Any] = {}
        for symbol in self._symbols.resources:
            body = self._resource(symbol)
            if body is not None:
                resources[symbol.key] = body
        outputs = {node.name: self._output(node, outputs[node.name]) for node in self._of(syntax.Output)}
        template: dict[str, Any] = {"$schema": _SCHEMA}
        if self._symbolic:
            template["languageVersion"] = "2.0"
        template["contentVersion"] = "1.0.0.0"
        stated = {node.name: self._types.constant(node.value) for node in self._of(syntax.Metadata)}
        template["metadata"] = {"_generator": dict(_GENERATOR), **stated}
        if parameters:
            template["parameters"] = parameters
        if variables:
            template["variables"] = variables
        template["resources"] = resources if self._symbolic else list(resources.values())
        if outputs:
            template["outputs"] = outputs
        return template

    def _of(self, kind: type[Any]) -> Iterator[Any]:
        return (statement for statement in self._program.statements if isinstance(statement, kind))

    # Parameters, variables, outputs.

    def _parameter(self, node: syntax.Parameter) -> dict[str, Any]:
        schema, is_new = self._types.parameter(node)
        self._symbolic |= is_new
        if node.default is None:
            return schema
        default = self._values.at_start(node.default, Scope(in_default=True), "default of a parameter")
        self._at = node.at
        return _behind_type(schema, "defaultValue", self._writer.json(default))

    def _variables(self) -> dict[str, Any]:
        written: dict[str, Any] = {}
        copies: dict[str, Any] = {}
        # Each needs those before it; the template has them in the order of the program.
        for symbol in self._symbols.ordered:
            if isinstance(symbol, syntax.Variable):
                self._types.variable(symbol)
                if symbol.name.lower() == "copy":
                    raise self._source.fault(
                        symbol.at, 'A variable cannot be named "copy": a template has loops there.'
                    )
                self._at = symbol.at
                value = self._values.variable(symbol)
                if isinstance(value, Copy):
                    copies[symbol.name] = self._writer.copy(value)
                elif value is not None:
                    written[symbol.name] = self._writer.json(value)
        names = [node.name for node in self._of(syntax.Variable)]
        first = {"copy": [copies[name] for name in names if name in copies]} if copies else {}
        return {**first, **{name: written[name] for name in names if name in written}}

    def _schema_of_output(self, node: syntax.Output) -> dict[str, Any]:
        schema, is_new = self._types.output(node)
        self._symbolic |= is_new
        return schema

    def _output(self, node: syntax.Output, schema: dict[str, Any]) -> dict[str, Any]:
        self._at = node.at
        if not isinstance(node.value, syntax.Loop):
            return _behind_type(schema, "value", self._writer.json(self._values.value(node.value, Scope())))
        if schema["type"] != "array":
            raise self._source.fault(node.value.at, "The value of a loop is an array, but the output is not.")
        copy = self._writer.copy(self._values.copied(node.value, node.name, Scope(), call("copyIndex")))
        return _behind_type(schema, "copy", {"count": copy["count"], "input": copy["input"]})

    # Resources.

    def _resource(self, symbol: ResourceSymbol) -> dict[str, Any] | None:
        """A resource of the template; None for one that exists already."""
        self._check_body(symbol)
        declaration = symbol.declaration
        self._at = declaration.at
        description, batch_size = self._types.resource(declaration)
        index = None if declaration.loop is None else call("copyIndex")
        with self._values.finding() as found:
            identity = self._values.identity(symbol, index)
            scope = self._values.body_scope(symbol, index)
            condition = self._condition(symbol, scope)
            head: dict[str, Any] = {} if condition is None else {"condition": self._writer.json(condition)}
            if declaration.loop is not None:
                head["copy"] = self._loop_of_resource(symbol, batch_size)
            head |= {"type": symbol.type, "apiVersion": symbol.api_version}
            if identity.target is not None and symbol.outer is None:
                head["scope"] = self._writer.json(identity.target)
            head["name"] = self._writer.json(identity.full_name)
            for entry in self._body(symbol, scope).entries:
                head[self._writer.json(entry[0])] = self._writer.json(entry[1])
            explicit = self._explicit(symbol, scope)
        if declaration.existing:
            return None
        outer = [] if symbol.outer is None else [Use(symbol.outer, None)]
        depends_on = self._depends_on([*outer, *found.uses, *explicit])
        if depends_on:
            head["dependsOn"] = depends_on
        if description is not None:
            head["metadata"] = {"description": description}
        return head

    def _check_body(self, symbol: ResourceSymbol) -> None:
        """What must not stand at the top of a body."""
        for entry in symbol.declaration.body.entries:
            if isinstance(entry, syntax.Spread):
                raise self._source.fault(entry.at, 'The spread operator "..." is not permitted in this location.')
            name = entry.key.parts[0]
            if len(entry.key.parts) != 1 or not isinstance(name, str):
                raise self._source.fault(entry.at, "The name of a resource's property must be a plain string.")
            if name in _READ_ONLY:
                raise self._source.fault(entry.at, f'The property "{name}" is read-only. It cannot be assigned.')
            if symbol.declaration.existing and name not in _IDENTIFYING:
                message = f'The property "{name}" cannot be used in the declaration of an existing resource.'
                raise self._source.fault(entry.at, message)

    def _condition(self, symbol: ResourceSymbol, scope: Scope) -> Value | None:
        """Its own, and those of the resources in whose bodies it stands."""
        declaration = symbol.declaration
        given = declaration.condition if declaration.loop is None else declaration.loop.condition
        own = None if given is None else self._values.at_start(given, scope, "if-condition")
        if symbol.outer is None:
            return own
        outer = self._condition(symbol.outer, self._values.body_scope(symbol.outer, None))
        return outer if own is None else own if outer is None else call("and", outer, own)

    def _loop_of_resource(self, symbol: ResourceSymbol, batch_size: int | None) -> dict[str, Any]:
        loop = symbol.declaration.loop
        assert loop is not None
        over = self._values.over(loop, Scope(within=symbol))
        serial = {} if batch_size is None else {"mode": "serial", "batchSize": batch_size}
        return {"name": symbol.key, "count": self._writer.json(call("length", over)), **serial}

    def _body(self, symbol: ResourceSymbol, scope: Scope) -> ObjectOf:
        """How the resource is. Properties at its top have no loops: `copy` is another thing there."""
        entries = []
        names: set[str] = set()
        for entry in symbol.declaration.body.entries:
            assert isinstance(entry, syntax.Property)
            name = str(entry.key.parts[0])
            if name in names:
                raise self._source.fault(entry.at, f'The property "{name}" is declared multiple times in this object.')
            names.add(name)
            if name not in _SPECIAL:
                inside = msgspec.structs.replace(scope, copies=frozenset())
                entries.append((Scalar(name), self._values.value(entry.value, inside)))
        return ObjectOf(tuple(entries))

    # Dependencies.

    def _explicit(self, symbol: ResourceSymbol, scope: Scope) -> list[Use]:
        given = symbol.property("dependsOn")
        if given is None:
            return []
        if not isinstance(given, syntax.ArrayLiteral):
            raise self._source.fault(given.at, "Expected an array of resources at this location.")
        uses = []
        for item in given.items:
            use = None if isinstance(item, syntax.Spread) else self._values.use_of(item, scope)
            if use is None:
                raise self._source.fault(item.at, "Expected the name of a resource at this location.")
            uses.append(use)
        return uses

    def _depends_on(self, uses: Sequence[Use]) -> list[str]:
        """What the template says of the resources to wait for, each once, in the order of the program."""
        found: dict[str, dict[str, None]] = {}
        for use in self._deployed(uses):
            found.setdefault(use.resource.key, {})[self._dependency(use)] = None
        return [text for symbol in self._symbols.resources for text in found.get(symbol.key, ())]

    def _deployed(self, uses: Sequence[Use]) -> Iterator[Use]:
        """Those that the template makes; instead of one that exists already, those that its name speaks of."""
        seen: set[tuple[str, str]] = set()
        waiting = list(reversed(uses))
        while waiting:
            use = waiting.pop()
            index = use.index if use.index is not None and _is_fixed(use.index) else None
            key = use.resource.key, "" if index is None else self._writer.expression(index)
            if key in seen:
                continue
            seen.add(key)
            if not use.resource.declaration.existing:
                yield Use(use.resource, index)
                continue
            with self._values.finding() as found:
                turn = index or call("copyIndex", Scalar(use.resource.key))
                self._values.identity(use.resource, turn)
            outer = [] if use.resource.outer is None else [Use(use.resource.outer, None)]
            waiting += [*outer, *found.uses]

    def _dependency(self, use: Use) -> str:
        symbol = use.resource
        if symbol.declaration.loop is not None and use.index is None:
            return symbol.key
        if self._symbolic:
            name: Value = Scalar(symbol.key)
            if use.index is not None:
                name = call("format", Scalar(f"{symbol.key}[{{0}}]"), use.index)
            return str(self._writer.json(name))
        with self._values.finding():
            return str(self._writer.json(self._values.identity(symbol, use.index).id))


def _behind_type(schema: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A schema with one word more, where readers expect it: descriptions and bounds come last."""
    first = {word: schema[word] for word in ("type", "nullable", "items", "properties") if word in schema}
    return {**first, name: value, **{word: what for word, what in schema.items() if word not in first}}


def _is_fixed(index: Value) -> bool:
    """Whether an index means the same at the top of a resource as where it was written, deep in it or in a variable."""
    waiting = [index]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        match value:
            case FunctionCall(name="lambdaVariables"):
                return False
            case FunctionCall(name="copyIndex", arguments=(_, *_)):
                return False
            case FunctionCall(arguments=parts) | ArrayOf(items=parts):
                waiting += parts
            case Access(of=of, key=key):
                waiting += [of, key]
            case ObjectOf(entries=entries):
                waiting += [part for entry in entries for part in entry]
            case Scalar():
                pass
    return True

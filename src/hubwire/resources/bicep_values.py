"""
Expressions of Bicep turned into values of a template. Pure.

A resource is not a value: what is written behind its name becomes `resourceId`, `reference` or `listKeys`, and whoever
speaks of it has to wait for it. A variable that holds such a thing cannot be one of the template, whose variables are
known before any resource; it is written out wherever it is used.

Source: the Bicep documentation of operators, loops, existing resources and scopes; of ARM, the template functions.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_arm import Access, ArrayOf, Copy, FunctionCall, ObjectOf, Scalar, Value
from hubwire.resources.bicep_functions import (
    DEFAULT_ONLY,
    LAMBDAS,
    arguments_of,
    is_listing,
    is_runtime,
    namespace_of,
)
from hubwire.resources.bicep_scope import Found, Identity, Scope, Use, call, turn
from hubwire.resources.bicep_source import BicepFault, Source
from hubwire.resources.bicep_symbols import NAMESPACES, ResourceSymbol, Symbols

__all__ = ["Values"]

_MAX_LEVEL: Final = 150
"""Of expressions in one another, those of the resources that they speak of included."""
_MAX_EXPRESSIONS: Final = 200_000
"""Read in one program. The name of a resource is read again wherever something speaks of it."""

_BINARY: Final[Mapping[str, str]] = {
    "??": "coalesce",
    "||": "or",
    "&&": "and",
    "==": "equals",
    "<": "less",
    "<=": "lessOrEquals",
    ">": "greater",
    ">=": "greaterOrEquals",
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "%": "mod",
}


class Values:
    """Reads the expressions of one program, variables in the order in which they need one another."""

    def __init__(self, source: Source, symbols: Symbols) -> None:
        self._source = source
        self._symbols = symbols
        self._found = Found()
        self._level = 0
        self._left = _MAX_EXPRESSIONS
        self._variables: dict[str, tuple[Value, Found]] = {}
        """By name. The value is what to write for it: `variables('x')`, or all of it."""

    @contextmanager
    def finding(self) -> Iterator[Found]:
        """What is come across meanwhile, and only that."""
        outer, self._found = self._found, Found()
        try:
            yield self._found
        finally:
            self._found = outer

    def variable(self, declaration: syntax.Variable) -> Value | Copy | None:
        """
        What stands for a variable among those of the template; None if it is written out wherever it is used.

        Raises:
            BicepFault: as for `value`; or a loop over what is only known later.
        """
        name = declaration.name
        written: Value | Copy | None
        with self.finding() as found:
            if isinstance(declaration.value, syntax.Loop):
                written = self.copied(declaration.value, name, Scope(), call("copyIndex", Scalar(name)))
                if found.runtime:
                    raise self._not_yet(declaration.value.body, f'for-body of the variable "{name}"')
            else:
                written = self.value(declaration.value, Scope())
        if found.runtime and not isinstance(written, Copy):
            self._variables[name] = written, found
            return None
        self._variables[name] = call("variables", Scalar(name)), found
        return written

    def copied(self, loop: syntax.Loop, name: str, scope: Scope, index: Value) -> Copy:
        """A loop as a copy; `index` is the number of the turn in the words of the template."""
        over = self.over(loop, scope)
        inside = scope.naming(turn(loop, over, index))
        return Copy(name, call("length", over), self.value(loop.body, inside))

    def over(self, loop: syntax.Loop, scope: Scope) -> Value:
        """
        What a loop goes over.

        Raises:
            BicepFault: it is only known once a resource is there.
        """
        return self.at_start(loop.over, scope, "for-expression")

    def at_start(self, expression: syntax.Expression, scope: Scope, place: str) -> Value:
        """
        A value that is known before any resource is there.

        Raises:
            BicepFault: it is not; `place` says what needs it.
        """
        with self.finding() as found:
            value = self.value(expression, msgspec.structs.replace(scope, copies=None))
        if found.runtime:
            raise self._not_yet(expression, place)
        self._found.add(found.uses)
        return value

    def _not_yet(self, expression: syntax.Expression, place: str) -> BicepFault:
        message = f"This expression is being used in the {place}, which requires a value that is known at the start"
        return self._source.fault(expression.at, f"{message} of the deployment.")

    # Expressions.

    def value(self, expression: syntax.Expression, scope: Scope) -> Value:
        """
        What an expression is in the template.

        Raises:
            BicepFault: it has no meaning there, or is not supported.
        """
        self._level += 1
        self._left -= 1
        if self._level > _MAX_LEVEL or self._left < 0:
            raise self._source.fault(expression.at, "This, with all that it refers to, is too large or too deep.")
        if not isinstance(expression, syntax.ArrayLiteral | syntax.ObjectLiteral | syntax.Loop):
            scope = msgspec.structs.replace(scope, copies=None) if scope.copies is not None else scope
        found = _READERS[type(expression)](self, expression, scope)
        self._level -= 1
        return found

    def _literal(self, node: syntax.Literal, _: Scope) -> Value:
        return Scalar(node.value)

    def _text(self, node: syntax.Text, scope: Scope) -> Value:
        if len(node.parts) == 1 and isinstance(node.parts[0], str):
            return Scalar(node.parts[0])
        pattern = ""
        arguments: list[Value] = []
        for part in node.parts:
            if isinstance(part, str):
                pattern += part.replace("{", "{{").replace("}", "}}")
            else:
                pattern += f"{{{len(arguments)}}}"
                arguments.append(self.value(part, scope))
        return call("format", Scalar(pattern), *arguments)

    def _name(self, node: syntax.Name, scope: Scope) -> Value:
        if node.text in scope.local:
            return scope.local[node.text]
        match self._symbols.find(node.text, scope.within):
            case syntax.Parameter(name=name):
                return call("parameters", Scalar(name))
            case syntax.Variable(name=name):
                value, found = self._variables[name]
                self._found.add(found.uses)
                self._found.runtime |= found.runtime
                return value
            case _:
                return self._whole_resource(node, scope)

    def _whole_resource(self, node: syntax.Expression, scope: Scope) -> Value:
        use = self._use(node, scope)
        if use is None:
            raise self._source.fault(node.at, "Expected a value at this location.")
        return self._reference(node, use, full=True)

    def _array(self, node: syntax.ArrayLiteral, scope: Scope) -> Value:
        if not any(isinstance(item, syntax.Spread) for item in node.items):
            return ArrayOf(tuple(self.value(item, scope) for item in node.items if not isinstance(item, syntax.Spread)))
        parts: list[Value] = []
        row: list[Value] = []
        for item in node.items:
            if isinstance(item, syntax.Spread):
                parts += (
                    [ArrayOf(tuple(row)), self.value(item.value, scope)] if row else [self.value(item.value, scope)]
                )
                row = []
            else:
                row.append(self.value(item, scope))
        return call("flatten", ArrayOf((*parts, ArrayOf(tuple(row))) if row else tuple(parts)))

    def _object(self, node: syntax.ObjectLiteral, scope: Scope) -> Value:
        if not any(isinstance(entry, syntax.Spread) for entry in node.entries):
            entries = [entry for entry in node.entries if isinstance(entry, syntax.Property)]
            return self.object_of(entries, scope)
        plain = msgspec.structs.replace(scope, copies=None)
        parts: list[Value] = []
        row: list[syntax.Property] = []
        for entry in [*node.entries, None]:
            if isinstance(entry, syntax.Property):
                row.append(entry)
                continue
            if row:
                parts.append(self.object_of(row, plain))
                row = []
            if entry is not None:
                parts.append(self.value(entry.value, plain))
        return call("shallowMerge", ArrayOf(tuple(parts)))

    def object_of(self, properties: list[syntax.Property], scope: Scope) -> ObjectOf:
        """
        An object of some properties.

        Raises:
            BicepFault: two have one name, or as for `value`.
        """
        entries: list[tuple[Value, Value]] = []
        copies: list[Copy] = []
        names: set[str] = set()
        for entry in properties:
            key = self._text(entry.key, msgspec.structs.replace(scope, copies=None))
            if isinstance(key, Scalar):
                if key.value in names:
                    raise self._source.fault(entry.at, "The property is declared multiple times in this object.")
                names.add(str(key.value))
            if isinstance(entry.value, syntax.Loop):
                copies.append(self._property_loop(key, entry.value, scope))
            else:
                entries.append((key, self.value(entry.value, scope)))
        if copies and "copy" in names:
            raise self._source.fault(properties[0].at, 'A property "copy" beside one with a loop is not supported.')
        return ObjectOf(tuple(entries), tuple(copies))

    def _property_loop(self, key: Value, loop: syntax.Loop, scope: Scope) -> Copy:
        match key:
            case Scalar(value=str() as name) if scope.copies is not None:
                if name in scope.copies:
                    message = f'A loop of "{name}" within a loop of the same name is not supported.'
                    raise self._source.fault(loop.at, message)
                inside = msgspec.structs.replace(scope, copies=scope.copies | {name})
                return self.copied(loop, name, inside, call("copyIndex", Scalar(name)))
            case _:
                raise self._no_loop(loop)

    def _loop(self, node: syntax.Loop, _: Scope) -> Value:
        raise self._no_loop(node)

    def _no_loop(self, node: syntax.Loop) -> BicepFault:
        message = "For-expressions are not supported in this context. They may be the value of a resource, variable or"
        return self._source.fault(node.at, f"{message} output, or of a property in the body of a resource.")

    def _unary(self, node: syntax.Unary, scope: Scope) -> Value:
        operand = self.value(node.operand, scope)
        return call("not", operand) if node.operator == "!" else call("sub", Scalar(0), operand)

    def _binary(self, node: syntax.Binary, scope: Scope) -> Value:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        match node.operator:
            case "!=":
                return call("not", call("equals", left, right))
            case "=~":
                return call("equals", call("toLower", left), call("toLower", right))
            case "!~":
                return call("not", call("equals", call("toLower", left), call("toLower", right)))
            case operator:
                return call(_BINARY[operator], left, right)

    def _ternary(self, node: syntax.Ternary, scope: Scope) -> Value:
        return call("if", *(self.value(part, scope) for part in (node.condition, node.yes, node.no)))

    def _lambda(self, node: syntax.Lambda, _: Scope) -> Value:
        raise self._source.fault(node.at, "A lambda is only allowed as an argument of a function that takes one.")

    # Functions.

    def _call(self, node: syntax.Call, scope: Scope) -> Value:
        if namespace_of(node.name) is None:
            raise self._source.fault(node.at, f'The name "{node.name}" does not exist in the current context.')
        return self._function(node, node.name, node.arguments, scope)

    def _method(self, node: syntax.Method, scope: Scope) -> Value:
        use = self._use(node.of, scope)
        if use is not None:
            return self._listing(node, use, scope)
        match node.of:
            case syntax.Name(text=text) if text in NAMESPACES and self._symbols.find(text, scope.within) is None:
                if namespace_of(node.name) != text:
                    raise self._source.fault(node.at, f'The function "{node.name}" does not exist in "{text}".')
                return self._function(node, node.name, node.arguments, scope)
            case _:
                raise self._source.fault(node.at, f'The function "{node.name}" does not exist on this value.')

    def _function(
        self, node: syntax.Expression, name: str, arguments: tuple[syntax.Expression, ...], scope: Scope
    ) -> Value:
        least, most = arguments_of(name)
        if not least <= len(arguments) <= most:
            raise self._source.fault(node.at, f'The function "{name}" does not take {len(arguments)} arguments.')
        if name in DEFAULT_ONLY and not scope.in_default:
            message = f'Function "{name}" is not valid at this location. It can only be used in parameter defaults.'
            raise self._source.fault(node.at, message)
        self._found.runtime |= is_runtime(name)
        given = tuple(
            self._lambda_value(argument, scope)
            if isinstance(argument, syntax.Lambda) and name in LAMBDAS
            else self.value(argument, scope)
            for argument in arguments
        )
        return given[0] if name == "any" else FunctionCall(name, given)

    def _lambda_value(self, node: syntax.Lambda, scope: Scope) -> Value:
        local: dict[str, Value] = {name: call("lambdaVariables", Scalar(name)) for name in node.names}
        body = self.value(node.body, scope.naming(local))
        return call("lambda", *(Scalar(name) for name in node.names), body)

    def _listing(self, node: syntax.Method, use: Use, scope: Scope) -> Value:
        if not is_listing(node.name) or len(node.arguments) > 2:
            raise self._source.fault(node.at, f'The function "{node.name}" of a resource is not supported.')
        given = [self.value(argument, scope) for argument in node.arguments]
        version, *rest = given or [Scalar(use.resource.api_version)]
        self._found.runtime = True
        return call(node.name, self._identity_at(node, use).id, version, *rest)

    # What is behind a name.

    def _member(self, node: syntax.Member, scope: Scope) -> Value:
        return self._accessed(node, node.of, Scalar(node.name), node.safe, scope)

    def _index(self, node: syntax.Index, scope: Scope) -> Value:
        use = self._use(node, scope)
        if use is not None:
            return self._reference(node, use, full=True)
        return self._accessed(node, node.of, self.value(node.key, scope), node.safe, scope)

    def _nested(self, node: syntax.Nested, scope: Scope) -> Value:
        return self._whole_resource(node, scope)

    def _accessed(self, node: syntax.Expression, of: syntax.Expression, key: Value, safe: bool, scope: Scope) -> Value:
        use = self._use(of, scope)
        if use is not None:
            if not isinstance(key, Scalar):
                return Access(self._reference(node, use, full=True), key)
            return self._property(node, use, str(key.value))
        value = self.value(of, scope)
        match value:
            case FunctionCall(name="tryGet"):
                # Behind a safe dereference of nothing, nothing follows either.
                return call("tryGet", value, key)
            case _:
                return call("tryGet", value, key) if safe else Access(value, key)

    def _property(self, node: syntax.Expression, use: Use, name: str) -> Value:
        match name:
            case "id":
                return self._identity_at(node, use).id
            case "name":
                return self._identity_at(node, use).own_name
            case "type":
                return Scalar(use.resource.type)
            case "apiVersion":
                return Scalar(use.resource.api_version)
            case "properties":
                return self._reference(node, use, full=False)
            case _:
                return Access(self._reference(node, use, full=True), Scalar(name))

    def _reference(self, node: syntax.Expression, use: Use, *, full: bool) -> Value:
        self._found.runtime = True
        more = [Scalar("full")] if full else []
        return call("reference", self._identity_at(node, use).id, Scalar(use.resource.api_version), *more)

    # Resources.

    def _use(self, node: syntax.Expression, scope: Scope) -> Use | None:
        """The resource that an expression stands for, taken down; or None if it stands for a value."""
        use = self.use_of(node, scope)
        if use is not None:
            self._found.add([use])
        return use

    def use_of(self, node: syntax.Expression, scope: Scope) -> Use | None:
        """
        The resource that an expression stands for, or None if it stands for a value.

        Raises:
            BicepFault: as for `value` in an index.
        """
        of, key = (node.of, node.key) if isinstance(node, syntax.Index) else (node, None)
        first = of
        while isinstance(first, syntax.Nested):
            first = first.of
        if not isinstance(first, syntax.Name) or first.text in scope.local:
            return None
        symbol = self._symbols.resource(of, scope.within)
        if symbol is None or (key is not None and symbol.declaration.loop is None):
            return None
        return Use(symbol, None if key is None else self.at_start(key, scope, "index of a resource"))

    def _identity_at(self, node: syntax.Expression, use: Use) -> Identity:
        if use.resource.declaration.loop is not None and use.index is None:
            raise self._source.fault(node.at, f'"{use.resource.name}" is a loop: say which one, as in [0].')
        with self.finding():
            return self.identity(use.resource, use.index)

    def body_scope(self, resource: ResourceSymbol, index: Value | None) -> Scope:
        """
        The scope of a resource's body.

        Args:
            index: which turn of its loop, if it has one.
        """
        scope = Scope(within=resource)
        if resource.declaration.loop is None or index is None:
            return scope
        return scope.naming(turn(resource.declaration.loop, self.over(resource.declaration.loop, scope), index))

    def identity(self, resource: ResourceSymbol, index: Value | None) -> Identity:
        """
        How a resource is spoken of, one of a loop with its `index`.

        Raises:
            BicepFault: it has no name, its parent is none of its kind, its scope is not supported.
        """
        self._level += 1
        if self._level > _MAX_LEVEL:
            raise self._source.fault(resource.declaration.at, "These resources need one another too deeply.")
        found = self._identity(resource, self.body_scope(resource, index))
        self._level -= 1
        return found

    def _identity(self, resource: ResourceSymbol, scope: Scope) -> Identity:
        at = resource.declaration.at
        name_given, parent_given = resource.property("name"), resource.property("parent")
        if name_given is None:
            raise self._source.fault(at, 'The resource is missing the following required property: "name".')
        name = self.at_start(name_given, scope, '"name" property')
        if resource.outer is not None:
            if parent_given is not None:
                raise self._source.fault(parent_given.at, 'A nested resource has no "parent": it stands in its parent.')
            parent = self.identity(resource.outer, None)
        elif parent_given is not None:
            use = self._parent(resource, parent_given, scope)
            parent = self._identity_of_use(parent_given, use)
        else:
            return self._on_its_own(resource, name_given, name, scope)
        if resource.property("scope") is not None:
            raise self._source.fault(at, 'A child resource has no "scope": it is where its parent is.')
        return msgspec.structs.replace(
            parent, type=resource.type, names=(*parent.names, name), own_name=name, is_child=True
        )

    def _parent(self, resource: ResourceSymbol, given: syntax.Expression, scope: Scope) -> Use:
        use = self._use(given, scope)
        if use is None:
            raise self._source.fault(given.at, "Expected the name of a resource at this location.")
        if use.resource.type.lower() != resource.type.rpartition("/")[0].lower():
            message = f'Resource type "{use.resource.type}" is not a valid parent for "{resource.type}".'
            raise self._source.fault(given.at, message)
        return use

    def _identity_of_use(self, node: syntax.Expression, use: Use) -> Identity:
        if use.resource.declaration.loop is not None and use.index is None:
            raise self._source.fault(node.at, f'"{use.resource.name}" is a loop: say which one, as in [0].')
        return self.identity(use.resource, use.index)

    def _on_its_own(self, resource: ResourceSymbol, given: syntax.Expression, name: Value, scope: Scope) -> Identity:
        segments = resource.type.count("/")
        names: tuple[Value, ...] = (name,)
        if isinstance(name, Scalar) and isinstance(name.value, str):
            names = tuple(Scalar(part) for part in name.value.split("/"))
            if len(names) != segments:
                message = f"The name has {len(names)} segments, but the type {resource.type} takes {segments}."
                raise self._source.fault(given.at, message)
        elif segments > 1:
            names = tuple(Access(call("split", name, Scalar("/")), Scalar(i)) for i in range(segments))
        where = resource.property("scope")
        identity = Identity(resource.type, names, name)
        return identity if where is None else self._scoped(identity, resource, where, scope)

    def _scoped(self, identity: Identity, resource: ResourceSymbol, where: syntax.Expression, scope: Scope) -> Identity:
        use = self._use(where, scope)
        if use is not None:
            target = self._identity_of_use(where, use).id
            return msgspec.structs.replace(identity, function="extensionResourceId", leading=(target,), target=target)
        match where:
            case syntax.Method(of=syntax.Name(text="az"), name=name, arguments=arguments):
                pass
            case syntax.Call(name=name, arguments=arguments):
                pass
            case _:
                raise self._source.fault(where.at, "Expected the name of a resource or a scope at this location.")
        if name == "resourceGroup" and not arguments:
            return identity
        functions = {
            "resourceGroup": "resourceId",
            "subscription": "subscriptionResourceId",
            "tenant": "tenantResourceId",
        }
        most = {"resourceGroup": 2, "subscription": 1}.get(name, 0)
        if name not in functions or len(arguments) > most or not resource.declaration.existing:
            raise self._source.fault(where.at, "This scope is not supported: a deployment goes to its resource group.")
        leading = tuple(self.at_start(argument, scope, '"scope" property') for argument in arguments)
        return msgspec.structs.replace(identity, function=functions[name], leading=leading)


_READERS: Final[Mapping[type[syntax.Node], Callable[[Values, Any, Scope], Value]]] = {
    syntax.ArrayLiteral: Values._array,
    syntax.Binary: Values._binary,
    syntax.Call: Values._call,
    syntax.Index: Values._index,
    syntax.Lambda: Values._lambda,
    syntax.Literal: Values._literal,
    syntax.Loop: Values._loop,
    syntax.Member: Values._member,
    syntax.Method: Values._method,
    syntax.Name: Values._name,
    syntax.Nested: Values._nested,
    syntax.ObjectLiteral: Values._object,
    syntax.Ternary: Values._ternary,
    syntax.Text: Values._text,
    syntax.Unary: Values._unary,
}

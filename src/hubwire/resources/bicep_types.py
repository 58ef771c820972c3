"""
Types and decorators of Bicep as a template has them. Pure.

Source: the Bicep documentation of parameters, outputs, data types and decorators; of ARM, template parameters.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_arm import escaped
from hubwire.resources.bicep_source import BicepFault, Source

__all__ = ["Types"]

_SIMPLE: Final = frozenset({"string", "int", "bool", "object", "array"})
_SECURE: Final[Mapping[str, str]] = {"string": "securestring", "object": "secureObject"}
_LITERAL: Final[Mapping[type, str]] = {str: "string", bool: "bool", int: "int"}
_BOUNDS: Final[Mapping[str, tuple[str, ...]]] = {
    "maxLength": ("string", "array"),
    "maxValue": ("int",),
    "minLength": ("string", "array"),
    "minValue": ("int",),
}
"""Decorators that bound a value, and the types that they are for."""


class Types:
    """Reads the types and decorators of one program."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def parameter(self, declaration: syntax.Parameter) -> tuple[dict[str, Any], bool]:
        """
        What a template says of a parameter, without its default, and whether only language version 2.0 can say it.

        Raises:
            BicepFault: a type or decorator that does not exist, or not for this.
        """
        schema = self.schema(declaration.type)
        decorators = self._decorators(
            declaration.decorators, ("allowed", "description", "metadata", "secure", *_BOUNDS)
        )
        if "allowed" in decorators:
            schema["allowedValues"] = self._array(decorators["allowed"], "allowed")
        self._bound(schema, decorators)
        return schema, _is_new(schema)

    def output(self, declaration: syntax.Output) -> tuple[dict[str, Any], bool]:
        """As `parameter`. What is in an array or object is not said: it binds nobody."""
        schema = self.schema(declaration.type)
        decorators = self._decorators(declaration.decorators, ("description", "metadata", "secure", *_BOUNDS))
        self._bound(schema, decorators)
        for inner in ("items", "properties", "allowedValues"):
            schema.pop(inner, None)
        return schema, "nullable" in schema

    def variable(self, declaration: syntax.Variable) -> None:
        """
        A template has no place for what is said of a variable.

        Raises:
            BicepFault: it says something that cannot be said of one.
        """
        self._decorators(declaration.decorators, ("description",))

    def resource(self, declaration: syntax.Resource) -> tuple[str | None, int | None]:
        """
        The description of a resource, and how many of its loop go at a time.

        Raises:
            BicepFault: as for `parameter`.
        """
        decorators = self._decorators(declaration.decorators, ("batchSize", "description"))
        batch_size = None
        if "batchSize" in decorators:
            batch_size = self._integer(decorators["batchSize"], "batchSize")
            if batch_size < 1 or declaration.loop is None:
                raise self._source.fault(
                    decorators["batchSize"].at, "@batchSize takes a loop, and 1 or more at a time."
                )
        text = self._text(decorators["description"], "description") if "description" in decorators else None
        return text, batch_size

    def schema(self, type_: syntax.TypeSyntax) -> dict[str, Any]:
        """
        What a template says of a type.

        Raises:
            BicepFault: there is no such type.
        """
        match type_:
            case syntax.TypeName(name=name) if name in _SIMPLE:
                return {"type": name}
            case syntax.TypeName(at=at, name=name):
                raise self._source.fault(at, f'The type "{name}" does not exist or is not supported.')
            case syntax.TypeNullable(of=of):
                return {**self.schema(of), "nullable": True}
            case syntax.TypeArray(of=of):
                return {"type": "array", "items": self.schema(of)}
            case syntax.TypeObject(at=at, properties=properties):
                return {"type": "object", "properties": self._properties(at, properties)}
            case syntax.TypeLiteral():
                return self._union(type_.at, (type_,))
            case syntax.TypeUnion(at=at, members=members):
                return self._union(at, members)

    def constant(self, expression: syntax.Expression) -> Any:
        """
        A value that stands in the program as it is, in the way of a template.

        Raises:
            BicepFault: it would have to be computed.
        """
        match expression:
            case syntax.Literal(value=value):
                return value
            case syntax.Text(parts=(str() as text,)):
                return escaped(text)
            case syntax.ArrayLiteral(items=items):
                return [self._constant_item(item) for item in items]
            case syntax.ObjectLiteral(entries=entries):
                found: dict[str, Any] = {}
                for entry in entries:
                    if not isinstance(entry, syntax.Property):
                        raise self._not_constant(entry)
                    key = self.constant(entry.key)
                    if key in found:
                        raise self._source.fault(entry.at, "The property is declared multiple times in this object.")
                    found[key] = self.constant(entry.value)
                return found
            case _:
                raise self._not_constant(expression)

    def _constant_item(self, item: syntax.Expression | syntax.Spread) -> Any:
        if isinstance(item, syntax.Spread):
            raise self._not_constant(item)
        return self.constant(item)

    def _not_constant(self, node: syntax.Node) -> BicepFault:
        return self._source.fault(node.at, "The value must be a compile-time constant.")

    def _properties(self, at: int, properties: Sequence[tuple[str, syntax.TypeSyntax]]) -> dict[str, Any]:
        if len({name for name, _ in properties}) != len(properties):
            raise self._source.fault(at, "Two properties of the type have one name.")
        return {name: self.schema(of) for name, of in properties}

    def _union(self, at: int, members: Sequence[syntax.TypeSyntax]) -> dict[str, Any]:
        values: list[Any] = []
        nullable = False
        waiting = list(reversed(members))
        while waiting:
            match waiting.pop():
                case syntax.TypeUnion(members=inner):
                    waiting += reversed(inner)
                case syntax.TypeNullable(of=of):
                    nullable = True
                    waiting.append(of)
                case syntax.TypeLiteral(value=None):
                    nullable = True
                case syntax.TypeLiteral(value=value):
                    values.append(value)
                case other:
                    raise self._source.fault(other.at, "A union is supported between literal values only.")
        kinds = {type(value) for value in values}
        if len(kinds) != 1:
            raise self._source.fault(at, "A union takes literal values of one type.")
        given = [escaped(value) if isinstance(value, str) else value for value in values]
        return {"type": _LITERAL[kinds.pop()], "allowedValues": given, **({"nullable": True} if nullable else {})}

    # Decorators.

    def _decorators(
        self, decorators: Sequence[syntax.Decorator], allowed: Sequence[str]
    ) -> dict[str, syntax.Decorator]:
        found: dict[str, syntax.Decorator] = {}
        for decorator in decorators:
            if decorator.name not in allowed:
                raise self._source.fault(
                    decorator.at, f'The decorator "{decorator.name}" does not exist or is not supported here.'
                )
            if decorator.name in found:
                raise self._source.fault(decorator.at, f'The decorator "{decorator.name}" is given twice.')
            found[decorator.name] = decorator
        return found

    def _bound(self, schema: dict[str, Any], decorators: Mapping[str, syntax.Decorator]) -> None:
        """Adds to a schema what its decorators say."""
        for name, decorator in decorators.items():
            if name == "secure":
                if decorator.arguments or schema["type"] not in _SECURE:
                    raise self._source.fault(
                        decorator.at, "@secure() is for strings and objects, and takes no argument."
                    )
                schema["type"] = _SECURE[schema["type"]]
        for name, types in _BOUNDS.items():
            if name in decorators:
                if schema["type"].removeprefix("secure") not in types:
                    raise self._source.fault(decorators[name].at, f"@{name}() is not for a value of this type.")
                schema[name] = self._integer(decorators[name], name)
        metadata: dict[str, Any] = {}
        if "metadata" in decorators:
            given = self.constant(self._argument(decorators["metadata"], "metadata"))
            if not isinstance(given, dict):
                raise self._source.fault(decorators["metadata"].at, "@metadata() takes an object.")
            metadata.update(given)
        if "description" in decorators:
            metadata["description"] = self._text(decorators["description"], "description")
        if metadata:
            schema["metadata"] = metadata

    def _argument(self, decorator: syntax.Decorator, name: str) -> syntax.Expression:
        if len(decorator.arguments) != 1:
            raise self._source.fault(decorator.at, f"@{name}() takes one argument.")
        return decorator.arguments[0]

    def _integer(self, decorator: syntax.Decorator, name: str) -> int:
        value = self.constant(self._argument(decorator, name))
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._source.fault(decorator.at, f"@{name}() takes a whole number.")
        return value

    def _text(self, decorator: syntax.Decorator, name: str) -> str:
        value = self.constant(self._argument(decorator, name))
        if not isinstance(value, str):
            raise self._source.fault(decorator.at, f"@{name}() takes a string.")
        return value

    def _array(self, decorator: syntax.Decorator, name: str) -> list[Any]:
        value = self.constant(self._argument(decorator, name))
        if not isinstance(value, list) or not value:
            raise self._source.fault(decorator.at, f"@{name}() takes an array that is not empty.")
        return value


def _is_new(schema: Mapping[str, Any]) -> bool:
    """Whether a schema says what only language version 2.0 knows."""
    return any(word in schema for word in ("items", "nullable", "properties"))

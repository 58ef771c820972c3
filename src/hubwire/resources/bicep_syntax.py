"""
What a Bicep program consists of, as values. Pure.

`at` is the byte where a thing begins, for faults. Names, operators and functions are still as they were written.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

__all__ = [
    "ArrayLiteral",
    "Binary",
    "Call",
    "Decorator",
    "Expression",
    "Index",
    "Lambda",
    "Literal",
    "Loop",
    "Member",
    "Metadata",
    "Method",
    "Name",
    "Nested",
    "Node",
    "ObjectLiteral",
    "Output",
    "Parameter",
    "Program",
    "Property",
    "Resource",
    "Spread",
    "Statement",
    "Ternary",
    "Text",
    "TypeArray",
    "TypeLiteral",
    "TypeName",
    "TypeNullable",
    "TypeObject",
    "TypeSyntax",
    "TypeUnion",
    "Unary",
    "Variable",
    "children",
]


class Node(msgspec.Struct, frozen=True):
    """Base of all of them."""

    at: int


class Literal(Node, frozen=True):
    """A number, a truth value or null."""

    value: int | bool | None


class Text(Node, frozen=True):
    """A string: pieces of text, and expressions between them. One without interpolation has exactly one piece."""

    parts: tuple["str | Expression", ...]


class Name(Node, frozen=True):
    text: str


class Spread(Node, frozen=True):
    """`...value` in an array or object."""

    value: "Expression"


class ArrayLiteral(Node, frozen=True):
    items: tuple["Expression | Spread", ...]


class Property(Node, frozen=True):
    key: Text
    value: "Expression"


class ObjectLiteral(Node, frozen=True):
    """`resources` are the declarations that a body of a resource may hold."""

    entries: tuple["Property | Spread", ...]
    resources: tuple["Resource", ...] = ()


class Loop(Node, frozen=True):
    """`[for (item, index) in over: if (condition) body]`; `index` and `condition` are None where they are not given."""

    item: str
    index: str | None
    over: "Expression"
    condition: "Expression | None"
    body: "Expression"


class Unary(Node, frozen=True):
    operator: str
    operand: "Expression"


class Binary(Node, frozen=True):
    operator: str
    left: "Expression"
    right: "Expression"


class Ternary(Node, frozen=True):
    condition: "Expression"
    yes: "Expression"
    no: "Expression"


class Call(Node, frozen=True):
    """A function of a name alone."""

    name: str
    arguments: tuple["Expression", ...]


class Method(Node, frozen=True):
    """A function behind a dot: of a namespace, or of a resource."""

    of: "Expression"
    name: str
    arguments: tuple["Expression", ...]


class Member(Node, frozen=True):
    """`of.name`; `safe` for `of.?name`."""

    of: "Expression"
    name: str
    safe: bool


class Index(Node, frozen=True):
    """`of[key]`; `safe` for `of[?key]`."""

    of: "Expression"
    key: "Expression"
    safe: bool


class Nested(Node, frozen=True):
    """`of::name`."""

    of: "Expression"
    name: str


class Lambda(Node, frozen=True):
    names: tuple[str, ...]
    body: "Expression"


Expression = (
    Literal
    | Text
    | Name
    | ArrayLiteral
    | ObjectLiteral
    | Loop
    | Unary
    | Binary
    | Ternary
    | Call
    | Method
    | Member
    | Index
    | Nested
    | Lambda
)


class TypeName(Node, frozen=True):
    name: str


class TypeLiteral(Node, frozen=True):
    value: Any


class TypeArray(Node, frozen=True):
    of: "TypeSyntax"


class TypeNullable(Node, frozen=True):
    of: "TypeSyntax"


class TypeUnion(Node, frozen=True):
    members: tuple["TypeSyntax", ...]


class TypeObject(Node, frozen=True):
    properties: tuple[tuple[str, "TypeSyntax"], ...]


TypeSyntax = TypeName | TypeLiteral | TypeArray | TypeNullable | TypeUnion | TypeObject


class Decorator(Node, frozen=True):
    name: str
    arguments: tuple[Expression, ...]


class Parameter(Node, frozen=True):
    name: str
    type: TypeSyntax
    default: Expression | None
    decorators: tuple[Decorator, ...]


class Variable(Node, frozen=True):
    name: str
    value: Expression
    decorators: tuple[Decorator, ...]


class Output(Node, frozen=True):
    name: str
    type: TypeSyntax
    value: Expression
    decorators: tuple[Decorator, ...]


class Metadata(Node, frozen=True):
    name: str
    value: Expression


class Resource(Node, frozen=True):
    """
    A resource, on its own or in the body of another.

    Attributes:
        type: what stands in quotes: type and api-version.
        loop: its own `body` says nothing, and its `condition` is the filter.
        condition: of a resource without a loop.
    """

    name: str
    type: Text
    existing: bool
    loop: Loop | None
    condition: Expression | None
    body: ObjectLiteral
    decorators: tuple[Decorator, ...]


Statement = Parameter | Variable | Output | Metadata | Resource


class Program(Node, frozen=True):
    statements: tuple[Statement, ...]


def children(node: Node) -> Iterator[Node]:
    """The nodes right below one."""
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, Node):
                    yield item
                elif isinstance(item, tuple):  # the properties of a type
                    yield from (part for part in item if isinstance(part, Node))

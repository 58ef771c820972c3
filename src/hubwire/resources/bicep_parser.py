"""
From the text of a Bicep program to its nodes, by way of the tree-sitter grammar. Pure.

Of the grammar's tree the declarations, objects and loops are taken as they are. Expressions are not: the grammar binds
`!a.b`, `a == b.c` and `x => x.y` the wrong way, and in an array it separates `a[0]`. Their order in the text is right,
so they are laid out flat and put together here, by the precedence of the language.

What is not handled by name is refused: a kind of node that nobody looked at must never be dropped in silence.

Source: the Bicep documentation of file structure, data types and operators.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
import tree_sitter
import tree_sitter_bicep

from hubwire.resources import bicep_syntax as syntax
from hubwire.resources.bicep_operators import OPERATORS, Expressions, Token
from hubwire.resources.bicep_source import BicepFault, Source, line_break_between, multi_line, unescaped

__all__ = ["parsed"]

_LANGUAGE: Final = tree_sitter.Language(tree_sitter_bicep.language())
_MAX_NESTING: Final = 48
"""Of brackets, prefixes and branches in one another. Each takes some eight frames of the stack here."""
_MAX_DEPTH: Final = 100
"""Of nodes below one another, chains such as `a + b + c` included. Each takes a few frames of whoever reads them."""
_MAX_WORDS: Final = 5000
"""Of one declaration: names, strings, signs. It takes the grammar up to half a second to say that they are not one."""
_WORD: Final = re.compile(rb"\w+|[^\w\s]")
_BEGINNING: Final = re.compile(rb"[@A-Za-z_]")
_OPENING: Final = re.compile(rb"[(\[{]")
_CLOSING: Final = re.compile(rb"[)\]}]")
_CONTINUING: Final = frozenset(bytes([sign]) for sign in b"=+-*/%&|?:<>!,.")
_MAX_NUMBER: Final = (1 << 63) - 1
_MAX_NAME: Final = 255

_WRAPPERS: Final = frozenset(
    {
        "binary_expression",
        "call_expression",
        "lambda_expression",
        "member_expression",
        "resource_expression",
        "ternary_expression",
        "unary_expression",
    }
)
"""Kinds that only join what is in them, so that their parts can be laid out flat."""
_ATOMS: Final = frozenset({"boolean", "for_statement", "identifier", "null", "number", "object", "string"})
_GROUPS: Final = {"array": "[", "arguments": "(", "parenthesized_expression": "("}
_KEYWORDS: Final[Mapping[str, str]] = {
    "assert_statement": "assert",
    "import_functionality": "import",
    "import_statement": "import",
    "import_with_statement": "import",
    "module_declaration": "module",
    "test_block": "test",
    "type_declaration": "type",
    "user_defined_function": "func",
    "using_statement": "using",
}
"""What a program may not hold here, by the word that begins it."""


def parsed(source: Source) -> syntax.Program:
    """
    The nodes of a program.

    Raises:
        BicepFault: it is not Bicep, too deeply nested, or holds what is not supported here.
    """
    reader = _Reader(source)
    program = syntax.Program(0, tuple(reader.statements(_declarations(source))))
    reader.no_loose_assertions()
    _check_depth(source, program)
    return program


def _declarations(source: Source) -> Iterator[tree_sitter.Node]:
    """
    The nodes at the top, declaration after declaration.

    Each is parsed by itself. Behind a first error the grammar's time grows with the square of what is left, and nobody
    wants to know of a second one.
    """
    parser = tree_sitter.Parser(_LANGUAGE)
    nowhere = tree_sitter.Point(0, 0)
    for start, end in _pieces(source.masked):
        if sum(1 for _ in _WORD.finditer(source.masked, start, end)) > _MAX_WORDS:
            raise source.fault(start, "This declaration is too long.")
        parser.included_ranges = [tree_sitter.Range(nowhere, nowhere, start, end)]
        root = parser.parse(source.masked).root_node
        if root.has_error:
            at = _first_error(root)
            raise source.fault(at, _syntax_error(source, at))
        yield from root.children


def _pieces(masked: bytes) -> Iterator[tuple[int, int]]:
    """
    Where declarations begin and end: at a line outside of all brackets that begins with a word.

    A line goes on with the last one if that ended with an operator.
    """
    start = at = depth = 0
    last = b""
    for line in masked.splitlines(keepends=True):
        code = line.strip()
        if depth == 0 and last not in _CONTINUING and _BEGINNING.match(code):
            yield start, at
            start = at
        depth += len(_OPENING.findall(code)) - len(_CLOSING.findall(code))
        last = code[-1:] or last
        at += len(line)
    yield start, at


def _first_error(root: tree_sitter.Node) -> int:
    """The byte of the first node in the text that the grammar could not place or had to invent."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.is_missing:
            return node.start_byte
        if node.is_error and not any(child.has_error for child in node.children):
            return node.start_byte
        waiting.extend(child for child in reversed(node.children) if child.has_error or child.is_error)
    return root.start_byte


def _syntax_error(source: Source, at: int) -> str:
    line = source.original[at:].split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    return f"Syntax error at {line[:40]!r}." if line else "Syntax error: the program ends, or the line does, too early."


def _check_depth(source: Source, program: syntax.Program) -> None:
    level: Sequence[syntax.Node] = program.statements
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in syntax.children(node)]
    if level:
        raise source.fault(level[0].at, f"This is nested more than {_MAX_DEPTH} levels deep.")


class _Reader:
    """Reads the nodes of one program. Each method takes a node of the grammar and gives one of ours."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._assertions = set(source.assertions)
        self._nesting = 0

    # What a program consists of.

    def statements(self, nodes: Iterable[tree_sitter.Node]) -> Iterator[syntax.Statement]:
        readers: Mapping[str, Callable[[tree_sitter.Node, tuple[syntax.Decorator, ...]], syntax.Statement]] = {
            "metadata_declaration": self._metadata,
            "output_declaration": self._output,
            "parameter_declaration": self._parameter,
            "resource_declaration": self._resource,
            "variable_declaration": self._variable,
        }
        decorators: tuple[syntax.Decorator, ...] = ()
        end = 0
        for node in nodes:
            if end and not decorators and not line_break_between(self.source, end, node.start_byte):
                raise self._fault(node, "Expected a new line before this declaration.")
            if node.type == "decorators":
                decorators += tuple(self._decorator(child) for child in node.children)
            elif node.type == "target_scope_assignment":
                self._target_scope(node, decorators)
            elif node.type in readers:
                yield readers[node.type](node, decorators)
                decorators = ()
            elif node.type in _KEYWORDS:
                raise self._fault(node, f'"{_KEYWORDS[node.type]}" is not supported.')
            else:
                raise self._unsupported(node)
            end = node.end_byte
        if decorators:
            raise self.source.fault(decorators[0].at, "Expected a declaration after the decorator.")

    def no_loose_assertions(self) -> None:
        """A `!` that no operand took stood where it means nothing."""
        if self._assertions:
            raise self.source.fault(min(self._assertions), 'The "!" at this location does not follow an expression.')

    def _target_scope(self, node: tree_sitter.Node, decorators: tuple[syntax.Decorator, ...]) -> None:
        if decorators:
            raise self.source.fault(decorators[0].at, "A decorator on targetScope is not supported.")
        scope = self._plain(node.children[2])
        if scope != "resourceGroup":
            raise self._fault(node.children[2], f'The target scope "{scope}" is not supported, only "resourceGroup".')

    def _metadata(self, node: tree_sitter.Node, decorators: tuple[syntax.Decorator, ...]) -> syntax.Statement:
        if decorators:
            raise self.source.fault(decorators[0].at, "A decorator on metadata is not supported.")
        _, name, _, value = self._shaped(node, "metadata", "identifier", "=", "")
        return syntax.Metadata(node.start_byte, self._name(name), self.expression([value]))

    def _output(self, node: tree_sitter.Node, decorators: tuple[syntax.Decorator, ...]) -> syntax.Statement:
        _, name, type_, _, value = self._shaped(node, "output", "identifier", "type", "=", "")
        return syntax.Output(node.start_byte, self._name(name), self._type(type_), self.expression([value]), decorators)

    def _parameter(self, node: tree_sitter.Node, decorators: tuple[syntax.Decorator, ...]) -> syntax.Statement:
        default = None
        if len(node.children) == 3:
            _, name, type_ = self._shaped(node, "param", "identifier", "type")
        else:
            _, name, type_, _, value = self._shaped(node, "param", "identifier", "type", "=", "")
            default = self.expression([value])
        return syntax.Parameter(node.start_byte, self._name(name), self._type(type_), default, decorators)

    def _variable(self, node: tree_sitter.Node, decorators: tuple[syntax.Decorator, ...]) -> syntax.Statement:
        _, name, _, value = self._shaped(node, "var", "identifier", "=", "")
        return syntax.Variable(node.start_byte, self._name(name), self.expression([value]), decorators)

    def _resource(self, node: tree_sitter.Node, decorators: tuple[syntax.Decorator, ...]) -> syntax.Resource:
        existing = len(node.children) == 6
        kinds = ("resource", "identifier", "string", *(["existing"] if existing else []), "=", "")
        shaped = self._shaped(node, *kinds)
        value, loop, condition = shaped[-1], None, None
        if value.type == "for_statement":
            loop, value = self._loop_head(value)
        if value.type == "if_statement":
            _, group, value = self._shaped(value, "if", "parenthesized_expression", "object")
            condition = self._only(group)
        if value.type != "object":
            raise self._fault(value, "Expected the body of a resource, an object.")
        self._deepen(value)
        body = self._object(value, in_resource=True)
        self._nesting -= 1
        if loop is not None:
            loop = msgspec.structs.replace(loop, condition=condition)
            condition = None
        type_ = self._string(shaped[2])
        return syntax.Resource(
            node.start_byte, self._name(shaped[1]), type_, existing, loop, condition, body, decorators
        )

    def _decorator(self, node: tree_sitter.Node) -> syntax.Decorator:
        _, call = self._shaped(node, "@", "call_expression")
        match self.expression([call]):
            case syntax.Call(name=name, arguments=arguments):
                return syntax.Decorator(node.start_byte, name, arguments)
            case syntax.Method(of=syntax.Name(text="sys"), name=name, arguments=arguments):
                return syntax.Decorator(node.start_byte, name, arguments)
            case _:
                raise self._fault(node, "Expected a decorator such as @description('...').")

    # Types.

    def _type(self, node: tree_sitter.Node) -> syntax.TypeSyntax:
        self._deepen(node)
        found = self._read_type(node)
        self._nesting -= 1
        return found

    def _read_type(self, node: tree_sitter.Node) -> syntax.TypeSyntax:
        at, parts = node.start_byte, node.children
        match node.type:
            case "type" if len(parts) == 1:
                return self._type(parts[0])
            case "primitive_type" | "identifier":
                return syntax.TypeName(at, self._code(node))
            case "string" | "number" | "boolean" | "null":
                return syntax.TypeLiteral(at, self._plain(node) if node.type == "string" else self._literal(node).value)
            case "nullable_type":
                return syntax.TypeNullable(at, self._type(self._shaped(node, "", "?")[0]))
            case "parenthesized_type":
                return self._type(self._shaped(node, "(", "type", ")")[1])
            case "array_type" if len(parts) == 3:
                return syntax.TypeArray(at, self._type(parts[0]))
            case "union_type":
                return syntax.TypeUnion(at, tuple(self._type(part) for part in parts if part.type != "|"))
            case "binary_expression" if parts[1].type == "|":
                return syntax.TypeUnion(at, (self._type(parts[0]), self._type(parts[2])))
            case "object":
                entries = (self._shaped(part, "identifier", ":", "") for part in self._entries(node))
                return syntax.TypeObject(at, tuple((self._code(key), self._type(of)) for key, _, of in entries))
            case _:
                raise self._fault(node, f"The type at this location is not supported: {self._code(node)[:40]}.")

    # Expressions.

    def expression(self, nodes: Sequence[tree_sitter.Node]) -> syntax.Expression:
        """The one expression that nodes beside one another make up."""
        inside = self._row(nodes, nodes[-1].end_byte)
        found = inside.expression(line_breaks_end=False)
        inside.expect_end()
        return found

    def _row(self, nodes: Sequence[tree_sitter.Node], end: int) -> Expressions:
        return Expressions(self, list(self._flat(nodes)), end)

    def _flat(self, nodes: Sequence[tree_sitter.Node]) -> Iterator[Token]:
        waiting: list[tree_sitter.Node | Token] = list(reversed(nodes))
        while waiting:
            node = waiting.pop()
            if isinstance(node, Token):
                yield node
                continue
            kind, at, end = node.type, node.start_byte, node.end_byte
            if kind in _WRAPPERS:
                waiting.extend(reversed(node.children))
            elif kind == "subscript_expression":
                parts = node.children
                opening = next(i for i, part in enumerate(parts) if part.type == "[")
                waiting.append(Token("[", parts[opening].start_byte, end, node, tuple(parts[opening + 1 : -1])))
                waiting.extend(reversed(parts[:opening]))
            elif kind in _GROUPS:
                yield Token(_GROUPS[kind], at, end, node, tuple(node.children[1:-1]))
            elif kind == "number" and self._code(node).startswith("-"):
                # `a -1` is a subtraction, but to the grammar a number.
                yield Token("-", at, at + 1, node)
                yield Token("number", at + 1, end, node)
            elif kind == "property_identifier":
                yield Token("name", at, end, node)
            elif kind in _ATOMS or (kind in OPERATORS and not node.is_named):
                yield Token(kind, at, end, node)
            else:
                raise self._unsupported(node)

    def atom(self, token: Token) -> syntax.Expression:
        """What a token means that is an operand by itself."""
        node = token.node
        match token.kind:
            case "identifier":
                return syntax.Name(token.at, self._name(node))
            case "number":
                return self._number(token.at, token.end)
            case "boolean" | "null":
                return self._literal(node)
            case "string":
                return self._string(node)
            case "object":
                return self._object(node, in_resource=False)
            case "for_statement":
                loop, body = self._loop_head(node)
                if body.type == "if_statement":
                    raise self._fault(body, "A filter is supported in the loop of a resource only.")
                return msgspec.structs.replace(loop, body=self.expression([body]))
            case "[":
                return syntax.ArrayLiteral(token.at, tuple(self._items(token)))
            case "(":
                inside = self._row(token.inner, token.end - 1)
                found = inside.expression(line_breaks_end=False)
                inside.expect_end()
                return found
            case _:
                raise self.source.fault(token.at, "Expected an expression at this location.")

    def arguments(self, token: Token) -> tuple[syntax.Expression, ...]:
        """The expressions in round brackets."""
        inside = self._row(token.inner, token.end - 1)
        found: list[syntax.Expression] = []
        while inside.peek() is not None:
            if found:
                inside.expect(",")
            found.append(inside.expression(line_breaks_end=False))
        return tuple(found)

    def key(self, token: Token) -> tuple[syntax.Expression, bool]:
        """The expression in square brackets, and whether a `?` stands before it."""
        inside = self._row(token.inner, token.end - 1)
        safe = inside.take("?") is not None
        found = inside.expression(line_breaks_end=False)
        inside.expect_end()
        return found, safe

    def name(self, token: Token) -> str:
        """An identifier."""
        return self._name(token.node)

    def asserted(self, end: int) -> bool:
        """Whether a `!` followed the operand that ends at a byte. It says something to the type checker alone."""
        if end not in self._assertions:
            return False
        self._assertions.discard(end)
        return True

    def _items(self, token: Token) -> Iterator[syntax.Expression | syntax.Spread]:
        inside = self._row(token.inner, token.end - 1)
        while (first := inside.peek()) is not None:
            if first.kind == "!" and first.at - 2 in self.source.spreads:
                inside.expect("!")
                yield syntax.Spread(first.at - 2, inside.expression(line_breaks_end=True))
            else:
                yield inside.expression(line_breaks_end=True)
            inside.separator()

    def _loop_head(self, node: tree_sitter.Node) -> tuple[syntax.Loop, tree_sitter.Node]:
        """A loop whose body is still to be read, and the node of that."""
        parts = node.children
        start = next((i for i, part in enumerate(parts) if part.type == "in"), 0)
        end = next((i for i, part in enumerate(parts) if part.type == ":"), 0)
        if start != 3 or end <= start or len(parts) != end + 3:
            raise self._fault(node, "Expected a loop such as [for item in items: ...].")
        names = parts[2]
        index = None
        if names.type == "for_loop_parameters":
            _, item, _, enumerator, _ = self._shaped(names, "(", "loop_variable", ",", "loop_enumerator", ")")
            index = self._name(enumerator)
        else:
            item = names
        over = self.expression(parts[start + 1 : end])
        nothing = syntax.Literal(node.start_byte, None)
        return syntax.Loop(node.start_byte, self._name(item), index, over, None, nothing), parts[end + 1]

    def _object(self, node: tree_sitter.Node, *, in_resource: bool) -> syntax.ObjectLiteral:
        entries: list[syntax.Property | syntax.Spread] = []
        resources: list[syntax.Resource] = []
        decorators: tuple[syntax.Decorator, ...] = ()
        for part in self._entries(node):
            if part.type == "decorators":
                decorators = tuple(self._decorator(child) for child in part.children)
                continue
            first = part.children[0]
            if first.type == "resource_declaration":
                if not in_resource:
                    raise self._fault(part, "A resource cannot be declared at this location.")
                resources.append(self._resource(first, decorators))
                decorators = ()
                continue
            key, _, value = self._shaped(part, "", ":", "")
            if key.start_byte in self.source.spreads:
                entries.append(syntax.Spread(key.start_byte, self.expression([value])))
            else:
                entries.append(syntax.Property(key.start_byte, self._key(key), self.expression([value])))
            if decorators:
                break
        if decorators:
            raise self.source.fault(decorators[0].at, "A decorator is not supported at this location.")
        return syntax.ObjectLiteral(node.start_byte, tuple(entries), tuple(resources))

    def _entries(self, node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
        """What stands in an object, each in its own line or behind a comma."""
        end = 0
        for part in node.children[1:-1]:
            if part.type == ",":
                end = 0
                continue
            if end and not line_break_between(self.source, end, part.start_byte):
                raise self._fault(part, "Expected a new line or a comma before this property.")
            if part.type not in ("object_property", "decorators"):
                raise self._unsupported(part)
            yield part
            end = 0 if part.type == "decorators" else part.end_byte

    def _key(self, node: tree_sitter.Node) -> syntax.Text:
        if node.type == "string":
            return self._string(node)
        if node.type != "identifier":
            raise self._unsupported(node)
        return syntax.Text(node.start_byte, (self._name(node),))

    # Leaves.

    def _string(self, node: tree_sitter.Node) -> syntax.Text:
        start, end = node.start_byte, node.end_byte
        if self.source.original.startswith(b"'''", start):
            return syntax.Text(start, (multi_line(self.source, start, end),))
        parts: list[str | syntax.Expression] = []
        at = start + 1
        for part in node.children:
            if part.type == "interpolation":
                opening = next(child.start_byte for child in part.children if child.type == "${")
                # The grammar counts blanks before an interpolation to it, although the string holds them.
                opening = self.source.original.index(b"${", opening)
                parts += [unescaped(self.source, at, opening), self.expression(part.children[1:-1])]
                at = part.end_byte
            elif part.type not in ("'", "string_content"):
                raise self._unsupported(part)
        parts.append(unescaped(self.source, at, end - 1))
        return syntax.Text(start, tuple(part for i, part in enumerate(parts) if part != "" or i == len(parts) - 1))

    def _plain(self, node: tree_sitter.Node) -> str:
        """A string without interpolation."""
        match self._string(node).parts:
            case (str() as text,):
                return text
            case _:
                raise self._fault(node, "String interpolation is not supported at this location.")

    def _literal(self, node: tree_sitter.Node) -> syntax.Literal:
        match node.type:
            case "number":
                return self._number(node.start_byte, node.end_byte)
            case "boolean":
                return syntax.Literal(node.start_byte, self._code(node) == "true")
            case _:
                return syntax.Literal(node.start_byte, None)

    def _number(self, at: int, end: int) -> syntax.Literal:
        digits = self.source.masked[at:end].decode()
        if len(digits) > 20 or abs(int(digits)) > _MAX_NUMBER:
            raise self.source.fault(at, "Expected a valid 64-bit signed integer.")
        return syntax.Literal(at, int(digits))

    def _name(self, node: tree_sitter.Node) -> str:
        name = self._code(node)
        if len(name) > _MAX_NAME:
            raise self._fault(node, f"The identifier exceeds the limit of {_MAX_NAME} characters.")
        if not name.isidentifier():
            raise self._fault(node, "Expected an identifier at this location.")
        return name

    def _only(self, group: tree_sitter.Node) -> syntax.Expression:
        (token,) = self._flat([group])
        return self.atom(token)

    def _shaped(self, node: tree_sitter.Node, *kinds: str) -> list[tree_sitter.Node]:
        """The parts of a node, which must be of these kinds; "" stands for any."""
        parts = node.children
        if len(parts) != len(kinds) or any(
            kind not in ("", part.type) for kind, part in zip(kinds, parts, strict=True)
        ):
            raise self._unsupported(node)
        return parts

    def _code(self, node: tree_sitter.Node) -> str:
        return self.source.masked[node.start_byte : node.end_byte].decode()

    def deepen(self, at: int) -> None:
        """One level further in. Whoever calls counts down again; after a fault nobody reads on."""
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise self.source.fault(at, f"This is nested more than {_MAX_NESTING} levels deep.")

    def rise(self) -> None:
        """One level back out."""
        self._nesting -= 1

    def _deepen(self, node: tree_sitter.Node) -> None:
        self.deepen(node.start_byte)

    def _unsupported(self, node: tree_sitter.Node) -> BicepFault:
        kind = node.type.replace("_", " ")
        return self._fault(node, f"The construct at this location ({kind}) is not supported.")

    def _fault(self, node: tree_sitter.Node, message: str) -> BicepFault:
        return self.source.fault(node.start_byte, message)

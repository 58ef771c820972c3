"""
The expression language of templates: from text to a tree, and from a tree to a value.

    "[format('{0}/{1}', parameters('name'), variables('hubs')[0])]"

A string of a template that begins with `[` and ends with `]` is an expression; `[[` at the begin stands for a plain
bracket. Names of functions and of properties compare without case.

A template is written by somebody who may deploy, but must not stop the server. So every value that is made is charged
to a `Budget`, which also counts how deep the evaluation has called itself.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

from msgspec import UNSET, Struct
from msgspec.structs import replace

from hubwire.resources.template_context import Environment, Runtime, Target
from hubwire.resources.template_faults import TemplateFault
from hubwire.resources.template_values import INT64, Unfit

__all__ = [
    "MAX_LENGTH",
    "Access",
    "Budget",
    "Call",
    "Function",
    "Lambda",
    "Literal",
    "Node",
    "Scope",
    "Step",
    "apply",
    "called",
    "evaluate",
    "find",
    "function_of",
    "is_expression",
    "parse",
    "plain",
]

MAX_LENGTH: Final = 24_576
"""Characters of one expression, as in Azure Resource Manager."""
_MAX_NESTING: Final = 64
"""Of calls and indexes in one another, in one expression."""
_MAX_CALLS: Final = 128
"""Of evaluations in one another. One takes up to five frames of the interpreter, which allows for a thousand."""
_MAX_DEPTH: Final = 100
"""Of arrays and objects in one another, in a value that was made."""
_MAX_SIZE: Final = 32_000_000
"""Of all values that one piece of work makes: a character counts one, whatever holds something `_CELL` more."""
_CELL: Final = 32
_STEP: Final = 64
"""What one evaluation counts, so that the budget also bounds the time."""

_SCALARS: Final = frozenset({type(None), bool, int, float})


class Literal(Struct, frozen=True):
    """A string or an integer that stands in the expression."""

    value: str | int


class Call(Struct, frozen=True):
    """A function and what it is given. `name` is as it was typed, with the namespace of a function of the template."""

    name: str
    arguments: tuple["Node", ...]


class Step(Struct, frozen=True):
    """Into a value: the property or element that `key` names. A safe one makes null of what is not there."""

    key: "Node"
    safe: bool


class Access(Struct, frozen=True):
    """One or more steps into the result of a call. They stand in a row, so that a long one does not nest."""

    target: Call
    steps: tuple[Step, ...]


Node: TypeAlias = Literal | Call | Access


def is_expression(text: str) -> bool:
    """Whether a string of a template is an expression."""
    return text.startswith("[") and text.endswith("]") and not text.startswith("[[")


def parse(text: str) -> Node:
    """
    The tree of an expression, given with its brackets.

    Raises:
        TemplateFault: it is none, or is longer or deeper than allowed.
    """
    if len(text) > MAX_LENGTH:
        raise TemplateFault(f"The template language expression is longer than {MAX_LENGTH} characters.")
    return _Parser(text).whole()


_TOKEN: Final = re.compile(
    r"[ \t\r\n]*+(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*+)|(?P<integer>-?[0-9]++)"
    r"|(?P<string>'[^']*+(?:''[^']*+)*+')|(?P<mark>\.\?|\[\?|[()\[\],.])|(?P<end>\Z))"
)


class _Parser:
    """An expression and the token that is looked at. Tokens are kinds of `_TOKEN` with their text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nesting = 0
        self._advance()

    def whole(self) -> Node:
        self._expect("[")
        node = self._operand()
        self._expect("]")
        if self._kind != "end":
            self._fail()
        return node

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            self._fail()
        self._kind = found.lastgroup
        self._token = found.group(found.lastgroup)
        self._at = found.end()

    def _fail(self) -> NoReturn:
        shown = self._text if len(self._text) <= 200 else self._text[:200] + "…"
        raise TemplateFault(f"The template language expression '{shown}' is not valid: see character {self._at}.")

    def _is(self, mark: str) -> bool:
        return self._kind == "mark" and self._token == mark

    def _expect(self, mark: str) -> None:
        if not self._is(mark):
            self._fail()
        self._advance()

    def _operand(self) -> Node:
        kind, token = self._kind, self._token
        if kind == "string":
            self._advance()
            return Literal(token[1:-1].replace("''", "'"))
        if kind == "integer":
            # Longer than 20 characters cannot fit, and need not be read.
            if len(token) > 20 or int(token) not in INT64:
                raise TemplateFault("An integer of a template language expression does not fit into 64 bits.")
            self._advance()
            return Literal(int(token))
        if kind != "name":
            self._fail()
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise TemplateFault(f"A template language expression is nested more than {_MAX_NESTING} levels deep.")
        call = Call(self._name(), self._arguments())
        steps = self._steps()
        self._nesting -= 1
        return Access(call, steps) if steps else call

    def _name(self) -> str:
        """Pass a name, which may have dots in it."""
        parts: list[str] = []
        while True:
            if self._kind != "name":
                self._fail()
            parts.append(self._token)
            self._advance()
            if not self._is("."):
                return ".".join(parts)
            self._advance()

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        if self._is(")"):
            self._advance()
            return ()
        given = [self._operand()]
        while self._is(","):
            self._advance()
            given.append(self._operand())
        self._expect(")")
        return tuple(given)

    def _steps(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        while self._kind == "mark" and self._token in (".", ".?", "[", "[?"):
            mark = self._token
            self._advance()
            if mark.startswith("["):
                key = self._operand()
                self._expect("]")
            else:
                if self._kind != "name":
                    self._fail()
                key = Literal(self._token)
                self._advance()
            steps.append(Step(key, mark.endswith("?")))
        return tuple(steps)


class Budget:
    """
    How much one piece of work may still make, and how deep it is. Not to be shared between pieces.

    Args:
        trees: of expressions that were read before; may be shared, and is added to.
    """

    def __init__(self, trees: dict[str, Node]) -> None:
        self._trees = trees
        self._left = _MAX_SIZE
        self._calls = 0

    def renewed(self) -> "Budget":
        """A whole budget for another piece of work on the same expressions."""
        return Budget(self._trees)

    def spend(self, size: int) -> None:
        """
        Take some of it, before that much is made.

        Raises:
            TemplateFault: it is used up.
        """
        self._left -= size
        if self._left < 0:
            raise TemplateFault("The values of the template are too large to be evaluated.")

    def charge(self, value: Any) -> None:
        """
        Take what a value holds, through and through: what is shared in it is counted as often as it would be written.

        Raises:
            TemplateFault: the budget is used up, the value is too deep, or it holds a lambda, which is no value.
        """
        level, depth = [value], 0
        self.spend(_CELL)
        while level:
            deeper: list[Any] = []
            for item in level:
                kind = type(item)
                if kind is str:
                    self._left -= len(item)
                elif kind is list:
                    # Before it is walked into: what is shared may be far larger than the memory it takes.
                    self.spend(_CELL * len(item))
                    deeper += item
                elif kind is dict:
                    self.spend(_CELL * len(item) + sum(map(len, item)))
                    deeper += item.values()
                elif kind not in _SCALARS:
                    raise TemplateFault("The template function 'lambda' is not expected at this location.")
            level, depth = deeper, depth + 1
            if depth > _MAX_DEPTH:
                raise TemplateFault(f"A value is nested more than {_MAX_DEPTH} levels deep.")
        self.spend(0)

    def charge_argument(self, value: Any) -> None:
        """Take what a function looks at: a value, or a lambda, which costs when it is called."""
        if not isinstance(value, Lambda):
            self.charge(value)

    def descend(self) -> None:
        """
        Enter one more evaluation.

        Raises:
            TemplateFault: there are too many in one another.
        """
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise TemplateFault(f"Evaluating the template takes more than {_MAX_CALLS} steps in one another.")

    def ascend(self) -> None:
        self._calls -= 1

    def tree(self, text: str) -> Node:
        """The tree of an expression, read once. Raises what `parse` raises."""
        tree = self._trees.get(text)
        if tree is None:
            # A tree is some times larger than its text.
            self.spend(8 * len(text))
            tree = self._trees[text] = parse(text)
        return tree


class Scope(Struct, frozen=True):
    """
    What an expression can see from where it stands.

    Attributes:
        functions: by name in lower case.
        parameter, variable: the value of a name. They raise TemplateFault for one that is not declared.
        target: the resource that a text means: an id, a name or a symbol.
        targets: the resources of a loop, by its symbol.
        template: for `deployment()`.
        runtime: None where what must be known before resources exist may not depend on them.
        copies: index by name of the loop in lower case; "" is the innermost one that may go without its name.
        lambdas: arguments by name in lower case.
        is_default: whether this is the default of a parameter, the one place where a value may change by itself.
        keeps_unresolved: whether an expression that cannot be known yet stays as its text.
    """

    budget: Budget
    functions: Mapping[str, "Function"]
    environment: Environment
    parameter: Callable[[str], Any]
    variable: Callable[[str], Any]
    target: Callable[[str], Target]
    targets: Callable[[str], Sequence[Target]]
    template: Any = None
    runtime: Runtime | None = None
    copies: Mapping[str, int] = {}
    lambdas: Mapping[str, Any] = {}
    is_default: bool = False
    keeps_unresolved: bool = False


class Function(Struct, frozen=True):
    """
    A function of the language.

    Attributes:
        call: is given the scope, then the arguments: values, or trees if `lazy`. Raises Unfit for what it cannot take.
        least, most: number of arguments; no `most` is as many as one likes.
        lazy: whether it evaluates its arguments itself.
        passes: whether its result is a part of what there is, so that nothing is made by it.
        named: whether `call` is given the name that was typed, before the arguments.
    """

    call: Callable[..., Any]
    least: int
    most: int | None
    lazy: bool = False
    passes: bool = False
    named: bool = False


def plain(call: Callable[..., Any], least: int, most: int | None, passes: bool = False) -> Function:
    """A function that needs nothing but its arguments."""
    return Function(lambda _, *given: call(*given), least, most, passes=passes)


class Lambda(Struct, frozen=True):
    """A tree that waits for its arguments. `names` are in lower case."""

    names: tuple[str, ...]
    body: Node
    scope: Scope


def called(node: Node) -> Sequence[Node]:
    """The trees right below a tree."""
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, Access):
        return (node.target, *(step.key for step in node.steps))
    return ()


def function_of(call: Call, functions: Mapping[str, Function]) -> Function:
    """
    The function that a call means.

    Raises:
        TemplateFault: there is none of that name, or it takes another number of arguments.
    """
    name, given = call.name.lower(), len(call.arguments)
    function = functions.get(name)
    if function is None and name.startswith("list") and "." not in name:
        function = functions["list*"]
    if function is None:
        raise TemplateFault(f"The template function '{call.name[:100]}' is not valid.")
    if given < function.least or (function.most is not None and given > function.most):
        wanted = _numbers(function.least, function.most)
        raise TemplateFault(f"The template function '{call.name}' takes {wanted} arguments, but is given {given}.")
    return function


def evaluate(node: Node, scope: Scope) -> Any:
    """
    The value of a tree.

    Raises:
        TemplateFault: it has none. The place is not known here.
        Unresolved: it needs a resource that is not there yet.
    """
    budget = scope.budget
    budget.descend()
    try:
        budget.spend(_STEP)
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Access):
            return _stepped(evaluate(node.target, scope), node.steps, scope)
        function = function_of(node, scope.functions)
        given: Sequence[Any] = node.arguments
        if not function.lazy:
            given = [evaluate(argument, scope) for argument in node.arguments]
            if not function.passes:
                # The work of a function grows with what it is given, even if it makes but a number of it.
                for value in given:
                    budget.charge_argument(value)
        result = function.call(scope, node.name, *given) if function.named else function.call(scope, *given)
        if not function.passes:
            budget.charge(result)
        return result
    except Unfit as unfit:
        assert isinstance(node, Call)
        raise TemplateFault(f"The template function '{node.name}' cannot be evaluated: {unfit}") from None
    finally:
        budget.ascend()


def apply(function: Lambda, *arguments: Any) -> Any:
    """The value of a lambda. Arguments for which it has no name are left out."""
    given = dict(zip(function.names, arguments, strict=False))
    return evaluate(function.body, replace(function.scope, lambdas={**function.scope.lambdas, **given}))


def find(value: Any, key: Any) -> Any:
    """What a key leads to: a property by its name, in its case or else in any, or an element. UNSET if to nothing."""
    if isinstance(value, dict) and isinstance(key, str):
        if key in value:
            return value[key]
        lower = key.lower()
        return next((inner for name, inner in value.items() if name.lower() == lower), UNSET)
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(value):
        return value[key]
    return UNSET


def _stepped(value: Any, steps: tuple[Step, ...], scope: Scope) -> Any:
    for step in steps:
        scope.budget.spend(_CELL + (len(value) if isinstance(value, dict) else 0))
        key = evaluate(step.key, scope)
        inner = find(value, key)
        if inner is UNSET:
            if step.safe:
                return None
            raise _no_such(value, key)
        value = inner
    return value


def _no_such(value: Any, key: Any) -> TemplateFault:
    wanted = f"The language expression property '{str(key)[:100]}'"
    if isinstance(value, dict) and isinstance(key, str):
        shown = ", ".join(list(value)[:50])[:500]
        return TemplateFault(f"{wanted} doesn't exist, available properties are '{shown}'.")
    if isinstance(value, list) and isinstance(key, int):
        return TemplateFault(f"{wanted} is out of bounds: the array has {len(value)} elements.")
    return TemplateFault(f"{wanted} can't be evaluated: the value is neither an object with names nor an array.")


def _numbers(least: int, most: int | None) -> str:
    """How many arguments, in words."""
    if most is None:
        return f"at least {least}"
    return str(least) if least == most else f"{least} to {most}"

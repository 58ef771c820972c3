"""Variables of a template: made when they are first asked for, since they may speak of one another in any order."""

from typing import Any

from hubwire.resources.expressions import Scope
from hubwire.resources.template_faults import At, TemplateFault
from hubwire.resources.template_trees import evaluated, looped, members

__all__ = ["Variables"]


class Variables:
    """
    The variables of one deployment.

    Args:
        declared: the `variables` of the template. Its `copy` is an array of loops, each of which makes a variable.

    Raises:
        TemplateFault: they are no object, or one is declared twice.
    """

    def __init__(self, declared: Any) -> None:
        at: At = ("variables",)
        self._declared: dict[str, tuple[Any, At, bool]] = {}
        self._values: dict[str, Any] = {}
        self._pending: set[str] = set()
        for name, value in members(declared, "The variables of the template", at).items():
            if name.lower() == "copy" and isinstance(value, list):
                for step, loop in enumerate(value):
                    self._declare_loop(loop, (*at, name, step))
            else:
                self._declare(name, value, (*at, name), is_loop=False)

    def _declare_loop(self, loop: Any, at: At) -> None:
        loop = members(loop, "A copy loop", at)
        name = loop.get("name")
        if not isinstance(name, str):
            raise TemplateFault("A copy loop needs a name.", at)
        if not any(key.lower() == "input" for key in loop):
            raise TemplateFault("A copy loop needs an input.", at)
        self._declare(name, loop, at, is_loop=True)

    def _declare(self, name: str, value: Any, at: At, is_loop: bool) -> None:
        if name.lower() in self._declared:
            raise TemplateFault(f"The variable '{name[:100]}' is declared twice.", at)
        self._declared[name.lower()] = (value, at, is_loop)

    def knows(self, name: str) -> bool:
        return name.lower() in self._declared

    def value(self, name: str, scope: Scope) -> Any:
        """
        The value of a variable.

        Raises:
            TemplateFault: there is no such variable, or it depends on itself.
        """
        key = name.lower()
        if key not in self._declared:
            raise TemplateFault(f"The template variable '{name[:100]}' is not found.")
        if key not in self._values:
            value, at, is_loop = self._declared[key]
            if key in self._pending:
                raise TemplateFault(f"The variable '{name}' depends on itself.", at)
            self._pending.add(key)
            self._values[key] = looped(value, scope, at) if is_loop else evaluated(value, scope, at)
        return self._values[key]

    def settle(self, scope: Scope) -> None:
        """Make all of them, so that none can fail later. Raises what `value` raises."""
        for name in self._declared:
            self.value(name, scope)

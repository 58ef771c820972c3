"""Parameters of a template: what it declares, what is given, and what that makes."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

from hubwire.resources.expressions import Scope, find
from hubwire.resources.template_faults import At, TemplateFault
from hubwire.resources.template_trees import evaluated, members
from hubwire.resources.template_values import key_of, kind_of

__all__ = ["Declaration", "Parameters", "declaration"]

_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "string": ("String", "String"),
    "securestring": ("SecureString", "String"),
    "int": ("Int", "Integer"),
    "bool": ("Bool", "Boolean"),
    "object": ("Object", "Object"),
    "secureobject": ("SecureObject", "Object"),
    "array": ("Array", "Array"),
}
"""Type in lower case to its name in answers, and to the kind of value that it takes."""
_MAX_REFERENCES: Final = 32


class Declaration(Struct, frozen=True):
    """
    What a parameter or an output may be.

    Attributes:
        type: in the spelling of answers, such as `SecureString`.
        rules: the document with its constraints, those of the definitions that it refers to included.
        at: where it stands.
    """

    type: str
    rules: Mapping[str, Any]
    at: At

    @property
    def is_secure(self) -> bool:
        return self.type.startswith("Secure")

    @property
    def is_nullable(self) -> bool:
        return find(self.rules, "nullable") is True

    def check(self, value: Any, what: str) -> None:
        """
        Hold a value against the type and all constraints.

        Args:
            what: names the thing, such as `template parameter 'hub'`.

        Raises:
            TemplateFault: it does not fit. The value itself is never quoted, it may be a secret.
        """
        if value is None and self.is_nullable:
            return
        wanted = _TYPES[self.type.lower()][1]
        if kind_of(value) != wanted:
            raise TemplateFault(
                f"The provided value for the {what} is not valid. "
                f"Expected a value of type '{wanted}', but received a value of type '{kind_of(value)}'.",
                self.at,
            )
        self._check_allowed(value, what)
        if wanted == "Integer":
            self._check_range(value, "minValue", "maxValue", f"value of the {what}")
        elif wanted in ("String", "Array"):
            self._check_range(len(value), "minLength", "maxLength", f"length of the {what}")

    def _check_allowed(self, value: Any, what: str) -> None:
        allowed = find(self.rules, "allowedValues")
        if allowed is UNSET:
            return
        if not isinstance(allowed, list):
            raise TemplateFault(f"The allowedValues of the {what} must be an array.", self.at)
        keys = {key_of(item) for item in allowed}
        # Of an array, also each element may be held against the list.
        if key_of(value) in keys or (isinstance(value, list) and {key_of(item) for item in value} <= keys):
            return
        shown = ", ".join(str(item) for item in allowed[:50])[:500]
        raise TemplateFault(
            f"The provided value for the {what} is not valid. It is not part of the allowed values: '{shown}'.", self.at
        )

    def _check_range(self, size: int, least: str, most: str, what: str) -> None:
        low, high = find(self.rules, least), find(self.rules, most)
        for bound, name in ((low, least), (high, most)):
            if bound is not UNSET and kind_of(bound) != "Integer":
                raise TemplateFault(f"The {name} of the {what} must be an integer.", self.at)
        if low is not UNSET and size < low:
            raise TemplateFault(f"The {what} is {size}, which is less than its {least} of {low}.", self.at)
        if high is not UNSET and size > high:
            raise TemplateFault(f"The {what} is {size}, which is more than its {most} of {high}.", self.at)


def declaration(document: Any, definitions: Mapping[str, Any], at: At) -> Declaration:
    """
    Read what a parameter or an output declares. Its type may be a reference to a definition of the template.

    Of a type that is put together, the base type is held against values; not the members of an object or array.

    Raises:
        TemplateFault: there is no type that we know.
    """
    rules = dict(members(document, "A declaration", at))
    for _ in range(_MAX_REFERENCES):
        reference = find(rules, "$ref")
        if reference is UNSET:
            break
        if not isinstance(reference, str) or not reference.startswith("#/definitions/"):
            raise TemplateFault("A $ref must be of the form '#/definitions/name'.", at)
        name = reference.removeprefix("#/definitions/").replace("~1", "/").replace("~0", "~")
        referred = find(definitions, name)
        if not isinstance(referred, dict):
            raise TemplateFault(f"The definition '{name[:100]}' is not found.", at)
        # What stands nearer says more.
        rules = {**referred, **{key: value for key, value in rules.items() if key.lower() != "$ref"}}
    else:
        raise TemplateFault("The definitions refer to one another without end.", at)
    kind = find(rules, "type")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TemplateFault(f"The type '{str(kind)[:100] if kind is not UNSET else ''}' is not valid.", at)
    return Declaration(_TYPES[kind.lower()][0], rules, at)


class Parameters:
    """
    The parameters of one deployment.

    A default is evaluated when its value is first asked for, and only then: it may speak of other parameters.

    Args:
        declared: the `parameters` of the template.
        given: by name, each as `{"value": …}`.

    Raises:
        TemplateFault: one is given that is not declared, one that is needed is not given, or one in a form that we do
            not take.
    """

    def __init__(self, declared: Any, given: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
        at: At = ("parameters",)
        declared = members(declared, "The parameters of the template", at)
        self._declared = {name: declaration(what, definitions, (*at, name)) for name, what in declared.items()}
        self._names = {name.lower(): name for name in self._declared}
        self._values: dict[str, Any] = {}
        self._pending: set[str] = set()
        unknown = [name for name in given if name.lower() not in self._names]
        if unknown:
            raise TemplateFault(
                "The following parameters were supplied, but do not correspond to any parameters defined in the "
                f"template: '{', '.join(unknown)[:500]}'. "
                f"The parameters defined in the template are: '{', '.join(self._declared)[:500]}'.",
                at,
            )
        for name, what in given.items():
            self._take(self._names[name.lower()], what)
        for name, needed in self._declared.items():
            if name not in self._values and find(needed.rules, "defaultValue") is UNSET:
                if not needed.is_nullable:
                    raise TemplateFault(f"The value for the template parameter '{name}' is not provided.", needed.at)
                self._values[name] = None

    def _take(self, name: str, given: Any) -> None:
        declared = self._declared[name]
        if not isinstance(given, dict):
            raise TemplateFault(f"The parameter '{name}' must be given as an object with a 'value'.", declared.at)
        if find(given, "reference") is not UNSET:
            raise TemplateFault(
                f"The parameter '{name}' is given by a reference to a key vault, which is not available.", declared.at
            )
        value = find(given, "value")
        if value is UNSET:
            raise TemplateFault(f"The parameter '{name}' must be given as an object with a 'value'.", declared.at)
        if value is None and not declared.is_nullable:
            raise TemplateFault(f"The value of the deployment parameter '{name}' is null.", declared.at)
        if name in self._values:
            raise TemplateFault(f"The parameter '{name}' is given twice.", declared.at)
        declared.check(value, f"template parameter '{name}'")
        self._values[name] = value

    def knows(self, name: str) -> bool:
        return name.lower() in self._names

    def value(self, name: str, scope: Scope) -> Any:
        """
        The value of a parameter.

        Args:
            scope: for a default.

        Raises:
            TemplateFault: there is no such parameter, or its default cannot be.
        """
        key = self._names.get(name.lower())
        if key is None:
            raise TemplateFault(f"The template parameter '{name[:100]}' is not found.")
        if key not in self._values:
            declared = self._declared[key]
            if key in self._pending:
                raise TemplateFault(f"The default value of the parameter '{key}' depends on itself.", declared.at)
            self._pending.add(key)
            default = evaluated(find(declared.rules, "defaultValue"), scope, (*declared.at, "defaultValue"))
            declared.check(default, f"template parameter '{key}'")
            self._values[key] = default
        return self._values[key]

    def settle(self, scope: Scope) -> None:
        """Evaluate all defaults, so that none can fail later. Raises what `value` raises."""
        for name in self._declared:
            self.value(name, scope)

    def echo(self, scope: Scope) -> dict[str, dict[str, Any]]:
        """All of them, for the answer to a deployment. Secure ones have no value there."""
        return {
            name: {"type": declared.type} | ({} if declared.is_secure else {"value": self.value(name, scope)})
            for name, declared in self._declared.items()
        }

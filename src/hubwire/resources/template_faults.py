"""What can be wrong with a template, and where."""

from typing import Final, TypeAlias

from hubwire.model.errors import BadRequest, Refused

__all__ = ["At", "TemplateFault", "Unresolved", "path_text"]

At: TypeAlias = tuple[str | int, ...]
"""Way from the root of a template to a place in it: names of properties and indexes of arrays."""

_CODE: Final = "InvalidTemplate"


class TemplateFault(BadRequest):
    """
    A template, or what was given for its parameters, cannot be carried out as it is written.

    Args:
        message: for the author of the template; it may quote the template but no value of a secure parameter.
        at: the place at fault; None as long as nobody knows, the root is ().
        code: of the answer, a word of Azure Resource Manager.

    Attributes:
        line, column: of the place in the text, from 1; None when the text is not known.
    """

    def __init__(self, message: str, at: At | None = None, code: str = _CODE) -> None:
        super().__init__(message)
        self.code = code
        self.at = at
        self.line: int | None = None
        self.column: int | None = None

    @property
    def path(self) -> str:
        """The place in words, such as `resources[0].properties`; empty for the root."""
        return path_text(self.at or ())

    def place(self, at: At) -> None:
        """Say where it is, unless somebody nearer to it already did."""
        if self.at is None:
            self.at = at


class Unresolved(Refused):
    """A value that is only known once a resource is there. `resource_id` says which one."""

    def __init__(self, resource_id: str) -> None:
        super().__init__(f"The resource {resource_id} is not there yet.", target=resource_id)
        self.resource_id = resource_id


def path_text(at: At) -> str:
    """A path as the field writes it: `resources[0].properties`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).removeprefix(".")

"""
Templates as they are kept with their deployments: without what is secret in them. Pure.

A value that comes from a parameter or from somewhere else stays, since it is an expression; one that stands there as
text is taken out, and so are defaults of secure parameters.
"""

from typing import Any, Final

__all__ = ["without_secrets"]

_REMOVED: Final = ""
_SECURE: Final = ("securestring", "secureobject")
_SECRET_TYPES: Final = ("microsoft.keyvault/vaults/secrets", "secrets")
"""The second one is the type of a secret that stands inside of its vault."""


def without_secrets(template: Any) -> Any:
    """A copy of a template, or of a part of one, in which no value of a secret stands as text."""
    if isinstance(template, list):
        return [without_secrets(item) for item in template]
    if not isinstance(template, dict):
        return template
    kept = {name: without_secrets(value) for name, value in template.items()}
    kind = next((value for name, value in template.items() if name.lower() == "type"), None)
    if not isinstance(kind, str):
        return kept
    if kind.lower().partition("@")[0] in _SECRET_TYPES:
        return {name: _hidden(value) if name.lower() == "properties" else value for name, value in kept.items()}
    if kind.lower() in _SECURE:
        return {name: value for name, value in kept.items() if name.lower() != "defaultvalue"}
    return kept


def _hidden(properties: Any) -> Any:
    if not isinstance(properties, dict):
        return properties
    return {
        name: _REMOVED if name.lower() == "value" and not _is_expression(value) else value
        for name, value in properties.items()
    }


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("[") and not value.startswith("[[") and value.endswith("]")

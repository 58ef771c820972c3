"""Templates as they are kept: without what is secret in them."""

import copy
import json
from typing import Any

import pytest

from hubwire.resources.template_secrets import without_secrets

SECRET: dict[str, Any] = {
    "type": "Microsoft.KeyVault/vaults/secrets",
    "name": "v/code",
    "properties": {"value": "s3cret", "contentType": "text/plain"},
}


@pytest.mark.parametrize(
    "resource",
    [
        SECRET,
        {**SECRET, "type": "MICROSOFT.KEYVAULT/VAULTS/SECRETS"},
        {**SECRET, "type": "Microsoft.KeyVault/vaults/secrets@2023-07-01"},
        {"TYPE": SECRET["type"], "PROPERTIES": {"VALUE": "s3cret"}},
        {**SECRET, "properties": {"value": ["s3cret"]}},
        {**SECRET, "properties": {"value": {"x": "s3cret"}}},
        {**SECRET, "properties": {"value": "[[s3cret]"}},
        {"type": "Microsoft.KeyVault/vaults", "resources": [{**SECRET, "type": "secrets"}]},
        {
            "type": "Microsoft.Resources/deployments",
            "properties": {"template": {"resources": {"code": SECRET}}},
        },
    ],
)
def test_value_that_stands_there_as_text_is_taken_out(resource: dict[str, Any]) -> None:
    """Wherever the secret stands, and however it is spelled."""
    template = {"resources": [resource]}
    before = copy.deepcopy(template)

    kept = without_secrets(template)

    assert "s3cret" not in json.dumps(kept)
    assert template == before


def test_everything_else_stays() -> None:
    template = {
        "resources": [
            {**SECRET, "properties": {"value": "[parameters('code')]", "contentType": "text/plain"}},
            {"type": "other", "properties": {"value": "v"}},
            {"type": "secrets"},
            {"type": "secrets", "properties": "[parameters('all')]"},
        ],
        "parameters": {
            "code": {"type": "securestring", "metadata": {"description": "d"}},
            "place": {"type": "string", "defaultValue": "eastus"},
        },
    }

    assert without_secrets(template) == template


def test_default_of_a_secure_parameter_is_taken_out() -> None:
    parameters = {
        "one": {"type": "secureString", "defaultValue": "s3cret"},
        "two": {"TYPE": "SECUREOBJECT", "DEFAULTVALUE": {"x": "s3cret"}, "metadata": {}},
    }

    assert without_secrets({"parameters": parameters}) == {
        "parameters": {"one": {"type": "secureString"}, "two": {"TYPE": "SECUREOBJECT", "metadata": {}}}
    }


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"type": 1}, {"type": None, "properties": []}])
def test_what_is_no_template_stays_as_it_is(value: Any) -> None:
    assert without_secrets(value) == value

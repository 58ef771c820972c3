"""Whole programs: what template they become, and what the template engine makes of that."""

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubwire.resources.bicep import BicepFault, compile_bicep
from hubwire.resources.template_context import Environment
from hubwire.resources.templates import Plan, prepare

SERVICE = """
@description('Name of the service.')
@minLength(3)
param name string
param location string = resourceGroup().location

resource wps 'Microsoft.SignalRService/webPubSub@2023-03-01-preview' = {
  name: name
  location: location
  sku: {
    name: 'Standard_S1'
    tier: 'Standard'
    size: 'S1'
    capacity: 1
  }
  identity: {
    type: 'None'
  }
  properties: {
    tls: { clientCertEnabled: false }
  }
}

resource hub 'Microsoft.SignalRService/webPubSub/hubs@2023-03-01-preview' = {
  parent: wps
  name: 'echo'
  properties: {
    eventHandlers: [
      {
        urlTemplate: 'https://example.com/api/{event}' // braces are the service's, not ours
        userEventPattern: '*'
        systemEvents: [
          'connect'
        ]
      }
    ]
    anonymousConnectPolicy: 'allow'
  }
}
"""

MANY = """
param hubs array = ['chat', 'news']
param principal string
param enabled bool = true
var wpsName = toLower(take('wps${uniqueString(resourceGroup().id)}', 24))
var host = wps.properties.hostName

resource wps 'Microsoft.SignalRService/webPubSub@2024-03-01' = if (enabled) {
  name: wpsName
  location: resourceGroup().location

  @description('Stands in its parent.')
  resource inner 'hubs' = {
    name: 'inner'
    properties: {
      marks: [for (hub, i) in hubs: '${hub}${i}']
    }
  }
}

@batchSize(1)
resource hub 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = [for (name, i) in hubs: if (i >= 0 && name != '') {
  parent: wps
  name: name
  properties: {
    eventHandlers: [{ urlTemplate: 'https://${host}/${name}' }]
  }
}]

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' existing = {
  scope: subscription()
  name: '12cf5a90-567b-43ae-8102-96cf46c7d9b4'
}

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(wps.id, principal, role.id)
  scope: wps
  properties: {
    principalId: principal
    roleDefinitionId: role.id
  }
  dependsOn: [
    hub
  ]
}

output endpoint string = 'https://${wps.properties.hostName}'
@secure()
output key string = wps.listKeys().primaryKey
output names array = [for (_, i) in hubs: hub[i].name]
output policy string = hub[1].properties.?none.deeper ?? 'unset'
"""

TYPED = """
param hubs { name: string, policy: ('allow' | 'deny')? }[]
param suffix string?

resource wps 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: 'w${suffix ?? 'x'}'
}

resource hub 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = [for h in hubs: {
  parent: wps
  name: h.name
  properties: { ...h, anonymousConnectPolicy: h.?policy ?? 'deny' }
}]

output first string = hub[0].name
output all array = [0, ...map(hubs, (h, i) => i), -1]
"""

_ENVIRONMENT = Environment(
    tenant_id="11111111-1111-1111-1111-111111111111",
    subscription_id="22222222-2222-2222-2222-222222222222",
    subscription_name="Test",
    resource_group="rg",
    location="westeurope",
    group_tags={},
    deployment_name="main",
    now="2026-01-01T00:00:00Z",
    new_guid=lambda: "33333333-3333-3333-3333-333333333333",
    endpoint="https://localhost/",
)
_GROUP = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg/providers"


class There:
    """Every resource is there, with a host name and keys."""

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        properties = {"hostName": f"{resource_id.rpartition('/')[2]}.example.com"}
        return {"location": "westeurope", "properties": properties} if full else properties

    def list_secrets(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        return {"primaryKey": f"{function} of {resource_id}"}


def planned(program: str, **parameters: Any) -> Plan:
    given = {name: {"value": value} for name, value in parameters.items()}
    return prepare(compile_bicep(program), given, _ENVIRONMENT)


def value_of(expression: str, before: str = "") -> Any:
    """What an expression comes to, by way of an output."""
    plan = planned(f"{before}\noutput found object = {{ value: {expression} }}\n")
    return plan.outputs(There())["found"]["value"]["value"]


def compiled(program: str) -> dict[str, Any]:
    """A template without what all of them share."""
    template = compile_bicep(program)
    assert template.pop("$schema").endswith("/2019-04-01/deploymentTemplate.json#")
    assert template.pop("contentVersion") == "1.0.0.0"
    assert template["metadata"].pop("_generator")["name"] == "hubwire"
    return {name: value for name, value in template.items() if value not in ({}, [])}


def fault(program: str) -> tuple[int, int, str]:
    with pytest.raises(BicepFault) as caught:
        compile_bicep(program)
    return caught.value.line, caught.value.column, caught.value.message


def test_service_with_a_hub() -> None:
    """The whole template, in the order in which the official compiler has it."""
    assert compiled(SERVICE) == {
        "parameters": {
            "name": {"type": "string", "minLength": 3, "metadata": {"description": "Name of the service."}},
            "location": {"type": "string", "defaultValue": "[resourceGroup().location]"},
        },
        "resources": [
            {
                "type": "Microsoft.SignalRService/webPubSub",
                "apiVersion": "2023-03-01-preview",
                "name": "[parameters('name')]",
                "location": "[parameters('location')]",
                "sku": {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1},
                "identity": {"type": "None"},
                "properties": {"tls": {"clientCertEnabled": False}},
            },
            {
                "type": "Microsoft.SignalRService/webPubSub/hubs",
                "apiVersion": "2023-03-01-preview",
                "name": "[format('{0}/{1}', parameters('name'), 'echo')]",
                "properties": {
                    "eventHandlers": [
                        {
                            "urlTemplate": "https://example.com/api/{event}",
                            "userEventPattern": "*",
                            "systemEvents": ["connect"],
                        }
                    ],
                    "anonymousConnectPolicy": "allow",
                },
                "dependsOn": ["[resourceId('Microsoft.SignalRService/webPubSub', parameters('name'))]"],
            },
        ],
    }


def test_service_with_a_hub_as_a_plan() -> None:
    """Names, order and bodies, once the parameters are given."""
    plan = planned(SERVICE, name="abc")

    assert [(one.type, one.name) for one in plan.resources] == [
        ("Microsoft.SignalRService/webPubSub", "abc"),
        ("Microsoft.SignalRService/webPubSub/hubs", "abc/echo"),
    ]
    assert plan.resources[1].depends_on == (f"{_GROUP}/Microsoft.SignalRService/webPubSub/abc",)
    body = plan.body(plan.resources[1], There())
    assert body["properties"]["eventHandlers"][0]["urlTemplate"] == "https://example.com/api/{event}"


def test_loops_roles_and_outputs() -> None:
    """The whole template; a variable that needs the resource is written out where it is used."""
    wps = "resourceId('Microsoft.SignalRService/webPubSub', variables('wpsName'))"
    role = "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '12cf5a90-567b-43ae-8102-96cf46c7d9b4')"
    hub = "resourceId('Microsoft.SignalRService/webPubSub/hubs', variables('wpsName'), parameters('hubs')[1])"

    assert compiled(MANY) == {
        "parameters": {
            "hubs": {"type": "array", "defaultValue": ["chat", "news"]},
            "principal": {"type": "string"},
            "enabled": {"type": "bool", "defaultValue": True},
        },
        "variables": {"wpsName": "[toLower(take(format('wps{0}', uniqueString(resourceGroup().id)), 24))]"},
        "resources": [
            {
                "condition": "[parameters('enabled')]",
                "type": "Microsoft.SignalRService/webPubSub",
                "apiVersion": "2024-03-01",
                "name": "[variables('wpsName')]",
                "location": "[resourceGroup().location]",
            },
            {
                "condition": "[parameters('enabled')]",
                "type": "Microsoft.SignalRService/webPubSub/hubs",
                "apiVersion": "2024-03-01",
                "name": "[format('{0}/{1}', variables('wpsName'), 'inner')]",
                "properties": {
                    "copy": [
                        {
                            "name": "marks",
                            "count": "[length(parameters('hubs'))]",
                            "input": "[format('{0}{1}', parameters('hubs')[copyIndex('marks')], copyIndex('marks'))]",
                        }
                    ]
                },
                "dependsOn": [f"[{wps}]"],
                "metadata": {"description": "Stands in its parent."},
            },
            {
                "condition": "[and(greaterOrEquals(copyIndex(), 0), not(equals(parameters('hubs')[copyIndex()], '')))]",
                "copy": {"name": "hub", "count": "[length(parameters('hubs'))]", "mode": "serial", "batchSize": 1},
                "type": "Microsoft.SignalRService/webPubSub/hubs",
                "apiVersion": "2024-03-01",
                "name": "[format('{0}/{1}', variables('wpsName'), parameters('hubs')[copyIndex()])]",
                "properties": {
                    "eventHandlers": [
                        {
                            "urlTemplate": (
                                f"[format('https://{{0}}/{{1}}', reference({wps}, '2024-03-01').hostName, "
                                "parameters('hubs')[copyIndex()])]"
                            )
                        }
                    ]
                },
                "dependsOn": [f"[{wps}]"],
            },
            {
                "type": "Microsoft.Authorization/roleAssignments",
                "apiVersion": "2022-04-01",
                "scope": f"[{wps}]",
                "name": f"[guid({wps}, parameters('principal'), {role})]",
                "properties": {"principalId": "[parameters('principal')]", "roleDefinitionId": f"[{role}]"},
                "dependsOn": [f"[{wps}]", "hub"],
            },
        ],
        "outputs": {
            "endpoint": {
                "type": "string",
                "value": f"[format('https://{{0}}', reference({wps}, '2024-03-01').hostName)]",
            },
            "key": {"type": "securestring", "value": f"[listKeys({wps}, '2024-03-01').primaryKey]"},
            "names": {
                "type": "array",
                "copy": {"count": "[length(parameters('hubs'))]", "input": "[parameters('hubs')[copyIndex()]]"},
            },
            "policy": {
                "type": "string",
                "value": f"[coalesce(tryGet(tryGet(reference({hub}, '2024-03-01'), 'none'), 'deeper'), 'unset')]",
            },
        },
    }


def test_loops_roles_and_outputs_as_a_plan() -> None:
    """The service first, the grant after every hub; outputs ask the resources."""
    plan = planned(MANY, principal="me")
    wps = next(one for one in plan.resources if one.type == "Microsoft.SignalRService/webPubSub").name
    order = [one.name.rpartition("/")[2] for one in plan.resources]

    assert order[0] == wps
    assert sorted(order[1:-1]) == ["chat", "inner", "news"]
    inner = next(one for one in plan.resources if one.name.endswith("/inner"))
    assert plan.body(inner, There())["properties"] == {"marks": ["chat0", "news1"]}
    news = next(one for one in plan.resources if one.name.endswith("/news"))
    assert plan.body(news, There())["properties"]["eventHandlers"] == [
        {"urlTemplate": f"https://{wps}.example.com/news"}
    ]
    outputs = plan.outputs(There())
    assert outputs["endpoint"]["value"] == f"https://{wps}.example.com"
    assert outputs["names"]["value"] == ["chat", "news"]
    assert outputs["policy"]["value"] == "unset"


def test_types_that_only_language_version_2_knows() -> None:
    """Resources have symbolic names then, and the engine checks what is in the parameters."""
    template = compile_bicep(TYPED)

    assert template["languageVersion"] == "2.0"
    assert template["parameters"] == {
        "hubs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "policy": {"type": "string", "allowedValues": ["allow", "deny"], "nullable": True},
                },
            },
        },
        "suffix": {"type": "string", "nullable": True},
    }
    assert template["resources"]["hub"]["dependsOn"] == ["wps"]
    plan = planned(TYPED, hubs=[{"name": "a"}, {"name": "b", "policy": "allow"}])
    assert [one.name for one in plan.resources] == ["wx", "wx/a", "wx/b"]
    assert [plan.body(one, There())["properties"] for one in plan.resources[1:]] == [
        {"name": "a", "anonymousConnectPolicy": "deny"},
        {"name": "b", "policy": "allow", "anonymousConnectPolicy": "allow"},
    ]
    assert {name: output["value"] for name, output in plan.outputs(There()).items()} == {
        "first": "a",
        "all": [0, 0, 1, -1],
    }


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 4 / 2 % 3", 5),
        ("-(1 - 2)", 1),
        ("- 3", -3),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", True),
        ("1 != 1 || !true", False),
        ("'AB' =~ 'ab' && 'a' !~ 'b'", True),
        ("!o.no && o.deep.x == o.deep['x']", True),
        ("o.no ? o.deep.x : o.deep.y", 2),
        ("o.?none.x ?? 'none'", "none"),
        ("xs[?7] ?? xs[0]", "a"),
        ("o!.deep!.x", 1),
        ("'${xs[0]} // ${xs[1]}'", "a // b"),
        ("'//'", "//"),
        (r"'\'\\\n\r\t\${x}\u{1F600}'", "'\\\n\r\t${x}\U0001f600"),
        ("'''\nit's ${raw} \\n'''", "it's ${raw} \\n"),
        ("'{0}${1}'", "{0}1"),
        ("'[x]'", "[x]"),
        ("'[x'", "[x"),
        ("''", ""),
        ("map(xs, x => '${x}!')", ["a!", "b!"]),
        ("map(xs, (x, i) => { n: i, x: x })", [{"n": 0, "x": "a"}, {"n": 1, "x": "b"}]),
        ("filter([1, 2, 3], x => x % 2 == 1 && x > 1)", [3]),
        ("sort([2, 1], (a, b) => a < b)", [1, 2]),
        ("reduce([1, 2, 3], 0, (sum, x) => sum + x)", 6),
        ("toObject(xs, x => x, x => { is: x })", {"a": {"is": "a"}, "b": {"is": "b"}}),
        ("sys.concat(xs, ['c'])", ["a", "b", "c"]),
        ("az.resourceGroup().location", "westeurope"),
        ("subscription().subscriptionId", "22222222-2222-2222-2222-222222222222"),
        ("any(null)", None),
        ("[\n  1\n  -1\n  (2)\n  [3]\n  xs[0]\n]", [1, -1, 2, [3], "a"]),
        ("{ 'a b': 1, '${xs[0]}': 2 }", {"a b": 1, "a": 2}),
        ("[for_]", ["name"]),
        ("twice", [{"n": 0, "x": "a"}, {"n": 1, "x": "b"}]),
        ("chained", "axs"),
    ],
)
def test_expression_comes_to(expression: str, value: object) -> None:
    """Operators, strings and functions mean what the language says, all the way through the engine."""
    before = """
    var xs = ['a', 'b']
    var o = {
      no: false
      deep: { x: 1
        y: 2 }
    }
    var for_ = 'name'
    var twice = [for (x, i) in xs: { n: i, x: x }]
    var chained = '${last}xs'
    var last = first(xs)
    """

    assert value_of(expression, before) == value


@pytest.mark.parametrize(
    ("declaration", "schema"),
    [
        ("param p int = 3", {"type": "int", "defaultValue": 3}),
        ("@minValue(-1)\n@maxValue(5)\nparam p int", {"type": "int", "maxValue": 5, "minValue": -1}),
        ("@secure() \nparam p string", {"type": "securestring"}),
        ("@secure()\nparam p object", {"type": "secureObject"}),
        ("@allowed(['a', '[b]'])\nparam p string", {"type": "string", "allowedValues": ["a", "[[b]"]}),
        ("param p 'a' | 'b' = 'a'", {"type": "string", "defaultValue": "a", "allowedValues": ["a", "b"]}),
        ("param p 1 | 2", {"type": "int", "allowedValues": [1, 2]}),
        ("param p true", {"type": "bool", "allowedValues": [True]}),
        (
            "@metadata({ a: 1 })\n@sys.description('d')\nparam p array",
            {"type": "array", "metadata": {"a": 1, "description": "d"}},
        ),
        ("param p string = newGuid()", {"type": "string", "defaultValue": "[newGuid()]"}),
        (
            "param p object = { a: q }\nparam q string = ''",
            {"type": "object", "defaultValue": {"a": "[parameters('q')]"}},
        ),
        ("param p string?", {"type": "string", "nullable": True}),
        ("param p 'a'|'b'?", {"type": "string", "allowedValues": ["a", "b"], "nullable": True}),
        ("param p int[][]", {"type": "array", "items": {"type": "array", "items": {"type": "int"}}}),
    ],
)
def test_parameter_has_schema(declaration: str, schema: dict[str, Any]) -> None:
    """A type, what decorates it, and a default."""
    assert compile_bicep(declaration)["parameters"]["p"] == schema


def test_existing_resources_are_spoken_of_and_not_made() -> None:
    """In other scopes too. Who needs one waits for what its name is made of."""
    template = compiled("""
    resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = { name: 'v', scope: resourceGroup('other') }
    resource old 'Some.Thing/a@2020-01-01' existing = {
      name: made.name
      resource inner 'b@2021-01-01' existing = { name: 'i' }
    }
    resource made 'Some.Thing/a@2020-01-01' = { name: 'm' }
    resource user 'Some.Thing/c@2020-01-01' = {
      name: 'u'
      properties: { uri: vault.properties.uri, b: old::inner.properties.b }
    }
    """)

    assert template["resources"][1:] == [
        {
            "type": "Some.Thing/c",
            "apiVersion": "2020-01-01",
            "name": "u",
            "properties": {
                "uri": "[reference(resourceId('other', 'Microsoft.KeyVault/vaults', 'v'), '2023-07-01').uri]",
                "b": "[reference(resourceId('Some.Thing/a/b', 'm', 'i'), '2021-01-01').b]",
            },
            "dependsOn": ["[resourceId('Some.Thing/a', 'm')]"],
        }
    ]


def test_one_of_a_loop_and_all_of_it() -> None:
    """An index says for which one to wait. Where it cannot be known at the top of the resource, for all."""
    resources = compiled("""
    resource a 'Some.Thing/a@1' = [for name in ['x', 'y']: { name: name }]
    resource b 'Some.Thing/a/b@1' = { parent: a[0], name: 'z', properties: { q: a[1].properties.q } }
    resource c 'Some.Thing/c@1' = { name: 'c', properties: { ids: [for i in range(0, 2): a[i].id] } }
    """)["resources"]

    assert resources[1]["name"] == "[format('{0}/{1}', createArray('x', 'y')[0], 'z')]"
    assert resources[1]["dependsOn"] == [
        "[resourceId('Some.Thing/a', createArray('x', 'y')[0])]",
        "[resourceId('Some.Thing/a', createArray('x', 'y')[1])]",
    ]
    assert resources[2]["dependsOn"] == ["a"]


def test_properties_of_a_resource() -> None:
    """What is known from the program stands in the template; the rest is asked for."""
    outputs = compiled("""
    resource a 'Some.Thing/a/b@1' = { name: 'x/y' }
    output found array = [a.id, a.name, a.type, a.apiVersion, a.properties.p, a['properties'].p, a.location, a]
    """)["outputs"]
    identity = "resourceId('Some.Thing/a/b', 'x', 'y')"

    assert outputs["found"]["value"] == [
        f"[{identity}]",
        "x/y",
        "Some.Thing/a/b",
        "1",
        f"[reference({identity}, '1').p]",
        f"[reference({identity}, '1').p]",
        f"[reference({identity}, '1', 'full').location]",
        f"[reference({identity}, '1', 'full')]",
    ]


def test_metadata_and_comments() -> None:
    """A comment that ends in a backslash ends with its line all the same."""
    template = compiled("""
    // one \\
    targetScope = 'resourceGroup' /* two
    lines */
    #disable-next-line no-unused-params
    metadata about = { by: ['us'] }
    """)

    assert template == {"metadata": {"about": {"by": ["us"]}}}


@pytest.mark.parametrize(
    ("program", "line", "column", "words"),
    [
        ("param a string\nvar a = 1", 2, 1, "declared multiple times"),
        ("var a = b", 1, 9, 'The name "b" does not exist'),
        ("var a = { x: B }\nvar b = 1", 1, 14, 'The name "B" does not exist'),
        ("output o int = x\nparam x int = y", 2, 15, '"y" does not exist'),
        ("var a = b\nvar b = [a]", 2, 10, 'cycle ("a" -> "b")'),
        ("var a = [a]", 1, 10, "its own declaration"),
        ("param a string = b\nvar b = ''", 1, 18, "Only other parameters"),
        ("resource a 'B/c@1' = { name: b.name }\nresource b 'B/c@1' = { name: a.name }", 2, 30, "cycle"),
        ("resource a 'B/c@1' = { location: 'x' }", 1, 1, '"name"'),
        ("resource a 'B/c@1' = { name: 'x/y' }", 1, 30, "2 segments"),
        ("resource a 'B/c@1' = { name: b.properties.x }\nresource b 'B/c@1' = { name: 'b' }", 1, 30, "at the start"),
        ("resource a 'nothing' = { name: 'x' }", 1, 12, "type is not valid"),
        ("resource a 'B/c/d@1' = { name: 'x', parent: b }\nresource b 'B/e@1' = { name: 'b' }", 1, 45, "valid parent"),
        ("resource a 'B/c@1' = { name: 'x', id: 'y' }", 1, 35, "read-only"),
        ("resource a 'B/c@1' = { name: 'x', scope: subscription() }", 1, 42, "scope is not supported"),
        ("resource a 'B/c@1' existing = { name: 'x', tags: {} }", 1, 44, "existing"),
        ("resource a 'B/c@1' = [for i in [1]: { name: 'x' }]\noutput o string = a.id", 2, 19, "is a loop"),
        ("resource a 'B/c@1' = { name: 'x' }\noutput o string = a::b.id", 2, 19, "nested resource named"),
        ("resource a 'B/c@1' = { name: 'x' }\noutput o string = a.getSecret('x')", 2, 19, "getSecret"),
        ("resource a 'B/c@1' = { name: 'x', ...{} }", 1, 35, "spread"),
        ("@batchSize(2)\nresource a 'B/c@1' = { name: 'x' }", 1, 1, "batchSize"),
        ("@nothing()\nparam a string", 1, 1, "nothing"),
        ("@secure()\nparam a int", 1, 1, "@secure()"),
        ("@description('${1}')\nparam a int", 1, 14, "constant"),
        ("@description('x')", 1, 1, "Expected a declaration"),
        ("param a thing", 1, 9, 'The type "thing"'),
        ("param a 'a' | 1", 1, 9, "one type"),
        ("var a = nothing()", 1, 9, '"nothing" does not exist'),
        ("var a = az.concat([])", 1, 9, 'does not exist in "az"'),
        ("var a = length()", 1, 9, "does not take 0 arguments"),
        ("var a = newGuid()", 1, 9, "parameter defaults"),
        ("var a = x => x", 1, 9, "lambda"),
        ("var a = [[for x in [1]: x]]", 1, 10, "For-expressions"),
        ("var a = [for x in [1]: b.properties.x]\nresource b 'B/c@1' = { name: 'b' }", 1, 24, "for-body"),
        ("var a = { b: 1, b: 2 }", 1, 17, "multiple times"),
        ("var a = { b: 1 c: 2 }", 1, 16, "comma"),
        ("var a = [1 2]", 1, 12, "comma"),
        ("var a = 1 var b = 2", 1, 11, "new line"),
        ("param a string\n\n  param b = 3", 3, 11, "Syntax error"),
        ("var a = ", 1, 8, "Syntax error"),
        ("var a = 'x", 1, 9, "not terminated"),
        ("var a = '''x''", 1, 9, "not terminated"),
        ("var a = /* x", 1, 9, "not terminated"),
        ("var a = (1", 1, 9, "closes this one"),
        ("var a = '\\q'", 1, 10, "escape"),
        ('var a = "x"', 1, 9, "single quotes"),
        ("var a = 9223372036854775808", 1, 9, "64-bit"),
        ("param a string!", 1, 15, "does not follow"),
        ("type a = string", 1, 1, '"type" is not supported'),
        ("func a() string => ''", 1, 1, '"func" is not supported'),
        ("module a 'b.bicep' = { name: 'a' }", 1, 1, '"module" is not supported'),
        ("import * as a from 'b.bicep'", 1, 1, '"import" is not supported'),
        ("using 'b.bicep'", 1, 1, '"using" is not supported'),
        ("assert a = true", 1, 1, '"assert" is not supported'),
        ("targetScope = 'subscription'", 1, 15, "only"),
        ("extension a", 1, 1, "Syntax error"),
    ],
)
def test_program_is_refused(program: str, line: int, column: int, words: str) -> None:
    """With the place, and in words that say what is wrong."""
    found = fault(program)

    assert words in found[2]
    assert found[:2] == (line, column)


@pytest.mark.parametrize(
    "program",
    [
        "var a = " + "(" * 2000 + "1" + ")" * 2000,
        "var a = " + "[" * 2000 + "]" * 2000,
        "var a = " + "!" * 4000 + "true",
        "var a = 1" + "+1" * 2000,
        "var a = b" + "[0]" * 1500 + "\nvar b = 1",
        "var a = " + "1 == 1 ? 1 : " * 600 + "1",
        "var a = {" + "a " * 2400 + "}",
        "resource " * 4900,
        "var a = " + "'${" * 500 + "1" + "}'" * 500,
        "x" * (1 << 18) + "x",
        # Each doubles what is below it.
        "\n".join(f"var v{i} = [v{i + 1}, v{i + 1}]" for i in range(300))
        + "\nvar v300 = a.properties\nresource a 'B/c@1' = { name: 'x' }\noutput o array = v0",
        "\n".join(f"resource r{i} 'B/c@1' = {{ name: '${{r{i + 1}.name}}${{r{i + 1}.name}}' }}" for i in range(60))
        + "\nresource r60 'B/c@1' = { name: 'x' }",
    ],
    ids=range(12),
)
def test_hostile_program_is_refused_soon(program: str) -> None:
    """Nesting and repetition end in a fault and neither in the stack's end nor in a long wait."""
    with pytest.raises(BicepFault):
        compile_bicep(program)


def test_long_chain_of_variables_is_no_nesting() -> None:
    """Each needs the next, a thousand times."""
    program = "\n".join(f"var v{i} = v{i + 1}" for i in range(1000)) + "\nvar v1000 = 1"

    assert compile_bicep(program)["variables"]["v0"] == "[variables('v1')]"


@given(st.text(max_size=200))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    """Nothing but the fault comes out."""
    with contextlib.suppress(BicepFault):
        compile_bicep(text)


_PIECES = sorted(
    {*MANY.split(), *TYPED.split(), "'", "'''", "${", "}", "{", "[", "]", "(", ")", "...", "!", "//", "/*"}
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([SERVICE, MANY, TYPED]), st.randoms(use_true_random=False), st.integers(1, 6))
def test_mutated_program_compiles_or_is_refused(program: str, choice: random.Random, changes: int) -> None:
    """A program with pieces taken out, put in and doubled."""
    for _ in range(changes):
        start = choice.randrange(len(program) + 1)
        end = min(len(program), start + choice.choice([0, 0, 1, 3, 20]))
        put = choice.choice([*_PIECES, program[start : start + 30], ""])
        program = program[:start] + put + program[end:]
    with contextlib.suppress(BicepFault):
        compile_bicep(program)

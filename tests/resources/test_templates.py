import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.resources.lenient_json import parse
from hubwire.resources.templates import Environment, Plan, Planned, TemplateFault, Unresolved, prepare

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/lab"
SERVICE = f"{GROUP}/providers/Microsoft.SignalRService/webPubSub"
WEB_PUB_SUB = "Microsoft.SignalRService/webPubSub"
HUBS = f"{WEB_PUB_SUB}/hubs"
VERSION = "2024-03-01"
ENVIRONMENT = Environment(
    tenant_id="00000000-0000-4000-8000-0000000000aa",
    subscription_id=SUBSCRIPTION,
    subscription_name="Lab",
    resource_group="lab",
    location="westeurope",
    group_tags={"stage": "test"},
    deployment_name="first",
    now="2026-01-02T03:04:05Z",
    new_guid=lambda: "11111111-2222-4333-8444-555555555555",
    endpoint="https://hub.example",
)


class Resources:
    """A runtime that knows some resources by id in lower case."""

    def __init__(self, known: Mapping[str, dict[str, Any]]) -> None:
        self._known = {name.lower(): value for name, value in known.items()}
        self.asked: list[tuple[str, str | None, bool]] = []

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        self.asked.append((resource_id, api_version, full))
        if resource_id.lower() not in self._known:
            raise Unresolved(resource_id)
        properties = self._known[resource_id.lower()]
        return {"location": "here", "properties": properties} if full else properties

    def list_secrets(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        if resource_id.lower() not in self._known:
            raise Unresolved(resource_id)
        return {"primaryKey": f"{function} of {resource_id.rpartition('/')[2]} at {api_version}"}


NOTHING = Resources({})


def template(resources: Any = (), **others: Any) -> dict[str, Any]:
    listed = list(resources) if isinstance(resources, tuple) else resources
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": listed, **others}


def resource(name: str = "one", **others: Any) -> dict[str, Any]:
    return {"type": WEB_PUB_SUB, "apiVersion": VERSION, "name": name, **others}


def hub(name: str, **others: Any) -> dict[str, Any]:
    return resource(name, type=HUBS, **others)


def plan(document: Any, **given: Any) -> Plan:
    return prepare(document, {name: {"value": value} for name, value in given.items()}, ENVIRONMENT)


def fault(document: Any, **given: Any) -> TemplateFault:
    with pytest.raises(TemplateFault) as caught:
        plan(document, **given)
    assert caught.value.code == "InvalidTemplate"
    return caught.value


def ids(planned: Plan) -> list[str]:
    return [one.id.removeprefix(f"{GROUP}/providers/Microsoft.SignalRService/") for one in planned.resources]


def by_name(planned: Plan, name: str) -> Planned:
    return next(one for one in planned.resources if one.name == name)


def value(expression: Any, **others: Any) -> Any:
    """What an output makes of an expression."""
    declared = {"x": {"type": "object", "value": {"is": expression}}}
    return plan(template(outputs=declared, **others)).outputs(NOTHING)["x"]["value"]["is"]


SERVICE_ID = "resourceId('Microsoft.SignalRService/webPubSub', parameters('name'))"
HANDLER_URL = "[format('https://{0}/{1:D2}', parameters('hubs')[copyIndex()], copyIndex('eventHandlers', 1))]"
BICEP_STYLE = {
    "$schema": SCHEMA,
    "contentVersion": "1.0.0.0",
    "metadata": {"_generator": {"name": "bicep", "version": "0.36.1.42791", "templateHash": "[not an expression"}},
    "parameters": {
        "location": {"type": "string", "defaultValue": "[resourceGroup().location]"},
        "name": {
            "type": "string",
            "defaultValue": "[toLower(take(format('x{0}', uniqueString(resourceGroup().id)), 24))]",
        },
        "hubs": {"type": "array", "defaultValue": ["chat", "news"]},
        "principalId": {"type": "string", "metadata": {"description": "[Who may use it"}},
        "secret": {"type": "securestring", "defaultValue": "[newGuid()]"},
    },
    "variables": {
        "copy": [
            {
                "name": "upper",
                "count": "[length(parameters('hubs'))]",
                "input": "[toUpper(parameters('hubs')[copyIndex('upper')])]",
            }
        ],
        "role": "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '12cf5a90')]",
    },
    "resources": [
        {
            "copy": {"name": "hubs", "count": "[length(parameters('hubs'))]", "mode": "serial", "batchSize": 1},
            "type": HUBS,
            "apiVersion": "2023-03-01-preview",
            "name": "[format('{0}/{1}', parameters('name'), parameters('hubs')[copyIndex()])]",
            "properties": {
                "copy": [
                    {
                        "name": "eventHandlers",
                        "count": 2,
                        "input": {"urlTemplate": HANDLER_URL},
                    }
                ],
                "anonymousConnectPolicy": "deny",
            },
            "dependsOn": ["[" + SERVICE_ID + "]"],
        },
        {
            "type": "Microsoft.Authorization/roleAssignments",
            "apiVersion": "2022-04-01",
            "scope": "[format('Microsoft.SignalRService/webPubSub/{0}', parameters('name'))]",
            "name": "[guid(" + SERVICE_ID + ", parameters('principalId'), variables('role'))]",
            "properties": {
                "roleDefinitionId": "[variables('role')]",
                "principalId": "[parameters('principalId')]",
                "principalType": "User",
            },
            "dependsOn": ["[" + SERVICE_ID + "]"],
        },
        {
            "type": WEB_PUB_SUB,
            "apiVersion": "2023-03-01-preview",
            "name": "[parameters('name')]",
            "location": "[parameters('location')]",
            "tags": {"[format('{0}-tag', 'a')]": "[[literal]"},
            "sku": {"name": "Standard_S1", "capacity": 1},
            "properties": {"tls": {"clientCertEnabled": False}},
        },
    ],
    "outputs": {
        "endpoint": {
            "type": "string",
            "value": "[format('https://{0}', reference(" + SERVICE_ID + ", '2023-03-01-preview').hostName)]",
        },
        "assignment": {
            "type": "string",
            "value": "[extensionResourceId(" + SERVICE_ID + ", 'Microsoft.Authorization/roleAssignments', 'x')]",
        },
        "names": {
            "type": "array",
            "copy": {"count": "[length(variables('upper'))]", "input": "[variables('upper')[copyIndex()]]"},
        },
        "key": {
            "type": "securestring",
            "value": "[listKeys(" + SERVICE_ID + ", '2023-03-01-preview').primaryKey]",
        },
        "never": {"condition": "[empty(variables('upper'))]", "type": "string", "value": "[fail('never')]"},
    },
}


def test_output_of_the_bicep_compiler_becomes_a_plan() -> None:
    planned = plan(BICEP_STYLE, principalId="p")

    name = planned.parameters["name"]["value"]
    assert len(name) == 14
    assert planned.parameters["location"] == {"type": "String", "value": "westeurope"}
    assert planned.parameters["secret"] == {"type": "SecureString"}
    service = planned.resources[0]
    assert (service.type, service.name, service.id) == (WEB_PUB_SUB, name, f"{SERVICE}/{name}")
    assert (service.subscription_id, service.resource_group, service.path) == (SUBSCRIPTION, "lab", "resources[2]")
    assert [one.name for one in planned.resources[1:3]] == [f"{name}/chat", f"{name}/news"]
    assert all(one.depends_on == (service.id,) for one in planned.resources[1:])
    assignment = planned.resources[3]
    assert assignment.id == f"{SERVICE}/{name}/providers/Microsoft.Authorization/roleAssignments/{assignment.name}"


def test_bodies_of_the_bicep_output_have_their_values() -> None:
    planned = plan(BICEP_STYLE, principalId="p", name="awps")

    assert planned.body(planned.resources[0], NOTHING) == {
        "type": WEB_PUB_SUB,
        "apiVersion": "2023-03-01-preview",
        "name": "awps",
        "id": f"{SERVICE}/awps",
        "location": "westeurope",
        "tags": {"a-tag": "[literal]"},
        "sku": {"name": "Standard_S1", "capacity": 1},
        "properties": {"tls": {"clientCertEnabled": False}},
    }
    assert planned.body(planned.resources[2], NOTHING)["properties"] == {
        "eventHandlers": [{"urlTemplate": "https://news/01"}, {"urlTemplate": "https://news/02"}],
        "anonymousConnectPolicy": "deny",
    }


def test_outputs_of_the_bicep_output_ask_the_runtime() -> None:
    planned = plan(BICEP_STYLE, principalId="p", name="awps")
    runtime = Resources({f"{SERVICE}/awps": {"hostName": "awps.example"}})

    with pytest.raises(Unresolved):
        planned.outputs(NOTHING)

    assert planned.outputs(runtime) == {
        "endpoint": {"type": "String", "value": "https://awps.example"},
        "assignment": {
            "type": "String",
            "value": f"{SERVICE}/awps/providers/Microsoft.Authorization/roleAssignments/x",
        },
        "names": {"type": "Array", "value": ["CHAT", "NEWS"]},
        "key": {"type": "SecureString"},
    }
    assert runtime.asked == [(f"{SERVICE}/awps", "2023-03-01-preview", False)]


HAND_WRITTEN = """
{
    // Written long ago.
    "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {
        "webPubSubName": { "type": "String", "defaultValue": "classic" },
        "location": { "type": "String", "defaultValue": "[resourceGroup().location]" },
        "capacity": { "type": "Int", "defaultValue": 1, "allowedValues": [1, 2, 5], "minValue": 1, "maxValue": 9 }
    },
    "variables": { "hub": "[concat(parameters('webPubSubName'),
        '/sample')]", },
    "resources": [
        {
            "type": "Microsoft.SignalRService/WebPubSub/hubs",
            "apiVersion": "2023-03-01-preview",
            "name": "[variables('hub')]",
            "dependsOn": [ "[resourceId('Microsoft.SignalRService/WebPubSub', parameters('webPubSubName'))]" ],
            "properties": { "eventHandlers": [] }
        },
        {
            "type": "Microsoft.SignalRService/WebPubSub",
            "apiVersion": "2023-03-01-preview",
            "name": "[parameters('webPubSubName')]",
            "location": "[parameters('location')]",
            "sku": { "name": "Standard_S1", "size": "S1", "capacity": "[parameters('capacity')]" },
            "properties": { "tls": { "clientCertEnabled": true } }
        }
    ]
}
"""


def test_template_written_by_hand_becomes_a_plan() -> None:
    planned = plan(parse(HAND_WRITTEN).value, capacity=5)

    assert ids(planned) == ["WebPubSub/classic", "WebPubSub/classic/hubs/sample"]
    assert planned.body(planned.resources[0], NOTHING)["sku"] == {"name": "Standard_S1", "size": "S1", "capacity": 5}
    assert planned.body(planned.resources[0], NOTHING)["location"] == "westeurope"
    assert planned.parameters["capacity"] == {"type": "Int", "value": 5}


def test_fault_says_line_and_column() -> None:
    """As the caller finds them in the text that it read."""
    text = HAND_WRITTEN.replace("variables('hub')", "variables('hut')")
    parsed = parse(text)

    with pytest.raises(TemplateFault) as caught:
        prepare(parsed.value, {}, ENVIRONMENT, parsed.locate)

    assert caught.value.path == "resources[0].name"
    assert caught.value.line == 1 + text[: text.index("[variables('hut')")].count("\n")
    assert caught.value.column == len('            "name": "')


@pytest.mark.parametrize("broken", [None, [], "text", 1])
def test_template_must_be_an_object(broken: Any) -> None:
    assert fault(broken).path == ""


@pytest.mark.parametrize("name", ["$schema", "contentVersion", "resources"])
def test_template_without_a_required_part_is_refused(name: str) -> None:
    document = template()
    del document[name]

    assert name in fault(document).message


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (
            "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
            "resource groups",
        ),
        ("https://schema.management.azure.com/schemas/2019-08-01/tenantDeploymentTemplate.json#", "resource groups"),
        ("https://schema.management.azure.com/schemas/2019-08-01/managementGroupDeploymentTemplate.json#", "groups"),
        ("https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#", "$schema"),
        ("nonsense", "$schema"),
        (5, "$schema"),
    ],
)
def test_template_of_another_kind_is_refused(schema: Any, said: str) -> None:
    broken = template() | {"$schema": schema}

    assert said in fault(broken).message


@pytest.mark.parametrize("schema", [SCHEMA, SCHEMA.removesuffix("#"), SCHEMA.replace("https", "http").lower()])
def test_schema_is_taken_in_each_spelling(schema: str) -> None:
    assert plan(template() | {"$schema": schema}).resources == ()


def test_unknown_part_of_a_template_is_refused() -> None:
    assert fault(template(resorces=[])).path == "resorces"


def test_part_that_is_not_available_is_refused_unless_it_is_empty() -> None:
    assert fault(template(extensions={"k8s": {}})).path == "extensions"
    assert plan(template(imports={})).resources == ()


@pytest.mark.parametrize(
    ("declared", "given", "echo"),
    [
        ({"type": "String"}, "a", {"type": "String", "value": "a"}),
        ({"type": "STRING"}, "[not(evaluated)]", {"type": "String", "value": "[not(evaluated)]"}),
        ({"type": "securestring"}, "a", {"type": "SecureString"}),
        ({"type": "SecureObject"}, {"a": 1}, {"type": "SecureObject"}),
        ({"type": "int"}, 3, {"type": "Int", "value": 3}),
        ({"type": "bool"}, False, {"type": "Bool", "value": False}),
        ({"type": "object"}, {}, {"type": "Object", "value": {}}),
        ({"type": "array"}, [1], {"type": "Array", "value": [1]}),
        ({"type": "array", "allowedValues": ["a", "b"]}, ["b"], {"type": "Array", "value": ["b"]}),
        ({"type": "string", "nullable": True}, None, {"type": "String", "value": None}),
        ({"$ref": "#/definitions/small"}, 4, {"type": "Int", "value": 4}),
    ],
)
def test_parameter_is_taken_and_echoed(declared: Any, given: Any, echo: Any) -> None:
    definitions = {"small": {"$ref": "#/definitions/number"}, "number": {"type": "int", "maxValue": 5}}

    planned = plan(template(parameters={"Name": declared}, definitions=definitions), name=given)

    assert planned.parameters == {"Name": echo}


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ({"type": "string"}, 1),
        ({"type": "string"}, None),
        ({"type": "int"}, "1"),
        ({"type": "int"}, True),
        ({"type": "int"}, 1.5),
        ({"type": "bool"}, "true"),
        ({"type": "array"}, {}),
        ({"type": "object"}, []),
        ({"type": "string", "allowedValues": ["a"]}, "b"),
        ({"type": "int", "allowedValues": [1]}, 2),
        ({"type": "int", "minValue": 3}, 2),
        ({"type": "int", "maxValue": 3}, 4),
        ({"type": "string", "minLength": 3}, "ab"),
        ({"type": "string", "maxLength": 3}, "abcd"),
        ({"type": "array", "maxLength": 0}, [1]),
        ({"type": "string", "maxLength": "3"}, "abc"),
        ({"type": "string", "allowedValues": "abc"}, "abc"),
        ({"type": "float"}, 1.5),
        ({"$ref": "#/definitions/absent"}, 1),
        ({"$ref": "#/definitions/circle"}, 1),
        ({"$ref": 1}, 1),
        ({}, 1),
        ([], 1),
    ],
)
def test_parameter_that_does_not_fit_is_refused(declared: Any, given: Any) -> None:
    definitions = {"circle": {"$ref": "#/definitions/circle"}}

    assert fault(template(parameters={"p": declared}, definitions=definitions), p=given).path == "parameters.p"


def test_value_of_a_secure_parameter_is_not_in_the_fault() -> None:
    refused = fault(template(parameters={"p": {"type": "secureString", "maxLength": 3}}), p="hunter2")

    assert "hunter2" not in refused.message


def test_parameter_that_is_not_given_is_named() -> None:
    refused = fault(template(parameters={"p": {"type": "string"}}))

    assert "'p' is not provided" in refused.message


def test_parameter_that_is_not_declared_is_named() -> None:
    refused = fault(template(parameters={"p": {"type": "string"}}), p="a", q="b")

    assert "'q'" in refused.message


@pytest.mark.parametrize("given", [{}, "a", None, {"value": None}])
def test_parameter_in_another_form_is_refused(given: Any) -> None:
    with pytest.raises(TemplateFault):
        prepare(template(parameters={"p": {"type": "string", "defaultValue": ""}}), {"p": given}, ENVIRONMENT)


def test_secret_of_a_key_vault_is_refused() -> None:
    with pytest.raises(TemplateFault, match="key vault"):
        prepare(template(parameters={"p": {"type": "securestring"}}), {"p": {"reference": {}}}, ENVIRONMENT)


def test_defaults_speak_of_one_another() -> None:
    planned = plan(
        template(
            parameters={
                "a": {"type": "string", "defaultValue": "[concat(parameters('b'), '!')]"},
                "b": {"type": "string", "defaultValue": "[utcNow('yyyy-MM-dd')]"},
            }
        )
    )

    assert planned.parameters["a"]["value"] == "2026-01-02!"


def test_parameter_that_is_given_twice_is_refused() -> None:
    assert "twice" in fault(template(parameters={"p": {"type": "int"}}), p=1, P=2).message


def test_parameter_that_may_be_null_need_not_be_given() -> None:
    planned = plan(template(parameters={"p": {"type": "int", "nullable": True}}))

    assert planned.parameters == {"p": {"type": "Int", "value": None}}


def test_names_that_are_made_by_an_expression_are_looked_up_as_well() -> None:
    assert "not found" in fault(template(variables={"v": "[parameters(concat('a', 'b'))]"})).message
    assert "not found" in fault(template(variables={"v": "[variables(concat('a', 'b'))]"})).message


def test_defaults_that_depend_on_themselves_are_refused() -> None:
    circle = {
        "a": {"type": "string", "defaultValue": "[parameters('b')]"},
        "b": {"type": "string", "defaultValue": "[parameters('a')]"},
    }

    assert "depends on itself" in fault(template(parameters=circle)).message


def test_default_that_does_not_fit_is_refused() -> None:
    assert fault(template(parameters={"p": {"type": "int", "defaultValue": "[string(1)]"}})).path == "parameters.p"


@pytest.mark.parametrize("function", ["utcNow()", "newGuid()"])
def test_values_that_change_are_for_defaults_only(function: str) -> None:
    refused = fault(template(variables={"v": f"[{function}]"}))

    assert "default value" in refused.message
    assert refused.path == "variables.v"


def test_new_guid_stays_the_same_in_one_plan() -> None:
    numbers = iter(range(100))
    environment = Environment(
        **{name: getattr(ENVIRONMENT, name) for name in ENVIRONMENT.__struct_fields__ if name != "new_guid"},
        new_guid=lambda: f"guid {next(numbers)}",
    )
    document = template(
        parameters={"p": {"type": "string", "defaultValue": "[newGuid()]"}},
        outputs={"o": {"type": "string", "value": "[parameters('p')]"}},
    )

    planned = prepare(document, {}, environment)

    assert planned.parameters["p"]["value"] == "guid 0"
    assert planned.outputs(NOTHING)["o"]["value"] == "guid 0"


def test_variables_speak_of_one_another_in_any_order() -> None:
    variables = {
        "a": {"deep": ["[variables('B')]"]},
        "b": "[variables('c')[1].x]",
        "copy": [{"name": "c", "count": 2, "input": {"x": "[copyIndex('c', 10)]"}}],
    }

    assert value("[variables('A').deep[0]]", variables=variables) == 11


def test_object_with_loops_among_its_properties() -> None:
    variables = {"v": {"copy": [{"name": "n", "count": 2, "input": "[copyIndex('n')]"}], "other": 1}, "copy": "plain"}

    assert value("[variables('v')]", variables=variables) == {"n": [0, 1], "other": 1}
    assert value("[variables('copy')]", variables=variables) == "plain"


@pytest.mark.parametrize(
    "variables",
    [
        {"a": "[variables('b')]", "b": "[variables('a')]"},
        {"a": "[variables('absent')]"},
        {"a": "[parameters('absent')]"},
        {"a": 1, "A": 2},
        {"copy": [{"count": 2, "input": 1}]},
        {"copy": [{"name": "x", "count": 2}]},
        {"copy": [{"name": "x", "input": 1}]},
        {"copy": [{"name": "x", "count": 801, "input": 1}]},
        {"copy": [{"name": "x", "count": -1, "input": 1}]},
        {"copy": [{"name": "x", "count": "2", "input": 1}]},
        {"copy": [5]},
        {"a": "[reference('x').y]"},
        {"a": "[lambda('x', 1)]"},
        {"a": {"[createArray()]": 1}},
        {"a": {"b": 1, "[concat('b')]": 2}},
        {"a": "[unknown()]"},
        {"a": "[concat()]"},
        {"a": "[concat('x']"},
        {"a": "[copyIndex()]"},
        [],
    ],
)
def test_variables_that_cannot_be_made_are_refused(variables: Any) -> None:
    assert fault(template(variables=variables)).path.startswith("variables")


def test_unknown_function_is_found_in_a_branch_that_is_not_taken() -> None:
    document = template((resource(properties={"a": ["[if(true(), 1, frobnicate())]"]}),))

    refused = fault(document)

    assert "'frobnicate'" in refused.message
    assert refused.path == "resources[0].properties.a[0]"


def test_wrong_number_of_arguments_is_found_in_an_output() -> None:
    refused = fault(template(outputs={"o": {"type": "string", "value": "[if(true(), '', toLower())]"}}))

    assert "'toLower' takes 1 arguments, but is given 0" in refused.message
    assert refused.path == "outputs.o.value"


def test_words_for_people_are_not_evaluated() -> None:
    document = template(
        (resource(comments="[not an expression]", metadata={"x": "[no()]"}),),
        metadata={"x": "[no()]"},
        parameters={"p": {"type": "string", "defaultValue": "[a]", "allowedValues": ["[a]"], "metadata": "[no()]"}},
    )

    refused = fault(document)

    assert refused.path == "parameters.p.defaultValue"
    assert ids(plan(document | {"parameters": {}})) == ["webPubSub/one"]


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ("text", "resources[0]"),
        ({"apiVersion": VERSION, "name": "one"}, "resources[0]"),
        ({"type": WEB_PUB_SUB, "name": "one"}, "resources[0]"),
        ({"type": WEB_PUB_SUB, "apiVersion": VERSION}, "resources[0]"),
        (resource(apiVersion=5), "resources[0].apiVersion"),
        (resource(""), "resources[0].name"),
        (resource("[createArray()]"), "resources[0].name"),
        (resource("one/two"), "resources[0].name"),
        (hub("one"), "resources[0].name"),
        (hub("one/"), "resources[0].name"),
        (resource(type="webPubSub"), "resources[0].name"),
        (resource(type="web/PubSub"), "resources[0].name"),
        (resource(condition="[string(true())]"), "resources[0].condition"),
        (resource("[reference('x').name]"), "resources[0].name"),
        (resource(resourceGroup="other"), "resources[0]"),
        (resource(subscriptionId="other"), "resources[0]"),
        (resource(copy=5), "resources[0].copy"),
        (resource(copy={"count": 1}), "resources[0].copy"),
        (resource(copy={"name": "x", "count": 1, "mode": "sideways"}), "resources[0].copy"),
        (resource(copy={"name": "x", "count": 1, "batchSize": 0}), "resources[0].copy"),
        (resource(copy={"name": "x", "count": 801}), "resources[0].copy"),
        (resource(copy={"name": "x", "count": 2}), "resources[0].name"),
        (resource(dependsOn="one"), "resources[0].dependsOn"),
        (resource(dependsOn=[1]), "resources[0].dependsOn[0]"),
        (resource(dependsOn=["two"]), "resources[0].dependsOn[0]"),
        (
            resource(dependsOn=["[resourceId('Microsoft.SignalRService/webPubSub', 'two')]"]),
            "resources[0].dependsOn[0]",
        ),
        (resource(resources=5), "resources[0].resources"),
        (resource(properties={"a": "[reference('two').x]"}), "resources[0].properties.a"),
        (resource(properties={"a": "[resourceGroup().absent]"}), "resources[0].properties.a"),
    ],
)
def test_broken_resource_is_refused_with_its_place(broken: Any, path: str) -> None:
    assert fault(template((broken,))).path == path


def test_resource_that_is_defined_twice_is_refused() -> None:
    refused = fault(template((resource("one"), resource("ONE", type=WEB_PUB_SUB.lower()))))

    assert "multiple times" in refused.message
    assert refused.path == "resources[1].name"


def test_resource_may_stand_twice_under_conditions_that_exclude_one_another() -> None:
    planned = plan(template((resource(condition="[false()]"), resource(condition=True, kind="b"))))

    assert [planned.body(one, NOTHING)["kind"] for one in planned.resources] == ["b"]


def test_order_is_that_of_the_template_where_nothing_else_is_said() -> None:
    assert ids(plan(template((resource("c"), resource("a"), resource("b"))))) == [
        "webPubSub/c",
        "webPubSub/a",
        "webPubSub/b",
    ]


@pytest.mark.parametrize(
    "word",
    [
        "two",
        "TWO",
        "Microsoft.SignalRService/webPubSub/two",
        f"{SERVICE}/two",
        "[resourceId('Microsoft.SignalRService/webPubSub', 'two')]",
        "[resourceId(resourceGroup().name, 'Microsoft.SignalRService/webpubsub', 'two')]",
        "[resourceId(subscription().subscriptionId, 'LAB', 'Microsoft.SignalRService/webPubSub', 'two')]",
    ],
)
def test_depends_on_takes_each_way_to_say_it(word: str) -> None:
    planned = plan(template((resource("one", dependsOn=[word]), resource("two"))))

    assert ids(planned) == ["webPubSub/two", "webPubSub/one"]
    assert planned.resources[1].depends_on == (f"{SERVICE}/two",)


def test_name_that_two_resources_have_is_ambiguous() -> None:
    document = template((resource("a", dependsOn=["x"]), resource("x"), resource("x", type="Microsoft.Web/sites")))

    assert "ambiguous" in fault(document).message


@pytest.mark.parametrize(
    "expression",
    [
        "[reference('two').hostName]",
        "[reference(resourceId('Microsoft.SignalRService/webPubSub', 'two'), '2024-03-01').hostName]",
        "[concat(reference('three').a, listKeys('two', '2024-03-01').primaryKey)]",
        "[map(createArray('two'), lambda('n', reference(lambdaVariables('n')).x))]",
        "[if(equals(1, 1), reference('two').x, reference('one').x)]",
    ],
)
def test_resource_waits_for_what_it_asks_for(expression: str) -> None:
    document = template((resource("three"), resource("one", properties={"a": expression}), resource("two")))

    planned = plan(document)

    assert f"{SERVICE}/two" in by_name(planned, "one").depends_on
    assert ids(planned)[-1] == "webPubSub/one"


def test_child_waits_for_its_parent() -> None:
    assert ids(plan(template((hub("one/chat"), resource("one"))))) == ["webPubSub/one", "webPubSub/one/hubs/chat"]


def test_extension_waits_for_what_it_extends() -> None:
    extension = resource("lock", type="Microsoft.Authorization/locks", scope=f"{SERVICE}/one")

    planned = plan(template((extension, resource("one"))))

    assert [one.name for one in planned.resources] == ["one", "lock"]


@pytest.mark.parametrize(
    ("scope", "begin"),
    [
        ("Microsoft.SignalRService/webPubSub/one", f"{SERVICE}/one"),
        ("[resourceGroup().id]", GROUP),
        ("[subscription().id]", f"/subscriptions/{SUBSCRIPTION}"),
        ("/", ""),
    ],
)
def test_id_of_an_extension_begins_with_its_scope(scope: str, begin: str) -> None:
    planned = plan(template((resource("x", type="Microsoft.Authorization/locks", scope=scope),)))

    assert planned.resources[0].id == f"{begin}/providers/Microsoft.Authorization/locks/x"


def test_extension_in_the_old_way_to_write_it() -> None:
    old = resource("one/Microsoft.Authorization/x", type=f"{WEB_PUB_SUB}/providers/locks")

    planned = plan(template((old, resource("one"))))

    assert by_name(planned, "x").type == "Microsoft.Authorization/locks"
    assert by_name(planned, "x").id == f"{SERVICE}/one/providers/Microsoft.Authorization/locks/x"
    assert by_name(planned, "x").depends_on == (f"{SERVICE}/one",)


@pytest.mark.parametrize("name", ["one//x", "one/x", "/x", "one/Microsoft.Authorization/x/y"])
@pytest.mark.parametrize("kind", ["A.B//providers/locks", "A.B/providers/locks", f"{WEB_PUB_SUB}/providers"])
def test_extension_in_a_broken_old_way_is_refused(kind: str, name: str) -> None:
    assert "segment lengths" in fault(template((resource(name, type=kind),))).message


def test_child_of_an_extension_stands_in_it() -> None:
    child = {"type": "children", "apiVersion": VERSION, "name": "y"}
    extension = resource("x", type="A.B/things", scope=f"{SERVICE}/one", resources=[child])
    whole = resource("x", type="A.B/things", scope=f"{SERVICE}/two", resources=[resource("x/y", type="A.B/things/c")])

    planned = plan(template((extension, whole)))

    assert planned.resources[1].id == f"{SERVICE}/one/providers/A.B/things/x/children/y"
    assert planned.resources[3].id == f"{SERVICE}/two/providers/A.B/things/x/c/y"


def test_resource_that_only_has_to_exist_may_be_in_another_subscription() -> None:
    there = resource("one", type="Microsoft.Authorization/roleDefinitions", existing=True, subscriptionId="other")

    assert (
        plan(template((there,))).resources[0].id
        == "/subscriptions/other/providers/Microsoft.Authorization/roleDefinitions/one"
    )


def test_of_two_with_one_name_the_deployed_one_is_meant() -> None:
    other = resource("x", type="Microsoft.Web/sites", condition=False)

    planned = plan(template((resource("a", dependsOn=["x"]), other, resource("x"))))

    assert by_name(planned, "a").depends_on == (f"{SERVICE}/x",)


def test_deployed_resource_goes_before_one_that_only_has_to_exist() -> None:
    document = template({"a": resource("x", existing=True), "b": resource("x"), "c": resource("y", dependsOn=["x"])})

    planned = plan(document)

    assert [one.symbol for one in planned.resources] == ["a", "b", "c"]
    assert by_name(planned, "y").depends_on == (f"{SERVICE}/x",)


def test_resource_that_is_not_in_the_template_may_be_asked_for() -> None:
    document = template((resource("one", properties={"a": f"[reference('{SERVICE}/two', '{VERSION}').x]"}),))

    planned = plan(document)

    assert planned.resources[0].depends_on == ()
    assert planned.body(planned.resources[0], Resources({f"{SERVICE}/two": {"x": 1}}))["properties"] == {"a": 1}


def test_loop_that_is_not_there_cannot_be_asked_for() -> None:
    refused = fault(template((resource("one", properties={"a": "[references('many')]"}),)))

    assert "no such copy loop" in refused.message


def test_circle_is_named() -> None:
    refused = fault(
        template(
            (
                resource("one", dependsOn=["two"]),
                resource("two", properties={"x": "[reference('three').y]"}),
                resource("three", dependsOn=["one"]),
                resource("four", dependsOn=["one"]),
            )
        )
    )

    assert "Circular dependency" in refused.message
    assert f"{SERVICE}/one -> {SERVICE}/two -> {SERVICE}/three -> {SERVICE}/one" in refused.message


def test_resource_that_asks_for_itself_is_a_circle() -> None:
    assert "Circular" in fault(template((resource("one", properties={"x": "[reference('one').y]"}),))).message


def test_what_depends_on_a_resource_whose_condition_is_false_does_not_wait() -> None:
    planned = plan(template((resource("one", dependsOn=["two"]), resource("two", condition="[not(true())]"))))

    assert ids(planned) == ["webPubSub/one"]
    assert planned.resources[0].depends_on == ()


def test_depends_on_a_loop_means_all_of_it() -> None:
    loop = resource("[concat('n', copyIndex(1))]", copy={"name": "many", "count": 3})

    planned = plan(template((resource("one", dependsOn=["many"]), loop)))

    assert by_name(planned, "one").depends_on == (f"{SERVICE}/n1", f"{SERVICE}/n2", f"{SERVICE}/n3")


def test_loop_that_makes_nothing_may_be_depended_on() -> None:
    loop = resource("x", copy={"name": "many", "count": 0})

    assert ids(plan(template((resource("one", dependsOn=["many"]), loop)))) == ["webPubSub/one"]


def test_more_resources_than_allowed_are_refused() -> None:
    loops = [resource(f"[concat('{letter}', copyIndex())]", copy={"name": letter, "count": 500}) for letter in "ab"]

    assert "more than 800" in fault(template(loops)).message


def test_nested_children_have_the_type_and_the_name_of_their_parent() -> None:
    nested = {"type": "hubs", "apiVersion": VERSION, "name": "chat", "properties": {"x": "[copyIndex()]"}}
    parent = resource("[concat('n', copyIndex())]", copy={"name": "l", "count": 2}, resources=[nested])

    planned = plan(template((parent,)))

    assert ids(planned) == ["webPubSub/n0", "webPubSub/n0/hubs/chat", "webPubSub/n1", "webPubSub/n1/hubs/chat"]
    child = planned.resources[3]
    assert (child.type, child.name, child.path) == (HUBS, "n1/chat", "resources[0].resources[0]")
    assert child.depends_on == (f"{SERVICE}/n1",)
    assert planned.body(child, NOTHING)["properties"] == {"x": 1}
    assert "resources" not in planned.body(planned.resources[0], NOTHING)


def test_nested_child_may_give_its_whole_type_and_name() -> None:
    assert ids(plan(template((resource("one", resources=[hub("one/chat")]),))))[1] == "webPubSub/one/hubs/chat"


def test_extension_nested_in_a_resource_extends_it() -> None:
    nested = resource("x", type="Microsoft.Authorization/locks")

    planned = plan(template((resource("one", resources=[nested]),)))

    assert planned.resources[1].id == f"{SERVICE}/one/providers/Microsoft.Authorization/locks/x"


SYMBOLIC = {
    "$schema": SCHEMA,
    "languageVersion": "2.0",
    "contentVersion": "1.0.0.0",
    "parameters": {"hubs": {"type": "array", "defaultValue": ["a", "b"]}},
    "resources": {
        "hub": {
            "copy": {"name": "hub", "count": "[length(parameters('hubs'))]"},
            "type": HUBS,
            "apiVersion": VERSION,
            "name": "[format('{0}/{1}', 'one', parameters('hubs')[copyIndex()])]",
            "properties": {"x": "[reference('there').hostName]"},
            "dependsOn": ["service"],
        },
        "service": {"type": WEB_PUB_SUB, "apiVersion": VERSION, "name": "one", "dependsOn": ["there"]},
        "there": {
            "existing": True,
            "type": WEB_PUB_SUB,
            "apiVersion": "2023-02-01",
            "name": "two",
            "resourceGroup": "other",
        },
        "last": {
            "type": "Microsoft.Web/sites",
            "apiVersion": VERSION,
            "name": "site",
            "properties": {
                "all": "[map(references('hub'), lambda('h', lambdaVariables('h').state))]",
                "second": "[reference('hub[1]').state]",
                "info": "[resourceInfo('service').id]",
                "full": "[reference('service', '2021-10-01', 'full').location]",
            },
            "dependsOn": ["hub", "[format('hub[{0}]', 0)]"],
        },
    },
    "outputs": {"o": {"type": "string", "value": "[reference('service').hostName]"}},
}


def test_template_with_symbols_becomes_a_plan() -> None:
    planned = plan(SYMBOLIC)

    assert [(one.symbol, one.existing) for one in planned.resources] == [
        ("there", True),
        ("service", False),
        ("hub[0]", False),
        ("hub[1]", False),
        ("last", False),
    ]
    there, service, first, second, last = planned.resources
    assert there.id == SERVICE.replace("/lab/", "/other/") + "/two"
    assert first.depends_on == (there.id, service.id)
    assert last.depends_on == (service.id, first.id, second.id)[-len(last.depends_on) :]


def test_symbols_mean_resources_in_expressions() -> None:
    planned = plan(SYMBOLIC)
    there, service, first, second, last = planned.resources
    runtime = Resources(
        {
            there.id: {"hostName": "two.example"},
            service.id: {"hostName": "one.example"},
            first.id: {"state": 1},
            second.id: {"state": 2},
        }
    )

    assert planned.body(second, runtime)["properties"] == {"x": "two.example"}
    assert runtime.asked == [(there.id, "2023-02-01", False)]
    assert planned.body(last, runtime)["properties"] == {"all": [1, 2], "second": 2, "info": service.id, "full": "here"}
    assert (service.id, "2021-10-01", True) in runtime.asked
    assert planned.outputs(runtime) == {"o": {"type": "String", "value": "one.example"}}


def test_value_that_is_not_known_yet_stays_as_it_is_written() -> None:
    planned = plan(
        template(
            (
                resource("one", properties={"a": "[reference('two').x]", "b": "[toLower('B')]"}),
                resource("two"),
            )
        )
    )
    one = by_name(planned, "one")

    assert planned.body(one, NOTHING, keep_unresolved=True)["properties"] == {"a": "[reference('two').x]", "b": "b"}
    with pytest.raises(Unresolved) as caught:
        planned.body(one, NOTHING)
    assert caught.value.resource_id == f"{SERVICE}/two"


def test_fault_that_shows_only_with_the_resources_has_its_place() -> None:
    planned = plan(template((resource("one", properties={"a": "[reference('two').x]"}), resource("two"))))

    with pytest.raises(TemplateFault) as caught:
        planned.body(by_name(planned, "one"), Resources({f"{SERVICE}/two": {"y": 1}}))

    assert caught.value.path == "resources[0].properties.a"
    assert "available properties are 'y'" in caught.value.message


def test_nested_deployment_is_a_resource_whose_template_is_left_alone() -> None:
    inner = {"mode": "Incremental", "template": template(variables={"v": "[parameters('inner')]"})}
    nested = resource("d", type="Microsoft.Resources/deployments", resourceGroup="other", properties=inner)

    planned = plan(template((nested,)))

    assert planned.resources[0].type == "Microsoft.Resources/deployments"
    assert planned.resources[0].resource_group == "other"
    assert planned.resources[0].id == GROUP.replace("lab", "other") + "/providers/Microsoft.Resources/deployments/d"


USER_FUNCTIONS = [
    {
        "namespace": "contoso",
        "members": {
            "greet": {
                "parameters": [{"name": "Who", "type": "string"}],
                "output": {"type": "string", "value": "[concat(toLower(parameters('who')), contoso.mark())]"},
            },
            "mark": {"output": {"type": "string", "value": "!"}},
        },
    }
]


def test_functions_of_a_template_can_be_called() -> None:
    assert value("[Contoso.Greet('YOU')]", functions=USER_FUNCTIONS) == "you!"


@pytest.mark.parametrize(
    ("output", "expression"),
    [
        ({"type": "string", "value": "[variables('x')]"}, "[n.f('a')]"),
        ({"type": "string", "value": "[parameters('y')]"}, "[n.f('a')]"),
        ({"type": "string", "value": "[reference('x').y]"}, "[n.f('a')]"),
        ({"type": "string", "value": "[n.f(parameters('p'))]"}, "[n.f('a')]"),
        ({"type": "string", "value": "[unknown()]"}, "x"),
        ({"type": "string", "value": "x"}, "[n.f(1)]"),
        ({"type": "string", "value": "x"}, "[n.f()]"),
        ({"type": "int", "value": "x"}, "[n.f('a')]"),
        ({"type": "string"}, "x"),
        ({"value": "x"}, "x"),
        (5, "x"),
    ],
)
def test_function_that_cannot_be_is_refused(output: Any, expression: str) -> None:
    parameters = [{"name": "p", "type": "string"}]
    declared = [{"namespace": "n", "members": {"f": {"parameters": parameters, "output": output}}}]

    refused = fault(
        template(functions=declared, variables={"x": 1}, outputs={"o": {"type": "string", "value": expression}})
    )

    assert refused.path.startswith(("functions", "outputs"))


def test_function_that_calls_itself_without_end_is_refused() -> None:
    members = {
        "f": {"output": {"type": "array", "value": "[map(createArray(1), lambda('x', n.g()))]"}},
        "g": {"output": {"type": "array", "value": "[sort(createArray(1, 2), lambda('x', 'y', empty(n.f())))]"}},
    }

    refused = fault(template(functions=[{"namespace": "n", "members": members}], variables={"v": "[n.f()]"}))

    assert "steps in one another" in refused.message


@pytest.mark.parametrize(
    "declared",
    [
        5,
        [5],
        [{"namespace": "n", "members": {"f": {"parameters": 5}}}],
        [{"namespace": "n", "members": {"f": {"parameters": [{"type": "int"}]}}}],
        [{}],
        [{"namespace": "n", "members": 5}],
        [{"namespace": "n", "members": {"f": 5}}],
        USER_FUNCTIONS * 2,
    ],
)
def test_functions_in_another_form_are_refused(declared: Any) -> None:
    assert fault(template(functions=declared)).path.startswith("functions")


@pytest.mark.parametrize(
    "output",
    [
        5,
        {"type": "string"},
        {"value": "x"},
        {"type": "string", "value": 5},
        {"type": "string", "value": None},
        {"type": "string", "value": "x", "condition": "yes"},
        {"type": "array", "copy": {"count": 2}},
        {"type": "array", "copy": 5},
        {"type": "int", "value": "[absent()]"},
    ],
)
def test_broken_output_is_refused_before_anything_is_done(output: Any) -> None:
    assert fault(template(outputs={"o": output})).path.startswith("outputs")


def test_more_outputs_than_allowed_are_refused() -> None:
    outputs = {f"o{number}": {"type": "int", "value": number} for number in range(801)}

    assert "more than 800" in fault(template(outputs=outputs)).message


def test_names_of_the_template_language_compare_without_case() -> None:
    document = {
        "$SCHEMA": SCHEMA,
        "ContentVersion": "1.0.0.0",
        "Resources": [{"Type": WEB_PUB_SUB, "ApiVersion": VERSION, "Name": "one", "DependsOn": []}],
    }

    planned = plan(document)

    assert planned.body(planned.resources[0], NOTHING) == {
        "type": WEB_PUB_SUB,
        "apiVersion": VERSION,
        "name": "one",
        "id": f"{SERVICE}/one",
    }


def test_deployment_knows_itself() -> None:
    assert value("[deployment().properties.template.contentVersion]") == "1.0.0.0"
    assert value("[deployment().name]") == "first"


def test_template_is_not_changed() -> None:
    before = copy.deepcopy(BICEP_STYLE)

    plan(BICEP_STYLE, principalId="p")

    assert before == BICEP_STYLE


def _deep(levels: int) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = [made]
    return made


def _doubling(levels: int) -> dict[str, Any]:
    variables: dict[str, Any] = {"v0": "[createArray('x')]"}
    for level in range(1, levels):
        variables[f"v{level}"] = f"[createArray(variables('v{level - 1}'), variables('v{level - 1}'))]"
    return variables


@pytest.mark.parametrize(
    "variables",
    [
        {"a": _deep(5000)},
        _doubling(60),
        {f"v{n}": f"[variables('v{n + 1}')]" for n in range(1000)} | {"v1000": 1},
        {"a": "[padLeft('x', 2000000000)]"},
        {"a": "[range(0, 2000000000)]"},
        {"a": "[format('{0,999999999}', 'x')]"},
        {"a": "[reduce(range(0, 10000), 'x', lambda('a', 'b', concat(lambdaVariables('a'), lambdaVariables('a'))))]"},
        {"a": "[reduce(range(0, 10000), createArray(), lambda('a', 'b', createArray(lambdaVariables('a'))))]"},
        {"a": "[map(range(0, 10000), lambda('x', range(0, 10000)))]"},
        {"a": "[map(range(0, 9999), lambda('x', map(range(0, 9999), lambda('y', 1))))]"},
        {"b": "[range(0, 10000)]", "a": "[map(range(0, 9999), lambda('x', contains(variables('b'), 'y')))]"},
        {"a": "[replace(padLeft('', 100000), ' ', padLeft('', 100000))]"},
        {"a": "[join(range(0, 10000), padLeft('', 100000))]"},
        {"a": f"[{'concat(' * 5000}'x'{')' * 5000}]"},
        {"a": f"[concat({'[' * 20000})]"},
        {"a": f"[resourceGroup(){'.id' * 8000}]"},
        {"a": f"[concat('{'x' * 30000}')]"},
        {"copy": [{"name": "x", "count": 800, "input": "[padLeft('', 100000)]"}]},
    ],
    ids=range(18),
)
def test_template_that_would_take_too_much_is_refused(variables: dict[str, Any]) -> None:
    """It neither fills the memory nor the stack, and it does not hang: the suite has a limit for that."""
    assert "Recursion" not in fault(template(variables=variables)).message


_WORDS = st.sampled_from(
    [
        "[",
        "]",
        "(",
        ")",
        "'",
        ",",
        ".",
        "?",
        "concat",
        "parameters",
        "p",
        "reference",
        "if",
        "1",
        " ",
        "copyIndex",
        "[[",
    ]
)
_SPOKEN = st.lists(_WORDS, max_size=12).map("".join) | st.text(max_size=10)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _SPOKEN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "type", "copy", "count", "input", "value", "resources", "x", "condition", "dependsOn"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
_PARTS = ("parameters", "variables", "functions", "outputs", "resources", "definitions")


def outcome(work: Callable[[], object]) -> TemplateFault | None:
    """What went wrong, unless it is only that a resource is not there yet. Anything else is raised."""
    try:
        work()
    except TemplateFault as caught:
        return caught
    except Unresolved:
        pass
    return None


@given(st.dictionaries(st.sampled_from(_PARTS), _JSON), st.dictionaries(st.sampled_from(["p", "q"]), _JSON))
def test_whatever_a_template_holds_only_a_template_fault_comes_of_it(parts: Any, given_parameters: Any) -> None:
    def work() -> None:
        planned = prepare(template() | parts, given_parameters, ENVIRONMENT, lambda _: (1, 1))
        for one in planned.resources:
            planned.body(one, NOTHING, keep_unresolved=True)
        planned.outputs(NOTHING)

    caught = outcome(work)

    assert caught is None or (caught.line, caught.column) == (1, 1)


@given(_SPOKEN, st.sampled_from(["name", "type", "condition", "properties", "dependsOn", "copy", "scope", "location"]))
def test_whatever_a_resource_holds_only_a_template_fault_comes_of_it(text: str, name: str) -> None:
    document = template((resource("one", type=HUBS) | {name: f"[{text}]"},), parameters={"p": {"type": "string"}})

    caught = outcome(lambda: plan(document, p="a"))

    assert caught is None or caught.message


@given(_JSON)
def test_whatever_the_root_is_only_a_template_fault_comes_of_it(root: Any) -> None:
    assert outcome(lambda: prepare(root, {}, ENVIRONMENT)) is not None

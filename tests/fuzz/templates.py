"""What somebody deploys: the body that `az` sends, templates, Bicep, and the bodies of resources and hubs."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from fuzz.inputs import damaged
from fuzz.target import Target
from hubwire.model.errors import BadRequest
from hubwire.resources.bicep import BicepFault, compile_bicep
from hubwire.resources.hub_properties import completed as completed_hub
from hubwire.resources.lenient_json import Unreadable, parse
from hubwire.resources.resource_properties import completed, identity_of, merged, sku_of, tags_of
from hubwire.resources.template_faults import TemplateFault, Unresolved
from hubwire.resources.templates import Environment, prepare

__all__ = ["TARGETS"]

_TEMPLATE: Final = """{"properties": {"mode": "Incremental", template: {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0", /* a comment */
    "parameters": {"hubs": {"type": "array", "defaultValue": ["a", "b"]}, "n": {"type": "int", "defaultValue": 2}},
    "variables": {"name": "[toLower(take(format('x{0}', uniqueString(resourceGroup().id)), 24))]"},
    "resources": [
        {"type": "Microsoft.SignalRService/webPubSub", "apiVersion": "2024-03-01", "name": "[variables('name')]",
         "location": "[resourceGroup().location]", "sku": {"name": "Standard_S1", "capacity": "[parameters('n')]"}},
        {"copy": {"name": "each", "count": "[length(parameters('hubs'))]"}, // one for each
         "type": "Microsoft.SignalRService/webPubSub/hubs", "apiVersion": "2024-03-01",
         "name": "[format('{0}/{1}', variables('name'), parameters('hubs')[copyIndex()])]",
         "condition": "[not(equals(parameters('hubs')[copyIndex()], 'c'))]",
         "dependsOn": ["[resourceId('Microsoft.SignalRService/webPubSub', variables('name'))]"],
         "properties": {"anonymousConnectPolicy": "[if(greater(parameters('n'), 1), 'allow', 'deny')]"}},
    ],
    "outputs": {"host": {"type": "string", "value": "[reference(variables('name')).hostName]"}}
}}}"""

_BICEP: Final = """@description('names')
param hubs array = ['a', 'b']
param n int = 2
var name = toLower(take('x${uniqueString(resourceGroup().id)}', 24))
resource wps 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: name // a comment
  location: resourceGroup().location
  sku: { name: 'Standard_S1', capacity: n > 1 ? n : 1 }
}
resource each 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = [for (hub, i) in hubs: if (hub != 'c') {
  parent: wps
  name: '${hub}${i}'
  properties: {
    anonymousConnectPolicy: 'allow'
    eventHandlers: [
      {
        urlTemplate: '''http://x/{event}'''
        systemEvents: ['connect']
      }
    ]
  }
}]
output host string = wps.properties.hostName
"""

_ENVIRONMENT: Final = Environment(
    tenant_id="t",
    subscription_id="s",
    subscription_name="n",
    resource_group="g",
    location="l",
    group_tags={},
    deployment_name="d",
    now="2026-01-01T00:00:00Z",
    new_guid=lambda: "11111111-1111-4111-8111-111111111111",
    endpoint="https://localhost",
)

_BODY: Final[dict[str, Any]] = {
    "sku": {"name": "Standard_S1", "capacity": 1},
    "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/s": {}}},
    "tags": {"a": "b"},
    "properties": {
        "tls": {"clientCertEnabled": True},
        "networkACLs": {
            "defaultAction": "Deny",
            "publicNetwork": {"allow": ["ClientConnection"], "deny": []},
            "ipRules": [{"value": "10.0.0.0/8", "action": "Allow"}],
        },
        "disableLocalAuth": False,
        "resourceStopped": "true",
    },
    "hub": {
        "eventHandlers": [{"urlTemplate": "http://x/{hub}/{event}", "systemEvents": ["connect"]}],
        "anonymousConnectPolicy": "allow",
    },
}


def _check_deployment(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    try:
        parsed = parse(text)
    except Unreadable as fault:
        assert fault.line >= 1
        assert fault.column >= 1
        return
    value = parsed.value
    properties = value.get("properties") if isinstance(value, dict) else None
    template = properties.get("template") if isinstance(properties, dict) else None
    try:
        plan = prepare(template, {}, _ENVIRONMENT, lambda at: parsed.locate(("properties", "template", *at)))
    except TemplateFault as fault:
        assert fault.message
        return
    seen: set[str] = set()
    for planned in plan.resources:
        assert seen.issuperset(planned.depends_on), "each comes after what it waits for"
        seen.add(planned.id)


def _check_bicep(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    try:
        template = compile_bicep(text)
    except BicepFault as fault:
        assert fault.line >= 1
        assert fault.column >= 1
        return
    json.dumps(template)
    try:
        prepare(template, {}, _ENVIRONMENT)
    except (TemplateFault, Unresolved):
        pass


def _check_bodies(raw: bytes) -> None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return
    body = value if isinstance(value, dict) else {"properties": value}
    for check in (
        lambda: sku_of(body.get("sku")),
        lambda: identity_of(body.get("identity")),
        lambda: tags_of(body.get("tags")),
        lambda: completed(completed(body.get("properties"))),
        lambda: merged(completed(None), body.get("properties")),
        lambda: completed_hub(body["hub"]) if isinstance(body.get("hub"), dict) else None,
    ):
        try:
            check()
        except BadRequest as fault:
            assert fault.message


TARGETS: Final = {
    "deployments": Target((damaged(st.just(_TEMPLATE.encode())),), _check_deployment),
    "bicep": Target((damaged(st.just(_BICEP.encode())),), _check_bicep),
    "resources": Target((damaged(st.just(json.dumps(_BODY).encode())),), _check_bodies),
}

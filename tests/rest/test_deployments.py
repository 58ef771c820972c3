"""The resource manager's table of deployments, through the application, with roles that are looked up."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, rsa_key
from hubwire.auth.bearers import MANAGEMENT, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.managers import Managers
from hubwire.model.directory import Assignment, TokenKey
from hubwire.model.ports import Change
from hubwire.model.roles import CONTRIBUTOR, RESOURCE_READER, WEB_PUBSUB_CONTRIBUTOR
from hubwire.model.telemetry import Telemetry
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployables import Deployables
from hubwire.resources.deployments import Deployments
from hubwire.resources.directory import Directory
from hubwire.rest.deployments import DeploymentTable
from hubwire.rest.operation import RestApp
from rest.asgi import FakePrincipals, Reply
from rest.issuing import MemoryStore
from rest.managing import GROUP, GROUPS, ISSUER, OWN, SUBSCRIPTION, WPS, Managing

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
TYPE = "Microsoft.SignalRService/webPubSub"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
DEPLOYMENTS = "providers/Microsoft.Resources/deployments"
ALL = f"{GROUP}/{DEPLOYMENTS}"
ONE = f"{ALL}/d"


class GatedStore(MemoryStore):
    """Commits wait while `passing` is not set; `reached` is set by each."""

    def __init__(self) -> None:
        super().__init__()
        self.passing = asyncio.Event()
        self.passing.set()
        self.reached = asyncio.Event()

    async def commit(self, changes: Sequence[Change]) -> None:
        self.reached.set()
        await self.passing.wait()
        await super().commit(changes)


class Deploying(Managing):
    """The tables with that of deployments, and with a directory that is stored."""

    def __init__(self, store: GatedStore, catalog: Catalog, stored: Directory, deployments: Deployments) -> None:
        super().__init__(store, catalog, stored)
        self.gate = store
        self.deployments = deployments
        clock = Clock()
        foreign = ForeignKeys({(ISSUER_URL, "foreign-key"): rsa_key("foreign").public_key()})
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (), 0, clock, MANAGEMENT)
        managers = Managers(bearers, Failures(0), clock)
        table = DeploymentTable(catalog, deployments, managers, None, OWN)
        self.operations = (*self.operations, *table.operations())
        self.app = RestApp(
            self.operations,
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=(),
            max_message_bytes=1 << 20,
            idle_timeout_s=30.0,
            issuer_url=ISSUER,
            managers=managers,
        )

    def only(self, role_id: str, scope: str) -> None:
        """Whoever calls has no other role than this one."""
        self.directory.assignments[:] = [Assignment("id", TENANT.tenant_id, OBJECT_ID, role_id, scope)]

    async def deploy(self, content: Any, path: str = ONE, **more: Any) -> Reply:
        return await self.call("PUT", path, {"properties": {"mode": "Incremental", "template": content, **more}})

    async def refusal(self, content: Any, path: str = ONE, **more: Any) -> dict[str, Any]:
        """What is wrong with a deployment that is not begun."""
        before = dict(self.store.documents)
        reply = await self.deploy(content, path, **more)
        assert self.store.documents == before
        return {"status": reply.status, **reply.json["error"]}

    async def reason(self, content: Any, path: str = ONE) -> dict[str, Any]:
        """Why a deployment that was begun has failed, as those who poll are told."""
        reply = await self.deploy(content, path)
        assert reply.status in (200, 201)
        assert reply.json["properties"]["provisioningState"] == "Accepted"
        address = reply.headers["azure-asyncoperation"].removeprefix("https://hub.example:8443")
        status = (await self.call("GET", address[address.index("/subscriptions") :], version=None)).json
        assert status["status"] == "Failed"
        (detail,) = status["error"]["details"]
        return dict(detail)


async def open_deploying(store: GatedStore | None = None) -> Deploying:
    """Whoever calls has a role for everything."""
    store, numbers = store or GatedStore(), itertools.count()
    catalog = await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: NOW)
    directory = await Directory.load(
        store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
    )

    deployables = Deployables(catalog, directory, Managing.place, TENANT.tenant_id)
    times = itertools.count()
    deployments = Deployments(store, catalog, deployables, TENANT.tenant_id, lambda: NOW + next(times))
    await deployments.load()
    made = Deploying(store, catalog, directory, deployments)
    made.assign("8e3af657-a8ff-443c-a75c-2fe8c4bcb635")
    return made


@pytest.fixture
async def deploying() -> Deploying:
    return await open_deploying()


def template(*resources: Any, **more: Any) -> dict[str, Any]:
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources), **more}


def web_pubsub(name: str = "wps-one", **more: Any) -> dict[str, Any]:
    return {"type": TYPE, "apiVersion": "2024-03-01", "name": name, "location": "eastus", **more}


def output(expression: str) -> dict[str, Any]:
    return template(outputs={"o": {"type": "string", "value": f"[{expression}]"}})


# Bodies


@pytest.mark.parametrize(
    ("properties", "spelled", "mode"),
    [("properties", "template", "mode"), ("Properties", "Template", "Mode"), ("PROPERTIES", "tEMPLATE", "MODE")],
)
async def test_names_of_a_body_compare_without_case_and_a_fault_keeps_its_line(
    deploying: Deploying, properties: str, spelled: str, mode: str
) -> None:
    lines = [
        f'{{"{properties}": {{"{mode}": "complete", "{spelled}": {{',
        f'  "$schema": "{SCHEMA}", "contentVersion": "1.0.0.0",',
        '  "resources": [',
        f'    {{"type": "{TYPE}", "apiVersion": "2024-03-01",',
        '     "location": "eastus",',
        '     "name": "NAME"}',
        "  ]}}}",
    ]
    text = "\n".join(lines)
    broken = await deploying.call("PUT", ONE, body=text.replace("NAME", "[nothing(1)]").encode())
    assert broken.status == 400
    error = broken.json["error"]
    (known,) = error["additionalInfo"]
    assert (error["code"], known["info"]["lineNumber"]) == ("InvalidTemplate", 6)
    assert known["info"]["path"] == "resources[0].name"
    assert "line 6" in error["message"]

    done = await deploying.call("PUT", ONE, body=text.replace("NAME", "wps-one").encode())
    assert done.status == 201
    assert (done.json["properties"]["provisioningState"], done.json["properties"]["mode"]) == ("Succeeded", "Complete")


@pytest.mark.parametrize("body", [{}, {"Properties": 1}, {"properties": {}}, {"properties": {"Template": None}}])
async def test_body_without_a_template_is_refused(deploying: Deploying, body: object) -> None:
    assert await deploying.fault("PUT", ONE, body) == (400, "InvalidRequestContent")


@pytest.mark.parametrize("settings", ["whatIfSettings", "WhatIfSettings"])
@pytest.mark.parametrize("word", ["ResourceIdOnly", "resourceidonly"])
async def test_what_if_tells_ids_alone_to_whom_they_are_enough(deploying: Deploying, settings: str, word: str) -> None:
    await deploying.made("wps-one")
    content = template(web_pubsub("wps-one", tags={"a": "b"}), web_pubsub("wps-new"))

    async def changes(**more: Any) -> list[dict[str, Any]]:
        body = {"properties": {"mode": "Incremental", "template": content, **more}}
        found: list[dict[str, Any]] = (await deploying.call("POST", f"{ONE}/whatIf", body)).json["properties"][
            "changes"
        ]
        return found

    ids = await changes(**{settings: {"resultFormat": word}})
    whole = await changes(**{settings: {"resultFormat": "FullResourcePayloads"}})

    assert {change["changeType"] for change in ids} == {"Create", "Modify"}
    assert all(change.keys() == {"resourceId", "changeType"} for change in ids)
    assert [change["resourceId"] for change in ids] == [change["resourceId"] for change in whole]
    assert whole == await changes()
    assert all("after" in change for change in whole)


@pytest.mark.parametrize("settings", [None, 1, [], {}, {"resultFormat": None}])
async def test_other_settings_of_what_if_are_left_alone(deploying: Deploying, settings: object) -> None:
    body = {"properties": {"template": template(web_pubsub()), "whatIfSettings": settings}}

    reply = await deploying.call("POST", f"{ONE}/whatIf", body)

    assert "after" in reply.json["properties"]["changes"][0]


# Lists


async def test_list_has_the_newest_first_and_as_many_as_are_wanted(deploying: Deploying) -> None:
    for name in ("one", "two", "three"):
        assert (await deploying.deploy(template(), f"{ALL}/{name}")).status == 201

    async def names(query: str) -> list[str]:
        return [found["name"] for found in (await deploying.call("GET", ALL + query)).json["value"]]

    assert await names("") == ["three", "two", "one"]
    assert await names("?$top=2") == ["three", "two"]
    assert await names("?$top=1000") == ["three", "two", "one"]
    for wrong in ("0", "-1", "x"):
        assert await deploying.fault("GET", f"{ALL}?$top={wrong}") == (400, "InvalidParameter")


async def test_deployments_are_listed_to_whoever_may_read_there(deploying: Deploying) -> None:
    for group in ("g", "h"):
        await deploying.deploy(template(), f"{GROUPS}/{group}/{DEPLOYMENTS}/d")
    deploying.only(RESOURCE_READER.id, GROUP)

    assert len((await deploying.call("GET", ALL)).json["value"]) == 1
    assert await deploying.fault("GET", f"{GROUPS}/h/{DEPLOYMENTS}") == (403, "AuthorizationFailed")


# Codes


async def test_group_that_is_not_there_is_told_by_its_code(deploying: Deploying) -> None:
    nowhere = f"{GROUPS}/nowhere"
    assert await deploying.fault("GET", f"{nowhere}/{DEPLOYMENTS}") == (404, "ResourceGroupNotFound")
    assert await deploying.fault("POST", f"{nowhere}/exportTemplate", {}) == (404, "ResourceGroupNotFound")
    assert await deploying.fault("GET", f"{nowhere}/{DEPLOYMENTS}/d") == (404, "DeploymentNotFound")


async def test_deployment_that_is_carried_out_now_is_active_by_its_name(deploying: Deploying) -> None:
    deploying.gate.passing.clear()
    deploying.gate.reached.clear()
    first = asyncio.create_task(deploying.deploy(template(web_pubsub())))
    await deploying.gate.reached.wait()
    again = {"properties": {"template": template(web_pubsub())}}

    assert await deploying.fault("PUT", f"{ALL}/D", again) == (409, "DeploymentActive")
    deploying.gate.passing.set()

    assert (await first).json["properties"]["provisioningState"] == "Succeeded"
    assert (await deploying.deploy(template(web_pubsub()))).status == 200


async def test_quota_of_deployments_is_told_by_its_code(deploying: Deploying) -> None:
    await deploying.deploy(template())
    known = deploying.store.documents["deployment", f"{SUBSCRIPTION}/g/d"]
    for number in range(1999):
        key = f"{SUBSCRIPTION}/h{number}/d"
        body = {**known.body, "group": f"h{number}"}
        deploying.store.documents["deployment", key] = replace(known, key=key, body=body)
    full = await open_deploying(deploying.gate)

    assert (await full.refusal(template(), f"{ALL}/more"))["code"] == "QuotaExceeded"
    assert (await full.deploy(template())).status == 200


async def test_deployment_that_was_cut_off_is_told_as_failed(deploying: Deploying) -> None:
    await deploying.deploy(template(web_pubsub()))
    known = deploying.store.documents["deployment", f"{SUBSCRIPTION}/g/d"]
    body = {**known.body, "state": "Running"}
    deploying.store.documents["deployment", known.key] = replace(known, body=body)

    later = await open_deploying(deploying.gate)

    properties = (await later.call("GET", ONE)).json["properties"]
    assert (properties["provisioningState"], properties["error"]["code"]) == ("Failed", "DeploymentInterrupted")
    status = await later.call("GET", f"{ONE}/operationStatuses/{properties['correlationId']}")
    assert (status.json["status"], status.json["error"]["code"]) == ("Failed", "DeploymentInterrupted")


# Who may


async def test_template_gives_an_identity_by_the_right_to_use_it(deploying: Deploying) -> None:
    which = f"{GROUP}/providers/{IDENTITY}/one"
    await deploying.stored.create_identity(which, NOW)
    identity = {"type": "UserAssigned", "userAssignedIdentities": {which: {}}}
    content = template(web_pubsub("wps-new"), web_pubsub(identity=identity))
    deploying.only(WEB_PUBSUB_CONTRIBUTOR.id, GROUP)

    error = await deploying.refusal(content)
    assert (error["status"], error["code"]) == (403, "AuthorizationFailed")
    assert f"{IDENTITY}/assign/action" in error["message"]

    deploying.assign(CONTRIBUTOR.id, which)
    assert (await deploying.deploy(content)).json["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize(
    "expression",
    [
        "reference('{at}', '2024-03-01').hostName",
        "reference('{at}', '2024-03-01', 'full').location",
        "listKeys('{at}', '2024-03-01').primaryKey",
    ],
)
async def test_what_one_may_not_read_is_told_as_if_it_were_absent(deploying: Deploying, expression: str) -> None:
    await deploying.made("wps-two", "h")
    deploying.only(CONTRIBUTOR.id, GROUP)
    there, absent = (f"{GROUPS}/h/providers/{TYPE}/{name}" for name in ("wps-two", "wps-xxx"))
    told = []
    for at in (there, absent):
        value = expression.format(at=at)
        refused = await deploying.refusal(template(web_pubsub(tags={"x": f"[{value}]"})))
        failed = await deploying.reason(output(value))
        assert (refused["status"], failed["code"]) == (403, "DeploymentOutputEvaluationFailed")
        told.append(json.dumps([refused, failed]).replace(at, "it"))
        await deploying.deployments.delete(SUBSCRIPTION, "g", "d")

    assert told[0] == told[1]


async def test_right_at_one_resource_reads_nothing_of_another_by_an_id_below_it(deploying: Deploying) -> None:
    await deploying.made("wps-one")
    secret = (await deploying.made("wps-two", "h")).keys.primary
    deploying.only(CONTRIBUTOR.id, GROUP)
    for above in (f"{WPS}/wps-one", f"{WPS}/wps-one/hubs/chat"):
        at = f"{above}/providers/{TYPE}/wps-two"
        for value in (f"listKeys('{at}', '2024-03-01').primaryKey", f"reference('{at}', '2024-03-01').hostName"):
            failed = await deploying.reason(output(value))
            shown = await deploying.call("GET", ONE)

            assert failed["code"] == "DeploymentOutputEvaluationFailed"
            assert shown.json["properties"]["outputs"] == {}
            assert secret.encode() not in shown.body


async def test_complete_deployment_of_whoever_may_not_delete_is_refused(deploying: Deploying) -> None:
    """Neither may anybody delete the first resource."""
    await deploying.made("wps-two")
    content = template(web_pubsub())
    home = f"{GROUPS}/hubwire/{DEPLOYMENTS}/d"
    assert (await deploying.refusal(content, home, mode="Complete"))["code"] == "InvalidTemplateDeployment"

    deploying.only(RESOURCE_READER.id, GROUP)
    assert (await deploying.refusal(content, mode="Complete"))["status"] == 403
    assert deploying.catalog.named("wps-two") is not None

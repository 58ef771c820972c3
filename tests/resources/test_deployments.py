"""Deployments on a real catalog and a real directory: what is refused before it begins, how they end, what is kept."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from hubwire.model.directory import TokenKey
from hubwire.model.errors import Conflict, Forbidden, NotStored
from hubwire.model.ports import Change
from hubwire.model.roles import OWNER, READER
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployables import Deployables
from hubwire.resources.deployments import Active, Deployments, Invalid, Order, StoredDeployment
from hubwire.resources.directory import Directory
from hubwire.resources.documents import HOME_GROUP, StoredGroup, StoredResource
from hubwire.resources.identities import join
from hubwire.resources.resource_documents import Place, group_id, resource_id
from hubwire.resources.template_faults import TemplateFault
from rest.issuing import MemoryStore

SUBSCRIPTION = "22222222-aaaa-4000-8000-000000000002"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
TYPE = "Microsoft.SignalRService/webPubSub"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
VERSION = "2024-03-01"
NOW = 1_800_000_000.0
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g"
NAME = "77777777-aaaa-4000-8000-000000000007"
SOMEBODY = "99999999-aaaa-4000-8000-000000000009"


class GatedStore(MemoryStore):
    """
    Attributes:
        fails: which commits are not stored.
        passing: commits wait while it is not set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fails: Callable[[Sequence[Change]], bool] = lambda _: False
        self.passing = asyncio.Event()
        self.passing.set()

    async def commit(self, changes: Sequence[Change]) -> None:
        await self.passing.wait()
        if self.fails(changes):
            raise NotStored("database or disk is full")
        await super().commit(changes)


class Rights:
    """
    What whoever deploys may not do, and what they were asked for.

    Attributes:
        without: a part of an action, and the beginning of a scope, both in lower case.
    """

    def __init__(self, *without: tuple[str, str]) -> None:
        self.without = without
        self.asked: list[tuple[str, str]] = []

    def __call__(self, action: str, scope: str) -> None:
        self.asked.append((action, scope))
        for part, begin in self.without:
            if part.lower() in action.lower() and scope.lower().startswith(begin.lower()):
                raise Forbidden(f"You may not {action} at {scope}.", "Authorization")


EVERYTHING = Rights()


class World:
    """Deployments with what they deploy to. Each start of a server is `start` once more."""

    def __init__(self) -> None:
        self.store = GatedStore()
        self.now = NOW
        self.catalog: Catalog
        self.directory: Directory
        self.deployments: Deployments

    async def start(self) -> "World":
        numbers = itertools.count()
        self.directory = await Directory.load(
            self.store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
        )
        self.catalog = await Catalog.load(self.store, subscription_id=SUBSCRIPTION, clock=lambda: self.now)
        join(self.catalog, self.directory)
        tenant = self.directory.tenant.tenant_id
        deployables = Deployables(self.catalog, self.directory, place, tenant)
        self.deployments = Deployments(self.store, self.catalog, deployables, tenant, lambda: self.now)
        await self.deployments.load()
        self.catalog.on_end.append(self.deployments.forget)
        return self

    async def made(self, name: str, group: str = "g") -> StoredResource:
        found, _ = await self.catalog.put_resource(SUBSCRIPTION, group, name, {"location": "eastus"})
        return found

    async def deploy(self, *resources: Any, may: Rights = EVERYTHING, **more: Any) -> StoredDeployment:
        return await self.deployments.deploy(order(*resources, **more), may)

    async def what_if(self, *resources: Any, may: Rights = EVERYTHING, **more: Any) -> list[dict[str, Any]]:
        return await self.deployments.what_if(order(*resources, **more), may)

    async def principal(self) -> str:
        return (await self.directory.create("somebody", NOW)).object_id


def place(resource: StoredResource) -> Place:
    return Place(f"http://{resource.name}.example:8081", f"{resource.name}.example", 8444, 8444)


@pytest.fixture
async def world() -> World:
    return await World().start()


def template(*resources: Any, **more: Any) -> dict[str, Any]:
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources), **more}


def order(*resources: Any, name: str = "d", group: str = "g", complete: bool = False, **more: Any) -> Order:
    return Order(SUBSCRIPTION, group, name, template(*resources, **more), complete=complete)


def web_pubsub(name: str, **more: Any) -> dict[str, Any]:
    return {"type": TYPE, "apiVersion": VERSION, "name": name, "location": "eastus", **more}


def hub(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": f"{TYPE}/hubs", "apiVersion": VERSION, "name": name, "properties": properties}


def identity(name: str = "one", **more: Any) -> dict[str, Any]:
    return {"type": IDENTITY, "apiVersion": "2023-01-31", "name": name, "location": "eastus", **more}


def assigned(which: str) -> dict[str, Any]:
    return {"type": "UserAssigned", "userAssignedIdentities": {which: {}}}


def role_assignment(principal: str, role: str = OWNER.id, name: str = NAME, **more: Any) -> dict[str, Any]:
    definition = f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')]"
    properties = {"roleDefinitionId": definition, "principalId": principal}
    return {"type": ASSIGNMENT, "apiVersion": "2022-04-01", "name": name, "properties": properties, **more}


def output(expression: str, kind: str = "string") -> dict[str, Any]:
    return {"outputs": {"o": {"type": kind, "value": expression}}}


async def codes(waiting: Awaitable[object]) -> set[str]:
    """Of what is wrong with the resources of a deployment that is not begun."""
    with pytest.raises(Invalid) as failed:
        await waiting
    assert failed.value.code == "InvalidTemplateDeployment"
    return {detail["code"] for detail in failed.value.details}


async def refused_by_all(world: World, what: Order, may: Rights, kind: type[Exception]) -> list[str]:
    """What each of the three says, of which none does anything."""
    before = dict(world.store.documents)
    said = []
    for ask in (world.deployments.plan, world.deployments.what_if, world.deployments.deploy):
        with pytest.raises(kind) as failed:
            await ask(what, may)
        said.append(str(failed.value))
    assert world.store.documents == before
    assert world.deployments.all_of(SUBSCRIPTION, what.group) == []
    return said


def reason(deployment: StoredDeployment) -> dict[str, Any]:
    """Why it failed."""
    assert deployment.state == "Failed"
    assert deployment.error is not None
    assert deployment.error["code"] == "DeploymentFailed"
    (detail,) = deployment.error["details"]
    return dict(detail)


# Where a resource may stand


BELOW = f"{GROUP}/providers/{TYPE}/wps-one"


@pytest.mark.parametrize(
    "resource",
    [
        web_pubsub("wps-two", scope=BELOW),
        hub("wps-two/chat") | {"scope": BELOW},
        identity(scope=BELOW),
        web_pubsub("wps-one/Microsoft.SignalRService/wps-two", type=f"{TYPE}/providers/webPubSub"),
    ],
)
async def test_only_a_role_assignment_extends_another_resource(world: World, resource: dict[str, Any]) -> None:
    """Rights are looked up by the beginning of an id: a right there would be one here."""
    await world.made("wps-one")
    await world.made("wps-two", "h")

    (said, *_) = await refused_by_all(world, order(web_pubsub("wps-new"), resource), EVERYTHING, Invalid)

    assert "it has no scope" in said


@pytest.mark.parametrize(
    "expression",
    [
        "listKeys('{at}', '2024-03-01').primaryKey",
        "reference('{at}', '2024-03-01').hostName",
        "string(reference('{at}', '2024-03-01', 'Full'))",
    ],
)
async def test_right_at_one_resource_reads_nothing_of_another_by_an_id_below_it(world: World, expression: str) -> None:
    await world.made("wps-one")
    secret = (await world.made("wps-two", "h")).keys.primary
    at = f"{resource_id(SUBSCRIPTION, 'g', 'wps-one')}/providers/{TYPE}/wps-two"
    at_home = f"{BELOW}/providers/{TYPE}/wps-two".replace("/g/", "/h/")
    for which in (at, at_home):
        done = await world.deploy(**output(f"[{expression.format(at=which)}]"))

        assert reason(done)["code"] == "DeploymentOutputEvaluationFailed"
        for text in (str(done), str(world.store.documents["deployment", f"{SUBSCRIPTION}/g/d"].body)):
            assert secret not in text
            assert "wps-two.example" not in text


@pytest.mark.parametrize(
    ("resource", "version"),
    [
        *((web_pubsub("wps-one"), version) for version in ("1999-01-01", "2021-03-31", "latest", "2024-02-30-beta")),
        (hub("default/chat"), "2021-03-31"),
        (identity(), "1999-01-01"),
        (identity(), "latest"),
    ],
)
async def test_api_version_of_a_resource_is_one_of_its_type(
    world: World, resource: dict[str, Any], version: str
) -> None:
    at_fault = order(web_pubsub("wps-new"), {**resource, "apiVersion": version})

    assert await codes(world.deployments.plan(at_fault, EVERYTHING)) == {"NoRegisteredProviderFound"}
    await refused_by_all(world, at_fault, EVERYTHING, Invalid)


# What may not be done


async def test_identity_is_given_in_a_template_by_whoever_may_use_it(world: World) -> None:
    elsewhere = f"{GROUP.replace('/g', '/h')}/providers/{IDENTITY}/one"
    await world.directory.create_identity(elsewhere, NOW)
    content = order(web_pubsub("wps-new"), web_pubsub("wps-one", identity=assigned(elsewhere)))

    await refused_by_all(world, content, Rights(("assign/action", elsewhere)), Forbidden)

    may = Rights()
    assert (await world.deployments.deploy(content, may)).state == "Succeeded"
    assert (f"{IDENTITY}/assign/action", elsewhere) in may.asked


async def test_identity_of_the_same_template_is_given_by_whoever_may_use_it(world: World) -> None:
    at = f"[resourceId('{IDENTITY}', 'one')]"
    content = order(identity(), web_pubsub("wps-one", identity=assigned(at), dependsOn=[at]))

    await refused_by_all(world, content, Rights(("assign/action", GROUP)), Forbidden)
    assert (await world.deployments.deploy(content, EVERYTHING)).state == "Succeeded"


async def test_identity_that_is_known_late_is_given_by_whoever_may_use_it(world: World) -> None:
    """Its id is told by a resource that is not there before the deployment has begun."""
    elsewhere = f"{GROUP.replace('/g', '/h')}/providers/{IDENTITY}/one"
    await world.directory.create_identity(elsewhere, NOW)
    key = f"[reference('wps-one', '{VERSION}', 'full').tags.which]"
    content = order(web_pubsub("wps-one", tags={"which": elsewhere}), web_pubsub("wps-two", identity=assigned(key)))

    done = await world.deployments.deploy(content, Rights(("assign/action", elsewhere)))

    assert reason(done)["code"] == "AuthorizationFailed"
    assert world.catalog.named("wps-two") is None
    assert (await world.deployments.deploy(content, EVERYTHING)).state == "Succeeded"


@pytest.mark.parametrize("expression", ["reference('{at}', '2024-03-01').hostName", "listKeys('{at}', '2024-03-01')"])
async def test_resource_that_is_forbidden_is_told_as_one_that_is_absent(world: World, expression: str) -> None:
    """Else whoever may deploy somewhere could find out what is elsewhere."""
    await world.made("wps-two", "h")
    there, absent = (resource_id(SUBSCRIPTION, "h", name) for name in ("wps-two", "wps-xxx"))
    may = Rights(("/read", group_id(SUBSCRIPTION, "h")), ("/listKeys", group_id(SUBSCRIPTION, "h")))
    told = []
    for at in (there, absent):
        value = f"[{expression.format(at=at)}]"
        in_resource = order(web_pubsub("wps-one", tags={"x": f"[string({value[1:-1]})]"}))
        said = await refused_by_all(world, in_resource, may, Forbidden)
        kind = "object" if "listKeys" in expression else "string"
        done = await world.deploy(may=may, name="o", **output(value, kind))
        told.append(str((said, reason(done), done.outputs)).replace(at, "it"))
        assert await world.deployments.delete(SUBSCRIPTION, "g", "o")

    assert told[0] == told[1]


@pytest.mark.parametrize("of", ["nothing", "something"])
async def test_complete_deployment_over_the_first_resource_is_refused_before_it_begins(world: World, of: str) -> None:
    resources = [] if of == "nothing" else [web_pubsub("wps-new")]

    said = await refused_by_all(world, order(*resources, group=HOME_GROUP, complete=True), EVERYTHING, Invalid)

    assert "cannot be deleted" in said[0]
    assert (await world.deploy(group=HOME_GROUP)).state == "Succeeded"


async def test_complete_deployment_deletes_identities_that_the_template_has_not(world: World) -> None:
    """Those of the same group, after the resources that use them."""
    at = f"[resourceId('{IDENTITY}', 'one')]"
    await world.deploy(identity("one"), identity("two"), web_pubsub("wps-one", identity=assigned(at), dependsOn=[at]))
    elsewhere = f"{GROUP.replace('/g', '/h')}/providers/{IDENTITY}/three"
    await world.directory.create_identity(elsewhere, NOW)

    changes = await world.what_if(identity("two"), complete=True)
    done = await world.deploy(identity("two"), complete=True)

    assert [(change["changeType"], change["resourceId"].rpartition("/")[2]) for change in changes] == [
        ("NoChange", "two"),
        ("Delete", "wps-one"),
        ("Delete", "one"),
    ]
    assert done.state == "Succeeded"
    assert [step.kind for step in done.operations] == ["Create", "Delete", "Delete"]
    assert [app.name for app in world.directory.identities()] == ["three", "two"]


async def test_complete_deployment_deletes_no_identity_that_a_resource_elsewhere_has(world: World) -> None:
    one = f"{GROUP}/providers/{IDENTITY}/one"
    await world.directory.create_identity(one, NOW)
    body = {"location": "eastus", "identity": assigned(one)}
    await world.catalog.put_resource(SUBSCRIPTION, "h", "wps-else", body)
    await world.made("wps-one")

    said = await refused_by_all(world, order(web_pubsub("wps-one"), complete=True), EVERYTHING, Invalid)

    assert all("used by wps-else" in text for text in said)


async def test_complete_deployment_stops_at_an_identity_that_a_resource_of_it_keeps(world: World) -> None:
    one = f"{GROUP}/providers/{IDENTITY}/one"
    await world.directory.create_identity(one, NOW)
    content = web_pubsub("wps-one", identity=assigned(one))

    failed = reason(await world.deploy(content, complete=True))

    assert (failed["code"], failed["target"]) == ("Conflict", one)
    assert "used by wps-one" in failed["message"]
    assert (await world.deploy(web_pubsub("wps-one"), complete=True)).state == "Succeeded"
    assert world.directory.identities() == []


async def test_what_if_shows_what_becomes_of_an_identity(world: World) -> None:
    first, second = identity("one", tags={"a": "b"}), identity("one", tags={"a": "c"})
    assert [change["changeType"] for change in await world.what_if(first)] == ["Create"]
    await world.deploy(first)

    assert [change["changeType"] for change in await world.what_if(first)] == ["NoChange"]
    (change,) = await world.what_if(second)
    assert [(delta["path"], delta["before"], delta["after"]) for delta in change["delta"]] == [("tags.a", "b", "c")]


@pytest.mark.parametrize("given", [{"location": None}, {"tags": 7}, {"name": "x"}])
async def test_identity_that_cannot_be_is_refused_before_anything_is_done(world: World, given: Any) -> None:
    wanted = {name: value for name, value in {**identity("one"), **given}.items() if value is not None}

    await refused_by_all(world, order(web_pubsub("wps-one"), wanted), EVERYTHING, Invalid)


async def test_complete_deployment_takes_the_right_to_delete_before_it_begins(world: World) -> None:
    await world.made("wps-one")
    content = order(web_pubsub("wps-new"), complete=True)

    await refused_by_all(world, content, Rights((f"{TYPE}/delete", GROUP)), Forbidden)
    assert world.catalog.named("wps-new") is None

    done = await world.deployments.deploy(content, EVERYTHING)
    assert [(one.kind, one.name) for one in done.operations] == [("Create", "wps-new"), ("Delete", "wps-one")]
    assert world.catalog.named("wps-one") is None


# How much work it may be


# Of a budget of 32 million; it is worth something only when the resource is there to be asked.
COSTLY = f"[concat(reference('{{at}}', '{VERSION}').hostName, string(length(padLeft('x', 6000000))))]"


async def test_expressions_that_wait_for_a_resource_share_one_budget(world: World) -> None:
    await world.made("wps-one")
    value = COSTLY.format(at=resource_id(SUBSCRIPTION, "g", "wps-one"))
    hubs = [hub(f"wps-one/h{number}", x=value) for number in range(20)]
    await world.deployments.plan(order(hubs[0]), EVERYTHING)

    said = await refused_by_all(world, order(*hubs), EVERYTHING, TemplateFault)

    assert len(set(said)) == 1
    assert "too large to be evaluated" in said[0]


async def test_outputs_share_the_budget_of_the_resources(world: World) -> None:
    await world.made("wps-one")
    value = COSTLY.format(at=resource_id(SUBSCRIPTION, "g", "wps-one"))
    outputs = {f"o{number}": {"type": "string", "value": value} for number in range(20)}

    done = await world.deploy(outputs=outputs)

    assert reason(done)["code"] == "DeploymentOutputEvaluationFailed"
    assert "too large" in reason(done)["message"]
    assert done.outputs == {}


async def test_event_loop_goes_on_while_expressions_are_evaluated(world: World) -> None:
    """Who evaluates one waits here until the loop has had a turn, which it never would in the loop itself."""
    await world.made("wps-one")
    loop = asyncio.get_running_loop()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        turns += 1

    def may(action: str, scope: str) -> None:
        if action.endswith("/read"):
            asyncio.run_coroutine_threadsafe(turn(), loop).result(timeout=20)

    value = f"[reference('{resource_id(SUBSCRIPTION, 'g', 'wps-one')}', '{VERSION}').hostName]"
    content = order(hub("wps-one/chat", x=value), **output(value))

    await world.deployments.plan(content, may)
    assert turns == 1
    await world.deployments.what_if(content, may)
    assert turns == 3
    done = await world.deployments.deploy(content, may)
    assert turns == 6
    assert done.outputs["o"]["value"] == "wps-one.example"


# How it ends


def last_of(name: str) -> Callable[[Sequence[Change]], bool]:
    """The commit of how a deployment ended."""

    def is_it(changes: Sequence[Change]) -> bool:
        return any(
            change.kind == "deployment" and change.body is not None and change.body["state"] != "Running"
            for change in changes
            if change.key.endswith(f"/{name}")
        )

    return is_it


async def test_deployment_whose_end_cannot_be_stored_has_failed_and_can_be_made_again(world: World) -> None:
    world.store.fails = last_of("d")
    with pytest.raises(NotStored):
        await world.deploy(web_pubsub("wps-one"))

    found = world.deployments.find(SUBSCRIPTION, "g", "d")
    assert found is not None
    assert (found.state, found.error and found.error["code"]) == ("Failed", "DeploymentInterrupted")
    assert world.catalog.named("wps-one") is not None

    world.store.fails = lambda _: False
    assert (await world.deploy(web_pubsub("wps-one"))).state == "Succeeded"
    await world.start()
    found = world.deployments.find(SUBSCRIPTION, "g", "d")
    assert (found and found.state) == "Succeeded"


async def test_deployment_that_cannot_be_begun_is_not_there_and_can_be_made_again(world: World) -> None:
    world.store.fails = lambda changes: changes[-1].kind == "deployment"
    with pytest.raises(NotStored):
        await world.deploy(web_pubsub("wps-one"))
    assert world.deployments.find(SUBSCRIPTION, "g", "d") is None
    assert world.catalog.named("wps-one") is None

    world.store.fails = lambda _: False
    assert (await world.deploy(web_pubsub("wps-one"))).state == "Succeeded"


async def test_deployment_that_was_cut_off_has_failed_after_the_next_start(world: World) -> None:
    world.store.fails = last_of("d")
    with pytest.raises(NotStored):
        await world.deploy(web_pubsub("wps-one"))
    assert world.store.documents["deployment", f"{SUBSCRIPTION}/g/d"].body["state"] == "Running"

    world.store.fails = lambda _: False
    await world.start()

    (found,) = world.deployments.all_of(SUBSCRIPTION, "G")
    assert (found.state, found.error and found.error["code"]) == ("Failed", "DeploymentInterrupted")
    assert (await world.deploy(web_pubsub("wps-one"))).state == "Succeeded"


async def test_name_of_a_deployment_that_is_carried_out_is_taken_until_it_ends(world: World) -> None:
    world.store.passing.clear()
    first = asyncio.create_task(world.deploy(web_pubsub("wps-one"), name="one"))
    await asyncio.sleep(0)
    with pytest.raises(Active):
        await world.deploy(web_pubsub("wps-one"), name="ONE")
    other = asyncio.create_task(world.deploy(web_pubsub("wps-one"), name="two"))
    world.store.passing.set()

    assert [(await first).state, (await other).state] == ["Succeeded", "Succeeded"]
    assert (await world.deploy(web_pubsub("wps-one"), name="one")).state == "Succeeded"


async def test_name_of_a_deployment_that_was_refused_is_free(world: World) -> None:
    for _ in range(2):
        assert await codes(world.deploy(web_pubsub("a"))) == {"InvalidParameter"}


async def test_outputs_that_are_too_large_fail_the_deployment(world: World) -> None:
    for more, state in ((-100, "Succeeded"), (0, "Failed")):
        value = f"[padLeft('x', {256 * 1024 + more})]"
        done = await world.deploy(web_pubsub("wps-one"), **output(value))
        assert done.state == state

    assert reason(done)["code"] == "DeploymentOutputEvaluationFailed"
    assert "262144 bytes" in reason(done)["message"]
    assert done.outputs == {}
    assert [one.state for one in done.operations] == ["Succeeded"]


# What is kept


async def keep_many(world: World) -> list[str]:
    """What is left of 53 deployments of a group, the newest first."""
    await world.deploy(name="other", group="h")
    for number in range(53):
        world.now += 1
        await world.deploy(name=f"d{number}")
    return [found.name for found in world.deployments.all_of(SUBSCRIPTION, "g")]


async def test_oldest_deployments_of_a_group_go_from_memory_and_store(world: World) -> None:
    kept = await keep_many(world)

    assert len(kept) <= 50
    assert kept == [f"d{52 - back}" for back in range(len(kept))]
    stored = {key for kind, key in world.store.documents if kind == "deployment"}
    assert stored == {f"{SUBSCRIPTION}/g/{name}" for name in kept} | {f"{SUBSCRIPTION}/h/other"}


async def test_fifty_deployments_of_a_group_are_kept(world: World) -> None:
    assert len(await keep_many(world)) == 50


async def test_deployments_of_a_server_have_a_bound(world: World) -> None:
    await world.deploy(name="first")
    first = world.store.documents["deployment", f"{SUBSCRIPTION}/g/first"].body
    for number in range(1999):
        key = f"{SUBSCRIPTION}/h{number}/d"
        await world.store.commit([Change("deployment", key, {**first, "name": "d", "group": f"h{number}"})])
    await world.start()

    with pytest.raises(Conflict) as failed:
        await world.deploy(name="more")
    assert failed.value.target == "quota"
    assert (await world.deploy(name="FIRST")).state == "Succeeded"
    assert await world.deployments.delete(SUBSCRIPTION, "h0", "d")
    assert (await world.deploy(name="more")).state == "Succeeded"


async def test_deleted_group_takes_its_deployments_and_roles_along(world: World) -> None:
    await world.deploy(web_pubsub("wps-one"))
    await world.deploy(web_pubsub("wps-two"), group="g2")
    tenant = world.directory.tenant.tenant_id
    one, two = (world.catalog.policy(name).scope for name in ("wps-one", "wps-two"))
    principal = await world.principal()
    for scope in (one, two, GROUP, f"{GROUP}2", f"/subscriptions/{SUBSCRIPTION}", f"{one}/hubs/chat"):
        await world.directory.assign(tenant, principal, OWNER.id, scope)

    assert await world.catalog.delete_group(SUBSCRIPTION, "G")

    await world.start()
    left = {item.scope for item in world.directory.roles_of(tenant, principal)}
    assert left == {two, f"{GROUP}2", f"/subscriptions/{SUBSCRIPTION}"}
    assert world.deployments.find(SUBSCRIPTION, "g", "d") is None
    assert [found.group for found in world.deployments.all_of(SUBSCRIPTION, "g2")] == ["g2"]


async def test_group_that_is_deleted_in_the_middle_of_a_deployment_leaves_none(world: World) -> None:
    loop = asyncio.get_running_loop()
    deleted = []

    def may(action: str, scope: str) -> None:
        # The hub asks for the resource, beside the event loop: once while it is planned, once when it is its turn.
        if action.endswith("/read"):
            deleting = world.catalog.delete_group(SUBSCRIPTION, "g")
            deleted.append(asyncio.run_coroutine_threadsafe(deleting, loop).result(timeout=20))

    value = f"[reference(resourceId('{TYPE}', 'wps-one'), '{VERSION}').hostName]"
    await world.deployments.deploy(order(web_pubsub("wps-one"), hub("wps-one/chat", x=value)), may)

    if deleted != [False, True]:
        pytest.fail("the group was not deleted in the middle")
    assert world.catalog.group(SUBSCRIPTION, "g") is None
    assert world.deployments.all_of(SUBSCRIPTION, "g") == []


async def test_deleted_resource_takes_its_roles_along_and_leaves_deployments(world: World) -> None:
    """Neither by a request nor by a deployment does somebody inherit a name with the roles at it."""
    tenant, principal = world.directory.tenant.tenant_id, await world.principal()
    for way in ("request", "deployment"):
        await world.deploy(web_pubsub("wps-one"))
        for role in (OWNER, READER):
            await world.directory.assign(tenant, principal, role.id, f"{GROUP}/providers/{TYPE}/WPS-ONE")
        await world.directory.assign(tenant, principal, OWNER.id, f"{GROUP}/providers/{TYPE}/wps-one-two")

        if way == "request":
            assert await world.catalog.delete_resource(SUBSCRIPTION, "g", "wps-one")
        else:
            assert (await world.deploy(name="c", complete=True)).state == "Succeeded"

        (left,) = world.directory.roles_of(tenant, principal)
        assert left.scope.endswith("wps-one-two")
        assert world.deployments.find(SUBSCRIPTION, "g", "d") is not None


# What-if


@pytest.mark.parametrize(
    "given",
    [
        None,
        "[null()]",
        "[if(true(), null(), null())]",
        "[reference('wps-new', '2024-03-01', 'full').tags]",
        {"type": "UserAssigned", "userAssignedIdentities": "[reference('wps-new', '2024-03-01', 'full').tags]"},
        {"type": "UserAssigned", "userAssignedIdentities": {"[reference('wps-new', '2024-03-01').hostName]": {}}},
        {"type": "[reference('wps-new', '2024-03-01').kind]"},
        {"type": "None", "userAssignedIdentities": None},
    ],
)
@pytest.mark.parametrize("was", [None, {"type": "SystemAssigned"}])
async def test_what_if_takes_an_identity_that_is_null_or_not_known_yet(world: World, given: Any, was: Any) -> None:
    await world.catalog.put_resource(SUBSCRIPTION, "g", "wps-one", {"location": "eastus", "identity": was})

    changes = await world.what_if(web_pubsub("wps-new", tags={"a": "b"}), web_pubsub("wps-one", identity=given))

    kinds = {change["resourceId"].rpartition("/")[2]: change["changeType"] for change in changes}
    assert kinds.keys() == {"wps-new", "wps-one"}
    assert kinds["wps-new"] == "Create"
    assert kinds["wps-one"] in ("Modify", "NoChange")


async def test_role_assignment_is_made_once_and_changes_nothing_from_then_on(world: World) -> None:
    principal = await world.principal()
    content = role_assignment(principal.upper())
    at = f"{GROUP}/providers/{ASSIGNMENT}/{NAME}"
    (change,) = await world.what_if(content)
    assert (change["changeType"], change["resourceId"]) == ("Create", at)

    shown = output(f"[reference('{at}', '2022-04-01')]", "object")
    first = await world.deploy(content, **shown)
    assert first.outputs["o"]["value"] == {
        "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{OWNER.id}",
        "principalId": principal,
        "scope": GROUP,
    }
    (change,) = await world.what_if(content)
    assert (change["changeType"], "delta" in change) == ("NoChange", False)
    again = await world.deploy(content)
    assert [[one.is_new for one in done.operations] for done in (first, again)] == [[True], [False]]
    tenant = world.directory.tenant.tenant_id
    assert [item.id for item in world.directory.roles_of(tenant, principal)] == [NAME]


async def test_what_if_of_a_role_assignment_without_a_principal_whose_role_is_not_known_yet(world: World) -> None:
    content = role_assignment("x")
    content["properties"] = {"roleDefinitionId": f"[reference('wps-new', '{VERSION}').hostName]"}

    changes = await world.what_if(web_pubsub("wps-new"), content)

    assert [change["changeType"] for change in changes] == ["Create", "Create"]


async def test_role_that_is_assigned_under_another_name_is_new_to_nobody(world: World) -> None:
    """Either it is a conflict or it is there: not made again each time."""
    principal = await world.principal()
    await world.directory.assign(world.directory.tenant.tenant_id, principal, OWNER.id, GROUP)

    done = await world.deploy(role_assignment(principal))

    assert [one.is_new for one in done.operations] != [True]


@pytest.mark.parametrize("name", ["one", "7" * 32, NAME + "0", NAME.replace("7", "g", 1)])
async def test_name_of_a_role_assignment_is_a_guid(world: World, name: str) -> None:
    content = order(web_pubsub("wps-new"), role_assignment(await world.principal(), name=name))

    said = await refused_by_all(world, content, EVERYTHING, Invalid)

    assert "GUID" in said[0]


# What is written in several ways


async def test_region_and_sku_are_shown_as_azure_names_them(world: World) -> None:
    content = web_pubsub("wps-one", location="East US", sku={"NAME": "premium_p1", "Capacity": 2})
    assert (await world.deploy(content)).state == "Succeeded"

    found = world.catalog.named("wps-one")
    assert found is not None
    assert (found.location, found.sku["name"], found.sku["capacity"]) == ("eastus", "Premium_P1", 2)
    (change,) = await world.what_if(content)
    assert change["changeType"] == "NoChange"


async def test_group_that_a_deployment_makes_is_there_for_its_resources(world: World) -> None:
    await world.deploy(group="Group")
    assert world.catalog.group(SUBSCRIPTION, "group") == StoredGroup("Group", SUBSCRIPTION)

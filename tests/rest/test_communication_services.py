"""Communication services at the resource manager."""

import json
from typing import Any

import pytest

from auth.entra import ISSUER_URL, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key
from hubwire.auth.bearers import MANAGEMENT, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.managers import Managers
from hubwire.model.directory import Assignment
from hubwire.model.roles import CONTRIBUTOR, READER, RESOURCE_OWNER, RESOURCE_READER
from hubwire.model.telemetry import Telemetry
from hubwire.rest.communication_services import CommunicationServiceTable
from hubwire.rest.operation import RestApp
from resources.communicating import IDENTITY, Communicating
from resources.vaulting import GROUP, SUBSCRIPTION
from rest.asgi import FakePrincipals, Reply, request
from rest.managing import ISSUER, bearer

SERVICES = f"{GROUP}/providers/Microsoft.Communication/communicationServices"
ONE = f"{SERVICES}/acs-one"
FIRST = SERVICES.replace("/g/", "/hubwire/") + "/default"
EVERYWHERE = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Communication"
BODY: dict[str, Any] = {"location": "Global", "properties": {"dataLocation": "Europe"}}


class World(Communicating):
    """The table on services in memory, and a caller who has a role."""

    async def start(self) -> "World":
        await super().start()
        self.directory = InMemory()
        clock = Clock()
        foreign = ForeignKeys({(ISSUER_URL, "foreign-key"): rsa_key("foreign").public_key()})
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (), 0, clock, MANAGEMENT)
        managers = Managers(bearers, Failures(0), clock)
        self.app = RestApp(
            CommunicationServiceTable(self.services, managers).operations(),
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=(),
            max_message_bytes=1 << 20,
            idle_timeout_s=30.0,
            issuer_url=ISSUER,
            managers=managers,
        )
        return self

    def assign(self, role_id: str, scope: str = "/") -> None:
        self.directory.assignments.append(Assignment("id", TENANT.tenant_id, OBJECT_ID, role_id, scope))

    async def call(
        self, method: str, path: str, document: object = None, version: str | None = "2023-04-01", **more: Any
    ) -> Reply:
        query = "" if version is None else f"?api-version={version}"
        body = b"" if document is None else json.dumps(document).encode()
        headers = [("Authorization", bearer()), ("Content-Length", str(len(body)))]
        reply = await request(self.app, method, path + query, headers, (body,), **more)
        assert reply is not None
        return reply

    async def fault(self, method: str, path: str, document: object = None, **more: Any) -> tuple[int, str]:
        reply = await self.call(method, path, document, **more)
        return reply.status, reply.json["error"]["code"]


@pytest.fixture
async def world() -> World:
    made = await World().start()
    made.assign(RESOURCE_OWNER.id)
    return made


@pytest.mark.parametrize("version", ["2020-08-20", "2020-08-20-preview", "2023-03-31", "2023-04-01", "2026-03-18"])
async def test_service_is_made_shown_listed_and_deleted(world: World, version: str) -> None:
    made = await world.call("PUT", ONE, BODY, version)
    assert made.status == 201
    assert made.json["id"] == ONE
    assert made.json["properties"]["hostName"] == "acs-one.communication.localhost"
    assert "warning" not in made.headers
    assert (await world.call("PUT", ONE, BODY, version)).status == 200

    shown = (await world.call("GET", ONE.upper().replace("SUBSCRIPTIONS", "subscriptions"), None, version)).json
    assert shown == made.json
    assert (await world.call("GET", SERVICES, None, version)).json == {"value": [shown]}
    listed = (await world.call("GET", f"{EVERYWHERE}/communicationServices", None, version)).json["value"]
    assert [one["name"] for one in listed] == ["acs-one", "default"]

    assert (await world.call("DELETE", ONE, None, version)).status == 200
    assert (await world.call("DELETE", ONE, None, version)).status == 204
    assert await world.fault("GET", ONE, version=version) == (404, "ResourceNotFound")
    assert await world.fault("DELETE", FIRST, version=version) == (409, "Conflict")


@pytest.mark.parametrize("version", [None, "2023", "latest"])
async def test_version_is_demanded(world: World, version: str | None) -> None:
    assert (await world.fault("GET", ONE, version=version))[0] == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**BODY, "location": None}, "LocationRequired"),
        ({"location": "global"}, "InvalidParameter"),
        ({**BODY, "properties": {}}, "InvalidParameter"),
        ({**BODY, "properties": {"dataLocation": "Europe", "disableLocalAuth": 1}}, "InvalidParameter"),
        ({**BODY, "identity": {"type": "Other"}}, "InvalidParameter"),
        ({**BODY, "tags": 1}, "InvalidParameter"),
        ([], "InvalidRequestContent"),
    ],
)
async def test_service_that_cannot_be_is_refused(world: World, body: object, code: str) -> None:
    assert await world.fault("PUT", ONE, body) == (400, code)
    assert world.services.named("acs-one") is None


LONG = "x" * 20_000
NUMBERS: tuple[object, ...] = (7, -1, 1.5, True, 10**40)
NESTED: tuple[object, ...] = ([], [None], ["x"])


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("tags", wrong) for wrong in (*NUMBERS, *NESTED, "", "x", {"a": 1}, {"a": None}, {"a": LONG}, {"a": []})),
        *(("identity", wrong) for wrong in (*NUMBERS, *NESTED, "", "x", {"type": 7}, {"type": LONG})),
        *(("properties", wrong) for wrong in (*NUMBERS, *NESTED, "", "x")),
    ],
)
async def test_field_of_a_service_that_cannot_be_is_refused(
    world: World, method: str, field: str, wrong: object
) -> None:
    before = (await world.call("PUT", ONE, BODY)).json

    assert await world.fault(method, ONE, {**BODY, field: wrong}) == (400, "InvalidParameter")
    assert (await world.call("GET", ONE)).json == before


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("dataLocation", wrong) for wrong in (*NUMBERS, *NESTED, None, {}, "", "\0", LONG)),
        *(("publicNetworkAccess", wrong) for wrong in (*NUMBERS, *NESTED, {}, "", "x", LONG)),
        *(("disableLocalAuth", wrong) for wrong in (7, 1.5, *NESTED, {}, "", "true")),
        *(("linkedDomains", wrong) for wrong in (*NUMBERS, [None], [7], {}, "", "x")),
    ],
)
async def test_property_of_a_service_that_cannot_be_is_refused(
    world: World, method: str, name: str, wrong: object
) -> None:
    before = (await world.call("PUT", ONE, BODY)).json
    body = {**BODY, "properties": {**BODY["properties"], name: wrong}}

    assert await world.fault(method, ONE, body) == (400, "InvalidParameter")
    assert (await world.call("GET", ONE)).json == before


@pytest.mark.parametrize("location", [*NUMBERS, *NESTED, {}, LONG, "\0"])
async def test_location_of_a_service_that_is_none_is_refused(world: World, location: object) -> None:
    assert (await world.fault("PUT", ONE, {**BODY, "location": location}))[0] == 400
    assert world.services.named("acs-one") is None


@pytest.mark.parametrize("wrong", [*NUMBERS, *NESTED, {}, None, "", "x", LONG])
async def test_key_and_type_that_are_none_are_refused(world: World, wrong: object) -> None:
    await world.call("PUT", ONE, BODY)
    keys = (await world.call("POST", f"{ONE}/listKeys")).json

    assert await world.fault("POST", f"{ONE}/regenerateKey", {"keyType": wrong}) == (400, "InvalidParameter")
    check = f"{EVERYWHERE}/checkNameAvailability"
    assert await world.fault("POST", check, {"name": "a", "type": wrong}) == (400, "InvalidParameter")
    assert (await world.call("POST", f"{ONE}/listKeys")).json == keys


async def test_patch_changes_what_is_given(world: World) -> None:
    await world.call("PUT", ONE, BODY)

    patched = await world.call("PATCH", ONE, {"Tags": {"a": "b"}, "properties": {"disableLocalAuth": True}})

    assert patched.status == 200
    assert (patched.json["tags"], patched.json["properties"]["disableLocalAuth"]) == ({"a": "b"}, True)
    assert await world.fault("PATCH", f"{SERVICES}/other", {}) == (404, "ResourceNotFound")
    moved = {"properties": {"dataLocation": "Africa"}}
    assert await world.fault("PATCH", ONE, moved) == (409, "Conflict")
    assert await world.fault("PUT", ONE, {**BODY, "location": "eastus"}) == (409, "InvalidResourceLocation")


async def test_what_does_not_act_is_told_in_a_header(world: World) -> None:
    made = await world.call("PUT", ONE, {**BODY, "location": "eastus", "identity": {"type": "SystemAssigned"}})

    assert made.status == 201
    assert "global" in made.headers["warning"]
    assert "identity" in made.headers["warning"]


async def test_keys_are_listed_and_made_anew(world: World) -> None:
    await world.call("PUT", ONE, BODY)
    keys = (await world.call("POST", f"{ONE}/listKeys")).json

    host = "acs-one.communication.localhost"
    assert keys["primaryConnectionString"] == f"endpoint=https://{host}/;accesskey={keys['primaryKey']}"
    assert keys["secondaryConnectionString"] == f"endpoint=https://{host}/;accesskey={keys['secondaryKey']}"
    fresh = (await world.call("POST", f"{ONE}/regenerateKey", {"keyType": "PRIMARY"})).json
    assert fresh["primaryKey"] != keys["primaryKey"]
    assert fresh["secondaryKey"] == keys["secondaryKey"]
    assert (await world.call("POST", f"{ONE}/listkeys")).json == fresh
    for body in ({"keyType": "salt"}, {"keyType": None}, {}):
        assert await world.fault("POST", f"{ONE}/regenerateKey", body) == (400, "InvalidParameter")
    assert await world.fault("POST", f"{SERVICES}/other/listKeys") == (404, "ResourceNotFound")
    assert (await world.call("POST", f"{FIRST}/listKeys")).status == 200


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        ("free", "Microsoft.Communication/communicationServices", (True, None)),
        ("DEFAULT", "microsoft.communication/CommunicationServices", (False, "AlreadyExists")),
        ("a.b", "Microsoft.Communication/CommunicationServices", (False, "Invalid")),
    ],
)
async def test_name_is_checked(world: World, name: str, kind: str, answer: tuple[bool, str | None]) -> None:
    found = (await world.call("POST", f"{EVERYWHERE}/checkNameAvailability", {"name": name, "type": kind})).json

    assert (found["nameAvailable"], found.get("reason")) == answer


@pytest.mark.parametrize("body", [{"name": "a"}, {"name": "a", "type": "Microsoft.KeyVault/vaults"}, {"type": "x"}])
async def test_name_of_something_else_is_not_checked(world: World, body: object) -> None:
    assert (await world.fault("POST", f"{EVERYWHERE}/checkNameAvailability", body))[0] == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{ONE}/linkNotificationHub"),
        ("GET", f"{ONE}/smtpUsernames"),
        ("PUT", f"{ONE}/smtpUsernames/x"),
        ("GET", f"{GROUP}/providers/Microsoft.Communication/emailServices/mail"),
        ("PUT", f"{GROUP}/providers/Microsoft.Communication/emailServices/mail"),
    ],
)
async def test_what_is_not_there_is_told_by_name(world: World, method: str, path: str) -> None:
    await world.call("PUT", ONE, BODY)

    assert await world.fault(method, path, {}) == (501, "FeatureNotAvailable")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_linked_domain_is_not_available_and_an_empty_list_is_fine(world: World, method: str) -> None:
    await world.call("PUT", ONE, BODY)
    properties = {"dataLocation": "Europe", "linkedDomains": ["/subscriptions/s/domains/d"]}

    assert await world.fault(method, ONE, {**BODY, "properties": properties}) == (501, "FeatureNotAvailable")
    properties["linkedDomains"] = []
    assert (await world.call(method, ONE, {**BODY, "properties": properties})).status == 200


async def test_operations_are_the_actions_of_the_table(world: World) -> None:
    names = [
        one["name"] for one in (await world.call("GET", "/providers/Microsoft.Communication/operations")).json["value"]
    ]

    kind = "Microsoft.Communication/communicationServices"
    assert names == [
        "Microsoft.Communication/checkNameAvailability/read",
        *(f"{kind}/{verb}" for verb in ("delete", "listKeys/action", "read", "regenerateKey/action", "write")),
    ]


async def test_lists_show_what_one_may_read(world: World) -> None:
    await world.call("PUT", ONE, BODY)
    await world.call("PUT", f"{SERVICES}/acs-two", BODY)
    world.directory.assignments.clear()
    world.assign(RESOURCE_READER.id, ONE)

    listed = (await world.call("GET", f"{EVERYWHERE}/communicationServices")).json["value"]

    assert [one["name"] for one in listed] == ["acs-one"]
    assert (await world.call("GET", ONE)).status == 200
    for method, path in (("GET", SERVICES), ("GET", f"{SERVICES}/acs-two"), ("POST", f"{ONE}/listKeys")):
        assert await world.fault(method, path) == (403, "AuthorizationFailed")
    for method in ("PUT", "PATCH", "DELETE"):
        assert await world.fault(method, ONE, BODY) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(("role", "status"), [(CONTRIBUTOR.id, 201), (READER.id, 403)])
async def test_roles_of_the_resource_manager_count(world: World, role: str, status: int) -> None:
    world.directory.assignments.clear()
    world.assign(role)

    assert (await world.call("PUT", ONE, BODY)).status == status


async def test_identity_is_given_by_who_may_use_it(world: World) -> None:
    body = {**BODY, "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}}
    world.directory.assignments.clear()
    world.assign(RESOURCE_OWNER.id, SERVICES)

    assert await world.fault("PUT", ONE, body) == (403, "AuthorizationFailed")
    world.assign(CONTRIBUTOR.id, IDENTITY)
    assert (await world.call("PUT", ONE, body)).status == 201

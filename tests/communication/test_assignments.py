"""Who may exchange tokens, as it is kept."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from communication.world import OTHER, SERVICE
from hubwire.adapters.store_sql import open_store
from hubwire.communication.assignments import Assignments, EntraAssignment, TeamsAssignment
from hubwire.model.errors import BadRequest, NotFound

TENANT = "11111111-aaaa-4000-8000-000000000001"
USER = "55555555-aaaa-4000-8000-00000000000b"
GROUP = "77777777-aaaa-4000-8000-00000000000d"
APP = "44444444-aaaa-4000-8000-00000000000a"
APP_2 = "44444444-aaaa-4000-8000-00000000000b"
BODY: dict[str, Any] = {"tenantId": TENANT, "principalType": "user", "clientIds": [APP]}
MADE = EntraAssignment(USER, TENANT, "user", (APP,))


@pytest.fixture
async def assignments(tmp_path: Path) -> AsyncIterator[Assignments]:
    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    yield Assignments(store)
    await store.close()


async def test_assignment_is_made_replaced_and_deleted(assignments: Assignments) -> None:
    assert await assignments.put_entra(SERVICE, USER, BODY) == (MADE, True)
    assert await assignments.entra(SERVICE, USER) == MADE

    other = EntraAssignment(USER, TENANT, "group", ())
    assert await assignments.put_entra(SERVICE, USER, {**BODY, "principalType": "group", "clientIds": []}) == (
        other,
        False,
    )
    assert await assignments.entra(SERVICE, USER) == other

    await assignments.delete_entra(SERVICE, USER)
    await assignments.delete_entra(SERVICE, USER)
    with pytest.raises(NotFound):
        await assignments.entra(SERVICE, USER)


async def test_ids_are_kept_in_lower_case_and_each_once(assignments: Assignments) -> None:
    body = {"tenantId": TENANT.upper(), "principalType": "user", "clientIds": [APP.upper(), APP]}

    assert await assignments.put_entra(SERVICE, USER.upper(), body) == (MADE, True)
    assert await assignments.entra(SERVICE, USER.upper()) == MADE


async def test_assignments_are_of_one_service(assignments: Assignments) -> None:
    await assignments.put_entra(SERVICE, USER, BODY)

    with pytest.raises(NotFound):
        await assignments.entra(OTHER, USER)
    assert await assignments.list_entra(OTHER, None, 10) == []
    await assignments.delete_entra(OTHER, USER)
    assert await assignments.entra(SERVICE, USER) == MADE


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"tenantId": None}, "tenantId"),
        ({"tenantId": "no GUID"}, "tenantId"),
        ({"tenantId": 1}, "tenantId"),
        ({"principalType": None}, "principalType"),
        ({"principalType": "User"}, "principalType"),
        ({"principalType": ["user"]}, "principalType"),
        ({"principalType": "resourceAccount"}, "principalType"),
        ({"principalType": "tenant"}, "tenantId"),
        ({"clientIds": None}, "clientIds"),
        ({"clientIds": APP}, "clientIds"),
        ({"clientIds": {APP: 1}}, "clientIds"),
        ({"clientIds": [1]}, "clientIds"),
        ({"clientIds": ["no GUID"]}, "clientIds"),
        ({"clientIds": [APP] * 101}, "clientIds"),
    ],
)
async def test_field_that_is_missing_or_malformed_is_named(
    assignments: Assignments, changes: dict[str, Any], target: str
) -> None:
    body = {**BODY, **changes}

    for call in (
        assignments.put_entra(SERVICE, USER, body),
        assignments.patch_entra(SERVICE, {GROUP: {**BODY, "principalType": "group"}, USER: body}),
    ):
        with pytest.raises(BadRequest) as error:
            await call
        assert error.value.target == target
    assert await assignments.list_entra(SERVICE, None, 10) == [], "all or none"


@pytest.mark.parametrize("object_id", ["", "no GUID", f"{USER}/", f"{USER} "])
async def test_object_id_has_to_be_one(assignments: Assignments, object_id: str) -> None:
    for call in (
        assignments.put_entra(SERVICE, object_id, BODY),
        assignments.entra(SERVICE, object_id),
        assignments.delete_entra(SERVICE, object_id),
        assignments.patch_entra(SERVICE, {object_id: BODY}),
        assignments.put_teams(SERVICE, TENANT, object_id, BODY),
        assignments.teams(SERVICE, TENANT, object_id),
        assignments.delete_teams(SERVICE, TENANT, object_id),
    ):
        with pytest.raises(BadRequest) as error:
            await call
        assert error.value.target == "objectId"


async def test_assignments_are_listed_page_by_page(assignments: Assignments) -> None:
    ids = [f"{number:08}-aaaa-4000-8000-000000000000" for number in range(7)]
    for object_id in reversed(ids):
        await assignments.put_entra(SERVICE, object_id, BODY)

    found: list[str] = []
    while page := await assignments.list_entra(SERVICE, found[-1] if found else None, 3):
        found += [item.object_id for item in page]

    assert found == ids


async def test_patch_merges_makes_and_deletes_at_once(assignments: Assignments) -> None:
    await assignments.put_entra(SERVICE, USER, BODY)
    await assignments.put_entra(SERVICE, APP, BODY)

    await assignments.patch_entra(
        SERVICE,
        {
            USER: {"clientIds": [APP_2]},
            APP: None,
            APP_2: None,
            GROUP: {**BODY, "principalType": "group"},
        },
    )

    assert await assignments.list_entra(SERVICE, None, 10) == [
        EntraAssignment(USER, TENANT, "user", (APP_2,)),
        EntraAssignment(GROUP, TENANT, "group", (APP,)),
    ]


@pytest.mark.parametrize(
    "changes", [{USER: 1}, {USER: [BODY]}, {USER: {"clientIds": [APP]}}, {USER: BODY, USER.upper(): None}]
)
async def test_patch_that_is_malformed_changes_nothing(assignments: Assignments, changes: dict[str, Any]) -> None:
    """Such as one that says less than all of what is not there yet, or the same id in two spellings."""
    with pytest.raises(BadRequest):
        await assignments.patch_entra(SERVICE, {GROUP: {**BODY, "principalType": "group"}, **changes})
    assert await assignments.list_entra(SERVICE, None, 10) == []


async def test_patch_of_too_many_is_refused(assignments: Assignments) -> None:
    with pytest.raises(BadRequest):
        await assignments.patch_entra(SERVICE, {f"{n:08}-aaaa-4000-8000-000000000000": None for n in range(1001)})


async def test_patches_at_once_lose_nothing(assignments: Assignments) -> None:
    """Each changes another part of the same assignment."""
    await assignments.put_entra(SERVICE, USER, BODY)

    await asyncio.gather(
        assignments.patch_entra(SERVICE, {USER: {"clientIds": [APP_2]}}),
        assignments.patch_entra(SERVICE, {USER: {"principalType": "group"}}),
        *(assignments.patch_entra(SERVICE, {GROUP: BODY}) for _ in range(20)),
    )

    assert await assignments.entra(SERVICE, USER) == EntraAssignment(USER, TENANT, "group", (APP_2,))


async def test_puts_at_once_make_one(assignments: Assignments) -> None:
    results = await asyncio.gather(*(assignments.put_entra(SERVICE, USER, BODY) for _ in range(20)))

    assert [made for _, made in results].count(True) == 1


async def test_assignment_of_teams_is_made_replaced_and_deleted(assignments: Assignments) -> None:
    body = {"principalType": "resourceAccount", "clientIds": [APP.upper()]}
    made = TeamsAssignment(USER, TENANT, "resourceAccount", (APP,))
    assert await assignments.put_teams(SERVICE, TENANT.upper(), USER.upper(), body) == (made, True)
    assert await assignments.teams(SERVICE, TENANT, USER) == made

    other = TeamsAssignment(USER, TENANT, "user")
    assert await assignments.put_teams(SERVICE, TENANT, USER, {"principalType": "user"}) == (other, False)
    assert await assignments.teams(SERVICE, TENANT, USER) == other
    for service, tenant in ((OTHER, TENANT), (SERVICE, GROUP)):
        with pytest.raises(NotFound):
            await assignments.teams(service, tenant, USER)

    await assignments.delete_teams(SERVICE, TENANT, USER)
    await assignments.delete_teams(SERVICE, TENANT, USER)
    with pytest.raises(NotFound):
        await assignments.teams(SERVICE, TENANT, USER)


@pytest.mark.parametrize(
    ("tenant", "body", "target"),
    [
        ("no GUID", {"principalType": "user"}, "tenantId"),
        (TENANT, {}, "principalType"),
        (TENANT, {"principalType": "group"}, "principalType"),
        (TENANT, {"principalType": "user", "clientIds": "all"}, "clientIds"),
    ],
)
async def test_field_of_a_teams_assignment_is_named(
    assignments: Assignments, tenant: str, body: dict[str, Any], target: str
) -> None:
    with pytest.raises(BadRequest) as error:
        await assignments.put_teams(SERVICE, tenant, USER, body)
    assert error.value.target == target

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from hubwire.adapters.store_sql import open_store
from hubwire.model.directory import (
    Application,
    Assignment,
    ClientCertificate,
    FederatedCredential,
    Tenant,
    TokenKey,
    User,
    secret_digest,
)
from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, StartFailed
from hubwire.model.ports import Change, Document, Store
from hubwire.model.roles import OWNER, READER, RESOURCE_OWNER
from hubwire.resources.directory import ACTIVE_DAYS, Directory

NOW = 1_800_000_000
DAY_S = 24 * 3600
KINDS = ("tenant", "application", "roleAssignment", "user", "tokenKey")
CERTIFICATE = ClientCertificate("AB" * 20, "MIIB", NOW, NOW + DAY_S)
FEDERATED = FederatedCredential("https://issuer.example", "subject", "audience")
SOMEBODY = "99999999-aaaa-4000-8000-000000000009"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


@pytest.fixture
async def directory(store: Store) -> Directory:
    return await load(store)


class Maker:
    """Makes what stands for a key: the directory only keeps them."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, active_from: int) -> TokenKey:
        number = next(self._numbers)
        return TokenKey(f"certificate {number}", f"private key {number}", NOW, active_from)


async def load(store: Store, now: float = NOW, make: Callable[[int], TokenKey] | None = None) -> Directory:
    return await Directory.load(store, make or Maker(), now)


class Full:
    """A store behind a store, to which nothing can be written once it is full."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = True

    async def get(self, kind: str, key: str) -> Document | None:
        return await self._store.get(kind, key)

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        return await self._store.list(kind, prefix, after, limit)

    async def commit(self, changes: Sequence[Change]) -> None:
        if self.full:
            raise NotStored("the disk is full")
        await self._store.commit(changes)

    async def close(self) -> None:
        await self._store.close()


async def everything(store: Store) -> dict[str, dict[str, object]]:
    """All documents, by kind and key."""
    return {
        kind: {document.key: document.body for document in await store.list(kind, "", None, 1000)} for kind in KINDS
    }


def held(directory: Directory) -> tuple[object, ...]:
    """Whatever is in memory."""
    return (
        directory.tenant,
        directory.applications(),
        directory.assignments(),
        directory.users(),
        directory.token_keys(),
        [directory.roles_of(item.tenant, item.principal_id) for item in directory.assignments()],
    )


def active(directory: Directory) -> list[float]:
    """When each published key begins to sign, in days from the first start."""
    return [(key.active_from - NOW) / DAY_S for key in directory.token_keys()]


# First and later starts


async def test_first_start_makes_a_tenant_with_two_principals(directory: Directory) -> None:
    tenant = directory.tenant

    assert len({str(UUID(text)) for text in (tenant.tenant_id, tenant.subscription_id)}) == 2
    assert tenant.domain == "hubwire.localhost"
    assert len(tenant.identity_header) == 43
    machine, development = sorted(directory.applications(), key=lambda app: app.kind, reverse=True)
    assert (development.kind, development.app_id) == ("application", tenant.development_app)
    assert (machine.kind, machine.secrets, machine.certificates) == ("systemAssigned", (), ())
    assert machine.resource_id.startswith(f"/subscriptions/{tenant.subscription_id}/resourcegroups/hubwire/")
    assert directory.identity(None) == machine
    assert directory.users() == []


async def test_first_principals_own_everything(directory: Directory) -> None:
    tenant = directory.tenant

    for app in directory.applications():
        roles = directory.roles_of(tenant.tenant_id, app.object_id)
        assert {(role.role_id, role.scope) for role in roles} == {(OWNER.id, "/"), (RESOURCE_OWNER.id, "/")}
    assert len(directory.assignments()) == 4


async def test_first_principal_has_a_secret_that_is_told_at_each_start(store: Store, directory: Directory) -> None:
    told = directory.development_secret()

    assert told == directory.tenant.development_secret
    app = directory.application(directory.tenant.development_app)
    assert told is not None
    assert app is not None
    (secret,) = app.secrets
    assert (secret.digest, secret.hint) == (secret_digest(told), told[:7])
    assert secret.expires_at > NOW + 50 * 365 * DAY_S
    assert (await load(store)).development_secret() == told


async def test_first_start_makes_one_key_that_signs_and_one_that_will(directory: Directory) -> None:
    assert active(directory) == [0, ACTIVE_DAYS]
    assert [key.certificate for key in directory.token_keys()] == ["certificate 0", "certificate 1"]


async def test_later_start_finds_all_that_there_was(store: Store) -> None:
    before = await load(store)
    app = await before.create("app", NOW, id_uris=["api://app"], token_version=2)
    await before.add_secret(app.app_id, NOW)
    await before.add_certificate(app.app_id, CERTIFICATE)
    await before.add_federated(app.app_id, FEDERATED)
    await before.create("identity", NOW, managed=True)
    await before.assign(before.tenant.tenant_id, app.object_id, READER.id, "/")
    await before.create_user("alice", NOW, password="secret")
    await before.rotate_keys(NOW + DAY_S)

    after = await load(store, NOW + 2 * DAY_S)

    assert held(after) == held(before)


async def test_keys_are_stored_before_anybody_hears_of_them(store: Store) -> None:
    first = await load(store)

    assert held(await load(store)) == held(first)


async def test_two_first_starts_at_once_end_with_the_same_tenant(store: Store) -> None:
    directories = await asyncio.gather(*(load(store) for _ in range(5)))

    assert all(held(directory) == held(directories[0]) for directory in directories)
    assert {kind: len(found) for kind, found in (await everything(store)).items()} == {
        "tenant": 1,
        "application": 2,
        "roleAssignment": 4,
        "user": 0,
        "tokenKey": 2,
    }


async def test_start_on_a_store_that_another_process_just_filled_takes_what_is_there(store: Store) -> None:
    other: list[Directory] = []

    class Slow(Full):
        """Somebody else is faster between the look and the first commit."""

        async def commit(self, changes: Sequence[Change]) -> None:
            if not other:
                other.append(await load(store))
            await store.commit(changes)

    mine = await load(Slow(store))

    assert held(mine) == held(other[0])


async def test_two_servers_never_have_the_same_secrets(tmp_path: Path) -> None:
    tenants = []
    for number in range(2):
        store = await open_store(f"sqlite:///{tmp_path}/{number}.db")
        tenants.append((await load(store)).tenant)
        await store.close()

    first, second = (set(msgspec.structs.astuple(tenant)) - {"hubwire.localhost"} for tenant in tenants)
    assert not first & second


async def test_every_secret_comes_from_the_random_source(store: Store) -> None:
    numbers = itertools.count(1)
    directory = await Directory.load(store, Maker(), NOW, lambda size: bytes([next(numbers)]) * size)

    assert directory.tenant.subscription_id == "01010101-0101-4101-8101-010101010101"
    assert directory.tenant.development_secret == "hws~" + "AgIC" * 10
    app = await directory.create("app", NOW)
    _, text = await directory.add_secret(app.app_id, NOW)
    assert len(set(text.removeprefix("hws~"))) == 4


async def test_first_start_that_cannot_store_says_why(store: Store) -> None:
    with pytest.raises(StartFailed, match="cannot store the first principals: the disk is full"):
        await load(Full(store))

    assert all(not found for found in (await everything(store)).values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [{}, {"tenant_id": 7}, {"app_id": None}, {"id": []}])
async def test_damaged_document_stops_the_start_and_is_named(store: Store, kind: str, body: dict[str, object]) -> None:
    await load(store)
    key = "local" if kind == "tenant" else "damaged"
    await store.commit([Change(kind, key, body)])

    with pytest.raises(StartFailed, match=rf"^the stored {kind} {key} is damaged$"):
        await load(store)


async def test_nothing_that_is_secret_shows_when_it_is_printed(directory: Directory) -> None:
    app = await directory.create("app", NOW)
    secret, text = await directory.add_secret(app.app_id, NOW)
    user = await directory.create_user("alice", NOW, password="pass phrase")

    shown = repr((directory.tenant, directory.token_keys(), directory.applications(), secret, user))

    hidden = (directory.tenant.development_secret, directory.tenant.identity_header, text, secret.digest)
    assert not any(one in shown for one in (*hidden, user.password, "private key"))


# Applications


async def test_application_is_found_by_whatever_it_is_called(directory: Directory) -> None:
    app = await directory.create("My App", NOW + 0.5, id_uris=["api://one", "https://two.example/x"])

    assert app == Application(app.app_id, app.object_id, "My App", NOW, id_uris=("api://one", "https://two.example/x"))
    for text in (app.app_id, app.app_id.upper(), f" {app.app_id} ", app.object_id, app.object_id.upper()):
        assert directory.find(text) == app
    for text in ("My App", " My App ", "api://one", "https://two.example/x"):
        assert directory.find(text) == app
    assert directory.application(app.app_id.upper()) == app
    assert app in directory.applications()


@pytest.mark.parametrize("text", ["", "unknown", "my app", "API://one", SOMEBODY])
async def test_application_that_is_not_there_is_not_found(directory: Directory, text: str) -> None:
    await directory.create("My App", NOW, id_uris=["api://one"])

    with pytest.raises(NotFound):
        directory.find(text)
    assert directory.application(text) is None


async def test_application_without_a_name_is_called_by_its_id(directory: Directory) -> None:
    app = await directory.create("", NOW)

    assert app.name == f"app-{app.app_id[:8]}"


async def test_name_has_no_space_around_it(directory: Directory) -> None:
    """Or it could not be found by it."""
    app = await directory.create(" spaced ", NOW)
    user = await directory.create_user(" alice ", NOW)

    assert directory.find("spaced") == directory.find(" spaced ") == app
    assert directory.user("alice") == directory.user(" alice ") == user
    with pytest.raises(Conflict):
        await directory.create_user("alice", NOW)


async def test_two_applications_may_have_one_name_and_are_told_apart_by_id(directory: Directory) -> None:
    first, second = await directory.create("same", NOW), await directory.create("same", NOW)

    with pytest.raises(Conflict, match="use a client id"):
        directory.find("same")
    assert (directory.find(first.app_id), directory.find(second.app_id)) == (first, second)


async def test_applications_are_listed_by_name(directory: Directory) -> None:
    for name in ("b", "C", "a"):
        await directory.create(name, NOW)

    names = [app.name for app in directory.applications()]

    assert names == ["a", "b", "C", "hubwire-development", "hubwire-machine"]


async def test_resource_is_found_by_uri_and_by_id(directory: Directory) -> None:
    app = await directory.create("api", NOW, id_uris=["api://chat", "https://chat.example/api"])

    for uri in ("api://chat", "api://chat/", "https://chat.example/api//", app.app_id, app.app_id.upper()):
        assert directory.resource(uri) == app
    assert directory.resource(f"api://{app.app_id}") == app
    for uri in ("", "/", "api://", "api://other", "https://chat.example", app.object_id, "api"):
        assert directory.resource(uri) is None


async def test_managed_identity_is_no_resource(directory: Directory) -> None:
    identity = await directory.create("identity", NOW, managed=True)

    assert directory.resource(identity.app_id) is None


async def test_uri_of_another_application_is_refused(directory: Directory) -> None:
    first = await directory.create("first", NOW, id_uris=["api://chat"])
    before = held(directory)

    for uris in (["api://chat"], ["api://new", "api://chat"], ["api://chat/"], [f"api://{first.app_id}"]):
        with pytest.raises(Conflict) as refused:
            await directory.create("second", NOW, id_uris=uris)
        assert refused.value.target == "idUri"
    assert held(directory) == before


async def test_one_of_two_that_want_the_same_uri_at_once_gets_it(directory: Directory) -> None:
    wanted = [directory.create(f"app {number}", NOW, id_uris=["api://chat"]) for number in range(5)]

    made = await asyncio.gather(*wanted, return_exceptions=True)

    assert [type(one) for one in made].count(Conflict) == 4
    assert len(directory.applications()) == 3


async def test_deleted_application_is_gone_with_its_roles(store: Store, directory: Directory) -> None:
    app = await directory.create("app", NOW, id_uris=["api://app"])
    await directory.assign(directory.tenant.tenant_id, app.object_id, OWNER.id, "/")
    assert directory.roles_of(directory.tenant.tenant_id, app.object_id)

    await directory.delete(app.app_id.upper())

    for after in (directory, await load(store)):
        assert after.application(app.app_id) is None
        assert after.resource("api://app") is None
        assert after.roles_of(directory.tenant.tenant_id, app.object_id) == ()
        assert len(after.assignments()) == 4
    with pytest.raises(NotFound):
        await directory.delete(app.app_id)
    assert (await directory.create("app", NOW, id_uris=["api://app"])).id_uris == ("api://app",)


async def test_identity_of_the_machine_cannot_be_deleted(directory: Directory) -> None:
    machine = directory.identity(None)
    assert machine is not None

    with pytest.raises(Conflict):
        await directory.delete(machine.app_id)
    assert directory.identity(None) == machine


async def test_first_principal_that_is_deleted_stays_away(store: Store, directory: Directory) -> None:
    await directory.delete(directory.tenant.development_app)

    for after in (directory, await load(store)):
        assert after.development_secret() is None
        assert len(after.applications()) == 1


# Managed identities


async def test_managed_identity_is_selected_by_each_of_its_ids(directory: Directory) -> None:
    machine = directory.identity(None)
    identity = await directory.create("Chat", NOW, managed=True)

    assert (identity.kind, identity.secrets) == ("userAssigned", ())
    assert identity.resource_id == (
        f"/subscriptions/{directory.tenant.subscription_id}/resourcegroups/hubwire/providers/"
        "Microsoft.ManagedIdentity/userAssignedIdentities/Chat"
    )
    for selector in (identity.app_id, identity.object_id, identity.resource_id):
        assert directory.identity(selector) == directory.identity(selector.upper()) == identity
    assert machine is not None
    for selector in (machine.app_id, machine.object_id, machine.resource_id):
        assert directory.identity(selector) == machine
    assert directory.identity(None) == machine


async def test_application_is_no_managed_identity(directory: Directory) -> None:
    app = await directory.create("app", NOW)

    for selector in (app.app_id, app.object_id, "", "unknown"):
        assert directory.identity(selector) is None


async def test_two_managed_identities_cannot_have_one_name(directory: Directory) -> None:
    await directory.create("chat", NOW, managed=True)

    for name in ("chat", "CHAT"):
        with pytest.raises(Conflict) as refused:
            await directory.create(name, NOW, managed=True)
        assert refused.value.target == "name"
    assert (await directory.create("chat", NOW)).kind == "application"


async def test_managed_identity_has_no_credentials(directory: Directory) -> None:
    machine = directory.identity(None)
    assert machine is not None
    identity = await directory.create("chat", NOW, managed=True)

    for app in (machine, identity):
        for change in (
            directory.add_secret(app.app_id, NOW),
            directory.add_certificate(app.app_id, CERTIFICATE),
            directory.add_federated(app.app_id, FEDERATED),
        ):
            with pytest.raises(BadRequest):
                await change
        assert directory.application(app.app_id) == app


# Credentials


async def test_secret_is_told_once_and_only_its_digest_is_kept(store: Store, directory: Directory) -> None:
    app = await directory.create("app", NOW)

    secret, text = await directory.add_secret(app.app_id, NOW + 0.5, 10)

    assert text.startswith("hws~")
    assert len(text) == 44
    assert (secret.digest, secret.hint) == (secret_digest(text), text[:7])
    assert (secret.created_at, secret.expires_at) == (NOW, NOW + 10 * DAY_S)
    assert directory.find(app.app_id).secrets == (secret,)
    assert text not in json.dumps(await everything(store))


async def test_only_the_first_secret_is_stored_in_the_clear(store: Store, directory: Directory) -> None:
    """And nowhere but in the tenant, because the server tells it at each start."""
    secret = directory.tenant.development_secret
    found = [kind for kind, documents in (await everything(store)).items() if secret in json.dumps(documents)]

    assert found == ["tenant"]


async def test_secrets_add_up_and_each_can_be_removed(store: Store, directory: Directory) -> None:
    app = await directory.create("app", NOW)
    first, _ = await directory.add_secret(app.app_id, NOW)
    second, _ = await directory.add_secret(app.app_id, NOW)
    assert directory.find(app.app_id).secrets == (first, second)

    left = await directory.remove_credential(app.app_id, f" {first.id.upper()} ")

    assert left.secrets == (second,)
    assert directory.find(app.app_id) == (await load(store)).find(app.app_id) == left


async def test_removed_development_secret_is_told_no_more(directory: Directory) -> None:
    app = directory.find(directory.tenant.development_app)
    await directory.add_secret(app.app_id, NOW)

    await directory.remove_credential(app.app_id, app.secrets[0].id)

    assert directory.development_secret() is None


async def test_certificate_is_kept_once_and_removed_by_its_thumbprint(directory: Directory) -> None:
    app = await directory.create("app", NOW)
    for _ in range(2):
        app = await directory.add_certificate(app.app_id, CERTIFICATE)
        assert app.certificates == directory.find(app.app_id).certificates == (CERTIFICATE,)
    spelled = ":".join(["ab"] * 20)

    app = await directory.remove_credential(app.app_id, spelled)

    assert app.certificates == directory.find(app.app_id).certificates == ()


async def test_federated_credential_is_kept_once_and_removed_by_its_subject(directory: Directory) -> None:
    app = await directory.create("app", NOW)
    other = replace(FEDERATED, subject="Subject")
    for one in (FEDERATED, FEDERATED, other):
        app = await directory.add_federated(app.app_id, one)
    assert app.federated == directory.find(app.app_id).federated == (FEDERATED, other)

    app = await directory.remove_credential(app.app_id, "subject")

    assert app.federated == directory.find(app.app_id).federated == (other,)


async def test_credential_that_is_not_there_is_not_found(directory: Directory) -> None:
    app = await directory.create("app", NOW)
    await directory.add_secret(app.app_id, NOW)

    for credential in ("", "unknown", CERTIFICATE.thumbprint, SOMEBODY):
        with pytest.raises(NotFound):
            await directory.remove_credential(app.app_id, credential)


async def test_unknown_application_gets_no_credentials(directory: Directory) -> None:
    changes: tuple[Awaitable[object], ...] = (
        directory.add_secret(SOMEBODY, NOW),
        directory.add_certificate(SOMEBODY, CERTIFICATE),
        directory.add_federated(SOMEBODY, FEDERATED),
        directory.remove_credential(SOMEBODY, "x"),
        directory.delete(SOMEBODY),
    )
    for change in changes:
        with pytest.raises(NotFound):
            await change


async def test_application_has_at_most_fifty_credentials(directory: Directory) -> None:
    app = await directory.create("app", NOW)
    app = await directory.add_certificate(app.app_id, CERTIFICATE)
    app = await directory.add_federated(app.app_id, FEDERATED)
    for _ in range(48):
        secret, _ = await directory.add_secret(app.app_id, NOW)

    for change in (
        directory.add_secret(app.app_id, NOW),
        directory.add_certificate(app.app_id, replace(CERTIFICATE, thumbprint="CD" * 20)),
        directory.add_federated(app.app_id, replace(FEDERATED, subject="other")),
    ):
        with pytest.raises(Conflict):
            await change
    assert await directory.add_certificate(app.app_id, CERTIFICATE) == directory.find(app.app_id)
    assert await directory.add_federated(app.app_id, FEDERATED) == directory.find(app.app_id)

    await directory.remove_credential(app.app_id, secret.id)
    await directory.add_secret(app.app_id, NOW)


async def test_changes_at_once_lose_nothing(store: Store, directory: Directory) -> None:
    app = await directory.create("app", NOW)

    await asyncio.gather(*(directory.add_secret(app.app_id, NOW) for _ in range(10)))

    assert len(directory.find(app.app_id).secrets) == 10
    assert held(await load(store)) == held(directory)


# Roles


async def test_role_is_assigned_once_and_taken_away(store: Store, directory: Directory) -> None:
    item = await directory.assign("tenant", SOMEBODY.upper(), READER.id, "/subscriptions/x")

    assert item == Assignment(item.id, "tenant", SOMEBODY, READER.id, "/subscriptions/x")
    assert await directory.assign("tenant", SOMEBODY, READER.id, "/Subscriptions/X/") == item
    assert directory.roles_of("tenant", SOMEBODY) == directory.roles_of("tenant", SOMEBODY.upper()) == (item,)
    assert (await load(store)).roles_of("tenant", SOMEBODY) == (item,)

    assert await directory.unassign("tenant", SOMEBODY.upper(), READER.id, "/SUBSCRIPTIONS/x/")

    assert directory.roles_of("tenant", SOMEBODY) == (await load(store)).roles_of("tenant", SOMEBODY) == ()
    assert not await directory.unassign("tenant", SOMEBODY, READER.id, "/subscriptions/x")


async def test_roles_at_several_scopes_and_of_several_tenants_are_apart(directory: Directory) -> None:
    made = [
        await directory.assign(tenant, SOMEBODY, role.id, scope)
        for tenant in ("one", "two")
        for role in (OWNER, READER)
        for scope in ("/a", "/a/b")
    ]

    assert len({item.id for item in made}) == 8
    assert set(directory.roles_of("one", SOMEBODY)) == set(made[:4])
    assert set(directory.roles_of("two", SOMEBODY)) == set(made[4:])
    assert directory.roles_of("three", SOMEBODY) == directory.roles_of("one", "somebody-else") == ()

    assert await directory.unassign("one", SOMEBODY, OWNER.id, "/a")
    assert set(directory.roles_of("one", SOMEBODY)) == set(made[1:4])
    assert set(directory.roles_of("two", SOMEBODY)) == set(made[4:])
    assert not await directory.unassign("one", SOMEBODY, OWNER.id, "/")


async def test_assignments_are_listed_by_their_ids(directory: Directory) -> None:
    for number in range(5):
        await directory.assign("tenant", f"{number}", READER.id, "/")

    ids = [item.id for item in directory.assignments()]

    assert ids == sorted(ids)
    assert len(ids) == 9


# Users


async def test_user_is_found_by_name_and_by_object_id_in_any_case(store: Store, directory: Directory) -> None:
    user = await directory.create_user("Alice@example.org", NOW + 0.5, object_id=SOMEBODY.upper(), display_name="Alice")

    assert user == User(SOMEBODY, "Alice@example.org", "Alice", NOW, user.password)
    for after in (directory, await load(store)):
        for text in ("alice@EXAMPLE.org", " Alice@example.org ", SOMEBODY, SOMEBODY.upper()):
            assert after.user(text) == user
        assert after.user("alice") is after.user("") is None


async def test_user_has_a_name_and_an_id_anyway(directory: Directory) -> None:
    user = await directory.create_user("alice", NOW)

    assert user.display_name == "alice"
    assert str(UUID(user.object_id)) == user.object_id


async def test_users_are_listed_by_name(directory: Directory) -> None:
    for name in ("b", "C", "a"):
        await directory.create_user(name, NOW)

    assert [user.name for user in directory.users()] == ["a", "b", "C"]


async def test_name_and_object_id_of_another_user_are_refused(directory: Directory) -> None:
    alice = await directory.create_user("alice", NOW)

    for name, object_id in (("ALICE", None), ("bob", alice.object_id), ("bob", alice.object_id.upper())):
        with pytest.raises(Conflict):
            await directory.create_user(name, NOW, object_id=object_id)
    assert directory.users() == [alice]


async def test_deleted_user_is_gone(store: Store, directory: Directory) -> None:
    await directory.create_user("alice", NOW)

    await directory.delete_user("Alice")

    for after in (directory, await load(store)):
        assert after.users() == []
        assert after.user("alice") is None
    with pytest.raises(NotFound):
        await directory.delete_user("alice")
    again = await directory.create_user("alice", NOW)
    assert directory.users() == [again]


async def test_password_is_known_and_not_stored(store: Store, directory: Directory) -> None:
    alice = await directory.create_user("alice", NOW, password="pass phrase")
    again = (await load(store)).user("alice")

    assert again == alice
    assert await directory.has_password(alice, "pass phrase")
    for wrong in ("", "pass", "Pass phrase", "pass phrase "):
        assert not await directory.has_password(alice, wrong)
    assert "pass phrase" not in json.dumps(await everything(store))


async def test_two_users_with_one_password_do_not_look_alike(directory: Directory) -> None:
    alice = await directory.create_user("alice", NOW, password="same")
    bob = await directory.create_user("bob", NOW, password="same")

    assert set(alice.password.split(":")) & set(bob.password.split(":")) == set()


async def test_user_without_a_password_has_none_that_is_right(directory: Directory) -> None:
    alice = await directory.create_user("alice", NOW)

    for password in ("", ":", "x"):
        assert not await directory.has_password(alice, password)
        assert not await directory.has_password(replace(alice, password=""), password)


# Keys that sign


async def test_nothing_changes_while_there_is_a_key_that_signs_and_one_that_will(directory: Directory) -> None:
    before = directory.token_keys()

    for days in (0, 1, ACTIVE_DAYS - 0.01):
        assert not await directory.keep_keys(NOW + days * DAY_S)

    assert directory.token_keys() == before


async def test_next_key_is_published_when_the_one_before_it_begins(store: Store, directory: Directory) -> None:
    """A whole period before it signs, so that everybody who keeps our keys has it by then."""
    assert await directory.keep_keys(NOW + ACTIVE_DAYS * DAY_S)

    assert active(directory) == [0, ACTIVE_DAYS, 2 * ACTIVE_DAYS]
    assert held(await load(store)) == held(directory)
    assert not await directory.keep_keys(NOW + ACTIVE_DAYS * DAY_S)


async def test_old_key_is_published_for_two_days_more(store: Store, directory: Directory) -> None:
    """Tokens are good for up to a day."""
    begin = NOW + ACTIVE_DAYS * DAY_S
    await directory.keep_keys(begin)

    assert not await directory.keep_keys(begin + 2 * DAY_S)
    assert 0 in active(directory)
    assert await directory.keep_keys(begin + 2 * DAY_S + 1)

    assert active(directory) == [ACTIVE_DAYS, 2 * ACTIVE_DAYS]
    assert held(await load(store)) == held(directory)
    assert len((await everything(store))["tokenKey"]) == 2


async def test_keys_go_on_changing_for_a_year(directory: Directory) -> None:
    """Looked after now and then, there is always one that signs, and the next is known for two days or more."""
    known: dict[TokenKey, float] = dict.fromkeys(directory.token_keys(), NOW)
    signing: set[TokenKey] = set()
    for now in range(NOW, NOW + 365 * DAY_S, 6 * 3600):
        await directory.keep_keys(now)
        keys = directory.token_keys()
        known = {**dict.fromkeys(keys, now), **known}
        signs = [key for key in keys if key.active_from <= now][-1]
        if signs not in signing:
            assert now == NOW or now - known[signs] >= 2 * DAY_S
            signing.add(signs)
        assert len(keys) <= 3

    assert len(signing) == 13


@pytest.mark.parametrize("days", [31, 33, 45, 59, 61, 90, 1000])
async def test_after_a_long_standstill_a_known_key_signs_until_the_next_one_is_known(
    directory: Directory, days: int
) -> None:
    now = NOW + days * DAY_S

    assert await directory.keep_keys(now)

    keys = active(directory)
    assert keys[-2] == ACTIVE_DAYS
    assert keys[-1] == max(days + 2, 2 * ACTIVE_DAYS)
    assert (0 in keys) == (days <= ACTIVE_DAYS + 2)


async def test_standstill_is_caught_up_with_after_two_days(directory: Directory) -> None:
    now = NOW + 1000 * DAY_S
    await directory.keep_keys(now)

    await directory.keep_keys(now + 2 * DAY_S)
    assert active(directory) == [ACTIVE_DAYS, 1002, 1032]
    await directory.keep_keys(now + 4 * DAY_S + 1)
    assert active(directory) == [1002, 1032]


async def test_clock_that_was_set_back_gets_a_key_that_signs(directory: Directory) -> None:
    assert await directory.keep_keys(NOW - 100 * DAY_S)

    assert active(directory) == [-100, 0, ACTIVE_DAYS]


async def test_lost_keys_are_made_anew(store: Store) -> None:
    await load(store)
    keys = (await everything(store))["tokenKey"]
    await store.commit([Change("tokenKey", key, None) for key in keys])
    directory = await load(store)
    assert directory.token_keys() == ()

    assert await directory.keep_keys(NOW + DAY_S)

    assert active(directory) == [1, 1 + ACTIVE_DAYS]


async def test_rotation_lets_the_next_key_sign_at_once_and_publishes_another(
    store: Store, directory: Directory
) -> None:
    first, second = directory.token_keys()

    await directory.rotate_keys(NOW + DAY_S + 0.5)

    old, signs, ahead = directory.token_keys()
    assert old == first
    assert signs == replace(second, active_from=NOW + DAY_S)
    assert ahead.active_from == NOW + (1 + ACTIVE_DAYS) * DAY_S
    assert held(await load(store)) == held(directory)


async def test_rotated_key_stays_published_for_two_days(directory: Directory) -> None:
    await directory.rotate_keys(NOW + DAY_S)
    assert not await directory.keep_keys(NOW + 3 * DAY_S)
    assert active(directory) == [0, 1, 1 + ACTIVE_DAYS]

    assert await directory.keep_keys(NOW + 3 * DAY_S + 1)

    assert active(directory) == [1, 1 + ACTIVE_DAYS]


async def test_revoked_keys_are_gone_at_once_and_there_are_two_new_ones(store: Store, directory: Directory) -> None:
    before = directory.token_keys()

    await directory.rotate_keys(NOW + DAY_S, revoke=True)

    assert active(directory) == [1, 1 + ACTIVE_DAYS]
    assert not {key.certificate for key in before} & {key.certificate for key in directory.token_keys()}
    assert held(await load(store)) == held(directory)


async def test_role_goes_to_nobody_who_is_not_there(directory: Directory) -> None:
    """Also if they were there when somebody began to give it to them."""
    app = await directory.create("app", NOW)
    await directory.delete(app.app_id)

    for principal in (app.object_id, "nobody"):
        with pytest.raises(NotFound):
            await directory.assign(directory.tenant.tenant_id, principal, OWNER.id, "/subscriptions/x")
    elsewhere = await directory.assign("another-tenant", "nobody", OWNER.id, "/subscriptions/x")
    assert elsewhere.principal_id == "nobody"


async def test_roles_of_a_user_go_with_them(store: Store, directory: Directory) -> None:
    alice = await directory.create_user("alice", NOW)
    tenant = directory.tenant.tenant_id
    await directory.assign(tenant, alice.object_id, OWNER.id, "/subscriptions/x")
    kept = await directory.assign("another-tenant", alice.object_id, OWNER.id, "/subscriptions/x")

    await directory.delete_user("alice")
    await directory.create_user("bob", NOW, object_id=alice.object_id)

    for after in (directory, await load(store)):
        assert after.roles_of(tenant, alice.object_id) == ()
        assert after.roles_of("another-tenant", alice.object_id) == (kept,)


async def test_keys_that_rotate_within_one_second_still_follow_one_another(directory: Directory) -> None:
    for _ in range(3):
        await directory.rotate_keys(NOW)

    begun = [key.active_from - NOW for key in directory.token_keys()]
    assert begun == [0, 1, 1 + ACTIVE_DAYS * DAY_S]


async def test_rotation_after_rotation_goes_on(store: Store, directory: Directory) -> None:
    for hours in range(1, 6):
        await directory.rotate_keys(NOW + hours * 3600)

    assert [round(day * 24) for day in active(directory)] == [0, 1, 2, 3, 4, 5, 5 + 24 * ACTIVE_DAYS]
    assert len({key.certificate for key in directory.token_keys()}) == 7
    assert held(await load(store)) == held(directory)


# A store that takes nothing


CHANGES: list[Callable[[Directory, str], Awaitable[object]]] = [
    lambda directory, app: directory.create("new", NOW, id_uris=["api://new"]),
    lambda directory, app: directory.create("new", NOW, managed=True),
    lambda directory, app: directory.delete(app),
    lambda directory, app: directory.add_secret(app, NOW),
    lambda directory, app: directory.add_certificate(app, CERTIFICATE),
    lambda directory, app: directory.add_federated(app, FEDERATED),
    lambda directory, app: directory.remove_credential(app, directory.find(app).secrets[0].id),
    lambda directory, app: directory.assign("tenant", SOMEBODY, OWNER.id, "/"),
    lambda directory, app: directory.unassign("tenant", "principal", READER.id, "/"),
    lambda directory, app: directory.create_user("new", NOW, password="x"),
    lambda directory, app: directory.delete_user("alice"),
    lambda directory, app: directory.keep_keys(NOW + ACTIVE_DAYS * DAY_S),
    lambda directory, app: directory.rotate_keys(NOW + DAY_S),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_change_that_cannot_be_stored_does_not_hold(
    store: Store, change: Callable[[Directory, str], Awaitable[object]]
) -> None:
    full = Full(store)
    full.full = False
    directory = await load(full)
    app = await directory.create("app", NOW)
    await directory.add_secret(app.app_id, NOW)
    await directory.assign("tenant", "principal", READER.id, "/")
    await directory.create_user("alice", NOW)
    before, stored = held(directory), await everything(store)
    full.full = True

    with pytest.raises(NotStored, match="the disk is full"):
        await change(directory, app.app_id)

    assert held(directory) == before
    assert await everything(store) == stored
    full.full = False
    await change(directory, app.app_id)
    assert held(directory) != before
    assert held(await load(store)) == held(directory)


async def test_change_holds_even_if_its_caller_gives_up(store: Store) -> None:
    """It is stored, so a secret that was removed must not go on being good."""
    released = asyncio.Event()
    committed = asyncio.Event()

    class Waiting(Full):
        async def commit(self, changes: Sequence[Change]) -> None:
            await super().commit(changes)
            committed.set()
            await released.wait()

    waiting = Waiting(store)
    waiting.full = False
    released.set()
    directory = await load(waiting)
    app = directory.find(directory.tenant.development_app)
    released.clear()
    committed.clear()
    removing = asyncio.create_task(directory.remove_credential(app.app_id, app.secrets[0].id))
    await committed.wait()

    removing.cancel()
    await asyncio.gather(removing, return_exceptions=True)
    released.set()
    await directory.add_secret(app.app_id, NOW)

    assert removing.cancelled()
    assert directory.development_secret() is None
    assert held(await load(store)) == held(directory)


async def test_values_of_the_tenant_come_back(store: Store, directory: Directory) -> None:
    (document,) = await store.list("tenant", "", None, 10)

    assert msgspec.convert(document.body, Tenant) == directory.tenant

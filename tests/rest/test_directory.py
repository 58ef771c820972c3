"""The local operator's table of the directory: applications, roles, users, keys; for nobody else."""

import json
import logging
import re
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hubwire.auth.key_ring import new_token_key
from hubwire.model.directory import Application
from hubwire.model.roles import OWNER, READER, RESOURCE_OWNER, RESOURCE_READER
from rest.asgi import Reply
from rest.issuing import SCOPE, Issuing, claims, open_issuing

OTHER = "11111111-2222-4333-8444-555555555555"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
APPS = "/control/apps"
ASSIGNMENTS = "/control/assignments"
USERS = "/control/users"

TABLE = [
    ("GET", APPS),
    ("POST", APPS),
    ("GET", APPS + "/app"),
    ("DELETE", APPS + "/app"),
    ("POST", APPS + "/app/:addSecret"),
    ("POST", APPS + "/app/:addCertificate"),
    ("POST", APPS + "/app/:addFederated"),
    ("POST", APPS + "/app/:removeCredential"),
    ("GET", ASSIGNMENTS),
    ("POST", ASSIGNMENTS),
    ("POST", ASSIGNMENTS + "/:remove"),
    ("GET", USERS),
    ("POST", USERS),
    ("DELETE", USERS + "/user"),
    ("POST", USERS + "/user/:token"),
    ("POST", "/control/tokenKeys/:rotate"),
]


@pytest.fixture
async def with_users() -> Issuing:
    """An issuer whose users may have tokens."""
    return await open_issuing(user_tokens=True)


@cache
def certificate() -> str:
    """PEM of a certificate with an RSA key."""
    return new_token_key(int(time.time()), int(time.time())).certificate


@cache
def weak_certificate() -> str:
    """PEM of a certificate whose key is not RSA."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


async def operate(issuing: Issuing, method: str, target: str, document: object = None) -> Reply:
    return await issuing.world.operate(method, target, document)


async def created(issuing: Issuing, name: str = "worker", **more: Any) -> dict[str, Any]:
    reply = await operate(issuing, "POST", APPS, {"name": name, **more})
    assert reply.status == 201
    document: dict[str, Any] = reply.json
    return document


def check_refusal(reply: Reply, status: int, target: str) -> None:
    assert (reply.status, reply.json["target"]) == (status, target)
    assert reply.headers["content-type"] == "application/problem+json; charset=utf-8"
    assert sorted(reply.json) == ["code", "details", "message", "target"]


def shown(app: Application) -> dict[str, Any]:
    """What is shown of an application that was just made."""
    return {
        "name": app.name,
        "clientId": app.app_id,
        "objectId": app.object_id,
        "kind": app.kind,
        "idUris": list(app.id_uris),
        "secrets": [],
        "certificates": [],
    }


# For whom.


async def test_these_are_all_operations_of_the_directory(issuing: Issuing) -> None:
    rows = {
        (row.method, row.path.replace("{", "").replace("}", ""))
        for row in issuing.world.app.operations
        if row.surface == "operator" and row.path.split("/")[2] in ("apps", "assignments", "users", "tokenKeys")
    }

    assert rows == set(TABLE)


@pytest.mark.parametrize(("method", "path"), TABLE)
async def test_for_everybody_else_the_paths_do_not_exist(issuing: Issuing, method: str, path: str) -> None:
    refused = await issuing.world.call(method, path, body=b"{}", state={"client_ip": "127.0.0.1"})
    nothing = await issuing.world.call(method, "/no/such/path", body=b"{}")

    assert (refused.status, refused.body) == (404, nothing.body)


@pytest.mark.parametrize(
    ("method", "path"),
    [row for row in TABLE if row[0] == "POST" and not row[1].endswith("rotate")],
)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"surprise":1}', b"null", b"[" * 2000])
async def test_body_that_is_not_what_it_takes_is_a_400(
    with_users: Issuing, method: str, path: str, body: bytes
) -> None:
    await created(with_users, "app")
    await with_users.directory.create_user("user", time.time())
    reply = await with_users.world.call(method, path, body=body, state={"control": True})

    check_refusal(reply, 400, "Body")


@pytest.mark.parametrize(
    ("method", "path"), [row for row in TABLE if row[1].startswith(APPS + "/app") or row[1].startswith(USERS + "/")]
)
async def test_unknown_application_or_user_is_a_404(with_users: Issuing, method: str, path: str) -> None:
    bodies = {
        ":addSecret": {"days": 1},
        ":addCertificate": {"pem": certificate()},
        ":addFederated": {"issuer": "https://o", "subject": "s"},
        ":removeCredential": {"credential": "x"},
        ":token": {"app": "hubwire-development", "scope": ""},
    }
    reply = await operate(with_users, method, path, bodies.get(path.rpartition("/")[2]))

    check_refusal(reply, 404, "user" if path.startswith(USERS) else "app")


@pytest.mark.parametrize(
    ("method", "path"), [row for row in TABLE if row[1].startswith(APPS + "/app")], ids=lambda text: text
)
async def test_name_of_several_applications_is_a_409(issuing: Issuing, method: str, path: str) -> None:
    await created(issuing, "app")
    await created(issuing, "app")
    bodies = {
        ":addSecret": {"days": 1},
        ":addCertificate": {"pem": certificate()},
        ":addFederated": {"issuer": "https://o", "subject": "s"},
        ":removeCredential": {"credential": "x"},
    }
    reply = await operate(issuing, method, path, bodies.get(path.rpartition("/")[2]))

    check_refusal(reply, 409, "app")
    row = next(
        row for row in issuing.world.app.operations if (row.method, row.path.replace("{app}", "app")) == (method, path)
    )
    assert 409 in row.statuses


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", APPS, {"name": "other"}),
    ("DELETE", APPS + "/app", None),
    ("POST", APPS + "/app/:addSecret", {}),
    ("POST", APPS + "/app/:addFederated", {"issuer": "https://o", "subject": "s"}),
    ("POST", ASSIGNMENTS, {"role": "reader", "app": "app"}),
    ("POST", ASSIGNMENTS + "/:remove", {"role": "owner", "app": "app"}),
    ("POST", USERS, {"name": "other"}),
    ("DELETE", USERS + "/user", None),
    ("POST", "/control/tokenKeys/:rotate", None),
]


@pytest.mark.parametrize(("method", "path", "document"), CHANGES)
async def test_change_that_cannot_be_stored_is_a_503_and_has_not_happened(
    with_users: Issuing, method: str, path: str, document: Any
) -> None:
    await created(with_users, "app")
    await operate(with_users, "POST", ASSIGNMENTS, {"role": "owner", "app": "app"})
    await with_users.directory.create_user("user", time.time())
    everything = [APPS, ASSIGNMENTS, USERS]
    before = [(await operate(with_users, "GET", path)).json for path in everything]
    keys = with_users.issuer.ring.published("")
    with_users.store.full = True

    reply = await operate(with_users, method, path, document)

    assert (reply.status, reply.json["code"]) == (503, "Error.ServiceUnavailable")
    assert [(await operate(with_users, "GET", path)).json for path in everything] == before
    assert with_users.issuer.ring.published("") == keys


# Applications.


async def test_first_principals_are_listed_without_their_secrets(issuing: Issuing) -> None:
    reply = await operate(issuing, "GET", APPS)

    apps = reply.json["value"]
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert [(app["name"], app["kind"]) for app in apps] == [
        ("hubwire-development", "application"),
        ("hubwire-machine", "systemAssigned"),
    ]
    assert [sorted(secret) for secret in apps[0]["secrets"]] == [["expires", "hint", "id"]]
    assert issuing.directory.tenant.development_secret.encode() not in reply.body


async def test_new_application_is_told_its_secret_once(issuing: Issuing) -> None:
    document = await created(issuing)
    app = issuing.directory.find("worker")
    secret = document["clientSecret"]

    assert {name: document[name] for name in ("tenantId", "name", "clientId", "objectId", "kind")} == {
        "tenantId": issuing.tenant,
        "name": "worker",
        "clientId": app.app_id,
        "objectId": app.object_id,
        "kind": "application",
    }
    token = await issuing.token({**issuing.fields, "client_id": app.app_id, "client_secret": secret})
    assert token.status == 200
    await operate(issuing, "POST", ASSIGNMENTS, {"role": "owner", "app": "worker"})
    for method, path in (("GET", APPS), ("GET", APPS + "/worker"), ("GET", ASSIGNMENTS)):
        again = await operate(issuing, method, path)
        assert again.status == 200
        assert secret.encode() not in again.body
        assert app.secrets[0].digest.encode() not in again.body


async def test_application_has_what_it_was_given(issuing: Issuing) -> None:
    document = await created(
        issuing, "api", idUris=["api://orders/", " https://orders.example "], tokenVersion=2, secret=False
    )

    app = issuing.directory.find("api")
    assert app.id_uris == ("api://orders", "https://orders.example")
    assert document == {"tenantId": issuing.tenant, **shown(app), "tokenVersion": 2}


async def test_application_without_a_name_gets_one(issuing: Issuing) -> None:
    document = (await operate(issuing, "POST", APPS, {})).json

    assert document["name"] == f"app-{document['clientId'][:8]}"


async def test_managed_identity_has_no_secret(issuing: Issuing) -> None:
    document = await created(issuing, "robot", managedIdentity=True)

    assert (document["kind"], document["secrets"]) == ("userAssigned", [])
    assert document["resourceId"].endswith("/userAssignedIdentities/robot")
    assert "clientSecret" not in document
    check_refusal(await operate(issuing, "POST", APPS, {"name": "robot", "managedIdentity": True}), 409, "name")


@pytest.mark.parametrize(
    ("document", "target"),
    [
        ({"name": 1}, "Body"),
        ({"name": "a\nb"}, "Body"),
        ({"name": "a\n"}, "Body"),
        ({"name": "a" * 121}, "Body"),
        ({"tokenVersion": 3}, "Body"),
        ({"idUris": "api://x"}, "Body"),
        ({"idUris": ["orders"]}, "idUri"),
        ({"idUris": ["api://"]}, "idUri"),
        ({"idUris": ["api://a b"]}, "idUri"),
        ({"idUris": ["api://ä"]}, "idUri"),
        ({"idUris": ["api://" + "a" * 250]}, "idUri"),
        ({"idUris": ["://x"]}, "idUri"),
    ],
)
async def test_application_that_cannot_be_is_a_400(issuing: Issuing, document: object, target: str) -> None:
    check_refusal(await operate(issuing, "POST", APPS, document), 400, target)
    assert len(issuing.directory.applications()) == 2


async def test_app_id_uri_of_another_is_a_409(issuing: Issuing) -> None:
    await created(issuing, idUris=["api://orders"])

    check_refusal(await operate(issuing, "POST", APPS, {"idUris": ["api://orders/"]}), 409, "idUri")


@pytest.mark.parametrize("by", ["name", "clientId", "CLIENTID", "objectId", "idUri"])
async def test_application_is_shown_by_each_of_its_names(issuing: Issuing, by: str) -> None:
    document = await created(issuing, "a/b", idUris=["api://orders"], secret=False)
    names = {
        "name": "a/b",
        "clientId": document["clientId"],
        "CLIENTID": document["clientId"].upper(),
        "objectId": document["objectId"],
        "idUri": "api://orders",
    }
    reply = await operate(issuing, "GET", f"{APPS}/{quote(names[by], safe='')}")

    assert (reply.status, reply.json) == (200, {**document, "roles": []})


async def test_application_is_shown_with_its_roles(issuing: Issuing) -> None:
    document = await created(issuing)
    await operate(issuing, "POST", ASSIGNMENTS, {"role": "reader", "app": "worker"})
    reply = await operate(issuing, "GET", APPS + "/worker")

    assert reply.json["roles"] == [
        {"role": READER.name, "principalId": document["objectId"], "tenant": issuing.tenant, "scope": SCOPE}
    ]


async def test_deleted_application_is_gone_with_its_roles(issuing: Issuing) -> None:
    document = await created(issuing)
    before = len(issuing.directory.assignments())
    await operate(issuing, "POST", ASSIGNMENTS, {"role": "reader", "app": "worker"})
    reply = await operate(issuing, "DELETE", APPS + "/worker")

    assert (reply.status, reply.body) == (204, b"")
    check_refusal(await operate(issuing, "GET", APPS + "/worker"), 404, "app")
    assert len(issuing.directory.assignments()) == before
    fields = {**issuing.fields, "client_id": document["clientId"], "client_secret": document["clientSecret"]}
    assert (await issuing.token(fields)).json["error"] == "unauthorized_client"


async def test_identity_of_the_machine_cannot_be_deleted(issuing: Issuing) -> None:
    check_refusal(await operate(issuing, "DELETE", APPS + "/hubwire-machine"), 409, "app")


# Credentials.


async def test_further_secret_is_told_once_and_good_until_it_is_removed(issuing: Issuing) -> None:
    app = await created(issuing)
    reply = await operate(issuing, "POST", APPS + "/worker/:addSecret", {"days": 1})

    added = reply.json
    assert reply.status == 201
    assert sorted(added) == ["clientId", "clientSecret", "expires", "secretId", "tenantId"]
    assert (added["tenantId"], added["clientId"]) == (issuing.tenant, app["clientId"])
    assert MOMENT.fullmatch(added["expires"])
    expires = datetime.strptime(added["expires"], "%Y-%m-%dT%H:%M:%S%z")
    assert timedelta(hours=23) < expires - datetime.now(UTC) <= timedelta(days=1)
    for secret in (app["clientSecret"], added["clientSecret"]):
        fields = {**issuing.fields, "client_id": app["clientId"], "client_secret": secret}
        assert (await issuing.token(fields)).status == 200

    removed = await operate(issuing, "POST", APPS + "/worker/:removeCredential", {"credential": added["secretId"]})

    assert (removed.status, len(removed.json["secrets"])) == (200, 1)
    assert added["clientSecret"].encode() not in removed.body
    fields = {**issuing.fields, "client_id": app["clientId"], "client_secret": added["clientSecret"]}
    assert (await issuing.token(fields)).status == 401


@pytest.mark.parametrize("days", [0, -1, 36501, "1", 1.5, None])
async def test_secret_lives_for_a_day_at_least(issuing: Issuing, days: object) -> None:
    await created(issuing)

    check_refusal(await operate(issuing, "POST", APPS + "/worker/:addSecret", {"days": days}), 400, "Body")


async def test_certificate_is_kept_by_its_thumbprint_and_removed_by_it(issuing: Issuing) -> None:
    await created(issuing)
    path = APPS + "/worker/:addCertificate"
    reply = await operate(issuing, "POST", path, {"pem": certificate()})
    again = await operate(issuing, "POST", path, {"pem": certificate()})

    assert (reply.status, again.status, again.json) == (200, 200, reply.json)
    (known,) = reply.json["certificates"]
    assert sorted(known) == ["expires", "thumbprint"]
    assert re.fullmatch(r"[0-9A-F]{40}", known["thumbprint"])
    with_colons = ":".join(re.findall("..", known["thumbprint"].lower()))
    removed = await operate(issuing, "POST", APPS + "/worker/:removeCredential", {"credential": with_colons})
    assert (removed.status, removed.json["certificates"]) == (200, [])


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "weak"])
async def test_certificate_that_cannot_be_used_is_a_400(issuing: Issuing, pem: str) -> None:
    await created(issuing)
    text = weak_certificate() if pem == "weak" else pem

    check_refusal(await operate(issuing, "POST", APPS + "/worker/:addCertificate", {"pem": text}), 400, "pem")


@pytest.mark.parametrize(
    "given",
    [
        {"issuer": "https://o.example", "subject": "s", "audience": "a"},
        {"issuer": "https://o.example", "subject": "s"},
        {"issuer": f"https://o.example/{OTHER}/{OTHER}/{'x' * 500}", "subject": f"repo:{'o' * 500}:ref:x"},
    ],
)
async def test_federated_credential_is_kept_and_removed_by_its_subject(issuing: Issuing, given: Any) -> None:
    await created(issuing)
    path = APPS + "/worker/:addFederated"
    reply = await operate(issuing, "POST", path, given)
    again = await operate(issuing, "POST", path, given)

    assert (reply.status, again.json) == (200, reply.json)
    assert reply.json["federated"] == [{"audience": "api://AzureADTokenExchange", **given}]
    removed = await operate(issuing, "POST", APPS + "/worker/:removeCredential", {"credential": given["subject"]})
    assert (removed.status, removed.json) == (200, shown(issuing.directory.find("worker")) | removed.json)
    assert "federated" not in removed.json


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://o"},
        {"issuer": "", "subject": "s"},
        {"issuer": "https://o", "subject": "a\x00"},
        {"issuer": "https://o", "subject": "a\n"},
    ],
)
async def test_federated_credential_that_cannot_be_is_a_400(issuing: Issuing, document: object) -> None:
    await created(issuing)

    check_refusal(await operate(issuing, "POST", APPS + "/worker/:addFederated", document), 400, "Body")


async def test_unknown_credential_is_a_404(issuing: Issuing) -> None:
    await created(issuing)
    reply = await operate(issuing, "POST", APPS + "/worker/:removeCredential", {"credential": "x"})

    check_refusal(reply, 404, "credential")


@pytest.mark.parametrize(
    ("verb", "document"),
    [
        (":addSecret", {}),
        (":addCertificate", {"pem": "certificate"}),
        (":addFederated", {"issuer": "https://o", "subject": "s"}),
    ],
)
async def test_managed_identity_takes_no_credentials(issuing: Issuing, verb: str, document: dict[str, str]) -> None:
    if "pem" in document:
        document = {"pem": certificate()}

    check_refusal(await operate(issuing, "POST", f"{APPS}/hubwire-machine/{verb}", document), 400, "app")


async def test_credentials_have_a_number_that_they_may_not_pass(issuing: Issuing) -> None:
    await created(issuing, secret=False)
    path, given = APPS + "/worker/:addFederated", {"issuer": "https://o"}
    statuses = [(await operate(issuing, "POST", path, {**given, "subject": str(n)})).status for n in range(50)]

    assert set(statuses) == {200}
    check_refusal(await operate(issuing, "POST", path, {**given, "subject": "more"}), 409, "app")
    check_refusal(await operate(issuing, "POST", APPS + "/worker/:addSecret", {}), 409, "app")
    check_refusal(await operate(issuing, "POST", APPS + "/worker/:addCertificate", {"pem": certificate()}), 409, "app")


# Roles.


@pytest.mark.parametrize(
    ("named", "role"),
    [
        ("owner", OWNER),
        ("reader", READER),
        ("Owner", RESOURCE_OWNER),
        ("Reader", RESOURCE_READER),
        (OWNER.name, OWNER),
        (READER.id.upper(), READER),
        (" owner ", OWNER),
    ],
)
async def test_role_is_assigned_listed_and_taken_away(issuing: Issuing, named: str, role: Any) -> None:
    app = await created(issuing)
    first = (await operate(issuing, "GET", ASSIGNMENTS)).json["value"]
    reply = await operate(issuing, "POST", ASSIGNMENTS, {"role": named, "app": "worker"})
    again = await operate(issuing, "POST", ASSIGNMENTS, {"role": named, "app": app["clientId"]})

    expected = {"role": role.name, "principalId": app["objectId"], "tenant": issuing.tenant, "scope": SCOPE}
    assert (reply.status, reply.json) == (200, expected)
    assert again.json == expected
    listed = (await operate(issuing, "GET", ASSIGNMENTS)).json["value"]
    assert len(listed) == len(first) + 1
    assert expected in listed

    removed = await operate(issuing, "POST", ASSIGNMENTS + "/:remove", {"role": named, "app": "worker"})
    assert (removed.status, removed.body) == (204, b"")
    assert (await operate(issuing, "GET", ASSIGNMENTS)).json["value"] == first
    check_refusal(
        await operate(issuing, "POST", ASSIGNMENTS + "/:remove", {"role": named, "app": "worker"}), 404, "role"
    )


@pytest.mark.parametrize(
    ("tenant", "kept"),
    [
        (OTHER.upper().replace("1", "A"), OTHER.replace("1", "a")),
        ("https://Issuer.example/Realm", "https://Issuer.example/Realm"),
    ],
)
async def test_role_of_a_principal_of_another_issuer(issuing: Issuing, tenant: str, kept: str) -> None:
    """An issuer without tenants stands there by its URL, which is a text and has its case."""
    document = {"role": "reader", "principalId": "Some-Principal", "tenant": tenant, "scope": " /subscriptions/x "}
    reply = await operate(issuing, "POST", ASSIGNMENTS, document)

    assert (reply.status, reply.json) == (
        200,
        {
            "role": READER.name,
            "principalId": "Some-Principal" if "://" in kept else "some-principal",
            "tenant": kept,
            "scope": "/subscriptions/x",
        },
    )
    assert (await operate(issuing, "POST", ASSIGNMENTS + "/:remove", document)).status == 204


@pytest.mark.parametrize(
    ("document", "target"),
    [
        ({"role": "king", "app": "worker"}, "role"),
        ({"role": "owner", "app": "worker", "scope": "subscriptions/x"}, "scope"),
        ({"role": "owner", "app": "worker", "scope": ""}, "scope"),
        ({"role": "owner"}, "app"),
        ({"role": "owner", "app": "worker", "principalId": OTHER}, "app"),
        ({"role": "owner", "principalId": ""}, "Body"),
        ({"role": "owner", "principalId": "  "}, "Body"),
        ({"role": "owner", "principalId": "a\nb"}, "Body"),
        ({"role": "owner", "principalId": OTHER, "tenant": "a\nb"}, "Body"),
    ],
)
@pytest.mark.parametrize("path", [ASSIGNMENTS, ASSIGNMENTS + "/:remove"])
async def test_assignment_that_cannot_be_is_a_400(issuing: Issuing, path: str, document: object, target: str) -> None:
    await created(issuing)
    before = issuing.directory.assignments()

    check_refusal(await operate(issuing, "POST", path, document), 400, target)
    assert issuing.directory.assignments() == before


@pytest.mark.parametrize("path", [ASSIGNMENTS, ASSIGNMENTS + "/:remove"])
async def test_role_of_an_unknown_or_of_several_applications(issuing: Issuing, path: str) -> None:
    await created(issuing)
    await created(issuing)

    check_refusal(await operate(issuing, "POST", path, {"role": "owner", "app": "nobody"}), 404, "app")
    check_refusal(await operate(issuing, "POST", path, {"role": "owner", "app": "worker"}), 409, "app")


async def test_role_that_is_no_built_in_one_is_shown_by_its_id(issuing: Issuing) -> None:
    await issuing.directory.assign(OTHER, OTHER, OTHER, "/")
    listed = (await operate(issuing, "GET", ASSIGNMENTS)).json["value"]

    assert {"role": OTHER, "principalId": OTHER, "tenant": OTHER, "scope": "/"} in listed


async def test_nobody_in_this_tenant_gets_no_role(issuing: Issuing) -> None:
    reply = await operate(issuing, "POST", ASSIGNMENTS, {"role": "reader", "principalId": OTHER})

    assert (reply.status, reply.json["target"]) == (404, "principalId")


async def test_role_that_is_taken_away_where_it_is_not_says_where_it_is(issuing: Issuing) -> None:
    reply = await operate(issuing, "POST", ASSIGNMENTS + "/:remove", {"role": "owner", "app": "hubwire-machine"})

    assert reply.status == 404
    assert "It is assigned at /." in reply.json["message"]


# Users.


async def test_users_have_no_tokens_unless_a_setting_says_so(issuing: Issuing) -> None:
    """Those who are there already can still be seen and deleted."""
    await issuing.directory.create_user("ada", time.time())
    refusals = [
        await operate(issuing, "POST", USERS, {"name": "bob"}),
        await operate(issuing, "POST", USERS + "/ada/:token", {"app": "hubwire-development", "scope": ""}),
    ]

    for reply in refusals:
        check_refusal(reply, 409, "user_tokens")
        assert "--user-tokens" in reply.json["message"]
    assert [user["name"] for user in (await operate(issuing, "GET", USERS)).json["value"]] == ["ada"]
    assert (await operate(issuing, "DELETE", USERS + "/ada")).status == 204
    wanted = {**issuing.fields, "grant_type": "password", "username": "ada", "password": ""}
    assert (await issuing.token(wanted)).json["error"] == "unsupported_grant_type"


async def test_user_is_created_listed_and_deleted(with_users: Issuing) -> None:
    document = {"name": "ada@hub.example", "objectId": OTHER.upper(), "displayName": "Ada", "password": "lovelace"}
    reply = await operate(with_users, "POST", USERS, document)

    expected = {"name": "ada@hub.example", "objectId": OTHER, "displayName": "Ada"}
    assert (reply.status, reply.json) == (201, {"tenantId": with_users.tenant, **expected})
    listed = await operate(with_users, "GET", USERS)
    assert (listed.status, listed.json) == (200, {"value": [expected]})
    assert b"lovelace" not in reply.body + listed.body
    assert with_users.directory.users()[0].password.encode() not in listed.body

    deleted = await operate(with_users, "DELETE", USERS + "/Ada%40hub.example")
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await operate(with_users, "GET", USERS)).json == {"value": []}
    check_refusal(await operate(with_users, "DELETE", USERS + "/ada%40hub.example"), 404, "user")


async def test_user_needs_no_more_than_a_name(with_users: Issuing) -> None:
    document = (await operate(with_users, "POST", USERS, {"name": "ada"})).json

    assert document["displayName"] == "ada"
    assert GUID.fullmatch(document["objectId"])


@pytest.mark.parametrize(
    ("document", "target"),
    [
        ({"name": ""}, "Body"),
        ({"name": "a" * 121}, "Body"),
        ({"name": "a\x7f"}, "Body"),
        ({"name": "a\n"}, "Body"),
        ({"name": "a", "displayName": "a\x1b[31m"}, "Body"),
        ({"name": "a", "password": 1}, "Body"),
        ({"name": "a", "objectId": "x"}, "objectId"),
        ({"name": "a", "objectId": ""}, "objectId"),
    ],
)
async def test_user_who_cannot_be_is_a_400(with_users: Issuing, document: object, target: str) -> None:
    check_refusal(await operate(with_users, "POST", USERS, document), 400, target)
    assert with_users.directory.users() == []


@pytest.mark.parametrize("document", [{"name": "ADA"}, {"name": "bob", "objectId": OTHER}])
async def test_user_who_is_there_is_a_409(with_users: Issuing, document: object) -> None:
    await operate(with_users, "POST", USERS, {"name": "ada", "objectId": OTHER})

    check_refusal(await operate(with_users, "POST", USERS, document), 409, "name")


async def test_operator_mints_a_token_of_a_user(with_users: Issuing) -> None:
    user = (await operate(with_users, "POST", USERS, {"name": "ada"})).json
    app = await created(with_users)
    scope = "https://auth.msft.communication.azure.com/Teams.ManageCalls"
    reply = await operate(with_users, "POST", f"{USERS}/{user['objectId']}/:token", {"app": "worker", "scope": scope})

    assert (reply.status, sorted(reply.json)) == (200, ["expires", "token"])
    token = claims(reply.json["token"])
    assert (token["oid"], token["scp"], token["appid"]) == (user["objectId"], "Teams.ManageCalls", app["clientId"])
    expires = datetime.strptime(reply.json["expires"], "%Y-%m-%dT%H:%M:%S%z")
    assert expires.timestamp() == token["exp"]


@pytest.mark.parametrize("scope", ["api://unknown/x", 'a/"', "https://a/x https://b/x", "https://vault.azure.net/"])
async def test_scope_that_cannot_be_is_a_400(with_users: Issuing, scope: str) -> None:
    await operate(with_users, "POST", USERS, {"name": "ada"})
    reply = await operate(with_users, "POST", USERS + "/ada/:token", {"app": "hubwire-development", "scope": scope})

    check_refusal(reply, 400, "scope")


async def test_token_of_a_user_is_for_one_known_application(with_users: Issuing) -> None:
    await operate(with_users, "POST", USERS, {"name": "ada"})
    await created(with_users)
    await created(with_users)
    path = USERS + "/ada/:token"

    check_refusal(await operate(with_users, "POST", path, {"app": "nobody", "scope": ""}), 404, "app")
    check_refusal(await operate(with_users, "POST", path, {"app": "worker", "scope": ""}), 409, "app")


# Keys.


async def test_rotated_keys_are_named_and_the_old_one_stays_good(issuing: Issuing) -> None:
    before = [key["kid"] for key in issuing.issuer.ring.published("")]
    token = (await issuing.token(issuing.fields)).json["access_token"]
    reply = await operate(issuing, "POST", "/control/tokenKeys/:rotate")

    assert (reply.status, list(reply.json)) == (200, ["keys"])
    assert [(key["kid"], key["state"]) for key in reply.json["keys"][:2]] == list(
        zip(before, ["signed", "signs"], strict=True)
    )
    assert [key["state"] for key in reply.json["keys"][2:]] == ["next"]
    assert len(reply.json["keys"]) == 3
    assert issuing.issuer.ring.public(jwt.get_unverified_header(token)["kid"]) is not None
    renewed = (await issuing.token(issuing.fields)).json["access_token"]
    assert jwt.get_unverified_header(renewed)["kid"] == before[1]


@pytest.mark.parametrize(
    "issuer", ["http://issuer.example", "issuer.example", "https://[", "ftp://localhost", "https:///x"]
)
async def test_issuer_whose_keys_cannot_be_fetched_stands_for_nobody(issuing: Issuing, issuer: str) -> None:
    reply = await operate(
        issuing, "POST", f"{APPS}/hubwire-development/:addFederated", {"issuer": issuer, "subject": "x"}
    )

    assert (reply.status, reply.json["target"]) == (400, "issuer")


async def test_tenant_does_not_go_with_an_application(issuing: Issuing) -> None:
    document = {"role": "owner", "app": "hubwire-development", "tenant": OTHER}
    reply = await operate(issuing, "POST", ASSIGNMENTS, document)

    assert (reply.status, reply.json["target"]) == (400, "tenant")


# Logging.


async def test_nothing_secret_is_logged(with_users: Issuing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = await created(with_users)
    added = (await operate(with_users, "POST", APPS + "/worker/:addSecret", {})).json
    await operate(with_users, "POST", USERS, {"name": "ada", "password": "body-secret"})
    await operate(with_users, "POST", USERS, {"name": "bob", "password": "body-secret", "body-secret": 1})
    await operate(with_users, "POST", USERS, {"name": "ada", "password": "body-secret"})
    minted = await operate(
        with_users, "POST", USERS + "/ada/:token", {"app": "worker", "scope": "https://vault.azure.net/.default"}
    )
    await operate(with_users, "POST", APPS + "/worker/:removeCredential", {"credential": "body-secret"})
    await operate(with_users, "POST", APPS + "/worker/:addCertificate", {"pem": "body-secret"})

    logged = caplog.text + json.dumps([vars(record)["record"] for record in caplog.records])
    secrets = [app["clientSecret"], added["clientSecret"], minted.json["token"], "body-secret"]
    assert [secret for secret in secrets if secret in logged] == []
    assert len(caplog.records) == 8

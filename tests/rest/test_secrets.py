"""The data plane of Key Vaults: what official clients ask for, and how much of it there is."""

import logging
from typing import Any

import pytest

from hubwire.model.errors import Throttled
from hubwire.model.listeners import listener_name
from hubwire.model.vaults import NewSecret
from resources.vaulting import NOBODY, NOW, Vaulting, policy
from rest.vaulting import CHALLENGE, Serving

V = "api-version=7.4"
BASE = "https://vault-one.example:9443"


@pytest.fixture
async def serving() -> Serving:
    vaulting = await Vaulting().start()
    await vaulting.made("Vault-One", policy("all"))
    await vaulting.access.set("vault-one", "code", NewSecret("s3cret"), None)
    return Serving(vaulting)


async def secrets(serving: Serving, count: int) -> None:
    for number in range(count):
        await serving.vaulting.access.set("vault-one", f"s{number:02}", NewSecret("x"), None)


# How it is asked


@pytest.mark.parametrize(
    "target",
    [
        "/secrets/code?api-version=7.4",
        "/secrets/code/?api-version=2026-04-01",
        "/secrets/CODE?api-version=7.6-preview.2",
        "//secrets//code?API-Version=7.0",
        "/SECRETS/code?api%2Dversion=2025-07-01",
        "/secrets/code?api-version=2016-10-01",
        "/secrets/%63ode/?api-version=7.5",
    ],
)
async def test_secret_is_read_as_each_client_spells_it(serving: Serving, target: str) -> None:
    """With a slash at its end, and with the name of the parameter percent-encoded."""
    reply = await serving.call("GET", target)

    (version,) = serving.vaulting.access.versions("vault-one", "code", None)
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-ms-request-id"]
    assert reply.json == {
        "value": "s3cret",
        "id": f"{BASE}/secrets/code/{version.version}",
        "attributes": {
            "enabled": True,
            "created": NOW,
            "updated": NOW,
            "recoveryLevel": "Purgeable",
            "recoverableDays": 0,
        },
        "tags": {},
    }


async def test_version_is_read_by_its_number(serving: Serving) -> None:
    first = serving.vaulting.access.versions("vault-one", "code", None)[0].version
    await serving.vaulting.access.set("vault-one", "code", NewSecret("newer"), None)

    assert (await serving.call("GET", f"/secrets/code/{first}?{V}")).json["value"] == "s3cret"
    assert (await serving.call("GET", f"/secrets/code/{first.upper()}/?{V}")).json["value"] == "s3cret"
    assert (await serving.call("GET", f"/secrets/code?{V}")).json["value"] == "newer"
    assert await serving.fault("GET", f"/secrets/code/{'0' * 32}?{V}") == (404, "SecretNotFound")
    assert await serving.fault("GET", f"/secrets/other?{V}") == (404, "SecretNotFound")


async def test_first_request_is_told_how_to_sign_in(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else is wrong with it; and it is no cause for concern."""
    caplog.set_level(logging.INFO)
    for method, target in (("GET", f"/secrets/code?{V}"), ("PUT", "/secrets/x"), ("GET", "/secrets/nothing")):
        reply = await serving.call(method, target, who=None)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, CHALLENGE)
        assert reply.json["error"]["code"] == "Unauthorized"
    assert {record.levelname for record in caplog.records} == {"INFO"}


@pytest.mark.parametrize("query", ["", "?api-version=", "?api-version=1.0", "?api-version=7", f"?{V}&{V}"])
async def test_api_version_is_required(serving: Serving, query: str) -> None:
    assert await serving.fault("GET", f"/secrets/code{query}") == (400, "BadParameter")


async def test_whoever_may_not_is_refused_and_the_log_says_how_to_let_them(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    for method, target, document in (
        ("GET", "/secrets/code", None),
        ("GET", "/secrets", None),
        ("GET", "/secrets/code/versions", None),
        ("PUT", "/secrets/code", {"value": "n3w-value"}),
        ("PATCH", "/secrets/code", {}),
        ("DELETE", "/secrets/code", None),
    ):
        reply = await serving.call(method, f"{target}?{V}", document, who=NOBODY)
        assert (reply.status, reply.json["error"]["innererror"]) == (403, {"code": "AccessDenied"})
    reasons = [record.__dict__["record"]["reason"] for record in caplog.records]
    grant = f"hubwire vault grant Vault-One {NOBODY.principal_id} --permission"
    assert [reason.split(f"{grant} ")[1].split()[0] for reason in reasons] == [
        *("get", "list", "list", "set", "set", "delete")
    ]
    assert "n3w-value" not in caplog.text
    assert (await serving.call("GET", f"/secrets/code?{V}")).json["value"] == "s3cret"


async def test_other_failures_of_the_door_have_their_status(serving: Serving) -> None:
    serving.door.failure = Throttled("Too many.", 7)

    reply = await serving.call("GET", f"/secrets/code?{V}")
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")


# Changes


async def test_secret_is_set_with_all_that_is_said_of_it(serving: Serving) -> None:
    given = {
        "value": "n3w",
        "contentType": "text/plain",
        "tags": {"a": "b"},
        "attributes": {"enabled": True, "nbf": 1, "exp": int(NOW) + 5},
    }

    made = await serving.call("PUT", f"/secrets/new?{V}", given)

    assert made.status == 200
    assert made.json["value"] == "n3w"
    read = await serving.call("GET", f"/secrets/new?{V}")
    assert read.json == made.json
    assert (read.json["contentType"], read.json["tags"]) == ("text/plain", {"a": "b"})
    assert (read.json["attributes"]["nbf"], read.json["attributes"]["exp"]) == (1, NOW + 5)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"value": None},
        {"value": 1},
        {"value": "s3cret" * 5000},
        {"value": "s3cret", "tags": []},
        {"value": "s3cret", "attributes": {"exp": "soon"}},
        {"value": "s3cret", "contentType": 7},
        ["s3cret"],
        "s3cret",
    ],
)
async def test_secret_that_cannot_be_is_refused_without_its_value(serving: Serving, document: Any) -> None:
    reply = await serving.call("PUT", f"/secrets/new?{V}", document)

    assert (reply.status, reply.json["error"]["code"]) == (400, "BadParameter")
    assert b"s3cret" not in reply.body
    assert await serving.fault("GET", f"/secrets/new?{V}") == (404, "SecretNotFound")


@pytest.mark.parametrize("body", [b"", b"{", b'{"value": "s3cret', b"\xff", b"[" * 100_000])
async def test_what_is_no_json_is_refused(serving: Serving, body: bytes) -> None:
    reply = await serving.call("PUT", f"/secrets/new?{V}", body=body)

    assert (reply.status, reply.json["error"]["code"]) == (400, "BadParameter")
    assert b"s3cret" not in reply.body


@pytest.mark.parametrize("name", ["a_b", "a%2Fb", "%C3%A4", "a" * 128])
async def test_illegal_name_is_refused(serving: Serving, name: str) -> None:
    assert await serving.fault("PUT", f"/secrets/{name}?{V}", {"value": "x"}) == (400, "BadParameter")


async def test_properties_change_without_the_value(serving: Serving) -> None:
    version = serving.vaulting.access.versions("vault-one", "code", None)[0].version

    reply = await serving.call("PATCH", f"/secrets/code/{version}?{V}", {"attributes": {"enabled": False}})

    assert reply.status == 200
    assert reply.json["attributes"]["enabled"] is False
    assert "value" not in reply.json
    refused = await serving.call("GET", f"/secrets/code?{V}")
    assert (refused.status, refused.json["error"]["innererror"]["code"]) == (403, "SecretDisabled")
    await serving.call("PATCH", f"/secrets/code?{V}", {"attributes": {"enabled": True}, "tags": {"x": "y"}})
    assert (await serving.call("GET", f"/secrets/code?{V}")).json["tags"] == {"x": "y"}


async def test_deletion_is_over_at_once(serving: Serving) -> None:
    """Without a recovery id, which clients would go on to ask about."""
    reply = await serving.call("DELETE", f"/secrets/code?{V}")

    assert reply.status == 200
    assert reply.json.keys() == {"id", "attributes", "tags"}
    assert await serving.fault("GET", f"/secrets/code?{V}") == (404, "SecretNotFound")
    assert await serving.fault("DELETE", f"/secrets/code?{V}") == (404, "SecretNotFound")


# Lists


async def test_list_has_neither_values_nor_versions(serving: Serving) -> None:
    reply = await serving.call("GET", f"/secrets?{V}")

    assert [item["id"] for item in reply.json["value"]] == [f"{BASE}/secrets/code"]
    assert reply.json["nextLink"] is None
    assert b"s3cret" not in reply.body


async def test_list_goes_on_where_its_link_leads(serving: Serving) -> None:
    await secrets(serving, 57)
    seen: list[str] = []
    link = f"{BASE}/secrets?{V}&maxresults=25"
    while link:
        page = (await serving.call("GET", link.removeprefix(BASE))).json
        assert len(page["value"]) <= 25
        seen += [item["id"].rpartition("/")[2] for item in page["value"]]
        link = page["nextLink"]

    assert seen == ["code", *(f"s{number:02}" for number in range(57))]
    assert (await serving.call("GET", f"/secrets?{V}")).json["nextLink"].startswith(f"{BASE}/secrets?{V}&")


async def test_versions_are_listed_the_newest_first(serving: Serving) -> None:
    await serving.vaulting.access.set("vault-one", "code", NewSecret("newer"), None)
    expected = [
        f"{BASE}/secrets/code/{one.version}" for one in serving.vaulting.access.versions("vault-one", "code", None)
    ]

    first = (await serving.call("GET", f"/secrets/code/versions?{V}&maxresults=1")).json
    second = (await serving.call("GET", first["nextLink"].removeprefix(BASE))).json

    assert [item["id"] for page in (first, second) for item in page["value"]] == expected
    assert second["nextLink"] is None
    assert await serving.fault("GET", f"/secrets/other/versions?{V}") == (404, "SecretNotFound")


@pytest.mark.parametrize("query", ["maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=x", "$skiptoken=-1"])
async def test_bad_page_is_refused(serving: Serving, query: str) -> None:
    assert await serving.fault("GET", f"/secrets?{V}&{query}") == (400, "BadParameter")


# What is not there


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/deletedsecrets"),
        ("GET", "/deletedsecrets/code"),
        ("DELETE", "/deletedsecrets/code"),
        ("POST", "/deletedsecrets/code/recover"),
        ("POST", "/secrets/code/backup"),
        ("POST", "/secrets/restore"),
        ("GET", "/keys"),
        ("GET", "/certificates"),
    ],
)
async def test_what_this_server_does_not_have_is_said(serving: Serving, method: str, target: str) -> None:
    assert await serving.fault(method, f"{target}?{V}") == (501, "NotSupported")
    assert await serving.fault(method, f"{target}?{V}", who=None) == (401, "Unauthorized")


async def test_other_paths_and_methods_have_the_errors_of_a_vault(serving: Serving) -> None:
    assert await serving.fault("GET", f"/nothing?{V}") == (404, "NotFound")
    assert await serving.fault("GET", "/api/health") == (404, "NotFound")
    assert await serving.fault("POST", f"/secrets/code?{V}") == (405, "MethodNotAllowed")


async def test_vaults_are_served_at_their_own_address_only(serving: Serving) -> None:
    """Neither at that of a resource, nor does the operator reach them there."""
    for state in ({"host": "hub.example"}, {"resource": "wps-one"}, {"control": True}):
        reply = await serving.call("GET", f"/secrets/code?{V}", state=state)
        assert (reply.status, reply.headers["x-ms-error-code"]) == (404, "Error.NotFound")
    reply = await serving.call(
        "GET", "/control/vaults/vault-one/secrets", state={"resource": listener_name("vault", "vault-one")}
    )
    assert reply.status == 404


async def test_vault_that_is_gone_is_not_found(serving: Serving) -> None:
    state = {"resource": listener_name("vault", "other"), "host": "other.vault.azure.net"}

    assert await serving.fault("GET", f"/secrets/code?{V}", state=state) == (404, "VaultNotFound")


# The operator


async def test_operator_sets_lists_shows_and_deletes_secrets(serving: Serving) -> None:
    path = "/control/vaults/vault-one/secrets"
    made = await serving.operate("PUT", f"{path}/new", {"value": "n3w", "contentType": "text/plain"})
    assert (made.status, made.json["name"], made.json["contentType"]) == (200, "new", "text/plain")
    assert "value" not in made.json

    assert (await serving.operate("GET", "/control/vaults")).json == {
        "value": [{"name": "Vault-One", "vaultUri": "https://vault-one.example:9443/"}]
    }
    listed = (await serving.operate("GET", path)).json["value"]
    assert [item["name"] for item in listed] == ["code", "new"]
    shown = await serving.operate("GET", f"{path}/new")
    assert (shown.json["name"], shown.json["versions"]) == ("new", [made.json["version"]])
    assert b"n3w" not in shown.body
    assert (await serving.operate("POST", f"{path}/new/:value")).json["value"] == "n3w"
    assert (await serving.operate("DELETE", f"{path}/new")).status == 204
    for method, target, document in (
        ("GET", f"{path}/new", None),
        ("POST", f"{path}/new/:value", None),
        ("DELETE", f"{path}/new", None),
        ("GET", "/control/vaults/other/secrets", None),
        ("PUT", "/control/vaults/other/secrets/x", {"value": "x"}),
    ):
        assert (await serving.operate(method, target, document)).status == 404


@pytest.mark.parametrize("document", [{}, [], {"value": 1}, {"value": "s3cret", "attributes": 1}])
async def test_operator_is_told_what_is_wrong_without_the_value(serving: Serving, document: Any) -> None:
    reply = await serving.operate("PUT", "/control/vaults/vault-one/secrets/x", document)

    assert reply.status == 400
    assert b"s3cret" not in reply.body

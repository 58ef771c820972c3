from collections.abc import Mapping
from typing import Any, Literal

import jwt as pyjwt
import pytest
from msgspec.structs import replace

from auth.entra import (
    APP_ID,
    BASE_URL,
    ISSUER_URL,
    NOW,
    OBJECT_ID,
    SECRET,
    TENANT,
    VARIANTS,
    Clock,
    ForeignKeys,
    InMemory,
    Variant,
    application,
    assertion,
    decoded,
    header_of,
    rsa_key,
    signed,
)
from hubwire.auth.assertions import ASSERTION_TYPE
from hubwire.auth.issuer import Granted, Issuer, TokenRequest, Version
from hubwire.auth.refusals import TokenRefused
from hubwire.model.directory import Application, ClientSecret, FederatedCredential, User, secret_digest
from hubwire.model.errors import NotFound, Unavailable
from hubwire.model.identities import ManagedIdentity

WEBPUBSUB = "https://webpubsub.azure.com"
API_ID = "66666666-aaaa-4000-8000-00000000000c"
API = Application(API_ID, "api-object", "api", int(NOW), id_uris=("api://chat", "https://chat.example/api"))
CLUSTER = "https://cluster.example/oidc"
SUBJECT = "system:serviceaccount:default:chat"
EXCHANGE = "api://AzureADTokenExchange"
ALICE = User("88888888-aaaa-4000-8000-00000000000d", "alice@hubwire.localhost", "Alice", int(NOW))
PASSWORD = "correct horse"
IDENTITY = Application(
    "77777777-aaaa-4000-8000-00000000000e",
    "machine-object",
    "machine",
    int(NOW),
    "systemAssigned",
    resource_id="/machine",
)


class World:
    """An issuer and everything around it."""

    def __init__(self, *, user_tokens: bool = False, app: Application | None = None, down: bool = False) -> None:
        self.clock = Clock()
        self.directory = InMemory(app or application(), API, IDENTITY)
        self.directory.users = [ALICE]
        self.directory.passwords = {ALICE.name: PASSWORD}
        self.foreign = ForeignKeys({(CLUSTER, "k1"): rsa_key("cluster").public_key()}, down=down)
        self.issuer = Issuer(
            self.directory,
            BASE_URL,
            ("http://localhost:8080", "https://Hub.example"),
            self.foreign,
            user_tokens=user_tokens,
            clock=self.clock,
        )

    async def ask(
        self,
        fields: Mapping[str, str],
        *,
        version: Version = 2,
        tenant: str = TENANT.tenant_id,
        basic: tuple[str, str] | None = None,
        address: str = "10.0.0.1",
        correlation: str = "",
    ) -> Granted:
        return await self.issuer.grant(TokenRequest(tenant, version, fields, basic, address, correlation))

    async def refusal(self, fields: Mapping[str, str], **more: Any) -> TokenRefused:
        """The answer, in which nothing stands that is a secret."""
        with pytest.raises(TokenRefused) as refused:
            await self.ask(fields, **more)
        secrets = [fields.get(name) for name in ("client_secret", "client_assertion", "password")]
        secrets += [(more.get("basic") or ("", None))[1], SECRET, PASSWORD]
        assert not any(secret in refused.value.message for secret in secrets if secret)
        assert refused.value.message.startswith(f"AADSTS{refused.value.code}: ")
        return refused.value

    def verified(self, granted: Granted) -> dict[str, Any]:
        """The claims, proved by an ordinary library with the keys that are published."""
        (key,) = [
            known
            for known in self.issuer.ring.published("")
            if known["kid"] == pyjwt.get_unverified_header(granted.token)["kid"]
        ]
        jws = pyjwt.decode_complete(
            granted.token,
            pyjwt.PyJWK(key),
            ["RS256"],
            {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
        claims: dict[str, Any] = jws["payload"]
        return claims


@pytest.fixture
def world() -> World:
    return World()


def with_secret(**more: str | None) -> dict[str, str]:
    """What the official libraries send with a secret; None takes a field away."""
    known = {
        "grant_type": "client_credentials",
        "client_id": APP_ID,
        "client_secret": SECRET,
        "scope": f"{WEBPUBSUB}/.default",
        "client_info": "1",
        "x-client-SKU": "MSAL.Python",
    }
    return {name: value for name, value in {**known, **more}.items() if value is not None}


def with_assertion(text: str | None = None, **more: str | None) -> dict[str, str]:
    proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion() if text is None else text}
    return with_secret(**{"client_secret": None, **proof, **more})


def with_password(**more: str | None) -> dict[str, str]:
    known = {"grant_type": "password", "username": ALICE.name, "password": PASSWORD, "client_secret": None}
    return with_secret(**{**known, "scope": f"{WEBPUBSUB}/.default", "client_info": None, **more})


def federated(**more: Any) -> Application:
    return application(federated=(FederatedCredential(CLUSTER, SUBJECT, EXCHANGE),), **more)


def foreign(kid: object = "k1", key: str = "cluster", pss: bool = False, **claims: object) -> str:
    known = {"iss": CLUSTER, "sub": SUBJECT, "aud": [EXCHANGE], "exp": NOW + 3600, "jti": "same"}
    header = {"alg": "PS256" if pss else "RS256", "kid": kid}
    return signed({**known, **claims}, rsa_key(key), header, pss=pss)


# What stands in a token


async def test_token_of_an_application_for_a_resource_of_azure_is_of_version_1(world: World) -> None:
    granted = await world.ask(with_secret())

    claims = world.verified(granted)
    for opaque in ("aio", "rh", "uti"):
        assert isinstance(claims.pop(opaque), str)
    assert claims == {
        "aud": WEBPUBSUB,
        "iss": ISSUER_URL,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3599,
        "idp": ISSUER_URL,
        "appid": APP_ID,
        "appidacr": "1",
        "oid": OBJECT_ID,
        "sub": OBJECT_ID,
        "idtyp": "app",
        "tid": TENANT.tenant_id,
        "ver": "1.0",
    }
    header = header_of(granted.token)
    assert header == {"typ": "JWT", "alg": "RS256", "kid": header["kid"], "x5t": header["kid"]}


async def test_token_for_an_application_by_its_id_is_of_version_2(world: World) -> None:
    granted = await world.ask(with_secret(scope=f"{API_ID}/.default"))

    claims = world.verified(granted)
    assert {name: claims.get(name) for name in ("aud", "ver", "azp", "azpacr", "oid", "sub", "idtyp")} == {
        "aud": API_ID,
        "ver": "2.0",
        "azp": APP_ID,
        "azpacr": "1",
        "oid": OBJECT_ID,
        "sub": OBJECT_ID,
        "idtyp": "app",
    }
    assert not {"appid", "appidacr", "idp", "scp", "roles", "xms_cc"} & set(claims)
    assert "x5t" not in header_of(granted.token)


async def test_dates_are_whole_seconds(world: World) -> None:
    world.clock.now = NOW + 0.75

    claims = decoded((await world.ask(with_secret())).token)

    assert all(isinstance(claims[name], int) for name in ("iat", "nbf", "exp"))


async def test_answer_says_what_was_granted(world: World) -> None:
    granted = await world.ask(with_secret())

    assert granted == Granted(granted.token, 3599, int(NOW), WEBPUBSUB, APP_ID)


async def test_no_two_tokens_are_the_same(world: World) -> None:
    claims = [decoded((await world.ask(with_secret())).token) for _ in range(2)]

    assert claims[0]["uti"] != claims[1]["uti"]
    assert claims[0]["aio"] != claims[1]["aio"]


@pytest.mark.parametrize("variant", VARIANTS)
async def test_token_says_that_a_key_proved_the_application(world: World, variant: Variant) -> None:
    claims = decoded((await world.ask(with_assertion(assertion(variant)))).token)

    assert (claims["appid"], claims["appidacr"]) == (APP_ID, "2")


@pytest.mark.parametrize(
    "tenant",
    [TENANT.tenant_id, TENANT.tenant_id.upper(), TENANT.domain, "HubWire.localhost", "common", "organizations"]
    + ["consumers"],
)
async def test_every_name_of_the_tenant_leads_to_the_same_issuer(world: World, tenant: str) -> None:
    claims = decoded((await world.ask(with_secret(), tenant=tenant)).token)

    assert (claims["iss"], claims["tid"]) == (ISSUER_URL, TENANT.tenant_id)


def test_issuer_tells_its_url_and_its_tenant(world: World) -> None:
    assert (world.issuer.url, world.issuer.tenant_id) == (ISSUER_URL, TENANT.tenant_id)
    assert not world.issuer.is_tenant("common", shared=False)
    assert world.issuer.is_tenant("common")


async def test_client_that_understands_claims_challenges_is_told_to_resources(world: World) -> None:
    asked = (
        '{"access_token":{"xms_cc":{"values":["CP1"]}}}',
        '{"access_token": {"xms_cc": {"values": ["cp1"]}}, "id_token": {"x": null}}',
    )
    for claims in asked:
        assert decoded((await world.ask(with_secret(claims=claims))).token)["xms_cc"] == ["CP1"]


@pytest.mark.parametrize(
    "claims", ["", "{}", "junk", '{"access_token":{"xms_cc":{"values":["CP2"]}}}', '"cp1"', "{" * 9000]
)
async def test_other_requests_for_claims_change_nothing(world: World, claims: str) -> None:
    assert "xms_cc" not in decoded((await world.ask(with_secret(claims=claims))).token)


# Who asks


async def test_client_id_has_any_letter_case(world: World) -> None:
    assert (await world.ask(with_secret(client_id=APP_ID.upper()))).client_id == APP_ID


async def test_secret_may_come_in_the_authorization_header(world: World) -> None:
    for client_id in (None, APP_ID, APP_ID.upper()):
        fields = with_secret(client_secret=None, client_id=client_id)

        granted = await world.ask(fields, basic=(APP_ID, SECRET))

        assert decoded(granted.token)["appidacr"] == "1"


async def test_each_secret_of_an_application_is_good() -> None:
    secrets = tuple(
        ClientSecret(text, secret_digest(text), text[:3], int(NOW), int(NOW) + 60) for text in ("first", "second")
    )
    world = World(app=application(secrets=secrets))

    for text in ("first", "second"):
        assert await world.ask(with_secret(client_secret=text))
    assert (await world.refusal(with_secret(client_secret="third"))).code == 7000215


async def test_secret_is_good_until_its_end(world: World) -> None:
    world.clock.now = NOW + 24 * 3600 - 1
    assert await world.ask(with_secret())

    world.clock.now = NOW + 24 * 3600

    assert (await world.refusal(with_secret())).code == 7000222
    assert (await world.refusal(with_secret(client_secret="wrong"))).code == 7000215


async def test_assertion_is_good_once_for_each_request(world: World) -> None:
    """The resource, however it is spelled, and what the client calls its request make one."""
    fields = with_assertion()
    await world.ask(fields)

    assert (await world.refusal(fields)).code == 700027
    assert await world.ask({**fields, "scope": "https://vault.azure.net/.default"})
    for spelling in (f"openid {WEBPUBSUB}/.default", f"{WEBPUBSUB}//.default", f" {WEBPUBSUB}/.default"):
        assert (await world.refusal({**fields, "scope": spelling})).code == 700027
    claims = '{"access_token":{"xms_cc":{"values":["CP1"]}}}'
    assert (await world.refusal({**fields, "claims": claims})).code == 700027
    assert (await world.refusal({**fields, "resource": WEBPUBSUB}, version=1)).code == 700027
    for name in ("one", "two"):
        assert await world.ask(fields, correlation=name)
        assert (await world.refusal(fields, correlation=name)).code == 700027
    assert (await world.refusal(fields, correlation="three", address="10.0.0.2")).code == 700027
    other = {**fields, "scope": "https://management.azure.com/.default"}
    assert (await world.refusal(other, address="10.0.0.2")).code == 700027


# Refusals


REFUSED: list[tuple[dict[str, str], int, int, str]] = [
    (with_secret(client_secret="wrong-secret"), 401, 7000215, "invalid_client"),
    (with_secret(client_secret=""), 401, 7000215, "invalid_client"),
    (with_secret(client_secret=SECRET[:-1]), 401, 7000215, "invalid_client"),
    (with_secret(client_secret=None), 401, 7000218, "invalid_client"),
    (with_assertion(""), 401, 7000218, "invalid_client"),
    (with_assertion("junk"), 401, 700027, "invalid_client"),
    (with_assertion(assertion(key=rsa_key("attacker"))), 401, 700027, "invalid_client"),
    (with_assertion(assertion(name="other")), 401, 700027, "invalid_client"),
    (with_assertion(assertion(iss=API_ID)), 401, 700027, "invalid_client"),
    (with_assertion(assertion(sub=API_ID)), 401, 700027, "invalid_client"),
    (with_assertion(assertion(lifetime_s=-301)), 401, 700024, "invalid_client"),
    (with_assertion(assertion(audience="https://elsewhere")), 401, 700023, "invalid_client"),
    (with_secret(client_id="99999999-aaaa-4000-8000-000000000009"), 400, 700016, "unauthorized_client"),
    (with_secret(client_id=IDENTITY.app_id), 400, 700016, "unauthorized_client"),
    (with_secret(client_id=OBJECT_ID), 400, 700016, "unauthorized_client"),
    (with_secret(scope=WEBPUBSUB), 400, 1002012, "invalid_scope"),
    (with_secret(scope=f"{WEBPUBSUB}/read"), 400, 1002012, "invalid_scope"),
    (with_secret(scope="https://x.example/x.default"), 400, 1002012, "invalid_scope"),
    (with_secret(scope=f"{WEBPUBSUB}/.default Mail.Read"), 400, 1002012, "invalid_scope"),
    (with_secret(scope='"x"/.default'), 400, 70011, "invalid_scope"),
    (with_secret(scope="a\\b/.default"), 400, 70011, "invalid_scope"),
    (with_secret(scope="ä/.default"), 400, 70011, "invalid_scope"),
    (with_secret(scope="a\n/.default"), 400, 70011, "invalid_scope"),
    (with_secret(scope=" "), 400, 70011, "invalid_scope"),
    (with_secret(scope="openid profile"), 400, 70011, "invalid_scope"),
    (with_secret(scope=f"{WEBPUBSUB}/.default https://vault.azure.net/.default"), 400, 28000, "invalid_scope"),
    (with_secret(scope="https://unknown.example/.default"), 400, 500011, "invalid_resource"),
    (with_secret(scope="api://unknown/.default"), 400, 500011, "invalid_resource"),
    (with_secret(scope=f"{OBJECT_ID}/.default"), 400, 500011, "invalid_resource"),
    (with_secret(scope=f"{WEBPUBSUB}.example/.default"), 400, 500011, "invalid_resource"),
    (with_secret(scope=None), 400, 900144, "invalid_request"),
    (with_secret(scope=""), 400, 900144, "invalid_request"),
    (with_secret(client_id=None), 400, 900144, "invalid_request"),
    (with_secret(grant_type=None), 400, 900144, "invalid_request"),
    (with_secret(grant_type=""), 400, 900144, "invalid_request"),
    (with_assertion(client_assertion_type=None), 400, 900144, "invalid_request"),
    (with_assertion(client_assertion_type="urn:other"), 400, 90013, "invalid_request"),
    (with_assertion(client_secret=SECRET), 400, 90013, "invalid_request"),
    (with_secret(grant_type="authorization_code"), 400, 70003, "unsupported_grant_type"),
    (with_secret(grant_type="refresh_token"), 400, 70003, "unsupported_grant_type"),
    (with_secret(grant_type="Client_Credentials"), 400, 70003, "unsupported_grant_type"),
    (with_password(), 400, 70003, "unsupported_grant_type"),
    ({}, 400, 900144, "invalid_request"),
]


@pytest.mark.parametrize(("fields", "status", "code", "error"), REFUSED)
async def test_refusal_has_the_number_and_the_error_of_entra(
    world: World, fields: dict[str, str], status: int, code: int, error: str
) -> None:
    refused = await world.refusal(fields)

    assert (refused.status, refused.code, refused.error) == (status, code, error)
    assert refused.is_failed_proof is (status == 401)


@pytest.mark.parametrize(
    "tenant",
    ["99999999-aaaa-4000-8000-000000000009", "", "other.example", TENANT.tenant_id[:-1], "<script>", "a\nb", "x" * 300],
)
async def test_unknown_tenant_is_refused_and_named_only_if_it_looks_like_one(world: World, tenant: str) -> None:
    refused = await world.refusal(with_secret(), tenant=tenant)

    assert (refused.status, refused.code, refused.error) == (400, 90002, "invalid_request")
    assert (f"'{tenant}'" in refused.message) is (
        tenant.replace("-", "").replace(".", "").isalnum() and len(tenant) < 254
    )
    assert not refused.is_failed_proof


def test_discovery_of_an_unknown_tenant_has_another_error(world: World) -> None:
    with pytest.raises(TokenRefused) as refused:
        world.issuer.check_tenant("other.example", "invalid_tenant")

    assert (refused.value.status, refused.value.code, refused.value.error) == (400, 90002, "invalid_tenant")


@pytest.mark.parametrize(
    ("basic", "more", "code"),
    [
        ((APP_ID, "wrong"), {}, 7000215),
        ((APP_ID, ""), {}, 7000215),
        ((API_ID, SECRET), {"client_id": None}, 7000215),
        (("", SECRET), {"client_id": None}, 700016),
        (("unknown", SECRET), {"client_id": None}, 700016),
        ((API_ID, SECRET), {}, 90013),
        ((APP_ID, SECRET), {"client_secret": SECRET}, 90013),
        ((APP_ID, SECRET), {"client_assertion": "x.y.z"}, 90013),
    ],
)
async def test_authorization_header_is_refused_like_the_fields(
    world: World, basic: tuple[str, str], more: dict[str, str | None], code: int
) -> None:
    fields = with_secret(**{"client_secret": None, **more})

    assert (await world.refusal(fields, basic=basic)).code == code


async def test_secret_in_the_place_of_the_client_id_is_not_shown(world: World) -> None:
    refused = await world.refusal(with_secret(client_id=SECRET, client_secret="x"))

    assert refused.code == 700016
    assert SECRET not in refused.message


async def test_secret_of_one_application_proves_no_other(world: World) -> None:
    other = replace(application(), app_id=API_ID, secrets=(), certificates=())
    world.directory.apps = [application(), other]

    assert (await world.refusal(with_secret(client_id=API_ID))).code == 7000215


async def test_deleted_application_is_unknown_at_once(world: World) -> None:
    await world.ask(with_secret())

    world.directory.apps = [API]

    assert (await world.refusal(with_secret())).code == 700016


@pytest.mark.parametrize("resource", ["api://0.0.1:9443", "https://Vault.localhost:8443/"])
async def test_key_vault_of_this_server_is_a_resource(world: World, resource: str) -> None:
    """By what it says itself, which is asked for as it is."""
    known = {"api://0.0.1:9443", "https://vault.localhost:8443"}
    world.issuer.is_vault = known.__contains__

    claims = world.verified(await world.ask(with_secret(scope=f"{resource}/.default")))

    assert (claims["aud"], claims["ver"]) == (resource, "1.0")
    world.issuer.is_vault = lambda _: False
    assert (await world.refusal(with_secret(scope=f"{resource}/.default"))).code == 500011


async def test_error_of_an_unknown_resource_shows_it_only_if_that_is_harmless(world: World) -> None:
    assert (
        "https://unknown.example"
        in (await world.refusal(with_secret(scope="https://unknown.example/.default"))).message
    )
    long = "https://unknown.example/" + "x" * 300
    assert long not in (await world.refusal(with_secret(scope=f"{long}/.default"))).message
    refused = await world.refusal(with_secret(resource="ü\n<b>"), version=1)
    assert (refused.code, "<b>" in refused.message) == (500011, False)


# What for


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        (f"{WEBPUBSUB}/.default", WEBPUBSUB),
        (f"{WEBPUBSUB}//.default", f"{WEBPUBSUB}/"),
        ("https://communication.azure.com//.default", "https://communication.azure.com/"),
        ("https://management.core.windows.net//.default", "https://management.core.windows.net/"),
        ("https://management.azure.com/.default", "https://management.azure.com"),
        ("https://vault.azure.net/.default", "https://vault.azure.net"),
        (".default", "https://graph.microsoft.com"),
        ("https://graph.microsoft.com/.default", "https://graph.microsoft.com"),
        (f"openid {WEBPUBSUB}/.default", WEBPUBSUB),
        (f"{WEBPUBSUB}/.default  offline_access OpenID profile email", WEBPUBSUB),
        ("https://WebPubSub.azure.com/.default", "https://WebPubSub.azure.com"),
        (f"{BASE_URL}/.default", BASE_URL),
        (f"{BASE_URL}//.default", f"{BASE_URL}/"),
        ("http://localhost:8080/.default", "http://localhost:8080"),
        ("https://hub.example/.default", "https://hub.example"),
        ("api://chat/.default", "api://chat"),
        ("api://chat//.default", "api://chat/"),
        ("https://chat.example/api/.default", "https://chat.example/api"),
        (f"api://{API_ID}/.default", f"api://{API_ID}"),
    ],
)
async def test_scope_names_the_audience_as_it_was_asked_for(world: World, scope: str, audience: str) -> None:
    granted = await world.ask(with_secret(scope=scope))

    claims = decoded(granted.token)
    assert (claims["aud"], claims["ver"], granted.resource) == (audience, "1.0", audience)


@pytest.mark.parametrize(
    ("scope", "setting", "audience", "version"),
    [
        (f"{API_ID}/.default", None, API_ID, "2.0"),
        (f"{API_ID.upper()}/.default", None, API_ID, "2.0"),
        (f"{API_ID}/.default", 1, API_ID, "1.0"),
        (f"{API_ID}/.default", 2, API_ID, "2.0"),
        ("api://chat/.default", 1, "api://chat", "1.0"),
        ("api://chat/.default", 2, API_ID, "2.0"),
        (f"api://{API_ID}/.default", 2, API_ID, "2.0"),
    ],
)
async def test_version_of_tokens_is_a_setting_of_the_resource(
    world: World, scope: str, setting: Literal[1, 2] | None, audience: str, version: str
) -> None:
    world.directory.apps = [application(), replace(API, token_version=setting)]

    claims = decoded((await world.ask(with_secret(scope=scope))).token)

    assert (claims["aud"], claims["ver"]) == (audience, version)


@pytest.mark.parametrize("resource", [WEBPUBSUB, f"{WEBPUBSUB}/", "api://chat", "https://communication.azure.com/"])
async def test_endpoint_of_version_1_is_asked_for_a_resource(world: World, resource: str) -> None:
    granted = await world.ask(with_secret(scope=None, resource=resource), version=1)

    assert decoded(granted.token)["aud"] == granted.resource == resource


async def test_endpoint_of_version_1_demands_a_resource_and_looks_at_no_scope(world: World) -> None:
    assert (await world.refusal(with_secret(), version=1)).code == 900144
    assert (await world.refusal(with_secret(resource="https://unknown.example"), version=1)).code == 500011


# Identities of resources

WPS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.SignalRService/WebPubSub/wps"
SYSTEM = ManagedIdentity(
    "SystemAssigned", WPS, WPS, "99999999-aaaa-4000-8000-00000000000f", "99999999-aaaa-4000-8000-00000000000e"
)
USER = ManagedIdentity(
    "UserAssigned",
    WPS,
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/robot",
    "99999999-aaaa-4000-8000-00000000000d",
    "99999999-aaaa-4000-8000-00000000000c",
)
NOBODY = "0123ABCD-aaaa-4000-8000-00000000000f"


@pytest.mark.parametrize(
    "audience",
    ["api://orders", "https://orders.example/api/", "urn:orders", "anything", "api://chat", WEBPUBSUB, f"{BASE_URL}/"],
)
def test_resource_has_a_token_for_exactly_the_audience_that_was_configured(world: World, audience: str) -> None:
    granted = world.issuer.to_resource(SYSTEM, audience)

    claims = world.verified(granted)
    header = header_of(granted.token)
    assert header["x5t"] == header["kid"]
    assert {name: value for name, value in claims.items() if name not in ("aio", "rh", "uti")} == {
        "aud": audience,
        "iss": ISSUER_URL,
        "iat": int(NOW),
        "nbf": int(NOW),
        "exp": int(NOW) + 24 * 3600 - 1,
        "appid": SYSTEM.client_id,
        "appidacr": "2",
        "idp": ISSUER_URL,
        "idtyp": "app",
        "oid": SYSTEM.principal_id,
        "sub": SYSTEM.principal_id,
        "tid": TENANT.tenant_id,
        "ver": "1.0",
        "xms_mirid": WPS,
    }
    assert (granted.resource, granted.client_id) == (audience, SYSTEM.client_id)
    assert (granted.lifetime_s, granted.issued_at) == (24 * 3600 - 1, int(NOW))


def test_token_for_an_application_id_that_nobody_registered_is_of_version_2(world: World) -> None:
    granted = world.issuer.to_resource(SYSTEM, NOBODY)

    claims = world.verified(granted)
    assert (claims["aud"], claims["ver"], claims["azp"], claims["azpacr"]) == (NOBODY, "2.0", SYSTEM.client_id, "2")
    assert not claims.keys() & {"appid", "appidacr", "idp"}
    assert "x5t" not in header_of(granted.token)


@pytest.mark.parametrize(
    ("audience", "setting", "expected", "version"),
    [
        (API_ID, None, API_ID, "2.0"),
        (API_ID, 1, API_ID, "1.0"),
        ("api://chat", None, "api://chat", "1.0"),
        ("api://chat", 2, API_ID, "2.0"),
    ],
)
def test_token_for_a_registered_application_is_as_that_wants_it(
    world: World, audience: str, setting: Literal[1, 2] | None, expected: str, version: str
) -> None:
    world.directory.apps = [replace(API, token_version=setting)]

    claims = decoded(world.issuer.to_resource(SYSTEM, audience).token)

    assert (claims["aud"], claims["ver"]) == (expected, version)


def test_token_of_a_user_assigned_identity_names_it_and_the_resource_that_uses_it(world: World) -> None:
    claims = world.verified(world.issuer.to_resource(USER, "api://orders"))

    assert (claims["xms_mirid"], claims["xms_az_rid"]) == (USER.identity_id, WPS)
    assert (claims["appid"], claims["oid"], claims["sub"]) == (USER.client_id, USER.principal_id, USER.principal_id)


# Managed identities


@pytest.mark.parametrize("selector", [None, IDENTITY.app_id, IDENTITY.resource_id])
def test_managed_identity_has_a_token_for_a_day(world: World, selector: str | None) -> None:
    granted = world.issuer.to_identity("https://communication.azure.com/", selector)

    claims = world.verified(granted)
    assert claims["exp"] - claims["iat"] == granted.lifetime_s == 86399
    assert {name: claims[name] for name in ("aud", "appid", "appidacr", "oid", "sub", "idtyp", "xms_mirid", "ver")} == {
        "aud": "https://communication.azure.com/",
        "appid": IDENTITY.app_id,
        "appidacr": "2",
        "oid": "machine-object",
        "sub": "machine-object",
        "idtyp": "app",
        "xms_mirid": "/machine",
        "ver": "1.0",
    }
    assert (granted.client_id, granted.resource) == (IDENTITY.app_id, "https://communication.azure.com/")


def test_managed_identity_may_ask_for_an_application_by_its_id(world: World) -> None:
    claims = decoded(world.issuer.to_identity(API_ID, None).token)

    assert (claims["aud"], claims["ver"], claims["azp"], claims["azpacr"]) == (API_ID, "2.0", IDENTITY.app_id, "2")


def test_managed_identity_that_is_not_there_is_not_found(world: World) -> None:
    for selector in ("unknown", APP_ID, ""):
        with pytest.raises(NotFound, match="Identity not found"):
            world.issuer.to_identity(WEBPUBSUB, selector)


def test_managed_identity_gets_no_token_for_what_nobody_knows(world: World) -> None:
    with pytest.raises(TokenRefused) as refused:
        world.issuer.to_identity("https://unknown.example", None)
    assert (refused.value.code, refused.value.error) == (500011, "invalid_resource")


async def test_secret_in_the_place_of_a_scope_is_not_repeated(world: World) -> None:
    refused = await world.refusal(with_secret(scope=f"{SECRET}/.default"))

    assert (refused.code, SECRET in refused.message) == (500011, False)


# Federated credentials


async def test_token_of_another_issuer_proves_the_application() -> None:
    world = World(app=federated())

    granted = await world.ask(with_assertion(foreign()))

    assert decoded(granted.token)["appidacr"] == "2"
    assert world.foreign.asked == [(CLUSTER, "k1")]


async def test_token_of_another_issuer_is_good_more_than_once() -> None:
    """It lies in a file, and is sent with each request until there is a new one."""
    world, fields = World(app=federated()), with_assertion(foreign())

    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        assert await world.ask(fields, address=address)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (foreign(sub="system:serviceaccount:default:other"), 700213),
        (foreign(sub=None), 700213),
        (foreign(sub=[SUBJECT]), 700213),
        (foreign(aud="api://other"), 700213),
        (foreign(aud=[]), 700213),
        (foreign(aud=None), 700213),
        (foreign(aud={EXCHANGE: 1}), 700213),
        (foreign(kid="k2"), 700027),
        (foreign(kid=None), 700027),
        (foreign(kid=7), 700027),
        (foreign(key="attacker"), 700027),
        (foreign(pss=True), 700027),
        (foreign(exp=NOW - 300), 700027),
        (foreign(nbf=NOW + 301), 700027),
        (foreign(iss="https://elsewhere"), 700027),
        (foreign(iss=f"{CLUSTER}/"), 700027),
    ],
)
async def test_other_token_of_another_issuer_proves_nothing(text: str, code: int) -> None:
    world = World(app=federated())

    refused = await world.refusal(with_assertion(text))

    assert (refused.status, refused.code, refused.error) == (401, code, "invalid_client")


async def test_token_of_this_issuer_for_a_managed_identity_can_stand_for_an_application() -> None:
    """As a managed identity is a federated credential in Azure; its keys are here already."""
    credential = FederatedCredential(ISSUER_URL, IDENTITY.object_id, EXCHANGE)
    world = World(app=application(federated=(credential,)))

    granted = await world.ask(with_assertion(world.issuer.to_identity(EXCHANGE, None).token))

    assert decoded(granted.token)["oid"] == OBJECT_ID
    assert world.foreign.asked == []


async def test_nothing_is_fetched_for_a_token_that_proves_nothing_anyway() -> None:
    world = World(app=federated())
    for text in (foreign(sub="other"), foreign(iss="https://elsewhere"), foreign(kid=None)):
        await world.refusal(with_assertion(text))
    await World().refusal(with_assertion(foreign()))

    assert world.foreign.asked == []


async def test_subject_and_audience_are_of_one_and_the_same_credential() -> None:
    credentials = (FederatedCredential(CLUSTER, SUBJECT, "one"), FederatedCredential(CLUSTER, "other", EXCHANGE))
    world = World(app=application(federated=credentials))

    assert (await world.refusal(with_assertion(foreign()))).code == 700213
    assert await world.ask(with_assertion(foreign(aud="one")))
    assert await world.ask(with_assertion(foreign(sub="other", aud=EXCHANGE)))


async def test_certificate_is_as_good_beside_a_federated_credential() -> None:
    assert await World(app=federated()).ask(with_assertion())


async def test_keys_of_another_issuer_that_cannot_be_had_are_no_failed_proof() -> None:
    with pytest.raises(Unavailable):
        await World(app=federated(), down=True).ask(with_assertion(foreign()))


# Users


async def test_users_get_no_tokens_unless_that_is_turned_on(world: World) -> None:
    refused = await world.refusal(with_password())

    assert refused.code == 70003
    assert "user_tokens" in refused.message
    assert world.directory.asked_for_passwords == []
    assert "user_tokens" not in (await world.refusal(with_secret(grant_type="other"))).message


async def test_user_with_the_right_password_gets_a_token() -> None:
    world = World(user_tokens=True)

    granted = await world.ask(with_password())

    claims = world.verified(granted)
    for opaque in ("aio", "rh", "uti", "sub"):
        assert isinstance(claims.pop(opaque), str)
    assert claims == {
        "aud": WEBPUBSUB,
        "iss": ISSUER_URL,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3599,
        "idp": ISSUER_URL,
        "appid": APP_ID,
        "appidacr": "0",
        "amr": ["pwd"],
        "acr": "1",
        "oid": ALICE.object_id,
        "name": "Alice",
        "upn": ALICE.name,
        "unique_name": ALICE.name,
        "scp": "user_impersonation",
        "tid": TENANT.tenant_id,
        "ver": "1.0",
    }
    assert granted.scopes == (f"{WEBPUBSUB}/user_impersonation",)
    assert (granted.id_token, granted.client_info) == (None, None)


async def test_token_of_version_2_names_the_user_otherwise() -> None:
    claims = decoded((await World(user_tokens=True).ask(with_password(scope=f"{API_ID}/Chat.Send"))).token)

    assert (claims["ver"], claims["scp"], claims["azpacr"]) == ("2.0", "Chat.Send", "0")
    assert claims["preferred_username"] == ALICE.name
    assert not {"upn", "unique_name", "amr", "acr", "idtyp"} & set(claims)


async def test_subject_of_a_user_differs_between_resources_and_stays_the_same_at_each() -> None:
    world = World(user_tokens=True)
    subjects = [
        decoded((await world.ask(with_password(scope=f"{resource}/.default"))).token)["sub"]
        for resource in (WEBPUBSUB, WEBPUBSUB, "api://chat")
    ]

    assert subjects[0] == subjects[1] != subjects[2]
    assert ALICE.object_id not in subjects


@pytest.mark.parametrize(
    ("scope", "audience", "names"),
    [
        (f"{WEBPUBSUB}//.default", f"{WEBPUBSUB}/", "user_impersonation"),
        ("api://chat/Read api://chat/Write", "api://chat", "Read Write"),
        ("User.Read", "https://graph.microsoft.com", "User.Read"),
        ("openid profile", "https://graph.microsoft.com", "User.Read"),
        ("openid offline_access api://chat/Read", "api://chat", "Read"),
        ("https://auth.msft.communication.azure.com/Teams.ManageCalls",)
        + ("https://auth.msft.communication.azure.com", "Teams.ManageCalls"),
        ("1fd5118e-2576-4263-8130-9503064c837a/.default",)
        + ("1fd5118e-2576-4263-8130-9503064c837a", "user_impersonation"),
        (f"{BASE_URL}/.default", BASE_URL, "user_impersonation"),
    ],
)
async def test_scope_of_a_user_names_a_resource_and_what_may_be_done_there(
    scope: str, audience: str, names: str
) -> None:
    granted = await World(user_tokens=True).ask(with_password(scope=scope))

    claims = decoded(granted.token)
    assert (claims["aud"], claims["scp"]) == (audience, names)
    assert granted.scopes == tuple(f"{audience.rstrip('/')}/{name}" for name in names.split())


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (f"{WEBPUBSUB}/.default api://chat/Read", 28000),
        ("User.Read api://chat/Read", 28000),
        (f"{WEBPUBSUB}/", 70011),
        ('"x"', 70011),
        ("ä/Read", 70011),
        ("https://unknown.example/Read", 500011),
        ("", 900144),
    ],
)
async def test_scope_of_a_user_that_cannot_be_is_refused(scope: str, code: int) -> None:
    world = World(user_tokens=True)

    assert (await world.refusal(with_password(scope=scope))).code == code
    assert world.directory.asked_for_passwords == []


async def test_endpoint_of_version_1_gives_a_user_everything_at_the_resource() -> None:
    world = World(user_tokens=True)

    granted = await world.ask(with_password(scope=None, resource=f"{WEBPUBSUB}/"), version=1)

    assert decoded(granted.token)["scp"] == "user_impersonation"
    assert decoded(granted.token)["aud"].rstrip("/") == WEBPUBSUB
    assert (await world.refusal(with_password(), version=1)).code == 900144


async def test_user_may_be_named_by_their_object_id() -> None:
    granted = await World(user_tokens=True).ask(with_password(username=ALICE.object_id))

    assert decoded(granted.token)["upn"] == ALICE.name


@pytest.mark.parametrize(
    ("more", "code", "error"),
    [
        ({"password": "wrong"}, 50126, "invalid_grant"),
        ({"username": "bob@hubwire.localhost"}, 50126, "invalid_grant"),
        ({"password": None}, 900144, "invalid_request"),
        ({"password": ""}, 900144, "invalid_request"),
        ({"username": None}, 900144, "invalid_request"),
        ({"client_id": None}, 900144, "invalid_request"),
        ({"client_id": "unknown"}, 700016, "unauthorized_client"),
        ({"client_id": IDENTITY.app_id}, 700016, "unauthorized_client"),
    ],
)
async def test_user_who_proves_nothing_is_refused(more: dict[str, str | None], code: int, error: str) -> None:
    refused = await World(user_tokens=True).refusal(with_password(**more))

    assert (refused.status, refused.code, refused.error) == (400, code, error)
    assert refused.is_failed_proof is (code == 50126)


async def test_unknown_user_is_told_the_same_after_the_same_work() -> None:
    world = World(user_tokens=True)

    wrong = await world.refusal(with_password(password="wrong"))
    unknown = await world.refusal(with_password(username="bob@hubwire.localhost"))

    assert wrong.message == unknown.message
    assert len(world.directory.asked_for_passwords) == 2


async def test_application_that_proves_itself_beside_its_user_is_checked() -> None:
    world = World(user_tokens=True)

    assert decoded((await world.ask(with_password(client_secret=SECRET))).token)["appidacr"] == "1"
    assert decoded((await world.ask(with_password(), basic=(APP_ID, SECRET))).token)["appidacr"] == "1"
    proof = {"client_assertion": assertion(), "client_assertion_type": ASSERTION_TYPE}
    assert decoded((await world.ask(with_password(**proof))).token)["appidacr"] == "2"
    assert (await world.refusal(with_password(client_secret="wrong"))).code == 7000215
    assert (await world.refusal(with_password(), basic=(APP_ID, "wrong"))).code == 7000215


async def test_library_that_keeps_accounts_is_told_whose_token_it_is() -> None:
    world = World(user_tokens=True)

    granted = await world.ask(with_password(scope=f"openid profile {WEBPUBSUB}/.default", client_info="1"))

    assert granted.id_token is not None
    claims = world.verified(granted._replace(token=granted.id_token))
    named = ("aud", "iss", "oid", "tid", "name", "preferred_username", "ver", "iat", "exp")
    assert {name: claims[name] for name in named} == {
        "aud": APP_ID,
        "iss": ISSUER_URL,
        "oid": ALICE.object_id,
        "tid": TENANT.tenant_id,
        "name": "Alice",
        "preferred_username": ALICE.name,
        "ver": "2.0",
        "iat": NOW,
        "exp": NOW + 3599,
    }
    assert decoded(f".{granted.client_info}.") == {"uid": ALICE.object_id, "utid": TENANT.tenant_id}


def test_operator_mints_a_token_for_a_user(world: World) -> None:
    granted = world.issuer.user_token(ALICE, application(), f"{WEBPUBSUB}/.default")

    claims = decoded(granted.token)
    assert (claims["oid"], claims["appid"], claims["scp"]) == (ALICE.object_id, APP_ID, "user_impersonation")
    with pytest.raises(TokenRefused):
        world.issuer.user_token(ALICE, application(), "https://unknown.example/Read")


# The keys that sign


async def test_key_whose_time_it_is_signs(world: World) -> None:
    before = header_of((await world.ask(with_secret())).token)["kid"]

    world.clock.now = NOW + 1000

    after = header_of((await world.ask(with_secret())).token)["kid"]
    assert [before, after] == [key["kid"] for key in world.issuer.ring.published("")]

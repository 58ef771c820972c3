import base64
import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization

from auth.entra import (
    ISSUER_URL,
    NOW,
    OBJECT_ID,
    TENANT,
    Clock,
    ForeignKeys,
    InMemory,
    resource_id,
    rsa_key,
    segment,
    signed,
    token_key,
)
from hubwire.auth.bearers import DATA_PLANE, MANAGEMENT, Bearer, Bearers, Service
from hubwire.auth.callers import Principal
from hubwire.auth.key_ring import KeyRing
from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, Unauthorized, Unavailable
from hubwire.model.roles import (
    CONTRIBUTOR,
    OWNER,
    READER,
    RESOURCE_OWNER,
    RESOURCE_READER,
    WEB_PUBSUB_CONTRIBUTOR,
    Role,
)

AUDIENCE = "https://webpubsub.azure.com"
SCOPE = resource_id(TENANT.subscription_id, "default")
SUBSCRIPTION = f"/subscriptions/{TENANT.subscription_id}"
OTHER_TENANT = "99999999-aaaa-4000-8000-000000000009"
ENTRA = f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"
ENTRA_V1 = f"https://sts.windows.net/{OTHER_TENANT}/"
PLAIN = "https://issuer.example/realm"
KID = "foreign-key"
CALLER = Principal("entra", OBJECT_ID)


class Local(NamedTuple):
    """The issuer of this server, as far as its tokens are taken."""

    url: str
    tenant_id: str
    ring: KeyRing


class World:
    """Both kinds of issuers, and what their principals may do."""

    def __init__(
        self,
        *,
        local: bool = True,
        down: bool = False,
        audiences: tuple[str, ...] = (),
        service: Service = DATA_PLANE,
    ) -> None:
        self.directory = InMemory()
        self.clock = Clock()
        self.ring = KeyRing(self.directory)
        public = rsa_key("foreign").public_key()
        self.foreign = ForeignKeys({(issuer, KID): public for issuer in (ENTRA, ENTRA_V1, PLAIN)}, down=down)
        self.bearers = Bearers(
            self.directory,
            Local(ISSUER_URL, TENANT.tenant_id, self.ring) if local else None,
            (ENTRA, ENTRA_V1, PLAIN),
            self.foreign,
            audiences,
            60,
            self.clock,
            service,
        )

    def assign(self, role_id: str = OWNER.id, scope: str = SUBSCRIPTION, tenant: str = TENANT.tenant_id) -> None:
        number = len(self.directory.assignments)
        self.directory.assignments.append(Assignment(f"{number}", tenant, OBJECT_ID, role_id, scope))

    def token(self, **claims: object) -> str:
        """Of the local issuer, signed as it does."""
        return self.ring.sign(claims_of(ISSUER_URL, TENANT.tenant_id, **claims), NOW, thumbprint=False)

    async def caller(self, token: str, action: str | None = None, scope: str = SCOPE) -> Principal:
        return await self.bearers.caller(token, action, scope)

    async def refusal(self, token: str) -> str:
        with pytest.raises(Unauthorized) as refused:
            await self.caller(token)
        return refused.value.message

    async def may(self, token: str, action: str, scope: str = SCOPE) -> bool:
        try:
            await self.caller(token, action, scope)
        except Forbidden:
            return False
        return True


def claims_of(issuer: str, tenant: str, **claims: object) -> dict[str, object]:
    known = {"iss": issuer, "tid": tenant, "oid": OBJECT_ID, "aud": AUDIENCE, "nbf": NOW, "exp": NOW + 3600}
    return {name: value for name, value in {**known, **claims}.items() if value is not None}


def foreign(issuer: str = ENTRA, tenant: str = OTHER_TENANT, header: object = None, **claims: object) -> str:
    head = {"alg": "RS256", "kid": KID} if header is None else header
    return signed(claims_of(issuer, tenant, **claims), rsa_key("foreign"), head)


@pytest.fixture
def world() -> World:
    return World()


# Who it is


async def test_caller_with_a_token_of_the_local_issuer_is_called_by_the_object_id(world: World) -> None:
    assert await world.caller(world.token()) == CALLER
    assert world.foreign.asked == []


@pytest.mark.parametrize("issuer", [ENTRA, ENTRA_V1, PLAIN])
async def test_caller_with_a_token_of_a_trusted_issuer_is_called_so_too(world: World, issuer: str) -> None:
    assert await world.caller(foreign(issuer)) == CALLER
    assert world.foreign.asked == [(issuer, KID)]


async def test_subject_stands_in_where_a_token_has_no_object_id(world: World) -> None:
    assert await world.caller(foreign(PLAIN, oid=None, sub="Alice")) == Principal("entra", "Alice")
    assert await world.refusal(foreign(PLAIN, oid=None)) == "token names no principal"
    assert await world.refusal(foreign(PLAIN, oid=7, sub=["alice"])) == "token names no principal"


@pytest.mark.parametrize("action", ["group/send/action", "group/read"])
async def test_one_principal_in_two_forms_of_a_tenants_issuer_is_the_same(world: World, action: str) -> None:
    world.assign(tenant=OTHER_TENANT)

    assert await world.may(foreign(ENTRA), action)
    assert await world.may(foreign(ENTRA_V1), action)


async def test_role_in_one_tenant_is_none_in_another(world: World) -> None:
    world.assign(tenant=OTHER_TENANT)
    assert not await world.may(world.token(), "group/read")

    world.assign()
    assert await world.may(world.token(), "group/read")


async def test_issuer_that_claims_the_local_tenant_speaks_for_another_principal(world: World) -> None:
    """It speaks for a tenant only if its own URL names that."""
    world.assign()

    for issuer in (ENTRA, ENTRA_V1, PLAIN):
        assert not await world.may(foreign(issuer, TENANT.tenant_id), "group/read")


async def test_issuer_without_tenants_speaks_for_its_own_principals(world: World) -> None:
    world.assign(tenant=PLAIN)

    assert await world.may(foreign(PLAIN), "group/read")
    assert await world.may(foreign(PLAIN, tid=None), "group/read")
    assert not await world.may(foreign(ENTRA), "group/read")


async def test_part_of_a_tenant_id_names_no_tenant(world: World) -> None:
    world.assign(tenant=OTHER_TENANT[:8])

    assert not await world.may(foreign(ENTRA, OTHER_TENANT[:8]), "group/read")


async def test_letter_case_of_ids_does_not_count(world: World) -> None:
    world.assign()
    world.assign(tenant=OTHER_TENANT)

    assert await world.may(world.token(tid=TENANT.tenant_id.upper(), oid=OBJECT_ID.upper()), "group/read")
    assert await world.may(foreign(ENTRA, OTHER_TENANT.upper(), oid=OBJECT_ID.upper()), "group/read")


# What proves nothing


@pytest.mark.parametrize("issuer", [None, "", "https://issuer.example", f"{ENTRA}/", ENTRA.upper(), 7, [ENTRA], {}])
async def test_issuer_that_is_not_trusted_is_refused_and_nothing_fetched(world: World, issuer: object) -> None:
    assert await world.refusal(foreign(iss=issuer)) == "token is of an issuer that is not trusted"
    assert world.foreign.asked == []


async def test_local_tokens_are_refused_where_the_local_issuer_is_off() -> None:
    world = World(local=False)

    assert await world.refusal(world.token()) == "token is of an issuer that is not trusted"
    assert await world.caller(foreign()) == CALLER


@pytest.mark.parametrize("audience", [AUDIENCE, f"{AUDIENCE}/"])
async def test_audience_may_end_with_a_slash(world: World, audience: str) -> None:
    assert await world.caller(world.token(aud=audience)) == CALLER
    assert await world.caller(foreign(aud=audience)) == CALLER


@pytest.mark.parametrize(
    "audience",
    [None, "", "https://management.azure.com", "https://webpubsub.azure.com.example", f"{AUDIENCE}/x", "webpubsub"]
    + [7, [AUDIENCE], {AUDIENCE: 1}],
)
async def test_other_audiences_are_refused(world: World, audience: object) -> None:
    assert await world.refusal(world.token(aud=audience)) == "token is for another audience"
    assert await world.refusal(foreign(aud=audience)) == "token is for another audience"


async def test_operator_can_allow_further_audiences() -> None:
    world = World(audiences=("api://hubwire/",))

    assert await world.caller(foreign(aud="api://hubwire", azp="app")) == CALLER
    assert await world.caller(foreign(aud="api://hubwire/", appid="app")) == CALLER
    assert await world.caller(foreign()) == CALLER
    assert await world.refusal(foreign(aud="api://other")) == "token is for another audience"


async def test_id_token_for_a_further_audience_is_none_of_access() -> None:
    """It names no application that acts: it tells an application who has signed in."""
    world = World(audiences=("api://hubwire/",))

    assert await world.refusal(foreign(aud="api://hubwire")) == "token is no access token"


@pytest.mark.parametrize("tenant", [None, "", OTHER_TENANT, 7, [TENANT.tenant_id]])
async def test_local_token_of_another_tenant_is_refused(world: World, tenant: object) -> None:
    assert await world.refusal(world.token(tid=tenant)) == "token is of another tenant"


async def test_token_is_good_from_its_beginning_to_its_end_with_leeway(world: World) -> None:
    for token in (world.token(), foreign()):
        for now in (NOW - 60, NOW + 3659):
            world.clock.now = now
            assert await world.caller(token) == CALLER
        world.clock.now = NOW - 61
        assert await world.refusal(token) == "token is not valid yet"
        world.clock.now = NOW + 3660
        assert await world.refusal(token) == "token has expired"


@pytest.mark.parametrize("kid", [None, 7, ["foreign-key"], {}])
async def test_key_is_named_by_a_string(world: World, kid: object) -> None:
    assert await world.refusal(foreign(header={"alg": "RS256", "kid": kid})) == (
        "token is of an issuer that is not trusted"
    )
    assert world.foreign.asked == []


async def test_unknown_key_is_refused(world: World) -> None:
    header = {"alg": "RS256", "kid": "unknown"}
    local = signed(claims_of(ISSUER_URL, TENANT.tenant_id), rsa_key("foreign"), header)

    assert await world.refusal(local) == "token is signed with an unknown key"
    assert await world.refusal(foreign(header=header)) == "token is signed with an unknown key"


async def test_key_of_one_issuer_proves_nothing_of_another(world: World) -> None:
    local = signed(claims_of(ISSUER_URL, TENANT.tenant_id), rsa_key("foreign"), {"alg": "RS256", "kid": KID})
    kid = world.ring.published("")[0]["kid"]
    claims = claims_of(ENTRA, OTHER_TENANT)

    assert await world.refusal(local) == "token is signed with an unknown key"
    assert await world.refusal(world.ring.sign(claims, NOW, thumbprint=False)) == "token is signed with an unknown key"
    assert await world.refusal(signed(claims, rsa_key("attacker"), {"alg": "RS256", "kid": kid})) == (
        "token is signed with an unknown key"
    )


def tricks() -> list[Mapping[str, object]]:
    """Headers that bring the attacker's key, or the address of it."""
    numbers = rsa_key("attacker").public_key().public_numbers()
    own = {"kty": "RSA", "kid": KID, "n": segment(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    spki = (
        rsa_key("attacker")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return [
        {"jwk": own},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/certificate"},
        {"x5c": [base64.b64encode(spki).decode()], "x5t": segment(hashlib.sha1(spki).digest())},
        {"jwk": own, "jku": "https://attacker.example/keys", "x5u": "https://attacker.example/certificate"},
    ]


@pytest.mark.parametrize("header", tricks())
async def test_token_that_brings_its_own_key_is_refused(world: World, header: Mapping[str, object]) -> None:
    kid = world.ring.published("")[0]["kid"]
    local = signed(claims_of(ISSUER_URL, TENANT.tenant_id), rsa_key("attacker"), {**header, "alg": "RS256", "kid": kid})
    other = signed(claims_of(ENTRA, OTHER_TENANT), rsa_key("attacker"), {**header, "alg": "RS256", "kid": KID})

    assert await world.refusal(local) == "token is signed with another key"
    assert await world.refusal(other) == "token is signed with another key"
    assert world.foreign.asked == [(ENTRA, KID)]


@pytest.mark.parametrize("algorithm", ["none", "HS256", "PS256", "RS512", "ES256", "", None])
async def test_tokens_are_signed_with_rs256_and_nothing_else(world: World, algorithm: str | None) -> None:
    kid = world.ring.published("")[0]["kid"]
    pem = token_key(0).certificate.encode()
    parts = (json.dumps({"alg": algorithm, "kid": kid}), json.dumps(claims_of(ISSUER_URL, TENANT.tenant_id)))
    to_sign = ".".join(segment(part.encode()) for part in parts)
    mac = hmac.HMAC(pem, hashes.SHA256())
    mac.update(to_sign.encode())

    assert await world.refusal(f"{to_sign}.{segment(mac.finalize())}") == "token is not signed with RS256"
    assert await world.refusal(f"{to_sign}.") == "token is not signed with RS256"
    right = foreign(header={"alg": algorithm, "kid": KID})
    assert await world.refusal(right) == "token is not signed with RS256"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ü.ü.ü", "A" * 20_000])
async def test_junk_is_refused(world: World, token: str) -> None:
    assert await world.refusal(token)


async def test_keys_that_cannot_be_had_are_not_the_callers_fault() -> None:
    world = World(down=True)

    with pytest.raises(Unavailable):
        await world.caller(foreign())
    assert await world.caller(world.token()) == CALLER


# What they may do


async def test_caller_without_a_role_is_told_which_one_it_takes(world: World) -> None:
    with pytest.raises(Forbidden) as refused:
        await world.caller(world.token(), "group/read", SCOPE)

    assert refused.value.message == (
        f"The principal {OBJECT_ID} does not have the data action Microsoft.SignalRService/WebPubSub/group/read "
        f"at {SCOPE}. It takes the role 'Web PubSub Service Owner' or 'Web PubSub Service Reader'."
    )


async def test_reader_who_sends_is_told_that_it_takes_an_owner(world: World) -> None:
    world.assign(READER.id)

    with pytest.raises(Forbidden, match=r"hub/send/action at .* It takes the role 'Web PubSub Service Owner'\.$"):
        await world.caller(world.token(), "hub/send/action")


async def test_whoever_is_known_may_do_what_takes_no_action(world: World) -> None:
    assert await world.caller(world.token(), None) == CALLER


@pytest.mark.parametrize(
    ("role_id", "action", "allowed"),
    [
        (OWNER.id, "hub/send/action", True),
        (OWNER.id, "group/read", True),
        (OWNER.id, "clientConnection/generateToken/action", True),
        (OWNER.id.upper(), "hub/send/action", True),
        (READER.id, "group/read", True),
        (READER.id, "clientConnection/read", True),
        (READER.id, "group/write", False),
        (READER.id, "hub/send/action", False),
        (READER.id, "clientConnection/generateToken/action", False),
        ("b24988ac-6180-42a0-ab88-20f7382dd24c", "group/read", False),
    ],
)
async def test_role_allows_what_it_allows(world: World, role_id: str, action: str, allowed: bool) -> None:
    world.assign(role_id)

    assert await world.may(world.token(), action) is allowed


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        (SCOPE, True),
        (f"{SUBSCRIPTION}/resourceGroups/hubwire", True),
        (SUBSCRIPTION, True),
        (SCOPE.upper(), True),
        (f"{SCOPE}/", True),
        (resource_id(TENANT.subscription_id, "other"), False),
        (SCOPE[:-1], False),
        (f"{SCOPE}2", False),
        (f"{SUBSCRIPTION}/resourceGroups/hub", False),
        (f"/subscriptions/{OTHER_TENANT}", False),
    ],
)
async def test_role_holds_at_its_scope_and_below(world: World, scope: str, holds: bool) -> None:
    world.assign(scope=scope)

    assert await world.may(world.token(), "hub/send/action") is holds


async def test_several_roles_add_up(world: World) -> None:
    world.assign(READER.id)
    world.assign(OWNER.id, resource_id(TENANT.subscription_id, "other"))

    assert await world.may(world.token(), "group/read")
    assert not await world.may(world.token(), "hub/send/action")
    assert await world.may(world.token(), "hub/send/action", resource_id(TENANT.subscription_id, "other"))


async def test_role_that_is_taken_away_is_gone_at_once(world: World) -> None:
    world.assign()
    token = world.token()
    assert await world.may(token, "hub/send/action")

    world.directory.assignments.clear()

    assert not await world.may(token, "hub/send/action")


async def test_roles_in_the_token_are_not_looked_at(world: World) -> None:
    token = world.token(roles=["Web PubSub Service Owner", OWNER.id], scp="user_impersonation")

    assert not await world.may(token, "group/read")


# The resource manager


ME = Bearer(TENANT.tenant_id, OBJECT_ID)
MANAGER = "https://management.azure.com"
WEB_PUBSUB = "Microsoft.SignalRService/webPubSub/"


async def test_token_for_one_service_is_none_for_the_other() -> None:
    manager, data = World(service=MANAGEMENT), World()

    assert await manager.bearers.bearer(manager.token(aud=MANAGER)) == ME
    assert await data.bearers.bearer(data.token()) == ME
    with pytest.raises(Unauthorized):
        await manager.bearers.bearer(manager.token())
    with pytest.raises(Unauthorized):
        await data.bearers.bearer(data.token(aud=MANAGER))


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (RESOURCE_OWNER, ("read", "write", "listKeys/action", "LISTKEYS/ACTION")),
        (CONTRIBUTOR, ("read", "write", "listKeys/action", "LISTKEYS/ACTION")),
        (WEB_PUBSUB_CONTRIBUTOR, ("read", "write", "listKeys/action", "LISTKEYS/ACTION")),
        (RESOURCE_READER, ("read",)),
        (OWNER, ()),
        (READER, ()),
    ],
)
def test_role_counts_at_the_service_that_it_is_for(role: Role, may: tuple[str, ...]) -> None:
    manager, data = World(service=MANAGEMENT), World()
    manager.assign(role.id)
    data.assign(role.id)

    actions = ("read", "write", "listKeys/action", "LISTKEYS/ACTION")
    assert tuple(one for one in actions if manager.bearers.may(ME, WEB_PUBSUB + one, SCOPE)) == may
    assert data.bearers.may(ME, "group/read", SCOPE) == (role in (OWNER, READER))


def test_role_at_another_scope_or_of_another_tenant_is_none_here() -> None:
    world = World(service=MANAGEMENT)
    world.assign(RESOURCE_OWNER.id, f"{SUBSCRIPTION}/resourceGroups/other")
    world.assign(RESOURCE_OWNER.id, SUBSCRIPTION, OTHER_TENANT)

    assert not world.bearers.may(ME, f"{WEB_PUBSUB}read", SCOPE)
    assert world.bearers.may(Bearer(OTHER_TENANT, OBJECT_ID), f"{WEB_PUBSUB}read", SCOPE)


def test_refusal_names_the_action_in_full_and_the_roles_that_would_do() -> None:
    manager, data = World(service=MANAGEMENT), World()

    with pytest.raises(Forbidden) as refused:
        manager.bearers.check(ME, f"{WEB_PUBSUB}write", SCOPE)
    assert f"does not have the permission to perform {WEB_PUBSUB}write at {SCOPE}." in refused.value.message
    assert "'Owner' or 'Contributor' or 'SignalR/Web PubSub Contributor'" in refused.value.message
    with pytest.raises(Forbidden, match=r"data action Microsoft\.SignalRService/WebPubSub/group/read at"):
        data.bearers.check(ME, "group/read", SCOPE)


@pytest.mark.parametrize(
    "role",
    [
        RESOURCE_OWNER,
        CONTRIBUTOR,
        RESOURCE_READER,
        WEB_PUBSUB_CONTRIBUTOR,
    ],
)
def test_whoever_has_a_role_sees_what_is_above_and_below_it(role: Role) -> None:
    world = World(service=MANAGEMENT)
    group = f"{SUBSCRIPTION}/resourceGroups/hubwire"
    world.assign(role.id, group)

    assert [world.bearers.sees(ME, scope) for scope in ("/", SUBSCRIPTION, group, SCOPE)] == [True] * 4
    assert not world.bearers.sees(ME, f"{SUBSCRIPTION}/resourceGroups/other")
    assert not world.bearers.sees(Bearer(OTHER_TENANT, OBJECT_ID), group)


@pytest.mark.parametrize("role_id", [OWNER.id, READER.id, OTHER_TENANT])
def test_role_of_the_data_plane_and_an_unknown_one_show_nothing(role_id: str) -> None:
    world = World(service=MANAGEMENT)
    world.assign(role_id)

    assert not world.bearers.sees(ME, SUBSCRIPTION)

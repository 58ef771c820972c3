"""Who calls a communication service: with one of its keys, or with a token of an issuer for it."""

import base64
import hashlib

import pytest

from auth.entra import (
    APP_ID,
    ISSUER_URL,
    OBJECT_ID,
    TENANT,
    Clock,
    ForeignKeys,
    InMemory,
    rsa_key,
    signed,
)
from hubwire.auth.bearers import Bearers
from hubwire.auth.communication_callers import COMMUNICATION, CommunicationCallers
from hubwire.auth.failures import Failures
from hubwire.auth.request_signatures import SignedRequest
from hubwire.model.communication import CommunicationCaller, CommunicationKeys, CommunicationService
from hubwire.model.errors import Forbidden, NotFound, Throttled, Unauthorized, Unavailable
from vectors.signed_requests import DATE, HOST, KEY, NOW, RECORDED, SIGNED_HEADERS

OTHER = base64.b64encode(bytes(range(64, 128))).decode()
KID = "foreign-key"
SERVICE_ID = "2dee53b4-1111-4222-8333-8493fb117652"
ADDRESS = "10.0.0.1"
RECORD = next(one for one in RECORDED if one.body)


class Services:
    """One service, until a test changes its keys."""

    def __init__(self) -> None:
        self.keys = CommunicationKeys(KEY, OTHER, 3, 5)
        self.local_auth = True

    def service(self, name: str, /) -> CommunicationService:
        if name != "default":
            raise NotFound("There is no such service.")
        return CommunicationService("default", SERVICE_ID, "local", "Europe", self.keys, local_auth=self.local_auth)


class World:
    """Three failures a minute are taken from an address."""

    def __init__(
        self, *, down: bool = False, tenant: str | None = TENANT.tenant_id, principals: tuple[str, ...] = ()
    ) -> None:
        self.services = Services()
        clock = Clock(NOW)
        foreign = ForeignKeys({(ISSUER_URL, KID): rsa_key("foreign").public_key()}, down=down)
        bearers = Bearers(InMemory(), None, (ISSUER_URL,), foreign, (), 0, clock, COMMUNICATION)
        self.callers = CommunicationCallers(bearers, Failures(3), self.services, 900, tenant, principals, clock)

    async def caller(
        self,
        *authorization: str,
        ip: str | None = ADDRESS,
        service: str = "default",
        body: bytes | None = None,
        verifies: bool = False,
    ) -> CommunicationCaller:
        """Whoever sends the recorded request, with these Authorization headers."""
        headers = {
            "host": [HOST],
            "x-ms-date": [DATE],
            "x-ms-content-sha256": [RECORD.content_sha256],
            "authorization": list(authorization),
        }
        digest = hashlib.sha256(RECORD.body.encode() if body is None else body).digest()
        request = SignedRequest(RECORD.method, RECORD.target.encode(), headers, digest)
        known = self.callers.verifier if verifies else self.callers.caller
        return await known(request, service, ip)


BY_KEY = f"HMAC-SHA256 SignedHeaders={SIGNED_HEADERS}&Signature={RECORD.signature}"


def with_token(**claims: object) -> str:
    known = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "appid": APP_ID, "exp": NOW + 60}
    token = {**known, "aud": "https://communication.azure.com/", **claims}
    return "Bearer " + signed(token, rsa_key("foreign"), {"alg": "RS256", "kid": KID})


@pytest.fixture
def world() -> World:
    return World()


async def test_key_is_told_apart_and_its_generation_is_kept(world: World) -> None:
    """Tokens that it lets somebody have end with it."""
    assert await world.caller(BY_KEY) == CommunicationCaller("primary", "primary", 3)

    world.services.keys = CommunicationKeys(OTHER, KEY, 3, 5)

    assert await world.caller(BY_KEY) == CommunicationCaller("secondary", "secondary", 5)


async def test_key_that_was_made_anew_proves_nothing(world: World) -> None:
    world.services.keys = CommunicationKeys(OTHER, OTHER)

    with pytest.raises(Unauthorized):
        await world.caller(BY_KEY)


async def test_signature_over_another_body_is_refused(world: World) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(BY_KEY, body=b"{}")


@pytest.mark.parametrize(
    "audience",
    [
        "https://communication.azure.com/",
        "https://communication.azure.com",
        "1fd5118e-2576-4263-8130-9503064c837a",
    ],
)
async def test_token_for_the_service_is_taken(world: World, audience: str) -> None:
    """With the slash at its end that the official clients ask for, and without."""
    assert await world.caller(with_token(aud=audience)) == CommunicationCaller("entra", OBJECT_ID)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://communication.azure.com/clients"},
        {"aud": "https://auth.msft.communication.azure.com"},
        {"aud": "https://management.azure.com"},
        {"iss": "https://elsewhere.example"},
        {"exp": NOW - 1},
        {"exp": None},
        {"oid": None},
    ],
)
async def test_token_for_somebody_else_or_out_of_time_is_refused(world: World, claims: dict[str, object]) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(with_token(**claims))


@pytest.mark.parametrize("tenant", ["99999999-aaaa-4000-8000-000000000009", None])
async def test_principal_of_another_tenant_may_not_call_until_it_is_named(tenant: str | None) -> None:
    """Anybody of a tenant can have such a token; only of the local one all are known."""
    with pytest.raises(Forbidden):
        await World(tenant=tenant).caller(with_token())

    for name in (OBJECT_ID, APP_ID):
        named = World(tenant=tenant, principals=(name,))
        assert await named.caller(with_token()) == CommunicationCaller("entra", OBJECT_ID)


async def test_whoever_is_not_named_may_not_call_where_somebody_is() -> None:
    world = World(principals=("66666666-aaaa-4000-8000-00000000000c",))

    with pytest.raises(Forbidden) as error:
        await world.caller(with_token())
    assert OBJECT_ID in error.value.message
    assert (await world.caller(BY_KEY)).kind == "primary"


@pytest.mark.parametrize(
    "authorization",
    [(), ("",), ("Basic eDp5",), ("Bearer",), ("Bearer a.b.c",), ("HMAC-SHA256",), (BY_KEY, BY_KEY)],
)
async def test_whoever_proves_nothing_is_refused(world: World, authorization: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(*authorization)


async def test_service_that_is_gone_is_said(world: World) -> None:
    with pytest.raises(NotFound):
        await world.caller(BY_KEY, service="communication/gone")


async def test_address_that_failed_too_often_is_slowed_down_and_asking_is_no_failure(world: World) -> None:
    for _ in range(20):
        with pytest.raises(Unauthorized):
            await world.caller()
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await world.caller(BY_KEY, body=b"{}")

    with pytest.raises(Throttled):
        await world.caller(BY_KEY, body=b"{}")
    assert (await world.caller(BY_KEY)).kind == "primary"
    with pytest.raises(Unauthorized):
        await world.caller(BY_KEY, body=b"{}", ip=None)


async def test_issuer_whose_keys_cannot_be_had_is_said() -> None:
    with pytest.raises(Unavailable):
        await World(down=True).caller(with_token())


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("user", ["default", "Default", SERVICE_ID, SERVICE_ID.upper(), "de%66ault"])
async def test_whoever_verifies_tokens_may_show_a_key_as_a_password(world: World, user: str) -> None:
    """Under either name of the service; nobody else may."""
    for kind, key, generation in (("primary", KEY, 3), ("secondary", OTHER, 5)):
        for written in (key, key.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")):
            found = await world.caller(basic(user, written), verifies=True)
            assert found == CommunicationCaller(kind, kind, generation)  # type: ignore[arg-type]
        with pytest.raises(Unauthorized):
            await world.caller(basic(user, key))


@pytest.mark.parametrize(
    "authorization",
    [
        basic("other", KEY),
        basic("", KEY),
        basic("default", KEY[:-4]),
        basic("default", ""),
        basic("default", "\N{SNOWMAN}"),
        basic("\N{SNOWMAN}", KEY),
        "Basic",
        "Basic \N{SNOWMAN}",
        "Basic ====",
        "Basic " + base64.b64encode(b"default").decode(),
        "Digest x",
    ],
)
async def test_password_that_is_no_key_proves_nothing(world: World, authorization: str) -> None:
    with pytest.raises(Unauthorized):
        await world.caller(authorization, verifies=True)


async def test_passwords_are_not_guessed_without_end(world: World) -> None:
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await world.caller(basic("default", "x"), verifies=True)
    with pytest.raises(Throttled):
        await world.caller(basic("default", "x"), verifies=True)


async def test_whoever_verifies_tokens_may_prove_it_like_any_caller(world: World) -> None:
    assert (await world.caller(BY_KEY, verifies=True)).kind == "primary"
    assert (await world.caller(with_token(), verifies=True)).kind == "entra"


async def test_keys_that_are_switched_off_prove_nothing(world: World) -> None:
    world.services.local_auth = False

    for authorization in (BY_KEY, basic("default", KEY)):
        with pytest.raises(Unauthorized):
            await world.caller(authorization, verifies=True)
    assert (await world.caller(with_token())).kind == "entra"

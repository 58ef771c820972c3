import pytest
from msgspec.structs import replace

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, resource_id, rsa_key, signed
from hubwire.auth import jwt
from hubwire.auth.bearers import Bearers
from hubwire.auth.callers import Principal
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.rest_callers import RestCallers
from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, NotFound, Throttled, Unauthorized, Unavailable
from hubwire.model.hubs import AccessKeys
from hubwire.model.network import NetworkRules, network_rules
from hubwire.model.resources import ResourcePolicy
from hubwire.model.roles import OWNER

KEYS = AccessKeys("primary-key-of-at-least-32-bytes.", "secondary-key-of-at-least-32-bytes")
HOST = "localhost:8080"
PATH = "/api/hubs/chat/:send"
KID = "foreign-key"


class _Keys:
    """
    One resource has keys, and others are there.

    Attributes:
        demands: of each, besides the scope.
    """

    def __init__(self) -> None:
        self.demands = ResourcePolicy()

    def access_keys(self, resource: str) -> AccessKeys:
        if resource != "default":
            raise NotFound
        return KEYS

    def policy(self, resource: str) -> ResourcePolicy:
        return replace(self.demands, scope=resource_id(TENANT.subscription_id, resource))

    def recovery_key(self) -> bytes:
        return b"r" * 32


class World:
    """Access keys, and one issuer that is trusted."""

    def __init__(self, *, per_minute: int = 3, down: bool = False) -> None:
        self.clock = Clock()
        self.directory = InMemory()
        foreign = ForeignKeys({(ISSUER_URL, KID): rsa_key("foreign").public_key()}, down=down)
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (), 0, self.clock)
        self.keys = _Keys()
        principals = Principals(self.keys, (), 0, self.clock)
        failures = Failures(per_minute)
        self._callers = RestCallers(principals, bearers, failures, self.keys, self.clock)

    def assign(self, resource: str = "default") -> None:
        scope = resource_id(TENANT.subscription_id, resource)
        self.directory.assignments.append(Assignment("id", TENANT.tenant_id, OBJECT_ID, OWNER.id, scope))

    async def caller(
        self,
        authorization: str | None,
        action: str | None = "hub/send/action",
        ip: str | None = "10.0.0.1",
        resource: str = "default",
    ) -> Principal:
        return await self._callers.caller(authorization, resource, HOST, PATH, action, ip)

    async def fail(self, authorization: str | None = "Bearer x", ip: str | None = "10.0.0.1") -> None:
        with pytest.raises(Unauthorized):
            await self.caller(authorization, ip=ip)


@pytest.fixture
def world() -> World:
    return World()


def with_key(key: str = KEYS.primary) -> str:
    return "Bearer " + jwt.sign({"aud": f"http://{HOST}{PATH}", "exp": NOW + 60}, key.encode())


def with_token(**claims: object) -> str:
    known = {"iss": ISSUER_URL, "tid": TENANT.tenant_id, "oid": OBJECT_ID, "aud": "https://webpubsub.azure.com"}
    return "Bearer " + signed({**known, "exp": NOW + 60, **claims}, rsa_key("foreign"), {"alg": "RS256", "kid": KID})


@pytest.mark.parametrize(("key", "name"), [(KEYS.primary, "primary"), (KEYS.secondary, "secondary")])
async def test_access_key_proves_a_caller_who_may_everything(world: World, key: str, name: str) -> None:
    assert await world.caller(with_key(key), "auth/accessKey/action") == Principal("accessKey", name)


async def test_token_of_an_issuer_proves_a_caller_who_may_what_is_assigned(world: World) -> None:
    with pytest.raises(Forbidden):
        await world.caller(with_token())

    world.assign()

    assert await world.caller(with_token()) == Principal("entra", OBJECT_ID)


async def test_role_is_looked_up_at_the_resource_that_is_asked(world: World) -> None:
    world.assign("other")

    assert await world.caller(with_token(), resource="other") == Principal("entra", OBJECT_ID)
    with pytest.raises(Forbidden):
        await world.caller(with_token())


@pytest.mark.parametrize("spelling", ["bearer {}", "BEARER {}", "  Bearer   {}  "])
async def test_scheme_has_any_letter_case_and_space_around_it(world: World, spelling: str) -> None:
    world.assign()
    for authorization in (with_key(), with_token()):
        found = await world.caller(spelling.format(authorization.partition(" ")[2]))
        assert found.name in ("primary", OBJECT_ID)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer ü", "Basic dXNlcjpwYXNz", "x"]
    + [with_key("another-key-of-at-least-32-bytes"), with_token(iss="https://elsewhere")],
)
async def test_whoever_proves_nothing_is_refused(world: World, authorization: str | None) -> None:
    await world.fail(authorization)


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
async def test_token_of_an_issuer_under_another_scheme_is_refused(world: World, scheme: str) -> None:
    world.assign()

    await world.fail(with_token().replace("Bearer", scheme))


async def test_access_key_is_not_tried_on_tokens_of_issuers(world: World) -> None:
    """Nor the other way round: what the header says decides on the keys, and each kind takes its own algorithm only."""
    _, body, _ = with_token().split(".")

    await world.fail(with_key().replace(with_key().split(".")[1], body))


# Who fails too often


@pytest.mark.parametrize("authorization", ["Bearer x", with_key("z" * 32), with_token(aud="elsewhere"), "Basic x"])
async def test_address_that_fails_too_often_is_told_to_wait(world: World, authorization: str) -> None:
    for _ in range(3):
        await world.fail(authorization)

    with pytest.raises(Throttled) as slowed:
        await world.caller(authorization)

    assert slowed.value.retry_after_s == 20
    assert isinstance(slowed.value.__context__, Unauthorized)


async def test_whoever_waited_is_heard_again(world: World) -> None:
    for _ in range(3):
        await world.fail()
    world.clock.now += 19.5
    with pytest.raises(Throttled) as slowed:
        await world.caller("Bearer x")
    assert slowed.value.retry_after_s == 1

    world.clock.now += slowed.value.retry_after_s

    await world.fail()
    with pytest.raises(Throttled):
        await world.caller("Bearer x")


async def test_whoever_proves_themselves_is_never_slowed_down(world: World) -> None:
    """A guesser behind the same address must not lock the others out."""
    world.assign()
    for _ in range(3):
        await world.fail()

    assert await world.caller(with_key()) == Principal("accessKey", "primary")
    assert await world.caller(with_token()) == Principal("entra", OBJECT_ID)


async def test_another_address_does_not_wait(world: World) -> None:
    for _ in range(3):
        await world.fail()

    await world.fail(ip="10.0.0.2")


async def test_request_without_any_credential_is_no_guess(world: World) -> None:
    """Some clients begin so, to be told how to prove themselves."""
    for _ in range(10):
        await world.fail(None)


async def test_unknown_address_is_never_slowed_down(world: World) -> None:
    for _ in range(10):
        await world.fail(ip=None)


async def test_what_is_forbidden_or_cannot_be_told_is_no_guess() -> None:
    up, down = World(), World(down=True)
    for _ in range(10):
        with pytest.raises(Forbidden):
            await up.caller(with_token())
        with pytest.raises(Unavailable):
            await down.caller(with_token())

    await up.fail()
    await down.fail()


async def test_no_limit_slows_nobody_down() -> None:
    world = World(per_minute=0)
    for _ in range(100):
        await world.fail()


# What a resource demands


async def test_network_rules_keep_out_whoever_it_is(world: World) -> None:
    world.assign()
    world.keys.demands = ResourcePolicy(network=NetworkRules(public=False))

    for authorization in (with_key(), with_token(), None, "Bearer x"):
        with pytest.raises(Forbidden) as refused:
            await world.caller(authorization)
        assert refused.value.target == "Network"


async def test_network_rules_are_those_for_rest_and_for_the_callers_address(world: World) -> None:
    world.keys.demands = ResourcePolicy(network=NetworkRules(default=False, allow=frozenset({"ClientConnection"})))
    with pytest.raises(Forbidden, match="requests of type RESTAPI"):
        await world.caller(with_key())

    rule = {"value": "10.0.0.0/24", "action": "Allow"}
    acls = {"defaultAction": "Deny", "publicNetwork": {"allow": ["RESTAPI"]}, "ipRules": [rule]}
    world.keys.demands = ResourcePolicy(network=network_rules(acls, "Enabled"))
    assert await world.caller(with_key(), ip="10.0.0.1") == Principal("accessKey", "primary")
    with pytest.raises(Forbidden):
        await world.caller(with_key(), ip="10.0.1.1")


async def test_caller_of_an_unknown_address_is_not_kept_out(world: World) -> None:
    """It comes from this machine itself."""
    world.keys.demands = ResourcePolicy(network=NetworkRules(public=False))

    assert await world.caller(with_key(), ip=None) == Principal("accessKey", "primary")


async def test_whoever_is_kept_out_by_the_network_has_not_failed(world: World) -> None:
    world.keys.demands = ResourcePolicy(network=NetworkRules(public=False))
    for _ in range(10):
        with pytest.raises(Forbidden):
            await world.caller("Bearer x")
    world.keys.demands = ResourcePolicy()

    await world.fail()


async def test_stopped_resource_answers_nobody(world: World) -> None:
    world.assign()
    world.keys.demands = ResourcePolicy(stopped=True)

    for authorization in (with_key(), with_token(), None):
        with pytest.raises(Unavailable, match="The resource is stopped"):
            await world.caller(authorization)


async def test_network_rules_come_before_the_stop(world: World) -> None:
    world.keys.demands = ResourcePolicy(stopped=True, network=NetworkRules(public=False))

    with pytest.raises(Forbidden):
        await world.caller(with_key())


async def test_access_keys_alone_are_switched_off(world: World) -> None:
    world.assign()
    world.keys.demands = ResourcePolicy(local_auth=False)

    await world.fail(with_key())
    assert await world.caller(with_token()) == Principal("entra", OBJECT_ID)


async def test_tokens_of_issuers_alone_are_switched_off(world: World) -> None:
    world.assign()
    world.keys.demands = ResourcePolicy(entra_auth=False)

    await world.fail(with_token())
    assert await world.caller(with_key()) == Principal("accessKey", "primary")

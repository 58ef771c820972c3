"""What each resource demands of clients, and that they do not get into one another's way."""

from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from doubles import HUB, Directory, RecordingSink, head, settle
from gateway.house import JSON, RELIABLE, URL, Client, House
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.opening import Opening
from hubwire.model.errors import NotFound
from hubwire.model.names import HubKey
from hubwire.model.network import NetworkRules, network_rules
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import CloseCategory

ONE, TWO = "wps-one", "wps-two"


class Strict(Directory):
    """Knows which resources there are."""

    def policy(self, resource: str) -> ResourcePolicy:
        if resource not in self.policies:
            raise NotFound(f"no {resource}")
        return self.policies[resource]


class World(House):
    """Three resources, whose policies tests replace."""

    def __init__(self, quota: int = 100) -> None:
        super().__init__(quota)
        self.directory = Strict()
        self.directory.policies = dict.fromkeys(("default", ONE, TWO), ResourcePolicy())
        self.gateway._directory = self.gateway._admission._directory = self.directory

    def demand(self, resource: str, policy: ResourcePolicy) -> None:
        self.directory.policies[resource] = policy

    def decide_at(self, resource: str, *offers: str, **query: str) -> Opening:
        query = query or {"access_token": self.token()}
        return self.opening(replace(head(f"{URL}?{urlencode(query)}", offers=offers), resource=resource))

    def refused(self, resource: str, *offers: str, **query: str) -> tuple[int, str] | None:
        """Status and text, or None for somebody who is on the way in now."""
        try:
            self.decide_at(resource, *offers, **query)
        except HandshakeRefused as refusal:
            return refusal.status, refusal.text
        return None

    async def client_of(self, resource: str, *offers: str) -> Client:
        sink = RecordingSink()
        connection = await self.begin(self.decide_at(resource, *offers), sink)
        assert connection is not None
        await settle()
        return Client(self, connection, sink)


@pytest.fixture
def world() -> World:
    return World()


def test_client_belongs_to_the_resource_of_its_listener_or_host(world: World) -> None:
    connection = world.decide_at(ONE).connection

    assert connection is not None
    assert connection.hub == HubKey(ONE, HUB.hub)


def test_resource_that_is_not_there_is_404(world: World) -> None:
    assert world.refused("nowhere") == (404, "There is no such resource.")
    assert world.refused("nowhere", access_token="bad") == (404, "There is no such resource.")


@pytest.mark.parametrize("token", ["good", "bad"])
def test_client_that_the_network_rules_keep_out_is_403_whoever_it_is(world: World, token: str) -> None:
    world.demand(ONE, ResourcePolicy(network=NetworkRules(public=False)))
    query = {"access_token": world.token() if token == "good" else token}

    assert world.refused(ONE, **query) == (403, "Public network access to this resource is disabled.")
    assert world.refused("default") is None


def test_network_rules_are_those_for_clients_and_for_their_address(world: World) -> None:
    world.demand(ONE, ResourcePolicy(network=NetworkRules(default=False, allow=frozenset({"RESTAPI"}))))
    world.demand(TWO, ResourcePolicy(network=NetworkRules(default=False, allow=frozenset({"ClientConnection"}))))
    assert (world.refused(ONE) or (0,))[0] == 403
    assert world.refused(TWO) is None

    # Clients of this house come from 192.0.2.1.
    for value, status in (("192.0.2.0/24", None), ("10.0.0.0/8", 403)):
        rule = {"value": value, "action": "Allow"}
        acls = {"defaultAction": "Deny", "publicNetwork": {"allow": ["ClientConnection"]}, "ipRules": [rule]}
        world.demand(ONE, ResourcePolicy(network=network_rules(acls, "Enabled")))
        refused = world.refused(ONE)
        assert (None if refused is None else refused[0]) == status


def test_stopped_resource_is_503_and_says_when_to_come_back(world: World) -> None:
    world.demand(ONE, ResourcePolicy(stopped=True))

    with pytest.raises(HandshakeRefused) as refused:
        world.decide_at(ONE)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    assert world.refused("default") is None
    world.demand(ONE, ResourcePolicy())
    assert world.refused(ONE) is None


async def test_stopped_resource_gives_nobody_a_dropped_connection_back(world: World) -> None:
    client = await world.client_of(ONE, RELIABLE)
    client.drop()
    world.demand(ONE, ResourcePolicy(stopped=True))
    assert (world.refused(ONE, RELIABLE, **client.recovery) or (0,))[0] == 503

    world.demand(ONE, ResourcePolicy())
    assert world.decide_at(ONE, RELIABLE, **client.recovery).resumed


async def test_connection_of_one_resource_cannot_be_recovered_at_another(world: World) -> None:
    client = await world.client_of(ONE, RELIABLE)
    client.drop()

    assert not world.decide_at(TWO, RELIABLE, **client.recovery).resumed


@pytest.mark.parametrize(
    ("policy", "status", "category"),
    [
        (None, 404, CloseCategory.BAD_REQUEST),
        (ResourcePolicy(network=NetworkRules(public=False)), 403, CloseCategory.UNAUTHORIZED),
        (ResourcePolicy(stopped=True), 503, CloseCategory.SERVICE_RELOAD),
        (ResourcePolicy(quota=0), 429, CloseCategory.THROTTLED),
    ],
)
def test_refused_client_is_counted(
    world: World, policy: ResourcePolicy | None, status: int, category: CloseCategory
) -> None:
    if policy is None:
        del world.directory.policies[ONE]
    else:
        world.demand(ONE, policy)

    assert (world.refused(ONE) or (0,))[0] == status
    assert world.telemetry.refused == {status: 1}
    assert {name: count for name, count in world.telemetry.closed.items() if count} == {category: 1}


# The quota


async def test_quota_of_one_resource_is_not_used_up_by_another(world: World) -> None:
    world.demand(ONE, ResourcePolicy(quota=1))
    client = await world.client_of(ONE)
    for _ in range(3):
        await world.client_of(TWO)

    assert world.refused(ONE) == (429, "The connection quota of this resource is used up.")
    assert world.refused(TWO) is None
    client.drop()
    assert world.refused(ONE) is None


async def test_clients_on_their_way_in_count_for_their_resource(world: World) -> None:
    world.demand(ONE, ResourcePolicy(quota=1))
    opening = world.decide_at(ONE)
    assert (world.refused(ONE) or (0,))[0] == 429

    connection = await world.begin(opening, sink := RecordingSink())

    assert connection is not None
    assert (world.refused(ONE) or (0,))[0] == 429
    world.gateway.lost(connection, sink, 1000, CloseCategory.NORMAL)
    assert world.refused(ONE) is None


@pytest.mark.parametrize("times", [1, 5])
async def test_client_that_could_not_be_let_in_counts_no_more(world: World, times: int) -> None:
    world.demand(ONE, ResourcePolicy(quota=1))
    for _ in range(times):
        opening, gate = world.decide_at(ONE), world.bus.hold()
        waiting = world.gateway.begin(opening, RecordingSink())
        assert waiting is not None
        gate.set_exception(ConnectionError("the bus is gone"))
        with pytest.raises(ConnectionError):
            await waiting
        world.bus.gate = None
        await settle()

    client = await world.client_of(ONE)
    assert (world.refused(ONE) or (0,))[0] == 429
    client.drop()
    assert world.refused(ONE) is None


async def test_client_that_is_let_in_later_counts_once(world: World) -> None:
    world.demand(ONE, ResourcePolicy(quota=2))
    opening, gate = world.decide_at(ONE), world.bus.hold()
    waiting = world.gateway.begin(opening, sink := RecordingSink())
    assert waiting is not None
    gate.set_result(None)
    await waiting
    world.bus.gate = None
    await settle()

    assert world.refused(ONE) is None, "this one is on its way in from now on"
    assert (world.refused(ONE) or (0,))[0] == 429
    assert opening.connection is not None
    world.gateway.lost(opening.connection, sink, 1000, CloseCategory.NORMAL)
    assert world.refused(ONE) is None


async def test_reliable_client_counts_while_it_may_come_back(world: World) -> None:
    world.demand(ONE, ResourcePolicy(quota=1))
    client = await world.client_of(ONE, RELIABLE)
    client.drop()

    assert (world.refused(ONE) or (0,))[0] == 429
    assert world.decide_at(ONE, RELIABLE, **client.recovery).resumed
    await world.gateway.end_resource(ONE, "over")
    assert world.refused(ONE) is None


async def test_quota_holds_as_it_is_now(world: World) -> None:
    world.demand(ONE, ResourcePolicy(quota=1))
    await world.client_of(ONE)
    world.demand(ONE, ResourcePolicy(quota=2))
    await world.client_of(ONE)
    world.demand(ONE, ResourcePolicy(quota=1))

    assert (world.refused(ONE) or (0,))[0] == 429


async def test_quota_of_the_server_is_for_all_resources_together() -> None:
    world = World(quota=2)
    await world.client_of(ONE)
    await world.client_of(TWO)

    assert world.refused("default") == (429, "The connection quota of this server is used up.")


# The end of a resource


async def test_connections_of_a_resource_are_ended_and_others_stay(world: World) -> None:
    plain, reliable = await world.client_of(ONE, JSON), await world.client_of(ONE, RELIABLE)
    dropped, other = await world.client_of(ONE, RELIABLE), await world.client_of(TWO, JSON)
    dropped.drop()

    await world.gateway.end_resource(ONE, "The resource is restarting.")
    await settle()

    for client in (plain, reliable):
        assert client.sink.closed == (1001, "The resource is restarting.")
    assert [client.connection.alive for client in (plain, reliable, dropped, other)] == [False, False, False, True]
    assert other.sink.closed is None
    assert not world.decide_at(ONE, RELIABLE, **dropped.recovery).resumed
    assert {category for _, category, _, _ in world.ended} == {CloseCategory.SERVICE_RELOAD}
    assert world.telemetry.connections == 1


async def test_end_of_a_resource_without_connections_is_none(world: World) -> None:
    other = await world.client_of(TWO)

    await world.gateway.end_resource(ONE, "over")

    assert other.connection.alive

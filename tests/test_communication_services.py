"""Under which addresses communication services are reached."""

from typing import cast

import pytest

from hubwire.communication_services import Communication
from hubwire.hosting import OwnPorts
from resources.communicating import Communicating, PortsAsked


class Urls:
    """Ports of services, by what their listeners are called."""

    def __init__(self, **urls: tuple[str, ...]) -> None:
        self._urls = {f"communication/{name}": found for name, found in urls.items()}

    def urls(self, name: str) -> tuple[str, ...]:
        return self._urls.get(name, ())


@pytest.fixture
async def world() -> Communicating:
    return await Communicating().start()


async def test_first_service_is_at_the_main_port(world: Communicating) -> None:
    communication = Communication(world.services, "https://hub.example.com:8443")
    first = world.services.service_at("default")

    assert world.services.endpoint(first) == "https://hub.example.com:8443"
    assert communication.announced() == {
        "communicationEndpoint": "https://hub.example.com:8443",
        "communicationConnectionString": f"endpoint=https://hub.example.com:8443/;accesskey={first.keys.primary}",
    }


async def test_further_service_is_at_the_best_url_of_its_own_ports(world: Communicating) -> None:
    communication = Communication(world.services, "https://localhost:8443")
    made, _ = await world.put("One")
    communication.own = cast("OwnPorts", Urls(one=("https://127.0.0.1:9443", "http://127.0.0.1:9080")))

    assert world.services.endpoint(made) == "https://127.0.0.1:9443"
    assert world.services.document(made)["properties"]["hostName"] == "127.0.0.1:9443"
    connection_string = world.services.keys_document(made)["secondaryConnectionString"]
    assert connection_string == f"endpoint=https://127.0.0.1:9443/;accesskey={made.keys.secondary}"


@pytest.mark.parametrize(
    ("main", "endpoint"),
    [
        ("https://localhost:8443", "https://one.communication.localhost:8443"),
        ("https://localhost", "https://one.communication.localhost"),
        ("http://localhost:8080", "http://one.communication.localhost:8080"),
    ],
)
async def test_service_that_never_had_ports_is_at_its_name(world: Communicating, main: str, endpoint: str) -> None:
    Communication(world.services, main)
    made, _ = await world.put("One")

    assert world.services.endpoint(made) == endpoint


async def test_service_whose_ports_are_not_open_is_at_those_that_it_had(world: Communicating) -> None:
    """As a template sees it that is deployed with no server running."""
    Communication(world.services, "https://localhost:8443")
    world.services.ports = PortsAsked()
    made, _ = await world.put("One")

    assert world.services.endpoint(made) == "https://localhost:9443"

"""How event handlers are, in words of whoever looks at a hub."""

from typing import Any

from doubles import HUB
from handlers import IDENTITY, Upstream, handler, handling
from hubwire.model.resources import ResourcePolicy
from hubwire.upstream.review import HandlerReview

TOKEN: dict[str, Any] = {"auth": {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://app"}}}
NO_IDENTITY = "it is to get a token of the resource's managed identity, and the resource has none"


def review(house: Upstream, tunnels: int = 0) -> HandlerReview:
    return HandlerReview(
        house.directory,
        house.caller,
        house.validator,
        house.dispatcher,
        lambda _resource: "hub.example",
        lambda _hub: tunnels,
        strict=False,
    )


async def states(house: Upstream, *handlers: dict[str, Any], tunnels: int = 0) -> list[str]:
    house.directory.hubs[HUB] = handling(*handlers)
    return await review(house, tunnels).states(HUB)


async def test_handler_that_cannot_get_its_token_is_told_as_that_wherever_it_is() -> None:
    house = Upstream()

    assert await states(house, handler(**TOKEN), handler("tunnel:///x", **TOKEN), tunnels=1) == [NO_IDENTITY] * 2


async def test_handler_that_can_get_its_token_is_as_it_was_found_last() -> None:
    house = Upstream()
    house.directory.policies[HUB.resource] = ResourcePolicy(identity=IDENTITY)

    assert await states(house, handler(**TOKEN), handler("tunnel:///x"), tunnels=2) == [
        "not asked yet",
        "2 tunnels dialled in",
    ]
    assert await review(house)(HUB, house.directory.hubs[HUB]) == []
    assert await states(house, handler(**TOKEN), handler("tunnel:///x")) == ["it takes events", "nobody has dialled in"]

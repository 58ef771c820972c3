"""How event handlers are, in words of whoever looks at a hub."""

from typing import Any

from doubles import HUB, settle
from handlers import IDENTITY, Upstream, answer, handler, handling
from hubwire.model.resources import ResourcePolicy
from hubwire.upstream.review import HandlerReview
from hubwire.upstream.sources import EventSource

TOKEN: dict[str, Any] = {"auth": {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://app"}}}
NO_IDENTITY = "it is to get a token of the resource's managed identity, and the resource has none"


def review(house: Upstream, tunnels: int = 0, failure: str | None = None) -> HandlerReview:
    return HandlerReview(
        house.directory,
        house.caller,
        house.validator,
        house.dispatcher,
        lambda _resource: "hub.example",
        lambda _hub: tunnels,
        lambda _uri, _identity: failure,
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
    assert await states(house, handler(**TOKEN), handler("tunnel:///x")) == [
        "it takes events",
        "nobody has dialled in; to do so: hubwire tunnel --hub chat --upstream URL",
    ]


async def test_handler_whose_secret_cannot_be_read_again_is_told_as_that() -> None:
    """Events go on with the value of before."""
    uri = "https://v.vault.azure.net/secrets/key"
    house = Upstream()
    house.directory.policies[HUB.resource] = ResourcePolicy(identity=IDENTITY)
    house.secrets.values[uri] = "k"
    house.directory.hubs[HUB] = handling(handler(f"http://app.example/?code={{@Microsoft.KeyVault(SecretUri={uri})}}"))
    await review(house)(HUB, house.directory.hubs[HUB])

    assert await review(house, failure="It is gone.").states(HUB) == [
        "it takes events, by a secret of before: It is gone."
    ]
    assert await review(house).states(HUB) == ["it takes events"]


async def test_handler_whose_last_event_failed_is_told_as_that() -> None:
    house = Upstream()
    house.directory.hubs[HUB] = handling(handler())
    source = EventSource(HUB, "c1", "hub.example")
    house.webhook.say(answer(400), answer(204))

    house.dispatcher.connected(source)
    await settle()
    [state] = await states(house, handler())
    house.dispatcher.connected(source)
    await settle()

    assert state.startswith("it takes events; the last one failed 0 s ago: HttpHandlerUnexpectedResponse: ")
    assert await states(house, handler()) == ["it takes events"]


async def test_missing_identity_is_left_to_the_resource_tree_to_warn_of() -> None:
    """It says so at each change, and two warnings of one thing help nobody."""
    house = Upstream()
    secret = "{@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/key)}"
    house.directory.hubs[HUB] = handling(handler(**TOKEN), handler(f"http://app.example/?code={secret}"))

    assert await review(house)(HUB, house.directory.hubs[HUB]) == []
    assert house.webhook.requests == []

"""States of groups over real sockets: limits that are set, clients that vanish, and memory that comes back."""

from contextlib import ExitStack
from typing import Any

import pytest

from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import JSON, RELIABLE, JsonClient, rest


def states(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """By connection id, what these frames tell of states."""
    known: dict[str, Any] = {}
    for frame in frames:
        if frame["type"] == "groupStateSnapshot":
            known.clear()
        for item in frame.get("items", ()):
            known.pop(item["connectionId"], None)
            if "state" in item:
                known[item["connectionId"]] = item["state"]
    return known


def set_state(client: JsonClient, state: dict[str, str], group: str = "g") -> dict[str, Any]:
    return client.request({"type": "setGroupState", "group": group, "state": state})


def subscribe(client: JsonClient, group: str = "g") -> dict[str, Any]:
    """The snapshot."""
    assert client.request({"type": "subscribeGroupState", "group": group})["success"]
    return client.receive()


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_state_ends_with_a_client_that_says_goodbye_and_with_one_that_rest_removes(
    server: Server, hub: str, protocol: str
) -> None:
    with JsonClient(server, hub) as watcher, JsonClient(server, hub, protocol=protocol) as removed:
        assert subscribe(watcher)["items"] == []
        with JsonClient(server, hub, protocol=protocol, user="u", groups=["g"], roles=[]) as leaving:
            assert set_state(leaving, {"a": "1"})["success"]
            assert set_state(removed, {"a": "2"})["success"]
            known = watcher.heard()
            assert states(known) == {leaving.connection_id: {"a": "1"}, removed.connection_id: {"a": "2"}}

        def now() -> dict[str, Any]:
            known.extend(watcher.heard())
            return states(known)

        wait_until(lambda: now() == {removed.connection_id: {"a": "2"}}, "the state of who left is gone")
        path = f"{hub}/groups/g/connections/{removed.connection_id}"
        assert rest(server, "DELETE", path).status == 204
        wait_until(lambda: now() == {}, "the state of who was removed is gone")


def test_limits_are_settings(start_server: StartServer, hub: str) -> None:
    options = ("group_state_entries=1", "group_state_bytes=4", "group_state_groups=2", "group_states_bytes=1024")
    server = start_server(*(part for option in options for part in ("--set", option)))
    with JsonClient(server, hub) as client:
        acks = [
            set_state(client, {"a": "", "b": ""}),
            set_state(client, {"abcd": "x"}),
            set_state(client, {"abc": "x"}, "1"),
            set_state(client, {}, "2"),
            set_state(client, {}, "3"),
        ]
        subscribe(client, "1")
        subscribe(client, "2")
        acks.append(client.request({"type": "subscribeGroupState", "group": "3"}))

        assert [ack.get("error", {}).get("message") for ack in acks] == [
            "A group state may have 1 entries.",
            "A group state may have 4 bytes.",
            None,
            None,
            "A connection may have a state in 2 groups.",
            "A connection may subscribe to the states of 2 groups.",
        ]
        with ExitStack() as stack:
            more = [set_state(stack.enter_context(JsonClient(server, hub)), {}) for _ in range(15)]
        assert {ack["success"] for ack in more[:5]} == {True}
        assert more[-1]["error"]["message"] == "The states of a group may have 1024 bytes."

"""States of groups over real sockets: between clients of all subprotocols, over recoveries, and limits that are set."""

from contextlib import ExitStack
from socket import SHUT_RDWR
from typing import Any

import pytest

from acceptance.protobuf import PROTOBUF, PROTOBUF_RELIABLE, ProtobufClient
from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import JSON, RELIABLE, JsonClient, rest

PROTOCOLS = (JSON, RELIABLE, PROTOBUF, PROTOBUF_RELIABLE)


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


def client_of(server: Server, hub: str, protocol: str, **more: Any) -> JsonClient:
    """One that speaks any of the subprotocols, in the shapes of JSON."""
    kind = ProtobufClient if protocol in (PROTOBUF, PROTOBUF_RELIABLE) else JsonClient
    return kind(server, hub, protocol=protocol, **more)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_states_are_told_between_clients_of_all_subprotocols(server: Server, hub: str, protocol: str) -> None:
    """With names and values of any script, and in the order in which they were set."""
    with ExitStack() as stack:
        watcher = stack.enter_context(client_of(server, hub, protocol))
        others = [stack.enter_context(client_of(server, hub, other, user=f"ü{other}")) for other in PROTOCOLS]
        for one in others[:2]:
            assert set_state(one, {"ü/%s": "☃", "": ""})["success"]
        snapshot = subscribe(watcher)
        assert states([snapshot]) == {one.connection_id: {"ü/%s": "☃", "": ""} for one in others[:2]}
        assert {item["userId"] for item in snapshot["items"]} == {f"ü{other}" for other in PROTOCOLS[:2]}
        for one in others:
            set_state(one, {"n": "1"})
            set_state(one, {})
        told = watcher.heard()

        assert [(frame["items"][0]["connectionId"], frame["items"][0]["state"]) for frame in told] == [
            (one.connection_id, state) for one in others for state in ({"n": "1"}, {})
        ]


@pytest.mark.parametrize("protocol", [RELIABLE, PROTOBUF_RELIABLE])
def test_subscriber_that_comes_back_knows_what_is_so(server: Server, hub: str, protocol: str) -> None:
    """By a snapshot, or by what it has missed; its own state was there all the time."""
    with client_of(server, hub, protocol) as watcher, JsonClient(server, hub) as one:
        set_state(watcher, {"mine": "1"})
        known = [subscribe(watcher)]
        watcher.socket.socket.shutdown(SHUT_RDWR)
        set_state(one, {"a": "1"})
        set_state(one, {"a": "2"})

        with client_of(server, hub, protocol, query=watcher.recovery()) as again:
            assert again.connection_id == watcher.connection_id

            def now() -> dict[str, Any]:
                known.extend(again.heard())
                return states(known)

            both = {watcher.connection_id: {"mine": "1"}, one.connection_id: {"a": "2"}}
            wait_until(lambda: now() == both, "the latest states are known")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_state_ends_with_a_client_that_says_goodbye_and_with_one_that_rest_removes(
    server: Server, hub: str, protocol: str
) -> None:
    with JsonClient(server, hub) as watcher, client_of(server, hub, protocol) as removed:
        assert subscribe(watcher)["items"] == []
        with client_of(server, hub, protocol, user="u", groups=["g"], roles=[]) as leaving:
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

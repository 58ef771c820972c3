"""A server that is killed in the middle of deployments: each resource is old or new, and the record says so."""

import json
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.webpubsub import WebPubSubManagementClient

from acceptance.directory import token_of
from acceptance.sdk import MANAGEMENT, manager, resource_at
from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import connect_status, http_request

TIMES: Final = 6
GROUP: Final = "killed"
TYPE: Final = "Microsoft.SignalRService/webPubSub"
VERSION: Final = "2024-03-01"
RESOURCES: Final = ("one", "two", "three")
HUBS: Final = 10
"""Of each resource."""


def template(round_: int) -> dict[str, Any]:
    """Resources and hubs in all of which the number of the round stands, in several places at once."""
    resources: list[dict[str, Any]] = []
    for name in RESOURCES:
        properties = {"networkACLs": {"ipRules": [{"value": f"10.0.0.{round_}", "action": "Deny"}]}, "round": round_}
        resources.append(
            {
                "type": TYPE,
                "apiVersion": VERSION,
                "name": name,
                "location": "local",
                "tags": {"round": str(round_)},
                "sku": {"name": "Standard_S1", "capacity": round_ + 1},
                "properties": properties,
            }
        )
        resources += [
            {
                "type": f"{TYPE}/hubs",
                "apiVersion": VERSION,
                "name": f"{name}/h{at}",
                "dependsOn": [name],
                "properties": {
                    "anonymousConnectPolicy": "allow",
                    "webSocketKeepAliveIntervalInSeconds": round_ + 1,
                    "eventHandlers": [{"urlTemplate": f"https://example.org/{round_}"}],
                    "round": round_,
                },
            }
            for at in range(HUBS)
        ]
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources,
    }


class Tree(NamedTuple):
    """
    Which round each thing is of.

    Attributes:
        resources: by name.
        hubs: by name of the resource and of the hub.
        keys: first access keys of the resources.
    """

    resources: dict[str, int]
    hubs: dict[str, int]
    keys: dict[str, str]

    def rounds(self) -> list[int]:
        """Of all things, in the order in which a deployment comes to them."""
        found = []
        for name in RESOURCES:
            found.append(self.resources.get(name, -1))
            found += [self.hubs.get(f"{name}/h{at}", -1) for at in range(HUBS)]
        return found


def tree(server: Server, token: str) -> Tree:
    """What is there; every single thing is of one round as a whole."""

    def get(path: str) -> Any:
        target = f"/subscriptions/{server.subscription_id}/resourceGroups/{GROUP}{path}?api-version={VERSION}"
        answer = http_request(server, "GET", target, headers={"Authorization": f"Bearer {token}"})
        return answer.json()["value"] if answer.status == 200 else []

    resources, hubs, keys = {}, {}, {}
    for found in get(f"/providers/{TYPE}"):
        name, properties = found["name"], found["properties"]
        rules = [rule["value"] for rule in properties["networkACLs"]["ipRules"]]
        round_ = properties["round"]
        seen = (found["tags"], found["sku"]["capacity"], rules)
        assert seen == ({"round": str(round_)}, round_ + 1, [f"10.0.0.{round_}"])
        resources[name] = round_
        for hub in get(f"/providers/{TYPE}/{name}/hubs"):
            properties = hub["properties"]
            handlers = [handler["urlTemplate"] for handler in properties["eventHandlers"]]
            round_ = properties["round"]
            seen_hub = (properties["webSocketKeepAliveIntervalInSeconds"], handlers)
            assert seen_hub == (round_ + 1, [f"https://example.org/{round_}"])
            hubs[f"{name}/{hub['name']}"] = round_
    with manager(WebPubSubManagementClient, server) as client:
        for name in resources:
            keys[name] = resource_at(client, GROUP, name).access_key
    return Tree(resources, hubs, keys)


class Deploying(threading.Thread):
    """
    A deployment whose server may go away meanwhile.

    Attributes:
        status: of its answer; 0 if it had none.
    """

    def __init__(self, server: Server, token: str, round_: int) -> None:
        super().__init__(name="deploys")
        self._server = server
        self._token = token
        self._round = round_
        self.status = 0
        self.start()

    def run(self) -> None:
        target = (
            f"/subscriptions/{self._server.subscription_id}/resourcegroups/{GROUP}"
            f"/providers/Microsoft.Resources/deployments/d{self._round}?api-version=2025-04-01"
        )
        body = json.dumps({"properties": {"mode": "Incremental", "template": template(self._round)}}).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        with suppress(OSError, EOFError, ValueError):
            self.status = http_request(self._server, "PUT", target, body=body, headers=headers).status


def commits(server: Server) -> Callable[[], int]:
    """Bytes that the database has written ahead since now: they tell how far a deployment has come."""
    log = server.data / "hubwire.db-wal"
    before = log.stat().st_size if log.exists() else 0
    return lambda: (log.stat().st_size if log.exists() else 0) - before


def test_each_resource_is_old_or_new_whenever_the_server_is_killed(start_server: StartServer) -> None:
    """The deployment that was cut says so, what it did stands, and the same one done again succeeds."""
    chance = random.Random(20261127)
    server = start_server()
    keys: dict[str, str] = {}
    cut = 0
    for round_ in range(1, TIMES + 1):
        token = token_of(server, None, MANAGEMENT)
        before = tree(server, token)
        written, wanted = commits(server), chance.randrange(1, 400_000)
        deploying = Deploying(server, token, round_)
        wait_until(
            lambda deploying=deploying, written=written, wanted=wanted: (  # type: ignore[misc]
                not deploying.is_alive() or written() >= wanted
            ),
            "the moment to kill",
        )
        server.process.kill()
        server.wait()
        deploying.join()

        server = start_server(data=server.data)
        token = token_of(server, None, MANAGEMENT)
        after = tree(server, token)
        check_step(before, after, round_)
        for name, key in after.keys.items():
            assert keys.setdefault(name, key) == key
        with manager(DeploymentsMgmtClient, server) as client:
            states = {
                found.name: found.as_dict()["properties"] for found in client.deployments.list_by_resource_group(GROUP)
            }
            record = states.get(f"d{round_}")
            if deploying.status:
                assert record is not None
                assert record["provisioningState"] == "Succeeded"
                assert set(after.rounds()) == {round_}
            elif record is None:
                assert after.rounds() == before.rounds()
            elif record["provisioningState"] == "Failed":
                cut += 1
                assert record["error"]["code"] == "DeploymentInterrupted"
                assert "server ended" in record["error"]["message"]
            else:
                # It was over, and the answer was lost.
                assert record["provisioningState"] == "Succeeded"
                assert set(after.rounds()) == {round_}
            assert all(states[f"d{old}"]["provisioningState"] == "Succeeded" for old in range(1, round_))
        again = Deploying(server, token, round_)
        again.join()
        assert again.status in (200, 201)
        assert set(tree(server, token).rounds()) == {round_}
    assert cut, "no deployment was cut"
    with manager(WebPubSubManagementClient, server) as resources:
        for name in RESOURCES:
            assert connect_status(resource_at(resources, GROUP, name), f"h{HUBS - 1}", None) == 101


def check_step(before: Tree, after: Tree, round_: int) -> None:
    """What a deployment came to is of its round, and what it did not come to is as it was; in its order."""
    seen = list(zip(before.rounds(), after.rounds(), strict=True))
    assert all(new in (old, round_) for old, new in seen), seen
    done = [new == round_ for _, new in seen]
    assert after.hubs.keys() >= before.hubs.keys()
    assert after.resources.keys() >= before.resources.keys()
    for name in RESOURCES:
        if any(after.hubs.get(f"{name}/h{at}") == round_ for at in range(HUBS)):
            assert after.resources[name] == round_, "a hub waits for its resource"
    assert sum(done) <= len(seen)


def test_resource_that_a_kill_left_without_an_answer_is_reached_or_not_there(start_server: StartServer) -> None:
    """Its ports, keys and hubs are there together with it."""
    server = start_server()
    token = token_of(server, None, MANAGEMENT)
    written = commits(server)
    deploying = Deploying(server, token, 1)
    wait_until(lambda: not deploying.is_alive() or written() > 30_000, "the first resources")
    server.process.kill()
    server.wait()
    deploying.join()

    server = start_server(data=server.data)
    found = tree(server, token_of(server, None, MANAGEMENT))
    with manager(WebPubSubManagementClient, server) as client:
        for name in found.resources:
            resource = resource_at(client, GROUP, name)
            assert resource.port not in (0, server.port)
            assert resource.https_port not in (0, server.https_port)
            for at in range(HUBS):
                wanted = 101 if f"{name}/h{at}" in found.hubs else 401
                assert connect_status(resource, f"h{at}", None) == wanted
        missing = [name for name in RESOURCES if name not in found.resources]
        for name in missing:
            assert name not in [one.name for one in client.web_pub_sub.list_by_subscription()]

"""Reliable clients that lose their connection: what comes back to them, what does not, and who is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    Closed,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    rest,
    signed,
)


class Reliable(RawClient):
    """A reliable client on a bare socket, opened anew or recovered. `connected` is its first frame."""

    def __init__(self, server: Server, hub: str, *, recover: "Reliable | None" = None, **claims: Any) -> None:
        if recover is None:
            claims = {"roles": [JOIN, SEND], **claims}
            target = client_target(hub, client_token(server, hub, **claims))
        else:
            target = client_target(hub, None, recover.recovery())
        super().__init__(server, target, protocols=[RELIABLE])
        assert self.status == 101
        self.connected = self.receive_json()
        assert self.connected["event"] == "connected"
        self.connection_id: str = self.connected["connectionId"]

    def recovery(self) -> list[tuple[str, str]]:
        return recovery(self.connection_id, self.connected["reconnectionToken"])

    def acknowledge(self, sequence_id: int) -> None:
        """And wait until that was read: an answer to what is sent afterwards says so."""
        self.send_json({"type": "sequenceAck", "sequenceId": sequence_id})
        self.send_json({"type": "ping"})
        while self.receive_json()["type"] != "pong":
            pass


def recovery(connection_id: str, token: str) -> list[tuple[str, str]]:
    return [("awps_connection_id", connection_id), ("awps_reconnection_token", token)]


def publish(server: Server, hub: str, text: str, group: str = "g") -> None:
    headers = {"Content-Type": "text/plain"}
    assert rest(server, "POST", f"{hub}/groups/{group}/:send", body=text.encode(), headers=headers).status == 202


def exists(server: Server, hub: str, connection_id: str) -> bool:
    status = rest(server, "HEAD", f"{hub}/connections/{connection_id}").status
    assert status in (200, 404)
    return status == 200


def refused(server: Server, hub: str, query: list[tuple[str, str]], protocol: str = RELIABLE) -> Closed:
    """The answer to a recovery that fails: 101 with the offered subprotocol, then this close."""
    with RawClient(server, client_target(hub, None, query), protocols=[protocol]) as client:
        assert client.status == 101
        assert client.headers["sec-websocket-protocol"] == protocol
        return client.closed()


ENDINGS: dict[str, Callable[[RawClient], None]] = {
    "reset": lambda client: client.abort(),
    "no close frame": lambda client: client.socket.close(),
    "going away": lambda client: client.close_frame(1001),
    "no code": lambda client: client.close_frame(None),
    "own code": lambda client: client.close_frame(4000),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_connection_survives_every_end_but_a_normal_close(
    server: Server, hub: str, end: Callable[[RawClient], None]
) -> None:
    """Same id, a new token, and what was sent meanwhile, with the numbers it has."""
    first = Reliable(server, hub, user="u", groups=["g"])
    with first:
        publish(server, hub, "before")
        assert first.receive_json()["sequenceId"] == 1
        end(first)
        publish(server, hub, "meanwhile")
        assert exists(server, hub, first.connection_id)

        with Reliable(server, hub, recover=first) as second:
            assert second.connection_id == first.connection_id
            assert second.connected["userId"] == "u"
            assert second.connected["reconnectionToken"]
            publish(server, hub, "after")
            replayed = [second.receive_json() for _ in range(3)]
            assert [(m["sequenceId"], m["data"]) for m in replayed] == [(1, "before"), (2, "meanwhile"), (3, "after")]


def test_normal_close_is_final(server: Server, hub: str) -> None:
    with Reliable(server, hub) as client:
        client.close_frame(1000)
        assert client.closed().code == 1000

        wait_until(lambda: not exists(server, hub, client.connection_id), "the connection is gone")
        assert refused(server, hub, client.recovery()).code == 1008


def test_acknowledged_messages_are_not_sent_again(server: Server, hub: str) -> None:
    first = Reliable(server, hub, groups=["g"])
    for number in range(1, 6):
        publish(server, hub, str(number))
    first.acknowledge(3)
    first.abort()

    with Reliable(server, hub, recover=first) as second:
        assert [second.receive_json()["sequenceId"] for _ in range(2)] == [4, 5]
        second.acknowledge(5)
        second.abort()

    with Reliable(server, hub, recover=second) as third:
        publish(server, hub, "6")
        assert third.receive_json()["sequenceId"] == 6


def test_acknowledgement_may_be_repeated_late_or_too_high(server: Server, hub: str) -> None:
    first = Reliable(server, hub, groups=["g"])
    publish(server, hub, "1")
    publish(server, hub, "2")
    first.acknowledge(2)
    first.acknowledge(1)
    first.acknowledge(1000)
    publish(server, hub, "3")
    first.abort()

    with Reliable(server, hub, recover=first) as second:
        assert second.receive_json()["sequenceId"] == 3


def test_half_open_connection_gives_way_to_its_recovery(server: Server, hub: str) -> None:
    """The old socket is aborted without a word, and everything from then on goes to the new one."""
    with Reliable(server, hub, groups=["g"]) as old:
        with Reliable(server, hub, recover=old) as new:
            publish(server, hub, "x")
            assert new.receive_json()["data"] == "x"
            assert old.closed() == Closed(1006, "")

        assert exists(server, hub, old.connection_id)


def test_groups_permissions_and_processed_ack_ids_survive(server: Server, hub: str) -> None:
    first = Reliable(server, hub, roles=[])
    for permission in ("joinLeaveGroup", "sendToGroup"):
        path = f"{hub}/permissions/{permission}/connections/{first.connection_id}"
        assert rest(server, "PUT", path, query=[("targetName", "g")]).status == 200
    first.send_json({"type": "joinGroup", "group": "g", "ackId": 1})
    assert first.receive_json()["success"]
    first.abort()

    with Reliable(server, hub, recover=first) as second:
        second.send_json({"type": "joinGroup", "group": "g", "ackId": 1})
        assert second.receive_json()["error"]["name"] == "Duplicate"
        second.send_json({"type": "sendToGroup", "group": "g", "data": 1, "ackId": 2})
        answers = [second.receive_json() for _ in range(2)]
        assert sorted(answer["type"] for answer in answers) == ["ack", "message"]


def test_recovery_needs_no_access_token_and_ignores_an_expired_one(server: Server, hub: str) -> None:
    """The official clients append the two parameters to the URL they began with, however old it is."""
    first = Reliable(server, hub)
    first.abort()
    expired = client_token(server, hub, ttl_s=-3600)

    for token in (expired, "nonsense", None):
        target = client_target(hub, token, first.recovery())
        with RawClient(server, target, protocols=[RELIABLE]) as again:
            assert again.receive_json()["connectionId"] == first.connection_id


def test_recovery_keeps_the_subprotocol_it_has(server: Server, hub: str) -> None:
    first = Reliable(server, hub)
    first.abort()

    with RawClient(server, client_target(hub, None, first.recovery()), protocols=[JSON]) as again:
        assert again.headers["sec-websocket-protocol"] == RELIABLE
        assert again.receive_json()["connectionId"] == first.connection_id


def test_foreign_or_damaged_recoveries_are_refused_1008(server: Server, hub: str) -> None:
    """Nobody takes over a connection that he cannot prove to be his, and the connection is none the worse for it."""
    first, other = Reliable(server, hub), Reliable(server, hub)
    token = first.connected["reconnectionToken"]
    first.abort()
    attempts = [
        recovery("unknown", token),
        recovery(first.connection_id, "nonsense"),
        recovery(first.connection_id, token[:-3]),
        recovery(first.connection_id, ""),
        recovery(first.connection_id, other.connected["reconnectionToken"]),
        recovery(first.connection_id, signed(server, first.connection_id)),
        recovery(other.connection_id, token),
        recovery("", token),
    ]

    for attempt in attempts:
        assert refused(server, hub, attempt).code == 1008
    assert refused(server, hub + "other", first.recovery()).code == 1008
    with other, Reliable(server, hub, recover=first) as again:
        assert again.connection_id == first.connection_id


def test_plain_connection_cannot_be_recovered(server: Server, hub: str) -> None:
    with JsonClient(server, hub, protocol=JSON) as plain, Reliable(server, hub) as reliable:
        attempt = recovery(plain.connection_id, reliable.connected["reconnectionToken"])

        assert refused(server, hub, attempt, JSON).code == 1008
        plain.join("g")


def test_rest_close_is_final_for_open_and_for_waiting_connections(server: Server, hub: str) -> None:
    with Reliable(server, hub) as gone, Reliable(server, hub) as there:
        gone.abort()
        assert exists(server, hub, gone.connection_id)

        assert rest(server, "POST", f"{hub}/:closeConnections").status == 204

        assert there.closed() == Closed(1000, "")
        for client in (gone, there):
            assert not exists(server, hub, client.connection_id)
            assert refused(server, hub, client.recovery()).code == 1008


def test_waiting_connection_counts_as_a_recipient_a_member_and_a_user(server: Server, hub: str) -> None:
    client = Reliable(server, hub, user="u", groups=["g"])
    client.abort()

    assert rest(server, "HEAD", f"{hub}/users/u").status == 200
    assert rest(server, "HEAD", f"{hub}/groups/g").status == 200
    listed = rest(server, "GET", f"{hub}/groups/g/connections").json()["value"]
    assert [entry["connectionId"] for entry in listed] == [client.connection_id]
    publish(server, hub, "kept")
    with Reliable(server, hub, recover=client) as again:
        assert again.receive_json()["data"] == "kept"


def test_more_than_a_thousand_unacknowledged_messages_end_the_connection(server: Server, hub: str) -> None:
    """A thousand are kept; one more, and the client is closed so that it does not come back."""
    with Reliable(server, hub, groups=["g"]) as client, JsonClient(server, hub) as sender:
        for number in range(1000):
            sender.send({"type": "sendToGroup", "group": "g", "data": number})
        sender.heard()
        assert [client.receive_json()["sequenceId"] for _ in range(1000)] == list(range(1, 1001))
        assert exists(server, hub, client.connection_id)

        sender.publish("g", "one more")

        assert client.closed().code == 1008
        assert not exists(server, hub, client.connection_id)
        assert refused(server, hub, client.recovery()).code == 1008


def test_waiting_connection_is_given_up_after_its_time(start_server: StartServer, hub: str) -> None:
    server = start_server("--set", "recovery_s=0.5")
    client = Reliable(server, hub)
    client.abort()

    wait_until(lambda: not exists(server, hub, client.connection_id), "the connection was given up")

    assert refused(server, hub, client.recovery()).code == 1008


def test_no_token_of_a_recovery_is_in_the_log(start_server: StartServer, hub: str) -> None:
    """Whether it succeeds or not, and for the access token of the first opening too."""
    server = start_server("--log-level", "debug")
    first = Reliable(server, hub)
    first.abort()
    with Reliable(server, hub, recover=first) as second:
        refused(server, hub, recovery(first.connection_id, "wrong-token-of-a-stranger"))
        with RawClient(server, client_target(hub, "wrong-access-token"), protocols=[JSON]) as client:
            assert client.status == 401
    server.stop()

    log = server.log()
    assert first.connection_id in log
    for secret in (
        first.connected["reconnectionToken"],
        second.connected["reconnectionToken"],
        "wrong-token-of-a-stranger",
        "wrong-access-token",
        "access_token=",
        server.access_key,
    ):
        assert secret not in log

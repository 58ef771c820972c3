"""
Every protocol held to the same: what one can do, all can, as far as they have words for it. The table of
docs/protocols.md has a column for each of them, and a row for each of these tests.
"""

from contextlib import ExitStack
from typing import Final

import pytest

from acceptance.servers import Server
from acceptance.speakers import CONTENT_TYPES, PAYLOADS, PROTOCOLS, Heard, Kind, Speaker, as_heard, framed, speaker
from acceptance.upstreams import Heard as Told
from acceptance.upstreams import Reply, Upstream, configure, says
from acceptance.wire import rest

MQTT: Final = ("mqtt 3.1.1", "mqtt 5.0")
FRAMED: Final = ("json", "reliable json", "protobuf", "reliable protobuf")
RELIABLE: Final = ("reliable json", "reliable protobuf", *MQTT)

everybody = pytest.mark.parametrize("protocol", PROTOCOLS)
requesters = pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "simple"])
"""Whoever has words for what it wants."""

SENT: Final[dict[str, tuple[Kind, ...]]] = {
    "simple": ("text", "binary"),
    **dict.fromkeys(FRAMED, tuple(PAYLOADS)),
    "mqtt 3.1.1": ("binary",),
    "mqtt 5.0": tuple(PAYLOADS),
    "rest": tuple(PAYLOADS),
}
"""What each can call a payload."""


def of_each(server: Server, hub: str, stack: ExitStack) -> dict[str, Speaker]:
    """A member of the group `g` of each protocol."""
    return {protocol: stack.enter_context(speaker(protocol, server, hub, groups=["g"])) for protocol in PROTOCOLS}


def post(server: Server, path: str, kind: Kind, payload: bytes) -> int:
    return rest(server, "POST", path, body=payload, headers={"Content-Type": CONTENT_TYPES[kind]}).status


# Messages


def all_heard(receivers: dict[str, Speaker], said: list[Heard], sender: str) -> None:
    for protocol, receiver in receivers.items():
        wanted = [as_heard(protocol, one) for one in said]
        if (protocol, sender) == ("mqtt 5.0", "mqtt 3.1.1"):
            wanted = [one._replace(kind="") for one in wanted]  # of whom it is not known, nothing is said
        assert receiver.heard() == wanted, protocol


@everybody
def test_each_kind_of_data_reaches_everybody(server: Server, hub: str, protocol: str) -> None:
    with ExitStack() as stack:
        receivers = of_each(server, hub, stack)
        sender = stack.enter_context(speaker(protocol, server, hub, publish_to="g", user="u"))
        for kind in SENT[protocol]:
            assert sender.publish("g", kind, PAYLOADS[kind])

        all_heard(receivers, [Heard("g", kind, PAYLOADS[kind], "u") for kind in SENT[protocol]], protocol)


def test_each_kind_of_data_reaches_everybody_from_rest(server: Server, hub: str) -> None:
    with ExitStack() as stack:
        receivers = of_each(server, hub, stack)
        for kind in SENT["rest"]:
            assert post(server, f"{hub}/groups/g/:send", kind, PAYLOADS[kind]) == 202
            assert post(server, f"{hub}/:send", kind, PAYLOADS[kind]) == 202

        said = [Heard(group, kind, PAYLOADS[kind]) for kind in SENT["rest"] for group in ("g", "")]
        all_heard(receivers, said, "rest")


@everybody
def test_rest_reaches_one_connection_and_one_user(server: Server, hub: str, protocol: str) -> None:
    with (
        speaker(protocol, server, hub, user="u") as one,
        speaker(protocol, server, hub, user="v") as other,
    ):
        assert post(server, f"{hub}/connections/{one.id}/:send", "text", b"1") == 202
        assert post(server, f"{hub}/users/u/:send", "json", b"2") == 202

        assert one.heard() == [as_heard(protocol, Heard("", "text", b"1")), as_heard(protocol, Heard("", "json", b"2"))]
        assert other.heard() == []


@requesters
def test_groups_are_joined_and_left(server: Server, hub: str, protocol: str) -> None:
    with speaker(protocol, server, hub) as client:
        for call, member in ((client.join, True), (client.join, True), (client.leave, False)):
            assert call("g")
            assert post(server, f"{hub}/groups/g/:send", "text", b"x") == 202
            assert (client.heard() != []) == member
            assert rest(server, "HEAD", f"{hub}/groups/g").status == (200 if member else 404)


@everybody
def test_sender_hears_itself_unless_it_wants_no_echo(server: Server, hub: str, protocol: str) -> None:
    """In 3.1.1 it cannot want that."""
    kind = SENT[protocol][0]
    for own in (True, False) if protocol != "mqtt 3.1.1" else (True,):
        with speaker(protocol, server, hub, publish_to="g", own=own, groups=["g"]) as client:
            assert client.publish("g", kind, b"x", own=own)

            assert [message.payload for message in client.heard()] == ([b"x"] if own else [])


@requesters
def test_without_a_role_nothing_is_granted(server: Server, hub: str, protocol: str) -> None:
    """In 3.1.1 there is no way to say so to who publishes: nobody hears it."""
    with (
        speaker(protocol, server, hub, roles=()) as client,
        speaker("json", server, hub, groups=["g"]) as member,
    ):
        assert not client.join("g")
        assert client.publish("g", SENT[protocol][0], b"x") == (protocol == "mqtt 3.1.1")

        assert member.heard() == []


def test_simple_client_that_may_not_send_is_closed(server: Server, hub: str) -> None:
    with speaker("simple", server, hub, publish_to="g", roles=()) as client:
        client.publish("g", "text", b"x")

        assert client.ended() == ("", 1008)


@everybody
def test_roles_are_granted_and_revoked_while_it_is_connected(server: Server, hub: str, protocol: str) -> None:
    with (
        speaker(protocol, server, hub, publish_to="g", roles=()) as client,
        speaker("json", server, hub, groups=["g"]) as member,
    ):
        path = f"{hub}/permissions/sendToGroup/connections/{client.id}"
        kind = SENT[protocol][0]
        assert rest(server, "PUT", path, query=[("targetName", "g")]).status == 200
        assert client.publish("g", kind, b"granted")
        assert rest(server, "HEAD", path, query=[("targetName", "g")]).status == 200
        assert rest(server, "DELETE", path, query=[("targetName", "g")]).status == 204
        client.publish("g", kind, b"revoked")

        assert [message.payload for message in member.heard()] == [b"granted"]


@pytest.mark.parametrize("protocol", [*FRAMED, "mqtt 5.0"])
def test_metadata_reaches_who_can_be_told(server: Server, hub: str, protocol: str) -> None:
    with ExitStack() as stack:
        receivers = of_each(server, hub, stack)
        sender = stack.enter_context(speaker(protocol, server, hub))
        assert sender.publish("g", "text", b"x", metadata={"a": "1", "b": "2"})

        for name, receiver in receivers.items():
            wanted = () if name in ("simple", "mqtt 3.1.1") else (("a", "1"), ("b", "2"))
            assert [message.metadata for message in receiver.heard()] == [wanted]


@pytest.mark.parametrize("protocol", FRAMED)
def test_ack_id_that_was_done_is_not_done_again(server: Server, hub: str, protocol: str) -> None:
    with framed(protocol, server, hub, groups=["g"]) as client:
        request = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "x", "ackId": 2**64 - 1}
        first, second = (client.request(request) for _ in range(2))

        assert first == {"type": "ack", "ackId": 2**64 - 1, "success": True}
        assert (second["success"], second["error"]["name"]) == (False, "Duplicate")
        assert len(client.heard()) == 1


# Connections


@everybody
def test_rest_finds_and_moves_and_closes_connections(server: Server, hub: str, protocol: str) -> None:
    with speaker(protocol, server, hub, user="u") as client:
        for where in (f"connections/{client.id}", "users/u"):
            assert rest(server, "HEAD", f"{hub}/{where}").status == 200
        assert rest(server, "PUT", f"{hub}/groups/g/connections/{client.id}").status == 200
        assert rest(server, "PUT", f"{hub}/users/u/groups/h").status == 200
        listed = rest(server, "GET", f"{hub}/groups/g/connections").json()["value"]
        assert listed == [{"connectionId": client.id, "userId": "u"}]
        for group in "gh":
            assert post(server, f"{hub}/groups/{group}/:send", "text", b"x") == 202
        assert rest(server, "DELETE", f"{hub}/users/u/groups").status == 204
        assert post(server, f"{hub}/groups/g/:send", "text", b"y") == 202
        said = [as_heard(protocol, Heard(group, "text", b"x")) for group in "gh"]
        assert client.heard() == said

        assert rest(server, "DELETE", f"{hub}/connections/{client.id}", query=[("reason", "enough")]).status == 204
        text = "Application server closed the connection. Reason: enough"
        said_of_it = {"simple": "", "mqtt 3.1.1": "", "mqtt 5.0": "enough"}.get(protocol, text)
        assert client.ended() == (said_of_it, 1000)
        assert rest(server, "HEAD", f"{hub}/connections/{client.id}").status == 404


@everybody
def test_filters_pick_connections(server: Server, hub: str, protocol: str) -> None:
    with (
        speaker(protocol, server, hub, user="u", groups=["g"]) as one,
        speaker(protocol, server, hub, user="v", groups=["g", "h"]) as other,
    ):
        for text, body in (("userId eq 'u'", b"1"), ("'h' in groups", b"2"), ("not ('x' in groups)", b"3")):
            query = [("filter", text)]
            headers = {"Content-Type": "text/plain"}
            assert rest(server, "POST", f"{hub}/:send", query=query, body=body, headers=headers).status == 202

        assert [message.payload for message in one.heard()] == [b"1", b"3"]
        assert [message.payload for message in other.heard()] == [b"2", b"3"]


@pytest.mark.parametrize("protocol", RELIABLE)
def test_nothing_is_missed_over_a_lost_socket(server: Server, hub: str, protocol: str) -> None:
    with speaker(protocol, server, hub, groups=["g"], lasting=True) as client:
        client.heard()
        client.lose()
        for number in range(5):
            assert post(server, f"{hub}/groups/g/:send", "text", b"%d" % number) == 202
        client.come_back()

        assert client.heard() == [as_heard(protocol, Heard("g", "text", b"%d" % number)) for number in range(5)]
        assert client.publish("g", SENT[protocol][0], b"x")
        assert [message.payload for message in client.heard()] == [b"x"]


@everybody
def test_sign_of_life_is_answered(server: Server, hub: str, protocol: str) -> None:
    with speaker(protocol, server, hub) as client:
        assert client.heard() == [], "all that was asked for is an answer"


# Events


def answered(event: Told, body: bytes, content_type: str) -> Reply:
    """Events of clients with this; whoever connects is let in."""
    return says(200, body, Content_Type=content_type) if event.type.startswith("azure.webpubsub.user") else says()


@everybody
def test_event_reaches_the_handler_whose_answer_comes_back(server: Server, hub: str, protocol: str) -> None:
    name = "message" if protocol == "simple" else "ev"
    with Upstream() as upstream:
        configure(server, hub, upstream.handler())
        upstream.answer = lambda event: answered(event, event.body, "application/json")
        with speaker(protocol, server, hub, user="u") as client:
            kind: Kind = "text" if protocol == "simple" else "json"
            assert client.event(name, kind, PAYLOADS["json"])
            (event,) = upstream.await_events(1, name)

            assert (event.eventName, event.userId, event.connectionId, event.body) == (
                name,
                "u",
                client.id,
                PAYLOADS["json"],
            )
            wanted = "application/octet-stream" if protocol == "mqtt 3.1.1" else CONTENT_TYPES[kind]
            assert (event.get("Content-Type") or "").partition(";")[0] == wanted
            topic = f"$webpubsub/server/events/{name}/succeeded" if protocol in MQTT else ""
            said = as_heard(protocol, Heard(topic, "json", PAYLOADS["json"]))
            assert [message._replace(metadata=()) for message in client.heard()] == [said]


# What the JSON and protobuf subprotocols alone have words for


@pytest.mark.parametrize("protocol", FRAMED)
def test_invocation_is_answered_by_the_handler(server: Server, hub: str, protocol: str) -> None:
    with Upstream() as upstream:
        configure(server, hub, upstream.handler())
        upstream.answer = lambda event: answered(event, b"for " + event.body, "text/plain")
        with framed(protocol, server, hub) as client:
            said = {"target": "event", "event": "ev", "dataType": "text", "data": "tea"}
            client.send({"type": "invoke", "invocationId": "1", **said})

            answer = client.await_frame("invokeResponse")
            assert answer == {
                "type": "invokeResponse",
                "invocationId": "1",
                "success": True,
                "dataType": "text",
                "data": "for tea",
            }


@pytest.mark.parametrize("protocol", FRAMED)
def test_stream_reaches_everybody_in_order(server: Server, hub: str, protocol: str) -> None:
    """Who has no word for it gets what it says, and nothing else."""
    with ExitStack() as stack:
        receivers = of_each(server, hub, stack)
        members = {name: stack.enter_context(framed(name, server, hub, groups=["g"])) for name in FRAMED}
        publisher = stack.enter_context(framed(protocol, server, hub))
        publisher.send({"type": "sendToGroup", "group": "g", "stream": {"streamId": "s"}})
        assert publisher.await_frame("streamAck")["expectedSequenceId"] == 1
        for number in (1, 2):
            fragment = {"streamSequenceId": number, "dataType": "text", "data": f"part {number}"}
            publisher.send({"type": "streamData", "streamId": "s", **fragment})
        publisher.send({"type": "streamEnd", "streamId": "s"})
        assert publisher.await_frame("streamClosed") == {"type": "streamClosed", "streamId": "s"}

        for name in ("simple", *MQTT):
            assert [message.payload for message in receivers[name].heard()] == [b"part 1", b"part 2"], name
        for name, member in members.items():
            told = [(frame["data"], frame["stream"]) for frame in member.heard()]
            assert told == [
                ("part 1", {"streamId": "s", "streamSequenceId": 1}),
                ("part 2", {"streamId": "s", "streamSequenceId": 2}),
                ("", {"streamId": "s", "streamSequenceId": 3, "endOfStream": True}),
            ], name


@pytest.mark.parametrize("protocol", FRAMED)
def test_state_in_a_group_is_told_to_who_subscribes(server: Server, hub: str, protocol: str) -> None:
    """Until its client is gone."""
    with framed(protocol, server, hub, groups=["g"]) as watcher:
        assert watcher.request({"type": "subscribeGroupState", "group": "g"})["success"]
        assert watcher.await_frame("groupStateSnapshot")["items"] == []
        with framed(protocol, server, hub, user="u", groups=["g"]) as client:
            assert client.request({"type": "setGroupState", "group": "g", "state": {"status": "typing"}})["success"]
            [item] = watcher.await_frame("groupStateUpdate")["items"]
            assert (item["connectionId"], item["userId"]) == (client.connection_id, "u")
            assert item["state"] == {"status": "typing"}
            client.send({"type": "leaveGroup", "group": "g"})

            [item] = watcher.await_frame("groupStateUpdate")["items"]
            assert item["connectionId"] == client.connection_id
            assert "state" not in item
        assert watcher.request({"type": "unsubscribeGroupState", "group": "g"})["success"]

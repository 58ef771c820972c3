"""The official Python service library, unmodified, synchronous and asynchronous."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from acceptance.sdk import KINDS, Service, pages, service_client
from acceptance.servers import Server, StartServer, free_port
from acceptance.wire import JSON, RELIABLE, Closed, JsonClient, RawClient, connect_status, rest


@pytest.fixture(params=KINDS)
def service(request: pytest.FixtureRequest, server: Server, hub: str) -> Iterator[Service]:
    with service_client(request.param, server.connection_string, hub) as client:
        yield client


def heard(client: JsonClient) -> list[tuple[str, Any]]:
    return [(frame["dataType"], frame["data"]) for frame in client.heard()]


def send(service: Service, target: str, client: JsonClient, message: Any, **options: Any) -> None:
    """The same message to a hub, group, user or connection."""
    match target:
        case "all":
            service.send_to_all(message, **options)
        case "group":
            service.send_to_group("g", message, **options)
        case "user":
            service.send_to_user("u", message, **options)
        case _:
            service.send_to_connection(client.connection_id, message, **options)


@pytest.mark.parametrize("target", ["all", "group", "user", "connection"])
def test_each_content_type_arrives_at_each_target(server: Server, hub: str, service: Service, target: str) -> None:
    with JsonClient(server, hub, user="u", groups=["g"]) as client, JsonClient(server, hub, groups=["x"]) as other:
        send(service, target, client, {"hello": "wörld!"})
        send(service, target, client, "world!", content_type="text/plain")
        # As bytes: the asynchronous library counts characters for its Content-Length, and says too little.
        send(service, target, client, "wörld!".encode(), content_type="text/plain")
        send(service, target, client, io.BytesIO(b"\x01\x02\x03"), content_type="application/octet-stream")
        send(service, target, client, "a string", content_type="application/json")

        received = [
            ("json", {"hello": "wörld!"}),
            ("text", "world!"),
            ("text", "wörld!"),
            ("binary", "AQID"),
            ("json", "a string"),
        ]
        assert heard(client) == received
        assert heard(other) == (received if target == "all" else [])


def test_mapping_sent_as_text_is_the_form_that_the_library_makes_of_it(
    server: Server, hub: str, service: Service
) -> None:
    """The library's own smoke test does this."""
    with JsonClient(server, hub) as client:
        service.send_to_all({"hello": "world!"}, content_type="text/plain")

        assert heard(client) == [("text", "hello=world%21")]


def test_message_to_a_group_says_so_and_others_are_from_the_server(server: Server, hub: str, service: Service) -> None:
    with JsonClient(server, hub, groups=["g"]) as client:
        service.send_to_group("g", "x", content_type="text/plain")
        service.send_to_all("x", content_type="text/plain")

        assert client.heard() == [
            {"type": "message", "from": "group", "group": "g", "dataType": "text", "data": "x"},
            {"type": "message", "from": "server", "dataType": "text", "data": "x"},
        ]


def test_unknown_targets_are_no_fault(service: Service) -> None:
    service.send_to_user("nobody", "x", content_type="text/plain")
    service.send_to_group("nobody", "x", content_type="text/plain")
    service.send_to_connection("nobody", "x", content_type="text/plain")
    service.close_connection("nobody")
    service.remove_connection_from_group("g", "nobody")
    service.remove_connection_from_all_groups("nobody")
    service.remove_user_from_group("g", "nobody")
    service.remove_user_from_all_groups("nobody")


def test_excluded_connections_hear_nothing(server: Server, hub: str, service: Service) -> None:
    with (
        JsonClient(server, hub, groups=["g"]) as first,
        JsonClient(server, hub, groups=["g"]) as second,
        JsonClient(server, hub, groups=["g"]) as third,
    ):
        excluded = [first.connection_id, third.connection_id]
        service.send_to_all("all", content_type="text/plain", excluded=excluded)
        service.send_to_group("g", "group", content_type="text/plain", excluded=[*excluded, "unknown"])

        assert heard(second) == [("text", "all"), ("text", "group")]
        assert heard(first) == heard(third) == []


@pytest.mark.parametrize(
    ("expression", "receivers"),
    [
        ("userId eq 'a'", ["a"]),
        ("userId ne 'a'", ["b", "it's"]),
        ("userId eq 'it''s'", ["it's"]),
        ("'odd' in groups", ["a", "it's"]),
        ("userId in ('a', 'b') and not ('odd' in groups)", ["b"]),
        ("length(groups) gt 1 or startswith(userId, 'b')", ["a", "b"]),
        ("protocol eq 'json.webpubsub.azure.v1'", ["a", "b", "it's"]),
        ("userId eq null", []),
    ],
)
def test_filter_selects_the_receivers(
    server: Server, hub: str, service: Service, expression: str, receivers: list[str]
) -> None:
    with (
        JsonClient(server, hub, user="a", groups=["g", "odd"]) as a,
        JsonClient(server, hub, user="b", groups=["g"]) as b,
        JsonClient(server, hub, user="it's", groups=["odd"]) as c,
    ):
        service.send_to_all("x", content_type="text/plain", filter=expression)

        assert [user for user, client in (("a", a), ("b", b), ("it's", c)) if heard(client)] == receivers


def test_filter_applies_to_groups_and_users_too(server: Server, hub: str, service: Service) -> None:
    with (
        JsonClient(server, hub, user="u", groups=["g", "first"]) as first,
        JsonClient(server, hub, user="u", groups=["g"]) as second,
    ):
        service.send_to_group("g", "x", content_type="text/plain", filter="'first' in groups")
        service.send_to_user("u", "y", content_type="text/plain", filter="not ('first' in groups)")

        assert (heard(first), heard(second)) == ([("text", "x")], [("text", "y")])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "invalid filter",
            "Invalid syntax for 'invalid filter': Syntax error at position 14 in 'invalid filter'. "
            "(Parameter 'filter')",
        ),
        (
            "not length(userId)",
            "Invalid syntax for 'not length(userId)': Type 'null', expect 'bool'. (Parameter 'filter')",
        ),
    ],
)
def test_bad_filter_is_refused_with_the_words_of_the_service(
    server: Server, hub: str, service: Service, expression: str, message: str
) -> None:
    with JsonClient(server, hub) as client:
        with pytest.raises(HttpResponseError) as refused:
            service.send_to_all("x", content_type="text/plain", filter=expression)

        assert refused.value.status_code == 400
        assert refused.value.error is not None
        assert refused.value.error.message == message
        assert heard(client) == []


def test_existence_of_connections_users_and_groups(server: Server, hub: str, service: Service) -> None:
    def exist(client: JsonClient) -> tuple[bool, bool, bool]:
        return (
            service.connection_exists(client.connection_id),
            service.user_exists("tenant/alice b+c"),
            service.group_exists("a/b?c#d ü"),
        )

    with JsonClient(server, hub, user="tenant/alice b+c", groups=["a/b?c#d ü"]) as client:
        assert exist(client) == (True, True, True)
        service.close_connection(client.connection_id)
        client.closed()
        assert exist(client) == (False, False, False)


def test_connection_is_put_into_a_group_and_out_again(server: Server, hub: str, service: Service) -> None:
    """No role is needed for that, and it is in force when the call returns."""
    with JsonClient(server, hub, roles=()) as client:
        for group in ("g", "h"):
            service.add_connection_to_group(group, client.connection_id)
            service.add_connection_to_group(group, client.connection_id)
        service.send_to_group("g", "in", content_type="text/plain")
        service.remove_connection_from_group("g", client.connection_id)
        service.send_to_group("g", "out", content_type="text/plain")
        service.send_to_group("h", "still in", content_type="text/plain")
        service.remove_connection_from_all_groups(client.connection_id)
        service.send_to_group("h", "out", content_type="text/plain")

        assert [data for _, data in heard(client)] == ["in", "still in"]


def test_unknown_connection_cannot_be_put_into_a_group(service: Service) -> None:
    with pytest.raises(ResourceNotFoundError):
        service.add_connection_to_group("g", "unknown")


def test_user_is_put_into_a_group_and_out_again_with_all_its_connections(
    server: Server, hub: str, service: Service
) -> None:
    with (
        JsonClient(server, hub, user="u/1") as first,
        JsonClient(server, hub, user="u/1", groups=["own"]) as second,
        JsonClient(server, hub, user="other") as other,
    ):
        service.add_user_to_group("g", "u/1")
        service.send_to_group("g", "in", content_type="text/plain")
        service.remove_user_from_group("g", "u/1")
        service.send_to_group("g", "out", content_type="text/plain")
        service.remove_user_from_all_groups("u/1")
        service.send_to_group("own", "out", content_type="text/plain")

        assert heard(first) == heard(second) == [("text", "in")]
        assert heard(other) == []


def test_permission_is_granted_checked_and_revoked(server: Server, hub: str, service: Service) -> None:
    """A revocation wins over the role that the connection came with, and leaves membership alone."""
    with JsonClient(server, hub, roles=["webpubsub.joinLeaveGroup"], groups=["g"]) as client:
        connection_id = client.connection_id
        assert not service.has_permission("sendToGroup", connection_id, target_name="g")
        service.grant_permission("sendToGroup", connection_id, target_name="g")
        assert service.has_permission("sendToGroup", connection_id, target_name="g")
        assert not service.has_permission("sendToGroup", connection_id, target_name="h")
        assert client.publish("g", 1)["success"]

        service.revoke_permission("sendToGroup", connection_id, target_name="g")
        assert not service.has_permission("sendToGroup", connection_id, target_name="g")
        assert client.publish("g", 2)["error"]["name"] == "Forbidden"

        assert service.has_permission("joinLeaveGroup", connection_id, target_name="g")
        service.revoke_permission("joinLeaveGroup", connection_id, target_name="g")
        assert not service.has_permission("joinLeaveGroup", connection_id, target_name="g")
        service.send_to_group("g", 3)
        assert [data for _, data in heard(client)] == [1, 3]


def test_permission_of_an_unknown_connection(service: Service) -> None:
    with pytest.raises(ResourceNotFoundError):
        service.grant_permission("joinLeaveGroup", "unknown", target_name="g")

    service.revoke_permission("joinLeaveGroup", "unknown", target_name="g")
    assert not service.has_permission("joinLeaveGroup", "unknown", target_name="g")


REASONS = ["", "a+b & c/d?e=f#g", "Grüße — さようなら", "x" * 323, "100 %25"]


@pytest.mark.parametrize("reason", REASONS)
def test_reason_of_a_close_arrives_whole(server: Server, hub: str, service: Service, reason: str) -> None:
    words = "Application server closed the connection." + (f" Reason: {reason}" if reason else "")
    closes: list[Callable[[JsonClient], object]] = [
        lambda client: service.close_connection(client.connection_id, reason=reason),
        lambda client: service.close_user_connections("u", reason=reason),
        lambda client: service.close_group_connections("g", reason=reason),
        lambda client: service.close_all_connections(reason=reason),
    ]
    for close in closes:
        with JsonClient(server, hub, user="u", groups=["g"]) as client:
            close(client)

            assert client.closed() == Closed(1000, "")
            assert client.receive()["message"] == words


def test_close_spares_those_who_are_excluded(server: Server, hub: str, service: Service) -> None:
    with (
        JsonClient(server, hub, user="u", groups=["g"]) as spared,
        JsonClient(server, hub, user="u", groups=["g"]) as first,
        JsonClient(server, hub, user="u", groups=["g"], protocol=RELIABLE) as second,
    ):
        service.close_user_connections("u", excluded=[spared.connection_id, second.connection_id])
        assert first.closed().code == 1000
        service.close_group_connections("g", excluded=[spared.connection_id])
        assert second.closed().code == 1000
        service.close_all_connections(excluded=[spared.connection_id])
        service.close_group_connections("elsewhere")

        assert spared.heard() == []


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [6]),
        ({"top": 3}, [3]),
        ({"top": 5}, [5]),
        ({"top": 6}, [6]),
        ({"top": 7}, [6]),
        ({"maxpagesize": 2}, [2, 2, 2]),
        ({"maxpagesize": 4}, [4, 2]),
        ({"maxpagesize": 2, "top": 5}, [2, 2, 1]),
        ({"maxpagesize": 5, "top": 5}, [5]),
        ({"maxpagesize": 200, "top": 2147483647}, [6]),
    ],
)
def test_list_of_a_group_comes_in_pages(
    server: Server, hub: str, service: Service, options: dict[str, int], sizes: list[int]
) -> None:
    """Each connection once, in a stable order; no page more than is needed."""
    group = "a b/ü"
    clients = [JsonClient(server, hub, user=f"u{number % 2}", groups=[group]) for number in range(6)]
    try:
        with JsonClient(server, hub, groups=["other"]):
            found = pages(service, group=group, **options)

        assert [len(page) for page in found] == sizes
        members = [member for page in found for member in page]
        users = {client.connection_id: client.connected["userId"] for client in clients}
        assert len({member.connection_id for member in members}) == len(members)
        assert all(users[member.connection_id] == member.user_id for member in members)
        assert [m.connection_id for m in members] == sorted(users)[: len(members)]
        listed = list(service.list_connections(group=group, **options))
        assert [m.connection_id for m in listed] == [m.connection_id for m in members]
    finally:
        for client in clients:
            client.__exit__(None, None, None)


def test_list_of_an_empty_group_is_empty_and_anonymous_members_have_no_user(
    server: Server, hub: str, service: Service
) -> None:
    assert list(service.list_connections(group="nobody")) == []
    with JsonClient(server, hub, groups=["g"]) as client:
        assert [(m.connection_id, m.user_id) for m in service.list_connections(group="g")] == [
            (client.connection_id, None)
        ]


@pytest.mark.parametrize("connection_id", ["Fühler 7", "🐙", "it's", "a+b&c=d;e,f", ":send"])
def test_connection_may_have_any_id_that_an_mqtt_client_chose(service: Service, connection_id: str) -> None:
    """Nobody has this one, and each call is signed for its path as the library spells it."""
    assert service.connection_exists(connection_id) is False
    assert service.has_permission("sendToGroup", connection_id, target_name="g") is False
    service.send_to_connection(connection_id, "x", content_type="text/plain")
    service.send_to_all("x", content_type="text/plain", excluded=[connection_id])
    service.remove_connection_from_group("g", connection_id)
    service.remove_connection_from_all_groups(connection_id)
    service.close_connection(connection_id)
    with pytest.raises(ResourceNotFoundError):
        service.add_connection_to_group("g", connection_id)


@pytest.mark.parametrize("options", [{"maxpagesize": 201}, {"maxpagesize": 0}, {"top": 0}])
def test_page_size_out_of_range_is_refused(service: Service, options: dict[str, int]) -> None:
    """By the server or, before it is asked, by the library."""
    with pytest.raises((HttpResponseError, ValueError)):
        list(service.list_connections(group="g", **options))


def test_client_token_lets_a_client_in_with_what_it_grants(server: Server, hub: str, service: Service) -> None:
    access = service.get_client_access_token(
        user_id="ü ser", roles=["webpubsub.sendToGroup.g"], groups=["g", "h"], minutes_to_expire=5
    )

    assert access["baseUrl"] == f"ws://{server.host}:{server.port}/client/hubs/{hub}"
    assert access["url"] == f"{access['baseUrl']}?access_token={access['token']}"
    with JsonClient(server, hub, token=access["token"]) as client:
        assert client.connected["userId"] == "ü ser"
        assert client.publish("g", 1)["success"]
        assert client.request({"type": "joinGroup", "group": "x"})["error"]["name"] == "Forbidden"
        assert [frame["group"] for frame in client.heard()] == ["g"]


def test_url_for_mqtt_clients_is_of_their_endpoint(server: Server, hub: str, service: Service) -> None:
    access = service.get_client_access_token(
        client_protocol="MQTT", user_id="ü ser", roles=["webpubsub.sendToGroup.a/b"], groups=["a/b"]
    )

    path = f"/clients/mqtt/hubs/{hub}"
    assert access["baseUrl"] == f"ws://{server.host}:{server.port}{path}"
    assert access["url"] == f"{access['baseUrl']}?access_token={access['token']}"
    claims = jwt.decode(access["token"], server.access_key, ["HS256"], audience=f"{server.endpoint}{path}")
    assert (claims["sub"], claims["role"]) == ("ü ser", ["webpubsub.sendToGroup.a/b"])
    assert claims["webpubsub.group"] == ["a/b"]
    assert connect_status(server, hub, access["token"]) == 401, "it is no token of another endpoint of the hub"


def test_wrong_key_is_refused(server: Server, hub: str) -> None:
    with (
        WebPubSubServiceClient(server.endpoint, hub, AzureKeyCredential("k" * 44)) as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.send_to_all("x", content_type="text/plain")


@pytest.mark.parametrize("name", ["LOCALHOST", "LocalHost"])
def test_host_and_hub_may_be_spelled_in_any_case(server: Server, hub: str, name: str) -> None:
    """The library signs REST requests for the host as it was typed, and client tokens for it in lower case."""
    endpoint = f"http://{name}:{server.port}"
    with WebPubSubServiceClient(endpoint, hub.upper(), AzureKeyCredential(server.access_key)) as client:
        access = client.get_client_access_token(groups=["g"])
        target = urlsplit(access["url"])
        headers = {"Host": f"{target.hostname}:{target.port}"}
        with RawClient(server, f"{target.path}?{target.query}", protocols=[JSON], headers=headers) as raw:
            assert raw.status == 101
            client.send_to_group("g", "x", content_type="text/plain")
            assert raw.receive_json()["event"] == "connected"
            assert raw.receive_json()["data"] == "x"


@pytest.mark.parametrize("user", [None, "operator"])
def test_endpoint_may_end_in_a_slash_and_the_caller_may_name_himself(
    server: Server, hub: str, user: str | None
) -> None:
    credential = AzureKeyCredential(server.access_key)
    with WebPubSubServiceClient(server.endpoint + "/", hub, credential, user=user) as client:
        client.send_to_all("x", content_type="text/plain")


def test_requests_through_a_reverse_proxy_are_signed_for_the_public_endpoint(
    start_server: StartServer, hub: str
) -> None:
    public, port = "https://pubsub.example", free_port()
    server = start_server("--port", str(port), "--public-endpoint", public)
    assert server.endpoint == public
    direct = f"http://127.0.0.1:{port}"
    credential = AzureKeyCredential(server.access_key)
    with WebPubSubServiceClient(public, hub, credential, reverse_proxy_endpoint=direct) as client:
        client.send_to_all("x", content_type="text/plain")


def test_message_may_have_a_time_to_live(server: Server, hub: str, service: Service) -> None:
    with JsonClient(server, hub) as client:
        service.send_to_all("x", content_type="text/plain", params={"messageTtlSeconds": "300"})
        assert heard(client) == [("text", "x")]

        with pytest.raises(HttpResponseError) as refused:
            service.send_to_all("x", content_type="text/plain", params={"messageTtlSeconds": "301"})
        assert refused.value.status_code == 400
        assert heard(client) == []


@pytest.mark.parametrize(("kind", "path"), [("Default", "/client/"), ("mqtt", "/clients/mqtt/")])
def test_token_made_by_the_server_is_like_the_library_s_own(server: Server, hub: str, kind: str, path: str) -> None:
    """The library asks the server for tokens only when it holds no key; who has one may ask as well."""
    query = [("userId", "u"), ("role", "r1"), ("role", "r2"), ("group", "g"), ("minutesToExpire", "5")]

    answer = rest(server, "POST", f"{hub}/:generateToken", query=[*query, ("clientType", kind)])

    assert answer.status == 200
    assert json.loads(answer.body).keys() == {"token"}
    claims = jwt.decode(
        answer.json()["token"], server.access_key, ["HS256"], audience=f"{server.endpoint}{path}hubs/{hub}"
    )
    assert (claims["sub"], claims["role"], claims["webpubsub.group"]) == ("u", ["r1", "r2"], ["g"])
    assert claims["exp"] - claims["iat"] == 300

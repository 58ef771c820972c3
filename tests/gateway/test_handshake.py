"""What an upgrade request asks for, and what refuses it before anything is proven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import head
from hubwire.gateway.attempt import HandshakeRefused, PublishMode, Recovery
from hubwire.gateway.handshake import is_client_path, read
from hubwire.model.names import HubKey

CHAT = HubKey("default", "chat")
URL = "/client/hubs/chat"
MQTT_URL = "/clients/mqtt/hubs/chat"


def status(target: str, **more: object) -> int:
    """The status that refuses this request, 101 if nothing does."""
    try:
        read(head(target, **more)).publish_mode()  # type: ignore[arg-type]
    except HandshakeRefused as refusal:
        return refusal.status
    return 101


# Where


@pytest.mark.parametrize(
    ("target", "hub"),
    [
        ("/client/hubs/chat", "chat"),
        ("/client/hubs/Chat", "Chat"),
        ("/client/hubs/chat/", "chat"),
        ("//client//hubs//chat", "chat"),
        ("/Client/HUBS/chat", "chat"),
        ("/client/hubs/%63hat", "chat"),
        ("/client/hubs/chat?hub=other", "chat"),
        ("/client/?hub=chat", "chat"),
        ("/client?hub=chat", "chat"),
        ("/client?hub=chat&hub=other", "chat"),
        ("/client?x=1&hub=Ch%41t", "ChAt"),
        ("/client/hubs/a", "a"),
        ("/client/hubs/a_`,.[]9", "a_`,.[]9"),
        ("/client/hubs/" + "a" * 128, "a" * 128),
    ],
)
def test_hub_is_read_from_both_forms_of_the_endpoint(target: str, hub: str) -> None:
    """Hub names compare without case; a token's audience names the canonical path in the client's spelling."""
    attempt = read(head(target))

    assert attempt.hub == HubKey("default", hub.lower())
    assert attempt.path == f"/client/hubs/{hub}"
    assert attempt.protocol == "webpubsub"


@pytest.mark.parametrize(
    ("target", "hub"),
    [
        ("/clients/mqtt/hubs/chat", "chat"),
        ("/clients/mqtt/hubs/Chat", "Chat"),
        ("/clients/mqtt/hubs/chat/", "chat"),
        ("//clients//mqtt//hubs//chat", "chat"),
        ("/Clients/MQTT/Hubs/chat", "chat"),
        ("/clients/mqtt/hubs/%63hat", "chat"),
        ("/clients/mqtt/hubs/chat?hub=other", "chat"),
        ("/clients/mqtt/hubs/a_`,.[]9", "a_`,.[]9"),
        ("/clients/mqtt/hubs/mqtt", "mqtt"),
    ],
)
def test_endpoint_of_mqtt_clients_has_one_form(target: str, hub: str) -> None:
    """Its path, too, is what a token's audience names."""
    attempt = read(head(target, offers=["mqtt"]))

    assert attempt.hub == HubKey("default", hub.lower())
    assert attempt.path == f"/clients/mqtt/hubs/{hub}"
    assert attempt.protocol == "mqtt"


@pytest.mark.parametrize(
    "target",
    [
        "/client",
        "/client/",
        "/client?hub=",
        "/client?hub=1chat",
        "/client?Hub=chat",
        "/client/hubs",
        "/client/hubs/",
        "/client/hubs?hub=chat",
        "/client/hubs/1chat",
        "/client/hubs/a%2Fb",
        "/client/hubs/a%20b",
        "/client/hubs/%C3%BC",
        "/client/hubs/%FF",
        "/client/hubs/" + "a" * 129,
        "/client/hubs/-",
        "/clients/mqtt/hubs",
        "/clients/mqtt/hubs/",
        "/clients/mqtt/hubs?hub=chat",
        "/clients/mqtt/hubs/1chat",
        "/clients/mqtt/hubs/a%2Fb",
        "/clients/mqtt/hubs/%FF",
        "/clients/mqtt/hubs/" + "a" * 129,
    ],
)
def test_missing_or_illegal_hub_is_400(target: str) -> None:
    assert status(target, offers=["mqtt"]) == 400


@pytest.mark.parametrize(
    "target",
    [
        "/client/hub/chat",
        "/client/hubs/chat/more",
        "/clients/mqtt/hubs/chat/more",
        "/clients/mqtt",
        "/clients/mqtt?hub=chat",
        "/clients/mqtt/chat",
        "/clients/mqtt/hub/chat",
        "/client/mqtt/hubs/chat",
        "/clients/mqttv5/hubs/chat",
        "/clients/socketio/hubs/chat",
        "/clients/hubs/chat",
        "/clients",
        "/server/tunnel?hub=chat",
        "/",
        "*",
        "",
    ],
)
def test_endpoint_that_is_not_there_is_404(target: str) -> None:
    assert status(target, offers=["mqtt"]) == 404


def test_endpoint_of_mqtt_clients_in_another_spelling_is_told_the_right_one() -> None:
    with pytest.raises(HandshakeRefused) as refused:
        read(head("/client/mqtt/hubs/chat", offers=["mqtt"]))

    assert (refused.value.status, "/clients/mqtt/" in refused.value.text) == (404, True)


@pytest.mark.parametrize("target", ["/mqtt", "/", "/ws", "/clients/mqtt/chat"])
@pytest.mark.parametrize("offers", [["mqtt"], ["mqttv3.1"], ["json.webpubsub.azure.v1", "mqtt"]])
def test_who_offers_mqtt_where_no_endpoint_is_is_told_the_one_of_mqtt_clients(target: str, offers: list[str]) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        read(head(target, offers=offers))

    said = "There is no such endpoint; MQTT clients connect to /clients/mqtt/hubs/HUB (hubwire url --mqtt)."
    assert (refused.value.status, refused.value.text) == (404, said)


def test_who_offers_no_mqtt_where_no_endpoint_is_hears_nothing_of_it() -> None:
    with pytest.raises(HandshakeRefused) as refused:
        read(head("/mqtt", offers=["json.webpubsub.azure.v1"]))

    assert (refused.value.status, refused.value.text) == (404, "There is no such endpoint.")


@pytest.mark.parametrize(
    ("target", "clients"),
    [
        ("/client/hubs/chat", True),
        ("/client?hub=chat", True),
        ("//Client/x", True),
        ("/clients/mqtt/hubs/chat", True),
        ("/api/hubs/chat/:send", False),
        ("/clientele", False),
        ("/?/client", False),
        ("/", False),
        ("*", False),
    ],
)
def test_paths_of_clients_are_told_from_those_of_rest(target: str, clients: bool) -> None:
    assert is_client_path(target) == clients


# A WebSocket upgrade


@pytest.mark.parametrize(
    "headers",
    [
        [("upgrade", "WebSocket")],
        [("Upgrade", "h2c, websocket")],
        [("Connection", "keep-alive, Upgrade")],
        [("connection", "keep-alive"), ("connection", "UPGRADE")],
    ],
)
def test_lists_in_headers_are_read_without_case(headers: list[tuple[str, str]]) -> None:
    assert status(URL, headers=headers) == 101


@pytest.mark.parametrize("missing", ["upgrade", "connection", "sec-websocket-key"])
def test_what_is_no_websocket_request_is_400(missing: str) -> None:
    assert status(URL, without=[missing]) == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "h2c"),
        ("Connection", "close"),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZTE3"),
        ("Sec-WebSocket-Key", "dGhlIHNh bXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Key", "dGhlIHNh-bXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==\u00fc"),
    ],
)
def test_header_with_another_value_is_400(name: str, value: str) -> None:
    assert status(URL, headers=[(name, value)]) == 400


def test_other_method_is_400() -> None:
    assert status(URL, method="POST") == 400


@pytest.mark.parametrize("version", ["8", "12", "14", "13, 8", "", None])
def test_other_version_is_426_and_told_which_one_is_spoken(version: str | None) -> None:
    name = "Sec-WebSocket-Version"
    with pytest.raises(HandshakeRefused) as refused:
        read(head(URL, without=[name.lower()]) if version is None else head(URL, headers=[(name, version)]))

    assert (refused.value.status, refused.value.headers) == (426, {name: "13"})


def test_origin_and_extensions_are_no_reason_to_refuse() -> None:
    headers = [
        ("Origin", "http://localhost:8080"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ]
    assert status(URL, headers=headers) == 101


# Subprotocols


@pytest.mark.parametrize(
    ("headers", "offered"),
    [
        ([], ()),
        ([("Sec-WebSocket-Protocol", "a")], ("a",)),
        ([("Sec-WebSocket-Protocol", "b, a,c")], ("b", "a", "c")),
        ([("Sec-WebSocket-Protocol", "b"), ("sec-websocket-protocol", "a")], ("b", "a")),
        ([("Sec-WebSocket-Protocol", ", ,a,")], ("a",)),
        ([("Sec-WebSocket-Protocol", "")], ()),
    ],
)
def test_subprotocols_keep_the_clients_order(headers: list[tuple[str, str]], offered: tuple[str, ...]) -> None:
    assert read(head(URL, headers=headers)).offered == offered


@pytest.mark.parametrize("value", ["a b", "a;b", '"a"', "a, b c", "\u00fc", "a\x0bb"])
def test_subprotocol_that_is_no_token_is_400(value: str) -> None:
    """It would come back in a header of ours."""
    assert status(URL, headers=[("Sec-WebSocket-Protocol", value)]) == 400


@pytest.mark.parametrize("offers", [["mqtt"], ["mqttv3.1", "mqtt"], ["mqtt", "json.webpubsub.azure.v1"]])
def test_mqtt_must_be_among_what_an_mqtt_client_offers(offers: list[str]) -> None:
    """In any place: the answer names it, whatever else is offered."""
    assert read(head(MQTT_URL, offers=offers)).offered == tuple(offers)


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ([], "must offer the subprotocol mqtt"),
        (["MQTT"], "must offer the subprotocol mqtt"),
        (["json.webpubsub.azure.v1"], "must offer the subprotocol mqtt"),
        (["mqttv3.1"], "MQTT 3.1 is not spoken here"),
        (["json.webpubsub.azure.v1", "mqttv3.1"], "MQTT 3.1 is not spoken here"),
    ],
)
def test_client_of_the_mqtt_endpoint_that_does_not_offer_mqtt_is_400(offers: list[str], said: str) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        read(head(MQTT_URL, offers=offers))

    assert (refused.value.status, said in refused.value.text) == (400, True)


@pytest.mark.parametrize("target", [URL, "/client?hub=chat", "/client/?hub=chat"])
@pytest.mark.parametrize("offers", [["mqtt"], ["mqttv3.1"], ["mqtt", "mqttv3.1"], ["mqttv3.1", "mqtt"]])
def test_mqtt_client_at_the_endpoint_of_others_is_told_its_own(target: str, offers: list[str]) -> None:
    """It would be a simple client there, and would wait for an answer to its CONNECT."""
    with pytest.raises(HandshakeRefused) as refused:
        read(head(target, offers=offers))

    said = "This is the endpoint of other clients; MQTT clients connect to /clients/mqtt/hubs/HUB (hubwire url --mqtt)."
    assert (refused.value.status, refused.value.text) == (400, said)


@pytest.mark.parametrize("offers", [["mqtt", "json.webpubsub.azure.v1"], ["custom", "mqtt"], ["MQTT"]])
def test_mqtt_among_other_subprotocols_is_no_reason_to_refuse(offers: list[str]) -> None:
    assert read(head(URL, offers=offers)).offered == tuple(offers)


@pytest.mark.parametrize("offers", [["mqtt"], []])
def test_what_is_no_websocket_request_is_400_for_mqtt_clients_too(offers: list[str]) -> None:
    assert status(MQTT_URL, offers=offers, without=["upgrade"]) == 400
    assert status(MQTT_URL, offers=offers, headers=[("Sec-WebSocket-Version", "8")]) == 426


# Tokens


@pytest.mark.parametrize(
    ("query", "authorization", "token"),
    [
        ("", None, None),
        ("?access_token=q", None, "q"),
        ("", "Bearer h", "h"),
        ("", "bearer  h ", "h"),
        ("?access_token=q", "Bearer h", "q"),
        ("?access_token=", "Bearer h", "h"),
        ("?access_token", "Bearer h", "h"),
        ("?access_token=first&access_token=second", None, "first"),
        ("?access_token=a%2Eb", None, "a.b"),
        ("?Access_Token=q", None, None),
        ("", "Bearer", None),
        ("", "Bearer ", None),
        ("", "Basic aDpo", None),
        ("", "h", None),
        ("", "", None),
    ],
)
def test_token_is_in_the_query_or_else_in_the_header(query: str, authorization: str | None, token: str | None) -> None:
    headers = [] if authorization is None else [("Authorization", authorization)]

    assert read(head(URL + query, headers=headers)).token == token


def test_query_is_kept_without_the_tokens() -> None:
    """It goes to the connect event handler, blanks and repetitions included."""
    attempt = read(head(URL + "?a=1&access_token=T&b=%C3%BC+x&a=2&c&access_token=U&=d"))

    assert attempt.query == (("a", "1"), ("b", "ü x"), ("a", "2"), ("c", ""), ("", "d"))


@pytest.mark.parametrize(
    ("query", "recovery"),
    [
        ("", None),
        ("awps_connection_id=&awps_reconnection_token=", None),
        ("awps_connection_id=c&awps_reconnection_token=t", Recovery("c", "t")),
        ("access_token=a&awps_connection_id=c&awps_reconnection_token=t", Recovery("c", "t")),
        ("awps_connection_id=c", Recovery("c", "")),
        ("awps_reconnection_token=t", Recovery("", "t")),
        ("awps_connection_id=c&awps_connection_id=d&awps_reconnection_token=t", Recovery("c", "t")),
    ],
)
def test_recovery_is_asked_for_in_the_query(query: str, recovery: Recovery | None) -> None:
    assert read(head(f"{URL}?{query}")).recovery == recovery


def test_mqtt_client_has_its_token_where_others_have_it_and_no_recovery() -> None:
    """A session comes back by its client id. What is asked for all the same goes to the connect event handler."""
    query = "access_token=T&awps_connection_id=c&awps_reconnection_token=t&failure=x"
    attempt = read(head(f"{MQTT_URL}?{query}", offers=["mqtt"]))
    bare = read(head(MQTT_URL, offers=["mqtt"], headers=[("Authorization", "Bearer H")]))

    assert (attempt.token, bare.token) == ("T", "H")
    assert attempt.recovery is None
    assert attempt.query == (("awps_connection_id", "c"), ("awps_reconnection_token", "t"), ("failure", "x"))


def test_secrets_do_not_show() -> None:
    """An attempt may end up in an error message."""
    headers = [("Authorization", "Bearer s3cret2")]
    target = URL + "?access_token=s3cret1&awps_connection_id=c&awps_reconnection_token=s3cret3"
    attempt = read(head(target, headers=headers))

    for shown in (repr(attempt), str(attempt), repr(attempt.recovery)):
        assert "s3cret" not in shown


# Simple clients that publish


def mode(query: str) -> PublishMode | int | None:
    """What a query asks for, or the status that refuses it."""
    attempt = read(head(f"{URL}?{query}"))
    try:
        return attempt.publish_mode()
    except HandshakeRefused as refusal:
        return refusal.status


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("webpubsub_mode=", None),
        ("webpubsub_mode=sendEvent", None),
        ("webpubsub_mode=SENDEVENT&group=&noEcho=perhaps", None),
        ("group=g&noEcho=true", None),
        ("webpubsub_mode=sendToGroup&group=g", PublishMode("g", False)),
        ("webpubsub_mode=sendToGroup&group=g&noEcho=true", PublishMode("g", True)),
        ("webpubsub_mode=sendToGroup&group=g&noEcho=FALSE", PublishMode("g", False)),
        ("WebPubSub_Mode=SENDTOGROUP&GROUP=G&NOECHO=True", PublishMode("G", True)),
        ("webpubsub_mode=sendEvent&webpubsub_mode=sendToGroup&group=x&group=g", PublishMode("g", False)),
        ("webpubsub_mode=sendToGroup&webpubsub_mode=sendEvent", None),
        ("webpubsub_mode=sendToGroup&group=a%2Fb%20c", PublishMode("a/b c", False)),
        ("webpubsub_mode=sendToGroup&group=" + "g" * 1024, PublishMode("g" * 1024, False)),
        ("webpubsub_mode=sendToGroup", 400),
        ("webpubsub_mode=sendToGroup&group=", 400),
        ("webpubsub_mode=sendToGroup&group=%20", 400),
        ("webpubsub_mode=sendToGroup&group=" + "g" * 1025, 400),
        ("webpubsub_mode=sendToGroup&group=g&noEcho=1", 400),
        ("webpubsub_mode=sendToGroup&group=g&noEcho=", 400),
        ("webpubsub_mode=publish&group=g", 400),
    ],
)
def test_mode_of_simple_clients(query: str, expected: PublishMode | int | None) -> None:
    """Names and booleans without case, and the last one counts."""
    assert mode(query) == expected


@pytest.mark.parametrize("query", ["webpubsub_mode=sendToGroup&group=g", "webpubsub_mode=publish", "group="])
def test_mqtt_client_has_no_mode(query: str) -> None:
    """Nor is it refused for one that it does not have."""
    attempt = read(head(f"{MQTT_URL}?{query}", offers=["mqtt"]))

    assert attempt.publish_mode() is None


@given(st.text(st.sampled_from("/?&=%#;+azAZ09-._~clienthubsmqCF[]`,"), max_size=60))
def test_any_target_is_read_or_refused_and_nothing_worse(tail: str) -> None:
    for target in (
        f"/{tail}",
        f"/client/hubs/chat?{tail}",
        f"/client/hubs/{tail}",
        f"/client?{tail}",
        f"/clients/mqtt/{tail}",
        f"/clients/mqtt/hubs/chat?{tail}",
    ):
        assert status(target, offers=["mqtt"]) in (101, 400, 404)

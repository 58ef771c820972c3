"""The upgrade of clients: who gets in, who does not and with which status, and which subprotocol is chosen."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import (
    JSON,
    RELIABLE,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    http_request,
    signed,
)


def test_valid_token_in_the_query_is_let_in(server: Server, hub: str) -> None:
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        assert client.status == 101
        assert client.receive_json()["event"] == "connected"


def test_valid_token_in_the_authorization_header_is_let_in(server: Server, hub: str) -> None:
    headers = {"Authorization": f"Bearer {client_token(server, hub, user='u')}"}

    with RawClient(server, client_target(hub, None), protocols=[JSON], headers=headers) as client:
        assert client.receive_json()["userId"] == "u"


def test_empty_token_in_the_query_leaves_the_word_to_the_header(server: Server, hub: str) -> None:
    headers = {"Authorization": f"Bearer {client_token(server, hub)}"}

    with RawClient(server, client_target(hub, ""), headers=headers) as client:
        assert client.status == 101


def test_token_in_the_query_wins_over_the_header(server: Server, hub: str) -> None:
    headers = {"Authorization": f"Bearer {client_token(server, hub)}"}

    with RawClient(server, client_target(hub, "nonsense"), headers=headers) as client:
        assert client.status == 401


@pytest.mark.parametrize("path", ["/client/?hub={hub}&", "/client?hub={hub}&", "/client/hubs/{hub}?"])
def test_each_form_of_the_path_names_the_hub(server: Server, hub: str, path: str) -> None:
    target = path.format(hub=hub) + f"access_token={client_token(server, hub)}"

    with RawClient(server, target, protocols=[JSON]) as client:
        assert client.status == 101


@pytest.mark.parametrize(
    "audience",
    [
        "http://{authority}/client/hubs/{hub}",
        "ws://{authority}/client/hubs/{hub}",
        "https://{authority}/client/hubs/{hub}",
        "wss://{authority}/client/hubs/{hub}",
        "HTTP://{upper}/client/hubs/{hub}",
        "http://{authority}/client/hubs/{hub}/",
        "http://{authority}/client/hubs/{hub}?x=1",
        "http://{authority}/CLIENT/HUBS/{hub}",
        "http://{authority}/client/hubs/{escaped}",
    ],
)
def test_each_spelling_of_the_audience_that_libraries_use_is_accepted(server: Server, hub: str, audience: str) -> None:
    """Scheme, letter case, escapes, query and trailing slash make no difference; the hub is case-insensitive."""
    hub = f"{hub}.A`b"
    authority = f"{server.host}:{server.port}"
    spelled = audience.format(authority=authority, upper=authority.upper(), hub=hub, escaped=quote(hub, safe=""))

    with RawClient(server, client_target(hub.upper(), signed(server, spelled))) as client:
        assert client.status == 101


def test_token_for_the_endpoint_that_the_server_prints_is_good_under_any_name_of_the_machine(
    server: Server, hub: str
) -> None:
    """`localhost` was printed, and a forwarded port or another name of this machine is asked for."""
    token = signed(server, f"{server.endpoint}/client/hubs/{hub}")
    for host in (f"127.0.0.1:{server.port}", f"[::1]:{server.port}", "forwarded.example:9000"):
        with RawClient(server, client_target(hub, token), headers={"Host": host}) as client:
            assert client.status == 101


def test_audience_may_be_one_of_several(server: Server, hub: str) -> None:
    audience = ["http://elsewhere.example/client/hubs/x", f"{server.endpoint}/client/hubs/{hub}"]
    now = int(time.time())
    token = jwt.encode({"aud": audience, "exp": now + 60}, server.access_key, "HS256")

    with RawClient(server, client_target(hub, token)) as client:
        assert client.status == 101


def test_foreign_header_fields_and_unknown_claims_are_ignored(server: Server, hub: str) -> None:
    """A `kid` proves nothing and harms nothing; `iss` and claims of the application's own neither."""
    claims = {"aud": f"{server.endpoint}/client/hubs/{hub}", "exp": int(time.time()) + 60, "iss": "x", "own": [1]}
    token = jwt.encode(claims, server.access_key, "HS256", headers={"kid": "any"})

    with RawClient(server, client_target(hub, token)) as client:
        assert client.status == 101


def test_clocks_may_differ_by_less_than_a_minute(server: Server, hub: str) -> None:
    just_over = client_token(server, hub, ttl_s=-20)
    not_quite = client_token(server, hub, nbf=int(time.time()) + 20)

    for token in (just_over, not_quite):
        with RawClient(server, client_target(hub, token)) as client:
            assert client.status == 101


def _audience(server: Server, hub: str) -> str:
    return f"{server.endpoint}/client/hubs/{hub}"


def _forged(server: Server, hub: str, key: str | None = None, algorithm: str = "HS256", **claims: Any) -> str:
    """A token with just these claims besides audience and expiry; a claim of None is left out."""
    claims = {"aud": _audience(server, hub), "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key or "", algorithm)


WORTHLESS: dict[str, Callable[[Server, str], str | None]] = {
    "none": lambda server, hub: None,
    "not a token": lambda server, hub: "a.b.c",
    "cut off": lambda server, hub: client_token(server, hub)[:-2],
    "changed": lambda server, hub: client_token(server, hub).replace(".", ".e", 1),
    "another key": lambda server, hub: signed(server, _audience(server, hub), key="k" * 44),
    "another hub": lambda server, hub: signed(server, _audience(server, hub) + "x"),
    "another host": lambda server, hub: signed(server, f"http://elsewhere.example/client/hubs/{hub}"),
    "for REST": lambda server, hub: signed(server, f"{server.endpoint}/api/hubs/{hub}/:send"),
    "expired": lambda server, hub: client_token(server, hub, ttl_s=-400),
    "not yet valid": lambda server, hub: client_token(server, hub, nbf=int(time.time()) + 400),
    "no expiry": lambda server, hub: _forged(server, hub, server.access_key, exp=None),
    "no audience": lambda server, hub: _forged(server, hub, server.access_key, aud=None),
    "no signature": lambda server, hub: _forged(server, hub, algorithm="none"),
    "another algorithm": lambda server, hub: _forged(server, hub, server.access_key * 2, "HS512"),
    "several users": lambda server, hub: _forged(server, hub, server.access_key, sub=["a", "b"]),
}


@pytest.mark.parametrize("make", WORTHLESS.values(), ids=WORTHLESS)
def test_token_that_proves_nothing_is_answered_401(
    server: Server, hub: str, make: Callable[[Server, str], str | None]
) -> None:
    with RawClient(server, client_target(hub, make(server, hub)), protocols=[JSON]) as client:
        assert client.status == 401
        assert "sec-websocket-accept" not in client.headers


@pytest.mark.parametrize("group", ["g" * 1025, " ", ""])
def test_illegal_group_in_the_token_is_answered_400_with_words(server: Server, hub: str, group: str) -> None:
    token = client_token(server, hub, groups=[group])

    with RawClient(server, client_target(hub, token), protocols=[JSON]) as client:
        assert client.status == 400
        assert client.headers["content-type"].startswith("text/plain")
        assert client.body


@pytest.mark.parametrize(
    "query",
    [
        [("webpubsub_mode", "other")],
        [("webpubsub_mode", "sendToGroup")],
        [("webpubsub_mode", "sendToGroup"), ("group", " ")],
        [("webpubsub_mode", "sendToGroup"), ("group", "g" * 1025)],
        [("webpubsub_mode", "sendToGroup"), ("group", "g"), ("noEcho", "perhaps")],
    ],
)
@pytest.mark.parametrize("protocols", [[], [JSON]])
def test_bad_mode_is_answered_400_with_words_whatever_the_subprotocol(
    server: Server, hub: str, query: list[tuple[str, str]], protocols: list[str]
) -> None:
    with RawClient(server, client_target(hub, client_token(server, hub), query), protocols=protocols) as client:
        assert client.status == 400
        assert client.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path", ["/client", "/client/", "/client/?hub=", "/client/hubs/", "/client/hubs/1abc", f"/client/hubs/{'h' * 129}"]
)
def test_missing_or_illegal_hub_is_answered_400(server: Server, path: str) -> None:
    token = signed(server, server.endpoint + path)
    target = f"{path}{'&' if '?' in path else '?'}access_token={token}"

    with RawClient(server, target, protocols=[JSON]) as client:
        assert client.status == 400


def test_request_that_is_no_upgrade_is_answered_400(server: Server, hub: str) -> None:
    assert http_request(server, "GET", client_target(hub, client_token(server, hub))).status == 400


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        ([JSON], JSON),
        ([RELIABLE], RELIABLE),
        ([RELIABLE, JSON], RELIABLE),
        ([JSON, RELIABLE], JSON),
        (["own.protocol", RELIABLE, JSON], RELIABLE),
        (["own.protocol"], None),
    ],
)
def test_first_offered_subprotocol_that_we_speak_is_chosen(
    server: Server, hub: str, offered: list[str], chosen: str | None
) -> None:
    """Who offers nothing that we speak is a simple client, and no name is echoed."""
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=offered) as client:
        assert client.status == 101
        assert client.headers.get("sec-websocket-protocol") == chosen
        assert "sec-websocket-extensions" not in client.headers
        if chosen is not None:
            connected = client.receive_json()
            assert connected["event"] == "connected"
            assert ("reconnectionToken" in connected) == (chosen == RELIABLE)


def test_offered_compression_and_an_origin_are_no_reason_to_refuse(server: Server, hub: str) -> None:
    """Node offers permessage-deflate; Python's synchronous client sends the server's own origin."""
    headers = {
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Origin": "http://pages.example",
    }

    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON], headers=headers) as client:
        assert client.status == 101
        assert "sec-websocket-extensions" not in client.headers


def test_groups_of_the_token_are_joined_without_a_role(server: Server, hub: str) -> None:
    with (
        JsonClient(server, hub, roles=(), groups=["first", "second room"]) as member,
        JsonClient(server, hub) as sender,
    ):
        assert sender.publish("second room", 1)["success"]
        assert sender.publish("first", 2)["success"]
        assert [(frame["group"], frame["data"]) for frame in member.heard()] == [("second room", 1), ("first", 2)]


def test_hub_is_case_insensitive_and_groups_are_not(server: Server, hub: str) -> None:
    with JsonClient(server, hub.upper(), groups=["Room"]) as member, JsonClient(server, hub) as sender:
        assert sender.publish("room", 1)["success"]
        assert sender.publish("Room", 2)["success"]
        assert [frame["data"] for frame in member.heard()] == [2]


def test_connection_beyond_the_quota_is_answered_429(start_server: StartServer, hub: str) -> None:
    """A place that becomes free is given away again."""
    server = start_server("--max-connections", "2")
    target = client_target(hub, client_token(server, hub))
    with JsonClient(server, hub):
        with JsonClient(server, hub), RawClient(server, target, protocols=[JSON]) as refused:
            assert refused.status == 429

        def let_in() -> bool:
            with RawClient(server, target, protocols=[JSON]) as client:
                return client.status == 101

        wait_until(let_in, "the place of the client that left")

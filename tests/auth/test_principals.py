import base64
import hmac
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from hubwire.auth import jwt
from hubwire.auth.callers import ClientClaims, Principal
from hubwire.auth.principals import Principals
from hubwire.model.errors import BadRequest, NotFound, StartFailed, Unauthorized
from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy

KEYS = AccessKeys("primary-key-of-at-least-32-bytes-é", "secondary-key-of-at-least-32-bytes")
OTHER_KEYS = AccessKeys("a" * 32, "b" * 32)
NOW = 1_700_000_000.0
HUB = HubKey("default", "chat")
CLIENT_PATH = "/client/hubs/chat"
MQTT_PATH = "/clients/mqtt/hubs/chat"
HOST = "localhost:8080"


class Keys:
    """Two resources and a recovery key."""

    def __init__(self) -> None:
        self.resources = {"default": KEYS, "other": OTHER_KEYS}
        self.policies: dict[str, ResourcePolicy] = {}

    def access_keys(self, resource: str) -> AccessKeys:
        if resource not in self.resources:
            raise NotFound
        return self.resources[resource]

    def policy(self, resource: str) -> ResourcePolicy:
        return self.policies.get(resource, ResourcePolicy())

    def recovery_key(self) -> bytes:
        return b"r" * 32


class Clock:
    """Stands still unless it is told to go."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def principals(*public_endpoints: str, keys: Keys | None = None, clock: Clock | None = None) -> Principals:
    return Principals(keys or Keys(), public_endpoints, 60, clock or Clock())


def token(aud: object, key: str = KEYS.primary, **claims: object) -> str:
    return jwt.sign({"aud": aud, "exp": NOW + 60, **claims}, key.encode())


def client(text: str, host: str = HOST, *public_endpoints: str) -> ClientClaims:
    return principals(*public_endpoints).client(text, HUB, CLIENT_PATH, host)


def client_with(**claims: object) -> ClientClaims:
    return client(jwt.sign({"aud": f"http://{HOST}{CLIENT_PATH}", "exp": NOW + 60, **claims}, KEYS.primary.encode()))


def mqtt_client_with(**claims: object) -> ClientClaims:
    text = jwt.sign({"aud": f"http://{HOST}{MQTT_PATH}", "exp": NOW + 60, **claims}, KEYS.primary.encode())
    return principals().client(text, HUB, MQTT_PATH, HOST)


def rest(audience: object, path: str, host: str = HOST, *public_endpoints: str) -> Principal:
    return principals(*public_endpoints).rest(f"Bearer {token(audience)}", "default", host, path)


def is_accepted(audience: object, host: str, public_endpoints: Sequence[str] = (), path: str = CLIENT_PATH) -> bool:
    try:
        principals(*public_endpoints).client(token(audience), HUB, path, host)
    except Unauthorized as error:
        if not error.message.startswith("token is for another audience"):
            raise
        return False
    return True


# Audiences of clients


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost:8080/client/hubs/chat",
        "https://localhost:8080/client/hubs/chat",
        "ws://localhost:8080/client/hubs/chat",
        "wss://localhost:8080/client/hubs/chat",
        "HTTP://LocalHost:8080/Client/Hubs/CHAT",
        "http://localhost:8080//client/hubs/chat",
        "http://localhost:8080/client/hubs/chat/",
        "http://localhost:8080/client/hubs/chat?x=1&y",
        "http://localhost:8080/client/hubs/chat#there",
        "http://localhost:8080/client/hubs/%63hat",
        "http://localhost:08080/client/hubs/chat",
        "http://localhost:8080/client/?hub=chat",
        "http://localhost:8080/client?x=1&hub=Chat",
        "http://localhost:8080/client?hub=ch%61t",
        ["http://localhost:8080/client/hubs/chat"],
        ["urn:something", 7, None, "http://localhost:8080/client/hubs/chat", "http://elsewhere/"],
    ],
)
def test_audience_that_names_the_endpoint_is_accepted_however_it_is_spelled(audience: object) -> None:
    assert is_accepted(audience, HOST)


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost:8080/client/hubs/chat2",
        "http://localhost:8080/client/hubs/cha",
        "http://localhost:8080/client/hubs",
        "http://localhost:8080/client/hubs/chat/more",
        "http://localhost:8080/x/client/hubs/chat",
        "http://localhost:8080/clients/mqtt/hubs/chat",
        "http://localhost:8080/client/hubs/%2563hat",
        "http://localhost:8080/client%2Fhubs%2Fchat",
        "http://localhost:8080/client/../client/hubs/chat",
        "http://localhost:8080/",
        "http://localhost:8080",
        "http://localhost:8080/client",
        "http://localhost:8080/client/?hub=",
        "http://localhost:8080/client/?hub=other",
        "http://localhost:8080/client/?hub=chat&hub=other",
        "http://localhost:8080/clients/mqtt?hub=chat",
        "http://localhost:8081/client/hubs/chat",
        "http://localhost/client/hubs/chat",
        "http://example.com:8080/client/hubs/chat",
        "http://user@localhost:8080/client/hubs/chat",
        "http://localhost:8080.example.com/client/hubs/chat",
        "localhost:8080/client/hubs/chat",
        "//localhost:8080/client/hubs/chat",
        "ftp://localhost:8080/client/hubs/chat",
        "http:/client/hubs/chat",
        "http:///client/hubs/chat",
        "http://[::1/client/hubs/chat",
        "http://]/client/hubs/chat",
        "http://localhost:99999999/client/hubs/chat",
        "http://localhost:x/client/hubs/chat",
        "\x00",
        "",
        [],
        [[]],
        {},
        None,
        7,
        True,
    ],
)
def test_any_other_audience_is_refused(audience: object) -> None:
    assert not is_accepted(audience, HOST)


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost:8080/clients/mqtt/hubs/chat",
        "https://localhost:8080/clients/mqtt/hubs/chat",
        "wss://localhost:8080/clients/mqtt/hubs/chat",
        "HTTP://LocalHost:8080/Clients/MQTT/Hubs/CHAT",
        "http://localhost:8080//clients/mqtt/hubs/chat/?x=1",
        "http://localhost:8080/clients/mqtt/hubs/%63hat",
        ["http://localhost:8080/client/hubs/chat", "http://localhost:8080/clients/mqtt/hubs/chat"],
    ],
)
def test_audience_that_names_the_endpoint_of_mqtt_clients_is_accepted_there(audience: object) -> None:
    assert is_accepted(audience, HOST, path=MQTT_PATH)


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost:8080/client/hubs/chat",
        "http://localhost:8080/client/?hub=chat",
        "http://localhost:8080/client?hub=chat",
        "http://localhost:8080/clients/mqtt?hub=chat",
        "http://localhost:8080/clients/mqtt/?hub=chat",
        "http://localhost:8080/clients/mqtt/hubs?hub=chat",
        "http://localhost:8080/clients/mqtt/hubs/other",
        "http://localhost:8080/clients/mqtt/hubs/chat/more",
        "http://localhost:8080/client/mqtt/hubs/chat",
        "http://localhost:8080/clients/socketio/hubs/chat",
        "http://localhost:8080/clients%2Fmqtt/hubs/chat",
        "http://localhost:8081/clients/mqtt/hubs/chat",
    ],
)
def test_any_other_audience_is_refused_at_the_endpoint_of_mqtt_clients(audience: object) -> None:
    """A token of another endpoint of the same hub, too: it may have been given to another kind of client."""
    assert not is_accepted(audience, HOST, path=MQTT_PATH)


def test_token_without_audience_is_refused() -> None:
    with pytest.raises(Unauthorized):
        client(jwt.sign({"exp": NOW + 60}, KEYS.primary.encode()))


@pytest.mark.parametrize(
    ("audience", "host"),
    [
        ("http://example.com/client/hubs/chat", "example.com"),
        ("http://example.com:80/client/hubs/chat", "example.com"),
        ("http://example.com/client/hubs/chat", "example.com:80"),
        ("https://example.com/client/hubs/chat", "example.com:443"),
        ("https://example.com:443/client/hubs/chat", "example.com"),
        ("https://example.com/client/hubs/chat", "example.com:80"),
        ("wss://example.com:/client/hubs/chat", "EXAMPLE.com"),
        ("http://[::1]:8080/client/hubs/chat", "[::1]:8080"),
        ("http://[FE80::1]/client/hubs/chat", "[fe80::1]:80"),
        ("http://127.0.0.1:8080/client/hubs/chat", "127.0.0.1:8080"),
        ("http://my_host-1.example:8080/client/hubs/chat", "my_host-1.example:8080"),
    ],
)
def test_default_ports_and_letter_case_of_hosts_do_not_count(audience: str, host: str) -> None:
    assert is_accepted(audience, host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":",
        ":8080",
        "[",
        "[]",
        "[::1",
        "::1",
        "[::1]8080",
        "a b",
        "a@b",
        "a:b",
        "localhost:8080:8080",
        "\udcff",
    ],
)
def test_odd_host_matches_nothing(host: str) -> None:
    """Not even an audience with the same oddity."""
    same = f"http://{host}/client/hubs/chat".encode(errors="replace").decode()

    assert not is_accepted("http://localhost:8080/client/hubs/chat", host)
    assert not is_accepted(same, host)


def test_public_endpoints_are_accepted_beside_the_host() -> None:
    """A proxy in front has a name of its own; the client's URL and its token name the proxy."""
    public = ("https://Hub.example.com", "http://[2001:db8::1]:9000/")

    assert is_accepted("wss://hub.example.com/client/hubs/chat", "10.0.0.7:8080", public)
    assert is_accepted("http://[2001:DB8::1]:9000/client/hubs/chat", "10.0.0.7:8080", public)
    assert is_accepted("http://10.0.0.7:8080/client/hubs/chat", "10.0.0.7:8080", public)
    assert is_accepted("wss://hub.example.com/client/hubs/chat", "no host:at all", public)
    assert not is_accepted("wss://www.example.com/client/hubs/chat", "10.0.0.7:8080", public)


@pytest.mark.parametrize("endpoint", ["hub.example.com", "ftp://hub.example.com", "https://", "https://[::1", ""])
def test_public_endpoint_that_is_no_url_stops_the_start(endpoint: str) -> None:
    with pytest.raises(StartFailed, match="public endpoint"):
        principals(endpoint)


# Signatures and times of clients


def test_both_keys_prove_a_client() -> None:
    for key in (KEYS.primary, KEYS.secondary):
        assert client(token("http://localhost:8080/client/hubs/chat", key, sub="alice")).user_id == "alice"


def test_keys_of_another_resource_prove_nothing() -> None:
    with pytest.raises(Unauthorized):
        client(token("http://localhost:8080/client/hubs/chat", OTHER_KEYS.primary))


def test_replaced_key_proves_nothing_any_more() -> None:
    keys = Keys()
    who = principals(keys=keys)
    old = token("http://localhost:8080/client/hubs/chat")
    assert who.client(old, HUB, CLIENT_PATH, HOST).user_id is None

    keys.resources["default"] = AccessKeys("c" * 32, KEYS.secondary)

    with pytest.raises(Unauthorized):
        who.client(old, HUB, CLIENT_PATH, HOST)


def test_token_ends_after_its_expiry_and_the_leeway() -> None:
    clock = Clock()
    who = principals(clock=clock)
    text = token("http://localhost:8080/client/hubs/chat")

    clock.now = NOW + 119
    assert who.client(text, HUB, CLIENT_PATH, HOST).user_id is None
    clock.now = NOW + 120
    with pytest.raises(Unauthorized):
        who.client(text, HUB, CLIENT_PATH, HOST)


# Claims of clients


def test_client_without_claims_is_anonymous_and_may_nothing() -> None:
    claims = client_with()

    assert (claims.user_id, claims.roles, claims.groups) == (None, (), ())


def test_claims_are_read_and_all_of_them_kept() -> None:
    claims = client_with(
        sub="alice",
        role=["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.a", "whatever"],
        group="custom",
        color={"r": 1},
        **{"webpubsub.group": ["g1", "g2"]},
    )

    assert claims.user_id == "alice"
    assert claims.roles == ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.a", "whatever")
    assert claims.groups == ("g1", "g2")
    assert claims.claims == {
        "aud": "http://localhost:8080/client/hubs/chat",
        "exp": NOW + 60,
        "sub": "alice",
        "role": ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.a", "whatever"],
        "group": "custom",
        "color": {"r": 1},
        "webpubsub.group": ["g1", "g2"],
    }


def test_single_role_and_group_may_be_plain_strings() -> None:
    claims = client_with(role="webpubsub.sendToGroup", **{"webpubsub.group": "g"})

    assert claims.roles == ("webpubsub.sendToGroup",)
    assert claims.groups == ("g",)


def test_repeated_roles_and_groups_count_once() -> None:
    claims = client_with(role=["b", "a", "b"], **{"webpubsub.group": ["g", "h", "g"]})

    assert (claims.roles, claims.groups) == (("b", "a"), ("g", "h"))


def test_long_claim_name_of_dotnet_is_an_alias_of_the_subject() -> None:
    name_identifier = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"

    assert client_with(**{name_identifier: "alice"}).user_id == "alice"
    assert client_with(**{name_identifier: "alice", "sub": "bob"}).user_id == "bob"
    with pytest.raises(Unauthorized):
        client_with(**{name_identifier: ["alice"]})


def test_empty_user_id_is_none() -> None:
    assert client_with(sub="").user_id is None


@pytest.mark.parametrize("claim", ["sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"])
@pytest.mark.parametrize("user_id", ["a\rb", "a\n", "\0", "a\r\nce-hub: other"])
def test_user_id_that_would_be_a_header_of_its_own_is_refused(claim: str, user_id: str) -> None:
    """Event handlers are told user ids in a header."""
    with pytest.raises(Unauthorized, match="user id"):
        client_with(**{claim: user_id})


@pytest.mark.parametrize("value", [7, None, True, {"a": "b"}, ["a", 7], [["a"]], [None]])
@pytest.mark.parametrize("claim", ["role", "webpubsub.group"])
def test_roles_and_groups_of_another_type_are_refused(claim: str, value: object) -> None:
    with pytest.raises(Unauthorized, match=claim):
        client_with(**{claim: value})


@pytest.mark.parametrize("group", ["", " ", "\t\n", "x" * 1025])
def test_illegal_group_name_is_a_bad_request(group: str) -> None:
    """The caller proved who it is, so it is told what is wrong."""
    for value in (group, ["good", group]):
        with pytest.raises(BadRequest) as refused:
            client_with(**{"webpubsub.group": value})
        assert refused.value.target == "webpubsub.group"


def test_illegal_group_name_of_a_stranger_is_not_explained() -> None:
    with pytest.raises(Unauthorized):
        client(token("http://localhost:8080/client/hubs/chat", "z" * 32, **{"webpubsub.group": ""}))


def test_group_claim_without_prefix_joins_nothing() -> None:
    assert client_with(group=["g"]).groups == ()


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"group": "a"}, ("a",)),
        ({"group": ["b", "a", "b"]}, ("b", "a")),
        ({"webpubsub.group": "a"}, ("a",)),
        ({"group": ["c", "b", "d"], "webpubsub.group": ["b", "a"]}, ("b", "a", "c", "d")),
        ({"group": "a", "webpubsub.group": "a"}, ("a",)),
        ({"group": [], "webpubsub.group": []}, ()),
    ],
)
def test_groups_of_mqtt_clients_have_two_names(claims: dict[str, object], groups: tuple[str, ...]) -> None:
    """The documentation of one, and the libraries of the other."""
    found = mqtt_client_with(sub="alice", color="red", **claims)

    assert found.groups == groups
    assert {name: found.claims[name] for name in claims} == claims
    assert found.claims["color"] == "red"


@pytest.mark.parametrize("claim", ["group", "webpubsub.group"])
def test_both_names_of_an_mqtt_clients_groups_are_checked(claim: str) -> None:
    with pytest.raises(Unauthorized, match=claim):
        mqtt_client_with(**{claim: {"a": "b"}})
    with pytest.raises(BadRequest) as refused:
        mqtt_client_with(**{claim: ["good", " "]})
    assert refused.value.target == claim


@pytest.mark.parametrize("value", ["", {"a": 1}, 7])
def test_group_claim_of_other_clients_may_be_anything(value: object) -> None:
    assert client_with(group=value).claims["group"] == value


@pytest.mark.parametrize("protocol", ["Default", "MQTT"])
def test_token_that_the_official_sdk_makes_for_a_protocol_is_good_at_its_endpoint_alone(protocol: Any) -> None:
    sdk = WebPubSubServiceClient.from_connection_string(
        f"Endpoint=http://{HOST};AccessKey={KEYS.primary};Version=1.0;", "Chat"
    )
    access = sdk.get_client_access_token(user_id="alice", groups=["g"], client_protocol=protocol)
    path, other = (MQTT_PATH, CLIENT_PATH) if protocol == "MQTT" else (CLIENT_PATH, MQTT_PATH)

    assert access["baseUrl"] == f"ws://{HOST}{path.removesuffix('chat')}Chat"
    claims = Principals(Keys(), (), 60).client(access["token"], HUB, path, HOST)
    assert (claims.user_id, claims.groups) == ("alice", ("g",))
    with pytest.raises(Unauthorized, match="another audience"):
        Principals(Keys(), (), 60).client(access["token"], HUB, other, HOST)


def test_token_of_the_official_sdk_is_accepted() -> None:
    """It writes the endpoint in lower case and the hub as typed."""
    sdk = WebPubSubServiceClient.from_connection_string(
        f"Endpoint=http://LOCALHOST:8080;AccessKey={KEYS.primary};Version=1.0;", "Chat"
    )
    url = sdk.get_client_access_token(user_id="alice", roles=["webpubsub.sendToGroup"], groups=["g"])["url"]
    text = parse_qs(urlsplit(url).query)["access_token"][0]

    claims = Principals(Keys(), (), 60).client(text, HUB, CLIENT_PATH, HOST)

    assert (claims.user_id, claims.roles, claims.groups) == ("alice", ("webpubsub.sendToGroup",), ("g",))


# REST


@pytest.mark.parametrize(
    ("audience", "path"),
    [
        ("http://localhost:8080/api/hubs/chat/:send", "/api/hubs/chat/:send"),
        ("http://LOCALHOST:8080/api/hubs/chat/:send?api-version=2024-12-01", "/api/hubs/chat/:send"),
        ("https://localhost:8080/api/hubs/chat/:send/#x", "/api/hubs/chat/:send"),
        ("http://localhost:8080/api/hubs/chat/%3Asend", "/api/hubs/chat/:send"),
        ("http://localhost:8080/api/hubs/chat/:send", "/api/hubs/chat/%3asend"),
        ("http://localhost:8080//api/hubs/chat/:send", "/api/hubs/chat//:send/"),
        ("http://localhost:8080/api/hubs/chat/users/tenant%2Falice", "/api/hubs/chat/users/tenant%2falice"),
        ("http://localhost:8080/api/hubs/chat/users/%7Ealice%20b", "/api/hubs/chat/users/~alice%20b"),
        ("http://localhost:8080/api/hubs/chat/users/älice", "/api/hubs/chat/users/%C3%A4lice"),
        ("http://localhost:8080/api/hubs/chat/users/älice", "/api/hubs/chat/users/\xc3\xa4lice"),
        ("http://localhost:8080/api/hubs/chat/users/100%", "/api/hubs/chat/users/100%"),
        ("http://localhost:8080/api/hubs/chat/users/a+b", "/api/hubs/chat/users/a+b"),
    ],
)
def test_rest_token_is_good_for_its_own_path_however_it_is_spelled(audience: str, path: str) -> None:
    assert rest(audience, path) == Principal("accessKey", "primary")


@pytest.mark.parametrize(
    ("audience", "path"),
    [
        ("http://localhost:8080/api/hubs/chat/:send", "/api/hubs/other/:send"),
        ("http://localhost:8080/api/hubs/chat/:send", "/api/hubs/chat/:closeConnections"),
        ("http://localhost:8080/api/hubs/chat", "/api/hubs/chat/:send"),
        ("http://localhost:8080/api/hubs/chat/:send", "/api/hubs/chat"),
        ("http://localhost:8080/", "/api/hubs/chat/:send"),
        ("http://localhost:8080/api/hubs/chat/groups/G/:send", "/api/hubs/chat/groups/g/:send"),
        ("http://localhost:8080/api/hubs/chat/users/tenant%2Falice", "/api/hubs/chat/users/tenant/alice"),
        ("http://localhost:8080/api/hubs/chat/users/%252F", "/api/hubs/chat/users/%2F"),
        ("http://localhost:8080/api/hubs/chat/users/%FE", "/api/hubs/chat/users/%FF"),
        ("http://localhost:8080/api/hubs/chat/users/\xc3\xa4lice", "/api/hubs/chat/users/\xc3\xa4lice"),
        ("http://localhost:8080/api/hubs/chat/users/a+b", "/api/hubs/chat/users/a%20b"),
        ("http://localhost:8080/api/hubs/chat/groups/../:send", "/api/hubs/chat/:send"),
        ("http://localhost:8080/api/hubs/chat/groups/%2e%2e/:send", "/api/hubs/chat/:send"),
        ("http://localhost:8081/api/hubs/chat/:send", "/api/hubs/chat/:send"),
        ("http://localhost:8080/client/hubs/chat", "/api/hubs/chat/:send"),
        ("http://localhost:8080/client/hubs/chat", "/api/hubs/chat"),
    ],
)
def test_rest_token_is_good_for_no_other_path(audience: str, path: str) -> None:
    with pytest.raises(Unauthorized):
        rest(audience, path)


def test_rest_token_is_no_client_token() -> None:
    with pytest.raises(Unauthorized):
        client(token("http://localhost:8080/api/hubs/chat/:send"))


def test_undecodable_request_path_is_refused_and_not_a_fault() -> None:
    with pytest.raises(Unauthorized):
        rest("http://localhost:8080/api/hubs/chat", "/api/hubs/\udcff")


def test_rest_caller_behind_a_proxy_signs_for_the_public_name() -> None:
    url = "https://hub.example.com/api/hubs/chat/:send"

    assert rest(url, "/api/hubs/chat/:send", HOST, "https://hub.example.com").kind == "accessKey"
    with pytest.raises(Unauthorized):
        rest(url, "/api/hubs/chat/:send", HOST, "https://www.example.com")


def test_principal_says_which_key_it_proved() -> None:
    text = token("http://localhost:8080/api/hubs/chat", KEYS.secondary)

    assert principals().rest(f"bEARER   {text} ", "default", HOST, "/api/hubs/chat").name == "secondary"


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer ", "Basic dTpw", "Bearer x.y.z", "Bearer a b c"])
def test_missing_or_odd_authorization_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        principals().rest(header, "default", HOST, "/api/hubs/chat")


def test_token_without_its_scheme_is_refused() -> None:
    with pytest.raises(Unauthorized):
        principals().rest(token("http://localhost:8080/api/hubs/chat"), "default", HOST, "/api/hubs/chat")


# Tokens that the service issues


def test_issued_client_token_opens_the_endpoint() -> None:
    who = principals()
    audience = "http://localhost:8080/client/hubs/chat"
    text = who.issue_client_token("default", audience, "alice", ["webpubsub.sendToGroup"], ["g1", "g2"], 5)

    assert who.client(text, HUB, CLIENT_PATH, HOST).claims == {
        "aud": audience,
        "nbf": NOW,
        "iat": NOW,
        "exp": NOW + 300,
        "sub": "alice",
        "role": ["webpubsub.sendToGroup"],
        "webpubsub.group": ["g1", "g2"],
    }


def test_issued_token_of_an_mqtt_client_opens_its_endpoint() -> None:
    who = principals()
    text = who.issue_client_token("default", f"http://{HOST}{MQTT_PATH}", "alice", [], ["g"], 5)

    assert who.client(text, HUB, MQTT_PATH, HOST).groups == ("g",)
    with pytest.raises(Unauthorized, match="another audience"):
        who.client(text, HUB, CLIENT_PATH, HOST)


def test_issued_client_token_without_wishes_is_anonymous() -> None:
    who = principals()
    text = who.issue_client_token("default", "http://localhost:8080/client/hubs/chat", None, [], [], 1)

    assert who.client(text, HUB, CLIENT_PATH, HOST).claims.keys() == {"aud", "nbf", "iat", "exp"}


def test_issued_client_token_is_signed_with_the_primary_key_of_its_resource() -> None:
    text = principals().issue_client_token("other", "http://localhost:8080/client/hubs/chat", None, [], [], 1)

    assert jwt.verify(text, (OTHER_KEYS.primary.encode(),), NOW, 0)


def test_token_that_nobody_could_use_is_not_issued() -> None:
    with pytest.raises(BadRequest, match="16384 bytes"):
        principals().issue_client_token("default", "http://h/client/hubs/chat", None, ["r" * 20_000], [], 1)


@pytest.mark.parametrize("user_id", ["a\rb", "a\n", "\0"])
def test_token_with_a_user_id_that_nobody_could_have_is_not_issued(user_id: str) -> None:
    with pytest.raises(BadRequest) as refused:
        principals().issue_client_token("default", "http://h/client/hubs/chat", user_id, [], [], 1)

    assert refused.value.target == "userId"


def test_recovery_token_is_for_one_connection() -> None:
    who = principals()
    text = who.issue_recovery_token("c1")

    assert who.verify_recovery_token(text, "c1")
    assert not who.verify_recovery_token(text, "c2")
    assert not who.verify_recovery_token(text, "")


def test_recovery_token_is_good_for_a_week() -> None:
    clock = Clock()
    who = principals(clock=clock)
    text = who.issue_recovery_token("c1")

    clock.now = NOW + 7 * 24 * 3600
    assert who.verify_recovery_token(text, "c1")
    clock.now += 60
    assert not who.verify_recovery_token(text, "c1")


@pytest.mark.parametrize("text", ["", "junk", "a.b.c", "\udcff", "x" * 20_000])
def test_junk_recovers_nothing(text: str) -> None:
    assert not principals().verify_recovery_token(text, "c1")


def test_access_keys_sign_no_recovery_tokens() -> None:
    assert not principals().verify_recovery_token(token("c1"), "c1")


def test_recovery_token_without_a_single_audience_recovers_nothing() -> None:
    text = jwt.sign({"aud": ["c1"], "exp": NOW + 60}, b"r" * 32)

    assert not principals().verify_recovery_token(text, "c1")


# Keys that the server issues with, and what a resource demands


SALTED = AccessKeys(KEYS.primary, KEYS.secondary, "salt-that-nobody-is-told-of-32-bytes")
AUDIENCE = f"http://{HOST}{CLIENT_PATH}"


def salted(*, local_auth: bool = True, clock: Clock | None = None) -> Principals:
    keys = Keys()
    keys.resources["default"] = SALTED
    keys.policies["default"] = ResourcePolicy(local_auth=local_auth)
    return principals(keys=keys, clock=clock)


def test_issued_token_is_signed_by_the_primary_key_and_sealed_with_the_salt() -> None:
    issued = salted().issue_client_token("default", AUDIENCE, "u", [], [], 1)

    claims = jwt.verify(issued, (KEYS.primary.encode(),), NOW, 0).claims
    assert claims["jti"].startswith("hubwire.salt.")
    assert SALTED.salt not in str(claims)
    assert salted().client(issued, HUB, CLIENT_PATH, HOST).user_id == "u"


@pytest.mark.parametrize("local_auth", [True, False])
def test_seal_is_good_for_its_own_claims_and_its_own_salt(local_auth: bool) -> None:
    """Whoever holds an access key can sign, and not seal."""
    issued = salted().issue_client_token("default", AUDIENCE, "u", [], ["g"], 1)
    claims = jwt.verify(issued, (KEYS.primary.encode(),), NOW, 0).claims
    keys = Keys()
    keys.resources["default"] = AccessKeys(KEYS.primary, KEYS.secondary, "another-salt-of-at-least-32-bytes")
    keys.policies["default"] = ResourcePolicy(local_auth=local_auth)

    assert salted(local_auth=local_auth).client(issued, HUB, CLIENT_PATH, HOST).groups == ("g",)
    for other in ({"sub": "v"}, {"role": ["webpubsub.sendToGroup"]}, {"jti": claims["jti"][:-1]}, {"exp": NOW + 3600}):
        forged = jwt.sign({**claims, **other}, KEYS.primary.encode())
        with pytest.raises(Unauthorized):
            salted(local_auth=local_auth).client(forged, HUB, CLIENT_PATH, HOST)
    with pytest.raises(Unauthorized):
        principals(keys=keys).client(issued, HUB, CLIENT_PATH, HOST)


@pytest.mark.parametrize("token_id", ["one", "hubwire", 7, None, ["hubwire.salt."]])
def test_token_of_a_caller_has_any_id_of_its_own(token_id: object) -> None:
    signed = jwt.sign({"aud": AUDIENCE, "exp": NOW + 60, "sub": "u", "jti": token_id}, KEYS.secondary.encode())

    assert salted().client(signed, HUB, CLIENT_PATH, HOST).user_id == "u"


def test_issued_token_is_signed_by_the_primary_key_where_no_salt_was_made_yet() -> None:
    issued = principals().issue_client_token("default", AUDIENCE, "u", [], [], 1)

    jwt.verify(issued, (KEYS.primary.encode(),), NOW, 0)
    assert client(issued).user_id == "u"


@pytest.mark.parametrize("key", [KEYS.primary, KEYS.secondary])
def test_client_may_have_a_token_of_either_key(key: str) -> None:
    assert salted().client(token(AUDIENCE, key, sub="u"), HUB, CLIENT_PATH, HOST).user_id == "u"


def test_salt_of_another_resource_signs_nothing_here() -> None:
    keys = Keys()
    keys.resources["other"] = AccessKeys("a" * 32, "b" * 32, "c" * 32)

    with pytest.raises(Unauthorized):
        principals(keys=keys).client(token(AUDIENCE, "c" * 32), HUB, CLIENT_PATH, HOST)


def test_empty_salt_is_no_key() -> None:
    head, body, _ = token(AUDIENCE).split(".")
    signature = hmac.digest(b"", f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    with pytest.raises(Unauthorized):
        client(forged)


def test_salt_proves_no_rest_caller() -> None:
    """Else whoever may ask for a client's token might forge one for REST's paths."""
    with pytest.raises(Unauthorized):
        salted().rest(f"Bearer {token(f'http://{HOST}/api/x', SALTED.salt)}", "default", HOST, "/api/x")


@pytest.mark.parametrize("key", [KEYS.primary, KEYS.secondary])
def test_access_key_proves_nobody_where_local_authentication_is_off(key: str) -> None:
    with pytest.raises(Unauthorized):
        salted(local_auth=False).client(token(AUDIENCE, key), HUB, CLIENT_PATH, HOST)
    with pytest.raises(Unauthorized, match="access keys are switched off"):
        salted(local_auth=False).rest(f"Bearer {token(f'http://{HOST}/api/x', key)}", "default", HOST, "/api/x")


def test_token_that_the_server_issued_is_good_where_local_authentication_is_off() -> None:
    """Whoever has a role may still let clients in."""
    off = salted(local_auth=False)

    issued = off.issue_client_token("default", AUDIENCE, "u", [], [], 1)
    assert off.client(issued, HUB, CLIENT_PATH, HOST).user_id == "u"


def test_local_authentication_is_off_for_one_resource_alone() -> None:
    keys = Keys()
    keys.policies["other"] = ResourcePolicy(local_auth=False)

    assert principals(keys=keys).client(token(AUDIENCE, sub="u"), HUB, CLIENT_PATH, HOST).user_id == "u"
    with pytest.raises(Unauthorized):
        principals(keys=keys).client(token(AUDIENCE, "a" * 32), HubKey("other", "chat"), CLIENT_PATH, HOST)


def test_reconnection_token_outlives_local_authentication() -> None:
    off = salted(local_auth=False)

    assert off.verify_recovery_token(off.issue_recovery_token("c1"), "c1")


# URLs that are published later


def is_taken(known: Principals, authority: str) -> bool:
    try:
        known.client(token(f"https://{authority}{CLIENT_PATH}"), HUB, CLIENT_PATH, HOST)
    except Unauthorized:
        return False
    return True


def test_published_url_is_one_of_ours_until_others_take_its_place() -> None:
    known = principals()
    assert not is_taken(known, "127.0.0.1:8081")

    known.publish("wps-one", ["http://127.0.0.1:8081", "https://LOCALHOST:8444"])
    known.publish("wps-two", ["http://127.0.0.1:8082"])
    assert [is_taken(known, at) for at in ("127.0.0.1:8081", "localhost:8444", "127.0.0.1:8082")] == [True] * 3

    known.publish("wps-one", ["http://127.0.0.1:9081"])
    assert [is_taken(known, at) for at in ("127.0.0.1:8081", "127.0.0.1:9081", "127.0.0.1:8082")] == [False, True, True]

    known.publish("wps-one", ())
    known.publish("wps-two", ())
    assert not any(is_taken(known, at) for at in ("127.0.0.1:9081", "127.0.0.1:8082"))
    assert is_taken(known, HOST)


def test_url_that_is_none_cannot_be_published() -> None:
    with pytest.raises(StartFailed):
        principals().publish("wps-one", ["localhost:8081"])


# Tunnels


def dials(
    audience: object, host: str = HOST, *public_endpoints: str, key: str = KEYS.primary, **claims: object
) -> bool:
    try:
        principals(*public_endpoints).tunnel(token(audience, key, **claims), HUB, host)
    except Unauthorized:
        return False
    return True


@pytest.mark.parametrize(
    "audience",
    [
        "ws://localhost:8080/server/tunnel?hub=chat",
        "wss://localhost:8080/server/tunnel?hub=chat",
        "https://LOCALHOST:8080/Server/Tunnel/?hub=CHAT",
        "ws://localhost:8080/server/tunnel?hub=chat&target=t1",
        "ws://localhost:8080/server/tunnel?target=t1&hub=ch%61t",
        ["urn:x", "ws://localhost:8080/server/tunnel?hub=chat"],
    ],
)
def test_audience_that_names_the_tunnels_of_the_hub_is_accepted_however_it_is_spelled(audience: object) -> None:
    assert dials(audience)


@pytest.mark.parametrize(
    "audience",
    [
        "ws://localhost:8080/server/tunnel?hub=other",
        "ws://localhost:8080/server/tunnel?hub=chat&hub=other",
        "ws://localhost:8080/server/tunnel?hub=",
        "ws://localhost:8080/server/tunnel",
        "ws://localhost:8080/server/tunnel/chat",
        "ws://localhost:8080/server?hub=chat",
        "ws://localhost:8080/tunnel?hub=chat",
        "ws://localhost:8080/client?hub=chat",
        "ws://localhost:8080/client/hubs/chat?hub=chat",
        "ws://localhost:8081/server/tunnel?hub=chat",
        "ws://elsewhere:8080/server/tunnel?hub=chat",
        "",
        None,
    ],
)
def test_any_other_audience_of_a_tunnel_is_refused(audience: object) -> None:
    assert not dials(audience)


def test_tunnel_may_dial_a_public_endpoint() -> None:
    assert dials("wss://hub.example.com/server/tunnel?hub=chat", "10.0.0.7:8080", "https://hub.example.com")
    assert not dials("wss://hub.example.com/server/tunnel?hub=chat", "10.0.0.7:8080")


def test_tunnel_is_proved_by_either_key_of_its_resource_in_its_time() -> None:
    audience = "ws://localhost:8080/server/tunnel?hub=chat"

    assert dials(audience, key=KEYS.secondary)
    assert not dials(audience, key=OTHER_KEYS.primary)
    assert not dials(audience, exp=NOW - 100)


def test_tunnel_is_called_what_its_token_says() -> None:
    audience = "ws://localhost:8080/server/tunnel?hub=chat"

    assert principals().tunnel(token(audience, sub="guid"), HUB, HOST) == "guid"
    assert principals().tunnel(token(audience), HUB, HOST) is None


def test_tunnel_proves_nothing_with_access_keys_that_are_switched_off() -> None:
    keys = Keys()
    keys.policies["default"] = ResourcePolicy(local_auth=False)

    with pytest.raises(Unauthorized, match="switched off"):
        principals(keys=keys).tunnel(token("ws://localhost:8080/server/tunnel?hub=chat"), HUB, HOST)


def test_token_of_a_tunnel_is_none_of_a_client_or_a_rest_caller_of_the_hub() -> None:
    audience = "ws://localhost:8080/server/tunnel?hub=chat"

    assert not is_accepted(audience, HOST)
    with pytest.raises(Unauthorized):
        rest(audience, "/api/hubs/chat/:send")

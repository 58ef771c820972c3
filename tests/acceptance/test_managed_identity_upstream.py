"""
Event handlers that know a discovery URL and an audience, and nobody's secret: the examples as they stand, which take
events of the resource's managed identity and turn everything else away.
"""

import hashlib
import hmac
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acceptance.directory import by_hand, claims_of, minted, stored_keys, token_of
from acceptance.examples import Program, example, trust
from acceptance.sdk import MANAGEMENT
from acceptance.servers import DEADLINE_S, Server, running
from acceptance.upstreams import Upstream, await_line, configure, says
from acceptance.wire import JSON, JsonClient, RawClient, client_target, client_token, http_request, trusting

NAMES: Final = ("managed-identity-starlette", "managed-identity-express")
AUDIENCE: Final = "api://orders"
INTERNAL: Final = {"name": "InternalServerError", "message": "Internal server error"}
GROUPS: Final = "/subscriptions/{subscription}/resourceGroups/hubwire/providers"
RESOURCE: Final = f"{GROUPS}/Microsoft.SignalRService/webPubSub/default?api-version=2024-03-01"
IDENTITY: Final = f"{GROUPS}/Microsoft.ManagedIdentity/userAssignedIdentities/{{name}}?api-version=2023-01-31"

Manage = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test gives its resource the identity that it wants."""
    with running(tmp_path_factory.mktemp("identity"), "--set", "handler_retries_s=0.05,0.05,0.05") as server:
        yield server


@pytest.fixture(scope="module")
def manage(server: Server) -> Manage:
    """Asks the resource manager."""
    headers = {"Authorization": f"Bearer {token_of(server, None, MANAGEMENT)}", "Content-Type": "application/json"}

    def ask(method: str, path: str, body: Any, **names: str) -> Any:
        target = path.format(subscription=server.subscription_id, **names)
        sent = json.dumps(body).encode()
        answer = http_request(server, method, target, body=sent, headers=headers, secure=trusting(server.ca))
        assert answer.status in (200, 201), answer.body
        return answer.json()

    return ask


@pytest.fixture(scope="module")
def known(server: Server) -> Mapping[str, str]:
    """All that an upstream is told of the server."""
    discovery = f"{server.authority}/{server.tenant_id}/v2.0/.well-known/openid-configuration"
    return {"DISCOVERY_URL": discovery, "AUDIENCE": AUDIENCE, **trust(server)}


@pytest.fixture(scope="module", params=NAMES)
def program(
    request: pytest.FixtureRequest, known: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    with example(tmp_path_factory.mktemp("example"), str(request.param), known) as program:
        yield program


def use(manage: Manage, identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the server's resource an identity; returns what it says of that, which is nothing where it has none."""
    found: Mapping[str, Any] = manage("PATCH", RESOURCE, {"identity": identity}).get("identity", {})
    return found


def use_system(manage: Manage) -> str:
    """Object id of the system-assigned identity."""
    return str(use(manage, {"type": "SystemAssigned"})["principalId"])


def user_assigned(manage: Manage, name: str) -> Mapping[str, str]:
    """An identity that is a resource: its id, and the ids of its principal."""
    made = manage("PUT", IDENTITY, {"location": "eastus"}, name=name)
    return {"id": made["id"], **made["properties"]}


def with_token(url: str, audience: str = AUDIENCE) -> dict[str, Any]:
    """Settings of a handler that gets tokens for an audience."""
    auth = {"type": "ManagedIdentity", "managedIdentity": {"resource": audience}}
    return {"urlTemplate": url, "userEventPattern": "*", "systemEvents": ["connect"], "auth": auth}


def say(client: JsonClient) -> Any:
    """The ack of an event."""
    return client.request({"type": "event", "event": "say", "dataType": "text", "data": "x"})


def status(server: Server, hub: str) -> int:
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        return client.status


def test_events_of_the_system_assigned_identity_are_taken(
    server: Server, hub: str, manage: Manage, program: Program
) -> None:
    object_id = use_system(manage)
    configure(server, hub, with_token(program.url))
    with JsonClient(server, hub) as client:
        assert say(client)["success"]

    program.await_output(f"azure.webpubsub.sys.connect from {object_id}")
    program.await_output(f"azure.webpubsub.user.say from {object_id}")


def test_change_of_identity_acts_on_the_very_next_event(
    server: Server, hub: str, manage: Manage, program: Program
) -> None:
    """And a resource without one sends none."""
    system = use_system(manage)
    one, other = (user_assigned(manage, f"{name}-{hub}") for name in ("one", "other"))
    configure(server, hub, with_token(program.url))
    with JsonClient(server, hub) as client:
        for made in (one, other):
            told = use(manage, {"type": "UserAssigned", "userAssignedIdentities": {made["id"]: {}}})
            assert list(told["userAssignedIdentities"].values()) == [
                {"principalId": made["principalId"], "clientId": made["clientId"]}
            ]
            assert say(client)["success"]
            program.await_output(f"azure.webpubsub.user.say from {made['principalId']}")
        before = program.output()
        assert use(manage, {"type": "None"}) == {}
        assert say(client)["error"] == INTERNAL
        assert status(server, hub) == 500
        assert program.output() == before
        await_line(server, f"hub={hub} event=connect", "the resource has none")
        again = use_system(manage)
        assert say(client)["success"]
        program.await_output(f"azure.webpubsub.user.say from {again}")
    assert len({system, one["principalId"], other["principalId"]}) == 3


def test_token_for_another_audience_is_refused(server: Server, hub: str, manage: Manage, program: Program) -> None:
    """The client gets the handler's answer."""
    use_system(manage)
    configure(server, hub, with_token(program.url, "api://others"))

    assert status(server, hub) == 401
    program.await_output("refused: ")
    await_line(server, "the handler answered 401", f"hub={hub}")


def test_handler_may_ask_for_one_identity(
    server: Server, hub: str, manage: Manage, known: Mapping[str, str], tmp_path: Path
) -> None:
    other = user_assigned(manage, f"id-{hub}")
    for name in NAMES:
        object_id = use_system(manage)
        with example(tmp_path, name, {**known, "OBJECT_ID": object_id}) as program:
            configure(server, hub, with_token(program.url))
            assert status(server, hub) == 101
            use(manage, {"type": "UserAssigned", "userAssignedIdentities": {other["id"]: {}}})
            assert status(server, hub) == 401
            program.await_output(f"refused: {other['principalId']} is another identity")


def shown(server: Server, hub: str) -> str:
    """The token that goes out with an event, as a handler sees it who writes it down."""
    with Upstream() as upstream:
        upstream.answer = lambda _: says(403)
        configure(server, hub, with_token(upstream.url()))
        assert status(server, hub) == 403
        (event,) = upstream.events()
        assert all(asked.get("Authorization") is None for asked in upstream.validations())
        return str(event.get("Authorization")).removeprefix("Bearer ")


def test_token_says_what_an_upstream_is_promised(server: Server, hub: str, manage: Manage) -> None:
    made = user_assigned(manage, f"said-{hub}")
    resource = RESOURCE.format(subscription=server.subscription_id).partition("?")[0]
    for identity, mirid in (
        ({"type": "SystemAssigned"}, resource),
        ({"type": "UserAssigned", "userAssignedIdentities": {made["id"]: {}}}, made["id"]),
    ):
        told = use(manage, identity)
        told = next(iter(told.get("userAssignedIdentities", {}).values()), told)
        claims = claims_of(shown(server, hub))

        assert claims["aud"] == AUDIENCE
        assert claims["oid"] == claims["sub"] == told["principalId"]
        assert claims["appid"] == told.get("clientId", claims["appid"])
        assert (claims["tid"], claims["idtyp"], claims["appidacr"]) == (server.tenant_id, "app", "2")
        assert claims["xms_mirid"].lower() == mirid.lower()


def test_everything_but_a_good_token_is_turned_away(server: Server, hub: str, manage: Manage, program: Program) -> None:
    use_system(manage)
    good = shown(server, hub)
    (key, *_) = [one for one in stored_keys(server) if one.kid == jwt.get_unverified_header(good)["kid"]]
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = claims_of(good)["iat"]
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = jwt.get_unverified_header(good)
    assert post(program.url, f"Bearer {good}") == 204
    assert post(program.url, f"bearer {minted(good, key.private)}") == 204

    bad = {
        "expired": minted(good, key.private, {"exp": now - 1000, "iat": now - 2000, "nbf": now - 2000}),
        "without an end": minted(good, key.private, {"exp": None}),
        "not yet": minted(good, key.private, {"nbf": now + 1000}),
        "of another key": minted(good, foreign),
        "of an unknown key": minted(good, foreign, header={"kid": "unknown"}),
        "of another issuer": minted(good, key.private, {"iss": "https://login.example.org/x/v2.0"}),
        "for another": minted(good, key.private, {"aud": "api://others"}),
        "for nobody": minted(good, key.private, {"aud": None}),
        "of nobody": minted(good, key.private, {"oid": None}),
        "for the service": token_of(server),
        "of another algorithm": minted(good, key.private, algorithm="RS512"),
        "without a signature": by_hand({**head, "alg": "none"}, claims_of(good), lambda _: b""),
        "signed with what all know": by_hand({**head, "alg": "HS256"}, claims_of(good), hs256(public)),
        "changed": ".".join(
            [good.split(".")[0], minted(good, foreign, {"oid": "x"}).split(".")[1], good.split(".")[2]]
        ),
        "cut": good[:-10],
        "no token": "x",
    }
    answers = {name: post(program.url, f"Bearer {token}") for name, token in bad.items()}
    assert answers == dict.fromkeys(bad, 401)
    assert [post(program.url, text) for text in ("", f"Basic {good}", good, "Bearer", "Bearer ")] == [401] * 5
    assert post(program.url, None) == 401


def hs256(key: bytes) -> Callable[[bytes], bytes]:
    """Signs with a key that is shared."""
    return lambda text: hmac.new(key, text, hashlib.sha256).digest()


def post(url: str, authorization: str | None) -> int:
    """What a handler answers to who is not the server."""
    place, _, path = url.removeprefix("http://").partition("/")
    host, _, port = place.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)
    try:
        headers = {} if authorization is None else {"Authorization": authorization}
        connection.request("POST", f"/{path}", b"{}", {"ce-type": "azure.webpubsub.sys.connect", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def test_new_key_of_the_issuer_needs_nothing_of_the_handler(
    server: Server, hub: str, manage: Manage, program: Program
) -> None:
    use_system(manage)
    before = shown(server, hub)
    assert post(program.url, f"Bearer {before}") == 204
    done = server.cli("app", "rotate-keys")
    assert done.returncode == 0, done.stderr
    # Tokens of another identity are asked for anew.
    other = user_assigned(manage, f"key-{hub}")
    use(manage, {"type": "UserAssigned", "userAssignedIdentities": {other["id"]: {}}})
    after = shown(server, hub)
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    configure(server, hub, with_token(program.url))

    assert status(server, hub) == 101
    program.await_output(f"azure.webpubsub.sys.connect from {other['principalId']}")
    assert post(program.url, f"Bearer {before}") == 204

"""Event handlers that somebody else wrote: the official package for Express, and plain Express and Starlette."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.examples import EXAMPLES, JS, Program, example
from acceptance.mqtt import EVENTS, VERSIONS, MqttClient, refused
from acceptance.servers import Server, running, wait_until
from acceptance.upstreams import configure
from acceptance.wire import JSON, RELIABLE, JsonClient, RawClient, client_target, client_token, http_request, rest
from faults.control import control

SDK: Final = "chat-express"
PLAIN: Final = ("handler-starlette", "handler-express")
CONTENT_TYPES: Final = {"text": "text/plain", "json": "application/json", "binary": "application/octet-stream"}
KINDS: Final = [
    ("text", "grüße", "grüße"),
    ("json", {"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}),
    ("binary", "AP+A", "AP+A"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module."""
    with running(tmp_path_factory.mktemp("sdk"), "--set", "handler_retries_s=0.05,0.05,0.05") as server:
        yield server


@pytest.fixture(scope="module")
def keys(server: Server) -> Mapping[str, str]:
    found: Mapping[str, str] = control(server, "GET", "keys").json()
    return found


@pytest.fixture(scope="module", params=[SDK, *PLAIN])
def program(
    request: pytest.FixtureRequest, server: Server, keys: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """Each example that answers the events of the hub `chat`, as it stands."""
    name = str(request.param)
    # One of the two is enough, and not always the same one.
    key = keys["secondaryKey" if name == "handler-express" else "primaryKey"]
    with example(tmp_path_factory.mktemp("example"), name, {"ACCESS_KEY": key}) as program:
        configure(
            server,
            "chat",
            {
                "urlTemplate": program.url,
                "userEventPattern": "*",
                "systemEvents": ["connect", "connected", "disconnected"],
            },
            anonymousConnectPolicy="allow",
        )
        yield program


def say(client: JsonClient, name: str, data: Any, kind: str = "text") -> bool:
    """Send an event; was it taken."""
    return bool(client.request({"type": "event", "event": name, "dataType": kind, "data": data})["success"])


def test_examples_need_no_packages_but_the_tested_ones() -> None:
    manifest = json.loads((JS / "package.json").read_text())["dependencies"]
    for file in EXAMPLES.glob("*/package.json"):
        assert set(json.loads(file.read_text())["dependencies"]) <= set(manifest), file
    assert (
        json.loads((EXAMPLES / SDK / "package.json").read_text())["dependencies"]["@azure/web-pubsub-express"]
        == (manifest["@azure/web-pubsub-express"])
    )


# The examples


def test_example_lets_in_who_says_a_name_and_refuses_others(server: Server, program: Program) -> None:
    anonymous = client_target("chat", None, [("name", "carol")])
    with RawClient(server, anonymous, protocols=[JSON]) as client:
        assert client.receive_json()["userId"] == "carol"
        assert rest(server, "HEAD", "chat/users/carol").status == 200
    with RawClient(server, client_target("chat", None), protocols=[JSON]) as client:
        assert client.status == 401
    program.await_output("carol is disconnected")


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_example_gives_back_what_it_is_told(server: Server, program: Program, protocol: str) -> None:
    user = f"alice of {protocol}"
    with JsonClient(server, "chat", protocol=protocol, user=user) as client:
        assert client.connected["userId"] == user
        there = "chat/groups/everybody/:send"
        assert rest(server, "POST", there, body=b"all", headers={"Content-Type": "text/plain"}).status == 202
        assert client.receive()["data"] == "all"
        for kind, data, wanted in KINDS:
            assert say(client, "anything", data, kind)
            message = client.receive()
            assert (message["from"], message["dataType"], message["data"]) == ("server", kind, wanted)
    for line in ("is connected", "is disconnected"):
        program.await_output(f"{user} {line}")
    for number in (1, 2, 3):
        program.await_output(f"message {number} of {user}")


def test_example_answers_simple_clients(server: Server, program: Program) -> None:
    with RawClient(server, client_target("chat", client_token(server, "chat", user="simple"))) as client:
        client.send_frame(1, "grüße".encode())
        assert client.receive_frame() == (1, "grüße".encode())
        client.send_frame(2, b"\x00\xff")
        assert client.receive_frame() == (2, b"\x00\xff")


@pytest.mark.parametrize("name", PLAIN)
def test_plain_example_takes_events_of_the_owner_of_its_key_alone(
    tmp_path: Path, name: str, keys: Mapping[str, str]
) -> None:
    def signature(key: str) -> str:
        return f"sha256={hmac.new(key.encode(), b'c', hashlib.sha256).hexdigest()}"

    good, bad = signature(keys["primaryKey"]), signature("A" * 44)
    with example(tmp_path, name, {"ACCESS_KEY": keys["primaryKey"]}) as program:
        for sent, wanted in (
            (good, 204),
            (f"{bad},{good}", 204),
            (f"{bad}, {good}", 204),
            (bad, 401),
            ("", 401),
            (good[:-1], 401),
            (good.removeprefix("sha256="), 401),
            (None, 401),
        ):
            headers = {"ce-connectionId": "c", "ce-type": "azure.webpubsub.sys.connected", "ce-eventName": "connected"}
            assert post(program.url, headers | ({} if sent is None else {"ce-signature": sent})) == wanted, sent
        assert post(program.url, {"ce-connectionId": "d", "ce-type": "x", "ce-signature": good}) == 401


def post(url: str, headers: Mapping[str, str]) -> int:
    """What a handler answers to who is not the server."""
    return http_request(_At(url), "POST", _At(url).path, body=b"{}", headers=headers).status


class _At:
    """Where a URL leads, as far as plain requests need it."""

    https_port = 0
    access_key = ""

    def __init__(self, url: str) -> None:
        self.endpoint, slash, path = url.removeprefix("http://").partition("/")
        self.host, _, port = self.endpoint.rpartition(":")
        self.port = int(port)
        self.path = slash + path


# The official package


@pytest.fixture
def listening(tmp_path: Path, hub: str) -> Iterator[Callable[..., Program]]:
    """Starts a handler of the official package that says what it is told."""
    programs: list[Program] = []

    def start(*endpoints: str) -> Program:
        output = tmp_path / f"handler{len(programs)}.txt"
        programs.append(Program(output, ["node", "handler.mjs", hub, *endpoints], JS, {}))
        return programs[-1]

    try:
        yield start
    finally:
        for program in programs:
            program.end()


def told(program: Program, count: int) -> list[tuple[str, Any]]:
    """Kind and content of all that it was told, once it is that much."""

    def lines() -> list[str]:
        return [line for line in program.output().splitlines() if line.startswith("{")]

    wait_until(lambda: len(lines()) >= count, f"{count} lines")
    found = [next(iter(json.loads(line).items())) for line in lines()]
    assert len(found) == count, found
    return found


def test_official_package_understands_every_event(server: Server, hub: str, listening: Callable[..., Program]) -> None:
    program = listening(server.endpoint)
    handler = {
        "urlTemplate": program.url,
        "userEventPattern": "*",
        "systemEvents": ["connect", "connected", "disconnected"],
        "groupPresenceEvents": {"eventNames": ["joined", "left"]},
    }
    configure(server, hub, handler)
    with JsonClient(server, hub, user="u", query=[("a", "1"), ("a", "2")]) as client:
        assert client.connected["userId"] == "named"
        told(program, 3)
        client.join("h")
        told(program, 4)  # which an event that is asked for would not wait for
        assert say(client, "quiet", "x")
        for kind, data, wanted in KINDS:
            assert say(client, f"say.{kind}", data, kind)
            message = client.receive()
            assert (message["dataType"], message["data"]) == (kind, wanted)
        failed = client.request({"type": "event", "event": "fail", "dataType": "text", "data": "x"})
        assert failed["error"] == {"name": "InternalServerError", "message": "Internal server error"}
        assert (
            rest(server, "DELETE", f"{hub}/connections/{client.connection_id}", query=[("reason", "go")]).status == 204
        )
        client.closed()
    # A failure of the handler is tried again three times.
    found = told(program, 15)

    assert [kind for kind, _ in found[:5]] == ["connect", "connected", "joined", "joined", "userEvent"]
    contents = [content for _, content in found]
    connect = contents[0]
    assert (connect["claims"]["sub"], connect["queries"], connect["subprotocols"]) == (["u"], {"a": ["1", "2"]}, [JSON])
    assert (connect["clientCertificates"], connect["host"]) == ([], [f"{server.host}:{server.port}"])
    for content in contents:
        context = content["context"]
        assert (context["hub"], context["connectionId"]) == (hub, client.connection_id)
        assert (context["origin"], context["clientProtocol"]) == (server.host, "default")
        assert context["signature"].count("sha256=") == 2
    assert [content["context"].get("userId") for content in contents] == ["u"] + ["named"] * 14
    opened = {"opened": {"by": "u"}, "text": "grüße"}
    assert [content["context"]["states"] for content in contents[:5]] == [{}, opened, opened, opened, opened]
    user_events = [content for kind, content in found if kind == "userEvent"]
    assert [(event["dataType"], event["data"]) for event in user_events[1:4]] == [
        ("text", "grüße"),
        ("json", {"a": [1, None, "ü"]}),
        ("binary", [0, 255, 128]),
    ]
    assert [event["context"]["states"].get("last") for event in user_events] == [
        None,
        "quiet",
        "say.text",
        "say.json",
        *["say.binary"] * 4,
    ]
    end = dict(found[-3:])
    assert end["disconnected"]["reason"] == "go"
    groups = {kind: [content["group"] for name, content in found if name == kind] for kind in ("joined", "left")}
    assert {kind: sorted(names) for kind, names in groups.items()} == {"joined": ["g", "h"], "left": ["g", "h"]}


def test_official_package_decides_who_may_connect(server: Server, hub: str, listening: Callable[..., Program]) -> None:
    configure(server, hub, {"urlTemplate": listening().url, "systemEvents": ["connect"]})
    for answer, status in (("400", 400), ("401", 401), ("500", 500), ("nothing", 101)):
        target = client_target(hub, client_token(server, hub, user="u"), [("answer", answer)])
        with RawClient(server, target, protocols=[JSON]) as client:
            assert client.status == status
            assert b"not for clients" not in client.body
            if status == 101:
                assert client.receive_json()["userId"] == "u"


def test_official_package_names_from_whom_it_takes_events(
    server: Server, hub: str, listening: Callable[..., Program]
) -> None:
    program = listening("https://other.example.org")
    configure(server, hub, {"urlTemplate": program.url, "systemEvents": ["connect"]})
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        assert client.status == 500
    assert told(program, 0) == []
    configure(
        server,
        hub,
        {"urlTemplate": listening("https://other.example.org", server.endpoint).url, "systemEvents": ["connect"]},
    )
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        assert client.status == 101


# The official package and MQTT


@pytest.mark.parametrize("version", VERSIONS)
def test_official_package_understands_every_event_of_mqtt_clients(
    server: Server, hub: str, listening: Callable[..., Program], version: int
) -> None:
    """What only 5.0 can say is nothing in 3.1.1."""
    program = listening(server.endpoint)
    configure(
        server,
        hub,
        {
            "urlTemplate": program.url,
            "userEventPattern": "*",
            "systemEvents": ["connect", "connected", "disconnected"],
            "groupPresenceEvents": {"eventNames": ["joined", "left"]},
        },
    )
    pairs = (("b", "2"), ("b", "ü"))
    said = [{"name": name, "value": value} for name, value in pairs] if version == 5 else None
    with MqttClient(
        server,
        hub,
        version=version,
        client_id="device",
        username="n",
        password=b"p",
        user="u",
        properties={"user_properties": pairs},
        query=[("a", "1"), ("a", "2")],
    ) as client:
        if version == 5:
            assert client.connack.properties.user_properties == (("a", "1"), ("a", "2"))
        told(program, 3)  # which an event that is asked for would not wait for
        assert client.subscribe("h") == (1,)
        for kind, payload in (
            ("text", "grüße".encode()),
            ("json", b'{"a":[1,null,"\xc3\xbc"]}'),
            ("binary", b"\0\xff"),
        ):
            content_type = CONTENT_TYPES[kind]
            topic = f"{EVENTS}/say.{kind}"
            client.publish(
                topic, payload, content_type=content_type, correlation_data=b"7", user_properties=(("c", "d"),)
            )
            answer = client.message()
            assert (answer.topic, answer.payload) == (f"{topic}/succeeded", payload)
            if version == 5:
                assert (answer.properties.content_type or "").startswith(content_type)
                assert answer.properties.correlation_data == b"7"
        client.publish(f"{EVENTS}/quiet", b"")
        assert client.message().topic == f"{EVENTS}/quiet/succeeded"
        client.publish(f"{EVENTS}/fail", b"", correlation_data=b"8")
        failed = client.message()
        assert failed.topic == f"{EVENTS}/fail/failed"
        if version == 5:
            assert failed.properties.user_properties[0] == ("azure-status-code", "500")
            assert failed.properties.correlation_data == b"8"
        client.goodbye(0, reason_string="tired", user_properties=pairs)
    # A failure of the handler is tried again three times.
    found = told(program, 15)

    kinds = [kind for kind, _ in found]
    assert kinds[:2] == ["connect", "connected"]
    assert {kind: kinds.count(kind) for kind in ("joined", "userEvent", "left", "disconnected")} == {
        "joined": 2,
        "userEvent": 8,
        "left": 2,
        "disconnected": 1,
    }
    connect = found[0][1]
    assert connect["mqtt"] == {
        "protocolVersion": version,
        "cleanStart": True,
        "username": "n",
        "password": base64.b64encode(b"p").decode(),
        "userProperties": said,
    }
    assert (connect["claims"]["sub"], connect["queries"], connect["subprotocols"]) == (
        ["u"],
        {"a": ["1", "2"]},
        ["mqtt"],
    )
    assert connect["clientCertificates"] == []
    for _, content in found:
        context = content["context"]
        assert (context["hub"], context["connectionId"], context["clientProtocol"]) == (hub, "device", "mqtt")
    physical = {content["context"]["mqtt"]["physicalConnectionId"] for _, content in found}
    sessions = [content["context"]["mqtt"].get("sessionId") for _, content in found]
    assert len(physical) == 1
    assert sessions[0] is None
    assert len(set(sessions[1:])) == 1
    assert [content["context"].get("userId") for _, content in found] == ["u"] + ["named"] * 14
    user_events = [content for kind, content in found if kind == "userEvent"]
    kinds = ["text", "json", "binary"] if version == 5 else ["binary"] * 3
    assert [event["dataType"] for event in user_events[:3]] == kinds
    if version == 5:
        assert [event["data"] for event in user_events[:3]] == ["grüße", {"a": [1, None, "ü"]}, [0, 255]]
    assert user_events[3]["context"]["states"]["last"] == "say.binary"
    end = dict(found[-3:])["disconnected"]
    assert end["reason"] == ("tired" if version == 5 else None)
    assert end["mqtt"] == {"initiatedByClient": True, "disconnectPacket": {"code": 0, "userProperties": said}}


@pytest.mark.parametrize("version", VERSIONS)
def test_official_package_refuses_mqtt_clients(
    server: Server, hub: str, listening: Callable[..., Program], version: int
) -> None:
    """By a code of MQTT with its words, or by a status, which it makes such a code of."""
    configure(server, hub, {"urlTemplate": listening().url, "systemEvents": ["connect"]})
    pairs = (("a", "1"), ("a", "2")) if version == 5 else ()
    for code in (1, 2, 3, 4, 5) if version == 4 else (128, 133, 134, 135, 136, 138, 151, 156, 159):
        properties = refused(server, hub, code, version=version, query=[("code", str(code))]).properties
        assert properties.user_properties == pairs
        assert properties.reason_string == (f"because {code}" if version == 5 else None)
    for status, newer, older in ((400, 0x86, 4), (401, 0x87, 5), (500, 0x80, 3)):
        refused(server, hub, newer if version == 5 else older, version=version, query=[("answer", str(status))])

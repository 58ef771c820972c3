"""`hubwire status`, `url`, `keys` and `hub`, against a stand-in on a control socket."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from cli.conftest import Run
from cli.standin import StandIn, serving

R1, R2 = "webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.room"
KEYS = {
    "primaryKey": "p" * 32,
    "secondaryKey": "s" * 32,
    "primaryConnectionString": "Endpoint=http://localhost:8080;AccessKey=pp;Version=1.0;",
    "secondaryConnectionString": "Endpoint=http://localhost:8080;AccessKey=ss;Version=1.0;",
}
CHAT = {
    "name": "chat",
    "properties": {
        "anonymousConnectPolicy": "allow",
        "webSocketKeepAliveIntervalInSeconds": 30,
        "eventHandlers": [],
        "eventListeners": [],
    },
}


def test_url_prints_the_url_and_nothing_else(run: Run, server: StandIn) -> None:
    """It is made to stand inside $( )."""
    server.on(
        "POST", "/control/url", 200, {"url": "ws://h/client/hubs/chat?access_token=t", "baseUrl": "", "token": "t"}
    )

    result = run(
        "url", "--hub", "chat", "--user", "alice", "--role", R1, "--role", R2, "--group", "g", "--minutes", "5"
    )

    assert (result.exit_code, result.output) == (0, "ws://h/client/hubs/chat?access_token=t\n")
    assert server.asked[0].document() == {
        "hub": "chat",
        "userId": "alice",
        "roles": [R1, R2],
        "groups": ["g"],
        "minutes": 5,
        "clientType": "Default",
    }


def test_url_with_a_role_that_nobody_knows_is_made_and_doubted(run: Run, server: StandIn) -> None:
    """On stderr, so that $( ) gets the URL alone: another version of the server may know it."""
    server.on("POST", "/control/url", 200, {"url": "ws://h/client/hubs/chat?access_token=t"})

    result = run("url", "--hub", "chat", "--role", "sendToGroup")

    assert (result.exit_code, result.stdout) == (0, "ws://h/client/hubs/chat?access_token=t\n")
    assert result.stderr == (
        "hubwire: 'sendToGroup' is no role that this server knows; did you mean webpubsub.sendToGroup?\n"
    )


def test_url_for_mqtt_asks_for_that_kind_of_client(run: Run, server: StandIn) -> None:
    """The two have different paths and audiences."""
    server.on("POST", "/control/url", 200, {"url": "ws://h/clients/mqtt/hubs/chat?access_token=t"})

    result = run("url", "--hub", "chat", "--mqtt")

    assert (result.stdout, result.stderr) == ("ws://h/clients/mqtt/hubs/chat?access_token=t\n", "")
    assert server.asked[0].document() == {
        "hub": "chat",
        "userId": None,
        "roles": [],
        "groups": [],
        "minutes": 60,
        "clientType": "MQTT",
    }


@pytest.mark.parametrize("group", ["site/#", "+", "a+b", "$site", "a\0b", "", " ", "x" * 1025])
@pytest.mark.parametrize("resource", [[], ["--resource", "wps"]])
def test_url_for_mqtt_of_a_group_that_is_no_topic_is_not_made(
    run: Run, server: StandIn, group: str, resource: list[str]
) -> None:
    """Its client would be let in, and hear nothing."""
    result = run("url", "--hub", "chat", "--mqtt", "--group", "site/door", "--group", group, *resource)

    assert (result.exit_code, result.stdout, server.asked) == (2, "", [])
    assert result.stderr.startswith("hubwire: no MQTT client can be in the group '")
    assert result.stderr.count("\n") == 1


def test_url_for_others_of_a_group_that_is_no_topic_is_made(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/url", 200, {"url": "ws://h/client/hubs/chat?access_token=t"})

    result = run("url", "--hub", "chat", "--group", "site/#", "--role", "webpubsub.sendToGroup.site/#")

    assert (result.exit_code, result.stderr) == (0, "")
    document = server.asked[0].document()
    assert isinstance(document, dict)
    assert document["groups"] == ["site/#"]


@pytest.mark.parametrize("role", ["webpubsub.sendToGroup.site/#", "webpubsub.joinLeaveGroups.site/+/door"])
def test_role_with_wildcards_of_mqtt_is_doubted(run: Run, server: StandIn, role: str) -> None:
    server.on("POST", "/control/url", 200, {"url": "ws://h/clients/mqtt/hubs/chat?access_token=t"})

    result = run("url", "--hub", "chat", "--mqtt", "--role", role, "--role", "webpubsub.sendToGroups.site/**")

    assert (result.exit_code, result.stdout) == (0, "ws://h/clients/mqtt/hubs/chat?access_token=t\n")
    assert result.stderr == (
        f"hubwire: '{role}' allows nothing to an MQTT client, since + and # are in no topic; "
        "patterns of roles have * and **, as in webpubsub.sendToGroups.site/**\n"
    )


def test_refusal_of_the_server_is_one_line_and_exit_code_1(run: Run, server: StandIn) -> None:
    """The message of the error body is what the user needs."""
    server.on("POST", "/control/url", 400, {"code": "Error.BadRequest", "message": "bad hub\nname", "target": "hub"})

    result = run("url", "--hub", "-")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "hubwire: bad hub name\n")


@pytest.mark.parametrize("body", [b"<html>busy</html>", b'"caf\xe9"', b"[" * 60_000], ids=["HTML", "Latin-1", "deep"])
def test_refusal_without_a_document_shows_the_status(run: Run, server: StandIn, body: bytes) -> None:
    """Something else may listen there."""
    server.on_raw("GET", "/control/status", 503, body, "text/html")

    result = run("status")

    assert (result.exit_code, result.stderr) == (
        1,
        "hubwire: the server refused the request: 503 Service Unavailable\n",
    )


@pytest.mark.parametrize(
    "body", [b"<html>", b"[1, 2]", b'"caf\xe9"', b"[" * 60_000], ids=["HTML", "list", "Latin-1", "deep"]
)
def test_answer_that_is_not_the_expected_one_is_one_line(run: Run, server: StandIn, body: bytes) -> None:
    """Never a traceback, whoever answers."""
    server.on_raw("POST", "/control/url", 200, body)

    result = run("url", "--hub", "chat")

    assert result.exit_code == 1
    assert result.stderr.startswith("hubwire: the server's answer ")
    assert result.stderr.count("\n") == 1


def test_status_shows_a_line_for_each_value(run: Run, server: StandIn) -> None:
    """What lies deeper is named by its way; what is secret is left out."""
    document = {"version": "1", "connections": {"open": 3}, "busy": False, "hubs": [], "connectionString": "secret"}
    server.on("GET", "/control/status", 200, document)

    result = run("status")

    assert result.stdout.splitlines() == [
        "version           1",
        "connections.open  3",
        "busy              no",
        "hubs              -",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (217, "3 min 37 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_status_is_told_in_words(run: Run, server: StandIn, seconds: int, shown: str) -> None:
    """The names of the JSON form are for programs."""
    server.on("GET", "/control/status", 200, {"dataFolder": "/srv/data", "uptimeSeconds": seconds, "pid": 7})

    assert run("status").stdout.splitlines() == ["data folder  /srv/data", f"up           {shown}", "pid          7"]


def test_status_as_json_is_the_document(run: Run, server: StandIn) -> None:
    """For programs."""
    document = {"version": "1", "connections": {"open": 3}, "connectionString": "secret"}
    server.on("GET", "/control/status", 200, document)

    assert json.loads(run("status", "--json").stdout) == document


def test_keys_show_names_each_value(run: Run, server: StandIn) -> None:
    """The connection strings stand beside the keys."""
    server.on("GET", "/control/keys", 200, KEYS)

    result = run("keys", "show")

    assert "primary connection string" in result.stdout
    assert all(value in result.stdout for value in KEYS.values())
    assert json.loads(run("keys", "show", "--json").stdout) == KEYS


@pytest.mark.parametrize("kind", ["primary", "secondary"])
def test_keys_rotate_replaces_the_named_key(run: Run, server: StandIn, kind: str) -> None:
    """The answer is shown as `keys show` would."""
    server.on("POST", "/control/keys/:rotate", 200, KEYS)

    result = run("keys", "rotate", kind, "--json")

    assert json.loads(result.stdout) == KEYS
    assert server.asked[0].document() == {"keyType": kind}


def test_keys_rotate_knows_two_keys_only(run: Run, server: StandIn) -> None:
    """A third is a mistake of the command line; nothing is asked."""
    result = run("keys", "rotate", "third")

    assert result.exit_code == 2
    assert result.stderr.startswith("hubwire: ")
    assert result.stderr.count("\n") == 1
    assert server.asked == []


def test_hub_list_shows_a_line_for_each_hub(run: Run, server: StandIn) -> None:
    """As text, and the bare list as JSON."""
    server.on("GET", "/control/hubs", 200, {"value": [CHAT]})

    assert run("hub", "list").stdout == "chat  anonymous allow  keep alive 30 s\n"
    assert json.loads(run("hub", "list", "--json").stdout) == [CHAT]


def test_hub_list_without_hubs_prints_nothing_to_stdout(run: Run, server: StandIn) -> None:
    """A program that counts lines counts right; a person is told why."""
    server.on("GET", "/control/hubs", 200, {"value": []})

    result = run("hub", "list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "defaults" in result.stderr


def test_hub_name_is_one_encoded_segment(run: Run, server: StandIn) -> None:
    """A name may hold what a path gives a meaning to."""
    server.on("GET", "/control/hubs/a%5Bb%5D%2Fc", 200, {**CHAT, "name": "a[b]/c"})

    assert run("hub", "show", "a[b]/c").stdout.splitlines()[0].split() == ["hub", "a[b]/c"]


def test_hub_set_changes_only_what_is_named(run: Run, server: StandIn) -> None:
    """A merge, not a replacement."""
    server.on("PATCH", "/control/hubs/chat", 200, CHAT)

    result = run("hub", "set", "chat", "--keep-alive", "30", "--json")

    assert json.loads(result.stdout) == CHAT
    assert [(asked.method, asked.document()) for asked in server.asked] == [
        ("PATCH", {"properties": {"webSocketKeepAliveIntervalInSeconds": 30}})
    ]


def test_hub_set_passes_on_refusals(run: Run, server: StandIn) -> None:
    """In one call: what is not there yet the server creates."""
    server.on("PATCH", "/control/hubs/chat", 400, {"code": "Error.BadRequest", "message": "no"})

    result = run("hub", "set", "chat")

    assert (result.exit_code, result.stderr) == (1, "hubwire: no\n")
    assert len(server.asked) == 1


@pytest.mark.parametrize("value", ["0", "121", "1.5", "x"])
def test_hub_set_refuses_a_keep_alive_out_of_range(run: Run, server: StandIn, value: str) -> None:
    """1 to 120 whole seconds."""
    assert run("hub", "set", "chat", "--keep-alive", value).exit_code == 2
    assert server.asked == []


def test_hub_delete_says_nothing_when_done(run: Run, server: StandIn) -> None:
    """And tells when there was nothing to delete."""
    server.on("DELETE", "/control/hubs/chat", 204)

    assert (run("hub", "delete", "chat").exit_code, run("hub", "delete", "chat").output) == (0, "")
    assert run("hub", "delete", "other").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["url", "--hub", "chat"],
        ["keys", "show"],
        ["keys", "rotate", "primary"],
        ["hub", "list"],
        ["hub", "show", "chat"],
        ["hub", "set", "chat"],
        ["hub", "delete", "chat"],
        ["send", "--hub", "chat", "--all", "--text", "hi"],
        ["connect", "--hub", "chat"],
    ],
)
def test_without_a_server_each_command_says_how_to_start_one(run: Run, arguments: list[str], tmp_path: Path) -> None:
    """In one line, without creating anything."""
    result = run(*arguments, "--data", "no such folder")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data 'no such folder'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_socket_that_nobody_listens_on_is_no_server(run: Run, tmp_path: Path) -> None:
    """A server that was killed leaves its socket behind."""
    folder = tmp_path / "data"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind("data/control.sock")

    result = run("status")

    assert result.exit_code == 1
    assert "no server runs on the data folder data" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_socket_of_another_user_is_named(run: Run, tmp_path: Path) -> None:
    """The reason is not that nobody listens."""
    path = tmp_path / "data" / "control.sock"
    path.parent.mkdir()
    with serving(Path("data/control.sock")):
        path.chmod(0)
        result = run("status")
        path.chmod(stat.S_IRWXU)

    assert result.exit_code == 1
    assert "only by the user who started the server" in result.stderr


def test_data_folder_comes_from_the_environment(run: Run, tmp_path: Path) -> None:
    """As for the server itself; the option wins."""
    (tmp_path / "mine").mkdir()
    with serving(Path("mine/control.sock")) as standin:
        standin.on("GET", "/control/status", 200, {"version": "1"})

        assert run("status", env={"HUBWIRE_DATA": "mine"}).exit_code == 0
        assert run("status", "--data", "other", env={"HUBWIRE_DATA": "mine"}).exit_code == 1


def test_data_folder_with_a_path_too_long_for_a_socket_is_reached(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket address holds about a hundred bytes; folders may lie deeper."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    with serving(Path("control.sock")) as standin:
        standin.on("GET", "/control/status", 200, {"version": "1"})
        monkeypatch.chdir(tmp_path)

        result = run("status", "--data", str(deep))

    assert (result.exit_code, result.stdout) == (0, "version  1\n")


def test_long_path_without_a_server_says_so(run: Run, tmp_path: Path) -> None:
    """The detour does not hide the plain reason."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)

    assert "no server runs" in run("status", "--data", str(deep)).stderr
    deep.mkdir(parents=True)
    assert "no server runs" in run("status", "--data", str(deep)).stderr

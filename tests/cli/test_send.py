"""`hubwire send`, against stand-ins on a control socket and on a port."""

from pathlib import Path

import jwt
import pytest

from cli.conftest import Run
from cli.standin import StandIn, serving

VERSION = "api-version=2024-12-01"
KEY = "k" * 40


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (["--all"], "/api/hubs/chat/:send"),
        (["--group", "room"], "/api/hubs/chat/groups/room/:send"),
        (["--group", "a/b c:ü"], "/api/hubs/chat/groups/a%2Fb%20c%3A%C3%BC/:send"),
        (["--user", "tenant/alice"], "/api/hubs/chat/users/tenant%2Falice/:send"),
        (["--connection", "c1"], "/api/hubs/chat/connections/c1/:send"),
    ],
)
def test_message_goes_to_the_operation_of_its_receiver(run: Run, server: StandIn, target: list[str], path: str) -> None:
    """Over the control socket, where no token is needed; names are one encoded segment each."""
    server.on("POST", path, 202)

    result = run("send", "--hub", "chat", *target, "--text", "hi")

    assert (result.exit_code, result.output) == (0, "")
    assert server.asked[0].path == f"{path}?{VERSION}"
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("content", "stdin", "content_type", "body"),
    [
        (["--text", "grüße\n"], None, "text/plain; charset=utf-8", "grüße\n".encode()),
        (["--text", ""], None, "text/plain; charset=utf-8", b""),
        (["--json", '{ "a" : 1 }'], None, "application/json", b'{ "a" : 1 }'),
        (["-"], "from a pipe\n", "text/plain; charset=utf-8", b"from a pipe"),
        (["-"], "two\n\n", "text/plain; charset=utf-8", b"two\n"),
        (["--binary-file", "-"], b"\xff\n", "application/octet-stream", b"\xff\n"),
        (["--binary-file", "file.bin"], None, "application/octet-stream", b"\x00\xff"),
    ],
)
def test_content_keeps_its_type_and_bytes(
    run: Run,
    server: StandIn,
    tmp_path: Path,
    content: list[str],
    stdin: str | bytes | None,
    content_type: str,
    body: bytes,
) -> None:
    """Text of stdin loses its last line end and nothing else."""
    (tmp_path / "file.bin").write_bytes(b"\x00\xff")
    server.on("POST", "/api/hubs/chat/:send", 202)

    result = run("send", "--hub", "chat", "--all", *content, input=stdin)

    assert (result.exit_code, result.output) == (0, "")
    assert server.asked[0].headers["Content-Type"] == content_type
    assert server.asked[0].body == body


def test_exclusions_filter_and_time_to_live_are_query_parameters(run: Run, server: StandIn) -> None:
    """Lists repeat their name; values are encoded."""
    server.on("POST", "/api/hubs/chat/groups/g/:send", 202)

    run(
        *("send", "--hub", "chat", "--group", "g", "--text", "x"),
        *("--exclude", "c1", "--exclude", "c 2", "--filter", "userId ne 'a&b'", "--ttl", "30"),
    )

    assert server.asked[0].path.split("?")[1] == (
        f"{VERSION}&excluded=c1&excluded=c%202&filter=userId%20ne%20%27a%26b%27&messageTtlSeconds=30"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", "x"], "name one receiver"),
        (["--all", "--group", "g", "--text", "x"], "only one receiver may be named, not --group and --all"),
        (["--group", "", "--text", "x"], "--group wants a name"),
        (["--all"], "name one content"),
        (["--all", "--text", "x", "-"], "only one content may be named, not --text and -"),
        (["--all", "--text", "x", "--json", "1"], "only one content may be named, not --text and --json"),
        (["--all", "--json", "{"], "--json is not JSON"),
        (["--all", "--json", "[" * 2_000], "--json is not JSON"),
        (["--all", "--binary-file", "absent"], "absent"),
        (["--all", "--text", "x", "--ttl", "301"], "--ttl"),
        (["--user", "u", "--text", "x", "--exclude", "c"], "--exclude goes with"),
        (["--connection", "c", "--text", "x", "--exclude", "c"], "--exclude goes with"),
        (["--connection", "c", "--text", "x", "--filter", "true"], "--filter does not go with"),
        (["--all", "--text", "x", "--connection-string", "Endpoint=x"], "connection string"),
        (["--group", "room", "hello"], ": the text goes behind --text: hubwire send … --text hello"),
        (["hello", "there"], ": the text goes behind --text: hubwire send … --text 'hello there'"),
        (["--all", "--text", "x", "y"], ": text with blanks stands in quotes: hubwire send … --text 'x y'"),
        (["--all", "-", "x"], "the text goes behind --text"),
    ],
)
def test_command_line_that_cannot_be_used_sends_nothing(
    run: Run, server: StandIn, arguments: list[str], words: str
) -> None:
    """One line that names the fault, and exit code 2."""
    result = run("send", "--hub", "chat", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.startswith("hubwire: ")
    assert result.stderr.count("\n") == 1
    assert server.asked == []


def test_stdin_that_is_not_text_is_refused(run: Run, server: StandIn) -> None:
    """Receivers would get something else than was given."""
    result = run("send", "--hub", "chat", "--all", "-", input=b"\xff")

    assert result.exit_code == 2
    assert "UTF-8" in result.stderr
    assert server.asked == []


def test_refusal_shows_the_words_of_the_server(run: Run, server: StandIn) -> None:
    """Such as what is wrong with a filter."""
    message = "Invalid syntax for 'x': Syntax error (Parameter 'filter')"
    server.on("POST", "/api/hubs/chat/:send", 400, {"code": "Error.BadRequest", "message": message, "target": "filter"})

    result = run("send", "--hub", "chat", "--all", "--text", "x", "--filter", "x")

    assert (result.exit_code, result.stderr) == (1, f"hubwire: {message}\n")


def test_connection_string_signs_the_url_that_is_sent(run: Run) -> None:
    """Over HTTP to the service that it names, without any data folder."""
    with serving() as service:
        service.on("POST", "/api/hubs/chat/groups/a%2Fb/:send", 202)
        endpoint = f"http://127.0.0.1:{service.port}"

        result = run(
            *("send", "--hub", "chat", "--group", "a/b", "--text", "hi", "--exclude", "c 1"),
            env={"HUBWIRE_CONNECTION_STRING": f"Endpoint={endpoint};AccessKey={KEY};Version=1.0;"},
        )

    assert (result.exit_code, result.output) == (0, "")
    (asked,) = service.asked
    assert asked.body == b"hi"
    token = asked.headers["Authorization"].removeprefix("Bearer ")
    jwt.decode(token, KEY, algorithms=["HS256"], audience=endpoint + asked.path)


def test_refused_key_is_told_by_its_status(run: Run) -> None:
    """The body of a 401 is empty; the key is not shown."""
    with serving() as service:
        service.on("POST", "/api/hubs/chat/:send", 401)
        connection_string = f"Endpoint=http://127.0.0.1:{service.port};AccessKey={KEY}"

        result = run("send", "--hub", "chat", "--all", "--text", "x", "--connection-string", connection_string)

    assert (result.exit_code, result.stderr) == (1, "hubwire: the server refused the request: 401 Unauthorized\n")


def test_service_that_nobody_listens_for_is_one_line(run: Run) -> None:
    """With its place, without its key."""
    with serving() as service:
        port = service.port
    connection_string = f"Endpoint=http://127.0.0.1:{port};AccessKey={KEY}"

    result = run("send", "--hub", "chat", "--all", "--text", "x", "--connection-string", connection_string)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"hubwire: cannot reach 127.0.0.1:{port}: ")
    assert result.stderr.count("\n") == 1
    assert KEY not in result.stderr


def test_tls_to_a_plain_port_is_told_so(run: Run) -> None:
    """Not in words of the TLS library."""
    with serving() as service:
        connection_string = f"Endpoint=https://127.0.0.1:{service.port};AccessKey={KEY}"

        result = run("send", "--hub", "chat", "--all", "--text", "x", "--connection-string", connection_string)

    place = f"127.0.0.1:{service.port}"
    assert result.exit_code == 1
    assert result.stderr == f"hubwire: cannot reach {place}: the server there does not speak TLS; try http://\n"

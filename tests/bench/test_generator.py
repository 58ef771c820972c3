"""The load generator is told what the tables say, and whatever it does becomes an outcome."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from bench.faults import Unusable
from bench.figures import Failed, Result
from bench.generator import Generator, floor_arguments, run_limit_s, server_arguments
from bench.installation import compile_generator
from bench.machine import Cores
from bench.servers import Running
from bench.tokens import Issuer
from bench.workloads import CALL_TARGET, FLOOR, HUBWIRE, NATS, WORKLOADS, Candidate, Workload

KEY = "k" * 32
CORES = Cores(server=4, generator=7)


def named(name: str) -> Workload:
    return next(workload for workload in WORKLOADS if workload.name == name)


def running(name: str, folder: Path) -> Running:
    """A server that was started, as far as its clients can tell."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    issuer = Issuer("127.0.0.1:1234", KEY) if name == HUBWIRE else None
    return Running(name, process, "127.0.0.1:1234", folder, issuer)


def pairs(arguments: list[str]) -> dict[str, str]:
    """Options with their values; each may stand there once."""
    assert len(arguments) % 2 == 0
    assert len(set(arguments[::2])) == len(arguments) // 2
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def script(folder: Path, text: str) -> Path:
    """A generator of our own."""
    path = folder / "load"
    path.write_text(f"#!{sys.executable}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


# What it is told.


def test_run_against_a_peer_is_told_where_what_and_for_how_long(tmp_path: Path) -> None:
    server = running(NATS, tmp_path)
    mode, *rest = server_arguments(named("bursts"), Candidate(server=NATS), server)

    assert mode == "fanout"
    assert pairs(rest) == {
        "--address": "127.0.0.1:1234",
        "--protocol": "nats",
        "--path": "/",
        "--pid": str(server.process.pid),
        "--limit-s": str(run_limit_s(named("bursts"))),
        "--warmup-s": "0.5",
        "--duration-s": "1.5",
        "--members": "1000",
        "--size": "64",
        "--rate": "480",
        "--burst": "16",
    }


def test_candidate_may_speak_another_protocol_and_say_more(tmp_path: Path) -> None:
    reliable, plain = named("reliable").candidates
    first = pairs(server_arguments(named("reliable"), reliable, running(HUBWIRE, tmp_path))[1:])
    second = pairs(server_arguments(named("reliable"), plain, running(HUBWIRE, tmp_path))[1:])

    assert (first.pop("--protocol"), first.pop("--ack-every")) == ("azure-reliable", "100")
    assert second.pop("--protocol") == "azure"
    assert {**first, "--pid": ""} == {**second, "--pid": ""}


def test_crowds_have_no_time_to_be_measured_in(tmp_path: Path) -> None:
    for name in ("idle", "connect", "disconnect"):
        arguments = server_arguments(named(name), Candidate(server=NATS), running(NATS, tmp_path))

        assert not {"--warmup-s", "--duration-s"} & set(arguments)


@pytest.mark.parametrize(
    ("name", "groups", "path"),
    [
        ("saturated", 0, "/client/hubs/bench"),
        ("idle", 2, "/client/hubs/bench"),
        ("mqtt-qos1-saturated", 0, "/clients/mqtt/hubs/bench"),
        ("mqtt-publishers", 0, "/clients/mqtt/hubs/bench"),
        ("mqtt-idle", 2, "/clients/mqtt/hubs/bench"),
    ],
)
def test_each_client_of_ours_has_a_token_of_its_own(name: str, groups: int, path: str, tmp_path: Path) -> None:
    """
    For the endpoint of its protocol; with a user, three roles, and as many groups as the row says; enough of them for
    members and publishers.
    """
    ours = named(name).candidates[0]
    arguments = pairs(server_arguments(named(name), ours, running(HUBWIRE, tmp_path))[1:])
    targets = Path(arguments["--paths"]).read_text(encoding="ascii").splitlines()
    tokens = {target.removeprefix(f"{path}?access_token=") for target in targets}
    audience = f"http://127.0.0.1:1234{path}"
    claims = [jwt.decode(token, KEY, ["HS256"], audience=audience) for token in tokens]

    assert len(tokens) == len(targets) >= named(name).connections + 51
    assert len({one["sub"] for one in claims}) == len(claims)
    assert {len(one["role"]) for one in claims} == {3}
    assert {len(one.get("webpubsub.group", [])) for one in claims} == {groups}


def test_tokens_are_made_once_for_each_server(tmp_path: Path) -> None:
    server = running(HUBWIRE, tmp_path)

    assert server.clients(5, 0, "azure") == server.clients(5, 0, "azure-reliable")
    assert len({server.clients(*one)[1] for one in ((5, 0, "azure"), (5, 2, "azure"), (5, 0, "mqtt"))}) == 3


def test_server_that_asks_a_handler_is_answered_at_the_port_that_it_knows(tmp_path: Path) -> None:
    candidate = named("events").candidates[0]
    server = replace(running(candidate.server, tmp_path), handler_port=4321)
    told = pairs(server_arguments(named("events"), candidate, server)[1:])

    assert (told["--handler"], told["--protocol"]) == ("4321", "azure-events")
    assert "--handler" not in server_arguments(named("events"), Candidate(server=NATS), running(NATS, tmp_path))


def test_call_has_a_token_for_the_path_that_is_called(tmp_path: Path) -> None:
    arguments = pairs(server_arguments(named("rest"), Candidate(server=HUBWIRE), running(HUBWIRE, tmp_path))[1:])
    name, _, token = arguments["--header"].partition(": Bearer ")

    assert arguments["--path"] == CALL_TARGET
    assert name == "Authorization"
    assert jwt.decode(token, KEY, ["HS256"], audience=f"http://127.0.0.1:1234{CALL_TARGET}")


def test_floor_is_told_its_cores_and_nothing_of_a_server() -> None:
    [floor] = [candidate for candidate in named("paced").candidates if candidate.server == FLOOR]
    mode, *rest = floor_arguments(named("paced"), floor, CORES)
    told = pairs(rest)

    assert mode == "floor"
    assert (told["--sender-cpu"], told["--reader-cpu"], told["--rate"]) == ("4", "7", "60")
    assert told.keys() == {"--sender-cpu", "--reader-cpu", "--duration-s", "--size", "--connections", "--rate"}


# What comes of it.


def test_run_that_took_place_is_a_result(tmp_path: Path) -> None:
    generator = Generator(script(tmp_path, """print('{"mode":"floor","seconds":1.5,"sent":3}')"""), CORES)

    assert generator.call([], 10.0) == Result(mode="floor", seconds=1.5, sent=3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys; sys.exit('first\\n load: refused with 401 ')", "load: refused with 401"),
        ("import sys; sys.exit(3)", "the generator ended with 3 and said nothing"),
        ("import os; os.kill(os.getpid(), 9)", "the generator ended with -9 and said nothing"),
        ("print('done')", "the generator's result cannot be read: JSON is malformed: invalid character (byte 0)"),
        ("pass", "the generator printed 0 lines instead of one"),
    ],
)
def test_run_that_went_wrong_is_a_failure_that_says_why(text: str, reason: str, tmp_path: Path) -> None:
    """And never an exception: the other candidates are still to come."""
    assert Generator(script(tmp_path, text), CORES).call([], 10.0) == Failed(reason)


def test_generator_that_does_not_end_is_ended(tmp_path: Path) -> None:
    generator = Generator(script(tmp_path, "import time; time.sleep(600)"), CORES)

    assert generator.call([], 0.5) == Failed("the generator did not end within 0.5 s")


def test_generator_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    assert Generator(tmp_path / "none", CORES).call([], 1.0) == Failed(
        "the generator cannot be run: No such file or directory"
    )


# How it is made.


def test_generator_is_compiled_once_and_again_when_a_source_changed(tmp_path: Path) -> None:
    sources = tmp_path / "load"
    sources.mkdir()
    source = sources / "main.c"
    source.write_text("int main(void) { return 3; }\n", encoding="utf-8")
    binary = compile_generator(sources, tmp_path / "build")
    made = binary.stat().st_mtime_ns

    assert subprocess.run([binary], check=False).returncode == 3
    assert compile_generator(sources, tmp_path / "build").stat().st_mtime_ns == made

    source.write_text("int main(void) { return 4; }\n", encoding="utf-8")
    compile_generator(sources, tmp_path / "build")

    assert subprocess.run([binary], check=False).returncode == 4


def test_without_a_compiler_one_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.c").touch()
    monkeypatch.setenv("CC", "no-such-compiler")

    with pytest.raises(Unusable, match=r"no C compiler: 'no-such-compiler' is not on the PATH; install one"):
        compile_generator(tmp_path, tmp_path / "build")


def test_sources_that_do_not_compile_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("not C", encoding="utf-8")

    with pytest.raises(Unusable) as fault:
        compile_generator(tmp_path, tmp_path / "build")

    assert str(fault.value).startswith("the load generator does not compile: ")
    assert "\n" not in str(fault.value)


def test_sources_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="the load generator's sources are not in"):
        compile_generator(tmp_path, tmp_path / "build")

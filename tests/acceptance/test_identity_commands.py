"""`hubwire identity` against a real server: users and tokens by command, and all users in a file, there and back."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.communication import Service, first_service, introspect, operate
from acceptance.servers import DEADLINE_S, PROGRAM, Server, StartServer, fixed_ports, running, wait_until

USERS: Final = "/control/communication/default/identities"
MANY: Final = 3000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module."""
    with running(tmp_path_factory.mktemp("identities")) as server:
        yield server


@pytest.fixture(scope="module")
def service(server: Server) -> Service:
    return first_service(server)


def said(server: Server, *arguments: str) -> str:
    done = server.cli("identity", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_active(service: Service, server: Server, token: str) -> bool:
    return bool(introspect(service, server, token).json()["active"])


def users(immutable_id: str, count: int) -> list[dict[str, Any]]:
    """As many lines of an export."""
    return [
        {
            "id": f"8:acs:{immutable_id}_01a22000-0000-7000-8000-{number:012x}",
            "generation": 1 + number % 3,
            "createdAt": 1_700_000_000.0 + number,
            "customId": f"user-{number}",
            "lastTokenIssuedAt": 1_700_000_000.5 + number,
        }
        for number in range(count)
    ]


def lines(identities: Sequence[object]) -> bytes:
    return b"".join(json.dumps(identity).encode() + b"\n" for identity in identities)


def begin_import(server: Server) -> subprocess.Popen[bytes]:
    """An import from a pipe, so that it stands still where the test wants it to."""
    command = [sys.executable, *PROGRAM, "identity", "import", "-", "--data", str(server.data)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def feed(importing: subprocess.Popen[bytes], content: bytes) -> None:
    assert importing.stdin is not None
    importing.stdin.write(content)
    importing.stdin.flush()


def wait_for_some(server: Server, count: int) -> None:
    """Until at least so many have come."""
    wait_until(lambda: len(operate(server, "GET", f"{USERS}?limit={count}").json()["value"]) == count, f"{count} users")


def immutable_id_of(server: Server) -> str:
    """Without any user left behind."""
    made = json.loads(said(server, "create", "--json"))["identity"]["id"]
    said(server, "delete", made)
    return str(made.removeprefix("8:acs:").partition("_")[0])


def test_identity_lives_from_command_to_command(server: Server, service: Service) -> None:
    made = json.loads(said(server, "create", "--custom-id", "alice@example.com", "--scope", "chat", "--json"))
    id, first = made["identity"]["id"], made["accessToken"]["token"]
    second = said(server, "token", id, "--scope", "voip", "--minutes", "60").removesuffix("\n")

    assert json.loads(said(server, "show", id, "--json"))["customId"] == "alice@example.com"
    assert id in [line.split()[0] for line in said(server, "list").splitlines()]
    assert introspect(service, server, second).json()["scope"] == "voip"
    assert is_active(service, server, first)

    assert said(server, "revoke", id) == ""
    assert [is_active(service, server, token) for token in (first, second)] == [False, False]
    third = said(server, "token", id, "--scope", "chat").removesuffix("\n")
    assert is_active(service, server, third)

    assert said(server, "delete", id) == ""
    assert not is_active(service, server, third)
    gone = server.cli("identity", "show", id)
    assert (gone.returncode, gone.stdout, gone.stderr.count("\n")) == (1, "", 1)
    assert id not in said(server, "list", "--all")


def test_import_that_was_killed_is_done_again(start_server: StartServer, tmp_path: Path) -> None:
    """Nothing is lost, nothing is there twice, and what comes out is what went in."""
    server = start_server()
    before = users(immutable_id_of(server), MANY)
    (tmp_path / "in.jsonl").write_bytes(lines(before))

    importing = begin_import(server)
    feed(importing, lines(before[:1700]))
    wait_for_some(server, 500)
    importing.kill()
    importing.communicate(timeout=DEADLINE_S)
    there = len(operate(server, "GET", f"{USERS}/:export?limit=1000").json()["value"])

    assert importing.returncode == -signal.SIGKILL
    assert 500 <= there < MANY
    counted = json.loads(said(server, "import", str(tmp_path / "in.jsonl"), "--json"))
    assert counted["made"] + counted["known"] == MANY
    assert counted["known"] >= 500
    said(server, "export", str(tmp_path / "out.jsonl"))
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()] == before
    assert said(server, "import", str(tmp_path / "in.jsonl")) == f"0 brought back, {MANY} there already\n"


def test_import_into_a_server_that_was_killed_is_done_again(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    before = users(immutable_id_of(server), MANY)
    (tmp_path / "in.jsonl").write_bytes(lines(before))

    importing = begin_import(server)
    feed(importing, lines(before[:1700]))
    wait_for_some(server, 500)
    server.end()
    _, told = importing.communicate(lines(before[1700:]), timeout=DEADLINE_S)

    assert importing.returncode == 1
    assert (told.startswith(b"hubwire: "), told.count(b"\n")) == (True, 1)
    server = start_server(data=server.data)
    wait_for_some(server, 500)
    said(server, "import", str(tmp_path / "in.jsonl"))
    assert [json.loads(line) for line in said(server, "export").splitlines()] == before
    custom = json.loads(said(server, "create", "--custom-id", "user-1234", "--json"))
    assert custom["identity"]["id"] == before[1234]["id"], "its custom id came with it"


def test_identities_come_to_another_service_but_for_those_in_the_way(server: Server, tmp_path: Path) -> None:
    """Told by line, exit code 1, and the others are there."""
    assert server.cli("communication", "create", "elsewhere").returncode == 0
    first = json.loads(said(server, "create", "--custom-id", "moved-1", "--json"))["identity"]
    second = json.loads(said(server, "create", "--custom-id", "moved-2", "--json"))["identity"]
    rival = json.loads(said(server, "create", "--custom-id", "moved-1", "--service", "elsewhere", "--json"))["identity"]
    said(server, "export", str(tmp_path / "all.jsonl"))
    ids = [json.loads(line)["id"] for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]

    done = server.cli("identity", "import", str(tmp_path / "all.jsonl"), "--service", "elsewhere")

    assert (done.returncode, done.stdout) == (1, f"{len(ids) - 1} brought back, 0 there already\n")
    assert done.stderr.splitlines() == [
        f"hubwire: line {ids.index(first['id']) + 1}: {first['id']}: another identity has its custom id",
        f"hubwire: 1 of {len(ids)} identities were not brought back",
    ]
    there = {
        user.get("customId"): user["id"]
        for user in json.loads(said(server, "list", "--all", "--service", "elsewhere", "--json"))
    }
    assert there["moved-1"] == rival["id"]
    assert there["moved-2"].partition("_")[2] == second["id"].partition("_")[2]


def test_custom_ids_that_were_given_again_are_their_last_owners_at_a_fresh_server(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Those who were deleted are not in an export, so that nothing of them gets in the way of those who came after."""
    server, fresh = start_server(), start_server()
    names = [f"person-{number}" for number in range(6)]
    for _ in range(3):
        made = {name: json.loads(said(server, "create", "--custom-id", name, "--json"))["identity"] for name in names}
        for name in names[::2]:
            said(server, "delete", made[name]["id"])
    made |= {name: json.loads(said(server, "create", "--custom-id", name, "--json"))["identity"] for name in names[1:3]}
    said(server, "export", str(tmp_path / "all.jsonl"))

    exported = [json.loads(line) for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]
    left = {name: made[name]["id"] for name in ("person-1", "person-2", "person-3", "person-5")}
    assert {one["customId"]: one["id"] for one in exported} == left
    assert said(fresh, "import", str(tmp_path / "all.jsonl")) == "4 brought back, 0 there already\n"
    parts = {name: id.partition("_")[2] for name, id in left.items()}
    there = {one["customId"]: one["id"] for one in json.loads(said(fresh, "list", "--json"))}
    assert {name: id.partition("_")[2] for name, id in there.items()} == parts
    for name, id in there.items():
        assert json.loads(said(fresh, "create", "--custom-id", name, "--json"))["identity"]["id"] == id
    assert said(server, "import", str(tmp_path / "all.jsonl")) == "0 brought back, 4 there already\n"


def test_export_from_before_a_deletion_brings_nobody_back_who_was_deleted(server: Server, tmp_path: Path) -> None:
    """Its custom id stays with whoever has it now."""
    first = json.loads(said(server, "create", "--custom-id", "given again", "--json"))["identity"]["id"]
    said(server, "export", str(tmp_path / "old.jsonl"))
    said(server, "delete", first)
    second = json.loads(said(server, "create", "--custom-id", "given again", "--json"))["identity"]["id"]

    done = server.cli("identity", "import", str(tmp_path / "old.jsonl"))

    assert done.returncode == 1
    assert f"{first}: this identity was deleted here" in done.stderr
    assert server.cli("identity", "show", first).returncode == 1
    assert json.loads(said(server, "create", "--custom-id", "given again", "--json"))["identity"]["id"] == second


def test_import_takes_identities_of_any_length_whatever_clients_may_send(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Custom ids as long as they may be, each letter of them escaped."""
    server = start_server(environment={"HUBWIRE_MAX_MESSAGE_BYTES": "1024"})
    before = users(immutable_id_of(server), 600)
    for number, user in enumerate(before):
        user["customId"] = f"{number:06}" + "\N{WAVING HAND SIGN}" * 250
    (tmp_path / "in.jsonl").write_bytes(lines(before))

    assert said(server, "import", str(tmp_path / "in.jsonl")) == "600 brought back, 0 there already\n"
    assert [json.loads(line) for line in said(server, "export").splitlines()] == before


def test_token_is_good_again_where_its_identity_is_brought_back_into_an_older_copy_of_the_data(
    start_server: StartServer, tmp_path: Path
) -> None:
    """It has the immutable id and the keys, and a server that is called the same; what was revoked stays so."""
    address = fixed_ports()
    server = start_server(*address)
    server.stop()
    copy = tmp_path / "copy"
    shutil.copytree(server.data, copy)
    server = start_server(*address, data=server.data)
    made = json.loads(said(server, "create", "--scope", "chat", "--json"))
    id, revoked = made["identity"]["id"], made["accessToken"]["token"]
    said(server, "revoke", id)
    token = said(server, "token", id, "--scope", "chat").removesuffix("\n")
    said(server, "export", str(tmp_path / "all.jsonl"))
    server.stop()

    server = start_server(*address, data=copy)
    service = first_service(server)
    assert not is_active(service, server, token), "nobody is there"
    assert said(server, "import", str(tmp_path / "all.jsonl")) == "1 brought back, 0 there already\n"
    assert is_active(service, server, token)
    assert not is_active(service, server, revoked)

    foreign = start_server()
    elsewhere = first_service(foreign)
    assert said(foreign, "import", str(tmp_path / "all.jsonl")) == "1 brought back, 0 there already\n"
    assert not is_active(elsewhere, foreign, token), "neither the id nor the keys are the same there"

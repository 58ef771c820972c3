"""Identities in files, against a stand-in on a control socket."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import Asked, StandIn

USERS = "/control/communication/default/identities"


def one(number: int) -> dict[str, Any]:
    return {"id": f"8:acs:a_{number}", "generation": 1, "createdAt": 1.5, "customId": f"é{number}"}


def lines(identities: Iterable[object]) -> str:
    return "".join(json.dumps(identity) + "\n" for identity in identities)


def exporting(server: StandIn, count: int) -> None:
    async def page(asked: Asked) -> object:
        query = dict(part.split("=") for part in asked.path.partition("?")[2].split("&"))
        first, limit = int(query.get("after", "_0").rpartition("_")[2]), int(query["limit"])
        users = [one(number + 1) for number in range(first, min(first + limit, count))]
        return {"value": users, **({"after": users[-1]["id"]} if len(users) == limit else {})}

    server.on_call("GET", f"{USERS}/:export", page)


def importing(server: StandIn, results: dict[str, str] | None = None) -> list[Any]:
    """What the stand-in gets, which it takes for new unless it has another result for its id."""
    got: list[Any] = []

    async def take(asked: Asked) -> object:
        users: Any = asked.document()
        got.extend(users["value"])
        return {"value": [{"result": (results or {}).get(user["id"], "made")} for user in users["value"]]}

    server.on_call("POST", f"{USERS}/:import", take)
    return got


# Export


def test_all_identities_are_written_page_by_page(run: Run, server: StandIn, tmp_path: Path) -> None:
    exporting(server, 2100)

    result = run("identity", "export", "out.jsonl")

    assert (result.exit_code, result.output) == (0, "")
    written = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == [one(number + 1) for number in range(2100)]
    assert len(server.asked) == 3
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "out.jsonl.part").exists()


@pytest.mark.parametrize("arguments", [[], ["-"]], ids=str)
def test_without_a_file_they_are_printed(run: Run, server: StandIn, arguments: list[str]) -> None:
    exporting(server, 2)

    result = run("identity", "export", *arguments)

    assert [json.loads(line) for line in result.output.splitlines()] == [one(1), one(2)]


def test_link_to_a_file_stays_one(run: Run, server: StandIn, tmp_path: Path) -> None:
    """As /dev/stdout is one."""
    exporting(server, 1)
    (tmp_path / "link").symlink_to("there.jsonl")

    assert run("identity", "export", "link").exit_code == 0

    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "there.jsonl").read_text(encoding="utf-8")) == one(1)


def test_pipe_is_written_into(run: Run, server: StandIn, tmp_path: Path) -> None:
    exporting(server, 1)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("identity", "export", "pipe").exit_code == 0

        assert json.loads(os.read(reader, 10_000)) == one(1)
    finally:
        os.close(reader)


def test_export_that_breaks_leaves_the_old_file(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old", encoding="utf-8")

    async def page(asked: Asked) -> object:
        return None if "after" in asked.path else {"value": [one(1)], "after": "8:acs:a_1"}

    server.on_call("GET", f"{USERS}/:export", page)

    result = run("identity", "export", "out.jsonl")

    assert result.exit_code == 1
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "old"
    assert not (tmp_path / "out.jsonl.part").exists()


def test_file_that_cannot_be_written_is_told(run: Run, server: StandIn) -> None:
    exporting(server, 1)

    result = run("identity", "export", "no such folder/out.jsonl")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "no such folder" in result.stderr


# Import


def test_identities_are_brought_back_some_at_a_time(run: Run, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines(map(one, range(1200))), encoding="utf-8")
    got = importing(server, {one(3)["id"]: "known"})

    result = run("identity", "import", "in.jsonl")

    assert (result.exit_code, result.output) == (0, "1199 brought back, 1 there already\n")
    assert got == [one(number) for number in range(1200)]
    assert len(server.asked) == 3


def test_standard_input_is_read_where_a_file_is_a_dash(run: Run, server: StandIn) -> None:
    got = importing(server)

    result = run("identity", "import", "-", "--json", input=lines([one(1)]).rstrip() + "\n\n  \n" + json.dumps(one(2)))

    assert got == [one(1), one(2)]
    assert json.loads(result.stdout) == {"made": 2, "known": 0, "other": 0, "deleted": 0, "taken": 0, "invalid": 0}


def test_each_that_is_not_brought_back_is_told_by_its_line(run: Run, server: StandIn, tmp_path: Path) -> None:
    """The others are brought back; the exit code is 1."""
    long = {**one(8), "customId": "x" * 70_000}
    text = [*(json.dumps(one(number)) for number in range(1, 6)), "{", json.dumps({"a": 1}), json.dumps(long), "[]"]
    content = b"\n".join([*(line.encode() for line in text), b'"\xff"', json.dumps(one(9)).encode()])
    (tmp_path / "in.jsonl").write_bytes(content)

    async def take(asked: Asked) -> object:
        known = {"8:acs:a_1": "made", "8:acs:a_2": "taken", "8:acs:a_3": "other", "8:acs:a_4": "deleted"}
        users: Any = asked.document()
        ids = [user.get("id") if isinstance(user, dict) else None for user in users["value"]]
        return {"value": [{"result": "invalid" if id is None else known.get(id, "made")} for id in ids]}

    server.on_call("POST", f"{USERS}/:import", take)

    result = run("identity", "import", "in.jsonl")

    assert (result.exit_code, result.stdout) == (1, "3 brought back, 0 there already\n")
    assert result.stderr.splitlines() == [
        "hubwire: line 2: 8:acs:a_2: another identity has its custom id",
        "hubwire: line 3: 8:acs:a_3: this identity is there with another custom id",
        "hubwire: line 4: 8:acs:a_4: this identity was deleted here",
        "hubwire: line 6: this is no identity",
        "hubwire: line 7: this is no identity",
        "hubwire: line 8: this is no identity",
        "hubwire: line 9: this is no identity",
        "hubwire: line 10: this is no identity",
        "hubwire: 8 of 11 identities were not brought back",
    ]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_file_asks_nothing(run: Run, server: StandIn, tmp_path: Path, content: str) -> None:
    (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")

    result = run("identity", "import", "in.jsonl")

    assert (result.exit_code, result.output) == (0, "0 brought back, 0 there already\n")
    assert server.asked == []


def test_file_that_is_not_there_is_told(run: Run, server: StandIn) -> None:
    result = run("identity", "import", "none.jsonl")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "none.jsonl" in result.stderr


@pytest.mark.parametrize("answer", [{"value": []}, {"value": [{"result": "odd"}]}])
def test_answer_of_another_kind_is_told(run: Run, server: StandIn, tmp_path: Path, answer: object) -> None:
    (tmp_path / "in.jsonl").write_text(lines([one(1)]), encoding="utf-8")
    server.on("POST", f"{USERS}/:import", 200, answer)

    result = run("identity", "import", "in.jsonl")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "another version" in result.stderr

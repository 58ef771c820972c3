"""What only PostgreSQL can do to the store: be reached or not, be somebody else's, break in the middle."""

import asyncio
import logging
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from acceptance.servers import DEADLINE_S, free_port, wait_until
from hubwire.adapters.store_postgresql import PostgresqlDatabase
from hubwire.adapters.store_sql import SqlStore, open_store
from hubwire.auth.certificates import issue, new_authority
from hubwire.model.errors import NotStored, StartFailed, Unavailable
from hubwire.model.ports import Change
from postgresql import PostgresqlServer, running_postgresql

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresqlServer]:
    """One that tests stop, and start again."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
async def store(own_server: PostgresqlServer) -> AsyncIterator[SqlStore]:
    """A store on it, of which this is the only user."""
    opened = await open_store(own_server.new_database(), alone=True)
    yield opened
    await opened.close()


async def refusal(url: str, *secrets: str, alone: bool = False) -> str:
    """Why a store is not opened: in one line, which has none of these in it; nor has anything below it."""
    with pytest.raises(StartFailed) as failed:
        await open_store(url, alone=alone)
    text = str(failed.value)
    assert "\n" not in text
    everything = text + repr(failed.value) + "".join(traceback.format_exception(failed.value.__cause__))
    assert not [secret for secret in secrets if secret in everything]
    return text


async def eventually(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """What an attempt gives as soon as it is not refused."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            return await attempt()
        except (NotStored, Unavailable):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


def database_of(store: SqlStore) -> PostgresqlDatabase:
    assert isinstance(store._database, PostgresqlDatabase)
    return store._database


# Reaching it


async def test_wrong_password_is_refused(postgresql: PostgresqlServer) -> None:
    text = await refusal(postgresql.url("postgres", PASSWORD), PASSWORD)

    assert text == (
        f"cannot open the store postgresql://owner@127.0.0.1:{postgresql.port}/postgres: "
        'password authentication failed for user "owner"'
    )


async def test_database_that_is_not_there_is_refused(postgresql: PostgresqlServer) -> None:
    assert 'database "nothere" does not exist' in await refusal(postgresql.url("nothere"), postgresql.password)


async def test_server_that_is_not_there_is_refused() -> None:
    text = await refusal(f"postgresql://owner:{PASSWORD}@127.0.0.1:{free_port()}/db", PASSWORD)

    assert "Connect call failed" in text or "Connection refused" in text


async def test_name_that_nobody_knows_is_refused() -> None:
    text = await refusal(f"postgresql://owner:{PASSWORD}@nowhere.invalid/db", PASSWORD)

    assert text.startswith("cannot open the store postgresql://owner@nowhere.invalid/db: ")


@pytest.mark.parametrize("options", ["sslmode=require", "sslmode=verify-full", "ssl=verify-ca"])
async def test_server_without_tls_is_refused_where_that_is_demanded(postgresql: PostgresqlServer, options: str) -> None:
    assert await refusal(f"{postgresql.url('postgres')}?{options}", postgresql.password)


@pytest.mark.parametrize(
    "options",
    ["sslmode=nonsense", "sslmode=verify-full&sslrootcert=/nowhere.pem", "no_such_option=1", "connect_timeout=x"],
)
async def test_option_that_cannot_be_used_is_refused(postgresql: PostgresqlServer, options: str) -> None:
    assert await refusal(f"{postgresql.url('postgres')}?{options}", postgresql.password)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{PASSWORD}/more@host/db",
        f"postgresql://user:{PASSWORD}?more@host/db",
        f"postgresql://user:{PASSWORD}#more@host/db",
        f"postgresql://user:12/{PASSWORD}@host/db",
        f"postgresql://user:[{PASSWORD}@host/db",
        f"postgresql://user:{PASSWORD}@host:port/db",
        f"postgresql://user:more@{PASSWORD}:@host:1:2/db",
        f"postgres://user:x@host/db#{PASSWORD}",
    ],
)
async def test_url_that_may_be_cut_within_its_password_is_refused_without_a_word_of_it(url: str) -> None:
    assert "percent-encoded" in await refusal(url, PASSWORD)


async def test_password_may_come_as_an_option_or_from_the_environment(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As libpq has it. None is shown when something else is wrong."""
    address = f"postgresql://owner@127.0.0.1:{postgresql.port}"
    quoted = postgresql.url("").split(":")[2].split("@")[0]
    await (await open_store(f"{address}/postgres?password={quoted}&application_name=mine")).close()
    assert await refusal(f"{address}/nothere?password={quoted}", postgresql.password, quoted)

    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    await (await open_store(f"{address}/postgres")).close()
    assert await refusal(f"{address}/nothere", postgresql.password)


async def test_server_is_reached_by_its_socket(postgresql: PostgresqlServer) -> None:
    quoted = postgresql.url("").split(":")[2].split("@")[0]

    store = await open_store(f"postgresql://owner:{quoted}@/postgres?host={postgresql.folder}&port={postgresql.port}")
    await store.close()


@contextmanager
def with_tls(server: PostgresqlServer) -> Iterator[Path]:
    """Let a server speak TLS. Gives the file of the authority that vouches for it."""
    authority = new_authority(time.time())
    shown = issue(authority, ["localhost"], time.time())
    data = server.folder / "data"
    for name, content, mode in (("server.crt", shown.certificate, 0o644), ("server.key", shown.key, 0o600)):
        (data / name).write_bytes(content)
        (data / name).chmod(mode)
        owner = data.stat()
        shutil.chown(data / name, owner.st_uid, owner.st_gid)
    trusted = server.folder / "ca.pem"
    trusted.write_bytes(authority.certificate)
    server.stop()
    server.start("ssl=on")
    try:
        yield trusted
    finally:
        server.stop()
        server.start()


async def test_tls_is_spoken_and_verified_as_the_url_demands(own_server: PostgresqlServer) -> None:
    url = own_server.new_database()
    by_name = url.replace("127.0.0.1", "localhost")
    with with_tls(own_server) as trusted:
        store = await open_store(f"{by_name}?sslmode=verify-full&sslrootcert={trusted}")
        await store.commit([Change("k", "a", {})])
        used = own_server.sql(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND datname LIKE 'test%'"
        )
        await store.close()

        other_name = await refusal(f"{url}?sslmode=verify-full&sslrootcert={trusted}", own_server.password)
        unknown = await refusal(f"{by_name}?sslmode=verify-full&sslrootcert=/etc/hostname", own_server.password)

    assert int(used) >= 1
    assert "not valid for" in other_name
    assert unknown


# Whose it is


async def test_many_that_start_at_once_on_an_empty_database_all_start(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()

    stores = await asyncio.gather(*(open_store(url) for _ in range(6)))
    await stores[0].commit([Change("k", "a", {"x": 1})])
    found = [await store.get("k", "a") for store in stores]
    for store in stores:
        await store.close()

    assert all(document is not None and document.body == {"x": 1} for document in found)
    assert len(found) == 6


async def test_database_of_a_newer_version_is_refused(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    await (await open_store(url)).close()
    postgresql.sql("UPDATE hubwire.format SET version = 2", url.rpartition("/")[2])

    assert "newer version" in await refusal(url)


async def test_schema_of_another_program_is_refused_and_left_alone(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    name = url.rpartition("/")[2]
    postgresql.sql("CREATE SCHEMA hubwire; CREATE TABLE hubwire.documents (x int)", name)

    assert "belongs to another program" in await refusal(url)
    assert (
        postgresql.sql("SELECT relname FROM pg_class WHERE relnamespace = 'hubwire'::regnamespace", name) == "documents"
    )


async def test_other_tables_of_the_database_are_left_alone(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    name = url.rpartition("/")[2]
    postgresql.sql("CREATE TABLE documents (x int); INSERT INTO documents VALUES (1)", name)

    store = await open_store(url)
    await store.commit([Change("k", "a", {})])
    await store.close()

    assert postgresql.sql("SELECT x FROM documents", name) == "1"


async def test_database_in_another_encoding_is_refused(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database("ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")

    assert "its encoding is LATIN1, and has to be UTF8" in await refusal(url)


async def test_user_who_may_make_nothing_is_refused(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    postgresql.sql(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")

    text = await refusal(url.replace(url.split("//")[1].split("@")[0], f"guest:{PASSWORD}"), PASSWORD)

    assert "permission denied for database" in text


async def test_store_of_one_server_is_refused_to_a_second(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubwire.adapters.store_postgresql._TAKEN_S", 0.3)
    url = postgresql.new_database()
    first = await open_store(url, alone=True)

    assert "another server has it" in await refusal(url, postgresql.password, alone=True)
    other = await open_store(postgresql.new_database(), alone=True)
    await other.close()
    await first.close()

    second = await open_store(url, alone=True)
    await second.close()


def test_store_is_free_again_when_its_server_is_killed(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    program = (
        "import asyncio, os\n"
        "from hubwire.adapters.store_sql import open_store\n"
        "async def hold():\n"
        "    store = await open_store(os.environ['URL'], alone=True)\n"
        "    print('held', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(hold())\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "URL": url}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()

    async def open_and_close() -> None:
        await (await open_store(url, alone=True)).close()

    asyncio.run(open_and_close())


# Breaking


def end_connections(server: PostgresqlServer, name: str = "test%", application: str = "hubwire") -> None:
    """Of our own kind, as an administrator or a restart does."""
    server.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        f"WHERE application_name = '{application}' AND datname LIKE '{name}'"
    )


async def test_connections_that_were_ended_are_made_anew(store: SqlStore, own_server: PostgresqlServer) -> None:
    """Nobody is told: what failed is done again."""
    await store.commit([Change("k", "n", {"n": 0})])
    for turn in range(1, 3):
        await asyncio.gather(*(store.get("k", "n") for _ in range(20)))
        end_connections(own_server)

        found, *_ = await asyncio.gather(*(store.get("k", "n") for _ in range(10)))
        end_connections(own_server)
        assert [found] == await store.list("k", "", None, 10)
        assert found is not None
        end_connections(own_server)
        await store.commit([Change("k", "n", {"n": turn}, found.etag)])

    document = await store.get("k", "n")
    assert document is not None
    assert document.body == {"n": 2}


async def test_stopped_server_is_told_of_and_used_again_when_it_is_back(
    store: SqlStore, own_server: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await store.commit([Change("k", "a", {"x": 1})])
    own_server.stop()
    try:
        for _ in range(2):
            with pytest.raises(Unavailable) as unread:
                await store.get("k", "a")
            with pytest.raises(Unavailable):
                await store.list("k", "", None, 10)
            with pytest.raises(NotStored) as refused:
                await store.commit([Change("k", "a", {"x": 2})])
    finally:
        own_server.start()

    document = await eventually(lambda: store.get("k", "a"))
    assert document.body == {"x": 1}
    await eventually(lambda: store.commit([Change("k", "a", {"x": 3}, document.etag)]))
    assert unread.value.message == "the store cannot be read"
    assert refused.value.message == "The change could not be stored: the database does not answer."
    assert caplog.text.count("the store cannot be read: ") == 1
    assert own_server.password not in caplog.text
    assert "Traceback" not in caplog.text


async def test_server_that_crashes_while_many_commit_loses_and_doubles_nothing(
    store: SqlStore, own_server: PostgresqlServer
) -> None:
    """What was said to be stored is there, and nothing else but what nobody was said to know of."""
    stored: set[str] = set()
    doubtful: set[str] = set()
    going_on = True

    async def work(worker: int) -> None:
        number = 0
        while going_on:
            number += 1
            key = f"{worker}-{number}"
            try:
                await store.commit([Change("k", key, {}, "absent")])
            except NotStored as error:
                if "nobody knows" in error.reason:
                    doubtful.add(key)
                await asyncio.sleep(0.02)
            else:
                stored.add(key)

    async def more() -> None:
        wanted = len(stored) + 50
        await asyncio.to_thread(wait_until, lambda: len(stored) >= wanted, "commits")

    workers = [asyncio.create_task(work(number)) for number in range(6)]
    for _ in range(2):
        await more()
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        own_server.start()
    await more()
    going_on = False
    await asyncio.gather(*workers)

    found = {document.key for document in await store.list("k", "", None, 1_000_000)}
    assert stored <= found
    assert found <= stored | doubtful


async def test_commit_whose_end_nobody_told_is_not_done_again(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been stored: to demand once more that nothing is there would fail."""
    dialect = database_of(store).engine.sync_engine.dialect
    commit = dialect.do_commit
    lost: list[object] = []

    def commit_and_lose(connection: Any) -> None:
        commit(connection)
        if not lost:
            lost.append(connection)
            raise ConnectionResetError("lost")

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose)

    await store.commit([Change("k", "a", {"x": 1}, "absent")])

    assert len(lost) == 1
    document = await store.get("k", "a")
    assert document is not None
    assert document.body == {"x": 1}


async def test_commit_that_breaks_before_its_end_is_done_again(store: SqlStore, own_server: PostgresqlServer) -> None:
    broken: list[object] = []

    def end_them(_connection: object) -> None:
        if not broken:
            broken.append(1)
            end_connections(own_server)

    event.listen(database_of(store).engine.sync_engine, "commit", end_them)

    await store.commit([Change("k", "a", {"x": 1}, "absent")])

    assert broken
    assert await store.get("k", "a") is not None


async def test_store_that_another_server_took_is_not_written(store: SqlStore, own_server: PostgresqlServer) -> None:
    """The other one waits for the lock when its connection breaks, and has it before anybody can be faster."""
    name = store.address.rpartition("/")[2]
    oid = own_server.sql("SELECT 'hubwire.documents'::regclass::oid", name)
    number = (0x48425752 << 32) + int(oid)
    taker = waiting_for_lock(own_server, name, number)
    try:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await asyncio.to_thread(wait_until, lambda: own_server.sql(waiting) == "1", "somebody who waits for the lock")
        end_connections(own_server, name)

        own_server.sql("UPDATE hubwire.format SET owner = 'the other'", name)

        # Nobody here has noticed yet, since this task let nobody else run.
        with pytest.raises(NotStored, match="another server has"):
            await store.commit([Change("k", "a", {})])
        with pytest.raises(NotStored, match="another server has taken the store"):
            await store.commit([Change("k", "a", {})])
    finally:
        end_connections(own_server, name, "psql")
        taker.wait(DEADLINE_S)

    # What we know of the store in memory may not be what is there now.
    with pytest.raises(NotStored, match="another server has had the store meanwhile"):
        await store.commit([Change("k", "a", {})])
    assert await store.get("k", "a") is None


def waiting_for_lock(server: PostgresqlServer, database: str, number: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        server.psql_command("-c", f"SELECT pg_advisory_lock({number})", "-c", "SELECT pg_sleep(60)"),
        env=server.psql_environment(database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


# Cost


async def test_index_serves_reading_by_key_and_by_prefix(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    name = url.rpartition("/")[2]
    store = await open_store(url)
    postgresql.sql(
        "INSERT INTO hubwire.documents SELECT 'k', 'user/' || i, '{}', 'e' FROM generate_series(1, 100000) AS i; "
        "ANALYZE hubwire.documents",
        name,
    )
    seen: list[tuple[str, Any]] = []
    event.listen(
        database_of(store).engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, _context, _many: seen.append((statement, parameters)),
    )

    page = await store.list("k", "user/9", "user/95", 10)
    await store.commit([Change("k", "user/95", {}, "e")])
    await store.commit([Change("k", "user/95", {})])
    plans = [await explained(store, statement, values) for statement, values in seen if "documents" in statement]
    await store.close()

    assert [document.key for document in page][:2] == ["user/950", "user/9500"]
    assert len(plans) == 4
    *conditional, unconditional = plans
    assert all("Index Scan using documents_pkey" in plan for plan in conditional), plans
    assert "Conflict Arbiter Indexes: documents_pkey" in unconditional
    assert not any("Seq Scan" in plan for plan in plans), plans


async def explained(store: SqlStore, statement: str, values: Any) -> str:
    async with database_of(store).engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return "\n".join(row[0] for row in await driver.fetch(f"EXPLAIN {statement}", *values))


async def test_reading_leaves_no_transaction_open(store: SqlStore, own_server: PostgresqlServer) -> None:
    await store.commit([Change("k", "a", {})])
    await asyncio.gather(*(store.get("k", "a") for _ in range(20)), *(store.list("k", "", None, 5) for _ in range(20)))

    open_ones = own_server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hubwire' AND state <> 'idle'"
    )
    connections = own_server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hubwire'")

    assert open_ones == "0"
    assert 2 <= int(connections) <= 9

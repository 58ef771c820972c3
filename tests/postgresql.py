"""A server of PostgreSQL as a real process, from Debian's package or any other, with an empty folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from acceptance.servers import DEADLINE_S, PROCESS_S, free_port, wait_until

__all__ = ["PostgresqlServer", "running_postgresql"]

_USER: Final = "nobody"
"""Who runs it where we are the superuser, which it refuses to be run by."""


class PostgresqlServer:
    """
    One that listens on the loopback interface and in its folder, and is ended by who made it.

    Attributes:
        folder: of its data, its socket and its log.
        port: the same whenever it is started again.
        user, password: of its superuser.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self.folder = folder
        self.port = free_port()
        self.user, self.password = "owner", "s3cret@/?#:%word"
        self._databases = count()
        self._process: subprocess.Popen[bytes] | None = None
        secret = folder / "password"
        secret.write_text(self.password, encoding="utf-8")
        if os.geteuid() == 0:
            shutil.chown(folder, _USER)
            shutil.chown(secret, _USER)
        made = subprocess.run(
            [*_as_user(), programs / "initdb", "-D", folder / "data", "-U", self.user, "-A", "scram-sha-256"]
            + ["--pwfile", secret, "-E", "UTF8", "--locale=C", "--no-sync"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    def start(self, *options: str) -> None:
        """
        Start it with further settings, and wait until it lets somebody in.

        It ends with the thread that calls this, so that nothing is left of a session that is killed.
        """
        with (self.folder / "log").open("ab") as log:
            # Nothing here has to outlive the machine.
            settings = ("listen_addresses=localhost", f"unix_socket_directories={self.folder}", "fsync=off", *options)
            self._process = subprocess.Popen(
                [*_as_user(), self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
                + [word for setting in settings for word in ("-c", setting)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then end it
            )
        wait_until(self._is_up, "the database server", PROCESS_S)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        return self._psql("postgres", "SELECT 1").returncode == 0

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: at once, whoever is connected; by SIGQUIT without tidying up, as in a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(DEADLINE_S)
            self._process = None

    def new_database(self, options: str = "") -> str:
        """The URL of an empty one."""
        name = f"test{next(self._databases)}"
        self.sql(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def url(self, database: str, password: str | None = None) -> str:
        """Of a database, by the loopback interface."""
        quoted = "".join(f"%{ord(letter):02X}" for letter in (self.password if password is None else password))
        return f"postgresql://{self.user}:{quoted}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What a statement of the superuser gives: a line for each row, `|` between its values."""
        done = self._psql(database, statement)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _psql(self, database: str, statement: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.psql_command("-c", statement),
            env=self.psql_environment(database),
            capture_output=True,
            text=True,
            timeout=PROCESS_S,
            check=False,
        )

    def psql_command(self, *arguments: str) -> list[str]:
        """A client of its superuser; its environment names the database."""
        return [str(self._programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *arguments]

    def psql_environment(self, database: str) -> dict[str, str]:
        """Of such a client."""
        return {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
        }


def _as_user() -> list[str | Path]:
    """What a command line begins with; it also ends the server with whoever started it."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        assert os.geteuid() != 0, "setpriv is needed to run PostgreSQL as somebody else than the superuser"
        return []
    user = ["--reuid", _USER, "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    return [setpriv, *user, "--pdeathsig", "INT"]


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """A server, ended at the end; the test is left out where there is none, unless that is what CI is for."""
    programs = _programs()
    if programs is None:
        assert not os.environ.get("CI"), (
            "`make postgresql` installs PostgreSQL; without it half of the store is not tested"
        )
        pytest.skip("PostgreSQL is not installed: `make postgresql` as the superuser, or the package of your system")
    # Not in the folder of the tests, which is for its owner alone. The path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="hubwire-pg-", ignore_cleanup_errors=True) as name:
        server = PostgresqlServer(programs, Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _programs() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest if there are several; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent

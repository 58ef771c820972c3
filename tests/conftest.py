"""What tests of all folders share."""

from collections.abc import Iterator

import pytest

from postgresql import PostgresqlServer, running_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One for the whole session; each test has databases of its own in it. Who stops it starts it again."""
    with running_postgresql() as server:
        yield server

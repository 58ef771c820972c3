"""What tests of all folders share."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from postgresql import PostgresqlServer, running_postgresql

# How long an example takes is also a matter of what else the machine does, such as other tests.
settings.register_profile(
    "hubwire", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hubwire")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One for the whole session; each test has databases of its own in it. Who stops it starts it again."""
    with running_postgresql() as server:
        yield server

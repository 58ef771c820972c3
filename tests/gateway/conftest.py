"""What tests of several files of the gateway begin with."""

from collections.abc import Iterator

import pytest

from gateway.written import Written, writing


@pytest.fixture
def written() -> Iterator[Written]:
    """Everything that is recorded at any level."""
    with writing() as everything:
        yield everything

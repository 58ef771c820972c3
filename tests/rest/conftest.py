"""One application on fakes for each test."""

import pytest

from rest.asgi import World
from rest.issuing import Issuing, open_issuing


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def issuing() -> Issuing:
    """A token issuer with its tables: users have no tokens, and nobody is slowed down."""
    return await open_issuing()

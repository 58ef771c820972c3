"""One application on fakes for each test."""

import pytest

from rest.asgi import World


@pytest.fixture
def world() -> World:
    return World()

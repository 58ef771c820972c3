"""What the acceptance tests share: one running server for all, servers with options of their own, names and tokens."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from acceptance.servers import PROGRAM, Server, StartServer, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with default settings for the whole session. Tests keep apart by hub names of their own."""
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """For tests that need other options, or that stop, kill or change their server."""
    servers: list[Server] = []

    def start(
        *options: str,
        data: Path | None = None,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
    ) -> Server:
        # Short: the path of the control socket in it may have 107 bytes, with the name of whoever runs the tests.
        folder = tmp_path / f"s{len(servers)}"
        server = Server(folder, *options, data=data, program=program, environment=environment)
        servers.append(server)
        return server

    try:
        yield start
        for server in servers:
            server.stop()
    finally:
        for server in servers:
            server.end()


@pytest.fixture
def hub() -> str:
    """A hub that no other test uses."""
    return f"hub{uuid4().hex}"

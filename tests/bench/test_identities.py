"""Servers get the users that rows about them need, and what is sent about these is answered."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.servers import PROGRAM
from bench.identities import Identities
from bench.installation import Available
from bench.official import caller, measure
from bench.servers import Running, start
from bench.signing import measure as measure_signing
from bench.workloads import HUBWIRE_MANY_USERS, Operation
from loading import LONGER, SHORT, load, run

__all__ = ["load"]

USERS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("users") / "server"
    available = Available((sys.executable, *PROGRAM), "")
    running = start(HUBWIRE_MANY_USERS, available, folder, min(os.sched_getaffinity(0)), USERS)
    yield running
    running.stop()


@pytest.fixture
def identities(server: Running) -> Identities:
    assert server.identities is not None
    return server.identities


def test_as_many_tokens_as_there_are_users_can_be_asked_about(identities: Identities) -> None:
    assert (identities.count, len(set(identities.tokens))) == (USERS, USERS)
    assert identities.key not in repr(identities)


@pytest.mark.parametrize("operation", ["get", "issue", "introspect", "create"])
def test_each_request_is_answered(
    operation: Operation, server: Running, identities: Identities, load: Path, tmp_path: Path
) -> None:
    """Signed with the key of the service, about users that are there."""
    file = tmp_path / "requests"
    file.write_bytes(identities.requests(operation))
    where = ["--address", server.address, "--protocol", "azure", "--requests", str(file), "--members", "0"]

    result = run(load, "calls", *where, "--pid", str(server.process.pid), *SHORT, *LONGER, "--callers", "3")

    assert result["calls"] > 0
    assert (result["errors"], result["lost"], result["callers_cut"]) == (0, 0, 0)


@pytest.mark.parametrize("operation", ["issue", "create"])
def test_official_client_calls(operation: str, server: Running, identities: Identities) -> None:
    call = caller(operation, f"http://{server.address}", identities.key)

    result = measure(call, server.process.pid, 0.0, 0.05)

    assert result.latency_us is not None
    assert result.latency_us.count >= 2
    assert result.calls_per_s is not None


def test_signature_is_measured_alone() -> None:
    result = measure_signing(0.01)

    assert result.cpu_us_per_operation is not None
    assert result.cpu_us_per_operation > 0

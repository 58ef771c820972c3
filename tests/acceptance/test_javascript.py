"""The official JavaScript libraries: each file is run by Node's own test runner against the server."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from acceptance.servers import Server

FOLDER = Path(__file__).parent / "js"
FILES = sorted(path.name for path in FOLDER.glob("*.test.mjs"))
TIMEOUT_S = 110


def test_there_are_files_to_run() -> None:
    assert FILES == ["client.test.mjs", "service.test.mjs"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("file", FILES)
def test_official_javascript_library(server: Server, file: str, scheme: str) -> None:
    """Everything passes, and nothing was left out."""
    node = shutil.which("node")
    assert node is not None, "Node.js is needed for the acceptance tests"
    assert (FOLDER / "node_modules").is_dir(), "make setup installs the JavaScript libraries"

    result = subprocess.run(
        # The libraries' timers outlive a stopped client; nobody waits for them.
        [node, "--test", "--test-force-exit", "--test-reporter=tap", file],
        cwd=FOLDER,
        env={
            **os.environ,
            "HUBWIRE_CONNECTION_STRING": {"http": server.connection_string, "https": server.https_connection_string}[
                scheme
            ],
            "NODE_EXTRA_CA_CERTS": str(server.ca),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    counts = {
        name: int(count) for name, count in re.findall(r"^# (pass|fail|skipped|todo) (\d+)$", result.stdout, re.M)
    }
    assert counts.pop("pass") > 0
    assert set(counts.values()) == {0}, result.stdout

"""A peer that cannot be had is missing, with the reason, and stops nobody."""

import json
import re
from pathlib import Path

import pytest

from bench.installation import Available, Missing, install
from bench.servers import SERVERS
from bench.workloads import CENTRIFUGO, CENTRIFUGO_RPC, HUBWIRE, MOCHI, MOSQUITTO, NATS, NATS_MQTT, SOCKETIO, WS

ROOT = Path(__file__).parent.parent.parent
PEERS = ROOT / "bench" / "peers"


def program(folder: Path, name: str, text: str) -> None:
    """A program on the path, in the language of the shell."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("NPM", raising=False)
    return folder


def test_nothing_at_hand_leaves_ourselves(path: Path, tmp_path: Path) -> None:
    """All others are named with what is missing."""
    found = install(list(SERVERS), tmp_path)
    reasons = {name: there.reason for name, there in found.items() if isinstance(there, Missing)}

    assert isinstance(found[HUBWIRE], Available)
    assert reasons == {
        NATS: "the Go toolchain is not on the PATH; and nats-server is not on the PATH",
        NATS_MQTT: "the Go toolchain is not on the PATH; and nats-server is not on the PATH",
        CENTRIFUGO: "the Go toolchain is not on the PATH",
        CENTRIFUGO_RPC: "the Go toolchain is not on the PATH",
        WS: "Node.js is not on the PATH",
        SOCKETIO: "Node.js is not on the PATH",
        MOSQUITTO: "mosquitto is not on the PATH",
        MOCHI: "the Go toolchain is not on the PATH",
    }


def test_nats_comes_through_go_first(path: Path, tmp_path: Path) -> None:
    """The one of the system is older."""
    program(path, "nats-server", "echo nats-server: v1.0.0")
    program(
        path,
        "go",
        "/bin/cp nats-server-of-go /dev/null 2>/dev/null; printf '#!/bin/sh\\necho v2.0.0\\n' > $4; /bin/chmod +x $4",
    )

    assert install([NATS], tmp_path)[NATS] == Available((str(tmp_path / "bin" / "nats"),), "2.0.0")


def test_nats_of_the_system_will_do_where_go_cannot_build_it(path: Path, tmp_path: Path) -> None:
    program(path, "nats-server", "echo nats-server: v1.0.0")
    program(path, "go", "echo 'no such module' >&2; exit 1")

    assert install([NATS], tmp_path)[NATS] == Available((str(path / "nats-server"),), "1.0.0")


def test_nats_in_mqtt_is_the_same_program(path: Path, tmp_path: Path) -> None:
    """Built once."""
    program(path, "go", f"echo built >> {tmp_path}/count; printf '#!/bin/sh\\necho v2.0.0\\n' > $4; /bin/chmod +x $4")
    found = install([NATS, NATS_MQTT], tmp_path)

    assert found[NATS] == found[NATS_MQTT] == Available((str(tmp_path / "bin" / "nats"),), "2.0.0")
    assert (tmp_path / "count").read_text(encoding="utf-8") == "built\n"


def test_mochi_has_the_version_that_it_is_locked_at(path: Path, tmp_path: Path) -> None:
    program(path, "go", "printf '#!/bin/sh\\n' > $4; /bin/chmod +x $4")

    assert install([MOCHI], tmp_path)[MOCHI] == Available((str(tmp_path / "bin" / "mochi"),), "2.7.9")


def test_what_go_cannot_build_is_missing_with_the_last_line_that_it_said(path: Path, tmp_path: Path) -> None:
    program(path, "go", "echo one >&2; echo 'module not served' >&2; exit 1")

    assert install([CENTRIFUGO], tmp_path)[CENTRIFUGO] == Missing("go: module not served")


def test_what_is_built_already_is_not_built_again(path: Path, tmp_path: Path) -> None:
    program(path, "go", f"echo built >> {tmp_path}/count; printf '#!/bin/sh\\n' > $4; /bin/chmod +x $4")
    first = install([CENTRIFUGO], tmp_path)
    second = install([CENTRIFUGO], tmp_path)

    assert first == second == {CENTRIFUGO: Available((str(tmp_path / "bin" / "centrifugo"),), "5.4.9")}
    assert (tmp_path / "count").read_text(encoding="utf-8") == "built\n"


def test_centrifugo_of_the_system_goes_first(path: Path, tmp_path: Path) -> None:
    """It may be newer than what can be built."""
    program(path, "centrifugo", "echo 'Centrifugo v6.1.2 (Go version: go1.30)'")

    assert install([CENTRIFUGO], tmp_path)[CENTRIFUGO] == Available((str(path / "centrifugo"),), "6.1.2")


def test_old_node_is_told(path: Path, tmp_path: Path) -> None:
    program(path, "node", "echo v18.3.0")

    assert install([WS], tmp_path)[WS] == Missing("Node.js is 18.3.0, but 20 or newer is needed")


def test_packages_that_npm_cannot_get_are_told(path: Path, tmp_path: Path) -> None:
    program(path, "node", "echo v20.3.0")
    program(path, "npm", "echo 'npm error network' >&2; exit 1")

    assert install([SOCKETIO], tmp_path)[SOCKETIO] == Missing("npm: npm error network")


def test_version_of_mosquitto_is_read_whatever_its_exit_code(path: Path, tmp_path: Path) -> None:
    program(path, "mosquitto", "echo 'mosquitto version 2.1.2'; exit 3")

    assert install([MOSQUITTO], tmp_path)[MOSQUITTO] == Available((str(path / "mosquitto"),), "2.1.2")


def test_packages_of_node_are_locked_exactly_and_name_no_registry() -> None:
    wanted = json.loads((PEERS / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((PEERS / "node" / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, package in locked.items() if "resolved" in package] == []


@pytest.mark.parametrize(
    ("peer", "module"),
    [
        (NATS, "nats-io/nats-server/v2"),
        (CENTRIFUGO, "centrifugal/centrifugo/v5"),
        (MOCHI, "mochi-mqtt/server/v2"),
    ],
)
def test_modules_of_go_are_locked(peer: str, module: str) -> None:
    """At a version, and with the hash of its content."""
    [version] = re.findall(
        rf"^require github\.com/{module} (v\d+\.\d+\.\d+)$",
        (PEERS / peer / "go.mod").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    assert f"github.com/{module} {version} h1:" in (PEERS / peer / "go.sum").read_text(encoding="utf-8")

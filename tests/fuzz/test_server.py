"""A real server stays well, and serves others well, whatever comes over its sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from acceptance.servers import Server, wait_until
from acceptance.wire import JOIN, SEND, JsonClient, metric
from fuzz.conversations import HUB, Talk, check_answers, converse, talks

_EXAMPLES = 120


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that gives up soon on clients that do not come back, and whose log is judged at its end."""
    server = Server(tmp_path, "--set", "recovery_s=1", "--set", "head_timeout_s=2", "--set", "idle_timeout_s=2")
    try:
        yield server
        server.stop()
    finally:
        server.end()


def descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def test_server_answers_rightly_and_serves_others_whatever_is_sent(server: Server) -> None:
    """Whole answers, a good client who is heard all the time, and in the end nothing left and a clean log."""
    assert metric(server, "webpubsub_connection_count") == 0
    before = descriptors(server)

    with JsonClient(server, f"{HUB}2", roles=(JOIN, SEND)) as good:
        good.join("room")

        @settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(talks)
        def check(talk: Talk) -> None:
            check_answers(converse(server, talk))
            assert good.publish("room", "still here?")["success"]
            assert [frame["data"] for frame in good.heard()] == ["still here?"]

        check()

    wait_until(lambda: metric(server, "webpubsub_connection_count") == 0, "all connections to end")
    wait_until(lambda: descriptors(server) <= before, "all descriptors to be closed")

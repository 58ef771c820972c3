"""A real server stays well, and serves others well, whatever MQTT clients say to it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from acceptance.mqtt_raw import MODES, mqtt_server
from acceptance.servers import wait_until
from acceptance.wire import metric
from fuzz.devices import MQTT_SETTINGS, Bystanders, Device, meet, meetings

_EXAMPLES = 100


@pytest.mark.parametrize("mode", MODES)
def test_whatever_mqtt_clients_say_they_are_answered_or_closed_and_others_notice_nothing(
    mode: str, tmp_path: Path
) -> None:
    """Never silence, never a packet that is none; in the end no session is left, no socket, and the log is clean."""
    with mqtt_server(tmp_path, mode, **MQTT_SETTINGS) as server:
        descriptors = Path(f"/proc/{server.pid}/fd")
        wait_until(lambda: metric(server, "webpubsub_connection_count") == 0, "no connections yet")
        before = len(list(descriptors.iterdir()))

        with Bystanders(server) as bystanders:

            @settings(
                max_examples=_EXAMPLES,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(meetings)
            def check(devices: Sequence[Device]) -> None:
                meet(server, devices)
                bystanders.notice_nothing()

            check()

        wait_until(lambda: metric(server, "webpubsub_connection_count") == 0, "all sessions to end")
        wait_until(lambda: len(list(descriptors.iterdir())) <= before, "all descriptors to be closed")

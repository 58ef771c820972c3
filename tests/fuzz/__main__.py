"""
Look for inputs that break a parser or the server, for as long as one likes; `make fuzz` does.

    python -m fuzz --seconds 600

The targets are those of the tests, with new inputs each time. What breaks one is made as small as can be and printed;
the exit code is 1 then. `--only NAME` stays with one target, and `--seed N` repeats a run.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from acceptance.servers import Server
from fuzz.conversations import Talk, check_answers, converse, talks
from fuzz.devices import MQTT_SETTINGS, Bystanders, Device, meet, meetings
from fuzz.targets import TARGETS

_EXAMPLES: Final = 300
"""Before the next target has its turn: some seconds."""

_SERVER: Final = "server"
_MQTT_SERVER: Final = "mqtt-server"

_SETTINGS: Final = {"recovery_s": 1, "head_timeout_s": 2, "idle_timeout_s": 2, **MQTT_SETTINGS}
"""Of a server that soon gives up on clients that do not come back."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description="Look for inputs that break a parser or the server.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to look [%(default)g]")
    parser.add_argument("--only", choices=[*TARGETS, _SERVER, _MQTT_SERVER], help="one target alone")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of all inputs")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hubwire-fuzz-") as folder:
        words = (f"{name}={value}" for name, value in _SETTINGS.items())
        server = Server(Path(folder), *(word for setting in words for word in ("--set", setting)))
        try:
            broken = _fuzz(server, options.only, options.seconds, random.Random(options.seed))
            if not broken:
                server.stop()
        finally:
            server.end()
    print(f"BROKEN: {', '.join(broken)}" if broken else "nothing broke")
    return 1 if broken else 0


def _fuzz(server: Server, only: str | None, seconds: float, chance: random.Random) -> list[str]:
    """Let all targets have their turns until the time is over; those that broke have no more. Returns their names."""
    tried: Counter[str] = Counter()

    def talk_to(talk: Talk) -> None:
        check_answers(converse(server, talk))

    def listen_to(devices: Sequence[Device]) -> None:
        with Bystanders(server) as bystanders:
            meet(server, devices)
            bystanders.notice_nothing()

    checks: dict[str, Callable[[int], None]] = {
        name: _rounds(name, st.tuples(*target.inputs), target.check, tried) for name, target in TARGETS.items()
    }
    checks[_SERVER] = _rounds(_SERVER, st.tuples(talks), talk_to, tried)
    checks[_MQTT_SERVER] = _rounds(_MQTT_SERVER, st.tuples(meetings), listen_to, tried)
    left = [only] if only else list(checks)
    broken: list[str] = []
    end = time.monotonic() + seconds
    while left and time.monotonic() < end:
        for name in list(left):
            if time.monotonic() >= end:
                break
            try:
                checks[name](chance.randrange(1 << 32))
                server.assert_log_is_clean()
            except Exception:
                print(f"--- {name} broke", flush=True)
                traceback.print_exc(file=sys.stdout)
                left.remove(name)
                broken.append(name)
    print("tried: " + ", ".join(f"{name} {count}" for name, count in tried.items()))
    return broken


def _rounds(
    name: str, inputs: st.SearchStrategy[tuple[object, ...]], check: Callable[..., None], tried: Counter[str]
) -> Callable[[int], None]:
    """A round of inputs that follow from a number."""

    def work(number: int) -> None:
        @seed(number)
        @settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(inputs)
        def look(drawn: tuple[object, ...]) -> None:
            tried[name] += 1
            check(*drawn)

        look()

    return work


if __name__ == "__main__":
    sys.exit(main())

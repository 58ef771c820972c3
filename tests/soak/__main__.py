"""
An hour in a server's life, watched: churn and half load, and whether anything of it stays in memory.

    python -m soak --seconds 3600        (what `make soak` runs)

Starts a server of its own and ends it. Prints a table of samples and a verdict; exit code 1 if the server failed.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from soak.run import Plan, soak

_SHORTEST_WARM_UP_S: Final = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description="An hour of churn and half load, and what stays of it.")
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long the load lasts [%(default)g]")
    parser.add_argument("--warm-up", type=float, help="of these, before judging begins [a tenth, at least 300]")
    parser.add_argument("--cpu", type=float, default=50.0, help="percent of a core to keep busy [%(default)g]")
    parser.add_argument("--population", type=int, default=200, help="clients at a time, on average [%(default)d]")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance [%(default)d]")
    parser.add_argument(
        "--folder", type=Path, help="for the server's data and log, and the samples [a temporary one, kept if it fails]"
    )
    options = parser.parse_args()
    # Whoever ends us either way ends our server, too.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    warm_up = options.warm_up
    if warm_up is None:
        warm_up = min(max(options.seconds / 10, _SHORTEST_WARM_UP_S), options.seconds / 2)
    plan = Plan(options.seconds, warm_up, options.cpu, options.population, options.seed)
    if options.folder is not None:
        return asyncio.run(soak(plan, options.folder))
    folder = Path(tempfile.mkdtemp(prefix="hubwire-soak-"))
    failed = asyncio.run(soak(plan, folder))
    if not failed:
        shutil.rmtree(folder)  # else somebody will want to see the samples and the log
    return failed


if __name__ == "__main__":
    sys.exit(main())

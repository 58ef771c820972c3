"""
A server that is killed again and again under load, and whether it keeps what it has promised.

    python -m crash --kills 200        (what `make crash` runs)

Prints the seed, how it goes, and a verdict; exit code 1 if something that was acknowledged is not there, is there too
often or in the wrong order, or is never cleared away. The same seed does the same things, but not in the same moments.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from crash.run import Plan, Report, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="crash", description="A server that is killed again and again under load.")
    parser.add_argument("--kills", type=int, default=200, help="how often [%(default)d]")
    parser.add_argument("--load", type=float, default=1.5, help="seconds between two of them, at most [%(default)g]")
    parser.add_argument("--rate", type=float, default=150, help="messages a second of each publisher [%(default)g]")
    parser.add_argument("--seed", type=int, help="of what is left to chance [another one each time]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    parser.add_argument("--folder", type=Path, help="for data and log [a temporary one, kept if it fails]")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="hubwire-crash-"))
    print(f"seed {seed}, folder {folder}", flush=True)
    plan = Plan(options.kills, seed, options.load, options.rate, tuple(options.set))
    report = asyncio.run(run(plan, folder, lambda line: print(line, flush=True)))
    failed = _judge(report)
    if not failed and options.folder is None:
        shutil.rmtree(folder)
    return int(failed)


def _judge(report: Report) -> bool:
    print(
        f"{report.published} published, {report.accepted} accepted, {report.heard} heard,"
        f" {report.resumed} times a session went on, {report.retained} times a retained message was there"
    )
    for fault in report.faults[:50]:
        print(f"FAULT: {fault}")
    if report.left:
        print(f"FAULT: left in the journal: {report.left}")
    print(f"{len(report.faults)} faults")
    return bool(report.faults or report.left)


if __name__ == "__main__":
    sys.exit(main())

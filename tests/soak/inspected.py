"""
`hubwire serve` that can be looked into: on a signal it writes down what lives in its memory.

A leak of one object in a thousand connections does not show in the memory of an hour, but it does in the number of
objects of that kind. Nothing else of the server is changed, and nothing of this is part of it.

    python -P inspected.py FILE serve --port 8080 ...
"""

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Final

from hubwire.cli.main import main
from hubwire.hub.hub import Hub

__all__ = ["COLLECT_FIRST", "LOOK", "program"]

LOOK: Final = signal.SIGUSR1
"""Count what is there now, garbage in circles included that waits for the collector."""

COLLECT_FIRST: Final = signal.SIGUSR2
"""Let the collector run, then count."""

_SIGNALS: Final = frozenset({LOOK, COLLECT_FIRST})
_OURS: Final = "hubwire."


def program(file: Path) -> tuple[str, ...]:
    """What Python runs instead of `hubwire`. Inspections appear in `file`."""
    # -P: the folder of this file is no place to import from.
    return ("-P", __file__, str(file))


def _report() -> dict[str, object]:
    """What lives now. Objects that were made before the server listened are frozen, and so not counted."""
    objects = gc.get_objects()
    kinds = Counter(
        f"{kind.__module__}.{kind.__qualname__}" for kind in map(type, objects) if kind.__module__.startswith(_OURS)
    )
    hubs = [value for value in objects if type(value) is Hub]
    return {
        "objects": len(objects),
        "tasks": sum(isinstance(value, asyncio.Task) and not value.done() for value in objects),
        "hubs": len(hubs),
        "groups": sum(len(hub._groups) for hub in hubs),
        "users": sum(len(hub._users) for hub in hubs),
        "kinds": dict(kinds),
    }


def _answer(file: Path) -> None:
    """Answer each signal with a new, whole `file`."""
    while True:
        if signal.sigwait(_SIGNALS) == COLLECT_FIRST:
            gc.collect()
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(_report()), encoding="utf-8")
        os.replace(temporary, file)


def _inspectable(file: Path) -> None:
    # A thread, since a loop that waits for its sockets does not see a signal that it knows nothing of.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_answer, args=(file,), daemon=True).start()


if __name__ == "__main__":
    _inspectable(Path(sys.argv[1]))
    sys.argv = ["hubwire", *sys.argv[2:]]
    main()

"""What every program of ours has around it, before it has loaded anything else."""

import io
import os
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["run"]

_INTERRUPTED: Final = 130


def run(program: Callable[[], None]) -> None:
    """Run a command line, whatever its terminal can show, and whoever stops reading or presses Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal of another character set cannot show is escaped, not a reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        program()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        _give_up_output()


def _give_up_output() -> None:
    """What cannot be written was told already. At the end of the process the interpreter would try and tell again."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

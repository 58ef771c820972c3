"""How the user can call this program again, for lines to copy."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

__all__ = ["DEFAULT_DATA", "data_option", "program"]

DEFAULT_DATA: Final = "data"

_NAME: Final = "hubwire"


def program() -> str:
    """By name if a shell finds us so, else by path from this folder."""
    called = sys.argv[0]
    if Path(called).parts[-2:] == (_NAME, "__main__.py"):
        return f"{shlex.quote(sys.executable)} -m {_NAME}"
    if os.path.basename(called) != _NAME or not os.path.exists(called):
        return _NAME
    found = shutil.which(_NAME)
    if found is not None and os.path.samefile(found, called):
        return _NAME
    return shlex.quote(min(os.path.relpath(called), called, key=len))


def data_option(folder: str | Path) -> str:
    """What names this data folder in a command line, with a blank before it; empty for the default one."""
    return "" if str(folder) == DEFAULT_DATA else f" --data {shlex.quote(str(folder))}"

"""
The folder where one server keeps what must survive it: the database, the lock, the control socket.

A lock on an open file goes with the process, however that ends; a file with a process number would outlive it.
"""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from hubwire.model.errors import StartFailed

__all__ = ["DataFolder", "locked", "replace_file"]

# sun_path holds 108 bytes with its end on Linux, 104 elsewhere.
_SOCKET_PATH_LIMIT: Final = 100


def replace_file(path: Path, content: bytes) -> None:
    """
    Write a file whole or not at all, and durably. Nobody ever sees a part of it, and only its owner may read it.

    Raises:
        OSError: the old one, if there was one, is still there.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def locked(path: Path) -> int | None:
    """
    Make a file if it is not there, and lock it.

    Returns:
        its descriptor, which keeps the lock until it is closed; None if another one does.

    Raises:
        OSError: it cannot be made or opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


class DataFolder:
    """
    An open and locked data folder. Only its owner may read what is in it: the database holds keys.

    Raises:
        StartFailed: it cannot be made or written, or another server has it.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = locked(self.path / "lock")
        except OSError as error:
            raise StartFailed(f"cannot write to data folder {self.path}: {error.strerror or error}") from error
        if lock is None:
            raise StartFailed(
                f"data folder {self.path} is in use by another server; stop it or name another with --data"
            )
        self._lock = lock
        self._folder: int | None = None

    @property
    def database_url(self) -> str:
        """Of the embedded store."""
        return f"sqlite+aiosqlite:///{self.path / 'hubwire.db'}"

    @property
    def journal_url(self) -> str:
        """Of the journal beside it."""
        return f"sqlite:///{self.path / 'journal.db'}"

    @property
    def control_socket(self) -> Path:
        """Where the command line reaches the server."""
        return self.path / "control.sock"

    def bindable_control_socket(self) -> str:
        """The same as a path that is short enough to be bound, by way of an open handle of the folder if need be."""
        path = str(self.control_socket)
        if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return path
        if self._folder is None:
            self._folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/control.sock"

    def close(self) -> None:
        """Take away the control socket and let another server have the folder."""
        # What cannot be taken away was not ours: that it is in the way was said when the socket was to be bound.
        with suppress(OSError):
            self.control_socket.unlink()
        if self._folder is not None:
            os.close(self._folder)
        os.close(self._lock)

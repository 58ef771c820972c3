"""
Standard input and output of a conversation: a terminal with a line that stays whole while others' lines appear above
it, or pipes and files.
"""

import asyncio
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from hubwire.cli.editor import CLEAR, PROMPT, LineEditor, Lines, LineSplitter
from hubwire.cli.faults import CommandFailed

__all__ = ["Terminal", "opened"]

_CHUNK_BYTES: Final = 65536
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminal:
    """
    Lines in, lines out. Made by `opened`.

    Attributes:
        interactive: a person sits there, who sees at once what is wrong with a line.
        stopped: set by Ctrl-C and by signals that end a process.
    """

    def __init__(self, chunks: "_Chunks", lines: Lines) -> None:
        self.interactive = isinstance(lines, LineEditor)
        self.stopped = asyncio.Event()
        self._chunks = chunks
        self._lines = lines
        self._ready: list[str] = []
        self._over = False
        self._count = 0

    async def line(self) -> str | None:
        """
        The next line; None at the end.

        Raises:
            CommandFailed: input that is not UTF-8.
        """
        while not self._ready and not self._over:
            chunk = await self._chunks.next()
            try:
                found = self._lines.feed(chunk) if chunk else self._lines.finish()
            except UnicodeDecodeError as error:
                raise CommandFailed("the input is not UTF-8 text") from error
            self._over = not chunk or self._lines.ended
            self._ready += found
            if self.interactive:
                for line in found:
                    # What was said stays to be read, among the answers.
                    click.echo(f"{CLEAR}{PROMPT}{line}\n", nl=False, color=True)
                self._draw()
        if not self._ready:
            return None
        self._count += 1
        return self._ready.pop(0)

    def show(self, line: str) -> None:
        """Write a line. It must be printable."""
        if self.interactive:
            click.echo(f"{CLEAR}{line}\n", nl=False, color=True)
            self._draw()
        else:
            click.echo(line)

    def complain(self, reason: str) -> None:
        """The line that was read last cannot be sent."""
        if self.interactive:
            self.show(f"* {reason}")
        else:
            click.echo(f"hubwire: line {self._count}: {reason}", err=True)

    def begin(self) -> None:
        """Show where to type."""
        self._draw()

    def _draw(self) -> None:
        if isinstance(self._lines, LineEditor) and not self._over:
            click.echo(self._lines.drawn(shutil.get_terminal_size().columns), nl=False, color=True)


@contextmanager
def opened() -> Iterator[Terminal]:
    """The process's own terminal or pipes, for the running event loop; put back at the end as they were."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno() if sys.stdin is not None else os.open(os.devnull, os.O_RDONLY)
    interactive = os.isatty(descriptor) and sys.stdout.isatty()
    terminal = Terminal(_Chunks(descriptor, loop), LineEditor() if interactive else LineSplitter())
    for number in _ENDING:
        loop.add_signal_handler(number, terminal.stopped.set)
    before = termios.tcgetattr(descriptor) if interactive else None
    try:
        if interactive:
            tty.setcbreak(descriptor, termios.TCSADRAIN)
        yield terminal
    finally:
        if before is not None:
            click.echo(CLEAR, nl=False, color=True)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number in _ENDING:
            loop.remove_signal_handler(number)


class _Chunks:
    """
    Bytes of a descriptor, one piece at a time.

    Regular files cannot be watched by an event loop and a blocked read cannot be cancelled; so a thread reads, and
    nobody waits for it at the end.
    """

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._wanted = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    async def next(self) -> bytes:
        """What comes next; empty at the end."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="stdin", daemon=True)
            self._thread.start()
        self._wanted.release()
        return await self._queue.get()

    def _read(self) -> None:
        chunk = b"begun"
        while chunk:
            self._wanted.acquire()
            try:
                select.select([self._descriptor], [], [])
                chunk = os.read(self._descriptor, _CHUNK_BYTES)
            except OSError:
                # A terminal that was closed.
                chunk = b""
            try:
                self._loop.call_soon_threadsafe(self._queue.put_nowait, chunk)
            except RuntimeError:
                # The conversation ended while this thread waited.
                return

"""What the HTTP server writes goes out in as few writes as there can be, in its order, and never late."""

import asyncio

from hubwire.edge.inner import RestTransport


class _Wire(asyncio.Transport):
    """Keeps each write by itself, and what the front is told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.seen.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def pause_inner(self) -> None: ...

    def resume_inner(self) -> None: ...

    def complete_inner(self) -> None: ...

    def close_inner(self) -> None:
        self.seen.append(b"closed")


async def test_head_and_body_go_out_together() -> None:
    wire = _Wire()
    transport = RestTransport(wire, wire)
    transport.write(b"head ")
    transport.write(b"body")

    assert wire.seen == [b"head body"]


async def test_what_nothing_follows_goes_out_in_the_same_turn() -> None:
    wire = _Wire()
    RestTransport(wire, wire).write(b"head")
    await asyncio.sleep(0)

    assert wire.seen == [b"head"]


async def test_long_body_is_not_copied_and_comes_behind_its_head() -> None:
    wire = _Wire()
    transport = RestTransport(wire, wire)
    body = b"x" * 100_000
    transport.write(b"head")
    transport.write(body)

    assert wire.seen == [b"head", body]


async def test_what_was_written_goes_out_before_the_end() -> None:
    """And nothing that comes after the server was cut off."""
    wire = _Wire()
    transport = RestTransport(wire, wire)
    transport.write(b"head")
    transport.close()
    transport.write(b"more")
    transport.cut()
    transport.write(b"late")
    await asyncio.sleep(0)

    assert wire.seen == [b"head", b"closed", b"more"]

"""Who calls, and a body that is read once and within bounds."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from hubwire.model.http import by_name
from hubwire.rest.call import Call, Caller, caller_of
from hubwire.rest.faults import BodyLate, BodyTooLarge

LIMIT = 10


def a_call(
    parts: Sequence[bytes] = (), headers: Sequence[tuple[str, str]] = (), idle_s: float = 30.0, *, stuck: bool = False
) -> Call:
    async def stream() -> AsyncGenerator[bytes, None]:
        for part in parts:
            yield part
        if stuck:
            await asyncio.Event().wait()

    return Call("POST", b"/", b"", by_name(headers), Caller("h", "http", None, False), stream, LIMIT, idle_s)


async def no_parts() -> AsyncGenerator[bytes, None]:
    yield b""


@pytest.mark.parametrize("parts", [(), (b"",), (b"0123456789",), (b"01234", b"", b"56789"), (b"0",) * 10])
async def test_body_within_the_limit_comes_whole(parts: tuple[bytes, ...]) -> None:
    call = a_call(parts)

    assert await call.body() == b"".join(parts)
    assert call.read_bytes == len(b"".join(parts))


async def test_body_is_there_for_everybody_who_asks() -> None:
    """Whoever vouches for it and whoever takes it apart see the same bytes."""
    call = a_call([b"01", b"23"])

    assert await call.body(4) == b"0123"
    assert await call.body() == b"0123"
    assert call.read_bytes == 4


async def test_limit_of_an_operation_counts_instead_of_all_others() -> None:
    longer, shorter = a_call([b"0" * 12]), a_call([b"0" * 3])
    longer.own_limit_bytes, shorter.own_limit_bytes = 12, 2

    assert await longer.body(4) == b"0" * 12
    with pytest.raises(BodyTooLarge):
        await shorter.body(4)


@pytest.mark.parametrize(
    ("query", "target", "expected"),
    [(b"", b"/a?", b"/a?"), (b"b=%20", b"//a?b=%20", b"//a?b=%20"), (b"b", None, b"/a?b"), (b"", None, b"/a")],
)
def test_target_is_the_one_that_came(query: bytes, target: bytes | None, expected: bytes) -> None:
    caller = Caller("h", "http", None, False)

    assert Call("GET", b"/a", query, {}, caller, no_parts, 1, 1, target).raw_target == expected


@pytest.mark.parametrize("parts", [(b"0123456789a",), (b"0",) * 11, (b"x" * 80,)])
async def test_body_over_the_limit_is_read_to_its_end_before_it_is_refused(parts: tuple[bytes, ...]) -> None:
    call = a_call(parts)

    with pytest.raises(BodyTooLarge) as caught:
        await call.body()
    assert caught.value.drained
    assert call.read_bytes == len(b"".join(parts))


async def test_body_without_an_end_is_refused_unread() -> None:
    call = a_call([b"x" * 10] * 1000)

    with pytest.raises(BodyTooLarge) as caught:
        await call.body()
    assert not caught.value.drained
    assert call.read_bytes <= 90


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "81")],
        [("content-length", "1000000000000")],
        [("content-length", "11"), ("expect", "100-Continue")],
    ],
)
async def test_body_that_announces_too_much_is_refused_before_it_is_asked_for(headers: list[tuple[str, str]]) -> None:
    call = a_call([b"x"], headers)

    with pytest.raises(BodyTooLarge) as caught:
        await call.body()
    assert not caught.value.drained
    assert call.read_bytes == 0


async def test_body_that_does_not_come_is_given_up() -> None:
    call = a_call([b"x"], idle_s=0.01, stuck=True)

    with pytest.raises(BodyLate):
        await call.body()


@pytest.mark.parametrize(
    ("headers", "much"),
    [
        ([], False),
        ([("content-length", "0")], False),
        ([("content-length", "10")], False),
        ([("content-length", "11")], True),
        ([("content-length", "x")], False),
        ([("transfer-encoding", "Chunked")], True),
    ],
)
async def test_unread_body_counts_as_much_unless_it_is_known_to_be_short(
    headers: list[tuple[str, str]], much: bool
) -> None:
    call = a_call([b"x"], headers)

    assert call.leaves_much_unread is much


async def test_nothing_is_left_once_the_body_was_read() -> None:
    call = a_call([b"x"], [("transfer-encoding", "chunked")])
    await call.body()

    assert not call.leaves_much_unread


def test_first_value_of_a_header_counts() -> None:
    call = a_call(headers=[("a", "1"), ("a", "2")])

    assert call.header("a") == "1"
    assert call.header("b") is None


@pytest.mark.parametrize("text", ["a", "a b", "x" * 256, "{'id': 1}"])
def test_request_id_that_can_be_printed_is_known(text: str) -> None:
    assert a_call(headers=[("x-ms-client-request-id", text)]).request_id == text


@pytest.mark.parametrize("text", ["", " ", "x" * 257, "a\nb", "ä", "a\x00", "a\x7f"])
def test_request_id_that_cannot_be_printed_is_none(text: str) -> None:
    assert a_call(headers=[("x-ms-client-request-id", text)]).request_id is None


def test_caller_is_whom_the_edge_found_out() -> None:
    scope = {
        "headers": [(b"host", b"inner:80")],
        "scheme": "http",
        "client": ("10.0.0.1", 1),
        "state": {"host": "hub.example", "scheme": "https", "client_ip": "192.0.2.1", "control": False},
    }

    assert caller_of(scope) == Caller("hub.example", "https", "192.0.2.1", False, sent_host="inner:80")


def test_host_that_was_sent_is_known_beside_the_one_that_counts() -> None:
    """In its own spelling, also where the HTTP server gets another one."""
    scope = {"headers": [(b"host", b"other:82")], "state": {"host": "other:82", "sent_host": "Ignored:1"}}

    caller = caller_of(scope)

    assert (caller.host, caller.sent_host) == ("other:82", "Ignored:1")


def test_caller_is_taken_at_his_word_where_the_edge_says_nothing() -> None:
    scope = {"headers": [(b"a", b"b"), (b"host", b"Hub:80")], "scheme": "https", "client": ("10.0.0.1", 1)}

    assert caller_of(scope) == Caller("Hub:80", "https", "10.0.0.1", False, sent_host="Hub:80")


def test_caller_without_a_host_used_the_address_of_the_server() -> None:
    assert caller_of({"headers": [], "server": ("127.0.0.1", 8080)}).host == "127.0.0.1:8080"
    assert caller_of({"headers": [], "server": ("::1", 8080)}).host == "[::1]:8080"
    assert caller_of({"headers": [], "server": None}).host == ""


@pytest.mark.parametrize("word", ["true", 1, None, "yes"])
def test_only_the_edges_own_true_makes_a_local_operator(word: object) -> None:
    assert not caller_of({"headers": [], "state": {"control": word}}).control
    assert caller_of({"headers": [], "state": {"control": True}}).control


@pytest.mark.parametrize(("step_s", "late"), [(20.0, False), (31.0, True), (1000.0, False)])
async def test_each_part_of_a_body_has_its_own_time(monkeypatch: pytest.MonkeyPatch, step_s: float, late: bool) -> None:
    """
    Parts may take longer together than any of them alone; the clock is ours to move. A timer that is late by far tells
    of a process that stood still, and of nobody else.
    """
    loop = asyncio.get_running_loop()
    clock = loop.time
    passed_s = 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + passed_s)

    async def stream() -> AsyncGenerator[bytes, None]:
        nonlocal passed_s
        for _ in range(5):
            passed_s += step_s
            # Timers that are due run now.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            yield b"x"

    call = Call("POST", b"/", b"", {}, Caller("h", "http", None, False), stream, LIMIT, 30.0)

    if late:
        with pytest.raises(BodyLate):
            await call.body()
    else:
        assert await call.body() == b"xxxxx"

"""Bytes of a terminal or a pipe to lines."""

import pytest

from hubwire.cli.editor import CLEAR, PROMPT, LineEditor, LineSplitter

LEFT, RIGHT, UP, DOWN, HOME, END, DELETE = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B", "\x1b[H", "\x1b[F", "\x1b[3~"


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("join a\r", ["join a"]),
        ("join a\n", ["join a"]),
        ("a\nb\nc", ["a", "b"]),
        ("abc\x7fd\r", ["abd"]),
        ("abc\x08d\r", ["abd"]),
        ("\x7f\x7fa\r", ["a"]),
        (f"bc{LEFT}{LEFT}a\r", ["abc"]),
        (f"a{LEFT}{LEFT}{LEFT}b{RIGHT}{RIGHT}{RIGHT}c\r", ["bac"]),
        (f"bc{HOME}a{END}d\r", ["abcd"]),
        ("bc\x01a\x05d\r", ["abcd"]),
        ("bc\x1b[1~a\x1b[4~d\r", ["abcd"]),
        ("bc\x1bOHa\x1bOFd\r", ["abcd"]),
        (f"abc{HOME}{DELETE}\r", ["bc"]),
        ("abc\x01\x04\r", ["bc"]),
        (f"abc{DELETE}\r", ["abc"]),
        ("send room hello\x17x\r", ["send room x"]),
        ("send room  \x17x\r", ["send x"]),
        ("word\x17x\r", ["x"]),
        (f"abcd{LEFT}{LEFT}\x15x\r", ["xcd"]),
        (f"abcd{LEFT}{LEFT}\x0bx\r", ["abx"]),
        ("a\tb\r", ["a b"]),
        ("ü漢👍\x7f\r", ["ü漢"]),
        ("a\x00\x02\x07b\r", ["ba"]),
        ("a\x1b[200~b\x1b[1;5Cc\x1bxd\r", ["abcd"]),
        (f"one\rtwo\r{UP}{UP}\r", ["one", "two", "one"]),
        (f"one\rtwo\r{UP}{UP}{UP}{DOWN}!\r", ["one", "two", "two!"]),
        (f"one\rdraft{UP}{DOWN}\r", ["one", ""]),
        (f"same\rsame\rother\r{UP}{UP}{UP}\r", ["same", "same", "other", "same"]),
    ],
)
def test_keys_make_lines(typed: str, lines: list[str]) -> None:
    """Together and byte by byte alike: a terminal may deliver a key in pieces."""
    together, apart = LineEditor(), LineEditor()

    assert together.feed(typed.encode()) == lines
    assert [line for byte in typed.encode() for line in apart.feed(bytes([byte]))] == lines


def test_ctrl_d_ends_on_an_empty_line_only() -> None:
    """Elsewhere it deletes."""
    editor = LineEditor()
    ended = []
    for keys in (b"a\x04", b"\x7f", b"\x04ignored\r"):
        assert editor.feed(keys) == []
        ended.append(editor.ended)

    assert ended == [False, False, True]
    assert editor.feed(b"ignored\r") == []


def test_line_that_was_not_finished_is_not_meant() -> None:
    """When the terminal goes away, half a line is not sent."""
    editor = LineEditor()
    editor.feed(b"send room hal")

    assert editor.finish() == []


@pytest.mark.parametrize(
    ("typed", "columns", "drawn"),
    [
        ("", 80, f"{CLEAR}{PROMPT}"),
        ("abc", 80, f"{CLEAR}{PROMPT}abc"),
        (f"abc{LEFT}{LEFT}", 80, f"{CLEAR}{PROMPT}abc\x1b[2D"),
        ("abcdefghijkl", 10, f"{CLEAR}{PROMPT}fghijkl"),
        (f"abcdefghijkl{HOME}", 10, f"{CLEAR}{PROMPT}abcdefg\x1b[7D"),
        ("漢字漢字漢字", 10, f"{CLEAR}{PROMPT}字漢字"),
        ("e\u0301" * 10, 10, f"{CLEAR}{PROMPT}" + "e\u0301" * 7),
        ("abc", 1, f"{CLEAR}{PROMPT}c"),
    ],
)
def test_line_is_drawn_in_one_row_around_its_cursor(typed: str, columns: int, drawn: str) -> None:
    """A row more would not be cleared when the next message comes; wide characters count twice."""
    editor = LineEditor()
    editor.feed(typed.encode())

    assert editor.drawn(columns) == drawn


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"\n\n", ["", ""]),
        ("ü\u2028x\x0by\n".encode(), ["ü\u2028x\x0by"]),
    ],
)
def test_bytes_of_a_pipe_make_lines(data: bytes, lines: list[str]) -> None:
    """Only LF ends a line; the pieces in which bytes come make no difference."""
    together, apart = LineSplitter(), LineSplitter()

    assert together.feed(data) + together.finish() == lines
    assert [line for byte in data for line in apart.feed(bytes([byte]))] + apart.finish() == lines


@pytest.mark.parametrize("data", [b"a\xff\n", b"a\xc3"])
def test_pipe_that_is_not_text_is_a_fault(data: bytes) -> None:
    """What is published must be what was given."""

    def split() -> list[str]:
        splitter = LineSplitter()
        return splitter.feed(data) + splitter.finish()

    with pytest.raises(UnicodeDecodeError):
        split()

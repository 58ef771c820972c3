"""
What an enemy would send: good input, damaged in the ways that parsers fall for, and texts that are hard by themselves.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

__all__ = [
    "NASTY",
    "TEXTS",
    "cut",
    "cuts",
    "damaged",
    "json_objects",
    "json_texts",
    "nested",
    "numbers",
    "strings",
    "tree",
]

NASTY: Final = (
    b"",
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xf4\x90\x80\x80",
    b"%",
    b"%00",
    b"%2F",
    b"%ff",
    b"%ed%a0%80",
    b"\\ud800",
    b'\\"',
    b"'",
    b'"',
    b",",
    b";",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"*",
    b"?",
    b"#",
    b"&",
    b"=",
    b"-1",
    b"0",
    b"00",
    b"1e999",
    b"18446744073709551616",
    b"9" * 30,
    b"9" * 5000,
    b"NaN",
    b"Infinity",
    b"null",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 7\r\n",
    b"Content-Length : 7\r\n",
    b" folded\r\n",
    b"Host: other\r\n",
    b"Upgrade: websocket\r\n",
    b"Connection: upgrade\r\n",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
"""What is put into good input."""

TEXTS: Final = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from("aZ0 .*?'\"\\%\0\r\n\x1b\x7f\x85é\u0130\u202e\ufeff\ud800\udfff\U0001f600"), max_size=20),
    st.sampled_from([piece.decode("latin-1") for piece in NASTY]),
    st.sampled_from(["a" * 1024, "a" * 1025, "é" * 1024, " ", "\u3000", "\u0130", "\U0001f600", "\ud800", "\0"]),
)

_Damage = Callable[[bytes], bytes]


def damaged(good: st.SearchStrategy[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    """Good input, with none to `most` damages done to it."""
    return st.builds(_apply, good, st.lists(_damages(good), max_size=most))


def _apply(data: bytes, damages: Sequence[_Damage]) -> bytes:
    for damage in damages:
        data = damage(data)
    return data


def _damages(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[_Damage]:
    place = st.floats(0, 1)
    return st.one_of(
        st.builds(_flip, place, st.integers(1, 255)),
        st.builds(_insert, place, st.sampled_from(NASTY) | st.binary(max_size=8)),
        st.builds(_remove, place, st.integers(1, 40)),
        st.builds(_truncate, place),
        st.builds(_repeat, place, st.integers(1, 40), st.sampled_from([1, 2, 3, 50])),
        st.builds(_splice, place, good, place),
    )


def _flip(place: float, bits: int) -> _Damage:
    def damage(data: bytes) -> bytes:
        if not data:
            return data
        at = _at(data, place) % len(data)
        return data[:at] + bytes((data[at] ^ bits,)) + data[at + 1 :]

    return damage


def _insert(place: float, piece: bytes) -> _Damage:
    return lambda data: data[: _at(data, place)] + piece + data[_at(data, place) :]


def _remove(place: float, count: int) -> _Damage:
    return lambda data: data[: _at(data, place)] + data[_at(data, place) + count :]


def _truncate(place: float) -> _Damage:
    return lambda data: data[: _at(data, place)]


def _repeat(place: float, count: int, times: int) -> _Damage:
    def damage(data: bytes) -> bytes:
        at = _at(data, place)
        return data[: at + count] + data[at : at + count] * times + data[at + count :]

    return damage


def _splice(place: float, other: bytes, from_place: float) -> _Damage:
    return lambda data: data[: _at(data, place)] + other[_at(other, from_place) :]


def _at(data: bytes, place: float) -> int:
    return int(place * len(data))


# How the network cuts a stream.

cuts: Final = st.one_of(
    st.just([1]),
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.lists(st.integers(1, 5000), min_size=1, max_size=5),
)
"""Sizes of pieces, over and over."""


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """`data` in pieces of these sizes."""
    pieces: list[bytes] = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
        turn += 1
    return pieces


# JSON.


def nested(depth: int, kind: str) -> str:
    """A value inside of so many arrays or objects."""
    return "[" * depth + "]" * depth if kind == "[" else '{"a":' * depth + "1" + "}" * depth


def _object(items: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}: {value}" for name, value in items) + "}"


numbers = st.sampled_from(
    ["0", "-0", "1", "-1", "1.5", "1e5", "1e400", "-1e400", "18446744073709551615", "18446744073709551616", "9" * 400]
)
strings = st.one_of(
    TEXTS.map(json.dumps),
    st.sampled_from(
        ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\x"', '"\t"', '"AAAA"', '"AB=="']
    ),
)
_scalars = numbers | strings | st.sampled_from(["true", "false", "null", "NaN", "-Infinity", ""])
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(strings, inner), max_size=3).map(_object),
    ),
    max_leaves=6,
)
_deep = st.builds(nested, st.sampled_from([100, 900, 980, 1000, 1020, 5000, 60_000]), st.sampled_from("[{"))

json_texts: Final = _values | _deep
"""Single values, hard ones among them."""


def json_objects(properties: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[bytes]:
    """Objects of which most properties are there and good, in any order; and now and then a stranger, or one twice."""
    # A property that is left out is None. The good value comes often, or hardly any object would be good as a whole.
    items = [_mostly(st.tuples(st.just(json.dumps(name)), value)) for name, value in properties.items()]
    names = st.sampled_from([json.dumps(name) for name in properties]) | strings
    strangers = st.lists(st.tuples(names, json_texts), max_size=1)
    return st.builds(_mixed, st.tuples(*items), _mostly_nothing(strangers), st.randoms(use_true_random=False)).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )


def _mostly(good: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str] | None]:
    return st.integers(0, 15).flatmap(lambda chance: good if chance else st.none())


def _mostly_nothing(
    strangers: st.SearchStrategy[list[tuple[str, str]]],
) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.integers(0, 4).flatmap(lambda chance: st.just([]) if chance else strangers)


def _mixed(items: Sequence[tuple[str, str] | None], strangers: Sequence[tuple[str, str]], chance: Random) -> str:
    chosen = [item for item in (*items, *strangers) if item is not None]
    chance.shuffle(chosen)
    return _object(chosen)


def tree(depth: int) -> Any:
    """An object of Python so deep."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value

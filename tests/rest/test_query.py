"""Queries to values: strict, without case in names, never guessing."""

import pytest

from hubwire.model.errors import BadRequest
from hubwire.rest.query import QueryString


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ()),
        (b"a=1", ("1",)),
        (b"A=1&a=2", ("1", "2")),
        (b"a", ("",)),
        (b"a=", ("",)),
        (b"&&a=1&", ("1",)),
        (b"a=1,2", ("1,2",)),
        (b"a=%20x%20", (" x ",)),
        (b"a=x+y%2Bz", ("x y+z",)),
        (b"a=%252F", ("%2F",)),
        (b"a=b=c", ("b=c",)),
        (b"%61=1", ("1",)),
        (b"a=%C3%A4", ("ä",)),
        (b"b=1", ()),
    ],
)
def test_values_come_exactly_as_sent(raw: bytes, expected: tuple[str, ...]) -> None:
    assert QueryString(raw).all("a") == expected


@pytest.mark.parametrize("raw", [b"a=%", b"a=%2", b"a=%gg", b"a=%FF", b"%=1", b"other=%C3&a=1"])
def test_query_that_does_not_decode_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        QueryString(raw)

    assert caught.value.target == "query"


def test_value_that_may_come_once_is_refused_when_it_comes_twice_under_either_name() -> None:
    assert QueryString(b"clientType=x").one("clientType", "clientProtocol") == "x"
    assert QueryString(b"clientProtocol=x").one("clientType", "clientProtocol") == "x"
    assert QueryString(b"").one("clientType") is None
    for raw in (b"clientType=x&clientType=x", b"clientType=x&clientProtocol=y"):
        with pytest.raises(BadRequest) as caught:
            QueryString(raw).one("clientType", "clientProtocol")
        assert caught.value.target == "clientType"


@pytest.mark.parametrize(("raw", "expected"), [(b"", None), (b"n=0", 0), (b"n=300", 300), (b"n=007", 7), (b"N=5", 5)])
def test_number_in_its_range_is_taken(raw: bytes, expected: int | None) -> None:
    assert QueryString(raw).number("n", 0, 300) == expected


@pytest.mark.parametrize(
    "text",
    ["", "%20", "-1", "301", "+5", "%2B5", "5%20", "1.0", "1e2", "0x10", "1_0", "abc", "%D9%A3", "9" * 5000, "5&n=5"],
)
def test_anything_else_than_a_number_in_its_range_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        QueryString(f"n={text}".encode()).number("n", 0, 300)

    assert caught.value.target == "n"

"""Web pages of other origins: nobody until origins are named."""

import pytest

from hubwire.rest.cors import Cors


def test_without_origins_nothing_is_said() -> None:
    cors = Cors(())

    assert not cors.allows("https://app.example")
    assert cors.answer("https://app.example") == ()


def test_named_origin_is_mirrored_and_others_are_not() -> None:
    cors = Cors(["https://app.example/", "http://localhost:3000"])

    assert dict(cors.answer("https://App.example"))["access-control-allow-origin"] == "https://App.example"
    for origin in ("https://app.example.evil", "http://app.example", "null", None):
        assert not cors.allows(origin)
        assert cors.answer(origin) == (("vary", "Origin"),)


def test_any_origin_is_answered_with_a_star() -> None:
    headers = dict(Cors(["*"]).answer("https://whoever.example"))

    assert headers["access-control-allow-origin"] == "*"
    assert "vary" not in headers
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("asked", ["", "x\r\nset-cookie: a", "ä", "a" * 3000])
def test_preflight_repeats_no_odd_list_of_headers(asked: str) -> None:
    assert "access-control-allow-headers" not in dict(Cors(["*"]).preflight(["PUT"], asked))


def test_preflight_allows_the_methods_of_the_path_and_the_headers_asked_for() -> None:
    headers = dict(Cors(["*"]).preflight(["DELETE", "PUT"], "authorization, content-type"))

    assert headers["access-control-allow-methods"] == "DELETE, PUT"
    assert headers["access-control-allow-headers"] == "authorization, content-type"

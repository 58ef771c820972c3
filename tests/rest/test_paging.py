"""Continuation tokens belong to one list, and links say what is left."""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from hubwire.model.errors import BadRequest
from hubwire.model.names import HubKey
from hubwire.model.targets import Target, to_group, to_user
from hubwire.rest.paging import continuation, next_link, position

HUB = HubKey("default", "chat")
GROUP = to_group(HUB, "room")


@pytest.mark.parametrize("after", ["c1", "0123456789abcdef" * 4, "ä🐙", "a b+c/d=e", "\0"])
def test_token_brings_its_position_back_and_survives_a_url(after: str) -> None:
    token = continuation(GROUP, after)

    assert position(GROUP, token) == after
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)


@pytest.mark.parametrize(
    "other",
    [
        to_group(HUB, "Room"),
        to_group(HubKey("default", "other"), "room"),
        to_group(HubKey("second", "chat"), "room"),
        to_user(HUB, "room"),
    ],
)
def test_token_of_another_list_is_refused(other: Target) -> None:
    with pytest.raises(BadRequest) as caught:
        position(other, continuation(GROUP, "c1"))

    assert caught.value.target == "continuationToken"


def test_token_that_was_changed_anywhere_is_refused() -> None:
    token = continuation(GROUP, "connection-1")
    for place in range(len(token)):
        damaged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(BadRequest):
            position(GROUP, damaged)


@pytest.mark.parametrize("text", ["", "=", "x", "!!!!", "ä", " ", "AAAA", "A" * 22, "a" * 5000])
def test_text_that_was_never_a_token_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        position(GROUP, text)


@pytest.mark.parametrize(
    "change", [lambda t: t + "=", lambda t: t + "==", lambda t: t[:-1], lambda t: t + "A", lambda t: " " + t]
)
def test_token_with_something_added_or_lost_is_refused(change: Callable[[str], str]) -> None:
    for after in ("c", "cc", "ccc"):
        with pytest.raises(BadRequest):
            position(GROUP, change(continuation(GROUP, after)))


def test_link_is_absolute_and_names_everything_that_the_next_page_needs() -> None:
    link = next_link(
        "https://hub.example:8443", "Chat", "a/b ü", api_version="2024-12-01", page_size=2, top=3, token="tok-en_1"
    )

    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}" == "https://hub.example:8443"
    assert parts.path == "/api/hubs/Chat/groups/a%2Fb%20%C3%BC/connections"
    assert parse_qs(parts.query) == {
        "api-version": ["2024-12-01"],
        "maxpagesize": ["2"],
        "top": ["3"],
        "continuationToken": ["tok-en_1"],
    }


def test_link_without_an_end_names_no_top() -> None:
    link = next_link("http://h", "h", "g", api_version="2024-12-01", page_size=200, top=None, token="t")

    assert "top" not in parse_qs(urlsplit(link).query)

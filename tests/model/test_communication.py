"""Communication services, as values."""

import re

import pytest

from hubwire.model.communication import CommunicationKeys, CommunicationService, communication_connection_string

KEY = "c2VjcmV0LXRoYXQtbm9ib2R5LWVsc2UtaGFzLWFuZC1tb3Jl+/=="


@pytest.mark.parametrize("endpoint", ["https://localhost:8443", "https://localhost:8443/"])
def test_connection_string_is_the_one_that_the_official_clients_read(endpoint: str) -> None:
    """The one of JavaScript is an expression whose last part is greedy; Python's splits at semicolons."""
    text = communication_connection_string(endpoint, KEY)

    assert text == f"endpoint=https://localhost:8443/;accesskey={KEY}"
    greedy = re.match(r"endpoint=(.*);accesskey=(.*)", text, re.IGNORECASE)
    assert greedy is not None
    assert greedy.groups() == ("https://localhost:8443/", KEY)
    assert dict(part.split("=", 1) for part in text.split(";")) == {
        "endpoint": "https://localhost:8443/",
        "accesskey": KEY,
    }


def test_keys_say_how_often_each_was_made_anew_and_never_what_they_are() -> None:
    keys = CommunicationKeys(KEY, KEY[::-1], 3)

    assert (keys.generation("primary"), keys.generation("secondary")) == (3, 1)
    shown = repr(CommunicationService("default", "0" * 8, "local", "United States", keys))
    assert KEY not in shown
    assert KEY[::-1] not in shown

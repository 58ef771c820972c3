"""Warnings as a header that any client can read, whatever names are in them."""

import pytest

from hubwire.rest.management_calls import warning_headers


def test_no_warnings_are_no_header() -> None:
    assert warning_headers([]) == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("systemEvnts", "systemEvnts"),
        ('a"b', "a'b"),
        ("a\r\nx-more: 1", "a\\r\\nx-more: 1"),
        ("a\0\x7f", "a\\x00\\x7f"),
        ("\u00e9\u65e5\U0001f600\ud800", "\\xe9\\u65e5\\U0001f600\\ud800"),
        ("http://h/{\u2026}", "http://h/{...}"),
    ],
)
def test_names_in_warnings_stay_in_the_quotes_of_one_header(name: str, told: str) -> None:
    assert warning_headers([f"{name} is unknown", "x"]) == (("warning", f'199 - "{told} is unknown", 199 - "x"'),)


def test_long_warnings_are_cut_and_many_are_counted() -> None:
    """Common clients refuse a header of more than 8,190 bytes."""
    ((_, told),) = warning_headers(["\u65e5" * 9000] * 50)

    assert told.count("...") == 14
    assert told.endswith(', 199 - "and 36 more"')
    assert len(told) < 8190

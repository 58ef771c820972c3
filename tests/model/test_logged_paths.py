"""Paths in the log: what is left of the users and tokens in them."""

import pytest

from hubwire.model.logged_paths import logged_path, logged_root

SERVICE = "2dee53b4-368b-45d4-ab52-8493fb117652"
END = "5a3a0d000081"
USER = f"8:acs:{SERVICE}_00000005-14a2-493b-8a72-{END}"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJza3lwZWlkIjoiYWNzOjEifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("raw_path", "shown"),
    [
        ("/api/hubs/chat/:send", "/api/hubs/chat/:send"),
        ("/api/hubs/chat/users/tenant%2Falice", "/api/hubs/chat/users/tenant%2Falice"),
        ("/a%00b/%zz/%ff", "/a%00b/%zz/%ff"),
        ("", ""),
        ("//", "//"),
    ],
)
def test_path_stands_there_as_it_came(raw_path: str, shown: str) -> None:
    assert logged_path(raw_path.encode()) == shown


def test_what_cannot_be_printed_is_replaced() -> None:
    assert logged_path(b"/a\x01b\xff") == "/a?b\\xff"
    assert logged_path(b"/" + b"a" * 100_000) == "/" + "a" * 2047


@pytest.mark.parametrize(
    "written",
    [
        USER,
        USER.upper(),
        USER.replace(":", "%3A"),
        USER.replace(":", "%3a").replace("8", "%38").replace("_", "%5F"),
        USER.replace(":", "%253A"),
        f"x%2F{USER}",
        USER.replace("8:acs:", "8:orgid:"),
    ],
)
@pytest.mark.parametrize("place", ["/base/identities/{}/:issueAccessToken", "/api/hubs/chat/users/{}", "/{}"])
def test_of_a_user_the_end_is_left(place: str, written: str) -> None:
    """However and wherever it is written."""
    shown = logged_path(place.format(written).encode())

    assert shown.lower() == place.format(f"…{END}").lower()
    assert SERVICE[:8] not in shown


@pytest.mark.parametrize("written", [TOKEN, TOKEN.replace("e", "%65"), f"token={TOKEN}"])
def test_of_a_token_nothing_is_left(written: str) -> None:
    assert logged_path(f"/introspect/{written}/x".encode()) == "/introspect/…/x"


def test_short_text_that_looks_like_a_user_is_cut_as_a_whole() -> None:
    assert logged_path(b"/x/8:acs:secret") == "/x/…"


@pytest.mark.parametrize(
    ("raw_path", "shown"),
    [("/control/users/alice", "/control/…"), ("//control//", "/control/…"), (f"/{USER}/x", f"/…{END}/…"), ("/", "//…")],
)
def test_of_a_path_that_names_persons_the_root_is_left(raw_path: str, shown: str) -> None:
    assert logged_root(raw_path.encode()) == shown

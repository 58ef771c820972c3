"""Paths stay raw until they are split, and a verb is only a verb where one stands."""

import pytest

from hubwire.model.errors import BadRequest
from hubwire.rest.routing import Routes, segments

ROUTES = Routes(
    [
        ("HEAD", "/api/hubs/{hub}/groups/{group}", "exists"),
        ("POST", "/api/hubs/{hub}/groups/{group}/:send", "send"),
        ("GET", "/api/hubs/{hub}/groups/{group}/connections", "list"),
        ("PUT", "/api/hubs/{hub}/groups/{group}/connections/{id}", "add"),
        ("DELETE", "/api/hubs/{hub}/groups/{group}/connections/{id}", "remove"),
    ]
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", ()),
        (b"", ()),
        (b"*", ("*",)),
        (b"/a/b", ("a", "b")),
        (b"//a///b/", ("a", "b")),
        (b"/a%2Fb/c", ("a/b", "c")),
        (b"/a%2fb", ("a/b",)),
        (b"/a%252Fb", ("a%2Fb",)),
        (b"/a+b", ("a+b",)),
        (b"/a%20b", ("a b",)),
        (b"/%3Asend", (":send",)),
        (b"/../.", ("..", ".")),
        (b"/%00", ("\0",)),
        (b"/%C3%A4%F0%9F%90%99", ("ä🐙",)),
        ("/ä".encode(), ("ä",)),
    ],
)
def test_path_is_split_before_each_segment_is_decoded_once(raw: bytes, expected: tuple[str, ...]) -> None:
    assert segments(raw) == expected


@pytest.mark.parametrize("raw", [b"/a%", b"/a%2", b"/a%zz", b"/%", b"/%FF", b"/%C3", b"/%ED%A0%80", b"/\xff", b"/%%41"])
def test_path_that_does_not_decode_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        segments(raw)

    assert caught.value.target == "path"


@pytest.mark.parametrize(
    ("raw", "rows", "names"),
    [
        (b"/api/hubs/h/groups/g", {"HEAD": "exists"}, {"hub": "h", "group": "g"}),
        (b"/api/hubs/h/groups/g/:send", {"POST": "send"}, {"hub": "h", "group": "g"}),
        (b"/api/hubs/h/groups/g/%3Asend", {"POST": "send"}, {"hub": "h", "group": "g"}),
        (b"/api/hubs/h/groups/:send/:send", {"POST": "send"}, {"hub": "h", "group": ":send"}),
        (b"/api/hubs/h/groups/connections/connections", {"GET": "list"}, {"hub": "h", "group": "connections"}),
        (b"//api//hubs/h/groups//g/", {"HEAD": "exists"}, {"hub": "h", "group": "g"}),
        (
            b"/api/hubs/h/groups/x%2Fy/connections/%3Asend",
            {"PUT": "add", "DELETE": "remove"},
            {"hub": "h", "group": "x/y", "id": ":send"},
        ),
    ],
)
def test_match_gives_the_rows_of_a_path_and_what_its_places_name(
    raw: bytes, rows: dict[str, str], names: dict[str, str]
) -> None:
    match = ROUTES.match(raw)

    assert match is not None
    assert match.rows == rows
    assert match.names == names


@pytest.mark.parametrize(
    "raw",
    [
        b"/",
        b"/api",
        b"/api/hubs/h",
        b"/api/hubs/h/groups",
        b"/API/hubs/h/groups/g",
        b"/api/hubs/h/groups/g/:close",
        b"/api%2Fhubs/h/groups/g",
        b"/api/hubs/h/groups/g/connections/c/more",
    ],
)
def test_match_is_nothing_for_other_paths(raw: bytes) -> None:
    assert ROUTES.match(raw) is None


def test_operation_that_is_listed_twice_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        Routes([("GET", "/a/{b}", 1), ("GET", "/a/{b}", 2)])


def test_place_that_has_two_names_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        Routes([("GET", "/a/{b}", 1), ("GET", "/a/{c}/d", 2)])


# Paths without letter case


FOLDED = Routes(
    [
        ("GET", "/subscriptions/{subscription}/resourceGroups/{group}", "group"),
        ("PUT", "/Subscriptions/{subscription}/RESOURCEGROUPS/{group}", "put group"),
        ("GET", "/subscriptions/{subscription}/resourceGroups/{group}/providers/A/webPubSub/{name}", "one"),
    ],
    fold=True,
)


@pytest.mark.parametrize(
    ("raw", "rows", "names"),
    [
        (
            b"/SUBSCRIPTIONS/S/resourcegroups/G",
            {"GET": "group", "PUT": "put group"},
            {"subscription": "S", "group": "G"},
        ),
        (
            b"//subscriptions/s/ResourceGroups/resourceGroups/",
            {"GET": "group", "PUT": "put group"},
            {"subscription": "s", "group": "resourceGroups"},
        ),
        (
            b"/subscriptions/s/resourcegroups/g/PROVIDERS/a//WEBPUBSUB/Wps%2dOne",
            {"GET": "one"},
            {"subscription": "s", "group": "g", "name": "Wps-One"},
        ),
        (
            b"/subscriptions/s/resource%47roups/g",
            {"GET": "group", "PUT": "put group"},
            {"subscription": "s", "group": "g"},
        ),
    ],
)
def test_folded_table_takes_any_letter_case_and_leaves_names_as_they_are(
    raw: bytes, rows: dict[str, str], names: dict[str, str]
) -> None:
    match = FOLDED.match(raw)

    assert match is not None
    assert (match.rows, match.names) == (rows, names)


@pytest.mark.parametrize("raw", [b"/subscription/s", b"/subscriptions", b"/subscriptions/s/resourceGroups", b"/"])
def test_folded_table_leads_nowhere_else(raw: bytes) -> None:
    assert FOLDED.match(raw) is None


def test_table_that_is_not_folded_goes_by_letter_case() -> None:
    assert ROUTES.match(b"/API/hubs/h/groups/g") is None


def test_operation_in_another_letter_case_is_the_same_one() -> None:
    with pytest.raises(AssertionError, match="listed twice"):
        Routes([("GET", "/a/B", 1), ("GET", "/A/b", 2)], fold=True)

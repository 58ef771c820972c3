"""Connection strings and signed calls."""

import time

import jwt
import pytest
from yarl import URL

from hubwire.cli.access import ConnectionString, bearer, doubtful_roles, parse_connection_string
from hubwire.cli.faults import BadCommandLine

KEY = "k=" + "x" * 40


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (f"Endpoint=http://localhost:8080;AccessKey={KEY};Version=1.0;", "http://localhost:8080"),
        (f"accesskey={KEY};endpoint=http://localhost:8080/", "http://localhost:8080"),
        (f" Endpoint = http://localhost ; Port=9090; AccessKey={KEY}; New=thing;;", "http://localhost:9090"),
        (f"Endpoint=example.com;AccessKey={KEY}", "https://example.com"),
        (f"Endpoint=http://[::1]:8080;AccessKey={KEY}", "http://[::1]:8080"),
        (f"Endpoint=https://example.com/base/;AccessKey={KEY}", "https://example.com/base"),
    ],
)
def test_connection_string_is_read_as_server_sdks_do(text: str, endpoint: str) -> None:
    """Names in any case and order; a value may hold an equals sign; unknown names are somebody else's."""
    assert parse_connection_string(text) == ConnectionString(endpoint, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"AccessKey={KEY}",
        "Endpoint=http://localhost",
        f"Endpoint=http://;AccessKey={KEY}",
        f"Endpoint=http://localhost;AccessKey={KEY};Port=http",
        f"Endpoint=http://localhost;AccessKey={KEY};Port=99999",
        f"Endpoint=http://[::1;AccessKey={KEY}",
    ],
)
def test_connection_string_that_cannot_be_used_is_not_quoted(text: str) -> None:
    """It may hold a key."""
    with pytest.raises(BadCommandLine) as caught:
        parse_connection_string(text)

    assert KEY not in str(caught.value)


def test_connection_string_does_not_show_its_key() -> None:
    """Not in a traceback either."""
    assert KEY not in repr(ConnectionString("http://localhost", KEY))


def test_bearer_proves_one_url_for_a_minute() -> None:
    """Signed with the key's own bytes; the audience is the URL as it is sent."""
    url = URL("http://localhost:8080/api/hubs/chat/groups/a%2Fb/:send?filter=x%20y", encoded=True)
    before = int(time.time())

    scheme, token = bearer(url, KEY)["Authorization"].split(" ")
    claims = jwt.decode(token, KEY, algorithms=["HS256"], audience=str(url))

    assert scheme == "Bearer"
    assert claims.keys() == {"aud", "exp"}
    assert before + 60 <= claims["exp"] <= int(time.time()) + 60


@pytest.mark.parametrize(
    "role",
    [
        "webpubsub.joinLeaveGroup",
        "webpubsub.sendToGroup",
        "webpubsub.sendToGroup.room",
        "webpubsub.joinLeaveGroup.a.b",
        "webpubsub.sendToGroups.team.*",
        "webpubsub.joinLeaveGroups.**",
    ],
)
def test_role_that_allows_something_is_not_doubted(role: str) -> None:
    """For all groups, for one, and for a pattern."""
    assert doubtful_roles((role,)) == []


@pytest.mark.parametrize(
    ("role", "meant"),
    [
        ("sendToGroup", "webpubsub.sendToGroup"),
        ("joinLeaveGroup.room", "webpubsub.joinLeaveGroup.room"),
        ("webpubsub.sendtogroup", "webpubsub.sendToGroup"),
        ("webpubsb.sendToGroup.a.b", "webpubsub.sendToGroup.a.b"),
        ("webpubsub.joinGroup", "webpubsub.joinLeaveGroup"),
        ("webpubsub.sendToGroups", "webpubsub.sendToGroup"),
        ("webpubsub.sendToGroup.", "webpubsub.sendToGroup"),
        ("SendToGroups.team.*", "webpubsub.sendToGroups.team.*"),
        ("admin", None),
        ("webpubsub.", None),
        ("", None),
        ("webpubsub.sendToGroups.*.*.*.*.*.*", None),
    ],
)
def test_role_that_allows_nothing_is_told_with_the_nearest_one(role: str, meant: str | None) -> None:
    """One line each; those beside it are not doubted for that."""
    hint = f"; did you mean {meant}?" if meant else ""

    assert doubtful_roles(("webpubsub.sendToGroup", role)) == [f"'{role}' is no role that this server knows{hint}"]


def test_doubt_about_a_role_can_be_shown_as_it_is() -> None:
    """It may hold anything."""
    assert all(line.isprintable() for line in doubtful_roles(("sendToGroup.\x1b[2J", "\n")))

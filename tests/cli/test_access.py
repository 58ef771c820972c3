"""Connection strings and signed calls."""

import time

import jwt
import pytest
from yarl import URL

from hubwire.cli.access import ConnectionString, bearer, parse_connection_string
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

"""Where clients find this server."""

import pytest

from hubwire.model.errors import BadRequest
from hubwire.rest.audience import base_url, client_url, known_client_type
from hubwire.rest.call import Caller


def caller(host: str, scheme: str = "http", *, control: bool = False) -> Caller:
    return Caller(host, scheme, None, control)


def test_public_endpoint_goes_before_everything_else() -> None:
    assert base_url(caller("x", control=True), "https://hub.example/", "http://own") == "https://hub.example"
    assert base_url(caller("x"), "https://hub.example/base/", "http://own") == "https://hub.example/base"


def test_caller_is_answered_under_the_authority_that_it_used() -> None:
    assert base_url(caller("Hub.example:8443", "https"), None, "http://own") == "https://Hub.example:8443"
    assert base_url(caller("[::1]:8080"), None, "http://own") == "http://[::1]:8080"


def test_local_operator_is_told_the_servers_own_endpoint() -> None:
    assert base_url(caller("localhost", control=True), None, "http://localhost:8080") == "http://localhost:8080"


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a?b", "user@a", "a:b", "a:123456", "[::1", "é", "a\r\nb", "a#b"])
def test_host_that_is_none_is_mirrored_nowhere(host: str) -> None:
    with pytest.raises(BadRequest) as caught:
        base_url(caller(host), None, "http://own")

    assert caught.value.target == "Host"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (None, "/client/hubs/"),
        ("Default", "/client/hubs/"),
        ("MQTT", "/clients/mqtt/hubs/"),
        ("mqtt", "/clients/mqtt/hubs/"),
        ("SocketIO", "/clients/socketio/hubs/"),
        ("socketio", "/clients/socketio/hubs/"),
    ],
)
def test_client_type_chooses_the_path(text: str | None, path: str) -> None:
    assert client_url("http://h", known_client_type(text), "Chat`,.[]") == f"http://h{path}Chat%60%2C.%5B%5D"


@pytest.mark.parametrize("text", ["", "tcp", "Default ", "default,mqtt"])
def test_unknown_client_type_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        known_client_type(text)

    assert caught.value.target == "clientType"

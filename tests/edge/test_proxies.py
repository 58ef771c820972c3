"""Whose word about the client is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.edge.proxies import TrustedProxies, peer_address

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "::1"])
DIRECT = ("http", "h:80")


def resolve(peer: str, *headers: tuple[str, str]) -> tuple[str, str, str]:
    return PROXIES.resolve(peer, headers, *DIRECT)


def test_stranger_is_not_believed() -> None:
    lies = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=1.2.3.4;host=evil")]

    assert resolve("192.0.2.2", *lies) == ("192.0.2.2", *DIRECT)
    assert resolve("", *lies) == ("", *DIRECT)


def test_nobody_is_trusted_by_default() -> None:
    assert not TrustedProxies(()).trusts("127.0.0.1")
    assert not TrustedProxies(()).trusts("")


def test_trusted_proxy_speaks_for_its_client() -> None:
    said = resolve(
        "10.1.2.3",
        ("x-forwarded-for", "203.0.113.7"),
        ("X-Forwarded-Proto", "HTTPS"),
        ("X-FORWARDED-HOST", "Chat.Example:444"),
    )

    assert said == ("203.0.113.7", "https", "chat.example:444")


def test_proxy_that_says_nothing_is_the_client() -> None:
    assert resolve("10.1.2.3") == ("10.1.2.3", *DIRECT)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (["6.6.6.6, 203.0.113.7, 192.0.2.1, 10.9.9.9"], "203.0.113.7"),
        (["6.6.6.6", "203.0.113.7", "10.9.9.9"], "203.0.113.7"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (["203.0.113.7:5555"], "203.0.113.7"),
        (["2001:DB8::7"], "2001:db8::7"),
        (["[2001:db8::7]:5555"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["garbage, 203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, garbage"], "10.1.2.3"),
        (["203.0.113.7, unknown, 10.0.0.2"], "10.1.2.3"),
        (["203.0.113.999"], "10.1.2.3"),
        (["203.0.113.7;"], "10.1.2.3"),
        ([" , "], "10.1.2.3"),
        ([""], "10.1.2.3"),
    ],
)
def test_client_is_the_last_address_that_is_no_proxy_of_ours(lines: list[str], client: str) -> None:
    assert resolve("10.1.2.3", *[("X-Forwarded-For", line) for line in lines])[0] == client


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("https", "https"), ("wss", "https"), ("ws", "http"), ("http, https", "https"), ("ftp", "http"), ("", "http")],
)
def test_forwarded_scheme(value: str, scheme: str) -> None:
    assert resolve("::1", ("X-Forwarded-Proto", value))[1] == scheme


@pytest.mark.parametrize(
    ("value", "host"),
    [("Name", "name"), ("a, b:1", "b:1"), ("[::2]:1", "[::2]:1"), ("a b", "h:80"), ("u@b", "h:80"), ("", "h:80")],
)
def test_forwarded_host(value: str, host: str) -> None:
    assert resolve("::1", ("X-Forwarded-Host", value))[2] == host


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["for=203.0.113.7;proto=https;host=Name"], ("203.0.113.7", "https", "name")),
        (['For="[2001:db8::7]:4711" ; Proto=https'], ("2001:db8::7", "https", "h:80")),
        (['for=203.0.113.7:1;host="name:8080"'], ("203.0.113.7", "http", "name:8080")),
        (["for=203.0.113.7;host=name:8080"], ("203.0.113.7", "http", "name:8080")),
        (['for="\\2\\03.0.113.7"'], ("203.0.113.7", *DIRECT)),
        (["for=6.6.6.6;host=evil, for=203.0.113.7;host=name, for=10.0.0.1;host=x"], ("203.0.113.7", "http", "name")),
        (["for=203.0.113.7;host=name", "for=10.0.0.1;host=x"], ("203.0.113.7", "http", "name")),
        (["for=10.0.0.1;proto=https, for=10.0.0.2"], ("10.0.0.1", "https", "h:80")),
        (["for=unknown;proto=https"], ("10.1.2.3", "https", "h:80")),
        (["for=_hidden"], ("10.1.2.3", *DIRECT)),
        (['for="203.0.113.7'], ("10.1.2.3", *DIRECT)),
        (["for=203.0.113.7;;"], ("10.1.2.3", *DIRECT)),
        (["for"], ("10.1.2.3", *DIRECT)),
        ([""], ("10.1.2.3", *DIRECT)),
    ],
)
def test_standard_header_is_read_where_the_others_are_absent(lines: list[str], said: tuple[str, str, str]) -> None:
    assert resolve("10.1.2.3", *[("Forwarded", line) for line in lines]) == said


def test_standard_header_is_ignored_next_to_the_others() -> None:
    """It may be the client's own, passed on by a proxy that does not know it."""
    said = resolve("10.1.2.3", ("Forwarded", "for=6.6.6.6;host=evil"), ("X-Forwarded-For", "203.0.113.7"))

    assert said == ("203.0.113.7", *DIRECT)


@pytest.mark.parametrize("entry", ["", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1:80", "[::1]"])
def test_entry_that_is_no_address_or_network_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="trusted proxy") as caught:
        TrustedProxies(["10.0.0.1", entry])

    assert repr(entry) in str(caught.value)


@pytest.mark.parametrize(
    ("peername", "address"),
    [
        (("192.0.2.9", 1234), "192.0.2.9"),
        (("::1", 1234, 0, 0), "::1"),
        (("::ffff:192.0.2.9", 1234, 0, 0), "192.0.2.9"),
        (("fe80::1%eth0", 1234, 0, 2), "fe80::1"),
        ("", ""),
        (b"", ""),
        (None, ""),
        ((), ""),
    ],
)
def test_address_of_a_peer(peername: object, address: str) -> None:
    assert peer_address(peername) == address


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]),
            st.text() | st.text('for=pt;,"\\[]:1. ', max_size=60),
        )
    )
)
def test_any_headers_have_a_meaning(headers: list[tuple[str, str]]) -> None:
    client, scheme, host = PROXIES.resolve("10.0.0.1", headers, *DIRECT)

    assert peer_address((client, 0)) == client
    assert client
    assert scheme in {"http", "https"}
    assert host

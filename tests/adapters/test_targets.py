"""Which addresses event handlers may have. That connections obey is seen in `test_webhook_http`."""

import socket

import pytest

from hubwire.adapters.targets import GuardedResolver, RefusedTarget, TargetGuard

ANYBODY = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "192.168.1.1",
    "169.253.255.255",
    "169.255.0.0",
    "100.64.0.1",
    "8.8.8.8",
    "223.255.255.255",
    "255.255.255.254",
    "::1",
    "fd00::1",
    "fe7f::1",
    "fec0::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
]
LINK_LOCAL = [
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "fe80::1",
    "fe80::a9fe:a9fe%eth0",
    "fe80::1%25eth0",
    "febf:ffff::1",
    "::ffff:169.254.169.254",
    "::FFFF:A9FE:A9FE",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
]
NOBODY = [
    "0.0.0.0",
    "0.0.0.1",
    "::",
    "::ffff:0.0.0.0",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "ff02::1",
    "::ffff:255.255.255.255",
]
NO_ADDRESS = ["", "localhost", "2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1", "1.2.3.4.5", "::1::", "[::1]"]


def guard(*networks: str, own: tuple[tuple[str, int], ...] = ()) -> TargetGuard:
    return TargetGuard(lambda: own, networks)


def allowed(guard: TargetGuard, *addresses: str, port: int = 80) -> list[str]:
    return [address for address in addresses if guard.refusal(address, port) is None]


# By default.


def test_everything_is_allowed_that_is_an_address_of_a_machine_and_not_link_local_or_of_a_cloud() -> None:
    assert allowed(guard(), *ANYBODY, *LINK_LOCAL, *NOBODY, *NO_ADDRESS) == ANYBODY


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "fe80::1%eth0",
            "is link-local, and no entry of handler_networks is for link-local addresses alone",
        ),
        ("0.0.0.0", "belongs to no single machine, which handler_networks cannot change"),
        ("127.0.0.1", "is this server itself at port 8080, which handler_networks cannot change"),
        ("localhost", "is no address"),
    ],
)
def test_refusal_says_what_could_be_mended(address: str, sentence: str) -> None:
    assert guard(own=(("127.0.0.1", 8080),)).refusal(address, 8080) == sentence


@pytest.mark.parametrize("address", ["64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254"])
def test_gateways_do_not_lead_to_what_is_link_local(address: str) -> None:
    assert guard().refusal(address, 80) == (
        "is link-local, and no entry of handler_networks is for link-local addresses alone"
    )
    assert allowed(guard("::/0"), address, "64:ff9b::10.0.0.1", "2002:a00:1::1") == [
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
    ]


# Networks.


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (("10.0.0.0/8",), ["10.0.0.1", "::ffff:10.0.0.1"]),
        (("10.0.0.1",), ["10.0.0.1", "::ffff:10.0.0.1"]),
        (("::ffff:10.0.0.0/104",), ["10.0.0.1", "::ffff:10.0.0.1"]),
        (("10.0.0.2/32",), []),
        (("::1", "192.168.0.0/16"), ["192.168.1.1", "::1"]),
        (("0.0.0.0/0",), [address for address in ANYBODY if "." in address]),
        (("::/0",), [address for address in ANYBODY if "." not in address]),
        (("169.254.169.254",), ["169.254.169.254", "::ffff:169.254.169.254", "::FFFF:A9FE:A9FE"]),
        (("fe80::/64",), ["fe80::1", "fe80::a9fe:a9fe%eth0", "fe80::1%25eth0"]),
        (
            ("169.254.0.0/16", "10.0.0.0/8"),
            ["10.0.0.1", "::ffff:10.0.0.1", *(a for a in LINK_LOCAL if "169.254" in a or "A9FE" in a)],
        ),
        (("0.0.0.0", "::", "ff00::/8", "224.0.0.0/4", "255.255.255.255"), []),
    ],
)
def test_networks_are_all_that_is_allowed_and_name_link_local_ones_themselves(
    networks: tuple[str, ...], expected: list[str]
) -> None:
    """A network that holds link-local addresses among others, such as all there are, does not mean them."""
    found = allowed(guard(*networks), *ANYBODY, *LINK_LOCAL, *NOBODY, *NO_ADDRESS)

    assert sorted(found) == sorted(expected)


def test_address_outside_of_the_networks_is_told() -> None:
    assert guard("10.0.0.0/8").refusal("8.8.8.8", 443) == "is not among handler_networks"


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "::1/129", "10.0.0.0-10.0.0.9"]
)
def test_what_is_no_network_is_told(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        guard("10.0.0.0/8", text)

    assert str(raised.value) == f"{text!r} is not an address or a network such as 10.0.0.0/8"


# The server's own sockets.


def test_own_socket_is_refused_by_address_and_port() -> None:
    own = guard(own=(("127.0.0.1", 8080), ("::1", 8081)))

    assert allowed(own, "127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", port=8080) == ["127.0.0.2", "::1"]
    assert allowed(own, "127.0.0.1", "::1", "0:0:0:0:0:0:0:1", port=8081) == ["127.0.0.1"]
    assert allowed(own, "127.0.0.1", "::1", port=80) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_wildcard_is_all_addresses_of_this_machine(wildcard: str) -> None:
    """Loopback, and those of its interfaces; another machine may well use the same port."""
    own = guard(own=((wildcard, 8080),))
    here = address_of_this_machine()

    ours = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", here, f"::ffff:{here}")
    assert allowed(own, *ours, "192.0.2.1", "2001:db8::1", port=8080) == ["192.0.2.1", "2001:db8::1"]
    assert allowed(own, *ours, port=8081) == list(ours)


def address_of_this_machine() -> str:
    """One of an interface where there is one; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(asking.getsockname()[0])


def test_own_sockets_are_asked_for_each_time() -> None:
    own: list[tuple[str, int]] = []
    changing = TargetGuard(lambda: own)
    assert allowed(changing, "127.0.0.1") == ["127.0.0.1"]

    own.append(("127.0.0.1", 80))
    assert allowed(changing, "127.0.0.1") == []

    own.clear()
    assert allowed(changing, "127.0.0.1") == ["127.0.0.1"]


def test_own_socket_is_refused_also_where_a_network_allows_it() -> None:
    assert allowed(guard("127.0.0.0/8", own=(("127.0.0.1", 80),)), "127.0.0.1", "127.0.0.2") == ["127.0.0.2"]


# For aiohttp.


def test_socket_is_opened_for_an_allowed_address_only() -> None:
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    with guard().open_socket((*kind, ("127.0.0.1", 80))) as opened:
        assert (opened.family, opened.type) == (socket.AF_INET, socket.SOCK_STREAM)

    with pytest.raises(RefusedTarget, match=r"^169\.254\.1\.1 is link-local"):
        guard().open_socket((*kind, ("169.254.1.1", 80)))


async def test_resolver_leaves_out_what_is_refused() -> None:
    assert [each["host"] for each in await GuardedResolver(guard()).resolve("127.0.0.1", 80)] == ["127.0.0.1"]

    with pytest.raises(RefusedTarget, match=r"^its address 127\.0\.0\.1 is this server itself at port 80, "):
        await GuardedResolver(guard(own=(("127.0.0.1", 80),))).resolve("127.0.0.1", 80)

"""Who may reach a resource: the switch, then the type of the request, then the caller's address."""

from typing import Any, get_args

import pytest

from hubwire.model.network import OPEN, NetworkRules, RequestType, network_rules

ALL: tuple[RequestType, ...] = get_args(RequestType)
ALICE = "203.0.113.7"


def takes(rules: NetworkRules, client_ip: str = ALICE, kind: RequestType = "ClientConnection") -> bool:
    return rules.refusal(kind, client_ip) is None


def of_ips(*rules: tuple[str, str], default: str = "Deny", allow: tuple[str, ...] = ALL) -> NetworkRules:
    """Rules for addresses alone: every type is allowed by name, so that the default is for addresses only."""
    acls = {
        "defaultAction": default,
        "publicNetwork": {"allow": list(allow)},
        "ipRules": [{"value": value, "action": action} for value, action in rules],
    }
    return network_rules(acls, "Enabled")


def test_nothing_said_keeps_nobody_out() -> None:
    rules = network_rules({}, "Enabled")

    assert rules == OPEN
    assert all(takes(rules, kind=kind) for kind in ALL)
    assert takes(rules, "no address")


@pytest.mark.parametrize("kind", ALL)
def test_switch_keeps_everybody_out_whatever_the_rules_say(kind: RequestType) -> None:
    rule = {"value": ALICE, "action": "Allow"}
    acls = {"defaultAction": "Allow", "publicNetwork": {"allow": [*ALL]}, "ipRules": [rule]}

    refusal = network_rules(acls, "Disabled").refusal(kind, ALICE)

    assert refusal == "Public network access to this resource is disabled."


@pytest.mark.parametrize(
    ("default", "allow", "deny", "taken"),
    [
        ("Allow", (), (), ALL),
        ("Allow", ("RESTAPI",), (), ALL),
        ("Allow", (), ("RESTAPI",), ("ClientConnection", "ServerConnection", "Trace")),
        ("Allow", ("RESTAPI",), ("RESTAPI",), ("ClientConnection", "ServerConnection", "Trace")),
        ("Deny", (), (), ()),
        ("Deny", ("RESTAPI", "Trace"), (), ("RESTAPI", "Trace")),
        ("Deny", ("RESTAPI", "Trace"), ("Trace",), ("RESTAPI",)),
        ("Deny", ALL, (), ALL),
        ("Deny", ALL, ALL, ()),
    ],
)
def test_type_that_no_rule_speaks_of_is_for_the_default_action(
    default: str, allow: tuple[str, ...], deny: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    rules = network_rules({"defaultAction": default, "publicNetwork": {"allow": allow, "deny": deny}}, "Enabled")

    assert tuple(kind for kind in ALL if takes(rules, kind=kind)) == taken


def test_refusal_of_a_type_names_it() -> None:
    rules = network_rules({"defaultAction": "Deny"}, "Enabled")

    assert "requests of type RESTAPI" in (rules.refusal("RESTAPI", ALICE) or "")
    assert "ClientConnection" in (rules.refusal("ClientConnection", ALICE) or "")


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("203.0.113.7/32", "203.0.113.7", "203.0.113.6"),
        ("203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
        ("203.0.113.9/24", "203.0.113.1", "203.0.112.255"),
        ("0.0.0.0/0", "8.8.8.8", "::1"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("2001:db8::1", "2001:db8:0:0::1", "2001:db8::2"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1%eth0"),
        ("::/0", "::1", "127.0.0.1"),
    ],
)
def test_address_is_in_a_range_or_it_is_not(network: str, inside: str, outside: str) -> None:
    """An IPv4 address that a socket for both families writes in the form of IPv6 is what it stands for."""
    assert takes(of_ips((network, "Allow")), inside)
    assert not takes(of_ips((network, "Allow")), outside)
    assert not takes(of_ips((network, "Deny"), default="Allow"), inside)
    assert takes(of_ips((network, "Deny"), default="Allow"), outside)


def test_refusal_of_an_address_does_not_say_which_would_be_taken() -> None:
    refusal = of_ips(("10.0.0.0/8", "Allow")).refusal("RESTAPI", ALICE)

    assert refusal == "The network access control of this resource does not allow the address of the caller."


@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        ((("10.0.0.1", "Allow"), ("10.0.0.0/8", "Deny")), True),
        ((("10.0.0.0/8", "Deny"), ("10.0.0.1", "Allow")), False),
        ((("2001:db8::/32", "Deny"), ("0.0.0.0/0", "Allow"), ("10.0.0.1", "Deny")), True),
    ],
)
def test_first_rule_that_fits_decides(rules: tuple[tuple[str, str], ...], taken: bool) -> None:
    for default in ("Allow", "Deny"):
        assert takes(of_ips(*rules, default=default), "10.0.0.1") is taken


@pytest.mark.parametrize("action", ["Allow", "Deny"])
def test_nobody_here_belongs_to_a_service_tag(action: str) -> None:
    assert not takes(of_ips(("AzureCloud.eastus", action)))
    assert takes(of_ips(("AzureCloud.eastus", action), default="Allow"))


@pytest.mark.parametrize("client_ip", ["", "unknown", "1.2.3", "1.2.3.4.5", "/tmp/socket", "::g"])
def test_what_is_no_address_fits_no_rule(client_ip: str) -> None:
    rules = (("0.0.0.0/0", "Allow"), ("::/0", "Allow"))

    assert not takes(of_ips(*rules), client_ip)
    assert takes(of_ips(*rules, default="Allow"), client_ip)


def test_type_is_looked_at_before_the_address() -> None:
    rules = of_ips((ALICE, "Allow"), allow=("RESTAPI",))

    assert takes(rules, kind="RESTAPI")
    assert not takes(rules, kind="Trace")


@pytest.mark.parametrize("empty", [None, [], {}])
def test_parts_that_are_not_given_say_nothing(empty: Any) -> None:
    assert network_rules({"publicNetwork": empty or None, "ipRules": empty or None}, "Enabled") == OPEN

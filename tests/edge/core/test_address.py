"""Whose request it is, and as what an address is counted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.address import client_address, counted_address, parse_network

TRUSTED = tuple(map(parse_network, ("10.0.0.0/8", "127.0.0.1", "fd00::/8")))
PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("::ffff:203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("2001:db8::1", ["198.51.100.1"], "2001:db8::1"),
        ("fe80::1%eth0", ["198.51.100.1"], "fe80::1"),
        ("", ["198.51.100.1"], ""),
        (PROXY, [], PROXY),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        (PROXY, ["198.51.100.1"], "198.51.100.1"),
        (PROXY, ["192.0.2.1, 198.51.100.1"], "198.51.100.1"),
        (PROXY, ["192.0.2.1", "198.51.100.1"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (PROXY, ["198.51.100.1", "10.9.9.9, 10.8.8.8"], "198.51.100.1"),
        (PROXY, ["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        (PROXY, ["198.51.100.1:51234"], "198.51.100.1"),
        (PROXY, ["[2001:db8::1]:51234"], "2001:db8::1"),
        (PROXY, ["[2001:db8::1]"], "2001:db8::1"),
        (PROXY, ["2001:DB8:0::1"], "2001:db8::1"),
        (PROXY, ["::ffff:198.51.100.1"], "198.51.100.1"),
        (PROXY, ["\t198.51.100.1 "], "198.51.100.1"),
        (PROXY, ["198.51.100.1, unknown"], PROXY),
        (PROXY, ["198.51.100.1, unknown, 10.9.9.9"], "10.9.9.9"),
        (PROXY, ["198.51.100.1,"], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, ["198.51.100.999"], PROXY),
        (PROXY, ["198.51.100.01"], PROXY),
        (PROXY, ["2001:db8::1%eth0"], PROXY),
        (PROXY, ['"198.51.100.1"'], PROXY),
        (PROXY, ["198.51.100.1\n"], PROXY),
        (PROXY, ["3323068417"], PROXY),
    ],
)
def test_the_client_is_the_right_most_hop_that_is_not_trusted(
    peer: str, lines: list[str], address: str
) -> None:
    """Only a trusted proxy is asked, only about what is right of garbage, and over all lines together."""
    assert client_address(peer, lines, TRUSTED) == address


@pytest.mark.parametrize("peer", ["203.0.113.7", PROXY, "127.0.0.1"])
def test_without_a_trusted_proxy_the_peer_is_the_client(peer: str) -> None:
    """Whatever it says of itself."""
    assert client_address(peer, ["198.51.100.1"], ()) == peer
    assert client_address(f"::ffff:{peer}", ["198.51.100.1"], ()) == peer


@given(st.lists(st.text(max_size=60), max_size=4))
def test_no_header_makes_an_address_of_what_is_none(lines: list[str]) -> None:
    """Whatever a proxy passes on, the answer is an address."""
    assert ipaddress.ip_address(client_address(PROXY, lines, TRUSTED)) is not None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("nowhere", "nowhere"),
    ],
)
def test_ipv6_is_counted_by_its_first_64_bits(address: str, counted: str) -> None:
    """Whoever has a /64 has as many addresses as it likes."""
    assert counted_address(address) == counted


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "proxy", "", "::ffff:10.0.0.0/104"])
def test_a_network_that_matches_nothing_is_none(text: str) -> None:
    """Host bits that are set are a mistake, too."""
    with pytest.raises(ValueError, match=r"."):
        parse_network(text)

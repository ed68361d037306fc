"""Whose request it is, where proxies stand in between, and as what an address is counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

__all__ = ["Network", "client_address", "counted_address", "parse_network"]

Network: TypeAlias = IPv4Network | IPv6Network
_Address: TypeAlias = IPv4Address | IPv6Address
# What proxies write of an address: as it is, with a port, or as in a URL.
_HOP = re.compile(
    r"(?P<v4>[0-9.]+)(?::[0-9]+)?|\[(?P<url>[0-9A-Fa-f:.]+)\](?::[0-9]+)?|(?P<v6>[0-9A-Fa-f:.]+)"
)
# One household or customer gets at least that much, so its addresses are one.
_COUNTED_BITS = 64
_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_network(text: str) -> Network:
    """Return the addresses that *text* (`10.0.0.0/8`, `::1`) stands for; raises ValueError."""
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        # Addresses are compared as IPv4, so it would never match.
        raise ValueError("it is IPv4 written as IPv6")
    return network


def client_address(peer: str, forwarded_lines: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address that a request came from: the *peer*, unless it is a trusted proxy.

    Then it is the right-most hop of all lines of `X-Forwarded-For` that is none. Left of a hop that is no
    address nothing is believed: the last proxy that is known stands in for whoever is behind it.
    """
    if not trusted and ":" not in peer:
        return peer
    # The interface of a link-local address is no part of it.
    found = _parsed(peer.partition("%")[0])
    if found is None:
        return peer
    if not _is_trusted(found, trusted):
        return str(found)
    hops = [hop for line in forwarded_lines for hop in line.split(",")]
    for hop in reversed(hops):
        address = _parsed(hop.strip(" \t"))
        if address is None:
            break
        found = address
        if not _is_trusted(found, trusted):
            break
    return str(found)


@lru_cache(maxsize=4096)
def counted_address(text: str) -> str:
    """Return what an address is counted as: itself, or for IPv6 the /64 that it is in."""
    address = _parsed(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> _COUNTED_BITS << _COUNTED_BITS, _COUNTED_BITS)))
    return text if address is None else str(address)


def _parsed(text: str) -> _Address | None:
    match = _HOP.fullmatch(text)
    if match is None:
        return None
    try:
        address = ip_address(match["v4"] or match["url"] or match["v6"])
    except ValueError:
        return None
    # The same host, seen through a socket that takes both kinds.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: _Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)

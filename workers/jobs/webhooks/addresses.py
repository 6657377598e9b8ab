"""Which addresses a webhook may be sent to: public ones, whatever form an inner one hides in.

Sources: the IANA special-purpose address registries (IPv4 and IPv6), RFC 6052 and 8215 (NAT64), RFC 3056 (6to4), RFC 4380
(Teredo), RFC 4291 (mapped and compatible), RFC 7915 (translated), RFC 5214 (ISATAP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
BITS_32 = 0xFFFF_FFFF

_INNER_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network, unspecified
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local: metadata services
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
"""The only unicast that was given out; unique local, link-local, multicast and all the rest lie outside."""
_INNER_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: benchmarking, ORCHID, anycast; Teredo is unwrapped before
            "2001:db8::/32",
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)


def _low(value: int) -> Iterator[int]:
    yield value & BITS_32


def _six_to_four(value: int) -> Iterator[int]:
    yield value >> 80 & BITS_32


def _teredo(value: int) -> Iterator[int]:
    yield value >> 64 & BITS_32  # the server
    yield ~value & BITS_32  # the client


_WRAPPED: tuple[tuple[IPv6Network, Callable[[int], Iterator[int]]], ...] = (
    (IPv6Network("::ffff:0:0/96"), _low),
    (IPv6Network("::ffff:0:0:0/96"), _low),
    (IPv6Network("64:ff9b::/96"), _low),
    (IPv6Network("2002::/16"), _six_to_four),
    (IPv6Network("2001::/32"), _teredo),
    (IPv6Network("::/96"), _low),
)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def parsed(text: str) -> Address | None:
    """Return an address as the system resolver writes it; None for anything else, a zone included."""
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Say whether everything that an address may lead to is public.

    64:ff9b:1::/48, NAT64 of local use, is never: where in it an address is embedded is known to its network only.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _INNER_4)
    value = int(address)
    for network, unwrap in _WRAPPED:
        if address in network:
            return all(is_public(IPv4Address(inner)) for inner in unwrap(value))
    if address not in _GLOBAL_6 or any(address in network for network in _INNER_6):
        return False
    return value >> 32 & BITS_32 not in _ISATAP or is_public(IPv4Address(value & BITS_32))


def is_loopback(address: Address) -> bool:
    """Say whether an address is this machine's own; the mapped form counts as what it maps."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def allowed(text: str, *, loopback: bool, plain: bool) -> bool:
    """Say whether a connection to an address may be made.

    `loopback`: this machine may be called too. `plain`: the connection is not encrypted, and then nothing else may.
    """
    address = parsed(text)
    if address is None:
        return False
    if loopback and is_loopback(address):
        return True
    return not plain and is_public(address)

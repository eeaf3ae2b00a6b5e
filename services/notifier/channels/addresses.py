"""Which addresses a webhook may reach: those of the public Internet, unless a setting allows others."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from shared.errors import MeshError

# IANA's special-purpose registries, written out: the interpreter's tables change from release to release.
_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by customers of a carrier
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",  # of protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
_GLOBAL_UNICAST_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # of protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3ffe::/16",  # the 6bone
        "3fff::/20",  # documentation
    )
)
_HOLD_IPV4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""Networks whose addresses contain an IPv4 address that packets reach: IPv4-mapped ones, and NAT64's."""


class RefusedAddressError(MeshError):
    """A host has an address that is not public."""


async def resolved(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host, in the resolver's order. Connect to these, not to the name.

    Raises:
        RefusedAddressError: one of them is not public.
        OSError: the name has no address, or no resolver answers.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise RefusedAddressError(
                    f"{address} is not a public address; MESH_NOTIFY_ALLOW_PRIVATE allows such ones"
                )
    return addresses


def is_public(address: str) -> bool:
    """Whether a text is an address on the public Internet, by IANA's registries.

    For IPv6 that is global unicast (2000::/3) without the blocks of protocols, tunnels and documentation. If an address
    contains an IPv4 address, that one decides. An address with a zone is not public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return False
        if not any(parsed in network for network in _HOLD_IPV4):
            return parsed in _GLOBAL_UNICAST_6 and not any(parsed in network for network in _NOT_PUBLIC_6)
        parsed = IPv4Address(int(parsed) & 0xFFFFFFFF)
    return not any(parsed in network for network in _NOT_PUBLIC_4)

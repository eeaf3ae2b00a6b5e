"""Which addresses a webhook may reach: those of the public Internet, unless a setting allows others."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from shared.errors import MeshError

_NAT64 = IPv6Network("64:ff9b::/96")


class RefusedAddressError(MeshError):
    """A host has an address that is not public."""


async def resolved(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host, in the resolver's order. What is returned here is to be connected to, not the name.

    Raises:
        RefusedAddressError: one of them is not public.
        OSError: the name has none, or nobody answers.
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
    """Whether an address, and the IPv4 address inside an IPv6 one, is on the public Internet."""
    parsed = ip_address(address.partition("%")[0])
    inner = None if isinstance(parsed, IPv4Address) else _inner(parsed)
    return all(each.is_global and not each.is_multicast for each in (parsed if inner is None else inner,))


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (None if teredo is None else teredo[1])

"""HTTP clients: the one place that decides whether a proxy of the environment is asked."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import httpx

from shared.errors import MeshError


class NoHttpClientError(MeshError):
    """The environment's proxy or certificate settings cannot be used: say so, and go on without this answer."""


def http_client(url: str, *, timeout_seconds: float) -> httpx.AsyncClient:
    """A client for requests to `url` and its host.

    A proxy cannot reach this machine's loopback interface: addresses there are asked directly, whatever `http_proxy`,
    `all_proxy` and `no_proxy` say.

    Raises:
        NoHttpClientError: none can be made for other hosts: an unknown kind of proxy, a file of certificates that is
            not there.
    """
    try:
        return httpx.AsyncClient(timeout=timeout_seconds, trust_env=not is_loopback(url))
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise NoHttpClientError(
            f"the proxy or certificate settings of the environment cannot be used: {error}"
        ) from error


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine's loopback interface."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:  # no URL
        return False
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback

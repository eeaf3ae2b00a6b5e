"""Item hosts that wait for the next chunk of their tenant."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import AsyncExitStack

from services.router.engines.python.item_process import ItemProcess

_MOST_HOSTS = 4
_MOST_BYTES = 512 * 1024 * 1024
"""Of the peaks of memory of all that wait. A host with more is not used for another chunk."""


class IdleHosts:
    """One host for each tenant, those used last: what user code leaves in a process meets jobs of its tenant alone."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, ItemProcess] = OrderedDict()

    def take(self, tenant: str) -> ItemProcess | None:
        """The host of a tenant, which waits no longer."""
        return self._hosts.pop(tenant, None)

    async def keep(self, tenant: str, host: ItemProcess) -> None:
        """Have a host wait; what no longer fits is ended."""
        too_many: list[ItemProcess] = []
        if host.killed or host.peak_bytes > _MOST_BYTES:
            too_many.append(host)
        else:
            if (other := self._hosts.pop(tenant, None)) is not None:
                too_many.append(other)
            self._hosts[tenant] = host
        while len(self._hosts) > _MOST_HOSTS or sum(each.peak_bytes for each in self._hosts.values()) > _MOST_BYTES:
            _, oldest = self._hosts.popitem(last=False)
            too_many.append(oldest)
        await _end(too_many)

    async def close(self) -> None:
        """End all that wait."""
        hosts = list(self._hosts.values())
        self._hosts.clear()
        await _end(hosts)


async def _end(hosts: Iterable[ItemProcess]) -> None:
    """End each, also if the end of another one fails."""
    async with AsyncExitStack() as ending:
        for host in hosts:
            ending.push_async_callback(host.close)

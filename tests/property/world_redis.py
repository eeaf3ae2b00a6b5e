"""The real Redis (Valkey) of a world: wiped, restarted, rolled back, and made to feel that time passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.errors import LostOwnershipError
from shared.history.keys import PartitionKeys
from shared.history.settled_state import unpacked
from tests.property.process import Pulse

RedisFault = Literal["down", "reply_lost", "late"]
"""down: the call does nothing and fails. reply_lost: Redis does it, and the caller sees a failure. late: the caller
sees a failure, and Redis does it when it has come through at last."""

_AGE_LEASES = """
for _, chunk in ipairs(redis.call('HKEYS', KEYS[1])) do
  local claim = redis.call('HGET', KEYS[1], chunk)
  local who, lease_end = string.match(claim, '^(held %S+ %S+) (-?%d+)$')
  if who then redis.call('HSET', KEYS[1], chunk, who .. ' ' .. string.format('%d', lease_end - ARGV[1])) end
end
"""


@dataclass(frozen=True, slots=True)
class Past:
    """All keys as they were once."""

    at: float
    dumps: dict[bytes, bytes]


@dataclass(slots=True)
class WorldRedis:
    """Redis' clock judges leases, and nobody can move it: so time passes by moving all lease ends towards the past.

    The shipped scripts run as they are. Leases are long against the real duration of a test.

    Attributes:
        faults: what becomes of the next calls of owners.
        claim_faults: what becomes of the next claims that runners ask for.
        renewal_faults: what becomes of the next renewals.
        late: calls of owners that have not come through yet.
    """

    server: EmbeddedRedis
    keys: PartitionKeys
    pulse: Pulse
    client: Any = field(init=False)
    faults: deque[RedisFault] = field(default_factory=deque)
    claim_faults: deque[RedisFault] = field(default_factory=deque)
    renewal_faults: deque[RedisFault] = field(default_factory=deque)
    late: list[Any] = field(default_factory=list)
    _age: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = Redis.from_url(self.server.url, socket_timeout=None, retry=Retry(NoBackoff(), 3))
        self._age = self.client.register_script(_AGE_LEASES)

    async def call(self, asking: Any) -> Any:
        """Await a call of the shipped store, under the next fault.

        Raises:
            redis.ConnectionError: by that fault.
        """
        fault = self.faults.popleft() if self.faults else None
        if fault == "down":
            asking.close()
            raise RedisConnectionError("injected: down")
        if fault == "late":
            self.late.append(asking)
            raise RedisConnectionError("injected: late")
        with self.pulse:
            answer = await asking
        if fault == "reply_lost":
            raise RedisConnectionError("injected: reply lost")
        return answer

    async def land(self) -> None:
        """A call that its caller has given up comes through."""
        with self.pulse, contextlib.suppress(LostOwnershipError):
            await self.late.pop(0)

    async def age_leases(self, seconds: float) -> None:
        """Let all leases be older by so much."""
        await self._age(keys=[self.keys.claims], args=[round(seconds * 1000)])

    async def wipe(self) -> None:
        """FLUSHALL."""
        await self.client.flushall()

    async def restart(self) -> None:
        """Kill the server and start it again, empty: its run id is another one."""
        await self.client.connection_pool.disconnect()
        await asyncio.to_thread(self._restart)

    def _restart(self) -> None:
        self.server.service.kill()
        with asyncio.Runner() as runner:
            runner.run(self.server.start())

    async def remember(self, now: float) -> Past:
        """All keys as they are, for a later `roll_back`."""
        names = await self.client.keys("*")
        return Past(now, {name: await self.client.dump(name) for name in names})

    async def roll_back(self, past: Past, now: float) -> None:
        """Be as in the past, the time since then having passed."""
        await self.wipe()
        for name, dump in past.dumps.items():
            await self.client.restore(name, 0, dump)
        await self.age_leases(now - past.at)

    async def content(self, name: str) -> dict[str, bytes]:
        """A hash, by the name that it has in `PartitionKeys`."""
        with self.pulse:
            raw = await self.client.hgetall(getattr(self.keys, name))
        return {key.decode(): value for key, value in raw.items()}

    async def members(self, name: str) -> set[str]:
        """A set, by the name that it has in `PartitionKeys`."""
        with self.pulse:
            raw = await self.client.smembers(getattr(self.keys, name))
        return {member.decode() for member in raw}

    async def settled(self) -> list[tuple[int, str]]:
        """The list of settled jobs: offsets, each with its job."""
        with self.pulse:
            entries = await self.client.lrange(self.keys.settled, 0, -1)
        pairs = (entry.decode().split(" ", 1) for entry in entries)
        return [(int(offset), subject) for offset, subject in pairs]

    async def as_an_earlier_release_wrote_it(self) -> None:
        """No state is packed, and nothing says which jobs are live."""
        client, keys = self.client, self.keys
        with self.pulse:
            for name, value in (await client.hgetall(keys.states)).items():
                await client.hset(keys.states, name, unpacked(value))
            await client.hdel(keys.meta, "live")
            await client.delete(keys.live, keys.settled)

    async def close(self) -> None:
        """Let go of the connections; the server stays."""
        for asking in self.late:
            asking.close()
        await self.client.aclose()

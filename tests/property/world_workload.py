"""The workload of a simulated worker: its items are words that say what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from pydantic import JsonValue

from shared.settings import Settings
from shared.workloads import (
    ItemCall,
    ItemFailed,
    ItemOutcome,
    ItemSucceeded,
    PauseJobError,
    Queue,
    RunContext,
)

if TYPE_CHECKING:
    from tests.property.runner_life import RunnerProcess
    from tests.property.world import World

WORKLOAD = "python"
POISON = "poison"
"""An item that kills the process that runs it."""
FAIL = "fail"
QUOTA = "quota"
"""An item that finds a quota used up the first time it is tried."""
COSTS = "costs"

SLICED = "slice"
"""The label of a job whose items run in slices."""


@dataclass(slots=True)
class WorldRun:
    """Runs items one by one."""

    world: World
    process: RunnerProcess
    job_id: str

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Run one item; its output tells this execution from every other."""
        self.world.witness.item_begins(self.process)
        await self.process.stop("item")
        if call.item == QUOTA and (self.job_id, call.index) not in self.world.quotas_met:
            self.world.quotas_met.add((self.job_id, call.index))
            raise PauseJobError("quota", resume_seconds=600.0 if call.index % 2 else None)
        number = self.world.witness.item_runs(self.process, self.job_id, call.index)
        match call.item:
            case "poison":
                self.world.kill(self.process)
                await self.process.stop("dead")
            case "fail":
                return ItemFailed("exception", f"execution {number}", duration_seconds=1.0)
        cost = 100 + number if call.item == COSTS else None
        return ItemSucceeded(orjson.dumps({"execution": number}), duration_seconds=1.0, cost_micros=cost)

    def kill(self) -> None:
        """Items take no time of their own."""


@dataclass(slots=True)
class WorldSlices:
    """Runs items many at a time, and looks at the clock before each as an item host does."""

    items: WorldRun
    at_once: int = 1

    async def slice(
        self, calls: Sequence[ItemCall], begin_until: Callable[[], float]
    ) -> AsyncGenerator[list[tuple[ItemCall, ItemOutcome]]]:
        """Run items until one may not begin any more."""
        not_after = begin_until()
        for call in calls:
            if self.items.world.clock.monotonic() > not_after:
                return
            yield [(call, await self.items.item(call))]

    def kill(self) -> None:
        """Items take no time of their own."""


@dataclass(slots=True)
class WorldWorkload:
    """The one workload of a process."""

    world: World
    process: RunnerProcess
    name: str = WORKLOAD
    queue: Queue = "batch_tasks"
    flush_each_item: bool = False

    def validate(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None, settings: Settings) -> None:
        """Everything goes."""

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[WorldRun | WorldSlices]:
        """A run."""
        run = WorldRun(self.world, self.process, context.job_id)
        yield WorldSlices(run) if SLICED in context.labels else run

    async def close(self) -> None:
        """Nothing is kept."""

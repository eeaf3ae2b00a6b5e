"""Workloads: code that runs the items of jobs, found by entry point (group `eldermesh.workloads`).

A plug-in is a class without constructor arguments that satisfies `Workload`; its entry point's name is the name that
jobs give. It needs nothing from the services: this module, `shared.errors` and `shared.facts.jobs` are all it imports.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, Protocol

from pydantic import JsonValue

from eldermesh.contract.vocabulary import ErrorType
from shared.errors import ConfigurationError, DeadLetterError, MeshError
from shared.facts.jobs import AdviceEntry
from shared.logs.exceptions import ends_the_task
from shared.settings import Settings

ENTRY_POINT_GROUP = "eldermesh.workloads"

LOAD_AGAIN_SECONDS = 60.0
"""After a plug-in that could not be loaded: what it lacks may come without a restart."""

_OWN_DISTRIBUTION = "eldermesh"

Queue = Literal["batch_tasks", "claude_tasks", "sage_tasks", "notifications"]
"""The Celery queue that a workload's chunks wait in."""


def _nothing() -> None:
    """Nothing to check."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """One chunk that is about to run, and what its job asks for."""

    job_id: str
    tenant: str
    labels: Mapping[str, str]
    stage: int
    epoch: int
    """The fencing token: effects of an older epoch must not overwrite those of a newer one."""
    chunk_id: str
    options: Mapping[str, JsonValue]
    item_timeout_seconds: float | None
    stream: bool
    settings: Settings
    advice: tuple[AdviceEntry, ...] = ()
    """What sages and router said of the job before it ran: data, never instructions."""
    check_claim: Callable[[], None] = _nothing
    """To be called just before an item's effects begin, when what it needs has been started: raises, and the run ends,
    if the run may have lost its claim meanwhile (its process stood still)."""


@dataclass(frozen=True, slots=True)
class ItemCall:
    """One item to run. `repr` never shows the item."""

    index: int
    item: JsonValue
    attempt: int
    """1 + how often the chunk's runs died before; the outcome says how many it took in the end."""
    idempotency_key: str
    """`{job_id}/{stage}/{index}`: the same at every repeat."""
    epoch: int
    traceparent: str | None = None
    tracestate: str | None = None

    def __repr__(self) -> str:
        return f"ItemCall({self.idempotency_key}, attempt {self.attempt})"


@dataclass(frozen=True, slots=True)
class ItemSucceeded:
    """The item's output, as I-JSON text (UTF-8). `cost_micros` is in micro-dollars; `attempt` None: that of the call.

    `duration_seconds` None: what the runner measured.
    """

    output_json: bytes
    attempt: int | None = None
    duration_seconds: float | None = None
    cost_micros: int | None = None

    def __repr__(self) -> str:
        return f"ItemSucceeded({len(self.output_json)} bytes)"


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """The item failed for good, and why; fields as in `ItemSucceeded`."""

    error_type: ErrorType
    error_message: str
    attempt: int | None = None
    duration_seconds: float | None = None
    cost_micros: int | None = None


ItemOutcome = ItemSucceeded | ItemFailed


class RunKilledError(MeshError):
    """The run was killed while an item ran: the item has no outcome and nothing more of this run counts."""


class PauseJobError(MeshError):
    """A quota is used up: the item has no outcome and did not fail. Pause its job; that spends no retry.

    Args:
        reason: one sentence for people.
        resume_seconds: from now on, when to go on; None if nobody said, as counts what is over or beyond a month.
        cost_micros: what the item has cost so far, in micro-dollars.
        attempt: which attempt has cost that; None: that of the call.
    """

    def __init__(
        self,
        reason: str,
        *,
        resume_seconds: float | None = None,
        cost_micros: int | None = None,
        attempt: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.resume_seconds = resume_seconds
        self.cost_micros = cost_micros
        self.attempt = attempt


class WorkloadRun(Protocol):
    """One run of one chunk."""

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Run one item to its outcome. Items of a run come one after another.

        Raises:
            RunKilledError: the run was killed meanwhile.
            PauseJobError: it cannot run before a quota allows it: the run ends, the item will be run again.
            shared.errors.RetryableError: something needed did not answer, and nothing of the item goes on: it is asked
                again for some minutes. Then the other items run, and this one is run elsewhere. That is no death.
            shared.errors.StillRunningError: the same, but something of the item goes on that cannot be ended.
        """

    def kill(self) -> None:
        """End the work at once, from another task; safe to call twice. Nothing the run started may go on."""


class SlicedRun(Protocol):
    """A run with a method `slice`: it takes many items at once, since what each costs would exceed what it does.

    It may have an attribute `at_once`: how many of them run at a time; without it, one. Slices have at least so many.
    """

    def slice(
        self, calls: Sequence[ItemCall], begin_until: Callable[[], float]
    ) -> AsyncGenerator[list[tuple[ItemCall, ItemOutcome]]]:
        """Run items; gives their calls and outcomes as they come, each with what it took.

        Some calls without an outcome: there was no time to begin them. They come again.

        Args:
            calls: the items, each index once.
            begin_until: to be asked just before the first item begins, and after each trouble, for the time after which
                no item may begin, by `shared.history.clock.SystemClock.monotonic`, which counts the time that the
                machine sleeps; what it raises ends the run. A run that stays in this process can call
                `RunContext.check_claim` before each item instead.

        Raises:
            RunKilledError: the run was killed meanwhile.
            PauseJobError: as of `WorkloadRun.item`, for the first call without an outcome.
            shared.errors.RetryableError: something needed did not answer, and nothing of the slice goes on: the calls
                without an outcome are asked again for some minutes, then the run ends. That is no death.
            shared.errors.StillRunningError: as of `WorkloadRun.item`.
        """

    def kill(self) -> None:
        """As `WorkloadRun.kill`."""


class Workload(Protocol):
    """Code that runs items. One object serves a whole process; runs of several chunks may overlap."""

    @property
    def name(self) -> str:
        """What jobs call it."""

    @property
    def queue(self) -> Queue:
        """Where its chunks wait for Celery."""

    @property
    def flush_each_item(self) -> bool:
        """Whether each result is published at once (expensive items), or gathered with others (cheap ones)."""

    def validate(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None, settings: Settings) -> None:
        """Refuse a submit that can never run, at admission. `items` is None when they are not at hand (`items_url`).

        Raises:
            DeadLetterError: `invalid`, with the reason for the sender.
        """

    def open(self, context: RunContext) -> AbstractAsyncContextManager[WorkloadRun | SlicedRun]:
        """A run of one chunk. Leaving the context ends what the run started, or keeps it warm for the next one."""

    async def close(self) -> None:
        """Let go of everything that is kept between runs. Bounded in time; nothing it started is left afterwards."""


class UnknownWorkloadError(DeadLetterError):
    """No plug-in has this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__("invalid", f"workload {name!r} is not installed; installed: {', '.join(known) or 'none'}")


def _make(entry: EntryPoint) -> Workload:
    workload: Workload = entry.load()()
    return workload


class WorkloadRegistry:
    """The workloads of a process by name, each made at its first use.

    Args:
        factories: name → what makes the workload.
        plug_ins: the names that other distributions offer.
        now: seconds of a monotonic clock.
    """

    def __init__(
        self,
        factories: Mapping[str, Callable[[], Workload]],
        *,
        plug_ins: Collection[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._factories = dict(factories)
        self._plug_ins = frozenset(plug_ins)
        self._now = now
        self._made: dict[str, Workload] = {}
        self._broken: dict[str, tuple[float, str]] = {}

    @classmethod
    def installed(cls) -> WorkloadRegistry:
        """All workloads that installed distributions offer. Nothing is imported before it is used.

        Raises:
            ConfigurationError: two distributions offer the same name.
        """
        factories: dict[str, Callable[[], Workload]] = {}
        values: dict[str, str] = {}
        plug_ins: set[str] = set()
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            if values.setdefault(entry.name, entry.value) != entry.value:
                raise ConfigurationError(f"two workloads are named {entry.name!r}: {values[entry.name]}, {entry.value}")
            factories[entry.name] = partial(_make, entry)
            if entry.dist is None or entry.dist.name.lower() != _OWN_DISTRIBUTION:
                plug_ins.add(entry.name)
        return cls(factories, plug_ins=plug_ins)

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._factories)

    def is_plug_in(self, name: str) -> bool:
        """Whether another distribution than this one offers it: its code is anybody's.

        Raises:
            UnknownWorkloadError: there is none of this name.
        """
        if name not in self._factories:
            raise UnknownWorkloadError(name, self.names)
        return name in self._plug_ins

    def get(self, name: str) -> Workload:
        """The workload of this name.

        Raises:
            UnknownWorkloadError: there is none.
            ConfigurationError: its plug-in cannot be loaded, or calls itself otherwise. It is not tried again for
                `LOAD_AGAIN_SECONDS`: each import takes the time of all others here.
        """
        workload = self._made.get(name)
        if workload is not None:
            return workload
        factory = self._factories.get(name)
        if factory is None:
            raise UnknownWorkloadError(name, self.names)
        until, why = self._broken.get(name, (float("-inf"), ""))
        if self._now() < until:
            raise ConfigurationError(why)
        try:
            workload = self._loaded(name, factory)
        except ConfigurationError as error:
            self._broken[name] = self._now() + LOAD_AGAIN_SECONDS, str(error)
            raise
        self._made[name] = workload
        return workload

    @staticmethod
    def _loaded(name: str, factory: Callable[[], Workload]) -> Workload:
        try:
            workload = factory()
            called = workload.name
        except BaseException as error:
            if ends_the_task(error):
                raise
            raise ConfigurationError(f"workload {name!r} cannot be loaded: {error!r}") from error
        if called != name:
            raise ConfigurationError(f"the entry point {name!r} is a workload that calls itself {called!r}")
        return workload

    async def close(self) -> None:
        """Close every workload that was used.

        Raises:
            ExceptionGroup: some could not be closed; the others are.
        """
        errors: list[BaseException] = []
        while self._made:
            _, workload = self._made.popitem()
            try:
                await workload.close()
            except BaseException as error:
                if ends_the_task(error):
                    raise
                errors.append(error)  # raised below, once the others are closed
        if errors:
            raise BaseExceptionGroup("workloads that could not be closed", errors)

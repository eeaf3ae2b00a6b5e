"""Dispatch: current chunks become tasks of an engine, with the trace context of their dispatch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

from opentelemetry import metrics

from eldermesh.contract.vocabulary import Engine
from services.router.engines.chunks.task import ChunkTask
from services.router.jobs.state import JobState
from shared.errors import RetryableError
from shared.facts.jobs import JobTerms
from shared.history.clock import Clock
from shared.history.machine import DispatchDue
from shared.history.owner_parts import Dispatched, Rank
from shared.priorities import PRIORITIES
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from, traceparent_of, tracestate_of
from shared.telemetry.spans import span
from shared.workloads import Queue, WorkloadRegistry


class EngineQueue(Protocol):
    """The submit side of an engine."""

    async def dispatch(self, tasks: Sequence[ChunkTask], *, workload: str, queue: Queue, priority: int) -> None:
        """Queue tasks of a workload.

        Raises:
            RetryableError: the engine did not take them; some may be queued all the same.
        """
        ...


class RayQueue(EngineQueue, Protocol):
    """The submit side of an engine that may be in trouble for a long time."""

    @property
    def trouble(self) -> str | None:
        """Why a job should not go there now; None if it may."""
        ...


class JobDispatcher:
    """`Dispatcher[JobState]`.

    While Ray is in trouble, chunks of jobs that were routed to it without asking for it go to Celery, even a chunk that
    was sent to Ray before but not claimed. Claims keep a chunk from running twice.

    Args:
        history_topic: full name of the job history.
        celery: queues the chunks that do not go to Ray.
        ray: queues the chunks of jobs that were routed to Ray; None: they run on Celery.
        workloads: know their queue.
        clock: for `dispatched_at`.
        is_for_ray: whether chunks of a workload may go to Ray; a job may have been routed under other settings.
        weight_of: the weight of a tenant.
    """

    def __init__(
        self,
        history_topic: str,
        celery: EngineQueue,
        ray: RayQueue | None,
        workloads: WorkloadRegistry,
        clock: Clock,
        is_for_ray: Callable[[str], bool],
        weight_of: Callable[[str], float],
    ) -> None:
        self._history_topic = history_topic
        self._celery = celery
        self._ray = ray
        self._workloads = workloads
        self._clock = clock
        self._is_for_ray = is_for_ray
        self._weight_of = weight_of
        metric = metric_names.CHUNKS_DISPATCHED
        self._dispatched = metrics.get_meter(__name__).create_counter(metric.name, metric.unit)

    def rank(self, state: JobState) -> Rank:
        """By priority, fair among tenants, and in the order of acceptance."""
        if state.terms is None:
            return Rank(PRIORITIES["batch"], state.first_offset)
        tenant = state.terms.tenant
        return Rank(PRIORITIES[state.terms.priority], state.first_offset, tenant, self._weight_of(tenant))

    async def dispatch(self, partition: int, chunks: Sequence[tuple[JobState, DispatchDue]]) -> Dispatched:
        """Queue chunks, those of each engine, workload and priority in one call.

        An engine that does not answer is asked once. A job whose workload is not installed here waits: the router that
        accepted it had the workload, so one that has it may start soon.
        """
        groups: defaultdict[tuple[str, Engine, str, int], list[tuple[JobState, DispatchDue]]] = defaultdict(list)
        for state, due in chunks:
            if state.terms is not None:
                engine = self._engine(state, state.terms)
                priority = PRIORITIES[state.terms.priority] - due.is_ahead
                groups[due.lane, engine, state.terms.workload, priority].append((state, due))
        taken: set[str] = set()
        refused: dict[str, Exception] = {}
        down: dict[Engine, Exception] = {}
        closed: dict[str, Exception] = {}
        for (lane, engine, workload, priority), members in groups.items():
            if engine in down:
                closed[lane] = down[engine]
            if lane in closed:
                continue
            try:
                await self._queue(partition, engine, workload, priority, members)
            except RetryableError as error:
                closed[lane] = down[engine] = error
            except Exception as error:  # noqa: BLE001 - reported; the failure of one workload must not stop all others
                refused |= {str(due.chunk): error for _, due in members}
            else:
                taken.update(str(due.chunk) for _, due in members)
        return Dispatched(frozenset(taken), refused, closed)

    def _engine(self, state: JobState, terms: JobTerms) -> Engine:
        """Where a job's chunks go now."""
        if state.engine != "ray" or self._ray is None or not self._is_for_ray(terms.workload):
            return "celery"
        return "ray" if terms.engine == "ray" or self._ray.trouble is None else "celery"

    async def _queue(
        self,
        partition: int,
        engine: Engine,
        workload: str,
        priority: int,
        members: Sequence[tuple[JobState, DispatchDue]],
    ) -> None:
        target = self._ray if engine == "ray" and self._ray is not None else self._celery
        queue = self._workloads.get(workload).queue
        tasks = [self._task(partition, state, due) for state, due in members]
        await target.dispatch(tasks, workload=workload, queue=queue, priority=priority)
        self._dispatched.add(len(tasks), {names.ENGINE: engine})

    def _task(self, partition: int, state: JobState, due: DispatchDue) -> ChunkTask:
        acceptance = state.acceptance
        if acceptance is None:
            raise ValueError(f"job {state.job_id} was never accepted")
        attributes: dict[str, str | int] = {
            names.JOB_ID: state.job_id,
            names.CHUNK_ID: str(due.chunk),
            names.CHUNK_ITEMS: due.chunk.last - due.chunk.first + 1,
            names.CHUNK_ATTEMPT: due.attempt,
            names.ENGINE: state.engine or "",
        }
        parent = context_from(acceptance.traceparent, acceptance.tracestate)
        with span(names.DISPATCH_CHUNK, context=parent, attributes=attributes) as dispatching:
            return ChunkTask(
                topic=self._history_topic,
                partition=partition,
                chunk=str(due.chunk),
                dispatched_at=self._clock.now_ms(),
                attempt=due.attempt,
                traceparent=traceparent_of(dispatching) or acceptance.traceparent,
                tracestate=tracestate_of(dispatching) or acceptance.tracestate,
            )

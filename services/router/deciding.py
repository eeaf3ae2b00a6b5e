"""The router's decisions on jobs, each a fact of its own."""

from __future__ import annotations

from collections.abc import Callable

from services.router.jobs.state import JobState
from services.router.policy import RouteRequest, static_policy
from shared.events import JobRouted
from shared.history.facts import fact_headers
from shared.history.machine import DecisionDue, NewFact
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import span
from shared.workloads import WorkloadRegistry


class JobDecider:
    """`Decider[JobState]`: routes a job by policy.

    Args:
        settings: slots and chunk size.
        workloads: know whether their items are dear.
        ray_trouble: says why a job had better not go to Ray now.
    """

    def __init__(
        self,
        settings: Settings,
        workloads: WorkloadRegistry,
        ray_trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._ray_trouble = ray_trouble

    async def decide(self, state: JobState, due: DecisionDue) -> NewFact | None:
        """The fact that routes the job; None while its items are not counted."""
        acceptance, terms = state.acceptance, state.terms
        if acceptance is None or terms is None or state.items_total is None:
            return None
        settings = self._settings
        parent = context_from(acceptance.traceparent, acceptance.tracestate)
        with span(names.DECIDE_JOB, context=parent, attributes={names.JOB_ID: state.job_id}) as deciding:
            route = static_policy(
                RouteRequest(
                    workload=terms.workload,
                    items_total=state.items_total,
                    engine=terms.engine,
                    slots=settings.slots,
                    forced_chunk_items=settings.chunk_items,
                    dear_items=self._workloads.get(terms.workload).flush_each_item,
                    ray_slots=settings.ray_resources.of(terms.workload).max_runners or settings.ray_runners,
                    ray_threshold_items=settings.ray_threshold_items,
                    ray_missing="ray is not configured" if settings.ray_address is None else None,
                    ray_trouble=self._ray_trouble(),
                )
            )
            reasons = "; ".join(route.reasons)
            deciding.set_attributes({names.DECISION: "route", names.ENGINE: route.engine, names.REASON: reasons})
        fact = JobRouted(
            n=due.n,
            engine=route.engine,
            chunk_items=route.chunk_items,
            policy=route.policy,
            reasons=route.reasons,
        )
        headers = fact_headers(fact.fact_type, state.job_id, acceptance.traceparent, acceptance.tracestate)
        return NewFact(fact.fact_type, fact.encode(), headers)

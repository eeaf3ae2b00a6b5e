"""Routes jobs: which engines may run one, by which policy the engine and the chunks are chosen."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from services.router.policy.adaptive.policy import AdaptivePolicy
from services.router.policy.engine_choice import Route, RouteRequest, static_engine, static_policy
from shared.facts.jobs import JobTerms
from shared.settings import Settings
from shared.workloads import WorkloadRegistry


class Routing:
    """Routes jobs by the policy of the settings.

    Args:
        settings: policy, slots, and which workloads Ray runs.
        workloads: know whether their items cost much.
        ray_trouble: why jobs should not go to Ray now; None if they may.
        adaptive: knows what items take; without it chunks, too, are those of the policy `static`.
    """

    def __init__(
        self,
        settings: Settings,
        workloads: WorkloadRegistry,
        ray_trouble: Callable[[], str | None] = lambda: None,
        adaptive: AdaptivePolicy | None = None,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._ray_trouble = ray_trouble
        self._adaptive = adaptive

    async def route(self, job_id: str, terms: JobTerms, items_total: int) -> Route:
        """Engine and chunks of a job.

        Raises:
            redis.RedisError: what was observed cannot be read.
            UnknownWorkloadError: its workload is not installed here.
        """
        request = self._request(terms, items_total)
        if self._adaptive is None:
            return static_policy(request)
        if self._settings.policy == "static":
            engine, why = static_engine(request)
            chunk_items, size = await self._adaptive.chunks(request, terms, engine)
            return Route(engine, chunk_items, "static", (why, size))
        return await self._adaptive.route(request, terms, seed=UUID(job_id).int & 0x7FFF_FFFF)

    def _request(self, terms: JobTerms, items_total: int) -> RouteRequest:
        settings = self._settings
        return RouteRequest(
            workload=terms.workload,
            items_total=items_total,
            engine=terms.engine,
            slots=settings.slots,
            forced_chunk_items=settings.chunk_items,
            single_items=self._workloads.get(terms.workload).flush_each_item,
            ray_slots=settings.ray_resources.of(terms.workload).max_runners or settings.ray_runners,
            ray_threshold_items=settings.ray_threshold_items,
            ray_missing=self._ray_missing(terms.workload),
            ray_trouble=self._ray_trouble(),
            rule=settings.routes.of(terms.workload),
        )

    def _ray_missing(self, workload: str) -> str | None:
        if self._settings.ray_address is None:
            return "ray is not configured"
        return None if self._settings.is_for_ray(workload) else f"ray does not run {workload} jobs (MESH_RAY_WORKLOADS)"

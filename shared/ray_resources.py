"""What the runners of a workload demand of a Ray cluster, as the setting `MESH_RAY_RESOURCES` says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel


class RayDemand(BaseModel):
    """What one runner takes of a node. `memory` is in bytes; Ray keeps the books and does not enforce it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_cpus: Annotated[float, Field(ge=0)] = 1.0
    memory: Annotated[int, Field(gt=0)] | None = None
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    max_runners: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Instead of `MESH_RAY_MAX_RUNNERS`."""


class RayDemands(RootModel[dict[str, RayDemand]]):
    """Demands by workload; one that is not named takes one CPU."""

    root: dict[str, RayDemand] = Field(default_factory=dict)

    def of(self, workload: str) -> RayDemand:
        """The demand of a workload's runners."""
        return self.root.get(workload) or RayDemand()

    def __str__(self) -> str:
        return self.model_dump_json()

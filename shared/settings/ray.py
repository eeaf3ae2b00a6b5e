"""Ray: the engine of large jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, PositiveFloat, SecretStr
from pydantic_settings import NoDecode

from eldermesh.contract.vocabulary import Name
from shared.addresses import HostPort
from shared.ray_resources import RayDemands
from shared.settings.comma_list import SPLIT


class RaySettings(BaseModel):
    """The head, what goes there, and its runners."""

    ray_address: HostPort | None = Field(
        None, description="`host:port` of a Ray head; without one every job runs on Celery. `mesh up` has its own."
    )
    ray_auth_token: SecretStr | None = Field(None, description="Token of the Ray cluster, at least 32 characters.")
    ray_threshold_items: Annotated[int, Field(ge=1)] = Field(
        100, description="Jobs of so many items go to Ray, smaller ones to Celery; the submit's `engine` wins."
    )
    ray_workloads: Annotated[tuple[Name, ...], NoDecode, SPLIT] = Field(
        (),
        description="Workloads that Ray may run, all where none is named; others go to Celery whatever their size. For"
        " Ray nodes that lack what a workload needs, such as the Claude CLI.",
    )
    ray_min_runners: Annotated[int, Field(ge=0, le=4096)] = Field(
        0, description="Runners of each workload on Ray that stay when idle, once they were needed."
    )
    ray_max_runners: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Most runners of each workload on Ray; as many as `MESH_SLOTS` by default."
    )
    ray_idle_seconds: PositiveFloat = Field(60.0, description="A runner on Ray idle for so long ends.")
    ray_resources: RayDemands = Field(
        RayDemands(),
        description='What a runner takes, by workload: `{"python": {"num_cpus": 0.5, "memory": 1000000000,'
        ' "resources": {"gpu_box": 1}, "max_runners": 8}}`; one CPU by default.',
    )
    ray_dir: Path | None = Field(
        None, description="Where Ray keeps sockets and logs of this machine; `ray` in the data dir by default."
    )
    ray_join: bool = Field(
        default=False,
        description="Start a Ray node without CPUs beside the router: needed where no Ray node is on its host.",
    )
    ray_on_demand: bool = Field(
        default=False,
        description="A head is started once the router asks, by a file in the data dir. Set by `mesh up`.",
    )

    def is_for_ray(self, workload: str) -> bool:
        """Whether jobs of this workload may go to Ray."""
        return not self.ray_workloads or workload in self.ray_workloads

"""What an operator says of where a workload's jobs run, as the setting `MESH_ROUTES` says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel

from eldermesh.contract.vocabulary import Engine


class RouteRule(BaseModel):
    """Of one workload. It goes before the policy, and before what a submit asks for.

    Attributes:
        engine: where all its jobs run, and so not on the other one.
        weights: an engine of weight 2 is taken until the policy predicts that it takes twice as long as another one.
        chunk_items: items a chunk, instead of what the policy chooses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine | None = None
    weights: dict[Engine, Annotated[float, Field(ge=0.01, le=100)]] = Field(default_factory=dict)
    chunk_items: Annotated[int, Field(ge=1)] | None = None


class RouteRules(RootModel[dict[str, RouteRule]]):
    """Rules by workload."""

    root: dict[str, RouteRule] = Field(default_factory=dict)

    def of(self, workload: str) -> RouteRule:
        """The rule of a workload, perhaps an empty one."""
        return self.root.get(workload) or RouteRule()

    def __str__(self) -> str:
        return self.model_dump_json()

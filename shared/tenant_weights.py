"""How much of the engines a tenant gets while others wait too, as the setting `MESH_TENANT_WEIGHTS` says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, RootModel

from eldermesh.contract.vocabulary import Name

Weight = Annotated[float, Field(ge=0.01, le=100)]


class TenantWeights(RootModel[dict[Name, Weight]]):
    """Weights by tenant; one that is not named has the weight 1."""

    root: dict[Name, Weight] = Field(default_factory=dict)

    def of(self, tenant: str) -> float:
        """The weight of a tenant."""
        return self.root.get(tenant, 1.0)

    def __str__(self) -> str:
        return self.model_dump_json()

"""What the verbs that run a mesh answer with `--json`, as the contract has it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProcessAnswer(_Answer):
    """A service of the mesh. `rss_bytes` is the resident memory of all its processes.

    `trouble` says how it ended last and how often in a row, until it has run well for half a minute.
    """

    name: str
    pid: int | None
    state: Literal["waiting", "starting", "running", "restarting", "stopping", "stopped", "failed"]
    restarts_total: int = Field(ge=0)
    rss_bytes: int = Field(ge=0)
    trouble: str | None = None


class UpAnswer(_Answer):
    """The mesh is ready, so many seconds after its start."""

    ready: Literal[True]
    ready_seconds: float = Field(ge=0)
    processes: tuple[ProcessAnswer, ...]


class PsAnswer(_Answer):
    """The services of the mesh."""

    processes: tuple[ProcessAnswer, ...]


class DownAnswer(_Answer):
    """The mesh has been stopped; `killed_processes` did not end within their grace."""

    stopped_processes: int = Field(ge=0)
    killed_processes: int = Field(ge=0)
    stop_seconds: float = Field(ge=0)


class LogLine(_Answer):
    """A line of a service's log."""

    name: str
    line: str


class EnvAnswer(BaseModel):
    """The settings with which any client reaches the mesh, those that have no value left out."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str]

    MESH_KAFKA_BOOTSTRAP: str
    MESH_REDIS_URL: str

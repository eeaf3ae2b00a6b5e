"""The runtime file: where the mesh of a data directory can be reached, and which processes it is made of."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from eldermesh_cli.stack.errors import RuntimeFileDamagedError
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from shared.text.regular_file import read_regular_file

RUNTIME_NAME = "runtime.json"
_MAX_BYTES = 1024 * 1024


class Addresses(BaseModel):
    """Where the parts of a mesh can be reached; None: it has no such part.

    Attributes:
        kafka_bootstrap: `host:port` of the broker.
        redis_url: With scheme and database.
        otlp_endpoint: Base address that takes OTLP/HTTP.
        span_store_url: Base address of the HTTP interface of the span store.
        topic_prefix: Before every topic name.
        broker_profile: What the broker can do, as the setting of this name.
        partitions: Of each topic; None: as many as the profile has.
        trace_query_url: Base address of a query API for traces, of Jaeger's form.
        blob_url: Where large results lie.
        ray_address: `host:port` of the mesh's own Ray head, which is started with the first job that needs it.
        claude_endpoint: Base address of the mesh's own endpoint for Claude CLIs; None: they reach another one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kafka_bootstrap: str
    redis_url: str
    otlp_endpoint: str | None = None
    span_store_url: str | None = None
    topic_prefix: str = ""
    broker_profile: Literal["kafka", "embedded"] = "embedded"
    partitions: int | None = None
    trace_query_url: str | None = None
    blob_url: str | None = None
    claude_endpoint: str | None = None
    ray_address: str | None = None


class RuntimeProcess(BaseModel):
    """A service's process as it was when the file was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    pid: int


class Runtime(Addresses):
    """A mesh that runs, or ran: `is_alive` tells."""

    supervisor: ProcessIdentity
    ready_seconds: float
    processes: tuple[RuntimeProcess, ...] = ()

    def is_alive(self) -> bool:
        """Say whether the supervisor that wrote this still runs; a later process of its pid is not taken for it."""
        return self.supervisor.is_alive()


def write_runtime(data_dir: Path, runtime: Runtime) -> None:
    """Replace the file as a whole: a reader sees the old or the new content."""
    fd, temporary = tempfile.mkstemp(prefix=".runtime-", dir=data_dir)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(runtime.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(data_dir / RUNTIME_NAME)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_runtime(data_dir: Path) -> Runtime | None:
    """Return what the file says, whether the mesh still runs or not; None without a file.

    Raises:
        RuntimeFileDamagedError: it holds something else.
    """
    path = data_dir / RUNTIME_NAME
    try:
        return Runtime.model_validate_json(read_regular_file(path, _MAX_BYTES))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RuntimeFileDamagedError(f"{path} is damaged; remove it, then start the mesh again") from error


def live_runtime(data_dir: Path) -> Runtime | None:
    """Return the mesh that runs on this data directory; None when none does, also if its file was left behind.

    Raises:
        RuntimeFileDamagedError: see `read_runtime`.
    """
    runtime = read_runtime(data_dir)
    return runtime if runtime is not None and runtime.is_alive() else None


def remove_runtime(data_dir: Path) -> None:
    """Remove the file; call it only while holding the data directory."""
    (data_dir / RUNTIME_NAME).unlink(missing_ok=True)

"""Telling a person how far the start of a mesh is, and where it is once it is ready."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.status import Status

from eldermesh.counted import counted
from eldermesh_cli.answers.stack import ProcessAnswer, UpAnswer
from eldermesh_cli.program.target_mesh import load_settings
from eldermesh_cli.stack.runtime_file import Runtime
from eldermesh_cli.stack.service import Service, ServiceState
from eldermesh_cli.terminal.output import Output, pairs_table, stderr_console

MEGABYTE = 1_000_000
IN_MEMORY = "the broker keeps everything in memory: when the mesh stops, its jobs and results are forgotten"


class StartDisplay:
    """Says on standard error which services are ready and which are awaited; with a spinner on a terminal."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._console = stderr_console()
        self._began = time.monotonic()
        self._told: set[str] = set()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._output.shows_progress and not self._output.as_json:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.done()

    def update(self, services: Mapping[str, Service]) -> None:
        """Tell of each service that it runs, and again when it was started again."""
        for name, service in services.items():
            if service.state is not ServiceState.RUNNING:
                self._told.discard(name)
            elif name not in self._told:
                self._told.add(name)
                after = "again" if service.restarts_total else f"after {time.monotonic() - self._began:.1f} s"
                self._note(f"{name} is ready {after}")
        awaited = [name for name, each in services.items() if each.spec.wanted is None and name not in self._told]
        if self._status is not None:
            self._status.update(f"waiting for {', '.join(awaited)}" if awaited else "ready")

    def announce(self, line: str) -> None:
        """Tell what happened to a service; a script gets it, too, as a line of JSON that is not an error."""
        if self._output.as_json:
            sys.stderr.write(json.dumps({"notice": line}, ensure_ascii=False) + "\n")
            sys.stderr.flush()
        else:
            self._note(line)

    def done(self) -> None:
        """Nothing is awaited any more."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _note(self, line: str) -> None:
        # The console, not the stream: it keeps lines and spinner apart.
        if not self._output.as_json:
            self._console.print(f"mesh: {line}", markup=False, soft_wrap=True)


def show_ready(
    output: Output, runtime: Runtime, processes: Sequence[ProcessAnswer], data_dir: Path, *, stop: str
) -> None:
    """Print that the mesh is ready: the answer, or for people where everything is and what to do next."""
    if output.as_json:
        output.answer(UpAnswer(ready=True, ready_seconds=runtime.ready_seconds, processes=tuple(processes)))
        return
    memory = sum(process.rss_bytes for process in processes)
    output.show(
        f"The mesh is ready after {runtime.ready_seconds:.1f} s: {counted(len(processes), 'service')}, "
        f"{memory / MEGABYTE:.0f} MB.\n",
        pairs_table(
            [
                ("Kafka", runtime.kafka_bootstrap),
                ("Redis", runtime.redis_url),
                ("telemetry", f"{runtime.otlp_endpoint} (OTLP/HTTP; /metrics)"),
                ("Claude", _claude(runtime)),
                ("data, logs", data_dir),
                ("try", "mesh submit python --function math:sqrt 1 4 9 --wait"),
                ("other clients", "mesh env"),
                ("stop", stop),
                ("beware", speaks_elsewhere(runtime)),
            ]
        ),
    )


def speaks_elsewhere(runtime: Runtime) -> str | None:
    """A warning if the environment or `.env` makes the verbs speak to another mesh than this one, else None."""
    settings = load_settings()
    if "kafka_bootstrap" not in settings.model_fields_set or settings.kafka_bootstrap == runtime.kafka_bootstrap:
        return None
    return (
        f"MESH_KAFKA_BOOTSTRAP is set, so verbs here speak to {settings.kafka_bootstrap}, not to this mesh: unset it, "
        "or take the settings of this one by `mesh env --data-dir`"
    )


def _claude(runtime: Runtime) -> str:
    """Who answers prompts: nobody should take made up answers for a model's."""
    if runtime.claude_endpoint is None:
        return "prompts go where the settings say"
    return f"{runtime.claude_endpoint} (loopback: no credentials are set, so answers are made up)"

"""A process that forks while telemetry is on: `python -m tests.integration.telemetry_fork_program ENDPOINT MODE`.

MODE is `multiprocessing` (a child that does nothing for telemetry but flush), `worker` (a raw fork whose child
configures again, as a Celery worker process does) or `exporting` (a fork while the parent's exports hang).
Prints pids and trace id as JSON; exit status 0 if parent and child ended as they should, within their limits.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable

from opentelemetry import metrics, trace
from opentelemetry.trace import Span

from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.setup import Telemetry, configure_telemetry, current_telemetry, shutdown_telemetry
from shared.telemetry.spans import span

_CHILD_SECONDS = 30.0
# As modules do: made before anything is configured.
_tracer = trace.get_tracer("program")
_counter = metrics.get_meter("program").create_counter(metric_names.ITEMS_ENDED.name)


def _configured() -> Telemetry:
    telemetry = current_telemetry()
    if telemetry is None:
        raise SystemExit("telemetry is not configured")
    return telemetry


def _work_in_child() -> None:
    with span(names.PROCESS_CHUNK), _tracer.start_as_current_span(names.PROCESS_ITEM.name):
        _counter.add(1)


def _multiprocessing_child() -> None:
    _work_in_child()
    if not _configured().flush():
        raise SystemExit("the child's spans were not flushed")


def _worker_child(settings: Settings) -> None:
    configure_telemetry(settings, "forked")
    _work_in_child()
    if not shutdown_telemetry():
        raise SystemExit("the child's spans were not flushed")


def _hindered_child(settings: Settings) -> None:
    """The collector hangs, and so may every lock that the parent held: the child goes on all the same."""
    began = time.monotonic()
    configure_telemetry(settings, "forked")
    for _ in range(1_000):
        _work_in_child()
    worked = time.monotonic() - began
    shutdown_telemetry(1.0)
    took = time.monotonic() - began
    if worked > 3.0 or took > 5.0:
        raise SystemExit(f"the child was held up: {worked:.2f} s of work, {took:.2f} s in all")


def _fork(child: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        child()
        status = 0
    except SystemExit as stop:
        sys.stderr.write(f"{stop}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(pid: int) -> None:
    deadline = time.monotonic() + _CHILD_SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"the child ended with status {os.waitstatus_to_exitcode(status)}")
            return
        time.sleep(0.02)
    os.kill(pid, 9)
    raise SystemExit(f"the child did not end within {_CHILD_SECONDS:g} s")


def _run_child(mode: str, settings: Settings) -> int:
    if mode == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=_multiprocessing_child)
        process.start()
        process.join(_CHILD_SECONDS)
        if process.exitcode != 0:
            process.kill()
            raise SystemExit(f"the child ended with {process.exitcode}")
        return process.pid or 0
    pid = _fork(lambda: _worker_child(settings) if mode == "worker" else _hindered_child(settings))
    _reap(pid)
    return pid


def _begin(telemetry: Telemetry, mode: str) -> None:
    """Have a connection that is alive, counts above zero and, for `exporting`, a thread that holds the export locks."""
    _counter.add(5)
    with _tracer.start_as_current_span("before"):
        pass
    telemetry.flush(1.0 if mode == "exporting" else 5.0)


def _described(parent: Span, child_pid: int) -> str:
    trace_id = trace.format_trace_id(parent.get_span_context().trace_id)
    return json.dumps({"trace_id": trace_id, "parent": os.getpid(), "child": child_pid})


def main(endpoint: str, mode: str) -> None:
    """Run the parent."""
    settings = Settings(otlp_endpoint=endpoint)
    telemetry = configure_telemetry(settings, "forking")
    _begin(telemetry, mode)
    with span(names.DISPATCH_CHUNK) as parent:
        child_pid = _run_child(mode, settings)
        with span(names.QUEUE_WAIT):
            pass
    sys.stdout.write(_described(parent, child_pid))
    if not telemetry.shutdown(5.0 if mode != "exporting" else 1.0) and mode != "exporting":
        raise SystemExit("the parent's spans were not flushed")


if __name__ == "__main__":
    main(*sys.argv[1:])

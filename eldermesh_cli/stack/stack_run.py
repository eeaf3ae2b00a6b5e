"""Run a stack on a data directory until somebody stops it: by signal, by the control socket, or by giving up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eldermesh_cli.answers.stack import DownAnswer, ProcessAnswer
from eldermesh_cli.stack.control import Handler, control_server
from eldermesh_cli.stack.data_dir import DataDirLock
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.processes.restarts import RestartPolicy
from eldermesh_cli.stack.runtime_file import Addresses, Runtime, RuntimeProcess, remove_runtime, write_runtime
from eldermesh_cli.stack.service import Service, ServiceSpec
from eldermesh_cli.stack.stop_request import stop_on_signals, unless_stopped
from eldermesh_cli.stack.supervisor import DescribeLoss, Supervisor, say


async def run_stack(
    lock: DataDirLock,
    specs: Sequence[ServiceSpec],
    addresses: Addresses,
    *,
    on_ready: Callable[[Runtime, Sequence[ProcessAnswer]], None],
    on_change: Callable[[Mapping[str, Service]], None] = lambda _: None,
    policy: RestartPolicy | None = None,
    describe_loss: DescribeLoss | None = None,
    handlers: Mapping[str, Handler] | None = None,
    announce: Callable[[str], None] = say,
) -> DownAnswer:
    """Start the services, call `on_ready`, keep them running; when stopped, stop them and say what that took.

    `on_change` is called with all services whenever one of them has got another process or state.

    While it runs, the runtime file tells where the stack is, and the control socket answers `ps`, `stop` (once all
    services have stopped) and what `handlers` add. Logs are in `logs/NAME.log` of the data directory. A first signal
    stops in order, a second one kills. Whatever happens, no process of the stack is left.

    Raises:
        StartFailedError: a service did not start.
        GaveUpError: a service that holds everything in memory died too often.
        ProcessWouldNotDieError: a process outlived SIGKILL.
    """
    running = _RunningStack(lock, addresses)

    def changed() -> None:
        running.update(supervisor)
        on_change(supervisor.services)

    supervisor = Supervisor(
        specs,
        log_dir=lock.data_dir / "logs",
        policy=policy,
        held_fds=(lock.fd,),
        describe_loss=describe_loss,
        changed=changed,
        announce=announce,
    )
    stop = asyncio.Event()
    stopped: asyncio.Future[DownAnswer] = asyncio.get_running_loop().create_future()

    async def answer_ps(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"ready": running.ready, "processes": [each.model_dump() for each in await supervisor.report()]}

    async def answer_stop(_: Mapping[str, Any]) -> Mapping[str, Any]:
        stop.set()
        return (await asyncio.shield(stopped)).model_dump()

    remove_runtime(lock.data_dir)  # one that a killed supervisor left
    with stop_on_signals(stop, supervisor.hurry):
        async with control_server(lock.data_dir, {"ps": answer_ps, "stop": answer_stop, **(handlers or {})}):
            try:
                await unless_stopped(stop, supervisor.start())
                if not stop.is_set():
                    on_ready(running.begin(supervisor), await supervisor.report())
                    await supervisor.run(stop)
            finally:
                stop.set()  # from here on a signal means: hurry
                try:
                    report = await supervisor.stop()
                finally:
                    remove_runtime(lock.data_dir)
                stopped.set_result(report)
    return report


class _RunningStack:
    """What the runtime file says, from the moment when the stack is ready."""

    def __init__(self, lock: DataDirLock, addresses: Addresses) -> None:
        self._data_dir = lock.data_dir
        self._addresses = addresses
        self._began = time.monotonic()
        self._ready_seconds: float | None = None

    @property
    def ready(self) -> bool:
        return self._ready_seconds is not None

    def begin(self, supervisor: Supervisor) -> Runtime:
        self._ready_seconds = round(time.monotonic() - self._began, 3)
        return self._write(supervisor, self._ready_seconds)

    def update(self, supervisor: Supervisor) -> None:
        if self._ready_seconds is not None:
            self._write(supervisor, self._ready_seconds)

    def _write(self, supervisor: Supervisor, ready_seconds: float) -> Runtime:
        runtime = Runtime(
            **self._addresses.model_dump(),
            supervisor=ProcessIdentity.of_this_process(),
            ready_seconds=ready_seconds,
            processes=tuple(
                RuntimeProcess(name=name, pid=service.pid)
                for name, service in supervisor.services.items()
                if service.pid is not None
            ),
        )
        write_runtime(self._data_dir, runtime)
        return runtime

"""Start the services of a stack in order, keep them running, stop them in reverse order; leave no process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eldermesh.counted import counted
from eldermesh_cli.answers.stack import DownAnswer, ProcessAnswer
from eldermesh_cli.stack.errors import GaveUpError, StackError, StartFailedError
from eldermesh_cli.stack.order import added_up, start_in_order, stop_in_order
from eldermesh_cli.stack.processes.restarts import Deaths, RestartPolicy
from eldermesh_cli.stack.report import report_of
from eldermesh_cli.stack.service import Service, ServiceSpec, ServiceState, describe_end
from eldermesh_cli.stack.stop_request import unless_stopped

_LOSSES_SECONDS = 10.0
_LOG_CHECK_SECONDS = 30.0

DescribeLoss = Callable[[str], Awaitable[Sequence[str]]]
"""Given the name of a memory-only service that died, says what was lost with it, a line each."""


@dataclass(frozen=True, kw_only=True)
class _Death:
    """A service ended, or did not start: which, how, and how long it had lived."""

    service: Service
    how: str
    lived_seconds: float


class _StateLostError(Exception):
    """A memory-only service died: the stack starts anew."""

    def __init__(self, death: _Death) -> None:
        super().__init__(death.service.spec.name)
        self.death = death


def say(line: str) -> None:
    """Tell the person who started the stack."""
    sys.stderr.write(f"mesh: {line}\n")
    sys.stderr.flush()


class Supervisor:
    """Services that run together.

    A service is started when those it depends on are ready, so independent ones start at once; it is stopped when all
    that depend on it have stopped.
    """

    def __init__(
        self,
        specs: Sequence[ServiceSpec],
        *,
        log_dir: Path,
        policy: RestartPolicy | None = None,
        held_fds: Sequence[int] = (),
        describe_loss: DescribeLoss | None = None,
        changed: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = say,
    ) -> None:
        """Take the services, dependencies before what depends on them.

        `changed` is called whenever a service has got another process or state; `held_fds` stay open until the last
        process of the stack is gone, also if this process is killed.

        Raises:
            StackError: a name is used twice, or a dependency or what outlives a service does not come before it.
        """
        self.services: dict[str, Service] = {}
        for spec in specs:
            if spec.name in self.services:
                raise StackError(f"two services are called {spec.name}")
            missing = [name for name in (*spec.depends_on, *spec.outlived_by) if name not in self.services]
            if missing:
                raise StackError(f"{spec.name} depends on {', '.join(missing)}, which must come before it")
            self.services[spec.name] = Service(spec, log_dir=log_dir, held_fds=held_fds)
        self._policy = policy or RestartPolicy()
        self._deaths = {name: Deaths(self._policy) for name in self.services}
        self._describe_loss = describe_loss
        self._tell_change = changed
        self._tell_line = announce
        self._broken_off: DownAnswer | None = None

    async def start(self) -> None:
        """Start all services that are wanted from the beginning, and wait until each is ready.

        Raises:
            StartFailedError: one is not; what was started has been stopped again.
        """
        try:
            await self._start_all()
        except BaseException:
            self._broken_off = await self._stop_all()
            raise

    async def run(self, stop: asyncio.Event) -> None:
        """Keep all services running until `stop` is set; the services then still run.

        A service that dies is started again for as long as it takes: what it waits for comes back, and what the others
        hold must not be lost for its sake. Only one that holds everything in memory is given up at some time, since
        each of its deaths forgets what was acknowledged: a mesh that takes jobs and forgets them does more harm than
        one that is down.

        Raises:
            GaveUpError: a memory-only service died too often; the services that remain still run.
        """
        while not stop.is_set():
            try:
                await self._watch_all(stop)
            except _StateLostError as lost:
                await unless_stopped(stop, self._start_anew(lost.death))

    async def stop(self) -> DownAnswer:
        """Stop all services, each within its grace; the report counts those of a start that was broken off, too."""
        report = await self._stop_all()
        return report if self._broken_off is None else added_up(self._broken_off, report)

    def hurry(self) -> None:
        """Cut every grace short: kill what still runs."""
        for service in self.services.values():
            service.kill_soon()

    async def report(self) -> list[ProcessAnswer]:
        """Return name, pid, state, restarts and memory of each service."""
        return await asyncio.to_thread(lambda: [report_of(service) for service in self.services.values()])

    def _changed(self) -> None:
        """Have it told; a disk that is full, or a terminal that is gone, ends no mesh."""
        try:
            self._tell_change()
        except OSError as error:
            self._announce(f"what runs could not be written down: {error.strerror}")

    def _announce(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody hears it, for the same reasons
            self._tell_line(line)

    async def _start_all(self) -> None:
        await start_in_order(self.services, self._changed)

    async def _stop_all(self) -> DownAnswer:
        report = await stop_in_order(self.services)
        self._changed()
        return report

    async def _watch_all(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set; raise what a watcher raises."""
        watchers = [asyncio.create_task(self._watch(service)) for service in self.services.values()]
        others = [asyncio.create_task(stop.wait()), asyncio.create_task(self._keep_logs_bounded())]
        try:
            while not stop.is_set():
                tasks = [task for task in (*watchers, *others) if not task.done()]
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (*watchers, *others):
                task.cancel()
            await asyncio.gather(*watchers, *others, return_exceptions=True)

    async def _watch(self, service: Service) -> None:
        """Start the service again whenever it ends, until this is cancelled."""
        while True:
            try:
                if service.state is not ServiceState.RUNNING:
                    await service.until_wanted()
                    await service.bring_up()
                    self._changed()
                began = time.monotonic()
                how = describe_end(await service.wait())
                death = _Death(service=service, how=how, lived_seconds=time.monotonic() - began)
            except StartFailedError as failure:
                death = _Death(service=service, how=f"did not start: {failure.reason}", lived_seconds=0.0)
            if service.spec.memory_only:
                raise _StateLostError(death)
            await asyncio.sleep(self._delay_after(death))
            service.restarts_total += 1

    def _delay_after(self, death: _Death) -> float:
        """Say what happened, and return the seconds until the restart.

        Raises:
            GaveUpError: the service holds everything in memory and died too often.
        """
        service = death.service
        name, deaths = service.spec.name, self._deaths[service.spec.name]
        delay_seconds = deaths.record(death.lived_seconds)
        again = f", {deaths.quick} times in a row" if deaths.quick > 1 else ""
        service.trouble = death.how + again
        if service.spec.memory_only and deaths.are_too_many:
            service.state = ServiceState.FAILED
            self._changed()
            self._announce(
                f"{name} {death.how}; given up after {counted(deaths.quick, 'quick death')} (log: {service.log_path})"
            )
            raise GaveUpError(name, deaths.quick, service.log_path)
        service.state = ServiceState.RESTARTING
        self._changed()
        self._announce(f"{name} {death.how}{again}; starting it again in {delay_seconds:g} s (log: {service.log_path})")
        return delay_seconds

    async def _start_anew(self, death: _Death) -> None:
        """Stop everything and start it again, since a service lost what it held.

        One that does not start then is left to its watcher: nothing else is stopped again for its sake.
        """
        name = death.service.spec.name
        self._announce(f"{name} {death.how}: what it held is lost, so the whole mesh starts anew")
        for line in await self._losses(name):
            self._announce(f"lost with {name}: {line}")
        while True:
            await self._stop_all()
            await asyncio.sleep(self._delay_after(death))
            for service in self.services.values():
                service.restarts_total += 1
            try:
                return await start_in_order(self.services, self._changed, self._start_failed)
            except _StateLostError as lost:
                death = lost.death

    def _start_failed(self, failure: StartFailedError) -> None:
        service = self.services[failure.name]
        death = _Death(service=service, how=f"did not start: {failure.reason}", lived_seconds=0.0)
        if service.spec.memory_only:
            raise _StateLostError(death) from failure
        self._delay_after(death)

    async def _losses(self, name: str) -> Sequence[str]:
        if self._describe_loss is None:
            return ()
        try:
            async with asyncio.timeout(_LOSSES_SECONDS):
                return await self._describe_loss(name)
        except Exception as error:  # noqa: BLE001 - it asks a stack of which a part just died: never in the restart's way
            return (f"what, cannot be said: {error!r}",)

    async def _keep_logs_bounded(self) -> None:
        while True:
            await asyncio.sleep(_LOG_CHECK_SECONDS)
            for service in self.services.values():
                try:
                    await asyncio.to_thread(service.cut_log)
                except OSError as error:  # a full disk ends no mesh: the log is cut next time
                    self._announce(f"the log of {service.spec.name} could not be cut: {error.strerror}")

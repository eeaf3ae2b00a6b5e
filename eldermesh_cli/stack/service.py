"""One service of the stack: what it is (`ServiceSpec`) and one that runs (`Service`)."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from eldermesh_cli.stack.errors import NotReadyError, StackError, StartFailedError
from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.processes.log_file import cut_log, log_tail
from eldermesh_cli.stack.processes.restarts import QUICK_SECONDS
from shared.processes.children import signal_name

Check = Callable[[], Awaitable[None]]
"""Returns when what it asks for holds; raises `NotReadyError` while it does not."""

_READY_SECONDS = 180.0
"""On idle cores a service is ready within seconds; on a machine with ten times as much to do it needs more than 60."""
_READY_POLL_SECONDS = 0.02
_READY_POLL_MAX_SECONDS = 0.25


class ServiceState(StrEnum):
    """Where a service stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """What a service is.

    Attributes:
        name: Unique in the stack; names the log file too.
        command: Program and arguments; no shell.
        env: Variables of its own.
        inherit_env: Whether it gets this process' environment below `env`; nothing but `PATH` and `HOME` otherwise.
        wanted: Asked until it returns before the service is started, which nobody waits for; None: from the beginning.
        ready: Asked until it returns; None: ready as soon as the program is executed.
        prepare: Done each time the service has become ready, before what depends on it is started.
        depends_on: Names of services that must be ready first, and are stopped after this one.
        outlived_by: Names of services that are stopped after this one, but need not be ready first.
        ready_timeout_seconds: Limit for `ready`, and again for `prepare`.
        stop_grace_seconds: From SIGTERM to SIGKILL.
        memory_only: Its death loses what it held: the whole stack is stopped and started anew, and stopped for good if
            that happens too often. Any other service is started again for as long as it takes.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    inherit_env: bool = True
    wanted: Check | None = None
    ready: Check | None = None
    prepare: Check | None = None
    depends_on: tuple[str, ...] = ()
    outlived_by: tuple[str, ...] = ()
    ready_timeout_seconds: float = _READY_SECONDS
    stop_grace_seconds: float = 30.0
    memory_only: bool = False

    def environment(self) -> dict[str, str]:
        """Return the whole environment of its process."""
        inherited = os.environ if self.inherit_env else {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
        return {**inherited, **self.env}


class Service:
    """A service of which at most one run exists at a time.

    Its log is `NAME.log` in `log_dir`. Its temporary files lie beside that directory in `tmp/NAME`: a process that is
    killed leaves some, and they go when the service stops or starts again. `trouble` says how it ended last, if it did.
    """

    def __init__(self, spec: ServiceSpec, *, log_dir: Path, held_fds: Sequence[int] = ()) -> None:
        self.spec = spec
        self.state = ServiceState.STOPPED if spec.wanted is None else ServiceState.WAITING
        self.restarts_total = 0
        self.trouble: str | None = None
        self._running_since = 0.0
        self.log_path = log_dir / f"{spec.name}.log"
        self._temp_dir = log_dir.absolute().parent / "tmp" / spec.name
        self._held_fds = tuple(held_fds)
        self._process: OwnedProcess | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the service's own process, None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def leash_pid(self) -> int | None:
        """The pid above all processes of the service, None while there is none."""
        return self._process.leash_pid if self._process is not None and self._process.poll() is None else None

    async def bring_up(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            StartFailedError: it ended, or was not ready within the limit; no process of it is left.
        """
        env = self.spec.environment() | {"TMPDIR": str(self._temp_dir)}
        process = OwnedProcess(self.spec.command, log_path=self.log_path, env=env, held_fds=self._held_fds)
        self._process = process
        self.state = ServiceState.STARTING
        try:
            await asyncio.to_thread(self._make_temp_dir)
            process.start()
            await self._within_limit(process, self.spec.ready, "not ready")
            await self._within_limit(process, self.spec.prepare, "not prepared")
        except Exception as error:  # whatever a check raises: the service is not up, and its process must not stay
            await process.stop(0.0)
            reason = str(error) if isinstance(error, StackError) else repr(error)
            raise StartFailedError(self.spec.name, reason, self.log_path, log_tail(self.log_path)) from error
        self.state = ServiceState.RUNNING
        self._running_since = time.monotonic()

    @property
    def is_well(self) -> bool:
        """Whether it has been ready for so long that how it ended before says nothing of now."""
        return self.state is ServiceState.RUNNING and time.monotonic() - self._running_since > QUICK_SECONDS

    async def until_wanted(self) -> None:
        """Return once the service is to be started."""
        if self.spec.wanted is None:
            return
        self.state = ServiceState.WAITING
        await _ask(self.spec.wanted, ["not asked for"])

    async def wait(self) -> int:
        """Wait until the process has ended; return its exit status, or minus the signal that ended it."""
        if self._process is None:
            raise StackError(f"{self.spec.name} was never started")
        return await self._process.wait()

    async def shut_down(self) -> bool:
        """Stop it, if it runs; return whether it had to be killed."""
        if self._process is None:
            return False
        if self.is_well:  # else an old trouble would be told again when all services are started anew
            self.trouble = None
        if self.pid is not None:
            self.state = ServiceState.STOPPING
            await self._process.stop(self.spec.stop_grace_seconds)
        await asyncio.to_thread(self._remove_temp_dir)
        if self.state is not ServiceState.FAILED:
            self.state = ServiceState.STOPPED
        return self._process.killed

    def kill_soon(self) -> None:
        """Have it killed without grace; a `shut_down` that waits then returns."""
        if self._process is not None:
            self._process.kill_soon()

    def kill(self) -> None:
        """Kill it and wait for that, without an event loop."""
        if self._process is not None:
            self._process.kill()
            self._remove_temp_dir()

    def cut_log(self) -> None:
        """Keep the log within its bound while the service writes to it."""
        cut_log(self.log_path)

    def _make_temp_dir(self) -> None:
        """Empty, and there: a `TMPDIR` that is missing is passed over for the system's."""
        self._remove_temp_dir()
        self._temp_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _remove_temp_dir(self) -> None:
        """Call it only while no process of the service is left; what cannot be removed waits for the next time."""
        shutil.rmtree(self._temp_dir, ignore_errors=True)

    async def _within_limit(self, process: OwnedProcess, check: Check | None, unmet: str) -> None:
        """Ask `check` until it holds, the process ends, or the limit is reached."""
        if check is None:
            return
        reasons = ["no answer"]
        asking = asyncio.ensure_future(_ask(check, reasons))
        ending = asyncio.ensure_future(process.wait())
        limit = self.spec.ready_timeout_seconds
        try:
            await asyncio.wait({asking, ending}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            returncode = process.poll()
            if returncode is not None:
                raise StackError(f"it {describe_end(returncode)}")
            if not asking.done():
                raise StackError(f"{unmet} within {limit:g} s: {reasons[-1]}")
            asking.result()
        finally:
            asking.cancel()
            ending.cancel()
            await asyncio.gather(asking, ending, return_exceptions=True)


async def _ask(check: Check, reasons: list[str]) -> None:
    """Call `check` until it returns; the last of `reasons` is always why it did not."""
    pause = _READY_POLL_SECONDS
    while True:
        try:
            return await check()
        except NotReadyError as not_ready:
            reasons[:] = [str(not_ready)]
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _READY_POLL_MAX_SECONDS)


def describe_end(returncode: int) -> str:
    """Say in words how a process ended."""
    if returncode < 0:
        return f"was ended by {signal_name(-returncode)}"
    return f"exited with status {returncode}"

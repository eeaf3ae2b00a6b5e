"""The runner of notifications: claims what the owners of this process dispatch, and sends, a few at once a channel."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from uuid import uuid4

from opentelemetry import metrics
from redis.exceptions import RedisError

from services.notifier.notifications.ports import SendPorts, SendTask
from services.notifier.notifications.run import SendRun
from shared.errors import RetryableError
from shared.history.claims import Claimed, ClaimRefusal
from shared.history.lease import Lease
from shared.logs import job_logs
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import span

SLOTS = 4
"""Sends that run at once on one channel: a slow one holds up no other."""

NOT_YET_SECONDS = 10.0
"""How long a run waits for a partition that is being taken over; then its owner sends it again."""

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


class SendRunner:
    """Takes notifications as owners dispatch them; their windows bound how many wait here.

    Args:
        ports: what runs work with.
    """

    def __init__(self, ports: SendPorts) -> None:
        self._ports = ports
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(SLOTS))
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        self._stopping = asyncio.Event()
        self._running = 0
        self._attempts = metrics.get_meter(__name__).create_counter(
            metric_names.NOTIFICATION_ATTEMPTS.name, metric_names.NOTIFICATION_ATTEMPTS.unit
        )

    def take(self, task: SendTask) -> None:
        """Send when there is a free slot; what is here already is not taken twice."""
        name = str(task.chunk)
        if self._closing or name in self._tasks:
            return
        running = asyncio.create_task(self._take(task), name=f"notification {name}")
        self._tasks[name] = running
        running.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing more; give what is being sent so long; then break it off."""
        self._closing = True
        if self._running and self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=drain_seconds)
        self._stopping.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _take(self, task: SendTask) -> None:
        async with self._slots[task.planned.channel]:
            if self._closing:
                return
            self._running += 1
            try:
                with job_logs(task.planned.job_id):
                    await self._run(task)
            except RetryableError as error:
                _log.warning("notification %s: this run ends, its claim will die: %s", task.notification_id, error)
            except Exception:  # noqa: BLE001 - it is logged, and concerns this run alone
                _log.exception("notification %s: this run failed, its claim will die", task.notification_id)
            finally:
                self._running -= 1

    async def _run(self, task: SendTask) -> None:
        lease = await self._claim(task, uuid4().hex)
        if lease is None:
            return
        planned = task.planned
        attributes: dict[str, str | int] = {
            names.JOB_ID: planned.job_id,
            names.NOTIFICATION_ID: task.notification_id,
            names.NOTIFICATION_CHANNEL: planned.channel,
            names.NOTIFICATION_ATTEMPT: task.attempt,
        }
        parent = context_from(planned.traceparent, planned.tracestate)
        with span(names.SEND_NOTIFICATION, context=parent, attributes=attributes) as run_span:
            word = await SendRun(self._ports, task, lease, run_span, self._stopping).run()
        self._attempts.add(1, {names.NOTIFICATION_CHANNEL: planned.channel, names.NOTIFICATION_OUTCOME: word})
        if word != "sent":
            _log.info("notification %s on %s: %s", task.notification_id, planned.channel, word)

    async def _claim(self, task: SendTask, run: str) -> Lease | None:
        """The lease; None if the run is not this one's to do, or could not be claimed in time."""
        ports = self._ports
        give_up_at = ports.clock.monotonic() + NOT_YET_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while not self._closing:
            asked_at = ports.clock.monotonic()
            answer: Claimed | ClaimRefusal = ClaimRefusal.NOT_YET
            try:
                answer = await ports.claims.claim(task.partition, task.chunk, runner=ports.worker_id, run=run)
            except (RedisError, OSError) as error:
                _log.warning("notification %s could not be claimed: %r", task.notification_id, error)
            if isinstance(answer, Claimed):
                return Lease(
                    ports.claims,
                    task.partition,
                    task.chunk,
                    runner=ports.worker_id,
                    run=run,
                    mark=answer.mark,
                    seconds=ports.settings.lease_seconds,
                    heartbeat_seconds=ports.settings.heartbeat_seconds,
                    clock=ports.clock,
                    taken_at=asked_at,
                )
            left = give_up_at - ports.clock.monotonic()
            if answer is ClaimRefusal.LEAVE or left <= 0:
                return None
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return None

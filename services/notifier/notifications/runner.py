"""The runner of notifications: claims what the owners of this process dispatch, and sends, a few at once a channel."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from uuid import uuid4

from opentelemetry import metrics

from services.notifier.notifications.run import SendRun
from services.notifier.notifications.runner_parts import SendPorts, SendTask, claim_timeout_of
from shared.errors import RetryableError
from shared.history.runs.claim_request import Unclaimed, claimed_lease
from shared.logs.exceptions import ends_the_task
from shared.logs.setup import job_logs
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import span

SLOTS = 4
"""Sends that run at once on one channel: a slow one holds up no other."""

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
        self._taken_at: dict[str, float] = {}
        self._closing = False
        self._stopping = asyncio.Event()
        self._running = 0
        self._attempts = metrics.get_meter(__name__).create_counter(
            metric_names.NOTIFICATION_ATTEMPTS.name, metric_names.NOTIFICATION_ATTEMPTS.unit
        )

    def take(self, task: SendTask) -> None:
        """Send when there is a free slot; what is here already is not taken twice."""
        name = str(task.chunk)
        if self._closing:
            return
        self._taken_at[name] = self._ports.clock.monotonic()
        if name in self._tasks:
            return
        running = asyncio.create_task(self._take(task), name=f"notification {name}")
        self._tasks[name] = running
        running.add_done_callback(lambda _: self._forget(name))

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing more; give what is being sent so long; then break it off."""
        self._closing = True
        if self._running and self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=drain_seconds)
        self._stopping.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _forget(self, name: str) -> None:
        del self._tasks[name], self._taken_at[name]

    async def _take(self, task: SendTask) -> None:
        while self._asks_again(task, await self._take_a_slot(task)):
            pass  # those that wait for a slot were first

    def _asks_again(self, task: SendTask, unclaimed: Unclaimed | None) -> bool:
        """Whether a claim is to be asked for once more.

        While Redis is away, for as long as that lasts: the owner, who needs Redis too, sends nothing again, and may do
        so only long after Redis is back. Where Redis says "not yet", until the owner would dispatch it again.
        """
        if unclaimed is Unclaimed.NOT_YET:
            waited = self._ports.clock.monotonic() - self._taken_at[str(task.chunk)]
            return waited <= claim_timeout_of(self._ports.settings)
        return unclaimed is Unclaimed.NO_ANSWER

    async def _take_a_slot(self, task: SendTask) -> Unclaimed | None:
        """Send it, if it can be claimed; otherwise say why not."""
        async with self._slots[task.planned.channel]:
            if self._closing:
                return None
            self._running += 1
            try:
                with job_logs(task.planned.job_id):
                    return await self._run(task)
            except RetryableError as error:
                _log.warning("notification %s: this run ends, its claim will die: %s", task.notification_id, error)
            except BaseException as error:
                if ends_the_task(error):
                    raise
                # It is logged, and concerns this run alone.
                _log.exception("notification %s: this run failed, its claim will die", task.notification_id)
            finally:
                self._running -= 1
        return None

    async def _run(self, task: SendTask) -> Unclaimed | None:
        ports = self._ports
        claimed = await claimed_lease(
            ports.claims,
            task.partition,
            task.chunk,
            runner=ports.worker_id,
            run=uuid4().hex,
            settings=ports.settings,
            clock=ports.clock,
            is_stopping=lambda: self._closing,
        )
        if isinstance(claimed, Unclaimed):
            return claimed
        _, lease = claimed
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
        return None

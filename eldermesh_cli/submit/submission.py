"""Sending one job and following it as far as was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from eldermesh.client import Client, JobDeadError, SubmittedJob
from eldermesh.client.submission import job_of_tenant
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.results import ItemResult
from eldermesh_cli.answers.jobs import SubmitAnswer
from eldermesh_cli.follow.job_lines import error_text, why_text
from eldermesh_cli.program.connection import OpenMesh, mesh_client, open_mesh
from eldermesh_cli.program.errors import CliError, ExitStatus, conflict
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.trace_context import traced
from eldermesh_cli.submit.acceptance import AskAcceptance, wait_for_acceptance
from eldermesh_cli.submit.history_tail import history_tail
from eldermesh_cli.submit.wait_messages import say_waits
from eldermesh_cli.terminal.output import Output, pairs_table
from eldermesh_cli.terminal.progress_bar import ItemsBar
from services.router.read_model.job import JobAcceptance
from shared.telemetry.trace_page import trace_page

_LAST_RECORDS_SECONDS = 1.0
_SLACK_SECONDS = 60.0


class Submission:
    """One job on its way.

    Args:
        mesh: where it goes.
        job: what is sent.
        output: where the answer goes.
    """

    def __init__(self, mesh: Mesh, job: JobSubmit, output: Output) -> None:
        self._mesh = mesh
        self._job = job
        self._output = output
        self._sent: SubmittedJob | None = None
        self._first_error: str | None = None

    def interrupted(self) -> None:
        """Say, after Ctrl-C, whether the job goes on."""
        if self._sent is None:
            self._output.note("nothing was sent")
        else:
            job_id = self._sent.job_id
            self._output.note(f"job {job_id} goes on; `mesh watch {job_id}` follows it, `mesh cancel {job_id}` ends it")

    async def accepted(self) -> ExitStatus:
        """Send the job and wait until the mesh has taken or refused it."""
        return await self._send(self._print_acceptance)

    async def ended(self, timeout_seconds: float | None) -> ExitStatus:
        """Send the job and wait for its end: by default as long as a job can live."""
        limit = self._mesh.settings.max_job_age_seconds + _SLACK_SECONDS if timeout_seconds is None else timeout_seconds

        async def follow(
            opened: OpenMesh | None, client: Client, sent: SubmittedJob, accepted: JobAcceptance
        ) -> ExitStatus:
            self._output.note(f"job {sent.job_id} is {accepted.state}")
            end = await self._follow(opened, client, sent.job_id, accepted.items_total, limit)
            self._print_end(end)
            return ExitStatus.OK if end.status == "completed" else ExitStatus.NOT_COMPLETED

        return await self._send(follow)

    async def _send(
        self, then: Callable[[OpenMesh | None, Client, SubmittedJob, JobAcceptance], Coroutine[Any, Any, ExitStatus]]
    ) -> ExitStatus:
        settings = self._mesh.settings
        if settings.submit_tenant is not None:
            self._job = job_of_tenant(self._job, settings.submit_tenant)
        opened: OpenMesh | None = None
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(traced(settings))
            if self._mesh.is_kafka_alone:
                ask: AskAcceptance = (await stack.enter_async_context(history_tail(settings, self._job))).acceptance
            else:
                opened = await stack.enter_async_context(open_mesh(self._mesh))
                ask = partial(_in_read_model, opened)
            client = await stack.enter_async_context(mesh_client(settings))
            sent = self._sent = await client.submit(self._job)
            try:
                accepted = await wait_for_acceptance(ask, client, sent, self._job.content_hash())
            except JobDeadError as error:
                return self._refused(sent, error)
            return await then(opened, client, sent, accepted)

    async def _print_acceptance(
        self, _: OpenMesh | None, __: Client, sent: SubmittedJob, accepted: JobAcceptance
    ) -> ExitStatus:
        self._print(SubmitAnswer(job_id=sent.job_id, state=accepted.state, **self._trace(accepted.trace_id)))
        return ExitStatus.OK

    def _refused(self, sent: SubmittedJob, error: JobDeadError) -> ExitStatus:
        """Answer that the submit is dead, on standard output too: a script that reads states finds this one there."""
        answer = SubmitAnswer(
            job_id=sent.job_id,
            state="dead",
            error_type=error.error_type,
            reason=error.reason,
            **self._trace(sent.trace_id),
        )
        if self._output.as_json:
            self._output.answer(answer)
        if error.error_type == "conflict":
            raise conflict(
                f"job {sent.job_id} exists already with other content",
                f"`mesh status {sent.job_id}` shows it; take another --job-id or --idempotency-key for this one",
            )
        is_ours = error.error_type == "internal"
        again = "" if is_ours else "it never ran: mend what the reason names, and submit it again; "
        raise CliError(
            ExitStatus.NOT_COMPLETED,
            error.error_type,
            f"job {sent.job_id} was refused: {error.reason}",
            f"{again}`mesh dlq show {sent.job_id}` shows it as it was sent",
        )

    async def _follow(
        self, opened: OpenMesh | None, client: Client, job_id: str, items_total: int | None, limit: float
    ) -> JobEnd:
        """Wait for the end, and show on standard error how far it is."""
        with ItemsBar(self._output, items_total) as bar:

            async def move() -> None:
                async for progress in client.progress(job_id, timeout_seconds=limit):
                    bar.move(progress.items_ended)
                    self._note_error(progress.results)

            moving = asyncio.create_task(move(), name=f"progress of {job_id}")
            helping = [moving]
            if opened is not None:
                helping.append(asyncio.create_task(say_waits(opened, job_id, bar.say), name=f"waits of {job_id}"))
            try:
                end = await client.wait(job_id, limit)
                # For the looks only: the last records are there within moments of the end.
                await asyncio.wait([moving], timeout=_LAST_RECORDS_SECONDS)
                return end
            finally:
                for task in helping:
                    task.cancel()
                await asyncio.wait(helping)

    def _note_error(self, results: Sequence[ItemResult]) -> None:
        failed = (result for result in results if result.status == "failed")
        if self._first_error is None and (first := next(failed, None)) is not None:
            self._first_error = error_text(first.item_index, first.error_type, first.error_message)

    def _trace(self, trace_id: str) -> dict[str, Any]:
        return {"trace_id": trace_id, "trace_url": trace_page(self._mesh.settings.trace_ui_url, trace_id)}

    def _print(self, answer: SubmitAnswer) -> None:
        if self._output.as_json:
            self._output.answer(answer)
            return
        trace = answer.trace_url or answer.trace_id
        self._output.show(pairs_table([("job", answer.job_id), ("state", answer.state), ("trace", trace)]))

    def _print_end(self, end: JobEnd) -> None:
        if self._output.as_json:
            self._output.answer(end)
        else:
            self._output.show(pairs_table(end_pairs(end, self._first_error)))


async def _in_read_model(opened: OpenMesh, sent: SubmittedJob) -> JobAcceptance | None:
    return await opened.jobs.acceptance(sent.job_id)


def end_pairs(end: JobEnd, first_error: str | None = None) -> list[tuple[str, object]]:
    """An end for people; `first_error` is that of an item."""
    failed = f", {end.items_failed} failed" if end.items_failed else ""
    not_run = f", {end.items_not_run} not run" if end.items_not_run else ""
    return [
        ("job", end.job_id),
        ("state", end.status),
        ("why", why_text(end.status, end.error_type, end.reason)),
        ("items", f"{end.items_succeeded} succeeded{failed}{not_run} of {end.items_total}"),
        ("first error", first_error),
        ("took", f"{end.active_seconds:.3f} s, on {end.engine}" if end.engine else f"{end.active_seconds:.3f} s"),
        ("accepted", end.accepted_at),
        ("ended", end.ended_at),
        ("cost", None if end.cost_usd is None else f"{end.cost_usd:.6f} USD"),
        ("trace", end.trace_id),
    ]

"""Sending one prompt, following one, ending one."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from redis.exceptions import RedisError

from eldermesh.client import Client, RequestDeadError, SentRequest
from eldermesh.contract.claude_commands import ClaudeRequest
from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh_cli.answers.jobs import AskAnswer, OutputLine, RequestEndLine
from eldermesh_cli.program.connection import mesh_client
from eldermesh_cli.program.errors import CliError, ExitStatus, outcome_unknown
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.trace_context import traced
from eldermesh_cli.terminal.output import Output, pairs_table
from services.claude_exec.read_model import RequestReadModel
from shared.kafka.topics import CLAUDE_HISTORY
from shared.redis_client import make_redis
from shared.telemetry.trace_page import trace_page

JUDGED_SECONDS = 5.0
"""How long `mesh ask` waits for acceptance, as `mesh submit` does."""

_CANCEL_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.05
_SLACK_SECONDS = 60.0


class Asking:
    """One prompt.

    Args:
        mesh: who is asked.
        output: where the answer goes.
        timeout_seconds: longest wait for the end; None: a job's lifetime.
    """

    def __init__(self, mesh: Mesh, output: Output, timeout_seconds: float | None) -> None:
        self._mesh = mesh
        self._output = output
        longest = mesh.settings.max_job_age_seconds + _SLACK_SECONDS
        self._timeout_seconds = longest if timeout_seconds is None else timeout_seconds
        self._sent: SentRequest | None = None
        self._in_line = False

    def interrupted(self) -> None:
        """Say, after Ctrl-C, whether the request goes on."""
        if self._sent is None:
            self._output.note("nothing was sent")
        else:
            known = self._sent.request_id
            self._output.note(f"request {known} goes on; `mesh ask --follow {known}` and `--cancel {known}` find it")

    async def ask(self, request: ClaudeRequest, *, stream: bool, wait: bool) -> ExitStatus:
        """Send a prompt, and follow it as far as was asked for."""
        async with traced(self._mesh.settings), self._client() as client:
            sent = self._sent = await client.prompt(request)
            try:
                if stream or wait:
                    self._output.note(f"request {sent.request_id}")
                    return await self._follow(client, sent.request_id, 1, 1, only_end=not stream)
                await self._accepted(client, sent, request.content_hash())
            except RequestDeadError as error:
                raise _refused(error) from error
        self._print_acceptance(sent)
        return ExitStatus.OK

    async def follow(self, request_id: str, *, from_sequence: int, attempt: int, only_end: bool) -> ExitStatus:
        """Follow a request that anybody has sent."""
        async with self._client() as client:
            try:
                return await self._follow(client, request_id, from_sequence, attempt, only_end=only_end)
            except RequestDeadError as error:
                raise _refused(error) from error

    async def cancel(self, request_id: str, reason: str | None) -> ExitStatus:
        """End a request and print its end; one that has ended already stays as it is."""
        async with traced(self._mesh.settings), self._client() as client:
            await client.cancel_prompt(request_id, reason)
            end = await client.answer(request_id, min(self._timeout_seconds, _CANCEL_SECONDS))
        self._print_end(end)
        return ExitStatus.OK

    def _client(self) -> Client:
        return mesh_client(self._mesh.settings)

    async def _follow(
        self, client: Client, request_id: str, from_sequence: int, attempt: int, *, only_end: bool
    ) -> ExitStatus:
        following = client.output(request_id, from_sequence, attempt=attempt, timeout_seconds=self._timeout_seconds)
        end: ClaudeEnd | None = None
        async with aclosing(following) as records:
            async for record in records:
                if isinstance(record, ClaudeEnd):
                    end = record
                elif not only_end:
                    self._print_output(record)
        assert end is not None  # noqa: S101 - for the type checker: the last record is the end
        if only_end:
            self._print_end(end)
        else:
            self._print_end_of_stream(end)
        return ExitStatus.OK if end.status == "completed" else ExitStatus.NOT_COMPLETED

    async def _accepted(self, client: Client, sent: SentRequest, content_hash: str) -> None:
        """Wait until the mesh has taken the request.

        Raises:
            RequestDeadError: it has refused it.
            CliError: neither within `JUDGED_SECONDS`.
        """
        known = sent.request_id
        deadline = time.monotonic() + JUDGED_SECONDS
        settings = self._mesh.settings
        redis = make_redis(settings)
        requests = RequestReadModel(redis, settings.topic(CLAUDE_HISTORY), settings.partition_count)
        refusal = asyncio.create_task(client.answer(known, JUDGED_SECONDS), name=f"refusal of {known}")
        try:
            while time.monotonic() < deadline:
                if await requests.accepted_content(known) == content_hash:
                    return
                if refusal.done() and isinstance(refusal.exception(), RequestDeadError):
                    refusal.result()
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
        except RedisError as error:
            raise outcome_unknown(f"request {known} was sent, but Redis does not answer: {error}") from error
        finally:
            refusal.cancel()
            await asyncio.wait([refusal])
            if not refusal.cancelled():
                refusal.exception()  # told above, or of no interest any more
            await redis.aclose()
        raise outcome_unknown(
            f"request {known} was sent, but neither accepted nor refused within {JUDGED_SECONDS:g} s",
            f"does claude_exec run? `mesh ask --follow {known}` says what becomes of it",
        )

    def _print_acceptance(self, sent: SentRequest) -> None:
        answer = AskAnswer(
            request_id=sent.request_id,
            state="accepted",
            trace_id=sent.trace_id,
            trace_url=trace_page(self._mesh.settings.trace_ui_url, sent.trace_id),
        )
        if self._output.as_json:
            self._output.answer(answer)
        else:
            trace = answer.trace_url or answer.trace_id
            self._output.show(pairs_table([("request", answer.request_id), ("state", answer.state), ("trace", trace)]))

    def _print_output(self, record: ClaudeOutput) -> None:
        if self._output.as_json:
            self._output.answer(OutputLine(record=record))
        elif record.kind == "text":
            self._in_line = not (record.text or "").endswith("\n")
            self._output.write(record.text or "")
        elif record.kind in ("tool_use", "tool_result", "retry"):
            self._end_line()
            said = (record.text or "").strip().splitlines()
            self._output.note(
                f"[{record.kind} {record.tool_name or ''}] {said[0][:200] if said else ''}".replace(" ]", "]")
            )
        elif record.kind == "started" and record.attempt > 1 and record.sequence == 1:
            self._end_line()
            self._output.note(f"[the run died; attempt {record.attempt} begins anew]")

    def _print_end_of_stream(self, end: ClaudeEnd) -> None:
        if self._output.as_json:
            self._output.answer(RequestEndLine(record=end))
        else:
            self._end_line()
            self._note_end(end)

    def _print_end(self, end: ClaudeEnd) -> None:
        if self._output.as_json:
            self._output.answer(end)
            return
        if isinstance(end.result, str):
            self._output.write(end.result + ("" if end.result.endswith("\n") else "\n"))
        elif end.result is not None:
            self._output.json(end.result)
        elif end.result_url is not None:
            self._output.write(f"{end.result_url}\n")
        self._note_end(end)

    def _note_end(self, end: ClaudeEnd) -> None:
        parts = [
            end.status,
            ": ".join(part for part in (end.error_type, end.reason) if part),
            "" if end.cost_usd is None else f"{end.cost_usd:.6f} USD",
            "" if end.run_seconds is None else f"{end.run_seconds:.1f} s",
        ]
        self._output.note(" · ".join(part for part in parts if part))

    def _end_line(self) -> None:
        if self._in_line:
            self._output.write("\n")
            self._in_line = False


def _refused(error: RequestDeadError) -> CliError:
    status = ExitStatus.NOT_FOUND if error.error_type == "conflict" else ExitStatus.NOT_COMPLETED
    hint = f"`mesh dlq ls --job {error.job_id}` shows it as it was sent"
    return CliError(status, error.error_type, f"request {error.job_id} was refused: {error.reason}", hint)

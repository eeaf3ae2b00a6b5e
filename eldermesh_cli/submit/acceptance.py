"""Whether the mesh took a submit: an acceptance with our content, or the dead letter of our very record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from eldermesh.client import Client, MeshUnavailableError, SubmittedJob, WaitTimeoutError
from eldermesh_cli.program.errors import outcome_unknown
from services.router.read_model.job import JobAcceptance

JUDGED_SECONDS = 5.0
"""How long the contract lets `mesh submit` wait."""

_ASK_AGAIN_SECONDS = 0.03


AskAcceptance = Callable[[SubmittedJob], Awaitable[JobAcceptance | None]]
"""Says how the job of a submit was accepted, by that submit or an earlier one; None while it was not."""


async def wait_for_acceptance(
    ask: AskAcceptance, client: Client, sent: SubmittedJob, content_hash: str
) -> JobAcceptance:
    """The acceptance of the job that this submit made, or repeats.

    Raises:
        JobDeadError: the submit was refused; `conflict`: the id belongs to other content.
        CliError: neither within `JUDGED_SECONDS`, or the mesh went away meanwhile.
    """
    deadline = time.monotonic() + JUDGED_SECONDS
    # Ends are of no interest here, but whoever waits for one hears of the dead letter of this very record.
    refusal = asyncio.create_task(_refusal(client, sent.job_id, deadline), name=f"refusal of {sent.job_id}")
    try:
        while time.monotonic() < deadline:
            accepted = await ask(sent)
            if accepted is not None and accepted.content_hash == content_hash:
                return accepted
            if refusal.done():
                refusal.result()
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
    except (RedisError, MeshUnavailableError) as error:
        raise outcome_unknown(
            f"job {sent.job_id} was sent, but the mesh went away before it answered: {error}",
            f"`mesh status {sent.job_id}` says what became of it",
        ) from error
    finally:
        refusal.cancel()
        await asyncio.wait([refusal])
    raise outcome_unknown(
        f"job {sent.job_id} was sent, but neither accepted nor refused within {JUDGED_SECONDS:g} s",
        f"does a router run? `mesh doctor` looks; `mesh status {sent.job_id}` says what became of the job",
    )


async def _refusal(client: Client, job_id: str, deadline: float) -> None:
    """Return at the deadline, or raise what the submit was refused for.

    An end may be that of another submit of the id, whose conflict with ours is only told later: go on asking.
    """
    while (left := deadline - time.monotonic()) > 0:
        with suppress(WaitTimeoutError):
            await client.wait(job_id, left)
        await asyncio.sleep(_ASK_AGAIN_SECONDS)

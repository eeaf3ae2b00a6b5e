"""What `mesh approve` and `mesh reject` do: send a decision on a hold, and wait until it has counted."""

from __future__ import annotations

import asyncio
import getpass
import time

from eldermesh.client import InvalidJobError, SentRecord
from eldermesh.contract.vocabulary import Decision
from eldermesh_cli.answers.jobs import DecisionAnswer
from eldermesh_cli.follow.job_status import job_status
from eldermesh_cli.program.connection import OpenMesh, mesh_client, open_mesh
from eldermesh_cli.program.errors import CliError, conflict, not_found, outcome_unknown, usage_error
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.trace_context import traced
from services.router.read_model.job import DecisionEffect

_EFFECT_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 0.03


def decider(by: str | None) -> str:
    """Who decides: who was named, else the login name.

    Raises:
        CliError: nobody was named, and this process has no login name.
    """
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise usage_error("nobody knows who decides here", "--by NAME says it") from error


async def decide(mesh: Mesh, job_id: str, decision: Decision, by: str, reason: str | None) -> DecisionAnswer:
    """Decide on a hold.

    Raises:
        CliError: there is no such job, it is not held, it is this person's own, somebody else was quicker; or the
            decision had no effect in time.
        MeshUnavailableError, redis.RedisError: the mesh does not answer.
    """
    async with open_mesh(mesh) as opened:
        job = await opened.jobs.job(job_id)
        if job is None:
            raise await _unknown(opened, job_id)
        if job.state != "held":
            raise _not_held(job_id, job.state)
        if job.submitted_by == by:
            raise conflict(f"{by} submitted job {job_id}, and nobody decides on their own job", "--by names another")
        async with (
            traced(mesh.settings),
            mesh_client(mesh.settings) as client,
        ):
            try:
                sent = await (client.approve if decision == "approve" else client.reject)(job_id, by, reason)
            except InvalidJobError as error:
                raise usage_error(str(error)) from error
        effect = await _effect(opened, job_id, sent)
    if not effect.counted:
        raise _not_held(job_id, effect.state)
    return DecisionAnswer(job_id=job_id, state=effect.state, decision=decision, by=by, reason=reason)


async def _effect(opened: OpenMesh, job_id: str, sent: SentRecord) -> DecisionEffect:
    """What this decision has done, once the job's owner has read it."""
    deadline = time.monotonic() + _EFFECT_SECONDS
    while time.monotonic() < deadline:
        effect = await opened.jobs.decision(job_id, f"{sent.topic}/{sent.partition}/{sent.offset}")
        if effect is not None:
            return effect
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    raise outcome_unknown(
        f"the decision on job {job_id} was sent, but had no effect within {_EFFECT_SECONDS:g} s",
        f"`mesh status {job_id}` says what becomes of it; does a router run? `mesh doctor` looks",
    )


async def _unknown(opened: OpenMesh, job_id: str) -> CliError:
    dead = await job_status(opened, job_id)
    return not_found(
        f"job {job_id} was refused, so there is nothing to decide: {dead.reason}",
        f"`mesh dlq show {job_id}` shows it as it was sent",
    )


def _not_held(job_id: str, word: str) -> CliError:
    return conflict(f"job {job_id} does not wait for a decision: it is {word}", f"`mesh status {job_id}` says more")

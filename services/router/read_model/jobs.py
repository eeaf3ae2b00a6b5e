"""Answers questions about the jobs of a mesh, for the command line or a gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing

from redis.asyncio import Redis

from eldermesh.contract.results import ItemResult
from services.router.jobs.state import JobState
from services.router.read_model.job import DecisionEffect, Job, JobAcceptance, JobSummary, UnfinishedJobs
from services.router.read_model.lookup import JobLookup
from services.router.read_model.projection import job_of, state_word, summary_of
from services.router.read_model.time_segments import Explanation, TimeAccount, first_error
from shared.history.clock import SystemClock
from shared.history.facts import FactRecord

FactReader = Callable[[str, int, int], AsyncGenerator[FactRecord, None]]
"""Reads a job's facts in log order, given its id, the history partition and the first offset."""


class JobReadModel:
    """Answers every question about jobs, in plain values.

    Answers are as old as the owner's last advance; while Redis is being filled again, jobs may be missing. Each
    question raises `redis.RedisError` when Redis does not answer. `redis` has `decode_responses=False`.
    """

    def __init__(self, redis: Redis, history_topic: str, partitions: int) -> None:
        self._lookup = JobLookup(redis, history_topic, partitions)

    async def job(self, job_id: str) -> Job | None:
        """What is known of a job; None when the mesh has not accepted it."""
        state = await self._lookup.state(job_id)
        if state is None or state.acceptance is None:
            return None
        trouble = await self._lookup.trouble(job_id) if state.is_live else None
        running = await self._lookup.items_running(state)
        made = state.acceptance
        return job_of(state, made.at, made.trace_id, items_running=running, trouble=trouble)

    async def jobs(self) -> AsyncIterator[JobSummary]:
        """Every accepted job, in no order; one that changes during the scan may come twice."""
        async for state in self._lookup.states():
            if state.acceptance is not None:
                # Claims are read only if the answer depends on them.
                depends = state_word(state, is_running=False) != state_word(state, is_running=True)
                is_running = depends and await self._lookup.items_running(state) > 0
                yield summary_of(state, state.acceptance.at, is_running=is_running)

    async def unfinished(self, most: int) -> UnfinishedJobs:
        """The accepted jobs that have not ended, those unchanged for longest first; at most `most` of them."""
        live: dict[str, tuple[int, JobState]] = {}
        ended: set[str] = set()
        async for state in self._lookup.states():
            if state.acceptance is None:
                continue
            if state.is_ended:
                ended.add(state.job_id)
                live.pop(state.job_id, None)
            elif state.job_id not in ended:
                live[state.job_id] = (state.acceptance.at, state)
        oldest = sorted(live.values(), key=lambda each: (each[1].t, each[1].job_id))
        jobs = [
            summary_of(state, accepted_at, is_running=await self._lookup.items_running(state) > 0)
            for accepted_at, state in oldest[:most]
        ]
        return UnfinishedJobs(jobs, more=len(oldest) - len(jobs), ended=len(ended))

    async def acceptance(self, job_id: str) -> JobAcceptance | None:
        """Whether the mesh has accepted a job. One read of Redis; meant for polling."""
        state = await self._lookup.state(job_id)
        if state is None or state.acceptance is None:
            return None
        made = state.acceptance
        return JobAcceptance(made.content_hash, made.trace_id, state_word(state, is_running=False), state.items_total)

    async def decision(self, job_id: str, command: str) -> DecisionEffect | None:
        """The effect of a decision; None until the fold has seen it.

        Args:
            job_id: the job that it is about.
            command: the place of the decision, as `topic/partition/offset`.
        """
        state = await self._lookup.state(job_id)
        if state is None or command not in state.decided:
            return None
        is_running = await self._lookup.items_running(state) > 0
        counted = any(wait.decision == command for wait in state.waits)
        return DecisionEffect(counted, state_word(state, is_running=is_running))

    async def troubles(self) -> Mapping[str, str]:
        """Why jobs and engines wait, by job id or engine, as owners reported in the last minutes."""
        return await self._lookup.all_trouble()

    async def explanation(self, job_id: str, read: FactReader) -> Explanation | None:
        """Where a job's time went; None when it was never accepted, or its first facts are gone.

        Raises:
            UnreadableFactError: a record is no fact of a job.
        """
        account = TimeAccount()
        state = await self._lookup.state(job_id)
        async with self._facts(job_id, state, read) as records:
            async for record in records:
                account.add(record)
        is_running = state is not None and await self._lookup.items_running(state) > 0
        return account.explanation(now_ms=SystemClock().now_ms(), is_running=is_running)

    async def first_error(self, job_id: str, read: FactReader) -> ItemResult | None:
        """The result of the first item in the history that failed; None when none has.

        Raises:
            UnreadableFactError: a record is no fact of a job.
        """
        async with self._facts(job_id, await self._lookup.state(job_id), read) as records:
            return await first_error(records)

    def _facts(
        self, job_id: str, state: JobState | None, read: FactReader
    ) -> aclosing[AsyncGenerator[FactRecord, None]]:
        return aclosing(read(job_id, self._lookup.partition(job_id), 0 if state is None else state.first_offset))

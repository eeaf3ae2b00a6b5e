"""What is lost when the broker in memory dies: the jobs that had not ended, as Redis still knows them."""

from __future__ import annotations

from collections.abc import Sequence

from eldermesh.counted import counted
from eldermesh_cli.follow.job_status import state_word
from eldermesh_cli.stack.servers.broker import BROKER_NAME
from services.router.jobs.lookup import JobLookup
from services.router.jobs.state import JobState
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings

_LISTED_JOBS = 200


async def lost_with(service_name: str, settings: Settings) -> Sequence[str]:
    """Say what was lost with a service that kept it in memory, a line each; nothing for any other service.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    if service_name != BROKER_NAME:
        return ()
    redis = make_redis(settings)
    try:
        lookup = JobLookup(redis, settings.topic(JOBS_HISTORY), settings.partition_count)
        jobs = {state.job_id: state async for state in lookup.states() if state.acceptance is not None}
        unfinished = sorted((each for each in jobs.values() if each.is_live), key=lambda each: (each.t, each.job_id))
        lines = [_line(state, await lookup.items_running(state)) for state in unfinished[:_LISTED_JOBS]]
    finally:
        await redis.aclose()
    if len(unfinished) > _LISTED_JOBS:
        lines.append(f"{counted(len(unfinished) - _LISTED_JOBS, 'more job')} that had not ended")
    ended = len(jobs) - len(unfinished)
    if ended:
        lines.append(f"the results of {counted(ended, 'job')} that had ended")
    return lines or ["no job: none was known"]


def _line(state: JobState, items_running: int) -> str:
    workload = "workload unknown" if state.terms is None else state.terms.workload
    ended = state.succeeded + state.failed
    return f"job {state.job_id} ({workload}, {state_word(state, items_running)}, {ended} of {_items(state)})"


def _items(state: JobState) -> str:
    return "an unknown number of items" if state.items_total is None else counted(state.items_total, "item")

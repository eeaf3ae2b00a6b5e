"""What is lost when the broker in memory dies: the jobs that had not ended, as Redis still knows them."""

from __future__ import annotations

from collections.abc import Sequence

from eldermesh.counted import counted
from eldermesh_cli.stack.servers.broker import BROKER_NAME
from services.router.read_model.job import JobSummary
from services.router.read_model.jobs import JobReadModel
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
        model = JobReadModel(redis, settings.topic(JOBS_HISTORY), settings.partition_count)
        unfinished = await model.unfinished(_LISTED_JOBS)
    finally:
        await redis.aclose()
    lines = [_line(job) for job in unfinished.jobs]
    if unfinished.more:
        lines.append(f"{counted(unfinished.more, 'more job')} that had not ended")
    if unfinished.ended:
        lines.append(f"the results of {counted(unfinished.ended, 'job')} that had ended")
    return lines or ["no job: none was known"]


def _line(job: JobSummary) -> str:
    workload = "workload unknown" if job.workload is None else job.workload
    return f"job {job.job_id} ({workload}, {job.state}, {job.items_ended} of {_items(job)})"


def _items(job: JobSummary) -> str:
    return "an unknown number of items" if job.items_total is None else counted(job.items_total, "item")

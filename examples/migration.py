"""Celery tasks that wrap a command, moved to the mesh step by step: each step is another value of `MIGRATION_STAGE`.

    celery   the old tasks do everything
    shadow   they do, the mesh does it again, and where the two differ is printed
    canary   the mesh does a share of the items, `MIGRATION_PERCENT`, the old tasks the others
    mesh     the mesh does everything

The way back is the stage before. Copy this file, and put your own work into `count_words`. To run it, beside
`celery -A migration worker`: `python migration.py RUN FILE…`. docs/how-to/migration.md shows each step.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Sequence

from celery import Celery

from eldermesh import Client

STAGES = ("celery", "shadow", "canary", "mesh")
SECONDS = 600.0

redis = os.environ.get("MIGRATION_REDIS_URL", "redis://127.0.0.1:6379/1")
app = Celery("migration", broker=redis, backend=redis)


def count_words(path: str) -> int:
    """The work: one item, JSON in and out, an exception when it fails."""
    done = subprocess.run(["wc", "-w", path], capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout.split()[0])


@app.task
def count_words_task(path: str) -> int:
    """The old way to ask for it."""
    return count_words(path)


def by_celery(paths: Sequence[str]) -> dict[str, object]:
    """One task for each path, and the results by path."""
    tasks = {path: count_words_task.delay(path) for path in paths}
    return {path: task.get(timeout=SECONDS) for path, task in tasks.items()}


async def by_mesh(paths: Sequence[str], run: str, stage: str) -> dict[str, object]:
    """One job for all paths, and the results by path. The same run is the same job, however often it is sent."""
    bootstrap = os.environ.get("MESH_KAFKA_BOOTSTRAP", "127.0.0.1:9092")
    async with Client(bootstrap, os.environ.get("MESH_TOPIC_PREFIX", "")) as client:
        job = await client.submit(
            workload="python",
            items=[*paths],
            options={"function": os.environ.get("MIGRATION_FUNCTION", "migration:count_words")},
            idempotency_key=f"count-words-{stage}-{run}",
            labels={"migration": stage},
        )
        end = await client.wait(job.job_id, SECONDS)
        if end.status != "completed":
            raise RuntimeError(f"job {job.job_id} {end.status}: {end.reason}; `mesh why {job.job_id}` says more")
        return {paths[result.item_index]: result.output async for result in client.results(job.job_id)}


def is_canary(path: str, percent: int) -> bool:
    """Whether the mesh does this item: always the same answer, so that a run that is sent again asks the same."""
    return zlib.crc32(path.encode()) % 100 < percent


async def count(paths: Sequence[str], run: str, stage: str, percent: int) -> dict[str, object]:
    """The results by path, from whom the stage says."""
    if stage == "mesh":
        return await by_mesh(paths, run, stage)
    canaries = [path for path in paths if is_canary(path, percent)] if stage == "canary" else []
    others = set(paths) - set(canaries)
    found = await asyncio.to_thread(by_celery, [path for path in paths if path in others])
    if canaries:
        found |= await by_mesh(canaries, run, stage)
    if stage == "shadow":
        try:
            shadow = await by_mesh(paths, run, stage)
        except Exception as error:  # noqa: BLE001 - a shadow must never cost the run
            print(json.dumps({"shadow": "failed", "reason": str(error)}), file=sys.stderr)
        else:
            differ = {path: [found[path], shadow[path]] for path in paths if found[path] != shadow[path]}
            print(json.dumps({"shadow": "compared", "items": len(paths), "differ": differ}), file=sys.stderr)
    return found


def main() -> None:
    """Count the words of files, and print them as JSON."""
    parser = argparse.ArgumentParser(description="Count the words of files.")
    parser.add_argument("run", help="name of this run: the same name again is the same job of the mesh")
    parser.add_argument("paths", nargs="+", metavar="FILE")
    asked = parser.parse_args()
    stage = os.environ.get("MIGRATION_STAGE", "celery")
    if stage not in STAGES:
        parser.error(f"MIGRATION_STAGE is {stage!r}; it can be {', '.join(STAGES)}")
    percent = int(os.environ.get("MIGRATION_PERCENT", "10"))
    print(json.dumps(asyncio.run(count(asked.paths, asked.run, stage, percent))))


if __name__ == "__main__":
    main()

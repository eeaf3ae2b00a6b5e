"""What every integration test asks at its end: whether the public topics keep the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from eldermesh.client.topic_reader import read_public_topics
from eldermesh.contract.breach import Breach
from eldermesh.contract.invariants import breaches
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.topics import JOBS_DONE

_MISSING = frozenset({3, 7, 8})
"""Invariants that a record which is still on its way makes whole."""

_ASK_AGAIN_SECONDS = 0.2


async def assert_invariants(
    bootstrap: str,
    prefix: str,
    *,
    expect_jobs: int | Collection[str] | None = None,
    timeout_seconds: float = 60.0,
) -> list[PublicRecord]:
    """Read all public topics and check the contract; return the records.

    What is merely missing may come within `timeout_seconds`; whatever else is wrong cannot become right, and fails at
    once.

    Args:
        bootstrap: the broker.
        prefix: the topics' prefix.
        expect_jobs: how many jobs, or which, have to have an end. Without it any number.
        timeout_seconds: longest to wait for missing records.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while True:
        records = await read_public_topics(bootstrap, prefix, timeout_seconds=timeout_seconds)
        found = [*breaches(records, topic_prefix=prefix), *_unexpected(records, expect_jobs)]
        if not found:
            return records
        if loop.time() > deadline or any(breach.invariant not in _MISSING for breach in found):
            listed = "\n".join(f"  {breach}" for breach in found[:50])
            raise AssertionError(f"the public topics under {prefix!r} break the contract ({len(found)}):\n{listed}")
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _unexpected(records: list[PublicRecord], expected: int | Collection[str] | None) -> list[Breach]:
    ended = {record.key_text() or "" for record in records if record.topic == JOBS_DONE}
    if expected is None:
        return []
    if isinstance(expected, int):
        return [] if len(ended) == expected else [Breach(8, None, f"{len(ended)} jobs have ended, not {expected}")]
    return [
        *(Breach(8, job_id, "was expected to end, and has not") for job_id in set(expected) - ended),
        *(Breach(8, job_id, "has ended, and was not expected") for job_id in ended - set(expected)),
    ]

"""Jobs of every kind, and a prompt that is none: what runs while something happens to the containers."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from tests.containers.plain_client import PlainClient

_log = logging.getLogger(__name__)

END_SECONDS = 240.0
"""On an idle machine a job that waits for its lease and one new plan ends within 105 s: a consumer is missed after
10 s, a chunk is planned anew if nobody claims it within 60 s, or once its lease of 15 s is over. How often that
happened to a job is asserted below, by the epochs of its results; how long it took is logged."""

_REPLY = "[[reply done]]"

HELD: dict[str, Any] = {
    "workload": "claude",
    "items": [f"Tidy up the database: drop the table customers_old in production. {_REPLY}"],
    "options": {"allowed_tools": ["Bash"]},
}
"""A job of high risk, which waits until somebody approves it."""


def jobs() -> list[dict[str, Any]]:
    """Twenty-two: small ones and one of many items on Celery, two on Ray, prompts, one held, one that is told of."""
    roots = {"workload": "python", "items": [1, 4], "options": {"function": "math:sqrt"}}
    asleep = {"workload": "python", "items": [2.0, 2.0], "options": {"function": "time:sleep"}}
    prompt = {"workload": "claude", "items": [_REPLY]}
    return [
        *[roots] * 11,
        *[asleep] * 3,
        roots | {"items": list(range(90))},
        roots | {"engine": "ray", "items": [1, 4, 9, 16]},
        asleep | {"engine": "ray"},
        *[prompt] * 3,
        HELD,
        roots | {"labels": {"tell": "people"}},
    ]


class MixedLoad:
    """What is published while something happens, until `settle` finds that all of it went well."""

    def __init__(self, client: PlainClient) -> None:
        self._client = client
        self._jobs: dict[str, dict[str, Any]] = {}
        self._requests: list[str] = []

    def publish(self) -> None:
        """Jobs of every kind, and the prompt."""
        load = jobs()
        self._jobs |= zip(self._client.publish(*load), load, strict=True)
        self._requests.append(self._client.ask(_REPLY))

    def settle(self) -> list[str]:
        """Wait until all has ended as it should, planned anew only for what died; the jobs whose end people hear of."""
        published, requests = self._jobs, self._requests
        self._jobs, self._requests = {}, []
        ends = self._client.wait_for_ends([*published, *requests], seconds=END_SECONDS)
        assert {end["status"] for end in ends} == {"completed"}
        slowest = max(map(_seconds, ends))
        _log.info("the slowest of %d took %.1f s", len(ends), slowest)
        for job_id, job in published.items():
            distinct = {json.dumps(end, sort_keys=True) for end in self._client.ends[job_id]}
            assert len(distinct) == 1, f"job {job_id} has several ends"
            # A plan, and a new one for what died unclaimed or claimed: that is found at two times.
            assert self._client.epochs[job_id] <= {1, 2, 3}, f"job {job_id} was planned again and again"
            assert (job_id in self._client.holds) == (job == HELD)
        return [job_id for job_id, job in published.items() if "labels" in job]


def _seconds(end: dict[str, Any]) -> float:
    accepted, ended = (datetime.fromisoformat(end[name]) for name in ("accepted_at", "ended_at"))
    return (ended - accepted).total_seconds()

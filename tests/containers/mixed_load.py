"""Jobs of every kind, and a prompt that is none: what runs while something happens to the containers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from tests.containers.plain_client import PlainClient

END_SECONDS = 150.0

LONGEST_SECONDS = 105.0
"""The longest that a job may take: a consumer is missed after 10 s; a chunk that nobody claims within 60 s, or whose
lease of 15 s ends, is planned anew, once; and then it takes its turn on a busy machine."""

_REPLY = "[[reply done]]"


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
        {"workload": "claude", "items": [f"Tidy up: drop the table customers_old in production. {_REPLY}"]},
        roots | {"labels": {"tell": "people"}},
    ]


class MixedLoad:
    """What is published while something happens, until `settle` finds that all of it went well."""

    def __init__(self, client: PlainClient) -> None:
        self.slowest_seconds = 0.0
        self._client = client
        self._jobs: list[str] = []
        self._told: list[str] = []
        self._requests: list[str] = []

    def publish(self) -> None:
        """One of each kind and more of the frequent ones."""
        load = jobs()
        ids = self._client.publish(*load)
        self._jobs += ids
        self._told += [job_id for job_id, job in zip(ids, load, strict=True) if "labels" in job]
        self._requests.append(self._client.ask(_REPLY))

    def settle(self) -> list[str]:
        """Wait until all has ended as it should, none of it late; the jobs whose end people hear of."""
        ends = self._client.wait_for_ends([*self._jobs, *self._requests], seconds=END_SECONDS)
        assert {end["status"] for end in ends} == {"completed"}
        self.slowest_seconds = max(map(_seconds, ends))
        assert self.slowest_seconds <= LONGEST_SECONDS
        for job_id in self._jobs:
            distinct = {json.dumps(end, sort_keys=True) for end in self._client.ends[job_id]}
            assert len(distinct) == 1, f"job {job_id} has several ends"
            # A plan, and a new one for what died unclaimed or claimed: that is found at two times.
            assert self._client.epochs[job_id] <= {1, 2, 3}, f"job {job_id} was planned again and again"
        told = self._told
        self._jobs, self._told, self._requests = [], [], []
        return told


def _seconds(end: dict[str, Any]) -> float:
    accepted, ended = (datetime.fromisoformat(end[name]) for name in ("accepted_at", "ended_at"))
    return (ended - accepted).total_seconds()

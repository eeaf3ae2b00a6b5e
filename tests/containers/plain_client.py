"""A plain Kafka client: publishes jobs and prompts, reads what becomes of them, and uses none of the mesh's code."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from confluent_kafka import Consumer, Message, Producer

_POLL_SECONDS = 0.5
_FLUSH_SECONDS = 30.0


class PlainClient:
    """One client of the brokers at `bootstrap`, from the beginning of the public topics on.

    It approves each job that it sees held.

    Attributes:
        ends: by job, its records on `jobs.done`; by request, its ends on `claude.output`.
        results: by job, the results of its records on `jobs.progress`.
        epochs: by job, the epochs of these records: how often what died was planned anew.
        holds: by job, its records on `jobs.holds`.
        dead: by their reason, the values on `jobs.dead`.
    """

    def __init__(self, bootstrap: str) -> None:
        self.ends: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.results: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.epochs: defaultdict[str, set[int]] = defaultdict(set)
        self.holds: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.dead: dict[str, bytes] = {}
        self._producer = Producer({"bootstrap.servers": bootstrap})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"plain-client-{uuid.uuid4()}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self._consumer.subscribe(["jobs.progress", "jobs.done", "jobs.holds", "jobs.dead", "claude.output"])

    def publish(self, *jobs: dict[str, Any]) -> list[str]:
        """Publish jobs under ids of their own; returns these once the brokers have acknowledged all records."""
        ids = [str(uuid.uuid4()) for _ in jobs]
        for job_id, job in zip(ids, jobs, strict=True):
            self.publish_bytes(json.dumps({"job_id": job_id, **job}).encode())
        self.flush()
        return ids

    def publish_bytes(self, value: bytes) -> None:
        """Publish any record on `jobs`."""
        self._producer.produce("jobs", value)

    def ask(self, prompt: str) -> str:
        """Publish a prompt that is no job; returns its id once the brokers have acknowledged it."""
        request_id = str(uuid.uuid4())
        request = {"request_id": request_id, "prompt": prompt, "stream": False}
        self._producer.produce("claude.requests", json.dumps(request).encode())
        self.flush()
        return request_id

    def flush(self) -> None:
        """Wait until all is acknowledged."""
        assert self._producer.flush(_FLUSH_SECONDS) == 0, "Kafka did not acknowledge"

    def wait_for_ends(self, ids: Collection[str], *, seconds: float) -> list[dict[str, Any]]:
        """The ends of these jobs and requests; fails after `seconds`, naming what has none."""
        deadline = time.monotonic() + seconds
        while missing := [each for each in ids if each not in self.ends]:
            assert time.monotonic() < deadline, f"no end within {seconds:g} s: {missing}"
            self.read()
        return [self.ends[each][0] for each in ids]

    def read(self) -> None:
        """Take what is there now, waiting a moment for it."""
        for message in self._consumer.consume(500, _POLL_SECONDS):
            assert message.error() is None, message.error()
            self._take(message)

    def close(self) -> None:
        """Send what is left, and leave the group."""
        self.flush()
        self._consumer.close()

    def _take(self, message: Message) -> None:
        value = message.value() or b""
        if message.topic() == "jobs.dead":
            headers = dict(message.headers() or ())
            self.dead[str(headers["dlq_reason"])] = value
            return
        record = json.loads(value)
        if message.topic() == "claude.output":
            if "status" in record:  # live output has none
                self.ends[record["request_id"]].append(record)
            return
        job_id = record["job_id"]
        if message.topic() == "jobs.done":
            self.ends[job_id].append(record)
        elif message.topic() == "jobs.holds":
            self.holds[job_id].append(record)
            if record["outcome"] is None:
                decision = {"job_id": job_id, "decision": "approve", "by": "robin", "reason": "a test"}
                headers = {"ce_type": "eldermesh.job.decide.v1"}
                self._producer.produce("jobs.decisions", json.dumps(decision).encode(), headers=headers)
        else:
            self.epochs[job_id].add(record["epoch"])
            self.results[job_id] += [{**each, "worker_id": record["worker_id"]} for each in record["results"]]

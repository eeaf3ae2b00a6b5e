"""The examples of FastStream applications, without a broker: what they publish, say, and have in their documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faststream.kafka import TestKafkaBroker
from pydantic import ValidationError

from eldermesh.contract.commands import JobSubmit
from examples import publish_jobs, react_to_done

ROOT = Path(__file__).resolve().parents[2]
END: dict[str, Any] = {
    "job_id": "0190c0de-0000-7000-8000-000000000001",
    "status": "completed",
    "tenant": "default",
    "workload": "python",
    "labels": {},
    "engine": "celery",
    "items_total": 3,
    "items_succeeded": 2,
    "items_failed": 1,
    "items_not_run": 0,
    "progress_records_total": 1,
    "error_type": None,
    "reason": None,
    "accepted_at": "2026-11-23T09:26:39.123Z",
    "ended_at": "2026-11-23T09:26:40.123Z",
    "active_seconds": 1.0,
    "cost_usd": None,
    "trace_id": "0190c0de000070008000000000000001",
}


async def test_an_upload_becomes_a_job() -> None:
    """As strict admission takes it; read twice, it is the same job both times."""
    async with TestKafkaBroker(publish_jobs.broker) as broker:
        for _ in range(2):
            await broker.publish({"upload_id": "u-1", "numbers": [16, 25]}, "uploads")
        (publisher,) = broker.publishers
        published = [call.args[0] for call in publisher.mock.call_args_list]

    expected = JobSubmit(workload="python", items=[16, 25], options={"function": "math:sqrt"}, idempotency_key="u-1")
    assert [JobSubmit.model_validate(each) for each in published] == [expected, expected]


async def test_the_end_of_a_job_is_told() -> None:
    """And fields that a later release adds disturb nobody."""
    async with TestKafkaBroker(react_to_done.broker) as broker:
        await broker.publish(END | {"added": 1}, react_to_done.JOBS_DONE)
        react_to_done.react.mock.assert_called_once_with(END | {"added": 1})


async def test_what_is_no_end_is_an_error() -> None:
    """Which FastStream answers by reading the record again."""
    async with TestKafkaBroker(react_to_done.broker) as broker:
        with pytest.raises(ValidationError):
            await broker.publish({"job_id": 1}, react_to_done.JOBS_DONE)


@pytest.mark.parametrize(
    ("example", "topics"),
    [("publish_jobs", {"uploads", "jobs"}), ("react_to_done", {"jobs.done"})],
)
def test_faststream_documents_them(example: str, topics: set[str], tmp_path: Path) -> None:
    """`faststream docs gen` on a copy of the file alone names the topics."""
    (tmp_path / f"{example}.py").write_bytes((ROOT / "examples" / f"{example}.py").read_bytes())
    ran = subprocess.run(
        [sys.executable, "-m", "faststream", "docs", "gen", f"{example}:app"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "asyncapi.json").read_bytes())
    assert {channel["address"] for channel in document["channels"].values()} == topics

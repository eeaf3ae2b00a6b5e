"""What somebody is told who waits for a job that does not move."""

from __future__ import annotations

from typing import Any

import pytest

from eldermesh.contract.vocabulary import Engine
from eldermesh_cli.answers.jobs import JobStatus
from eldermesh_cli.submit.wait_messages import told_wait
from services.router.read_model.job import JobWaitWord

JOB_ID = "4f970e3e-d1a3-5d45-8587-591465c16100"
UNTIL = "2026-01-01T00:00:00.000Z"


def status(waiting_for: JobWaitWord | None, engine: Engine | None = None, until: str | None = None) -> JobStatus:
    """A job that waits, or runs."""
    fields: dict[str, Any] = {"waiting_for": waiting_for, "engine": engine, "waiting_until": until}
    return JobStatus.model_construct(**fields, job_id=JOB_ID)


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        (status(None, "ray"), None),
        (status("engine", "ray"), "waits for Ray, which takes some seconds to start"),
        (status("engine", "celery"), "waits for a free worker"),
        (status("advice"), "waits for the sages' advice"),
        (status("routing"), "waits to be routed"),
        (status("quota", "celery", UNTIL), f"waits for a quota until {UNTIL} at the latest"),
        (status("quota", "celery"), "waits for a quota"),
        (status("decision", None, UNTIL), f"held until {UNTIL} at the latest: `mesh approve {JOB_ID}` or"),
    ],
)
def test_each_wait_has_its_sentence(waits: JobStatus, said: str | None) -> None:
    """None while it runs."""
    told = told_wait(waits)
    assert told is None if said is None else said in (told or "")

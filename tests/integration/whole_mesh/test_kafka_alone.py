"""`mesh submit` from a host that reaches Kafka and no Redis: its acceptance comes from the job history."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eldermesh_cli.program.errors import ExitStatus
from tests.mesh import RunningMesh
from tests.unit.cli.command_line import Ran, run_here

SQRT = ("submit", "python", "--function", "math:sqrt", "--json")

pytestmark = pytest.mark.slow


class Host:
    """A host: its environment names the broker, and nothing else of the mesh."""

    def __init__(self, running: RunningMesh, data_dir: Path) -> None:
        settings = running.settings
        self._environment = {
            "MESH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "MESH_TOPIC_PREFIX": settings.topic_prefix,
            "MESH_DATA_DIR": str(data_dir),
        }

    def __call__(self, *arguments: str) -> Ran:
        """Run `mesh submit` to its end."""
        return run_here((*SQRT, *arguments), self._environment, None)

    def answer(self, status: ExitStatus, *arguments: str) -> dict[str, Any]:
        """Its answer, which has to come with this exit status."""
        ran = self(*arguments)
        assert ran.status == status, ran
        answer: dict[str, Any] = ran.answer("mesh-submit-wait" if "--wait" in arguments else "mesh-submit")
        return answer


@pytest.fixture
def host(running_mesh: RunningMesh, tmp_path: Path) -> Host:
    """The host."""
    return Host(running_mesh, tmp_path)


def test_a_new_job(host: Host) -> None:
    """It is accepted within the contract's time; with --wait its end comes."""
    accepted = host.answer(ExitStatus.OK, "1", "4")
    assert accepted["state"] == "accepted"
    assert len(accepted["trace_id"]) == 32
    ended = host.answer(ExitStatus.OK, "1", "4", "--wait")
    assert (ended["status"], ended["items_succeeded"]) == ("completed", 2)


def test_a_repeat_and_a_conflict(host: Host) -> None:
    """The same content under a key is the same job, whose end is told; other content is a conflict, and waited for."""
    key = ("--idempotency-key", str(uuid4()))
    first = host.answer(ExitStatus.OK, "16", *key, "--wait")
    again = host.answer(ExitStatus.OK, "16", *key)
    assert (again["job_id"], again["state"], again["trace_id"]) == (first["job_id"], "completed", first["trace_id"])
    other = host.answer(ExitStatus.NOT_FOUND, "17", *key)
    assert (other["job_id"], other["state"], other["error_type"]) == (first["job_id"], "dead", "conflict")


def test_a_refused_job(host: Host) -> None:
    """Its dead letter says why."""
    dead = host.answer(ExitStatus.NOT_COMPLETED, "1", "--function", "os:system")
    assert (dead["state"], dead["error_type"]) == ("dead", "invalid")
    assert "os:system" in dead["reason"]

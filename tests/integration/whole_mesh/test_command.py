"""The verbs in front of a mesh that runs: in threads of this process, and where that matters as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from eldermesh.contract.ids import job_id_from_key
from tests.mesh import MESH, RunningMesh
from tests.unit.cli.command_line import Ran, check_answer, run_here
from tests.waiting import wait_until

_COMMAND_SECONDS = 200.0

SQRT = ("submit", "python", "--function", "math:sqrt")
SLEEP = ("submit", "python", "--function", "time:sleep")


class Mesh:
    """Runs `mesh …` on the running mesh; its jobs are those of a tenant of its own."""

    def __init__(self, running: RunningMesh) -> None:
        self.running = running
        self.tenant = f"t-{uuid4().hex[:12]}"

        # Addresses come from the environment here, and without telemetry, which is one for a whole process.
        settings = running.settings.model_copy(update={"otlp_endpoint": None})
        self._environment = settings.environment()
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, *arguments: str, stdin: str | None = None) -> Ran:
        """Run one to its end, in a thread: a process of its own takes a second to start."""
        return self._thread.submit(run_here, arguments, self._environment, stdin).result(_COMMAND_SECONDS)

    def process(self, *arguments: str, **environment: str) -> Ran:
        """Run one to its end as a process, which finds the mesh by its data directory."""
        ended = subprocess.run(
            [*MESH, *arguments],
            env=self.running.env | environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def submitted(self, *arguments: str, stdin: str | None = None) -> str:
        """Submit a job that has to be accepted; return its id."""
        ran = self(*arguments, "--tenant", self.tenant, "--json", stdin=stdin)
        assert ran.status == 0, ran
        job_id: str = ran.answer("mesh-submit")["job_id"]
        return job_id

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start one, and see that it is gone afterwards."""
        with subprocess.Popen(
            [*MESH, *arguments], env=self.running.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def mesh(running_mesh: RunningMesh) -> Mesh:
    """A tenant of this test alone on the mesh of the session."""
    return Mesh(running_mesh)


def _lines(ran: Ran, schema: str) -> list[Any]:
    values = [json.loads(line) for line in ran.stdout.splitlines()]
    for value in values:
        check_answer(value, schema)
    return values


def test_submit_and_what_became_of_it(mesh: Mesh) -> None:
    """A job is accepted, its results come in order, and every verb that asks tells the same of it."""
    job_id = mesh.submitted(*SQRT, "1", "4", "9", "-i", "16", "--label", "kind=roots")

    results = mesh("results", job_id, "--wait", "--json")
    status = mesh("status", job_id, "--json").answer("mesh-status")
    why = mesh("why", job_id, "--json").answer("mesh-why")
    listed = mesh("list", "--tenant", mesh.tenant, "--label", "kind=roots", "--json").answer("mesh-list")

    assert results.status == 0
    assert [line["output"] for line in _lines(results, "mesh-result")] == [1, 2, 3, 4]
    assert (status["state"], status["items_succeeded"], status["engine"]) == ("completed", 4, "celery")
    assert round(sum(segment["seconds"] for segment in why["segments"]), 3) == why["total_seconds"]
    assert {"run", "end"} <= {segment["name"] for segment in why["segments"]}
    assert [job["job_id"] for job in listed["jobs"]] == [job_id]


def test_submit_and_wait(mesh: Mesh) -> None:
    """With --wait the end is the answer, and its status the exit status: 0 when completed, 1 when failed."""
    completed = mesh.process(*SQRT, "1", "--wait", "--json", "--tenant", mesh.tenant)
    failed = mesh(*SQRT, "1", "--wait", "--json", "--tenant", mesh.tenant, "--", "-1")
    text = mesh(*SQRT, "4", "--wait", "--tenant", mesh.tenant)

    assert (completed.status, completed.stderr) == (0, "")
    assert completed.answer("mesh-submit-wait")["status"] == "completed"
    assert (failed.status, failed.stderr) == (1, "")
    end = failed.answer("job-end")
    assert (end["status"], end["error_type"], end["items_failed"]) == ("failed", "too_many_failures", 1)
    assert "1 succeeded of 1" in text.stdout
    assert re.match(r"job [-0-9a-f]{36} is (accepted|running|completed)\n", text.stderr), text.stderr


def test_items_from_standard_input(mesh: Mesh) -> None:
    """JSON lines on standard input are items."""
    job_id = mesh.submitted(*SQRT, "-", "--max-failed-items", "1", stdin="".join(f"{n * n}\n" for n in range(-1, 25)))

    lines = _lines(mesh("results", job_id, "--wait"), "mesh-result")

    assert [line["output"] for line in lines] == [1, *range(25)]


def test_a_refused_submit(mesh: Mesh) -> None:
    """What admission refuses is `dead`, with the reason, for submit, status, results, watch and dlq alike."""
    refused = mesh("submit", "python", "--function", "os:getcwd", "1", "--json", "--tenant", mesh.tenant)
    waited = mesh("submit", "python", "--function", "os:getcwd", "1", "--json", "--wait", "--tenant", mesh.tenant)
    answer = json.loads(refused.stdout)
    job_id = answer["job_id"]

    check_answer(answer, "mesh-submit")
    check_answer(json.loads(waited.stdout), "mesh-submit-wait")
    assert refused.status == waited.status == 1
    assert (answer["state"], answer["error_type"]) == ("dead", "invalid")
    assert "os:getcwd" in answer["reason"]
    error = json.loads(refused.stderr)
    check_answer(error, "mesh-error")
    assert error["error"]["error_type"] == "invalid"
    status = mesh("status", job_id, "--json")
    assert status.status == 0
    assert status.answer("mesh-status")["state"] == "dead"
    assert status.answer("mesh-status")["reason"] == answer["reason"]
    assert status.answer("mesh-status")["trace_id"] == answer["trace_id"]
    assert mesh("results", job_id, "--json").status == 1
    watched = mesh("watch", job_id, "--json")
    assert watched.status == 1
    assert [line["record"]["state"] for line in _lines(watched, "mesh-watch-line")] == ["dead"]
    shown = mesh("dlq", "show", job_id, "--json").answer("mesh-dlq")["records"][0]
    assert json.loads(shown["value"])["options"] == {"function": "os:getcwd"}
    assert mesh("why", job_id, "--json").error()["error_type"] == "not_found"
    assert mesh("cancel", job_id, "--json").status == 4


def test_the_same_again_and_something_else(mesh: Mesh) -> None:
    """A repeat is the same job, also with --wait; other content under the same key is a conflict: 4."""
    key = ("--idempotency-key", "nightly-42", "--tenant", mesh.tenant, "--json")
    job_id = job_id_from_key(mesh.tenant, "nightly-42")

    first, again, waited = mesh(*SQRT, "4", *key), mesh(*SQRT, "4", *key), mesh(*SQRT, "4", *key, "--wait")
    conflict, conflict_waited = mesh(*SQRT, "9", *key), mesh(*SQRT, "9", *key, "--wait")

    assert first.status == again.status == waited.status == 0
    assert first.answer("mesh-submit")["job_id"] == again.answer("mesh-submit")["job_id"] == job_id
    assert waited.answer("job-end")["job_id"] == job_id
    for ran in (conflict, conflict_waited):
        assert ran.status == 4
        assert json.loads(ran.stderr)["error"]["error_type"] == "conflict"
        check_answer(json.loads(ran.stderr), "mesh-error")
    assert mesh("status", job_id, "--json").answer("mesh-status")["state"] == "completed"


async def test_a_job_that_runs(mesh: Mesh) -> None:
    """While a job runs its status says so, a watch shows it step by step, and a cancel ends it for all of them."""
    job_id = mesh.submitted(*SLEEP, "0.01", "3600", "3600", "3600")
    with mesh.started("watch", job_id, "--json") as watching:

        def one_running() -> bool:
            status = mesh("status", job_id, "--json").answer("mesh-status")
            return bool(status["state"] == "running" and status["items_running"] and status["items_succeeded"])

        await wait_until(one_running, description="an item runs and one has ended")
        so_far = mesh("results", job_id)
        cancelled = mesh("cancel", job_id, "--reason", "enough", "--json")
        again = mesh("cancel", job_id, "--json")
        out, err = watching.communicate(timeout=200)

    assert [line["item_index"] for line in _lines(so_far, "mesh-result")] == [0]
    assert "1 of 4 results so far" in so_far.stderr
    assert cancelled.status == again.status == 0
    answer = cancelled.answer("mesh-cancel")
    assert (answer["state"], answer["reason"], answer["changed"]) == ("cancelled", "enough", True)
    assert again.answer("mesh-cancel")["changed"] is False
    assert (watching.returncode, err) == (1, "")
    lines = _lines(Ran(1, out, err), "mesh-watch-line")
    kinds = [line["kind"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("state", "end")
    assert [line["record"]["sequence"] for line in lines if line["kind"] == "progress"] == [1]
    assert [line["record"]["state"] for line in lines if line["kind"] == "state"][-1] == "cancelled"
    assert lines[-1]["record"]["items_not_run"] == 3


def test_watch_from_a_sequence(mesh: Mesh) -> None:
    """A watch can go on where another one ended; of an ended job it shows the rest and the end at once."""
    job_id = mesh.submitted(*SQRT, "1", "4", "9", "16")
    assert mesh("results", job_id, "--wait").status == 0

    whole, rest, text = (
        mesh("watch", job_id, "--json"),
        mesh("watch", job_id, "--json", "--from-sequence", "2"),
        mesh("watch", job_id),
    )

    sequences = [line["record"]["sequence"] for line in _lines(whole, "mesh-watch-line") if line["kind"] == "progress"]
    later = [line["record"]["sequence"] for line in _lines(rest, "mesh-watch-line") if line["kind"] == "progress"]
    assert whole.status == rest.status == text.status == 0
    assert sequences == list(range(1, len(sequences) + 1))
    assert later == sequences[1:]
    assert "4 items ended" in text.stdout


async def test_a_wait_that_is_interrupted(mesh: Mesh) -> None:
    """Ctrl-C ends the wait, not the job: status 130, and a note that says how to end the job, too."""
    key = ("--idempotency-key", "interrupted", "--tenant", mesh.tenant)
    job_id = job_id_from_key(mesh.tenant, "interrupted")
    with mesh.started(*SLEEP, "3600", *key, "--wait") as waiting:
        assert waiting.stderr is not None
        first = waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=200)

    assert first in {f"job {job_id} is {state}\n" for state in ("accepted", "running")}
    assert (waiting.returncode, out) == (130, "")
    assert f"`mesh cancel {job_id}` ends it" in err
    assert mesh("status", job_id, "--json").answer("mesh-status")["state"] in ("accepted", "running")
    assert mesh("cancel", job_id).status == 0


def test_a_wait_that_is_over(mesh: Mesh) -> None:
    """When the time for waiting is over the outcome is not known: 5, and the job goes on."""
    key = ("--idempotency-key", "slow", "--tenant", mesh.tenant)

    ran = mesh(*SLEEP, "3600", *key, "--wait", "--timeout", "0.5", "--json")

    assert (ran.status, ran.error()["error_type"]) == (5, "timeout")
    assert mesh("cancel", job_id_from_key(mesh.tenant, "slow")).status == 0


def test_a_reader_that_goes_away(mesh: Mesh) -> None:
    """When nobody reads any more, as behind `head`, the command ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([*MESH, "schema"], env=mesh.running.env, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, err = process.communicate(timeout=200)

    assert (process.returncode, err) == (141, b"")


async def test_one_trace_from_the_command_line_to_the_items(mesh: Mesh) -> None:
    """The command's own span begins the trace, below what TRACEPARENT names; `mesh trace` draws it as one tree."""
    trace_id, parent = uuid4().hex, uuid4().hex[:16]
    submitted = mesh.process(*SQRT, "4", "9", "--wait", "--json", TRACEPARENT=f"00-{trace_id}-{parent}-01")
    job_id = submitted.answer("job-end")["job_id"]

    def whole() -> dict[str, Any] | None:
        ran = mesh("trace", job_id, "--json")
        if ran.status != 0:
            return None
        answer: dict[str, Any] = ran.answer("mesh-trace")
        names = [span["name"] for span in answer["spans"]]
        # A span may arrive before its parent does.
        known = {span["span_id"] for span in answer["spans"]} | {parent}
        have_parents = all(span["parent_span_id"] in known for span in answer["spans"])
        return answer if names.count("process item") == 2 and "end job" in names and have_parents else None

    answer = await wait_until(whole, description="all spans have arrived")
    drawn = mesh("trace", job_id)

    assert answer["trace_id"] == trace_id
    by_id = {span["span_id"]: span for span in answer["spans"]}
    outside = [span for span in answer["spans"] if span["parent_span_id"] not in by_id]
    assert [(span["name"], span["service_name"], span["parent_span_id"]) for span in outside] == [
        ("send jobs", "mesh", parent)
    ]
    assert drawn.status == 0
    assert "└─ process jobs" in drawn.stdout
    assert trace_id in drawn.stderr


async def test_doctor_finds_a_mesh_well(mesh: Mesh) -> None:
    """Every check of a mesh that runs is fine, once each part answers in time: on a busy machine one may be late."""

    def well(*arguments: str) -> Ran | None:
        ran = mesh.process("doctor", *arguments)
        print(ran.stdout)  # noqa: T201 - shown when the test fails
        return ran if ran.status == 0 else None

    ran = await wait_until(lambda: well("--json"), description="doctor finds all well", timeout_seconds=200)
    text = await wait_until(well, description="doctor finds all well", timeout_seconds=200)

    answer = ran.answer("mesh-doctor")
    assert answer["ok"]
    of_servers = {"settings", "data directory", "broker", "topics", "redis", "clock", "telemetry", "metrics"}
    of_services = {"services", "router", "jobs", "workers", "claude_exec", "sages", "notifier", "ray"}
    found = {check["name"]: check["status"] for check in answer["checks"] if check["name"] != "disk"}
    assert found == dict.fromkeys(of_servers | of_services, "ok")
    assert "✓ workers" in text.stdout


def test_nothing_was_lost(mesh: Mesh) -> None:
    """Whatever the tests before did to this mesh, its ledger is whole."""
    mesh.submitted(*SQRT, "1", "4")

    ran, text = mesh("audit", "--wait", "60", "--json"), mesh("audit", "--wait", "60")

    answer = ran.answer("mesh-audit")
    assert ran.status == text.status == 0, answer
    assert answer["accepted"] == answer["ended"] > 0
    assert answer["items_counted"] == answer["items_expected"] > 0
    assert re.search(r"^breaches +0\b", text.stdout, re.MULTILINE), text.stdout


def test_answers_without_asking(mesh: Mesh) -> None:
    """Version, settings, topics and schemas."""
    version = mesh("version", "--json").answer("mesh-version")
    config = json.loads(mesh("config", "--json").stdout)
    applied = mesh("topics", "apply", "--json")
    schema = json.loads(mesh("schema", "job-submit", "--json").stdout)
    unknown = mesh("schema", "nonsense", "--json")

    assert (version["contract_version"], version["fold_version"]) == (1, 1)
    assert config["kafka_bootstrap"] == mesh.running.settings.kafka_bootstrap
    assert applied.status == 0
    assert applied.answer("mesh-topics-apply")["created"] == []
    assert schema["$id"] == "urn:eldermesh:schema:job-submit:v1"
    assert (unknown.status, unknown.error()["error_type"]) == (4, "not_found")

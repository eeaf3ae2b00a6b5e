"""The verbs that ask, in front of states that a running mesh passes through too quickly, or should never be in."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eldermesh.client.errors import MeshUnavailableError
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import format_time
from eldermesh_cli.operate.mesh.losses import lost_with
from eldermesh_cli.program.topic_scan import read_stretches
from eldermesh_cli.stack.servers.broker import BROKER_NAME
from eldermesh_cli.stack.servers.redis import REDIS_NAME
from shared.facts.fact import InboxRecord
from shared.facts.jobs import JobCancelRequested, JobDecided, JobHeld, JobPaused
from shared.history.keys import PartitionKeys
from shared.history.snapshot import PartitionStore
from shared.kafka.topics import JOBS, JOBS_DEAD, JOBS_HISTORY
from tests.fresh_topics import AnyBroker
from tests.hostile_batches import publish_batch, unreadable_header
from tests.integration.seeded_mesh import SeededMesh, seeded_mesh
from tests.played_router import played_router
from tests.unit.cli.command_line import check_answer
from tests.unit.cli.job_facts import completed, routed

SUBMIT: dict[str, Any] = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [1, 4, 9, 16]}
HOUR_MS = 3_600_000
FORGED = "looked at it\n  failed    item 0: forged"


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """Topics and Redis keys of this test alone, on the embedded broker."""
    async with seeded_mesh(AnyBroker(embedded_broker, "embedded"), redis_server, data_dir=tmp_path) as seeded:
        yield seeded


@pytest.fixture
async def any_mesh(any_broker: AnyBroker, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """The same on each of the two brokers."""
    async with seeded_mesh(any_broker, redis_server, data_dir=tmp_path) as seeded:
        yield seeded


def _lines(text: str, schema: str) -> list[Any]:
    values = [json.loads(line) for line in text.splitlines()]
    for value in values:
        check_answer(value, schema)
    return values


async def test_what_is_lost_with_the_broker(mesh: SeededMesh) -> None:
    """Each job that had not ended, with its state and its items; the one that changed longest ago comes first."""
    waiting, held, partly = (str(uuid4()) for _ in range(3))
    for at, job_id in enumerate((waiting, held, partly)):
        await mesh.accept(job_id, SUBMIT, at=at)
    await mesh.append(held, (20, JobHeld(n=0, reason="may write files", until=mesh.began_ms + 2 * HOUR_MS)))
    await mesh.append(partly, (20, routed(chunk_items=2)), (40, completed(partly, 0, 1)))
    await mesh.settle()

    assert await lost_with(BROKER_NAME, mesh.settings) == [
        f"job {waiting} (python, accepted, 0 of 4 items)",
        f"job {held} (python, held, 0 of 4 items)",
        f"job {partly} (python, running, 2 of 4 items)",
    ]
    assert await lost_with(REDIS_NAME, mesh.settings) == ()


async def test_states_on_the_way(mesh: SeededMesh) -> None:
    """Status says of each job what it waits for, and until when at the latest."""
    names = ("advice", "routing", "held", "paused", "engine", "running", "partly")
    jobs = {name: str(uuid4()) for name in names}
    for name, job_id in jobs.items():
        await mesh.accept(job_id, SUBMIT, advise_within_ms=2 * HOUR_MS if name == "advice" else 0)
    until = mesh.began_ms + 2 * HOUR_MS
    await mesh.append(jobs["held"], (20, JobHeld(n=0, reason="may write files", until=until)))
    await mesh.append(jobs["paused"], (20, routed()), (30, JobPaused(reason="rate limit", until=until)))
    for name in ("engine", "running", "partly"):
        await mesh.append(jobs[name], (20, routed(chunk_items=2)))
    await mesh.append(jobs["partly"], (40, completed(jobs["partly"], 0, 1)))
    await mesh.settle()
    await mesh.hold_claim(f"{jobs['running']}/0/1/2-3", lease_ms=60_000)
    await mesh.hold_claim(f"{jobs['engine']}/0/1/2-3", lease_ms=-1_000)

    answers = {
        name: (await mesh.run("status", job_id, "--json")).answer("mesh-status") for name, job_id in jobs.items()
    }

    seen = {
        name: (answer["state"], answer["waiting_for"], answer["waiting_until"], answer["items_running"])
        for name, answer in answers.items()
    }
    assert seen == {
        "advice": ("accepted", "advice", format_time(mesh.began_ms + 10 + 2 * HOUR_MS), 0),
        "routing": ("accepted", "routing", None, 0),
        "held": ("held", "decision", format_time(until), 0),
        "paused": ("paused", "quota", format_time(until), 0),
        "engine": ("accepted", "engine", None, 0),
        "running": ("running", None, None, 2),
        "partly": ("running", "engine", None, 0),
    }
    assert answers["held"]["reason"] == "may write files"
    assert (answers["partly"]["items_succeeded"], answers["partly"]["items_total"]) == (2, 4)
    assert answers["running"]["accepted_at"] == format_time(mesh.began_ms + 10)
    text = await mesh.run("status", jobs["held"])
    assert f"decision, at most until {format_time(until)}" in text.stdout


async def test_results_so_far(any_mesh: SeededMesh) -> None:
    """Of a job that runs the results are those which are there, in the order of items; a note says how many."""
    job_id = str(uuid4())
    await any_mesh.accept(job_id, SUBMIT)
    facts = [(30, completed(job_id, 2, 3)), (40, completed(job_id, 0, 0))]
    await any_mesh.append(job_id, (20, routed(chunk_items=2)), *facts)
    await any_mesh.settle()

    as_json, as_text = await any_mesh.run("results", job_id, "--json"), await any_mesh.run("results", job_id)

    assert as_json.stdout == as_text.stdout
    assert [line["item_index"] for line in _lines(as_json.stdout, "mesh-result")] == [0, 2, 3]
    assert (as_json.status, as_json.stderr) == (0, "")
    assert "3 of 4 results so far" in as_text.stderr


async def test_why_of_a_job_that_has_ended(mesh: SeededMesh) -> None:
    """Segments come from the times of the facts, and sum to the total."""
    job_id, began = str(uuid4()), mesh.began_ms
    await mesh.accept(job_id, SUBMIT)
    times = (began + 40, began + 60, began + 200)
    await mesh.append(job_id, (40, routed(chunk_items=4)), (200, completed(job_id, 0, 3, times=times)))
    await mesh.settle()

    answer = (await mesh.run("why", job_id, "--json")).answer("mesh-why")
    text = await mesh.run("why", job_id)

    seconds = {segment["name"]: segment["seconds"] for segment in answer["segments"]}
    assert {name: seconds[name] for name in ("admission", "decision", "queue", "run")} == {
        "admission": 0.01,
        "decision": 0.03,
        "queue": 0.02,
        "run": 0.14,
    }
    assert round(sum(seconds.values()), 3) == answer["total_seconds"]
    assert "decision" in text.stdout


async def test_why_of_a_job_that_waits(mesh: SeededMesh) -> None:
    """A job that is held goes on being held until now."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT)
    await mesh.append(job_id, (20, JobHeld(n=0, reason="r", until=mesh.began_ms + 2 * HOUR_MS)))
    await mesh.settle()

    answer = (await mesh.run("why", job_id, "--json")).answer("mesh-why")

    seconds = {segment["name"]: segment["seconds"] for segment in answer["segments"]}
    assert seconds.keys() == {"admission", "decision", "hold"}
    assert seconds["hold"] >= HOUR_MS / 1000 - 1
    assert [(hold["reason"], hold["outcome"]) for hold in answer["holds"]] == [("r", None)]


async def test_who_let_a_job_go_on_and_what_failed(mesh: SeededMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """`why` names who approved and the slowest item, `status` and `why` the first error."""
    monkeypatch.setattr("eldermesh_cli.follow.status.HISTORY_SECONDS", 60.0)
    job_id, until = str(uuid4()), mesh.began_ms + 2 * HOUR_MS
    await mesh.accept(job_id, SUBMIT | {"max_failed_items": 4})
    inbox = InboxRecord(topic="jobs.decisions", partition=0, offset=7)
    await mesh.append(
        job_id,
        (20, JobHeld(n=0, reason="r", until=until)),
        (
            30,
            JobDecided(
                inbox=inbox,
                original="{}",
                decision="approve",
                by="anna",
                reason=FORGED,
            ),
        ),
        (40, routed(1)),
        (50, completed(job_id, 2, 3, failed=True)),
    )
    await mesh.settle()
    status, why = await mesh.run("status", job_id), await mesh.run("why", job_id)
    assert "first error  item 2: " in status.stdout
    assert "approved by anna at " in why.stdout
    assert "looked at it failed item 0: forged" in why.stdout
    assert "slowest   item 2, " in why.stdout
    assert "failed    item 2: " in why.stdout
    answer = (await mesh.run("status", job_id, "--json")).answer("mesh-status")
    assert answer["first_error"]["item_index"] == 2


@pytest.mark.parametrize("trouble", ["a fact that is none", "a partition that stalls", "a broker that is away"])
async def test_status_does_not_need_the_history(
    trouble: str, mesh: SeededMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which item failed first is left out where the history does not say it soon; the rest of the answer is at hand."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT | {"max_failed_items": 4})
    await mesh.append(job_id, (20, routed()), (30, completed(job_id, 2, 3, failed=True)))
    await mesh.settle()

    async def damaged(*asked: Any) -> AsyncIterator[Any]:
        if trouble == "a partition that stalls":
            await asyncio.Event().wait()
        if trouble == "a broker that is away":
            raise MeshUnavailableError("jobs.history cannot be read to the end")
        async with aclosing(read_stretches(*asked)) as records:
            async for record in records:
                yield replace(record, value=b"no fact")

    monkeypatch.setattr("eldermesh_cli.follow.job_history.read_stretches", damaged)
    monkeypatch.setattr("eldermesh_cli.follow.status.HISTORY_SECONDS", 0.5)

    as_json, as_text = await mesh.run("status", job_id, "--json"), await mesh.run("status", job_id)

    answer = as_json.answer("mesh-status")
    assert (answer["items_failed"], answer["first_error"]) == (2, None)
    assert (as_json.stderr, as_text.status) == ("", 0)
    assert "2 failed" in as_text.stdout
    assert f"`mesh why {job_id}`" in as_text.stderr


async def test_list_filters_and_pages(mesh: SeededMesh) -> None:
    """Newest first; each filter narrows; pages meet without a gap or a repeat, though jobs share a time."""
    jobs = [str(uuid4()) for _ in range(5)]
    for number, job_id in enumerate(jobs):
        tenant, labels = ("acme" if number % 2 else "other"), {"n": str(number), "all": "yes"}
        await mesh.accept(job_id, SUBMIT | {"tenant": tenant, "labels": labels}, at=1000 * (number // 2))
    await mesh.append(jobs[0], (2000, routed()), (3000, completed(jobs[0], 0, 3)))
    cancel = JobCancelRequested(inbox=InboxRecord(topic="jobs", partition=0, offset=99))
    await mesh.append(jobs[1], (2000, cancel))
    stub = JobCancelRequested(inbox=InboxRecord(topic="jobs", partition=0, offset=98))
    await mesh.append(str(uuid4()), (2000, stub))
    await mesh.settle()

    async def listed(*options: str) -> list[str]:
        answer = (await mesh.run("list", "--json", *options)).answer("mesh-list")
        return [job["job_id"] for job in answer["jobs"]]

    by_age = sorted(range(5), key=lambda n: (n // 2, jobs[n]), reverse=True)
    assert await listed() == [jobs[n] for n in by_age]
    assert set(await listed("--tenant", "acme")) == {jobs[1], jobs[3]}
    assert await listed("--state", "completed") == [jobs[0]]
    assert set(await listed("--state", "completed", "--state", "cancelled")) == {jobs[0], jobs[1]}
    assert await listed("--label", "n=3", "--label", "all=yes") == [jobs[3]]
    assert await listed("--workload", "claude") == []
    first = (await mesh.run("list", "--json", "--limit", "3")).answer("mesh-list")
    second = (await mesh.run("list", "--json", "--limit", "3", "--cursor", first["next_cursor"])).answer("mesh-list")
    assert [job["job_id"] for job in first["jobs"] + second["jobs"]] == [jobs[n] for n in by_age]
    assert second["next_cursor"] is None
    ended = next(job for job in second["jobs"] + first["jobs"] if job["job_id"] == jobs[0])
    assert (ended["state"], ended["tenant"], ended["workload"], ended["items_ended"]) == (
        "completed",
        "other",
        "python",
        4,
    )
    text = await mesh.run("list", "--limit", "3")
    assert jobs[by_age[0]] in text.stdout
    assert f"--cursor {first['next_cursor']}" in text.stderr


async def test_dead_letters_page_and_show(any_mesh: SeededMesh) -> None:
    """Dead letters come newest first, filtered, in pages; one is shown with its original bytes, whatever they are."""
    jobs = [str(uuid4()) for _ in range(3)]
    async with played_router(any_mesh.settings) as router:
        await router.dead(jobs[0], ("t.jobs", 0, 1), "invalid")
        await router.dead(jobs[1], ("t.jobs", 0, 2), "undecodable", original=[("x", b"\xff")])
        await router.dead(jobs[2], (any_mesh.settings.topic("jobs.decisions"), 0, 3), "invalid")

    first = (await any_mesh.run("dlq", "ls", "--json", "--limit", "2")).answer("mesh-dlq")
    second = (await any_mesh.run("dlq", "ls", "--json", "--cursor", first["next_cursor"])).answer("mesh-dlq")
    invalid = (await any_mesh.run("dlq", "ls", "--json", "--error-type", "invalid")).answer("mesh-dlq")
    decisions = (await any_mesh.run("dlq", "ls", "--json", "--topic", "jobs.decisions")).answer("mesh-dlq")
    of_job = (await any_mesh.run("dlq", "ls", "--json", "--job", jobs[1])).answer("mesh-dlq")

    letters = first["records"] + second["records"]
    assert sorted(letter["key"] for letter in letters) == sorted(jobs)
    assert [letter["recorded_at"] for letter in letters] == sorted(
        (one["recorded_at"] for one in letters), reverse=True
    )
    assert {letter["key"] for letter in invalid["records"]} == {jobs[0], jobs[2]}
    assert [letter["key"] for letter in decisions["records"]] == [jobs[2]]
    (wanted,) = of_job["records"]
    shown = (await any_mesh.run("dlq", "show", wanted["position"], "--json")).answer("mesh-dlq")["records"][0]
    assert base64.b64decode(shown["value_base64"]) == b"{}"
    assert ["x", "\\xff"] in shown["headers"]
    assert (await any_mesh.run("dlq", "show", jobs[1], "--raw")).stdout == "{}"
    assert "dlq_reason: undecodable for a test" in (await any_mesh.run("dlq", "show", jobs[1])).stdout
    missing = await any_mesh.run("dlq", "show", "0/4711", "--json")
    assert (missing.status, missing.error()["error_type"]) == (4, "not_found")


async def test_audit_finds_what_is_missing_and_what_is_broken(any_mesh: SeededMesh) -> None:
    """A ledger that is whole exits with 0; a job without an end, or an end told in two ways, with 1."""
    ended, running = str(uuid4()), str(uuid4())
    await any_mesh.accept(ended, SUBMIT)
    await any_mesh.append(ended, (20, routed()), (30, completed(ended, 0, 3)))
    await any_mesh.settle()
    whole = await any_mesh.run("audit", "--json")
    await any_mesh.accept(running, SUBMIT)
    await any_mesh.settle()
    missing = await any_mesh.run("audit", "--json", "--wait", "1")
    unread = str(uuid4())
    await any_mesh.submit(unread, SUBMIT)
    unjudged = await any_mesh.run("audit", "--json")
    async with played_router(any_mesh.settings) as router:
        await router.end(ended, succeeded=4, records=1)
    broken = await any_mesh.run("audit", "--json")

    assert whole.status == 0
    counted = whole.answer("mesh-audit")
    assert (counted["accepted"], counted["ended"], counted["items_expected"], counted["items_counted"]) == (1, 1, 4, 4)
    assert missing.status == 1
    assert missing.answer("mesh-audit")["missing_jobs"] == [running]
    assert missing.answer("mesh-audit")["breaches"] == []
    assert sorted(unjudged.answer("mesh-audit")["missing_jobs"]) == sorted([running, unread])
    assert broken.status == 1
    assert broken.answer("mesh-audit")["differing_ends"] == 1
    assert broken.answer("mesh-audit")["breaches"][0]["invariant"] == 1
    text = await any_mesh.run("audit")
    assert f"no end: job {running}" in text.stdout
    assert "breach of invariant 1" in text.stdout


async def test_audit_of_records_that_cannot_be_read(any_mesh: SeededMesh) -> None:
    """They stop no verb that reads topics; on `jobs` each needs a dead letter, as any other that is no command."""
    settings = any_mesh.settings
    for topic in (JOBS, JOBS_DEAD, JOBS_HISTORY):
        await publish_batch(settings, topic, 0, unreadable_header([b"{}", b"{}"]))
    audit = await any_mesh.run("audit", "--json")
    assert audit.status == 1
    assert sorted(breach["invariant"] for breach in audit.answer("mesh-audit")["breaches"]) == [0, 0, 8, 8]
    text = await any_mesh.run("audit")
    assert "6 records could not be read, the first at" in text.stderr
    letters = await any_mesh.run("dlq", "ls")
    assert letters.status == 0
    assert "2 records could not be read, the first at" in letters.stderr


async def test_nobody_takes_the_submit(any_mesh: SeededMesh) -> None:
    """Without a router a submit is sent and not judged: 5 seconds, exit status 5, and the id to ask for later."""
    job_id = str(uuid4())

    ran = await any_mesh.run("submit", "python", "--function", "math:sqrt", "1", "--job-id", job_id, "--json")

    assert ran.status == 5
    assert ran.error()["error_type"] == "timeout"
    assert job_id in ran.error()["message"]
    assert "mesh doctor" in ran.error()["hint"]


async def test_nobody_takes_the_cancel(mesh: SeededMesh) -> None:
    """Without a router a cancel has no effect, which is told as not known."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT)
    await mesh.settle()

    ran = await mesh.run("cancel", job_id, "--json")

    assert (ran.status, ran.error()["error_type"]) == (5, "timeout")


async def test_doctor_without_services(any_mesh: SeededMesh) -> None:
    """Broker, topics and Redis are fine, nobody owns the partitions, nobody works: it fails and says what to do."""
    ran = await any_mesh.run("doctor", "--json")

    assert ran.status == 1
    answer = ran.answer("mesh-doctor")
    assert not answer["ok"]
    found = {check["name"]: check["status"] for check in answer["checks"]}
    assert found == {
        "settings": "ok",
        "data directory": "ok",
        "disk": "ok",
        "services": "ok",
        "broker": "ok",
        "topics": "ok",
        "redis": "ok",
        "clock": "ok",
        "router": "fail",
        "jobs": "ok",
        "workers": "fail",
        "claude_exec": "warn",
        "sages": "warn",
        "notifier": "warn",
        "ray": "ok",
        "telemetry": "warn",
        "metrics": "ok",
    }
    assert all(check["hint"] for check in answer["checks"] if check["status"] != "ok")


async def test_doctor_of_a_bare_install(mesh: SeededMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Celery is not installed nobody can ask the workers: a warning with the length of the queue."""
    monkeypatch.setattr("eldermesh_cli.operate.checks.services.find_spec", lambda _name: None)

    ran = await mesh.run("doctor", "--json")

    workers = next(check for check in ran.answer("mesh-doctor")["checks"] if check["name"] == "workers")
    assert workers["status"] == "warn"
    assert "0 tasks wait" in workers["detail"]
    assert "eldermesh[run]" in workers["hint"]


async def test_doctor_of_a_wrong_prefix(mesh: SeededMesh) -> None:
    """Under a prefix where nothing is, the topics are missing, and nothing is created by looking."""
    twice = [await mesh.run("doctor", "--json", MESH_TOPIC_PREFIX="nobodys.") for _ in range(2)]

    for ran in twice:
        topics = next(check for check in ran.answer("mesh-doctor")["checks"] if check["name"] == "topics")
        assert topics["status"] == "fail"
        assert "nobodys.jobs" in topics["detail"]
        assert "mesh topics apply" in topics["hint"]


async def test_no_mesh_under_this_prefix(mesh: SeededMesh) -> None:
    """Verbs that ask about jobs say that the topics are missing, and what to do."""
    ran = await mesh.run("status", str(uuid4()), "--json", MESH_TOPIC_PREFIX="nobodys.")

    assert ran.status == 3
    assert "mesh topics apply" in ran.error()["message"]


async def test_topics_apply(any_mesh: SeededMesh) -> None:
    """All topics stand; with another number of partitions each is refused with the reason, and the status is 1."""
    unchanged = await any_mesh.run("topics", "apply", "--json")
    refused = await any_mesh.run("topics", "apply", "--json", MESH_PARTITIONS="5")
    text = await any_mesh.run("topics", "apply", MESH_PARTITIONS="5")

    assert unchanged.status == 0
    assert any_mesh.settings.topic("jobs") in unchanged.answer("mesh-topics-apply")["unchanged"]
    assert refused.status == text.status == 1
    reasons = {topic["name"]: topic["reason"] for topic in refused.answer("mesh-topics-apply")["refused"]}
    assert "3 partitions instead of 5" in reasons[any_mesh.settings.topic("jobs")]
    assert "refused" in text.stdout


@pytest.mark.parametrize("verb", ["status", "results", "watch", "cancel", "why", "trace"])
async def test_unknown_jobs(mesh: SeededMesh, verb: str) -> None:
    """A job that nobody knows is told as such, with the same status by every verb."""
    ran = await mesh.run(verb, str(uuid4()), "--json", MESH_TRACE_QUERY_URL="http://127.0.0.1:1")

    assert (ran.status, ran.error()["error_type"]) == (4, "not_found")


async def test_no_spans(mesh: SeededMesh) -> None:
    """A trace has its own troubles: no store is named, or the store does not answer."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT)
    await mesh.settle()

    unnamed = await mesh.run("trace", job_id, "--json")
    silent = await mesh.run("trace", job_id, "--json", MESH_TRACE_QUERY_URL="http://127.0.0.1:1")

    assert (unnamed.status, silent.status) == (3, 3)
    assert "MESH_TRACE_QUERY_URL" in unnamed.error()["hint"]
    assert "http://127.0.0.1:1" in silent.error()["message"]


async def test_a_job_that_waits_by_itself(mesh: SeededMesh) -> None:
    """Its owner has told why: status gives that as the reason, and doctor says that there is such a job."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT)
    await mesh.settle()
    keys = PartitionKeys(mesh.settings.topic(JOBS_HISTORY), partition_of(job_id, mesh.settings.partition_count))
    why = "workload 'acme_plugin' is not installed"
    await PartitionStore(mesh.redis, keys).note_trouble({job_id: why})

    status, doctor = await mesh.run("status", job_id, "--json"), await mesh.run("doctor", "--json")

    assert status.answer("mesh-status")["reason"] == why
    (jobs,) = [check for check in doctor.answer("mesh-doctor")["checks"] if check["name"] == "jobs"]
    assert jobs["status"] == "warn"
    assert why in jobs["detail"]
    assert job_id in jobs["detail"]

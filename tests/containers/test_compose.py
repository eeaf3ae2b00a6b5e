"""compose.yaml, seen from outside: jobs on each engine, their results, ends and traces, and what is no job."""

from __future__ import annotations

import httpx
import pytest

from tests.containers.compose_mesh import ComposeMesh
from tests.containers.docker_command import docker
from tests.containers.jaeger_query import edges_of
from tests.containers.mixed_load import HELD
from tests.containers.plain_client import PlainClient
from tests.trace_edges import ADVICE_EDGES, CLAUDE_EDGES, CLI_EDGES, EDGES, NOTIFICATION_EDGES, Edge
from tests.waiting import wait_until

END_SECONDS = 120.0


async def assert_traced(mesh: ComposeMesh, trace_id: str, edges: list[Edge]) -> None:
    """Each parent and child is in the job's trace."""
    missing: set[Edge] = set(edges)

    def whole() -> bool:
        missing.difference_update(edges_of(mesh.jaeger_url, trace_id))
        return not missing

    try:
        await wait_until(whole, description="the whole trace is in Jaeger", timeout_seconds=30, interval_seconds=0.5)
    except AssertionError:
        assert missing == set()
        raise


async def test_a_job_on_celery(mesh: ComposeMesh, client: PlainClient) -> None:
    """Three roots, one end, one trace, its id made of the job's."""
    (job,) = client.publish({"workload": "python", "items": [1, 4, 9], "options": {"function": "math:sqrt"}})
    (end,) = client.wait_for_ends([job], seconds=END_SECONDS)
    assert (end["status"], end["engine"], end["items_succeeded"]) == ("completed", "celery", 3)
    assert sorted(result["output"] for result in client.results[job]) == [1.0, 2.0, 3.0]
    assert end["trace_id"] == job.replace("-", "")
    await assert_traced(mesh, end["trace_id"], [*EDGES, *ADVICE_EDGES])


async def test_a_job_on_two_nodes_of_ray(mesh: ComposeMesh, client: PlainClient) -> None:
    """A large job goes to Ray, runs in both of its containers, and is one trace."""
    items = [0.1] * 400  # so long that one of the two cannot run them all before the other has started its runners
    (job,) = client.publish({"workload": "python", "items": items, "options": {"function": "time:sleep"}})
    (end,) = client.wait_for_ends([job], seconds=END_SECONDS)
    assert (end["status"], end["engine"], end["items_succeeded"]) == ("completed", "ray", len(items))
    assert {result["item_index"]: result["output"] for result in client.results[job]} == dict.fromkeys(range(400))
    hosts = {result["worker_id"].partition(":")[0] for result in client.results[job]}
    assert hosts == {f"ray@{container[:12]}" for container in mesh.containers("ray-worker")}
    await assert_traced(mesh, end["trace_id"], EDGES)


async def test_a_prompt(mesh: ComposeMesh, client: PlainClient) -> None:
    """The real Claude CLI runs in its container; what it did itself is in the job's trace."""
    (job,) = client.publish({"workload": "claude", "items": ["Say it. [[reply good morning]]"]})
    (end,) = client.wait_for_ends([job], seconds=END_SECONDS)
    assert end["status"] == "completed"
    assert "good morning" in str(client.results[job][0]["output"])
    await assert_traced(mesh, end["trace_id"], [*EDGES, *CLAUDE_EDGES, *CLI_EDGES])


@pytest.mark.parametrize("secret", ["/run/logins/redis/url", "/run/secrets/anthropic_api_key"])
async def test_a_prompt_that_asks_for_a_secret(client: PlainClient, secret: str) -> None:
    """Its tools may read any file but those; the endpoint repeats what the tool said."""
    options = {"allowed_tools": ["Read"]}
    open_, hidden = client.publish(
        *(
            {"workload": "claude", "items": [f'[[tool Read {{"file_path": "{path}"}}]]'], "options": options}
            for path in ("/etc/passwd", secret)
        )
    )
    assert {end["status"] for end in client.wait_for_ends([open_, hidden], seconds=END_SECONDS)} == {"completed"}
    assert "mesh:x:10001" in str(client.results[open_][0]["output"])
    assert "denied by your permission settings" in str(client.results[hidden][0]["output"])


async def test_a_held_job(mesh: ComposeMesh, client: PlainClient) -> None:
    """A prompt of high risk waits for a person; what the sages said, the wait and the run are one trace."""
    (job,) = client.publish(HELD)
    (end,) = client.wait_for_ends([job], seconds=END_SECONDS)
    assert end["status"] == "completed"

    def approved() -> bool:
        client.read()
        return [hold["outcome"] for hold in client.holds[job]] == [None, "approved"]

    await wait_until(approved, description="the hold was approved", timeout_seconds=30)
    await assert_traced(mesh, end["trace_id"], [*EDGES, *ADVICE_EDGES, ("accept job", "hold"), *CLAUDE_EDGES])
    assert mesh.mesh("status", job)["trace_url"] == f"{mesh.jaeger_url}/trace/{end['trace_id']}"


async def test_people_are_told(mesh: ComposeMesh, client: PlainClient) -> None:
    """The end of a job on the notifier's console, with the page of its trace, in which the notification is as well."""
    job_of_people = {"workload": "python", "items": [1], "labels": {"tell": "people"}}
    (job,) = client.publish(job_of_people | {"options": {"function": "math:sqrt"}})
    (end,) = client.wait_for_ends([job], seconds=END_SECONDS)
    await assert_traced(mesh, end["trace_id"], [*EDGES, *NOTIFICATION_EDGES])
    (notice,) = [line for line in mesh.run("logs", "notifier").splitlines() if f"Job {job}" in line]
    assert f"Trace: {mesh.jaeger_url}/trace/{end['trace_id']}" in notice


def test_what_is_no_job(client: PlainClient) -> None:
    """It is a dead letter with its own bytes, and stops nobody."""
    client.publish_bytes(b"\xff no job")
    (job,) = client.publish({"workload": "python", "items": [16], "options": {"function": "math:sqrt"}})
    client.wait_for_ends([job], seconds=END_SECONDS)
    assert b"\xff no job" in client.dead.values()


def test_pages_on_this_host(mesh: ComposeMesh) -> None:
    """Flower, which asks for its log-in, and, with the profile `debug`, Redis Commander."""
    workers = f"{mesh.flower_url}/workers"
    assert httpx.get(workers, timeout=10, trust_env=False).status_code == httpx.codes.UNAUTHORIZED
    user, _, password = mesh.run("exec", "--no-TTY", "flower", "cat", "/run/logins/flower/login").partition(":")
    login = (user, password)
    assert "celery@" in httpx.get(workers, auth=login, timeout=10, trust_env=False).text
    assert "Redis Commander" in httpx.get(mesh.redis_commander_url, timeout=10, trust_env=False).text


def test_passwords_are_in_files_alone(mesh: ComposeMesh) -> None:
    """What `logins` made is in no container's environment or command, as `docker inspect` shows them."""
    files = {"redis": "redis/password", "ray-head": "ray/token", "flower": "flower/login"}
    made = [mesh.run("exec", "--no-TTY", service, "cat", f"/run/logins/{file}") for service, file in files.items()]
    inspected = docker("inspect", *mesh.run("ps", "--all", "--quiet").split())
    assert not [secret for secret in made if secret.rpartition(":")[2] in inspected]


def test_nothing_is_lost(mesh: ComposeMesh) -> None:
    """`mesh doctor` and `mesh audit` agree."""
    assert mesh.mesh("doctor")["ok"]
    audited = mesh.mesh("audit", "--wait", "60")
    assert audited["breaches"] == []
    assert audited["accepted"] == audited["ended"] > 0

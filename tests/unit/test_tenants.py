"""Which tenants can have inboxes, what these are called, and what follows for the topics of a mesh."""

from __future__ import annotations

import pytest

from eldermesh.client import Client, InvalidJobError
from eldermesh.client.submission import identified_job
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_key
from eldermesh.contract.tenants import NOT_TENANTS, inbox_of_tenant, is_job_inbox, tenant_of_inbox
from eldermesh_cli.program.connection import submit_inbox
from shared.errors import ConfigurationError
from shared.kafka.topic_promises import ExistingTopic, broken_promises, wanted_topics
from shared.kafka.topics import JOBS, TOPICS, router_inboxes
from shared.settings import Settings

JOB = JobSubmit(workload="python", items=[1])


def _settings(**overrides: object) -> Settings:
    return Settings.model_validate({"topic_prefix": "p.", "partitions": 3} | overrides)


def _refusal(monkeypatch: pytest.MonkeyPatch, tenants: str) -> str:
    monkeypatch.setenv("MESH_TENANTS", tenants)
    with pytest.raises(ConfigurationError) as raised:
        Settings.of_environment(_env_file=None)
    return str(raised.value)


def test_no_topic_of_the_mesh_is_an_inbox_of_a_tenant() -> None:
    """Every topic that begins so is refused as a tenant."""
    words = {spec.name.removeprefix("jobs.") for spec in TOPICS if spec.name.startswith("jobs.")}
    assert words == NOT_TENANTS
    assert [name for name in (spec.name for spec in TOPICS) if is_job_inbox(name)] == [JOBS]


@pytest.mark.parametrize(
    "topic", ["jobs", "jobs.done", "jobs.", "jobs.Team", "claude.requests", "job.team", "jobsteam"]
)
def test_what_is_no_inbox_of_a_tenant(topic: str) -> None:
    """Names that only look like one."""
    assert tenant_of_inbox(topic) is None


@pytest.mark.parametrize("tenant", ["team", "default", "a.b", "done.x", "0-9_z"])
def test_an_inbox_tells_its_tenant(tenant: str) -> None:
    """There and back."""
    assert tenant_of_inbox(inbox_of_tenant(tenant)) == tenant
    assert is_job_inbox(inbox_of_tenant(tenant))


def test_a_list_of_tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, with commas; none by default, and where compose passes on an empty variable."""
    monkeypatch.setenv("MESH_TENANTS", "search, ads")
    monkeypatch.setenv("MESH_SUBMIT_TENANT", "")
    settings = Settings.of_environment(_env_file=None)
    assert settings.tenants == ("search", "ads")
    assert settings.submit_tenant is None
    assert settings.environment()["MESH_TENANTS"] == "search,ads"
    monkeypatch.setenv("MESH_TENANTS", "")
    assert Settings.of_environment(_env_file=None).tenants == ()


def test_a_tenant_that_is_a_topic_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its inbox would be where ends, or decisions, lie."""
    said = _refusal(monkeypatch, "search,done")
    assert said.endswith("tenant done cannot have an inbox, because jobs.done is a topic of the mesh itself")
    assert "MESH_TENANTS" in said


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of the contract's `tenant`."""
    assert "MESH_TENANTS.0: String should match pattern" in _refusal(monkeypatch, "Search")


@pytest.mark.parametrize("tenants", ["a.b,a_b", "ads,search,ads"])
def test_tenants_that_kafka_cannot_tell_apart_are_refused(monkeypatch: pytest.MonkeyPatch, tenants: str) -> None:
    """A broker would refuse the second topic."""
    assert "would be one topic to Kafka: let them differ by more than . and _" in _refusal(monkeypatch, tenants)


def test_their_topics_are_as_jobs() -> None:
    """With the same partitions and retention; and nobody shares a group."""
    wanted = {topic.name: topic for topic in wanted_topics(_settings(tenants="search,ads"), 3)}
    assert len(wanted) == len(TOPICS) + 2
    for tenant in ("search", "ads"):
        inbox = wanted[f"p.jobs.{tenant}"]
        assert (inbox.partitions, inbox.replication, inbox.config) == (3, 3, wanted["p.jobs"].config)
    groups = router_inboxes(["search", "ads"])
    assert list(groups) == ["jobs", "jobs.decisions", "jobs.search", "jobs.ads"]
    assert len(set(groups.values())) == len(groups)


def test_dead_letters_have_to_hold_what_their_inboxes_hold() -> None:
    """A larger limit of one inbox is seen, and it is named."""
    settings = _settings(tenants="search")
    wanted = wanted_topics(settings, 3)
    existing = {topic.name: ExistingTopic(topic.name, topic.partitions, 3, topic.config) for topic in wanted}
    assert broken_promises(settings, wanted, existing) == ()
    larger = {**existing["p.jobs.search"].config, "max.message.bytes": str(2 * 1024 * 1024)}
    existing["p.jobs.search"] = ExistingTopic("p.jobs.search", 3, 3, larger)

    (refused,) = broken_promises(settings, wanted, existing)

    assert refused.name == "p.jobs.dead"
    assert "it has to exceed that of jobs.search (2097152)" in refused.reason


def test_a_client_of_a_tenant_submits_its_jobs() -> None:
    """Whoever names no tenant gets this one, and so the id of its keys."""
    known = identified_job(None, {"workload": "python", "items": [1], "idempotency_key": "k"}, tenant="team")
    assert known.command.tenant == "team"
    assert known.subject == job_id_from_key("team", "k")
    assert identified_job(JOB, {}, tenant="team").command.tenant == "team"


def test_a_client_of_a_tenant_submits_nobody_elses_jobs() -> None:
    """The mesh would refuse them: it says so before anything is sent."""
    job = JOB.model_copy(update={"tenant": "other"})
    with pytest.raises(InvalidJobError, match="the job is of other, and goes to the inbox of team"):
        identified_job(JobSubmit.model_validate(job.model_dump(exclude_defaults=True)), {}, tenant="team")


@pytest.mark.parametrize("tenant", ["done", "Team", ""])
def test_a_client_of_a_tenant_that_cannot_be(tenant: str) -> None:
    """Told when it is made."""
    with pytest.raises(InvalidJobError, match="tenant: "):
        Client("127.0.0.1:9", tenant=tenant)


def test_verbs_of_a_tenant_need_its_inbox_alone() -> None:
    """Kafka hides `jobs` from a user whom no ACL lets describe it."""
    assert submit_inbox(_settings(submit_tenant="team")) == "jobs.team"
    assert submit_inbox(_settings()) == JOBS

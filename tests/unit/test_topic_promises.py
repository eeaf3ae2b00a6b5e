"""Each promise of `shared.kafka.topic_promises`: a topic that keeps it, and one that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared.kafka.topic_promises import ExistingTopic, RefusedTopic, broken_promises, wanted_topics
from shared.kafka.topics import JOBS, JOBS_DEAD, JOBS_DONE, JOBS_HISTORY, JOBS_PROGRESS, MESH_META, SAGES_NOTES, TOPICS
from shared.settings import Settings

DAY_MS = 24 * 3600 * 1000


def _settings(**overrides: Any) -> Settings:
    return Settings(**({"topic_prefix": "p.", "_env_file": None} | overrides))


def _judged(
    changes: Mapping[str, Mapping[str, str]],
    *,
    settings: Settings | None = None,
    partitions: Mapping[str, int] | None = None,
    replication: int = 3,
) -> tuple[RefusedTopic, ...]:
    """Judge the topics as a mesh on three brokers would have made them, with changes of configuration by topic."""
    wanted = wanted_topics(_settings(), 3)
    existing = {
        topic.name: ExistingTopic(
            topic.name,
            (partitions or {}).get(topic.spec.name, topic.partitions),
            replication,
            {**topic.config, **changes.get(topic.spec.name, {})},
        )
        for topic in wanted
    }
    judge = settings or _settings()
    return broken_promises(judge, wanted_topics(judge, 3), existing)


def test_what_is_wanted_is_accepted() -> None:
    """The configuration that `apply` would create breaks nothing, nor does a broker that answers no configuration."""
    assert _judged({}) == ()
    bare = {topic.name: ExistingTopic(topic.name, topic.partitions, 3, {}) for topic in wanted_topics(_settings(), 3)}
    assert broken_promises(_settings(), wanted_topics(_settings(), 3), bare) == ()


@pytest.mark.parametrize(
    ("topic", "changes"),
    [
        (JOBS, {"retention.ms": str(30 * DAY_MS)}),
        (JOBS_HISTORY, {"retention.ms": "-1"}),
        (JOBS_HISTORY, {"retention.ms": str(40 * DAY_MS)}),
        (JOBS_DEAD, {"max.message.bytes": str(8 * 1024 * 1024)}),
        (SAGES_NOTES, {"retention.ms": "1000"}),
    ],
)
def test_more_than_promised_is_accepted(topic: str, changes: dict[str, str]) -> None:
    """Longer and larger is no breach."""
    assert _judged({topic: changes}) == ()


@pytest.mark.parametrize(
    ("topic", "changes", "reason"),
    [
        (JOBS_HISTORY, {"cleanup.policy": "compact"}, "loses facts"),
        (JOBS_HISTORY, {"cleanup.policy": "compact,delete"}, "loses facts"),
        (JOBS_HISTORY, {"message.timestamp.type": "CreateTime"}, "producer's clock"),
        (JOBS_HISTORY, {"retention.ms": str(16 * DAY_MS - 1)}, "at least 1382400000"),
        (JOBS_HISTORY, {"segment.ms": str(7 * DAY_MS)}, "two segments"),
        (JOBS_HISTORY, {"retention.bytes": "1000000000"}, "before their time"),
        (JOBS_HISTORY, {"unclean.leader.election.enable": "true"}, "could be lost"),
        (JOBS_HISTORY, {"min.insync.replicas": "1"}, "one dead broker"),
        (JOBS, {"retention.ms": str(DAY_MS)}, "at least 604800000"),
        (JOBS, {"max.message.bytes": "100000"}, "max.message.bytes is 100000"),
        (MESH_META, {"cleanup.policy": "delete"}, "records would be lost"),
    ],
)
def test_a_broken_promise_is_named(topic: str, changes: dict[str, str], reason: str) -> None:
    """The one topic is refused, with the reason."""
    refused = _judged({topic: changes})

    assert [each.name for each in refused] == [f"p.{topic}"]
    assert reason in refused[0].reason


def test_results_and_ends_go_together() -> None:
    """A different retention of jobs.progress and jobs.done is refused on both; the history has to cover the longer."""
    refused = _judged({JOBS_PROGRESS: {"retention.ms": str(8 * DAY_MS)}})

    reasons = {each.name: each.reason for each in refused}
    assert "have to go together" in reasons["p.jobs.progress"]
    assert "have to go together" in reasons["p.jobs.done"]
    assert "at least 1468800000" in reasons["p.jobs.history"]


def test_public_topics_kept_for_ever() -> None:
    """If results and ends never go, an id must never be forgotten: the histories have to be kept for ever too."""
    forever = {"retention.ms": "-1"}
    refused = _judged({JOBS_PROGRESS: forever, JOBS_DONE: forever})

    assert {each.name for each in refused} == {"p.jobs.history", "p.claude.history", "p.notifications"}
    assert "has to be -1" in refused[0].reason


def test_dead_letters_take_more_than_the_inbox() -> None:
    """Where jobs takes larger records than planned, jobs.dead has to take 256 KiB more than that."""
    refused = _judged({JOBS: {"max.message.bytes": str(2 * 1024 * 1024)}})

    assert [each.name for each in refused] == ["p.jobs.dead"]
    assert "by 262144" in refused[0].reason


def test_longer_jobs_need_longer_histories() -> None:
    """`max_job_age_seconds` lengthens what is created, and refuses what was created for shorter jobs."""
    settings = _settings(max_job_age_seconds=14 * 86400.0)
    history = next(topic for topic in wanted_topics(settings, 3) if topic.spec.name == JOBS_HISTORY)

    assert history.config["retention.ms"] == str(23 * DAY_MS)
    assert [each.name for each in _judged({}, settings=settings)] == [
        "p.jobs.history",
        "p.claude.history",
        "p.notifications",
    ]


def test_partitions_and_replicas() -> None:
    """A different number of partitions is refused, and fewer replicas than the cluster can hold."""
    refused = _judged({}, partitions={JOBS_DONE: 6})
    assert [each.name for each in refused] == ["p.jobs.done"]
    assert "6 partitions instead of 12" in refused[0].reason

    assert len(_judged({}, replication=1)) == len(TOPICS)


@pytest.mark.parametrize(("brokers", "replication", "insync"), [(1, 1, None), (2, 2, "1"), (3, 3, "2"), (9, 3, "2")])
def test_replication_follows_the_cluster(brokers: int, replication: int, insync: str | None) -> None:
    """One replica on one broker; three, of which two acknowledge, from three brokers on."""
    for topic in wanted_topics(_settings(), brokers):
        assert topic.replication == replication
        assert topic.config.get("min.insync.replicas") == insync

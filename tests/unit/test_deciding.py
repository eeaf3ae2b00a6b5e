"""The router's decisions by advice: what it takes from the panel, what it says itself, and what it does about it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import JsonValue

from services.router.policy.decider import PANEL_LATE, JobDecider
from services.router.policy.own_verdict import JobContent, content_in_redis, incident_rules, judged
from services.router.policy.routing import Routing
from shared.errors import RetryableError
from shared.facts.fact import Fact, TimerFired
from shared.facts.jobs import AdviceEntry, JobAdvised, JobHeld, JobRefused, JobRouted, decode_job_fact
from shared.history.keys import PartitionKeys
from shared.history.machine import DecisionDue
from shared.settings import Settings
from shared.telemetry import names
from shared.workloads import UnknownWorkloadError, WorkloadRegistry
from tests.recorded_spans import recorded_spans
from tests.unit.jobs.story import JOB, T0, Story, accepted, decided

NOW = T0 + 50_000
LATE = TimerFired(timer_id=f"{JOB}:advise:1")
WRITES = JobContent("claude", ("tidy up",), {"allowed_tools": ["Bash"]})
READS = JobContent("claude", ("tidy up",), {"allowed_tools": ["Read"]})


def incident(risk: str, status: Any = "ok", **more: JsonValue) -> AdviceEntry:
    """Incident's entry."""
    return AdviceEntry(sage="incident", status=status, advice={"risk": risk, **more})


class _Clock:
    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def suspended_seconds(self) -> float:
        return 0.0


@dataclass
class Deciding:
    """A decider whose rules say what the test wants; `judged_jobs` counts how often they were asked."""

    risk: str = "low"
    content: JobContent | None = READS
    settings: dict[str, Any] = field(default_factory=dict)
    judged_jobs: int = 0

    async def read(self, job_id: str) -> JobContent | None:
        """The content of every job."""
        assert job_id == JOB
        return self.content

    def rules(self, workload: str, items: object, options: object) -> Mapping[str, JsonValue]:
        """The rules."""
        assert (workload, items, options) == ("claude", READS.items, self.content and self.content.options)
        self.judged_jobs += 1
        if self.risk == "broken":
            raise ValueError("cannot")
        return {"risk": self.risk, "reasons": [], "mitigations": [], "rules_version": "1"}

    async def decide(self, story: Story) -> Fact | None:
        """The decision on a job as it is now."""
        values: dict[str, Any] = {
            "broker_profile": "embedded",
            "slots": 2,
            "hold_seconds": 60.0,
            "hold_reminder_seconds": 20.0,
        }
        settings = Settings(**(values | self.settings), _env_file=None)
        workloads = WorkloadRegistry.installed()
        routing = Routing(settings, workloads)
        decider = JobDecider(settings, workloads, self.read, _Clock(), routing, rules=self.rules)
        new = await decider.decide(story.job, DecisionDue(story.job.decisions))
        return None if new is None else decode_job_fact(new.fact_type, new.value)


def advised(*entries: AdviceEntry) -> Story:
    """A job that the panel has spoken of."""
    story = Story()
    story.tell(accepted(4, advise_within_ms=2000), JobAdvised(entries=entries))
    return story


def left_alone(**terms: Any) -> Story:
    """A job that the panel has not spoken of, in time."""
    story = Story()
    story.tell(accepted(4, **({"advise_within_ms": 2000} | terms)))
    story.tell(LATE, at=2000)
    return story


@pytest.mark.parametrize(("risk", "decision"), [("low", JobRouted), ("high", JobHeld), ("critical", JobRefused)])
async def test_incident_has_answered(risk: str, decision: type[Fact]) -> None:
    """Its word is taken; the rules are not asked, and the decision adds nothing to the advice."""
    deciding = Deciding(risk="critical")
    fact = await deciding.decide(advised(incident(risk)))
    assert isinstance(fact, decision)
    assert isinstance(fact, JobRouted | JobHeld | JobRefused)
    assert (fact.advice, deciding.judged_jobs) == ((), 0)


async def test_a_hold_ends_and_reminds_by_the_settings() -> None:
    """Counted from the later of the router's clock and the job's own."""
    fact = await Deciding().decide(advised(incident("high", reasons=[{"rule": "r", "severity": "high"}])))
    assert fact == JobHeld(n=0, reason="risk high: r", until=NOW + 60_000, remind_at=NOW + 20_000)
    ahead = advised(incident("high"))
    ahead.tell(at=90_000)
    ahead.tell(JobAdvised(entries=()), at=90_000)
    later = await Deciding().decide(ahead)
    assert isinstance(later, JobHeld)
    assert later.until == T0 + 150_000


async def test_an_approved_job_is_routed_without_asking_again() -> None:
    """Its risk is as high as before."""
    story = advised(incident("high"))
    held = await Deciding().decide(story)
    assert isinstance(held, JobHeld)
    story.tell(held, decided("approve"))
    routed = await Deciding(risk="critical").decide(story)
    assert isinstance(routed, JobRouted)
    assert (routed.n, routed.advice) == (1, ())


@pytest.mark.parametrize(
    ("content", "missing", "decision"),
    [
        (READS, "auto", JobRouted),
        (WRITES, "auto", JobHeld),
        (WRITES, "allow", JobRouted),
        (READS, "hold", JobHeld),
    ],
)
async def test_the_panel_is_late(content: JobContent, missing: str, decision: type[Fact]) -> None:
    """The decision says so, and what the rules said in its place; by setting, what can write is held."""
    fact = await Deciding(content=content, settings={"incident_missing": missing}).decide(left_alone())
    assert isinstance(fact, decision)
    assert isinstance(fact, JobRouted | JobHeld)
    late, own = fact.advice
    assert late == PANEL_LATE
    assert (own.sage, own.status, own.advice["by"], own.advice["risk"]) == ("incident", "ok", "router", "low")


@pytest.mark.parametrize(("risk", "decision"), [("high", JobHeld), ("critical", JobRefused)])
@pytest.mark.parametrize("status", ["late", "failed", "warming"])
async def test_incident_alone_is_missing(risk: str, decision: type[Fact], status: str) -> None:
    """The rules decide in its place, and the panel was not late."""
    story = advised(AdviceEntry(sage="task", status="ok"), incident("low", status))
    fact = await Deciding(risk=risk).decide(story)
    assert isinstance(fact, decision)
    assert isinstance(fact, JobHeld | JobRefused)
    assert [entry.sage for entry in fact.advice] == ["incident"]


@pytest.mark.parametrize("terms", [{"advice": "rules", "advise_within_ms": 0}, {"advise_within_ms": 0}])
async def test_nobody_was_asked(terms: dict[str, Any]) -> None:
    """By the submit, or where no panel runs: the rules alone decide, and nothing is missing."""
    deciding = Deciding(content=WRITES, settings={"incident_missing": "hold"})
    fact = await deciding.decide(left_alone(**terms))
    assert isinstance(fact, JobRouted)
    assert [(entry.sage, entry.advice["by"]) for entry in fact.advice] == [("incident", "router")]
    refused = await Deciding(risk="critical", content=WRITES).decide(left_alone(**terms))
    assert isinstance(refused, JobRefused)


async def test_no_advice_is_wanted() -> None:
    """Then nothing is run, and nothing is said."""
    deciding = Deciding(risk="critical", content=None)
    fact = await deciding.decide(left_alone(advice="none", advise_within_ms=0))
    assert isinstance(fact, JobRouted)
    assert (fact.advice, deciding.judged_jobs) == ((), 0)


@pytest.mark.parametrize(("missing", "decision"), [("allow", JobRouted), ("auto", JobHeld)])
async def test_the_rules_fail(missing: str, decision: type[Fact]) -> None:
    """They count as missing, whoever was asked; the owner goes on."""
    deciding = Deciding(risk="broken", content=WRITES, settings={"incident_missing": missing})
    fact = await deciding.decide(left_alone(advice="rules", advise_within_ms=0))
    assert isinstance(fact, decision)
    assert isinstance(fact, JobRouted | JobHeld)
    (own,) = fact.advice
    assert (own.status, own.advice) == ("failed", {"by": "router"})


async def test_rules_that_come_to_no_end() -> None:
    """They are left behind after their time."""
    release = threading.Event()

    def endless(*_: object) -> dict[str, JsonValue]:
        release.wait(30.0)
        return {}

    try:
        entry = await judged(READS, rules=endless, seconds=0.02)
    finally:
        release.set()
    assert (entry.status, entry.advice) == ("late", {"by": "router"})


class _SlowClock:
    """Stands still but where it is told."""

    now = 100.0

    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return self.now

    def suspended_seconds(self) -> float:
        return 0.0


async def test_a_flood_of_large_jobs() -> None:
    """Judging takes half of an owner's time at most: further jobs are asked for again, in the next second."""
    clock, deciding = _SlowClock(), Deciding()

    def slow(*_: object) -> Mapping[str, JsonValue]:
        clock.now += 0.3
        return {"risk": "low"}

    settings = Settings(broker_profile="embedded", _env_file=None)
    workloads = WorkloadRegistry.installed()
    decider = JobDecider(settings, workloads, deciding.read, clock, Routing(settings, workloads), rules=slow)
    facts = [await decider.decide(left_alone().job, DecisionDue(0)) for _ in range(4)]
    assert [fact is not None for fact in facts] == [True, True, False, False]
    assert await decider.decide(advised(incident("low")).job, DecisionDue(0)) is not None, "needs no judging"
    clock.now += 0.4
    assert await decider.decide(left_alone().job, DecisionDue(0)) is not None


async def test_a_job_whose_workload_is_not_installed() -> None:
    """It is not judged, each second anew: the time for that is the others'."""
    deciding = Deciding()
    with pytest.raises(UnknownWorkloadError, match="acme_plugin"):
        await deciding.decide(left_alone(workload="acme_plugin"))
    assert deciding.judged_jobs == 0


async def test_a_job_that_is_not_at_hand() -> None:
    """It is asked for again later; so is one whose items nobody has counted."""
    assert await Deciding(content=None).decide(left_alone()) is None
    uncounted = Story()
    uncounted.tell(accepted(None))
    assert await Deciding().decide(uncounted) is None


async def test_the_span_has_the_decision_and_the_advice() -> None:
    """What was decided and why, the risk, and what was said, so much of it as a span takes."""
    task = AdviceEntry(sage="task", status="ok", advice={"text": "long " * 1000})
    with recorded_spans() as exporter:
        await Deciding().decide(advised(incident("high", reasons=[{"rule": "r", "severity": "high"}]), task))
        await Deciding(risk="medium").decide(left_alone(advice="rules", advise_within_ms=0))
        await Deciding().decide(left_alone(advice="none", advise_within_ms=0))
        held, routed, unjudged = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    assert (held[names.DECISION], held[names.REASON], held[names.RISK]) == ("hold", "risk high: r", "high")
    assert len(str(held[names.ADVICE])) == 4096
    assert (routed[names.DECISION], routed[names.ENGINE], routed[names.RISK]) == ("route", "celery", "medium")
    (said,) = json.loads(str(routed[names.ADVICE]))
    assert (said["sage"], said["advice"]["by"]) == ("incident", "router")
    assert not {names.RISK, names.ADVICE} & set(unjudged)


class _Redis:
    """A Redis that has one specification, or never answers."""

    def __init__(self, specs: dict[str, bytes] | None) -> None:
        self._specs = specs

    async def hget(self, key: str, field: str) -> bytes | None:
        """HGET."""
        assert key.endswith(":specs")
        if self._specs is None:
            raise TimeoutError
        return self._specs.get(field)


async def test_the_content_comes_from_the_specification() -> None:
    """Items and options as they were submitted; nothing for an unknown job; a silent Redis is a failure."""
    keys = PartitionKeys("t.jobs.history", 0)
    spec = {"workload": "python", "items": [1, "two"], "options": {"function": "math:sqrt"}, "tenant": "default"}
    redis: Any = _Redis({JOB: json.dumps(spec).encode()})
    found = await content_in_redis(redis, keys, JOB)
    assert found == JobContent("python", (1, "two"), {"function": "math:sqrt"})
    assert "two" not in repr(found)
    assert await content_in_redis(redis, keys, "another") is None
    silent: Any = _Redis(None)
    with pytest.raises(RetryableError, match="could not be read"):
        await content_in_redis(silent, keys, JOB)


def test_the_rules_are_those_of_incident() -> None:
    """Not played here: a harmless job is of low risk, and the version of the rules is told."""
    advice = incident_rules("python", (1, 2), {"function": "math:sqrt"})
    assert advice["risk"] == "low"
    assert advice["rules_version"]


@pytest.mark.parametrize("wish", ["auto", "ray"])
@pytest.mark.parametrize(("workload", "engine"), [("python", "ray"), ("claude", "celery")])
async def test_ray_runs_only_the_workloads_of_the_setting(wish: str, workload: str, engine: str) -> None:
    """Others go to Celery whatever their size and their wish, and the reason says which setting that is."""
    story = Story()
    story.tell(accepted(4, workload=workload, engine=wish, advice="none"))
    settings = {"ray_address": "head:6379", "ray_threshold_items": 1, "ray_workloads": ("python",)}
    fact = await Deciding(settings=settings).decide(story)
    assert isinstance(fact, JobRouted)
    assert fact.engine == engine
    assert (f"ray does not run {workload} jobs (MESH_RAY_WORKLOADS)" in fact.reasons[0]) == (engine == "celery")

"""The router's decisions on jobs; each becomes a fact."""

from __future__ import annotations

import orjson
from opentelemetry.trace import Span

from services.router.jobs.state import JobState
from services.router.policy.own_verdict import ContentReader, JudgingTime, Rules, incident_rules, judged
from services.router.policy.risk_policy import Ruling, incident_entry, risk_of, ruling, tools_can_write
from services.router.policy.routing import Routing
from shared.facts.jobs import AdviceEntry, JobHeld, JobRefused, JobRouted, JobTerms
from shared.history.clock import Clock
from shared.history.machine import DecisionDue, NewFact
from shared.history.subject_state import subject_fact
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import span
from shared.workloads import WorkloadRegistry

PANEL_LATE = AdviceEntry(sage="panel", status="late")
"""Advice of a decision that did not wait longer for the panel."""

_MAX_SPAN_TEXT = 4096


class JobDecider:
    """`Decider[JobState]`: refuses or holds a job by its risk, else routes it by policy.

    Args:
        settings: length of holds, and what to do without advice of `incident`.
        workloads: those that are installed here.
        read_content: reads jobs that `incident` has not judged.
        clock: for the times of holds.
        routing: chooses engine and chunks.
        rules: the rules of `incident`.
    """

    def __init__(
        self,
        settings: Settings,
        workloads: WorkloadRegistry,
        read_content: ContentReader,
        clock: Clock,
        routing: Routing,
        rules: Rules = incident_rules,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._routing = routing
        self._read_content = read_content
        self._clock = clock
        self._rules = rules
        self._judging_time = JudgingTime(clock)

    async def decide(self, state: JobState, due: DecisionDue) -> NewFact | None:
        """The fact that routes, holds or refuses the job; None where that has to wait.

        Raises:
            RetryableError, redis.RedisError: the job's content could not be read.
            UnknownWorkloadError, ConfigurationError: its workload is not installed here, or cannot be loaded.
        """
        acceptance, terms = state.acceptance, state.terms
        if acceptance is None or terms is None or state.items_total is None:
            return None
        # First, because judging takes time and a job whose workload is not installed is due again each second.
        self._workloads.get(terms.workload)
        parent = context_from(acceptance.traceparent, acceptance.tracestate)
        with span(names.DECIDE_JOB, context=parent, attributes={names.JOB_ID: state.job_id}) as deciding:
            judgement = await self._judgement(state, terms)
            if judgement is None:
                return None
            fact = await self._fact(state, terms, state.items_total, due, *judgement)
            _describe(deciding, fact, (*state.advice, *fact.advice))
        return subject_fact(state, fact)

    async def _judgement(self, state: JobState, terms: JobTerms) -> tuple[Ruling, tuple[AdviceEntry, ...]] | None:
        """What to do, and the router's own advice; None if judging has to wait or the job's content is gone."""
        if terms.advice == "none" or state.approved:
            return Ruling("route"), ()
        was_asked = terms.advise_within_ms > 0
        own = (PANEL_LATE,) if was_asked and not state.advice else ()
        entry = incident_entry(state.advice)
        if risk_of(entry) is not None:
            return ruling(entry, missing=None, can_write=False), own
        if not self._judging_time.is_left:
            return None
        with self._judging_time.spent():
            content = await self._read_content(state.job_id)
            if content is None:
                return None
            entry = await judged(content, rules=self._rules)
        # Advice is missing if the panel was asked for it, or if the rules did not end.
        missing = self._settings.incident_missing if was_asked or risk_of(entry) is None else None
        can_write = tools_can_write(content.workload, content.options)
        return ruling(entry, missing=missing, can_write=can_write), (*own, entry)

    async def _fact(
        self,
        state: JobState,
        terms: JobTerms,
        items_total: int,
        due: DecisionDue,
        ruled: Ruling,
        advice: tuple[AdviceEntry, ...],
    ) -> JobRouted | JobHeld | JobRefused:
        reason = ruled.reason or ""
        match ruled.action:
            case "refuse":
                return JobRefused(n=due.n, reason=reason, advice=advice)
            case "hold":
                settings, now = self._settings, max(state.t, self._clock.now_ms())
                until = now + round(settings.hold_seconds * 1000)
                remind_at = now + round(settings.hold_reminder_seconds * 1000)
                return JobHeld(n=due.n, reason=reason, until=until, remind_at=remind_at, advice=advice)
            case "route":
                route = await self._routing.route(state.job_id, terms, items_total)
                return JobRouted(
                    n=due.n,
                    engine=route.engine,
                    chunk_items=route.chunk_items,
                    policy=route.policy,
                    reasons=route.reasons,
                    advice=advice,
                    alternatives=route.alternatives,
                    seed=route.seed,
                )


def _describe(deciding: Span, fact: JobRouted | JobHeld | JobRefused, advice: tuple[AdviceEntry, ...]) -> None:
    if isinstance(fact, JobRouted):
        reasons = "; ".join(fact.reasons)
        deciding.set_attributes({names.DECISION: "route", names.ENGINE: fact.engine, names.REASON: reasons})
    else:
        word = "hold" if isinstance(fact, JobHeld) else "refuse"
        deciding.set_attributes({names.DECISION: word, names.REASON: fact.reason})
    risk = risk_of(incident_entry(advice))
    if risk is not None:
        deciding.set_attribute(names.RISK, risk)
    if advice:
        said = orjson.dumps([entry.model_dump(mode="json") for entry in advice]).decode()
        deciding.set_attribute(names.ADVICE, said[:_MAX_SPAN_TEXT])

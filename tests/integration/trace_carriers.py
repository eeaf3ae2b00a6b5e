"""Every place where the context of a job's trace travels, and how to lose it there, for one job that says so by its id.

As a program, `python -m tests.integration.trace_carriers MODULE`, it runs a service that loses what such jobs carry.
"""

from __future__ import annotations

import functools
import pkgutil
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from opentelemetry.context import Context

from eldermesh.contract.cloudevents import header_text

Original = Callable[..., Any]
TRACE_HEADERS = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Carrier:
    """A carrier; `lose(original, …)` stands in for the function at `place`, and acts on the jobs that ask for it."""

    name: str
    place: str
    lose: Callable[..., Any]
    then: str
    """What the check of the trace says when it is lost: a regular expression."""

    @property
    def job_id(self) -> str:
        """The id of the job that loses this carrier."""
        return str(uuid5(NAMESPACE_OID, f"loses {self.name}"))


def _bare(headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [header for header in headers if header[0] not in TRACE_HEADERS]


def _submit(original: Original, loser: str, headers: Any) -> Any:
    return Context() if header_text(headers, "ce_subject") == loser else original(headers)


def _accepted(original: Original, loser: str, submit: Any, *args: Any, **kwargs: Any) -> Any:
    fact = original(submit, *args, **kwargs)
    return fact.model_copy(update={"traceparent": ""}) if submit.job_id == loser else fact


def _state(original: Original, loser: str, *args: Any) -> Any:
    state = original(*args)
    if state.job_id != loser or state.acceptance is None:
        return state
    return replace(state, acceptance=replace(state.acceptance, traceparent=""))


def _task(original: Original, loser: str, task: Any) -> Any:
    message = original(task)
    return message | {"traceparent": ""} if task.chunk_id.job_id == loser else message


def _fact_headers(original: Original, loser: str, fact_type: str, subject: str, *context: Any) -> Any:
    headers = original(fact_type, subject, *context)
    return _bare(headers) if subject == loser else headers


def _subject_fact(original: Original, loser: str, state: Any, fact: Any) -> Any:
    new = original(state, fact)
    return replace(new, headers=_bare(new.headers)) if state.subject == loser else new


def _public_headers(original: Original, loser: str, **fields: Any) -> Any:
    headers = original(**fields)
    return _bare(headers) if fields["subject"] == loser else headers


_MISSING = r"edges that are not in the trace: .*\('{}', '{}'\).*; it has"
_ASTRAY = r"records that are not of trace \w+: {{'{}'"

CARRIERS = (
    Carrier(
        "headers of the submit",
        "shared.consumer.record_telemetry.extract",
        _submit,
        _MISSING.format("send jobs", "process jobs"),
    ),
    Carrier(
        "the fact job.accepted",
        "services.router.admission.commands.accepted_fact",
        _accepted,
        _MISSING.format("accept job", "end job"),
    ),
    Carrier(
        "the task message",
        "services.router.engines.chunks.task.ChunkTask.message",
        _task,
        _MISSING.format("dispatch chunk", "process chunk"),
    ),
    Carrier(
        "headers of job.accepted",
        "shared.history.admitted_fact.fact_headers",
        _fact_headers,
        _ASTRAY.format("jobs.history: job.accepted"),
    ),
    Carrier(
        "headers of job.routed",
        "services.router.policy.decider.subject_fact",
        _subject_fact,
        _ASTRAY.format("jobs.history: job.routed"),
    ),
    Carrier(
        "headers of items.completed",
        "services.router.engines.chunks.run.fact_headers",
        _fact_headers,
        _ASTRAY.format("jobs.history: items.completed"),
    ),
    Carrier(
        "headers of job.ended",
        "shared.history.accepted_machine.subject_fact",
        _subject_fact,
        _ASTRAY.format("jobs.history: job.ended"),
    ),
    Carrier(
        "headers on jobs.progress",
        "services.router.jobs.results.binary_headers",
        _public_headers,
        _ASTRAY.format("jobs.progress: eldermesh.job.progress.v1"),
    ),
    Carrier(
        "headers on jobs.done",
        "shared.history.accepted_machine.binary_headers",
        _public_headers,
        _ASTRAY.format("jobs.done: eldermesh.job.completed.v1"),
    ),
)
"""Carriers that every job uses."""

STATE = Carrier(
    "the state in Redis",
    "services.router.jobs.machine.JobMachine.decode",
    _state,
    _MISSING.format("accept job", "end job"),
)
"""The carrier of a job whose owner was started anew."""


def lose_carriers(patch: pytest.MonkeyPatch) -> None:
    """From now on, in this process, each carrier is lost for the job that asks for it, and for no other."""
    for carrier in (*CARRIERS, STATE):
        patch.setattr(carrier.place, _losing(carrier, pkgutil.resolve_name(carrier.place)))


def _losing(carrier: Carrier, original: Original) -> Original:
    @functools.wraps(original)
    def losing(*args: Any, **kwargs: Any) -> Any:
        return carrier.lose(original, carrier.job_id, *args, **kwargs)

    return losing


def main(module: str) -> None:
    """Run a module as the program it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module])
        lose_carriers(patch)
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""Folding results: the first result of an item counts; the end is decided after the whole fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.cloudevents import PROGRESS, binary_headers
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import JOBS_PROGRESS
from services.router.jobs.cost import over_budget, with_costs
from services.router.jobs.end import EVENT_SOURCE, ended
from services.router.jobs.observation import measurements
from services.router.jobs.state import STAGE, JobState
from shared.facts.jobs import FactResult, ItemsCompleted
from shared.history.acceptance import Acceptance
from shared.history.item_bitmap import has_item, with_items
from shared.history.machine import Folded, Publication

_MICROS = 1_000_000


def fold_results(state: JobState, fact: ItemsCompleted) -> Folded[JobState]:
    """Count the results of items that had none."""
    if not _is_of(state, fact):
        return Folded(state)
    costs = ((result.item_index, result.attempt, result.cost_micros) for result in fact.results)
    state = with_costs(state, fact.epoch, costs)
    acceptance, terms, total = state.acceptance, state.terms, state.items_total
    if state.end is not None or acceptance is None or terms is None or total is None or fact.stage_index != STAGE:
        return Folded(state)
    new: dict[int, FactResult] = {}
    for result in fact.results:
        index = result.item_index
        if 0 <= index < total and index not in new and not has_item(state.bitmap, index):
            new[index] = result
    if not new:
        return Folded(state)
    failures = sum(result.status == "failed" for result in new.values())
    bitmap = with_items(state.bitmap, list(new), total)
    state = replace(
        state,
        bitmap=bitmap,
        sequence=state.sequence + 1,
        succeeded=state.succeeded + len(new) - failures,
        failed=state.failed + failures,
        pauses=0,
    )
    progress = _progress(state, acceptance, fact, list(new.values()))
    seen = measurements(terms, fact, state.t)
    if state.failed > terms.max_failed_items:
        # "1 items", too: a rebuild has to publish the same end as an earlier release.
        reason = f"{state.failed} items failed, at most {terms.max_failed_items} may"
        return Folded(ended(state, "failed", "too_many_failures", reason), progress, measurements=seen)
    if state.succeeded + state.failed == total:
        return Folded(ended(state, "completed"), progress, measurements=seen)
    if (too_dear := over_budget(state)) is not None:
        return Folded(ended(state, "failed", "budget", too_dear), progress, measurements=seen)
    return Folded(state, progress, measurements=seen)


def _is_of(state: JobState, fact: ItemsCompleted) -> bool:
    """Whether results count for this job.

    Those of another job with the same id do not. Nor does a crash that the owner reports once the plan has changed:
    then the run was alive and has reported its own end. Before the job is accepted, only results without a content hash
    count: the first release wrote those, and may have published an end with their cost.
    """
    if state.acceptance is None:
        return fact.content_hash is None
    if not state.is_made_of(fact.content_hash):
        return False
    return not fact.only_if_current or state.current(fact.chunk_id) is not None


def _seconds(milliseconds: int | None) -> int | float | None:
    """Whole seconds as an integer, which the canonical form writes in the same way, and ten times as fast."""
    if milliseconds is None:
        return None
    whole, rest = divmod(milliseconds, 1000)
    return milliseconds / 1000 if rest else whole


def _progress(
    state: JobState, acceptance: Acceptance, fact: ItemsCompleted, results: Sequence[FactResult]
) -> Publication:
    record = {
        "job_id": state.job_id,
        "sequence": state.sequence,
        "stage_index": fact.stage_index,
        "epoch": fact.epoch,
        "engine": fact.engine,
        "worker_id": fact.worker_id,
        "items_ended": state.succeeded + state.failed,
        "recorded_at": format_time(state.t),
        "trace_id": acceptance.trace_id,
        "results": [
            {
                "item_index": result.item_index,
                "status": result.status,
                "output": result.output,
                "output_url": result.output_url,
                "error_type": result.error_type,
                "error_message": result.error_message,
                "attempt": result.attempt,
                "duration_seconds": _seconds(result.duration_ms),
                "cost_usd": None if result.cost_micros is None else result.cost_micros / _MICROS,
            }
            for result in results
        ],
    }
    headers = binary_headers(
        event_id=f"{state.job_id}:progress:{state.sequence}",
        event_type=PROGRESS,
        source=EVENT_SOURCE,
        subject=state.job_id,
        time_ms=state.t,
        traceparent=acceptance.traceparent,
        tracestate=acceptance.tracestate,
    )
    return Publication(JOBS_PROGRESS, state.job_id, canonical_bytes(record), headers)

"""Mutations of the job's fold and of what is made of its states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.router.jobs import cost_keys, fold, machine, plan, results
from services.router.jobs.chunk_series import ChunkSeries
from services.router.jobs.state import JobState
from shared.history.accepted_machine import AcceptedMachine
from shared.history.accepted_state import AcceptedState
from shared.history.facts import FactRecord
from shared.history.machine import Folded
from shared.history.snapshot import PartitionStore, Snapshot
from shared.history.subject_state import SubjectState
from tests.property.patches import mutate_code

_CLAMP = "t=max(self.t, record.time_ms)"


def end_rebuilt(patch: pytest.MonkeyPatch) -> None:
    """The end is built from the state at the time of publishing."""
    rebuilt = """__import__("eldermesh.contract.canonical").contract.canonical.canonical_bytes(
            __import__("json").loads(end.value)
            | {"cost_usd": None if state.cost_micros is None else state.cost_micros / 1_000_000}
        )"""
    mutate_code(patch, AcceptedMachine, "end_record", "end.value.encode()", rebuilt)


def no_clamp(patch: pytest.MonkeyPatch) -> None:
    """Published times are record times, which may go back."""
    mutate_code(patch, SubjectState, "at", _CLAMP, "t=record.time_ms")


def clamp_in_memory(patch: pytest.MonkeyPatch) -> None:
    """The owner's memory keeps a job's latest time, not the job's state."""
    _remember_times(patch, by_job=True)


def clamp_by_partition(patch: pytest.MonkeyPatch) -> None:
    """Times never go back in the partition, rather than in the job."""
    _remember_times(patch, by_job=False)


def _remember_times(patch: pytest.MonkeyPatch, *, by_job: bool) -> None:
    latest: dict[str, int] = {}
    mutate_code(patch, SubjectState, "at", _CLAMP, "t=record.time_ms")
    unclamped, load = fold.fold_job, PartitionStore.load

    def clamped(state: JobState | None, record: FactRecord) -> Folded[JobState]:
        whose = record.key if by_job else ""
        time_ms = latest[whose] = max(latest.get(whose, 0), record.time_ms)
        return unclamped(state, replace(record, time_ms=time_ms))

    async def forgetting_load(self: PartitionStore, token: str) -> Snapshot:
        snapshot = await load(self, token)
        if by_job or snapshot.applied is None:
            latest.clear()
        return snapshot

    patch.setattr(machine, "fold_job", clamped)
    patch.setattr(PartitionStore, "load", forgetting_load)


def epoch_of_the_job(patch: pytest.MonkeyPatch) -> None:
    """Results count only under the job's latest epoch."""
    mutate_code(
        patch,
        results,
        "fold_results",
        "or fact.stage_index != STAGE",
        "or fact.stage_index != STAGE or fact.epoch != state.epoch",
    )


def plan_keeps_items(patch: pytest.MonkeyPatch) -> None:
    """A plan also names items that have results, and its chunks do not finish by them."""
    mutate_code(patch, plan, "shrunk", "return None", "return planned")
    mutate_code(patch, plan, "with_parts", " and not all_items_in(bitmap, one.first, one.last)", "")
    mutate_code(patch, ChunkSeries, "chunks", "next_missing_item(bitmap, self.first, self.last)", "self.first")


def decision_without_n(patch: pytest.MonkeyPatch) -> None:
    """Decisions count whatever their owner had folded."""
    mutate_code(
        patch, fold, "_live", "_decision(state, fact) if fact.n == state.decisions else state", "_decision(state, fact)"
    )


def late_refusal_counts(patch: pytest.MonkeyPatch) -> None:
    """A refusal counts after the job was routed, too."""
    mutate_code(patch, fold, "_decision", "case JobRefused() if not routed:", "case JobRefused():")


def timer_without_arming(patch: pytest.MonkeyPatch) -> None:
    """A fired timer is known by its name alone, not by arming and due time."""
    whole = "if timer is None or arming != str(timer.arming) or record.time_ms < timer.due:"
    mutate_code(patch, fold, "_timer_fired", whole, "if timer is None:")


def timer_before_its_time(patch: pytest.MonkeyPatch) -> None:
    """A fired timer counts before its due time."""
    mutate_code(patch, fold, "_timer_fired", " or record.time_ms < timer.due", "")


def published_whole(patch: pytest.MonkeyPatch) -> None:
    """A fact with anything new is published whole."""
    mutate_code(patch, results, "fold_results", "fact, list(new.values()))", "fact, fact.results)")


def cost_without_key(patch: pytest.MonkeyPatch) -> None:
    """A cost counts each time that it is reported."""
    mutate_code(patch, cost_keys, "with_attempt", "return keys", "return dict(keys)")


def conflicts_of_live_jobs_only(patch: pytest.MonkeyPatch) -> None:
    """Other content after a job's end is a repeat, not a conflict."""
    mutate_code(patch, AcceptedState, "accepted_again", "if acceptance.", "if self.end is not None or acceptance.")


def end_told_at_a_later_time(patch: pytest.MonkeyPatch) -> None:
    """The end has the time of the latest fact, not of the deciding one."""
    mutate_code(patch, AcceptedMachine, "end_record", "time_ms=end.at", "time_ms=state.t")


def mark_with_a_later_time(patch: pytest.MonkeyPatch) -> None:
    """`job.ended` has the time of the latest fact."""
    mutate_code(patch, AcceptedMachine, "end_mark", "ended_at=end.at", "ended_at=state.t")


def repeated_failures_count(patch: pytest.MonkeyPatch) -> None:
    """Failures in repeated results count."""
    mutate_code(patch, results, "fold_results", "for result in new.values())", "for result in fact.results)")

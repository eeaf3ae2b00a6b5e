"""One batch of facts: it ends where it has changed very many chunks, since an advance names each of them."""

from __future__ import annotations

import pytest

from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.facts.fact import Fact
from shared.facts.jobs import JobRouted
from shared.history import batch
from shared.history.agenda import Agenda
from shared.history.batch import fold_batch
from shared.history.dispatch_window import DispatchWindow
from shared.history.facts import FactRecord
from shared.history.log import record_hash
from shared.history.owner_memory import Memory
from shared.history.snapshot import Guard
from tests.unit.jobs.story import JOB, T0, accepted, cancel

_JOBS = [f"{JOB[:-1]}{number}" for number in range(3)]


def _memory() -> Memory[JobState]:
    return Memory(
        guard=Guard("", "", ""),
        position=0,
        caught_up_at=0,
        marked_ahead=frozenset(),
        states={},
        was_ready=True,
        loaded_at=0.0,
        agenda=Agenda(),
        window=DispatchWindow(2, claim_timeout=60.0),
    )


def test_a_batch_ends_behind_the_fact_with_which_it_changes_too_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """First plans and early ends, each of many chunks; the position is that of what was folded."""
    monkeypatch.setattr(batch, "_MOST_CHUNKS", 15)
    one_each = JobRouted(n=0, engine="celery", chunk_items=1, policy="static")
    facts: list[tuple[str, Fact]] = [(job, accepted(10)) for job in _JOBS]
    facts += [(job, one_each) for job in _JOBS]
    facts += [(job, cancel()) for job in _JOBS]
    records = [FactRecord(n, T0, job, fact.fact_type, fact.encode()) for n, (job, fact) in enumerate(facts)]
    memory = _memory()
    ends: list[int] = []
    while memory.position < len(records):
        folded = fold_batch(JobMachine(), memory, records[memory.position :])
        assert folded.advance.last_record == record_hash(records[folded.advance.applied - 1])
        memory.states |= folded.changed
        memory.position = folded.advance.applied
        ends.append(memory.position)
    assert ends == [5, 7, 9]
    assert all(state.is_ended for state in memory.states.values())

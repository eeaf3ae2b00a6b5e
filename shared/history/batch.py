"""One batch of facts, folded: what to publish before the advance, and what the advance writes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from shared.history.facts import FactRecord
from shared.history.keys import annex_field
from shared.history.log import record_hash
from shared.history.machine import Machine, Publication, S
from shared.history.owner_memory import Memory
from shared.history.settled_state import packed
from shared.history.snapshot import Advance

_MOST_CHUNKS = 50_000
"""Behind a fact by which a batch changes more chunks than this, it ends: an advance names each of them."""


@dataclass(slots=True)
class Batch(Generic[S]):
    """What one batch publishes and writes, and the states it has changed."""

    advance: Advance
    publications: list[Publication] = field(default_factory=list)
    changed: dict[str, S] = field(default_factory=dict)


def fold_batch(machine: Machine[S], memory: Memory[S], records: Sequence[FactRecord]) -> Batch[S]:
    """Fold one or more consecutive records, from the position of `memory` on, up to where they change many chunks.

    Raises:
        UnreadableFactError: a record is not a fact of this history.
    """
    last, chunks = records[0], 0
    batch: Batch[S] = Batch(Advance(applied=last.offset, last_record=""))
    for record in records:
        if chunks > _MOST_CHUNKS:
            break
        batch.advance.applied, last = record.offset + 1, record
        subject = record.key
        before = batch.changed[subject] if subject in batch.changed else memory.state(subject)
        folded = machine.fold(before, record)
        if folded.state is not None:
            batch.changed[subject] = folded.state
            # After each fact: a chunk that is planned and finished within one batch may have a claim, too.
            changes = machine.chunk_changes(before, folded.state)
            batch.advance.finished.update(changes.gone)
            chunks += len(changes.gone) + changes.most_come
        if folded.spec is not None:
            batch.advance.specs[subject] = folded.spec
        if folded.annex is not None:
            batch.advance.specs[annex_field(subject)] = folded.annex
        batch.advance.measurements += folded.measurements
        # The mark is ahead in the log: all of the subject's progress was acknowledged before it was written.
        if not (record.offset < memory.caught_up_at and subject in memory.marked_ahead):
            batch.publications += [folded.progress] if folded.progress is not None else []
            batch.publications += folded.announcements
        if folded.conflict is not None:
            batch.publications.append(folded.conflict)
    batch.advance.last_record = record_hash(last)
    for subject, state in batch.changed.items():
        _describe(machine, batch.advance, subject, memory.state(subject), state)
    return batch


def _describe(machine: Machine[S], advance: Advance, subject: str, before: S | None, state: S) -> None:
    """Add the changes of one subject to an advance."""
    raw = machine.encode(state)
    if machine.is_settled(state):
        last_offset = machine.last_offset(state)
        raw = packed(raw, last_offset)
        advance.settled[subject] = last_offset
    else:
        advance.live.add(subject)
    advance.states[subject] = raw
    bitmap = machine.bitmap(state)
    if before is None or machine.bitmap(before) != bitmap:
        advance.bitmaps[subject] = bitmap or None
    if machine.is_ended(state):
        advance.specs[subject] = advance.specs[annex_field(subject)] = None
    changes = machine.chunk_changes(before, state)
    advance.current.update(dict.fromkeys(changes.gone))
    advance.current.update(dict.fromkeys(changes.come, machine.mark(state)))

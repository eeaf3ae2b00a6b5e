"""The curated notes on `sages.notes`."""

from __future__ import annotations

import time
from uuid import uuid4

from eldermesh.contract.times import format_time
from eldermesh_cli.answers.jobs import NoteAnswer, NoteList
from eldermesh_cli.teach.compacted_topic import CompactedRecord, find_compacted
from shared.documents import Note, UnreadableDocumentError, decode_note
from shared.kafka.topics import SAGES_NOTES
from shared.settings import Settings


async def add_note(
    settings: Settings, text: str, *, workload: str | None, tenant: str | None, by: str | None
) -> NoteAnswer:
    """Write a new note.

    Raises:
        MeshUnavailableError: the broker does not answer.
        ConfigurationError: the topic does not exist.
    """
    note = Note(
        note_id=str(uuid4()),
        text=text,
        workload=workload,
        tenant=tenant,
        by=by,
        added_at=time.time_ns() // 1_000_000,
    )
    topic = await find_compacted(settings, SAGES_NOTES)
    await topic.write([CompactedRecord(note.note_id, note.encode(), note.headers())])
    return _answer(note)


async def list_notes(settings: Settings) -> NoteList:
    """All notes, newest first; what is no note is left out.

    Raises:
        MeshUnavailableError: the broker does not answer.
        ConfigurationError: the topic does not exist.
    """
    topic = await find_compacted(settings, SAGES_NOTES)
    notes: list[Note] = []
    for record in (await topic.latest()).values():
        try:
            notes.append(decode_note(record.value))
        except UnreadableDocumentError:  # the sage passes over it, too
            continue
    notes.sort(key=lambda note: (-note.added_at, note.note_id))
    return NoteList(notes=[_answer(note) for note in notes])


async def remove_note(settings: Settings, note_id: str) -> bool:
    """Remove a note; False if there is none.

    Raises:
        MeshUnavailableError: the broker does not answer.
        ConfigurationError: the topic does not exist.
    """
    topic = await find_compacted(settings, SAGES_NOTES)
    if note_id not in await topic.latest():
        return False
    await topic.write([CompactedRecord(note_id, None, [])])
    return True


def _answer(note: Note) -> NoteAnswer:
    return NoteAnswer(
        note_id=note.note_id,
        text=note.text,
        workload=note.workload,
        tenant=note.tenant,
        by=note.by,
        added_at=format_time(note.added_at),
    )

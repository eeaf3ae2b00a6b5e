"""What `mesh index` does: compare the files with what `sages.documents` holds, and send what differs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eldermesh_cli.answers.jobs import IndexAnswer, LeftOutAnswer
from eldermesh_cli.teach.compacted_topic import CompactedRecord, CompactedTopic, find_compacted
from eldermesh_cli.teach.text_files import Skipped, TextFile, fits, listed_files, read_files
from eldermesh_cli.terminal.safe_text import escaped_name
from services.sages.passages import CUTTING_VERSION, cut
from shared.documents import MAX_DOCUMENT_BYTES, Document, IndexedAs, document_id
from shared.kafka.topics import SAGES_DOCUMENTS
from shared.settings import Settings

_NAMED = 20
"""Names that are told of each reason."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files, and what they belong to: all of `collection` that is gone from `root` is removed."""

    root: Path
    collection: str
    globs: Sequence[str]
    tenant: str | None

    def includes(self, path: str) -> bool:
        """Whether a document of the collection is one that this selection speaks of."""
        if not self.globs:
            return True
        below = PurePosixPath(path).parts[1:] or (path,)
        return fits("/".join(below), self.globs)


async def index(
    settings: Settings, selection: Selection, skipped: Skipped, moved: Callable[[int, int], None]
) -> IndexAnswer:
    """Send documents that are new or different, remove those whose files are gone.

    `moved` is told how many files are done, of how many. What the topic holds decides what is new, so two machines with
    the same files send them once.

    Raises:
        CliError: too many files.
        MeshUnavailableError: the broker does not answer.
        ConfigurationError: the topic does not exist.
    """
    began = time.monotonic()
    topic, known = await _known(settings, selection)
    files = listed_files(selection.root, selection.globs, skipped)
    looked_at: dict[str, int] = {}
    changed = 0

    def records() -> Iterator[CompactedRecord]:
        nonlocal changed
        for file in read_files(files, selection.root, skipped):
            key = document_id(selection.collection, file.path)
            content_hash = _hash(file, selection.tenant)
            before = known.get(key)
            if before is not None and before.content_hash == content_hash:
                looked_at[key] = before.passages
                continue
            document = _document(file, selection, content_hash)
            value = document.encode()
            if len(value) > MAX_DOCUMENT_BYTES:
                skipped.add("too large a record", file.path)
                continue
            looked_at[key] = len(document.passages)
            changed += 1
            moved(min(len(looked_at) + skipped.count, len(files)), len(files))
            yield CompactedRecord(key, value, document.headers())

    await topic.write(records())
    moved(len(files), len(files))
    gone = {
        key
        for key, each in known.items()
        if key not in looked_at and selection.includes(each.path) and not skipped.may_be_there(each.path)
    }
    await topic.write(CompactedRecord(key, None, []) for key in gone)
    stays = {key: each.passages for key, each in known.items() if key not in gone and selection.includes(each.path)}
    return _answer(selection, stays | looked_at, changed, len(gone), skipped, began)


async def remove(settings: Settings, selection: Selection) -> IndexAnswer:
    """Remove the documents of the selection, whether their files are there or not.

    Raises:
        MeshUnavailableError: the broker does not answer.
        ConfigurationError: the topic does not exist.
    """
    began = time.monotonic()
    topic, known = await _known(settings, selection)
    gone = [key for key, each in known.items() if selection.includes(each.path)]
    await topic.write(CompactedRecord(key, None, []) for key in gone)
    left = {key: each.passages for key, each in known.items() if key not in gone}
    return _answer(selection, left, 0, len(gone), Skipped(), began)


async def _known(settings: Settings, selection: Selection) -> tuple[CompactedTopic, Mapping[str, IndexedAs]]:
    """The documents of the collection, by key."""
    topic = await find_compacted(settings, SAGES_DOCUMENTS)
    read = {key: IndexedAs.read(record.headers) for key, record in (await topic.latest()).items()}
    mine = {key: each for key, each in read.items() if each is not None and each.collection == selection.collection}
    return topic, mine


def _hash(file: TextFile, tenant: str | None) -> str:
    frame = f"{CUTTING_VERSION}\n{tenant or ''}\n".encode()
    return hashlib.sha256(frame + file.content).hexdigest()


def _document(file: TextFile, selection: Selection, content_hash: str) -> Document:
    return Document(
        collection=selection.collection,
        path=file.path,
        content_hash=content_hash,
        indexed_at=time.time_ns() // 1_000_000,
        tenant=selection.tenant,
        passages=cut(file.path, file.content.decode("utf-8").removeprefix("\ufeff")),
    )


def _answer(
    selection: Selection, passages: Mapping[str, int], changed: int, removed: int, skipped: Skipped, began: float
) -> IndexAnswer:
    return IndexAnswer(
        files_total=len(passages),
        files_changed=changed,
        passages_total=sum(passages.values()),
        duration_seconds=round(time.monotonic() - began, 3),
        collection=selection.collection,
        files_removed=removed,
        files_skipped=skipped.count,
        skipped=_left_out(skipped.files),
        unreadable=_left_out(skipped.unreadable),
    )


def _left_out(names: Mapping[str, Sequence[str]]) -> list[LeftOutAnswer]:
    return [
        LeftOutAnswer(reason=reason, count=len(each), names=[escaped_name(name) for name in each[:_NAMED]])
        for reason, each in names.items()
    ]

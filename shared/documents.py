"""What the sages read besides histories: documents on `sages.documents` and curated notes on `sages.notes`.

Both topics are compacted. The key is the id; the last record of a key counts, and one without a value removes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, TypeVar
from uuid import NAMESPACE_URL, uuid5

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eldermesh.contract.cloudevents import header_text
from shared.errors import MeshError

MAX_DOCUMENT_BYTES: Final = 900_000
"""Largest record of a document."""

MAX_NOTE_CHARACTERS: Final = 2000
_LAST_MILLISECOND: Final = 253_402_300_799_999
"""Of the year 9999; no later time can be shown."""

DOCUMENT_TYPE: Final = "sage.document"
NOTE_TYPE: Final = "sage.note"
TYPE_HEADER: Final = "ce_type"
COLLECTION_HEADER: Final = "collection"
PATH_HEADER: Final = "path"
HASH_HEADER: Final = "content_hash"
PASSAGES_HEADER: Final = "passages"

_NAMESPACE = uuid5(NAMESPACE_URL, "eldermesh:documents")

Headers = list[tuple[str, bytes]]
_RecordT = TypeVar("_RecordT", bound="_Record")


class UnreadableDocumentError(MeshError):
    """A record of these topics is not what its topic holds: pass over it."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def encode(self) -> bytes:
        """The record value."""
        return orjson.dumps(self.model_dump(mode="json"))


class Passage(_Record):
    """A piece of a document that can be quoted: lines `first_line..last_line`, counted from 1, under a title."""

    title: str
    first_line: int
    last_line: int
    text: str


class Document(_Record):
    """A text file, cut into passages.

    `collection` names what was indexed together, `path` the file as citations name it. `content_hash` is over the file
    and the way in which it was cut. `tenant`: only jobs of this tenant see it; None: all do.
    """

    collection: str
    path: str
    content_hash: str
    indexed_at: int
    """Milliseconds since 1970."""
    tenant: str | None = None
    passages: tuple[Passage, ...]

    @property
    def document_id(self) -> str:
        """The record's key: one for each path of a collection."""
        return document_id(self.collection, self.path)

    def headers(self) -> Headers:
        """What of it can be read without the value."""
        return [
            (TYPE_HEADER, DOCUMENT_TYPE.encode()),
            (COLLECTION_HEADER, self.collection.encode()),
            (PATH_HEADER, self.path.encode()),
            (HASH_HEADER, self.content_hash.encode()),
            (PASSAGES_HEADER, str(len(self.passages)).encode()),
        ]


class Note(_Record):
    """Something that people want to be remembered before jobs like these run.

    `workload` and `tenant` say whose jobs it is for; None: all. `added_at` is in milliseconds since 1970.
    """

    note_id: str
    text: Annotated[str, Field(min_length=1, max_length=MAX_NOTE_CHARACTERS)]
    workload: str | None = None
    tenant: str | None = None
    by: str | None = None
    added_at: Annotated[int, Field(ge=0, le=_LAST_MILLISECOND)]

    def headers(self) -> Headers:
        """The record's headers."""
        return [(TYPE_HEADER, NOTE_TYPE.encode())]


def document_id(collection: str, path: str) -> str:
    """The key of a document."""
    return str(uuid5(_NAMESPACE, f"{collection}\n{path}"))


def _decode(kind: type[_RecordT], value: bytes) -> _RecordT:
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        raise UnreadableDocumentError(f"no {kind.__name__.lower()}: {error.error_count()} fields are wrong") from error


decode_document = partial(_decode, Document)
"""Read a record of `sages.documents`; `UnreadableDocumentError` if it is not a document."""

decode_note = partial(_decode, Note)
"""Read a record of `sages.notes`; `UnreadableDocumentError` if it is not a note."""

_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class IndexedAs:
    """What the headers say of a document."""

    collection: str
    path: str
    content_hash: str
    passages: int

    @classmethod
    def read(cls, headers: Iterable[tuple[str, bytes | None]]) -> IndexedAs | None:
        """Read the headers; None if they do not say it."""
        listed = tuple(headers)
        collection, path, content_hash, passages = (
            header_text(listed, name) for name in (COLLECTION_HEADER, PATH_HEADER, HASH_HEADER, PASSAGES_HEADER)
        )
        if collection is None or path is None or content_hash is None or passages is None:
            return None
        if not passages.isdecimal() or len(passages) > _MOST_DIGITS:  # Python refuses to read thousands of them
            return None
        return cls(collection, path, content_hash, int(passages))

"""Dead letters on `jobs.dead`: the original bytes, and in the headers where they came from and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast, get_args

from eldermesh.contract.cloudevents import Headers, header_text
from eldermesh.contract.vocabulary import DeadLetterType

MAX_REASON_CHARACTERS = 1000
_OWN_HEADERS = frozenset(
    {
        "dlq_key",
        "dlq_topic",
        "dlq_partition",
        "dlq_offset",
        "dlq_error_type",
        "dlq_reason",
        "dlq_truncated_bytes",
        "dlq_sha256",
    }
)


@dataclass(frozen=True, slots=True)
class DeadLetterHeaders:
    """Provenance of a dead letter. `topic` is the name with the environment's prefix."""

    topic: str
    partition: int
    offset: int
    error_type: DeadLetterType
    reason: str
    key: bytes | None = None

    def encode(self, original: Iterable[tuple[str, bytes | None]]) -> Headers:
        """The headers to publish: provenance first, then the original ones as they were."""
        headers: Headers = []
        if self.key is not None:
            headers.append(("dlq_key", self.key))
        headers += [
            ("dlq_topic", self.topic.encode()),
            ("dlq_partition", str(self.partition).encode()),
            ("dlq_offset", str(self.offset).encode()),
            ("dlq_error_type", self.error_type.encode()),
            ("dlq_reason", self.reason[:MAX_REASON_CHARACTERS].encode("utf-8", "backslashreplace")),
        ]
        headers += [(name, value if value is not None else b"") for name, value in original if name not in _OWN_HEADERS]
        return headers

    @classmethod
    def decode(cls, headers: Iterable[tuple[str, bytes | None]]) -> DeadLetterHeaders:
        """Read the provenance back.

        Raises:
            ValueError: the headers are not those of a dead letter.
        """
        listed = list(headers)
        error_type = header_text(listed, "dlq_error_type")
        topic = header_text(listed, "dlq_topic")
        if topic is None or error_type not in get_args(DeadLetterType):
            raise ValueError("the record has no dead-letter headers")
        key = next((value for name, value in listed if name == "dlq_key"), None)
        return cls(
            topic=topic,
            partition=int(header_text(listed, "dlq_partition") or ""),
            offset=int(header_text(listed, "dlq_offset") or ""),
            error_type=cast("DeadLetterType", error_type),
            reason=header_text(listed, "dlq_reason") or "",
            key=key,
        )

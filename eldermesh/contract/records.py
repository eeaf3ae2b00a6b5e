"""A record of a public topic as it lies in the log, not decoded."""

from __future__ import annotations

from dataclasses import dataclass

from eldermesh.contract.cloudevents import header_text


@dataclass(frozen=True, slots=True)
class PublicRecord:
    """One record. `topic` is the name without the environment's prefix; `repr` never shows the value."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None

    def __repr__(self) -> str:
        size = "no value" if self.value is None else f"{len(self.value)} bytes"
        return f"PublicRecord({self.topic}/{self.partition}/{self.offset}, {size})"

    def header(self, name: str) -> str | None:
        """The last value of a header as text; None if it is absent or not UTF-8."""
        return header_text(self.headers, name)

    def key_text(self) -> str | None:
        """The key as text; None if there is none or it is not UTF-8."""
        try:
            return None if self.key is None else self.key.decode("utf-8")
        except UnicodeDecodeError:
            return None

"""Names of the Redis keys of one partition of a history; all of one partition lie in one slot."""

from __future__ import annotations

from dataclasses import dataclass

FOLD_VERSION = 1


def annex_field(subject: str) -> str:
    """The field of `specs` that holds what later facts have added to a subject's specification."""
    return f"{subject}/annex"


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """Keys of one history partition.

    `topic` carries the environment's prefix. Each key is a hash. `meta` holds `applied`, `token`, `ready`, `last` (the
    hash of the last applied record), `looked` (when an owner last looked at the claims, in milliseconds of Redis'
    clock) and `looks` (the load token of the last owner that notes this: earlier releases do not).
    """

    topic: str
    partition: int
    version: int = FOLD_VERSION

    def _key(self, name: str) -> str:
        return f"{{h:{self.topic}:{self.partition}}}:v{self.version}:{name}"

    @property
    def meta(self) -> str:
        """`applied`, `token`, `ready`, `last`, `looked`, `looks`."""
        return self._key("meta")

    @property
    def states(self) -> str:
        """Job id → state, of every known job."""
        return self._key("states")

    @property
    def specs(self) -> str:
        """Job id → what its runners need, and its annex beside it; gone when the job has ended."""
        return self._key("specs")

    @property
    def bitmaps(self) -> str:
        """Job id → which items have a result."""
        return self._key("bitmaps")

    @property
    def current(self) -> str:
        """Chunk id → the mark of its job (of earlier releases: its id), of the chunks in a plan."""
        return self._key("current")

    @property
    def trouble(self) -> str:
        """Job id (or engine) → why it waits, for people; removed two minutes after the last write."""
        return self._key("trouble")

    @property
    def claims(self) -> str:
        """Chunk id → claim."""
        return self._key("claims")

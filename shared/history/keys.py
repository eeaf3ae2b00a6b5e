"""Names of the Redis keys of one partition of a history; all of one partition lie in one slot."""

from __future__ import annotations

FOLD_VERSION = 1


def annex_field(subject: str) -> str:
    """The field of `specs` that holds what later facts have added to a subject's specification."""
    return f"{subject}/annex"


class PartitionKeys:
    """Keys of one history partition.

    `topic` carries the environment's prefix. All but `live` and `settled` are hashes. `meta` holds `applied`, `token`,
    `ready`, `last` (the hash of the last applied record), `looked` (when an owner last looked at the claims, in
    milliseconds of Redis' clock), `looks` (the load token of the last owner that notes this) and `live` (the `applied`
    that the set `live` is of). Earlier releases keep neither of the last two.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        prefix = f"{{h:{topic}:{partition}}}:v{FOLD_VERSION}:"
        self.meta = f"{prefix}meta"
        self.states = f"{prefix}states"
        """Job id → state, of every known job; settled ones packed (see `settled_state`)."""
        self.live = f"{prefix}live"
        """Set: the jobs that are not settled."""
        self.settled = f"{prefix}settled"
        """List, for retention, in log order: the offset of a fact after which its job was settled, and the job."""
        self.specs = f"{prefix}specs"
        """Job id → what its runners need, and its annex beside it; gone when the job has ended."""
        self.bitmaps = f"{prefix}bitmaps"
        """Job id → which items have a result."""
        self.current = f"{prefix}current"
        """Chunk id → the mark of its job (of earlier releases: its id), of the chunks in a plan."""
        self.trouble = f"{prefix}trouble"
        """Job id (or engine) → why it waits, for people; removed two minutes after the last write."""
        self.measurements = f"{prefix}measurements"
        """Name of a quantity → its newest values, the newest first, with blanks between."""
        self.claims = f"{prefix}claims"
        """Chunk id → claim."""

"""A job in the demo's summary."""

from __future__ import annotations

from dataclasses import dataclass

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.times import parse_time
from eldermesh_cli.demo.job_follower import Followed


@dataclass(frozen=True, slots=True)
class JobRow:
    """A line of the table of jobs."""

    name: str
    engine: str
    state: str
    items: int
    failed: int
    first_result: str
    whole: str

    @classmethod
    def of(cls, name: str, followed: Followed) -> JobRow:
        """A job that was followed."""
        first, whole = seconds_text(followed.first_result_seconds), seconds_text(followed.end_seconds)
        return cls._made(name, followed.end, first, whole)

    @classmethod
    def of_end(cls, name: str, end: JobEnd) -> JobRow:
        """A job of which only the end was read: it took the time since its acceptance."""
        taken = (parse_time(end.ended_at) - parse_time(end.accepted_at)) / 1000
        return cls._made(name, end, "", seconds_text(taken))

    @classmethod
    def _made(cls, name: str, end: JobEnd, first_result: str, whole: str) -> JobRow:
        total = end.items_total or 0
        return cls(name, end.engine or "", end.status, total, end.items_failed, first_result, whole)


def seconds_text(seconds: float) -> str:
    """Seconds as the demo writes them."""
    return f"{seconds:.2f} s"

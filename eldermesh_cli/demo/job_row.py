"""A job in the demo's summary."""

from __future__ import annotations

from dataclasses import dataclass

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
        end = followed.end
        return cls(
            name,
            end.engine or "",
            end.status,
            end.items_total or 0,
            end.items_failed,
            seconds_text(followed.first_result_seconds),
            seconds_text(followed.end_seconds),
        )


def seconds_text(seconds: float) -> str:
    """Seconds as the demo writes them."""
    return f"{seconds:.2f} s"

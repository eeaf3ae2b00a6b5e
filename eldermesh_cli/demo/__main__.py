"""`python -m eldermesh_cli.demo`, or `make demo`: real jobs on a mesh of its own, each claim checked.

Exit status 0 when everything was as it should be, 1 when a check failed, 3 when the mesh could not be run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from eldermesh.client import ClientError
from eldermesh_cli.demo.command import CommandFailedError
from eldermesh_cli.demo.directory import demo_place
from eldermesh_cli.demo.screen import Screen
from eldermesh_cli.demo.story import Story

_FAILED = 1
_UNAVAILABLE = 3
_INTERRUPTED = 130

_INTRODUCTION = (
    "A job mesh on this machine: a job is published as one Kafka record, admitted, routed, run in chunks on Celery, "
    "and ended once. What follows are real jobs on a real mesh; every ✓ is a check, and a failed one fails the demo."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit status."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m eldermesh_cli.demo", description="Real jobs on a mesh of its own.")
    parser.add_argument("--keep", action="store_true", help="keep the data directory, with logs and spans")
    keep = parser.parse_args(arguments).keep
    screen = Screen()
    screen.title("ElderMesh", _INTRODUCTION)
    problem: Exception | None = None
    try:
        with demo_place(screen) as place:
            place.keep = keep
            story = Story(screen, place, began)
            try:
                story.tell()
            except (CommandFailedError, ClientError, OSError) as error:
                problem = error
            place.keep = keep or problem is not None or bool(screen.failed)
    except KeyboardInterrupt:
        screen.say("\nInterrupted; the mesh has been stopped, and nothing is left.")
        return _INTERRUPTED
    return _conclude(screen, story, problem, f"{place.directory}" if place.keep else None)


def _conclude(screen: Screen, story: Story, problem: Exception | None, kept: str | None) -> int:
    """Say how it went."""
    screen.say("")
    if problem is None:
        story.summary()
    if kept is not None:
        screen.say(f"Logs and spans are kept in {kept}", wrap=False)
    if problem is not None:
        screen.check("the demo came to its end", holds=False, found=problem)
        return _UNAVAILABLE
    if screen.failed:
        screen.say(f"[bold red]{len(screen.failed)} of {screen.checks} checks failed.[/]")
        return _FAILED
    screen.say(f"[bold green]All {screen.checks} checks hold.[/] Your own mesh: `mesh up`, then `mesh submit --help`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

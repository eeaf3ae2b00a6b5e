"""The process in which one workload's plug-in validates submits: a line of JSON in, a line out, within limits.

Whatever a plug-in does to this process, the router goes on and starts another one.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from shared.errors import DeadLetterError
from shared.settings import Settings
from shared.workloads import Workload, WorkloadRegistry

PROCESSOR_SECONDS = 2.0
"""For one submit; then the kernel kills the process."""

MEMORY_BYTES = 1024**3
"""Of address space beyond that in use after the import; further allocations fail."""

MAX_REASON_CHARACTERS = 4000


def main() -> None:
    """Load the workload that the argument names, report that, and validate until the input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a plug-in prints must not be read as an answer
    requests = sys.stdin.buffer
    settings: Settings = pickle.loads(bytes.fromhex(requests.readline().decode()))  # noqa: S301 - the router's own

    def say(answer: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()

    try:
        workload = WorkloadRegistry.installed().get(sys.argv[1])
    except BaseException as error:  # noqa: BLE001 - importing a plug-in may raise anything
        sys.stderr.write(f"workload {sys.argv[1]}: {error}\n")
        say({"failed": type(error).__name__})
        return
    _limit_memory()
    say({})
    for line in requests:
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
        answer = _judged(workload, json.loads(line), settings)
        signal.setitimer(signal.ITIMER_PROF, 0)
        say(answer)


def _limit_memory() -> None:
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > taken + MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, hard))


def _judged(workload: Workload, asked: dict[str, Any], settings: Settings) -> dict[str, Any]:
    items = asked["items"]
    try:
        workload.validate(asked["options"], None if items is None else tuple(items), settings)
    except DeadLetterError as refusal:
        return {"refused": [str(refusal.error_type), str(refusal.reason)[:MAX_REASON_CHARACTERS]]}
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, or call `sys.exit`
        return {"failed": type(error).__name__}
    return {}


if __name__ == "__main__":
    main()

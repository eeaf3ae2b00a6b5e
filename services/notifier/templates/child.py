"""The process that renders the templates of operators: a line of JSON in, a line out, within limits.

Whatever a template does to it, the notifier kills it and starts another one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from typing import Any

from services.notifier.templates.sandbox import texts

MEMORY_BYTES = 512 * 1024 * 1024
"""Of address space, including the interpreter, which takes about a fifth of it."""

PROCESSOR_SECONDS = 1.0
"""For one message; then the kernel ends the process."""


def main() -> None:
    """Render until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the notifier decides
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
        answer = json.dumps(_answer(json.loads(line)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        title, body, html = texts(asked["title"], asked["body"], asked["html"], asked["values"])
    except MemoryError:
        os._exit(1)  # its state is unknown
    except Exception as error:  # noqa: BLE001 - a template may make anything fail
        return {"failed": f"{type(error).__name__}{_line_of(error)}"}
    return {"title": title, "body": body, "html": html}


def _line_of(error: Exception) -> str:
    """The error's line in the template. Its message may quote the values, so it is left out."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f" in line {lines[-1]}" if lines else ""


if __name__ == "__main__":
    main()

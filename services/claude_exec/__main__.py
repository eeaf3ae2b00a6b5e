"""The service as a process, until SIGTERM or SIGINT; `mesh up` starts it, as `python -m services.claude_exec`."""

from __future__ import annotations

import sys

from services.claude_exec.requests.service import run
from shared.processes.service_process import run_service

if __name__ == "__main__":
    sys.exit(run_service("eldermesh-claude_exec", run))

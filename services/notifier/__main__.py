"""The service as a process, until SIGTERM or SIGINT; `mesh up` starts it, as `python -m services.notifier`."""

from __future__ import annotations

import sys

from services.notifier.service import run
from shared.processes.service_process import run_service

if __name__ == "__main__":
    sys.exit(run_service("eldermesh-notifier", run))

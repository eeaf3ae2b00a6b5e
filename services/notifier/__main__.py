"""`python -m services.notifier`: run the service until SIGTERM or SIGINT."""

from __future__ import annotations

import sys

from services.notifier.service import run
from shared.serving import run_service

if __name__ == "__main__":
    sys.exit(run_service("eldermesh-notifier", run))

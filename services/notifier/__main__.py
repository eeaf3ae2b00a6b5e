"""The service as a process, until SIGTERM or SIGINT; `mesh up` starts it, as `python -m services.notifier`."""

from __future__ import annotations

import asyncio

from services.notifier.app import app

if __name__ == "__main__":
    asyncio.run(app.run())

"""The service as a process, until SIGTERM or SIGINT; `mesh up` starts it, as `python -m services.claude_exec`."""

from __future__ import annotations

import asyncio

from services.claude_exec.app import app

if __name__ == "__main__":
    asyncio.run(app.run())

"""What a workload's code raises: words to the run that asked, or a failure of the plug-in itself."""

from __future__ import annotations

import asyncio

from shared.errors import RetryableError
from shared.history.lease import LeaseLostError
from shared.workloads import RunKilledError

_WORDS = (LeaseLostError, RunKilledError, RetryableError)


def concerns_the_run(error: BaseException) -> bool:
    """Whether the run must end by this; all else is the plug-in's own failure, a `sys.exit` or a panic included."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0  # otherwise something inside was cancelled, not we
    return isinstance(error, (*_WORDS, KeyboardInterrupt, GeneratorExit))

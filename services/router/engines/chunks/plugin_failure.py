"""What a workload's code raises: words to the run that asked, or a failure of the plug-in itself."""

from __future__ import annotations

from shared.errors import RetryableError
from shared.history.runs.lease import LeaseLostError
from shared.logs.exceptions import ends_the_task
from shared.workloads import RunKilledError

_WORDS = (LeaseLostError, RunKilledError, RetryableError)


def concerns_the_run(error: BaseException) -> bool:
    """Whether the run must end by this; all else is the plug-in's own failure, a `sys.exit` or a panic included."""
    return isinstance(error, _WORDS) or ends_the_task(error)

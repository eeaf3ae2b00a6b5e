"""The end of a run: its parts are stopped while its claim is still held, so that nobody begins it again beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from shared.history.runs.lease import LeaseLostError
from shared.logs.exceptions import told

_log = logging.getLogger(__name__)


async def end_run(
    parts: Collection[asyncio.Task[Any]], keeping: asyncio.Task[LeaseLostError], *, seconds: float | None = None
) -> bool:
    """Cancel the parts of a run and wait for their ends, while the lease is renewed; return whether all have ended.

    Args:
        parts: all but the heartbeat; they may have ended already.
        keeping: `Lease.keep`; it ends last. If it has ended, the claim is lost, and nothing can be done about it.
        seconds: how long to wait; None: the parts bound their own ends.
    """
    for part in parts:
        part.cancel()
    try:
        done, stuck = await asyncio.wait(parts, timeout=seconds)
    finally:
        keeping.cancel()
    await asyncio.wait({keeping})
    for part in (*done, keeping):
        if not part.cancelled() and (error := part.exception()) is not None:
            _log.debug("a part of a run ended with %s", told(error))
    return not stuck

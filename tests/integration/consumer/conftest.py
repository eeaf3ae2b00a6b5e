"""Topics for a consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.settings import Settings
from tests.fresh_topics import fresh_topics


@pytest.fixture
async def embedded(embedded_broker: str) -> AsyncIterator[Settings]:
    """Topics of their own on the embedded broker, for what does not depend on the broker."""
    async with fresh_topics(embedded_broker, "embedded") as settings:
        yield settings

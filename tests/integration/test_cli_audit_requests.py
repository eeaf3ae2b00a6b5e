"""`mesh audit` on prompts that ran on their own: each accepted one has one end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eldermesh.contract.partitions import partition_of
from eldermesh.contract.topics import CLAUDE_OUTPUT
from shared.history.facts import fact_headers
from shared.kafka.topics import CLAUDE_HISTORY
from tests.fresh_topics import AnyBroker
from tests.integration.seeded_mesh import SeededMesh, seeded_mesh
from tests.unit.claude_requests.test_fold import REQUEST, accepted


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """Topics and Redis keys of this test alone, and one accepted prompt."""
    async with seeded_mesh(AnyBroker(embedded_broker, "embedded"), redis_server, data_dir=tmp_path) as seeded:
        fact = accepted()
        await seeded.producer.send_and_wait(
            seeded.settings.topic(CLAUDE_HISTORY),
            fact.encode(),
            key=REQUEST.encode(),
            partition=partition_of(REQUEST, seeded.settings.partition_count),
            headers=fact_headers(fact.fact_type, REQUEST, None),
        )
        yield seeded


async def end_it(mesh: SeededMesh, value: bytes) -> None:
    """An end of the prompt, in public."""
    await mesh.producer.send_and_wait(
        mesh.settings.topic(CLAUDE_OUTPUT),
        value,
        key=REQUEST.encode(),
        partition=partition_of(REQUEST, mesh.settings.partition_count),
        headers=[("ce_id", f"{REQUEST}:end".encode())],
    )


async def test_an_end_is_missed_and_found(mesh: SeededMesh) -> None:
    """Without its end the check fails and names the prompt; with it, repeated word for word, it holds."""
    failed = await mesh.run("audit", "--json")
    assert failed.status == 1
    ledger = failed.answer("mesh-audit")["requests"]
    assert (ledger["accepted"], ledger["missing"], ledger["missing_requests"]) == (1, 1, [REQUEST])
    assert f"no end: request {REQUEST}" in (await mesh.run("audit")).stdout
    await end_it(mesh, b'{"status":"completed"}')
    await end_it(mesh, b'{"status":"completed"}')
    clean = await mesh.run("audit", "--json")
    assert (clean.status, clean.answer("mesh-audit")["requests"]["ended"]) == (0, 1)


async def test_two_ends_that_differ(mesh: SeededMesh) -> None:
    """One prompt has one end."""
    await end_it(mesh, b'{"status":"completed"}')
    await end_it(mesh, b'{"status":"failed"}')
    failed = await mesh.run("audit", "--json")
    assert (failed.status, failed.answer("mesh-audit")["requests"]["differing_ends"]) == (1, 1)

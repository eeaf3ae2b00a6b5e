"""Trace ids that a job's id gives."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

from eldermesh.contract.ids import trace_id_of
from shared.telemetry import names
from shared.telemetry.ids import root_trace
from shared.telemetry.propagation import traceparent_of
from shared.telemetry.setup import Telemetry
from shared.telemetry.spans import span

pytestmark = pytest.mark.usefixtures("telemetry")


def test_a_root_span_gets_exactly_the_given_trace_id() -> None:
    """The trace id is the job id's 16 bytes, the span is sampled, and the flag for random ids is not claimed."""
    job_id = str(uuid.uuid4())
    with root_trace(trace_id_of(job_id)), span(names.PROCESS_JOBS, context=Context()) as root:
        context = root.get_span_context()
    assert trace.format_trace_id(context.trace_id) == uuid.UUID(job_id).hex
    assert context.trace_flags.sampled
    assert not context.trace_flags.random_trace_id
    assert traceparent_of(root) == f"00-{uuid.UUID(job_id).hex}-{trace.format_span_id(context.span_id)}-01"


def test_a_child_keeps_its_parents_trace_id() -> None:
    """A given id is for roots only."""
    outer = span(names.SEND_JOBS, context=Context())
    with outer as parent, root_trace(uuid.uuid4().hex), span(names.PROCESS_JOBS) as child:
        assert child.get_span_context().trace_id == parent.get_span_context().trace_id


def test_outside_ids_are_random(telemetry: Telemetry) -> None:
    """After the block, and for the id that is all zeros, root spans get ids of their own."""
    seen = set()
    with root_trace("0" * 32), span(names.PROCESS_JOBS, context=Context()) as root:
        seen.add(root.get_span_context().trace_id)
    for _ in range(2):
        with span(names.PROCESS_JOBS, context=Context()) as root:
            seen.add(root.get_span_context().trace_id)
    assert len(seen) == 3
    assert 0 not in seen
    assert root.get_span_context().trace_flags.random_trace_id


async def test_jobs_handled_at_once_do_not_mix() -> None:
    """Each of 50 tasks that run interleaved gets the id it gave."""

    async def handle(job_id: uuid.UUID) -> bool:
        with root_trace(job_id.hex):
            await asyncio.sleep(0)
            with span(names.PROCESS_JOBS, context=Context()) as root:
                await asyncio.sleep(0)
                return root.get_span_context().trace_id == job_id.int

    assert all(await asyncio.gather(*(handle(uuid.uuid4()) for _ in range(50))))


@pytest.mark.parametrize("text", ["", "ab", "x" * 32, "0" * 34])
def test_what_is_no_trace_id_is_refused(text: str) -> None:
    """A wrong length and other characters are errors of the caller."""
    with pytest.raises(ValueError, match=r".+"), root_trace(text):
        pass

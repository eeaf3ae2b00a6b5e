"""One trace from the span that sends a prompt to the CLI's request to the model, on a mesh that `mesh up` runs."""

from __future__ import annotations

import pytest

from eldermesh.client import Client
from eldermesh.contract.ids import trace_id_of
from tests.integration.claude.test_requests_trace import CLI_EDGES, prompt_in_a_trace, whole_trace
from tests.mesh import RunningMesh
from tests.trace_edges import REQUEST_EDGES

pytestmark = pytest.mark.slow


async def test_on_the_embedded_mesh(running_mesh: RunningMesh) -> None:
    """`mesh up` runs it all: the prompt is answered by the endpoint of the mesh's own, its trace is in the receiver."""
    await prompt_in_a_trace(running_mesh.settings)


async def test_a_prompt_that_came_without_a_trace(running_mesh: RunningMesh) -> None:
    """Its trace is found from its id alone."""
    settings = running_mesh.settings
    async with Client(settings.kafka_bootstrap, settings.topic_prefix) as client:
        sent = await client.prompt("[[reply fine]]")
        end = await client.answer(sent.request_id, 60)
    assert end.trace_id == trace_id_of(sent.request_id)
    spans = await whole_trace(settings, end.trace_id, [*REQUEST_EDGES, *CLI_EDGES])
    assert [span.name for span in spans if span.parent_span_id is None] == ["process claude.requests"]

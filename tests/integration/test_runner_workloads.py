"""What the runner does for any plug-in: outcomes, failures of its own, flushing, trace context, and what it refuses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from services.router.engines.chunks.task import ChunkOutcome
from shared.errors import ConfigurationError, RetryableError
from shared.facts.jobs import ChunkInterrupted
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry
from shared.workloads import (
    ItemCall,
    ItemFailed,
    ItemOutcome,
    ItemSucceeded,
    Queue,
    RunContext,
    Workload,
    WorkloadRegistry,
)
from tests.integration.chunk_running import WORKER_ID, chunk_runner, runner_settings
from tests.integration.played_owner import TRACE_ID, TRACEPARENT, PlayedOwner, played_owner


class Plugin:
    """A workload whose items do what the test says."""

    name = "plugin"
    queue: Queue = "batch_tasks"

    def __init__(self, item: Callable[[ItemCall], Awaitable[ItemOutcome]], *, flush_each_item: bool = False) -> None:
        self.flush_each_item = flush_each_item
        self._item = item
        self.contexts: list[RunContext] = []
        self.calls: list[ItemCall] = []
        self.kills = 0

    def validate(self, options: Mapping[str, Any], items: Sequence[Any] | None, settings: Settings) -> None:
        """Everything is fine."""

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[Plugin]:
        """This object is its own run."""
        self.contexts.append(context)
        yield self

    async def item(self, call: ItemCall) -> ItemOutcome:
        """What the test says."""
        self.calls.append(call)
        return await self._item(call)

    def kill(self) -> None:
        """Only count."""
        self.kills += 1

    async def close(self) -> None:
        """Nothing is kept."""


def registry(plugin: Workload) -> WorkloadRegistry:
    """A registry of one."""
    return WorkloadRegistry({plugin.name: lambda: plugin})


@pytest.fixture
async def settings(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics of their own and a short lease."""
    async with runner_settings(embedded_broker, redis_server, tmp_path) as made:
        yield made


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[PlayedOwner]:
    """The owner of partition 0."""
    async with played_owner(settings) as played:
        yield played


async def test_a_workload_is_given_what_it_needs(settings: Settings, owner: PlayedOwner) -> None:
    """Context and calls name the job, the epoch as fencing token, an idempotency key and the trace context."""

    async def echo(call: ItemCall) -> ItemOutcome:
        return ItemSucceeded(b'{"cost":1}', attempt=call.attempt, duration_seconds=2.5, cost_micros=7)

    plugin = Plugin(echo)
    (task,) = await owner.plan(
        [{"row": 1}], workload="plugin", options={"a": 1}, tenant="team", labels={"k": "v"}, item_timeout_ms=1500
    )
    async with chunk_runner(settings, workloads=registry(plugin)) as runner:
        assert await runner.run(task.model_copy(update={"attempt": 2})) is ChunkOutcome.DONE
    (context,), (call,) = plugin.contexts, plugin.calls
    job_id = task.chunk_id.job_id
    assert (context.job_id, context.tenant, context.labels, context.options) == (job_id, "team", {"k": "v"}, {"a": 1})
    assert (context.stage, context.epoch, context.chunk_id, context.item_timeout_seconds) == (0, 1, task.chunk, 1.5)
    assert (call.index, call.item, call.attempt, call.epoch) == (0, {"row": 1}, 2, 1)
    assert call.idempotency_key == f"{job_id}/0/0"
    assert "row" not in repr(call)
    assert call.traceparent is not None
    assert call.traceparent.split("-")[1] == TRACE_ID
    (result,) = await owner.results(task)
    assert (result.attempt, result.duration_ms, result.cost_micros) == (2, 2500, 7)
    assert plugin.kills == 0


@pytest.mark.parametrize(
    ("outcome", "error_type"),
    [
        (ItemSucceeded(b"{"), "result_not_json"),
        (ItemSucceeded(b"1,2"), "result_not_json"),
        (ItemSucceeded(b"]]],[[[1"), "result_not_json"),
        (ItemSucceeded(b"[NaN]"), "result_not_json"),
        (ItemSucceeded(b"[" * 62 + b"]" * 62), "result_not_json"),
        (ItemFailed("made up", "?"), "internal"),  # type: ignore[arg-type]  # what is tested
        (ItemFailed("refused", "x" * 5000), "refused"),
        (ValueError("a bug"), "internal"),
        (SystemExit(4), "internal"),
        (asyncio.CancelledError("not ours"), "internal"),
        (None, "internal"),
        (ItemSucceeded("text"), "internal"),  # type: ignore[arg-type]  # here and below: what is tested
        (ItemSucceeded(b"1", duration_seconds=float("nan")), "internal"),
        (ItemSucceeded(b"1", cost_micros=1.5), "internal"),  # type: ignore[arg-type]
        (ItemFailed("exception", None), "internal"),  # type: ignore[arg-type]
        (ItemFailed(["exception"], "?"), "internal"),  # type: ignore[arg-type]
    ],
)
async def test_what_a_plugin_gets_wrong_is_its_items_failure(
    settings: Settings, owner: PlayedOwner, outcome: ItemOutcome | BaseException, error_type: str
) -> None:
    """Nothing but I-JSON and words of the contract reaches the history, whatever a plug-in returns or raises."""

    async def wrong(_: ItemCall) -> ItemOutcome:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    (task,) = await owner.plan([1], workload="plugin")
    async with chunk_runner(settings, workloads=registry(Plugin(wrong))) as runner:
        assert await runner.run(task) is ChunkOutcome.DONE
    (result,) = await owner.results(task)
    assert (result.status, result.error_type) == ("failed", error_type)
    assert len(result.error_message or "") <= 2000


@pytest.mark.parametrize("failure", [ValueError("a bug"), SystemExit(6), asyncio.CancelledError("not ours")])
async def test_a_plugin_that_cannot_be_opened_fails_its_items(
    settings: Settings, owner: PlayedOwner, failure: BaseException
) -> None:
    """With the reason, at once: it is no death of the runner, which would be tried again and tell no reason."""

    class Closed(Plugin):
        @asynccontextmanager
        async def open(self, context: RunContext) -> AsyncIterator[Plugin]:
            self.contexts.append(context)
            if self.contexts:  # always
                raise failure
            yield self

    plugin = Closed(_one)
    (task,) = await owner.plan([1, 2], workload="plugin")
    async with chunk_runner(settings, workloads=registry(plugin)) as runner:
        assert await runner.run(task) is ChunkOutcome.DONE
    results = await owner.results(task)
    assert [result.error_type for result in results] == ["internal", "internal"]
    assert all(type(failure).__name__ in (result.error_message or "") for result in results)
    assert len(plugin.contexts) == 1


async def test_a_plugin_that_fails_when_it_is_left_has_done_its_items(settings: Settings, owner: PlayedOwner) -> None:
    """The results stand; the items are not run again."""

    class Clinging(Plugin):
        @asynccontextmanager
        async def open(self, context: RunContext) -> AsyncIterator[Plugin]:
            self.contexts.append(context)
            yield self
            raise ValueError("a bug")

    plugin = Clinging(_one)
    (task,) = await owner.plan([1, 2], workload="plugin")
    async with chunk_runner(settings, workloads=registry(plugin)) as runner:
        assert await runner.run(task) is ChunkOutcome.DONE
    assert [result.status for result in await owner.results(task)] == ["succeeded", "succeeded"]
    assert len(plugin.calls) == 2


async def test_a_plugin_that_hides_why_its_run_is_left_does_not_end_it(settings: Settings, owner: PlayedOwner) -> None:
    """What stops a run gets out, though the plug-in suppresses whatever comes: the chunk is not done."""

    class Hiding(Plugin):
        @asynccontextmanager
        async def open(self, context: RunContext) -> AsyncIterator[Plugin]:
            self.contexts.append(context)
            with suppress(RetryableError):
                yield self

    async def no_answer(_: ItemCall) -> ItemOutcome:
        raise RetryableError("no answer")

    (task,) = await owner.plan([1], workload="plugin")
    async with chunk_runner(settings, workloads=registry(Hiding(no_answer)), patience_seconds=0.3) as runner:
        assert await runner.run(task) is ChunkOutcome.GIVEN_BACK
    (fact,) = [fact for _, fact in await owner.facts(task)]
    assert isinstance(fact, ChunkInterrupted)


async def _one(_: ItemCall) -> ItemOutcome:
    return ItemSucceeded(b"1")


async def test_an_item_whose_dependency_is_down_is_not_finished(settings: Settings, owner: PlayedOwner) -> None:
    """Asked again for as long as patience lasts, it is left out, and the chunk is given back behind the other items."""

    async def second_fails(call: ItemCall) -> ItemOutcome:
        if call.index == 1:
            raise RetryableError("no answer")
        return ItemSucceeded(b"1")

    (task,) = await owner.plan([1, 2, 3], workload="plugin")
    plugin = Plugin(second_fails, flush_each_item=True)
    async with chunk_runner(settings, workloads=registry(plugin), patience_seconds=2.0) as runner:
        assert await runner.run(task) is ChunkOutcome.GIVEN_BACK
    assert [fact.fact_type for _, fact in await owner.facts(task)][-1] == "chunk.interrupted"
    assert [result.item_index for result in await owner.results(task)] == [0, 2]
    calls = Counter(call.index for call in plugin.calls)
    assert calls[1] > 1
    assert (calls[0], calls[2]) == (1, 1)


async def test_dear_items_are_published_one_by_one(settings: Settings, owner: PlayedOwner) -> None:
    """With `flush_each_item` every result is in the history before the next item begins."""
    seen: list[int] = []

    async def look(_: ItemCall) -> ItemOutcome:
        seen.append(len(await owner.results(task)))
        return ItemSucceeded(b"null")

    (task,) = await owner.plan([1, 2, 3], workload="plugin")
    async with chunk_runner(settings, workloads=registry(Plugin(look, flush_each_item=True))) as runner:
        assert await runner.run(task) is ChunkOutcome.DONE
    assert seen == [0, 1, 2]
    assert [len(fact.results) for _, fact in await owner.records(task)] == [1, 1, 1]


async def test_results_that_cannot_be_published_leave_the_chunk_unfinished(
    settings: Settings, owner: PlayedOwner
) -> None:
    """Kafka refuses for longer than patience lasts: no claim is marked done that has no results."""

    class Closed:
        """A sink that takes nothing."""

        asked = 0

        async def append(self, topic: str, partition: int, **_: Any) -> None:
            self.asked += 1
            raise RetryableError(f"{topic} {partition} is down")

    closed = Closed()
    (task,) = await owner.plan([1, 2])
    async with chunk_runner(settings, facts=closed, patience_seconds=0.5) as runner:
        with pytest.raises(RetryableError, match="is down"):
            await runner.run(task)
    assert closed.asked > 1
    assert await owner.claim(task) == "held"


async def test_a_blob_store_that_cannot_be_used_is_said_in_the_result(settings: Settings, owner: PlayedOwner) -> None:
    """A wrong `MESH_BLOB_URL` is a matter of configuration: the item fails with the reason, rather than for ever."""

    class Unusable:
        """A store without a driver."""

        async def put(self, name: str, content: bytes) -> str:
            raise ConfigurationError(f"no driver for {name} of {len(content)} bytes")

    (task,) = await owner.plan([40_000], "text_of")
    async with chunk_runner(settings, blobs=Unusable()) as runner:
        assert await runner.run(task) is ChunkOutcome.DONE
    (result,) = await owner.results(task)
    assert result.error_type == "internal"
    assert "no driver" in (result.error_message or "")


@pytest.fixture
def spans(settings: Settings) -> Any:
    """All spans that end, in order."""
    exporter = InMemorySpanExporter()
    configure_telemetry(settings, "test").tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    shutdown_telemetry()


async def test_spans_of_a_chunk(settings: Settings, owner: PlayedOwner, spans: InMemorySpanExporter) -> None:
    """Queue wait and chunk are children of the dispatch, items of the chunk; a failed item's span failed, too."""
    (task,) = await owner.plan([0, "x"], "leave")
    async with chunk_runner(settings) as runner:
        assert await runner.run(task) is ChunkOutcome.DONE
    found: dict[str, list[ReadableSpan]] = {}
    for finished in spans.get_finished_spans():
        assert finished.context is not None
        assert format_trace_id(finished.context.trace_id) == TRACE_ID
        found.setdefault(finished.name, []).append(finished)
    (wait,), (chunk,) = found[names.QUEUE_WAIT.name], found[names.PROCESS_CHUNK.name]
    items = found[names.PROCESS_ITEM.name]
    dispatch_id = TRACEPARENT.split("-")[2]
    for child in (wait, chunk):
        assert child.parent is not None
        assert format_span_id(child.parent.span_id) == dispatch_id
        assert child.attributes is not None
        assert child.attributes[names.CHUNK_ID] == task.chunk
    assert wait.start_time == task.dispatched_at * 1_000_000
    assert chunk.context is not None
    assert [item.parent.span_id if item.parent else None for item in items] == [chunk.context.span_id] * 2
    assert [dict(item.attributes or {}).get(names.ITEM_INDEX) for item in items] == [0, 1]
    assert [dict(item.attributes or {}).get(names.ERROR_TYPE) for item in items] == ["crashed", "exception"]
    assert [item.status.is_ok for item in items] == [False, False]
    (headers, fact) = (await owner.records(task))[0]
    assert headers["traceparent"].split("-")[2] == format_span_id(chunk.context.span_id)
    assert fact.worker_id == WORKER_ID

"""Live output: what of the CLI's messages it is, how it is numbered, bounded, and put in order by its reader."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eldermesh.client.output_sequence import OutputSequence
from eldermesh.contract.claude_output import MAX_OUTPUT_BYTES, MAX_OUTPUT_TEXT_BYTES, ClaudeOutput
from eldermesh.contract.cloudevents import Headers, header_text
from services.claude_exec.requests.live_output import LiveOutput, OutputPlace
from services.claude_exec.requests.pieces import Piece, PieceReader
from shared.errors import RetryableError
from shared.history.clock import SystemClock

REQUEST = "00000000-0000-0000-0000-000000000001"
PLACE = OutputPlace("claude.output", 2, REQUEST, 1, "0" * 31 + "1", None, None)


class Sink:
    """`FactSink` that fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.tried: list[tuple[str, bytes]] = []
        self.taken: list[ClaudeOutput] = []

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Headers) -> None:
        """Take a record, or fail."""
        assert (topic, partition, key) == ("claude.output", 2, REQUEST)
        self.tried.append((header_text(headers, "ce_id") or "", value))
        if self.failures:
            self.failures -= 1
            raise RetryableError("not now")
        self.taken.append(
            ClaudeOutput.model_validate_json(value.replace(b'"r"', b'"00000000-0000-0000-0000-000000000001"'))
        )


def delta(text: str) -> dict[str, Any]:
    """A piece of text as the CLI streams it."""
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return {"type": "stream_event", "event": event}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    """A whole message of the model."""
    return {"type": "assistant", "message": {"content": list(blocks)}}


def live(sink: Sink) -> LiveOutput:
    """Output of a run."""
    return LiveOutput(PLACE, sink, SystemClock(), patience_seconds=10.0)


def test_text_counts_once() -> None:
    """In deltas and again as a whole: the deltas; only as a whole: that."""
    reader = PieceReader()
    whole = assistant({"type": "text", "text": "Hello"})
    assert reader.take(delta("Hel")) == [Piece("text", "Hel")]
    assert reader.take(whole) == []
    assert reader.take(whole) == [Piece("text", "Hello")]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "result"},
        {"type": "assistant", "message": {"content": "text"}},
        {"type": "stream_event", "event": {"type": "ping"}},
        {"type": "user", "message": {"content": [None, 1, {"type": "tool_result"}]}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": 1}]}},
    ],
)
def test_what_says_nothing(message: dict[str, Any]) -> None:
    """Messages of other kinds, or of a form that nobody knows, are passed over."""
    assert PieceReader().take(message) == []


def test_tools() -> None:
    """Input as JSON, results as text, what is too long is cut and says so."""
    reader = PieceReader()
    (used,) = reader.take(assistant({"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}))
    assert used == Piece("tool_use", '{"command":"ls"}', "t", "Bash")
    content = [{"type": "text", "text": "é" * MAX_OUTPUT_TEXT_BYTES}, {"type": "image"}, "odd"]
    block = {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": content}
    (answer,) = reader.take({"type": "user", "message": {"content": [block]}})
    assert (answer.kind, answer.is_error, answer.truncated, answer.size) == ("tool_result", True, True, 16 * 1024)


def test_lone_surrogates_are_replaced() -> None:
    """No record can hold them."""
    assert PieceReader().take(delta("a\ud800b")) == [Piece("text", "a?b")]


def spoken(reader: PieceReader, *messages: dict[str, Any]) -> str:
    """The text that a reader makes of messages, and of their end."""
    pieces = [piece for message in messages for piece in reader.take(message)]
    return "".join(piece.text or "" for piece in [*pieces, *reader.rest()])


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["smile \ud83d", "\ude00 done"], "smile \U0001f600 done"),
        (["\ud83d", "\ude00\ud83d", "\ude01"], "\U0001f600\U0001f601"),
        (["\ud83d", "", "\ude00"], "\U0001f600"),
        (["a\ud83d\ude00b"], "a\U0001f600b"),
        (["a\ud83d", "b"], "a?b"),
        (["a", "\ude00b"], "a?b"),
        (["\ud83d", "\ud83d", "\ude00"], "?\U0001f600"),
        (["a\ud83d"], "a?"),
        (["\ud83d" + "x" * (MAX_OUTPUT_TEXT_BYTES - 1) + "\ud83d", "\ude00"], "?" + "x" * 16383 + "\U0001f600"),
    ],
)
def test_a_character_that_two_deltas_share_is_whole(texts: list[str], whole: str) -> None:
    """Its first half waits for the second one; only what stays alone is replaced, and nothing is lost at the end."""
    assert spoken(PieceReader(), *map(delta, texts)) == whole


def test_halves_wait_for_the_text_that_they_are_of() -> None:
    """Two sub-agents that speak at the same time do not take each other's; what a message ends, waits no longer."""
    reader = PieceReader()
    one, other = ({**delta("\ud83d"), "parent_tool_use_id": name} for name in "ab")
    rest_of_one = {**delta("\ude00"), "parent_tool_use_id": "a"}
    assert spoken(reader, one, other, rest_of_one) == "\U0001f600?"
    assert spoken(reader, delta("x\ud83d"), {"type": "stream_event", "event": {"type": "ping"}}, delta("\ude00")) == (
        "x\U0001f600"
    )
    assert spoken(reader, delta("\ud83d"), assistant({"type": "text", "text": "?"}), delta("\ude00")) == "??"


async def test_a_half_at_the_end_of_a_run_is_told() -> None:
    """What is published is the whole of what was said, however it ended, and each record can be written."""
    sink = Sink()
    output = live(sink)
    for text in ("so\ud83d", "\ude00", "\ud83d"):
        await output.take(delta(text))
        await output.flush()
    await output.finish()
    assert [each.text for each in sink.taken] == ["so", "\U0001f600", "?"]


async def test_small_pieces_are_joined_and_large_ones_split() -> None:
    """The text of all records in order is the whole; none is above its bound."""
    sink = Sink()
    output = live(sink)
    long = "ü" * MAX_OUTPUT_TEXT_BYTES
    for text in ("a", "b", long, "c"):
        await output.take(delta(text))
    await output.flush()
    assert "".join(each.text or "" for each in sink.taken) == f"ab{long}c"
    assert [each.sequence for each in sink.taken] == list(range(1, output.records + 1))
    assert output.records < 6
    assert all(len((each.text or "").encode()) <= MAX_OUTPUT_TEXT_BYTES for each in sink.taken)


async def test_a_record_that_was_not_acknowledged_is_sent_again_as_it_was() -> None:
    """The same bytes under the same id, and what came meanwhile behind it."""
    sink = Sink(failures=2)
    output = live(sink)
    await output.take(delta("one"))
    await output.flush()
    await output.take(delta("two"))
    await output.flush()
    assert sink.tried[0] == sink.tried[1] == sink.tried[2]
    assert [each.text for each in sink.taken] == ["one", "two"]


async def test_an_endless_speech_is_cut_off() -> None:
    """One record says that the rest is omitted."""
    sink = Sink()
    output = live(sink)
    for _ in range(MAX_OUTPUT_BYTES // MAX_OUTPUT_TEXT_BYTES + 10):
        await output.take(delta("x" * MAX_OUTPUT_TEXT_BYTES))
    await output.flush()
    assert [each.kind for each in sink.taken].count("omitted") == 1
    assert sink.taken[-1].kind == "omitted"
    assert sum(len(each.text or "") for each in sink.taken) <= MAX_OUTPUT_BYTES


def _record(attempt: int, sequence: int) -> ClaudeOutput:
    return ClaudeOutput(
        request_id=REQUEST,
        attempt=attempt,
        sequence=sequence,
        kind="text",
        text="",
        tool_use_id=None,
        tool_name=None,
        is_error=None,
        truncated=False,
        recorded_at="2026-11-23T09:26:39.123Z",
        trace_id="0" * 31 + "1",
    )


def test_the_reader_goes_on_from_a_place() -> None:
    """Repeats, gaps and an older attempt's late records are dealt with; a newer attempt begins anew."""
    sequence = OutputSequence(3, 2)
    shown = [(2, 2), (2, 4), (2, 3), (2, 3), (1, 9), (3, 2), (2, 5), (3, 1)]
    given = [(each.attempt, each.sequence) for place in shown for each in sequence.add(_record(*place))]
    assert given == [(2, 3), (2, 4), (3, 1), (3, 2)]
    with pytest.raises(ValueError, match="count from 1"):
        OutputSequence(0)


def test_the_time_that_a_long_text_takes_grows_with_its_length() -> None:
    """8 MB at once, as no delta of it was seen: the loop, with all heartbeats of this process, waits meanwhile."""
    text = "ä" * 4_000_000
    began = time.process_time()
    pieces = PieceReader().take(assistant({"type": "text", "text": text}))
    assert time.process_time() - began < 3
    assert "".join(piece.text or "" for piece in pieces) == text
    assert max(piece.size for piece in pieces) <= MAX_OUTPUT_TEXT_BYTES


@pytest.mark.parametrize("said", ["x" * 100_000, "half of a character: \ud83d"])
async def test_names_that_the_model_makes_up_fit_into_a_record(said: str) -> None:
    """Whatever it calls a tool, or the API a use of it, or an error: the record is one that can be read."""
    sink = Sink()
    output = live(sink)
    await output.take(assistant({"type": "tool_use", "id": said, "name": said, "input": {}}))
    await output.take({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": said}]}})
    await output.take({"type": "system", "subtype": "api_retry", "error": said, "error_status": 500})
    await output.finish()
    used, result, again = sink.taken
    assert used.tool_use_id == result.tool_use_id
    for told in (used.tool_use_id, used.tool_name, again.text):
        assert told is not None
        assert 10 < len(told.encode()) <= MAX_OUTPUT_TEXT_BYTES

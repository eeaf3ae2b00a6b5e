"""The answer to a request: a function of its conversation, the steps for its prompt, and their countdown."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from services.claude_exec.loopback import steps
from services.claude_exec.loopback.api_error import AnswerError
from services.claude_exec.loopback.conversation import Conversation
from services.claude_exec.loopback.message import Block, Message, TextBlock, ToolBlock

STRUCTURED_OUTPUT = "StructuredOutput"
"""The tool that the CLI offers if it has a schema of the output."""

MAX_COUNTED = 10_000
"""Steps with `times` that are counted; above it the longest unused ones are dropped, and would count again from 0."""

_TOKEN_BYTES = 4
_TURN_TOKENS = 16
_EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Plan:
    """How to answer: wait, then send an error or a message, perhaps only half of it."""

    wait_seconds: float
    refusal: AnswerError | None
    message: Message
    broken: steps.Break | None


class Countdown:
    """How often each step with `times` has been taken."""

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, int], int] = OrderedDict()

    def take(self, prompt: str, place: int, times: int | None) -> bool:
        """Whether the step at `place` still applies; counts this use."""
        if times is None:
            return True
        key = (digest(prompt), place)
        taken = self._taken.pop(key, 0)
        self._taken[key] = min(taken + 1, times)
        if len(self._taken) > MAX_COUNTED:
            self._taken.popitem(last=False)
        return taken < times

    def clear(self) -> None:
        """Count again from 0."""
        self._taken.clear()


def digest(text: str) -> str:
    """A hash that identifies a prompt without keeping it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_plan(conversation: Conversation, script: Sequence[steps.Step], countdown: Countdown) -> Plan:
    """The answer to `conversation`; `script` has the steps for its prompt, perhaps none."""
    wait_seconds, broken = 0.0, None
    blocks: list[Block] = []
    usage, stop = steps.Usage(), None
    refusal: AnswerError | None = None
    for place, step in _of_this_turn(conversation, script):
        match step:
            case steps.Wait(seconds, times):
                wait_seconds += seconds if countdown.take(conversation.prompt, place, times) else 0.0
            case steps.Refuse(status, retry_after, times, reason):
                if countdown.take(conversation.prompt, place, times):
                    refusal = AnswerError(status, reason, retry_after=retry_after)
                    break
            case steps.BreakOff(how, times):
                broken = how if countdown.take(conversation.prompt, place, times) else broken
            case steps.Usage():
                usage = step
            case steps.Stop(ending, times):
                stop = ending if countdown.take(conversation.prompt, place, times) else stop
            case _:
                blocks.append(_block(step, conversation))
    blocks = blocks or [TextBlock(_default_text(conversation))]
    calls = any(isinstance(block, ToolBlock) for block in blocks)
    message = Message(
        message_id=_identity("msg", conversation),
        model=conversation.model,
        blocks=tuple(blocks),
        stop_reason=stop or ("tool_use" if calls else "end_turn"),
        usage=_counted(usage, conversation, blocks),
    )
    return Plan(wait_seconds, refusal, message, broken)


def _of_this_turn(conversation: Conversation, script: Sequence[steps.Step]) -> Iterator[tuple[int, steps.Step]]:
    """The steps of this turn, with their places among all; a tool call is the last step of its turn."""
    turn = 0
    for place, step in enumerate(script):
        if turn == conversation.turn:
            yield place, step
        if isinstance(step, steps.CallTool) or (
            isinstance(step, steps.Structured) and STRUCTURED_OUTPUT in conversation.tools
        ):
            turn += 1
        if turn > conversation.turn:
            return


def _block(step: steps.Reply | steps.Fill | steps.Structured | steps.CallTool, conversation: Conversation) -> Block:
    match step:
        case steps.Reply(text):
            return TextBlock(text)
        case steps.Fill(characters):
            return TextBlock("x" * characters)
        case steps.CallTool(name, arguments):
            return ToolBlock(_identity("toolu", conversation), name, arguments)
        case steps.Structured(value) if STRUCTURED_OUTPUT in conversation.tools:
            arguments = value if isinstance(value, dict) else {"value": value}
            return ToolBlock(_identity("toolu", conversation), STRUCTURED_OUTPUT, arguments)
        case steps.Structured(value):
            return TextBlock(orjson.dumps(value).decode())


def _default_text(conversation: Conversation) -> str:
    if conversation.tool_result is not None:
        return conversation.tool_result or "The tool answered nothing."
    prompt = " ".join(conversation.prompt.split())
    excerpt = prompt if len(prompt) <= _EXCERPT else prompt[:_EXCERPT] + "…"
    return f"Loopback reply {digest(conversation.prompt)[:8]} to {len(conversation.prompt)} characters: {excerpt}"


def _identity(kind: str, conversation: Conversation) -> str:
    """An id that is unique in its conversation, and the same when the conversation is repeated."""
    seed = f"{conversation.messages}/{conversation.turn}/{conversation.prompt}"
    return f"{kind}_loopback_{digest(seed)[:24]}"


def tokens(characters: int) -> int:
    """The tokens of a text of so many characters: one for each four, at least one."""
    return max(1, -(-characters // _TOKEN_BYTES))


def _counted(usage: steps.Usage, conversation: Conversation, blocks: Sequence[Block]) -> steps.Usage:
    """Token counts of prompt, turn and answer alone, without the CLI's description of the machine."""
    input_tokens = tokens(len(conversation.prompt)) + _TURN_TOKENS * conversation.turn
    output_tokens = tokens(sum(block.characters for block in blocks))
    return steps.Usage(
        input_tokens=input_tokens if usage.input_tokens is None else usage.input_tokens,
        output_tokens=output_tokens if usage.output_tokens is None else usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or 0,
        cache_write_tokens=usage.cache_write_tokens or 0,
    )

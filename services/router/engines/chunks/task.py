"""The message that asks an engine to run a chunk, and its outcome."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import DeadLetterError
from shared.history.chunk_id import ChunkId


def _chunk_identity(text: str) -> str:
    ChunkId.parse(text)
    return text


class ChunkTask(BaseModel):
    """A chunk to run, by its id; the specification is in Redis. Times are milliseconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    """The history topic's full name."""
    partition: Annotated[int, Field(ge=0)]
    chunk: Annotated[str, AfterValidator(_chunk_identity)]
    dispatched_at: int
    attempt: Annotated[int, Field(ge=1)]
    """1 + deaths of the chunk."""
    traceparent: str
    tracestate: str | None = None

    @property
    def chunk_id(self) -> ChunkId:
        """The parsed id of the chunk."""
        return ChunkId.parse(self.chunk)

    def message(self) -> dict[str, Any]:
        """The task as keyword arguments for the engine."""
        return self.model_dump(mode="json")

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> ChunkTask:
        """Read a message back.

        Raises:
            DeadLetterError: `invalid`: this is not the message of a chunk task.
        """
        try:
            return cls.model_validate(message)
        except ValidationError as error:
            reason = str(error.errors(include_input=False, include_url=False))
            raise DeadLetterError("invalid", f"no chunk task: {reason}") from error


class ChunkOutcome(Enum):
    """The outcome of a task; it is acknowledged except on `PUT_BACK`."""

    DONE = "done"
    """The chunk ran, and Kafka has its results."""
    LEFT = "left"
    """Nothing to do: the chunk has ended, was replaced, belongs to another run, or its task is too old."""
    PUT_BACK = "put_back"
    """Not now: send the same task again."""
    GIVEN_BACK = "given_back"
    """The run stopped for a quota or a shutdown, and its items are planned again."""
    KILLED = "killed"
    """The run was stopped: the job ended, or the claim was lost."""

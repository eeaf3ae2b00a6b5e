"""Bodies of requests: limited in length, in time, and in how many are in memory at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from starlette.requests import Request

from services.claude_exec.loopback.api_error import AnswerError

MAX_BYTES = 32 * 1024 * 1024
"""The API's own limit of a request."""
MAX_AT_ONCE = 4
SECONDS = 10.0

_T = TypeVar("_T")


class Bodies:
    """Reads bodies, a few at a time; the others wait on the wire."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_AT_ONCE)

    async def read(self, request: Request, understand: Callable[[bytes], _T]) -> _T:
        """What `understand` makes of the body, of which nothing is kept.

        Raises:
            AnswerError: it is too long, or does not come in time.
        """
        async with self._places:
            body = bytearray()
            try:
                async with asyncio.timeout(SECONDS):
                    async for part in request.stream():
                        body += part
                        if len(body) > MAX_BYTES:
                            raise AnswerError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request exceeds the maximum size")
            except TimeoutError as error:
                raise AnswerError(HTTPStatus.REQUEST_TIMEOUT, "The request's body did not come in time.") from error
            return understand(bytes(body))

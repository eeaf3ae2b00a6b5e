"""Error answers of the API."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from shared.errors import MeshError

OVERLOADED = 529
"""A status of the API that HTTP does not define."""

_TYPES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.PAYMENT_REQUIRED: "billing_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
    OVERLOADED: "overloaded_error",
}
"""From the API's documentation; any other status is `invalid_request_error` or `api_error`."""

_MESSAGES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "invalid x-api-key",
    HTTPStatus.TOO_MANY_REQUESTS: "This request would exceed your rate limit.",
    OVERLOADED: "Overloaded",
}
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)


class AnswerError(MeshError):
    """Answer the request with this error of the API.

    Args:
        status: of HTTP, 400 to 599.
        message: for people; None: the usual one for the status.
        retry_after: seconds, for the header of that name.
    """

    def __init__(self, status: int, message: str | None = None, *, retry_after: int | None = None) -> None:
        self.status = status
        self.message = message or _MESSAGES.get(status) or f"The endpoint was asked to answer with status {status}."
        self.retry_after = retry_after
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """The API's type of the error."""
        other = "api_error" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        return _TYPES.get(self.status, other)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of the answer."""
        again = self.status in _AGAIN or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        advice = [("x-should-retry", "true" if again else "false")]
        return advice if self.retry_after is None else [*advice, ("retry-after", str(self.retry_after))]

    def body(self, request_id: str) -> dict[str, Any]:
        """The body of the answer."""
        return {"type": "error", "error": {"type": self.kind, "message": self.message}, "request_id": request_id}


class InvalidRequestError(AnswerError):
    """The request, or a marker in it, is wrong: answer with 400 and the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, reason)

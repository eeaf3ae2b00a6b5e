"""The channel `slack`: posts to an incoming webhook."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Final

import httpx
from pydantic import SecretStr

from services.notifier.channels.sender import SEND_SECONDS, Message, NotNow, SendOutcome, one_line, outcome_of
from shared.facts.notifications import Severity
from shared.history.clock import SystemClock

_INCOMING: Final = re.compile(r"https://hooks\.slack(?:-gov)?\.com/services/\w+/\w+/\w+/?", re.ASCII | re.IGNORECASE)
_OTHER: Final = re.compile(r"https://hooks\.slack(?:-gov)?\.com/(?:workflows|triggers)/", re.IGNORECASE)
_COLOURS: Final[dict[Severity, str]] = {
    "info": "#3AA3E3",
    "success": "#3AA337",
    "warning": "#CACF29",
    "failure": "#A32037",
}
# The characters that Slack asks to escape; mentions (<!channel>, <@U1>) and links are in angle brackets.
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def check_slack_address(address: str) -> None:
    """Check for `https://hooks.slack.com/services/T…/B…/…`.

    Raises:
        ValueError: the address is no incoming webhook of Slack.
    """
    if _INCOMING.fullmatch(address) is not None:
        return
    if _OTHER.match(address) is not None:
        raise ValueError("only incoming webhooks of Slack are served, https://hooks.slack.com/services/T…/B…/…")
    raise ValueError("no address of an incoming webhook; Slack shows it as https://hooks.slack.com/services/T…/B…/…")


class SlackSender:
    """Posts to an incoming webhook. Cancelling a send closes its connection.

    Args:
        url: of the webhook; it is a secret.
    """

    def __init__(self, url: SecretStr) -> None:
        self._url = url
        self._tls = ssl.create_default_context()

    async def send(self, message: Message) -> SendOutcome:
        """Post it within `SEND_SECONDS`. Slack knows no message ids, so a retry may show the message twice."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._post(message)
        except TimeoutError:
            return NotNow(f"no answer within {SEND_SECONDS:g} s")
        except httpx.HTTPError as error:
            return NotNow(f"no answer: {type(error).__name__}")

    async def _post(self, message: Message) -> SendOutcome:
        client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=SEND_SECONDS, verify=self._tls)
        async with client, client.stream("POST", self._url.get_secret_value(), json=slack_payload(message)) as response:
            return outcome_of(response.status_code, response.headers.get("retry-after"), SystemClock().now_ms())


def slack_payload(message: Message) -> dict[str, object]:
    """The JSON to post. Slack formats nothing in it, notifies nobody that it mentions, and fetches no links."""
    title = one_line(message.title).translate(_ESCAPES)
    return {
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "attachments": [
            {
                "title": title,
                "fallback": title,
                "text": message.body.translate(_ESCAPES),
                "color": _COLOURS[message.severity],
                "footer": "ElderMesh",
                "mrkdwn_in": [],
            }
        ],
    }

"""The channel `slack`: apprise makes the message for an incoming webhook, and this posts it."""

from __future__ import annotations

import asyncio
from typing import Any

import apprise
import httpx
from apprise.plugins.slack import NotifySlack, SlackMode
from pydantic import SecretStr

from services.notifier.channels.answers import outcome_of
from services.notifier.channels.sender import SEND_SECONDS, Message, NotNow, SendOutcome
from shared.history.ports import Clock, SystemClock


class _IncomingWebhook(NotifySlack):  # type: ignore[no-untyped-call]  # apprise types a part of itself
    """Apprise's plug-in, except that the answer is told: it keeps neither the status nor `Retry-After`."""

    clock: Clock = SystemClock()
    outcome: SendOutcome = NotNow("nothing was sent")

    def _send(self, url: str, payload: Any, *_: Any, **__: Any) -> Any:
        try:
            with httpx.Client(trust_env=False, follow_redirects=False, timeout=SEND_SECONDS) as client:
                response = client.post(url, json=payload)
        except httpx.HTTPError as error:
            self.outcome = NotNow(f"no answer: {type(error).__name__}")
            return False
        self.outcome = outcome_of(response.status_code, response.headers.get("retry-after"), self.clock.now_ms())
        return {"ok": True} if response.is_success else False


def slack_plugin(url: SecretStr) -> _IncomingWebhook:
    """The plug-in of an address `https://hooks.slack.com/services/T…/B…/…`.

    Raises:
        ValueError: the address is no incoming webhook of Slack.
    """
    parsed = NotifySlack.parse_native_url(url.get_secret_value())  # type: ignore[no-untyped-call]
    if parsed is None:
        raise ValueError(
            "no address of an incoming webhook; Slack shows it as https://hooks.slack.com/services/T…/B…/…"
        )
    asset = apprise.AppriseAsset(app_id="ElderMesh", app_desc="ElderMesh")
    try:
        plugin = _IncomingWebhook(**(parsed | {"asset": asset, "include_image": False}))  # type: ignore[no-untyped-call]
    except TypeError as error:
        raise ValueError("no address of an incoming webhook of Slack") from error
    if plugin.mode != SlackMode.WEBHOOK:
        raise ValueError("only incoming webhooks of Slack are served, https://hooks.slack.com/services/T…/B…/…")
    return plugin


class SlackSender:
    """Posts to an incoming webhook.

    Args:
        url: of the webhook, which is its secret.
    """

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def send(self, message: Message) -> SendOutcome:
        """Post it; a repeat is one for Slack, too, which knows no message ids."""
        try:
            async with asyncio.timeout(2 * SEND_SECONDS):
                return await asyncio.to_thread(self._send, message)
        except TimeoutError:
            return NotNow(f"no answer within {2 * SEND_SECONDS:g} s")

    def _send(self, message: Message) -> SendOutcome:
        plugin = slack_plugin(self._url)  # a new one: it counts what it sent, and sleeps between
        plugin.notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType(message.severity),
            body_format=apprise.NotifyFormat.TEXT,
        )
        return plugin.outcome

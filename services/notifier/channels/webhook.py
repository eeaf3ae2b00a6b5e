"""The channel `webhook`: signed posts (Standard Webhooks) to an address that was checked."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr
from standardwebhooks import Webhook

from services.notifier.channels.addresses import RefusedAddressError, resolved
from services.notifier.channels.sender import SEND_SECONDS, Message, Never, NotNow, SendOutcome, outcome_of
from shared.history.clock import Clock, SystemClock

_MOST_ADDRESSES = 3
_MOST_CHARACTERS = 300


class WebhookSender:
    """Posts the payload with the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`.

    The answer's body is never read.

    Args:
        url: the destination.
        secret: for the signature, `whsec_` and base 64.
        allow_private: whether to allow addresses that are not public.
        clock: of the timestamp.
    """

    def __init__(self, url: SecretStr, secret: SecretStr, *, allow_private: bool, clock: Clock | None = None) -> None:
        self._url = httpx.URL(url.get_secret_value())
        # The ASCII form: the resolver and TLS would encode the Unicode form by older rules, to another name than the
        # header `Host` has.
        self._host = self._url.raw_host.decode("ascii")
        self._signing = Webhook(secret.get_secret_value())
        self._allow_private = allow_private
        self._clock = clock or SystemClock()
        self._tls = ssl.create_default_context()

    async def send(self, message: Message) -> SendOutcome:
        """Post it within `SEND_SECONDS`."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._send(message)
        except TimeoutError:
            return NotNow(f"no answer within {SEND_SECONDS:g} s")

    async def _send(self, message: Message) -> SendOutcome:
        if self._url.scheme != "https" and not self._allow_private:
            return Never("http:// is for networks inside; MESH_NOTIFY_ALLOW_PRIVATE allows it")
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        try:
            addresses = await resolved(self._host, port, allow_private=self._allow_private)
        except RefusedAddressError as error:
            return Never(str(error))
        except OSError as error:
            return NotNow(f"the host's name could not be resolved: {error.strerror}")
        except UnicodeError:
            return Never("the host's name is none: one of its parts is empty or too long")
        outcome: SendOutcome = NotNow("the host has no address")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                return await self._post(address, message)
            except httpx.ConnectError as error:
                outcome = NotNow(f"the host cannot be connected to: {error}"[:_MOST_CHARACTERS])
            except httpx.HTTPError as error:  # the host may have accepted it: do not post again at once
                return NotNow(f"no answer: {type(error).__name__}")
        return outcome

    async def _post(self, address: str, message: Message) -> SendOutcome:
        body = message.payload or ""
        now_ms = self._clock.now_ms()
        timestamp = datetime.fromtimestamp(now_ms // 1000, UTC)
        headers = {
            # The URL has the checked address; this header has the name.
            "host": self._url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": "eldermesh-notifier",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(now_ms // 1000),
            "webhook-signature": self._signing.sign(message.message_id, timestamp, body),
        }
        client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=SEND_SECONDS, verify=self._tls, http2=False
        )
        async with client:
            request = client.build_request(
                "POST",
                self._url.copy_with(host=address, username=None, password=None),
                content=body.encode(),
                headers=headers,
                extensions={"sni_hostname": self._host.rstrip(".")},
            )
            response = await client.send(request, stream=True)
            try:
                return outcome_of(response.status_code, response.headers.get("retry-after"), self._clock.now_ms())
            finally:
                await response.aclose()

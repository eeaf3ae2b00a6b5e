"""The service `claude_exec` as a FastStream application: `faststream run services.claude_exec.app:app`."""

from __future__ import annotations

from functools import partial

from faststream import FastStream

from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from services.claude_exec.requests.service import ClaudeExecService
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.kafka.topics import CLAUDE_INBOX, CLAUDE_REQUESTS
from shared.processes.service_application import process_application, service_application
from shared.settings import Settings


def make_app(settings: Settings) -> FastStream:
    """The service with these settings, not started."""
    service = ClaudeExecService(settings)
    inbox = InboxConsumer(
        settings,
        [Subscription(CLAUDE_REQUESTS, CLAUDE_INBOX, service.admission, payload=ClaudeRequest | ClaudeCancel)],
        service.producer,
    )
    return service_application("ElderMesh claude_exec", inbox, partial(service.running, inbox), settings.heartbeat_file)


app = process_application("eldermesh-claude_exec", make_app)

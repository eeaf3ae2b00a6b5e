"""The service `sages` as a FastStream application: `faststream run services.sages.app:app`."""

from __future__ import annotations

from functools import partial

from faststream import FastStream

from services.sages.panel.advisor import passes_over
from services.sages.panel.ranking import AcceptanceRanking
from services.sages.service import SagesService
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.facts.jobs import JobAccepted
from shared.kafka.topics import JOBS_HISTORY, SAGES_PANEL
from shared.processes.service_application import process_application, service_application
from shared.settings import Settings


def make_app(settings: Settings) -> FastStream:
    """The service with these settings, not started."""
    service = SagesService(settings)
    inbox = InboxConsumer(
        settings,
        [
            Subscription(
                JOBS_HISTORY,
                SAGES_PANEL,
                service.advising,
                passes_over,
                payload=JobAccepted,
                ranking=AcceptanceRanking(settings.tenant_weights.of),
            )
        ],
        service.producer,
    )
    return service_application("ElderMesh sages", inbox, partial(service.running, inbox), settings.heartbeat_file)


app = process_application("eldermesh-sages", make_app)

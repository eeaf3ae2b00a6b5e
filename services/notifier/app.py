"""The service `notifier` as a FastStream application: `faststream run services.notifier.app:app`."""

from __future__ import annotations

from functools import partial

from faststream import FastStream

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import JobHold
from services.notifier.service import NotifierService
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.kafka.topics import JOBS_DONE, JOBS_HOLDS, NOTIFIER_ENDS, NOTIFIER_HOLDS
from shared.processes.service_application import process_application, service_application
from shared.settings import Settings


def make_app(settings: Settings) -> FastStream:
    """The service with these settings, not started.

    Raises:
        ConfigurationError: the rules file is wrong.
    """
    service = NotifierService(settings)
    planner = service.planner
    inbox = InboxConsumer(
        settings,
        [
            Subscription(JOBS_DONE, NOTIFIER_ENDS, planner, planner.passes_over, payload=JobEnd),
            Subscription(JOBS_HOLDS, NOTIFIER_HOLDS, planner, planner.passes_over, payload=JobHold),
        ],
        service.producer,
    )
    return service_application("ElderMesh notifier", inbox, partial(service.running, inbox), settings.heartbeat_file)


app = process_application("eldermesh-notifier", make_app)

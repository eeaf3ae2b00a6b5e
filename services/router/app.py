"""The router as a FastStream application: `faststream run services.router.app:app`."""

from __future__ import annotations

from functools import partial

from faststream import FastStream

from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from services.router.admission.ranking import CommandRanking
from services.router.service import RouterService
from shared.consumer.brake import Brake
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.kafka.topics import JOBS, JOBS_DECISIONS, router_inboxes
from shared.processes.service_application import process_application, service_application
from shared.settings import Settings


def make_app(settings: Settings) -> FastStream:
    """The service with these settings, not started."""
    service = RouterService(settings)
    groups = router_inboxes(settings.tenants)
    # One for all: what one tenant sends cannot stop the router while it handles what others send.
    brake = Brake()
    inbox = InboxConsumer(
        settings,
        [
            Subscription(
                JOBS,
                groups[JOBS],
                service.admission,
                payload=JobSubmit | JobCancel,
                ranking=CommandRanking(settings.tenant_weights.of),
                is_paced=True,
                brake=brake,
            ),
            Subscription(JOBS_DECISIONS, groups[JOBS_DECISIONS], service.admission, payload=JobDecide, brake=brake),
            *(
                Subscription(
                    name,
                    groups[name],
                    admission,
                    payload=JobSubmit | JobCancel,
                    ranking=CommandRanking(settings.tenant_weights.of, tenant),
                    is_paced=True,
                    brake=brake,
                )
                for tenant, (name, admission) in zip(settings.tenants, service.tenant_admissions.items(), strict=True)
            ),
        ],
        service.producer,
    )
    return service_application("ElderMesh router", inbox, partial(service.running, inbox), settings.heartbeat_file)


app = process_application("eldermesh-router", make_app)

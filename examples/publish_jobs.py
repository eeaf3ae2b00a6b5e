"""A FastStream application that publishes jobs: one for each record of a topic of yours.

Copy this file; then change the topic, what a record holds, and the job that is made of it. To run it:
`faststream run publish_jobs:app`, with the address of the broker in `MESH_KAFKA_BOOTSTRAP`.
"""

import os

from faststream import FastStream
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy
from pydantic import BaseModel

from eldermesh.contract.commands import JobSubmit

JOBS = os.environ.get("MESH_TOPIC_PREFIX", "") + "jobs"

# acks="all": a job is published once all replicas have it. The default waits for one.
broker = KafkaBroker(os.environ.get("MESH_KAFKA_BOOTSTRAP", "localhost:9092"), acks="all")
app = FastStream(broker)


class Upload(BaseModel):
    """A record of the topic `uploads`."""

    upload_id: str
    numbers: list[int]


# FastStream's default policy commits a record before it is handled, and so may lose it.
@broker.subscriber("uploads", group_id="publish-jobs", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR)
@broker.publisher(JOBS)
async def publish_job(upload: Upload) -> JobSubmit:
    """Make one job of an upload. The key makes a record that is read twice the same job, not a second one."""
    return JobSubmit(
        workload="python",
        items=[*upload.numbers],
        options={"function": "math:sqrt"},
        idempotency_key=upload.upload_id,
    )

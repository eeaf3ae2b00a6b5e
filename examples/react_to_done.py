"""A FastStream application that reacts to the ends of jobs, of which `jobs.done` has one for each accepted job.

Copy this file, and do your work in `react`. To run it: `faststream run react_to_done:app`, with the address of the
broker in `MESH_KAFKA_BOOTSTRAP`.
"""

import os

from faststream import FastStream, Logger
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy

from eldermesh.contract.ends import JobEnd

JOBS_DONE = os.environ.get("MESH_TOPIC_PREFIX", "") + "jobs.done"

# The mesh makes its topics (`mesh topics apply`), with the partitions and retention that it needs.
broker = KafkaBroker(
    os.environ.get("MESH_KAFKA_BOOTSTRAP", "localhost:9092"), consumer_only=True, allow_auto_create_topics=False
)
app = FastStream(broker)


# FastStream's default policy commits a record before it is handled, and so may lose it.
@broker.subscriber(
    JOBS_DONE, group_id="react-to-done", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
)
async def react(end: JobEnd, logger: Logger) -> None:
    """Say how a job ended. The same end may come again: what you do here has to bear that, by `end.job_id`."""
    logger.info("job %s %s: %d of %s items succeeded", end.job_id, end.status, end.items_succeeded, end.items_total)

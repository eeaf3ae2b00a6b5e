"""A Celery application for tests of the stack: its worker is a service that has children of its own."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("stack", broker=os.environ.get("MESH_REDIS_URL"), set_as_current=False)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, task_ignore_result=True)

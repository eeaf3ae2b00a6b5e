"""The Celery engine: dispatch, worker, broker, health."""

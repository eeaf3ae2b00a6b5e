"""The engines: how chunks reach Celery, and the chunk runner that runs them there."""

"""Examples to copy: each file stands alone.

docs/how-to/faststream.md shows how to run the FastStream applications, docs/how-to/migration.md the move from Celery.
"""

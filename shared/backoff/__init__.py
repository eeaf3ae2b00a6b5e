"""Retries of a dependency: with back-off, for a bounded time."""

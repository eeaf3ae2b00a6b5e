"""The embedded stack: child processes that are owned, a broker, a Redis, and what supervises them. Linux only."""

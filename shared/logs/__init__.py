"""Logs: JSON lines, what they must not hold, and what they tell of an exception."""

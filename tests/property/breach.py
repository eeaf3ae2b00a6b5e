"""A promise that was broken."""

from __future__ import annotations


class Breach(AssertionError):
    """What a mutation has to bring about, and the shipped code never."""

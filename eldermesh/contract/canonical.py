"""The canonical form of JSON (RFC 8785) and what "the same content" of two submits means."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785


def canonical_bytes(value: Any) -> bytes:
    """Serialise `value` in the RFC 8785 form: equal values have equal bytes in every release.

    Raises:
        rfc8785.CanonicalizationError: the value holds a float that is no number, an integer beyond ±(2^53 - 1), or
            something that is not JSON.
    """
    return rfc8785.dumps(value)


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of the canonical form of a submit's content (ids and default-valued fields already left out)."""
    return hashlib.sha256(canonical_bytes(dict(content))).hexdigest()

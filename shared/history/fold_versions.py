"""The versions of the folds that this release has. A subject is folded by the one it was accepted under, all its life.

A release keeps the previous version beside its own, so that what was accepted before it was installed ends as it began.
What was accepted by a newer release (this one was put back) waits for that release, which reads the log under keys of
its own: this one folds nothing of it, publishes nothing and decides nothing.
"""

from __future__ import annotations

import orjson

from shared.history.facts import FactRecord
from shared.history.keys import FOLD_VERSION
from shared.logs.setup import get_logger

FIRST_VERSION = 1
"""Of a fact that names none: the first release wrote none."""

FOLD_VERSIONS = frozenset({FOLD_VERSION})

_log = get_logger(__name__)


def fold_version_for(known: int, record: FactRecord, *, maker: str | None) -> int:
    """The version of the fold that a fact of a subject is to be folded by.

    Args:
        known: the version that the subject's state has.
        record: the fact, which is not decoded: what a newer release has put there is not known here.
        maker: the type of the fact that makes the subject; None where it is made already.
    """
    if known not in FOLD_VERSIONS or record.fact_type != maker:
        return known
    version = _named(record.value)
    if version not in FOLD_VERSIONS:
        _log.error("accepted by a newer release: it waits for that one", subject=record.key, fold_version=version)
    return version


def _named(value: bytes) -> int:
    try:
        fact = orjson.loads(value)
    except orjson.JSONDecodeError:
        return FIRST_VERSION
    version = fact.get("fold_version") if isinstance(fact, dict) else None
    return version if isinstance(version, int) else FIRST_VERSION

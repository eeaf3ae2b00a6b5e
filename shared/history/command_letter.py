"""The dead letter of a command whose fact does not count, for its sender."""

from __future__ import annotations

import base64

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.topics import JOBS_DEAD
from eldermesh.contract.vocabulary import DeadLetterType
from shared.facts.fact import CommandFact
from shared.history.machine import Publication


def command_letter(subject: str, fact: CommandFact, error_type: DeadLetterType, reason: str) -> Publication:
    """The record for `jobs.dead`: the command as it came, and why it does not count."""
    headers = DeadLetterHeaders(
        topic=fact.inbox.topic,
        partition=fact.inbox.partition,
        offset=fact.inbox.offset,
        error_type=error_type,
        reason=reason,
        key=None if fact.inbox_key_base64 is None else base64.b64decode(fact.inbox_key_base64),
    ).encode((name, base64.b64decode(value)) for name, value in fact.inbox_headers_base64)
    return Publication(JOBS_DEAD, subject, fact.original.encode(), headers)

"""Which parts of the contract work and which are refused: one table, for admission and for the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eldermesh.contract.commands import JobSubmit

NOT_SUPPORTED_YET = "not_supported_yet"

CommandName = Literal["submit", "cancel", "decide"]


@dataclass(frozen=True, slots=True)
class Support:
    """One row: a field of a command (or one of its values), and whether it works.

    `refuses` says whether a submit uses what the row refuses.
    """

    command: CommandName
    field: str
    value: str
    status: Literal["works", "refused"]
    note: str
    refuses: Callable[[JobSubmit], bool] | None = None


def _works(field: str, note: str, *, value: str = "any", command: CommandName = "submit") -> Support:
    return Support(command, field, value, "works", note)


def _refused(field: str, value: str, note: str, refuses: Callable[[JobSubmit], bool]) -> Support:
    return Support("submit", field, value, "refused", note, refuses)


SUPPORT: tuple[Support, ...] = (
    _works("workload", "`python`, `claude`, and every workload that an installed package offers"),
    _works("items", "1..100,000 in a record of at most 256 KiB"),
    _refused(
        "items_url",
        "any",
        "items are not fetched yet: send them inline, many in several jobs",
        lambda job: job.items_url is not None,
    ),
    _works("options", "judged by the workload"),
    _works("job_id", "the id of the job"),
    _works("idempotency_key", "the job's id is derived from it"),
    _works("tenant", "part of derived ids; reported on ends and metrics"),
    _works("submitted_by", "recorded; nobody decides on a hold of their own job"),
    _works("labels", "repeated on the end"),
    _works("priority", "order of chunks before and in the engine's queue; tenants of one priority take turns"),
    _works("engine", "`auto`: from 100 items on (a setting) on Ray, fewer on Celery; without a Ray all on Celery"),
    _works(
        "advice", "`full`: all sages, and the rules of the router where they say nothing; `rules`: those alone; `none`"
    ),
    _works("active_timeout_seconds", "ends the job as failed(timeout)"),
    _works("expires_after_seconds", "ends the job as failed(expired); never later than `MESH_MAX_JOB_AGE_SECONDS`"),
    _works("item_timeout_seconds", "ends the item as failed(timeout)"),
    _works(
        "max_cost_usd",
        "more ends the job as failed(budget); counts what workloads report (`claude` does, `python` nothing)",
    ),
    _works("max_failed_items", "one more ends the job as failed(too_many_failures)"),
    _works("stream", "the default", value="`false`"),
    _refused("stream", "`true`", "there is no live output yet", lambda job: job.stream),
    _works("job_id", "the job to cancel, submitted or not", command="cancel"),
    _works("reason", "goes into the end", command="cancel"),
    _works("job_id", "the job that is held; any other is a dead letter, an unknown one nothing", command="decide"),
    _works("decision", "`approve` lets it go on, `reject` ends it as rejected(denied)", command="decide"),
    _works("by", "who decides; whoever is `submitted_by` cannot: a dead letter", command="decide"),
    _works("reason", "goes into the end, and to `jobs.holds`", command="decide"),
)


BEYOND: tuple[tuple[str, str, str], ...] = (
    (
        "`jobs`, `jobs.<tenant>`, `jobs.decisions`, `claude.requests`",
        "CloudEvents in structured or batched mode",
        "refused as `invalid` with the reason: `content-type: application/cloudevents…`; binary mode alone is read",
    ),
    (
        "`jobs.<tenant>`",
        "the topics",
        "inboxes of `MESH_TENANTS`: submits and cancels of [one tenant alone](events.md#inboxes-of-tenants)",
    ),
    (
        "`jobs.holds`",
        "the topic",
        "jobs that wait for a person, in events of [job-hold](events.md); repeats have the same `ce_id` and bytes",
    ),
    (
        "`jobs.dead`",
        "decisions",
        "a decision by the submitter is `invalid`, one on a job that is not held (any more) `conflict`",
    ),
    (
        "`jobs.dead`",
        "cancels",
        "one from the inbox of a tenant, of another tenant's job, is `invalid`",
    ),
    (
        "`mesh status --json`",
        "`holds`",
        "its holds: `reason`, `held_at`, `until`; once over `ended_at`, `outcome`, `by`, `decision_reason`",
    ),
    (
        "`mesh notes add`, `ls`, `rm`",
        "the verb",
        "notes of people: `{note_id, text, workload, tenant, by, added_at}`, `{notes}`, `{note_id, removed}`",
    ),
    (
        "`mesh index --json`",
        "`collection`, `files_removed`, `files_skipped`",
        "what the files belong to; files of before that are gone; files that are no text, or too large",
    ),
    (
        "`mesh approve --json`, `mesh reject --json`",
        "`decision`, `by`, `reason`",
        "what was decided, who by, and what they said",
    ),
    (
        "`jobs.dead`",
        "letters without key, value and headers",
        "the original cannot be read: `undecodable`; or its batch is above 8 MiB when decompressed: `too_large`",
    ),
    (
        "`jobs.dead`",
        "header `dlq_truncated_bytes`",
        "length of the original value where the letter was too large for the topic: only 64 KiB of the value are there",
    ),
    ("`jobs.dead`", "header `dlq_sha256`", "of the original value, in hexadecimal, where it was truncated"),
    (
        "`mesh status --json`",
        "`error_type`, `reason`",
        "why the job ended or is dead, as its end or dead letter has it; `reason` also why it waits; else null",
    ),
    (
        "`mesh audit --json`",
        "`missing_jobs`, `requests`",
        "the first hundred of what is missing; the same ledger of prompts on `claude.requests`",
    ),
    ("`mesh submit --json`", "`error_type`, `reason`", "of the dead letter, with the state `dead`; else null"),
    (
        "`mesh cancel --json`",
        "`reason`, `changed`",
        "the reason of the state, if it has one; `changed` is false if the job had ended before",
    ),
)
"""What exists beyond the contract: where, what, and its meaning."""


def unsupported(job: JobSubmit) -> str | None:
    """Why a valid submit is refused although the contract allows it; None if all of it works."""
    for row in SUPPORT:
        if row.refuses is not None and row.refuses(job):
            return _reason(row)
    return None


def support_markdown() -> str:
    """The content of `docs/reference/contract-support.md`."""
    lines = [
        "# What of the contract works",
        "",
        "For everyone who writes submits, cancels and decisions: each field works, or is refused.",
        "",
        f"Refused: the record goes to `jobs.dead` as `invalid`, with a reason that begins with `{NOT_SUPPORTED_YET}`.",
        "No field is accepted and ignored. `python -m services.router.admission.contract_support` writes this page.",
        "",
        "| field | what it does, or why it is refused |",
        "|---|---|",
    ]
    lines += [_row(row) for row in SUPPORT]
    lines += [
        "",
        "## Beyond the contract",
        "",
        "The contract says nothing of these.",
        "",
        "| where | what | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| {where} | {what} | {meaning} |" for where, what, meaning in BEYOND]
    return "\n".join(lines) + "\n"


def _row(row: Support) -> str:
    value = "" if row.value == "any" else f" {row.value}"
    refused = "**refused**: " if row.status == "refused" else ""
    return f"| {row.command} `{row.field}`{value} | {refused}{row.note} |"


def _reason(row: Support) -> str:
    value = "" if row.value == "any" else f" {row.value.strip('`')}"
    return f"{NOT_SUPPORTED_YET}: {row.field}{value}: {row.note}"


if __name__ == "__main__":
    print(support_markdown(), end="")  # noqa: T201 - this is what it is run for

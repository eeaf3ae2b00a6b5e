"""Folding cancels from the inboxes of tenants: each counts for jobs of that tenant alone."""

from __future__ import annotations

from dataclasses import replace

from services.router.jobs.end import ended
from services.router.jobs.state import JobState, TenantStub
from shared.facts.jobs import JobTenantCancelRequested
from shared.history.accepted_state import STUB_MS
from shared.history.command_letter import command_letter
from shared.history.machine import Folded


def cancelled_by_tenant(state: JobState, fact: JobTenantCancelRequested) -> Folded[JobState]:
    """A job of that tenant ends; of another tenant it goes on, and the cancel is a dead letter. An early one waits."""
    if not state.is_made:
        stubs = {**state.tenant_stubs, fact.tenant: TenantStub(state.t, fact.reason)}
        return Folded(replace(state, tenant_stubs=stubs))
    if state.terms is None or not state.is_live:
        return Folded(state)
    if state.terms.tenant != fact.tenant:
        reason = f"job {state.job_id} is not of tenant {fact.tenant}, whose inbox this is"
        return Folded(state, conflict=command_letter(state.job_id, fact, "invalid", reason))
    return Folded(ended(state, "cancelled", "cancelled", fact.reason))


def first_cancel(state: JobState, tenant: str) -> TenantStub | None:
    """The cancel of this tenant that came before its job and still counts."""
    stub = state.tenant_stubs.get(tenant)
    return stub if stub is not None and state.t - stub.at <= STUB_MS else None

"""All verbs, so that the help can be shown, and one of them run, without importing the others.

What is slow to import, or missing in a bare install, a verb imports where it uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

_PACKAGE = "eldermesh_cli"

PANEL_JOBS = "Jobs"
PANEL_ANSWERS = "What happened"
PANEL_SAGES = "What the sages know"
PANEL_MESH = "The mesh"
PANEL_REFERENCE = "Reference"
"""Headings of the help."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: the module whose `app` has it, its heading in the help, and its line there."""

    name: str
    module: str
    panel: str
    summary: str


VERBS: tuple[Verb, ...] = (
    Verb("submit", f"{_PACKAGE}.submit.submit", PANEL_JOBS, "Send a job; with --wait say how it ended."),
    Verb("status", f"{_PACKAGE}.follow.status", PANEL_JOBS, "Show what state a job is in, and what it waits for."),
    Verb("results", f"{_PACKAGE}.follow.results", PANEL_JOBS, "Print the results of a job's items."),
    Verb("watch", f"{_PACKAGE}.follow.watch", PANEL_JOBS, "Follow a job until it has ended."),
    Verb("list", f"{_PACKAGE}.follow.list_jobs", PANEL_JOBS, "List jobs, newest first."),
    Verb("cancel", f"{_PACKAGE}.submit.cancel", PANEL_JOBS, "End a job."),
    Verb("approve", f"{_PACKAGE}.approve.approve", PANEL_JOBS, "Let a held job go on."),
    Verb("reject", f"{_PACKAGE}.approve.approve", PANEL_JOBS, "End a held job before it runs."),
    Verb("ask", f"{_PACKAGE}.submit.ask", PANEL_JOBS, "Have Claude answer one prompt, without a job around it."),
    Verb("why", f"{_PACKAGE}.follow.why", PANEL_ANSWERS, "Say where a job's time went."),
    Verb("trace", f"{_PACKAGE}.follow.trace", PANEL_ANSWERS, "Show the spans of a job as a tree."),
    Verb("dlq", f"{_PACKAGE}.dead_letters.dlq", PANEL_ANSWERS, "Look at dead letters: what was refused, and why."),
    Verb("audit", f"{_PACKAGE}.audit.audit", PANEL_ANSWERS, "Check that nothing was lost and no promise broken."),
    Verb("index", f"{_PACKAGE}.teach.index", PANEL_SAGES, "Let the sage rag read text files."),
    Verb("notes", f"{_PACKAGE}.teach.notes", PANEL_SAGES, "Keep notes that the sage knowledge passes on."),
    Verb("up", f"{_PACKAGE}.operate.mesh.up", PANEL_MESH, "Run a whole mesh on this machine."),
    Verb("down", f"{_PACKAGE}.operate.mesh.down", PANEL_MESH, "Stop the mesh that runs on this machine."),
    Verb("ps", f"{_PACKAGE}.operate.mesh.ps", PANEL_MESH, "Show its services."),
    Verb("logs", f"{_PACKAGE}.operate.mesh.logs", PANEL_MESH, "Show the services' logs."),
    Verb("env", f"{_PACKAGE}.operate.mesh.env", PANEL_MESH, "Print the settings with which clients reach it."),
    Verb("topics", f"{_PACKAGE}.operate.topics", PANEL_MESH, "Create and check the topics of a mesh."),
    Verb("notify", f"{_PACKAGE}.operate.notify", PANEL_MESH, "Try the channels on which people are told."),
    Verb("doctor", f"{_PACKAGE}.operate.doctor", PANEL_MESH, "Look at every part of a mesh, and say what to do."),
    Verb("config", f"{_PACKAGE}.operate.config", PANEL_MESH, "Print the settings in force, secrets hidden."),
    Verb("schema", f"{_PACKAGE}.program.schema", PANEL_REFERENCE, "Print a JSON Schema of an event or an answer."),
    Verb("version", f"{_PACKAGE}.program.version", PANEL_REFERENCE, "Print versions."),
)
"""In the order of the help."""

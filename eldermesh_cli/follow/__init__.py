"""See what became of a job: `mesh status`, `watch`, `results`, `list`, `why`, `trace`."""

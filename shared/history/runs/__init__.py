"""The runner's side of a history: claim, lease, and the run below it."""

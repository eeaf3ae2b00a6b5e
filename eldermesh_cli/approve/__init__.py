"""Decide on a held job: `mesh approve`, `reject`."""

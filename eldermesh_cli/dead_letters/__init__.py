"""Look at what was refused: `mesh dlq`."""

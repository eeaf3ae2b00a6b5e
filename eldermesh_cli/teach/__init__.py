"""Give the sages something to read: `mesh index`, `notes`."""

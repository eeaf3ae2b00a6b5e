"""Check that nothing was lost: `mesh audit`."""

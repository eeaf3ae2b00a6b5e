"""What `mesh doctor` looks at, each check on its own: one that fails never hides another."""

"""Send something to the mesh: `mesh submit`, `ask`, `cancel`."""

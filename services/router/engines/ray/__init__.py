"""The Ray engine: dispatch, driver process, actors, nodes."""

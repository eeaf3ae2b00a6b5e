"""Whether the parts of the mesh are at work, seen from outside: what a container's health check asks."""

"""The processes of the mesh. A service imports `shared` and `eldermesh.contract`, never another service."""

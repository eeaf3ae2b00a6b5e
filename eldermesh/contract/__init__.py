"""The public side: what goes over the public topics, in types. Imports nothing else of the project."""

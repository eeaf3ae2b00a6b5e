"""The `python` workload: calls a user's function in a process of its own, which can be killed."""

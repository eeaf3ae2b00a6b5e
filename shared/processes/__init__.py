"""Processes: a service as a process, children on a leash, signals to children."""

"""The job's machine: its state, the pure fold of its facts, and what is due."""

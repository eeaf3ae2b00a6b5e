"""Child processes of the supervisor: owned, logged, restarted, never left behind."""

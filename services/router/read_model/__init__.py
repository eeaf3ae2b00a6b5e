"""The read model of jobs: answers questions about them, so that callers need nothing of the fold."""

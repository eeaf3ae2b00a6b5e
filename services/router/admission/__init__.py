"""Admission: from records of the inboxes to facts of the job history, or to dead letters."""

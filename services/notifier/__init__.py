"""Tells people: rules decide what of a job is told on which channel; a message is sent once, retried, or given up."""

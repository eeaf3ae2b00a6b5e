"""Notifies people: rules choose events and channels; a message is sent, retried, or given up."""

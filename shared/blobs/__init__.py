"""The blob store: what is too large for a record."""

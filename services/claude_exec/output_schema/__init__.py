"""Checks the JSON Schema that a `claude` job asks its output to have."""

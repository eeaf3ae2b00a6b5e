"""The demo: real jobs on data that ships with Python."""

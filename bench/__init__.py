"""Benchmarks: what the mesh does beside the raw libraries, in the same run. `python -m bench --help`."""

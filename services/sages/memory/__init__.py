"""The memory of a sage: a SQLite table made of all partitions of some topics."""

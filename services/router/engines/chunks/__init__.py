"""The chunk runner: claims a chunk, runs its items, appends their results. The same on every engine."""

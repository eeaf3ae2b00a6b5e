"""The mesh of a data directory: `mesh up`, `down`, `ps`, `logs`, `env`.

What runs in a data directory is found by its runtime file and asked over its control socket.
"""

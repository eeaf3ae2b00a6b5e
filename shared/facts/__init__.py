"""The facts of the histories, one module for each history topic."""

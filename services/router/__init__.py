"""The router: admits jobs, owns their histories, decides, dispatches to the engines."""

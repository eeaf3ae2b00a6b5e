"""The `mesh` command: a file for each verb under `verbs`, what they share beside it."""

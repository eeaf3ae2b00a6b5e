"""The `mesh` command, the embedded stack that `mesh up` runs, and the demo. Nothing else imports them."""

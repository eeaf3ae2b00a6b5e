"""From what a CLI run leaves to one of twelve outcome classes."""

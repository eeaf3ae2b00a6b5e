"""How messages go out: one file for each kind of channel."""

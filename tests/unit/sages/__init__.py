"""The sages."""

"""The Claude executor."""

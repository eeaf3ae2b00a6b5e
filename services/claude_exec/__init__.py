"""Runs prompts through the real Claude CLI."""

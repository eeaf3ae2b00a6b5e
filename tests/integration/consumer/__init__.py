"""Tests of the consumer for inboxes."""

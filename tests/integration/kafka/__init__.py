"""Tests of how the services speak to Kafka."""

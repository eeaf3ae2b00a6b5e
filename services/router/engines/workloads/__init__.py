"""Workloads that come with the router."""

"""Metrics in a real Prometheus: rules, alerts, dashboards."""

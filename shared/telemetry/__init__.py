"""Spans and metrics of the mesh by OpenTelemetry. What fails here never fails a job."""

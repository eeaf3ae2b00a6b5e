"""Telemetry: where spans, metrics and logs go."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from shared.addresses import BaseUrl


class TelemetrySettings(BaseModel):
    """Addresses of collectors, and of what shows their traces."""

    otlp_endpoint: BaseUrl | None = Field(None, description="OTLP/HTTP base address; spans are not exported without.")
    otlp_metrics: bool = Field(
        default=True, description="Whether metrics are sent; Jaeger takes spans alone, and refuses them."
    )
    otlp_metrics_endpoint: BaseUrl | None = Field(
        None,
        description="OTLP/HTTP base address for metrics, as http://localhost:9090/api/v1/otlp of a Prometheus;"
        " `MESH_OTLP_ENDPOINT` by default.",
    )
    trace_query_url: BaseUrl | None = Field(None, description="Jaeger query API base address for `mesh trace`.")
    trace_ui_url: BaseUrl | None = Field(None, description="Base address for `trace_url`, as http://localhost:16686.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @property
    def metrics_endpoint(self) -> str | None:
        """Where metrics go; None if they are not sent."""
        return (self.otlp_metrics_endpoint or self.otlp_endpoint) if self.otlp_metrics else None

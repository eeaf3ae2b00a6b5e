"""The telemetry receiver of the embedded stack: takes OTLP, keeps spans, shows metrics, answers as Jaeger does."""

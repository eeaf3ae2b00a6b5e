"""What every service needs: settings, events, the history machine, telemetry. Knows no service."""

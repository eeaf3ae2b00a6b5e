"""Where a person looks at a trace."""

from __future__ import annotations


def trace_page(ui: str | None, trace_id: str) -> str | None:
    """The page of a trace in the viewer at `ui` (`MESH_TRACE_UI_URL`), as Jaeger names it; None without a viewer."""
    return None if ui is None else f"{ui.rstrip('/')}/trace/{trace_id}"

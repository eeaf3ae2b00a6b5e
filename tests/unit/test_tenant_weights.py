"""`MESH_TENANT_WEIGHTS`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.settings import Settings


def test_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not named has the weight 1; a child process gets the same."""
    monkeypatch.setenv("MESH_TENANT_WEIGHTS", '{"search": 3, "nightly": 0.5}')
    settings = Settings(_env_file=None)
    assert [settings.tenant_weights.of(tenant) for tenant in ("search", "nightly", "ads")] == [3.0, 0.5, 1.0]
    monkeypatch.setenv("MESH_TENANT_WEIGHTS", settings.environment()["MESH_TENANT_WEIGHTS"])
    assert Settings(_env_file=None).tenant_weights == settings.tenant_weights


@pytest.mark.parametrize("text", ['{"search": 0}', '{"search": -1}', '{"search": 1e9}', '{"no name": 1}', "search=3"])
def test_what_is_no_weight_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant without a share would wait for ever."""
    monkeypatch.setenv("MESH_TENANT_WEIGHTS", text)
    with pytest.raises((ValidationError, ValueError), match="tenant_weights"):
        Settings(_env_file=None)

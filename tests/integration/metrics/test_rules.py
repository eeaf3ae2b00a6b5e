"""Rules of alerts by Prometheus' own tests of rules: series that are written down, at times that nobody waits for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.prometheus_server import CONFIGURATION, prometheus_missing, prometheus_program

_CASES = Path(__file__).with_name("rules_cases.yml")

pytestmark = pytest.mark.prometheus


@pytest.fixture(autouse=True)
def _promtool() -> None:
    missing = prometheus_missing()
    if missing is not None:
        pytest.skip(missing)


def _promtool_says(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [prometheus_program("promtool"), *arguments], check=False, timeout=120, capture_output=True, text=True
    )


def test_the_configuration_is_right() -> None:
    """Prometheus finds the rules that the configuration names, and no mistake in either."""
    checked = _promtool_says("check", "config", CONFIGURATION / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "SUCCESS: 17 rules found" in checked.stdout


def test_alerts_fire_and_do_not(tmp_path: Path) -> None:
    """Every alert fires in one of the cases, and each case says which do not; a case that is wrong fails."""
    text = _CASES.read_text("utf-8").replace("RULES", str(CONFIGURATION / "rules.yml"))
    cases = tmp_path / "cases.yml"
    cases.write_text(text, "utf-8")
    tested = _promtool_says("test", "rules", cases)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    alerts = set(re.findall(r"alert: (\w+)", (CONFIGURATION / "rules.yml").read_text("utf-8")))
    assert set(re.findall(r'alertname="(\w+)"', text)) == alerts
    cases.write_text(text.replace("values: '0 0 0 0 0 1x20'", "values: '0x25'"), "utf-8")
    assert "MeshDeadLetters" in _promtool_says("test", "rules", cases).stderr

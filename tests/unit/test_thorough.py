"""Which long tests every run takes, and which a thorough one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.required_servers import VARIABLES
from tests.thorough import LONG, VARIABLE, VARIANTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """The ids of all tests that run on real parts, and of random runs."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "tests/faults",
            "tests/integration",
            "tests/property",
            "tests/containers",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [line for line in ran.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize("pattern", VARIANTS)
def test_a_variant_is_left_to_every_run(pattern: str, collected: list[str]) -> None:
    """A pattern matches something, and of a test with parameters never all of them, but for what is `LONG`."""
    left_out = [test for test in collected if re.search(pattern, test)]
    assert left_out
    for test in left_out:
        function, bracket, _ = test.partition("[")
        others = [other for other in collected if other.startswith(f"{function}[")]
        if bracket and not all(_matches(LONG, other) for other in others):
            assert any(not _matches(VARIANTS + LONG, other) for other in others), test


@pytest.mark.parametrize("pattern", LONG)
def test_a_long_test_is_there(pattern: str, collected: list[str]) -> None:
    """A pattern matches something."""
    assert any(re.search(pattern, test) for test in collected)


def _matches(patterns: tuple[str, ...], test: str) -> bool:
    return any(re.search(pattern, test) for pattern in patterns)


SERVER_TESTS = """
import pytest

@pytest.mark.kafka
def test_with_kafka():
    pass

@pytest.mark.jaeger
def test_with_jaeger():
    pass

def test_without_a_server():
    pass
"""


@pytest.mark.parametrize(
    ("given", "passed", "skipped"), [({}, 1, 2), ({"MESH_REQUIRE_KAFKA": "1"}, 2, 1), ({VARIABLE: "1"}, 3, 0)]
)
def test_servers_are_started_where_asked_for(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], passed: int, skipped: int
) -> None:
    """By a thorough run, or one that requires the server; the others say what asks for them."""
    for name in (VARIABLE, *VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    pytester.makeini(
        "[pytest]\naddopts = -p tests.thorough -p no:cacheprovider\nasyncio_default_fixture_loop_scope = function\n"
        "markers =\n    kafka\n    jaeger\n"
    )
    pytester.makepyfile(SERVER_TESTS)
    ran = pytester.runpytest_inprocess("-rs")
    ran.assert_outcomes(passed=passed, skipped=skipped)
    assert ("MESH_REQUIRE_JAEGER=1" in ran.stdout.str()) is bool(skipped)


TESTS = """
import pytest

@pytest.mark.parametrize("any_broker", ["embedded", "kafka"])
def test_a_fault(any_broker):
    pass
"""


@pytest.mark.parametrize(("thorough", "passed", "skipped"), [("0", 1, 1), ("1", 2, 0)])
def test_the_others_are_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, thorough: str, passed: int, skipped: int
) -> None:
    """With a reason that names the variable; a thorough run takes all."""
    monkeypatch.setenv(VARIABLE, thorough)
    pytester.makeini(
        "[pytest]\naddopts = -p tests.thorough -p no:cacheprovider\nasyncio_default_fixture_loop_scope = function\n"
    )
    directory = pytester.mkdir("tests") / "faults"
    directory.mkdir()
    (directory / "test_faults.py").write_text(TESTS, encoding="utf-8")
    ran = pytester.runpytest_inprocess("-rs")
    ran.assert_outcomes(passed=passed, skipped=skipped)
    assert (VARIABLE in ran.stdout.str()) is bool(skipped)

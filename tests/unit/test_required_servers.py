import pytest

from tests.required_servers import VARIABLES

KAFKA, JAEGER = VARIABLES["kafka"], VARIABLES["jaeger"]

CONFIGURATION = """
[pytest]
markers =
    kafka: needs Apache Kafka
    jaeger: needs Jaeger
addopts = -p tests.required_servers -p no:cacheprovider
asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory with tests of its own, which load the plug-in."""
    pytester.makeini(CONFIGURATION)
    return pytester


SKIPS = """
import pytest

@pytest.mark.kafka
def test_mark_and_skip():
    pytest.skip("no JDK")

@pytest.mark.kafka
@pytest.mark.skipif(True, reason="no jars")
def test_skipped_at_setup():
    pass

@pytest.mark.kafka
@pytest.mark.xfail
def test_expected_failure():
    assert False

def test_other_skip():
    pytest.skip("not on this platform")
"""


def test_skips_stay_skips_without_the_variable(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without Kafka the marked tests are skipped and the run is green."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    project.makepyfile(SKIPS)

    result = project.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(skipped=3, xfailed=1)


def test_a_skipped_kafka_test_fails_the_run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable a skip of a marked test is a failure, at call and at setup; other skips are not."""
    monkeypatch.delenv(JAEGER, raising=False)
    monkeypatch.setenv(KAFKA, "1")
    project.makepyfile(SKIPS)

    result = project.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, errors=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*MESH_REQUIRE_KAFKA=1 and this kafka test was skipped:*no JDK*"])


def test_each_server_has_a_variable_of_its_own(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Jaeger is required and Kafka is not, only the skip of a test of Jaeger is a failure."""
    monkeypatch.delenv(KAFKA, raising=False)
    monkeypatch.setenv(JAEGER, "1")
    project.makepyfile(SKIPS + "\n@pytest.mark.jaeger\ndef test_trace():\n    pytest.skip('no Go')\n")

    result = project.runpytest_subprocess()

    result.assert_outcomes(failed=1, skipped=3, xfailed=1)
    result.stdout.fnmatch_lines(["*MESH_REQUIRE_JAEGER=1 and this jaeger test was skipped:*no Go*"])


def test_a_module_skipped_as_a_whole_fails_the_run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that skips itself while it is collected could hide marked tests, so it fails too."""
    monkeypatch.delenv(JAEGER, raising=False)
    monkeypatch.setenv(KAFKA, "1")
    project.makepyfile('import pytest\npytest.importorskip("no_such_module")\n')

    result = project.runpytest_subprocess()

    assert result.ret != pytest.ExitCode.OK
    result.assert_outcomes(errors=1)

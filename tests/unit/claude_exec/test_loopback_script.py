from pathlib import Path

import pytest

from services.claude_exec.loopback.markers import MarkerError
from services.claude_exec.loopback.script import Script
from services.claude_exec.loopback.server import loopback_host
from services.claude_exec.loopback.steps import Reply, Stop, Wait
from shared.errors import ConfigurationError


def load(directory: Path, content: str) -> Script:
    """The script with that content."""
    path = directory / "script"
    path.write_text(content, "utf-8")
    return Script.load(path)


@pytest.mark.parametrize(
    "content",
    [
        'review: "[[delay 1]] [[reply fine]]"\nrev: ["[[reply other]]", "[[stop refusal]]"]\n',
        '{"review": "[[delay 1]] [[reply fine]]", "rev": ["[[reply other]]", "[[stop refusal]]"]}',
    ],
    ids=["yaml", "json"],
)
def test_the_first_text_that_a_prompt_holds(tmp_path: Path, content: str) -> None:
    """In the file's order; a prompt with markers of its own is answered by those, one that fits nothing by none."""
    script = load(tmp_path, content)
    assert script.steps("please review this") == (Wait(1.0), Reply("fine"))
    assert script.steps("revise this") == (Reply("other"), Stop("refusal"))
    assert script.steps("review [[reply mine]]") == (Reply("mine"),)
    assert script.steps("something else") == ()
    with pytest.raises(MarkerError):
        script.steps("review [[delay]]")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no object"),
        ("- a", "no object"),
        ("a: b: c", "cannot be read"),
        ("a: 2020-13-45", "cannot be read"),
        ("[" * 5_000, "cannot be read"),
        ("a: 5", "neither a text"),
        ("a: [[reply x]]", "neither a text"),
        ("5: '[[reply x]]'", "no text"),
        ("'': '[[reply x]]'", "no text"),
        ("a: plain words", "no marker"),
        ("a: '[[delay]]'", "says nothing"),
    ],
)
def test_a_wrong_script_is_said_at_the_start(tmp_path: Path, content: str, reason: str) -> None:
    """Each with what is wrong with it."""
    with pytest.raises(ConfigurationError, match=reason):
        load(tmp_path, content)


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    """What docs/how-to/loopback.md shows is a script."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "loopback.md").read_text("utf-8")
    script = load(tmp_path, page.partition("```yaml\n")[2].partition("```")[0])
    assert script.steps("Review main.py, please") == (Wait(1.0), Reply("Looks good."))
    assert script.steps("Which tests fail?")[-1] == Reply("None that I can see.")


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    """The same."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Script.load(tmp_path / "missing")


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "localhost", "::", "", "127.0.0.1.example.org"])  # noqa: S104
def test_other_addresses_are_refused(host: str) -> None:
    """The endpoint is for this machine alone, and names could mean any."""
    with pytest.raises(ConfigurationError):
        loopback_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10"])
def test_loopback_addresses(host: str) -> None:
    """All of 127.0.0.0/8 is this machine."""
    assert loopback_host(host) == host

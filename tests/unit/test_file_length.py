import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_file_length.py"


def check(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as `make lint` does, on `directory`."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(directory)], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_cap_is_500_lines(tmp_path: Path) -> None:
    """A file of 500 lines passes; one line more fails and is named with its length."""
    (tmp_path / "fits.py").write_text("x = 1\n" * 500)
    assert check(tmp_path).returncode == 0

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "long.py").write_text("x = 1\n" * 501)
    result = check(tmp_path)

    assert result.returncode == 1
    assert "long.py: 501 lines" in result.stderr
    assert "fits.py" not in result.stderr


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped directory does not pass as "nothing too long"."""
    assert check(tmp_path / "missing").returncode == 2

"""`docs/asyncapi.json` as AsyncAPI's own parser reads it; without a network, once the parser is in the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "asyncapi.json"


@pytest.fixture(scope="module")
def parser() -> Path:
    """The directory that `scripts/fetch_asyncapi.sh` fills."""
    versions = json.loads((ROOT / "scripts" / "asyncapi" / "package.json").read_bytes())["dependencies"]
    cache = Path(os.environ.get("MESH_CACHE_DIR") or Path.home() / ".cache" / "eldermesh")
    directory = cache / f"asyncapi-{versions['@asyncapi/parser']}"
    if not directory.is_dir() or shutil.which("node") is None:
        pytest.skip("no parser of AsyncAPI: run scripts/fetch_asyncapi.sh, which needs Node")
    return directory


def _checked(parser: Path, document: Path) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "scripts" / "asyncapi" / "check.mjs", parser / "check.mjs")
    command = ["node", str(parser / "check.mjs"), str(document)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)


@pytest.mark.asyncapi
def test_the_document_is_valid(parser: Path) -> None:
    """No error; of the hints only that there is a newer version of AsyncAPI."""
    checked = _checked(parser, DOCUMENT)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    said = [line for line in checked.stdout.splitlines() if " asyncapi-latest-version " not in line]
    assert said == []


@pytest.mark.asyncapi
def test_a_broken_document_is_not(parser: Path, tmp_path: Path) -> None:
    """The parser says what is wrong with an operation on a channel that there is not."""
    document = json.loads(DOCUMENT.read_bytes())
    operation = next(iter(document["operations"].values()))
    operation["channel"] = {"$ref": "#/channels/nowhere"}
    broken = tmp_path / "asyncapi.json"
    broken.write_text(json.dumps(document), "utf-8")
    checked = _checked(parser, broken)
    assert checked.returncode == 1
    assert "nowhere" in checked.stdout
